package provider

import (
	"net/url"
	"testing"
)

// OIDC Discovery §2, RFC 7033 §4.
func TestWebFinger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Domains = []string{"Example.com"} })
	for _, tt := range []struct {
		name   string
		query  url.Values
		status int
		links  int
	}{
		{"an address of a domain of ours", url.Values{"resource": {"acct:ada@example.com"}, "rel": {relIssuer}}, 200, 1},
		{"whoever that is", url.Values{"resource": {"acct:nobody@EXAMPLE.com"}}, 200, 1},
		{"the issuer", url.Values{"resource": {issuer}, "rel": {relIssuer}}, 200, 1},
		{"an address at the issuer", url.Values{"resource": {"acct:ada@login.example.com"}}, 200, 1},
		{"RFC 7033 §4.3: one of several relations", url.Values{"resource": {"acct:ada@example.com"}, "rel": {"x", relIssuer}}, 200, 1},
		{"RFC 7033 §4.3: another relation", url.Values{"resource": {"acct:ada@example.com"}, "rel": {"http://webfinger.net/rel/avatar"}}, 200, 0},
		{"RFC 7033 §4.2: no resource", nil, 400, 0},
		{"an empty resource", url.Values{"resource": {""}}, 400, 0},
		{"two resources", url.Values{"resource": {"acct:a@example.com", "acct:b@example.com"}}, 400, 0},
		{"another domain", url.Values{"resource": {"acct:ada@evil.example"}}, 404, 0},
		{"a domain below ours", url.Values{"resource": {"acct:ada@mail.example.com"}}, 404, 0},
		{"two domains", url.Values{"resource": {"acct:ada@evil.example@example.com"}}, 404, 0},
		{"nobody", url.Values{"resource": {"acct:@example.com"}}, 404, 0},
		{"another scheme", url.Values{"resource": {"mailto:ada@example.com"}}, 404, 0},
		{"user information", url.Values{"resource": {"https://ada@example.com/"}}, 404, 0},
	} {
		w.run(tt.name, func(t *testing.T) {
			a := w.document("/.well-known/webfinger?" + tt.query.Encode())
			links, _ := a.json["links"].([]any)
			if a.status != tt.status || len(links) != tt.links {
				t.Fatalf("%s: %s", a, a.body)
			}
			if a.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Error("RFC 7033 §5: no CORS")
			}
			if tt.status == 200 && (a.header.Get("Content-Type") != "application/jrd+json" || a.json["subject"] != tt.query.Get("resource")) {
				t.Errorf("%s %s", a.header.Get("Content-Type"), a.body)
			}
			if tt.links == 1 {
				if link, _ := links[0].(map[string]any); link["rel"] != relIssuer || link["href"] != issuer {
					t.Errorf("link %v", link)
				}
			}
		})
	}
}
