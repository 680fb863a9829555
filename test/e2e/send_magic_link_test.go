package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

const (
	linkSent     = `{"success":true,"message":"Magic link sent to your email"}`
	invalidEmail = `{"error":"Invalid email"}`
)

// postEmail is POST /send-magic-link as a program sends it.
func postEmail(w *world.World, at, email string) (*http.Response, string) {
	w.T.Helper()
	return w.Send(http.MethodPost, at+"/send-magic-link", `{"email": `+strconv.Quote(email)+`}`,
		map[string]string{"Content-Type": "application/json"})
}

// sendMagicLink asks for a link with no application waiting.
func sendMagicLink(w *world.World, email string) {
	w.T.Helper()
	if answer, body := postEmail(w, w.Issuer, email); answer.StatusCode != http.StatusOK || strings.TrimSpace(body) != linkSent {
		w.T.Fatalf("POST /send-magic-link: %s %s", answer.Status, body)
	}
}

func TestSendMagicLinkAnswersAsTheContractSays(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(nil)
		address := w.Issuer + "/send-magic-link"
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
			user := w.Person("user")
			answer, body := w.Send(c.method, address, strings.ReplaceAll(c.body, "USER", user), c.header)
			if answer.StatusCode != c.status || c.want != "" && strings.TrimSpace(body) != c.want {
				t.Errorf("%s: %d %s, want %d %s", c.name, answer.StatusCode, body, c.status, c.want)
			}
			if world.MediaType(answer.Header) != "application/json" || c.status >= 400 && !strings.Contains(body, `"error":`) {
				t.Errorf("%s: the answer is %s: %s", c.name, answer.Header.Get("Content-Type"), body)
			}
			if c.status == 405 && answer.Header.Get("Allow") != "POST" {
				t.Errorf("%s: Allow is %q", c.name, answer.Header.Get("Allow"))
			}
			if answer.Header.Get("Cache-Control") != "no-store" || len(answer.Cookies()) > 0 {
				t.Errorf("%s: Cache-Control %q and %d cookies", c.name, answer.Header.Get("Cache-Control"), len(answer.Cookies()))
			}
			if c.status == 200 {
				w.Mail.Next(user)
			}
		}

		preflight, _ := w.Send(http.MethodOptions, address, "", map[string]string{
			"Origin": "https://evil.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"})
		if allowed := preflight.Header.Get("Access-Control-Allow-Origin"); allowed != "" {
			t.Errorf("other sites may send: Access-Control-Allow-Origin is %q", allowed)
		}
	})
}

func TestSendMagicLinkSignsInTheBrowserThatConfirms(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(nil)
		quo := w.Person("Quo")
		sendMagicLink(w, quo)
		letter := w.Mail.Next(quo)

		b := w.Browser(world.Phone)
		confirm := b.Open(letter.Link).MustBe("confirm", http.StatusOK)
		if confirm.Auto("confirm") {
			t.Error("a script would click for the person")
		}
		if b.SignedIn() {
			t.Error("opening the link signed in")
		}
		b.Submit(confirm, "confirm").MustBe("signed-in", http.StatusOK)
		b.Open(w.Issuer+"/login").MustBe("signed-in", http.StatusOK)
		late := w.Browser(world.Firefox)
		late.Open(letter.Link).MustBe("used", http.StatusGone)
		late.Open(w.Issuer+"/login").MustBe("login", http.StatusOK)

		// The session is one for applications, too.
		login := w.App.Begin()
		if got := login.Finish(b.Open(login.Address)); got.Claims.Email != quo {
			t.Errorf("the application knows %q", got.Claims.Email)
		}
	})
}

func TestSendMagicLinkTellsNoAccountAndEndsAtTheLimit(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(map[string]any{"limits": map[string]any{"per_address": "3/10m"}, "login": map[string]any{"deny": []string{"*@denied.example"}}})
		rob := w.Person("Rob")
		sendMagicLink(w, rob)
		b := w.Browser(world.Phone)
		b.Submit(b.Open(w.Mail.Next(rob).Link), "confirm").MustBe("signed-in", http.StatusOK)

		// Known, unknown and denied are asked for alike and answered alike.
		what := func(email string) string {
			answer, body := postEmail(w, w.Issuer, email)
			for _, changes := range []string{"Date", "X-Request-Id"} {
				answer.Header.Del(changes)
			}
			return fmt.Sprint(answer.StatusCode, answer.Header, body)
		}
		known, unknown, denied := what(rob), what(w.Person("Sam")), what(strings.Replace(w.Person("Tim"), "example.com", "denied.example", 1))
		if known != unknown || known != denied {
			t.Errorf("the answers differ:\n%s\n%s\n%s", known, unknown, denied)
		}

		sendMagicLink(w, strings.Replace(rob, "@", "+tag@", 1)) // the same mailbox
		for _, spelling := range []string{rob, strings.ToUpper(rob)} {
			answer, body := postEmail(w, w.Issuer, spelling)
			if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); answer.StatusCode != http.StatusTooManyRequests || err != nil || seconds < 1 || seconds > 600 {
				t.Errorf("past the limit: %s, Retry-After %q", answer.Status, answer.Header.Get("Retry-After"))
			}
			if world.MediaType(answer.Header) != "application/json" || !strings.Contains(body, `"error":`) {
				t.Errorf("past the limit: %s: %s", answer.Header.Get("Content-Type"), body)
			}
		}
		sendMagicLink(w, w.Person("Una")) // and nobody else is kept out
	})
}
