package login

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

func TestLinkCompletesInTheBrowserThatAsked(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	handle := b.handle("app")
	_, token := b.ask(handle, "Ada@example.com")
	if w.woken.Load() != 1 || len(w.store.mails) != 1 {
		t.Errorf("mail workers woken %d times for %d mails", w.woken.Load(), len(w.store.mails))
	}
	p := b.get("/login?token=" + token)
	w.is(p, 200, "confirm")
	if !p.auto || !strings.Contains(p.body, "app") {
		t.Errorf("auto %v: the browser that asked needs no click, and the page names the app", p.auto)
	}
	w.is(b.post(p.forms["confirm"]), 200, "resumed")
	if want := []string{handle + " as ada@example.com"}; !slices.Equal(w.requests.resumed, want) {
		t.Errorf("resumed %q, want %q", w.requests.resumed, want)
	}
	login, err := b.session()
	if err != nil {
		t.Fatal(err)
	}
	if !login.Session.AuthTime.Equal(w.clock.Now()) || login.Session.Browser != "Firefox on Linux" || login.Session.Network != "203.0.113.0/24" {
		t.Errorf("session %+v", login.Session)
	}
	a := w.attempt(token)
	if a.Agent != "Firefox on Linux" || a.Network != "203.0.113.0/24" || a.ClientID != "id-of-app" || a.ClientName != "app" || a.Locale != "en" {
		t.Errorf("attempt %+v", a)
	}
}

// TestThePlaceStandsBeforeTheNetwork, in the language of the browser, where it
// is known.
func TestThePlaceStandsBeforeTheNetwork(t *testing.T) {
	known := map[string]string{"203.0.113.7 en": "Berlin, Germany"}
	w := newWorld(t, func(c *Config) {
		c.Place = func(addr netip.Addr, language string) string { return known[addr.String()+" "+language] }
	})
	b := w.browser()
	for _, want := range []string{"Berlin, Germany · 203.0.113.0/24", "203.0.113.0/24"} {
		_, token := b.ask(b.handle("app"), "ada@example.com")
		if have := w.attempt(token).Network; have != want {
			t.Errorf("attempt of %q, want %q", have, want)
		}
		b.post(b.get("/login?token=" + token).forms["confirm"])
		login, err := b.session()
		if err != nil {
			t.Fatal(err)
		}
		if have := login.Session.Network; have != want {
			t.Errorf("session of %q, want %q", have, want)
		}
		clear(known)
		b = w.browser()
	}
}

// TestOpeningALinkChangesNothing is about mail scanners, which open links with
// GET and HEAD, from everywhere and often.
func TestOpeningALinkChangesNothing(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	_, token := b.ask(b.handle("app"), "ada@example.com")
	before, writes := w.attempt(token), w.store.writes
	for i := range 20 {
		who := []*browser{b, w.browser()}[i%2]
		method := []string{"GET", "HEAD"}[i/2%2]
		p := who.send(who.request(method, "/login?token="+token, nil))
		if p.status != http.StatusOK {
			t.Fatalf("%s: %s", method, p)
		}
		for _, c := range p.header.Values("Set-Cookie") {
			t.Errorf("%s set a cookie: %s", method, c)
		}
	}
	if w.store.writes != writes || w.attempt(token) != before {
		t.Errorf("%d writes; before %+v after %+v", w.store.writes-writes, before, w.attempt(token))
	}
	w.is(b.act("confirm", "token", token), 200, "resumed")
}

func TestParallelConfirmsSignInOnce(t *testing.T) {
	for name, prepare := range map[string]func(*browser){
		"signed out":                func(*browser) {},
		"signed in as the same":     func(b *browser) { _, t := b.ask("", "ada@example.com"); b.act("confirm", "token", t) },
		"signed in as someone else": func(b *browser) { _, t := b.ask("", "bob@example.com"); b.act("confirm", "token", t) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser()
			handle := b.handle("app")
			prepare(b)
			earlier := len(w.store.won)
			_, token := b.ask(handle, "ada@example.com")
			requests := make([]*http.Request, 32)
			for i := range requests {
				requests[i] = b.request("POST", "/login", strings.NewReader(url.Values{"action": {"confirm"}, "token": {token}}.Encode()))
				requests[i].Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			var all sync.WaitGroup
			answers := make([]page, len(requests))
			for i, r := range requests {
				all.Go(func() { answers[i] = b.send(r) })
			}
			all.Wait()
			for _, p := range answers {
				w.is(p, 200, "resumed")
			}
			if n := len(w.store.won) - earlier; n != 1 {
				t.Errorf("%d sessions", n)
			}
			if len(w.requests.resumed) != len(requests) {
				t.Errorf("%d of %d landed at the app", len(w.requests.resumed), len(requests))
			}
			for _, who := range w.requests.resumed {
				if who != handle+" as ada@example.com" {
					t.Errorf("resumed %s", who)
				}
			}
			login, err := b.session()
			if err != nil || login.Session.ID != w.attempt(token).SessionID {
				t.Errorf("session %v, %v", login.Session.ID, err)
			}
		})
	}
}

func TestSecondClickLandsWhereTheFirstDid(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	_, token := b.ask(b.handle("app"), "ada@example.com")
	first := b.act("confirm", "token", token)
	w.clock.pass(4 * time.Minute)
	w.is(b.get("/login?token="+token), 200, "confirm")
	second := b.act("confirm", "token", token)
	w.is(second, 200, "resumed")
	if one, two := first.header.Get("Set-Cookie"), second.header.Get("Set-Cookie"); one == "" || one != two {
		t.Errorf("cookies differ: %q and %q", one, two)
	}
	if len(w.store.won) != 1 {
		t.Errorf("%d completions", len(w.store.won))
	}
	other := w.browser()
	w.is(other.get("/login?token="+token), 410, "used")
	w.is(other.act("confirm", "token", token), 410, "used")
	w.clock.pass(time.Minute)
	w.is(b.get("/login?token="+token), 410, "used")
	w.is(b.act("confirm", "token", token), 410, "used")
}

// An application takes an answer once. Whoever clicks again later wants to get
// there, not to see it complain.
func TestLateSecondClickLeadsToWhereTheApplicationStarts(t *testing.T) {
	w := newWorld(t)
	const start = "https://app.example.com/start"
	w.requests.change = func(q *Waiting) { q.Home = start }
	b := w.browser()
	waiting, token := b.ask(b.handle("app"), "ada@example.com")
	w.is(b.act("confirm", "token", token), 200, "resumed")
	w.clock.pass(answerFor - time.Microsecond)
	w.is(b.act("confirm", "token", token), 200, "resumed")
	w.clock.pass(time.Microsecond)
	w.is(b.get("/login?token="+token), 200, "confirm")
	p := b.act("confirm", "token", token)
	if p.status != http.StatusSeeOther || p.header.Get("Location") != start {
		t.Errorf("a late second click: %s", p)
	}
	p = b.get("/login?wait=" + waiting)
	w.is(p, 200, "signed-in")
	if !strings.Contains(p.body, `href="`+start+`"`) {
		t.Errorf("the waiting tab leads elsewhere: %s", p.body)
	}
}

// The link outlived the request: the person is signed in, and the application
// that can start a login itself gets to know.
func TestLinkOutlivesItsRequest(t *testing.T) {
	const start = "https://app.example.com/start"
	w := newWorld(t)
	b := w.browser()
	handle := b.handle("app")
	_, token := b.ask(handle, "ada@example.com")
	w.requests.expired = map[string]bool{handle: true}
	w.requests.restart = map[string]string{"id-of-app": start}
	p := b.act("confirm", "token", token)
	if p.status != http.StatusSeeOther || p.header.Get("Location") != start {
		t.Errorf("%s", p)
	}
	if login, err := b.session(); err != nil || login.User.Key != "ada@example.com" {
		t.Errorf("signed in as %q, %v", login.User.Key, err)
	}
	if len(w.requests.resumed) > 0 {
		t.Errorf("resumed %v", w.requests.resumed)
	}
}

func TestSecondClickDoesNotUndoLogout(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	_, token := b.ask(b.handle("app"), "ada@example.com")
	b.act("confirm", "token", token)
	_, other := b.ask("", "bob@example.com")
	b.act("confirm", "token", other) // ends the session of ada
	w.is(b.get("/login?token="+token), 410, "used")
	w.is(b.act("confirm", "token", token), 410, "used")
	if login, err := b.session(); err != nil || login.User.Key != "bob@example.com" {
		t.Errorf("signed in as %q, %v", login.User.Key, err)
	}
}

func TestSigningInAgainKeepsTheSession(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	_, token := b.ask(b.handle("app"), "ada@example.com")
	b.act("confirm", "token", token)
	before, _ := b.session()
	w.clock.pass(time.Hour)
	_, token = b.ask(b.handle("app"), "ada@example.com")
	w.is(b.act("confirm", "token", token), 200, "resumed")
	after, err := b.session()
	if err != nil || after.Session.ID != before.Session.ID || !after.Session.AuthTime.Equal(w.clock.Now()) {
		t.Errorf("session %+v, %v", after.Session, err)
	}
	w.is(b.act("confirm", "token", token), 200, "resumed") // and again by a double click
}

// TestAnotherBrowserNeverCompletes is login CSRF and phishing at once: neither
// does the attacker's link sign the victim in as the attacker, nor does the
// victim's click on it sign the attacker in.
func TestAnotherBrowserNeverCompletes(t *testing.T) {
	w := newWorld(t)
	attacker, victim := w.browser(), w.browser()
	wait, token := attacker.ask(attacker.handle("app"), "victim@example.com")
	victimHandle := victim.handle("app")
	p := victim.get("/login?token=" + token)
	w.is(p, 200, "other-browser")
	if p.auto || p.forms["confirm"] != nil {
		t.Error("the page offers to complete the login")
	}
	for _, fact := range []string{"app", "Firefox on Linux", "203.0.113.0/24"} {
		if !strings.Contains(p.body, fact) {
			t.Errorf("the page doesn't tell %q", fact)
		}
	}
	code := victim.act("show-code", "token", token).code
	for _, fields := range [][]string{
		{"confirm", "token", token},
		{"confirm", "token", token, "request", victimHandle},
		{"enter-code", "wait", wait, "code", code},
		{"enter-code", "wait", token, "code", code, "token", token},
		{"resend", "token", token},
		{"resend", "wait", wait},
		{"change-email", "wait", wait, "email", "other@example.com"},
		{"cancel", "wait", wait},
		{"cancel", "wait", wait, "request", victimHandle},
		{"account-continue", "request", victimHandle},
		{"not-me", "token", token},
		{"confirm", "token", token},
	} {
		p := victim.act(fields[0], fields[1:]...)
		if strings.Contains(p.header.Get("Set-Cookie"), "session") || p.name == "resumed" || p.name == "denied" {
			t.Errorf("%v: %s", fields, p)
		}
	}
	if len(w.store.won) > 0 || victim.signedIn() || attacker.signedIn() || len(w.requests.resumed) > 0 {
		t.Fatal("another browser has completed the login")
	}
	if w.attempt(token).State(w.clock.Now()) != storage.StateLive {
		t.Errorf("another browser has spoilt the link: %s", w.attempt(token).State(w.clock.Now()))
	}
	w.is(attacker.act("confirm", "token", token), 200, "resumed") // the link in the browser that asked, as when it had the mailbox
}

func TestNotMeClosesTheOtherWayOnly(t *testing.T) {
	w := newWorld(t)
	b, phone := w.browser(), w.browser()
	wait, token := b.ask(b.handle("app"), "ada@example.com")
	code := phone.act("show-code", "token", token).code
	w.is(phone.act("not-me", "token", token), 200, "cancelled")
	w.is(phone.act("not-me", "token", token), 200, "cancelled")
	if !strings.Contains(w.logged.String(), "event=not-me") {
		t.Error("not recorded")
	}
	p := phone.get("/login?token=" + token)
	w.is(p, 410, "cancelled")
	if p.forms["resend"] != nil {
		t.Error("offers another mail to somebody who asked for none")
	}
	w.is(phone.act("show-code", "token", token), 410, "cancelled")
	p = b.act("enter-code", "wait", wait, "code", code)
	w.is(p, 400, "sent")
	if p.fault != "wrong-code" {
		t.Errorf("%s: tells the waiting tab more than of any wrong code", p)
	}
	w.is(b.act("confirm", "token", token), 200, "resumed")
}

func TestLinkOfNobodyNeedsAClickAndACookie(t *testing.T) {
	w := newWorld(t)
	asker := w.browser()
	wait, token := asker.ask("", "ada@example.com")
	if a := w.attempt(token); a.Browser != "" || a.Request != "" {
		t.Fatalf("attempt %+v", a)
	}
	b := w.browser()
	if p := b.act("confirm", "token", token); p.status != http.StatusBadRequest || b.signedIn() {
		t.Fatalf("confirmed by a browser that never saw the page: %s", p)
	}
	p := b.get("/login?token=" + token)
	w.is(p, 200, "confirm")
	if p.auto || !strings.Contains(p.body, "ada@example.com") {
		t.Error("the page names the address and waits for a click")
	}
	done := b.post(p.forms["confirm"])
	if done.status != http.StatusSeeOther || done.header.Get("Location") != "/login" {
		t.Fatalf("%s to %q", done, done.header.Get("Location"))
	}
	w.is(b.follow(done), 200, "signed-in")
	if asker.signedIn() {
		t.Error("the browser that asked is signed in by another's click")
	}
	p = asker.get("/login?wait=" + wait)
	w.is(p, 200, "signed-in")
	if p.forms["logout"] != nil {
		t.Error("offers to sign out where nobody is signed in")
	}
	w.is(asker.get("/login?token="+token), 410, "used")
}

func TestConfirmPageNamesWhoIsSignedIn(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	_, token := b.ask("", "bob@example.com")
	b.act("confirm", "token", token)
	_, token = b.ask("", "ada@example.com")
	if p := b.get("/login?token=" + token); !strings.Contains(p.body, "bob@example.com") {
		t.Error("doesn't say that bob will be signed out")
	}
}

func TestPrefetchNeverCompletes(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	_, token := b.ask(b.handle("app"), "ada@example.com")
	for name, header := range map[string]http.Header{
		"prefetch":  {"Sec-Purpose": {"prefetch"}},
		"prerender": {"Sec-Purpose": {"prefetch;prerender"}},
		"older":     {"Purpose": {"prefetch"}},
	} {
		b.header = header
		p := b.get("/login?token=" + token)
		w.is(p, 200, "confirm")
		if p.auto {
			t.Errorf("%s: a script would click", name)
		}
		if p := b.act("confirm", "token", token); p.status != http.StatusForbidden {
			t.Errorf("%s: %s", name, p)
		}
	}
	if b.signedIn() {
		t.Error("signed in")
	}
}

// TestEveryStateHasItsPage opens a link and its waiting tab in every state.
func TestEveryStateHasItsPage(t *testing.T) {
	type views struct{ here, elsewhere, wait string }
	for name, tt := range map[string]struct {
		status int
		want   views
		reach  func(w *world, b *browser, wait, token string)
	}{
		"live":    {200, views{"confirm", "other-browser", "sent"}, func(*world, *browser, string, string) {}},
		"expired": {410, views{"expired", "expired", "expired"}, func(w *world, _ *browser, _, _ string) { w.clock.pass(15 * time.Minute) }},
		"superseded": {410, views{"superseded", "superseded", ""}, func(w *world, b *browser, wait, _ string) {
			w.clock.pass(time.Minute)
			b.act("resend", "wait", wait)
		}},
		"given up": {410, views{"cancelled", "cancelled", "cancelled"}, func(w *world, b *browser, wait, _ string) {
			w.is(b.act("cancel", "wait", wait), 200, "denied")
		}},
		"burned": {410, views{"cancelled", "cancelled", "cancelled"}, func(w *world, b *browser, wait, token string) {
			w.burn(b, wait, token)
		}},
		"used long ago": {410, views{"used", "used", ""}, func(w *world, b *browser, _, token string) {
			b.act("confirm", "token", token)
			w.clock.pass(time.Hour)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b, other := w.browser(), w.browser()
			wait, token := b.ask(b.handle("app"), "ada@example.com")
			tt.reach(w, b, wait, token)
			here, elsewhere := b.get("/login?token="+token), other.get("/login?token="+token)
			w.is(here, tt.status, tt.want.here)
			w.is(elsewhere, tt.status, tt.want.elsewhere)
			if tt.want.wait != "" {
				w.is(b.get("/login?wait="+wait), tt.status, tt.want.wait)
			}
			w.is(other.get("/login?wait="+wait), 404, "unknown")
			if tt.status == http.StatusGone {
				resumed := len(w.requests.resumed)
				w.is(b.act("confirm", "token", token), 410, tt.want.here)
				other.act("show-code", "token", token)
				if p := other.act("show-code", "token", token); p.code != "" {
					t.Errorf("shows a code: %s", p)
				}
				if len(w.requests.resumed) != resumed {
					t.Error("answered the app")
				}
				for where, p := range map[string]page{"here": here, "elsewhere": elsewhere} {
					if p.forms["resend"].Get("token") != token {
						t.Errorf("%s: no way on but %v", where, p.forms)
					}
				}
			}
		})
	}
}

func TestDeletedAttemptIsExpired(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	token := linkToken(w.login.cfg.Secret, keys.ID())
	w.is(b.get("/login?token="+token), 410, "expired")
	w.is(b.act("confirm", "token", token), 410, "expired")
}

func TestPendingLoginsDoNotDisturbEachOther(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	one, two := b.handle("one"), b.handle("two")
	waitOne, tokenOne := b.ask(one, "ada@example.com")
	waitTwo, tokenTwo := b.ask(two, "ada@example.com")
	w.clock.pass(time.Minute)
	b.act("resend", "wait", waitTwo)
	resent := w.token()
	w.is(b.get("/login?wait="+waitOne), 200, "sent")
	w.is(b.get("/login?token="+tokenTwo), 410, "superseded")
	w.is(b.act("confirm", "token", tokenOne), 200, "resumed")
	w.is(b.get("/login?wait="+waitTwo), 200, "sent")
	w.is(b.act("confirm", "token", resent), 200, "resumed")
	if want := []string{one + " as ada@example.com", two + " as ada@example.com"}; !slices.Equal(w.requests.resumed, want) {
		t.Errorf("resumed %q, want %q", w.requests.resumed, want)
	}
}

func TestWhoMayNotSignInIsRefusedAtTheEnd(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"denied":      func(c *Config) { c.Deny = []string{"*@example.com"} },
		"not allowed": func(c *Config) { c.Allow = []string{"*@example.org"} },
		"not invited": func(c *Config) { c.Signup = false },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, change)
			b := w.browser()
			wait, token := b.ask(b.handle("app"), "ada@example.com") // the same answer as for anyone
			w.is(b.get("/login?wait="+wait), 200, "sent")
			if p := b.act("confirm", "token", token); p.status != http.StatusForbidden || p.fault != "access_denied" {
				t.Errorf("got %s", p)
			}
			code := w.browser().act("show-code", "token", token).code
			if p := b.act("enter-code", "wait", wait, "code", code); p.status != http.StatusForbidden || p.fault != "access_denied" {
				t.Errorf("by code: %s", p)
			}
			if b.signedIn() || len(w.requests.resumed) > 0 {
				t.Error("signed in")
			}
		})
	}
}

// nothing is a Store that panics whatever is asked.
type nothing struct{ Store }

func TestGarbageNeverTouchesTheStore(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Store = nothing{} })
	b, other := w.browser(), w.browser()
	b.hash()
	id := keys.ID()
	good := linkToken(w.login.cfg.Secret, id)
	flipped := []byte(good)
	flipped[30] ^= 1
	rawID, _ := b64.DecodeString(id)
	foreign, err := waitHandle(w.login.cfg.Secret, storage.Attempt{Txn: keys.ID(), Browser: other.hash()}, other.login.knownBrowser(other.request("GET", "/", nil)))
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"empty": "", "id alone": id, "one bit": string(flipped), "longer": good + "A", "shorter": good[:42],
		"padded": good + "=", "other spelling": good[:42] + string(good[42]+1),
		"other purpose": prove(w.login.cfg.Secret, "code", rawID), "random": keys.Token(), "wait handle": foreign,
		"NUL": "\x00", "SQL": "' OR 1=1 --", "long": strings.Repeat("A", 5000),
	} {
		at := "/login?" + url.Values{"token": {token}}.Encode()
		if p := b.get(at); p.status != http.StatusNotFound || p.name != "unknown" {
			t.Errorf("%s: GET %s", name, p)
		}
		for _, action := range []string{"confirm", "show-code", "not-me"} {
			if p := b.act(action, "token", token); p.status != http.StatusNotFound || p.name != "unknown" {
				t.Errorf("%s: %s %s", name, action, p)
			}
		}
		for _, action := range []string{"resend", "change-email", "enter-code"} {
			if p := b.act(action, "wait", token, "code", "123456", "email", "a@example.com"); p.status != http.StatusNotFound || p.name != "unknown" {
				t.Errorf("%s: %s %s", name, action, p)
			}
		}
		if p := b.get("/login/status?" + url.Values{"wait": {token}}.Encode()); p.status != http.StatusNotFound {
			t.Errorf("%s: status %s", name, p)
		}
	}
	b.jar.SetCookies(origin, []*http.Cookie{{Name: "__Host-sealpost-session", Value: keys.Token() + "AAAAAAAAAAAAAAAAAAAAA"}})
	w.is(b.get("/login"), 200, "login")
}

func TestTokenIsShort(t *testing.T) {
	w := newWorld(t)
	token := linkToken(w.login.cfg.Secret, keys.ID())
	if len(token) != 43 {
		t.Errorf("%d characters", len(token))
	}
	if linkToken(w.login.cfg.Secret, "no id") != "" {
		t.Error("a link for no id")
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	w := newWorld(t)
	b, phone := w.browser(), w.browser()
	handle := b.handle("app")
	wait, token := b.ask(handle, "ada@example.com")
	code := phone.act("show-code", "token", token).code
	b.act("enter-code", "wait", wait, "code", code)
	b.act("confirm", "token", token)
	w.store.fail = context.DeadlineExceeded
	b.act("confirm", "token", token)
	for name, secret := range map[string]string{"token": token, "id": w.store.newest().ID, "code": "=" + code, "wait": wait, "local part": "ada@", "handle": handle} {
		if strings.Contains(w.logged.String(), secret) {
			t.Errorf("the log has the %s:\n%s", name, &w.logged.text)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	secret, err := keys.ParseSecret(keys.NewSecret())
	if err != nil {
		f.Fatal(err)
	}
	id := keys.ID()
	good := linkToken(secret, id)
	for _, seed := range []string{good, good[1:], good + "=", id, "", strings.Repeat("A", 43)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		got, ok := parseToken(secret, token)
		if ok != (token == good) || ok && got != id {
			t.Errorf("%q: %q, %v", token, got, ok)
		}
	})
}
