package e2e

import (
	"errors"
	"net/http"
	"net/mail"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

func TestPersonSignsInToAnApplicationByMailedLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.mail.secure()
		w.start(nil)
		began := time.Now().Add(-time.Second)
		ada, b := w.person("Ada"), w.browser(firefox)
		login := w.app.begin()

		form := b.open(login.address).is("login", http.StatusOK)
		form = b.submit(form, "email", "email", "not an address").is("login", http.StatusBadRequest)
		if form.error() != "invalid-email" {
			t.Errorf("error %q, want invalid-email", form.error())
		}
		tab := b.submit(form, "email", "email", ada).is("sent", http.StatusOK)
		letter := w.mail.next(ada)
		checkLetter(t, w, letter, ada)

		// The link opens in a second tab, beside the one that waits.
		second := b.open(letter.Link).is("confirm", http.StatusOK)
		if !second.auto("confirm") {
			t.Error("the script would not click in the browser that asked")
		}
		if b.signedIn() {
			t.Error("opening the link signed in")
		}
		got := login.finish(b.submit(second, "confirm"))
		checkClaims(t, w, got, ada, began)

		// The first one moves on and leads to where the application starts, which
		// has had its answer.
		if onward := b.movesOn(tab).is("signed-in", http.StatusOK).button(); onward != "https://"+appHost+"/" {
			t.Errorf("the first tab leads to %s", onward)
		}
		// A second click on the link lands where the first did.
		again := b.submit(b.open(letter.Link).is("confirm", http.StatusOK), "confirm")
		if again.answer().Get("code") == "" {
			t.Error("a second click got no code")
		}

		info, err := login.provider.UserInfo(w.app.ctx(), oauth2.StaticTokenSource(got.token))
		if err != nil {
			t.Fatalf("userinfo: %v", err)
		}
		if info.Subject != got.id.Subject || info.Email != ada || !info.EmailVerified {
			t.Errorf("userinfo says %q is verified: %t, of the same subject: %t", info.Email, info.EmailVerified, info.Subject == got.id.Subject)
		}

		fresh := got
		if fresh.token, err = login.refresh(got.token); err != nil {
			t.Fatalf("refresh: %v", err)
		}
		login.verify(&fresh, "")
		if fresh.id.Subject != got.id.Subject || fresh.token.RefreshToken == got.token.RefreshToken || fresh.token.AccessToken == got.token.AccessToken {
			t.Error("refresh gave the same tokens, or another person's")
		}

		// A live session needs no form.
		silent := w.app.begin()
		if silent.finish(b.open(silent.address)).id.Subject != got.id.Subject {
			t.Error("the session is another person's")
		}

		bye := b.open(login.logoutAddress(got, "so long"))
		if q := bye.answer(); bye.at.Path != "/bye" || q.Get("state") != "so long" {
			t.Errorf("after logout the browser is at %s with %q", bye.at.Path, q)
		}
		if b.signedIn() {
			t.Error("the session cookie is still there after logout")
		}
		b.open(w.app.begin().address).is("login", http.StatusOK)
		// offline_access outlives the session (OIDC Core §11).
		if fresh.token, err = login.refresh(fresh.token); err != nil {
			t.Errorf("refresh after logout: %v", err)
		}

		// RFC 6749 §4.1.2: a code is good once, and a replay takes back what it
		// gave.
		refused(t, "replayed code", "invalid_grant", func() error { _, err := login.redeem(got.code); return err })
		refused(t, "refresh after a replayed code", "invalid_grant", func() error { _, err := login.refresh(fresh.token); return err })
		if _, err := login.provider.UserInfo(w.app.ctx(), oauth2.StaticTokenSource(fresh.token)); err == nil {
			t.Error("the access token still works after a replayed code")
		}
		if n := len(w.mail.to(ada)); n != 1 {
			t.Errorf("%d mails for one login", n)
		}
	})
}

// The tab that waits may look again when the login is complete and the answer,
// with the session cookie, is still on its way to the other tab.
func TestWaitingTabThatLooksBeforeTheCookieArrivesIsSignedIn(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.start(nil)
		fay, b := w.person("Fay"), w.browser(firefox)
		login := w.app.begin()
		tab, letter := b.ask(login, fay)
		other := b.copy() // gets the answer
		login.finish(other.submit(other.open(letter.Link).is("confirm", http.StatusOK), "confirm"))
		b.movesOn(tab).is("signed-in", http.StatusOK)
	})
}

// refused wants an OAuth error.
func refused(t testing.TB, what, code string, try func() error) {
	t.Helper()
	var e *oauth2.RetrieveError
	if err := try(); !errors.As(err, &e) || e.ErrorCode != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

func checkLetter(t testing.TB, w *world, l letter, to string) {
	t.Helper()
	if want := w.issuer + "/login?token="; !strings.HasPrefix(l.Link, want) || len(l.Link) >= 120 {
		t.Errorf("the link is %q, want %s… and less than 120 characters", l.Link, want)
	}
	if !strings.Contains(l.HTML, `href="`+l.Link+`"`) {
		t.Error("the HTML part has another link, or none")
	}
	if l.From != "login@example.com" || l.To != to {
		t.Errorf("the envelope is from %s to %s", l.From, l.To)
	}
	if !l.Secure {
		t.Error("the mail came without TLS")
	}
	for name, want := range map[string]string{"From": "login@example.com", "To": to} {
		if a, err := mail.ParseAddress(l.Header.Get(name)); err != nil || a.Address != want {
			t.Errorf("%s is %q, want %s", name, l.Header.Get(name), want)
		}
	}
	for _, name := range []string{"Subject", "Date", "Message-Id", "Auto-Submitted"} {
		if l.Header.Get(name) == "" {
			t.Errorf("the mail has no %s", name)
		}
	}
	if subject := l.Header.Get("Subject"); strings.Contains(subject, l.token(t)) {
		t.Errorf("the link stands in the subject: %q", subject)
	}
}

func checkClaims(t testing.TB, w *world, got outcome, email string, began time.Time) {
	t.Helper()
	c := got.claims
	if c.Email != email || c.EmailVerified != true || c.PreferredUsername != email || c.Groups == nil {
		t.Errorf("claims: email %q, email_verified %v, preferred_username %q, groups %v", c.Email, c.EmailVerified, c.PreferredUsername, c.Groups)
	}
	if got.id.Subject == "" || strings.Contains(got.id.Subject, "@") || c.SessionID == "" {
		t.Errorf("claims: sub %q, sid %q", got.id.Subject, c.SessionID)
	}
	if at := time.Unix(c.AuthTime, 0); at.Before(began.Truncate(time.Second)) || at.After(time.Now()) {
		t.Errorf("auth_time is %s, want the time of the click", at)
	}
	if got.token.RefreshToken == "" || got.token.Expiry.IsZero() {
		t.Error("there is no refresh token, or no end of the access token")
	}
}
