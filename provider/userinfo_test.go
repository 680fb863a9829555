package provider

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
)

// OIDC Core §5.3.1, RFC 6750 §2: the ways to send the token.
func TestUserinfo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	g := b.tokens("web")
	header := func(method, value string, form ...string) *http.Request {
		r := newRequest(method, "/userinfo", params(form...))
		if value != "" {
			r.Header.Set("Authorization", value)
		}
		return r
	}
	for name, r := range map[string]*http.Request{
		"oidcc-userinfo-get":                            header("GET", "Bearer "+g.access),
		"oidcc-userinfo-post-header":                    header("POST", "Bearer "+g.access),
		"oidcc-userinfo-post-body":                      header("POST", "", "access_token", g.access),
		"RFC 9110 §11.1: case of the scheme":            header("GET", "bearer "+g.access),
		"what is in the query is not looked at":         header("GET", "Bearer "+g.access, "schema", "openid"),
		"a token in the query beside a good one is not": header("GET", "Bearer "+g.access, "access_token", "x"),
		"RFC 6749 §3.2: an empty parameter is none":     header("POST", "Bearer "+g.access, "access_token", ""),
	} {
		w.run(name, func(t *testing.T) {
			a := w.send(r)
			if a.status != 200 || a.json["sub"] != g.claims["sub"] || a.json["email"] != "ada@example.com" || a.json["email_verified"] != true || len(a.json) != 3 {
				t.Errorf("%s: %s", a, a.body)
			}
			if a.header.Get("Content-Type") != "application/json" || len(a.writes) > 0 || len(a.reads) != 1 {
				t.Errorf("%s: %v, %v %v", a, a.header, a.reads, a.writes)
			}
		})
	}
	w.run("POST without a body", func(t *testing.T) {
		r := header("POST", "Bearer "+g.access)
		r.Header.Del("Content-Type")
		if a := w.send(r); a.status != 200 {
			t.Errorf("%s", a)
		}
	})
	w.run("HEAD", func(t *testing.T) {
		if a := w.send(header("HEAD", "Bearer "+g.access)); a.status != 200 {
			t.Errorf("%s", a)
		}
	})
	for name, r := range map[string]*http.Request{
		"RFC 6750 §3.1: no token":          header("GET", ""),
		"no token by POST":                 header("POST", ""),
		"RFC 9700 §4.3.2: in the query":    header("GET", "", "access_token", g.access),
		"in the query of a POST":           newRequest("POST", "/userinfo?access_token="+g.access, nil),
		"basic":                            header("GET", "Basic d2ViOng="),
		"the scheme alone":                 header("GET", "Bearer"),
		"the scheme and nothing behind it": header("GET", "Bearer "),
	} {
		w.run(name, func(t *testing.T) {
			a := w.send(r)
			if a.status != 401 || a.header.Get("WWW-Authenticate") != `Bearer realm="`+issuer+`"` || len(a.json) != 0 {
				t.Errorf("%s: %q %s", a, a.header.Get("WWW-Authenticate"), a.body)
			}
		})
	}
	two := header("GET", "Bearer "+g.access)
	two.Header.Add("Authorization", "Bearer "+g.access)
	for name, r := range map[string]*http.Request{
		"RFC 6750 §2: header and body": header("POST", "Bearer "+g.access, "access_token", g.access),
		"RFC 6750 §2: two headers":     two,
	} {
		w.run(name, func(t *testing.T) { w.send(r).is(400, "invalid_request") })
	}
	w.run("RFC 6749 §3.2: repeated in the body", func(t *testing.T) {
		form := params("access_token", g.access)
		form.Add("access_token", g.access)
		w.send(newRequest("POST", "/userinfo", form)).is(400, "invalid_request")
	})
}

func (a answer) refusesToken() {
	a.Helper()
	challenge := a.header.Get("WWW-Authenticate")
	if a.status != 401 || a.json["error"] != "invalid_token" || !strings.HasPrefix(challenge, "Bearer ") || !strings.Contains(challenge, `error="invalid_token"`) {
		a.Errorf("RFC 6750 §3.1: %s: %q %s", a, challenge, a.body)
	}
}

// RFC 6750 §3.1, RFC 9068 §4: what is no access token of ours.
func TestUserinfoRefusesTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	g := b.tokens("web", "scope", "openid offline_access")
	now := w.clock.Now().Unix()
	claims := func(change func(*accessClaims)) accessClaims {
		c := accessClaims{Issuer: issuer, Subject: b.login().User.ID, Audience: audience{issuer}, ClientID: "web", IssuedAt: now, Expires: now + 60, ID: g.accessClaims["jti"].(string), Scope: "openid"}
		change(&c)
		return c
	}
	tokens := w.forgeries(g.access)
	for name, token := range map[string]string{
		"S6: an ID token":           g.id,
		"a refresh token":           g.refresh,
		"a code":                    b.code("web"),
		"another issuer":            w.signed(jose.ES256, keys.TypeAccessToken, claims(func(c *accessClaims) { c.Issuer = "https://evil.example" })),
		"another audience":          w.signed(jose.ES256, keys.TypeAccessToken, claims(func(c *accessClaims) { c.Audience = audience{"https://api.example.com"} })),
		"another type":              w.signed(jose.ES256, keys.TypeJWT, claims(func(*accessClaims) {})),
		"expired":                   w.signed(jose.ES256, keys.TypeAccessToken, claims(func(c *accessClaims) { c.Expires = now })),
		"without expiry":            w.signed(jose.ES256, keys.TypeAccessToken, claims(func(c *accessClaims) { c.Expires = 0 })),
		"without jti":               w.signed(jose.ES256, keys.TypeAccessToken, claims(func(c *accessClaims) { c.ID = "" })),
		"a jti of no grant":         w.signed(jose.ES256, keys.TypeAccessToken, claims(func(c *accessClaims) { c.ID = "." + keys.Token() })),
		"a jti of an unknown grant": w.signed(jose.ES256, keys.TypeAccessToken, claims(func(c *accessClaims) { c.ID = keys.ID() + "." + keys.Token() })),
		"claims that are a list":    w.signed(jose.ES256, keys.TypeAccessToken, []string{"x"}),
	} {
		tokens[name] = token
	}
	for name, token := range tokens {
		w.run(name, func(t *testing.T) {
			w.userinfo(token).refusesToken()
			if w.active(token) && token != g.refresh && name != "another audience" { // that one is for a resource server to ask about
				t.Error("introspection takes it")
			}
		})
	}
	if a := w.userinfo(w.signed(jose.ES256, keys.TypeAccessToken, claims(func(*accessClaims) {}))); a.status != 200 {
		t.Errorf("the token that the others were made from: %s", a)
	}
}

func TestAccessTokenExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.signedIn("ada@example.com").tokens("web")
	end := time.Unix(int64(g.accessClaims["exp"].(float64)), 0)
	w.clock.pass(end.Sub(w.clock.Now()) - time.Microsecond)
	if a := w.userinfo(g.access); a.status != 200 || !w.active(g.access) {
		t.Errorf("a microsecond before its end: %s", a)
	}
	w.clock.pass(time.Microsecond)
	w.userinfo(g.access).refusesToken()
	if w.active(g.access) {
		t.Error("active at its end")
	}
}

func TestInsufficientScope(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	for _, scope := range []string{"email", "", "profile groups"} {
		a := w.userinfo(b.tokens("web", "scope", scope).access)
		a.is(403, "insufficient_scope")
		if !strings.Contains(a.header.Get("WWW-Authenticate"), `error="insufficient_scope"`) {
			t.Errorf("RFC 6750 §3.1: %q", a.header.Get("WWW-Authenticate"))
		}
	}
}

// A person who is disabled or whose session is over is told nothing about.
func TestUserinfoEndsWithTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	g := b.tokens("web")
	w.clock.pass(sessionIdle)
	fresh := w.signedIn("bob@example.com")
	ofBob := fresh.tokens("web")
	w.userinfo(g.access).refusesToken()
	fresh.endSession()
	w.userinfo(ofBob.access).refusesToken()

	carl := w.signedIn("carl@example.com")
	ofCarl := carl.tokens("web")
	if err := w.engine.DisableUser(t.Context(), carl.login().User.ID, w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	w.userinfo(ofCarl.access).refusesToken()
	if w.active(ofCarl.access) {
		t.Error("introspection takes it")
	}

	ofDora := w.signedIn("dora@example.com").tokens("other")
	delete(w.provider.clients.fixed, "other") // from the settings
	w.userinfo(ofDora.access).refusesToken()
	if w.active(ofDora.access) {
		t.Error("introspection takes a token of a client that is gone")
	}
}
