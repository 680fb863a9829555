package provider

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// frontClients want to hear of logouts in the browser; "quiet" does not.
func frontClients(c *Config) {
	add := func(id, uri string) {
		c.Clients = append(c.Clients, storage.Client{
			ID: id, SecretSHA256: hexSHA256(secretOf(id)), RedirectURIs: []string{"https://" + id + ".example.com/cb"},
			PostLogoutRedirectURIs: []string{"https://" + id + ".example.com/bye"}, FrontchannelLogoutURI: uri, FrontchannelLogoutSessionRequired: uri != "",
		})
	}
	add("front", "https://front.example.com/out")
	add("query", "https://query.example.com/out?tenant=1&x=%2F")
	add("quiet", "")
}

// frames are the addresses of the frames of a page, and where it goes when they
// have loaded.
func (a answer) frames() (frames []string, next string) {
	a.Helper()
	root, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		a.Fatal(err)
	}
	for n := range root.Descendants() {
		attr := map[string]string{}
		for _, at := range n.Attr {
			attr[at.Key] = at.Val
		}
		if n.Data == "iframe" {
			frames = append(frames, attr["src"])
		}
		if _, auto := attr["data-auto"]; auto {
			next = attr["href"]
		}
	}
	slices.Sort(frames)
	return frames, next
}

// OIDC Front-Channel Logout §2, §3 and the module
// oidcc-frontchannel-rp-initiated-logout: every client of the session, and no
// other, is told issuer and session, before the browser goes on.
func TestFrontChannelLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, frontClients)
	signedIn := func(clients ...string) (b *browser, hint string, told func(address string) string) {
		b = w.signedIn("ada@example.com")
		for _, id := range clients {
			hint = b.tokens(id).id
		}
		with := url.Values{"iss": {issuer}, "sid": {keys.SID(b.sessionID())}}.Encode()
		return b, hint, func(address string) string {
			if strings.Contains(address, "?") {
				return address + "&" + with
			}
			return address + "?" + with
		}
	}
	w.run("RP-initiated", func(t *testing.T) {
		b, hint, told := signedIn("query", "quiet", "front")
		a := b.logout("id_token_hint", hint, "post_logout_redirect_uri", "https://front.example.com/bye", "state", "s&t")
		a.isPage(200, "logged-out", "")
		frames, next := a.frames()
		want := []string{told("https://front.example.com/out"), told("https://query.example.com/out?tenant=1&x=%2F")}
		if !slices.Equal(frames, want) || next != "https://front.example.com/bye?state=s%26t" {
			t.Errorf("frames %q, then %q, want %q", frames, next, want)
		}
		if policy := a.header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-src https://front.example.com https://query.example.com") {
			t.Errorf("CSP %q", policy)
		}
		b.isSignedIn(false)
		b.authorize("front", "prompt", "none").isError("login_required")
	})
	w.run("clients that the session never signed in to hear nothing", func(t *testing.T) {
		other := w.signedIn("bob@example.com")
		other.tokens("query")
		b, hint, told := signedIn("front")
		frames, _ := b.logout("id_token_hint", hint).frames()
		if !slices.Equal(frames, []string{told("https://front.example.com/out")}) {
			t.Errorf("frames %q", frames)
		}
		other.isSignedIn(true)
	})
	w.run("nobody to tell: the browser goes at once", func(*testing.T) {
		b, hint, _ := signedIn("quiet")
		b.logout("id_token_hint", hint, "post_logout_redirect_uri", "https://quiet.example.com/bye").goes("https://quiet.example.com/bye")
	})
	w.run("on a page of login", func(t *testing.T) {
		b, _, told := signedIn("query", "quiet", "front")
		login, err := w.engine.Session(t.Context(), b.sessionID(), w.clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		w.provider.SignOut(rec, b.request("POST", "/account", nil), login)
		for _, address := range []string{told("https://front.example.com/out"), told("https://query.example.com/out?tenant=1&x=%2F")} {
			if !strings.Contains(rec.Body.String(), html.EscapeString(address)) {
				t.Errorf("no frame for %s", address)
			}
		}
		cleared := map[string]bool{}
		for _, c := range rec.Result().Cookies() {
			cleared[c.Name] = c.MaxAge < 0
		}
		if rec.Code != http.StatusOK || !cleared[sessionCookie] || !cleared[w.provider.stateCookie()] {
			t.Errorf("%d, cleared %v", rec.Code, cleared)
		}
		b.isSignedIn(false)
	})
	w.run("asked first, the page goes nowhere by itself", func(t *testing.T) {
		b, _, _ := signedIn("front")
		ask := b.logout("client_id", "front", "post_logout_redirect_uri", "https://front.example.com/bye")
		if frames, _ := ask.frames(); len(frames) > 0 {
			t.Errorf("told before the person said so: %q", frames)
		}
		frames, next := b.submit(ask, "logout").frames()
		if len(frames) != 1 || next != "" {
			t.Errorf("frames %q, then %q", frames, next)
		}
	})
	w.run("a session that has ended tells nobody twice", func(t *testing.T) {
		b, hint, _ := signedIn("front")
		cookie := b.cookies[sessionCookie]
		b.logout("id_token_hint", hint)
		b.cookies[sessionCookie] = cookie
		if frames, _ := b.logout("id_token_hint", hint).frames(); len(frames) > 0 {
			t.Errorf("frames %q", frames)
		}
	})
	w.run("a client that is gone keeps nobody signed in", func(t *testing.T) {
		b, hint, told := signedIn("query", "front")
		gone := w.provider.clients.fixed["query"]
		delete(w.provider.clients.fixed, "query")
		defer func() { w.provider.clients.fixed["query"] = gone }()
		frames, _ := b.logout("id_token_hint", hint).frames()
		if !slices.Equal(frames, []string{told("https://front.example.com/out")}) {
			t.Errorf("frames %q", frames)
		}
		b.isSignedIn(false)
	})
}
