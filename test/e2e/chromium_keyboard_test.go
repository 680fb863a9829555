package e2e

import (
	"testing"

	"github.com/chromedp/chromedp/kb"

	chromium "github.com/sealpost/sealpost/test/browser"
	"github.com/sealpost/sealpost/test/world"
)

// Somebody without a mouse signs in, here and by way of another browser, and
// out: every step is a key, but for addresses, which one types outside of pages.
func TestChromiumSignsInByKeyboard(t *testing.T) {
	t.Parallel()
	w := world.New(t, "sqlite") // what a key does, no engine knows
	dev := w.StartDev()
	first := chromium.Start(t)
	for _, script := range []bool{true, false} {
		hereByKeyboard(w, dev, world.NewProfile(w, first, script))
		elsewhereByKeyboard(w, dev, world.NewProfile(w, first, script), world.NewProfile(w, first, script))
	}
}

func hereByKeyboard(w *world.World, dev world.Dev, p *world.Profile) {
	w.T.Helper()
	zoe := w.Person("Zoe")
	waiting, mailbox := p.Tab("keyboard-waiting"), p.Tab("keyboard-mailbox")
	askByKeyboard(dev, waiting, zoe)

	mailbox.OpenMailOf(dev, zoe)
	enter(mailbox, "a[data-link]")
	if !p.Script {
		mailbox.Shows("[data-page=confirm]")
		enter(mailbox, "[data-form=confirm] button")
	}
	mailbox.KnowsInSample(zoe)

	waiting.Front()
	waiting.Shows("[data-page=signed-in]")
	enter(waiting, "a.button")
	waiting.KnowsInSample(zoe)
	enter(waiting, "[data-form=logout] button")
	waiting.Shows("[data-link=login]")
}

func elsewhereByKeyboard(w *world.World, dev world.Dev, here, there *world.Profile) {
	w.T.Helper()
	abe := w.Person("Abe")
	waiting, elsewhere := here.Tab("keyboard-here"), there.Tab("keyboard-elsewhere")
	askByKeyboard(dev, waiting, abe)

	elsewhere.OpenMailOf(dev, abe)
	enter(elsewhere, "a[data-link]")
	elsewhere.Shows("[data-page=other-browser]")
	enter(elsewhere, "[data-form=show-code] button")
	elsewhere.Shows("[data-page=code]")
	code := elsewhere.Text("[data-code]")
	w.Seen.Secret("code", code)

	waiting.Front()
	if !here.Script { // a page that reloads loses what was typed
		enter(waiting, "noscript a[href*='code=']")
		waiting.Shows("[data-page=sent] #code[autofocus]")
	}
	waiting.Reaches("#code")
	waiting.Press(other(code) + kb.Enter)
	waiting.Shows("#code[aria-invalid]:focus") // where one types the right one
	waiting.Complains("status of 400")
	waiting.Press(code + kb.Enter)
	waiting.KnowsInSample(abe)
}

// askByKeyboard goes from the sample application to the page that waits.
func askByKeyboard(dev world.Dev, t *world.Tab, email string) {
	t.W.T.Helper()
	t.Open(dev.Sample)
	enter(t, "[data-link=login]")
	t.Shows("#email:focus")
	t.Press(email + kb.Enter)
	t.Shows("[data-page=sent]")
}

// enter presses Enter where the Tab key has come to an element.
func enter(t *world.Tab, selector string) {
	t.W.T.Helper()
	t.Reaches(selector)
	t.Press(kb.Enter)
}
