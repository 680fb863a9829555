package login

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// claim leases every mail that is due.
func (w *world) claim() []storage.QueuedMail {
	w.Helper()
	now := w.clock.Now()
	mails, err := w.store.Store.(MailStore).ClaimMail(context.Background(), 100, now, now.Add(time.Minute))
	if err != nil {
		w.Fatal(err)
	}
	return mails
}

// muted asks for a link in a browser and says whether its mail is kept away.
func (b *browser) muted(email string) bool {
	b.Helper()
	b.claim()
	b.ask("", email)
	mails := b.claim()
	if len(mails) != 1 {
		b.Fatalf("%d mails", len(mails))
	}
	return mails[0].Muted
}

func TestMute(t *testing.T) {
	w := newWorld(t)
	home := w.browser() // ada's, where she has signed in before
	_, token := home.ask("", "ada@example.com")
	home.act("confirm", "token", token)

	stranger, phone := w.browser(), w.browser()
	_, token = stranger.ask(stranger.handle("app"), "Ada@example.com")
	w.is(phone.act("mute", "token", token, "sure", "yes"), 400, "error") // before it wasn't her
	p := phone.act("not-me", "token", token)
	w.is(p, 200, "cancelled")
	if p.forms["mute"].Get("token") != token {
		t.Fatalf("muting is not offered: %v", p.forms)
	}
	p = phone.act("mute", "token", token) // the box is not ticked
	w.is(p, 400, "cancelled")
	if p.fault != "not-sure" || p.forms["mute"].Get("token") != token {
		t.Errorf("what is wrong is not told: %s", p)
	}
	w.is(phone.act("mute", "token", "garbage", "sure", "yes"), 404, "unknown")
	if stranger.muted("ada@example.com") {
		t.Fatal("muted without a ticked box")
	}
	p = phone.act("mute", "token", token, "sure", "yes")
	w.is(p, 200, "cancelled")
	if len(p.forms["mute"]) > 0 {
		t.Error("it is muted, and muting is offered")
	}
	if !strings.Contains(w.logged.String(), "event=muted") {
		t.Errorf("nothing is logged: %s", w.logged.String())
	}

	if !stranger.muted("ada@example.com") {
		t.Error("a stranger can still have mails sent")
	}
	if stranger.muted("bob@example.com") {
		t.Error("others are muted, too")
	}
	if home.muted("ada@example.com") {
		t.Error("ada is kept out of a browser in which she has signed in")
	}
	w.clock.pass(muteFor)
	if stranger.muted("ada@example.com") {
		t.Error("it does not end")
	}
}

func TestSigningInEndsMuting(t *testing.T) {
	w := newWorld(t)
	first, other := w.browser(), w.browser()
	_, token := first.ask(first.handle("app"), "ada@example.com")
	other.act("not-me", "token", token)
	other.act("mute", "token", token, "sure", "yes")
	if !other.muted("ada@example.com") {
		t.Fatal("not muted")
	}
	w.is(first.act("confirm", "token", token), 200, "resumed") // the link itself is as good as it was
	if w.browser().muted("ada@example.com") {
		t.Error("ada signed in and is still muted")
	}
}

// What the mail server refused for good is told to the tab that waits, where
// that tells nothing of who has an account.
func TestRefusedMailIsTold(t *testing.T) {
	for _, signup := range []bool{true, false} {
		w := newWorld(t, func(c *Config) { c.Signup = signup })
		b := w.browser()
		waiting, _ := b.ask(b.handle("app"), "gone@example.com")
		told := func(when string, want bool) {
			t.Helper()
			p := b.get("/login?wait=" + waiting)
			w.is(p, http.StatusOK, "sent")
			status := b.get("/login/status?wait=" + waiting).body
			if page, api := strings.Contains(p.body, `data-error="undelivered"`), strings.Contains(status, `"mail":"undelivered"`); page != want || api != want {
				t.Errorf("signup %t, %s: the page tells it: %t, its script learns it: %t", signup, when, page, api)
			}
		}
		told("at first", false)
		finish := func(o storage.MailOutcome) {
			t.Helper()
			o.ID = w.claim()[0].Mail.ID
			if err := w.store.Store.(MailStore).FinishMail(t.Context(), []storage.MailOutcome{o}, w.clock.Now()); err != nil {
				t.Fatal(err)
			}
		}
		finish(storage.MailOutcome{State: storage.MailFailed, Detail: "rcpt 550 5.1.1", Bounced: true})
		told("refused", signup)
		w.clock.pass(resendAfter)
		w.is(b.follow(b.act("change-email", "wait", waiting, "email", "ada@example.com")), 200, "sent")
		told("another address", false)
		finish(storage.MailOutcome{State: storage.MailSent})
		told("sent", false)
	}
}

func TestDelayIsToldToEveryone(t *testing.T) {
	delayed := true
	w := newWorld(t, func(c *Config) { c.Delayed = func() bool { return delayed } })
	b := w.browser()
	waiting, _ := b.ask("", "ada@example.com")
	if p := b.get("/login?wait=" + waiting); !strings.Contains(p.body, `data-notice="delayed"`) {
		t.Errorf("the page does not tell: %s", p.body)
	}
	delayed = false
	if p := b.get("/login?wait=" + waiting); strings.Contains(p.body, `data-notice="delayed"`) {
		t.Error("the page tells of a delay that is over")
	}
}
