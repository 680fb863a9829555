package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/net/html"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

// cost is what one request takes: commits and round trips, as they are seen on
// the wire to PostgreSQL, and signatures of the ring.
type cost struct{ commits, roundTrips, signatures int64 }

// metered is an instance that is walked over HTTP as everyone walks it. None of
// its workers run, so that what is counted is the request's; a replica beside
// it, with connections of its own, sends the mail and the notices.
type metered struct {
	*testing.T
	issuer  string
	replica *instance
	mail    mailSink
	key     jose.JSONWebKey // of the clients that have one

	wire   *postgrestest.Wire
	passed atomic.Int64 // of the clock, nanoseconds
	signed atomic.Int64
}

func newMetered(t *testing.T) *metered {
	t.Helper()
	m := &metered{T: t}
	m.mail.arrived = make(chan sunkMail, 1)
	smtp, err := m.mail.listen("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.mail.close)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	m.key = jose.JSONWebKey{Key: private, Algorithm: "ES256", Use: "sig"}
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := settingsOf(t, "postgres")
	m.issuer = "http://" + public.Addr().String()
	s.Issuer, s.AdminListen, s.Mail.URL, s.Clients = m.issuer, "off", SecretURL("smtp+plain://"+smtp), m.clients()
	direct := s.Database
	tapped, wire := postgrestest.Tap(t, string(direct)+"&pool_max_conns=1") // what is prepared once is prepared for all
	s.Database, m.wire = SecretURL(tapped), wire
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	in, err := build(t.Context(), &process{stderr: io.Discard, now: m.counting}, s, public, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = serve(in.servers[0], in.listeners[0]) }() // it ends with the cleanup
	t.Cleanup(func() { _ = errors.Join(in.servers[0].Close(), in.close()) })

	s.Database = direct
	m.replica, _ = buildInstance(t, s, m.now, nil)
	_, stop, ended := running(t, m.replica)
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return m
}

// counting is the clock of what is metered. The ring looks at it for each
// signature.
func (m *metered) counting() time.Time {
	if pc, _, _, ok := runtime.Caller(1); ok && strings.HasSuffix(runtime.FuncForPC(pc).Name(), "keys.(*Ring).Sign") {
		m.signed.Add(1)
	}
	return m.now()
}

func (m *metered) now() time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(m.passed.Load()))
}

func (m *metered) pass(d time.Duration) { m.passed.Add(int64(d)) }

const secretOfClients = "a secret of clients"

func (m *metered) clients() []Client {
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{m.key.Public()}})
	if err != nil {
		m.Fatal(err)
	}
	client := func(id, method string, grants ...string) Client {
		c := Client{Client: storage.Client{ID: id, Name: id, TokenEndpointAuthMethod: method, GrantTypes: grants}}
		if grants[0] == "authorization_code" {
			c.RedirectURIs = []string{callback}
		}
		switch method {
		case "client_secret_basic":
			c.Secret = secretOfClients
		case "private_key_jwt":
			c.JWKS = public
		}
		return c
	}
	web := client("web", "client_secret_basic", "authorization_code", "refresh_token")
	web.BackchannelLogoutURI = "http://127.0.0.1:1/logout"
	es := client("es", "client_secret_basic", "authorization_code")
	es.IDTokenSigningAlg = "ES256"
	hybrid := client("hybrid", "client_secret_basic", "authorization_code", "implicit")
	hybrid.ResponseTypes = []string{"code id_token", "code id_token token"}
	return []Client{
		web, es, hybrid,
		client("bound", "private_key_jwt", "authorization_code", "refresh_token", "client_credentials"),
		client("machine", "client_secret_basic", "client_credentials"),
		client("tv", "none", "urn:ietf:params:oauth:grant-type:device_code"),
	}
}

const callback = "https://app.example.com/callback"

// answer is one, its body read.
type answer struct {
	*http.Response
	body []byte
	json map[string]any
	jws  []string // algorithms of the tokens in the body, as the ID token, then the access token
}

// ask sends one request and follows nothing.
func (m *metered) ask(client *http.Client, r *http.Request, status int) answer {
	m.Helper()
	res, err := client.Do(r)
	if err != nil {
		m.Fatal(err)
	}
	defer res.Body.Close()
	a := answer{Response: res}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		m.Fatal(err)
	}
	if res.StatusCode != status {
		m.Fatalf("%s %s: %d, want %d: %s", r.Method, r.URL.Path, res.StatusCode, status, a.body)
	}
	if json.Unmarshal(a.body, &a.json) == nil {
		for _, name := range []string{"id_token", "access_token"} {
			if jws, err := jose.ParseSignedCompact(a.text(name), keys.Algorithms); err == nil {
				a.jws = append(a.jws, jws.Signatures[0].Header.Algorithm)
			}
		}
	}
	return a
}

func (a answer) text(name string) string {
	s, _ := a.json[name].(string)
	return s
}

// sent is the query or fragment that the browser takes to the application.
func (m *metered) sent(a answer) url.Values {
	m.Helper()
	u, err := a.Location()
	if err != nil || !strings.HasPrefix(u.String(), callback) {
		m.Fatalf("sent to %q: %v", a.Header.Get("Location"), err)
	}
	got, err := url.ParseQuery(u.RawQuery + u.Fragment)
	if err != nil || got.Has("error") {
		m.Fatalf("answered %v: %v", got, err)
	}
	return got
}

func (m *metered) request(method, path string, form url.Values) *http.Request {
	m.Helper()
	address := m.issuer + strings.TrimPrefix(path, m.issuer)
	if method == http.MethodGet && len(form) > 0 {
		address += "?" + form.Encode()
	}
	r, err := http.NewRequestWithContext(m.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		m.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// anyone asks without cookies.
var anyone = &http.Client{Timeout: patience, CheckRedirect: stay}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// visitor is a browser that does one thing at a time.
type visitor struct {
	*metered
	client *http.Client
	browser
}

func (m *metered) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		m.Fatal(err)
	}
	return &visitor{metered: m, client: &http.Client{Jar: jar, Timeout: patience, CheckRedirect: stay}}
}

func (v *visitor) open(method, path string, form url.Values, status int) answer {
	v.Helper()
	r := v.request(method, path, form)
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	a := v.ask(v.client, r, status)
	v.at = r.URL
	var err error
	if v.page, err = html.Parse(bytes.NewReader(a.body)); err != nil {
		v.Fatal(err)
	}
	return a
}

func (v *visitor) submit(name string, status int, pairs ...string) answer {
	v.Helper()
	method, address, fields, err := v.form(name)
	if err != nil {
		v.Fatalf("%s: %v", v.at.Path, err)
	}
	for n, values := range formOf(pairs...) {
		fields[n] = values
	}
	return v.open(method, address, fields, status)
}

func formOf(pairs ...string) url.Values {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

// verifier and its challenge are those of RFC 7636, appendix B.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

func authorization(client string, pairs ...string) url.Values {
	return formOf(append([]string{"client_id", client, "redirect_uri", callback, "response_type", "code", "scope", "openid email offline_access",
		"state", "state", "nonce", "nonce", "code_challenge", challenge, "code_challenge_method", "S256"}, pairs...)...)
}

// call is one of a client that proves itself by its secret, or only names itself.
func (m *metered) call(path, client string, status int, pairs ...string) answer {
	m.Helper()
	r := m.request("POST", path, formOf(append([]string{"client_id", client}, pairs...)...))
	if client != "tv" {
		r.SetBasicAuth(client, url.QueryEscape(secretOfClients))
	}
	return m.ask(anyone, r, status)
}

// bound is a call of the client that proves itself by its key.
func (m *metered) bound(path string, dpop bool, status int, pairs ...string) answer {
	m.Helper()
	now := m.now().Unix()
	assertion := m.sign("JWT", map[string]any{"iss": "bound", "sub": "bound", "aud": m.issuer, "jti": keys.Token(), "iat": now, "exp": now + 60})
	r := m.request("POST", path, formOf(append([]string{
		"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", assertion,
	}, pairs...)...))
	if dpop {
		r.Header.Set("DPoP", m.proof("POST", path, ""))
	}
	return m.ask(anyone, r, status)
}

func (m *metered) proof(method, path, token string) string {
	m.Helper()
	claims := map[string]any{"jti": keys.Token(), "htm": method, "htu": m.issuer + path, "iat": m.now().Unix()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return m.sign("dpop+jwt", claims)
}

func (m *metered) sign(typ string, claims map[string]any) string {
	m.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: m.key.Key}, &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{"typ": typ, "jwk": m.key.Public()}})
	if err != nil {
		m.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		m.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		m.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		m.Fatal(err)
	}
	return token
}

// link is that of the next mail.
func (m *metered) link() string {
	m.Helper()
	select {
	case mail := <-m.mail.arrived:
		return mail.Link
	case <-time.After(patience):
		m.Fatal("no mail")
		return ""
	}
}

// resource asks userinfo by a scheme.
func (m *metered) resource(scheme, token string) answer {
	m.Helper()
	r := m.request("GET", "/userinfo", nil)
	r.Header.Set("Authorization", scheme+" "+token)
	if scheme == "DPoP" {
		r.Header.Set("DPoP", m.proof("GET", "/userinfo", token))
	}
	return m.ask(anyone, r, 200)
}

// exchange redeems a code.
func exchange(code string) []string {
	return []string{"grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier}
}

// none is long enough for anything of ours, and nothing of ours.
var none = strings.Repeat("none", 16)

// signedBy holds an answer to the algorithms of its ID and access token.
func (m *metered) signedBy(a answer, algs ...string) {
	m.Helper()
	if !slices.Equal(a.jws, algs) {
		m.Errorf("signed by %v, want %v", a.jws, algs)
	}
}

// walk goes through everything once. Each step is one request.
func (m *metered) walk(step func(name string, want cost, do func())) {
	v := m.visitor()
	var a answer
	step("GET /authorize: checked, sealed, sent to the form", cost{0, 0, 0}, func() { a = v.open("GET", "/authorize", authorization("web"), 303) })
	step("the form", cost{0, 0, 0}, func() { v.open("GET", a.Header.Get("Location"), nil, 200) })
	step("POST /login: asking for the link", cost{1, 1, 0}, func() { a = v.submit("email", 303, "email", "ada@example.com") })
	step("the tab that waits", cost{0, 1, 0}, func() { v.open("GET", a.Header.Get("Location"), nil, 200) })
	link := m.link()
	step("opening the link", cost{0, 1, 0}, func() { v.open("GET", link, nil, 200) })
	step("confirming, answering the relying party", cost{1, 2, 0}, func() { a = v.submit("confirm", 303) })
	var tokens answer
	step("redeeming the code, RS256", cost{1, 1, 2}, func() { tokens = m.call("/token", "web", 200, exchange(m.sent(a).Get("code"))...) })
	m.signedBy(tokens, "RS256", "ES256")

	step("silent login", cost{0, 1, 0}, func() { a = v.open("GET", "/authorize", authorization("es", "prompt", "none"), 303) })
	step("redeeming the code, ES256", cost{1, 1, 2}, func() { a = m.call("/token", "es", 200, exchange(m.sent(a).Get("code"))...) })
	m.signedBy(a, "ES256", "ES256")
	m.pass(6 * time.Minute)
	step("silent login on a session not seen for five minutes", cost{1, 2, 0}, func() { v.open("GET", "/authorize", authorization("web", "prompt", "none"), 303) })
	for typ, signatures := range map[string]int64{"code id_token": 1, "code id_token token": 2} {
		step("silent login, "+typ+": its grant", cost{1, 2, signatures}, func() {
			m.sent(v.open("GET", "/authorize", authorization("hybrid", "response_type", typ), 303))
		})
	}

	step("refresh", cost{1, 1, 2}, func() {
		tokens = m.call("/token", "web", 200, "grant_type", "refresh_token", "refresh_token", tokens.text("refresh_token"))
	})
	step("userinfo", cost{0, 1, 0}, func() { m.resource("Bearer", tokens.text("access_token")) })
	step("introspection", cost{0, 1, 0}, func() { m.call("/introspect", "web", 200, "token", tokens.text("access_token")) })
	for _, path := range []string{"/.well-known/openid-configuration", "/jwks"} {
		step("GET "+path, cost{0, 0, 0}, func() { a = m.ask(anyone, m.request("GET", path, nil), 200) })
		step("GET "+path+", known by its ETag", cost{0, 0, 0}, func() {
			r := m.request("GET", path, nil)
			r.Header.Set("If-None-Match", a.Header.Get("ETag"))
			m.ask(anyone, r, 304)
		})
	}

	step("client_credentials", cost{0, 0, 1}, func() { m.call("/token", "machine", 200, "grant_type", "client_credentials") })
	step("client_credentials, private_key_jwt", cost{1, 1, 1}, func() { m.bound("/token", false, 200, "grant_type", "client_credentials") })
	step("client_credentials, private_key_jwt and DPoP: spent together", cost{1, 1, 1}, func() { m.bound("/token", true, 200, "grant_type", "client_credentials") })

	pushed := func(a answer) url.Values { return formOf("client_id", "web", "request_uri", a.text("request_uri")) }
	step("a pushed request", cost{0, 0, 0}, func() { a = m.call("/par", "web", 201, pairsOf(authorization("web"))...) })
	step("a pushed request, answered: whether it was used, the session, its use", cost{1, 3, 0}, func() { m.sent(v.open("GET", "/authorize", pushed(a), 303)) })

	a = v.open("GET", "/authorize", authorization("bound"), 303)
	step("redeeming the code, private_key_jwt and DPoP", cost{2, 2, 2}, func() { a = m.bound("/token", true, 200, exchange(m.sent(a).Get("code"))...) })
	step("refresh, private_key_jwt and DPoP", cost{2, 2, 2}, func() {
		a = m.bound("/token", true, 200, "grant_type", "refresh_token", "refresh_token", a.text("refresh_token"))
	})
	step("userinfo, DPoP", cost{1, 2, 0}, func() { m.resource("DPoP", a.text("access_token")) })

	m.elsewhere(step)
	m.device(v, step)
	m.account(step)
	step("a link that is none of ours", cost{0, 0, 0}, func() { v.open("GET", "/login?token="+none, nil, 404) })
	step("a code that is none of ours", cost{0, 0, 0}, func() { m.call("/token", "web", 400, exchange(none)...) })
	step("an access token that is none of ours", cost{0, 0, 0}, func() { m.call("/introspect", "web", 200, "token", none) })
	step("logout: the session ends, its notices are queued", cost{1, 2, 0}, func() { v.open("GET", "/logout", formOf("id_token_hint", tokens.text("id_token")), 200) })
}

// elsewhere opens the link in another browser, and types the code it shows.
func (m *metered) elsewhere(step func(name string, want cost, do func())) {
	waiting, other := m.visitor(), m.visitor()
	a := waiting.open("GET", "/authorize", authorization("web"), 303)
	waiting.open("GET", a.Header.Get("Location"), nil, 200)
	a = waiting.submit("email", 303, "email", "bob@example.com")
	waiting.open("GET", a.Header.Get("Location"), nil, 200)
	link := m.link()
	step("opening the link in another browser", cost{0, 1, 0}, func() { other.open("GET", link, nil, 200) })
	step("showing the code there", cost{1, 2, 0}, func() { other.submit("show-code", 200) })
	code := find(other.page, func(n *html.Node) bool { return n.Data == "output" })
	if code == nil {
		m.Fatal("no code is shown")
	}
	step("typing it here: counted, tried, signed in", cost{3, 4, 0}, func() { a = waiting.submit("enter-code", 303, "code", text(code)) })
	m.sent(a)
}

// account looks after an account.
func (m *metered) account(step func(name string, want cost, do func())) {
	v := m.visitor()
	person := func() string { return "a" + strings.ToLower(keys.ID()) + "@example.com" }
	v.open("GET", "/account", nil, 200)
	a := v.submit("email", 303, "email", person())
	v.open("GET", m.link(), nil, 200)
	v.submit("confirm", 303)
	step("the account page: the session; sessions, apps, events", cost{0, 4, 0}, func() { v.open("GET", "/account", nil, 200) })
	step("a profile", cost{1, 2, 0}, func() { a = v.submit("profile", 303, "name", keys.ID()) })
	v.open("GET", a.Header.Get("Location"), nil, 200)
	step("asking for another address", cost{1, 2, 0}, func() { v.submit("address", 303, "email", person()) })
	v.open("GET", m.link(), nil, 200)
	step("confirming it: the link, the address, the session", cost{1, 3, 0}, func() { a = v.submit("confirm", 303) })
	v.open("GET", a.Header.Get("Location"), nil, 200)
	step("the export", cost{0, 4, 0}, func() { v.open("GET", "/account/export", nil, 200) })
	v.open("GET", "/account", nil, 200)
	v.submit("delete-ask", 200)
	step("deleting the account", cost{1, 2, 0}, func() { v.submit("delete", 200, "sure", "yes") })
}

// device goes through RFC 8628, allowed by a browser that is signed in.
func (m *metered) device(v *visitor, step func(name string, want cost, do func())) {
	const grant = "urn:ietf:params:oauth:grant-type:device_code"
	var a answer
	step("POST /device_authorization: counted, then written", cost{2, 2, 0}, func() { a = m.call("/device_authorization", "tv", 200, "scope", "openid") })
	poll := []string{"grant_type", grant, "device_code", a.text("device_code")}
	m.pass(5 * time.Second)
	step("polling", cost{1, 1, 0}, func() { m.call("/token", "tv", 400, poll...) })
	step("the page that asks for the code", cost{0, 0, 0}, func() { v.open("GET", "/device", nil, 200) })
	step("typing the code: the session, counted, found", cost{1, 4, 0}, func() { v.submit("device-code", 200, "user_code", a.text("user_code")) })
	step("allowing the device", cost{1, 3, 0}, func() { v.submit("device-allow", 200) })
	m.pass(5 * time.Second)
	step("polling, answered with tokens", cost{2, 2, 2}, func() { m.call("/token", "tv", 200, poll...) })
}

func pairsOf(form url.Values) (pairs []string) {
	for name := range form {
		pairs = append(pairs, name, form.Get(name))
	}
	return pairs
}

// TestBudgets holds what each step of a login costs, and what other endpoints
// do. The first walk prepares every statement.
func TestBudgets(t *testing.T) {
	m, outer := newMetered(t), t
	m.walk(func(_ string, _ cost, do func()) { do() })
	m.walk(func(name string, want cost, do func()) {
		t.Run(name, func(t *testing.T) {
			m.T = t
			defer func(outer *testing.T) { m.T = outer }(outer)
			have := cost{-m.wire.Writes.Load(), -m.wire.RoundTrips.Load(), -m.signed.Load()}
			do()
			have.commits += m.wire.Writes.Load()
			have.roundTrips += m.wire.RoundTrips.Load()
			have.signatures += m.signed.Load()
			if have != want {
				t.Errorf("have %+v, want %+v", have, want)
			}
		})
	})
}
