//go:build integration

package templates

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// stop is a control that the Tab key has come to; testdata/layout.js fills it
// in.
type stop struct {
	At                       int // of all controls; -1 at none
	Tag, Kind, Name, Action  string
	Seen, Covered            bool
	Left, Right, Top, Bottom float64
}

// before says whether s stands before next for who reads: in a row above, or in
// the same row and nearer to its beginning.
func (s stop) before(next stop, dir string) bool {
	switch {
	case next.Bottom <= s.Top+1:
		return false
	case s.Bottom <= next.Top+1:
		return true
	case dir == "rtl":
		return s.Left >= next.Right-1 || next.Top >= s.Top && next.Bottom <= s.Bottom
	}
	return s.Right <= next.Left+1
}

// TestAccessibilityKeyboard goes through every page by keyboard alone: Tab comes
// to everything there is to press or fill in, in the order in which it is read,
// and each time one sees where it is, whole (WCAG 2.1.1, 2.1.2, 2.4.3, 2.4.7,
// 2.4.11). Enter unfolds what unfolds and sends every form. Every second page is
// one from right to left, on a phone.
func TestAccessibilityKeyboard(t *testing.T) {
	t.Parallel()
	g := hang(t, branding, intranet, ada)
	chromium := startLayout(t)
	press := func(keys string) {
		t.Helper()
		if err := chromedp.Do(chromium, chromedp.KeyEvent(keys)); err != nil {
			t.Fatal(err)
		}
	}
	typed := map[string]string{"email": "grace@example.com", "code": "042917", "user_code": "WDJB-MJHT", "name": "Grace"}
	screens := []struct {
		lang, dir     string
		width, height int64
	}{{"en", "ltr", 1280, 800}, {"ar", "rtl", 390, 844}}
	for i, name := range slices.Sorted(maps.Keys(g.pages)) {
		look := screens[i%len(screens)]
		if err := chromedp.Do(chromium, chromedp.EmulateViewport(look.width, look.height)); err != nil {
			t.Fatal(err)
		}
		where := name + " in " + look.lang
		show(t, chromium, g.address(look.lang, name))
		n := ask[int](t, chromium, `count()`)
		var visited []int
		var last stop
		for i := range 100 { // until it comes to what it came to already, past the browser's own controls
			if i > 0 {
				press(kb.Tab)
			}
			s := ask[stop](t, chromium, `stop()`)
			if s.At >= 0 && slices.Contains(visited, s.At) {
				break
			}
			if s.At < 0 {
				if len(visited) >= n {
					break
				}
				last = stop{}
				continue
			}
			visited = append(visited, s.At)
			if !s.Seen || s.Covered {
				t.Errorf("%s: one does not see that the key has come to %s (outline %t, covered %t)", where, s.Tag, s.Seen, s.Covered)
			}
			if last.Tag != "" && s.At > last.At && !last.before(s, look.dir) {
				t.Errorf("%s: after %s comes %s, which is read before it", where, last.Tag, s.Tag)
			}
			last = s
			switch s.Kind {
			case "input":
				ask[bool](t, chromium, `(document.activeElement.select(), true)`) // what a field has, typing replaces
				press(typed[s.Name])
			case "checkbox":
				press(" ")
			case "summary":
				if name != "login" && ask[bool](t, chromium, `document.activeElement.closest("footer") !== null`) {
					break // the menu of languages is the same on every page
				}
				if !ask[bool](t, chromium, `document.activeElement.parentElement.open`) {
					press(kb.Enter)
					if !ask[bool](t, chromium, `document.activeElement.parentElement.open`) {
						t.Errorf("%s: Enter does not unfold %s", where, s.Tag)
					}
					n = ask[int](t, chromium, `controls().filter((e) => !e.disabled).length`)
				}
			case "button":
				press(kb.Enter)
				select {
				case path := <-g.posts:
					if path != s.Action {
						t.Errorf("%s: Enter at %s posts to %s", where, s.Tag, path)
					}
				case <-time.After(10 * time.Second):
					t.Errorf("%s: Enter at %s sends nothing", where, s.Tag)
				}
			}
		}
		if len(visited) != n {
			t.Errorf("%s: the key comes to %d of %d", where, len(visited), n)
		}
	}
}
