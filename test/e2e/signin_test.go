package e2e

import (
	"errors"
	"net/http"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/test/world"
	"golang.org/x/oauth2"
)

func TestPersonSignsInToAnApplicationByMailedLink(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Mail.Secure()
		w.Start(nil)
		began := time.Now().Add(-time.Second)
		ada, b := w.Person("Ada"), w.Browser(world.Firefox)
		login := w.App.Begin()

		form := b.Open(login.Address).MustBe("login", http.StatusOK)
		form = b.Submit(form, "email", "email", "not an address").MustBe("login", http.StatusBadRequest)
		if form.Error() != "invalid-email" {
			t.Errorf("error %q, want invalid-email", form.Error())
		}
		tab := b.Submit(form, "email", "email", ada).MustBe("sent", http.StatusOK)
		letter := w.Mail.Next(ada)
		checkLetter(t, w, letter, ada)

		// The link opens in a second tab, beside the one that waits.
		second := b.Open(letter.Link).MustBe("confirm", http.StatusOK)
		if !second.Auto("confirm") {
			t.Error("the script would not click in the browser that asked")
		}
		if b.SignedIn() {
			t.Error("opening the link signed in")
		}
		got := login.Finish(b.Submit(second, "confirm"))
		checkClaims(t, w, got, ada, began)

		// The first one moves on and leads to where the application starts, which
		// has had its answer.
		if onward := b.MovesOn(tab).MustBe("signed-in", http.StatusOK).Button(); onward != "https://"+world.AppHost+"/" {
			t.Errorf("the first tab leads to %s", onward)
		}
		// A second click on the link lands where the first did.
		again := b.Submit(b.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm")
		if again.Answer().Get("code") == "" {
			t.Error("a second click got no code")
		}

		info, err := login.Provider.UserInfo(w.App.Ctx(), oauth2.StaticTokenSource(got.Token))
		if err != nil {
			t.Fatalf("userinfo: %v", err)
		}
		if info.Subject != got.Id.Subject || info.Email != ada || !info.EmailVerified {
			t.Errorf("userinfo says %q is verified: %t, of the same subject: %t", info.Email, info.EmailVerified, info.Subject == got.Id.Subject)
		}

		fresh := got
		if fresh.Token, err = login.Refresh(got.Token); err != nil {
			t.Fatalf("refresh: %v", err)
		}
		login.Verify(&fresh, "")
		if fresh.Id.Subject != got.Id.Subject || fresh.Token.RefreshToken == got.Token.RefreshToken || fresh.Token.AccessToken == got.Token.AccessToken {
			t.Error("refresh gave the same tokens, or another person's")
		}

		// A live session needs no form.
		silent := w.App.Begin()
		if silent.Finish(b.Open(silent.Address)).Id.Subject != got.Id.Subject {
			t.Error("the session is another person's")
		}

		bye := b.Open(login.LogoutAddress(got, "so long"))
		if q := bye.Answer(); bye.At.Path != "/bye" || q.Get("state") != "so long" {
			t.Errorf("after logout the browser is at %s with %q", bye.At.Path, q)
		}
		if b.SignedIn() {
			t.Error("the session cookie is still there after logout")
		}
		b.Open(w.App.Begin().Address).MustBe("login", http.StatusOK)
		// offline_access outlives the session (OIDC Core §11).
		if fresh.Token, err = login.Refresh(fresh.Token); err != nil {
			t.Errorf("refresh after logout: %v", err)
		}

		// RFC 6749 §4.1.2: a code is good once, and a replay takes back what it
		// gave.
		refused(t, "replayed code", "invalid_grant", func() error { _, err := login.Redeem(got.Code); return err })
		refused(t, "refresh after a replayed code", "invalid_grant", func() error { _, err := login.Refresh(fresh.Token); return err })
		if _, err := login.Provider.UserInfo(w.App.Ctx(), oauth2.StaticTokenSource(fresh.Token)); err == nil {
			t.Error("the access token still works after a replayed code")
		}
		if n := len(w.Mail.To(ada)); n != 1 {
			t.Errorf("%d mails for one login", n)
		}
	})
}

// The tab that waits may look again when the login is complete and the answer,
// with the session cookie, is still on its way to the other tab.
func TestWaitingTabThatLooksBeforeTheCookieArrivesIsSignedIn(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(nil)
		fay, b := w.Person("Fay"), w.Browser(world.Firefox)
		login := w.App.Begin()
		tab, letter := b.Ask(login, fay)
		other := b.Copy() // gets the answer
		login.Finish(other.Submit(other.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
		b.MovesOn(tab).MustBe("signed-in", http.StatusOK)
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

func checkLetter(t testing.TB, w *world.World, l world.Letter, to string) {
	t.Helper()
	if want := w.Issuer + "/login?token="; !strings.HasPrefix(l.Link, want) || len(l.Link) >= 120 {
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
	if subject := l.Header.Get("Subject"); strings.Contains(subject, l.Token(t)) {
		t.Errorf("the link stands in the subject: %q", subject)
	}
}

func checkClaims(t testing.TB, w *world.World, got world.Outcome, email string, began time.Time) {
	t.Helper()
	c := got.Claims
	if c.Email != email || c.EmailVerified != true || c.PreferredUsername != email || c.Groups == nil {
		t.Errorf("claims: email %q, email_verified %v, preferred_username %q, groups %v", c.Email, c.EmailVerified, c.PreferredUsername, c.Groups)
	}
	if got.Id.Subject == "" || strings.Contains(got.Id.Subject, "@") || c.SessionID == "" {
		t.Errorf("claims: sub %q, sid %q", got.Id.Subject, c.SessionID)
	}
	if at := time.Unix(c.AuthTime, 0); at.Before(began.Truncate(time.Second)) || at.After(time.Now()) {
		t.Errorf("auth_time is %s, want the time of the click", at)
	}
	if got.Token.RefreshToken == "" || got.Token.Expiry.IsZero() {
		t.Error("there is no refresh token, or no end of the access token")
	}
}
