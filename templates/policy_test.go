package templates

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// headers are those of a page, sent through a house that set the strict ones.
func headers(s *Templates, p Page) http.Header {
	w := httptest.NewRecorder()
	w.Header().Set("X-Frame-Options", "DENY")
	s.Render(w, httptest.NewRequest(http.MethodGet, "/", nil), http.StatusOK, p)
	return w.Header()
}

func TestThePolicyAllowsWhatThePageHas(t *testing.T) {
	s := site(t)
	logo := strings.Replace(Policy, "img-src 'self' data:", "img-src 'self' data: https://app.example.com", 1)
	want := map[string]string{
		"login": logo, "login-invalid": logo, "login-create": logo, "consent": logo, "consent-resources": logo, "device-ask": logo, "device-ask-plain": logo,
		"logged-out-frames": Policy + "; frame-src https://app.example.com https://wiki.example.com",
	}
	for _, it := range samples(intranet, ada) {
		policy, other := want[it.name]
		if !other {
			policy = Policy
		}
		header := headers(s, it.page)
		if have := header.Get("Content-Security-Policy"); have != policy {
			t.Errorf("%s: %s\nwant %s", it.name, have, policy)
		}
		if header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s may be framed", it.name)
		}
		doc, foreign := render(t, s, it), false
		for _, e := range append(doc.with("src"), doc.tags("link")...) {
			foreign = foreign || !strings.HasPrefix(e.get("src")+e.get("href"), "/static/")
		}
		if foreign != other {
			t.Errorf("%s: loads from elsewhere: %v, want %v", it.name, foreign, other)
		}
	}
}

// Whoever sees a link's token or code sees it alone.
func TestPagesOfALinkLoadNothingFromElsewhere(t *testing.T) {
	s := site(t)
	for _, p := range []Page{
		OtherBrowser{Client: intranet, Token: token}, Code{Client: intranet, Token: token}, Confirm{Client: intranet, Token: token}, SignedIn{Client: intranet},
		Expired{Client: intranet, Token: token}, Used{Client: intranet, Token: token}, Superseded{Client: intranet, Token: token}, Cancelled{Client: intranet, Token: token}, Sent{Client: intranet},
	} {
		if have := headers(s, p).Get("Content-Security-Policy"); have != Policy {
			t.Errorf("%s: %s", p.page(), have)
		}
		for _, e := range render(t, s, sample{p.page(), p, ""}).with("src") {
			if !strings.HasPrefix(e.get("src"), "/static/") {
				t.Errorf("%s loads %s", p.page(), e.get("src"))
			}
		}
	}
}

func TestARegisteredAddressWritesNoPolicy(t *testing.T) {
	s := site(t)
	for address, want := range map[string]string{
		"https://app.example.com/logo.png":             "https://app.example.com",
		"https://App.Example.com:8443/":                "https://app.example.com:8443",
		"http://localhost:8081/logo.png":               "http://localhost:8081",
		"https://user:password@app.example.com/":       "https://app.example.com",
		"https://evil.example;script-src * /x":         "",
		"https://evil.example;script-src/x":            "",
		"https://evil.example,default-src/x":           "",
		"https://*.example.com/":                       "",
		"https://'unsafe-inline'/":                     "",
		"//evil.example/x":                             "",
		"/static/x":                                    "",
		"javascript:alert(1)":                          "",
		"data:image/svg+xml,<svg/>":                    "",
		"":                                             "",
		"https://[2001:db8::1]/":                       "", // host-source has no form for it
		"https://xn--bcher-kva.example/?a;b":           "https://xn--bcher-kva.example",
		"https://b\u00fccher.example/names-its-a-form": "",
	} {
		if have := origin(address); have != want {
			t.Errorf("%q: %q, want %q", address, have, want)
		}
		allowed := Policy
		if want != "" {
			allowed = strings.Replace(Policy, images, images+" "+want, 1)
		}
		page := Login{Client: Client{Name: "A", LogoURI: address}}
		if have := headers(s, page).Get("Content-Security-Policy"); have != allowed {
			t.Errorf("%q: %s", address, have)
		}
		if shown := len(render(t, s, sample{"login", page, ""}).tags("img")) > 0; shown != (want != "") {
			t.Errorf("%q: shown: %v", address, shown)
		}
	}
}

// OIDC Front-Channel Logout §3: every client's address in a frame, in which its
// cookies and scripts work, and which cannot take the page elsewhere.
func TestLoggedOutFramesTheClients(t *testing.T) {
	s := site(t)
	page := LoggedOut{Frames: []string{"https://b.example/out?iss=https%3A%2F%2Flogin.example.com&sid=s", "https://a.example/1", "https://a.example/2", "javascript:alert(1)"}}
	var sources []string
	for _, f := range render(t, s, sample{"logged-out", page, ""}).tags("iframe") {
		sources = append(sources, f.get("src"))
		if sandbox := strings.Fields(f.get("sandbox")); !slices.Contains(sandbox, "allow-scripts") || !slices.Contains(sandbox, "allow-same-origin") || strings.Contains(f.get("sandbox"), "navigation") {
			t.Errorf("sandbox %q", sandbox)
		}
		if f.has("loading") || f.has("hidden") {
			t.Error("a browser may put off loading the frame")
		}
	}
	if !slices.Equal(sources, page.Frames[:3]) {
		t.Errorf("frames %q", sources)
	}
	if have := headers(s, page).Get("Content-Security-Policy"); have != Policy+"; frame-src https://a.example https://b.example" {
		t.Error(have)
	}
}

// OIDC Session Management §3.2: the frame is loaded by pages of any origin.
func TestCheckSessionMayBeFramed(t *testing.T) {
	header := headers(site(t), CheckSession{Cookie: "state"})
	policy := header.Get("Content-Security-Policy")
	if policy != "default-src 'none'; script-src 'self'; base-uri 'none'" || len(header.Values("X-Frame-Options")) > 0 {
		t.Errorf("%q, X-Frame-Options %q", policy, header.Values("X-Frame-Options"))
	}
	doc := render(t, site(t), sample{"check-session", CheckSession{Cookie: `"><b>`}, ""})
	scripts := doc.tags("script")
	if len(scripts) != 1 || scripts[0].get("data-cookie") != `"><b>` || !strings.HasPrefix(scripts[0].get("src"), "/static/check-session.js?v=") {
		t.Error("want one script, told the name of the cookie")
	}
	if doc.tags("body")[0].get("data-page") != "check-session" || len(doc.tags("link", "img", "form", "a", "b")) > 0 {
		t.Error("the frame holds more than the script")
	}
}
