package e2e

import (
	"net/http"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

func TestLinkOpenedElsewhereShowsTheCodeThatTheWaitingTabTakes(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(nil)
		bea, here, there := w.Person("Bea"), w.Browser(world.Firefox), w.Browser(world.Phone)
		login := w.App.Begin()
		tab, letter := here.Ask(login, bea)

		// Before the code is shown there is none to guess.
		early := here.Submit(tab, "enter-code", "code", "123456").MustBe("sent", http.StatusBadRequest)
		if early.Error() != "no-code" {
			t.Errorf("error %q, want no-code", early.Error())
		}

		elsewhere := there.Open(letter.Link).MustBe("other-browser", http.StatusOK)
		if _, ok := elsewhere.Form("confirm"); ok {
			t.Error("another browser may confirm")
		}
		shown := there.Submit(elsewhere, "show-code").MustBe("code", http.StatusOK)
		code := shown.Code()
		w.Seen.Secret("code", code)

		wrong := here.Submit(tab, "enter-code", "code", other(code)).MustBe("sent", http.StatusBadRequest)
		if wrong.Error() != "wrong-code" {
			t.Errorf("error %q, want wrong-code", wrong.Error())
		}
		// People type it as they read it.
		got := login.Finish(here.Submit(wrong, "enter-code", "code", code[:3]+" "+code[3:]))
		if got.Claims.Email != bea {
			t.Errorf("the application knows %q, want the person who asked", got.Claims.Email)
		}
		if !here.SignedIn() || there.SignedIn() {
			t.Errorf("signed in: the browser that asked %t, the other %t", here.SignedIn(), there.SignedIn())
		}
		there.Open(letter.Link).MustBe("used", http.StatusGone)
		there.Open(w.App.Begin().Address).MustBe("login", http.StatusOK)
	})
}

func TestThisWasntMeClosesTheWayThroughAnotherBrowserAlone(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(nil)
		cal, here, there := w.Person("Cal"), w.Browser(world.Firefox), w.Browser(world.Phone)
		login := w.App.Begin()
		tab, letter := here.Ask(login, cal)

		shown := there.Submit(there.Open(letter.Link), "show-code").MustBe("code", http.StatusOK)
		w.Seen.Secret("code", shown.Code())
		there.Submit(shown, "not-me").MustBe("cancelled", http.StatusOK)

		refused := here.Submit(tab, "enter-code", "code", shown.Code()).MustBe("sent", http.StatusBadRequest)
		if refused.Error() != "wrong-code" {
			t.Errorf("error %q, want wrong-code", refused.Error())
		}
		there.Open(letter.Link).MustBe("cancelled", http.StatusGone)
		if n := len(w.Events("not-me")); n != 1 {
			t.Errorf("%d records of it, want 1", n)
		}
		if here.SignedIn() || there.SignedIn() {
			t.Error("somebody is signed in")
		}

		got := login.Finish(here.Submit(here.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
		if got.Claims.Email != cal {
			t.Errorf("the application knows %q", got.Claims.Email)
		}
		if there.SignedIn() {
			t.Error("the other browser is signed in")
		}
	})
}

func TestFiveWrongCodesBurnTheLink(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(nil)
		dee, here, there := w.Person("Dee"), w.Browser(world.Firefox), w.Browser(world.Phone)
		tab, letter := here.Ask(w.App.Begin(), dee)
		shown := there.Submit(there.Open(letter.Link), "show-code").MustBe("code", http.StatusOK)
		w.Seen.Secret("code", shown.Code())
		for range 4 {
			tab = here.Submit(tab, "enter-code", "code", other(shown.Code())).MustBe("sent", http.StatusBadRequest)
		}
		here.Submit(tab, "enter-code", "code", other(shown.Code())).MustBe("cancelled", http.StatusGone)
		here.Submit(tab, "enter-code", "code", shown.Code()).MustBe("cancelled", http.StatusGone)
		here.Open(letter.Link).MustBe("cancelled", http.StatusGone)
		if here.SignedIn() || there.SignedIn() {
			t.Error("somebody is signed in")
		}
	})
}

// other gives a code that isn't this one.
func other(code string) string {
	last := byte('0')
	if code[len(code)-1] == last {
		last = '1'
	}
	return code[:len(code)-1] + string(last)
}
