package e2e

import (
	"net/http"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

func TestCrashWhileTheMailServerIsDownLosesNoMailAndSendsNoneTwice(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Mail.Stop()
		first := w.Start(nil)
		ida, jon := w.Person("Ida"), w.Person("Jon")
		idas, jons := w.Browser(world.Firefox), w.Browser(world.Phone)
		login := w.App.Begin()

		// Ida's mail fails until the outbox knows that the server is down and
		// waits: so Jon's, asked for right before the crash, is one that nobody
		// has touched.
		idas.Submit(idas.Open(w.App.Begin().Address), "email", "email", ida).MustBe("sent", http.StatusOK)
		form := jons.Open(login.Address).MustBe("login", http.StatusOK)
		world.Eventually(t, "third try of the mail", func() bool { return len(tries(first)) >= 3 })
		tab := jons.Submit(form, "email", "email", jon).MustBe("sent", http.StatusOK)
		first.Kill()

		w.Mail.Start()
		second := w.Start(nil)
		letter := w.Mail.Next(jon)
		got := login.Finish(jons.Submit(jons.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
		if got.Claims.Email != jon {
			t.Errorf("the application knows %q", got.Claims.Email)
		}
		jons.MovesOn(tab).MustBe("signed-in", http.StatusOK)
		idas.Open(w.Mail.Next(ida).Link).MustBe("confirm", http.StatusOK)

		sendsNothingMore(w, second)
		for _, person := range []string{ida, jon} {
			if n := len(w.Mail.To(person)); n != 1 {
				t.Errorf("%d mails to one person", n)
			}
		}
	})
}

func TestMailThatIsPutOffComesLater(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Mail.Refuse(true)
		in := w.Start(nil)
		kay, b := w.Person("Kay"), w.Browser(world.Firefox)
		tab := b.Submit(b.Open(w.App.Begin().Address), "email", "email", kay).MustBe("sent", http.StatusOK)
		world.Eventually(t, "refusal", func() bool { return w.Mail.Refusals() > 0 })
		w.Mail.Refuse(false)
		b.Submit(b.Open(w.Mail.Next(kay).Link), "confirm").Answer()
		b.MovesOn(tab).MustBe("signed-in", http.StatusOK)
		sendsNothingMore(w, in)
		if n := len(w.Mail.To(kay)); n != 1 {
			t.Errorf("%d mails to one person", n)
		}
	})
}

// tries gives what the outbox logged of mails.
func tries(in *world.Instance) []world.Record {
	var out []world.Record
	for _, r := range in.Log.Records() {
		if r.Text("msg") == "mail" {
			out = append(out, r)
		}
	}
	return out
}

// sendsNothingMore stops a process and lets another one send all that is due:
// what is queued before a mail goes out before it.
func sendsNothingMore(w *world.World, in *world.Instance) {
	w.T.Helper()
	in.Stop()
	last := w.Start(nil)
	settle(w)
	last.Stop()
}

// settle asks for one more mail and waits for it.
func settle(w *world.World) {
	w.T.Helper()
	liz := w.Person("Liz")
	sendMagicLink(w, liz)
	w.Mail.Next(liz)
}
