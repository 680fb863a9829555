package provider

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// routes are all there are, with the methods each answers.
var routes = map[string][]string{
	"/authorize":                        {"GET", "POST"},
	"/authorize/resume":                 {"GET", "POST"},
	"/logout":                           {"GET", "POST"},
	"/par":                              {"POST", "OPTIONS"},
	"/device":                           {"GET", "POST"},
	"/device_authorization":             {"POST"},
	"/check_session":                    {"GET"},
	"/.well-known/webfinger":            {"GET", "OPTIONS"},
	"/token":                            {"POST", "OPTIONS"},
	"/revoke":                           {"POST", "OPTIONS"},
	"/introspect":                       {"POST"},
	"/userinfo":                         {"GET", "POST", "OPTIONS"},
	"/jwks":                             {"GET", "HEAD", "OPTIONS"},
	"/.well-known/openid-configuration": {"GET", "HEAD", "OPTIONS"},
	"/.well-known/oauth-authorization-server": {"GET", "HEAD", "OPTIONS"},
}

// S5, RFC 6749 §3.2: each endpoint answers its own methods and no other.
func TestMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, methods := range routes {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
			r := newRequest(method, path, nil)
			a := w.send(r)
			allowed := slices.Contains(methods, method) || method == "HEAD" && slices.Contains(methods, "GET")
			if (a.status != http.StatusMethodNotAllowed) != allowed {
				t.Errorf("%s", a)
			}
			if allowed {
				continue
			}
			allow := strings.Split(strings.Join(a.header.Values("Allow"), ","), ",")
			for i := range allow {
				allow[i] = strings.TrimSpace(allow[i])
			}
			for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
				if slices.Contains(allow, m) != slices.Contains(methods, m) {
					t.Errorf("RFC 9110 §15.5.6: %s: Allow %q", a, allow)
				}
			}
			if len(a.reads)+len(a.writes) > 0 {
				t.Errorf("%s asked the database", a)
			}
		}
	}
	for _, path := range []string{"/", "/keys", "/oauth/token", "/token/", "/end_session", "/healthz", "/ready"} {
		rec := httptest.NewRecorder()
		if w.handler.ServeHTTP(rec, newRequest("GET", path, nil)); rec.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
}

// S5, RFC 6749 §2.3.1, RFC 9700 §4.3.2: nothing secret in an address.
func TestNothingSecretInTheQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	g := b.offline("web")
	basic := func(path string, form url.Values) *http.Request {
		r := newRequest("POST", path, form)
		r.SetBasicAuth("web", url.QueryEscape(secretOf("web")))
		return r
	}
	for name, r := range map[string]*http.Request{
		"client_secret":    newRequest("POST", "/token?client_secret="+url.QueryEscape(secretOf("web")), params(w.exchange("web", b.code("web"), "client_id", "web")...)),
		"code":             basic("/token?code="+b.code("web"), params(w.exchange("web", "", "code", omit)...)),
		"refresh_token":    basic("/token?refresh_token="+g.refresh, params("grant_type", "refresh_token")),
		"client_assertion": basic("/token?client_assertion=x", params(w.exchange("web", b.code("web"))...)),
		"token":            basic("/introspect?token="+g.access, nil),
		"token to revoke":  basic("/revoke?token="+g.access, nil),
		"malformed":        basic("/token?x=%zz", params(w.exchange("web", b.code("web"))...)),
	} {
		w.run(name, func(t *testing.T) { w.send(r).is(400, "invalid_request") })
	}
	for name, r := range map[string]*http.Request{
		"the whole form of an exchange": basic("/token?"+params(w.exchange("web", "x", "code", omit)...).Encode(), nil),
		"grant_type":                    basic("/token?grant_type=refresh_token", params("refresh_token", g.refresh)),
	} {
		w.run("not read: "+name, func(t *testing.T) { w.send(r).is(400, "invalid_request") })
	}
	w.run("not read: client_id", func(t *testing.T) {
		w.send(newRequest("POST", "/token?client_id=spa", params(w.exchange("spa", b.code("spa"))...))).is(401, "invalid_client")
	})
	w.run("not read: redirect_uri", func(t *testing.T) {
		r := basic("/token?redirect_uri="+url.QueryEscape("https://web.example.com/cb"), params(w.exchange("web", b.code("web"), "redirect_uri", omit)...))
		w.send(r).is(400, "invalid_request")
	})
	w.run("what means nothing does no harm", func(t *testing.T) {
		w.granted(w.send(basic("/token?x=1", params(w.exchange("web", b.code("web"))...))))
	})
	if !w.active(g.access) {
		t.Error("something in a query was obeyed")
	}
}

// RFC 6749 §3.2: no parameter twice.
func TestRepeatedParametersOfClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	code := b.code("web")
	g := b.offline("web")
	for _, tt := range []struct {
		path, name string
		form       []string
	}{
		{"/token", "grant_type", w.exchange("web", code)},
		{"/token", "code", w.exchange("web", code)},
		{"/token", "redirect_uri", w.exchange("web", code)},
		{"/token", "code_verifier", w.exchange("web", code, "code_verifier", verifier)},
		{"/token", "refresh_token", []string{"grant_type", "refresh_token", "refresh_token", g.refresh}},
		{"/token", "scope", []string{"grant_type", "refresh_token", "refresh_token", g.refresh, "scope", "openid"}},
		{"/token", "anything", w.exchange("web", code, "anything", "x")},
		{"/introspect", "token", []string{"token", g.access}},
		{"/revoke", "token", []string{"token", g.access}},
	} {
		w.run(tt.path+" "+tt.name, func(t *testing.T) {
			form := params(append(tt.form, "client_id", "web", "client_secret", secretOf("web"))...)
			form.Add(tt.name, form.Get(tt.name))
			w.send(newRequest("POST", tt.path, form)).is(400, "invalid_request")
		})
	}
	w.run("/token client_id", func(t *testing.T) {
		form := params(w.exchange("web", code, "client_id", "web", "client_secret", secretOf("web"))...)
		form.Add("client_id", "other")
		w.send(newRequest("POST", "/token", form)).is(400, "invalid_request")
	})
	w.run("RFC 8707 §2: resource may be", func(t *testing.T) {
		asked := w.authorization("web")
		asked["resource"] = []string{"https://a.example", "https://b.example"}
		code := b.send(b.request("GET", "/authorize", asked)).code()
		form := params(w.exchange("web", code, "client_id", "web", "client_secret", secretOf("web"))...)
		form["resource"] = []string{"https://a.example", "https://b.example"}
		w.granted(w.send(newRequest("POST", "/token", form)))
	})
	w.granted(w.refresh("web", g.refresh))
}

func TestBodiesOfClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	code := b.code("spa")
	form := params(w.exchange("spa", code, "client_id", "spa")...)
	for name, change := range map[string]func(*http.Request){
		"JSON":          func(r *http.Request) { r.Header.Set("Content-Type", "application/json") },
		"multipart":     func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") },
		"plain text":    func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"no media type": func(r *http.Request) { r.Header.Del("Content-Type") },
		"malformed": func(r *http.Request) {
			*r = *newRequest("POST", "/token", nil)
			r.Body = body(form.Encode() + "&x=%zz")
		},
		"semicolons": func(r *http.Request) { *r = *newRequest("POST", "/token", nil); r.Body = body(form.Encode() + ";x=1") },
		"too long": func(r *http.Request) {
			*r = *newRequest("POST", "/token", nil)
			r.Body = body(form.Encode() + "&x=" + strings.Repeat("x", 64<<10))
		},
	} {
		w.run(name, func(t *testing.T) {
			r := newRequest("POST", "/token", form)
			change(r)
			w.send(r).is(400, "invalid_request")
		})
	}
	w.run("RFC 6749 §B: with a charset", func(t *testing.T) {
		r := newRequest("POST", "/token", form)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
		w.granted(w.send(r))
	})
}

// S4, RFC 9700 §2.6: scripts may call what clients call, never what browsers
// are sent to. Where no CORS is allowed is checked of every answer.
func TestCORS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	for path := range routes {
		preflight := newRequest("OPTIONS", path, nil)
		preflight.Header.Set("Origin", "https://evil.example")
		preflight.Header.Set("Access-Control-Request-Method", "POST")
		preflight.Header.Set("Access-Control-Request-Headers", "authorization")
		a := w.send(preflight)
		if !slices.Contains(corsPaths, path) {
			if a.status != http.StatusMethodNotAllowed {
				t.Errorf("%s", a)
			}
			continue
		}
		if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Origin") != "*" ||
			!strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "POST") || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Authorization") {
			t.Errorf("%s: %v", a, a.header)
		}
	}
	for name, a := range map[string]answer{
		"tokens":          w.redeem("spa", b.code("spa")),
		"a token error":   w.redeem("spa", "garbage"),
		"no client":       w.send(newRequest("POST", "/token", params("grant_type", "refresh_token"))),
		"userinfo":        w.userinfo(b.tokens("spa").access),
		"a userinfo 401":  w.userinfo("garbage"),
		"revocation":      w.api("/revoke", "spa", "token", "x"),
		"discovery":       w.send(newRequest("GET", "/.well-known/openid-configuration", nil)),
		"the key set":     w.send(newRequest("GET", "/jwks", nil)),
		"a bad form":      w.send(newRequest("POST", "/token?code=x", nil)),
		"what isn't sent": w.send(newRequest("GET", "/userinfo", nil)),
	} {
		if a.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate") {
			t.Errorf("%s: %s: %v", name, a, a.header)
		}
	}
}

// S8: what depends on the database refuses without it, and tells nobody why.
// That nothing internal gets out is checked of every answer.
func TestStoreFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.storedClient()
	b := w.signedIn("ada@example.com")
	ask := b.authorize("ask")
	code, wrong := b.code("web"), b.code("web")
	g := b.offline("web")
	for _, tt := range []struct {
		name, method string
		send         func() answer
		page         bool
	}{
		{"the client of a request", "Client", func() answer {
			return b.authorize("stored", "redirect_uri", "https://stored.example.com/cb")
		}, true},
		{"the consent of a request", "Consent", func() answer { return b.authorize("ask") }, true},
		{"the consent of a resumed request", "SaveConsent", func() answer { return b.submit(ask, "consent-allow") }, true},
		{"the client of a logout", "Client", func() answer { return b.logout("client_id", "stored") }, true},
		{"the session of a logout", "EndSession", func() answer { return b.logout("id_token_hint", g.id) }, true},
		{"the client of a token request", "Client", func() answer {
			return w.send(newRequest("POST", "/token", params("grant_type", "refresh_token", "refresh_token", "x", "client_id", "stored")))
		}, false},
		{"a code", "RedeemCode", func() answer { return w.redeem("web", code) }, false},
		{"a code with a wrong verifier", "BurnCode", func() answer { return w.redeem("web", wrong, "code_verifier", verifier) }, false},
		{"a refresh token", "Refresh", func() answer { return w.refresh("web", g.refresh) }, false},
		{"a refresh token with scope", "Grant", func() answer { return w.refresh("web", g.refresh, "scope", "openid") }, false},
		{"userinfo", "Grant", func() answer { return w.userinfo(g.access) }, false},
		{"introspection", "Grant", func() answer { return w.introspect("web", g.access) }, false},
		{"introspection of a refresh token", "Grant", func() answer { return w.introspect("web", g.refresh) }, false},
		{"revocation", "RevokeGrant", func() answer { return w.api("/revoke", "web", "token", g.access) }, false},
		{"revocation of a refresh token", "Grant", func() answer { return w.api("/revoke", "web", "token", g.refresh) }, false},
	} {
		for _, method := range []string{tt.method, "*"} {
			w.run(tt.name+", "+method, func(t *testing.T) {
				w.store.failBefore(method, errBroken)
				defer w.store.heal()
				a := tt.send()
				if tt.page {
					a.isPage(503, "error", "temporarily_unavailable")
				} else {
					a.is(503, "temporarily_unavailable")
				}
				if a.header.Get("Retry-After") != "5" {
					t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
				}
			})
		}
	}
	if !strings.Contains(w.logged.String(), broken) {
		t.Error("the log does not tell what failed")
	}
	// Nothing was lost by it.
	w.granted(w.refresh("web", g.refresh))
	w.granted(w.redeem("web", code))
	b.submit(ask, "consent-allow").code()

	w.sessionError = errBroken
	stranger := w.browser()
	for name, send := range map[string]func() answer{
		"authorize": func() answer { return b.authorize("web") },
		"resume":    func() answer { return b.resume(ask.forms["consent-allow"].fields.Get("request")) },
		"consent":   func() answer { return b.submit(ask, "consent-allow") },
		"logout":    func() answer { return b.logout("id_token_hint", g.id) },
		"POST":      func() answer { return stranger.crossSite("/authorize", w.authorization("web")) },
	} {
		w.run("the session: "+name, func(t *testing.T) { send().isPage(503, "error", "temporarily_unavailable") })
	}
	w.run("RFC 6749 §4.1.2.1: prompt=none shows no page", func(t *testing.T) {
		b.authorize("web", "prompt", "none").isError("temporarily_unavailable")
	})
}

// A key that is not there is our fault, and is said in fixed words.
func TestTokenThatCannotBeSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	c := w.client("web")
	c.IDTokenSigningAlg = "PS512"
	w.provider.clients.fixed["web"] = c
	w.redeem("web", b.code("web")).is(500, "server_error")
}
