package provider

import (
	"slices"
	"testing"
	"time"
)

func TestConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")

	w.run("OIDC Core §3.1.2.4: asked before anything is given", func(t *testing.T) {
		b.authorize("ask", "prompt", "none").isError("consent_required")
		a := b.authorize("ask", "scope", "openid email unknown")
		a.isPage(200, "consent", "")
		a = b.submit(a, "consent-allow")
		if _, got := a.callback(); got.Get("state") != "the state" || !slices.Equal(a.writes, []string{"SaveConsent"}) {
			t.Errorf("state %q, wrote %v", got.Get("state"), a.writes)
		}
		w.granted(w.redeem("ask", a.code()))
	})
	w.run("remembered", func(t *testing.T) {
		b.authorize("ask").code()
		b.authorize("ask", "prompt", "none").code()
		b.authorize("ask", "scope", "openid", "prompt", "none").code()
		w.signedIn("ada@example.com").authorize("ask", "prompt", "none").code()
	})
	w.run("more scopes are asked for again", func(t *testing.T) {
		b.authorize("ask", "scope", "openid email groups", "prompt", "none").isError("consent_required")
		b.submit(b.authorize("ask", "scope", "openid groups"), "consent-allow").code()
		b.authorize("ask", "scope", "openid email groups", "prompt", "none").code() // what was allowed before still is
	})
	w.run("of this client alone", func(t *testing.T) {
		b.authorize("web", "prompt", "none").code() // consent: skip
		b.authorize("web", "prompt", "consent").isPage(200, "consent", "")
	})
	w.run("of this person alone", func(t *testing.T) {
		w.signedIn("bob@example.com").authorize("ask", "prompt", "none").isError("consent_required")
	})
	w.run("OIDC Core §3.1.2.1: prompt=consent asks always", func(t *testing.T) {
		for _, client := range []string{"ask", "web", "ask"} {
			a := b.authorize(client, "prompt", "consent")
			a.isPage(200, "consent", "")
			b.submit(a, "consent-allow").code()
		}
	})
	w.run("RFC 6749 §4.1.2.1: denied", func(t *testing.T) {
		for _, mode := range []string{"query", "fragment", "form_post"} {
			a := b.submit(b.authorize("ask", "prompt", "consent", "response_mode", mode), "consent-deny")
			a.isError("access_denied")
			if _, got := a.callback(); got.Get("state") != "the state" {
				t.Errorf("state %q", got.Get("state"))
			}
		}
		carl := w.signedIn("carl@example.com")
		carl.submit(carl.authorize("ask"), "consent-deny").isError("access_denied")
		carl.authorize("ask", "prompt", "none").isError("consent_required")
	})
	w.run("neither allowed nor denied", func(t *testing.T) {
		for _, answer := range []string{omit, "", "maybe", "ALLOW"} {
			b.submit(b.authorize("ask", "prompt", "consent"), "consent-allow", "consent", answer).isError("access_denied")
		}
	})
	w.run("the page says what is asked for", func(t *testing.T) {
		a := b.authorize("ask", "prompt", "consent", "scope", "openid profile offline_access nonsense")
		for _, name := range []string{"consent-allow", "consent-deny"} {
			if f := a.forms[name]; f.action != "/authorize/resume" || f.method != "post" || f.fields.Get("request") == "" || f.fields.Get("token") == "" {
				t.Errorf("form %s: %+v", name, f)
			}
		}
	})
	w.run("after a login", func(t *testing.T) {
		dora := w.browser()
		handle := dora.handle("ask")
		dora.signIn("dora@example.com")
		dora.submit(dora.resume(handle), "consent-allow").code()
	})
	w.run("OIDC Core §3.1.2.3: prompt=login is not lost on the way", func(t *testing.T) {
		w.clock.pass(time.Second)
		handle := b.handle("ask", "prompt", "login consent")
		w.clock.pass(time.Second)
		b.signIn("ada@example.com")
		a := b.resume(handle)
		a.isPage(200, "consent", "")
		b.submit(a, "consent-allow").code()
	})
}

// The form of the consent page is good for the session it was shown to, and for
// the request it was shown for.
func TestConsentCannotBeForged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	page := b.authorize("ask")
	other := b.authorize("ask", "scope", "openid groups offline_access")
	w.clock.pass(time.Second)
	waiting := b.handle("ask", "prompt", "login")
	eve := w.signedIn("eve@example.com")
	ofEve := eve.authorize("ask")
	token := func(a answer) string { return a.forms["consent-allow"].fields.Get("token") }

	for name, pairs := range map[string][]string{
		"no token":                         {"token", omit},
		"empty token":                      {"token", ""},
		"garbage":                          {"token", "garbage"},
		"the token of another request":     {"token", token(other)},
		"another request with this token":  {"request", other.forms["consent-allow"].fields.Get("request")},
		"a request that was never shown":   {"request", waiting},
		"another session's token":          {"token", token(ofEve)},
		"a handle that waits, and nothing": {"request", waiting, "token", ""},
	} {
		w.run(name, func(t *testing.T) {
			for _, form := range []string{"consent-allow", "consent-deny"} {
				a := b.submit(page, form, pairs...)
				a.isPage(400, "error", "invalid_request")
				if len(a.writes) > 0 {
					t.Errorf("wrote %v", a.writes)
				}
			}
		})
	}
	w.run("S3: another browser", func(t *testing.T) {
		eve.submit(page, "consent-allow").isPage(400, "error", "invalid_request")
		w.browser().submit(page, "consent-allow").isPage(400, "error", "invalid_request")
	})
	w.run("another site", func(t *testing.T) {
		f, before := page.forms["consent-allow"], b.cookies[browserCookie]
		b.crossSite(f.action, f.fields).isPage(400, "error", "invalid_request")
		if b.cookies[browserCookie] != before {
			t.Error("a POST of another site replaced the browser's cookie, and with it every login that waits")
		}
	})
	w.run("repeated parameters", func(t *testing.T) {
		fields := page.forms["consent-allow"].fields
		fields["consent"] = []string{"deny", "allow"}
		b.post("/authorize/resume", fields).isPage(400, "error", "invalid_request")
		fields["consent"] = []string{"allow"}
	})
	w.run("in the query", func(t *testing.T) {
		b.post("/authorize/resume?"+page.forms["consent-allow"].fields.Encode(), nil).isPage(400, "error", "invalid_request")
	})
	w.run("GET is no answer", func(t *testing.T) {
		f := page.forms["consent-allow"].fields
		b.get("/authorize/resume", "request", f.Get("request"), "token", f.Get("token"), "consent", "allow").isPage(200, "consent", "")
	})
	w.run("the session has ended", func(t *testing.T) {
		carl := w.signedIn("carl@example.com")
		shown := carl.authorize("ask")
		carl.endSession()
		carl.submit(shown, "consent-allow").handle()
	})
	w.run("somebody else has signed in", func(t *testing.T) {
		carl := w.signedIn("carl@example.com")
		shown := carl.authorize("ask")
		carl.signIn("dora@example.com")
		carl.submit(shown, "consent-allow").isPage(400, "error", "invalid_request")
		carl.authorize("ask", "prompt", "none").isError("consent_required")
	})
	w.run("good", func(t *testing.T) { b.submit(page, "consent-allow").code() })
}

func TestConsentSpeaksTheLanguageThatWasAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	w.describe(b.login().User.ID, "Ada", "fr")
	for _, tt := range []struct{ name, locales, want string }{
		{"ui_locales (OIDC Core §3.1.2.1)", "de", "de"},
		{"the person's own", "", "fr"},
	} {
		if got := b.authorize("ask", "ui_locales", tt.locales).header.Get("Content-Language"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
