package templates

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// asset is a file ready to be served.
type asset struct {
	body      []byte
	mediaType string
	hash      string
}

// url is the address of the asset; new content is a new address.
func (a asset) url(name string) string { return "/static/" + name + "?v=" + a.hash }

func readAssets(fsys fs.FS, th theme, logo []byte) (map[string]asset, error) {
	assets := map[string]asset{}
	add := func(name, mediaType string, body []byte) {
		sum := sha256.Sum256(body)
		assets[name] = asset{body, mediaType, base64.RawURLEncoding.EncodeToString(sum[:9])}
	}
	for name, mediaType := range map[string]string{
		"style.css":        "text/css; charset=utf-8",
		"sealpost.js":      "text/javascript; charset=utf-8",
		"check-session.js": "text/javascript; charset=utf-8",
		"icon.svg":         "image/svg+xml",
	} {
		body, err := fs.ReadFile(fsys, path.Join("static", name))
		if err != nil {
			return nil, fmt.Errorf("read static files: %w", err)
		}
		if name == "icon.svg" {
			body = bytes.ReplaceAll(body, []byte("ACCENT"), []byte(th.Accent))
			body = bytes.ReplaceAll(body, []byte("PAPER"), []byte(th.OnAccent))
		}
		add(name, mediaType, body)
	}
	add("theme.css", "text/css; charset=utf-8", th.css())
	if len(logo) > 0 {
		mediaType := imageType(logo)
		if mediaType == "" {
			return nil, fmt.Errorf("branding: logo: want a PNG, JPEG, GIF, WebP or SVG image")
		}
		add("logo", mediaType, logo)
	}
	return assets, nil
}

func imageType(image []byte) string {
	head := image[:min(len(image), 512)]
	if mediaType := http.DetectContentType(head); strings.HasPrefix(mediaType, "image/") {
		return mediaType
	}
	if bytes.Contains(head, []byte("<svg")) {
		return "image/svg+xml"
	}
	return ""
}

// Static serves /static/…: the style sheet, the theme, the scripts and the
// images. An address with the right hash may be kept forever.
func (t *Templates) Static() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		a, ok := t.assets[strings.TrimPrefix(r.URL.Path, "/static/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", a.mediaType)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("ETag", `"`+a.hash+`"`)
		h.Set("Cache-Control", "no-cache")
		if r.URL.Query().Get("v") == a.hash {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		if a.mediaType == "image/svg+xml" { // opened by itself, an image is a document
			h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
	})
}
