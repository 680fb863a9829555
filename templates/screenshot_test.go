//go:build screenshots

package templates

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestScreenshots draws every page and mail, on a phone and a desktop, light
// and dark, into test/screenshots. PAGES=sent,mail draws those whose names
// begin so.
func TestScreenshots(t *testing.T) {
	site, err := New(Branding{Name: "Example", SupportURL: "https://example.com/help", Accent: os.Getenv("ACCENT"), Issuer: "https://login.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]http.HandlerFunc{}
	add := func(suffix string, all []sample) {
		for _, s := range all {
			shown[s.name+suffix] = func(w http.ResponseWriter, r *http.Request) { site.Render(w, r, http.StatusOK, s.page) }
		}
	}
	add("", samples(intranet, ada))
	add("-long", samples(longApp, longMail))
	for name, m := range mails() {
		_, text, html, err := site.LoginMail(m)
		if err != nil {
			t.Fatal(err)
		}
		shown[name] = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(html)) }
		shown[name+"-text"] = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
	}
	mux := http.NewServeMux()
	mux.Handle("/static/", site.Static())
	mux.HandleFunc("/show/{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'")
		if strings.HasPrefix(r.PathValue("name"), "mail") {
			w.Header().Del("Content-Security-Policy")
		}
		shown[r.PathValue("name")](w, r)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }) // stays on the page
	server := httptest.NewServer(mux)
	defer server.Close()

	directory := filepath.Join("..", "test", "screenshots")
	if err := os.MkdirAll(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	browser := chromium(t)

	for name := range shown {
		if !wanted(name) {
			continue
		}
		for size, width := range map[string]int64{"phone": 390, "desktop": 1280, "tiny": 320} {
			height := map[string]int64{"phone": 844, "desktop": 800, "tiny": 568}[size]
			for _, scheme := range []string{"light", "dark"} {
				if size == "tiny" && (scheme == "dark" || !strings.HasSuffix(name, "-long")) {
					continue
				}
				media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
				if _, err := chromedp.Call(browser, emulation.SetEmulatedMedia, media); err != nil {
					t.Fatal(err)
				}
				if err := chromedp.Do(browser, chromedp.EmulateViewport(width, height), chromedp.Navigate(server.URL+"/show/"+name)); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				overflow, err := chromedp.Run(browser, chromedp.Evaluate[bool]("document.documentElement.scrollWidth > innerWidth"))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				picture, err := chromedp.Run(browser, chromedp.FullScreenshot(100))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if overflow {
					t.Errorf("%s is wider than a screen of %d", name, width)
				}
				if err := os.WriteFile(filepath.Join(directory, name+"-"+size+"-"+scheme+".png"), picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// chromium starts a browser for the length of a test.
func chromium(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	browser, stop := chromedp.NewContext(allocator)
	t.Cleanup(stop)
	browser, stop = context.WithTimeout(browser, 5*time.Minute)
	t.Cleanup(stop)
	if err := chromedp.Do(browser); err != nil { // starts it
		t.Fatal(err)
	}
	return browser
}

func wanted(name string) bool {
	list := os.Getenv("PAGES")
	for prefix := range strings.SplitSeq(list, ",") {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
