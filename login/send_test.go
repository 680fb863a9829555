package login

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func (b *browser) sendMagicLink(contentType, body string) page {
	r := b.request("POST", "/send-magic-link", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return b.send(r)
}

func TestSendMagicLink(t *testing.T) {
	const sent, invalid = `{"success":true,"message":"Magic link sent to your email"}`, `{"error":"Invalid email"}`
	for name, tt := range map[string]struct {
		contentType, body string
		status            int
		want              string
	}{
		"an address":          {"application/json", `{"email": "user@example.com"}`, 200, sent},
		"charset":             {"application/json; charset=UTF-8", `{"email":"user@example.com"}`, 200, sent},
		"unknown fields":      {"application/json", `{"a":{"email":1},"email":"user@example.com","b":[1,{"x":null}]}`, 200, sent},
		"white space":         {"application/json", " \n{ \"email\" : \"user@example.com\" }\n ", 200, sent},
		"no address":          {"application/json", `{}`, 400, invalid},
		"empty body":          {"application/json", ``, 400, invalid},
		"bad address":         {"application/json", `{"email":"user"}`, 400, invalid},
		"two addresses":       {"application/json", `{"email":"a@example.com,b@example.com"}`, 400, invalid},
		"a list":              {"application/json", `{"email":["a@example.com"]}`, 400, invalid},
		"null":                {"application/json", `{"email":null}`, 400, invalid},
		"a number":            {"application/json", `{"email":1}`, 400, invalid},
		"CRLF":                {"application/json", `{"email":"a@example.com\r\nBcc: b@example.com"}`, 400, invalid},
		"other case":          {"application/json", `{"Email":"a@example.com"}`, 400, invalid},
		"repeated":            {"application/json", `{"email":"a@example.com","email":"b@example.com"}`, 400, invalid},
		"repeated, escaped":   {"application/json", `{"email":"a@example.com","\u0065mail":"b@example.com"}`, 400, invalid},
		"trailing garbage":    {"application/json", `{"email":"a@example.com"} x`, 400, invalid},
		"second object":       {"application/json", `{"email":"a@example.com"}{"email":"b@example.com"}`, 400, invalid},
		"truncated":           {"application/json", `{"email":"a@example.com"`, 400, invalid},
		"trailing comma":      {"application/json", `{"email":"a@example.com",}`, 400, invalid},
		"a list of objects":   {"application/json", `[{"email":"a@example.com"}]`, 400, invalid},
		"a string":            {"application/json", `"a@example.com"`, 400, invalid},
		"deep":                {"application/json", strings.Repeat("[", 10000), 400, invalid},
		"too long":            {"application/json", `{"email":"a@example.com","x":"` + strings.Repeat("x", maxJSON) + `"}`, 413, ""},
		"form":                {"application/x-www-form-urlencoded", "email=a@example.com", 415, ""},
		"plain text":          {"text/plain", `{"email":"a@example.com"}`, 415, ""},
		"no content type":     {"", `{"email":"a@example.com"}`, 415, ""},
		"other charset":       {"application/json; charset=utf-16", `{"email":"a@example.com"}`, 415, ""},
		"another JSON format": {"application/ld+json", `{"email":"a@example.com"}`, 415, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.browser().sendMagicLink(tt.contentType, tt.body)
			if p.status != tt.status || tt.want != "" && strings.TrimSpace(p.body) != tt.want {
				t.Errorf("got %d %s", p.status, p.body)
			}
			if p.header.Get("Content-Type") != "application/json" || p.header.Get("Cache-Control") != "no-store" || p.header.Get("Set-Cookie") != "" {
				t.Errorf("headers %v", p.header)
			}
			if started := len(w.store.started); started != int(w.woken.Load()) || (started == 1) != (tt.status == 200) {
				t.Errorf("%d attempts", started)
			}
		})
	}
}

func TestSendMagicLinkLetsAnyBrowserConfirm(t *testing.T) {
	w := newWorld(t)
	w.browser().sendMagicLink("application/json", `{"email":"user@example.com"}`)
	b := w.browser()
	p := b.get("/login?token=" + w.token())
	w.is(p, 200, "confirm")
	w.is(b.follow(b.post(p.forms["confirm"])), 200, "signed-in")
}

func TestSendMagicLinkRefusesOtherSites(t *testing.T) {
	for name, header := range map[string]http.Header{
		"Origin":                     {"Origin": {"https://evil.example"}},
		"Sec-Fetch-Site: cross-site": {"Sec-Fetch-Site": {"cross-site"}},
		"Sec-Fetch-Site: same-site":  {"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://app.example.com"}},
	} {
		w := newWorld(t)
		b := w.browser()
		b.header = header
		p := b.sendMagicLink("application/json", `{"email":"user@example.com"}`)
		if p.status != http.StatusForbidden || p.header.Get("Access-Control-Allow-Origin") != "" || len(w.store.started) > 0 {
			t.Errorf("%s: %d %s", name, p.status, p.body)
		}
	}
}

func TestSendMagicLinkLimitedAndUnavailable(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.PerAddress = Limit{1, time.Minute} })
	b := w.browser()
	b.sendMagicLink("application/json", `{"email":"user@example.com"}`)
	p := b.sendMagicLink("application/json", `{"email":"User+tag@example.com"}`)
	if p.status != http.StatusTooManyRequests || p.header.Get("Retry-After") != "60" || !strings.Contains(p.body, `"error"`) {
		t.Errorf("got %d %s", p.status, p.body)
	}
	w.store.fail = errors.New("no disk")
	p = b.sendMagicLink("application/json", `{"email":"user@example.com"}`)
	if p.status != http.StatusServiceUnavailable || p.header.Get("Retry-After") == "" || !strings.Contains(p.body, `"error"`) || strings.Contains(p.body, "disk") {
		t.Errorf("got %d %s", p.status, p.body)
	}
}

func FuzzReadEmail(f *testing.F) {
	for _, seed := range []string{`{"email":"a@example.com"}`, `{"email":"a","email":"b"}`, `{}`, `[`, `{"email":"a"}x`, `{"a":{"b":[]}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		email, err := readEmail(strings.NewReader(body))
		if err != nil && email != "" {
			t.Errorf("%q: %q with %v", body, email, err)
		}
	})
}
