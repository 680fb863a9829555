package templates

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestStatic(t *testing.T) {
	s := site(t)
	get := func(method, target, etag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, nil)
		if etag != "" {
			r.Header.Set("If-None-Match", etag)
		}
		w := httptest.NewRecorder()
		s.Static().ServeHTTP(w, r)
		return w
	}
	right := s.assets["style.css"].url("style.css")
	etag := get("GET", right, "").Header().Get("ETag")
	for _, tc := range []struct {
		name, method, target, etag string
		status                     int
		caching                    string
	}{
		{"with its hash it may be kept forever", "GET", right, "", http.StatusOK, "public, max-age=31536000, immutable"},
		{"without, it is asked for again", "GET", "/static/style.css", "", http.StatusOK, "no-cache"},
		{"an old hash must not pin new content", "GET", "/static/style.css?v=old", "", http.StatusOK, "no-cache"},
		{"unchanged", "GET", "/static/style.css", etag, http.StatusNotModified, "no-cache"},
		{"HEAD", "HEAD", right, "", http.StatusOK, "public, max-age=31536000, immutable"},
		{"POST", "POST", right, "", http.StatusMethodNotAllowed, ""},
		{"unknown", "GET", "/static/../templates.go", "", http.StatusNotFound, ""},
		{"a directory", "GET", "/static/", "", http.StatusNotFound, ""},
	} {
		w := get(tc.method, tc.target, tc.etag)
		if w.Code != tc.status || w.Header().Get("Cache-Control") != tc.caching {
			t.Errorf("%s: status %d, Cache-Control %q", tc.name, w.Code, w.Header().Get("Cache-Control"))
		}
	}
	for name, mediaType := range map[string]string{
		"style.css": "text/css; charset=utf-8", "theme.css": "text/css; charset=utf-8",
		"sealpost.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
		"check-session.js": "text/javascript; charset=utf-8",
	} {
		w := get("GET", "/static/"+name, "")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != mediaType || w.Body.Len() == 0 {
			t.Errorf("%s: status %d, %q, %d bytes", name, w.Code, w.Header().Get("Content-Type"), w.Body.Len())
		}
	}
}

// WCAG 2.2 §1.4.3 and §1.4.11, whatever colour the operator likes.
func TestThemeIsLegible(t *testing.T) {
	for _, accent := range []string{"", "#3355ff", "#fff", "#000000", "#ffff00", "#777", "#767676", "#ff6600", "#00ffcc", "#1c1e24", "#e91e63"} {
		th, err := newTheme(accent)
		if err != nil {
			t.Fatal(err)
		}
		colour := func(s string) rgb {
			c, err := parseColour(s)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		for name, pair := range map[string]struct {
			a, b rgb
			want float64
		}{
			"text on the accent":       {colour(th.OnAccent), colour(th.Accent), 4.5},
			"accent text, light":       {colour(th.InkLight), lightSurface, 4.5},
			"accent text, dark":        {colour(th.InkDark), darkSurface, 4.5},
			"edge of a button, light":  {colour(th.EdgeLight), lightSurface, 3},
			"edge of a button on dark": {colour(th.EdgeDark), darkSurface, 3},
		} {
			if got := contrast(pair.a, pair.b); got < pair.want {
				t.Errorf("%q: %s has a contrast of %.2f, want %.1f", accent, name, got, pair.want)
			}
		}
	}
}
