package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// BenchmarkServe is what a request takes inside of the server, with all that
// stands around a handler: headers, limits, the line in the log, the metrics.
func BenchmarkServe(b *testing.B) {
	s := settingsOf(b, "sqlite")
	s.Clients = []Client{{Client: storage.Client{ID: "web", Name: "Web", TokenEndpointAuthMethod: "client_secret_basic", RedirectURIs: []string{callback}}, Secret: secretOfClients}}
	in, err := build(b.Context(), &process{stderr: io.Discard, now: time.Now}, s, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.close() })
	ask := url.Values{
		"client_id": {"web"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid email"}, "state": {"state"}, "nonce": {"nonce"},
	}
	asked := request(in, http.MethodGet, "/authorize?"+ask.Encode(), nil)
	form, cookies := asked.Header().Get("Location"), asked.Result().Cookies()
	if asked.Code != http.StatusSeeOther || len(cookies) == 0 {
		b.Fatalf("%d %s", asked.Code, form)
	}
	for _, path := range []string{"/healthz", "/jwks", "/.well-known/openid-configuration", "/authorize?" + ask.Encode(), strings.TrimPrefix(form, s.Issuer)} {
		name, _, _ := strings.Cut(path, "?")
		b.Run(name[1:], func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, s.Issuer+path, nil)
			r.Header.Set("Accept", "text/html")
			for _, c := range cookies {
				r.AddCookie(c)
			}
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				in.servers[0].Handler.ServeHTTP(w, r.Clone(r.Context()))
				if w.Code >= 400 {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
}
