package e2e

import (
	"net/http"
	"testing"
)

func TestCrashWhileTheMailServerIsDownLosesNoMailAndSendsNoneTwice(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.mail.stop()
		first := w.start(nil)
		ida, jon := w.person("Ida"), w.person("Jon")
		idas, jons := w.browser(firefox), w.browser(phone)
		login := w.app.begin()

		// Ida's mail fails until the outbox knows that the server is down and
		// waits: so Jon's, asked for right before the crash, is one that nobody
		// has touched.
		idas.submit(idas.open(w.app.begin().address), "email", "email", ida).is("sent", http.StatusOK)
		form := jons.open(login.address).is("login", http.StatusOK)
		eventually(t, "third try of the mail", func() bool { return len(tries(first)) >= 3 })
		tab := jons.submit(form, "email", "email", jon).is("sent", http.StatusOK)
		first.kill()

		w.mail.start()
		second := w.start(nil)
		letter := w.mail.next(jon)
		got := login.finish(jons.submit(jons.open(letter.Link).is("confirm", http.StatusOK), "confirm"))
		if got.claims.Email != jon {
			t.Errorf("the application knows %q", got.claims.Email)
		}
		jons.movesOn(tab).is("signed-in", http.StatusOK)
		idas.open(w.mail.next(ida).Link).is("confirm", http.StatusOK)

		w.sendsNothingMore(second)
		for _, person := range []string{ida, jon} {
			if n := len(w.mail.to(person)); n != 1 {
				t.Errorf("%d mails to one person", n)
			}
		}
	})
}

func TestMailThatIsPutOffComesLater(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.mail.refuse(true)
		in := w.start(nil)
		kay, b := w.person("Kay"), w.browser(firefox)
		tab := b.submit(b.open(w.app.begin().address), "email", "email", kay).is("sent", http.StatusOK)
		eventually(t, "refusal", func() bool { return w.mail.refusals() > 0 })
		w.mail.refuse(false)
		b.submit(b.open(w.mail.next(kay).Link), "confirm").answer()
		b.movesOn(tab).is("signed-in", http.StatusOK)
		w.sendsNothingMore(in)
		if n := len(w.mail.to(kay)); n != 1 {
			t.Errorf("%d mails to one person", n)
		}
	})
}

// tries gives what the outbox logged of mails.
func tries(in *instance) []record {
	var out []record
	for _, r := range in.log.records() {
		if r.text("msg") == "mail" {
			out = append(out, r)
		}
	}
	return out
}

// sendsNothingMore stops a process and lets another one send all that is due:
// what is queued before a mail goes out before it.
func (w *world) sendsNothingMore(in *instance) {
	w.t.Helper()
	in.stop()
	last := w.start(nil)
	w.settle()
	last.stop()
}

// settle asks for one more mail and waits for it.
func (w *world) settle() {
	w.t.Helper()
	liz := w.person("Liz")
	w.sendMagicLink(liz)
	w.mail.next(liz)
}
