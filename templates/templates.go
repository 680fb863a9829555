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
//     language, its plural rules and direction included. It says and fills in
//     what English does: no page mixes two languages.
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
	Language   string // of who wants none of the others: one of [Languages]; "" is "en"

	// Dir holds pages, mails, messages and a style sheet that take the place of
	// the built-in ones; "" is none. See docs/branding.md.
	Dir string
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
	memo      *memo // of pages
	mails     *memo
}

// New parses every page, mail and message; what is wrong with one, or with the
// branding, is told here and not to a visitor. A page of [Branding.Dir] is
// drawn in every state it has, and must have kept the hooks of the built-in one.
func New(b Branding) (*Templates, error) {
	if b.Name = SafeName(b.Name); b.Name == "" {
		b.Name = "Sealpost"
	}
	if b.SupportURL != "" && !hasScheme(b.SupportURL, "https", "http", "mailto") {
		return nil, fmt.Errorf("branding: support_url %q: want an http, https or mailto address", b.SupportURL)
	}
	if b.Language == "" {
		b.Language = "en"
	}
	t := &Templates{brand: b}
	var err error
	if t.theme, err = newTheme(b.Accent); err != nil {
		return nil, fmt.Errorf("branding: %w", err)
	}
	own := &overrides{}
	if b.Dir != "" {
		if own, err = readOverrides(b.Dir); err != nil {
			return nil, err
		}
	}
	every, err := own.words()
	if err != nil {
		return nil, err
	}
	files := own.files()
	if t.languages, err = newLanguages(every, b.Language); err != nil {
		return nil, err
	}
	if t.assets, err = readAssets(files, t.theme, b.Logo); err != nil {
		return nil, err
	}
	if err := t.parse(files); err != nil {
		return nil, own.locate(err)
	}
	if b.Dir == "" {
		t.memo, t.mails = newMemo(), newMemo()
	} else {
		plain := b
		plain.Dir = ""
		built, err := New(plain)
		if err != nil {
			return nil, err
		}
		if err := own.compare(t, built); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Templates) parse(files fs.FS) (err error) {
	if t.pages, err = readPages(files); err != nil {
		return fmt.Errorf("parse pages: %w", err)
	}
	if t.mailHTML, err = template.ParseFS(files, "mails/login.html"); err != nil {
		return fmt.Errorf("parse mail: %w", err)
	}
	if t.mailText, err = texttemplate.ParseFS(files, "mails/login.txt"); err != nil {
		return fmt.Errorf("parse mail: %w", err)
	}
	return nil
}

func readPages(files fs.FS) (map[string]*template.Template, error) {
	layout, err := template.ParseFS(files, "pages/layout.html", "pages/parts.html")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, "pages/*.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, name := range names {
		page := strings.TrimSuffix(path.Base(name), ".html")
		if page == "layout" || page == "parts" {
			continue
		}
		set, err := layout.Clone()
		if err == nil {
			set, err = set.ParseFS(files, name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", page, err)
		}
		pages[page] = set
	}
	return pages, nil
}

// Render answers r with a page and its status. A page that cannot be rendered
// is a bare 500, and the reason is logged.
func (t *Templates) Render(w http.ResponseWriter, r *http.Request, status int, p Page) {
	var body bytes.Buffer
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	words := t.languages.get(t.Locale(r))
	if err := t.memo.draw(&body, r, words, p, t.execute); err != nil {
		slog.ErrorContext(r.Context(), "render page", "page", p.page(), "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	protect(h, p)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", words.Lang)
	h.Add("Vary", "Accept-Language, Cookie")
	t.remember(w, r)
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = body.WriteTo(w) // the visitor has gone: nobody is left to tell
	}
}

func (t *Templates) execute(body *bytes.Buffer, r *http.Request, words words, p Page) error {
	set := t.pages[p.page()]
	if set == nil {
		return fmt.Errorf("no page named %q", p.page())
	}
	return set.ExecuteTemplate(body, "layout.html", view{
		words:   words,
		t:       t,
		request: r,
		Page:    p,
		Name:    p.page(),
		Typing:  r.URL.Query().Has("code"),
	})
}

// Host is the name people should find in their address bar.
func (v view) Host() string {
	if u, err := url.Parse(v.t.brand.Issuer); err == nil && u.Host != "" {
		return u.Host
	}
	return v.request.Host
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
