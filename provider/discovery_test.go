package provider

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func (w *world) document(path string, pairs ...string) answer {
	w.Helper()
	r := newRequest("GET", path, nil)
	for i := 0; i < len(pairs); i += 2 {
		r.Header.Set(pairs[i], pairs[i+1])
	}
	return w.send(r)
}

// OIDC Discovery §3, RFC 8414 §2: all that is said, and that it is all.
func TestMetadata(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.document("/.well-known/openid-configuration")
	if a.status != 200 || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %v", a, a.header)
	}
	if other := w.document("/.well-known/oauth-authorization-server"); other.body != a.body || other.header.Get("ETag") != a.header.Get("ETag") {
		t.Error("RFC 8414 §3: the two documents differ")
	}
	list := func(values ...any) []any { return values }
	want := map[string]any{
		"issuer":                                         issuer,
		"authorization_endpoint":                         issuer + "/authorize",
		"token_endpoint":                                 issuer + "/token",
		"userinfo_endpoint":                              issuer + "/userinfo",
		"jwks_uri":                                       issuer + "/jwks",
		"introspection_endpoint":                         issuer + "/introspect",
		"revocation_endpoint":                            issuer + "/revoke",
		"end_session_endpoint":                           issuer + "/logout",
		"scopes_supported":                               list("openid", "email", "profile", "groups", "offline_access"),
		"response_types_supported":                       list("code"),
		"response_modes_supported":                       list("query", "fragment", "form_post"),
		"grant_types_supported":                          list("authorization_code", "refresh_token"),
		"acr_values_supported":                           list(acrMail),
		"subject_types_supported":                        list("public"),
		"id_token_signing_alg_values_supported":          list("RS256", "ES256"),
		"token_endpoint_auth_methods_supported":          list("client_secret_basic", "client_secret_post", "none"),
		"revocation_endpoint_auth_methods_supported":     list("client_secret_basic", "client_secret_post", "none"),
		"introspection_endpoint_auth_methods_supported":  list("client_secret_basic", "client_secret_post"),
		"claims_supported":                               list("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash", "email", "email_verified", "preferred_username", "name", "locale", "updated_at", "groups"),
		"claim_types_supported":                          list("normal"),
		"display_values_supported":                       list("page"),
		"code_challenge_methods_supported":               list("S256"),
		"prompt_values_supported":                        list("none", "login", "consent", "select_account"),
		"request_uri_parameter_supported":                false, // the default is true
		"authorization_response_iss_parameter_supported": true,
		"pushed_authorization_request_endpoint":          issuer + "/par",
		"require_pushed_authorization_requests":          false,
	}
	for name, value := range want {
		got, err := json.Marshal(a.json[name])
		expected, err2 := json.Marshal(value)
		if err != nil || err2 != nil || string(got) != string(expected) {
			t.Errorf("%s: %s, want %s", name, got, expected)
		}
	}
	for name := range a.json {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %v is said and checked by nobody", name, a.json[name])
		}
	}
}

// What is advertised is so: every value of every list is tried.
func TestWhatIsAdvertisedIsTrue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	login := b.login()
	w.describe(login.User.ID, "Ada Lovelace", "en", "staff")
	w.clock.pass(time.Second)
	metadata := w.document("/.well-known/openid-configuration").json
	each := func(name string, try func(t *testing.T, value string)) {
		list, ok := metadata[name].([]any)
		if !ok || len(list) == 0 {
			t.Fatalf("%s: %v", name, metadata[name])
		}
		for _, value := range list {
			w.run(name+" "+value.(string), func(t *testing.T) { try(t, value.(string)) })
		}
	}

	all := b.tokens("web", "scope", "openid email profile groups offline_access")
	for name, value := range metadata {
		if address, _ := value.(string); strings.HasSuffix(name, "_endpoint") || name == "jwks_uri" {
			u, err := url.Parse(address)
			if err != nil || !strings.HasPrefix(address, issuer+"/") || u.RawQuery != "" || u.Fragment != "" {
				t.Fatalf("%s: %q", name, address)
			}
			methods, ok := routes[u.Path]
			if !ok {
				t.Errorf("%s: nothing is served at %q", name, address)
				continue
			}
			if a := w.send(newRequest(methods[0], u.Path, nil)); a.status == 404 || a.status == 405 || a.status >= 500 {
				t.Errorf("%s: %s", name, a)
			}
		}
	}
	each("scopes_supported", func(t *testing.T, scope string) {
		if g := b.tokens("web", "scope", scope); g.json["scope"] != scope {
			t.Errorf("granted %v", g.json["scope"])
		}
	})
	each("response_types_supported", func(t *testing.T, responseType string) {
		b.authorize("web", "response_type", responseType).code()
	})
	each("response_modes_supported", func(t *testing.T, mode string) {
		b.authorize("web", "response_mode", mode).code()
	})
	each("grant_types_supported", func(t *testing.T, grant string) {
		form := params("grant_type", grant, "code", "x", "redirect_uri", "x", "refresh_token", "x", "client_id", "cli")
		w.send(newRequest("POST", "/token", form)).is(400, "invalid_grant") // and not unsupported_grant_type
	})
	each("acr_values_supported", func(t *testing.T, acr string) {
		if g := b.tokens("web", "acr_values", acr); g.claims["acr"] != acr {
			t.Errorf("acr %v", g.claims["acr"])
		}
	})
	each("subject_types_supported", func(t *testing.T, kind string) {
		if kind != "public" || b.tokens("other").claims["sub"] != all.claims["sub"] {
			t.Errorf("two clients see two subjects")
		}
	})
	each("id_token_signing_alg_values_supported", func(t *testing.T, alg string) {
		c := w.client("once")
		c.IDTokenSigningAlg = alg
		w.provider.clients.fixed["once"] = c
		if header, _ := w.proven(b.tokens("once").id); header.Algorithm != alg {
			t.Errorf("signed by %s", header.Algorithm)
		}
	})
	methods := map[string]func(r *http.Request) string{
		"client_secret_basic": func(r *http.Request) string {
			r.SetBasicAuth("web", url.QueryEscape(secretOf("web")))
			return ""
		},
		"client_secret_post": func(*http.Request) string {
			return params("client_id", "web", "client_secret", secretOf("web")).Encode()
		},
		"none": func(*http.Request) string { return "client_id=cli" },
	}
	for name, path := range map[string]string{"token": "/token", "revocation": "/revoke", "introspection": "/introspect"} {
		each(name+"_endpoint_auth_methods_supported", func(t *testing.T, method string) {
			r := newRequest("POST", path, nil)
			prove, ok := methods[method]
			if !ok {
				t.Fatal("not tried")
			}
			r.Body = body("grant_type=refresh_token&refresh_token=x&token=x&" + prove(r))
			if a := w.send(r); a.status == 401 {
				t.Errorf("%s", a)
			}
		})
	}
	each("claims_supported", func(t *testing.T, claim string) {
		if all.claims[claim] == nil {
			t.Errorf("an ID token with every scope has none: %v", names(all.claims))
		}
	})
	for claim := range all.claims {
		if !slices.Contains(metadata["claims_supported"].([]any), any(claim)) {
			t.Errorf("claim %q is given and not advertised", claim)
		}
	}
	each("code_challenge_methods_supported", func(t *testing.T, method string) {
		w.granted(w.redeem("web", b.code("web", "code_challenge", challenge, "code_challenge_method", method), "code_verifier", verifier))
	})
	each("prompt_values_supported", func(t *testing.T, prompt string) {
		a := b.authorize("web", "prompt", prompt)
		switch prompt {
		case "none":
			a.code()
		case "consent":
			a.isPage(200, "consent", "")
		default:
			a.handle()
		}
	})
	each("display_values_supported", func(t *testing.T, display string) { b.authorize("web", "display", display).code() })
	each("claim_types_supported", func(t *testing.T, kind string) {
		if kind != "normal" || all.claims["_claim_names"] != nil {
			t.Errorf("claims of type %s", kind)
		}
	})
	// Defaults of what is not said: request objects and the claims parameter
	// are not supported; request_uri would be.
	b.authorize("web", "request", "x").isError("request_not_supported")
	b.authorize("web", "request_uri", "https://web.example.com/r").isError("request_uri_not_supported")
	if g := b.tokens("thin", "claims", `{"id_token":{"email":null}}`); g.claims["email"] != nil {
		t.Error("the claims parameter has an effect")
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, media := range map[string]string{
		"/.well-known/openid-configuration":       "application/json",
		"/.well-known/oauth-authorization-server": "application/json",
		"/jwks": "application/jwk-set+json",
	} {
		w.run(path, func(t *testing.T) {
			a := w.document(path)
			etag := a.header.Get("ETag")
			if a.status != 200 || len(etag) < 10 || etag[0] != '"' || a.header.Get("Content-Type") != media || a.header.Get("Cache-Control") != "public, max-age=300" || !json.Valid([]byte(a.body)) {
				t.Errorf("%s: %v %s", a, a.header, a.body)
			}
			if len(a.reads)+len(a.writes) > 0 {
				t.Errorf("asked the database: %v %v", a.reads, a.writes)
			}
			for _, match := range []string{etag, "W/" + etag, `"other", ` + etag, "*", ` W/"x" ,W/` + etag + " "} {
				if a := w.document(path, "If-None-Match", match); a.status != http.StatusNotModified || a.body != "" || a.header.Get("ETag") != etag || a.header.Get("Cache-Control") == "" {
					t.Errorf("RFC 9110 §13.1.2: If-None-Match %s: %s, %v", match, a, a.header)
				}
			}
			for _, match := range []string{`"other"`, strings.Trim(etag, `"`), ""} {
				if again := w.document(path, "If-None-Match", match); again.status != 200 || again.body != a.body {
					t.Errorf("RFC 9110 §13.1.2: If-None-Match %s: %s", match, again)
				}
			}
			head := w.send(newRequest("HEAD", path, nil))
			if head.status != 200 || head.body != "" || head.header.Get("ETag") != etag || head.header.Get("Content-Length") != a.header.Get("Content-Length") || head.header.Get("Content-Type") != media {
				t.Errorf("RFC 9110 §9.3.2: %s: %v", head, head.header)
			}
		})
	}
}

// RFC 7517: public keys, each with a name, a use and an algorithm of its own.
func TestJWKS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal([]byte(w.document("/jwks").body), &set); err != nil {
		t.Fatal(err)
	}
	kids, algs := map[any]bool{}, map[any]int{}
	members := map[string][]string{
		"RSA": {"alg", "e", "kid", "kty", "n", "use"},
		"EC":  {"alg", "crv", "kid", "kty", "use", "x", "y"},
	}
	for _, k := range set.Keys {
		kid, _ := k["kid"].(string)
		if kid == "" || kids[kid] {
			t.Errorf("RFC 7517 §4.5: kid %q", kid)
		}
		kids[kid] = true
		alg, _ := k["alg"].(string)
		algs[alg]++
		if k["use"] != "sig" {
			t.Errorf("RFC 7517 §4.2: use %v", k["use"])
		}
		kty, _ := k["kty"].(string)
		if !slices.Equal(names(k), members[kty]) { // above all no "d", "p", "q", "k"
			t.Errorf("a key of type %q has %v", kty, names(k))
		}
		if alg == "RS256" && len(k["n"].(string)) < 342 {
			t.Errorf("RFC 7518 §3.3: a modulus of %d characters", len(k["n"].(string)))
		}
	}
	if len(set.Keys) != 2 || algs["RS256"] != 1 || algs["ES256"] != 1 {
		t.Errorf("keys for %v", algs)
	}
}
