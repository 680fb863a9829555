package provider

import (
	"net/http/httptest"
	"testing"
)

// Ratios are what these are for: see all of them in one run.

func (w *world) answers(b *testing.B, status int, next func() *answer) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if a := next(); a.status != status {
			b.Fatalf("%s", a)
		}
	}
}

// bare has the handler answer without any of the checks.
func (w *world) bare(method, path string, pairs ...string) *answer {
	r := newRequest(method, path, params(pairs...))
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return &answer{request: r, status: rec.Code, header: rec.Header(), body: rec.Body.String()}
}

func BenchmarkAuthorizeToForm(b *testing.B) {
	w := newWorld(b)
	r := w.browser().request("GET", "/authorize", w.authorization("web"))
	b.ReportAllocs()
	for b.Loop() {
		rec := httptest.NewRecorder()
		if w.handler.ServeHTTP(rec, r); rec.Code != 303 {
			b.Fatalf("status %d", rec.Code)
		}
	}
}

func BenchmarkCodeExchange(b *testing.B) {
	for _, client := range []string{"web", "es"} { // RS256, ES256
		b.Run(client, func(b *testing.B) {
			w := newWorld(b)
			login := w.signedIn("ada@example.com").login()
			q := request{ClientID: client, RedirectURI: w.client(client).RedirectURIs[0], Scopes: []string{"openid", "email"}}
			w.answers(b, 200, func() *answer {
				code, err := w.provider.newCode(q, login)
				if err != nil {
					b.Fatal(err)
				}
				return w.bare("POST", "/token", w.exchange(client, code, "client_id", client, "client_secret", secretOf(client))...)
			})
		})
	}
}

func BenchmarkUserinfo(b *testing.B) {
	w := newWorld(b)
	token := w.signedIn("ada@example.com").tokens("web").access
	w.answers(b, 200, func() *answer { return w.bare("POST", "/userinfo", "access_token", token) })
}

func BenchmarkDiscovery(b *testing.B) {
	w := newWorld(b)
	w.answers(b, 200, func() *answer { return w.bare("GET", "/.well-known/openid-configuration") })
}
