//go:build integration

package templates

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
)

// TestAccessibilityErrors opens every page that refuses what somebody has typed.
// The focus is on the wrong field, which is told with what is wrong about it,
// and an alert says the same (WCAG 3.3.1, 3.3.3, 4.1.3); both are on the screen. So
// says the accessibility tree, from which a screen reader reads.
func TestAccessibilityErrors(t *testing.T) {
	t.Parallel()
	g := hang(t, branding, intranet, ada)
	chromium := startLayout(t)
	for name, look := range refusing(t, chromium, g) {
		show(t, chromium, g.address(look.lang, name))
		for _, wrong := range untold(t, chromium) {
			t.Errorf("%s in %s: %s", name, look.lang, wrong)
		}
	}
}

// A line is slow: the field comes, and the rest of the page when it has the focus.
func TestAccessibilityErrorsOfHalfAPage(t *testing.T) {
	t.Parallel()
	g := hang(t, branding, intranet, ada)
	site, err := url.Parse(g.url)
	if err != nil {
		t.Fatal(err)
	}
	rest := make(chan bool)
	slow := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(site); r.Out.Header.Del("Accept-Encoding") }}
	slow.ModifyResponse = func(r *http.Response) error {
		if !strings.HasPrefix(r.Request.URL.Path, "/show/") {
			return nil
		}
		page, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		field := bytes.Index(page, []byte("aria-invalid"))
		if field < 0 {
			return errors.New("no field is wrong")
		}
		field += bytes.IndexByte(page[field:], '>') + 1
		from, to := io.Pipe()
		r.Body = from
		go func() {
			_, _ = to.Write(page[:field])
			select {
			case <-rest:
			case <-t.Context().Done(): // the test has failed, and waits for the server to end
			}
			_, _ = to.Write(page[field:])
			_ = to.Close()
		}()
		return nil
	}
	server := httptest.NewServer(slow)
	t.Cleanup(server.Close)
	chromium := startLayout(t)
	for name, look := range refusing(t, chromium, g) {
		address := strings.Replace(g.address(look.lang, name), g.url, server.URL, 1)
		_, _ = chromedp.Run(chromium, chromedp.Evaluate[string](fmt.Sprintf("location.href = %q", address))) // its answer may go with the page
		until(t, chromium, fmt.Sprintf("location.href == %q", address)+` && document.readyState == "loading" && document.activeElement?.matches("[aria-invalid]")`)
		rest <- true
		until(t, chromium, `document.readyState == "complete"`)
		for _, wrong := range untold(t, chromium) {
			t.Errorf("%s in %s: %s", name, look.lang, wrong)
		}
	}
}

// until waits for something in a page to be true. A page that is left while it is
// asked has no answer.
func until(t *testing.T, chromium context.Context, what string) {
	t.Helper()
	var holds bool
	var err error
	for deadline := time.Now().Add(time.Minute); !holds || err != nil; {
		if time.Now().After(deadline) {
			t.Fatalf("for a minute it was not so: %s: %v", what, err)
		}
		holds, err = chromedp.Run(chromium, chromedp.Evaluate[bool]("Boolean("+what+")"))
	}
}

// shown is a language, and a screen that has its size when a page is opened.
type shown struct {
	lang          string
	width, height int64
}

// refusing are the pages that refuse what somebody has typed, each on two screens.
func refusing(t *testing.T, chromium context.Context, g *gallery) iter.Seq2[string, shown] {
	return func(yield func(string, shown) bool) {
		tried := 0
		for _, name := range g.names() {
			if !refuses(g.pages[name].page) {
				continue
			}
			tried++
			for _, look := range []shown{{"en", 390, 844}, {"ar", 1280, 800}} {
				if err := chromedp.Do(chromium, chromedp.EmulateViewport(look.width, look.height)); err != nil {
					t.Fatal(err)
				}
				if !yield(name, look) {
					return
				}
			}
		}
		if tried < 11 {
			t.Errorf("only %d pages that refuse something", tried)
		}
	}
}

// An error that is not told is found out.
func TestAccessibilityErrorsFindsWhatIsUntold(t *testing.T) {
	chromium := startLayout(t)
	const field, alert = `<input aria-label=a aria-invalid=true aria-describedby=e `, `<p id=e role=alert>wrong`
	for want, body := range map[string]string{
		"":                              field + `autofocus>` + alert,
		"0 fields are wrong":            `<input aria-label=a autofocus>` + alert,
		"2 fields are wrong":            field + `autofocus>` + field + `>` + alert,
		"the focus is elsewhere":        field + `><input aria-label=b autofocus>` + alert,
		`described as ""`:               `<input aria-label=a aria-invalid=true autofocus>` + alert,
		`described as "right"`:          `<input aria-label=a aria-invalid=true aria-describedby=r autofocus><p id=r>right</p>` + alert,
		"0 alerts":                      field + `autofocus><p id=e>wrong`,
		`live is "polite"`:              field + `autofocus><p id=e role=alert aria-live=polite>wrong`,
		"the error is below the screen": field + `autofocus><p id=e role=alert style="margin-top:900px">wrong`,
	} {
		show(t, chromium, `data:text/html,<!doctype html><title>x</title>`+body)
		if wrong := strings.Join(untold(t, chromium), "; "); !strings.Contains(wrong, want) || want == "" && wrong != "" {
			t.Errorf("%q: found %q", want, wrong)
		}
	}
}

// refuses says whether a page refuses what somebody has typed.
func refuses(p Page) bool {
	if p == nil {
		return false
	}
	v := reflect.ValueOf(p)
	wrong, undelivered := v.FieldByName("Error"), v.FieldByName("Undelivered")
	return wrong.IsValid() && wrong.String() != "" || undelivered.IsValid() && undelivered.Bool()
}

// untold is what is wrong about how the page that is open tells its error.
func untold(t *testing.T, chromium context.Context) (wrong []string) {
	t.Helper()
	// The focus comes with the first frame.
	const drawn = `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`
	if _, err := chromedp.Run(chromium, chromedp.Evaluate[bool](drawn, chromedp.EvalAwaitPromise)); err != nil {
		t.Fatal(err)
	}
	tree, err := chromedp.Call(chromium, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		t.Fatal(err)
	}
	refused := ask[struct {
		Text  string
		Below bool
	}](t, chromium, `(() => {
		const alert = document.querySelector("[role=alert]"), field = document.activeElement;
		const seen = (e) => { const { top, bottom } = e.getBoundingClientRect(); return top > -1 && bottom < innerHeight + 1; };
		return { text: alert?.innerText ?? "", below: alert !== null && !(seen(alert) && seen(field)) };
	})()`)
	if refused.Below {
		wrong = append(wrong, "the error is below the screen")
	}
	fields := slices.DeleteFunc(slices.Clone(tree.Nodes), func(n *accessibility.Node) bool {
		return property(n, accessibility.PropertyNameInvalid) != "true"
	})
	alerts := slices.DeleteFunc(tree.Nodes, func(n *accessibility.Node) bool { return said(n.Role) != "alert" })
	if len(fields) != 1 {
		wrong = append(wrong, fmt.Sprintf("%d fields are wrong", len(fields)))
	}
	for _, field := range fields {
		if property(field, accessibility.PropertyNameFocused) != "true" {
			wrong = append(wrong, "the focus is elsewhere")
		}
		if what := said(field.Description); what == "" || !slices.Equal(strings.Fields(what), strings.Fields(refused.Text)) {
			wrong = append(wrong, fmt.Sprintf("the field is described as %q, not %q", what, refused.Text))
		}
	}
	if len(alerts) != 1 {
		wrong = append(wrong, fmt.Sprintf("%d alerts", len(alerts)))
	}
	for _, alert := range alerts {
		if live := property(alert, accessibility.PropertyNameLive); live != "assertive" {
			wrong = append(wrong, fmt.Sprintf("live is %q", live))
		}
	}
	return wrong
}

func property(n *accessibility.Node, name accessibility.PropertyName) string {
	for _, p := range n.Properties {
		if p.Name == name {
			return said(p.Value)
		}
	}
	return ""
}

// said is a value of the accessibility tree, as text.
func said(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	var value any
	if json.Unmarshal(v.Value, &value) != nil {
		return ""
	}
	return fmt.Sprint(value)
}
