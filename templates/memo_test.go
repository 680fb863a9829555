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
