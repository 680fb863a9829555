package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

const (
	maxProfileName = 100 // characters of a name that a person gives themselves
	eventsShown    = 50  // on the account page; the export has all
)

// showAccount is GET /account: a person's own page, or where to sign in to it.
func (l *Login) showAccount(w http.ResponseWriter, r *http.Request) error {
	query, err := readQuery(r)
	if err != nil {
		return err
	}
	return l.asUser(w, r, http.StatusOK, func(login storage.Login, now time.Time) error {
		page := templates.Account{}
		if notice := query.Get("notice"); slices.Contains(accountNotices, notice) {
			page.Notice = notice
		}
		switch next := query.Get("next"); {
		case next == nextDelete && l.isFresh(r, login.Session, now):
			page.State = "delete"
		case isNext(next):
			page.Next = next
		}
		return l.accountPage(w, r, http.StatusOK, login, page, now)
	})
}

// accountNotices are what a redirect to the account page may say was done.
var accountNotices = []string{"saved", "session-ended", "sessions-ended", "app-removed", "address-changed"}

// toAccount sends the browser to the account page, which says what was done.
func toAccount(w http.ResponseWriter, r *http.Request, notice string) error {
	return redirect(w, r, "/account", url.Values{"notice": {notice}})
}

// asUser does something for whoever is signed in in this browser, in their
// language. Nobody is sent to the form, with a status. A form that they sent moves
// the idle end of the session, as GET changes nothing.
func (l *Login) asUser(w http.ResponseWriter, r *http.Request, nobody int, do func(storage.Login, time.Time) error) error {
	now := l.cfg.Now()
	login, err := l.current(r, now)
	if err == nil && r.Method == http.MethodPost {
		login, err = l.touch(r, login, now)
	}
	if errors.Is(err, storage.ErrNotFound) {
		return l.render(w, r, nobody, templates.Login{Account: true})
	}
	if err != nil {
		return err
	}
	l.log(r, slog.String("user", login.User.ID))
	speak(r, login.User.Locale)
	return do(login, now)
}

// actAccount is POST /account: every form names itself in the field action.
func (l *Login) actAccount(w http.ResponseWriter, r *http.Request) error {
	form, err := l.readPost(w, r)
	if err != nil {
		return err
	}
	acts := map[string]accountAct{
		"profile": l.setProfile, "session-end": l.endSession, "sessions-end": l.endSessions, "app-remove": l.removeApp,
		"fresh": l.proveAgain, "address": l.askAddress, "delete-ask": l.askDelete, "delete": l.deleteAccount, "account-logout": l.signOut,
	}
	act, ok := acts[form.Get("action")]
	if !ok {
		return invalidRequest("This form is unknown here.")
	}
	l.log(r, slog.String("action", form.Get("action")))
	return l.asUser(w, r, http.StatusForbidden, func(login storage.Login, now time.Time) error {
		return act(w, r, form, login, now)
	})
}

// accountAct is what a form of the account page does for whoever is signed in.
type accountAct func(w http.ResponseWriter, r *http.Request, form url.Values, login storage.Login, now time.Time) error

// accountPage fills in a page of somebody and answers with it.
func (l *Login) accountPage(w http.ResponseWriter, r *http.Request, status int, login storage.Login, page templates.Account, now time.Time) error {
	page.Email, page.Now = login.User.Email, now
	if page.Error != "invalid-name" {
		page.Name, page.Locale = login.User.Name, login.User.Locale
	}
	if page.State != "" {
		return l.render(w, r, status, page)
	}
	kept, err := l.cfg.keptAbout(r.Context(), login.User.ID, eventsShown, now)
	if err != nil {
		return err
	}
	for _, s := range kept.sessions {
		page.Sessions = append(page.Sessions, templates.AccountSession{
			ID: keys.SID(s.ID), Browser: s.Browser, Network: s.Network, CreatedAt: s.CreatedAt, SeenAt: s.SeenAt, Current: s.ID == login.Session.ID,
		})
	}
	for _, a := range kept.apps {
		since := a.ConsentAt
		if since.IsZero() {
			since = a.GrantedAt
		}
		page.Apps = append(page.Apps, templates.AccountApp{ID: a.ClientID, Client: kept.clients[a.ClientID], Scopes: withoutPlaces(a.Scopes), Since: since, Offline: a.Offline})
	}
	for _, e := range kept.events {
		page.Events = append(page.Events, templates.AccountEvent{
			Name: string(e.Name), At: e.At, App: kept.clients[e.ClientID].Name, Browser: e.Agent, Network: e.Network,
		})
	}
	return l.render(w, r, status, page)
}

// kept is what is kept about somebody besides their own record.
type kept struct {
	sessions []storage.Session
	apps     []storage.App
	events   []storage.Event
	clients  map[string]templates.Client // by id; one that is gone is the zero one
}

// keptAbout reads it, with at most so many events; 0: all.
func (c Config) keptAbout(ctx context.Context, userID string, events int, now time.Time) (k kept, err error) {
	if k.sessions, err = c.Accounts.SessionsOf(ctx, userID, now); err != nil {
		return k, fmt.Errorf("list sessions: %w", err)
	}
	if k.apps, err = c.Accounts.Apps(ctx, userID, now); err != nil {
		return k, fmt.Errorf("list apps: %w", err)
	}
	if k.events, err = c.eventsOf(ctx, userID, events); err != nil {
		return k, fmt.Errorf("list events: %w", err)
	}
	k.clients = map[string]templates.Client{}
	for _, a := range k.apps {
		k.clients[a.ClientID] = templates.Client{}
	}
	for _, e := range k.events {
		if e.ClientID != "" {
			k.clients[e.ClientID] = templates.Client{}
		}
	}
	for id := range k.clients {
		client, err := c.Client(ctx, id)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return k, fmt.Errorf("find client: %w", err)
		}
		k.clients[id] = client
	}
	return k, nil
}

// eventsOf lists the newest events of somebody, at most so many; 0: all.
func (c Config) eventsOf(ctx context.Context, userID string, most int) ([]storage.Event, error) {
	const batch = 1000
	f := storage.EventFilter{UserID: userID, Limit: most}
	if most > 0 {
		return c.Accounts.Events(ctx, f)
	}
	var all []storage.Event
	for f.Limit = batch; ; {
		some, err := c.Accounts.Events(ctx, f)
		all = append(all, some...)
		if err != nil || len(some) < batch {
			return all, err
		}
		f.Before = some[len(some)-1].Seq
	}
}

// setProfile sets name and language. What a name may hold is what
// templates.CleanName leaves: it goes to every application that asks for it.
func (l *Login) setProfile(w http.ResponseWriter, r *http.Request, form url.Values, login storage.Login, now time.Time) error {
	typed, locale := form.Get("name"), form.Get("locale")
	if locale != "" && !slices.Contains(templates.Languages(), locale) {
		return invalidRequest("There is no such language here.")
	}
	name := templates.CleanName(typed)
	if utf8.RuneCountInString(name) > maxProfileName || name == "" && strings.TrimSpace(typed) != "" {
		runes := []rune(name)
		page := templates.Account{Error: "invalid-name", Name: string(runes[:min(len(runes), maxProfileName)]), Locale: locale}
		return l.accountPage(w, r, http.StatusBadRequest, login, page, now)
	}
	if strings.HasPrefix(login.User.Locale, locale+"-") { // "de" was shown for "de-AT"
		locale = login.User.Locale
	}
	if _, err := l.cfg.Accounts.SetProfile(r.Context(), login.User.ID, name, locale, now); err != nil {
		return fmt.Errorf("set profile: %w", err)
	}
	if locale != login.User.Locale {
		l.cfg.Templates.Forget(w) // the menu's choice, which would be in the way of this one
	}
	l.log(r, slog.String("event", "profile-set"))
	return toAccount(w, r, "saved")
}

// endSession ends another session of the person, which the page knows by its
// public name alone. One that has ended before, or never was theirs, is no
// error: it does not sign in to this account.
func (l *Login) endSession(w http.ResponseWriter, r *http.Request, form url.Values, login storage.Login, now time.Time) error {
	sessions, err := l.cfg.Accounts.SessionsOf(r.Context(), login.User.ID, now)
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	i := slices.IndexFunc(sessions, func(s storage.Session) bool { return keys.SID(s.ID) == form.Get("session") })
	switch {
	case i < 0:
		return toAccount(w, r, "session-ended")
	case sessions[i].ID == login.Session.ID:
		return l.signOut(w, r, form, login, now)
	}
	err = l.cfg.Accounts.EndSessionOf(r.Context(), login.User.ID, sessions[i].ID, now)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("end session: %w", err)
	}
	l.cfg.Requests.Ended(w, false)
	l.log(r, slog.String("event", "session-ended"), slog.String("sid", keys.SID(sessions[i].ID)))
	return toAccount(w, r, "session-ended")
}

// endSessions ends every session of the person but this one.
func (l *Login) endSessions(w http.ResponseWriter, r *http.Request, _ url.Values, login storage.Login, now time.Time) error {
	n, err := l.cfg.Accounts.EndOtherSessions(r.Context(), login.User.ID, login.Session.ID, now)
	if err != nil {
		return fmt.Errorf("end other sessions: %w", err)
	}
	l.cfg.Requests.Ended(w, false)
	l.log(r, slog.String("event", "sessions-ended"), slog.Int("sessions", n))
	return toAccount(w, r, "sessions-ended")
}

// removeApp takes back what the person allowed an app. One that has nothing of
// theirs is no error.
func (l *Login) removeApp(w http.ResponseWriter, r *http.Request, form url.Values, login storage.Login, now time.Time) error {
	apps, err := l.cfg.Accounts.Apps(r.Context(), login.User.ID, now)
	if err != nil {
		return fmt.Errorf("list apps: %w", err)
	}
	id := form.Get("client")
	if !slices.ContainsFunc(apps, func(a storage.App) bool { return a.ClientID == id }) {
		return toAccount(w, r, "app-removed")
	}
	if err := l.cfg.Accounts.RemoveApp(r.Context(), login.User.ID, id, now); err != nil {
		return fmt.Errorf("remove app: %w", err)
	}
	l.cfg.Requests.Ended(w, false)
	l.log(r, slog.String("event", "app-removed"), slog.String("client_id", id))
	return toAccount(w, r, "app-removed")
}

// signOut ends the session of this browser.
func (l *Login) signOut(w http.ResponseWriter, r *http.Request, _ url.Values, login storage.Login, _ time.Time) error {
	l.log(r, slog.String("event", "signed-out"))
	l.cfg.Requests.SignOut(w, r, login)
	return nil
}

// askDelete asks whether to delete the account.
func (l *Login) askDelete(w http.ResponseWriter, r *http.Request, _ url.Values, login storage.Login, now time.Time) error {
	if !l.isFresh(r, login.Session, now) {
		return l.freshPage(w, r, login, nextDelete, now)
	}
	return l.accountPage(w, r, http.StatusOK, login, templates.Account{State: "delete"}, now)
}

// deleteAccount removes the person for good.
func (l *Login) deleteAccount(w http.ResponseWriter, r *http.Request, form url.Values, login storage.Login, now time.Time) error {
	switch {
	case !l.isFresh(r, login.Session, now):
		return l.freshPage(w, r, login, nextDelete, now)
	case form.Get("sure") != "yes":
		return l.accountPage(w, r, http.StatusBadRequest, login, templates.Account{State: "delete", Error: "not-sure"}, now)
	}
	err := l.cfg.Accounts.DeleteUser(r.Context(), login.User.ID, now)
	if err != nil && !errors.Is(err, storage.ErrNotFound) { // gone already
		return fmt.Errorf("delete user: %w", err)
	}
	l.ClearSession(w)
	l.fresh.set(w, "")
	l.cfg.Requests.Ended(w, true)
	l.log(r, slog.String("event", "account-deleted"))
	return l.render(w, r, http.StatusOK, templates.Account{State: "deleted"})
}

// withoutPlaces are scopes without those marks that say where they are used: the
// name says that.
func withoutPlaces(scopes []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return strings.HasPrefix(s, storage.AllowedAt) })
}
