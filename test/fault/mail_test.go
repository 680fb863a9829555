package fault

import (
	"net/http"
	"slices"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

// onMail runs a scenario on each engine with a wire to the mail server.
func onMail(t *testing.T, scenario func(t *testing.T, w *world.World, mail wire)) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		mail := newWire(t, w.Mail.Address())
		w.Settings["mail"] = map[string]any{"url": "smtp+plain://" + mail.address(), "from": "Example <login@example.com>"}
		scenario(t, w, mail)
	})
}

// signsIn goes from the mail to the application.
func (p person) signsIn(login world.SignIn, letter world.Letter) {
	p.t.Helper()
	login.Finish(p.Submit(p.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
}

func tried(in *world.Instance, what string, is func(world.Record) bool) {
	in.Says(what, func(r world.Record) bool { return r.Text("msg") == "mail" && is(r) })
}

func TestMailServerThatHangs(t *testing.T) {
	onMail(t, func(t *testing.T, w *world.World, mail wire) {
		mail.silence()
		in, ada := w.Start(nil), newPerson(w, "Ada")
		login := w.App.Begin()
		form := ada.Open(login.Address).MustBe("login", http.StatusOK)
		ada.Submit(form, "email", "email", ada.address).MustBe("sent", http.StatusOK) // nobody waits for a mail server
		tried(in, "mail that was given up for now", func(r world.Record) bool { return r.Text("outcome") == "queued" })
		mail.heal()
		ada.signsIn(login, w.Mail.Next(ada.address))
		in.Stop()
		w.Hold()
	})
}

func TestMailServerThatCannotBeReached(t *testing.T) {
	onMail(t, func(t *testing.T, w *world.World, mail wire) {
		mail.cut()
		in, ben := w.Start(nil), newPerson(w, "Ben")
		login := w.App.Begin()
		form := ben.Open(login.Address).MustBe("login", http.StatusOK)
		ben.Submit(form, "email", "email", ben.address).MustBe("sent", http.StatusOK)
		tried(in, "mail that waits", func(r world.Record) bool { return r.Text("outcome") == "queued" })
		mail.mend()
		ben.signsIn(login, w.Mail.Next(ben.address))
		in.Stop()
		w.Hold()
	})
}

// The connection is reset in the middle of each mail, before its end: no copy
// is taken.
func TestMailServerThatIsLostInTheMiddleOfAMail(t *testing.T) {
	onMail(t, func(t *testing.T, w *world.World, mail wire) {
		mail.hurt("upstream", "limit_data", map[string]any{"bytes": 2000})
		in, cal := w.Start(nil), newPerson(w, "Cal")
		login := w.App.Begin()
		form := cal.Open(login.Address).MustBe("login", http.StatusOK)
		cal.Submit(form, "email", "email", cal.address).MustBe("sent", http.StatusOK)
		tried(in, "mail that broke off", func(r world.Record) bool { return r.Text("outcome") == "queued" && r.Text("try") == "1" })
		mail.heal()
		cal.signsIn(login, w.Mail.Next(cal.address))
		in.Stop()
		w.Hold()
	})
}

// The server takes the mail, and its answer is lost: another copy comes, with
// the same Message-ID and link.
func TestMailServerWhoseAnswerIsLost(t *testing.T) {
	onMail(t, func(t *testing.T, w *world.World, mail wire) {
		held, release := w.Mail.HoldNext()
		in, dee := w.Start(nil), newPerson(w, "Dee")
		login := w.App.Begin()
		form := dee.Open(login.Address).MustBe("login", http.StatusOK)
		dee.Submit(form, "email", "email", dee.address).MustBe("sent", http.StatusOK)
		world.Await(t, "mail", held)
		mail.cut()
		release()
		letter := w.Mail.Next(dee.address)
		mail.mend()
		if again := w.Mail.Next(dee.address); again.ID() != letter.ID() || again.Link != letter.Link {
			t.Error("the second copy is another mail")
		}
		dee.signsIn(login, letter)
		in.Stop()
		w.Hold(letter)
		if n := len(w.Mail.To(dee.address)); n != 2 {
			t.Errorf("%d mails, want 2", n)
		}
	})
}

// What the server refuses for good is not tried again, and the page that waits
// says so: another link may be asked for.
func TestMailServerThatRefusesForGood(t *testing.T) {
	onMail(t, func(t *testing.T, w *world.World, _ wire) {
		w.Mail.TurnAway(true)
		in, eve := w.Start(nil), newPerson(w, "Eve")
		login := w.App.Begin()
		form := eve.Open(login.Address).MustBe("login", http.StatusOK)
		tab := eve.Submit(form, "email", "email", eve.address).MustBe("sent", http.StatusOK)
		tried(in, "mail that failed", func(r world.Record) bool { return r.Text("outcome") == "failed" })
		world.Eventually(t, "word of it on the page", func() bool {
			tab = eve.Open(tab.At.String()).MustBe("sent", http.StatusOK)
			return slices.Contains(tab.Attributes("data-shows"), "undelivered")
		})
		w.Mail.TurnAway(false)
		eve.Submit(form, "email", "email", eve.address).MustBe("sent", http.StatusOK)
		eve.signsIn(login, w.Mail.Next(eve.address))
		in.Stop()
		w.Hold()
		if n := len(w.Mail.To(eve.address)); n != 1 {
			t.Errorf("%d mails, want 1", n)
		}
	})
}
