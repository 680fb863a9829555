package login

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// wrong is a code that isn't right.
func wrong(right string) string {
	if right == "000000" {
		return "000001"
	}
	return "000000"
}

// burn types wrong codes until the attempt is gone.
func (w *world) burn(b *browser, wait, token string) {
	w.Helper()
	code := w.browser().act("show-code", "token", token).code
	for i := range storage.MaxTries {
		p := b.act("enter-code", "wait", wait, "code", wrong(code))
		if i < storage.MaxTries-1 {
			w.is(p, 400, "sent")
			if p.fault != "wrong-code" {
				w.Fatalf("try %d: %s", i+1, p)
			}
			continue
		}
		w.is(p, 410, "cancelled")
	}
}

func TestCodeCompletesWhereTheLinkWasAskedFor(t *testing.T) {
	for name, spell := range map[string]func(string) string{
		"as shown":      func(c string) string { return c },
		"with a space":  func(c string) string { return c[:3] + " " + c[3:] },
		"with a dash":   func(c string) string { return c[:3] + "-" + c[3:] },
		"as pasted":     func(c string) string { return "  " + c[:3] + "\u00a0" + c[3:] + "\t" },
		"after mistype": func(c string) string { return c },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b, phone := w.browser(), w.browser()
			handle := b.handle("app")
			wait, token := b.ask(handle, "ada@example.com")
			p := phone.get("/login?token=" + token)
			w.is(p, 200, "other-browser")
			p = phone.post(p.forms["show-code"])
			w.is(p, 200, "code")
			if len(p.code) != 6 || p.forms["not-me"] == nil || !strings.Contains(p.body, "Firefox on Linux") {
				t.Fatalf("code %q, forms %v", p.code, p.forms)
			}
			if again := phone.act("show-code", "token", token); again.code != p.code {
				t.Errorf("shown again it is %s, not %s", again.code, p.code)
			}
			if strings.Contains(name, "mistype") {
				w.is(b.act("enter-code", "wait", wait, "code", wrong(p.code)), 400, "sent")
			}
			w.is(b.act("enter-code", "wait", wait, "code", spell(p.code)), 200, "resumed")
			if !b.signedIn() || phone.signedIn() {
				t.Error("the browser that asked is signed in, and no other")
			}
			if p := b.act("enter-code", "wait", wait, "code", p.code); p.name == "resumed" {
				t.Errorf("the code works twice: %s", p)
			}
			w.is(b.act("confirm", "token", token), 200, "resumed") // as a second click
			w.is(phone.get("/login?token="+token), 410, "used")
		})
	}
}

func TestFiveWrongCodesBurnTheLink(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	wait, token := b.ask(b.handle("app"), "ada@example.com")
	w.burn(b, wait, token)
	right := code(w.login.cfg.Secret, w.store.newest().ID)
	w.is(b.act("enter-code", "wait", wait, "code", right), 410, "cancelled")
	w.is(b.act("confirm", "token", token), 410, "cancelled")
	if b.signedIn() {
		t.Error("signed in")
	}
}

func TestFifthTryMayBeRight(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	wait, token := b.ask(b.handle("app"), "ada@example.com")
	code := w.browser().act("show-code", "token", token).code
	for range storage.MaxTries - 1 {
		b.act("enter-code", "wait", wait, "code", wrong(code))
	}
	w.is(b.act("enter-code", "wait", wait, "code", code), 200, "resumed")
}

// TestParallelGuessesGetNoExtraTry guesses the right code among many at once:
// only the tries that were counted are compared.
func TestParallelGuessesGetNoExtraTry(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	wait, token := b.ask(b.handle("app"), "ada@example.com")
	w.browser().act("show-code", "token", token)
	bad := wrong(code(w.login.cfg.Secret, w.store.newest().ID))
	requests := make([]*http.Request, 50)
	for i := range requests {
		requests[i] = b.request("POST", "/login", strings.NewReader(url.Values{"action": {"enter-code"}, "wait": {wait}, "code": {bad}}.Encode()))
		requests[i].Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	var all sync.WaitGroup
	for _, r := range requests {
		all.Go(func() { b.send(r) })
	}
	all.Wait()
	if n := strings.Count(w.logged.String(), "event=wrong-code"); n != storage.MaxTries {
		t.Errorf("%d guesses were compared", n)
	}
	if a := w.attempt(token); a.Tries != storage.MaxTries || a.State(w.clock.Now()) != storage.StateCancelled {
		t.Errorf("tries %d, %s", a.Tries, a.State(w.clock.Now()))
	}
}

// Whoever typed somebody's code somewhere is told the truth afterwards.
func TestNotMeAfterTheCodeWasTakenSaysSo(t *testing.T) {
	w := newWorld(t)
	b, phone := w.browser(), w.browser()
	wait, token := b.ask(b.handle("app"), "ada@example.com")
	phone.act("show-code", "token", token)
	w.is(b.act("enter-code", "wait", wait, "code", code(w.login.cfg.Secret, w.store.newest().ID)), 200, "resumed")
	w.is(phone.act("not-me", "token", token), 410, "used")
	w.is(phone.get("/login?token="+token), 410, "used")
}

// Links can be asked for again and again. Codes of one mailbox are counted
// together, and only the way through another browser ends.
func TestCodesOfAMailboxAreCounted(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	shown := func() (wait, token string) {
		wait, token = b.ask(b.handle("app"), "a.da+x@gmail.com")
		w.browser().act("show-code", "token", token)
		return wait, token
	}
	wait, _ := shown()
	for typed := range codesPerMailbox.Max {
		if typed > 0 && typed%storage.MaxTries == 0 {
			wait, _ = shown()
		}
		p := b.act("enter-code", "wait", wait, "code", wrong(code(w.login.cfg.Secret, w.store.newest().ID)))
		if p.status == http.StatusTooManyRequests {
			t.Fatalf("code %d: %s", typed, p)
		}
	}
	wait, token := shown()
	right := code(w.login.cfg.Secret, w.store.newest().ID)
	w.is(b.act("enter-code", "wait", wait, "code", right), 429, "limited")
	if a := w.attempt(token); a.Tries != 0 {
		t.Errorf("%d tries are spent", a.Tries)
	}
	other := w.browser()
	otherWait, otherToken := other.ask(other.handle("app"), "adA@googlemail.com") // the same mailbox
	w.browser().act("show-code", "token", otherToken)
	w.is(other.act("enter-code", "wait", otherWait, "code", right), 429, "limited")

	w.is(b.act("confirm", "token", token), 200, "resumed") // the link is as good as ever
	wait, _ = shown()                                      // and here its owner is known now
	w.is(b.act("enter-code", "wait", wait, "code", code(w.login.cfg.Secret, w.store.newest().ID)), 200, "resumed")
	w.clock.pass(codesPerMailbox.Per)
	otherWait, otherToken = other.ask(other.handle("app"), "ada@gmail.com")
	w.browser().act("show-code", "token", otherToken)
	w.is(other.act("enter-code", "wait", otherWait, "code", code(w.login.cfg.Secret, w.store.newest().ID)), 200, "resumed")
}

func TestCodeNotShownIsNotTaken(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	wait, token := b.ask(b.handle("app"), "ada@example.com")
	right := code(w.login.cfg.Secret, w.store.newest().ID)
	for range 2 * storage.MaxTries {
		p := b.act("enter-code", "wait", wait, "code", right)
		w.is(p, 400, "sent")
		if p.fault != "no-code" {
			t.Fatal(p)
		}
	}
	if a := w.attempt(token); a.Tries != 0 || b.signedIn() {
		t.Errorf("tries %d", a.Tries)
	}
}

func TestWhatIsNoCodeSpendsNoTry(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	wait, token := b.ask(b.handle("app"), "ada@example.com")
	w.browser().act("show-code", "token", token)
	for _, typed := range []string{"", "12345", "1234567", "12345a", "１２３４５６", "+12345", strings.Repeat("1 ", 50)} {
		p := b.act("enter-code", "wait", wait, "code", typed)
		w.is(p, 400, "sent")
		if p.fault != "wrong-code" {
			t.Errorf("%q: %s", typed, p)
		}
	}
	if a := w.attempt(token); a.Tries != 0 {
		t.Errorf("tries %d", a.Tries)
	}
}

func TestNoCodeWhereTheLinkWillDo(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	_, token := b.ask(b.handle("app"), "ada@example.com")
	p := b.act("show-code", "token", token)
	w.is(p, 200, "confirm")
	_, unbound := b.ask("", "ada@example.com")
	p = w.browser().act("show-code", "token", unbound)
	w.is(p, 200, "confirm")
	if a := w.attempt(token); !a.CodeShownAt.IsZero() || p.code != "" {
		t.Error("a code was shown")
	}
}

func TestCodesAreOfTheAttemptAndTheSecret(t *testing.T) {
	secret := func() keys.Secret {
		s, err := keys.ParseSecret(keys.NewSecret())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one, two := secret(), secret()
	seen := map[string]int{}
	for i := range 200 {
		id := fmt.Sprint(i)
		c := code(one, id)
		if len(c) != codeDigits || c != code(one, id) {
			t.Fatalf("code %q", c)
		}
		seen[c]++
		seen[code(two, id)]++
	}
	if len(seen) < 390 {
		t.Errorf("%d different codes of 400", len(seen))
	}
}

func TestExpiredCodeLeadsToTheExpiredPage(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	wait, token := b.ask(b.handle("app"), "ada@example.com")
	code := w.browser().act("show-code", "token", token).code
	w.clock.pass(15 * time.Minute)
	w.is(b.act("enter-code", "wait", wait, "code", code), 410, "expired")
}
