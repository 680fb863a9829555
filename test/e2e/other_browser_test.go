package e2e

import (
	"net/http"
	"testing"
)

func TestLinkOpenedElsewhereShowsTheCodeThatTheWaitingTabTakes(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.start(nil)
		bea, here, there := w.person("Bea"), w.browser(firefox), w.browser(phone)
		login := w.app.begin()
		tab, letter := here.ask(login, bea)

		// Before the code is shown there is none to guess.
		early := here.submit(tab, "enter-code", "code", "123456").is("sent", http.StatusBadRequest)
		if early.error() != "no-code" {
			t.Errorf("error %q, want no-code", early.error())
		}

		elsewhere := there.open(letter.Link).is("other-browser", http.StatusOK)
		if _, ok := elsewhere.form("confirm"); ok {
			t.Error("another browser may confirm")
		}
		shown := there.submit(elsewhere, "show-code").is("code", http.StatusOK)
		code := shown.code()
		w.seen.secret("code", code)

		wrong := here.submit(tab, "enter-code", "code", other(code)).is("sent", http.StatusBadRequest)
		if wrong.error() != "wrong-code" {
			t.Errorf("error %q, want wrong-code", wrong.error())
		}
		// People type it as they read it.
		got := login.finish(here.submit(wrong, "enter-code", "code", code[:3]+" "+code[3:]))
		if got.claims.Email != bea {
			t.Errorf("the application knows %q, want the person who asked", got.claims.Email)
		}
		if !here.signedIn() || there.signedIn() {
			t.Errorf("signed in: the browser that asked %t, the other %t", here.signedIn(), there.signedIn())
		}
		there.open(letter.Link).is("used", http.StatusGone)
		there.open(w.app.begin().address).is("login", http.StatusOK)
	})
}

func TestThisWasntMeClosesTheWayThroughAnotherBrowserAlone(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.start(nil)
		cal, here, there := w.person("Cal"), w.browser(firefox), w.browser(phone)
		login := w.app.begin()
		tab, letter := here.ask(login, cal)

		shown := there.submit(there.open(letter.Link), "show-code").is("code", http.StatusOK)
		w.seen.secret("code", shown.code())
		there.submit(shown, "not-me").is("cancelled", http.StatusOK)

		refused := here.submit(tab, "enter-code", "code", shown.code()).is("sent", http.StatusBadRequest)
		if refused.error() != "wrong-code" {
			t.Errorf("error %q, want wrong-code", refused.error())
		}
		there.open(letter.Link).is("cancelled", http.StatusGone)
		if n := len(w.events("not-me")); n != 1 {
			t.Errorf("%d records of it, want 1", n)
		}
		if here.signedIn() || there.signedIn() {
			t.Error("somebody is signed in")
		}

		got := login.finish(here.submit(here.open(letter.Link).is("confirm", http.StatusOK), "confirm"))
		if got.claims.Email != cal {
			t.Errorf("the application knows %q", got.claims.Email)
		}
		if there.signedIn() {
			t.Error("the other browser is signed in")
		}
	})
}

func TestFiveWrongCodesBurnTheLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.start(nil)
		dee, here, there := w.person("Dee"), w.browser(firefox), w.browser(phone)
		tab, letter := here.ask(w.app.begin(), dee)
		shown := there.submit(there.open(letter.Link), "show-code").is("code", http.StatusOK)
		w.seen.secret("code", shown.code())
		for range 4 {
			tab = here.submit(tab, "enter-code", "code", other(shown.code())).is("sent", http.StatusBadRequest)
		}
		here.submit(tab, "enter-code", "code", other(shown.code())).is("cancelled", http.StatusGone)
		here.submit(tab, "enter-code", "code", shown.code()).is("cancelled", http.StatusGone)
		here.open(letter.Link).is("cancelled", http.StatusGone)
		if here.signedIn() || there.signedIn() {
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
