package provider

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/keys"
)

const bye = "https://web.example.com/bye"

// logout is GET /logout.
func (b *browser) logout(pairs ...string) answer {
	b.Helper()
	return b.get("/logout", pairs...)
}

// isSignedIn looks at cookie, session and what a client is told.
func (b *browser) isSignedIn(want bool) {
	b.Helper()
	_, err := b.engine.Session(b.Context(), b.sessionID(), b.clock.Now())
	if (err == nil) != want {
		b.Errorf("the session is live: %v, want %v", err == nil, want)
	}
	if want {
		b.authorize("web", "prompt", "none").code()
	} else {
		b.authorize("web", "prompt", "none").isError("login_required")
	}
}

// goes fails the test unless the answer sends the browser there.
func (a answer) goes(to string) {
	a.Helper()
	if a.status != http.StatusSeeOther || a.header.Get("Location") != to {
		a.Errorf("%s, want a redirect to %s", a, to)
	}
}

// RP-Initiated Logout §2, §3: with the ID token of this very session nobody is
// asked.
func TestLogoutWithTheHintOfThisSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, method := range []string{"GET", "POST"} {
		for _, tt := range []struct {
			name  string
			pairs []string
			to    string // "" is the page
		}{
			{"oidcc-rp-initiated-logout", []string{"post_logout_redirect_uri", bye, "state", strings.Repeat("s-", 64)}, bye + "?state=" + strings.Repeat("s-", 64)},
			{"oidcc-rp-initiated-logout-no-state", []string{"post_logout_redirect_uri", bye}, bye},
			{"an empty state is none", []string{"post_logout_redirect_uri", bye, "state", ""}, bye},
			{"state of odd characters", []string{"post_logout_redirect_uri", bye, "state", "a+b&c=d#\"<é\r\n\xff"}, bye + "?state=" + url.QueryEscape("a+b&c=d#\"<é\r\n\xff")},
			{"beside a query", []string{"post_logout_redirect_uri", bye + "?from=login", "state", "s"}, bye + "?from=login&state=s"},
			{"oidcc-rp-initiated-logout-no-post-logout-redirect-uri", []string{"state", "s"}, ""},
			{"the hint alone", nil, ""},
			{"with client_id", []string{"client_id", "web", "post_logout_redirect_uri", bye}, bye},
			{"with what is not for us", []string{"logout_hint", "ada", "ui_locales", "se", "extra", "x", "post_logout_redirect_uri", bye}, bye},
		} {
			w.run(method+" "+tt.name, func(t *testing.T) {
				b := w.signedIn("ada@example.com")
				session := b.cookies[sessionCookie]
				g := b.tokens("web")
				a := b.send(b.request(method, "/logout", params(append(tt.pairs, "id_token_hint", g.id)...)))
				if tt.to == "" {
					a.isPage(200, "logged-out", "")
					if len(a.links) > 0 && slices.ContainsFunc(a.links, func(l string) bool { return strings.Contains(l, "web.example.com") }) {
						t.Errorf("links to %q", a.links)
					}
				} else {
					a.goes(tt.to)
				}
				if b.cookies[sessionCookie] != "" || !slices.Equal(a.writes, []string{"EndSession"}) {
					t.Errorf("cookie %q, wrote %v", b.cookies[sessionCookie], a.writes)
				}
				b.isSignedIn(false)
				b.cookies[sessionCookie] = session // a copy of the cookie is worth nothing
				b.isSignedIn(false)
				w.userinfo(g.access).refusesToken()
			})
		}
	}
	w.run("RP-Initiated Logout §2: an ID token that has expired", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		hint := b.tokens("web").id
		w.clock.pass(idTTL + 24*time.Hour)
		b.logout("id_token_hint", hint, "post_logout_redirect_uri", bye).goes(bye)
		b.isSignedIn(false)
	})
	w.run("an ID token of a refresh", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		hint := w.granted(w.refresh("es", b.offline("es").refresh)).id
		b.logout("id_token_hint", hint, "post_logout_redirect_uri", "https://es.example.com/bye").goes("https://es.example.com/bye")
		b.isSignedIn(false)
	})
	w.run("an ID token of before the person signed in once more", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		hint := b.tokens("web").id
		w.clock.pass(time.Hour)
		b.signIn("ada@example.com") // the same session goes on
		b.logout("id_token_hint", hint, "post_logout_redirect_uri", bye).goes(bye)
		b.isSignedIn(false)
	})
}

// RP-Initiated Logout §2: without the ID token of this session the person is
// asked first.
func TestLogoutAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.signedIn("ada@example.com")
	hint := ada.tokens("web").id
	for _, tt := range []struct {
		name  string
		pairs []string
		to    string // after the click; "" is the page
		link  string // on the page
	}{
		{"oidcc-rp-initiated-logout-no-params", nil, "", ""},
		{"oidcc-rp-initiated-logout-only-state", []string{"state", "s"}, "", ""},
		{"a client that only names itself", []string{"client_id", "web"}, "", ""},
		{"a client that only names itself, with its URI: a link", []string{"client_id", "web", "post_logout_redirect_uri", bye, "state", "s"}, "", bye + "?state=s"},
		{"the hint of another person", []string{"id_token_hint", hint, "post_logout_redirect_uri", bye, "state", "s"}, bye + "?state=s", ""},
		{"the hint of another person, no URI", []string{"id_token_hint", hint}, "", ""},
	} {
		w.run(tt.name, func(t *testing.T) {
			b := w.signedIn("bob@example.com")
			g := b.tokens("web")
			for _, method := range []string{"GET", "POST"} {
				a := b.send(b.request(method, "/logout", params(tt.pairs...)))
				a.isPage(200, "logout", "")
				if len(a.writes) > 0 || !strings.Contains(a.body, "bob@example.com") {
					t.Errorf("%s: wrote %v", a, a.writes)
				}
			}
			b.isSignedIn(true)
			if !w.active(g.access) {
				t.Error("tokens were revoked before the click")
			}
			a := b.submit(b.logout(tt.pairs...), "logout")
			if tt.to != "" {
				a.goes(tt.to)
			} else {
				a.isPage(200, "logged-out", "")
				if tt.link != "" != slices.Contains(a.links, tt.link) {
					t.Errorf("links to %q", a.links)
				}
			}
			b.isSignedIn(false)
			w.userinfo(g.access).refusesToken()
		})
	}
	w.run("the hint of another session of the same person", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		b.logout("id_token_hint", hint, "post_logout_redirect_uri", bye).isPage(200, "logout", "")
		b.isSignedIn(true)
		ada.isSignedIn(true)
	})
	w.run("a hint with this session's sid and another subject", func(t *testing.T) {
		b := w.signedIn("bob@example.com")
		forged := w.signed("RS256", keys.TypeJWT, idClaims{Issuer: issuer, AuthTime: 1, Subject: "somebody", Audience: "web", SessionID: keys.SID(b.sessionID())})
		b.logout("id_token_hint", forged).isPage(200, "logout", "")
		forged = w.signed("RS256", keys.TypeJWT, idClaims{Issuer: issuer, AuthTime: 1, Subject: b.login().User.ID, Audience: "web"})
		b.logout("id_token_hint", forged).isPage(200, "logout", "")
		b.isSignedIn(true)
	})
	ada.isSignedIn(true)
}

// The button that signs out is ours alone.
func TestLogoutButtonCannotBeForged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	eve := w.signedIn("eve@example.com")
	tokenOf := func(a answer) string { return a.forms["logout"].fields.Get("token") }
	page := b.logout("client_id", "web", "state", "s")
	if f := page.forms["logout"]; f.action != "/logout" || f.fields.Get("confirm") != "yes" || f.fields.Get("client_id") != "web" || f.fields.Get("state") != "s" {
		t.Errorf("the form says %+v", f)
	}
	for name, pairs := range map[string][]string{
		"no token":                {"token", omit},
		"empty token":             {"token", ""},
		"garbage":                 {"token", "garbage"},
		"another session's token": {"token", tokenOf(eve.logout())},
		"not confirmed":           {"confirm", omit},
		"confirmed otherwise":     {"confirm", "no"},
	} {
		w.run(name, func(t *testing.T) {
			a := b.submit(page, "logout", pairs...)
			a.isPage(200, "logout", "")
			if len(a.writes) > 0 {
				t.Errorf("wrote %v", a.writes)
			}
			b.isSignedIn(true)
		})
	}
	w.run("by GET", func(t *testing.T) {
		b.logout("confirm", "yes", "token", tokenOf(page)).isPage(200, "logout", "")
		b.isSignedIn(true)
	})
	w.run("in the query of a POST", func(t *testing.T) {
		b.post("/logout?confirm=yes&token="+tokenOf(page), nil).isPage(200, "logout", "")
		b.isSignedIn(true)
	})
	w.run("repeated", func(t *testing.T) {
		form := url.Values{"confirm": {"yes", "yes"}, "token": {tokenOf(page)}}
		b.post("/logout", form).isPage(400, "error", "invalid_request")
		b.isSignedIn(true)
	})
	w.run("from another site, with the right token", func(t *testing.T) {
		before := b.cookies[sessionCookie]
		b.follow(b.crossSite("/logout", page.forms["logout"].fields)).isPage(200, "logout", "") // nobody is told that it is done
		if b.cookies[sessionCookie] != before {
			t.Error("another site took the cookie away")
		}
		b.isSignedIn(true)
	})
	w.run("somebody else has signed in meanwhile", func(t *testing.T) {
		carl := w.signedIn("carl@example.com")
		shown := carl.logout()
		carl.signIn("dora@example.com")
		carl.submit(shown, "logout").isPage(200, "logout", "")
		carl.isSignedIn(true)
	})
	w.run("the session has ended meanwhile", func(t *testing.T) {
		carl := w.signedIn("carl@example.com")
		shown := carl.logout("client_id", "web", "post_logout_redirect_uri", bye)
		carl.endSession()
		a := carl.follow(carl.submit(shown, "logout"))
		a.isPage(200, "logged-out", "")
		if !slices.Contains(a.links, bye) {
			t.Errorf("links to %q", a.links)
		}
	})
	w.run("good", func(t *testing.T) {
		b.submit(page, "logout").isPage(200, "logged-out", "")
		b.isSignedIn(false)
	})
}

// RP-Initiated Logout §4: what is wrong with the request is a page, and nobody
// is signed out.
func TestLogoutIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	g := b.tokens("web")
	good := []string{"id_token_hint", g.id, "post_logout_redirect_uri", bye, "state", "s"}
	for _, tt := range []struct {
		name  string
		pairs []string
		fault string
	}{
		{"oidcc-rp-initiated-logout-bad-post-logout-redirect-uri", []string{"post_logout_redirect_uri", "https://evil.example/"}, "invalid_request"},
		{"oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri", []string{"post_logout_redirect_uri", bye + "?foo=bar"}, "invalid_request"},
		{"a path added", []string{"post_logout_redirect_uri", bye + "/x"}, "invalid_request"},
		{"a suffix", []string{"post_logout_redirect_uri", bye + ".evil.example"}, "invalid_request"},
		{"a fragment", []string{"post_logout_redirect_uri", bye + "#x"}, "invalid_request"},
		{"userinfo", []string{"post_logout_redirect_uri", "https://x@web.example.com/bye"}, "invalid_request"},
		{"a backslash", []string{"post_logout_redirect_uri", "https://web.example.com\\@evil.example/bye"}, "invalid_request"},
		{"another case", []string{"post_logout_redirect_uri", "https://WEB.example.com/bye"}, "invalid_request"},
		{"a redirect_uri", []string{"post_logout_redirect_uri", "https://web.example.com/cb"}, "invalid_request"},
		{"another client's URI", []string{"post_logout_redirect_uri", "https://other.example.com/bye"}, "invalid_request"},
		{"javascript", []string{"post_logout_redirect_uri", "javascript:alert(1)"}, "invalid_request"},
		{"oidcc-rp-initiated-logout-no-id-token-hint", []string{"id_token_hint", omit}, "invalid_request"},
		{"RP-Initiated Logout §2: client_id of another client", []string{"client_id", "other"}, "invalid_request"},
		{"client_id of nobody", []string{"client_id", "nobody"}, "invalid_request"},
		{"client_id of nobody, no hint", []string{"id_token_hint", omit, "client_id", "nobody"}, "invalid_client"},
		{"another client and its URI", []string{"client_id", "other", "post_logout_redirect_uri", "https://other.example.com/bye"}, "invalid_request"},
		{"S6: an access token for a hint", []string{"id_token_hint", g.access}, "invalid_request"},
		{"state too long", []string{"state", strings.Repeat("s", maxParam)}, "invalid_request"},
		{"another issuer's hint", []string{"id_token_hint", w.signed("RS256", keys.TypeJWT, idClaims{
			AuthTime: 1, Issuer: "https://evil.example", Subject: b.login().User.ID, Audience: "web", SessionID: keys.SID(b.sessionID()),
		})}, "invalid_request"},
		{"oidcc-rp-initiated-logout-bad-id-token-hint", []string{"id_token_hint", w.signed("RS256", keys.TypeJWT, idClaims{
			AuthTime: 1, Issuer: "web", Subject: b.login().User.ID, Audience: issuer, SessionID: keys.SID(b.sessionID()),
		})}, "invalid_request"},
		{"a hint for a client that is gone", []string{"id_token_hint", w.signed("RS256", keys.TypeJWT, idClaims{
			AuthTime: 1, Issuer: issuer, Subject: b.login().User.ID, Audience: "gone", SessionID: keys.SID(b.sessionID()),
		})}, "invalid_client"},
	} {
		w.run(tt.name, func(t *testing.T) {
			for _, method := range []string{"GET", "POST"} {
				form := params(good...)
				change(form, tt.pairs...)
				b.send(b.request(method, "/logout", form)).isPage(400, "error", tt.fault)
				b.isSignedIn(true)
			}
		})
	}
	for name, forged := range w.forgeries(g.id) {
		w.run("oidcc-rp-initiated-logout-modified-id-token-hint: "+name, func(t *testing.T) {
			b.logout("id_token_hint", forged, "post_logout_redirect_uri", bye).isPage(400, "error", "invalid_request")
			b.isSignedIn(true)
		})
	}
	for _, name := range []string{"id_token_hint", "client_id", "post_logout_redirect_uri", "state", "extra"} {
		w.run("repeated: "+name, func(t *testing.T) {
			form := params(append(good, "client_id", "web", "extra", "x")...)
			form.Add(name, form.Get(name))
			b.send(b.request("GET", "/logout", form)).isPage(400, "error", "invalid_request")
			b.isSignedIn(true)
		})
	}
	w.run("malformed", func(t *testing.T) {
		r := b.request("GET", "/logout", nil)
		r.URL.RawQuery = "state=%zz"
		b.send(r).isPage(400, "error", "invalid_request")
		r = b.request("POST", "/logout", params(good...))
		r.Header.Set("Content-Type", "application/json")
		b.send(r).isPage(400, "error", "invalid_request")
		b.isSignedIn(true)
	})
}

func TestLogoutWithoutSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hint := w.signedIn("ada@example.com").tokens("web").id
	for _, method := range []string{"GET", "POST"} {
		b := w.browser()
		send := func(pairs ...string) answer {
			a := b.send(b.request(method, "/logout", params(pairs...)))
			if method == "POST" && a.status == http.StatusSeeOther && strings.HasPrefix(a.header.Get("Location"), issuer) {
				a = b.follow(a)
			}
			if len(a.writes) > 0 {
				t.Errorf("%s wrote %v", a, a.writes)
			}
			return a
		}
		send().isPage(200, "logged-out", "")
		send("id_token_hint", hint, "post_logout_redirect_uri", bye, "state", "s").goes(bye + "?state=s")
		send("id_token_hint", hint).isPage(200, "logged-out", "")
		a := send("client_id", "web", "post_logout_redirect_uri", bye, "state", "s")
		a.isPage(200, "logged-out", "")
		if !slices.Contains(a.links, bye+"?state=s") {
			t.Errorf("links to %q", a.links)
		}
		send("client_id", "web", "post_logout_redirect_uri", "https://evil.example/").isPage(400, "error", "invalid_request")
	}
}

func TestHeadLogoutChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	a := b.send(b.request("HEAD", "/logout", params("id_token_hint", b.tokens("web").id, "post_logout_redirect_uri", bye)))
	if a.status != 200 || len(a.writes) > 0 {
		t.Errorf("%s wrote %v", a, a.writes)
	}
	b.isSignedIn(true)
}

// A POST of another site brings no cookie of ours: it comes again as a GET, and
// nobody loses a cookie by it.
func TestLogoutPostFromAnotherSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	hint := b.tokens("web").id
	cookie := b.cookies[sessionCookie]
	a := b.crossSite("/logout", params("id_token_hint", hint, "post_logout_redirect_uri", bye, "state", "s"))
	if !strings.HasPrefix(a.header.Get("Location"), issuer+"/logout?") || len(a.writes) > 0 || b.cookies[sessionCookie] != cookie {
		t.Fatalf("%s to %q, wrote %v", a, a.header.Get("Location"), a.writes)
	}
	b.isSignedIn(true)
	b.follow(a).goes(bye + "?state=s")
	b.isSignedIn(false)

	b = w.signedIn("ada@example.com")
	cookie = b.cookies[sessionCookie]
	other := newRequest("POST", "/logout", nil)
	other.AddCookie(&http.Cookie{Name: "lb", Value: "7"}) // of something else on this host
	b.follow(b.send(other)).isPage(200, "logout", "")
	if b.cookies[sessionCookie] != cookie {
		t.Error("a POST of another site took the cookie away")
	}
	b.isSignedIn(true)

	// Too long for an address: our own button, which brings the cookie.
	long := params("id_token_hint", b.tokens("web").id, "post_logout_redirect_uri", bye, "a", strings.Repeat("x", 2000), "b", strings.Repeat("x", 2000), "c", strings.Repeat("x", 2000))
	a = b.crossSite("/logout", long)
	a.isPage(200, "logout", "")
	if b.cookies[sessionCookie] != cookie || strings.Contains(a.body, "ada@example.com") {
		t.Errorf("%s: the cookie was taken away, or somebody was told who is signed in", a)
	}
	b.isSignedIn(true)
	b.submit(a, "logout").goes(bye)
	b.isSignedIn(false)
	stranger := w.browser()
	stranger.follow(stranger.submit(stranger.crossSite("/logout", long), "logout")).goes(bye)

	// A button that brings no cookie is not shown again.
	endless := params("client_id", "web", "post_logout_redirect_uri", bye, "state", strings.Repeat("&", 2040))
	w.browser().crossSite("/logout", endless).isPage(200, "logout", "")
	stranger = w.browser()
	stranger.submit(stranger.crossSite("/logout", endless), "logout").isPage(200, "logged-out", "")

	// Errors are pages here, too.
	b.crossSite("/logout", params("post_logout_redirect_uri", "https://evil.example/")).isPage(400, "error", "invalid_request")
}

// What ends with the session, and what does not.
func TestLogoutRevokes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	elsewhere := w.signedIn("ada@example.com")
	online, ofOther, offline, onPhone := b.tokens("web"), b.tokens("other"), b.offline("web"), elsewhere.tokens("web")
	waiting := b.code("web")
	b.logout("id_token_hint", online.id)
	for name, token := range map[string]string{"this client's": online.access, "another client's": ofOther.access} {
		if w.active(token) {
			t.Errorf("%s access token outlives the session", name)
		}
	}
	w.redeem("web", waiting).is(400, "invalid_grant")
	w.granted(w.refresh("web", offline.refresh)) // OIDC Core §11
	if !w.active(onPhone.access) {
		t.Error("another browser's token was revoked")
	}
	elsewhere.isSignedIn(true)
	b.isSignedIn(false)
}

func TestLogoutWhenTheDatabaseFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	hint := b.tokens("web").id
	w.store.failBefore("EndSession", errBroken)
	b.logout("id_token_hint", hint, "post_logout_redirect_uri", bye).isPage(503, "error", "temporarily_unavailable")
	w.store.heal()
	b.isSignedIn(true) // it would be a lie to take the cookie alone
	b.logout("id_token_hint", hint, "post_logout_redirect_uri", bye).goes(bye)
	b.isSignedIn(false)
}
