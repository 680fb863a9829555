// Package templates draws every page and writes every mail of the provider.
//
// What it guarantees:
//   - A page is rendered whole before its status is sent: no half pages.
//   - Pages work without JavaScript and carry no inline script, style or event
//     handler. Nothing comes from another origin, save the logo of a client
//     where it introduces itself and the frames that sign out of others; each
//     page is sent with the Content-Security-Policy that allows so much.
//   - Whatever comes from outside (names of clients, addresses, browsers) is
//     escaped for its place, stripped by [SafeName] of what could spoof a
//     reader, and isolated from the direction of the text around it.
//   - Every word stands in messages/LANGUAGE.yaml. A new file there is a new
//     language, its plural rules and direction included; what it leaves out is
//     said in English.
//   - The names in data-page, data-form, data-code and data-error stay.
//   - The same mail renders to the same bytes.
package templates

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"
	texttemplate "text/template"
)

//go:embed pages mails static messages
var files embed.FS

// Branding is how an instance presents itself. The zero value is Sealpost's own.
type Branding struct {
	Name       string // of the instance, in the title of every page and in mails
	Accent     string // "#rgb" or "#rrggbb"
	SupportURL string // http, https or mailto; "" shows no link
	Logo       []byte // PNG, JPEG, GIF, WebP or SVG; nil shows a monogram
	Issuer     string // the host people should see in their address bar; "" takes the request's
}

// Templates holds the parsed pages and mails. It is safe for concurrent use.
type Templates struct {
	brand     Branding
	theme     theme
	languages *languages
	assets    map[string]asset
	pages     map[string]*template.Template
	mailHTML  *template.Template
	mailText  *texttemplate.Template
}

// New parses every page, mail and message; what is wrong with one, or with the
// branding, is told here and not to a visitor.
func New(b Branding) (*Templates, error) { return newFrom(files, b) }

func newFrom(fsys fs.FS, b Branding) (*Templates, error) {
	if b.Name = SafeName(b.Name); b.Name == "" {
		b.Name = "Sealpost"
	}
	if b.SupportURL != "" && !hasScheme(b.SupportURL, "https", "http", "mailto") {
		return nil, fmt.Errorf("branding: support_url %q: want an http, https or mailto address", b.SupportURL)
	}
	t := &Templates{brand: b, pages: map[string]*template.Template{}}
	var err error
	if t.theme, err = newTheme(b.Accent); err != nil {
		return nil, fmt.Errorf("branding: %w", err)
	}
	if t.languages, err = readLanguages(fsys); err != nil {
		return nil, err
	}
	if t.assets, err = readAssets(fsys, t.theme, b.Logo); err != nil {
		return nil, err
	}
	layout, err := template.ParseFS(fsys, "pages/layout.html", "pages/parts.html")
	if err != nil {
		return nil, fmt.Errorf("parse pages: %w", err)
	}
	names, err := fs.Glob(fsys, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse pages: %w", err)
	}
	for _, name := range names {
		page := strings.TrimSuffix(path.Base(name), ".html")
		if page == "layout" || page == "parts" {
			continue
		}
		set, err := layout.Clone()
		if err == nil {
			set, err = set.ParseFS(fsys, name)
		}
		if err != nil {
			return nil, fmt.Errorf("parse page %s: %w", page, err)
		}
		t.pages[page] = set
	}
	if t.mailHTML, err = template.ParseFS(fsys, "mails/login.html"); err != nil {
		return nil, fmt.Errorf("parse mail: %w", err)
	}
	if t.mailText, err = texttemplate.ParseFS(fsys, "mails/login.txt"); err != nil {
		return nil, fmt.Errorf("parse mail: %w", err)
	}
	return t, nil
}

// Render answers r with a page and its status. A page that cannot be rendered
// is a bare 500, and the reason is logged.
func (t *Templates) Render(w http.ResponseWriter, r *http.Request, status int, p Page) {
	var body bytes.Buffer
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if err := t.execute(&body, r, p); err != nil {
		slog.ErrorContext(r.Context(), "render page", "page", p.page(), "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	protect(h, p)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Add("Vary", "Accept-Language")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = body.WriteTo(w) // the visitor has gone: nobody is left to tell
	}
}

func (t *Templates) execute(body *bytes.Buffer, r *http.Request, p Page) error {
	set := t.pages[p.page()]
	if set == nil {
		return fmt.Errorf("no page named %q", p.page())
	}
	return set.ExecuteTemplate(body, "layout.html", view{
		words:  t.languages.get(t.Locale(r)),
		t:      t,
		Page:   p,
		Name:   p.page(),
		host:   t.host(r),
		Typing: r.URL.Query().Has("code"),
	})
}

// host is the name people should find in their address bar.
func (t *Templates) host(r *http.Request) string {
	if u, err := url.Parse(t.brand.Issuer); err == nil && u.Host != "" {
		return u.Host
	}
	return r.Host
}

func hasScheme(address string, schemes ...string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	for _, s := range schemes {
		if u.Scheme == s {
			return true
		}
	}
	return false
}
