package world

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	chromepage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	chromium "github.com/sealpost/sealpost/test/browser"
)

// Dev is where dev mode says things are.
type Dev struct{ Sample, mailbox, Provider string }

var devAddress = regexp.MustCompile(`(?m)^(\S.*\S)\s+(http://\S+)$`)

// StartDev runs dev mode on free ports.
func (w *World) StartDev() Dev {
	w.T.Helper()
	environ := []string{"SEALPOST_LIMITS_PER_NETWORK=off"}
	if w.Engine != "sqlite" {
		environ = append(environ, "SEALPOST_DATABASE="+w.Database)
	}
	in := w.run(environ, "dev", "--listen", "localhost:0", "--app-listen", "localhost:0", "--dir", filepath.Join(w.dir, "dev"))
	at := map[string]string{}
	Eventually(w.T, "addresses of dev mode", func() bool {
		if in.over() {
			w.T.Fatalf("dev mode ended: %s\n%s", in.cmd.ProcessState, in.Log)
		}
		for _, m := range devAddress.FindAllStringSubmatch(in.out.String(), -1) {
			at[m[1]] = m[2]
		}
		return len(at) == 3
	})
	d := Dev{Sample: at["Sample application"], mailbox: at["Mailbox"], Provider: at["OpenID provider"]}
	in.Ready(d.Provider)
	return d
}

// Profile is a browser profile: cookies of its own, and JavaScript or none.
type Profile struct {
	w      *World
	ctx    context.Context // of the browser, then of the profile's first tab
	Script bool
	opened bool
}

func NewProfile(w *World, ctx context.Context, script bool) *Profile {
	return &Profile{w: w, ctx: ctx, Script: script}
}

// Tab is a tab of a profile. Whatever goes wrong in it fails the test.
type Tab struct {
	W     *World
	ctx   context.Context
	name  string // of its screenshots
	shots int

	mu       sync.Mutex
	troubles []string
}

// watch tells the console when the content security policy forbids something.
const watch = `addEventListener("securitypolicyviolation", (e) => console.error("forbidden:", e.violatedDirective, e.blockedURI, e.sourceFile));`

// Tab opens a tab.
func (p *Profile) Tab(name string) *Tab {
	p.w.T.Helper()
	if !p.Script {
		name += "-noscript"
	}
	t := &Tab{W: p.w, name: name}
	options := []chromedp.ContextOption{chromedp.WithListener(t.hear)}
	if !p.opened {
		options = append(options, chromedp.WithNewBrowserContext())
	}
	var stop context.CancelFunc
	t.ctx, stop = chromedp.NewContext(p.ctx, options...)
	p.w.T.Cleanup(stop)
	// The tab lives as long as the context of its first steps.
	err := chromedp.Do(t.ctx, chromedp.EmulateViewport(1024, 800), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, chromepage.AddScriptToEvaluateOnNewDocument, chromepage.AddScriptToEvaluateOnNewDocumentParams{Source: watch})
		_, err2 := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !p.Script})
		return errors.Join(err, err2)
	}))
	if err != nil {
		p.w.T.Fatalf("open a tab: %v", err)
	}
	if !p.opened {
		p.ctx, p.opened = t.ctx, true // the next tab is one of the same profile
	}
	p.w.T.Cleanup(func() {
		t.rememberCookies()
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, trouble := range t.troubles {
			p.w.T.Errorf("%s: %s", t.name, trouble)
		}
	})
	return t
}

// hear collects what the browser complains about, and the secrets that go by.
func (t *Tab) hear(event any) {
	var trouble string
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			trouble = fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		trouble = fmt.Sprintf("exception: %s", e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		var words []string
		for _, arg := range e.Args {
			words = append(words, strings.Trim(string(arg.Value), `"`))
		}
		trouble = fmt.Sprintf("console.%s: %s", e.Type, strings.Join(words, " "))
	case *network.EventLoadingFailed:
		if !e.Canceled {
			trouble = fmt.Sprintf("%s %s %s", e.Type, e.ErrorText, e.BlockedReason)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil {
			t.W.Seen.values(u.Query())
		}
	}
	if trouble != "" {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.troubles = append(t.troubles, trouble)
	}
}

// Complains waits until the browser complains about something, which is as it
// should be.
func (t *Tab) Complains(about string) {
	t.W.T.Helper()
	Eventually(t.W.T, "complaint about "+about, func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		i := slices.IndexFunc(t.troubles, func(trouble string) bool { return strings.Contains(trouble, about) })
		if i >= 0 {
			t.troubles = slices.Delete(t.troubles, i, i+1)
		}
		return i >= 0
	})
}

func (t *Tab) rememberCookies() {
	ctx, stop := context.WithTimeout(t.ctx, 10*time.Second)
	defer stop()
	jar, err := chromedp.CallBrowser(ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: chromedp.FromContext(t.ctx).BrowserContextID})
	if err != nil {
		t.W.T.Errorf("%s: cookies: %v", t.name, err)
	}
	for _, c := range jar.Cookies {
		t.W.Seen.cookie(c.Name, c.Value)
	}
}

// do takes steps that end by themselves.
func (t *Tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	t.W.T.Helper()
	ctx, stop := context.WithTimeout(t.ctx, time.Minute)
	defer stop()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Shot(failed)
		t.W.T.Fatalf("%s: %s: %v", t.name, what, err)
	}
}

func (t *Tab) Open(address string) {
	t.W.T.Helper()
	t.do("open "+address, chromedp.Navigate(address))
}

// Front brings the tab before the others of its window.
func (t *Tab) Front() {
	t.W.T.Helper()
	if _, err := chromedp.Call(t.ctx, chromepage.BringToFront, struct{}{}); err != nil {
		t.W.T.Fatal(err)
	}
}

func (t *Tab) Click(selector string) {
	t.W.T.Helper()
	t.Front()
	t.do("click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

func (t *Tab) Types(selector, what string) {
	t.W.T.Helper()
	t.Front()
	t.do("type into "+selector, chromedp.SendKeys(chromedp.CSS(selector), what))
}

// Press presses keys, wherever the focus is.
func (t *Tab) Press(keys string) {
	t.W.T.Helper()
	t.Front()
	t.do("press keys", chromedp.KeyEvent(keys))
}

// Reaches presses Tab until the focus is on an element.
func (t *Tab) Reaches(selector string) {
	t.W.T.Helper()
	t.Front()
	for range 100 {
		if there, err := ask[bool](t, "document.activeElement?.matches("+strconv.Quote(selector)+")"); err == nil && there {
			return
		}
		t.do("press Tab", chromedp.KeyEvent(kb.Tab))
	}
	t.Shot(failed)
	t.W.T.Fatalf("%s: the Tab key does not come to %s", t.name, selector)
}

// ask evaluates an expression. A page that gives way to another fails that.
func ask[T any](t *Tab, expression string) (T, error) {
	ctx, stop := context.WithTimeout(t.ctx, 10*time.Second)
	defer stop()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression))
}

// Text is the text of an element of a page that stays.
func (t *Tab) Text(selector string) string {
	t.W.T.Helper()
	got, err := ask[string](t, "document.querySelector("+strconv.Quote(selector)+").textContent")
	if err != nil {
		t.W.T.Fatalf("%s: text of %s: %v", t.name, selector, err)
	}
	return strings.TrimSpace(got)
}

// Until waits for a page where an expression holds, and takes a picture of it.
func (t *Tab) Until(what, expression string) {
	t.W.T.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if holds, err := ask[bool](t, "document.readyState === 'complete' && "+expression); err == nil && holds {
			break
		}
		if time.Now().After(deadline) {
			t.Shot(failed)
			at, _ := ask[string](t, "location.origin + location.pathname")
			t.W.T.Fatalf("%s: no %s, but %s", t.name, what, at)
		}
	}
	t.Shot(what)
}

// Shows waits for a page with an element.
func (t *Tab) Shows(selector string) {
	t.W.T.Helper()
	t.Until(selector, "document.querySelector("+strconv.Quote(selector)+") !== null")
}

const failed = "failed"

var notInNames = regexp.MustCompile(`(data-|[^a-z])+`)

// Shot draws the whole page into a file: of one engine, since both look alike.
func (t *Tab) Shot(what string) {
	t.W.T.Helper()
	t.shots++
	if t.W.Engine != "sqlite" && what != failed {
		return
	}
	ctx, stop := context.WithTimeout(t.ctx, 10*time.Second)
	defer stop()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil { // a page that goes away cannot be drawn
		t.W.T.Logf("%s: screenshot: %v", t.name, err)
		return
	}
	step := strings.Trim(notInNames.ReplaceAllString(what, "-"), "-")
	name := fmt.Sprintf("e2e-%s-%02d-%s.png", t.name, t.shots, step)
	if err := os.WriteFile(filepath.Join(chromium.Screenshots(t.W.T), name), png, 0o644); err != nil {
		t.W.T.Error(err)
	}
}

// OpenMailOf finds the newest mail to somebody in the mailbox.
func (t *Tab) OpenMailOf(dev Dev, email string) {
	t.W.T.Helper()
	t.Front()
	t.Open(dev.mailbox)
	var address string
	mail := "document.evaluate(" + strconv.Quote("//div[@data-mail][dd/bdi='"+email+"']//a") + ", document, null, XPathResult.FIRST_ORDERED_NODE_TYPE).singleNodeValue?.href ?? ''"
	Eventually(t.W.T, "mail in the mailbox", func() bool {
		address, _ = ask[string](t, mail) // the page loads itself again
		return address != ""
	})
	t.Shot("mailbox")
	t.Open(address)
	t.Shows("a[data-link]")
}

// KnowsInSample waits until the sample application shows who is signed in.
func (t *Tab) KnowsInSample(email string) {
	t.W.T.Helper()
	t.Shows("[data-claim=email]")
	if got := t.Text("[data-claim=email] dd"); got != email {
		t.W.T.Errorf("%s: the application knows %q", t.name, got)
	}
	if got := t.Text("[data-claim=email_verified] dd"); got != "true" {
		t.W.T.Errorf("%s: email_verified is %q", t.name, got)
	}
}
