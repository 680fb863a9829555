package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	chromium "github.com/sealpost/sealpost/test/browser"
	"github.com/sealpost/sealpost/test/world"
)

func TestChromiumSignsInToTheSampleApplicationOfDevMode(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		dev := w.StartDev()
		first := chromium.Start(t)
		for _, script := range []bool{true, false} {
			sameBrowser(w, dev, world.NewProfile(w, first, script))
			otherBrowser(w, dev, world.NewProfile(w, first, script), world.NewProfile(w, first, script))
		}
	})
}

// The tab that waits has sent the code and is on its way to the application.
// It asks no more how things stand, so that nothing takes it elsewhere.
func TestChromiumReachesAnApplicationThatTakesItsTime(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		const aWhile = 5 * time.Second // the tab asks every two
		slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
				t.Error("the browser gave up on the application")
			case <-time.After(aWhile):
			}
			fmt.Fprint(rw, "<!doctype html><title>Application</title><link rel=icon href=data:,><body data-page=arrived>")
		}))
		defer slow.Close()
		w.App.RedirectURI = slow.URL + "/callback"
		w.Settings["clients"] = []any{w.App.Settings()}
		w.Start(nil)

		cid, tab, there := w.Person("Cid"), world.NewProfile(w, chromium.Start(t), true).Tab("slow"), w.Browser(world.Phone)
		tab.Open(w.App.Begin().Address)
		tab.Shows("[data-page=login]")
		tab.Types("#email", cid)
		tab.Click("[data-form=email] button")
		tab.Shows("[data-page=sent]")
		code := there.Submit(there.Open(w.Mail.Next(cid).Link), "show-code").Code()
		w.Seen.Secret("code", code)
		tab.Types("#code", code)
		tab.Click("[data-form=enter-code] button")
		tab.Shows("[data-page=arrived]")
	})
}

// sameBrowser opens the link where it was asked for, in another tab.
func sameBrowser(w *world.World, dev world.Dev, p *world.Profile) {
	w.T.Helper()
	zoe := w.Person("Zoe")
	waiting, mailbox := p.Tab("same-browser-waiting"), p.Tab("same-browser-mailbox")
	askInSample(dev, waiting, zoe)

	mailbox.OpenMailOf(dev, zoe)
	mailbox.Click("a[data-link]")
	if !p.Script {
		mailbox.Shows("[data-page=confirm]")
		mailbox.Click("[data-form=confirm] button")
	}
	mailbox.KnowsInSample(zoe)

	waiting.Front()
	waiting.Shows("[data-page=signed-in]") // by itself
	waiting.Click("a.button")
	waiting.KnowsInSample(zoe)

	waiting.Click("[data-form=userinfo] button")
	waiting.Shows("[data-userinfo=email]")
	waiting.Click("[data-form=refresh] button")
	waiting.Until("once refreshed", `document.querySelector("[data-refreshed]")?.textContent === "1"`)
	waiting.Click("[data-form=logout] button")
	waiting.Shows("[data-link=login]")
	waiting.Click("[data-link=login]")
	waiting.Shows("[data-page=login]") // not silent any more
}

// otherBrowser opens the link where it was not asked for.
func otherBrowser(w *world.World, dev world.Dev, here, there *world.Profile) {
	w.T.Helper()
	abe := w.Person("Abe")
	waiting, elsewhere := here.Tab("other-browser-waiting"), there.Tab("other-browser-elsewhere")
	askInSample(dev, waiting, abe)

	elsewhere.OpenMailOf(dev, abe)
	elsewhere.Click("a[data-link]")
	elsewhere.Shows("[data-page=other-browser]")
	elsewhere.Click("[data-form=show-code] button")
	elsewhere.Shows("[data-page=code]")
	code := elsewhere.Text("[data-code]")
	w.Seen.Secret("code", code)

	waiting.Front()
	if !here.Script { // a page that reloads loses what was typed
		waiting.Click("noscript a[href*='code=']")
		waiting.Shows("[data-page=sent] #code[autofocus]")
	}
	waiting.Types("#code", code)
	waiting.Shot("typed")
	waiting.Click("[data-form=enter-code] button")
	waiting.KnowsInSample(abe)

	elsewhere.Front()
	elsewhere.Open(dev.Provider + "/login")
	elsewhere.Shows("[data-page=login]")
}

// askInSample goes from the sample application to the page that waits.
func askInSample(dev world.Dev, t *world.Tab, email string) {
	t.W.T.Helper()
	t.Open(dev.Sample)
	t.Shows("[data-link=login]")
	t.Click("[data-link=login]")
	t.Shows("[data-page=login]")
	t.Types("#email", email)
	t.Click("[data-form=email] button")
	t.Shows("[data-page=sent]")
}
