package e2e

import (
	"net/http"
	"sync"
	"testing"
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
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.start(nil)
		eve, b := w.person("Eve"), w.browser(firefox)
		login := w.app.begin()
		_, bound := b.ask(login, eve)
		w.sendMagicLink(eve)
		free := w.mail.next(eve)

		for i := range 20 {
			scanner := w.browser(scanners[i%len(scanners)])
			for link, name := range map[string]string{bound.Link: "other-browser", free.Link: "confirm"} {
				seen := scanner.open(link).is(name, http.StatusOK)
				if seen.auto("confirm") {
					t.Error("a script would click in the scanner")
				}
				head, err := scanner.request(http.MethodHead, link, nil)
				if err != nil || head.status != http.StatusOK {
					t.Errorf("HEAD: %d, %v", head.status, err)
				}
			}
			if scanner.signedIn() {
				t.Fatalf("%q is signed in", scanner.agent)
			}
		}
		if n := len(w.events("signed-in")); n != 0 {
			t.Fatalf("%d were signed in by looking", n)
		}

		got := login.finish(b.submit(b.open(bound.Link).is("confirm", http.StatusOK), "confirm"))
		if got.claims.Email != eve {
			t.Errorf("the application knows %q", got.claims.Email)
		}
		elsewhere := w.browser(phone)
		elsewhere.submit(elsewhere.open(free.Link).is("confirm", http.StatusOK), "confirm").is("signed-in", http.StatusOK)
	})
}

// A robot that presses every button there is.
func TestScannerThatPressesEveryButtonLocksNobodyOut(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.start(nil)
		flo, b, robot := w.person("Flo"), w.browser(firefox), w.browser(scanners[0])
		login := w.app.begin()
		_, letter := b.ask(login, flo)
		for _, form := range []string{"show-code", "not-me"} {
			robot.submit(robot.open(letter.Link).is("other-browser", http.StatusOK), form)
		}
		if robot.signedIn() {
			t.Error("the robot is signed in")
		}
		login.finish(b.submit(b.open(letter.Link).is("confirm", http.StatusOK), "confirm"))
	})
}

// clicks is how often a link is confirmed at once.
const clicks = 32

func TestLinkConfirmedManyTimesAtOnceByTheBrowserThatAskedSignsInOnce(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.start(nil)
		gus, b := w.person("Gus"), w.browser(firefox)
		_, letter := b.ask(w.app.begin(), gus)
		confirm := b.open(letter.Link).is("confirm", http.StatusOK)
		for _, p := range w.atOnce(clicks, func(int) (page, error) { return b.post(confirm, "confirm") }) {
			if p.answer().Get("code") == "" { // all land where the first did
				t.Errorf("a click landed at %s", p.at.Path)
			}
		}
		if n := len(w.sessions()); n != 1 {
			t.Errorf("%d sessions of one link", n)
		}
		if !b.signedIn() {
			t.Error("the browser is not signed in")
		}
	})
}

func TestLinkConfirmedByManyBrowsersAtOnceSignsOneIn(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.start(nil)
		hal := w.person("Hal")
		w.sendMagicLink(hal)
		letter := w.mail.next(hal)
		var browsers []*browser
		var confirms []page
		for range clicks {
			b := w.browser(phone)
			browsers, confirms = append(browsers, b), append(confirms, b.open(letter.Link).is("confirm", http.StatusOK))
		}
		winners := 0
		for i, p := range w.atOnce(clicks, func(i int) (page, error) { return browsers[i].post(confirms[i], "confirm") }) {
			if browsers[i].signedIn() {
				winners++
				p.is("signed-in", http.StatusOK)
			} else {
				p.is("used", http.StatusGone)
			}
		}
		if n := len(w.sessions()); winners != 1 || n != 1 {
			t.Errorf("%d browsers are signed in, in %d sessions", winners, n)
		}
	})
}

// atOnce does the same thing many times in parallel.
func (w *world) atOnce(times int, do func(i int) (page, error)) []page {
	w.t.Helper()
	pages, errs := make([]page, times), make([]error, times)
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
			w.t.Fatal(err)
		}
	}
	return pages
}

// sessions gives the sessions that the log has seen begin.
func (w *world) sessions() map[string]bool {
	out := map[string]bool{}
	for _, r := range w.events("signed-in") {
		out[r.text("sid")] = true
	}
	return out
}
