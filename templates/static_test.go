package templates

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
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

// The colours of style.css, light and dark, with what they stand on (WCAG 2.2
// §1.4.3).
func TestTheStyleSheetIsLegible(t *testing.T) {
	sheet, err := files.ReadFile("static/style.css")
	if err != nil {
		t.Fatal(err)
	}
	light := map[string]rgb{}
	for i, block := range regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllSubmatch(sheet, 2) {
		name, all := []string{"light", "dark"}[i], maps.Clone(light)
		for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(string(block[1]), -1) {
			if all[m[1]], err = parseColour(m[2]); err != nil {
				t.Fatal(err)
			}
		}
		for _, pair := range [][2]string{
			{"ink", "surface"}, {"ink", "desk"}, {"ink", "tint"}, {"quiet", "surface"}, {"quiet", "desk"}, {"quiet", "tint"},
			{"bad", "surface"}, {"surface", "bad"}, {"bad", "bad-tint"}, {"ink", "bad-tint"}, {"good", "good-tint"},
		} {
			if have := contrast(all[pair[0]], all[pair[1]]); have < 4.5 {
				t.Errorf("%s: %s on %s has a contrast of %.2f", name, pair[0], pair[1], have)
			}
		}
		if i == 0 {
			light = all
		}
		if len(all) < 10 {
			t.Errorf("%s: %d colours", name, len(all))
		}
	}
}

// An operator hears where another shade stands in for the accent, and only there.
func TestNotesTellOfOtherShades(t *testing.T) {
	for accent, want := range map[string][]string{
		"":        nil,
		"#3355ff": nil,                                       // our own
		"#767676": {"links on a dark page"},                  // 4.54 on white, 3.67 on the dark surface
		"#ffff00": {"links on a light page"},                 // dark text stands on it
		"#000000": {"links on a dark page"},                  //
		"#ff6600": {"links on a light page"},                 // dark text
		"#777777": {"behind the text", "light page", "dark"}, // 4.48 with white, 4.04 with ink
	} {
		s, err := New(Branding{Accent: accent})
		if err != nil {
			t.Fatal(err)
		}
		notes := s.Notes()
		if len(notes) != len(want) {
			t.Errorf("%q: %q, want %q", accent, notes, want)
			continue
		}
		for i, note := range notes {
			if !strings.Contains(note, want[i]) || !strings.Contains(note, accent) || !strings.Contains(note, "WCAG 2.2") {
				t.Errorf("%q: %q, want %q", accent, note, want[i])
			}
		}
	}
	s, err := New(Branding{Accent: "#ffff00"})
	if err != nil || !strings.Contains(s.Notes()[0], s.theme.InkLight) {
		t.Errorf("%v: the shade that is used is not told: %q", err, s.Notes())
	}
}
