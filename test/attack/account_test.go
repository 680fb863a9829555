package attack

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

// signedIn is a browser on its account page, after it signed in to the app.
func signedIn(w *world.World, b *world.Browser, email string) world.Page {
	w.T.Helper()
	login := w.App.Begin(promptLogin)
	_, letter := b.Ask(login, email)
	login.Finish(b.Submit(b.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
	return account(w, b)
}

func account(w *world.World, b *world.Browser) world.Page {
	w.T.Helper()
	return b.Open(w.Issuer+"/account").MustBe("account", http.StatusOK)
}

// A fresh proof that an application asks for is one of the browser it asks.
func TestStolenSessionIsNotFresh(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		ada, victim, thief := w.Person("Ada"), w.Browser(world.Firefox), w.Browser(world.Phone)
		signedIn(w, victim, ada)
		login := w.App.Begin(promptLogin)
		waits := thief.Open(login.Address).MustBe("login", http.StatusOK)
		plant(t, w, thief, victim, "sealpost-session")
		signedIn(w, victim, ada)
		thief.Open(w.Issuer+"/authorize/resume?"+waits.At.RawQuery).MustBe("login", http.StatusOK)
		thief.Open(w.App.Begin(maxAge).Address).MustBe("login", http.StatusOK)
		again := w.App.Begin(maxAge)
		again.Finish(victim.Open(again.Address))
	})
}

// plant gives a browser cookies of another.
func plant(t *testing.T, w *world.World, to, from *world.Browser, names ...string) {
	t.Helper()
	at, err := url.Parse(w.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		to.Client.Jar.SetCookies(at, []*http.Cookie{{Name: name, Value: cookie(t, w, from, name), Path: "/"}})
	}
}

// Another site sends the forms of the account page.
func TestAccountCSRF(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		ada, victim := w.Person("Ada"), w.Browser(world.Firefox)
		signedIn(w, victim, ada)
		for _, from := range []http.Header{
			{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}},
			{"Origin": {"https://evil.example"}},
			{"Sec-Fetch-Site": {"same-site"}},
			{"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}},
		} {
			for action, form := range map[string]url.Values{
				"profile": {"name": {"Mallory"}}, "sessions-end": {}, "app-remove": {"client": {"intranet"}}, "address": {"email": {w.Person("Mallory")}},
				"fresh": {"next": {"delete"}}, "delete-ask": {}, "delete": {"sure": {"yes"}}, "account-logout": {},
			} {
				form.Set("action", action)
				got, err := post(victim, w.Issuer+"/account", form, from)
				if err != nil || got.Status != http.StatusForbidden {
					t.Errorf("%s: %+v, %v", action, got, err)
				}
			}
		}
		page := account(w, victim)
		if strings.Contains(page.Text(), "Mallory") || !slices.Contains(page.Attributes("data-app"), "intranet") || !strings.Contains(page.Text(), ada) {
			t.Error("something has changed")
		}
	})
}

// The names of what is another's stand in one's own forms.
func TestAccountOfAnother(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		w.Forgets = true
		ada, mallory, victim, attacker := w.Person("Ada"), w.Person("Mallory"), w.Browser(world.Firefox), w.Browser(world.Phone)
		page := signedIn(w, victim, ada)
		signedIn(w, attacker, mallory)
		session := page.Attributes("data-session")[0]
		for _, form := range []url.Values{
			{"action": {"session-end"}, "session": {session}},
			{"action": {"session-end"}, "session": {cookie(t, w, victim, "sealpost-session")}},
			{"action": {"sessions-end"}, "session": {session}},
			{"action": {"app-remove"}, "client": {"intranet"}},
			{"action": {"profile"}, "name": {"Mallory"}, "user": {ada}},
			{"action": {"delete"}, "sure": {"yes"}, "email": {ada}},
		} {
			if _, err := post(attacker, w.Issuer+"/account", form, sameOrigin); err != nil {
				t.Fatal(err)
			}
		}
		page = account(w, victim)
		if !slices.Contains(page.Attributes("data-app"), "intranet") || strings.Contains(page.Text(), "Mallory") || page.Attributes("data-session")[0] != session {
			t.Error("the victim's account has changed")
		}
	})
}

// The attacker asks for the victim's address, or gets the victim to confirm one
// of the attacker's.
func TestAddressChangeInAnotherSession(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		ada, mallory, carol := w.Person("Ada"), w.Person("Mallory"), w.Person("Carol")
		victim, attacker := w.Browser(world.Firefox), w.Browser(world.Phone)
		signedIn(w, victim, ada)
		page := signedIn(w, attacker, mallory)
		confirm := func(b *world.Browser, letter world.Letter) {
			t.Helper()
			if _, err := post(b, w.Issuer+"/login", url.Values{"action": {"confirm"}, "token": {letter.Token(t)}}, sameOrigin); err != nil {
				t.Fatal(err)
			}
		}

		// The victim opens a link to an address of theirs that has no account yet.
		tab := attacker.Submit(page, "address", "email", carol).MustBe("sent", http.StatusOK)
		letter := w.Mail.Next(carol)
		p := victim.Open(letter.Link).MustBe("other-browser", http.StatusOK)
		if !strings.Contains(p.Text(), "use this address for their account") {
			t.Errorf("the victim reads %q", p.Text())
		}
		confirm(victim, letter)
		if attacker.Open(tab.At.String()).Name() != "sent" {
			t.Error("the click was enough")
		}
		victim.Submit(p, "not-me").MustBe("cancelled", http.StatusOK)
		if strings.Contains(account(w, attacker).Text(), carol) {
			t.Error("the attacker's account has the victim's address")
		}

		// The victim's session in the attacker's browser, and the other way round.
		attacker.Submit(page, "address", "email", mallory+".new").MustBe("sent", http.StatusOK)
		letter = w.Mail.Next(mallory + ".new")
		both := attacker.Copy()
		plant(t, w, both, victim, "sealpost-session")
		both.Open(letter.Link).MustBe("login", http.StatusForbidden)
		confirm(both, letter)
		both = victim.Copy()
		plant(t, w, both, attacker, "sealpost-session")
		confirm(both, letter)
		if p := account(w, victim); !strings.Contains(p.Text(), ada) {
			t.Errorf("the victim's account reads %q", p.Text())
		}
		if len(w.Events("address-changed")) > 0 {
			t.Error("an address has changed")
		}
	})
}

// The attacker has the victim's session cookie and wants it to count as proven
// just now: by a proof that the victim gives.
func TestFixationOfTheFreshProof(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		ada, mallory, victim, thief, twin := w.Person("Ada"), w.Person("Mallory"), w.Browser(world.Firefox), w.Browser(world.Phone), w.Browser(world.Firefox)
		signedIn(w, victim, ada)
		thief.Open(w.App.Begin().Address) // a browser cookie of its own
		plant(t, w, thief, victim, "sealpost-session")
		plant(t, w, twin, victim, "sealpost-session", "sealpost-browser", "sealpost-known", "sealpost-fresh")
		page := account(w, thief)
		refused := func(what string, of ...*world.Browser) {
			t.Helper()
			for _, b := range of {
				for _, form := range []url.Values{{"action": {"address"}, "email": {mallory}}, {"action": {"delete"}, "sure": {"yes"}}, {"action": {"delete-ask"}}} {
					if got, err := post(b, w.Issuer+"/account", form, sameOrigin); err != nil || got.Status != http.StatusForbidden {
						t.Errorf("%s: %s: %+v, %v", what, form.Get("action"), got, err)
					}
				}
				if answer, err := b.Client.Get(w.Issuer + "/account/export"); err != nil || answer.StatusCode != http.StatusForbidden {
					t.Errorf("%s: export: %v, %v", what, answer, err)
				} else {
					answer.Body.Close()
				}
			}
		}
		refused("the stolen session", thief)

		// The victim's own proof is the victim's alone. Until then the thief of
		// every cookie is as good as the victim's browser.
		signedIn(w, victim, ada)
		refused("after the victim signed in again", thief, twin)

		// A link that the thief asks for.
		asked := thief.Submit(page, "delete-ask").MustBe("account", http.StatusForbidden)
		tab := thief.Submit(asked, "fresh").MustBe("sent", http.StatusOK)
		letter := w.Mail.Next(ada)
		victim.Open(letter.Link).MustBe("other-browser", http.StatusOK)
		if _, err := post(victim, w.Issuer+"/login", url.Values{"action": {"confirm"}, "token": {letter.Token(t)}}, sameOrigin); err != nil {
			t.Fatal(err)
		}
		thief.Open(tab.At.String()).MustBe("sent", http.StatusOK)
		refused("after the victim opened the link", thief, twin)

		// A link that any browser confirms.
		sendMagicLink(w, ada)
		victim.Submit(victim.Open(w.Mail.Next(ada).Link).MustBe("confirm", http.StatusOK), "confirm")
		refused("after the victim confirmed a link", thief, twin)
		if account(w, victim); len(w.Mail.To(mallory)) > 0 {
			t.Error("the attacker had mail sent")
		}
	})
}
