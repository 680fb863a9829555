package e2e

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/sealpost/sealpost/keys"
	chromium "github.com/sealpost/sealpost/test/browser"
	"github.com/sealpost/sealpost/test/world"
)

// signInToAccount goes from the account page to the account page, by a link.
func signInToAccount(w *world.World, b *world.Browser, email string) world.Page {
	w.T.Helper()
	form := b.Open(w.Issuer+"/account").MustBe("login", http.StatusOK)
	b.Submit(form, "email", "email", email).MustBe("sent", http.StatusOK)
	link := w.Mail.Next(email).Link
	page := b.Submit(b.Open(link).MustBe("confirm", http.StatusOK), "confirm").MustBe("account", http.StatusOK)
	if page.At.Path != "/account" {
		w.T.Fatalf("the login leads to %s", page.At.Path)
	}
	return page
}

// profileOf is what an ID token, or the userinfo endpoint, tells of a person.
type profileOf struct {
	Subject string `json:"sub"`
	Email   string `json:"email"`
	Name    string `json:"name"`
	Locale  string `json:"locale"`
}

func TestPersonLooksAfterTheirAccount(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		ended := make(chan string, 8) // sid of each logout that the application hears of
		app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ended <- sidOf(t, r)
		}))
		t.Cleanup(app.Close)
		client := w.App.Settings()
		client["backchannel_logout_uri"] = app.URL + "/logout"
		w.Settings["clients"] = []any{client}
		w.Start(nil)
		ada, laptop, phone := w.Person("Ada"), w.Browser(world.Firefox), w.Browser(world.Phone)

		signInToAccount(w, laptop, ada)
		login := w.App.Begin()
		here := login.Finish(laptop.Open(login.Address)) // the session is good for applications, too
		other := w.App.Begin()
		_, letter := phone.Ask(other, ada)
		there := other.Finish(phone.Submit(phone.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
		page := laptop.Open(w.Issuer+"/account").MustBe("account", http.StatusOK)
		if n := len(page.Attributes("data-session")); n != 2 {
			t.Errorf("%d sessions on the page", n)
		}
		if apps := page.Attributes("data-app"); !slices.Equal(apps, []string{"intranet"}) || !strings.Contains(page.Text(), "Intranet") {
			t.Errorf("apps %v", apps)
		}
		if events := page.Attributes("data-event"); len(events) == 0 || events[len(events)-1] != "user.created" {
			t.Errorf("events %v", events)
		}

		// Another name: for applications at once, and in the next login.
		page = laptop.Submit(page, "profile", "name", "Ada \u202eLovelace", "locale", "de").MustBe("account", http.StatusOK)
		if page.Header().Get("Content-Language") != "de" || !slices.Equal(page.Attributes("data-notice"), []string{"saved"}) {
			t.Errorf("the page speaks %q and says %v", page.Header().Get("Content-Language"), page.Attributes("data-notice"))
		}
		info, err := login.Provider.UserInfo(w.App.Ctx(), oauth2.StaticTokenSource(here.Token))
		if err != nil {
			t.Fatal(err)
		}
		var profile profileOf
		if err := info.Claims(&profile); err != nil || profile.Name != "Ada Lovelace" || profile.Locale != "de" {
			t.Errorf("userinfo says %+v, %v", profile, err)
		}
		next := w.App.Begin()
		got := next.Finish(laptop.Open(next.Address))
		if err := got.Id.Claims(&profile); err != nil || profile.Name != "Ada Lovelace" || profile.Locale != "de" || profile.Subject != here.Id.Subject {
			t.Errorf("the ID token says %+v, %v", profile, err)
		}

		// The other session ends, and the application hears of it.
		page = laptop.Submit(page, "session-end").MustBe("account", http.StatusOK)
		if n := len(page.Attributes("data-session")); n != 1 {
			t.Errorf("%d sessions are left", n)
		}
		if sid := <-ended; sid != there.Claims.SessionID {
			t.Errorf("the application heard of the end of %q, want %q", sid, there.Claims.SessionID)
		}
		phone.Open(w.Issuer+"/account").MustBe("login", http.StatusOK)

		// The application loses what it was given.
		page = laptop.Submit(page, "app-remove").MustBe("account", http.StatusOK)
		if apps := page.Attributes("data-app"); len(apps) > 0 {
			t.Errorf("apps %v are left", apps)
		}
		if sid := <-ended; sid != here.Claims.SessionID {
			t.Errorf("the application heard of %q, want %q", sid, here.Claims.SessionID)
		}
		for name, token := range map[string]*oauth2.Token{"here": here.Token, "there": there.Token, "again": got.Token} {
			refused(t, "refresh, "+name, "invalid_grant", func() error { _, err := login.Refresh(token); return err })
		}
		if _, err := login.Provider.UserInfo(w.App.Ctx(), oauth2.StaticTokenSource(got.Token)); err == nil {
			t.Error("the access token is still good")
		}

		laptop.Submit(page, "account-logout").MustBe("logged-out", http.StatusOK)
		if laptop.SignedIn() {
			t.Error("the session cookie is still there")
		}
		laptop.Open(w.Issuer+"/account").MustBe("login", http.StatusOK)
	})
}

// sidOf is the session of a logout token (OIDC Back-Channel Logout §2.4).
func sidOf(t testing.TB, r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		t.Error(err)
	}
	parts := strings.Split(form.Get("logout_token"), ".")
	if len(parts) != 3 {
		t.Errorf("%q is no token", form.Get("logout_token"))
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Error(err)
	}
	var claims struct {
		SessionID string `json:"sid"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Error(err)
	}
	return claims.SessionID
}

func TestAddressChangesInTheBrowserThatAskedAndByCode(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(map[string]any{"login": map[string]any{"signup": "open"}})
		old, second, third := w.Person("Ada"), w.Person("Lovelace"), w.Person("Countess")
		b, phone := w.Browser(world.Firefox), w.Browser(world.Phone)
		page := signInToAccount(w, b, old)
		login := w.App.Begin()
		before := login.Finish(b.Open(login.Address))

		bad := b.Submit(page, "address", "email", "not an address").MustBe("account", http.StatusBadRequest)
		if bad.Error() != "invalid-email" {
			t.Errorf("error %q", bad.Error())
		}

		// The link, in the browser that asked.
		b.Submit(page, "address", "email", second).MustBe("sent", http.StatusOK)
		letter := w.Mail.Next(second)
		if subject := letter.Header.Get("Subject"); subject == w.Mail.To(old)[0].Header.Get("Subject") {
			t.Errorf("the mail is that of a login: %q", subject)
		}
		confirm := b.Open(letter.Link).MustBe("confirm", http.StatusOK)
		if !strings.Contains(confirm.Text(), second) || !strings.Contains(confirm.Text(), "sign in from now on") {
			t.Errorf("the page says %q", confirm.Text())
		}
		page = b.Submit(confirm, "confirm").MustBe("account", http.StatusOK)
		if !strings.Contains(page.Text(), second) || !slices.Equal(page.Attributes("data-notice"), []string{"address-changed"}) {
			t.Errorf("the page says %v of %q", page.Attributes("data-notice"), page.Text())
		}

		// The code, from a phone.
		tab := b.Submit(page, "address", "email", third).MustBe("sent", http.StatusOK)
		elsewhere := phone.Open(w.Mail.Next(third).Link).MustBe("other-browser", http.StatusOK)
		if !strings.Contains(elsewhere.Text(), "use this address for their account") {
			t.Errorf("the page says %q", elsewhere.Text())
		}
		code := phone.Submit(elsewhere, "show-code").MustBe("code", http.StatusOK).Code()
		w.Seen.Secret("code", code)
		b.Submit(tab, "enter-code", "code", code).MustBe("account", http.StatusOK)
		if phone.SignedIn() {
			t.Error("the phone is signed in")
		}

		// It is the same person for applications, who finds the account by the new
		// address alone.
		info, err := login.Provider.UserInfo(w.App.Ctx(), oauth2.StaticTokenSource(before.Token))
		if err != nil || info.Subject != before.Id.Subject || info.Email != third {
			t.Errorf("userinfo says %+v, %v", info, err)
		}
		for email, same := range map[string]bool{third: true, second: false, old: false} {
			other := w.Browser(world.Firefox)
			login := w.App.Begin()
			_, letter := other.Ask(login, email)
			got := login.Finish(other.Submit(other.Open(letter.Link), "confirm"))
			if (got.Id.Subject == before.Id.Subject) != same || got.Claims.Email != email {
				t.Errorf("the same person: %t, want %t", !same, same)
			}
		}

		// An address that is somebody's by now is told as taken to its owner alone.
		page = b.Open(w.Issuer+"/account").MustBe("account", http.StatusOK)
		b.Submit(page, "address", "email", old).MustBe("sent", http.StatusOK)
		taken := b.Submit(b.Open(w.Mail.Next(old).Link).MustBe("confirm", http.StatusOK), "confirm").MustBe("account", http.StatusConflict)
		if taken.Error() != "address-taken" {
			t.Errorf("error %q", taken.Error())
		}
	})
}

// sessionID is what the database knows a browser's session by.
func sessionID(t testing.TB, b *world.Browser) string {
	t.Helper()
	value, err := base64.RawURLEncoding.DecodeString(b.Cookie("sealpost-session"))
	if err != nil || len(value) < 32 {
		t.Fatalf("the session cookie has %d bytes, %v", len(value), err)
	}
	return keys.Hash(value[:32])
}

func TestPersonTakesTheirDataAndLeaves(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Forgets = true
		w.Start(nil)
		ada, b, phone := w.Person("Ada"), w.Browser(world.Firefox), w.Browser(world.Phone)
		page := signInToAccount(w, b, ada)
		login := w.App.Begin()
		got := login.Finish(b.Open(login.Address))
		other := w.App.Begin()
		_, letter := phone.Ask(other, ada)
		there := other.Finish(phone.Submit(phone.Open(letter.Link), "confirm"))
		page = b.Submit(page, "profile", "name", "Ada Lovelace")

		answer, err := b.Client.Get(w.Issuer + "/account/export")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		file, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Disposition"), "attachment") {
			t.Fatalf("export: %s %v, %v", answer.Status, answer.Header, err)
		}
		var export struct {
			User     profileOf
			Sessions []struct{ SID string }
			Apps     []struct {
				ClientID string `json:"client_id"`
				Name     string
			}
			Events []struct{ Event string }
		}
		if err := json.Unmarshal(file, &export); err != nil {
			t.Fatal(err)
		}
		if export.User.Email != ada || export.User.Name != "Ada Lovelace" || len(export.Sessions) != 2 || len(export.Apps) != 1 || export.Apps[0].Name != "Intranet" || len(export.Events) == 0 {
			t.Errorf("the export is %s", file)
		}
		var sids []string
		for _, s := range export.Sessions {
			sids = append(sids, s.SID)
		}
		if !slices.Contains(sids, got.Claims.SessionID) || !slices.Contains(sids, there.Claims.SessionID) {
			t.Errorf("sessions %v", sids)
		}
		for what, secret := range map[string]string{
			"an access token": got.Token.AccessToken, "a refresh token": got.Token.RefreshToken, "a code": got.Code, "a link": letter.Token(t), "a cookie": b.Cookie("sealpost-session"),
			"the id of a session": sessionID(t, b), "the browser": b.Cookie("sealpost-browser"),
		} {
			if strings.Contains(string(file), secret) {
				t.Errorf("the export has %s", what)
			}
		}

		sure := b.Submit(page, "delete-ask").MustBe("account", http.StatusOK)
		b.Submit(sure, "delete").MustBe("account", http.StatusBadRequest) // the box is not ticked
		gone := b.Submit(sure, "delete", "sure", "yes").MustBe("account", http.StatusOK)
		if !slices.Equal(gone.Attributes("data-state"), []string{"deleted"}) {
			t.Errorf("the page says %q", gone.Text())
		}
		if b.SignedIn() {
			t.Error("the session cookie is still there")
		}
		for _, of := range []*world.Browser{b, phone} {
			of.Open(w.Issuer+"/account").MustBe("login", http.StatusOK)
			of.Open(w.App.Begin().Address).MustBe("login", http.StatusOK)
		}
		for name, token := range map[string]*oauth2.Token{"here": got.Token, "there": there.Token} {
			refused(t, "refresh, "+name, "invalid_grant", func() error { _, err := login.Refresh(token); return err })
			if _, err := login.Provider.UserInfo(w.App.Ctx(), oauth2.StaticTokenSource(token)); err == nil {
				t.Errorf("%s: the access token is still good", name)
			}
		}
		phone.Open(letter.Link).MustBe("expired", http.StatusGone)

		// Whoever comes back is somebody new.
		again := w.App.Begin()
		_, letter = b.Ask(again, ada)
		if back := again.Finish(b.Submit(b.Open(letter.Link), "confirm")); back.Id.Subject == got.Id.Subject {
			t.Error("the person is back")
		}
	})
}

// The script confirms the link of a new address, and the tab that waits leads on.
func TestChromiumChangesTheAddress(t *testing.T) {
	w := world.New(t, "sqlite")
	w.Start(nil)
	old, next := w.Person("Ada"), w.Person("Lovelace")
	profile := world.NewProfile(w, chromium.Start(t), true)
	tab, mail := profile.Tab("account"), profile.Tab("account-mail")
	tab.Open(w.Issuer + "/account")
	tab.Shows("[data-page=login]")
	tab.Types("#email", old)
	tab.Click("[data-form=email] button")
	tab.Shows("[data-page=sent]")
	mail.Open(w.Mail.Next(old).Link)
	mail.Click("[data-form=confirm] button")
	mail.Shows("[data-page=account]")
	tab.Front()
	tab.Shows("[data-page=signed-in]") // by itself
	tab.Click("a.button")
	tab.Shows("[data-page=account]")
	tab.Shot("page")

	tab.Click("[aria-labelledby=profile] summary")
	tab.Types("[data-form=address] #email", next)
	tab.Click("[data-form=address] button")
	tab.Shows("[data-page=sent]")
	mail.Front()
	mail.Open(w.Mail.Next(next).Link)
	mail.Shows("[data-page=account] [data-notice=address-changed]")
	tab.Front()
	tab.Shows("[data-page=signed-in]") // by itself
	tab.Click("a.button")
	tab.Shows("[data-page=account]")

	if n := len(w.Events("address-changed")); n != 1 {
		t.Errorf("the address changed %d times", n)
	}
}
