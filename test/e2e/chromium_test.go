package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	chromepage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"

	chromium "github.com/sealpost/sealpost/test/browser"
)

func TestChromiumSignsInToTheSampleApplicationOfDevMode(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		dev := w.startDev()
		first := chromium.Start(t)
		for _, script := range []bool{true, false} {
			sameBrowser(w, dev, newProfile(w, first, script))
			otherBrowser(w, dev, newProfile(w, first, script), newProfile(w, first, script))
		}
	})
}

// The tab that waits has sent the code and is on its way to the application.
// It asks no more how things stand, so that nothing takes it elsewhere.
func TestChromiumReachesAnApplicationThatTakesItsTime(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		const aWhile = 5 * time.Second // the tab asks every two
		slow := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
				t.Error("the browser gave up on the application")
			case <-time.After(aWhile):
			}
			fmt.Fprint(rw, "<!doctype html><title>Application</title><link rel=icon href=data:,><body data-page=arrived>")
		}))
		defer slow.Close()
		w.app.redirectURI = slow.URL + "/callback"
		w.settings["clients"] = []any{w.app.settings()}
		w.start(nil)

		cid, tab, there := w.person("Cid"), newProfile(w, chromium.Start(t), true).tab("slow"), w.browser(phone)
		tab.open(w.app.begin().address)
		tab.shows("[data-page=login]")
		tab.types("#email", cid)
		tab.click("[data-form=email] button")
		tab.shows("[data-page=sent]")
		code := there.submit(there.open(w.mail.next(cid).Link), "show-code").code()
		w.seen.secret("code", code)
		tab.types("#code", code)
		tab.click("[data-form=enter-code] button")
		tab.shows("[data-page=arrived]")
	})
}

// sameBrowser opens the link where it was asked for, in another tab.
func sameBrowser(w *world, dev dev, p *profile) {
	w.t.Helper()
	zoe := w.person("Zoe")
	waiting, mailbox := p.tab("same-browser-waiting"), p.tab("same-browser-mailbox")
	askInSample(dev, waiting, zoe)

	mailbox.openMailOf(dev, zoe)
	mailbox.click("a[data-link]")
	if !p.script {
		mailbox.shows("[data-page=confirm]")
		mailbox.click("[data-form=confirm] button")
	}
	mailbox.knowsInSample(zoe)

	waiting.front()
	waiting.shows("[data-page=signed-in]") // by itself
	waiting.click("a.button")
	waiting.knowsInSample(zoe)

	waiting.click("[data-form=userinfo] button")
	waiting.shows("[data-userinfo=email]")
	waiting.click("[data-form=refresh] button")
	waiting.until("once refreshed", `document.querySelector("[data-refreshed]")?.textContent === "1"`)
	waiting.click("[data-form=logout] button")
	waiting.shows("[data-link=login]")
	waiting.click("[data-link=login]")
	waiting.shows("[data-page=login]") // not silent any more
}

// otherBrowser opens the link where it was not asked for.
func otherBrowser(w *world, dev dev, here, there *profile) {
	w.t.Helper()
	abe := w.person("Abe")
	waiting, elsewhere := here.tab("other-browser-waiting"), there.tab("other-browser-elsewhere")
	askInSample(dev, waiting, abe)

	elsewhere.openMailOf(dev, abe)
	elsewhere.click("a[data-link]")
	elsewhere.shows("[data-page=other-browser]")
	elsewhere.click("[data-form=show-code] button")
	elsewhere.shows("[data-page=code]")
	code := elsewhere.text("[data-code]")
	w.seen.secret("code", code)

	waiting.front()
	if !here.script { // a page that reloads loses what was typed
		waiting.click("noscript a[href*='code=']")
		waiting.shows("[data-page=sent] #code[autofocus]")
	}
	waiting.types("#code", code)
	waiting.shot("typed")
	waiting.click("[data-form=enter-code] button")
	waiting.knowsInSample(abe)

	elsewhere.front()
	elsewhere.open(dev.provider + "/login")
	elsewhere.shows("[data-page=login]")
}

// askInSample goes from the sample application to the page that waits.
func askInSample(dev dev, t *tab, email string) {
	t.w.t.Helper()
	t.open(dev.sample)
	t.shows("[data-link=login]")
	t.click("[data-link=login]")
	t.shows("[data-page=login]")
	t.types("#email", email)
	t.click("[data-form=email] button")
	t.shows("[data-page=sent]")
}

// dev is where dev mode says things are.
type dev struct{ sample, mailbox, provider string }

var devAddress = regexp.MustCompile(`(?m)^(\S.*\S)\s+(http://\S+)$`)

// startDev runs dev mode on free ports.
func (w *world) startDev() dev {
	w.t.Helper()
	environ := []string{"SEALPOST_LIMITS_PER_NETWORK=off"}
	if w.engine != "sqlite" {
		environ = append(environ, "SEALPOST_DATABASE="+w.database)
	}
	in := w.run(environ, "dev", "--listen", "localhost:0", "--app-listen", "localhost:0", "--dir", filepath.Join(w.dir, "dev"))
	at := map[string]string{}
	eventually(w.t, "addresses of dev mode", func() bool {
		if in.over() {
			w.t.Fatalf("dev mode ended: %s\n%s", in.cmd.ProcessState, in.log)
		}
		for _, m := range devAddress.FindAllStringSubmatch(in.out.String(), -1) {
			at[m[1]] = m[2]
		}
		return len(at) == 3
	})
	d := dev{sample: at["Sample application"], mailbox: at["Mailbox"], provider: at["OpenID provider"]}
	in.ready(d.provider)
	return d
}

// profile is a browser profile: cookies of its own, and JavaScript or none.
type profile struct {
	w      *world
	ctx    context.Context // of the browser, then of the profile's first tab
	script bool
	opened bool
}

func newProfile(w *world, ctx context.Context, script bool) *profile {
	return &profile{w: w, ctx: ctx, script: script}
}

// tab is a tab of a profile. Whatever goes wrong in it fails the test.
type tab struct {
	w     *world
	ctx   context.Context
	name  string // of its screenshots
	shots int

	mu       sync.Mutex
	troubles []string
}

// watch tells the console when the content security policy forbids something.
const watch = `addEventListener("securitypolicyviolation", (e) => console.error("forbidden:", e.violatedDirective, e.blockedURI, e.sourceFile));`

// tab opens a tab.
func (p *profile) tab(name string) *tab {
	p.w.t.Helper()
	if !p.script {
		name += "-noscript"
	}
	t := &tab{w: p.w, name: name}
	options := []chromedp.ContextOption{chromedp.WithListener(t.hear)}
	if !p.opened {
		options = append(options, chromedp.WithNewBrowserContext())
	}
	var stop context.CancelFunc
	t.ctx, stop = chromedp.NewContext(p.ctx, options...)
	p.w.t.Cleanup(stop)
	// The tab lives as long as the context of its first steps.
	err := chromedp.Do(t.ctx, chromedp.EmulateViewport(1024, 800), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, chromepage.AddScriptToEvaluateOnNewDocument, chromepage.AddScriptToEvaluateOnNewDocumentParams{Source: watch})
		_, err2 := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !p.script})
		return errors.Join(err, err2)
	}))
	if err != nil {
		p.w.t.Fatalf("open a tab: %v", err)
	}
	if !p.opened {
		p.ctx, p.opened = t.ctx, true // the next tab is one of the same profile
	}
	p.w.t.Cleanup(func() {
		t.rememberCookies()
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, trouble := range t.troubles {
			p.w.t.Errorf("%s: %s", t.name, trouble)
		}
	})
	return t
}

// hear collects what the browser complains about, and the secrets that go by.
func (t *tab) hear(event any) {
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
			t.w.seen.values(u.Query())
		}
	}
	if trouble != "" {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.troubles = append(t.troubles, trouble)
	}
}

func (t *tab) rememberCookies() {
	ctx, stop := context.WithTimeout(t.ctx, 10*time.Second)
	defer stop()
	jar, err := chromedp.CallBrowser(ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: chromedp.FromContext(t.ctx).BrowserContextID})
	if err != nil {
		t.w.t.Errorf("%s: cookies: %v", t.name, err)
	}
	for _, c := range jar.Cookies {
		t.w.seen.secret("cookie "+c.Name, c.Value)
	}
}

// do takes steps that end by themselves.
func (t *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	t.w.t.Helper()
	ctx, stop := context.WithTimeout(t.ctx, time.Minute)
	defer stop()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.shot(failed)
		t.w.t.Fatalf("%s: %s: %v", t.name, what, err)
	}
}

func (t *tab) open(address string) {
	t.w.t.Helper()
	t.do("open "+address, chromedp.Navigate(address))
}

// front brings the tab before the others of its window.
func (t *tab) front() {
	t.w.t.Helper()
	if _, err := chromedp.Call(t.ctx, chromepage.BringToFront, struct{}{}); err != nil {
		t.w.t.Fatal(err)
	}
}

func (t *tab) click(selector string) {
	t.w.t.Helper()
	t.front()
	t.do("click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

func (t *tab) types(selector, what string) {
	t.w.t.Helper()
	t.front()
	t.do("type into "+selector, chromedp.SendKeys(chromedp.CSS(selector), what))
}

// ask evaluates an expression. A page that gives way to another fails that.
func ask[T any](t *tab, expression string) (T, error) {
	ctx, stop := context.WithTimeout(t.ctx, 10*time.Second)
	defer stop()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression))
}

// text is the text of an element of a page that stays.
func (t *tab) text(selector string) string {
	t.w.t.Helper()
	got, err := ask[string](t, "document.querySelector("+strconv.Quote(selector)+").textContent")
	if err != nil {
		t.w.t.Fatalf("%s: text of %s: %v", t.name, selector, err)
	}
	return strings.TrimSpace(got)
}

// until waits for a page where an expression holds, and takes a picture of it.
func (t *tab) until(what, expression string) {
	t.w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if holds, err := ask[bool](t, "document.readyState === 'complete' && "+expression); err == nil && holds {
			break
		}
		if time.Now().After(deadline) {
			t.shot(failed)
			at, _ := ask[string](t, "location.origin + location.pathname")
			t.w.t.Fatalf("%s: no %s, but %s", t.name, what, at)
		}
	}
	t.shot(what)
}

// shows waits for a page with an element.
func (t *tab) shows(selector string) {
	t.w.t.Helper()
	t.until(selector, "document.querySelector("+strconv.Quote(selector)+") !== null")
}

const failed = "failed"

var notInNames = regexp.MustCompile(`(data-|[^a-z])+`)

// shot draws the whole page into a file: of one engine, since both look alike.
func (t *tab) shot(what string) {
	t.w.t.Helper()
	t.shots++
	if t.w.engine != "sqlite" && what != failed {
		return
	}
	ctx, stop := context.WithTimeout(t.ctx, 10*time.Second)
	defer stop()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil { // a page that goes away cannot be drawn
		t.w.t.Logf("%s: screenshot: %v", t.name, err)
		return
	}
	step := strings.Trim(notInNames.ReplaceAllString(what, "-"), "-")
	name := fmt.Sprintf("e2e-%s-%02d-%s.png", t.name, t.shots, step)
	if err := os.WriteFile(filepath.Join(chromium.Screenshots(t.w.t), name), png, 0o644); err != nil {
		t.w.t.Error(err)
	}
}

// openMailOf finds the newest mail to somebody in the mailbox.
func (t *tab) openMailOf(dev dev, email string) {
	t.w.t.Helper()
	t.front()
	t.open(dev.mailbox)
	var address string
	mail := "document.evaluate(" + strconv.Quote("//div[@data-mail][dd/bdi='"+email+"']//a") + ", document, null, XPathResult.FIRST_ORDERED_NODE_TYPE).singleNodeValue?.href ?? ''"
	eventually(t.w.t, "mail in the mailbox", func() bool {
		address, _ = ask[string](t, mail) // the page loads itself again
		return address != ""
	})
	t.shot("mailbox")
	t.open(address)
	t.shows("a[data-link]")
}

// knowsInSample waits until the sample application shows who is signed in.
func (t *tab) knowsInSample(email string) {
	t.w.t.Helper()
	t.shows("[data-claim=email]")
	if got := t.text("[data-claim=email] dd"); got != email {
		t.w.t.Errorf("%s: the application knows %q", t.name, got)
	}
	if got := t.text("[data-claim=email_verified] dd"); got != "true" {
		t.w.t.Errorf("%s: email_verified is %q", t.name, got)
	}
}
