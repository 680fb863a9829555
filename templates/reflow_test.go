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
	media         []*emulation.MediaFeature
	script        string // of testdata/layout.js, with a list of what is wrong
}

var (
	plain  = []*emulation.MediaFeature{{Name: "forced-colors", Value: "none"}}
	calm   = []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}
	forced = []*emulation.MediaFeature{{Name: "forced-colors", Value: "active"}}
)

var settings = []setting{
	{"with motion, for five seconds at most (WCAG 2.2.2)", 1280, 800, plain, `(paint(), lasting())`},
	{"320 pixels: 400 % of 1280 (WCAG 1.4.10)", 320, 640, calm, `lost()`},
	{"320 pixels, spaced (WCAG 1.4.12)", 320, 640, calm, `(spaced(true), lost())`},
	{"200 % of 1280 (WCAG 1.4.4)", 640, 400, calm, `(spaced(false), lost())`},
	{"text of 200 % (WCAG 1.4.4)", 1280, 800, calm, `(document.documentElement.style.fontSize = "200%", lost())`},
	{"without motion (WCAG 2.3.3)", 1280, 800, calm, `moving()`},
	{"colours of one's own", 1280, 800, forced, `edgeless()`},
}

// TestAccessibilityReflow shows every page, of an app and an address with long
// names, to people who need it large, spaced, still or in colours of their own:
// nothing is lost. The words are long ones, or run from right to left.
func TestAccessibilityReflow(t *testing.T) {
	t.Parallel()
	g := hang(t, branding, longApp, longMail)
	chromium := startLayout(t)
	for i, name := range slices.Sorted(maps.Keys(g.pages)) {
		lang := []string{"de", "ar"}[i%2]
		show(t, chromium, g.address(lang, name))
		for _, s := range settings {
			media := emulation.SetEmulatedMediaParams{Features: s.media}
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
	show(t, chromium, `data:text/html,<!doctype html><style>@keyframes a { 50%25 { opacity: 0 } } p { animation: a 1s infinite } b { animation: a 2s 2 }</style><p>a</p><b>b</b>`)
	if moves, lasts := ask[[]string](t, chromium, `moving()`), ask[[]string](t, chromium, `lasting()`); len(moves) != 2 || len(lasts) != 1 {
		t.Errorf("what moves: found %q, and for long %q", moves, lasts)
	}
	show(t, chromium, `data:text/html,<!doctype html><style>html { background: white } :focus { outline: 3px solid } p::before { content: "" }</style>
		<input style="border:0"><button style="outline:0">b</button><input aria-invalid=true style="border:1px solid red">
		<select style="appearance:none;border:1px solid;background-image:linear-gradient(red,red)"></select><p style="background:red">`)
	ask[bool](t, chromium, `(paint(), true)`)
	media := emulation.SetEmulatedMediaParams{Features: forced}
	if _, err := chromedp.Call(chromium, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"without an edge: <input", "looks the same with the focus: <button", "does not look wrong: <input", "without its ground: <select", "without its ground: <p"} {
		wrong := ask[[]string](t, chromium, `edgeless()`)
		if len(wrong) != 5 || !strings.HasPrefix(wrong[i], want) {
			t.Errorf("%s: found %q", want, wrong)
		}
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
