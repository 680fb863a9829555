package templates

import (
	"context"
	"net/http"
	"net/http/httptest"
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
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'")
		s.Render(w, r, http.StatusOK, *page.Load())
	})
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		s.Render(w, r, http.StatusOK, SignedIn{Email: r.URL.RawQuery})
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
		if err := chromedp.Do(chromium, chromedp.Navigate(server.URL+"/page")); err != nil {
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

	if err := chromedp.Do(chromium, chromedp.SendKeys("#code", "x12-34 56y7")); err != nil {
		t.Fatal(err)
	}
	until("document.querySelector('#code').value === '123456'")

	foreign := `{"location":"https://evil.example/"}`
	status.Store(&foreign)
	before := asked.Load()
	for asked.Load() < before+2 {
		until("true")
	}
	done := `{"state":"done","location":"/login?wait=w"}`
	status.Store(&done)
	until("document.body.dataset.page === 'signed-in' && document.body.innerText.includes('wait=w')")

	show(Sent{Wait: "over", ExpiresIn: time.Second})
	until("document.body.innerText.includes('wait=over')")

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
