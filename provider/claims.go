package provider

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/storage"
)

// userClaims are the claims about a person (OIDC Core §5.1). The address is
// verified by nature: a link mailed to it was opened.
type userClaims struct {
	Email             string    `json:"email,omitempty"`
	EmailVerified     bool      `json:"email_verified,omitempty"`
	PreferredUsername string    `json:"preferred_username,omitempty"`
	Name              string    `json:"name,omitempty"`
	Locale            string    `json:"locale,omitempty"`
	UpdatedAt         int64     `json:"updated_at,omitempty"`
	Groups            *[]string `json:"groups,omitempty"` // present, if empty, when asked for
}

// scopeClaims are the claims that a scope asks for (OIDC Core §5.4).
var scopeClaims = map[string][]string{
	"email":   {"email", "email_verified"},
	"profile": {"preferred_username", "name", "locale", "updated_at"},
	"groups":  {"groups"},
}

func claimsOfScopes(scopes []string) (names []string) {
	for _, s := range scopes {
		names = append(names, scopeClaims[s]...)
	}
	return names
}

// scopesOfClaims are the scopes that would have asked for some of names: in
// their words a person is asked.
func scopesOfClaims(names []string) (scopes []string) {
	for scope, claims := range scopeClaims {
		if slices.ContainsFunc(claims, func(c string) bool { return slices.Contains(names, c) }) {
			scopes = append(scopes, scope)
		}
	}
	slices.Sort(scopes)
	return scopes
}

// claimsAbout gives the claims of these names.
func claimsAbout(u storage.User, names []string) userClaims {
	var c userClaims
	for _, name := range names {
		switch name {
		case "email":
			c.Email = u.Email
		case "email_verified":
			c.EmailVerified = true
		case "preferred_username":
			c.PreferredUsername = u.Email
		case "name":
			if c.Name = u.Name; c.Name == "" {
				c.Name, _, _ = strings.Cut(u.Email, "@")
			}
		case "locale":
			c.Locale = u.Locale
		case "updated_at":
			c.UpdatedAt = u.UpdatedAt.Unix()
		case "groups":
			groups := append([]string{}, u.Groups...)
			c.Groups = &groups
		}
	}
	return c
}

// claimsRequest is what the claims parameter asks for, as it is kept: names
// alone, in order (OIDC Core §5.5).
type claimsRequest struct {
	IDToken  []string `json:"i,omitempty"`
	Userinfo []string `json:"u,omitempty"`
	// Subject is the one person who is asked for; "" when any may sign in.
	Subject string `json:"-"`
}

// String is the request as it is kept, "" when it asks for nothing.
func (c claimsRequest) String() string {
	if len(c.IDToken)+len(c.Userinfo) == 0 {
		return ""
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(b)
}

// names are all that is asked for.
func (c claimsRequest) names() []string { return slices.Concat(c.IDToken, c.Userinfo) }

// within leaves what a client may ask for by scope.
func (c claimsRequest) within(client storage.Client) claimsRequest {
	mayNot := func(name string) bool {
		return slices.ContainsFunc(scopesOfClaims([]string{name}), func(scope string) bool { return !mayAsk(client, scope) })
	}
	c.IDToken, c.Userinfo = slices.DeleteFunc(c.IDToken, mayNot), slices.DeleteFunc(c.Userinfo, mayNot)
	return c
}

// readClaimsRequest undoes String.
func readClaimsRequest(kept string) (c claimsRequest) {
	if kept != "" {
		_ = json.Unmarshal([]byte(kept), &c) // of our own making
	}
	return c
}

// parseClaims reads a claims parameter (OIDC Core §5.5). Claims that we don't
// have are ignored; of those asked for with a value sub names the person (§5.5),
// and an essential acr has to be ours (§5.5.1.1).
func parseClaims(s string) (claimsRequest, *Error) {
	var asked struct {
		IDToken  map[string]*claimWish `json:"id_token"`
		Userinfo map[string]*claimWish `json:"userinfo"`
	}
	if s == "" {
		return claimsRequest{}, nil
	}
	if len(s) > maxParam || json.Unmarshal([]byte(s), &asked) != nil {
		return claimsRequest{}, &Error{Code: invalidRequest, Description: "claims is not a JSON object of claims, or too long"}
	}
	c := claimsRequest{IDToken: known(asked.IDToken), Userinfo: known(asked.Userinfo)}
	for _, wishes := range []map[string]*claimWish{asked.IDToken, asked.Userinfo} {
		if w := wishes["acr"]; w != nil && w.Essential && !w.takes(acrMail) {
			return claimsRequest{}, &Error{Code: unmetRequirements, Description: "the acr asked for is not one a mailed link gives"}
		}
		if w := wishes["sub"]; w != nil {
			subject, ok := w.Value.(string)
			if w.Value != nil && (!ok || subject == "" || c.Subject != "" && c.Subject != subject) {
				return claimsRequest{}, &Error{Code: invalidRequest, Description: "claims asks for a sub that cannot be"}
			}
			if w.Value != nil {
				c.Subject = subject
			}
		}
	}
	return c, nil
}

// claimWish is how one claim is asked for; nil: voluntarily.
type claimWish struct {
	Essential bool  `json:"essential"`
	Value     any   `json:"value"`
	Values    []any `json:"values"`
}

// takes says whether the wish leaves room for value.
func (w claimWish) takes(value string) bool {
	if w.Value == nil && len(w.Values) == 0 {
		return true
	}
	return w.Value == value || slices.Contains(w.Values, any(value))
}

func known(wishes map[string]*claimWish) (names []string) {
	for _, claims := range scopeClaims {
		for _, name := range claims {
			if _, ok := wishes[name]; ok {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func hasScope(scopes []string, scope string) bool { return slices.Contains(scopes, scope) }
