package templates

import (
	"net/http/httptest"
	"testing"
)

// BenchmarkRender draws each page as a browser gets it.
func BenchmarkRender(b *testing.B) {
	t, err := New(Branding{Name: "Example", Issuer: "https://login.example.com"})
	if err != nil {
		b.Fatal(err)
	}
	client := Client{Name: "Grafana"}
	for _, p := range []Page{
		Login{Client: client, Request: "handle"}, Sent{Client: client, Wait: "wait", Email: "ada@example.com"},
		Confirm{Client: client, Token: "token", Email: "ada@example.com", Auto: true},
	} {
		b.Run(p.page(), func(b *testing.B) {
			r := httptest.NewRequest("GET", "https://login.example.com/login?request=handle", nil)
			b.ReportAllocs()
			for b.Loop() {
				t.Render(httptest.NewRecorder(), r, 200, p)
			}
		})
	}
}
