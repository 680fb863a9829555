package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"golang.org/x/net/html"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/sqlite"
	"github.com/sealpost/sealpost/templates"
)

const issuer = "https://login.example.com"

// world is a Login with its database, relying parties and clock.
type world struct {
	*testing.T
	login    *Login
	handler  http.Handler
	store    *watched
	db       *sqlite.DB
	requests *requests
	clock    *clock
	woken    atomic.Int32
	logged   lines
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	secret, err := keys.ParseSecret(keys.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	pages, err := templates.New(templates.Branding{Name: "Example"})
	if err != nil {
		t.Fatal(err)
	}
	db := openStore(t)
	w := &world{T: t, store: &watched{Store: db, left: -1}, db: db, clock: &clock{now: time.Date(2031, 3, 4, 5, 6, 7, 0, time.UTC)}}
	w.requests = &requests{expired: map[string]bool{}}
	c := Config{
		Issuer: issuer, Secret: secret, Store: w.store, Templates: pages, Requests: w.requests,
		Accounts: accounts{db, w.store}, Client: w.requests.client,
		Wake:    func() { w.woken.Add(1) },
		LinkTTL: 15 * time.Minute, SessionTTL: 720 * time.Hour, SessionIdle: 168 * time.Hour,
		Signup: true, Now: w.clock.Now, Log: w.logged.add,
	}
	for _, f := range change {
		f(&c)
	}
	if w.login, err = New(c); err != nil {
		t.Fatal(err)
	}
	r := chi.NewRouter()
	w.login.Routes(r)
	w.handler = r
	return w
}

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

// watched counts what reaches the database, and fails on demand.
type watched struct {
	Store
	sync.Mutex
	reads, writes int
	started       []storage.Attempt
	mails         []storage.Mail
	won           []storage.Login // completions
	fail          error
	left          int // calls that go well before every one fails; negative: all
}

// failAfter has calls fail after so many; negative: none.
func (s *watched) failAfter(n int) {
	s.Lock()
	defer s.Unlock()
	s.left = n
}

func (s *watched) read() error  { return s.count(&s.reads) }
func (s *watched) write() error { return s.count(&s.writes) }

func (s *watched) count(n *int) error {
	s.Lock()
	defer s.Unlock()
	*n++
	if s.left == 0 {
		return errors.New("the disk is full")
	}
	s.left = max(s.left-1, -1)
	return s.fail
}

func (s *watched) StartAttempt(ctx context.Context, a storage.Attempt, m storage.Mail, limits []storage.Limit, now time.Time) error {
	if err := s.write(); err != nil {
		return err
	}
	err := s.Store.StartAttempt(ctx, a, m, limits, now)
	if err == nil {
		s.Lock()
		defer s.Unlock()
		s.started, s.mails = append(s.started, a), append(s.mails, m)
	}
	return err
}

func (s *watched) Attempt(ctx context.Context, id string) (storage.Attempt, error) {
	if err := s.read(); err != nil {
		return storage.Attempt{}, err
	}
	return s.Store.Attempt(ctx, id)
}

func (s *watched) LatestAttempt(ctx context.Context, txn, browser string) (storage.Attempt, error) {
	if err := s.read(); err != nil {
		return storage.Attempt{}, err
	}
	return s.Store.LatestAttempt(ctx, txn, browser)
}

func (s *watched) ShowCode(ctx context.Context, id string, now time.Time) (storage.Attempt, error) {
	if err := s.write(); err != nil {
		return storage.Attempt{}, err
	}
	return s.Store.ShowCode(ctx, id, now)
}

func (s *watched) CloseAttempt(ctx context.Context, id string, now time.Time) error {
	if err := s.write(); err != nil {
		return err
	}
	return s.Store.CloseAttempt(ctx, id, now)
}

func (s *watched) CancelAttempts(ctx context.Context, txn, browser string, now time.Time) error {
	if err := s.write(); err != nil {
		return err
	}
	return s.Store.CancelAttempts(ctx, txn, browser, now)
}

func (s *watched) TryCode(ctx context.Context, id, browser string, right bool, now time.Time) (storage.Attempt, error) {
	if err := s.write(); err != nil {
		return storage.Attempt{}, err
	}
	return s.Store.TryCode(ctx, id, browser, right, now)
}

func (s *watched) CompleteAttempt(ctx context.Context, c storage.Completion, now time.Time) (storage.Login, error) {
	if err := s.write(); err != nil {
		return storage.Login{}, err
	}
	l, err := s.Store.CompleteAttempt(ctx, c, now)
	if err == nil {
		s.Lock()
		defer s.Unlock()
		s.won = append(s.won, l)
	}
	return l, err
}

func (s *watched) Session(ctx context.Context, id string, now time.Time) (storage.Login, error) {
	if err := s.read(); err != nil {
		return storage.Login{}, err
	}
	return s.Store.Session(ctx, id, now)
}

func (s *watched) TouchSession(ctx context.Context, id string, now, idleAt time.Time) error {
	if err := s.write(); err != nil {
		return err
	}
	return s.Store.TouchSession(ctx, id, now, idleAt)
}

// newest is the attempt that was started last.
func (s *watched) newest() storage.Attempt {
	s.Lock()
	defer s.Unlock()
	return s.started[len(s.started)-1]
}

// requests stands for the provider: a handle is a name and the browser's hash.
type requests struct {
	sync.Mutex
	expired map[string]bool
	change  func(*Waiting)
	restart map[string]string // by client id
	resumed []string          // "handle as address"
	denied  []string

	signedOut []string // sessions
	ended     []bool   // whether of this browser
}

func (q *requests) Waiting(_ context.Context, handle, browser string) (Waiting, error) {
	q.Lock()
	defer q.Unlock()
	name, ok := strings.CutSuffix(handle, "."+browser)
	if !ok || q.expired[handle] {
		return Waiting{}, ErrNoRequest
	}
	waiting := Waiting{Client: templates.Client{Name: name}, ClientID: "id-of-" + name, LoginHint: "hint@example.com"}
	if q.change != nil {
		q.change(&waiting)
	}
	return waiting, nil
}

func (q *requests) Resume(w http.ResponseWriter, _ *http.Request, handle string, l storage.Login) {
	q.Lock()
	defer q.Unlock()
	q.resumed = append(q.resumed, handle+" as "+l.User.Key)
	w.WriteHeader(http.StatusOK)
	io.WriteString(w, `<body data-page="resumed">`)
}

func (q *requests) SignOut(w http.ResponseWriter, r *http.Request, l storage.Login) {
	q.Lock()
	defer q.Unlock()
	q.signedOut = append(q.signedOut, l.Session.ID)
	io.WriteString(w, `<body data-page="logged-out">`)
}

func (q *requests) Ended(_ http.ResponseWriter, here bool) {
	q.Lock()
	defer q.Unlock()
	q.ended = append(q.ended, here)
}

// client stands for the registry: clients whose ids begin so are there.
func (q *requests) client(_ context.Context, id string) (templates.Client, error) {
	if !strings.HasPrefix(id, "id-of-") {
		return templates.Client{}, storage.ErrNotFound
	}
	return templates.Client{Name: "Name of " + id}, nil
}

func (q *requests) Restart(_ context.Context, clientID string) (string, error) {
	return q.restart[clientID], nil
}

func (q *requests) Deny(w http.ResponseWriter, _ *http.Request, handle string) {
	q.Lock()
	defer q.Unlock()
	q.denied = append(q.denied, handle)
	io.WriteString(w, `<body data-page="denied">`)
}

// browser has cookies, and headers of its own.
type browser struct {
	*world
	jar    http.CookieJar
	header http.Header
	addr   string
}

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.Fatal(err)
	}
	return &browser{world: w, jar: jar, addr: "203.0.113.7:4711", header: http.Header{"User-Agent": {firefox}}}
}

var origin, _ = url.Parse(issuer)

func (b *browser) request(method, path string, body io.Reader) *http.Request {
	r := httptest.NewRequest(method, issuer+path, body)
	r.RemoteAddr = b.addr
	for name, values := range b.header {
		r.Header[name] = values
	}
	for _, c := range b.jar.Cookies(origin) {
		r.AddCookie(c)
	}
	return r
}

// send has the handler answer r. It is safe to be called by many goroutines.
func (b *browser) send(r *http.Request) page {
	rec := httptest.NewRecorder()
	b.handler.ServeHTTP(rec, r)
	b.jar.SetCookies(origin, rec.Result().Cookies())
	return readPage(rec)
}

func (b *browser) get(path string) page { return b.send(b.request("GET", path, nil)) }

func (b *browser) post(form url.Values) page {
	r := b.request("POST", "/login", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.send(r)
}

// act submits the form of an action with pairs of fields.
func (b *browser) act(action string, fields ...string) page {
	form := url.Values{"action": {action}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.post(form)
}

// follow opens where a page redirects to.
func (b *browser) follow(p page) page {
	b.Helper()
	if p.status != http.StatusSeeOther {
		b.Fatalf("%s: no redirect", p)
	}
	return b.get(strings.TrimPrefix(p.header.Get("Location"), issuer))
}

// hash is how the browser is known; it has a cookie from here on, as from
// /authorize.
func (b *browser) hash() string {
	rec := httptest.NewRecorder()
	hash := b.login.Browser(rec, b.request("GET", "/authorize", nil))
	b.jar.SetCookies(origin, rec.Result().Cookies())
	return hash
}

// handle is an authorization request of an app, bound to this browser.
func (b *browser) handle(app string) string { return app + "." + b.hash() }

// ask asks for a link and gives the wait handle and the link's token.
func (b *browser) ask(handle, email string) (wait, token string) {
	b.Helper()
	p := b.act("email", "request", handle, "email", email)
	at, err := url.Parse(p.header.Get("Location"))
	if err != nil || p.status != http.StatusSeeOther || at.Path != "/login" || at.Query().Get("wait") == "" {
		b.Fatalf("asking for a link: %s to %q", p, p.header.Get("Location"))
	}
	return at.Query().Get("wait"), b.token()
}

// token is that of the link mailed last.
func (w *world) token() string { return linkToken(w.login.cfg.Secret, w.store.newest().ID) }

func (b *browser) cookie(name string) string {
	for _, c := range b.jar.Cookies(origin) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

func (b *browser) setCookie(name, value string) {
	b.jar.SetCookies(origin, []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
}

func (b *browser) session() (storage.Login, error) {
	return b.login.Session(httptest.NewRecorder(), b.request("GET", "/authorize", nil))
}

func (b *browser) signedIn() bool { _, err := b.session(); return err == nil }

// page is an answer, taken apart.
type page struct {
	status int
	header http.Header
	body   string
	name   string                // data-page
	fault  string                // data-error
	code   string                // data-code
	forms  map[string]url.Values // data-form, with the hidden fields
	auto   bool                  // a form that a script submits
}

func (p page) String() string { return fmt.Sprintf("%d %s %s", p.status, p.name, p.fault) }

func readPage(rec *httptest.ResponseRecorder) page {
	p := page{status: rec.Code, header: rec.Header(), body: rec.Body.String(), forms: map[string]url.Values{}}
	root, err := html.Parse(strings.NewReader(p.body))
	if err != nil {
		return p
	}
	var form url.Values
	for n := range root.Descendants() {
		attr := map[string]string{}
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
		}
		if v, ok := attr["data-page"]; ok {
			p.name = v
		}
		if v, ok := attr["data-error"]; ok {
			p.fault = v
		}
		if v, ok := attr["data-form"]; ok {
			form = url.Values{}
			p.forms[v] = form
		}
		if _, ok := attr["data-auto"]; ok {
			p.auto = true
		}
		if _, ok := attr["data-code"]; ok && n.FirstChild != nil {
			p.code = n.FirstChild.Data
		}
		if n.Data == "input" && attr["type"] == "hidden" && form != nil {
			form.Set(attr["name"], attr["value"])
		}
	}
	return p
}

// is fails the test unless the page is that one, with that status.
func (w *world) is(p page, status int, name string) {
	w.Helper()
	if p.status != status || p.name != name {
		w.Fatalf("got %s, want %d %s\n%s", p, status, name, p.body)
	}
	if got := p.header.Get("Cache-Control"); got != "no-store" && name != "resumed" && name != "denied" {
		w.Errorf("%s: Cache-Control %q", p, got)
	}
}

func (w *world) attempt(token string) storage.Attempt {
	w.Helper()
	id, ok := parseToken(w.login.cfg.Secret, token)
	if !ok {
		w.Fatal("not a token of ours")
	}
	a, err := w.store.Store.Attempt(context.Background(), id)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

func TestStoreFailureRefuses(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	handle := b.handle("app")
	wait, token := b.ask(handle, "ada@example.com")
	_, unbound := w.browser().ask("", "ada@example.com")
	b.act("confirm", "token", unbound) // a session, whose loss would be a guess, too
	w.store.fail = errors.New("the disk is full")
	b.handler = w.handler
	for name, p := range map[string]page{
		"start":     b.get("/login"),
		"link":      b.get("/login?token=" + token),
		"wait":      b.get("/login?wait=" + wait),
		"email":     b.act("email", "request", handle, "email", "ada@example.com"),
		"resend":    b.act("resend", "wait", wait),
		"change":    b.act("change-email", "wait", wait, "email", "bob@example.com"),
		"confirm":   b.act("confirm", "token", token),
		"show-code": w.browser().act("show-code", "token", token),
		"not-me":    w.browser().act("not-me", "token", token),
		"code":      b.act("enter-code", "wait", wait, "code", "123456"),
		"cancel":    b.act("cancel", "wait", wait),
		"continue":  b.act("account-continue", "request", handle),
	} {
		if p.status != http.StatusServiceUnavailable || p.header.Get("Retry-After") == "" || p.fault != "temporarily_unavailable" {
			t.Errorf("%s: %s, Retry-After %q", name, p, p.header.Get("Retry-After"))
		}
		if strings.Contains(p.body, "disk") {
			t.Errorf("%s tells what failed inside", name)
		}
	}
	if p := b.get("/login/status?wait=" + wait); p.status != http.StatusServiceUnavailable {
		t.Errorf("status: %s", p)
	}
	if len(w.requests.resumed)+len(w.requests.denied) > 0 {
		t.Error("a relying party was answered")
	}
}

func TestBadForms(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	handle := b.handle("app")
	_, token := b.ask(handle, "ada@example.com")
	post := func(contentType, path, body string) page {
		r := b.request("POST", path, strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		return b.send(r)
	}
	const form = "application/x-www-form-urlencoded"
	for name, tt := range map[string]struct {
		p      page
		status int
	}{
		"unknown action":              {b.act("sesame"), 400},
		"no action":                   {b.post(url.Values{}), 400},
		"repeated token":              {post(form, "/login", "action=confirm&token="+token+"&token="+token), 400},
		"repeated action":             {post(form, "/login", "action=confirm&action=confirm&token="+token), 400},
		"malformed escape":            {post(form, "/login", "action=%zz"), 400},
		"multipart":                   {post("multipart/form-data; boundary=x", "/login", "--x--"), 415},
		"JSON":                        {post("application/json", "/login", "{}"), 415},
		"plain text, as forms can":    {post("text/plain", "/login", "action=confirm&token="+token), 415},
		"too long":                    {post(form, "/login", "action=confirm&token="+strings.Repeat("x", maxBody)), 413},
		"fields in the query":         {post(form, "/login?action=confirm&token="+token, ""), 400},
		"repeated query":              {b.get("/login?token=" + token + "&token=" + token), 400},
		"contradicting query":         {b.get("/login?token=" + token + "&request=" + url.QueryEscape(handle)), 400},
		"malformed query":             {b.get("/login?token=%zz"), 400},
		"request of another browser":  {b.get("/login?request=app.AAAA"), 400},
		"email for another's request": {b.act("email", "request", "app.AAAA", "email", "ada@example.com"), 400},
		"cancel of nothing":           {b.act("cancel"), 400},
	} {
		if tt.p.status != tt.status || tt.p.fault != "invalid_request" {
			t.Errorf("%s: got %s, want %d invalid_request", name, tt.p, tt.status)
		}
	}
	if w.attempt(token).State(w.clock.Now()) != storage.StateLive {
		t.Error("a bad form has used the link")
	}
}

func TestMethodsNotAllowed(t *testing.T) {
	b := newWorld(t).browser()
	for _, tt := range []struct{ method, path, allow string }{
		{"PUT", "/login", "GET, HEAD, POST"},
		{"OPTIONS", "/login", "GET, HEAD, POST"},
		{"POST", "/login/status", "GET, HEAD"},
		{"GET", "/send-magic-link", "POST"},
		{"OPTIONS", "/send-magic-link", "POST"},
	} {
		p := b.send(b.request(tt.method, tt.path, nil))
		if p.status != http.StatusMethodNotAllowed || p.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d, Allow %q, want %q", tt.method, tt.path, p.status, p.header.Get("Allow"), tt.allow)
		}
		for name := range p.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s %s: %s", tt.method, tt.path, name)
			}
		}
	}
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	for name, header := range map[string]http.Header{
		"Sec-Fetch-Site: cross-site": {"Sec-Fetch-Site": {"cross-site"}},
		"Sec-Fetch-Site: same-site":  {"Sec-Fetch-Site": {"same-site"}},
		"Origin":                     {"Origin": {"https://evil.example"}},
		"Origin: null":               {"Origin": {"null"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser()
			_, token := b.ask(b.handle("app"), "ada@example.com")
			b.header = header
			if p := b.act("confirm", "token", token); p.status != http.StatusForbidden {
				t.Fatalf("got %s", p)
			}
			if b.signedIn() || len(w.store.won) > 0 {
				t.Fatal("signed in by another site's form")
			}
			b.header = http.Header{"Origin": {issuer}}
			w.is(b.act("confirm", "token", token), 200, "resumed")
		})
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	good := newWorld(t).login.cfg
	for name, break_ := range map[string]func(*Config){
		"issuer with a path":      func(c *Config) { c.Issuer = issuer + "/x" },
		"issuer without a scheme": func(c *Config) { c.Issuer = "login.example.com" },
		"no store":                func(c *Config) { c.Store = nil },
		"no templates":            func(c *Config) { c.Templates = nil },
		"no requests":             func(c *Config) { c.Requests = nil },
		"no link lifetime":        func(c *Config) { c.LinkTTL = 0 },
	} {
		c := good
		break_(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestURLNamesTheRequestOnTheIssuer(t *testing.T) {
	if got, want := newWorld(t).login.URL("a+b/c="), issuer+"/login?request=a%2Bb%2Fc%3D"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// openStore opens a new database of the real engine.
func openStore(t *testing.T) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "sealpost.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// ui_locales (OIDC Core §3.1.2.1) are the language of every page of a login and
// of its mail, whatever the browser prefers.
func TestPagesSpeakTheLanguageThatWasAskedFor(t *testing.T) {
	w := newWorld(t)
	w.requests.change = func(q *Waiting) { q.UILocales = "xx de-AT" }
	b := w.browser()
	b.header.Set("Accept-Language", "fr")
	handle := b.handle("app")
	waiting, token := b.ask(handle, "ada@example.com")
	elsewhere := w.browser()
	elsewhere.header.Set("Accept-Language", "ja")
	for name, p := range map[string]page{
		"the form":        b.get("/login?" + url.Values{"request": {handle}}.Encode()),
		"a bad address":   b.act("email", "request", handle, "email", "nobody"),
		"the waiting tab": b.get("/login?wait=" + waiting),
		"the link":        b.get("/login?token=" + token),
		"elsewhere":       elsewhere.get("/login?token=" + token),
		"the code":        elsewhere.act("show-code", "token", token),
	} {
		if got := p.header.Get("Content-Language"); got != "de" {
			t.Errorf("%s speaks %q: %s", name, got, p)
		}
	}
	if got := w.store.newest().Locale; got != "de" {
		t.Errorf("the mail speaks %q", got)
	}
	if got := b.get("/login?wait=" + waiting + "&lang=ar").header.Get("Content-Language"); got != "ar" {
		t.Errorf("chosen from the menu, the page speaks %q", got)
	}
}
