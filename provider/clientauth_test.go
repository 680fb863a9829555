package provider

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"
)

// RFC 6749 §2.3, OIDC Core §9: how a client proves itself, at every endpoint
// that asks.
func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	w.storedClient()
	basic := func(id, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
	}
	raw := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tt := range []struct {
		name   string
		header string
		form   []string
		status int
		error  string
		public bool // may not introspect
	}{
		{"RFC 6749 §2.3.1: basic, form-encoded", basic("web", secretOf("web")), nil, 200, "", false},
		{"RFC 9110 §11.1: case of the scheme", "bASIC" + basic("web", secretOf("web"))[5:], nil, 200, "", false},
		{"basic for a client that registered post", basic("poster", secretOf("poster")), nil, 200, "", false},
		{"basic with the same client_id in the form", basic("web", secretOf("web")), []string{"client_id", "web"}, 200, "", false},
		{"RFC 6749 §3.2: an empty client_secret is none", basic("web", secretOf("web")), []string{"client_id", "", "client_secret", ""}, 200, "", false},
		{"client_secret_post", "", []string{"client_id", "poster", "client_secret", secretOf("poster")}, 200, "", false},
		{"post for a client that registered basic", "", []string{"client_id", "web", "client_secret", secretOf("web")}, 200, "", false},
		{"none", "", []string{"client_id", "spa"}, 200, "", true},
		{"a public client by basic without secret", basic("spa", ""), nil, 200, "", true},
		{"a client of the database", basic("stored", secretOf("stored")), nil, 200, "", false},

		{"wrong secret", basic("web", "wrong"), nil, 401, "invalid_client", false},
		{"another client's secret", basic("web", secretOf("other")), nil, 401, "invalid_client", false},
		{"empty secret", basic("web", ""), nil, 401, "invalid_client", false},
		{"the hash for the secret", basic("web", hexSHA256(secretOf("web"))), nil, 401, "invalid_client", false},
		{"secret cut short", basic("web", secretOf("web")[:20]), nil, 401, "invalid_client", false},
		{"RFC 6749 §2.3.1: basic, not form-encoded", raw("web:" + secretOf("web")), nil, 401, "invalid_client", false},
		{"unknown client", basic("nobody", "wrong"), nil, 401, "invalid_client", false},
		{"unknown client by post", "", []string{"client_id", "nobody", "client_secret", "wrong"}, 401, "invalid_client", false},
		{"unknown public client", "", []string{"client_id", "nobody"}, 401, "invalid_client", false},
		{"wrong secret by post", "", []string{"client_id", "web", "client_secret", "wrong"}, 401, "invalid_client", false},
		{"wrong secret of a client of the database", basic("stored", "wrong"), nil, 401, "invalid_client", false},
		{"a confidential client without secret", "", []string{"client_id", "web"}, 401, "invalid_client", false},
		{"a confidential client with an empty secret", "", []string{"client_id", "web", "client_secret", ""}, 401, "invalid_client", false},
		{"a public client with a secret by post", "", []string{"client_id", "spa", "client_secret", "x"}, 401, "invalid_client", false},
		{"a public client with a secret by basic", basic("spa", "x"), nil, 401, "invalid_client", false},
		{"RFC 6749 §5.2: no client", "", nil, 401, "invalid_client", false},
		{"empty client_id", "", []string{"client_id", ""}, 401, "invalid_client", false},
		{"a secret and no client", "", []string{"client_secret", secretOf("web")}, 401, "invalid_client", false},
		{"basic without a name", raw(":" + secretOf("web")), nil, 401, "invalid_client", false},
		{"basic of nothing", "Basic ", nil, 401, "invalid_client", false},
		{"basic without value", "Basic", nil, 401, "invalid_client", false},
		{"basic that is not base64", "Basic !!!", nil, 401, "invalid_client", false},
		{"basic without colon", raw("web"), nil, 401, "invalid_client", false},
		{"basic with a malformed escape", raw("web:%zz"), nil, 401, "invalid_client", false},
		{"bearer", "Bearer x", nil, 401, "invalid_client", false},
		{"bearer, beside a good secret", "Bearer x", []string{"client_id", "web", "client_secret", secretOf("web")}, 401, "invalid_client", false},
		{"RFC 6749 §2.3: two ways at once", basic("web", secretOf("web")), []string{"client_id", "web", "client_secret", secretOf("web")}, 400, "invalid_request", false},
		{"RFC 6749 §2.3: two ways at once, without client_id", basic("web", secretOf("web")), []string{"client_secret", "wrong"}, 400, "invalid_request", false},
		{"client_id of another client", basic("web", secretOf("web")), []string{"client_id", "other"}, 401, "invalid_client", false},
		{"RFC 6749 §A.1: NUL in client_id", "", []string{"client_id", "web\x00", "client_secret", "x"}, 401, "invalid_client", false},
		{"RFC 7523 §2.2: an assertion", "", []string{
			"client_id", "web", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", "eyJhbGciOiJub25lIn0.e30.",
		}, 401, "invalid_client", false},
		{"an assertion of no client", "", []string{
			"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", "eyJhbGciOiJub25lIn0.e30.",
		}, 401, "invalid_client", false},
	} {
		w.run(tt.name, func(t *testing.T) {
			for _, path := range []string{"/token", "/revoke", "/introspect"} {
				form := params("grant_type", "refresh_token", "refresh_token", "x", "token", "x")
				change(form, tt.form...)
				r := newRequest("POST", path, form)
				if tt.header != "" {
					r.Header.Set("Authorization", tt.header)
				}
				a := w.send(r)
				switch {
				case tt.status != 200:
					if a.status != tt.status || a.json["error"] != tt.error {
						t.Errorf("%s, want %d %s", a, tt.status, tt.error)
					}
				case tt.public && path == "/introspect":
					if a.status != 401 || a.json["error"] != "invalid_client" {
						t.Errorf("RFC 7662 §2.1: %s", a)
					}
				case path == "/token": // the client is known, its refresh token is not
					if a.json["error"] != "invalid_grant" {
						t.Errorf("%s", a)
					}
				case a.status != 200:
					t.Errorf("%s", a)
				}
				if a.status == 401 && a.header.Get("WWW-Authenticate") != `Basic realm="`+issuer+`"` {
					t.Errorf("S9, RFC 6749 §5.2: %s: %q", a, a.header.Get("WWW-Authenticate"))
				}
				if len(a.writes) > 0 {
					t.Errorf("%s wrote %v", a, a.writes)
				}
			}
		})
	}
	w.run("two headers", func(t *testing.T) {
		r := newRequest("POST", "/token", params(w.exchange("web", b.code("web"))...))
		r.Header["Authorization"] = []string{basic("web", secretOf("web")), basic("other", secretOf("other"))}
		w.send(r).is(401, "invalid_client")
	})
	w.run("a code and the client's registered way", func(t *testing.T) {
		for _, client := range []string{"web", "poster", "spa", "cli"} {
			w.granted(w.redeem(client, b.code(client)))
		}
		r := newRequest("POST", "/token", params(w.exchange("web", b.code("web"), "client_id", "web", "client_secret", secretOf("web"))...))
		w.granted(w.send(r))
	})
}

// Who guesses cannot tell an unknown client from a wrong secret.
func TestUnknownClientLooksLikeAWrongSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := func(path, id, secret string) answer {
		r := newRequest("POST", path, params("grant_type", "authorization_code", "code", "x", "redirect_uri", "x", "token", "x"))
		r.SetBasicAuth(id, secret)
		return w.send(r)
	}
	for _, path := range []string{"/token", "/revoke", "/introspect"} {
		known, unknown, public := ask(path, "web", "wrong"), ask(path, "nobody", "wrong"), ask(path, "spa", "wrong")
		for _, other := range []answer{unknown, public} {
			if known.status != other.status || known.body != other.body || len(known.header) != len(other.header) {
				t.Errorf("%s: %s %v, but %s %v", path, known.body, known.header, other.body, other.header)
			}
			for name := range known.header {
				if known.header.Get(name) != other.header.Get(name) {
					t.Errorf("%s: header %s differs", path, name)
				}
			}
		}
	}
}

// A client without a hash that says it has a secret can prove nothing.
func TestClientWithoutSecretHash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, hash := range map[string]string{"none": "", "not hexadecimal": "zz", "of another length": "abcd", "of the empty secret": hexSHA256("")} {
		c := w.client("web")
		c.SecretSHA256 = hash
		w.provider.clients.fixed["web"] = c
		for _, secret := range []string{"", "zz", "x"} {
			for _, path := range []string{"/introspect", "/revoke"} {
				r := newRequest("POST", path, params("token", "x"))
				r.SetBasicAuth("web", secret)
				if a := w.send(r); a.status != http.StatusUnauthorized {
					t.Errorf("%s, secret %q: %s", name, secret, a)
				}
			}
		}
	}
}
