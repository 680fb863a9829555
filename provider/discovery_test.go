package provider

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/templates"
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
		"issuer":                                                   issuer,
		"authorization_endpoint":                                   issuer + "/authorize",
		"token_endpoint":                                           issuer + "/token",
		"userinfo_endpoint":                                        issuer + "/userinfo",
		"jwks_uri":                                                 issuer + "/jwks",
		"introspection_endpoint":                                   issuer + "/introspect",
		"revocation_endpoint":                                      issuer + "/revoke",
		"end_session_endpoint":                                     issuer + "/logout",
		"scopes_supported":                                         list("openid", "email", "profile", "groups", "offline_access"),
		"device_authorization_endpoint":                            issuer + "/device_authorization",
		"check_session_iframe":                                     issuer + "/check_session",
		"response_types_supported":                                 list("code", "id_token", "id_token token", "code id_token", "code token", "code id_token token"),
		"response_modes_supported":                                 list("query", "fragment", "form_post"),
		"grant_types_supported":                                    list("authorization_code", "refresh_token", "client_credentials", "urn:ietf:params:oauth:grant-type:device_code", "implicit"),
		"acr_values_supported":                                     list(acrMail),
		"subject_types_supported":                                  list("public", "pairwise"),
		"id_token_signing_alg_values_supported":                    list("RS256", "ES256", "PS256", "EdDSA"),
		"userinfo_signing_alg_values_supported":                    list("RS256", "ES256", "PS256", "EdDSA"),
		"request_object_signing_alg_values_supported":              list("RS256", "PS256", "ES256", "EdDSA"),
		"token_endpoint_auth_signing_alg_values_supported":         list("RS256", "PS256", "ES256", "EdDSA"),
		"revocation_endpoint_auth_signing_alg_values_supported":    list("RS256", "PS256", "ES256", "EdDSA"),
		"introspection_endpoint_auth_signing_alg_values_supported": list("RS256", "PS256", "ES256", "EdDSA"),
		"dpop_signing_alg_values_supported":                        list("ES256", "PS256", "EdDSA"),
		"token_endpoint_auth_methods_supported":                    list("client_secret_basic", "client_secret_post", "private_key_jwt", "none"),
		"revocation_endpoint_auth_methods_supported":               list("client_secret_basic", "client_secret_post", "private_key_jwt", "none"),
		"introspection_endpoint_auth_methods_supported":            list("client_secret_basic", "client_secret_post", "private_key_jwt"),
		"claims_supported":                                         list("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash", "c_hash", "email", "email_verified", "preferred_username", "name", "locale", "updated_at", "groups"),
		"claim_types_supported":                                    list("normal"),
		"display_values_supported":                                 list("page"),
		"code_challenge_methods_supported":                         list("S256"),
		"prompt_values_supported":                                  list("none", "login", "consent", "select_account", "create"),
		"ui_locales_supported":                                     templates.Languages(),
		"request_parameter_supported":                              true,
		"request_uri_parameter_supported":                          true,
		"require_request_uri_registration":                         true,
		"claims_parameter_supported":                               true,
		"frontchannel_logout_supported":                            true,
		"frontchannel_logout_session_supported":                    true,
		"backchannel_logout_supported":                             true,
		"backchannel_logout_session_supported":                     true,
		"authorization_response_iss_parameter_supported":           true,
		"pushed_authorization_request_endpoint":                    issuer + "/par",
		"require_pushed_authorization_requests":                    false,
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
		if _, got := b.authorize("front", "response_type", responseType).callback(); got.Has("error") {
			t.Errorf("answer %v", got)
		}
	})
	each("response_modes_supported", func(t *testing.T, mode string) {
		b.authorize("web", "response_mode", mode).code()
	})
	each("grant_types_supported", func(t *testing.T, grant string) {
		if grant == "implicit" { // no grant of the token endpoint: see response_types_supported
			return
		}
		c := w.client("machine")
		c.GrantTypes = []string{grant}
		w.provider.clients.fixed["machine"] = c
		a := w.api("/token", "machine", "grant_type", grant, "code", "x", "redirect_uri", "x", "refresh_token", "x", "device_code", "x")
		if a.status != 200 && a.json["error"] != "invalid_grant" { // above all not unsupported_grant_type
			t.Errorf("%s", a)
		}
	})
	each("acr_values_supported", func(t *testing.T, acr string) {
		if g := b.tokens("web", "acr_values", acr); g.claims["acr"] != acr {
			t.Errorf("acr %v", g.claims["acr"])
		}
	})
	each("subject_types_supported", func(t *testing.T, kind string) {
		client := map[string]string{"public": "other", "pairwise": "pair"}[kind]
		if same := b.tokens(client).claims["sub"] == all.claims["sub"]; same != (kind == "public") {
			t.Errorf("two clients see one subject: %v", same)
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
		"private_key_jwt": func(*http.Request) string { return w.asserted(url.Values{}, "jwt").Encode() },
		"none":            func(*http.Request) string { return "client_id=cli" },
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
		if claim == "c_hash" { // beside a code alone
			return
		}
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
	each("ui_locales_supported", func(t *testing.T, language string) {
		a := b.authorize("ask", "ui_locales", language)
		a.isPage(200, "consent", "")
		if got := a.header.Get("Content-Language"); got != language {
			t.Errorf("the page speaks %s", got)
		}
	})
	each("display_values_supported", func(t *testing.T, display string) { b.authorize("web", "display", display).code() })
	each("claim_types_supported", func(t *testing.T, kind string) {
		if kind != "normal" || all.claims["_claim_names"] != nil {
			t.Errorf("claims of type %s", kind)
		}
	})
	for _, what := range []string{"userinfo", "request_object", "token_endpoint_auth", "revocation_endpoint_auth", "introspection_endpoint_auth", "dpop"} {
		each(what+"_signing_alg_values_supported", func(t *testing.T, alg string) {
			by := signerOf("jwt", jose.SignatureAlgorithm(alg))
			switch what {
			case "userinfo":
				c := w.client("signed")
				c.UserinfoSigningAlg = alg
				w.provider.clients.fixed["signed"] = c
				a := w.userinfo(b.tokens("signed").access)
				if header, claims := w.proven(a.body); header.Algorithm != alg || claims["aud"] != "signed" || claims["iss"] != issuer || a.header.Get("Content-Type") != "application/jwt" {
					t.Errorf("%v %v", header, claims)
				}
			case "request_object":
				b.get("/authorize", "client_id", "jwt", "request", by.sign(t, w.object("jwt"), nil)).code()
			case "dpop":
				if g := w.granted(w.send(w.bound(newRequest("POST", "/token", params(w.exchange("spa", b.code("spa"), "client_id", "spa")...)), by, ""))); g.json["token_type"] != "DPoP" {
					t.Errorf("%v", g.json)
				}
			default:
				path := map[string]string{"token_endpoint_auth": "/token", "revocation_endpoint_auth": "/revoke", "introspection_endpoint_auth": "/introspect"}[what]
				if a := w.send(newRequest("POST", path, w.assertedBy(params("grant_type", "refresh_token", "refresh_token", "x", "token", "x"), by, w.assertion("jwt")))); a.status == 401 {
					t.Errorf("%s", a)
				}
			}
		})
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
		"OKP": {"alg", "crv", "kid", "kty", "use", "x"},
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
	if len(set.Keys) != 4 || algs["RS256"] != 1 || algs["ES256"] != 1 || algs["PS256"] != 1 || algs["EdDSA"] != 1 {
		t.Errorf("keys for %v", algs)
	}
}
