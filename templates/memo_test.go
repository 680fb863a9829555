package templates

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a page looks like does not depend on whether it was drawn before, and for
// whom.
func TestMemoIsThePage(t *testing.T) {
	s := site(t)
	tokens := []string{strings.Repeat("aB3_-", 9), "", "short", `"><b>`, strings.Repeat("long", 600), s.memo.marks[0]}
	emails := []string{"ada@example.com", "", "a+b@example.com", `<&'">@x.org`, "ä@xn--exmple-cua.net", strings.Repeat("x", 64) + "@example.com", "login@request.token"}
	draw := func(r *http.Request, p Page, words words) {
		t.Helper()
		var want, have bytes.Buffer
		if err := s.execute(&want, r, words, p); err != nil {
			t.Fatal(err)
		}
		if err := s.memo.draw(&have, r, words, p, s.execute); err != nil {
			t.Fatal(err)
		}
		if want.String() != have.String() {
			t.Fatalf("%s: %#v in %s:\n%s\n%s", r.URL, p, words.Lang, want.String(), have.String())
		}
	}
	for _, words := range []words{s.languages.get("en"), s.languages.get("ar")} {
		for _, token := range tokens {
			for _, email := range emails {
				for _, method := range []string{http.MethodGet, http.MethodPost} {
					for _, query := range []string{"", "request=" + token, "lang=ar&wait=" + token + "&code=", "x=" + email} {
						r := httptest.NewRequest(method, "https://login.example.com/login", nil)
						r.URL.RawQuery = query
						for _, client := range []Client{{}, {Name: "Grafana"}} {
							draw(r, Login{Client: client, Request: token, Email: email}, words)
							draw(r, Sent{Client: client, Wait: token, Email: email, Cancel: true, ExpiresIn: 15*time.Minute - 7, ResendIn: 1}, words)
							draw(r, Confirm{Client: client, Token: token, Email: email, Auto: client.Name != ""}, words)
						}
					}
				}
			}
		}
	}
	if kept := len(s.memo.young) + len(s.memo.old); kept == 0 || kept > 2*memoSize {
		t.Errorf("%d pages are kept", kept)
	}
}

// Nor does what a mail says.
func TestMemoOfMailsIsTheMail(t *testing.T) {
	s, plain := site(t), site(t)
	plain.mails = nil
	at := time.Date(2026, 11, 27, 23, 59, 30, 123000, time.UTC)
	token := strings.Repeat("aB3_-", 6)
	for _, link := range []string{"https://login.example.com/login?token=" + token, "https://login.example.com/login?token=" + strings.ToLower(token), "https://x.org/<token>", "", "?token=javascript:x", "?token=https://x/y"} {
		for _, to := range []string{"ada@example.com", "", "grace.hopper-of-the-navy@a-long-name-of-a-machine.example.com", `<&'">@x.org`, "ä@example.com", s.mails.marks[1] + "@example.com"} {
			for _, network := range []string{"", "192.0.2.0/24", "2001:db8:1::/48", "a <b>", strings.Repeat("1:", 200)} {
				for _, m := range []LoginMail{
					{Asked: at, Expires: at.Add(15 * time.Minute)},
					{Asked: at.Add(40 * time.Second), Expires: at.Add(40*time.Second + time.Hour), Client: Client{Name: "Grafana"}, Browser: "Firefox, Linux", Locale: "ar"},
					{Asked: at.In(time.FixedZone("", 3600)), Expires: at.Add(15 * time.Minute), Locale: "ja", Client: Client{Name: "A & B"}},
					{Asked: at, Expires: at.Add(90 * time.Second), Locale: "de", Purpose: PurposeAddress},
				} {
					m.Link, m.To, m.Network = link, to, network
					subject, text, html, err := plain.LoginMail(m)
					if err != nil {
						t.Fatal(err)
					}
					for range 2 {
						if gotSubject, gotText, gotHTML, err := s.LoginMail(m); err != nil || gotSubject != subject || gotText != text || gotHTML != html {
							t.Fatalf("%#v: %v\n%s\n%s\n%s\n%s", m, err, text, gotText, html, gotHTML)
						}
					}
				}
			}
		}
	}
	if kept := len(s.mails.young) + len(s.mails.old); kept == 0 || kept > 100 {
		t.Errorf("%d parts of mails are kept", kept)
	}
}

// People who come at once get their own tokens.
func TestMemoOfManyAtOnce(t *testing.T) {
	s := site(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			token := strings.Repeat(string(rune('a'+i)), 43)
			for range 50 {
				r, w := httptest.NewRequest(http.MethodGet, "https://login.example.com/login?token="+token, nil), httptest.NewRecorder()
				s.Render(w, r, http.StatusOK, Confirm{Token: token, Email: "ada@example.com"})
				for j := range 8 {
					if strings.Contains(w.Body.String(), strings.Repeat(string(rune('a'+j)), 43)) != (i == j) {
						t.Errorf("%d is in the page of %d, or is not", j, i)
					}
				}
			}
		})
	}
	all.Wait()
}
