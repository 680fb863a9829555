package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/storage"
)

// open is a provider at which anyone may register.
func open(c *Config) { c.Registration = RegistrationOpen }

// metadata is what a client says of itself, changed by pairs.
func metadataOf(pairs ...any) claimSet {
	return claimSet{"redirect_uris": []string{"https://rp.example.com/cb"}, "client_name": "Relying Party"}.with(pairs...)
}

// registration is a request with a token, if any, and JSON, if any.
func (w *world) registration(method, path, token string, metadata any) answer {
	w.Helper()
	var body io.Reader
	switch m := metadata.(type) {
	case nil:
	case string:
		body = strings.NewReader(m)
	case io.Reader:
		body = m
	default:
		b, err := json.Marshal(m)
		if err != nil {
			w.Fatal(err)
		}
		body = strings.NewReader(string(b))
	}
	r := httptest.NewRequest(method, issuer+path, body)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return w.send(r)
}

// registered is a client that has registered itself.
type registered struct {
	answer
	id, secret, token, path string
}

func (w *world) register(pairs ...any) registered {
	w.Helper()
	a := w.registration("POST", "/register", "", metadataOf(pairs...))
	if a.status != http.StatusCreated {
		w.Fatalf("%s %s", a, a.body)
	}
	text := func(name string) string { s, _ := a.json[name].(string); return s }
	r := registered{a, text("client_id"), text("client_secret"), text("registration_access_token"), strings.TrimPrefix(text("registration_client_uri"), issuer)}
	w.bearers = append(w.bearers, r.token)
	if r.secret != "" {
		w.bearers = append(w.bearers, r.secret)
	}
	return r
}

func (w *world) stored(id string) storage.Client {
	w.Helper()
	c, err := w.engine.Client(context.Background(), id)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// RFC 7591 §3.2.1, OIDC Registration §3.2: what comes back.
func TestRegister(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open)
	r := w.register("unknown_member", map[string]any{"a": 1}, "client_name#de", "Anwendung", "software_statement", "e30.e30.x", "contacts", nil)
	unreserved := func(s string) bool {
		return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~") == ""
	}
	for name, want := range map[string]any{
		"client_name": "Relying Party", "token_endpoint_auth_method": "client_secret_basic", "application_type": "web",
		"grant_types": []any{"authorization_code"}, "response_types": []any{"code"}, "redirect_uris": []any{"https://rp.example.com/cb"},
		"id_token_signed_response_alg": "RS256", "subject_type": "public", "client_secret_expires_at": 0.0,
		"client_id_issued_at": float64(w.clock.Now().Unix()), "registration_client_uri": issuer + "/register/" + r.id,
		"id_token_claims": false, "require_pkce": "auto",
		"unknown_member": nil, "client_name#de": nil, "software_statement": nil, "consent": nil, "client_secret_sha256": nil, "registration_token_sha256": nil,
	} {
		if have := r.json[name]; fmt.Sprint(have) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", name, have, want)
		}
	}
	for _, secret := range []string{r.secret, r.token} {
		if len(secret) < 43 || !unreserved(secret) {
			t.Errorf("%q is guessed, or has to be escaped", secret)
		}
	}
	c := w.stored(r.id)
	if c.Consent != "ask" || c.ClaimsInIDToken() || c.SecretSHA256 != hexSHA256(r.secret) || c.RegistrationTokenSHA256 != hexSHA256(r.token) {
		t.Errorf("stored: %+v", c)
	}
	if found := CheckClient(c, ClientRules{}); len(found) > 0 {
		t.Errorf("stored what is wrong: %v", found)
	}

	w.run("the client signs people in", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		page := b.authorize(r.id, "redirect_uri", "https://rp.example.com/cb")
		page.isPage(200, "consent", "")
		f := page.forms["consent-allow"]
		a := b.serveUnregistered(b.request("POST", f.action, f.fields))
		code := strings.TrimPrefix(strings.SplitN(a.Header().Get("Location"), "&", 2)[0], "https://rp.example.com/cb?code=")
		q := newRequest("POST", "/token", params("grant_type", "authorization_code", "code", code, "redirect_uri", "https://rp.example.com/cb"))
		q.SetBasicAuth(r.id, r.secret)
		g := w.granted(w.send(q))
		if g.claims["email"] != nil {
			t.Error("scope claims are in the ID token, which it did not ask for")
		}
	})
}

// serveUnregistered answers without the checks of a world, which know the clients
// of the file alone.
func (b *browser) serveUnregistered(r *http.Request) *httptest.ResponseRecorder {
	b.Helper()
	rec := httptest.NewRecorder()
	b.handler.ServeHTTP(rec, r)
	return rec
}

func TestRegistrationByMethod(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open)
	set := jwks(signerOf("rp", jose.ES256))
	for name, c := range map[string]struct {
		pairs  []any
		secret bool
	}{
		"OIDC Registration §2: client_secret_basic when nothing is said":       {nil, true},
		"OIDC Registration §2: also with keys":                                 {[]any{"jwks", set}, true},
		"OIDC Registration §2: client_secret_post":                             {[]any{"token_endpoint_auth_method", "client_secret_post"}, true},
		"OIDC Registration §2: private_key_jwt has no secret":                  {[]any{"token_endpoint_auth_method", "private_key_jwt", "jwks", set}, false},
		"RFC 7591 §2: none has no secret":                                      {[]any{"token_endpoint_auth_method", "none"}, false},
		"OIDC Registration §2: nor by an empty name":                           {[]any{"token_endpoint_auth_method", ""}, true},
		"RFC 7592 §2.2: null is as left out":                                   {[]any{"token_endpoint_auth_method", json.RawMessage("null")}, true},
		"RFC 7591 §2: what was not registered as encrypted stays in the clear": {[]any{"id_token_encrypted_response_alg", json.RawMessage("null"), "tls_client_certificate_bound_access_tokens", false}, true},
	} {
		w.run(name, func(t *testing.T) {
			r := w.register(c.pairs...)
			_, expires := r.json["client_secret_expires_at"]
			if (r.secret != "") != c.secret || expires != c.secret || (w.stored(r.id).SecretSHA256 != "") != c.secret {
				t.Errorf("%s", r.body)
			}
		})
	}
}

// Whatever is the operator's is ignored (RFC 7591 §2).
func TestRegistrationGivesNothingAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open)
	r := w.register("client_id", "web", "client_secret", "chosen", "client_secret_sha256", hexSHA256("chosen"), "consent", "skip", "profile", "fapi2",
		"allow", []string{"*@example.com"}, "groups", []string{"ops"}, "registration_access_token", "chosen", "registration_token_sha256", hexSHA256("chosen"),
		"Redirect_Uris", []string{"https://evil.example.com/"}, "CONSENT", "skip")
	c := w.stored(r.id)
	if r.id == "web" || r.secret == "chosen" || r.token == "chosen" || c.SecretSHA256 != hexSHA256(r.secret) || c.RegistrationTokenSHA256 != hexSHA256(r.token) {
		t.Errorf("it chose its own credentials: %s", r.body)
	}
	if c.Consent != "ask" || c.Profile != "openid" || c.Allow != nil || c.Groups != nil || len(c.RedirectURIs) != 1 || c.RedirectURIs[0] != "https://rp.example.com/cb" {
		t.Errorf("it gave itself more: %+v", c)
	}
}

func TestRegistrationIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open)
	const bad, uri = "invalid_client_metadata", "invalid_redirect_uri"
	deep := strings.Repeat("[", 20000) + strings.Repeat("]", 20000)
	for name, c := range map[string]struct {
		metadata any
		code     string
	}{
		"oidcc-redirect-uri-regfrag":                         {metadataOf("redirect_uris", []string{"https://rp.example.com/cb#x"}), uri},
		"OIDC Registration §2: redirect_uris is required":    {metadataOf("redirect_uris", nil), uri},
		"RFC 7591 §3.2.2: redirect_uris of another type":     {metadataOf("redirect_uris", "https://rp.example.com/cb"), uri},
		"redirect_uris with null":                            {`{"redirect_uris": [null]}`, uri},
		"oidcc-3rd_party-init-login-nohttps":                 {metadataOf("initiate_login_uri", "http://rp.example.com/login"), bad},
		"RFC 7591 §2: client_secret_jwt":                     {metadataOf("token_endpoint_auth_method", "client_secret_jwt"), bad},
		"RFC 8705 §2.1.1: tls_client_auth":                   {metadataOf("token_endpoint_auth_method", "tls_client_auth"), bad},
		"oidcc-idtoken-unsigned":                             {metadataOf("id_token_signed_response_alg", "none"), bad},
		"OIDC Registration §2: encrypted ID tokens":          {metadataOf("id_token_encrypted_response_alg", "RSA-OAEP-256"), bad},
		"OIDC Registration §2: encrypted userinfo":           {metadataOf("userinfo_encrypted_response_enc", "A128GCM"), bad},
		"JARM §3: signed answers":                            {metadataOf("authorization_signed_response_alg", "ES256"), bad},
		"RFC 8705 §3.4: tokens bound to certificates":        {metadataOf("tls_client_certificate_bound_access_tokens", true), bad},
		"RFC 7591 §3.2.2: a string for a list":               {metadataOf("grant_types", "authorization_code"), bad},
		"RFC 7591 §3.2.2: a number for a string":             {metadataOf("client_name", 7), bad},
		"RFC 7591 §3.2.2: a string for a number":             {metadataOf("default_max_age", "60"), bad},
		"RFC 7591 §3.2.2: a string for a boolean":            {metadataOf("require_auth_time", "true"), bad},
		"RFC 7591 §2: jwks and jwks_uri":                     {metadataOf("jwks", jwks(signerOf("rp", jose.ES256)), "jwks_uri", "https://rp.example.com/jwks"), bad},
		"RFC 7591 §2: jwks in a string":                      {metadataOf("jwks", string(jwks(signerOf("rp", jose.ES256)))), bad},
		"RFC 7591 §2.1: id_token without implicit":           {metadataOf("response_types", []string{"id_token"}), bad},
		"RFC 8259 §4: a member twice":                        {`{"redirect_uris": ["https://a.example/"], "redirect_uris": ["https://b.example/"]}`, bad},
		"RFC 8259 §4: a member twice, in one we do not know": {`{"redirect_uris": ["https://a.example/"], "x": [{"a": 1, "a": 2}]}`, bad},
		"RFC 6749 §4.4: tokens that no person allows":        {metadataOf("grant_types", []string{"client_credentials"}), bad},
		"RFC 7591 §3.1: a list":                              {`[]`, bad},
		"RFC 7591 §3.1: null":                                {`null`, bad},
		"RFC 7591 §3.1: nothing":                             {``, bad},
		"RFC 7591 §3.1: two objects":                         {`{"redirect_uris": ["https://a.example/"]} {}`, bad},
		"RFC 7591 §3.1: half an object":                      {`{"redirect_uris": ["https://a.example/"]`, bad},
		"nested without end":                                 {`{"x": ` + deep + `}`, bad},
		"longer than anything":                               {`{"x": "` + strings.Repeat("x", maxBody) + `"}`, "invalid_request"},
	} {
		w.run(name, func(t *testing.T) {
			w.TB = t
			a := w.registration("POST", "/register", "", c.metadata)
			a.is(400, c.code)
			if len(a.writes) > 0 {
				t.Errorf("it wrote: %v", a.writes)
			}
		})
	}
	w.run("RFC 7591 §3.1: not JSON", func(*testing.T) {
		r := newRequest("POST", "/register", params("redirect_uris", "https://a.example/"))
		w.send(r).is(400, "invalid_request")
	})
}

// RFC 7591 §2, OIDC Registration §2: applications on a device often do not say
// that they are native.
func TestPublicClientsOnDevicesAreNative(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open)
	for _, uri := range []string{"http://127.0.0.1:33418/cb", "http://localhost:6274/oauth/callback", "com.example.app:/cb"} {
		if r := w.register("redirect_uris", []string{uri}, "token_endpoint_auth_method", "none"); r.json["application_type"] != "native" {
			t.Errorf("%s: %s", uri, r.body)
		}
		w.registration("POST", "/register", "", metadataOf("redirect_uris", []string{uri})).is(400, "invalid_redirect_uri")
		w.registration("POST", "/register", "", metadataOf("redirect_uris", []string{uri}, "token_endpoint_auth_method", "none", "application_type", "web")).is(400, "invalid_redirect_uri")
	}
}

// RFC 7591 §3: who may register.
func TestInitialAccessToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Registration = RegistrationToken })
	token := must(InitialAccessToken(w.provider.cfg.Secret, w.clock.Now().Add(time.Hour)))
	w.registration("POST", "/register", "", metadataOf()).is(401, "")
	for name, bad := range map[string]string{
		"another's":                  "e30" + token,
		"of another purpose":         w.provider.cfg.Secret.Seal(requestPurpose, []byte(`{"e":99999999999}`)),
		"expired":                    must(InitialAccessToken(w.provider.cfg.Secret, w.clock.Now())),
		"of a client for its own":    "x",
		"an access token of a login": w.signedIn("ada@example.com").tokens("web").access,
	} {
		w.run(name, func(*testing.T) { w.registration("POST", "/register", bad, metadataOf()).is(401, "invalid_token") })
	}
	r := httptest.NewRequest("POST", issuer+"/register", strings.NewReader(`{"redirect_uris":["https://a.example/"]}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "DPoP "+token)
	w.send(r).is(401, "invalid_token")
	for range 2 { // it is for any number
		if a := w.registration("POST", "/register", token, metadataOf()); a.status != 201 {
			t.Errorf("%s %s", a, a.body)
		}
	}
	w.clock.pass(time.Hour)
	w.registration("POST", "/register", token, metadataOf()).is(401, "invalid_token")
}

// Off, the endpoints are no different from paths that do not exist, and nobody is
// told of any.
func TestRegistrationIsOff(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]bool{"": false, RegistrationOff: false, RegistrationToken: true, RegistrationOpen: true} {
		w := newWorld(t, func(c *Config) { c.Registration = mode })
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, httptest.NewRequest("POST", issuer+"/register", nil))
		if (rec.Code != 404) != want {
			t.Errorf("%q: POST /register: %d", mode, rec.Code)
		}
		endpoint := w.send(newRequest("GET", "/.well-known/openid-configuration", nil)).json["registration_endpoint"]
		if (endpoint == issuer+"/register") != want || !want && endpoint != nil {
			t.Errorf("%q: registration_endpoint %v", mode, endpoint)
		}
	}
}

func TestRegistrationsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open, func(c *Config) { c.RegistrationLimit = storage.Limit{Max: 2, Window: time.Hour} })
	from := func(address string) answer {
		r := httptest.NewRequest("POST", issuer+"/register", strings.NewReader(`{"redirect_uris":["https://a.example/"]}`))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = address
		return w.send(r)
	}
	w.registration("POST", "/register", "", `{"redirect_uris": []}`).is(400, "invalid_redirect_uri") // what is refused counts nothing
	for _, address := range []string{"192.0.2.1:1", "192.0.2.1:2", "[2001:db8::1]:1", "[2001:db8::2]:1"} {
		if a := from(address); a.status != 201 {
			t.Fatalf("%s: %s %s", address, a, a.body)
		}
	}
	for _, address := range []string{"192.0.2.1:3", "[2001:db8::3]:1"} {
		a := from(address)
		a.is(429, "too_many_requests")
		if a.header.Get("Retry-After") != "3600" {
			t.Errorf("RFC 6585 §4: Retry-After %q", a.header.Get("Retry-After"))
		}
	}
	if a := from("192.0.2.2:1"); a.status != 201 {
		t.Errorf("another network: %s", a)
	}
	w.clock.pass(time.Hour)
	if a := from("192.0.2.1:1"); a.status != 201 {
		t.Errorf("an hour later: %s", a)
	}
}

func TestRegistrationFailsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open, func(c *Config) { c.RegistrationLimit = storage.Limit{Max: 9, Window: time.Hour} })
	r := w.register()
	for method, ask := range map[string]func() answer{
		"CountLimits":  func() answer { return w.registration("POST", "/register", "", metadataOf()) },
		"AddClient":    func() answer { return w.registration("POST", "/register", "", metadataOf()) },
		"Client":       func() answer { return w.registration("GET", r.path, r.token, nil) },
		"RemoveClient": func() answer { return w.registration("DELETE", r.path, r.token, nil) },
		"SaveClient":   func() answer { return w.registration("PUT", r.path, r.token, metadataOf("client_id", r.id)) },
	} {
		w.store.failBefore(method, errBroken)
		ask().is(503, "temporarily_unavailable")
	}
	w.store.heal()
}

// RFC 7592 §2.1, OIDC Registration §4: oidcc-3rd_party-init-login reads what it
// registered.
func TestReadRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open)
	r := w.register("initiate_login_uri", "https://rp.example.com/login")
	a := w.registration("GET", r.path, r.token, nil)
	if a.status != 200 || a.json["initiate_login_uri"] != "https://rp.example.com/login" || a.json["client_id"] != r.id {
		t.Errorf("%s %s", a, a.body)
	}
	if a.json["registration_access_token"] != r.token || a.json["registration_client_uri"] != issuer+r.path {
		t.Errorf("RFC 7592 §3: %s", a.body)
	}
	if a.json["client_secret"] != nil || a.json["client_secret_expires_at"] != nil {
		t.Error("a secret that is kept as a hash was told")
	}
}

// RFC 7592 §2: one token, one client.
func TestRegistrationAccessToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open)
	r, other := w.register(), w.register()
	stored := w.storedClient() // of the operator
	for name, c := range map[string]struct{ path, token, code string }{
		"none":                   {r.path, "", ""},
		"of another client":      {r.path, other.token, "invalid_token"},
		"its secret":             {r.path, r.secret, "invalid_token"},
		"of a client unknown":    {"/register/reg-unknown", r.token, "invalid_token"},
		"of the operator's":      {"/register/" + stored.ID, r.token, "invalid_token"},
		"of one in the settings": {"/register/web", r.token, "invalid_token"},
		"of what is no id":       {"/register/%00%FF", r.token, "invalid_token"},
	} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			w.run(method+" "+name, func(*testing.T) {
				var metadata any
				if method == "PUT" {
					metadata = metadataOf("client_id", r.id)
				}
				a := w.registration(method, c.path, c.token, metadata)
				if c.code == "" {
					a.is(401, "")
					if len(a.json) > 0 || a.header.Get("WWW-Authenticate") != `Bearer realm="`+issuer+`"` {
						a.Errorf("RFC 6750 §3.1: %s %v", a.body, a.header)
					}
					return
				}
				a.is(401, c.code)
			})
		}
	}
	w.stored(r.id)
}

// RFC 7592 §2.2.
func TestReplaceRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open)
	r := w.register("logo_uri", "https://rp.example.com/logo.png", "contacts", []string{"a@example.com"})
	cached, err := w.provider.clients.get(context.Background(), r.id)
	if err != nil || cached.LogoURI == "" {
		t.Fatal(err)
	}
	w.clock.pass(time.Second)
	a := w.registration("PUT", r.path, r.token, metadataOf("client_id", r.id, "client_secret", r.secret, "redirect_uris", []string{"https://rp.example.com/new"}, "client_name", "New"))
	if a.status != 200 || a.json["client_name"] != "New" || a.json["logo_uri"] != nil || a.json["contacts"] != nil || a.json["registration_access_token"] != r.token {
		t.Fatalf("%s %s", a, a.body)
	}
	now, err := w.provider.clients.get(context.Background(), r.id)
	if err != nil || now.LogoURI != "" || now.RedirectURIs[0] != "https://rp.example.com/new" {
		t.Errorf("it does not count at once: %+v", now)
	}
	c := w.stored(r.id)
	if c.SecretSHA256 != hexSHA256(r.secret) || c.RegistrationTokenSHA256 != hexSHA256(r.token) || c.Consent != "ask" || !c.UpdatedAt.After(c.CreatedAt) {
		t.Errorf("what it did not name has changed: %+v", c)
	}

	for name, pairs := range map[string][]any{
		"another client_id":                     {"client_id", "web"},
		"no client_id":                          {"client_id", nil},
		"a client_id that is no string":         {"client_id", 7},
		"a client_secret of its choice":         {"client_secret", "chosen"},
		"a client_secret that is no string":     {"client_secret", 7},
		"registration_access_token":             {"registration_access_token", r.token},
		"registration_client_uri":               {"registration_client_uri", issuer + r.path},
		"client_id_issued_at":                   {"client_id_issued_at", 1},
		"client_secret_expires_at":              {"client_secret_expires_at", 0},
		"metadata that could not be registered": {"token_endpoint_auth_method", "client_secret_jwt"},
	} {
		w.run(name, func(t *testing.T) {
			a := w.registration("PUT", r.path, r.token, metadataOf("client_id", r.id).with(pairs...))
			a.is(400, "invalid_client_metadata")
			if w.stored(r.id).Name != "New" {
				t.Error("it was changed")
			}
		})
	}
	w.run("an operator gives it another secret meanwhile", func(t *testing.T) {
		body, err := json.Marshal(metadataOf("client_id", r.id))
		if err != nil {
			t.Fatal(err)
		}
		c := w.stored(r.id)
		seen := c
		c.SecretSHA256 = hexSHA256("rotated")
		rotate := meanwhile(func() {
			if err := w.engine.SaveClient(t.Context(), c, seen); err != nil {
				t.Error(err)
			}
		})
		w.registration("PUT", r.path, r.token, io.MultiReader(rotate, bytes.NewReader(body))).is(503, "temporarily_unavailable")
		if w.stored(r.id).SecretSHA256 != c.SecretSHA256 {
			t.Error("the old secret is back")
		}
	})
	w.run("a client that needs no secret any more has none; a new one is told once", func(t *testing.T) {
		w.registration("PUT", r.path, r.token, metadataOf("client_id", r.id, "token_endpoint_auth_method", "none"))
		if w.stored(r.id).SecretSHA256 != "" {
			t.Error("it has the old one")
		}
		a := w.registration("PUT", r.path, r.token, metadataOf("client_id", r.id, "token_endpoint_auth_method", "client_secret_post"))
		secret, _ := a.json["client_secret"].(string)
		if secret == "" || secret == r.secret || w.stored(r.id).SecretSHA256 != hexSHA256(secret) {
			t.Errorf("%s", a.body)
		}
	})
}

// RFC 7592 §2.3.
func TestRemoveRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open)
	r := w.register()
	if _, err := w.provider.clients.get(context.Background(), r.id); err != nil {
		t.Fatal(err)
	}
	now := w.clock.Now()
	login := w.signedIn("ada@example.com").login()
	grant := storage.Grant{ID: "grant", ClientID: r.id, UserID: login.User.ID, SessionID: login.Session.ID, CreatedAt: now, AuthTime: now, ExpiresAt: now.Add(time.Hour)}
	if _, err := w.engine.RedeemCode(context.Background(), grant, storage.Redeeming{}, now); err != nil {
		t.Fatal(err)
	}
	a := w.registration("DELETE", r.path, r.token, nil)
	if a.status != 204 || a.body != "" || a.header.Get("Content-Type") != "" {
		t.Errorf("%s %q", a, a.body)
	}
	if _, err := w.provider.clients.get(context.Background(), r.id); err == nil {
		t.Error("it is still known here")
	}
	if _, _, err := w.engine.Grant(context.Background(), grant.ID, now); err == nil {
		t.Error("its grants are still there")
	}
	for _, method := range []string{"GET", "DELETE"} {
		w.registration(method, r.path, r.token, nil).is(401, "invalid_token")
	}
	w.registration("PUT", r.path, r.token, metadataOf("client_id", r.id)).is(401, "invalid_token")
}

// A change that races with a look at the client is not undone by it.
func TestChangesOfClientsAreSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open)
	r := w.register()
	c := newClients(nil, slowStore{w.engine, func() {
		if a := w.registration("PUT", r.path, r.token, metadataOf("client_id", r.id, "client_name", "New")); a.status != 200 {
			t.Fatalf("%s", a)
		}
		w.provider.clients.forget(r.id)
	}}, w.clock.Now)
	w.provider.clients = c
	for _, want := range []string{"Relying Party", "New"} {
		if client, err := c.get(context.Background(), r.id); err != nil || client.Name != want {
			t.Errorf("have %q %v, want %q", client.Name, err, want)
		}
		c.store = w.engine
	}
}

// slowStore has something happen after a client was read.
type slowStore struct {
	Store
	meanwhile func()
}

func (s slowStore) Client(ctx context.Context, id string) (storage.Client, error) {
	c, err := s.Store.Client(ctx, id)
	s.meanwhile()
	return c, err
}

// reaching lets a provider reach a host of the tests.
func reaching(s *remote) func(*Config) {
	return func(c *Config) {
		c.Fetch.Allow, c.Fetch.RootCAs = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, poolOf(s.Server)
	}
}

// OIDC Registration §5.
func TestSectorIdentifier(t *testing.T) {
	t.Parallel()
	var listed atomic.Value
	host := newRemote(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, listed.Load().(string))
	})
	w := newWorld(t, open, reaching(host))
	uris := []string{"https://a.example.com/cb", "https://b.example.com/cb"}
	pairs := []any{"redirect_uris", uris, "subject_type", "pairwise", "sector_identifier_uri", host.URL + "/sector"}
	listed.Store(`["https://b.example.com/cb", "https://c.example.com/cb", "https://a.example.com/cb"]`)
	r := w.register(pairs...) // oidcc-registration-sector-uri
	u, err := url.Parse(host.URL)
	if err != nil || sector(w.stored(r.id)) != u.Hostname() {
		t.Errorf("OIDC Core §8.1: sector %q", sector(w.stored(r.id)))
	}
	for name, list := range map[string]string{
		"oidcc-registration-sector-bad: one is missing": `["https://b.example.com/cb"]`,
		"no list":              `{"redirect_uris": []}`,
		"not of text":          `[1]`,
		"nothing":              ``,
		"null":                 `null`,
		"longer than anything": `["` + strings.Repeat("x", 70<<10) + `"]`,
	} {
		w.run(name, func(*testing.T) {
			listed.Store(list)
			a := w.registration("POST", "/register", "", metadataOf(pairs...))
			a.is(400, "invalid_client_metadata")
			w.clock.pass(time.Minute) // a failure is remembered for a moment
		})
	}
	w.registration("POST", "/register", "", metadataOf("sector_identifier_uri", "https://10.0.0.1/sector")).is(400, "invalid_client_metadata")
}

// Browsers may ask whether scripts may call (CORS): clients in browsers register.
func TestRegistrationFromScripts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open)
	for _, path := range []string{"/register", "/register/reg-x"} {
		a := w.send(httptest.NewRequest("OPTIONS", issuer+path, nil))
		if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "DELETE") {
			t.Errorf("%s: %s %v", path, a, a.header)
		}
	}
}

// Whatever is sent, it is one object with each member once, or refused; and what
// comes of it is a client that a person is asked about.
func FuzzParseMetadata(f *testing.F) {
	for _, seed := range []string{
		`{"redirect_uris":["https://a.example/"]}`, `{"a":1,"a":2}`, `{"x":{"a":1,"\u0061":2}}`, `null`, `[]`, `{"jwks":{"keys":[]},"default_max_age":1e3}`,
		`{"consent":"skip","profile":"fapi2","allow":[],"client_id":"web"}`, "{\"client_name\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parseMetadata(body)
		if err != nil {
			return
		}
		var same map[string]json.RawMessage
		if err := json.Unmarshal(body, &same); err != nil || len(same) != len(m) {
			t.Fatalf("read otherwise by another reader: %v", err)
		}
		c, err := m.client(storage.Client{ID: "x"})
		if err != nil {
			return
		}
		if c.ID != "x" || c.Consent != "ask" || c.Profile != "" || c.Allow != nil || c.Groups != nil || c.SecretSHA256 != "" || c.RegistrationTokenSHA256 != "" {
			t.Fatalf("it gave itself more: %+v", c)
		}
		for _, e := range CheckClient(c, ClientRules{}) {
			checkDescription(t, e.public().Description)
		}
	})
}

// meanwhile is nothing to read, and what happens before the rest is read.
type meanwhile func()

func (m meanwhile) Read([]byte) (int, error) {
	m()
	return 0, io.EOF
}
