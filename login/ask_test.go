package login

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/storage"
)

func TestFormIsPrefilledWithTheHint(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	at := "/login?" + url.Values{"request": {b.handle("app")}}.Encode()
	p := b.get(at)
	w.is(p, 200, "login")
	if !strings.Contains(p.body, `value="hint@example.com"`) || p.forms["email"] == nil || p.forms["cancel"] == nil {
		t.Errorf("forms %v\n%s", p.forms, p.body)
	}
	w.requests.change = func(q *Waiting) { q.LoginHint = `"><script>alert(1)</script>` }
	if p := b.get(at); strings.Contains(p.body, "alert") {
		t.Error("a hint that is no address is on the page")
	}
	p = b.get("/login")
	w.is(p, 200, "login")
	if p.forms["cancel"] != nil {
		t.Error("nothing waits that could be cancelled")
	}
}

func TestAnswerIsTheSameForEveryAddress(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Deny, c.Signup = []string{"*@denied.example"}, false })
	b := w.browser()
	handle := b.handle("app")
	for _, email := range []string{"nobody@example.com", "x@denied.example"} {
		p := b.act("email", "request", handle, "email", email)
		if p.status != http.StatusSeeOther || p.body != "" && strings.Contains(p.body, email) {
			t.Errorf("%s: %s", email, p)
		}
		p = b.follow(p)
		w.is(p, 200, "sent")
		if !strings.Contains(p.body, email) {
			t.Error("the page doesn't show where the mail went")
		}
	}
}

func TestMalformedAddressStartsNothing(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	handle := b.handle("app")
	for _, email := range []string{
		"", "ada", "ada@", "@example.com", "a@example.com,b@example.com", "a@example.com;b@example.com", "a@example.com b@example.com",
		"a@example.com\r\nBcc: b@example.com", "a@example.com%0ab@example.com", "<a@example.com>", "Ada <a@example.com>",
		`"a b"@example.com`, "a@[127.0.0.1]", `"><script>@x.y`, strings.Repeat("a", 300) + "@example.com",
	} {
		p := b.act("email", "request", handle, "email", email)
		w.is(p, 400, "login")
		if p.fault != "invalid-email" || p.forms["email"].Get("request") != handle {
			t.Errorf("%q: %s, %v", email, p, p.forms)
		}
	}
	if len(w.store.started) > 0 || w.woken.Load() > 0 {
		t.Errorf("%d attempts", len(w.store.started))
	}
}

func TestWaitingTab(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	handle := b.handle("app")
	wait, token := b.ask(handle, "ada@example.com")
	status := func(b *browser) (state struct{ State, Location string }, code int) {
		p := b.get("/login/status?wait=" + wait)
		if err := json.Unmarshal([]byte(p.body), &state); err != nil {
			t.Fatal(err)
		}
		if p.header.Get("Cache-Control") != "no-store" || p.header.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", p.header)
		}
		return state, p.status
	}
	p := b.get("/login?wait=" + wait)
	w.is(p, 200, "sent")
	for _, form := range []string{"enter-code", "resend", "change-email", "cancel"} {
		if p.forms[form].Get("wait") != wait || p.forms[form].Get("action") != form {
			t.Errorf("form %s: %v", form, p.forms[form])
		}
	}
	if s, code := status(b); code != 200 || s.State != "waiting" || s.Location != "" {
		t.Errorf("%d %+v", code, s)
	}
	if _, code := status(w.browser()); code != 404 {
		t.Errorf("another browser is told %d", code)
	}
	b.act("confirm", "token", token)
	if s, code := status(b); code != 200 || s.State != "done" || s.Location != "/login?wait="+wait {
		t.Errorf("%d %+v", code, s)
	}
	p = b.get("/login?wait=" + wait)
	w.is(p, 200, "signed-in")
	if !strings.Contains(p.body, "/authorize/resume?request="+url.QueryEscape(handle)) {
		t.Errorf("no way on to the app:\n%s", p.body)
	}
}

func TestResendKeepsTheRequest(t *testing.T) {
	for name, how := range map[string]func(b *browser, wait, token string) page{
		"from the waiting tab": func(b *browser, wait, _ string) page { return b.act("resend", "wait", wait) },
		"from the old link":    func(b *browser, _, token string) page { return b.act("resend", "token", token) },
	} {
		for state, wait := range map[string]time.Duration{"live": time.Minute, "expired": time.Hour} {
			t.Run(name+", "+state, func(t *testing.T) {
				w := newWorld(t)
				b := w.browser()
				handle := b.handle("app")
				tab, token := b.ask(handle, "ada@example.com")
				w.clock.pass(wait)
				w.is(b.follow(how(b, tab, token)), 200, "sent")
				old, newest := w.attempt(token), w.store.newest()
				if newest.ID == old.ID || newest.Txn != old.Txn || newest.Browser != old.Browser || newest.Request != handle || newest.Email != "ada@example.com" {
					t.Fatalf("new %+v\nold %+v", newest, old)
				}
				w.is(b.act("confirm", "token", w.token()), 200, "resumed")
				if w.requests.resumed[0] != handle+" as ada@example.com" {
					t.Errorf("resumed %s", w.requests.resumed)
				}
			})
		}
	}
}

func TestResendFromAnotherBrowserGivesNoPartInTheLogin(t *testing.T) {
	w := newWorld(t)
	b, phone := w.browser(), w.browser()
	wait, token := b.ask(b.handle("app"), "ada@example.com")
	w.clock.pass(time.Hour)
	phone.header = http.Header{"User-Agent": {"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1"}}
	p := phone.post(phone.get("/login?token=" + token).forms["resend"])
	w.is(p, 200, "sent")
	if strings.Contains(p.body, wait) || strings.Contains(p.body, w.store.newest().Txn) || p.header.Get("Location") != "" {
		t.Error("the phone learns what the other browser waits for")
	}
	if a := w.store.newest(); a.Browser != b.hash() || a.Agent != "Firefox on Linux" {
		t.Errorf("asked by %s for %s", a.Agent, a.Browser)
	}
	w.is(b.get("/login?wait="+wait), 200, "sent")
	w.is(phone.get("/login?token="+w.token()), 200, "other-browser")
}

func TestResendOfALinkThatNobodyWaitsFor(t *testing.T) {
	w := newWorld(t)
	w.browser().sendMagicLink("application/json", `{"email":"ada@example.com"}`)
	old := w.token()
	w.clock.pass(time.Hour)
	b := w.browser()
	p := b.get("/login?token=" + old)
	w.is(p, 410, "expired")
	p = b.follow(b.post(p.forms["resend"]))
	w.is(p, 200, "sent")
	if p.forms["cancel"] != nil {
		t.Error("nothing waits that could be cancelled")
	}
	if p := b.act("confirm", "token", w.token()); p.status != http.StatusSeeOther || !b.signedIn() {
		t.Error(p)
	}
}

func TestResendTooSoon(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	wait, token := b.ask(b.handle("app"), "ada@example.com")
	w.clock.pass(20 * time.Second)
	p := b.act("resend", "wait", wait)
	w.is(p, 429, "sent")
	if p.header.Get("Retry-After") != "10" {
		t.Errorf("Retry-After %q", p.header.Get("Retry-After"))
	}
	p = w.browser().act("resend", "token", token)
	w.is(p, 429, "limited")
	if p.header.Get("Retry-After") != "10" {
		t.Errorf("Retry-After %q", p.header.Get("Retry-After"))
	}
	w.clock.pass(10 * time.Second)
	if p := b.act("resend", "wait", wait); p.status != http.StatusSeeOther || len(w.store.started) != 2 {
		t.Errorf("%s, %d attempts", p, len(w.store.started))
	}
}

func TestResendOfARequestThatIsOver(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	handle := b.handle("app")
	wait, token := b.ask(handle, "ada@example.com")
	w.clock.pass(3 * time.Hour)
	w.requests.expired[handle] = true
	for _, p := range []page{b.act("resend", "wait", wait), w.browser().act("resend", "token", token)} {
		if p.status != http.StatusBadRequest || p.fault != "invalid_request" {
			t.Errorf("got %s", p)
		}
	}
	if len(w.store.started) != 1 {
		t.Error("mailed a link that leads nowhere")
	}
}

func TestChangeOfAddress(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	handle := b.handle("app")
	wait, astray := b.ask(handle, "aad@example.com")
	w.clock.pass(time.Second)
	w.is(b.act("change-email", "wait", wait, "email", "nonsense"), 400, "login")
	w.is(b.act("change-email", "wait", wait, "email", "AAD@example.com"), 429, "sent") // the same is a resend
	p := b.follow(b.act("change-email", "wait", wait, "email", "ada@example.com"))
	w.is(p, 200, "sent")
	if !strings.Contains(p.body, "ada@example.com") {
		t.Error("the page shows the old address")
	}
	right := w.token()
	if a := w.attempt(right); a.Key != "ada@example.com" || a.Request != handle || a.Txn != w.attempt(astray).Txn {
		t.Errorf("attempt %+v", a)
	}
	w.clock.pass(time.Minute)
	stranger := w.browser()
	w.is(stranger.get("/login?token="+astray), 410, "superseded")
	w.is(stranger.act("resend", "token", astray), 410, "superseded") // the wrong mailbox cannot end the right link
	w.is(b.act("confirm", "token", astray), 410, "superseded")
	w.is(b.act("confirm", "token", right), 200, "resumed")
	if p := b.act("change-email", "wait", wait, "email", "eve@example.com"); p.status != http.StatusSeeOther || len(w.store.started) != 2 {
		t.Errorf("after the end: %s, %d attempts", p, len(w.store.started))
	}
}

func TestCancelAnswersTheApp(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	handle := b.handle("app")
	w.is(b.act("cancel", "request", handle), 200, "denied")
	wait, token := b.ask(handle, "ada@example.com")
	w.is(b.act("cancel", "wait", wait), 200, "denied")
	w.is(b.act("confirm", "token", token), 410, "cancelled")
	if len(w.requests.denied) != 2 {
		t.Errorf("denied %v", w.requests.denied)
	}
	if p := w.browser().act("cancel", "request", handle); p.status != http.StatusBadRequest || len(w.requests.denied) != 2 {
		t.Errorf("another browser: %s", p)
	}
}

func TestChoiceOfAccount(t *testing.T) {
	w := newWorld(t)
	w.requests.change = func(q *Waiting) { q.SelectAccount = true }
	b := w.browser()
	handle := b.handle("app")
	at := "/login?" + url.Values{"request": {handle}}.Encode()
	w.is(b.get(at), 200, "login") // nobody to choose
	_, token := b.ask("", "ada@example.com")
	b.act("confirm", "token", token)
	p := b.get(at)
	w.is(p, 200, "select-account")
	w.is(b.follow(b.post(p.forms["account-switch"])), 200, "login")
	w.is(b.post(p.forms["account-continue"]), 200, "resumed")
	if w.requests.resumed[0] != handle+" as ada@example.com" {
		t.Errorf("resumed %v", w.requests.resumed)
	}
	if p := w.browser().post(p.forms["account-continue"]); p.status != http.StatusBadRequest {
		t.Errorf("another browser: %s", p)
	}
	w.requests.change = func(q *Waiting) { q.SelectAccount, q.FreshAfter = true, w.clock.Now().Add(time.Second) }
	w.is(b.follow(b.post(p.forms["account-continue"])), 200, "login")
}

func TestLimits(t *testing.T) {
	ask := func(b *browser, email string) page { return b.act("email", "email", email) }
	t.Run("address", func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.PerAddress = Limit{2, 15 * time.Minute} })
		for _, email := range []string{"ada.l@gmail.com", "adal+x@googlemail.com"} {
			if p := ask(w.browser(), email); p.status != http.StatusSeeOther {
				t.Fatal(p)
			}
		}
		w.clock.pass(5 * time.Minute)
		p := ask(w.browser(), "ADAL@gmail.com")
		w.is(p, 429, "limited")
		if p.header.Get("Retry-After") != "600" {
			t.Errorf("Retry-After %q", p.header.Get("Retry-After"))
		}
		if p := ask(w.browser(), "bob@gmail.com"); p.status != http.StatusSeeOther {
			t.Errorf("somebody else: %s", p)
		}
		w.clock.pass(10 * time.Minute)
		if p := ask(w.browser(), "adal@gmail.com"); p.status != http.StatusSeeOther {
			t.Errorf("in the next window: %s", p)
		}
	})
	t.Run("address, where its owner has signed in before", func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.PerAddress = Limit{2, 15 * time.Minute} })
		known := w.browser()
		_, token := known.ask("", "ada@example.com")
		known.act("confirm", "token", token)
		w.is(ask(w.browser(), "ada@example.com"), 303, "") // a stranger asks until no more is given
		w.is(ask(w.browser(), "ada@example.com"), 429, "limited")
		w.is(ask(known, "Ada@example.com"), 303, "")
		w.is(ask(known, "ada@example.com"), 303, "")
		w.is(ask(known, "ada@example.com"), 429, "limited") // its own limit
		w.is(ask(known, "bob@example.com"), 303, "")

		// The proof is of this address in this browser, and of nothing else.
		proof := known.cookie("__Host-sealpost-known")
		thief := w.browser()
		ask(thief, "eve@example.com")
		thief.setCookie("__Host-sealpost-known", proof)
		w.is(ask(thief, "ada@example.com"), 429, "limited")
		// Six addresses later the first is forgotten.
		for i := range knownAtMost + 1 {
			_, token := known.ask("", fmt.Sprintf("user%d@example.com", i))
			known.act("confirm", "token", token)
		}
		if n := strings.Count(known.cookie("__Host-sealpost-known"), ".") + 1; n != knownAtMost {
			t.Errorf("known for %d addresses", n)
		}
		w.clock.pass(15 * time.Minute)
		ask(w.browser(), "ada@example.com")
		ask(w.browser(), "ada@example.com")
		w.is(ask(known, "ada@example.com"), 429, "limited")
	})
	t.Run("network", func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.PerNetwork = Limit{1, time.Hour} })
		from := func(addr string) page {
			b := w.browser()
			b.addr = addr
			return ask(b, "ada@example.com")
		}
		for _, tt := range []struct {
			addr   string
			status int
		}{
			{"203.0.113.7:1", 303}, {"203.0.113.7:2", 429}, {"[::ffff:203.0.113.7]:3", 429}, {"203.0.113.8:1", 303},
			{"[2001:db8::1]:1", 303}, {"[2001:db8::ffff:1]:1", 429}, {"[2001:db8:0:1::1]:1", 303}, {"2001:db8:0:2::1", 303},
			{"@", 303}, {"nonsense", 429},
		} {
			if p := from(tt.addr); p.status != tt.status {
				t.Errorf("%s: %s, want %d", tt.addr, p, tt.status)
			}
		}
	})
	t.Run("instance, resend included", func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.PerInstance = Limit{1, time.Hour} })
		b := w.browser()
		wait, token := b.ask(b.handle("app"), "ada@example.com")
		w.clock.pass(time.Minute)
		w.is(b.act("resend", "wait", wait), 429, "limited")
		w.is(b.act("resend", "token", token), 429, "limited")
		w.is(b.act("change-email", "wait", wait, "email", "bob@example.com"), 429, "limited")
		w.is(b.act("confirm", "token", token), 200, "resumed") // the link there is stays good
	})
	t.Run("the table holds no addresses", func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.PerAddress, c.PerNetwork, c.PerInstance = Limit{1, 1}, Limit{1, 1}, Limit{1, 1} })
		addr, err := ParseAddress("ada@example.com")
		if err != nil {
			t.Fatal(err)
		}
		limits := w.login.limits(w.browser().request("GET", "/", nil), addr)
		if len(limits) != 3 {
			t.Fatalf("%d limits", len(limits))
		}
		for _, l := range limits {
			if strings.Contains(l.Key, "ada") || strings.Contains(l.Key, "203.0") {
				t.Errorf("key %q", l.Key)
			}
		}
	})
}

func TestParseLimit(t *testing.T) {
	for in, want := range map[string]Limit{
		"5/15m": {5, 15 * time.Minute}, "5/15": {5, 15 * time.Second}, "60/900": {60, 15 * time.Minute}, " 1 / 1h30m ": {1, 90 * time.Minute}, "off": {},
	} {
		if got, err := ParseLimit(in); err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
		if again, err := ParseLimit(want.String()); err != nil || again != want {
			t.Errorf("%s: %v, %v", want, again, err)
		}
	}
	for _, in := range []string{"", "5", "5/", "/15m", "0/15m", "-1/15m", "5/0s", "5/-1m", "five/15m", "5/1ms", "5/15m/2", "OFF"} {
		if got, err := ParseLimit(in); err == nil {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestStartShowsWhoIsSignedIn(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	_, token := b.ask("", "ada@example.com")
	b.get("/login?token=" + token)
	b.act("confirm", "token", token)
	p := b.get("/login")
	w.is(p, 200, "signed-in")
	if !strings.Contains(p.body, "ada@example.com") || p.forms["logout"] == nil {
		t.Error(p.body)
	}
}

func TestMailExpiresWithItsLink(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.ask("", "ada@example.com")
	a, m := w.store.newest(), w.store.mails[0]
	if m.AttemptID != a.ID || !m.NotAfter.Equal(a.ExpiresAt) || !m.NextAt.Equal(w.clock.Now()) || a.ExpiresAt.Sub(a.CreatedAt) != 15*time.Minute {
		t.Errorf("attempt %+v\nmail %+v", a, m)
	}
	if m.Tries != 0 || a.State(w.clock.Now()) != storage.StateLive {
		t.Errorf("mail %+v", m)
	}
}
