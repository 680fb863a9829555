package provider

import (
	"encoding/json"
	"strings"
	"testing"
)

// audienceClaim is the aud of an access token as JSON.
func (g granted) audienceClaim() string {
	b, err := json.Marshal(g.accessClaims["aud"])
	if err != nil {
		g.Fatal(err)
	}
	return string(b)
}

// RFC 8707 §2: tokens are for the resources that were asked for.
func TestResource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	const api, other = "https://api.example.com/v1", "urn:example:files"
	two := func(path string, form ...string) answer { // both resources, repeated
		f := w.authorization("web", form...)
		f["resource"] = []string{api, other, api}
		return b.send(b.request("GET", path, f))
	}
	w.run("none named: ours", func(t *testing.T) {
		if g := b.tokens("web"); g.audienceClaim() != `"`+issuer+`"` {
			t.Errorf("aud %s", g.audienceClaim())
		}
	})
	w.run("one named", func(t *testing.T) {
		g := b.tokens("web", "resource", api)
		if g.audienceClaim() != `["`+api+`","`+issuer+`"]` {
			t.Errorf("aud %s", g.audienceClaim())
		}
		if a := w.userinfo(g.access); a.status != 200 {
			t.Errorf("userinfo: %s", a)
		}
	})
	w.run("RFC 6749 §3.1, §3.2: empty is omitted", func(t *testing.T) {
		code := b.code("web", "resource", "")
		w.granted(w.redeem("web", code, "resource", ""))
	})
	w.run("without scope openid it is for the resource alone", func(t *testing.T) {
		g := b.tokens("web", "resource", api, "scope", "email")
		if g.audienceClaim() != `"`+api+`"` {
			t.Errorf("aud %s", g.audienceClaim())
		}
		w.userinfo(g.access).is(401, "invalid_token")
		if !w.active(g.access) {
			t.Error("the resource cannot introspect it")
		}
	})
	w.run("§2.2: two named, one at a time", func(t *testing.T) {
		code := two("/authorize", "scope", "openid offline_access").code()
		g := w.granted(w.redeem("web", code, "resource", api))
		if g.audienceClaim() != `["`+api+`","`+issuer+`"]` {
			t.Errorf("aud %s", g.audienceClaim())
		}
		second := w.granted(w.refresh("web", g.refresh, "resource", other))
		if second.audienceClaim() != `["`+other+`","`+issuer+`"]` {
			t.Errorf("aud %s", second.audienceClaim())
		}
		w.refresh("web", second.refresh, "resource", "https://evil.example/").is(400, "invalid_target")
		third := w.granted(w.refresh("web", second.refresh)) // which did not use it up
		if third.audienceClaim() != `["`+api+`","`+other+`","`+issuer+`"]` {
			t.Errorf("aud %s", third.audienceClaim())
		}
		w.run("a lost answer's grace takes no other either", func(t *testing.T) {
			w.refresh("web", second.refresh, "resource", "https://evil.example/").is(400, "invalid_target")
		})
	})
	w.run("§2.2: not granted", func(t *testing.T) {
		code := b.code("web", "resource", api)
		w.redeem("web", code, "resource", other).is(400, "invalid_target")
		w.granted(w.redeem("web", code)) // which did not use it up
	})
	for _, wrong := range []string{"api", "/api", "https://api.example.com/#a", "https://", "https://a.example/" + strings.Repeat("x", 600), "https://a.example/\x01"} {
		w.run("§2: not a resource", func(t *testing.T) { b.authorize("web", "resource", wrong).isError("invalid_target") })
	}
	w.run("§2: too many", func(t *testing.T) {
		f := w.authorization("web")
		for range maxResources + 1 {
			f.Add("resource", api)
		}
		b.send(b.request("GET", "/authorize", f)).isError("invalid_target")
	})
	w.run("a person is asked for each", func(t *testing.T) {
		b.submit(b.authorize("ask", "resource", api), "consent-allow").code()
		b.authorize("ask", "resource", api, "prompt", "none").code()
		b.authorize("ask", "resource", other, "prompt", "none").isError("consent_required")
		if a := b.authorize("ask", "resource", other); !strings.Contains(a.body, other) && !strings.Contains(a.body, "files") {
			t.Error("the page does not name it")
		}
	})

	w = newWorld(t, func(c *Config) { c.Resources = []string{api} })
	b = w.signedIn("ada@example.com")
	w.run("the settings list what there is", func(t *testing.T) {
		b.tokens("web", "resource", api)
		b.authorize("web", "resource", other).isError("invalid_target")
		w.api("/token", "machine", "grant_type", "client_credentials", "resource", other).is(400, "invalid_target")
	})
}
