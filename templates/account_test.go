package templates

import (
	"strings"
	"testing"
	"time"
)

func TestTheAccountPageTellsWhatIsKept(t *testing.T) {
	s := site(t)
	for name, tc := range map[string]struct {
		page Account
		want []string
		not  []string
	}{
		"all of it": {account(intranet, ada),
			[]string{ada, "Firefox on Linux This browser", "Safari on iPhone", "Last active: 26 minutes ago", "Signed in: 10 February 2026", "2001:db8:1234:5678::/64", "A browser",
				"See your email address", "Use tickets:read", "Stay signed in when you're away", "Connected: 2 January 2026", "wiki", "Signed in to Intranet"}, nil},
		"nothing yet":      {Account{}, []string{"will be listed here", "Nothing has happened yet"}, []string{"Sign out everywhere else", "Earlier"}},
		"saved":            {Account{Notice: "saved"}, []string{"Your changes are saved."}, nil},
		"another address":  {Account{Email: ada, Notice: "address-changed"}, []string{"From now on, sign in with " + ada}, nil},
		"an address taken": {Account{Error: "address-taken", NewEmail: "grace@example.com"}, []string{"belongs to another account"}, nil},
		"no address":       {Account{Error: "invalid-email"}, []string{"doesn't look like an email address"}, nil},
		"no name":          {Account{Error: "invalid-name"}, []string{"This name won't do"}, nil},
		"fresh":            {Account{State: "fresh", Next: "address", Email: ada}, []string{"Before your address changes", ada, "Back to your account"}, []string{"Profile"}},
		"fresh to delete":  {Account{State: "fresh", Next: "delete", Email: ada}, []string{"Before your account is deleted", ada}, nil},
		"fresh to export":  {Account{State: "fresh", Next: "export", Email: ada}, []string{"Before you download your data", ada}, nil},
		"delete":           {Account{State: "delete", Email: ada}, []string{ada, "can't be undone", "Keep my account"}, []string{"Profile"}},
		"deleted":          {Account{State: "deleted"}, []string{"Your account is deleted"}, []string{"Profile", "signed in as"}},
	} {
		text := render(t, s, sample{name, tc.page, "/account"}).text()
		for _, want := range tc.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not said: %s", name, want, text)
			}
		}
		for _, not := range tc.not {
			if strings.Contains(text, not) {
				t.Errorf("%s: %q is said: %s", name, not, text)
			}
		}
	}
}

// The browser that asks is signed out by account-logout alone: no other button
// of the page ends its session unasked.
func TestTheCurrentSessionIsNotAmongThoseToEnd(t *testing.T) {
	doc := render(t, site(t), sample{"account", account(intranet, ada), "/account"})
	for _, f := range doc.all(func(e *node) bool { return e.get("data-form") == "session-end" }) {
		if f.hidden().Get("session") == "s1" {
			t.Error("the current session can be ended as if it were another")
		}
	}
}

// Every event has words in every language, and nobody reads the name of one.
func TestEventsAreToldInWords(t *testing.T) {
	s := site(t)
	tell := func(e AccountEvent) string {
		e.At = noon
		return (&node{render(t, s, sample{e.Name, Account{Events: []AccountEvent{e}, Now: noon}, "/account"}).with("data-event")[0].Node}).text()
	}
	for name, tc := range map[string]struct {
		event AccountEvent
		want  string
	}{
		"a login":                 {AccountEvent{Name: "login", Browser: "Firefox on Linux", Network: "203.0.113.0/24"}, "Signed in just now · Firefox on Linux · 203.0.113.0/24"},
		"of an app":               {AccountEvent{Name: "app.signed-in", App: "Intranet"}, "Signed in to Intranet just now"},
		"of an app that has gone": {AccountEvent{Name: "refresh.replayed"}, "Something happened with an app that isn't here any more just now"},
		"without words":           {AccountEvent{Name: "user.groups"}, "Something about your account changed just now"},
		"of tomorrow":             {AccountEvent{Name: "solar.flare", App: "Intranet"}, "Something about your account changed just now"},
	} {
		if have := tell(tc.event); have != tc.want {
			t.Errorf("%s: %q, want %q", name, have, tc.want)
		}
	}
	for _, name := range activities {
		if have := tell(AccountEvent{Name: name, App: "Intranet"}); strings.Contains(have, name) || strings.HasPrefix(have, "Something") {
			t.Errorf("%s: %q", name, have)
		}
	}
}

func TestOldEventsWaitToBeAskedFor(t *testing.T) {
	var events []AccountEvent
	for n := range latest + 2 {
		events = append(events, AccountEvent{Name: "login", At: noon.Add(-time.Duration(n) * time.Minute)})
	}
	for n, want := range map[int]int{0: 0, latest: 0, latest + 2: 2} {
		doc := render(t, site(t), sample{"account", Account{Events: events[:n], Now: noon}, "/account"})
		var hidden int
		for _, d := range doc.tags("details") {
			hidden += len(d.with("data-event"))
		}
		if have := len(doc.with("data-event")); have != n || hidden != want {
			t.Errorf("%d events: %d are there, %d of them in details, want %d", n, have, hidden, want)
		}
	}
}

// The menu of the profile has every language, by its own name, and the one of
// the user's locale is chosen.
func TestTheProfileKnowsTheLocale(t *testing.T) {
	for locale, want := range map[string]string{"": "", "de": "de", "de-AT": "de", "zh": "zh-Hans", "fy": "nl", "x": ""} {
		menu := render(t, site(t), sample{"account", Account{Locale: locale}, "/account"}).tags("select")[0]
		var values, chosen []string
		for _, o := range menu.tags("option") {
			values = append(values, o.get("value"))
			if o.has("selected") {
				chosen = append(chosen, o.get("value"))
			}
		}
		if len(values) != len(Languages())+1 || values[0] != "" || strings.Join(chosen, ",") != want {
			t.Errorf("%q: %q, chosen %q", locale, values, chosen)
		}
	}
}

func TestWhatCannotBeUndoneIsTicked(t *testing.T) {
	s := site(t)
	for form, page := range map[string]Page{"delete": Account{State: "delete"}, "mute": Cancelled{NotMe: true, Mute: "t"}} {
		var found bool
		for _, i := range render(t, s, sample{form, page, ""}).form(t, form).tags("input") {
			if i.get("type") == "checkbox" {
				found = i.get("name") == "sure" && i.get("value") == "yes" && i.has("required") && !i.has("checked")
			}
		}
		if !found {
			t.Errorf("%s asks for no tick", form)
		}
	}
}

// Whoever is told that a mail was turned down learns nothing about accounts,
// and has the field to correct the address in open before them.
func TestAMailThatWasTurnedDown(t *testing.T) {
	doc := render(t, site(t), sample{"sent", Sent{Client: intranet, Wait: "w", Email: ada, ExpiresIn: time.Minute, Undelivered: true}, ""})
	alerts := doc.all(func(e *node) bool { return e.get("role") == "alert" })
	if len(alerts) != 1 || !strings.Contains(alerts[0].text(), ada) || strings.Contains(doc.text(), "account") {
		t.Errorf("it is not told: %s", doc.text())
	}
	if d := doc.tags("main")[0].tags("details"); len(d) != 1 || !d[0].has("open") || doc.form(t, "change-email").tags("input")[2].get("value") != ada {
		t.Error("the address cannot be corrected at once")
	}
	for _, f := range doc.with("data-form") {
		if f.get("data-form") == "enter-code" {
			t.Error("a code is asked for that nobody can have")
		}
	}
}

// A link that gives an address says so, on every page and in the mail.
func TestANewAddressIsNoLogin(t *testing.T) {
	s := site(t)
	for _, tc := range []struct {
		page Page
		want string
	}{
		{Sent{Email: ada, Purpose: PurposeAddress}, "to make it the address you sign in with"},
		{OtherBrowser{Email: ada, Purpose: PurposeAddress}, "use this address for their account"},
		{Confirm{Email: ada, Purpose: PurposeAddress}, ada + " will be how you sign in from now on."},
		{Confirm{Email: ada, Purpose: PurposeAddress, Auto: true}, "Changing your address"},
	} {
		text := render(t, s, sample{tc.page.page(), tc.page, ""}).text()
		if !strings.Contains(text, tc.want) || strings.Contains(text, "sign in as") || strings.Contains(text, "Signing you in") {
			t.Errorf("%s: %s", tc.page.page(), text)
		}
	}
	_, text, html, err := s.LoginMail(mails()["mail-address"])
	rich := parse(t, html).text()
	for _, want := range []string{"it becomes the address you sign in with", "it shows you a code to type where you started"} {
		if plain := strings.Join(strings.Fields(text), " "); err != nil || !strings.Contains(plain, want) || !strings.Contains(rich, want) {
			t.Errorf("%q is not said: %v\n%s\n%s", want, err, plain, rich)
		}
	}
}
