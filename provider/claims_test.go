package provider

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// OIDC Core §5.5: claims one by one, where they are asked for.
func TestClaimsParameter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	w.describe(b.login().User.ID, "Ada Lovelace", "en-GB", "staff")
	for name, tt := range map[string]struct {
		client, claims        string
		inIDToken, inUserinfo []string
	}{
		"oidcc-claims-essential": {"thin", `{"userinfo":{"name":{"essential":true}}}`, nil, []string{"name"}},
		"in the ID token":        {"thin", `{"id_token":{"email":null,"email_verified":{"essential":false}}}`, []string{"email", "email_verified"}, nil},
		"in both":                {"thin", `{"id_token":{"groups":null},"userinfo":{"groups":null,"locale":null}}`, []string{"groups"}, []string{"groups", "locale"}},
		"with a value":           {"thin", `{"userinfo":{"locale":{"value":"fr"},"updated_at":{"values":[1]}}}`, nil, []string{"locale", "updated_at"}},
		"unknown ones":           {"thin", `{"userinfo":{"https://x.example/y":null,"address":{"essential":true},"name#fr":null},"x":1}`, nil, nil},
		"none":                   {"thin", `{}`, nil, nil},
	} {
		w.run(name, func(t *testing.T) {
			g := b.tokens(tt.client, "scope", "openid", "claims", tt.claims)
			info := w.userinfo(g.access)
			for _, claim := range claimsOfScopes([]string{"email", "profile", "groups"}) {
				if _, ok := g.claims[claim]; ok != slices.Contains(tt.inIDToken, claim) {
					t.Errorf("%s in the ID token: %v", claim, ok)
				}
				if _, ok := info.json[claim]; ok != slices.Contains(tt.inUserinfo, claim) {
					t.Errorf("%s in userinfo: %v", claim, ok)
				}
			}
		})
	}
	w.run("they stay through a refresh", func(t *testing.T) {
		g := b.tokens("thin", "scope", "openid offline_access", "claims", `{"id_token":{"email":null},"userinfo":{"name":null}}`)
		second := w.granted(w.refresh("thin", g.refresh))
		if second.claims["email"] != "ada@example.com" || w.userinfo(second.access).json["name"] != "Ada Lovelace" {
			t.Errorf("ID token %v", second.claims)
		}
	})
	w.run("without scope openid they mean nothing", func(t *testing.T) {
		w.granted(w.redeem("thin", b.code("thin", "scope", "email", "claims", `{"id_token":{"email":null}}`)))
	})
	w.run("front-channel ID tokens", func(t *testing.T) {
		f := b.front("frontthin", "response_type", "code id_token", "scope", "openid", "claims", `{"id_token":{"name":{"essential":true}}}`)
		if f.claims["name"] != "Ada Lovelace" {
			t.Errorf("ID token %v", f.claims)
		}
	})
}

// OIDC Core §5.5.1, §5.5.1.1: values that decide who signs in and how.
func TestClaimsThatDecide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	sub, err := json.Marshal(b.login().User.ID)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		claims, code string // "" when it is answered
	}{
		"sub of who is signed in":      {`{"id_token":{"sub":{"value":` + string(sub) + `}}}`, ""},
		"sub of somebody else":         {`{"id_token":{"sub":{"value":"x"}}}`, "login_required"},
		"sub, voluntarily":             {`{"id_token":{"sub":null},"userinfo":{"sub":{"essential":true}}}`, ""},
		"two people":                   {`{"id_token":{"sub":{"value":"x"}},"userinfo":{"sub":{"value":"y"}}}`, "invalid_request"},
		"sub that is none":             {`{"id_token":{"sub":{"value":1}}}`, "invalid_request"},
		"an essential acr of ours":     {`{"id_token":{"acr":{"essential":true,"values":["x","` + acrMail + `"]}}}`, ""},
		"an essential acr of no value": {`{"id_token":{"acr":{"essential":true}}}`, ""},
		"an essential acr of another":  {`{"id_token":{"acr":{"essential":true,"values":["urn:mace:incommon:iap:silver"]}}}`, "unmet_authentication_requirements"},
		"a voluntary acr of another":   {`{"id_token":{"acr":{"values":["urn:mace:incommon:iap:silver"]}}}`, ""},
		"not JSON":                     {`{`, "invalid_request"},
		"a list":                       {`[]`, "invalid_request"},
		"claims that are no object":    {`{"userinfo":["name"]}`, "invalid_request"},
		"too long":                     {`{"userinfo":{"` + strings.Repeat("x", maxParam) + `":null}}`, "invalid_request"},
	} {
		w.run(name, func(t *testing.T) {
			a := b.authorize("web", "claims", tt.claims, "prompt", "none")
			if tt.code != "" {
				a.isError(tt.code)
				return
			}
			w.granted(w.redeem("web", a.code()))
		})
	}
}

// OIDC Core §3.1.2.4: a person is asked for what the claims parameter asks, too.
func TestClaimsNeedConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	b.submit(b.authorize("ask", "scope", "openid"), "consent-allow").code()
	b.authorize("ask", "scope", "openid", "prompt", "none").code()
	b.authorize("ask", "scope", "openid", "prompt", "none", "claims", `{"userinfo":{"email":null}}`).isError("consent_required")
	b.submit(b.authorize("ask", "scope", "openid", "claims", `{"userinfo":{"email":null}}`), "consent-allow").code()
	b.authorize("ask", "scope", "openid email", "prompt", "none").code()
}

func FuzzParseClaims(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", `{"userinfo":{"name":{"essential":true}}}`, `{"id_token":{"sub":{"value":"x"},"acr":{"essential":true,"values":["y"]}}}`,
		`{"userinfo":{"groups":null,"email":{"value":[]}}}`, `{"userinfo":{"a":1}}`, `[1]`, `{"userinfo":{"name":{"values":{}}}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseClaims(s)
		if err != nil {
			if c.String() != "" || err.Description == "" || err.Err != nil {
				t.Errorf("%q: %+v, %v", s, c, err)
			}
			return
		}
		again := readClaimsRequest(c.String())
		if !slices.Equal(again.IDToken, c.IDToken) || !slices.Equal(again.Userinfo, c.Userinfo) || len(c.String()) > 300 {
			t.Errorf("%q is kept as %q", s, c.String())
		}
	})
}
