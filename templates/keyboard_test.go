//go:build integration

package templates

import (
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/sealpost/sealpost/test/browser"
)

// TestAccessibilityReflow shows every page on 320 CSS pixels, which is what is
// left of 1280 at 400 % (WCAG 1.4.10), with the spacing of WCAG 1.4.12 and for
// people who want no motion (2.3.3): nothing is wider than the screen, no words
// are cut, and nothing moves.
func TestAccessibilityReflow(t *testing.T) {
	g := hang(t, branding, intranet, ada)
	chromium := browser.Start(t)
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}}
	if _, err := chromedp.Call(chromium, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(chromium, chromedp.EmulateViewport(320, 640)); err != nil {
		t.Fatal(err)
	}
	const look = `(() => {
		for (const details of document.querySelectorAll("details")) details.open = true;
		for (const e of document.querySelectorAll("body *")) {
			e.style.lineHeight = "1.5"; e.style.letterSpacing = "0.12em"; e.style.wordSpacing = "0.16em";
			if (e.tagName === "P") e.style.marginBottom = "2em";
		}
		const wrong = [];
		if (document.documentElement.scrollWidth > 320) wrong.push("it is " + document.documentElement.scrollWidth + " pixels wide");
		if (document.getAnimations().some((a) => a.playState === "running")) wrong.push("something moves");
		for (const e of document.querySelectorAll("main h1, main p, main button, main label, main dd, main li, main a")) {
			if (e.checkVisibility() && getComputedStyle(e).overflow === "hidden" && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)) {
				wrong.push(e.tagName + " is cut: " + e.textContent.slice(0, 40));
			}
		}
		return wrong;
	})()`
	for name := range g.pages {
		if err := chromedp.Do(chromium, chromedp.Navigate(g.address("de", name))); err != nil { // long words
			t.Fatalf("%s: %v", name, err)
		}
		wrong, err := chromedp.Run(chromium, chromedp.Evaluate[[]string](look))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range wrong {
			t.Errorf("%s: %s", name, w)
		}
	}
}

// TestAccessibilityKeyboard goes through pages with the Tab key alone: it comes
// to everything there is to press or fill in, in the order of the page, each
// time with something to see that it is there (WCAG 2.1.1, 2.4.3, 2.4.7).
func TestAccessibilityKeyboard(t *testing.T) {
	g := hang(t, branding, intranet, ada)
	chromium := browser.Start(t)
	const (
		stops = `[...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary")].filter((e) => e.checkVisibility() && !e.disabled).length`
		where = `(() => {
			const e = document.activeElement, all = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary")].filter((e) => e.checkVisibility() && !e.disabled);
			const s = getComputedStyle(e);
			return { at: all.indexOf(e), seen: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== "none", tag: e.outerHTML.slice(0, 80) };
		})()`
	)
	type stop struct {
		At   int
		Seen bool
		Tag  string
	}
	for _, name := range []string{"login", "sent", "other-browser", "code", "confirm", "consent", "select-account", "account", "cancelled-not-me", "logout", "error"} {
		if _, ok := g.pages[name]; !ok {
			t.Errorf("there is no page %s", name)
			continue
		}
		if err := chromedp.Do(chromium, chromedp.Navigate(g.address("en", name))); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		n, err := chromedp.Run(chromium, chromedp.Evaluate[int](`document.activeElement?.blur(), `+stops))
		if err != nil || n == 0 {
			t.Fatalf("%s: %d stops, %v", name, n, err)
		}
		visited := map[int]bool{}
		for range n + 1 { // one of them leads out of the page, to the browser's own controls
			if err := chromedp.Do(chromium, chromedp.KeyEvent(kb.Tab)); err != nil {
				t.Fatal(err)
			}
			s, err := chromedp.Run(chromium, chromedp.Evaluate[stop](where))
			if err != nil {
				t.Fatal(err)
			}
			if s.At < 0 {
				continue
			}
			if !s.Seen {
				t.Errorf("%s: nothing shows that the key has come to %s", name, s.Tag)
			}
			visited[s.At] = true
		}
		if len(visited) != n {
			t.Errorf("%s: the key comes to %d of %d", name, len(visited), n)
		}
	}
}
