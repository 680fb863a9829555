//go:build screenshots

package templates

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/sealpost/sealpost/test/browser"
)

// TestScreenshots draws every page and mail in every language, on a phone and a
// desktop, light, dark and in colours that somebody has forced on it, into
// test/screenshots/LANGUAGE. PAGES=sent,mail draws those whose names begin so,
// LANGS=de,ar those languages.
func TestScreenshots(t *testing.T) {
	for _, lang := range Languages() {
		if list := os.Getenv("LANGS"); list == "" || slices.Contains(strings.Split(list, ","), lang) {
			t.Run(lang, func(t *testing.T) { screenshots(t, lang) })
		}
	}
}

func screenshots(t *testing.T, lang string) {
	site, err := New(Branding{Name: "Example", SupportURL: "https://example.com/help", Accent: os.Getenv("ACCENT"), Issuer: "https://login.example.com", Language: lang})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	withLogo := intranet
	withLogo.LogoURI = server.URL + "/logo.svg" // longApp's is broken
	shown := map[string]http.HandlerFunc{}
	add := func(suffix string, all []sample) {
		for _, s := range all {
			shown[s.name+suffix] = func(w http.ResponseWriter, r *http.Request) { site.Render(w, r, http.StatusOK, s.page) }
		}
	}
	add("", samples(withLogo, ada))
	add("-long", samples(longApp, longMail))
	for name, m := range mails() {
		m.Locale = lang
		_, text, html, err := site.LoginMail(m)
		if err != nil {
			t.Fatal(err)
		}
		shown[name] = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(html)) }
		shown[name+"-text"] = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte(text))
		}
	}
	mux.Handle("/static/", site.Static())
	mux.HandleFunc("/logo.svg", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/svg+xml")
		_, _ = w.Write([]byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle cx="5" cy="5" r="4" fill="#0a7d5a"/><path d="M3 6.5 5 3l2 3.5z" fill="#fff"/></svg>`))
	})
	mux.HandleFunc("/show/{name}", func(w http.ResponseWriter, r *http.Request) {
		name, page := r.PathValue("name"), httptest.NewRecorder()
		r.Header.Set("Accept-Language", lang)
		shown[name](page, r)
		maps.Copy(w.Header(), page.Header())
		if strings.HasPrefix(name, "form-post") || strings.HasPrefix(name, "logged-out-frames") { // they would go on
			w.Header().Add("Content-Security-Policy", "script-src 'none'")
		}
		_, _ = page.Body.WriteTo(w)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }) // stays on the page

	directory := filepath.Join(browser.Screenshots(t), lang)
	if err := os.MkdirAll(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	for size, screen := range map[string][2]int64{"phone": {390, 844}, "desktop": {1280, 800}, "tiny": {320, 568}} {
		t.Run(size, func(t *testing.T) {
			chromium := browser.Start(t)
			for name := range shown {
				if !wanted(name) || size == "tiny" && !strings.HasSuffix(name, "-long") {
					continue
				}
				for _, scheme := range map[string][]string{"phone": {"light", "dark"}, "desktop": {"light", "dark", "forced"}, "tiny": {"light"}}[size] {
					media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
					if scheme == "forced" {
						media.Features = []*emulation.MediaFeature{{Name: "forced-colors", Value: "active"}}
					}
					if _, err := chromedp.Call(chromium, emulation.SetEmulatedMedia, media); err != nil {
						t.Fatal(err)
					}
					picture, err := draw(chromium, server.URL+"/show/"+name, screen[0], screen[1])
					switch {
					case picture == nil:
						t.Fatalf("%s: %v", name, err)
					case err != nil:
						t.Errorf("%s: %v", name, err)
					}
					if err := os.WriteFile(filepath.Join(directory, name+"-"+size+"-"+scheme+".png"), picture, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// draw is a picture of a whole page, which is to be no wider than the screen.
func draw(chromium context.Context, address string, width, height int64) ([]byte, error) {
	if err := chromedp.Do(chromium, chromedp.EmulateViewport(width, height), chromedp.Navigate(address)); err != nil {
		return nil, err
	}
	full, err := chromedp.Run(chromium, chromedp.Evaluate[[]int64]("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"))
	if err != nil {
		return nil, err
	}
	// A screen as high as the page: what Chromium draws beyond the screen is out
	// of place where it runs from right to left.
	if err := chromedp.Do(chromium, chromedp.EmulateViewport(width, max(height, full[1]))); err != nil {
		return nil, err
	}
	picture, err := chromedp.Run(chromium, chromedp.CaptureScreenshot())
	if err == nil && full[0] > width {
		err = fmt.Errorf("it is %d wide, on a screen of %d", full[0], width)
	}
	return picture, err
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
