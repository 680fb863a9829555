package login

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

func cookies(p page) map[string]*http.Cookie {
	out := map[string]*http.Cookie{}
	for _, c := range (&http.Response{Header: p.header}).Cookies() {
		out[c.Name] = c
	}
	return out
}

func TestCookies(t *testing.T) {
	for iss, tt := range map[string]struct {
		prefix string
		secure bool
	}{issuer: {"__Host-", true}, "http://localhost:8080": {"", false}} {
		w := newWorld(t, func(c *Config) { c.Issuer = iss })
		b := w.browser()
		asked := b.act("email", "email", "ada@example.com")
		// The jar is of an https origin and has the cookies of both.
		done := b.act("confirm", "token", w.token())
		for name, c := range map[string]*http.Cookie{"browser": cookies(asked)[tt.prefix+"sealpost-browser"], "session": cookies(done)[tt.prefix+"sealpost-session"],
			"known": cookies(done)[tt.prefix+"sealpost-known"]} {
			if c == nil {
				t.Fatalf("%s: no %s cookie in %v %v", iss, name, asked.header, done.header)
			}
			if c.Secure != tt.secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge <= 0 {
				t.Errorf("%s: %s", iss, c.Raw)
			}
		}
	}
}

func TestBrowserIsKnownForTheRestOfTheRequest(t *testing.T) {
	w := newWorld(t)
	rec, r := httptest.NewRecorder(), httptest.NewRequest("GET", issuer+"/authorize", nil)
	r.AddCookie(&http.Cookie{Name: "__Host-sealpost-browser", Value: "not ours"})
	first, second := w.login.Browser(rec, r), w.login.Browser(rec, r)
	if first == "" || first != second || len(rec.Result().Cookies()) != 1 {
		t.Errorf("%q, then %q, with %v", first, second, rec.Header())
	}
}

func TestSessionNeedsOurCookie(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	_, token := b.ask("", "ada@example.com")
	b.act("confirm", "token", token)
	login, err := b.session()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"none": "", "the id, as the database has it": login.Session.ID, "random": keys.Token(),
		"unproven": strings.Repeat("A", 64), "of another purpose": prove(w.login.cfg.Secret, "link", make([]byte, secretSize)),
	} {
		r := httptest.NewRequest("GET", issuer+"/authorize", nil)
		r.AddCookie(&http.Cookie{Name: "__Host-sealpost-session", Value: value})
		if _, err := w.login.Session(httptest.NewRecorder(), r); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSessionIsTouchedNowAndThen(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	_, token := b.ask("", "ada@example.com")
	b.act("confirm", "token", token)
	writes := w.store.writes
	w.clock.pass(5 * time.Minute)
	b.session()
	if w.store.writes != writes {
		t.Error("written too soon")
	}
	w.clock.pass(time.Second)
	b.session()
	b.session()
	if w.store.writes != writes+1 {
		t.Errorf("%d writes", w.store.writes-writes)
	}
	for range 10 { // used, it lives on; idle, it ends
		w.clock.pass(160 * time.Hour / 2)
		if w.clock.Now().Before(time.Date(2031, 4, 1, 0, 0, 0, 0, time.UTC)) && !b.signedIn() {
			t.Fatal("ended while in use")
		}
	}
	if b.signedIn() {
		t.Error("lives past its end")
	}
}

func TestIdleSessionEnds(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	_, token := b.ask("", "ada@example.com")
	b.act("confirm", "token", token)
	w.clock.pass(168 * time.Hour)
	if b.signedIn() {
		t.Error("still signed in")
	}
	w.is(b.get("/login"), 200, "login")
}

// Whoever is denied after a restart is signed out by it.
func TestSettingsThatChangedEndSessions(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	wait, token := b.ask(b.handle("app"), "ada@example.com")
	b.act("confirm", "token", token)
	if !b.signedIn() {
		t.Fatal("not signed in")
	}
	for name, change := range map[string]func(*Config){
		"denied":             func(c *Config) { c.Deny = []string{"ada@example.com"} },
		"not allowed":        func(c *Config) { c.Allow = []string{"*@example.org"} },
		"by another address": func(c *Config) { c.Deny = []string{"ada+x@example.com"} },
	} {
		before := w.login.cfg
		change(&w.login.cfg)
		if b.signedIn() {
			t.Errorf("%s: still signed in", name)
		}
		w.is(b.get("/login"), 200, "login")
		w.is(b.get("/login?wait="+wait), 410, "used")
		w.login.cfg = before
	}
	if !b.signedIn() {
		t.Error("a setting that was taken back keeps people out")
	}
}

func TestClearSession(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	_, token := b.ask("", "ada@example.com")
	b.act("confirm", "token", token)
	rec := httptest.NewRecorder()
	w.login.ClearSession(rec)
	b.jar.SetCookies(origin, rec.Result().Cookies())
	if b.signedIn() {
		t.Error("still signed in")
	}
}

func TestAgentNamesBrowserAndPlatform(t *testing.T) {
	for header, want := range map[string]string{
		firefox: "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0":           "Edge on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                         "Chrome on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15":                   "Safari on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1":  "Chrome on iPhone",
		"Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36":        "Samsung Internet on Android",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                          "Chrome on ChromeOS",
		"curl/8.5.0":                       "curl",
		"":                                 "A browser",
		"<script>alert(1)</script>":        "A browser",
		strings.Repeat("x", 2000) + "Edg/": "A browser",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("User-Agent", header)
		if got := agent(r); got != want {
			t.Errorf("%.40q: %q, want %q", header, got, want)
		}
	}
}

func TestNetworkTellsAboutWhere(t *testing.T) {
	for addr, want := range map[string]string{
		"203.0.113.7:1": "203.0.113.0/24", "203.0.113.7": "203.0.113.0/24", "[::ffff:203.0.113.7]:1": "203.0.113.0/24",
		"[2001:db8:1:2::3]:1": "2001:db8:1::/48", "[fe80::1%eth0]:1": "fe80::/48", "@": "", "": "",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = addr
		if got := network(r); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}

func TestMailboxIsOfTheTypedDomain(t *testing.T) {
	for email, want := range map[string]string{"a.b+c@Gmail.com": "Gmail", "a@proton.me": "Proton Mail", "a@example.com": "", "a": ""} {
		if name, address := mailbox(email); name != want || (address == "") != (want == "") {
			t.Errorf("%s: %q %q", email, name, address)
		}
	}
	if _, address := mailbox("a+b@gmail.com"); address != "https://mail.google.com/mail/?authuser=a%2Bb%40gmail.com" {
		t.Error(address)
	}
}
