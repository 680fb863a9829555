package provider

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/sqlite"
	"github.com/sealpost/sealpost/templates"
)

const issuer = "https://login.example.com"

// Lifetimes of a world.
const (
	codeTTL     = time.Minute
	accessTTL   = 10 * time.Minute
	idTTL       = time.Hour
	refreshTTL  = 90 * 24 * time.Hour
	refreshIdle = 30 * 24 * time.Hour
	sessionTTL  = 30 * 24 * time.Hour
	sessionIdle = 7 * 24 * time.Hour
)

// verifier and its challenge are those of RFC 7636, appendix B.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// testClients are the clients of the settings file.
func testClients() []storage.Client {
	confidential := func(id string, change func(*storage.Client)) storage.Client {
		c := storage.Client{
			ID: id, Name: "App " + id, SecretSHA256: hexSHA256(secretOf(id)),
			RedirectURIs:           []string{"https://" + id + ".example.com/cb"},
			PostLogoutRedirectURIs: []string{"https://" + id + ".example.com/bye"},
		}
		if change != nil {
			change(&c)
		}
		return c
	}
	return []storage.Client{
		confidential("web", func(c *storage.Client) {
			c.RedirectURIs = append(c.RedirectURIs, "https://web.example.com/cb?tenant=1&x=%2F")
			c.PostLogoutRedirectURIs = append(c.PostLogoutRedirectURIs, "https://web.example.com/bye?from=login")
		}),
		confidential("other", nil),
		confidential("strict", func(c *storage.Client) { c.RequirePKCE = "always" }),
		confidential("ask", func(c *storage.Client) { c.Consent = "ask" }),
		confidential("es", func(c *storage.Client) { c.IDTokenSigningAlg = "ES256" }),
		confidential("thin", func(c *storage.Client) { c.IDTokenClaims = new(bool) }),
		confidential("narrow", func(c *storage.Client) { c.Allow = []string{"*@example.org", "ada@example.com"} }),
		confidential("members", func(c *storage.Client) { c.Groups = []string{"staff", "ops"} }),
		confidential("once", func(c *storage.Client) { c.GrantTypes = []string{"authorization_code"} }),
		confidential("aged", func(c *storage.Client) { hour := 3600; c.DefaultMaxAge = &hour }),
		confidential("poster", func(c *storage.Client) { c.TokenEndpointAuthMethod = "client_secret_post" }),
		confidential("front", func(c *storage.Client) { c.GrantTypes, c.ResponseTypes = everyGrant, responseTypes }),
		confidential("frontthin", func(c *storage.Client) {
			c.GrantTypes, c.ResponseTypes, c.IDTokenClaims = everyGrant, responseTypes, new(bool)
		}),
		confidential("ps", func(c *storage.Client) { c.IDTokenSigningAlg = "PS256" }),
		confidential("ed", func(c *storage.Client) { c.IDTokenSigningAlg, c.AccessTokenSigningAlg = "EdDSA", "RS256" }),
		confidential("opaque", func(c *storage.Client) { c.AccessTokenFormat = "opaque" }),
		confidential("starts", func(c *storage.Client) { c.InitiateLoginURI = "https://starts.example.com/start?from=mail" }),
		confidential("signed", func(c *storage.Client) { c.UserinfoSigningAlg = "RS256" }),
		confidential("pair", func(c *storage.Client) { c.SubjectType = "pairwise" }),
		confidential("pairtoo", func(c *storage.Client) {
			c.SubjectType, c.SectorIdentifierURI = "pairwise", "https://pair.example.com/sector.json"
		}),
		confidential("machine", func(c *storage.Client) {
			c.GrantTypes, c.Scope = append([]string{"client_credentials"}, everyGrant...), "openid email api:read api:write"
		}),
		confidential("bound", func(c *storage.Client) { c.DPoPBound = true }),
		{ID: "jwt", Name: "App jwt", RedirectURIs: []string{"https://jwt.example.com/cb"}, RequestURIs: []string{"https://jwt.example.com/request#1"},
			TokenEndpointAuthMethod: "private_key_jwt", JWKS: jwks(signerOf("jwt", jose.ES256), signerOf("jwt", jose.RS256), signerOf("jwt", jose.PS256), signerOf("jwt", jose.EdDSA))},
		fapiClient("fapi"), fapiClient("fapitoo"),
		{ID: "spa", Name: "App spa", RedirectURIs: []string{"https://spa.example.com/cb"}, PostLogoutRedirectURIs: []string{"https://spa.example.com/"}},
		{ID: "cli", ApplicationType: "native", RedirectURIs: []string{"http://127.0.0.1/cb", "com.example.cli:/cb"}},
	}
}

var everyGrant = []string{"authorization_code", "refresh_token", "implicit"}

// fapiClient is a client of the FAPI 2.0 Security Profile.
func fapiClient(id string) storage.Client {
	return storage.Client{
		ID: id, Name: "App " + id, Profile: "fapi2", TokenEndpointAuthMethod: "private_key_jwt",
		RedirectURIs: []string{"https://" + id + ".example.com/cb", "https://" + id + ".example.com/cb?dummy1=lorem&dummy2=ipsum"},
		JWKS:         jwks(signerOf(id, jose.ES256), signerOf(id, jose.PS256), signerOf(id, jose.EdDSA), signerOf(id, jose.RS256)),
	}
}

// secretOf has what RFC 6749 §2.3.1 has to escape.
func secretOf(id string) string { return "secret of " + id + ": 100%+/=é" }

func hexSHA256(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// engine is what a test asks of the database beyond what the provider does.
type engine interface {
	Store
	keys.Store
	StartAttempt(ctx context.Context, a storage.Attempt, m storage.Mail, limits []storage.Limit, now time.Time) error
	CompleteAttempt(ctx context.Context, c storage.Completion, now time.Time) (storage.Login, error)
	Session(ctx context.Context, id string, now time.Time) (storage.Login, error)
	DisableUser(ctx context.Context, id string, now time.Time) error
	DeleteUser(ctx context.Context, id string, now time.Time) error
	Apps(ctx context.Context, userID string, now time.Time) ([]storage.App, error)
	RemoveApp(ctx context.Context, userID, clientID string, now time.Time) error
	Sweep(ctx context.Context, now time.Time, limit int) (int, error)
	Close() error
}

// world is a provider with its database, clients and clock.
type world struct {
	testing.TB
	provider *Provider
	handler  http.Handler
	engine   engine
	store    *watched
	clock    *clock
	logged   lines
	file     string // of the database

	sessionError error // of Logins.Session

	mu       sync.Mutex
	sessions []string // ids of sessions: they never leave the server
	bearers  []string // what was handed out: it is in no database
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	pages, err := templates.New(templates.Branding{Name: "Example"})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, clock: &clock{now: time.Date(2031, 3, 4, 5, 6, 7, 123456000, time.UTC)}}
	w.file = filepath.Join(t.TempDir(), "sealpost.db")
	if w.engine, err = openEngine(w.file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.engine.Close(); err != nil {
			t.Error(err)
		}
		w.nothingKeepsBearers()
	})
	w.store = &watched{Store: w.engine}
	c := Config{
		Languages: templates.Languages(),
		Issuer:    issuer, Store: w.store, Templates: pages, Clients: testClients(),
		CodeTTL: codeTTL, AccessTTL: accessTTL, IDTTL: idTTL, RefreshTTL: refreshTTL, RefreshIdle: refreshIdle,
		Allowed: allowed, Now: w.clock.Now, Log: w.logged.add,
	}
	c.Secret, c.Keys = w.openKeys()
	for _, f := range change {
		f(&c)
	}
	if w.provider, err = New(c); err != nil {
		t.Fatal(err)
	}
	r := chi.NewRouter()
	r.Use(middleware.GetHead) // as the binary does
	w.provider.Routes(r, fakeLogins{w})
	w.handler = r
	return w
}

func openEngine(file string) (engine, error) {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, file)
	if err != nil {
		return nil, err
	}
	return db, db.Migrate(ctx)
}

// query runs SQL on the database, beside the engine.
func (w *world) query(query string, args ...any) {
	w.Helper()
	db, err := sql.Open("sqlite", w.file)
	if err != nil {
		w.Fatal(err)
	}
	defer db.Close()
	if result, err := db.Exec(query, args...); err != nil {
		w.Fatal(err)
	} else if n, err := result.RowsAffected(); err != nil || n == 0 {
		w.Fatalf("%s changed %d rows: %v", query, n, err)
	}
}

// describe gives a person name, locale and groups.
func (w *world) describe(userID, name, locale string, groups ...string) {
	w.Helper()
	list, err := json.Marshal(append([]string{}, groups...))
	if err != nil {
		w.Fatal(err)
	}
	w.query(`UPDATE users SET name = ?, locale = ?, groups = ? WHERE id = ?`, name, locale, string(list), userID)
}

// TestMain drops what libraries log, as the binary does.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	m.Run()
}

// run is a subtest on this world.
func (w *world) run(name string, f func(t *testing.T)) {
	w.Helper()
	outer := w.TB
	outer.(*testing.T).Run(name, func(t *testing.T) {
		w.TB = t
		defer func() { w.TB = outer }()
		f(t)
	})
}

// allowed stands for login.Allowed: a whole address or a whole domain.
func allowed(key string, allow, deny []string) bool {
	matches := func(pattern string) bool {
		domain, wild := strings.CutPrefix(pattern, "*")
		return key == pattern || wild && strings.HasSuffix(key, domain)
	}
	return !slices.ContainsFunc(deny, matches) && (len(allow) == 0 || slices.ContainsFunc(allow, matches))
}

// openKeys gives every world the same signing keys, because making them takes
// long, each from a database of its own.
func (w *world) openKeys() (keys.Secret, *keys.Ring) {
	w.Helper()
	ctx := context.Background()
	shared := sharedKeys()
	for _, k := range shared.keys {
		if err := w.engine.AddSigningKey(ctx, k); err != nil {
			w.Fatal(err)
		}
	}
	ring, err := keys.Open(ctx, keys.Config{Store: w.engine, Secret: shared.secret, KeepFor: idTTL, Now: w.clock.Now})
	if err != nil {
		w.Fatal(err)
	}
	return shared.secret, ring
}

type keyStore struct {
	keys.Store
	secret keys.Secret
	keys   []storage.SigningKey
}

func (s *keyStore) SigningKeys(context.Context) ([]storage.SigningKey, error) { return s.keys, nil }

func (s *keyStore) AddSigningKey(_ context.Context, k storage.SigningKey) error {
	s.keys = append(s.keys, k)
	return nil
}

func (s *keyStore) RemoveSigningKeys(_ context.Context, _, _ time.Time) error { return nil }

var sharedKeys = sync.OnceValue(func() *keyStore {
	s := &keyStore{}
	var err error
	if s.secret, err = keys.ParseSecret(keys.NewSecret()); err != nil {
		panic(err)
	}
	before := func() time.Time { return time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC) }
	if _, err = keys.Open(context.Background(), keys.Config{Store: s, Secret: s.secret, Now: before}); err != nil {
		panic(err)
	}
	return s
})

type clock struct {
	sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.Lock()
	defer c.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.Lock()
	defer c.Unlock()
	c.now = c.now.Add(d)
}

// lines is what was logged.
type lines struct {
	sync.Mutex
	text strings.Builder
}

func (l *lines) add(_ context.Context, attrs ...slog.Attr) {
	l.Lock()
	defer l.Unlock()
	for _, a := range attrs {
		fmt.Fprintf(&l.text, "%s=%s\n", a.Key, a.Value)
	}
}

func (l *lines) String() string {
	l.Lock()
	defer l.Unlock()
	return l.text.String()
}

// fakeLogins stands for package login: the value of a cookie is known by its
// hash, sessions are those of the real database.
type fakeLogins struct{ w *world }

const (
	sessionCookie = "session"
	browserCookie = "browser"
	provedCookie  = "proved"
)

// proof is what a browser has in which the address of a session was proven.
func proof(s storage.Session) string { return fmt.Sprint(s.ID, s.AuthTime.UnixMicro()) }

func (l fakeLogins) ProvedHere(r *http.Request, s storage.Session) bool {
	c, err := r.Cookie(provedCookie)
	return err == nil && c.Value == proof(s)
}

func (l fakeLogins) Session(_ http.ResponseWriter, r *http.Request) (storage.Login, error) {
	if l.w.sessionError != nil {
		return storage.Login{}, l.w.sessionError
	}
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return storage.Login{}, storage.ErrNotFound
	}
	return l.w.engine.Session(r.Context(), keys.Hash([]byte(c.Value)), l.w.clock.Now())
}

func (l fakeLogins) KnownBrowser(r *http.Request) string {
	c, err := r.Cookie(browserCookie)
	if err != nil {
		return ""
	}
	return keys.Hash([]byte(c.Value))
}

func (l fakeLogins) Browser(w http.ResponseWriter, r *http.Request) string {
	c, err := r.Cookie(browserCookie)
	if err != nil {
		c = &http.Cookie{Name: browserCookie, Value: keys.Token(), Path: "/"}
		http.SetCookie(w, c)
		r.AddCookie(c)
	}
	return keys.Hash([]byte(c.Value))
}

func (l fakeLogins) ClearSession(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1})
}

func (l fakeLogins) URL(handle string) string {
	return "/login?" + url.Values{"request": {handle}}.Encode()
}

// browser has cookies.
type browser struct {
	*world
	cookies map[string]string
}

func (w *world) browser() *browser { return &browser{world: w, cookies: map[string]string{}} }

// signedIn is a browser in which someone has just opened a link.
func (w *world) signedIn(email string) *browser {
	w.Helper()
	b := w.browser()
	b.signIn(email)
	return b
}

// signIn is a mailed link opened in this browser.
func (b *browser) signIn(email string) storage.Login {
	b.Helper()
	ctx, now := context.Background(), b.clock.Now()
	cookie := keys.Token()
	a := storage.Attempt{ID: keys.ID(), Txn: keys.ID(), Key: strings.ToLower(email), Email: email, CreatedAt: now, ExpiresAt: now.Add(15 * time.Minute)}
	m := storage.Mail{ID: keys.ID(), AttemptID: a.ID, CreatedAt: now, NextAt: now, NotAfter: a.ExpiresAt}
	if err := b.engine.StartAttempt(ctx, a, m, nil, now); err != nil {
		b.Fatal(err)
	}
	login, err := b.engine.CompleteAttempt(ctx, storage.Completion{
		AttemptID: a.ID, UserID: keys.ID(), Signup: true, Current: b.sessionID(),
		Session: storage.Session{
			ID: keys.Hash([]byte(cookie)), AuthTime: now, CreatedAt: now, SeenAt: now,
			ExpiresAt: now.Add(sessionTTL), IdleAt: now.Add(sessionIdle),
		},
	}, now)
	if err != nil {
		b.Fatal(err)
	}
	if login.Session.ID == keys.Hash([]byte(cookie)) {
		b.cookies[sessionCookie] = cookie
	}
	b.cookies[provedCookie] = proof(login.Session)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sessions = append(b.sessions, login.Session.ID)
	return login
}

func (b *browser) sessionID() string {
	if b.cookies[sessionCookie] == "" {
		return ""
	}
	return keys.Hash([]byte(b.cookies[sessionCookie]))
}

// login is what this browser's session says.
func (b *browser) login() storage.Login {
	b.Helper()
	l, err := b.engine.Session(context.Background(), b.sessionID(), b.clock.Now())
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// endSession ends the session behind the browser's back.
func (b *browser) endSession() {
	b.Helper()
	if _, err := b.engine.EndSession(context.Background(), b.sessionID(), b.clock.Now()); err != nil {
		b.Fatal(err)
	}
}

// request is one to the provider, with the browser's cookies.
func (b *browser) request(method, path string, form url.Values) *http.Request {
	r := newRequest(method, path, form)
	for _, name := range slices.Sorted(maps.Keys(b.cookies)) {
		r.AddCookie(&http.Cookie{Name: name, Value: b.cookies[name]})
	}
	return r
}

// newRequest carries form in the query of a GET and in the body of a POST.
func newRequest(method, path string, form url.Values) *http.Request {
	if method == http.MethodPost {
		r := httptest.NewRequest(method, issuer+path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r
	}
	if len(form) > 0 {
		path += "?" + form.Encode()
	}
	return httptest.NewRequest(method, issuer+path, nil)
}

// send has the provider answer and keeps the cookies.
func (b *browser) send(r *http.Request) answer {
	b.Helper()
	return b.keep(b.world.send(r))
}

// keep takes the cookies of an answer.
func (b *browser) keep(a answer) answer {
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return a
}

func (b *browser) get(path string, pairs ...string) answer {
	b.Helper()
	return b.send(b.request("GET", path, params(pairs...)))
}

func (b *browser) post(path string, form url.Values) answer {
	b.Helper()
	return b.send(b.request("POST", path, form))
}

// crossSite is a POST that a page of another site makes: SameSite=Lax cookies
// stay at home, cookies that are set are kept.
func (b *browser) crossSite(path string, form url.Values) answer {
	b.Helper()
	return b.send(newRequest("POST", path, form))
}

// call has a method of the provider answer, as login has it after a POST.
func (b *browser) call(method http.HandlerFunc) answer {
	b.Helper()
	return b.keep(b.serve(method, b.request("POST", "/login", nil)))
}

// follow goes where an answer sends the browser, within the provider.
func (b *browser) follow(a answer) answer {
	b.Helper()
	if a.status != http.StatusSeeOther {
		b.Fatalf("%s: no redirect", a)
	}
	return b.get(strings.TrimPrefix(a.header.Get("Location"), issuer))
}

// submit presses the button of a form, with fields changed by pairs.
func (b *browser) submit(a answer, name string, pairs ...string) answer {
	b.Helper()
	f, ok := a.forms[name]
	if !ok || f.method != "post" {
		b.Fatalf("%s: no form %s", a, name)
	}
	fields := maps.Clone(f.fields)
	change(fields, pairs...)
	return b.post(f.action, fields)
}

const omit = "\x00omit" // as a value: the parameter is not sent

// params makes a form of pairs.
func params(pairs ...string) url.Values {
	form := url.Values{}
	change(form, pairs...)
	return form
}

func change(form url.Values, pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == omit {
			form.Del(pairs[i])
		} else {
			form.Set(pairs[i], pairs[i+1])
		}
	}
}

// client is a client of the settings file.
func (w *world) client(id string) storage.Client {
	w.Helper()
	c, ok := w.provider.clients.fixed[id]
	if !ok {
		w.Fatalf("no client %q", id)
	}
	return c
}

// storedClient adds a client to the database.
func (w *world) storedClient() storage.Client {
	w.Helper()
	now := w.clock.Now()
	c := storage.Client{
		ID: "stored", SecretSHA256: hexSHA256(secretOf("stored")), RedirectURIs: []string{"https://stored.example.com/cb"},
		CreatedAt: now, UpdatedAt: now,
	}.WithDefaults()
	if err := w.engine.AddClient(context.Background(), c); err != nil {
		w.Fatal(err)
	}
	return c
}

// authorization is a good request of a client, changed by pairs.
func (w *world) authorization(clientID string, pairs ...string) url.Values {
	w.Helper()
	form := params("response_type", "code", "client_id", clientID, "scope", "openid email", "state", "the state", "nonce", "the nonce")
	if c, ok := w.provider.clients.fixed[clientID]; ok {
		form.Set("redirect_uri", c.RedirectURIs[0])
		if c.PKCE() {
			change(form, "code_challenge", challenge, "code_challenge_method", "S256")
		}
	}
	change(form, pairs...)
	return form
}

// authorize is GET /authorize.
func (b *browser) authorize(clientID string, pairs ...string) answer {
	b.Helper()
	return b.send(b.request("GET", "/authorize", b.authorization(clientID, pairs...)))
}

// handle is that of a request of this browser which waits for a login.
func (b *browser) handle(clientID string, pairs ...string) string {
	b.Helper()
	return b.authorize(clientID, pairs...).handle()
}

// resume is what a browser does after the login.
func (b *browser) resume(handle string) answer {
	b.Helper()
	return b.get("/authorize/resume", "request", handle)
}

// code is an authorization code for this browser's session.
func (b *browser) code(clientID string, pairs ...string) string {
	b.Helper()
	return b.authorize(clientID, pairs...).code()
}

// api is a POST of a client, which proves itself as it registered.
func (w *world) api(path, clientID string, pairs ...string) answer {
	w.Helper()
	form := url.Values{}
	c := w.client(clientID)
	switch c.TokenEndpointAuthMethod {
	case "none":
		form.Set("client_id", clientID)
	case "client_secret_post":
		change(form, "client_id", clientID, "client_secret", secretOf(clientID))
	}
	change(form, pairs...)
	if c.TokenEndpointAuthMethod == "private_key_jwt" {
		form = w.asserted(form, clientID)
	}
	r := newRequest("POST", path, form)
	if c.DPoP() {
		w.bound(r, signerOf("key of "+clientID, jose.ES256), "")
	}
	if c.TokenEndpointAuthMethod == "client_secret_basic" {
		r.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(secretOf(clientID)))
	}
	return w.send(r)
}

// exchange is the form that redeems a code, changed by pairs.
func (w *world) exchange(clientID, code string, pairs ...string) []string {
	c := w.client(clientID)
	form := []string{"grant_type", "authorization_code", "code", code, "redirect_uri", c.RedirectURIs[0]}
	if c.PKCE() {
		form = append(form, "code_verifier", verifier)
	}
	return append(form, pairs...)
}

func (w *world) redeem(clientID, code string, pairs ...string) answer {
	w.Helper()
	return w.api("/token", clientID, w.exchange(clientID, code, pairs...)...)
}

func (w *world) refresh(clientID, token string, pairs ...string) answer {
	w.Helper()
	return w.api("/token", clientID, append([]string{"grant_type", "refresh_token", "refresh_token", token}, pairs...)...)
}

func (w *world) introspect(clientID, token string) answer {
	w.Helper()
	return w.api("/introspect", clientID, "token", token)
}

// active says what introspection does.
func (w *world) active(token string) bool {
	w.Helper()
	a := w.introspect("web", token)
	active, ok := a.json["active"].(bool)
	if a.status != 200 || !ok {
		w.Fatalf("introspection: %s", a)
	}
	if !active && len(a.json) != 1 {
		w.Errorf("RFC 7662 §2.2: of a token that is not active more is said: %s", a.body)
	}
	return active
}

func (w *world) userinfo(token string) answer {
	w.Helper()
	r := newRequest("GET", "/userinfo", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return w.send(r)
}

// granted is a token answer, proven by the published keys.
type granted struct {
	answer
	access, refresh string
	id              string
	claims          map[string]any // of the ID token
	accessClaims    map[string]any
}

// tokens walks a client from authorization to tokens.
func (b *browser) tokens(clientID string, pairs ...string) granted {
	b.Helper()
	return b.granted(b.redeem(clientID, b.code(clientID, pairs...)))
}

// granted takes a successful token answer apart.
func (w *world) granted(a answer) granted {
	w.Helper()
	if a.status != 200 {
		w.Fatalf("no tokens: %s %s", a, a.body)
	}
	g := granted{answer: a}
	g.access, _ = a.json["access_token"].(string)
	g.refresh, _ = a.json["refresh_token"].(string)
	g.id, _ = a.json["id_token"].(string)
	_, g.accessClaims = w.proven(g.access)
	if g.id != "" {
		_, g.claims = w.proven(g.id)
	}
	return g
}

// proven verifies a token by the published key set, as a relying party does.
func (w *world) proven(token string) (header jose.Header, claims map[string]any) {
	w.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(w.send(newRequest("GET", "/jwks", nil)).body), &set); err != nil {
		w.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(token, keys.Algorithms)
	if err != nil {
		w.Fatal(err)
	}
	header = jws.Signatures[0].Protected
	found := set.Key(header.KeyID)
	if len(found) != 1 || found[0].Algorithm != header.Algorithm {
		w.Fatalf("kid %q and alg %q name %d keys", header.KeyID, header.Algorithm, len(found))
	}
	payload, err := jws.Verify(found[0])
	if err != nil {
		w.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		w.Fatal(err)
	}
	return header, claims
}
