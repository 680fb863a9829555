package fault

import (
	"net/http"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

// killed starts a process that dies at a step.
func killed(w *world.World, step string) *world.Instance {
	w.T.Helper()
	w.Environ = []string{"FAILPOINT=" + step}
	return w.Start(nil)
}

// later starts it again, some time later.
func later(w *world.World, in *world.Instance, after string) *world.Instance {
	w.T.Helper()
	in.Dies()
	w.Environ = []string{"FAILPOINT_CLOCK=" + after}
	return w.Start(nil)
}

// leased is longer than a mail stays leased to a process that died.
const leased = "3m"

func TestKilledWhenTheLinkIsAskedForAndNotAnswered(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		first, ada := killed(w, "attempt stored"), newPerson(w, "Ada")
		login := w.App.Begin()
		form := ada.Open(login.Address).MustBe("login", http.StatusOK)
		if got := ada.submit(form, "email", "email", ada.address); got.Status != 0 {
			t.Fatalf("the answer is %d", got.Status)
		}
		second := later(w, first, "0s")
		// The mail of the first try may come, too; each is of a browser's login of
		// its own.
		ada.Submit(form, "email", "email", ada.address).MustBe("sent", http.StatusOK)
		w.Mail.Next(ada.address)
		letter := w.Mail.Next(ada.address)
		login.Finish(ada.Submit(ada.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
		second.Stop()
		w.Hold()
	})
}

func TestKilledWhenTheMailIsClaimedAndNotSent(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		first, ben := killed(w, "mail claimed"), newPerson(w, "Ben")
		login := w.App.Begin()
		form := ben.Open(login.Address).MustBe("login", http.StatusOK)
		tab := ben.submit(form, "email", "email", ben.address)
		second := later(w, first, leased)
		if tab.Status == 0 { // the mail was quicker than the answer
			tab = ben.Submit(form, "email", "email", ben.address)
		}
		tab.MustBe("sent", http.StatusOK)
		letter := w.Mail.Next(ben.address)
		login.Finish(ben.Submit(ben.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
		second.Stop()
		w.Hold()
	})
}

// This is the one case in which a mail comes twice.
func TestKilledWhenTheMailIsTakenAndNotRecorded(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		first, cal := killed(w, "mail taken"), newPerson(w, "Cal")
		login := w.App.Begin()
		form := cal.Open(login.Address).MustBe("login", http.StatusOK)
		cal.submit(form, "email", "email", cal.address) // the mail may be quicker than the answer
		letter := w.Mail.Next(cal.address)
		second := later(w, first, leased)
		again := w.Mail.Next(cal.address)
		if again.ID() != letter.ID() || again.Link != letter.Link {
			t.Error("the second copy is another mail")
		}
		arrived := cal.Submit(cal.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm")
		login.Finish(arrived)
		second.Stop()
		w.Hold(letter)
		if n := len(w.Mail.To(cal.address)); n != 2 {
			t.Errorf("%d mails, want 2", n)
		}
	})
}

func TestKilledWhenTheLinkIsUsedAndNotAnswered(t *testing.T) {
	for _, step := range []string{"link used", "code issued"} {
		t.Run(step, func(t *testing.T) {
			world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
				first, dee := killed(w, step), newPerson(w, "Dee")
				login := w.App.Begin()
				tab, letter := dee.asked(login)
				link := dee.Open(letter.Link).MustBe("confirm", http.StatusOK)
				if got := dee.submit(link, "confirm"); got.Status != 0 || dee.SignedIn() {
					t.Fatalf("the answer is %d", got.Status)
				}
				second := later(w, first, "1m")
				// The same click again signs in with the session that there is, and
				// leads to the application, whose question has grown old by now.
				back := dee.Submit(link, "confirm")
				if back.At.Host != world.AppHost || !dee.SignedIn() {
					t.Errorf("the second click leads to the page %q with status %d", back.Name(), back.Status)
				}
				dee.MovesOn(tab).MustBe("signed-in", http.StatusOK)
				login = w.App.Begin()
				login.Finish(dee.Open(login.Address))
				// To another browser the link is worth nothing.
				other := w.Browser(world.Phone)
				other.Open(letter.Link).MustBe("used", http.StatusGone)
				second.Stop()
				w.Hold()
			})
		})
	}
}

func TestKilledWhenASilentLoginIsNotAnswered(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		first, eve := w.Start(nil), newPerson(w, "Eve")
		login := w.App.Begin()
		_, letter := eve.Ask(login, eve.address)
		login.Finish(eve.Submit(eve.Open(letter.Link), "confirm"))
		first.Stop()
		second := killed(w, "code issued")
		login = w.App.Begin()
		if _, err := eve.Request(http.MethodGet, login.Address, nil); err == nil {
			t.Fatal("there is an answer")
		}
		third := later(w, second, "0s")
		login.Finish(eve.Open(login.Address))
		third.Stop()
		w.Hold()
	})
}

func TestKilledWhenACodeIsRedeemedAndNotAnswered(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		first, fay := killed(w, "code redeemed"), newPerson(w, "Fay")
		login := w.App.Begin()
		_, letter := fay.asked(login)
		code := fay.Submit(fay.Open(letter.Link), "confirm").Answer().Get("code")
		if _, err := login.Redeem(code); err == nil {
			t.Fatal("there is an answer")
		}
		second := later(w, first, "0s")
		_, err := login.Redeem(code)
		refused(t, "a code whose answer was lost", err)
		login = w.App.Begin()
		login.Finish(fay.Open(login.Address)) // no mail, no click
		second.Stop()
		w.Hold()
	})
}

func TestKilledWhenATokenIsRefreshedAndNotAnswered(t *testing.T) {
	// Within ten seconds the token is taken once more. The clock stands for what
	// the second start takes.
	for after, again := range map[string]bool{"-5s": true, "1m": false} {
		t.Run(after, func(t *testing.T) {
			world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
				first, gus := killed(w, "token refreshed"), newPerson(w, "Gus")
				login := w.App.Begin()
				_, letter := gus.asked(login)
				got := login.Finish(gus.Submit(gus.Open(letter.Link), "confirm"))
				if _, err := login.Refresh(got.Token); err == nil {
					t.Fatal("there is an answer")
				}
				second := later(w, first, after)
				fresh, err := login.Refresh(got.Token)
				if again {
					if err != nil {
						t.Fatalf("a token whose answer was lost: %v", err)
					}
					if _, err := login.Refresh(fresh); err != nil {
						t.Errorf("the token that followed: %v", err)
					}
				} else {
					refused(t, "a token that was used a minute ago", err)
					login = w.App.Begin()
					login.Finish(gus.Open(login.Address))
				}
				second.Stop()
				w.Hold()
			})
		})
	}
}
