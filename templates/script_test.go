package templates

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sealpost/sealpost/test/browser"
)

// TestScript tries in a browser what sealpost.js adds to the pages.
func TestScript(t *testing.T) {
	s := site(t)
	var page atomic.Pointer[Page]
	var status atomic.Pointer[string]
	var asked atomic.Int32
	posts := make(chan string, 10)
	mux := http.NewServeMux()
	mux.Handle("GET /static/", s.Static())
	mux.HandleFunc("GET /login/status", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte(*status.Load()))
	})
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) {
		s.Render(w, r, http.StatusOK, *page.Load())
	})
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		s.Render(w, r, http.StatusOK, SignedIn{Email: r.URL.RawQuery})
	})
	mux.HandleFunc("GET /bye", func(w http.ResponseWriter, r *http.Request) {
		s.Render(w, r, http.StatusOK, SignedIn{Email: "bye"})
	})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		posts <- r.URL.Path + "?" + r.PostForm.Encode()
		s.Render(w, r, http.StatusOK, SignedIn{Email: "posted"})
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	waiting := "{}"
	status.Store(&waiting)
	chromium := browser.Start(t)
	show := func(p Page) {
		t.Helper()
		page.Store(&p)
		err := chromedp.Do(chromium, chromedp.Navigate(server.URL+"/page"))
		if err != nil && !(moves(p) && strings.Contains(err.Error(), "net::ERR_ABORTED")) { // its script was faster than the load event
			t.Fatal(err)
		}
	}
	posted := func(want string) {
		t.Helper()
		select {
		case got := <-posts:
			if got != want {
				t.Errorf("posted %s, want %s", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("nothing posted, want %s", want)
		}
	}
	until := func(expression string) {
		t.Helper()
		within, stop := context.WithTimeout(chromium, 10*time.Second)
		defer stop()
		var err error
		for within.Err() == nil { // a page that gives way to another interrupts
			if _, err = chromedp.Run(within, chromedp.Poll[bool](expression)); err == nil {
				return
			}
		}
		t.Errorf("waiting for %s: %v", expression, err)
	}

	show(Confirm{Token: "t", Auto: true})
	posted("/login?action=confirm&token=t")

	show(FormPost{Action: server.URL + "/callback", Params: map[string][]string{"code": {"c"}}})
	posted("/callback?code=c")

	show(Confirm{Token: "t"})
	until("document.readyState === 'complete'")
	select {
	case got := <-posts:
		t.Errorf("posted %s without a click", got)
	default:
	}

	show(Sent{Wait: "w", ResendIn: time.Second, ExpiresIn: time.Minute})
	until("!document.querySelector('[data-form=resend] button').disabled && document.querySelector('[data-until]').hidden")
	until("document.querySelector('[role=status]').textContent === 'You can send another link now.' && !document.querySelector('[data-form=resend] [aria-describedby]')")

	if err := chromedp.Do(chromium, chromedp.SendKeys("#code", "x12-34 56y7")); err != nil {
		t.Fatal(err)
	}
	until("document.querySelector('#code').value === '123456'")
	for _, digits := range []string{"٠٤٢٩١٧", "۰۴۲۹۱۷", "０４２９１７"} { // Arabic, Persian and Japanese keyboards
		if err := chromedp.Do(chromium, chromedp.SetValue("#code", ""), chromedp.SendKeys("#code", digits)); err != nil {
			t.Fatal(err)
		}
		until("document.querySelector('#code').value === '042917'")
	}

	foreign := `{"location":"https://evil.example/"}`
	status.Store(&foreign)
	before := asked.Load()
	for asked.Load() < before+2 {
		until("true")
	}
	done := `{"state":"done","location":"/login?wait=w"}`
	status.Store(&done)
	until("document.body.dataset.page === 'signed-in' && document.body.innerText.includes('wait=w')")

	// That mail is slow, or was turned down, is told once; the one waits until
	// nothing is typed.
	twice := func() {
		t.Helper()
		for before := asked.Load(); asked.Load() < before+2; {
			until("true")
		}
	}
	stays := func(what string) {
		t.Helper()
		if at, err := chromedp.Run(chromium, chromedp.Evaluate[string]("location.pathname")); err != nil || at != "/page" {
			t.Errorf("%s: the page goes on to %s, %v", what, at, err)
		}
	}
	undelivered, delayed := `{"state":"waiting","mail":"undelivered"}`, `{"state":"waiting","mail":"delayed"}`
	status.Store(&undelivered)
	show(Sent{Wait: "w", ExpiresIn: time.Minute, Undelivered: true})
	twice()
	stays("what is shown")
	status.Store(&delayed)
	show(Sent{Wait: "w", ExpiresIn: time.Minute, Delayed: true})
	twice()
	stays("what is shown")
	status.Store(&undelivered)
	until("document.body.innerText.includes('wait=w')")
	status.Store(&waiting)
	show(Sent{Wait: "w", ExpiresIn: time.Minute})
	if err := chromedp.Do(chromium, chromedp.SendKeys("#code", "12")); err != nil {
		t.Fatal(err)
	}
	status.Store(&delayed)
	twice()
	stays("what is typed")
	if err := chromedp.Do(chromium, chromedp.SetValue("#code", "")); err != nil {
		t.Fatal(err)
	}
	until("document.body.innerText.includes('wait=w')")

	// What cannot be undone is not sent without its tick.
	show(Account{State: "delete", Email: ada})
	if err := chromedp.Do(chromium, chromedp.Click("form[data-form=delete] button")); err != nil {
		t.Fatal(err)
	}
	until("document.querySelector('#sure').matches(':invalid')")
	if len(posts) > 0 {
		t.Errorf("sent without a tick: %s", <-posts)
	}
	if err := chromedp.Do(chromium, chromedp.Click("label[for=sure]"), chromedp.Click("form[data-form=delete] button")); err != nil {
		t.Fatal(err)
	}
	posted("/account?action=delete&sure=yes")

	status.Store(&waiting)
	show(Sent{Wait: "over", ExpiresIn: time.Second})
	until("document.body.innerText.includes('wait=over')")

	// A logout goes on when its frames have loaded, and not for ever without.
	asks, release := make(chan string, 10), make(chan struct{})
	party := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asks <- r.URL.RequestURI()
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer party.Close()
	loggedOut := LoggedOut{ContinueURL: server.URL + "/bye", Frames: []string{party.URL + "/1?sid=s", party.URL + "/2"}, Auto: true}
	visit := func() { // its frames keep the page loading: what a navigation waits for
		t.Helper()
		var p Page = loggedOut
		page.Store(&p)
		if _, err := chromedp.Run(chromium, chromedp.Evaluate[bool]("location.href = '/page', true")); err != nil {
			t.Fatal(err)
		}
		until("document.body.dataset.page === 'logged-out'")
		if got := []string{<-asks, <-asks}; slices.Sorted(slices.Values(got))[0] != "/1?sid=s" {
			t.Errorf("frames: %q", got)
		}
	}
	visit()
	until("document.body.innerText.includes('bye')") // after five seconds
	visit()
	until("(() => { for (let id = 0; id < 100; id++) clearTimeout(id); return document.body.dataset.page === 'logged-out' })()") // now by the frames alone
	close(release)
	until("document.body.innerText.includes('bye')")

	// A double click is one request.
	show(Login{Request: "r"})
	script := "const f = document.querySelector('form'); f.email.value = 'a@example.com'; f.requestSubmit(); f.requestSubmit(); true"
	if _, err := chromedp.Run(chromium, chromedp.Evaluate[bool](script)); err != nil && !strings.Contains(err.Error(), "context") {
		t.Fatal(err)
	}
	posted("/login?action=email&email=a%40example.com&request=r")
	until("document.body.dataset.page === 'signed-in'")
	if len(posts) > 0 {
		t.Error("a double click was sent twice")
	}
}

// OIDC Session Management §3.2, in a browser: the frame of one site answers a
// page of another.
func TestCheckSession(t *testing.T) {
	s := site(t)
	mux := http.NewServeMux()
	mux.Handle("GET /static/", s.Static())
	mux.HandleFunc("GET /frame", func(w http.ResponseWriter, r *http.Request) {
		s.Render(w, r, http.StatusOK, CheckSession{Cookie: "state"})
	})
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, r *http.Request) {
		for _, c := range []*http.Cookie{{Name: "xstate", Value: "x"}, {Name: "state", Value: r.FormValue("is"), MaxAge: -len(r.FormValue("gone"))}} {
			c.Path, c.Secure, c.SameSite = "/", true, http.SameSiteNoneMode
			http.SetCookie(w, c)
		}
	})
	provider := httptest.NewTLSServer(mux)
	defer provider.Close()
	party := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!doctype html><iframe src="` + provider.URL + `/frame"></iframe>`))
	}))
	defer party.Close()
	origin := strings.Replace(party.URL, "127.0.0.1", "localhost", 1)
	chromium := withCookies(t, 0)

	state := func(query string) {
		t.Helper()
		if err := chromedp.Do(chromium, chromedp.Navigate(provider.URL+"/state?"+query)); err != nil {
			t.Fatal(err)
		}
	}
	sessionState := func(client, origin, state string) string {
		sum := sha256.Sum256([]byte(client + " " + origin + " " + state + " salt"))
		return client + " " + base64.RawURLEncoding.EncodeToString(sum[:]) + ".salt"
	}
	answers := func(message string) string {
		t.Helper()
		script := `new Promise((answer) => {
			addEventListener("message", (e) => answer(e.origin + " " + e.data), { once: true });
			document.querySelector("iframe").contentWindow.postMessage(` + message + `, "` + provider.URL + `");
		})`
		if err := chromedp.Do(chromium, chromedp.Navigate(origin)); err != nil {
			t.Fatal(err)
		}
		answer, err := chromedp.Run(chromium, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
		if err != nil {
			t.Fatal(err)
		}
		from, said, _ := strings.Cut(answer, " ")
		if from != provider.URL {
			t.Errorf("%s answers", from)
		}
		return said
	}
	quote := func(s string) string { return "\"" + s + "\"" }

	state("is=a_-1")
	for name, tc := range map[string]struct{ message, want string }{
		"the session it knows":                       {quote(sessionState("app", origin, "a_-1")), "unchanged"},
		"RFC 6749 §A.1: a client_id may hold spaces": {quote(sessionState("my app", origin, "a_-1")), "unchanged"},
		"another session":                            {quote(sessionState("app", origin, "b")), "changed"},
		"another client's":                           {quote("other" + strings.TrimPrefix(sessionState("app", origin, "a_-1"), "app")), "changed"},
		"another origin's":                           {quote(sessionState("app", "https://evil.example", "a_-1")), "changed"},
		"of nobody":                                  {quote(sessionState("app", origin, "")), "changed"},
		"no session_state":                           {quote("app"), "error"},
		"no salt":                                    {quote(strings.TrimSuffix(sessionState("app", origin, "a_-1"), ".salt")), "error"},
		"no client_id":                               {quote(" " + strings.TrimPrefix(sessionState("app", origin, "a_-1"), "app ")), "error"},
		"a cut hash":                                 {quote("app abc.salt"), "error"},
		"nothing":                                    {quote(""), "error"},
		"no text":                                    {"[" + quote(sessionState("app", origin, "a_-1")) + "]", "error"},
		"null":                                       {"null", "error"},
	} {
		if have := answers(tc.message); have != tc.want {
			t.Errorf("%s: %q, want %q", name, have, tc.want)
		}
	}
	state("gone=1") // the logout
	if have := answers(quote(sessionState("app", origin, "a_-1"))); have != "changed" {
		t.Errorf("after the logout: %q", have)
	}
	if have := answers(quote(sessionState("app", origin, ""))); have != "changed" {
		t.Errorf("a state of nobody, with nobody there: %q", have)
	}

	chromium = withCookies(t, 1)
	state("is=a_-1")
	if have := answers(quote(sessionState("app", origin, "a_-1"))); have != "error" {
		t.Errorf("where the state cannot be read: %q", have)
	}
}

// withCookies starts a browser that gives cookies to frames of other sites (0)
// or does not (1), as its users choose.
func withCookies(t *testing.T, mode int) context.Context {
	t.Helper()
	profile := t.TempDir()
	if err := os.Mkdir(filepath.Join(profile, "Default"), 0o755); err != nil {
		t.Fatal(err)
	}
	preferences := fmt.Sprintf(`{"profile":{"cookie_controls_mode":%d}}`, mode)
	if err := os.WriteFile(filepath.Join(profile, "Default", "Preferences"), []byte(preferences), 0o600); err != nil {
		t.Fatal(err)
	}
	return browser.Start(t, chromedp.UserDataDir(profile), chromedp.Flag("ignore-certificate-errors", true))
}
