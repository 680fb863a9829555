package provider

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// push sends the authorization request of a client, changed by pairs, ahead.
func (w *world) push(clientID string, pairs ...string) answer {
	w.Helper()
	var form []string
	for name, values := range w.authorization(clientID, pairs...) {
		form = append(form, name, values[0])
	}
	return w.api("/par", clientID, form...)
}

// pushed is push with an answer.
func (w *world) pushed(clientID string, pairs ...string) (requestURI string) {
	w.Helper()
	a := w.push(clientID, pairs...)
	requestURI, _ = a.json["request_uri"].(string)
	if a.status != http.StatusCreated || !strings.HasPrefix(requestURI, parPrefix) || a.json["expires_in"] != 60.0 || len(a.json) != 2 {
		w.Fatalf("%s: %s", a, a.body)
	}
	return requestURI
}

// RFC 9126 §2, §4: the request travels ahead of the browser.
func TestPushedRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	for _, client := range []string{"web", "poster", "spa", "cli"} {
		uri := w.pushed(client, "state", `a "state" & more`, "nonce", "n-1")
		w.browser().get("/authorize", "client_id", client, "request_uri", uri).handle() // a page may be loaded before
		a := b.get("/authorize", "client_id", client, "request_uri", uri)
		_, got := a.callback()
		if got.Get("state") != `a "state" & more` || got.Get("iss") != issuer {
			t.Errorf("%s: %v", client, got)
		}
		w.granted(w.redeem(client, a.code()))
		b.get("/authorize", "client_id", client, "request_uri", uri).isPage(400, "error", "invalid_request_uri") // and none after
	}

	w.run("RFC 9126 §4: what stands beside it counts for nothing", func(t *testing.T) {
		a := b.get("/authorize", "client_id", "web", "request_uri", w.pushed("web", "state", "pushed"),
			"state", "beside", "prompt", "none login", "redirect_uri", "https://evil.example/", "response_type", "token")
		if _, got := a.callback(); got.Get("state") != "pushed" {
			t.Errorf("state %q", got.Get("state"))
		}
	})
	w.run("a page that asks is good for longer", func(t *testing.T) {
		uri := w.pushed("ask")
		a := b.get("/authorize", "client_id", "ask", "request_uri", uri)
		to := a.header.Get("Location")
		if a.status != http.StatusSeeOther || !strings.HasPrefix(to, "/authorize/resume?") {
			t.Fatalf("%s", a)
		}
		for range 2 { // in another language, say
			w.clock.pass(parTTL)
			b.get(to).isPage(200, "consent", "")
		}
	})
	w.run("it is good for a minute", func(t *testing.T) {
		uri := w.pushed("web")
		w.clock.pass(parTTL - time.Microsecond)
		w.browser().get("/authorize", "client_id", "web", "request_uri", uri).handle()
		w.clock.pass(time.Microsecond)
		b.get("/authorize", "client_id", "web", "request_uri", uri).isPage(400, "error", "invalid_request_uri")
	})
	w.run("the login takes as long as any other", func(t *testing.T) {
		stranger := w.browser()
		handle := stranger.get("/authorize", "client_id", "web", "request_uri", w.pushed("web")).handle()
		w.clock.pass(10 * time.Minute)
		stranger.signIn("bob@example.com")
		stranger.resume(handle).code()
	})
	w.run("a POST of another site comes again as a GET", func(t *testing.T) {
		a := b.crossSite("/authorize", params("client_id", "web", "request_uri", w.pushed("web")))
		b.follow(a).code()
	})
	w.run("the longest one fits into an address", func(t *testing.T) {
		fits := 0
		for n := 1000; n <= maxPushed; n += 100 {
			a := w.push("web", "x", strings.Repeat("&", n/3/2), "y", strings.Repeat("&", n/3/2))
			if a.status != http.StatusCreated {
				a.is(400, invalidRequest)
				break
			}
			fits++
			query := params("client_id", "web", "request_uri", a.json["request_uri"].(string))
			b.follow(b.crossSite("/authorize", query)).code()
		}
		if fits == 0 {
			t.Error("none did")
		}
	})
	w.run("nothing is written", func(t *testing.T) {
		a := w.push("web")
		uri, _ := a.json["request_uri"].(string)
		before := w.browser().get("/authorize", "client_id", "web", "request_uri", uri)
		if before.handle(); len(a.writes)+len(before.writes) > 0 {
			t.Errorf("wrote %v, %v", a.writes, before.writes)
		}
	})
	w.run("whether it was answered has to be known", func(t *testing.T) {
		uri := w.pushed("web")
		w.store.failBefore("Used", errBroken)
		defer w.store.heal()
		b.get("/authorize", "client_id", "web", "request_uri", uri).isPage(503, "error", "temporarily_unavailable")
	})
}

func TestPushedRequestIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tt := range map[string]struct {
		a      answer
		status int
		code   string
	}{
		"RFC 9126 §2.1: a request_uri":              {w.push("web", "request_uri", "https://web.example.com/request"), 400, invalidRequest},
		"RFC 9126 §2.3: an unregistered URI":        {w.push("web", "redirect_uri", "https://evil.example/"), 400, invalidRequest},
		"no redirect_uri":                           {w.push("web", "redirect_uri", ""), 400, invalidRequest},
		"an unknown response_type":                  {w.push("web", "response_type", "token"), 400, unsupportedResponseType},
		"RFC 7636 §4.4.1: no challenge":             {w.push("spa", "code_challenge", "", "code_challenge_method", ""), 400, invalidRequest},
		"a hint that is none":                       {w.push("web", "id_token_hint", "x.y.z"), 400, invalidRequest},
		"no client":                                 {w.send(newRequest("POST", "/par", w.authorization("web"))), 401, invalidClient},
		"another client than the authenticated one": {w.push("web", "client_id", "other"), 401, invalidClient},
		"a request that is too long":                {w.push("web", "state", strings.Repeat("s", 2049)), 400, invalidRequest},
		"a heap of unknown parameters": {func() answer {
			var pairs []string
			for c := range 26 {
				pairs = append(pairs, "extra-"+string(rune('a'+c)), strings.Repeat("x", 1000))
			}
			return w.push("web", pairs...)
		}(), 400, invalidRequest},
	} {
		w.run(name, func(t *testing.T) { tt.a.is(tt.status, tt.code) })
	}
	r := newRequest("POST", "/par", w.authorization("web"))
	r.SetBasicAuth("web", "wrong")
	w.send(r).is(401, invalidClient)
	r = newRequest("POST", "/par", w.authorization("web"))
	r.SetBasicAuth("%zz", url.QueryEscape(secretOf("web")))
	w.send(r).is(401, invalidClient)
}

// A request_uri is the client's whose request it is, and ours.
func TestForeignRequestURIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	uri := w.pushed("web")
	handle := w.browser().handle("web")
	for name, query := range map[string][]string{
		"another client's":             {"client_id", "other", "request_uri", uri},
		"no client":                    {"request_uri", uri},
		"changed":                      {"client_id", "web", "request_uri", other(uri, len(parPrefix)+20)},
		"empty":                        {"client_id", "web", "request_uri", parPrefix},
		"sealed for something else":    {"client_id", "web", "request_uri", parPrefix + handle},
		"changed, with all parameters": append([]string{"request_uri", uri + "A"}, flat(w.authorization("web"))...),
	} {
		w.run(name, func(t *testing.T) { b.get("/authorize", query...).isPage(400, "error", "invalid_request_uri") })
	}
	r := b.request("GET", "/authorize", params("client_id", "web", "request_uri", uri))
	r.URL.RawQuery += "&request_uri=" + url.QueryEscape(uri)
	b.send(r).isPage(400, "error", invalidRequest)
}

// other is s with another character at i.
func other(s string, i int) string {
	c := "A"
	if s[i] == 'A' {
		c = "B"
	}
	return s[:i] + c + s[i+1:]
}

func flat(form url.Values) (pairs []string) {
	for name, values := range form {
		pairs = append(pairs, name, values[0])
	}
	return pairs
}

// RFC 9126 §6: a client may bind itself to pushing.
func TestClientThatHasToPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) {
		c.Clients = append(c.Clients, storage.Client{ID: "pusher", SecretSHA256: hexSHA256(secretOf("pusher")),
			RedirectURIs: []string{"https://pusher.example.com/cb"}, RequirePAR: true})
	})
	b := w.signedIn("ada@example.com")
	b.authorize("pusher").isError(invalidRequest)
	b.get("/authorize", "client_id", "pusher", "request_uri", w.pushed("pusher")).code()
}
