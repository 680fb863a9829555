package provider

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

func TestAuthorizeToLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	a := b.authorize("web")
	handle := a.handle()
	if len(a.reads)+len(a.writes) > 0 {
		t.Errorf("a request of a client in the settings asked the database: %v %v", a.reads, a.writes)
	}
	for _, secret := range []string{"web", "the state", "the nonce"} {
		if strings.Contains(handle, secret) || strings.Contains(string(unbase64(w, handle)), secret) {
			t.Errorf("the handle shows %q", secret)
		}
	}
	if b.cookies[browserCookie] == "" {
		t.Fatal("the browser got no cookie")
	}
	before := b.cookies[browserCookie]
	if again := b.handle("web"); again == handle {
		t.Error("two requests have the same handle")
	}
	if b.cookies[browserCookie] != before {
		t.Error("a second request changed the browser's cookie")
	}

	// OIDC Core §3.1.2.1: GET and POST. A browser that is known posts from our
	// own pages; from elsewhere see TestPostFromAnotherSite.
	if a = b.post("/authorize", b.authorization("web")); a.header.Get("Location") != "" && !strings.HasPrefix(a.header.Get("Location"), "/login?") {
		a = b.follow(a)
	}
	a.handle()

	b.signIn("ada@example.com")
	uri, got := b.resume(handle).callback()
	if uri != "https://web.example.com/cb" || got.Get("state") != "the state" || got.Get("iss") != issuer || got.Get("code") == "" || got.Get("session_state") == "" || len(got) != 4 {
		t.Errorf("answered %s with %v", uri, got)
	}
	a = b.post("/authorize", b.authorization("web"))
	a.code()
	if len(a.reads)+len(a.writes) > 0 {
		t.Errorf("a silent login asked the provider's store: %v %v", a.reads, a.writes)
	}
}

func TestHeadAuthorizeChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	a := b.send(b.request("HEAD", "/authorize", b.authorization("web")))
	if a.status != http.StatusSeeOther || len(a.writes) > 0 {
		t.Errorf("%s: %v", a, a.writes)
	}
	uri := w.pushed("web")
	for _, query := range []url.Values{params("client_id", "web", "request_uri", uri), b.authorization("front", "response_type", "code id_token")} {
		if a := b.send(b.request("HEAD", "/authorize", query)); a.status != http.StatusOK || len(a.writes) > 0 || a.header.Get("Location") != "" {
			t.Errorf("%s: %v", a, a.writes)
		}
	}
	b.get("/authorize", "client_id", "web", "request_uri", uri).code()
}

// RFC 9700 §4.11: until client and redirect URI are proven, an error is a page.
func TestErrorsBeforeTheRedirectURIIsProven(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	good := w.authorization("web").Encode()
	for _, tt := range []struct {
		name   string
		query  string
		status int
		fault  string
	}{
		{"no parameters", "", 400, "invalid_request"},
		{"RFC 6749 §4.1.2.1: client_id missing", w.authorization("web", "client_id", omit).Encode(), 400, "invalid_request"},
		{"client_id empty", w.authorization("web", "client_id", "").Encode(), 400, "invalid_request"},
		{"RFC 6749 §4.1.2.1: client unknown", w.authorization("web", "client_id", "nobody").Encode(), 400, "invalid_client"},
		{"client_id differs in case", w.authorization("web", "client_id", "WEB").Encode(), 400, "invalid_client"},
		{"client_id of 3 kB", w.authorization("web", "client_id", strings.Repeat("x", 3000)).Encode(), 400, "invalid_client"},
		{"RFC 6749 §A.1: NUL in client_id", w.authorization("web", "client_id", "web\x00").Encode(), 400, "invalid_client"},
		{"RFC 6749 §A.1: bytes that are no text in client_id", w.authorization("web", "client_id", "\xff\xfe").Encode(), 400, "invalid_client"},
		{"oidcc-ensure-redirect-uri-in-authorization-request: redirect_uri missing", w.authorization("web", "redirect_uri", omit).Encode(), 400, "invalid_request"},
		{"redirect_uri missing, one registered", w.authorization("es", "redirect_uri", omit).Encode(), 400, "invalid_request"},
		{"oidcc-ensure-registered-redirect-uri", w.authorization("web", "redirect_uri", "https://web.example.com/cb/x").Encode(), 400, "invalid_request"},
		{"oidcc-redirect-uri-query-mismatch", w.authorization("web", "redirect_uri", "https://web.example.com/cb?foo=bar").Encode(), 400, "invalid_request"},
		{"another client's redirect_uri", w.authorization("web", "redirect_uri", "https://other.example.com/cb").Encode(), 400, "invalid_request"},
		{"a post_logout_redirect_uri", w.authorization("web", "redirect_uri", "https://web.example.com/bye").Encode(), 400, "invalid_request"},
		{"javascript", w.authorization("web", "redirect_uri", "javascript:alert(1)").Encode(), 400, "invalid_request"},
		{"RFC 6749 §3.1: client_id repeated", good + "&client_id=web", 400, "invalid_request"},
		{"RFC 6749 §3.1: redirect_uri repeated", good + "&redirect_uri=https%3A%2F%2Fweb.example.com%2Fcb", 400, "invalid_request"},
		{"RFC 6749 §3.1: state repeated", good + "&state=the+state", 400, "invalid_request"},
		{"RFC 6749 §3.1: response_mode repeated", good + "&response_mode=query&response_mode=fragment", 400, "invalid_request"},
		{"RFC 6749 §3.1: response_type repeated", good + "&response_type=code", 400, "invalid_request"},
		{"malformed escape", good + "&x=%zz", 400, "invalid_request"},
		{"semicolon", good + ";x=1", 400, "invalid_request"},
		{"longer than any request", good + "&x=" + strings.Repeat("x", maxForm), 400, "invalid_request"},
	} {
		w.run(tt.name, func(t *testing.T) {
			r := b.request("GET", "/authorize", nil)
			r.URL.RawQuery = tt.query
			a := b.send(r)
			a.isPage(tt.status, "error", tt.fault)
			if strings.Contains(tt.name, "§A.1") && len(a.reads) > 0 {
				t.Errorf("the database was asked for such a client: %v", a.reads)
			}
		})
	}
	for name, change := range map[string]func(*http.Request){
		"multipart":         func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") },
		"JSON":              func(r *http.Request) { r.Header.Set("Content-Type", "application/json") },
		"no media type":     func(r *http.Request) { r.Header.Del("Content-Type") },
		"form in the query": func(r *http.Request) { *r = *b.request("POST", "/authorize?"+good, nil) },
		"too long": func(r *http.Request) {
			*r = *b.request("POST", "/authorize", params("x", strings.Repeat("x", maxForm)))
		},
	} {
		w.run("POST "+name, func(t *testing.T) {
			r := b.request("POST", "/authorize", b.authorization("web"))
			change(r)
			b.send(r).isPage(400, "error", "invalid_request")
		})
	}
}

// RFC 6749 §4.1.2.1, OIDC Core §3.1.2.6: once they are proven, the client hears
// of the error the way it asked for, with state and iss.
func TestErrorsAfterTheRedirectURIIsProven(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	for _, tt := range []struct {
		name   string
		change []string
		code   string
	}{
		{"oidcc-response-type-missing", []string{"response_type", omit}, "invalid_request"},
		{"response_type empty", []string{"response_type", ""}, "invalid_request"},
		{"response_type unknown", []string{"response_type", "none"}, "unsupported_response_type"},
		{"response_type in another case", []string{"response_type", "CODE"}, "unsupported_response_type"},
		{"OIDC Core §6.1: request, unsigned", []string{"request", "eyJhbGciOiJub25lIn0.e30."}, "invalid_request_object"},
		{"OIDC Core §6.2: request_uri, not registered", []string{"request_uri", "https://web.example.com/request"}, "invalid_request_uri"},
		{"OIDC Core §7.2.1: registration", []string{"registration", "{}"}, "registration_not_supported"},
		{"RFC 7636 §4.4.1: plain", []string{"code_challenge", challenge, "code_challenge_method", "plain"}, "invalid_request"},
		{"prompt unknown", []string{"prompt", "register"}, "invalid_request"},
		{"prompt in another case", []string{"prompt", "Login"}, "invalid_request"},
		{"OIDC Core §3.1.2.1: prompt none login", []string{"prompt", "none login"}, "invalid_request"},
		{"OIDC Core §3.1.2.1: prompt consent none", []string{"prompt", "consent none"}, "invalid_request"},
		{"prompt none without a session", []string{"prompt", "none"}, "login_required"},
		{"max_age negative", []string{"max_age", "-1"}, "invalid_request"},
		{"max_age with sign", []string{"max_age", "+1"}, "invalid_request"},
		{"max_age of letters", []string{"max_age", "soon"}, "invalid_request"},
		{"max_age fractional", []string{"max_age", "1.5"}, "invalid_request"},
		{"max_age hexadecimal", []string{"max_age", "0x10"}, "invalid_request"},
		{"max_age with space", []string{"max_age", " 1"}, "invalid_request"},
		{"max_age beyond any number", []string{"max_age", strings.Repeat("9", 40)}, "invalid_request"},
		{"id_token_hint garbage", []string{"id_token_hint", "garbage"}, "invalid_request"},
		{"nonce too long", []string{"nonce", strings.Repeat("n", maxParam)}, "invalid_request"},
		{"an unknown parameter too long", []string{"x", strings.Repeat("x", maxParam)}, "invalid_request"},
		{"nonce that is no text", []string{"nonce", "\xff\xfe"}, "invalid_request"},
	} {
		w.run(tt.name, func(t *testing.T) {
			for _, mode := range []string{omit, "query", "fragment", "form_post"} {
				a := b.authorize("web", append([]string{"response_mode", mode}, tt.change...)...)
				a.isError(tt.code)
				uri, got := a.callback()
				if uri != "https://web.example.com/cb" || got.Get("state") != "the state" {
					t.Errorf("%s: to %q with state %q", mode, uri, got.Get("state"))
				}
				location := a.header.Get("Location")
				if (mode == "fragment") != strings.Contains(location, "#") || (mode == "form_post") != (location == "") {
					t.Errorf("%s: went by %q", mode, location)
				}
			}
		})
	}
	good := w.authorization("web").Encode()
	for _, name := range []string{"scope", "nonce", "prompt", "max_age", "code_challenge", "id_token_hint", "unknown"} {
		w.run("RFC 6749 §3.1: "+name+" repeated", func(t *testing.T) {
			r := b.request("GET", "/authorize", nil)
			r.URL.RawQuery = good + "&" + name + "=1&" + name + "=1"
			b.send(r).isError("invalid_request")
		})
	}
	w.run("state too long", func(t *testing.T) {
		b.authorize("web", "state", strings.Repeat("s", maxParam)).isError("invalid_request")
	})
	w.run("state and nonce too long together", func(t *testing.T) {
		fits, long := strings.Repeat("s", 2000), strings.Repeat("s", maxParam-len("state"))
		b.authorize("web", "state", fits, "nonce", fits).handle()
		b.authorize("web", "state", long, "nonce", "n").handle()
		b.authorize("web", "state", long, "nonce", long).isError("invalid_request")
	})
	w.run("oidcc-ensure-request-without-nonce-fails: no token in a query", func(t *testing.T) {
		for _, responseType := range []string{"id_token", "token", "code id_token", "code token", "id_token token"} {
			for _, mode := range []string{omit, "query"} {
				a := b.authorize("web", "response_type", responseType, "response_mode", mode, "nonce", omit)
				location := a.header.Get("Location")
				if !strings.Contains(location, "#") || strings.Contains(location, "?") {
					t.Errorf("%s, %s: went to %q", responseType, mode, location)
				}
				want := "unauthorized_client"
				if responseType == "token" {
					want = "unsupported_response_type"
				}
				if mode == "query" { // OAuth 2.0 Multiple Response Types §5
					want = "invalid_request"
				}
				a.isError(want)
			}
		}
	})
	w.run("response_mode unknown", func(t *testing.T) {
		for _, mode := range []string{"web_message", "query.jwt", "jwt", "Query"} {
			b.authorize("web", "response_mode", mode).isError("invalid_request")
		}
	})
	w.run("redirect URI with a query", func(t *testing.T) {
		a := b.authorize("web", "redirect_uri", "https://web.example.com/cb?tenant=1&x=%2F", "prompt", "none")
		a.isError("login_required")
		if !strings.HasPrefix(a.header.Get("Location"), "https://web.example.com/cb?tenant=1&x=%2F&error=login_required&") {
			t.Errorf("RFC 6749 §3.1.2: went to %q", a.header.Get("Location"))
		}
	})
}

// oddities are values that clients do send as state and nonce.
var oddities = map[string]string{
	"every visible character": " !\"#$%&'()*+,-./0123456789:;<=>?@ABCXYZ[\\]^_`abcxyz{|}~",
	"looks encoded":           "a+b%20c%2Bd&amp;e=f",
	"a URL":                   "https://web.example.com/?a=b&state=c#d",
	"JSON":                    `{"r":"/home?x=1","n":"<\/script>"}`,
	"HTML":                    `"><script>alert(1)</script>`,
	"beyond ASCII":            "ünï☃💌\u2028\u202e",
	"128 characters":          strings.Repeat("s-", 64),
	"2 kB":                    strings.Repeat("0123456789", 200),
	"2 kB of ampersands":      strings.Repeat("&", 2000),
	"2 kB of quotes":          strings.Repeat(`"<`, 1000),
	"2 kB beyond ASCII":       strings.Repeat("☃", 660),
}

// State and nonce come back byte for byte (RFC 6749 §4.1.2, OIDC Core
// §3.1.2.1), whatever way they take.
func TestStateAndNonceComeBackUntouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, odd := range oddities {
		for _, mode := range []string{"query", "fragment", "form_post"} {
			w.run(name+" by "+mode, func(t *testing.T) {
				b := w.browser()
				handle := b.handle("ask", "state", odd, "nonce", odd, "response_mode", mode)
				if len(handle) > maxForm-1000 {
					t.Errorf("a handle of %d bytes does not fit a form", len(handle))
				}
				b.signIn("ada@example.com")
				a := b.resume(handle)
				if a.page == "consent" {
					a = b.submit(a, "consent-allow")
				}
				_, got := a.callback()
				if got.Get("state") != odd {
					t.Errorf("state %q", got.Get("state"))
				}
				if g := w.granted(w.redeem("ask", a.code())); g.claims["nonce"] != odd {
					t.Errorf("nonce %q", g.claims["nonce"])
				}
				_, got = b.authorize("ask", "state", odd, "response_mode", mode, "prompt", "create").callback()
				if got.Get("state") != odd {
					t.Errorf("in an error: state %q", got.Get("state"))
				}
			})
		}
	}
	w.run("RFC 6749 §3.1: an empty state is none", func(t *testing.T) {
		_, got := w.signedIn("ada@example.com").authorize("web", "state", "").callback()
		if got.Has("state") {
			t.Errorf("state %q", got["state"])
		}
	})
	w.run("RFC 6749 §A.5: a state that no form can carry is refused", func(t *testing.T) {
		for _, bad := range []string{"\x00", "a\nb", "a\r\nb", "\xff\xfe", "\x7f"} {
			a := w.browser().authorize("web", "state", bad)
			a.isError("invalid_request")
			if _, got := a.callback(); got.Get("state") != bad {
				t.Errorf("state %q came back as %q", bad, got.Get("state"))
			}
		}
	})
}

// What a client may send and need not be understood must not fail.
func TestParametersThatAreIgnored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	for name, change := range map[string][]string{
		"oidcc-ensure-request-with-unknown-parameter-succeeds": {"extra", "foobar"},
		"oidcc-display-page":                         {"display", "page"},
		"oidcc-display-popup":                        {"display", "popup"},
		"oidcc-ui-locales":                           {"ui_locales", "se"},
		"ui_locales too long to mean anything":       {"ui_locales", strings.Repeat("se ", 200)},
		"oidcc-claims-locales":                       {"claims_locales", "se"},
		"oidcc-login-hint":                           {"login_hint", "buffy@login.example.com"},
		"login_hint too long to be an address":       {"login_hint", strings.Repeat("x", 1000)},
		"login_hint that is no address":              {"login_hint", "\"><script>"},
		"oidcc-ensure-request-with-acr-values":       {"acr_values", acrMail},
		"acr_values that nobody knows":               {"acr_values", "1 2"},
		"oidcc-claims-essential":                     {"claims", `{"userinfo":{"name":{"essential":true}}}`},
		"without nonce":                              {"nonce", omit},
		"without state":                              {"state", omit},
		"oidcc-alternate-happy-flow: order of scope": {"scope", "email openid"},
		"RFC 6749 §3.1: empty parameters are none":   {"prompt", "", "max_age", "", "response_mode", "", "id_token_hint", "", "request", "", "request_uri", "", "registration", ""},
		"RFC 8707: a resource":                       {"resource", "https://api.example.com/"},
	} {
		w.run(name, func(t *testing.T) { b.authorize("web", change...).code() })
	}
	w.run("RFC 8707 §2: several resources", func(t *testing.T) {
		r := b.request("GET", "/authorize", nil)
		r.URL.RawQuery = w.authorization("web").Encode() + "&resource=https://a.example&resource=https://b.example"
		b.send(r).code()
	})
	w.run("oidcc-ensure-request-without-nonce-succeeds-for-code-flow", func(t *testing.T) {
		if g := b.tokens("web", "nonce", omit); g.claims["nonce"] != nil {
			t.Errorf("nonce %v", g.claims["nonce"])
		}
	})
}

func TestResponseModes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	const withQuery = "https://web.example.com/cb?tenant=1&x=%2F"
	for _, tt := range []struct{ name, mode, uri, prefix string }{
		{"default", omit, "https://web.example.com/cb", "https://web.example.com/cb?"},
		{"query", "query", "https://web.example.com/cb", "https://web.example.com/cb?"},
		{"query, beside a query (oidcc-redirect-uri-query-OK)", "query", withQuery, withQuery + "&"},
		{"fragment", "fragment", "https://web.example.com/cb", "https://web.example.com/cb#"},
		{"fragment, beside a query", "fragment", withQuery, withQuery + "#"},
	} {
		w.run(tt.name, func(t *testing.T) {
			a := b.authorize("web", "response_mode", tt.mode, "redirect_uri", tt.uri)
			if location := a.header.Get("Location"); !strings.HasPrefix(location, tt.prefix) {
				t.Errorf("went to %q", location)
			}
			w.granted(w.redeem("web", a.code(), "redirect_uri", tt.uri))
		})
	}
	w.run("Form Post Response Mode §2", func(t *testing.T) {
		a := b.authorize("web", "response_mode", "form_post", "redirect_uri", withQuery)
		a.isPage(200, "form-post", "")
		f := a.forms["form-post"]
		if f.method != "post" || f.action != withQuery || len(f.fields) != 4 || f.fields.Get("session_state") == "" || f.fields.Get("state") != "the state" || f.fields.Get("iss") != issuer {
			t.Errorf("%s to %q with %v", f.method, f.action, f.fields)
		}
		w.granted(w.redeem("web", a.code(), "redirect_uri", withQuery))
	})
	w.run("a native client's ephemeral port", func(t *testing.T) {
		a := b.authorize("cli", "redirect_uri", "http://127.0.0.1:51234/cb")
		if uri, _ := a.callback(); uri != "http://127.0.0.1:51234/cb" {
			t.Errorf("went to %q", uri)
		}
		code := a.code()
		w.granted(w.redeem("cli", code, "redirect_uri", "http://127.0.0.1:51234/cb"))
		w.redeem("cli", b.code("cli", "redirect_uri", "http://127.0.0.1:51234/cb"), "redirect_uri", "http://127.0.0.1:51235/cb").is(400, "invalid_grant")
	})
	w.run("a native client's own scheme", func(t *testing.T) {
		b.authorize("cli", "redirect_uri", "com.example.cli:/cb").code()
		b.authorize("cli", "redirect_uri", "com.example.cli:/cb", "response_mode", "form_post").code()
	})
}

// A browser sends no SameSite=Lax cookie with another site's POST: the request
// comes again as a GET, with them.
func TestPostFromAnotherSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	w.clock.pass(time.Second)
	first := b.handle("web", "prompt", "login")
	cookie := b.cookies[browserCookie]
	a := b.crossSite("/authorize", b.authorization("web"))
	if !strings.HasPrefix(a.header.Get("Location"), issuer+"/authorize?") {
		t.Fatalf("%s: went to %q", a, a.header.Get("Location"))
	}
	_, got := b.follow(a).callback()
	if got.Get("state") != "the state" || got.Get("code") == "" {
		t.Errorf("got %v", got)
	}

	// Some cookie always comes along: of a load balancer, or of an app on
	// another port of this host.
	r := newRequest("POST", "/authorize", b.authorization("web", "prompt", "none"))
	r.AddCookie(&http.Cookie{Name: "lb", Value: "7"})
	b.follow(b.send(r)).code()
	if b.cookies[browserCookie] != cookie {
		t.Error("the post took the browser's cookie away, and with it every login that waits")
	}
	b.clock.pass(time.Second)
	b.signIn("ada@example.com")
	b.resume(first).code()

	// Errors before the redirect URI is proven are pages here, too.
	b.crossSite("/authorize", b.authorization("web", "client_id", "nobody")).isPage(400, "error", "invalid_client")
	b.crossSite("/authorize", b.authorization("web", "redirect_uri", "https://evil.example/")).isPage(400, "error", "invalid_request")

	// Nobody signed in, and a request too long for an address.
	stranger := w.browser()
	stranger.follow(stranger.crossSite("/authorize", w.authorization("web"))).handle()
	stranger.crossSite("/authorize", w.authorization("web", "claims", strings.Repeat("x", 8<<10))).isError("invalid_request")
}

func TestPrompt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("oidcc-prompt-none-not-logged-in", func(t *testing.T) {
		w.browser().authorize("web", "prompt", "none").isError("login_required")
	})
	w.run("oidcc-prompt-none-logged-in", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		first := b.tokens("web")
		w.clock.pass(time.Minute)
		second := b.tokens("web", "prompt", "none")
		if first.claims["sub"] != second.claims["sub"] || first.claims["auth_time"] != second.claims["auth_time"] || first.claims["sid"] != second.claims["sid"] {
			t.Errorf("%v, then %v", first.claims, second.claims)
		}
	})
	w.run("none, session ended", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		b.endSession()
		b.authorize("web", "prompt", "none").isError("login_required")
	})
	w.run("oidcc-prompt-login", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		first := b.tokens("web")
		w.clock.pass(time.Second)
		handle := b.handle("web", "prompt", "login")
		b.resume(handle).handle() // without a new login it leads to login again
		w.clock.pass(time.Second)
		b.signIn("ada@example.com")
		second := w.granted(w.redeem("web", b.resume(handle).code()))
		if second.claims["auth_time"].(float64) <= first.claims["auth_time"].(float64) || second.claims["sub"] != first.claims["sub"] {
			t.Errorf("%v, then %v", first.claims, second.claims)
		}
	})
	w.run("select_account", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		w.clock.pass(time.Second)
		handle := b.handle("web", "prompt", "select_account")
		b.resume(handle).handle() // nothing chosen yet
		b.call(func(rw http.ResponseWriter, r *http.Request) { w.provider.Resume(rw, r, handle, b.login()) }).code()
	})
	w.run("select_account, by a login", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		w.clock.pass(time.Second)
		handle := b.handle("web", "prompt", "select_account")
		w.clock.pass(time.Second)
		bob := b.signIn("bob@example.com")
		g := w.granted(w.redeem("web", b.resume(handle).code()))
		if g.claims["sub"] != bob.User.ID {
			t.Error("not the account that was chosen")
		}
	})
	w.run("login consent", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		w.clock.pass(time.Second)
		handle := b.handle("web", "prompt", "login consent login")
		w.clock.pass(time.Second)
		b.signIn("ada@example.com")
		a := b.resume(handle)
		a.isPage(200, "consent", "")
		b.submit(a, "consent-allow").code()
	})
	w.run("login select_account, chosen without a new login", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		w.clock.pass(time.Second)
		handle := b.handle("web", "prompt", "login select_account")
		b.call(func(rw http.ResponseWriter, r *http.Request) { w.provider.Resume(rw, r, handle, b.login()) }).handle()
	})
}

// A session cookie that was stolen does not become fresh when its owner signs in
// again: OIDC Core §3.1.2.1 wants this End-User re-authenticated.
func TestStolenSessionIsNotFresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, thief := w.signedIn("ada@example.com"), w.browser()
	thief.cookies[sessionCookie] = ada.cookies[sessionCookie]
	for name, change := range map[string][]string{"prompt=login": {"prompt", "login"}, "max_age": {"max_age", "1"}, "a long max_age": {"max_age", "10000"}} {
		w.run(name, func(t *testing.T) {
			w.clock.pass(time.Minute)
			handle := thief.handle("web", change...)
			w.clock.pass(time.Second)
			ada.signIn("ada@example.com")
			thief.resume(handle).handle()
			thief.authorize("web", "prompt", "none", "max_age", "10000").isError("login_required")
			thief.authorize("web", "prompt", "none").code() // whoever wants none gets none
			ada.authorize("web", "prompt", "none", "max_age", "10000").code()
		})
	}
}

func TestMaxAge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const old = 2 * time.Hour
	for _, tt := range []struct {
		name, client string
		change       []string
		login        bool
	}{
		{"oidcc-max-age-1", "web", []string{"max_age", "1"}, true},
		{"oidcc-max-age-10000", "web", []string{"max_age", "10000"}, false},
		{"OIDC Core §3.1.2.1: max_age=0", "web", []string{"max_age", "0"}, true},
		{"exactly as old", "web", []string{"max_age", "7200"}, false},
		{"one second older", "web", []string{"max_age", "7199"}, true},
		{"leading zeros", "web", []string{"max_age", "007200"}, false},
		{"the largest number", "web", []string{"max_age", "9223372036854775807"}, false},
		{"none", "web", nil, false},
		{"OIDC Registration §2: default_max_age", "aged", nil, true},
		{"max_age goes before default_max_age", "aged", []string{"max_age", "10000"}, false},
		{"an empty max_age leaves default_max_age", "aged", []string{"max_age", ""}, true},
	} {
		w.run(tt.name, func(t *testing.T) {
			b := w.signedIn("ada@example.com")
			first := b.login().Session.AuthTime
			w.clock.pass(old)
			if !tt.login {
				g := b.tokens(tt.client, tt.change...)
				if g.claims["auth_time"] != float64(first.Unix()) {
					t.Errorf("OIDC Core §2: auth_time %v", g.claims["auth_time"])
				}
				return
			}
			b.authorize(tt.client, append([]string{"prompt", "none"}, tt.change...)...).isError("login_required")
			handle := b.handle(tt.client, tt.change...)
			b.resume(handle).handle()
			w.clock.pass(time.Minute)
			second := b.signIn("ada@example.com").Session.AuthTime
			w.clock.pass(time.Minute)
			g := w.granted(w.redeem(tt.client, b.resume(handle).code()))
			if g.claims["auth_time"] != float64(second.Unix()) {
				t.Errorf("OIDC Core §2: auth_time %v, want %d", g.claims["auth_time"], second.Unix())
			}
		})
	}
}

func TestIDTokenHint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.signedIn("ada@example.com")
	hint := ada.tokens("web").id
	foreignHint := ada.tokens("other").id
	w.run("oidcc-id-token-hint", func(t *testing.T) {
		first := ada.tokens("web")
		second := ada.tokens("web", "prompt", "none", "id_token_hint", first.id)
		if second.claims["sub"] != first.claims["sub"] || second.claims["auth_time"] != first.claims["auth_time"] {
			t.Errorf("%v, then %v", first.claims, second.claims)
		}
	})
	w.run("OIDC Core §3.1.2.1: nobody signed in", func(t *testing.T) {
		w.browser().authorize("web", "prompt", "none", "id_token_hint", hint).isError("login_required")
	})
	w.run("OIDC Core §3.1.2.1: somebody else is signed in", func(t *testing.T) {
		bob := w.signedIn("bob@example.com")
		w.clock.pass(time.Second)
		bob.authorize("web", "prompt", "none", "id_token_hint", hint).isError("login_required")
		handle := bob.handle("web", "id_token_hint", hint)
		// Going on as Bob is not what the client wants.
		bob.call(func(rw http.ResponseWriter, r *http.Request) { w.provider.Resume(rw, r, handle, bob.login()) }).isError("login_required")
		w.clock.pass(time.Second)
		bob.signIn("bob@example.com")
		bob.resume(handle).isError("login_required")
		bob.signIn("ada@example.com")
		bob.resume(handle).code()
	})
	w.run("another client's", func(t *testing.T) {
		ada.authorize("web", "id_token_hint", foreignHint).isError("invalid_request")
		ada.authorize("web", "prompt", "none", "id_token_hint", foreignHint).isError("invalid_request")
	})
	w.run("S6: an access token", func(t *testing.T) {
		ada.authorize("web", "id_token_hint", ada.tokens("web").access).isError("invalid_request")
	})
	w.run("another issuer's", func(t *testing.T) {
		token := w.signed("RS256", keys.TypeJWT, idClaims{Issuer: "https://evil.example", AuthTime: 1, Subject: ada.login().User.ID, Audience: "web"})
		ada.authorize("web", "id_token_hint", token).isError("invalid_request")
	})
	for name, forged := range w.forgeries(hint) {
		w.run("forged: "+name, func(t *testing.T) {
			ada.authorize("web", "id_token_hint", forged).isError("invalid_request")
		})
	}
	w.run("OIDC Core §3.1.2.1: expired is good enough", func(t *testing.T) {
		w.clock.pass(idTTL + time.Hour)
		ada.authorize("web", "prompt", "none", "id_token_hint", hint).code()
	})
}

func TestHandle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	stored := w.storedClient()
	save := func(c storage.Client) {
		if err := w.engine.SaveClient(t.Context(), c, stored); err != nil {
			t.Fatal(err)
		}
		w.clock.pass(clientCacheTTL)
	}
	handle := b.handle("web")
	ofStored := b.handle("stored", "redirect_uri", stored.RedirectURIs[0])
	b.signIn("ada@example.com")
	code := b.code("web")

	tampered := []byte(handle)
	tampered[len(tampered)/2] ^= 1
	sealed := w.provider.cfg.Secret.Seal
	for name, bad := range map[string]string{
		"garbage":                    "garbage",
		"empty":                      "",
		"tampered":                   string(tampered),
		"cut short":                  handle[:len(handle)-1],
		"longer":                     handle + "A",
		"another purpose: a code":    code,
		"another purpose, same text": sealed("session", []byte(`{"c":"web"}`)),
		"sealed nonsense":            sealed(requestPurpose, []byte("nonsense")),
		"sealed nothing":             sealed(requestPurpose, nil),
		"sealed without a browser":   sealed(requestPurpose, []byte(`{"c":"web","r":"https://web.example.com/cb","t":"code","m":"query","i":9999999999999999}`)),
	} {
		w.run(name, func(t *testing.T) {
			b.resume(bad).isPage(400, "error", "invalid_request")
			b.post("/authorize/resume", params("request", bad, "consent", "allow")).isPage(400, "error", "invalid_request")
			b.call(func(rw http.ResponseWriter, r *http.Request) { w.provider.Resume(rw, r, bad, b.login()) }).isPage(400, "error", "invalid_request")
			b.call(func(rw http.ResponseWriter, r *http.Request) { w.provider.Deny(rw, r, bad) }).isPage(400, "error", "invalid_request")
			if _, err := w.provider.Waiting(t.Context(), bad, keys.Hash([]byte(b.cookies[browserCookie]))); !NoRequest(err) {
				t.Errorf("Waiting: %v", err)
			}
		})
	}
	w.run("missing", func(t *testing.T) { b.get("/authorize/resume").isPage(400, "error", "invalid_request") })
	w.run("repeated", func(t *testing.T) {
		r := b.request("GET", "/authorize/resume", nil)
		r.URL.RawQuery = "request=" + handle + "&request=" + handle
		b.send(r).isPage(400, "error", "invalid_request")
	})
	w.run("S3: another browser's", func(t *testing.T) {
		thief := w.signedIn("eve@example.com")
		thief.resume(handle).isPage(400, "error", "invalid_request")
		thief.get("/authorize", "client_id", "web")
		thief.resume(handle).isPage(400, "error", "invalid_request")
	})
	w.run("S3: no cookie", func(t *testing.T) { w.browser().resume(handle).isPage(400, "error", "invalid_request") })
	w.run("S3: without a session it leads to login again", func(t *testing.T) {
		again := w.browser()
		again.resume(again.handle("web")).handle()
	})
	w.run("S3: bound to no browser", func(t *testing.T) {
		unbound, err := w.provider.seal(request{ClientID: "web", RedirectURI: "https://web.example.com/cb", Mode: "query", IssuedAt: w.clock.Now().UnixMicro()})
		if err != nil {
			t.Fatal(err)
		}
		b.resume(unbound).isPage(400, "error", "invalid_request")
		if _, err := w.provider.Waiting(t.Context(), unbound, ""); !NoRequest(err) {
			t.Errorf("Waiting: %v", err)
		}
	})
	w.run("good", func(t *testing.T) { b.resume(handle).code() })
	w.run("the client's redirect URI was removed", func(t *testing.T) {
		b.resume(ofStored).code()
		moved := stored
		moved.RedirectURIs = []string{"https://stored.example.com/cb2"}
		save(moved)
		b.resume(ofStored).isPage(400, "error", "invalid_client")
		b.call(func(rw http.ResponseWriter, r *http.Request) { w.provider.Deny(rw, r, ofStored) }).isPage(400, "error", "invalid_client")
		save(stored)
		b.resume(ofStored).code()
	})
	w.run("the client was removed", func(t *testing.T) {
		if err := w.engine.RemoveClient(t.Context(), "stored", w.clock.Now()); err != nil {
			t.Fatal(err)
		}
		w.clock.pass(clientCacheTTL)
		b.resume(ofStored).isPage(400, "error", "invalid_client")
		if _, err := w.provider.Waiting(t.Context(), ofStored, keys.Hash([]byte(b.cookies[browserCookie]))); !NoRequest(err) {
			t.Errorf("Waiting: %v", err)
		}
	})
	w.run("expired, to the microsecond", func(t *testing.T) {
		b := w.browser()
		handle := b.handle("web")
		w.clock.pass(requestTTL - time.Microsecond)
		b.signIn("ada@example.com")
		b.resume(handle).code()
		w.clock.pass(time.Microsecond)
		b.resume(handle).isPage(400, "error", "invalid_request")
		if _, err := w.provider.Waiting(t.Context(), handle, keys.Hash([]byte(b.cookies[browserCookie]))); !NoRequest(err) {
			t.Errorf("Waiting: %v", err)
		}
	})
}

// Several requests wait in one browser, and none disturbs another.
func TestSeveralRequestsWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	one, two := b.handle("web", "state", "one"), b.handle("other", "state", "two")
	b.signIn("ada@example.com")
	for handle, want := range map[string]string{two: "two", one: "one"} {
		if _, got := b.resume(handle).callback(); got.Get("state") != want {
			t.Errorf("state %q, want %q", got.Get("state"), want)
		}
	}
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	waiting := func(pairs ...string) Waiting {
		t.Helper()
		got, err := w.provider.Waiting(t.Context(), b.handle("web", pairs...), keys.Hash([]byte(b.cookies[browserCookie])))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := waiting("login_hint", "ada@example.com", "ui_locales", "de en")
	if got.ClientID != "web" || got.Client.Name != "App web" || got.LoginHint != "ada@example.com" || got.UILocales != "de en" || got.SelectAccount || !got.FreshAfter.IsZero() {
		t.Errorf("got %+v", got)
	}
	for _, tt := range []struct {
		prompt, maxAge string
		selects        bool
		fresh          time.Time
	}{
		{"select_account", "", true, time.Time{}},
		{"login", "", false, w.clock.Now()},
		{"login select_account", "", false, w.clock.Now()},
		{"", "60", false, w.clock.Now().Add(-time.Minute)},
		{"login", "60", false, w.clock.Now()},
	} {
		if got := waiting("prompt", tt.prompt, "max_age", tt.maxAge); got.SelectAccount != tt.selects || !got.FreshAfter.Equal(tt.fresh) {
			t.Errorf("prompt %q, max_age %q: %+v", tt.prompt, tt.maxAge, got)
		}
	}
	if got := waiting("login_hint", strings.Repeat("x", 255), "ui_locales", strings.Repeat("x", 255)); got.LoginHint != "" || got.UILocales != "" {
		t.Errorf("hints that can mean nothing were kept: %+v", got)
	}
	if _, err := w.provider.Waiting(t.Context(), b.handle("web"), "another browser"); !NoRequest(err) {
		t.Errorf("another browser: %v", err)
	}
	w.storedClient()
	handle := b.handle("stored", "redirect_uri", "https://stored.example.com/cb")
	w.clock.pass(clientCacheTTL)
	w.store.failBefore("Client", errBroken)
	if _, err := w.provider.Waiting(t.Context(), handle, keys.Hash([]byte(b.cookies[browserCookie]))); err == nil || NoRequest(err) {
		t.Errorf("the database fails: %v", err)
	}
	b.resume(handle).isPage(503, "error", "temporarily_unavailable")
}

func TestHome(t *testing.T) {
	t.Parallel()
	p := &Provider{cfg: Config{Issuer: "https://login.example.com"}}
	for _, tt := range []struct {
		name   string
		client storage.Client
		uri    string
		want   string
	}{
		{"OIDC Core §4: where the application starts a login", storage.Client{InitiateLoginURI: "https://app.example.com/go?a=b", ClientURI: "https://example.com"},
			"https://app.example.com/cb", "https://app.example.com/go?a=b&iss=https%3A%2F%2Flogin.example.com"},
		{"where it says it is", storage.Client{ClientURI: "https://example.com/about"}, "https://app.example.com/cb", "https://example.com/about"},
		{"the origin of its redirect URI", storage.Client{}, "https://app.example.com:8443/oauth2/callback?x=y", "https://app.example.com:8443/"},
		{"a native application is no place", storage.Client{ApplicationType: "native"}, "http://127.0.0.1:5000/cb", ""},
		{"nor is a scheme of its own", storage.Client{}, "com.example.app:/cb", ""},
	} {
		if got := p.home(tt.client, tt.uri); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A link that is opened late finds an application that has forgotten its
// question. Where it starts logins itself, it is asked to ask again, and gets
// its answer without another mail.
func TestLateAnswerStartsAnew(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, client string
		after        time.Duration
		prompt       string
		restarted    bool
	}{
		{"in time", "starts", lateAfter - time.Microsecond, "", false},
		{"late", "starts", lateAfter, "", true},
		{"late, and the application cannot start", "web", lateAfter, "", false},
		{"late, and asked again it would take another mail", "starts", lateAfter, "login", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser()
			handle := b.handle(tt.client, "prompt", tt.prompt)
			w.clock.pass(tt.after)
			b.signIn("ada@example.com")
			a := b.resume(handle)
			if !tt.restarted {
				w.granted(w.redeem(tt.client, a.code()))
				return
			}
			if want := startOfStarts; a.header.Get("Location") != want {
				t.Fatalf("%s, want %s", a, want)
			}
			w.granted(w.redeem(tt.client, b.code(tt.client)))
		})
	}
}

const startOfStarts = "https://starts.example.com/start?from=mail&iss=https%3A%2F%2Flogin.example.com"

func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for id, want := range map[string]string{"starts": startOfStarts, "web": "", "nobody": ""} {
		if got, err := w.provider.Restart(t.Context(), id); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", id, got, err, want)
		}
	}
}

func TestDeny(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	for _, mode := range []string{"query", "fragment", "form_post"} {
		handle := b.handle("web", "response_mode", mode, "state", mode)
		a := b.call(func(rw http.ResponseWriter, r *http.Request) { w.provider.Deny(rw, r, handle) })
		a.isError("access_denied")
		if uri, got := a.callback(); uri != "https://web.example.com/cb" || got.Get("state") != mode {
			t.Errorf("%s: to %q with %v", mode, uri, got)
		}
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	handle := b.handle("web")
	login := b.signIn("ada@example.com")
	resume := func(rw http.ResponseWriter, r *http.Request) { w.provider.Resume(rw, r, handle, login) }
	w.granted(w.redeem("web", b.call(resume).code()))
	if a := w.browser().call(resume); a.status != 400 {
		t.Errorf("S3: another browser: %s", a)
	}
	// A second click lands where the first did, with a code of its own.
	w.granted(w.redeem("web", b.call(resume).code()))
}

func TestAccessRulesOfAClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		name, client, email string
		groups              []string
		want                bool
	}{
		{"allow: the whole address", "narrow", "ada@example.com", nil, true},
		{"allow: the domain", "narrow", "bob@example.org", nil, true},
		{"allow: neither", "narrow", "bob@example.com", nil, false},
		{"groups: a member", "members", "carl@example.com", []string{"ops"}, true},
		{"groups: of another", "members", "dora@example.com", []string{"op", "opsy", "STAFF"}, false},
		{"groups: of none", "members", "emma@example.com", nil, false},
	} {
		w.run(tt.name, func(t *testing.T) {
			b := w.signedIn(tt.email)
			w.describe(b.login().User.ID, "", "", tt.groups...)
			for _, prompt := range []string{omit, "none"} {
				a := b.authorize(tt.client, "prompt", prompt)
				if tt.want {
					a.code()
				} else {
					a.isError("access_denied")
				}
			}
		})
	}
}

func TestClientOfTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	ask := func() answer { return b.authorize("stored", "redirect_uri", "https://stored.example.com/cb") }
	ask().isPage(400, "error", "invalid_client")
	c := w.storedClient()
	if a := ask(); a.handle() == "" || len(a.reads) != 1 {
		t.Errorf("the first time: %v", a.reads)
	}
	if a := ask(); a.handle() == "" || len(a.reads) != 0 {
		t.Errorf("a moment later: %v", a.reads)
	}
	if err := w.engine.RemoveClient(t.Context(), c.ID, w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(clientCacheTTL - time.Microsecond)
	ask().handle()
	w.clock.pass(time.Microsecond)
	ask().isPage(400, "error", "invalid_client")
	ask().isPage(400, "error", "invalid_client")

	// A client of the settings hides one of the same id in the database.
	c.ID = "web"
	c.RedirectURIs = []string{"https://evil.example/"}
	if err := w.engine.AddClient(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	b.authorize("web", "redirect_uri", "https://evil.example/").isPage(400, "error", "invalid_request")
}

func FuzzParseRequest(f *testing.F) {
	for _, query := range []string{
		"response_type=code&scope=openid+email+offline_access&state=s&nonce=n&code_challenge=" + challenge + "&code_challenge_method=S256",
		"response_type=code&prompt=none", "response_type=code&prompt=login+consent+select_account&max_age=0", "response_type=code+id_token&response_mode=query",
		"response_type=code&max_age=9223372036854775807", "response_type=code&max_age=-1", "response_type=code&state=a&state=b", "request=x", "request_uri=x", "registration=x",
		"response_type=code&state=%00", "response_type=code&nonce=%ff", "response_type=code&code_challenge=x&code_challenge_method=plain", "response_type=code&login_hint=a@b&ui_locales=de&scope=",
		"response_type=code&response_mode=form_post&id_token_hint=x.y.z&claims={}&display=popup", "a=1;b=2", "=&=", "response_type=code&prompt=" + strings.Repeat("login+", 300),
	} {
		f.Add(query, "state", "web")
		f.Add(query, strings.Repeat("&", 2000), "cli")
	}
	now := time.Date(2031, 3, 4, 5, 6, 7, 0, time.UTC)
	clients := map[string]storage.Client{}
	for _, c := range testClients() {
		clients[c.ID] = c.WithDefaults()
	}
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, query, state, clientID string) {
		w.TB = t
		form, err := url.ParseQuery(query)
		c, known := clients[clientID]
		if err != nil || !known || len(query) > maxForm || len(state) > maxParam {
			return
		}
		form.Set("state", state)
		mode, _ := responseMode(form)
		tg := target{client: c, uri: c.RedirectURIs[0], mode: mode, state: state}
		q, refused := parseRequest(form, tg, nil, now)
		if refused != nil {
			if refused.Code == "" || refused.Description == "" || refused.Err != nil {
				t.Errorf("refused with %#v", refused)
			}
			checkDescription(t, refused.Description)
			return
		}
		if q.ClientID != c.ID || q.RedirectURI != tg.uri || q.Mode != mode || string(q.State) != state || string(q.Nonce) != form.Get("nonce") || q.ResponseType != canonicalType(form.Get("response_type")) {
			t.Errorf("%+v says other things than %v", q, form)
		}
		if q.Challenge != "" && !isChallenge(q.Challenge) || q.Challenge == "" && c.PKCE() {
			t.Errorf("challenge %q", q.Challenge)
		}
		if len(q.Scopes) > len(supportedScopes) || len(q.Prompt) > len(promptValues) || q.prompts("none") && len(q.Prompt) > 1 {
			t.Errorf("scopes %q, prompt %q", q.Scopes, q.Prompt)
		}
		if q.FreshAfter > now.UnixMicro() || q.prompts("login") && q.FreshAfter != now.UnixMicro() {
			t.Errorf("fresh after %d, now %d", q.FreshAfter, now.UnixMicro())
		}
		q.Browser = "browser"
		handle, err := w.provider.seal(q)
		if err != nil {
			t.Fatal(err)
		}
		if len(handle) > maxForm-1000 {
			t.Errorf("a handle of %d bytes does not fit a form", len(handle))
		}
		w.clock.pass(now.Sub(w.clock.Now()))
		again, err := w.provider.open(handle, "browser")
		if err != nil || string(again.State) != state || string(again.Nonce) != form.Get("nonce") || again.LoginHint != q.LoginHint {
			t.Errorf("sealed and opened: %+v, %v", again, err)
		}
	})
}

func FuzzOpenHandle(f *testing.F) {
	w := newWorld(f)
	q := request{ClientID: "web", RedirectURI: "https://web.example.com/cb", Mode: "query", Browser: "browser", IssuedAt: w.clock.Now().UnixMicro()}
	good, err := w.provider.seal(q)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, "browser")
	f.Add(good, "")
	f.Add(good[:len(good)-4], "browser")
	f.Add(strings.ToUpper(good), "browser")
	f.Add(w.provider.cfg.Secret.Seal(requestPurpose, []byte("{}")), "")
	f.Add(w.provider.cfg.Secret.Seal(requestPurpose, []byte("null")), "browser")
	f.Add("", "")
	f.Add("=", "browser")
	f.Fuzz(func(t *testing.T, handle, browser string) {
		w.TB = t
		q, err := w.provider.open(handle, browser)
		if err == nil {
			if strings.NewReplacer("\n", "", "\r", "").Replace(handle) != good || browser != "browser" || q.ClientID != "web" {
				t.Errorf("opened %q for %q: %+v", handle, browser, q)
			}
			return
		}
		if !NoRequest(err) {
			t.Errorf("refused with %v", err)
		}
	})
}
