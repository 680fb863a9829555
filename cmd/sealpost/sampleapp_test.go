package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/templates"
)

// fakeProvider answers the sample application as a test wants it to.
type fakeProvider struct {
	*httptest.Server
	ring   *keys.Ring
	down   bool           // no discovery
	token  map[string]any // of the token endpoint; "id_token" is made of claims
	claims map[string]any
	asked  url.Values // of the token endpoint
	refuse bool       // the token endpoint does
}

func newFakeProvider(t *testing.T) *fakeProvider {
	t.Helper()
	in, _ := buildInstance(t, settingsOf(t, "sqlite"), time.Now, nil)
	t.Cleanup(func() { in.close() })
	p := &fakeProvider{ring: in.ring}
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		if p.down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		answer(w, map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/jwks",
			"userinfo_endpoint": p.URL + "/userinfo", "end_session_endpoint": p.URL + "/logout", "id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) {
		body, _ := p.ring.JWKS()
		_, _ = w.Write(body)
	})
	mux.HandleFunc("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer access" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer(w, map[string]any{"sub": "ada", "email": "ada@example.com", "groups": []string{"staff"}})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		p.asked = r.PostForm
		if id, secret, ok := r.BasicAuth(); !ok || id != sampleClientID || secret != "app-secret" || p.refuse {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":"invalid_grant","error_description":"<b>no</b>"}`)
			return
		}
		out := map[string]any{"access_token": "access", "token_type": "Bearer", "expires_in": 600, "refresh_token": "refresh"}
		if p.claims != nil {
			signed, err := p.ring.Sign(jose.RS256, keys.TypeJWT, p.claims)
			if err != nil {
				t.Error(err)
			}
			out["id_token"] = signed
		}
		for name, v := range p.token {
			out[name] = v
		}
		answer(w, out)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// good are the claims of an ID token for a nonce.
func (p *fakeProvider) good(nonce string) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": p.URL, "aud": sampleClientID, "sub": "ada", "nonce": nonce, "email": "ada@example.com", "amr": []string{"email"},
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "at_hash": keys.LeftHalf("RS256", "access"),
	}
}

// sample is the application with a browser.
type sample struct {
	t       *testing.T
	url     string
	client  *http.Client
	headers http.Header
}

func newSample(t *testing.T, p *fakeProvider) *sample {
	t.Helper()
	pages, err := templates.New(templates.Branding{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(nil)
	server.Config.Handler = newSampleApp(p.URL, "http://"+server.Listener.Addr().String(), p.URL+"/dev/mailbox", "app-secret", pages, time.Now).handler()
	server.Start()
	t.Cleanup(server.Close)
	s := &sample{t: t, url: server.URL, headers: http.Header{}}
	s.client = s.browser()
	return s
}

// browser gives another browser, without cookies.
func (s *sample) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: patience, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if "http://"+r.URL.Host != s.url {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

func (s *sample) do(method, path string) (res *http.Response, body string) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header = s.headers.Clone()
	if res, err = s.client.Do(r); err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(raw)
}

// login begins a login and gives what the provider was asked.
func (s *sample) login(query string) url.Values {
	s.t.Helper()
	res, body := s.do("GET", "/login"+query)
	to, err := res.Location()
	if err != nil || to.Path != "/authorize" {
		s.t.Fatalf("%d %v %v\n%s", res.StatusCode, to, err, body)
	}
	return to.Query()
}

func TestTheSampleAppSignsIn(t *testing.T) {
	p := newFakeProvider(t)
	s := newSample(t, p)
	asked := s.login("?prompt=login&login_hint=ada@example.com&max_age=60&client_id=evil")
	for name, want := range map[string]string{
		"client_id": sampleClientID, "redirect_uri": s.url + "/callback", "response_type": "code", "code_challenge_method": "S256",
		"prompt": "login", "login_hint": "ada@example.com", "max_age": "60", "scope": sampleScopeList,
	} {
		if have := asked.Get(name); have != want {
			t.Errorf("%s: have %q, want %q", name, have, want)
		}
	}
	p.claims = p.good(asked.Get("nonce"))
	answer := "/callback?" + url.Values{"code": {"c"}, "state": {asked.Get("state")}, "iss": {p.URL}}.Encode()
	if res, body := s.do("GET", answer); res.StatusCode != 200 || !strings.Contains(body, "Hello, ada@example.com") {
		t.Fatalf("%d\n%s", res.StatusCode, body)
	}
	if p.asked.Get("code_verifier") == "" || p.asked.Get("code") != "c" {
		t.Errorf("token request: %v", p.asked)
	}
	// The answer was good once: another tab that brings it, too, finds itself signed in.
	p.asked = nil
	if res, body := s.do("GET", answer); res.StatusCode != 200 || !strings.Contains(body, "Hello, ada@example.com") || p.asked != nil {
		t.Errorf("again: %d, token request: %v\n%s", res.StatusCode, p.asked, body)
	}
	if _, body := s.do("POST", "/userinfo"); !strings.Contains(body, `data-userinfo="groups"`) || !strings.Contains(body, "staff") {
		t.Errorf("userinfo:\n%s", body)
	}
	// OIDC Core §12.2: a refreshed ID token has no nonce of its own; it may be missing.
	delete(p.claims, "nonce")
	if _, body := s.do("POST", "/refresh"); !strings.Contains(body, "<output data-refreshed>1</output>") {
		t.Errorf("refresh:\n%s", body)
	}
	p.claims = nil
	if _, body := s.do("POST", "/refresh"); !strings.Contains(body, "<output data-refreshed>2</output>") {
		t.Errorf("refresh without an ID token:\n%s", body)
	}
	if p.asked.Get("grant_type") != "refresh_token" || p.asked.Get("refresh_token") != "refresh" {
		t.Errorf("refresh request: %v", p.asked)
	}
	p.refuse = true
	if res, body := s.do("POST", "/refresh"); res.StatusCode != 400 || !strings.Contains(body, "invalid_grant") || strings.Contains(body, "<b>no") {
		t.Errorf("a refresh that is refused: %d\n%s", res.StatusCode, body)
	}
	res, _ := s.do("POST", "/logout")
	to, err := res.Location()
	if err != nil || to.Path != "/logout" || to.Query().Get("id_token_hint") == "" || to.Query().Get("post_logout_redirect_uri") != s.url+"/" {
		t.Errorf("logout goes to %v, %v", to, err)
	}
	if _, body := s.do("GET", "/"); !strings.Contains(body, "You are not signed in") {
		t.Errorf("still signed in:\n%s", body)
	}
	if res, body := s.do("POST", "/refresh"); res.StatusCode != 400 || !strings.Contains(body, "you are not signed in") {
		t.Errorf("refresh when signed out: %d\n%s", res.StatusCode, body)
	}
	s.login("")
	if res, body := s.do("GET", answer); res.StatusCode != 400 || !strings.Contains(body, "started no such login") {
		t.Errorf("the answer, signed out: %d\n%s", res.StatusCode, body)
	}
	if res, _ := s.do("POST", "/logout"); res.Request.URL.Path != "/" {
		t.Errorf("logout when signed out: %v", res.Request.URL)
	}
}

func TestTheSampleAppTakesNoOtherAnswer(t *testing.T) {
	p := newFakeProvider(t)
	set := func(name string, v any) func(map[string]any) {
		return func(claims map[string]any) { claims[name] = v }
	}
	for _, c := range []struct {
		name   string
		query  url.Values           // in place of what a good answer has
		claims func(map[string]any) // what is wrong with the ID token
		token  map[string]any       // and with the token response
		from   func(s *sample)      // before the answer comes
		want   string
	}{
		{name: "RFC 6749 §10.12: another state", query: url.Values{"state": {"x"}}, want: "started no such login"},
		{name: "RFC 6749 §10.12: another browser", from: func(s *sample) { s.client = s.browser() }, want: "started no login here"},
		{name: "another browser with a login of its own", from: func(s *sample) { s.client = s.browser(); s.login("") }, want: "started no such login"},
		{name: "RFC 9207 §2.4: another issuer", query: url.Values{"iss": {"https://evil.example.com"}}, want: "another provider"},
		{name: "RFC 9207 §2.4: no issuer", query: url.Values{"iss": {""}}, want: "another provider"},
		{name: "RFC 6749 §4.1.2.1: an error", query: url.Values{"error": {"access_denied"}, "error_description": {"<script>x"}}, want: "access_denied: &lt;script&gt;x"},
		{name: "OIDC Core §3.1.3.7: another nonce", claims: set("nonce", "x"), want: "wrong nonce"},
		{name: "OIDC Core §3.1.3.7: for another client", claims: set("aud", "x"), want: "ID token"},
		{name: "OIDC Core §3.1.3.7: from another issuer", claims: set("iss", "https://evil.example.com"), want: "ID token"},
		{name: "OIDC Core §3.1.3.7: expired", claims: set("exp", 1), want: "ID token"},
		{name: "OIDC Core §3.1.3.8: of another access token", claims: set("at_hash", keys.LeftHalf("RS256", "x")), want: "ID token"},
		{name: "no ID token", token: map[string]any{"id_token": ""}, want: "ID token"},
		{name: "an ID token that is none", token: map[string]any{"id_token": "a.b.c"}, want: "ID token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSample(t, p)
			asked := s.login("")
			p.claims, p.token = p.good(asked.Get("nonce")), c.token
			if c.claims != nil {
				c.claims(p.claims)
			}
			query := url.Values{"code": {"c"}, "state": {asked.Get("state")}, "iss": {p.URL}}
			for name, v := range c.query {
				query[name] = v
			}
			if c.from != nil {
				c.from(s)
			}
			res, body := s.do("GET", "/callback?"+query.Encode())
			if res.StatusCode != 400 || !strings.Contains(body, c.want) || strings.Contains(body, "<script>") {
				t.Errorf("%d, want %q in:\n%s", res.StatusCode, c.want, body)
			}
			if _, body := s.do("GET", "/"); !strings.Contains(body, "You are not signed in") {
				t.Errorf("signed in:\n%s", body)
			}
		})
	}
}

// Whoever knew the browser's cookie before the login knows nothing after it.
func TestTheSampleAppChangesItsCookie(t *testing.T) {
	p := newFakeProvider(t)
	s := newSample(t, p)
	at, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	s.client.Jar.SetCookies(at, []*http.Cookie{{Name: sampleCookie, Value: "planted"}})
	asked := s.login("")
	p.claims = p.good(asked.Get("nonce"))
	if res, body := s.do("GET", "/callback?"+url.Values{"code": {"c"}, "state": {asked.Get("state")}, "iss": {p.URL}}.Encode()); res.StatusCode != 200 {
		t.Fatalf("%d\n%s", res.StatusCode, body)
	}
	for _, c := range s.client.Jar.Cookies(at) {
		if c.Value == "planted" {
			t.Error("the cookie is the planted one")
		}
	}
	s.client = s.browser()
	s.client.Jar.SetCookies(at, []*http.Cookie{{Name: sampleCookie, Value: "planted"}})
	if _, body := s.do("GET", "/"); !strings.Contains(body, "You are not signed in") {
		t.Errorf("the planted cookie is signed in:\n%s", body)
	}
}

func TestTheSampleAppIsNoOpenDoor(t *testing.T) {
	p := newFakeProvider(t)
	s := newSample(t, p)
	s.headers.Set("Sec-Fetch-Site", "cross-site")
	for _, path := range []string{"/userinfo", "/refresh", "/logout"} {
		if res, _ := s.do("POST", path); res.StatusCode != 403 {
			t.Errorf("POST %s from another site: %d", path, res.StatusCode)
		}
	}
	s.headers.Del("Sec-Fetch-Site")
	for path, want := range map[string]int{"/": 200, "/nowhere": 404, "/static/style.css": 200, "/static/nothing": 404, "/callback": 400} {
		res, _ := s.do("GET", path)
		if res.StatusCode != want || res.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d %v", path, res.StatusCode, res.Header)
		}
	}
}

func TestTheSampleAppSaysWhenTheProviderIsDown(t *testing.T) {
	p := newFakeProvider(t)
	p.down = true
	s := newSample(t, p)
	if res, body := s.do("GET", "/login"); res.StatusCode != 502 || !strings.Contains(body, "discovery") {
		t.Errorf("%d\n%s", res.StatusCode, body)
	}
	p.down = false
	s.login("") // and it looks again
}
