package provider

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const stateCookie = "__Host-sealpost-state"

// holds says whether a session_state is the one of a browser state (OIDC Session
// Management §3.2), as a frame of the page works it out.
func holds(sessionState, clientID, origin, browserState string) bool {
	_, salt, _ := strings.Cut(sessionState, ".")
	sum := sha256.Sum256([]byte(clientID + " " + origin + " " + browserState + " " + salt))
	return len(salt) >= 16 && sessionState == base64.RawURLEncoding.EncodeToString(sum[:])+"."+salt
}

// answered is what the client receives.
func answered(a answer) url.Values {
	a.Helper()
	_, got := a.callback()
	return got
}

// OIDC Session Management §2, §3.2 and the module
// oidcc-session-management-rp-initiated-logout: the state holds until the logout
// and not after it.
func TestSessionState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, pairs := range map[string][]string{"query": nil, "fragment": {"response_mode", "fragment"}, "form_post": {"response_mode", "form_post"}} {
		w.run(name, func(t *testing.T) {
			b := w.signedIn("ada@example.com")
			a := b.authorize("web", pairs...)
			state := answered(a).Get("session_state")
			if !holds(state, "web", "https://web.example.com", b.cookies[stateCookie]) || b.cookies[stateCookie] == "" {
				t.Fatalf("session_state %q, browser state %q", state, b.cookies[stateCookie])
			}
			if strings.ContainsAny(state, " ") {
				t.Errorf("§2: session_state has a space: %q", state)
			}
			for _, c := range (&http.Response{Header: a.header}).Cookies() {
				if c.Name == stateCookie && (!c.Secure || c.HttpOnly || c.SameSite != http.SameSiteNoneMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 0) {
					t.Errorf("cookie %v", c)
				}
			}
			before := b.cookies[stateCookie]
			again := b.authorize("web", pairs...)
			if s := answered(again).Get("session_state"); s == state || !holds(s, "web", "https://web.example.com", before) {
				t.Errorf("§3.2: session_state without a salt of its own: %q", s)
			}
			if len(again.header.Values("Set-Cookie")) > 0 {
				t.Errorf("a browser state that holds is set again")
			}
			other := b.authorize("other")
			if s := answered(other).Get("session_state"); !holds(s, "other", "https://other.example.com", before) {
				t.Errorf("another client: %q", s)
			}
			hint := b.tokens("web").id
			b.logout("id_token_hint", hint)
			if holds(state, "web", "https://web.example.com", b.cookies[stateCookie]) || b.cookies[stateCookie] != "" {
				t.Error("the state holds after the logout")
			}
			b.signIn("ada@example.com")
			b.authorize("web")
			if b.cookies[stateCookie] == before {
				t.Error("the next session has the state of the last")
			}
		})
	}
	w.run("a browser state tells no session", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		b.authorize("web")
		if state := b.cookies[stateCookie]; strings.Contains(state, b.sessionID()) || state == b.cookies[sessionCookie] {
			t.Errorf("browser state %q", state)
		}
	})
	w.run("another person in this browser", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		state := answered(b.authorize("web")).Get("session_state")
		b.signIn("bob@example.com")
		b.authorize("web")
		if holds(state, "web", "https://web.example.com", b.cookies[stateCookie]) {
			t.Error("the state holds for another person")
		}
	})
	for name, a := range map[string]answer{
		"without scope openid": w.signedIn("ada@example.com").authorize("web", "scope", "email"),
		"of an app of its own": w.signedIn("ada@example.com").authorize("cli", "redirect_uri", "com.example.cli:/cb"),
		"of an error":          w.signedIn("ada@example.com").authorize("web", "response_type", "nonsense"),
	} {
		if answered(a).Has("session_state") || strings.Contains(a.header.Get("Set-Cookie"), stateCookie) {
			t.Errorf("%s: session_state or its cookie", name)
		}
	}
}

// RFC 6454 §6.2: origins as browsers write them.
func TestOriginOf(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"https://app.example.com/cb?x=1":  "https://app.example.com",
		"https://APP.example.com:443/cb":  "https://app.example.com",
		"https://app.example.com:8443/cb": "https://app.example.com:8443",
		"https://app.example.com:80/":     "https://app.example.com:80",
		"http://127.0.0.1:80/cb":          "http://127.0.0.1",
		"http://[::1]:9000/cb":            "http://[::1]:9000",
		"com.example.cli:/cb":             "", "urn:x": "", "": "", "https:///cb": "", "http://%zz/": "",
	} {
		if got := originOf(uri); got != want {
			t.Errorf("%q has origin %q, want %q", uri, got, want)
		}
	}
}

// OIDC Session Management §3.3: the frame that applications ask. It looks at
// nothing but the browser state.
func TestCheckSessionFrame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, b := range []*browser{w.browser(), w.signedIn("ada@example.com")} {
		a := b.get("/check_session")
		a.isPage(200, "check-session", "")
		if len(a.reads)+len(a.writes) > 0 || len(a.header.Values("Set-Cookie")) > 0 {
			t.Errorf("read %v, wrote %v, cookies %q", a.reads, a.writes, a.header.Values("Set-Cookie"))
		}
		if a.header.Get("X-Frame-Options") != "" || strings.Contains(a.header.Get("Content-Security-Policy"), "frame-ancestors") {
			t.Errorf("it cannot be framed: %v", a.header)
		}
		if !strings.Contains(a.body, `data-cookie="`+stateCookie+`"`) {
			t.Errorf("the frame does not know its cookie: %s", a.body)
		}
	}
	if d := w.document("/.well-known/openid-configuration"); d.json["check_session_iframe"] != issuer+"/check_session" {
		t.Errorf("check_session_iframe %v", d.json["check_session_iframe"])
	}
}
