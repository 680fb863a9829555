package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

const (
	linkSent     = `{"success":true,"message":"Magic link sent to your email"}`
	invalidEmail = `{"error":"Invalid email"}`
)

// postEmail is POST /send-magic-link as a program sends it.
func (w *world) postEmail(at, email string) (*http.Response, string) {
	w.t.Helper()
	return w.send(http.MethodPost, at+"/send-magic-link", `{"email": `+strconv.Quote(email)+`}`,
		map[string]string{"Content-Type": "application/json"})
}

// sendMagicLink asks for a link with no application waiting.
func (w *world) sendMagicLink(email string) {
	w.t.Helper()
	if answer, body := w.postEmail(w.issuer, email); answer.StatusCode != http.StatusOK || strings.TrimSpace(body) != linkSent {
		w.t.Fatalf("POST /send-magic-link: %s %s", answer.Status, body)
	}
}

func TestSendMagicLinkAnswersAsTheContractSays(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.start(nil)
		address := w.issuer + "/send-magic-link"
		json := map[string]string{"Content-Type": "application/json"}
		with := func(name, value string) map[string]string {
			h := maps.Clone(json)
			h[name] = value
			return h
		}
		for _, c := range []struct {
			name, method, body string
			header             map[string]string
			status             int
			want               string // body; empty: any error
		}{
			{"JSON", "POST", `{"email": "USER"}`, json, 200, linkSent},
			{"JSON with a charset", "POST", `{"email": "USER"}`, map[string]string{"Content-Type": "application/json; charset=utf-8"}, 200, linkSent},
			{"other names beside it", "POST", `{"email": "USER", "remember": true}`, json, 200, linkSent},
			{"from a page of ours", "POST", `{"email": "USER"}`, with("Sec-Fetch-Site", "same-origin"), 200, linkSent},
			{"no address", "POST", `{"email": "nobody"}`, json, 400, invalidEmail},
			{"two addresses", "POST", `{"email": "USER, USER"}`, json, 400, invalidEmail},
			{"a header in it", "POST", `{"email": "USER\r\nBcc: USER"}`, json, 400, invalidEmail},
			{"no email", "POST", `{}`, json, 400, invalidEmail},
			{"a number", "POST", `{"email": 7}`, json, 400, invalidEmail},
			{"null", "POST", `{"email": null}`, json, 400, invalidEmail},
			{"bad JSON", "POST", `{"email": "USER"`, json, 400, invalidEmail},
			{"a list", "POST", `["USER"]`, json, 400, invalidEmail},
			{"nothing", "POST", ``, json, 400, invalidEmail},
			{"text", "POST", `{"email": "USER"}`, map[string]string{"Content-Type": "text/plain"}, 415, ""},
			{"no content type", "POST", `{"email": "USER"}`, nil, 415, ""},
			{"a form", "POST", `email=USER`, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 415, ""},
			{"GET", "GET", ``, nil, 405, ""},
			{"PUT", "PUT", `{"email": "USER"}`, json, 405, ""},
			{"DELETE", "DELETE", ``, nil, 405, ""},
			{"from another site, as browsers say", "POST", `{"email": "USER"}`, with("Sec-Fetch-Site", "cross-site"), 403, ""},
			{"from another site, as old browsers say", "POST", `{"email": "USER"}`, with("Origin", "https://evil.example"), 403, ""},
		} {
			user := w.person("user")
			answer, body := w.send(c.method, address, strings.ReplaceAll(c.body, "USER", user), c.header)
			if answer.StatusCode != c.status || c.want != "" && strings.TrimSpace(body) != c.want {
				t.Errorf("%s: %d %s, want %d %s", c.name, answer.StatusCode, body, c.status, c.want)
			}
			if mediaType(answer.Header) != "application/json" || c.status >= 400 && !strings.Contains(body, `"error":`) {
				t.Errorf("%s: the answer is %s: %s", c.name, answer.Header.Get("Content-Type"), body)
			}
			if c.status == 405 && answer.Header.Get("Allow") != "POST" {
				t.Errorf("%s: Allow is %q", c.name, answer.Header.Get("Allow"))
			}
			if answer.Header.Get("Cache-Control") != "no-store" || len(answer.Cookies()) > 0 {
				t.Errorf("%s: Cache-Control %q and %d cookies", c.name, answer.Header.Get("Cache-Control"), len(answer.Cookies()))
			}
			if c.status == 200 {
				w.mail.next(user)
			}
		}

		preflight, _ := w.send(http.MethodOptions, address, "", map[string]string{
			"Origin": "https://evil.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"})
		if allowed := preflight.Header.Get("Access-Control-Allow-Origin"); allowed != "" {
			t.Errorf("other sites may send: Access-Control-Allow-Origin is %q", allowed)
		}
	})
}

func TestSendMagicLinkSignsInTheBrowserThatConfirms(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.start(nil)
		quo := w.person("Quo")
		w.sendMagicLink(quo)
		letter := w.mail.next(quo)

		b := w.browser(phone)
		confirm := b.open(letter.Link).is("confirm", http.StatusOK)
		if confirm.auto("confirm") {
			t.Error("a script would click for the person")
		}
		if b.signedIn() {
			t.Error("opening the link signed in")
		}
		b.submit(confirm, "confirm").is("signed-in", http.StatusOK)
		b.open(w.issuer+"/login").is("signed-in", http.StatusOK)
		late := w.browser(firefox)
		late.open(letter.Link).is("used", http.StatusGone)
		late.open(w.issuer+"/login").is("login", http.StatusOK)

		// The session is one for applications, too.
		login := w.app.begin()
		if got := login.finish(b.open(login.address)); got.claims.Email != quo {
			t.Errorf("the application knows %q", got.claims.Email)
		}
	})
}

func TestSendMagicLinkTellsNoAccountAndEndsAtTheLimit(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.start(map[string]any{"limits": map[string]any{"per_address": "3/10m"}, "login": map[string]any{"deny": []string{"*@denied.example"}}})
		rob := w.person("Rob")
		w.sendMagicLink(rob)
		b := w.browser(phone)
		b.submit(b.open(w.mail.next(rob).Link), "confirm").is("signed-in", http.StatusOK)

		// Known, unknown and denied are asked for alike and answered alike.
		what := func(email string) string {
			answer, body := w.postEmail(w.issuer, email)
			for _, changes := range []string{"Date", "X-Request-Id"} {
				answer.Header.Del(changes)
			}
			return fmt.Sprint(answer.StatusCode, answer.Header, body)
		}
		known, unknown, denied := what(rob), what(w.person("Sam")), what(strings.Replace(w.person("Tim"), "example.com", "denied.example", 1))
		if known != unknown || known != denied {
			t.Errorf("the answers differ:\n%s\n%s\n%s", known, unknown, denied)
		}

		w.sendMagicLink(strings.Replace(rob, "@", "+tag@", 1)) // the same mailbox
		for _, spelling := range []string{rob, strings.ToUpper(rob)} {
			answer, body := w.postEmail(w.issuer, spelling)
			if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); answer.StatusCode != http.StatusTooManyRequests || err != nil || seconds < 1 || seconds > 600 {
				t.Errorf("past the limit: %s, Retry-After %q", answer.Status, answer.Header.Get("Retry-After"))
			}
			if mediaType(answer.Header) != "application/json" || !strings.Contains(body, `"error":`) {
				t.Errorf("past the limit: %s: %s", answer.Header.Get("Content-Type"), body)
			}
		}
		w.sendMagicLink(w.person("Una")) // and nobody else is kept out
	})
}
