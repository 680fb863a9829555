package provider

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// object are the claims of a good request object of a client, changed by pairs.
func (w *world) object(clientID string, pairs ...any) claimSet {
	w.Helper()
	claims := claimSet{"iss": clientID, "aud": issuer}
	for name, values := range w.authorization(clientID) {
		claims[name] = values[0]
	}
	return claims.with(pairs...)
}

// RFC 9101 §4, §6.3, OIDC Core §6.1: what a signed request object says counts,
// and nothing beside it.
func TestRequestObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	key := signerOf("jwt", jose.ES256)
	ask := func(object string, pairs ...string) answer {
		return b.get("/authorize", append([]string{"client_id", "jwt", "request", object}, pairs...)...)
	}
	for _, alg := range clientAlgorithms {
		w.run("by "+string(alg), func(t *testing.T) {
			a := ask(signerOf("jwt", alg).sign(t, w.object("jwt", "state", "inside"), nil))
			if _, got := a.callback(); got.Get("state") != "inside" {
				t.Errorf("answer %v", got)
			}
			if g := w.granted(w.redeem("jwt", a.code())); g.claims["nonce"] != "the nonce" {
				t.Errorf("ID token %v", g.claims)
			}
		})
	}
	w.run("RFC 9101 §6.3: what stands beside it counts for nothing", func(t *testing.T) {
		a := ask(key.sign(t, w.object("jwt", "state", nil), nil), "state", "outside", "redirect_uri", "https://evil.example/", "prompt", "none login")
		if at, got := a.callback(); got.Has("state") || at != "https://jwt.example.com/cb" {
			t.Errorf("%s: %v", at, got)
		}
	})
	w.run("values that are no strings", func(t *testing.T) {
		object := w.object("jwt", "max_age", 15000, "claims", map[string]any{"id_token": map[string]any{"name": nil}}, "resource", []string{"https://a.example/", "https://b.example/"})
		g := w.granted(w.redeem("jwt", ask(key.sign(t, object, nil)).code()))
		if aud, _ := json.Marshal(g.accessClaims["aud"]); g.claims["name"] == nil || string(aud) != `["https://a.example/","https://b.example/","`+issuer+`"]` {
			t.Errorf("ID token %v, audience %s", g.claims, aud)
		}
	})
	w.run("pushed (RFC 9126 §3)", func(t *testing.T) {
		form := w.asserted(params("request", key.sign(t, w.object("jwt", "state", "inside"), nil)), "jwt")
		a := w.send(newRequest("POST", "/par", form))
		uri, _ := a.json["request_uri"].(string)
		if _, got := b.get("/authorize", "client_id", "jwt", "request_uri", uri).callback(); got.Get("state") != "inside" {
			t.Errorf("%s: %v", a, got)
		}
	})
	now := w.clock.Now().Unix()
	for name, object := range map[string]string{
		"another client's key":               signerOf("fapi", jose.ES256).sign(t, w.object("jwt"), nil),
		"unsigned":                           unsigned(key.sign(t, w.object("jwt"), nil)),
		"signed by a shared secret":          hmacSigned(t, w.object("jwt")),
		"nonsense":                           "x.y.z",
		"another iss":                        key.sign(t, w.object("jwt", "iss", "web"), nil),
		"another client_id":                  key.sign(t, w.object("jwt", "client_id", "web"), nil),
		"another audience":                   key.sign(t, w.object("jwt", "aud", "https://other.example.com"), nil),
		"expired":                            key.sign(t, w.object("jwt", "exp", now-60), nil),
		"from the future":                    key.sign(t, w.object("jwt", "nbf", now+60), nil),
		"a time that is none":                key.sign(t, w.object("jwt", "exp", "soon"), nil),
		"RFC 9101 §4: one within another":    key.sign(t, w.object("jwt", "request", "x"), nil),
		"RFC 9101 §4: one that is fetched":   key.sign(t, w.object("jwt", "request_uri", "x"), nil),
		"RFC 9101 §10.8: a client assertion": key.sign(t, w.object("jwt", "sub", "jwt"), nil),
		"RFC 9101 §10.8: another typ":        key.sign(t, w.object("jwt"), map[jose.HeaderKey]any{"typ": "at+jwt"}),
		"a parameter that is null":           key.sign(t, claimSet{"client_id": "jwt", "state": nil}, nil),
	} {
		w.run(name, func(t *testing.T) {
			ask(object).isPage(400, "error", "invalid_request_object") // nothing says where to answer
			a := ask(object, "redirect_uri", "https://jwt.example.com/cb", "state", "outside", "response_type", "code")
			a.isError("invalid_request_object") // this does, and is proven
			ask(object, "redirect_uri", "https://evil.example/").isPage(400, "error", "invalid_request_object")
		})
	}
	w.run("typ of its own", func(t *testing.T) {
		for _, typ := range []string{"oauth-authz-req+jwt", "JWT", "application/oauth-authz-req+jwt"} {
			ask(key.sign(t, w.object("jwt"), map[jose.HeaderKey]any{"typ": typ})).code()
		}
	})
	w.run("two ways at once, or one twice", func(t *testing.T) {
		object := key.sign(t, w.object("jwt"), nil)
		ask(object, "request_uri", "https://jwt.example.com/request#1").isPage(400, "error", "invalid_request")
		b.send(newRequest("GET", "/authorize?client_id=jwt&request="+object+"&request="+object, nil)).isPage(400, "error", "invalid_request")
	})
	w.run("of a client without keys", func(t *testing.T) {
		b.get("/authorize", "client_id", "web", "request", key.sign(t, w.object("web"), nil), "redirect_uri", "https://web.example.com/cb").isError("invalid_request_object")
	})
}

func hmacSigned(t testing.TB, claims claimSet) string {
	s := signer{jose.JSONWebKey{Key: []byte("0123456789abcdef0123456789abcdef")}, jose.HS256}
	return s.sign(t, claims, nil)
}

// RFC 9101 §10.5: a client that registered it has to sign.
func TestRequireSignedRequestObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) {
		for i := range c.Clients {
			if c.Clients[i].ID == "jwt" {
				c.Clients[i].RequireSignedRequestObject, c.Clients[i].RequestObjectSigningAlg = true, "ES256"
			}
		}
	})
	b := w.signedIn("ada@example.com")
	b.authorize("jwt").isError("invalid_request")
	ask := func(alg jose.SignatureAlgorithm) answer {
		return b.get("/authorize", "client_id", "jwt", "request", signerOf("jwt", alg).sign(t, w.object("jwt"), nil), "redirect_uri", "https://jwt.example.com/cb")
	}
	ask(jose.ES256).code()
	ask(jose.RS256).isError("invalid_request_object") // OIDC Registration §2: another algorithm than registered
	w.push("jwt").is(400, "invalid_request")
}

// OIDC Core §6.2, RFC 9101 §5.2: a request object is fetched from registered
// addresses alone.
func TestRequestURI(t *testing.T) {
	t.Parallel()
	served := ""
	fetched := 0
	host := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fetched++
		rw.Header().Set("Content-Type", "application/oauth-authz-req+jwt")
		_, _ = rw.Write([]byte(served))
	}))
	t.Cleanup(host.Close)
	uri := host.URL + "/request#1"
	w := newWorld(t, func(c *Config) {
		c.Fetch = FetchConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: poolOf(host)}
		for i := range c.Clients {
			switch c.Clients[i].ID {
			case "jwt":
				c.Clients[i].RequestURIs = []string{uri}
			case "fapi":
				c.Clients[i].RequestURIs = []string{uri}
			}
		}
	})
	b := w.signedIn("ada@example.com")
	served = signerOf("jwt", jose.RS256).sign(t, w.object("jwt", "state", "fetched"), nil)
	if _, got := b.get("/authorize", "client_id", "jwt", "request_uri", uri).callback(); got.Get("state") != "fetched" {
		t.Errorf("answer %v", got)
	}
	b.get("/authorize", "client_id", "jwt", "request_uri", uri).code()
	if fetched != 1 {
		t.Errorf("fetched %d times", fetched)
	}
	for name, other := range map[string]string{
		"not registered":       host.URL + "/other",
		"without the fragment": host.URL + "/request",
		"another host":         "https://evil.example/request#1",
		"a file":               "file:///etc/passwd",
	} {
		w.run(name, func(t *testing.T) {
			b.get("/authorize", "client_id", "jwt", "request_uri", other).isPage(400, "error", "invalid_request_uri")
		})
	}
	w.run("FAPI 2.0 §5.3.2.2: pushed alone", func(t *testing.T) {
		b.get("/authorize", "client_id", "fapi", "request_uri", uri).isPage(400, "error", "invalid_request_uri")
	})
	w.run("a host that is away", func(t *testing.T) {
		host.Close()
		w.clock.pass(25 * time.Hour)
		b.signIn("ada@example.com")
		b.get("/authorize", "client_id", "jwt", "request_uri", uri).isPage(400, "error", "invalid_request_uri")
	})
}

// FuzzReadObject holds the reader of request objects to what it promises: each
// parameter of the form is a claim, and the client's id is its own.
func FuzzReadObject(f *testing.F) {
	w := newWorld(f)
	c := w.client("jwt")
	for _, pairs := range [][]any{nil, {"max_age", 1}, {"claims", map[string]any{}}, {"aud", []string{issuer}}, {"exp", 1e10}, {"sub", "x"}, {"resource", []string{"a"}}} {
		b, err := json.Marshal(w.object("jwt", pairs...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`null`))
	f.Add([]byte(`{"state":null}`))
	f.Add([]byte(`{"state":1.5,"nonce":[],"x":{}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		form, err := readObject(payload, jose.Header{}, c, issuer, w.clock.Now())
		if err != nil {
			if len(form) > 0 {
				t.Errorf("%q: %v, %v", payload, form, err)
			}
			return
		}
		if form.Get("client_id") != "jwt" || form.Has("request") || form.Has("request_uri") || form.Has("iss") {
			t.Errorf("%q: %v", payload, form)
		}
		if again, err := url.ParseQuery(form.Encode()); err != nil || again.Encode() != form.Encode() || strings.Contains(form.Encode(), "\x00") {
			t.Errorf("%q cannot be pushed: %v", payload, err)
		}
	})
}
