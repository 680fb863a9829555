package provider

import (
	"net/url"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/storage"
)

func TestMatchRedirectURI(t *testing.T) {
	web := storage.Client{ApplicationType: "web", RedirectURIs: []string{"https://app.example.com/cb", "https://app.example.com/q?a=1&b=2", "http://localhost:8080/cb"}}
	native := storage.Client{ApplicationType: "native", RedirectURIs: []string{
		"http://127.0.0.1/cb", "http://[::1]:7777/cb?x=1", "http://localhost", "com.example.app:/cb", "https://app.example.com/cb",
	}}
	for _, tt := range []struct {
		name   string
		client storage.Client
		uri    string
		want   bool
	}{
		{"RFC 9700 §2.1: exact", web, "https://app.example.com/cb", true},
		{"exact with query", web, "https://app.example.com/q?a=1&b=2", true},
		{"exact with port", web, "http://localhost:8080/cb", true},
		{"empty", web, "", false},
		{"path below", web, "https://app.example.com/cb/x", false},
		{"path above", web, "https://app.example.com/", false},
		{"slash behind", web, "https://app.example.com/cb/", false},
		{"path traversal", web, "https://app.example.com/cb/../evil", false},
		{"encoded path traversal", web, "https://app.example.com/cb%2f..%2fevil", false},
		{"query added", web, "https://app.example.com/cb?foo=bar", false},
		{"empty query added", web, "https://app.example.com/cb?", false},
		{"query in another order", web, "https://app.example.com/q?b=2&a=1", false},
		{"query missing", web, "https://app.example.com/q", false},
		{"fragment added", web, "https://app.example.com/cb#f", false},
		{"empty fragment added", web, "https://app.example.com/cb#", false},
		{"case of scheme", web, "HTTPS://app.example.com/cb", false},
		{"case of host", web, "https://APP.example.com/cb", false},
		{"case of path", web, "https://app.example.com/CB", false},
		{"default port named", web, "https://app.example.com:443/cb", false},
		{"another port, web client", web, "http://localhost:8081/cb", false},
		{"port left out, web client", web, "http://localhost/cb", false},
		{"other scheme", web, "http://app.example.com/cb", false},
		{"subdomain", web, "https://evil.app.example.com/cb", false},
		{"suffix of host", web, "https://app.example.com.evil.example/cb", false},
		{"userinfo before host", web, "https://app.example.com@evil.example/cb", false},
		{"userinfo", web, "https://u:p@app.example.com/cb", false},
		{"backslash before path", web, "https://app.example.com\\/cb", false},
		{"backslash and host", web, "https://evil.example\\@app.example.com/cb", false},
		{"space before", web, " https://app.example.com/cb", false},
		{"space behind", web, "https://app.example.com/cb ", false},
		{"line feed behind", web, "https://app.example.com/cb\n", false},
		{"NUL behind", web, "https://app.example.com/cb\x00", false},
		{"percent-encoded host", web, "https://app%2eexample.com/cb", false},
		{"trailing dot of host", web, "https://app.example.com./cb", false},
		{"relative", web, "/cb", false},
		{"without scheme", web, "//app.example.com/cb", false},
		{"javascript", web, "javascript:alert(1)", false},
		{"data", web, "data:text/html,x", false},
		{"wildcard", web, "https://*.example.com/cb", false},

		{"RFC 8252 §7.3: as registered", native, "http://127.0.0.1/cb", true},
		{"RFC 8252 §7.3: any port", native, "http://127.0.0.1:51234/cb", true},
		{"RFC 8252 §7.3: any port of IPv6", native, "http://[::1]:1/cb?x=1", true},
		{"RFC 8252 §7.3: no port of IPv6", native, "http://[::1]/cb?x=1", true},
		{"RFC 8252 §7.3: localhost, no path", native, "http://localhost:9", true},
		{"RFC 8252 §7.1: scheme of its own", native, "com.example.app:/cb", true},
		{"https of a native client has no free port", native, "https://app.example.com:444/cb", false},
		{"loopback path below", native, "http://127.0.0.1:51234/cb/x", false},
		{"loopback path differs in case", native, "http://127.0.0.1:51234/CB", false},
		{"loopback without the path", native, "http://127.0.0.1:51234", false},
		{"loopback with query", native, "http://127.0.0.1:51234/cb?x=1", false},
		{"loopback with fragment", native, "http://127.0.0.1:51234/cb#f", false},
		{"loopback with userinfo", native, "http://u@127.0.0.1:51234/cb", false},
		{"loopback as userinfo", native, "http://127.0.0.1:51234@evil.example/cb", false},
		{"loopback as userinfo with a slash in the password", native, "http://127.0.0.1:5/cb@evil.example/cb", false},
		{"loopback with backslash", native, "http://127.0.0.1:51234\\@evil.example/cb", false},
		{"loopback as the name of a subdomain", native, "http://127.0.0.1.evil.example/cb", false},
		{"localhost as a subdomain", native, "http://localhost.evil.example", false},
		{"localhost for 127.0.0.1", native, "http://localhost:1/cb", false},
		{"127.0.0.2 for 127.0.0.1", native, "http://127.0.0.2:1/cb", false},
		{"127.1 for 127.0.0.1", native, "http://127.1:1/cb", false},
		{"0x7f000001 for 127.0.0.1", native, "http://0x7f000001:1/cb", false},
		{"mapped IPv6 for 127.0.0.1", native, "http://[::ffff:127.0.0.1]:1/cb", false},
		{"loopback over https", native, "https://127.0.0.1:51234/cb", false},
		{"case of the loopback scheme", native, "HTTP://127.0.0.1:51234/cb", false},
		{"case of localhost", native, "http://LOCALHOST:9", false},
		{"port without number", native, "http://127.0.0.1:/cb", false},
		{"port of letters", native, "http://127.0.0.1:80a/cb", false},
		{"port with sign", native, "http://127.0.0.1:+80/cb", false},
		{"port too long", native, "http://127.0.0.1:123456/cb", false},
		{"port twice", native, "http://127.0.0.1:1:2/cb", false},
		{"tab in the authority", native, "http://127.0.0.1\t.evil.example/cb", false},
		{"line feed in the port", native, "http://127.0.0.1:8\n0/cb", false},
		{"question mark ends the host", native, "http://127.0.0.1:1?.evil.example/cb", false},
		{"scheme of another app", native, "com.example.app2:/cb", false},
		{"scheme with an authority added", native, "com.example.app://evil/cb", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := matchRedirectURI(tt.client, tt.uri); got != tt.want {
				t.Errorf("matchRedirectURI(%q) = %v", tt.uri, got)
			}
		})
	}
}

func TestWithParams(t *testing.T) {
	for _, tt := range []struct{ name, uri, want string }{
		{"no query", "https://a.example/cb", "https://a.example/cb?code=c+%2B"},
		{"RFC 6749 §3.1.2: the query is kept", "https://a.example/cb?x=%2F&y", "https://a.example/cb?x=%2F&y&code=c+%2B"},
		{"an empty query", "https://a.example/cb?", "https://a.example/cb?code=c+%2B"},
		{"an ampersand behind", "https://a.example/cb?x=1&", "https://a.example/cb?x=1&code=c+%2B"},
		{"a scheme of its own", "com.example.app:/cb", "com.example.app:/cb?code=c+%2B"},
	} {
		if got := withParams(tt.uri, url.Values{"code": {"c +"}}); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := withParams("https://a.example/cb", nil); got != "https://a.example/cb" {
		t.Errorf("nothing added: %q", got)
	}
}

// An accepted URI is a registered one, to the letter, up to the port of a
// native client's loopback.
func FuzzMatchRedirectURI(f *testing.F) {
	registered := []string{"http://127.0.0.1/cb", "http://[::1]:80/cb?x=1", "http://localhost", "https://app.example.com/cb", "com.example.app:/cb"}
	for _, uri := range append(registered, "http://127.0.0.1:1/cb", "http://localhost:65535", "http://[::1]:9/cb?x=1", "http://u@127.0.0.1/cb",
		"http://127.0.0.1:80\\@evil.example/cb", "http://127.0.0.1:1/cb#f", "http://127.0.0.1?/cb", "HTTP://127.0.0.1/cb", "http://127.0.0.1:1:2/cb") {
		f.Add(uri, true)
		f.Add(uri, false)
	}
	f.Fuzz(func(t *testing.T, uri string, native bool) {
		c := storage.Client{ApplicationType: "web", RedirectURIs: registered}
		if native {
			c.ApplicationType = "native"
		}
		if !matchRedirectURI(c, uri) {
			return
		}
		for _, r := range registered {
			if uri == r {
				return
			}
		}
		if !native {
			t.Fatalf("%q is not registered", uri)
		}
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatalf("%q is no URI: %v", uri, err)
		}
		if strings.Trim(u.Port(), "0123456789") != "" {
			t.Errorf("%q: port %q", uri, u.Port())
		}
		for _, r := range registered {
			want, err := url.Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			loopback := want.Scheme == "http"
			u.Host, want.Host = strings.TrimSuffix(u.Host, ":"+u.Port()), strings.TrimSuffix(want.Host, ":"+want.Port())
			if loopback && u.String() == want.String() {
				return
			}
		}
		t.Errorf("%q matches nothing that is registered", uri)
	})
}
