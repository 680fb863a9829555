//go:build integration

package templates

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/sealpost/sealpost/test/browser"
)

// setting is how somebody has a page shown.
type setting struct {
	name          string
	width, height int64
	script        string // of testdata/layout.js, with a list of what is wrong
}

var settings = []setting{
	{"320 pixels: 400 % of 1280 (WCAG 1.4.10)", 320, 640, `lost()`},
	{"320 pixels, spaced (WCAG 1.4.12)", 320, 640, `(spaced(true), lost())`},
	{"200 % of 1280 (WCAG 1.4.4)", 640, 400, `(spaced(false), lost())`},
	{"text of 200 % (WCAG 1.4.4)", 1280, 800, `(document.documentElement.style.fontSize = "200%", lost())`},
	{"without motion (WCAG 2.3.3)", 1280, 800, `moving()`},
	{"colours of one's own", 1280, 800, `edgeless()`},
}

// TestAccessibilityReflow shows every page, of an app and an address with long
// names, to people who need it large, spaced, still or in colours of their own:
// nothing is lost. The words are long ones, or run from right to left.
func TestAccessibilityReflow(t *testing.T) {
	t.Parallel()
	g := hang(t, branding, longApp, longMail)
	chromium := startLayout(t)
	calm := []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}
	for i, name := range slices.Sorted(maps.Keys(g.pages)) {
		lang := []string{"de", "ar"}[i%2]
		show(t, chromium, g.address(lang, name))
		for _, s := range settings {
			media := emulation.SetEmulatedMediaParams{Features: calm}
			if s.script == `edgeless()` {
				media.Features = append(calm[:1:1], &emulation.MediaFeature{Name: "forced-colors", Value: "active"})
			}
			if _, err := chromedp.Call(chromium, emulation.SetEmulatedMedia, media); err != nil {
				t.Fatal(err)
			}
			if err := chromedp.Do(chromium, chromedp.EmulateViewport(s.width, s.height)); err != nil {
				t.Fatal(err)
			}
			for _, wrong := range ask[[]string](t, chromium, `(unfold(), `+s.script+`)`) {
				t.Errorf("%s in %s, %s: %s", name, lang, s.name, wrong)
			}
		}
	}
}

// A page that loses something is found out.
func TestAccessibilityReflowFindsWhatIsLost(t *testing.T) {
	chromium := startLayout(t)
	if err := chromedp.Do(chromium, chromedp.EmulateViewport(320, 640)); err != nil {
		t.Fatal(err)
	}
	for what, body := range map[string]string{
		"it is 400 pixels wide":    `<div style="width:400px">a</div>`,
		"off the screen: <p ":      `<p style="margin-left:-40px">abc`,
		"cut: <p ":                 `<p style="width:30px;overflow:hidden;white-space:nowrap">many words`,
		"one over the other: <p>a": `<p>a</p><p style="margin-top:-36px">b`,
		"20 by 20 pixels: <button": `<button style="width:20px;height:20px;padding:0;border:0;font-size:8px">a`,
	} {
		show(t, chromium, `data:text/html,<!doctype html><body style="margin:0;font:16px/20px sans-serif">`+body)
		wrong := ask[[]string](t, chromium, `lost()`)
		if len(wrong) == 0 || !strings.HasPrefix(wrong[0], what) {
			t.Errorf("%s: found %q", what, wrong)
		}
	}
	show(t, chromium, `data:text/html,<!doctype html><style>@keyframes a { 50%25 { opacity: 0 } } p { animation: a 1s infinite }</style><p>a</p><button style="border:0">b</button>`)
	if wrong := ask[[]string](t, chromium, `[...moving(), ...edgeless()]`); len(wrong) != 2 {
		t.Errorf("what moves and a button without an edge: found %q", wrong)
	}
}

// startLayout starts a browser with testdata/layout.js in its pages.
func startLayout(t *testing.T) context.Context {
	t.Helper()
	source, err := os.ReadFile("testdata/layout.js")
	if err != nil {
		t.Fatal(err)
	}
	chromium := browser.Start(t)
	script := page.AddScriptToEvaluateOnNewDocumentParams{Source: string(source)}
	if _, err := chromedp.Call(chromium, page.AddScriptToEvaluateOnNewDocument, script); err != nil {
		t.Fatal(err)
	}
	focus := emulation.SetFocusEmulationEnabledParams{Enabled: true} // somebody is at it
	if _, err := chromedp.Call(chromium, emulation.SetFocusEmulationEnabled, focus); err != nil {
		t.Fatal(err)
	}
	return chromium
}

func show(t *testing.T, chromium context.Context, address string) {
	t.Helper()
	if err := chromedp.Do(chromium, chromedp.Navigate(address)); err != nil {
		t.Fatalf("%s: %v", address, err)
	}
}

func ask[T any](t *testing.T, chromium context.Context, expression string) T {
	t.Helper()
	answer, err := chromedp.Run(chromium, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return answer
}
