package e2e

import (
	"net/http"
	"sync"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

// Mail scanners, link previews and prefetchers, by what they say they are.
var scanners = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0", // Safe Links looks like this
	"Mozilla/5.0 (compatible; Barracuda Sentinel)",
	"Mimecast-URL-Protect/1.0",
	"Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like Gecko) BingPreview/1.0b",
	"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
	"facebookexternalhit/1.1",
	"WhatsApp/2.23.20.0",
	"Google-Read-Aloud",
	"curl/8.5.0",
	"",
}

func TestScannersNeitherConsumeALinkNorSignAnyoneIn(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(nil)
		eve, b := w.Person("Eve"), w.Browser(world.Firefox)
		login := w.App.Begin()
		_, bound := b.Ask(login, eve)
		sendMagicLink(w, eve)
		free := w.Mail.Next(eve)

		for i := range 20 {
			scanner := w.Browser(scanners[i%len(scanners)])
			for link, name := range map[string]string{bound.Link: "other-browser", free.Link: "confirm"} {
				seen := scanner.Open(link).MustBe(name, http.StatusOK)
				if seen.Auto("confirm") {
					t.Error("a script would click in the scanner")
				}
				head, err := scanner.Request(http.MethodHead, link, nil)
				if err != nil || head.Status != http.StatusOK {
					t.Errorf("HEAD: %d, %v", head.Status, err)
				}
			}
			if scanner.SignedIn() {
				t.Fatalf("%q is signed in", scanner.Agent)
			}
		}
		if n := len(w.Events("signed-in")); n != 0 {
			t.Fatalf("%d were signed in by looking", n)
		}

		got := login.Finish(b.Submit(b.Open(bound.Link).MustBe("confirm", http.StatusOK), "confirm"))
		if got.Claims.Email != eve {
			t.Errorf("the application knows %q", got.Claims.Email)
		}
		elsewhere := w.Browser(world.Phone)
		elsewhere.Submit(elsewhere.Open(free.Link).MustBe("confirm", http.StatusOK), "confirm").MustBe("signed-in", http.StatusOK)
	})
}

// A robot that presses every button there is.
func TestScannerThatPressesEveryButtonLocksNobodyOut(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(nil)
		flo, b, robot := w.Person("Flo"), w.Browser(world.Firefox), w.Browser(scanners[0])
		login := w.App.Begin()
		_, letter := b.Ask(login, flo)
		for _, form := range []string{"show-code", "not-me"} {
			robot.Submit(robot.Open(letter.Link).MustBe("other-browser", http.StatusOK), form)
		}
		if robot.SignedIn() {
			t.Error("the robot is signed in")
		}
		login.Finish(b.Submit(b.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
	})
}

// clicks is how often a link is confirmed at once.
const clicks = 32

func TestLinkConfirmedManyTimesAtOnceByTheBrowserThatAskedSignsInOnce(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(nil)
		gus, b := w.Person("Gus"), w.Browser(world.Firefox)
		_, letter := b.Ask(w.App.Begin(), gus)
		confirm := b.Open(letter.Link).MustBe("confirm", http.StatusOK)
		for _, p := range atOnce(w, clicks, func(int) (world.Page, error) { return b.Post(confirm, "confirm") }) {
			if p.Answer().Get("code") == "" { // all land where the first did
				t.Errorf("a click landed at %s", p.At.Path)
			}
		}
		if n := len(sessions(w)); n != 1 {
			t.Errorf("%d sessions of one link", n)
		}
		if !b.SignedIn() {
			t.Error("the browser is not signed in")
		}
	})
}

func TestLinkConfirmedByManyBrowsersAtOnceSignsOneIn(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(nil)
		hal := w.Person("Hal")
		sendMagicLink(w, hal)
		letter := w.Mail.Next(hal)
		var browsers []*world.Browser
		var confirms []world.Page
		for range clicks {
			b := w.Browser(world.Phone)
			browsers, confirms = append(browsers, b), append(confirms, b.Open(letter.Link).MustBe("confirm", http.StatusOK))
		}
		winners := 0
		for i, p := range atOnce(w, clicks, func(i int) (world.Page, error) { return browsers[i].Post(confirms[i], "confirm") }) {
			if browsers[i].SignedIn() {
				winners++
				p.MustBe("signed-in", http.StatusOK)
			} else {
				p.MustBe("used", http.StatusGone)
			}
		}
		if n := len(sessions(w)); winners != 1 || n != 1 {
			t.Errorf("%d browsers are signed in, in %d sessions", winners, n)
		}
	})
}

// atOnce does the same thing many times in parallel.
func atOnce(w *world.World, times int, do func(i int) (world.Page, error)) []world.Page {
	w.T.Helper()
	pages, errs := make([]world.Page, times), make([]error, times)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range times {
		all.Go(func() {
			<-start
			pages[i], errs[i] = do(i)
		})
	}
	close(start)
	all.Wait()
	for _, err := range errs {
		if err != nil {
			w.T.Fatal(err)
		}
	}
	return pages
}

// sessions gives the sessions that the log has seen begin.
func sessions(w *world.World) map[string]bool {
	out := map[string]bool{}
	for _, r := range w.Events("signed-in") {
		out[r.Text("sid")] = true
	}
	return out
}
