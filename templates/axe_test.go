//go:build integration

package templates

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/sealpost/sealpost/test/browser"
)

// axe is where npm put axe-core, by the lock file beside it.
const axe = "../test/integration/node/node_modules/axe-core/axe.min.js"

// everyRule are the rules of WCAG 2.0 to 2.2, levels A and AA, and axe's best
// practices; those that axe leaves off unless asked for, too.
const everyRule = `axe.getRules(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).map((rule) => rule.ruleId)`

// look is a screen, with its colours.
type look struct {
	name, scheme  string
	width, height int64
}

var looks = []look{
	{"phone", "light", 390, 844}, {"phone", "dark", 390, 844},
	{"desktop", "light", 1280, 800}, {"desktop", "dark", 1280, 800},
}

// finding is what axe says of an element: that it violates a rule, or that a
// person has to look (Incomplete).
type finding struct {
	Rule, Target, HTML, Why string
	Incomplete              bool
}

func (f finding) String() string {
	kind := "violates"
	if f.Incomplete {
		kind = "may violate"
	}
	return fmt.Sprintf("%s %s %s: %s (%s)", f.Target, kind, f.Rule, f.Why, f.HTML)
}

// looked are the findings that somebody looked at, with what was seen.
var looked = []struct {
	page, rule, target string // page and target by their beginnings
	why                string
}{
	{"logged-out-frames", "hidden-content", "iframe", "frames that sign out of apps: nobody is to see or hear them"},
	{"", "hidden-content", "nav", "the menu of languages, which is the same on every page and unfolded on login"},
	{"account", "color-contrast", "#locale", "the arrow of the menu is a gradient at its end; the words stand on the colour of every field"},
	{"mail", "hidden-content", "div", "the preview in a list of mails: not to be read a second time"},
	{"mail", "region", "", "a mail is shown inside a page, whose landmarks are not the mail's to say"},
	{"mail", "landmark-one-main", "", "likewise"},
}

// TestAccessibilityAxe has axe-core examine every page and mail as it is
// served, what unfolds unfolded: by every rule in English, and again in another
// language, on the other screen and in the other colours.
func TestAccessibilityAxe(t *testing.T) {
	t.Parallel()
	g := hang(t, branding, intranet, ada)
	chromium := startAxe(t)
	unused := map[int]bool{}
	for i := range looked {
		unused[i] = true
	}
	others := []string{"ar", "de", "ja"}
	for i, name := range g.names() {
		first := i % len(looks)
		for _, shown := range []struct {
			lang string
			look look
		}{{"en", looks[first]}, {others[i%len(others)], looks[len(looks)-1-first]}} {
			if err := chromedp.Do(chromium, chromedp.Navigate(g.address(shown.lang, name))); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, f := range examine(t, chromium, shown.look) {
				known := slices.IndexFunc(looked, func(l struct{ page, rule, target, why string }) bool {
					return strings.HasPrefix(name, l.page) && f.Rule == l.rule && strings.HasPrefix(f.Target, l.target)
				})
				if known < 0 {
					t.Errorf("%s in %s, %s, %s: %s", name, shown.lang, shown.look.name, shown.look.scheme, f)
				}
				delete(unused, known)
			}
		}
	}
	for i := range unused {
		t.Errorf("no longer found: %v", looked[i])
	}
}

// A page that is wrong in known ways is found out, and so is one that axe
// cannot judge.
func TestAccessibilityAxeFindsWhatIsWrong(t *testing.T) {
	chromium := startAxe(t)
	const wrong = `data:text/html,<!doctype html><html><head><title>x</title><style>
		@media (prefers-color-scheme: dark) { .dark { color: %23777; background: %23666 } }
		button { width: 60px; height: 60px }
		@media (max-width: 500px) { .phone { width: 9px; height: 9px; padding: 0; display: inline-block; overflow: hidden } }
		.over { background: linear-gradient(white, black) }
		</style></head><body><main><h1>x</h1><img src="data:,"><input><p class="dark">text</p><p class="over">text</p>
		<button class="phone">a</button><button class="phone">b</button></main></body></html>`
	if err := chromedp.Do(chromium, chromedp.Navigate(wrong)); err != nil {
		t.Fatal(err)
	}
	for _, look := range looks {
		want := []string{"html-has-lang", "image-alt", "label", "color-contrast?"}
		if look.scheme == "dark" {
			want = append(want, "color-contrast")
		}
		if look.name == "phone" {
			want = append(want, "target-size")
		}
		var have []string
		for _, f := range examine(t, chromium, look) {
			if f.Incomplete {
				f.Rule += "?"
			}
			have = append(have, f.Rule)
		}
		slices.Sort(want)
		slices.Sort(have)
		if have = slices.Compact(have); !slices.Equal(have, want) {
			t.Errorf("%s, %s: found %q, want %q", look.name, look.scheme, have, want)
		}
	}
}

// startAxe starts a browser with axe in its pages. It comes through the
// DevTools protocol: the policy of a page does not stop it.
func startAxe(t *testing.T) context.Context {
	t.Helper()
	source, err := os.ReadFile(axe)
	if err != nil {
		t.Fatalf("%v: run make test-integration, which installs axe-core", err)
	}
	chromium := browser.Start(t)
	script := page.AddScriptToEvaluateOnNewDocumentParams{Source: string(source)}
	if _, err := chromedp.Call(chromium, page.AddScriptToEvaluateOnNewDocument, script); err != nil {
		t.Fatal(err)
	}
	return chromium
}

// examine gives what axe finds on the page that is open. Nothing moves
// meanwhile: half a transition has colours of its own.
func examine(t *testing.T, chromium context.Context, look look) []finding {
	t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: look.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}}
	if _, err := chromedp.Call(chromium, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(chromium, chromedp.EmulateViewport(look.width, look.height)); err != nil {
		t.Fatal(err)
	}
	script := `(async () => {
		for (const details of document.querySelectorAll("main details, [data-page=login] details")) details.open = true;
		const list = ` + everyRule + `;
		const { violations, incomplete } = await axe.run({
			runOnly: list,
			rules: Object.fromEntries(list.map((id) => [id, { enabled: true }])),
			resultTypes: ["violations", "incomplete"],
			iframes: false,
		});
		const say = (incomplete) => ({ id, nodes }) => nodes.map((n) => ({
			rule: id, incomplete, target: n.target.join(" "), html: n.html.slice(0, 200),
			why: [...n.any, ...n.all, ...n.none].map((check) => check.message).join("; "),
		}));
		return [...violations.flatMap(say(false)), ...incomplete.flatMap(say(true))];
	})()`
	found, err := chromedp.Run(chromium, chromedp.Evaluate[[]finding](script, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	return found
}
