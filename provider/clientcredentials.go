package provider

import (
	"slices"
	"strings"
)

// clientCredentials is the grant of a client for itself (RFC 6749 §4.4): no
// person, no ID token, no refresh token (§4.4.3).
var clientCredentials = grantType{
	name: "client_credentials",
	grant: func(p *Provider, t tokenRequest) (*tokens, error) {
		if t.client.Public() { // RFC 6749 §4.4
			return nil, &Error{Code: unauthorizedClient, Description: "a public client cannot act for itself"}
		}
		resources, refused := checkResources(t.form["resource"], p.cfg.Resources)
		if refused != nil {
			return nil, refused
		}
		scopes, err := ownScopes(t.client.Scope, t.form.Get("scope"))
		if err != nil {
			return nil, err
		}
		return p.issue(issuance{client: t.client, scopes: scopes, resources: resources, jkt: t.jkt, now: p.cfg.Now()})
	},
}

// personal are the scopes that say something of a person.
var personal = []string{"openid", "email", "profile", "groups", "offline_access"}

// ownScopes are what a client asks for of those registered for it, all of them
// when it names none. Those of persons mean nothing here.
func ownScopes(registered, asked string) ([]string, error) {
	mine := slices.DeleteFunc(strings.Fields(registered), func(s string) bool { return slices.Contains(personal, s) })
	if asked == "" {
		return mine, nil
	}
	scopes := slices.Compact(slices.Sorted(slices.Values(strings.Fields(asked))))
	if slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(mine, s) }) {
		return nil, &Error{Code: invalidScope, Description: "scope goes beyond what is registered for the client"}
	}
	return scopes, nil
}
