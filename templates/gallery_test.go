package templates

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// gallery serves every sample to a browser, as it is served to people, at
// /show/LANGUAGE/NAME: with its headers, style sheet and script.
type gallery struct {
	url   string
	pages map[string]sample
	mails map[string]LoginMail
	posts chan string // the paths that forms were sent to
}

// hang opens a gallery of the samples of one app and address, with what of
// other origins they show.
func hang(t *testing.T, b Branding, client Client, email string) *gallery {
	t.Helper()
	s, err := New(b)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	g := &gallery{url: server.URL, pages: map[string]sample{}, mails: mails(), posts: make(chan string, 100)}
	if client.LogoURI == intranet.LogoURI {
		client.LogoURI = server.URL + "/logo.svg"
	}
	for _, it := range samples(client, email) {
		switch p := it.page.(type) {
		case LoggedOut:
			for i := range p.Frames {
				p.Frames[i] = fmt.Sprint(server.URL, "/frame/", i)
			}
		case FormPost:
			p.Action = "/callback"
			it.page = p
		}
		g.pages[it.name] = it
	}
	mux.Handle("GET /static/", s.Static())
	mux.HandleFunc("GET /logo.svg", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/svg+xml")
		_, _ = w.Write([]byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle cx="5" cy="5" r="4" fill="#0a7d5a"/><path d="M3 6.5 5 3l2 3.5z" fill="#fff"/></svg>`))
	})
	mux.HandleFunc("GET /frame/", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /login/status", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		select {
		case g.posts <- r.URL.Path:
		default: // nobody asks
		}
		w.WriteHeader(http.StatusNoContent) // stays on the page
	})
	mux.HandleFunc("GET /show/{lang}/{name}", func(w http.ResponseWriter, r *http.Request) {
		lang, name := r.PathValue("lang"), r.PathValue("name")
		if m, ok := g.mails[name]; ok {
			m.Locale = lang
			_, _, html, err := s.LoginMail(m)
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write([]byte(html))
			return
		}
		it, ok := g.pages[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		path := it.path
		if path == "" {
			path = "/login"
		}
		asks := httptest.NewRequest(http.MethodGet, path, nil)
		asks.Header.Set("Accept-Language", lang)
		page := httptest.NewRecorder()
		s.Render(page, asks, http.StatusOK, it.page)
		maps.Copy(w.Header(), page.Header())
		if moves(it.page) { // what goes on by itself is not there to be looked at
			w.Header().Add("Content-Security-Policy", "script-src 'none'")
		}
		_, _ = page.Body.WriteTo(w)
	})
	return g
}

// names are those of the pages and, in the end, of the mails.
func (g *gallery) names() []string {
	return append(slices.Sorted(maps.Keys(g.pages)), slices.Sorted(maps.Keys(g.mails))...)
}

func (g *gallery) address(lang, name string) string { return g.url + "/show/" + lang + "/" + name }
