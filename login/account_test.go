package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// accounts is an AccountStore that counts and fails as watched does.
type accounts struct {
	AccountStore
	*watched
}

func (a accounts) SessionsOf(ctx context.Context, userID string, now time.Time) ([]storage.Session, error) {
	if err := a.read(); err != nil {
		return nil, err
	}
	return a.AccountStore.SessionsOf(ctx, userID, now)
}

func (a accounts) Apps(ctx context.Context, userID string, now time.Time) ([]storage.App, error) {
	if err := a.read(); err != nil {
		return nil, err
	}
	return a.AccountStore.Apps(ctx, userID, now)
}

func (a accounts) Events(ctx context.Context, f storage.EventFilter) ([]storage.Event, error) {
	if err := a.read(); err != nil {
		return nil, err
	}
	return a.AccountStore.Events(ctx, f)
}

func (a accounts) EndSessionOf(ctx context.Context, userID, id string, now time.Time) error {
	return errors.Join(a.write(), a.AccountStore.EndSessionOf(ctx, userID, id, now))
}

func (a accounts) EndOtherSessions(ctx context.Context, userID, keep string, now time.Time) (int, error) {
	if err := a.write(); err != nil {
		return 0, err
	}
	return a.AccountStore.EndOtherSessions(ctx, userID, keep, now)
}

func (a accounts) RemoveApp(ctx context.Context, userID, clientID string, now time.Time) error {
	if err := a.write(); err != nil {
		return err
	}
	return a.AccountStore.RemoveApp(ctx, userID, clientID, now)
}

func (a accounts) SetProfile(ctx context.Context, userID, name, locale string, now time.Time) (storage.User, error) {
	if err := a.write(); err != nil {
		return storage.User{}, err
	}
	return a.AccountStore.SetProfile(ctx, userID, name, locale, now)
}

func (a accounts) ChangeAddress(ctx context.Context, c storage.AddressChange, now time.Time) (storage.User, error) {
	if err := a.write(); err != nil {
		return storage.User{}, err
	}
	return a.AccountStore.ChangeAddress(ctx, c, now)
}

func (a accounts) DeleteUser(ctx context.Context, userID string, now time.Time) error {
	if err := a.write(); err != nil {
		return err
	}
	return a.AccountStore.DeleteUser(ctx, userID, now)
}

// account submits a form of the account page with pairs of fields.
func (b *browser) account(action string, fields ...string) page {
	form := url.Values{"action": {action}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.postTo("/account", form)
}

func (b *browser) postTo(path string, form url.Values) page {
	r := b.request("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.send(r)
}

// signedInAs is a new browser that has just signed in.
func (w *world) signedInAs(email string) *browser {
	w.Helper()
	b := w.browser()
	b.signIn(email)
	return b
}

func (b *browser) signIn(email string) {
	b.Helper()
	_, token := b.ask(b.handle("app"), email)
	b.is(b.act("confirm", "token", token), 200, "resumed")
}

// leads wants a redirect to an address.
func (w *world) leads(p page, to string) {
	w.Helper()
	if p.status != http.StatusSeeOther || p.header.Get("Location") != to {
		w.Fatalf("got %s to %q, want a redirect to %s\n%s", p, p.header.Get("Location"), to, p.body)
	}
	if got := p.header.Get("Cache-Control"); got != "no-store" {
		w.Errorf("%s: Cache-Control %q", p, got)
	}
}

// waits follows a form that asks for a link and gives the wait handle and the
// link's token.
func (b *browser) waits(p page) (wait, token string) {
	b.Helper()
	at, err := url.Parse(p.header.Get("Location"))
	if err != nil || p.status != http.StatusSeeOther || at.Query().Get("wait") == "" {
		b.Fatalf("asking for a link: %s to %q\n%s", p, p.header.Get("Location"), p.body)
	}
	return at.Query().Get("wait"), b.token()
}

// attributes are the values of an attribute on a page, in its order.
func (p page) attributes(name string) (values []string) {
	for _, m := range regexp.MustCompile(name+`="([^"]*)"`).FindAllStringSubmatch(p.body, -1) {
		values = append(values, m[1])
	}
	return values
}

func (b *browser) mustSession() storage.Login {
	b.Helper()
	l, err := b.session()
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func (w *world) user(key string) (storage.User, error) { return w.db.User(w.Context(), key) }

// forms of the account page with fields that would do.
var accountForms = map[string][]string{
	"profile": {"name", "Mallory", "locale", "fr"}, "session-end": {"session", "x"}, "sessions-end": nil, "app-remove": {"client", "x"},
	"fresh": {"next", "delete"}, "address": {"email", "new@example.com"}, "delete-ask": nil, "delete": {"sure", "yes"}, "account-logout": nil,
}

func TestAccountIsForWhoIsSignedIn(t *testing.T) {
	w := newWorld(t)
	w.signedInAs("ada@example.com")
	b := w.browser()
	writes := w.store.writes
	p := b.get("/account")
	w.is(p, 200, "login")
	if p.forms["email"].Get("account") != "1" {
		t.Errorf("the form is %v", p.forms["email"])
	}
	w.is(b.get("/account/export"), 403, "login")
	for action, fields := range accountForms {
		w.is(b.account(action, fields...), 403, "login")
	}
	if w.store.writes != writes {
		t.Error("something was written for nobody")
	}
}

func TestSignInFromTheAccountPage(t *testing.T) {
	w := newWorld(t)
	asker, b := w.browser(), w.browser()
	form := asker.get("/account").forms["email"]
	bad := asker.act("email", "account", "1", "email", "nonsense")
	w.is(bad, 400, "login")
	if bad.forms["email"].Get("account") != "1" {
		t.Error("the form forgets where it belongs")
	}
	form.Set("email", "ada@example.com")
	wait, token := asker.waits(asker.post(form))
	if a := w.attempt(token); a.Browser != "" || a.Purpose != storage.PurposeAccount || a.Request != "" {
		t.Fatalf("attempt %+v", a)
	}
	w.is(b.get("/login?token="+token), 200, "confirm")
	w.leads(b.act("confirm", "token", token), "/account")
	w.is(b.get("/account"), 200, "account")
	if asker.signedIn() {
		t.Error("the browser that asked is signed in by another's click")
	}
	w.is(asker.get("/login?wait="+wait), 200, "signed-in")
	if p := b.get("/login"); !strings.Contains(p.body, `href="/account"`) {
		t.Error("/login does not lead to the account")
	}
}

func TestAccountPage(t *testing.T) {
	w := newWorld(t)
	here, there := w.signedInAs("ada@example.com"), w.signedInAs("ada@example.com")
	stranger := w.signedInAs("bob@example.com")
	user := here.mustSession().User
	for _, client := range []string{"id-of-app", "gone"} {
		if err := w.db.SaveConsent(t.Context(), storage.Consent{UserID: user.ID, ClientID: client, Scopes: []string{"email"}, At: w.clock.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	reads, writes := w.store.reads, w.store.writes
	p := here.get("/account?notice=saved")
	w.is(p, 200, "account")
	if n := w.store.reads - reads; n > 4 {
		t.Errorf("%d reads", n)
	}
	w.clock.pass(time.Hour)
	here.get("/account")
	here.get("/account?next=delete")
	here.get("/account/export")
	if w.store.writes != writes {
		t.Error("GET wrote something")
	}
	want := []string{keys.SID(here.mustSession().Session.ID), keys.SID(there.mustSession().Session.ID)}
	got := p.attributes("data-session")
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("sessions %v, want %v", got, want)
	}
	for what, id := range map[string]string{
		"a session's id": here.mustSession().Session.ID, "another's session": keys.SID(stranger.mustSession().Session.ID), "another user": "bob@example.com",
	} {
		if strings.Contains(p.body, id) {
			t.Errorf("the page has %s", what)
		}
	}
	if apps := p.attributes("data-app"); !slices.Equal(apps, []string{"gone", "id-of-app"}) {
		t.Errorf("apps %v", apps)
	}
	for _, text := range []string{"ada@example.com", "Name of id-of-app", ">gone<", "Firefox", "203.0.113.0/24"} {
		if !strings.Contains(p.body, text) {
			t.Errorf("the page does not say %q", text)
		}
	}
	if n := p.attributes("data-event"); !slices.Equal(n, []string{"consent.given", "consent.given", "login", "login", "user.created"}) {
		t.Errorf("events %v", n)
	}
	if n := p.attributes("data-notice"); !slices.Equal(n, []string{"saved"}) {
		t.Errorf("notice %v", n)
	}
	if p := here.get("/account?notice=you+have+won"); p.attributes("data-notice") != nil || strings.Contains(p.body, "won") && strings.Contains(p.body, ">you have won<") {
		t.Error("a link can have the page say anything")
	}
	if p := here.get("/account?notice=saved&notice=saved"); p.status != 400 {
		t.Errorf("a repeated parameter: %s", p)
	}
}

func TestProfile(t *testing.T) {
	for name, tt := range map[string]struct {
		typed, want string
		status      int
	}{
		"a name":                    {"Ada Lovelace", "Ada Lovelace", 303},
		"none":                      {" ", "", 303},
		"white space":               {" Ada\t \nLovelace ", "Ada Lovelace", 303},
		"bidi and control":          {"Ada\u202e\u0000 Love\u200elace", "Ada Lovelace", 303},
		"a hundred characters":      {strings.Repeat("ä", 100), strings.Repeat("ä", 100), 303},
		"one more":                  {strings.Repeat("ä", 101), "", 400},
		"nothing that can be read":  {"\u202e\u0007", "", 400},
		"no text at all":            {"\xff\xfe", "", 400},
		"an encoded word in a mail": {"=?utf-8?q?x?=", "utf-8?q?x?=", 303},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := w.signedInAs("ada@example.com")
			p := b.account("profile", "name", tt.typed, "locale", "fr")
			if tt.status == 303 {
				w.leads(p, "/account?notice=saved")
			} else if w.is(p, 400, "account"); p.fault != "invalid-name" {
				t.Errorf("%s", p)
			}
			if u := b.mustSession().User; u.Name != tt.want || tt.status == 303 && u.Locale != "fr" {
				t.Errorf("the name is %q, the locale %q", u.Name, u.Locale)
			}
		})
	}
}

func TestLanguageOfTheAccount(t *testing.T) {
	w := newWorld(t)
	b := w.signedInAs("ada@example.com")
	b.get("/account?lang=de") // the menu
	if p := b.get("/account"); p.header.Get("Content-Language") != "de" {
		t.Errorf("the menu is worth nothing: %s", p.header.Get("Content-Language"))
	}
	b.account("profile", "name", "", "locale", "fr")
	if p := b.get("/account"); p.header.Get("Content-Language") != "fr" {
		t.Errorf("the page speaks %s", p.header.Get("Content-Language"))
	}
	_, token := b.waits(b.account("fresh", "next", "export"))
	if a := w.attempt(token); a.Locale != "fr" {
		t.Errorf("the mail speaks %q", a.Locale)
	}
	if p := b.account("profile", "name", "", "locale", "tlh"); p.status != 400 || b.mustSession().User.Locale != "fr" {
		t.Errorf("an unknown language: %s", p)
	}
	user := b.mustSession().User
	if _, err := w.db.SetProfile(t.Context(), user.ID, "", "de-AT", w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	b.account("profile", "name", "Ada", "locale", "de")
	if u := b.mustSession().User; u.Locale != "de-AT" || u.Name != "Ada" {
		t.Errorf("the name is %q, the locale %q", u.Name, u.Locale)
	}
	b.account("profile", "name", "Ada", "locale", "")
	if u := b.mustSession().User; u.Locale != "" {
		t.Errorf("the locale is %q", u.Locale)
	}
}

func TestEndAnotherSession(t *testing.T) {
	w := newWorld(t)
	here, there, stranger := w.signedInAs("ada@example.com"), w.signedInAs("ada@example.com"), w.signedInAs("bob@example.com")
	for what, id := range map[string]string{
		"another's session": keys.SID(stranger.mustSession().Session.ID), "the id itself": there.mustSession().Session.ID, "nothing": "", "garbage": "\x00\xff",
	} {
		w.leads(here.account("session-end", "session", id), "/account?notice=session-ended")
		if !here.signedIn() || !there.signedIn() || !stranger.signedIn() {
			t.Fatalf("%s ended a session", what)
		}
	}
	told := len(w.requests.ended)
	w.leads(here.account("session-end", "session", keys.SID(there.mustSession().Session.ID)), "/account?notice=session-ended")
	if !here.signedIn() || there.signedIn() || !stranger.signedIn() {
		t.Error("the wrong session has ended")
	}
	if !slices.Equal(w.requests.ended[told:], []bool{false}) {
		t.Errorf("told %v", w.requests.ended)
	}
	third := w.signedInAs("ada@example.com")
	w.leads(here.account("sessions-end"), "/account?notice=sessions-ended")
	if !here.signedIn() || third.signedIn() || !stranger.signedIn() {
		t.Error("the wrong sessions have ended")
	}
	if p := here.account("session-end", "session", keys.SID(here.mustSession().Session.ID)); p.name != "logged-out" {
		t.Errorf("%s", p)
	}
	if stranger.account("account-logout"); len(w.requests.signedOut) != 2 {
		t.Errorf("signed out %v", w.requests.signedOut)
	}
}

func TestRemoveApp(t *testing.T) {
	w := newWorld(t)
	b, other := w.signedInAs("ada@example.com"), w.signedInAs("bob@example.com")
	for _, l := range []storage.Login{b.mustSession(), other.mustSession()} {
		if err := w.db.SaveConsent(t.Context(), storage.Consent{UserID: l.User.ID, ClientID: "id-of-app", Scopes: []string{"email"}, At: w.clock.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	apps := func(b *browser) int {
		all, err := w.db.Apps(t.Context(), b.mustSession().User.ID, w.clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	for _, id := range []string{"another", "", "\x00\xff", strings.Repeat("x", 5000)} {
		writes := w.store.writes
		w.leads(b.account("app-remove", "client", id), "/account?notice=app-removed")
		if apps(b) != 1 || w.store.writes != writes {
			t.Errorf("%q was removed", id)
		}
	}
	w.leads(b.account("app-remove", "client", "id-of-app"), "/account?notice=app-removed")
	if apps(b) != 0 || apps(other) != 1 || len(w.requests.ended) != 1 {
		t.Errorf("%d apps, %d of another", apps(b), apps(other))
	}
}

// What cannot be undone takes a proof of the address in this very browser, not
// long ago.
func TestFreshProof(t *testing.T) {
	for _, way := range []string{"link", "code"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t)
			b, phone := w.signedInAs("ada@example.com"), w.browser()
			before := b.mustSession().Session
			w.is(b.account("delete-ask"), 200, "account") // it was proven just now
			w.clock.pass(freshFor)
			b.mustSession() // seen just now
			writes := w.store.writes
			for next, p := range map[string]page{
				"address": b.account("address", "email", "new@example.com"), "delete": b.account("delete", "sure", "yes"), "export": b.get("/account/export"),
			} {
				w.is(p, 403, "account")
				if p.forms["fresh"].Get("next") != next {
					t.Errorf("%s: %v", next, p.forms)
				}
			}
			w.is(b.account("delete-ask"), 403, "account")
			if w.store.writes != writes {
				t.Fatal("something was written")
			}
			if p := b.account("fresh", "next", "https://evil.example"); p.status != 400 {
				t.Errorf("goes on to %s", p)
			}
			wait, token := b.waits(b.account("fresh", "next", "address"))
			if a := w.attempt(token); a.Browser != b.hash() || a.Key != "ada@example.com" || a.Purpose != storage.PurposeAccount || a.Request != "" {
				t.Fatalf("attempt %+v", a)
			}
			tab := b.get("/login?wait=" + wait)
			w.is(tab, 200, "sent")
			if tab.forms["change-email"] != nil || tab.forms["enter-code"] == nil || tab.forms["cancel"] == nil {
				t.Errorf("forms %v", tab.forms)
			}
			if p := b.act("change-email", "wait", wait, "email", "mallory@example.com"); p.status != 400 {
				t.Errorf("another address proves the account: %s", p)
			}
			w.is(phone.get("/login?token="+token), 200, "other-browser")
			if way == "link" {
				w.leads(b.act("confirm", "token", token), "/account?next=address#profile")
				w.leads(b.act("confirm", "token", token), "/account") // a second click
			} else {
				code := phone.act("show-code", "token", token).code
				w.leads(b.act("enter-code", "wait", wait, "code", code), "/account?next=address#profile")
			}
			after := b.mustSession().Session
			if after.ID != before.ID || !after.AuthTime.Equal(w.clock.Now()) {
				t.Errorf("the session is %+v", after)
			}
			p := b.get("/login?wait=" + wait)
			w.is(p, 200, "signed-in")
			if !strings.Contains(p.body, `href="/account"`) {
				t.Error("the tab that waited leads nowhere")
			}
			w.is(b.account("delete-ask"), 200, "account")
			if p := b.get("/account?next=delete"); !slices.Contains(p.attributes("data-state"), "delete") {
				t.Errorf("%s", p)
			}
			if p := b.get("/account?next=address"); !strings.Contains(p.body, "<details open>") {
				t.Error("the form for the address is closed")
			}
			if phone.signedIn() {
				t.Error("the other browser is signed in")
			}
		})
	}
}

// A thief has a cookie, and the owner proves the address again.
func TestStolenSessionIsNeverFresh(t *testing.T) {
	w := newWorld(t)
	owner := w.signedInAs("ada@example.com")
	w.clock.pass(time.Hour)
	session, everything := w.browser(), w.browser()
	session.hash() // a cookie of its own
	session.setCookie("__Host-sealpost-session", owner.cookie("__Host-sealpost-session"))
	for _, name := range []string{"__Host-sealpost-session", "__Host-sealpost-browser", "__Host-sealpost-known", "__Host-sealpost-fresh"} {
		everything.setCookie(name, owner.cookie(name))
	}
	owner.signIn("ada@example.com")
	w.is(owner.account("delete-ask"), 200, "account")
	for name, thief := range map[string]*browser{"the session cookie": session, "every cookie": everything} {
		if !thief.signedIn() {
			t.Fatalf("%s signs nobody in", name)
		}
		w.is(thief.account("delete", "sure", "yes"), 403, "account")
		w.is(thief.account("address", "email", "mallory@example.com"), 403, "account")
		w.is(thief.get("/account/export"), 403, "account")
	}
	// The thief asks for the proof, and the owner opens the link.
	wait, token := session.waits(session.account("fresh", "next", "delete"))
	w.is(owner.get("/login?token="+token), 200, "other-browser")
	w.is(owner.act("confirm", "token", token), 403, "other-browser")
	w.is(session.get("/login?wait="+wait), 200, "sent")
	// And a link that any browser confirms.
	_, free := session.ask("", "ada@example.com")
	owner.get("/login?token=" + free)
	owner.act("confirm", "token", free)
	w.is(session.account("delete", "sure", "yes"), 403, "account")
	if _, err := w.user("ada@example.com"); err != nil {
		t.Errorf("the account is gone: %v", err)
	}
}

func TestChangeAddress(t *testing.T) {
	for _, way := range []string{"link", "code"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t, func(c *Config) { c.Signup = true })
			b, phone, other := w.signedInAs("ada@example.com"), w.browser(), w.signedInAs("ada@example.com")
			before := b.mustSession()
			p := b.account("address", "email", "not an address")
			w.is(p, 400, "account")
			if p.fault != "invalid-email" || !strings.Contains(p.body, "not an address") {
				t.Errorf("%s", p)
			}
			w.leads(b.account("address", "email", "ada@example.com"), "/account")
			wait, token := b.waits(b.account("address", "email", "Ada@example.net"))
			if a := w.attempt(token); a.Browser != b.hash() || a.Purpose != storage.PurposeAddress || a.UserID != before.User.ID || a.Email != "Ada@example.net" || a.Request != "" {
				t.Fatalf("attempt %+v", a)
			}
			w.is(b.get("/login?wait="+wait), 200, "sent")
			elsewhere := phone.get("/login?token=" + token)
			w.is(elsewhere, 200, "other-browser")
			if !strings.Contains(elsewhere.body, "to use this address for their account") {
				t.Error("the page does not say what it does")
			}
			w.is(other.act("confirm", "token", token), 403, "other-browser") // signed in, and still not the one that asked
			if way == "link" {
				p := b.get("/login?token=" + token)
				w.is(p, 200, "confirm")
				if !p.auto || !strings.Contains(p.body, "sign in from now on") {
					t.Errorf("the page does not say what it does:\n%s", p.body)
				}
				w.leads(b.post(p.forms["confirm"]), "/account?notice=address-changed")
				w.leads(b.post(p.forms["confirm"]), "/account?notice=address-changed") // a second click
			} else {
				code := phone.act("show-code", "token", token).code
				w.leads(b.act("enter-code", "wait", wait, "code", code), "/account?notice=address-changed")
			}
			after := b.mustSession()
			if after.Session.ID != before.Session.ID || after.User.ID != before.User.ID || after.User.Key != "ada@example.net" || after.User.Email != "Ada@example.net" {
				t.Errorf("now %+v", after)
			}
			if phone.signedIn() || !other.signedIn() {
				t.Error("other sessions have begun or ended")
			}
			p = b.get("/login?wait=" + wait)
			w.is(p, 200, "signed-in")
			if !strings.Contains(p.body, "address-changed") {
				t.Error("the tab that waited leads elsewhere")
			}
			if p := b.get("/account?notice=address-changed"); !strings.Contains(p.body, "Ada@example.net") {
				t.Errorf("the page says\n%s", p.body)
			}
			if r := b.request("GET", "/", nil); !b.login.isKnown(r, "ada@example.net") {
				t.Error("the new address is not known here")
			}
			stranger := w.signedInAs("ada@example.com") // the old address is free
			if u := stranger.mustSession().User; u.ID == before.User.ID {
				t.Error("the old address still finds the account")
			}
			if u := w.signedInAs("ada@example.net").mustSession().User; u.ID != before.User.ID {
				t.Error("the new address does not find the account")
			}
			if !strings.Contains(w.logged.String(), "event=address-changed") || strings.Contains(strings.ToLower(w.logged.String()), "ada@") {
				t.Errorf("logged\n%s", w.logged.String())
			}
		})
	}
}

// The address is confirmed where nobody is signed in, or another: it says so
// once, and stays good.
func TestAddressChangesInItsSessionAlone(t *testing.T) {
	w := newWorld(t)
	b, phone := w.signedInAs("ada@example.com"), w.browser()
	wait, token := b.waits(b.account("address", "email", "new@example.com"))
	code := phone.act("show-code", "token", token).code
	refused := func(what string) {
		t.Helper()
		for _, p := range []page{b.get("/login?token=" + token), b.act("confirm", "token", token), b.act("enter-code", "wait", wait, "code", code)} {
			w.is(p, 403, "login")
			if p.auto || p.forms["email"].Get("account") != "1" {
				t.Errorf("%s: %s", what, p)
			}
		}
		if a := w.attempt(token); a.State(w.clock.Now()) != storage.StateLive || a.Tries != 0 {
			t.Errorf("%s: the attempt is %+v", what, a)
		}
		if _, err := w.user("new@example.com"); !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("%s: the address has changed, %v", what, err)
		}
	}
	session := b.cookie("__Host-sealpost-session")
	b.setCookie("__Host-sealpost-session", "")
	refused("nobody is signed in")
	b.setCookie("__Host-sealpost-session", w.signedInAs("bob@example.com").cookie("__Host-sealpost-session"))
	refused("another is signed in")
	b.setCookie("__Host-sealpost-session", session)
	w.clock.pass(time.Minute)
	w.leads(b.act("enter-code", "wait", wait, "code", code), "/account?notice=address-changed")
}

// Mails that are asked for again keep no proof of the old address fresh.
func TestOldProofOfTheAddressRunsOut(t *testing.T) {
	w := newWorld(t)
	b := w.signedInAs("ada@example.com")
	w.clock.pass(freshFor - time.Second)
	wait, token := b.waits(b.account("address", "email", "new@example.com"))
	w.clock.pass(14 * time.Minute)
	w.is(b.get("/login?token="+token), 200, "confirm")
	b.act("resend", "wait", wait)
	w.clock.pass(2 * time.Minute)
	w.is(b.get("/login?token="+w.token()), 403, "login")
	w.is(b.act("confirm", "token", w.token()), 403, "login")
}

func TestAddressTaken(t *testing.T) {
	for _, way := range []string{"link", "code"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t)
			b, bob := w.signedInAs("ada@example.com"), w.signedInAs("bob@example.com")
			wait, token := b.waits(b.account("address", "email", "bob@example.com")) // the same answer as for any
			var p page
			if way == "link" {
				p = b.act("confirm", "token", token)
			} else {
				p = b.act("enter-code", "wait", wait, "code", w.browser().act("show-code", "token", token).code)
			}
			w.is(p, 409, "account")
			if p.fault != "address-taken" {
				t.Errorf("%s", p)
			}
			if b.mustSession().User.Key != "ada@example.com" || bob.mustSession().User.Key != "bob@example.com" {
				t.Error("an address has changed")
			}
		})
	}
}

// What ends a link ends it for an address, too.
func TestAddressLinksEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		end    func(w *world, b *browser, wait, token string)
		status int
		want   string
	}{
		"expired":    {func(w *world, _ *browser, _, _ string) { w.clock.pass(15 * time.Minute) }, 410, "expired"},
		"superseded": {func(w *world, b *browser, wait, _ string) { w.clock.pass(time.Minute); b.act("resend", "wait", wait) }, 410, "superseded"},
		"another address": {func(_ *world, b *browser, wait, _ string) {
			b.act("change-email", "wait", wait, "email", "third@example.com")
		}, 410, "superseded"},
		"given up": {func(w *world, b *browser, wait, _ string) { w.leads(b.act("cancel", "wait", wait), "/account") }, 410, "cancelled"},
		"burned":   {func(w *world, b *browser, wait, token string) { w.burn(b, wait, token) }, 410, "cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := w.signedInAs("ada@example.com")
			wait, token := b.waits(b.account("address", "email", "new@example.com"))
			tt.end(w, b, wait, token)
			w.is(b.act("confirm", "token", token), tt.status, tt.want)
			if _, err := w.user("new@example.com"); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("the address has changed: %v", err)
			}
		})
	}
	t.Run("not me", func(t *testing.T) {
		w := newWorld(t)
		b, phone := w.signedInAs("ada@example.com"), w.browser()
		wait, token := b.waits(b.account("address", "email", "victim@example.com"))
		code := phone.act("show-code", "token", token).code
		w.is(phone.act("not-me", "token", token), 200, "cancelled")
		if p := b.act("enter-code", "wait", wait, "code", code); p.status != 400 || p.fault != "wrong-code" {
			t.Errorf("%s", p)
		}
		if b.mustSession().User.Key != "ada@example.com" {
			t.Error("the address has changed")
		}
	})
	t.Run("changed on the way", func(t *testing.T) {
		w := newWorld(t)
		b := w.signedInAs("ada@example.com")
		wait, _ := b.waits(b.account("address", "email", "new@example.com"))
		p := b.act("change-email", "wait", wait, "email", "nonsense")
		if w.is(p, 400, "account"); p.fault != "invalid-email" {
			t.Errorf("%s", p)
		}
		b.act("change-email", "wait", wait, "email", "third@example.com")
		a := w.attempt(w.token())
		if a.Purpose != storage.PurposeAddress || a.UserID != b.mustSession().User.ID || a.Browser != b.hash() {
			t.Fatalf("attempt %+v", a)
		}
		w.leads(b.act("confirm", "token", w.token()), "/account?notice=address-changed")
	})
}

func TestAddressThatMayNotSignIn(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Allow = []string{"*@example.com"}; c.Signup = false })
	if err := w.db.AddUser(t.Context(), storage.User{ID: keys.ID(), Key: "ada@example.com", Email: "ada@example.com", CreatedAt: w.clock.Now(), UpdatedAt: w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	b := w.signedInAs("ada@example.com")
	_, token := b.waits(b.account("address", "email", "ada@example.org")) // the same answer as for any
	if p := b.act("confirm", "token", token); p.status != 403 || p.fault != "access_denied" {
		t.Errorf("%s", p)
	}
	_, token = b.waits(b.account("address", "email", "new@example.com")) // nobody, and nobody need invite them
	w.leads(b.act("confirm", "token", token), "/account?notice=address-changed")
}

func TestAccountMailsAreLimited(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.PerNetwork = Limit{Max: 3, Per: time.Hour} })
	b := w.signedInAs("ada@example.com")
	b.waits(b.account("address", "email", "one@example.com"))
	b.waits(b.account("fresh", "next", "delete"))
	if p := b.account("address", "email", "two@example.com"); p.status != 429 || p.name != "limited" || p.header.Get("Retry-After") == "" {
		t.Errorf("%s", p)
	}
}

func TestExport(t *testing.T) {
	w := newWorld(t)
	b, other := w.signedInAs("ada@example.com"), w.signedInAs("ada@example.com")
	l := b.mustSession()
	b.account("profile", "name", "Ada <b>", "locale", "de")
	if err := w.db.SaveConsent(t.Context(), storage.Consent{UserID: l.User.ID, ClientID: "id-of-app", Scopes: []string{"email", "openid"}, At: w.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	r := b.request("GET", "/account/export", nil)
	rec := httptest.NewRecorder()
	b.handler.ServeHTTP(rec, r)
	if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/json" || rec.Header().Get("Cache-Control") != "no-store" ||
		!strings.HasPrefix(rec.Header().Get("Content-Disposition"), "attachment") {
		t.Fatalf("%d %v", rec.Code, rec.Header())
	}
	var got exported
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.User.ID != l.User.ID || got.User.Email != "ada@example.com" || got.User.Name != "Ada <b>" || got.User.Locale != "de" || got.Issuer != issuer {
		t.Errorf("user %+v", got.User)
	}
	var sids, events []string
	for _, s := range got.Sessions {
		sids = append(sids, s.SID)
	}
	for _, e := range got.Events {
		events = append(events, e.Event)
	}
	want := []string{keys.SID(l.Session.ID), keys.SID(other.mustSession().Session.ID)}
	slices.Sort(want)
	slices.Sort(sids)
	if !slices.Equal(sids, want) {
		t.Errorf("sessions %v, want %v", sids, want)
	}
	if want := []string{"consent.given", "user.profile", "login", "login", "user.created"}; !slices.Equal(events, want) {
		t.Errorf("events %v, want %v", events, want)
	}
	if len(got.Apps) != 1 || got.Apps[0].Name != "Name of id-of-app" || !slices.Equal(got.Apps[0].Scopes, []string{"email", "openid"}) {
		t.Errorf("apps %+v", got.Apps)
	}
	for what, secret := range map[string]string{
		"a session's id": l.Session.ID, "another's": other.mustSession().Session.ID, "a cookie": b.cookie("__Host-sealpost-session"),
		"a browser": b.cookie("__Host-sealpost-browser"), "its name": b.hash(), "an attempt": w.store.newest().ID, "a link": w.token(),
	} {
		if strings.Contains(rec.Body.String(), secret) {
			t.Errorf("the export has %s", what)
		}
	}
}

// More events than one read gives.
func TestExportHasEveryEvent(t *testing.T) {
	w := newWorld(t)
	b := w.signedInAs("ada@example.com")
	user := b.mustSession().User
	const many = 1003
	for i := range many {
		if _, err := w.db.SetProfile(t.Context(), user.ID, fmt.Sprint("Ada ", i), "", w.clock.Now()); err != nil {
			t.Fatal(err)
		}
	}
	events, err := w.login.cfg.eventsOf(t.Context(), user.ID, 0)
	if err != nil || len(events) != many+2 || events[many+1].Name != storage.EventUserCreated {
		t.Errorf("%d events, %v", len(events), err)
	}
}

func TestDeleteAccount(t *testing.T) {
	w := newWorld(t)
	b, other, bob := w.signedInAs("ada@example.com"), w.signedInAs("ada@example.com"), w.signedInAs("bob@example.com")
	id := b.mustSession().User.ID
	p := b.account("delete-ask")
	w.is(p, 200, "account")
	for _, fields := range [][]string{nil, {"sure", ""}, {"sure", "no"}} {
		p = b.account("delete", fields...)
		w.is(p, 400, "account")
		if p.forms["delete"] == nil || p.fault != "not-sure" {
			t.Errorf("%v: %s", fields, p)
		}
	}
	if _, err := w.user("ada@example.com"); err != nil {
		t.Fatal(err)
	}
	p = b.account("delete", "sure", "yes")
	w.is(p, 200, "account")
	if !slices.Equal(p.attributes("data-state"), []string{"deleted"}) || strings.Contains(p.body, "ada@example.com") {
		t.Errorf("%s", p.body)
	}
	if b.cookie("__Host-sealpost-session") != "" || b.cookie("__Host-sealpost-fresh") != "" || b.signedIn() || other.signedIn() || !bob.signedIn() {
		t.Error("the wrong sessions are there")
	}
	if !slices.Equal(w.requests.ended, []bool{true}) {
		t.Errorf("told %v", w.requests.ended)
	}
	if _, err := w.user("ada@example.com"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the user is there: %v", err)
	}
	w.is(b.account("delete", "sure", "yes"), 403, "login")
	if u := w.signedInAs("ada@example.com").mustSession().User; u.ID == id || u.Name != "" {
		t.Errorf("somebody is back: %+v", u)
	}
}

func TestBadAccountForms(t *testing.T) {
	w := newWorld(t)
	b := w.signedInAs("ada@example.com")
	writes := w.store.writes
	post := func(contentType, body string, header ...string) page {
		r := b.request("POST", "/account", strings.NewReader(body))
		r.Header = r.Header.Clone()
		r.Header.Set("Content-Type", contentType)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return b.send(r)
	}
	const form = "application/x-www-form-urlencoded"
	for name, tt := range map[string]struct {
		p      page
		status int
	}{
		"unknown action":    {post(form, "action=sesame"), 400},
		"no action":         {post(form, ""), 400},
		"action of a login": {post(form, "action=confirm"), 400},
		"repeated":          {post(form, "action=delete&sure=yes&sure=yes"), 400},
		"malformed escape":  {post(form, "action=%zz"), 400},
		"multipart":         {post("multipart/form-data; boundary=x", "--x--"), 415},
		"JSON":              {post("application/json", "{}"), 415},
		"plain text":        {post("text/plain", "action=delete&sure=yes"), 415},
		"too long":          {post(form, "action=profile&name="+strings.Repeat("x", maxBody)), 413},
		"another site":      {post(form, "action=delete&sure=yes", "Sec-Fetch-Site", "cross-site"), 403},
		"a neighbour":       {post(form, "action=delete&sure=yes", "Sec-Fetch-Site", "same-site"), 403},
		"another origin":    {post(form, "action=delete&sure=yes", "Origin", "https://evil.example"), 403},
		"prefetch":          {post(form, "action=account-logout", "Sec-Purpose", "prefetch"), 403},
		"fields in a query": {b.postTo("/account?action=delete&sure=yes", nil), 400},
		"PUT":               {b.send(b.request("PUT", "/account", nil)), 405},
		"POST of an export": {b.postTo("/account/export", nil), 405},
	} {
		if tt.p.status != tt.status || tt.p.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s, want %d", name, tt.p, tt.status)
		}
	}
	if w.store.writes != writes || !b.signedIn() {
		t.Error("something was written")
	}
}

func TestAccountWithoutItsStore(t *testing.T) {
	w := newWorld(t)
	b := w.signedInAs("ada@example.com")
	_, change := b.waits(b.account("address", "email", "new@example.com"))
	session := b.mustSession().Session
	w.store.fail = errors.New("the disk is full")
	check := func(name string, p page) {
		t.Helper()
		if p.status != http.StatusServiceUnavailable || p.header.Get("Retry-After") == "" || strings.Contains(p.body, "disk") {
			t.Errorf("%s: %s", name, p)
		}
	}
	check("page", b.get("/account"))
	check("export", b.get("/account/export"))
	check("confirm", b.act("confirm", "token", change))
	for action, fields := range accountForms {
		check(action, b.account(action, fields...))
	}
	if len(w.requests.signedOut)+len(w.requests.ended) > 0 {
		t.Error("somebody was told of an end")
	}
	// The session is found, and what comes after fails.
	w.store.fail = nil
	w.store.failAfter(1)
	check("page, later", b.get("/account"))
	for action, fields := range accountForms {
		if action == "account-logout" || action == "delete-ask" { // they ask no more
			continue
		}
		w.store.failAfter(1)
		if p := b.account(action, fields...); p.status != http.StatusServiceUnavailable {
			t.Errorf("%s, later: %s", action, p)
		}
	}
	w.store.failAfter(-1)
	if got := b.mustSession(); got.Session.ID != session.ID || got.User.Key != "ada@example.com" {
		t.Errorf("now %+v", got)
	}
}
