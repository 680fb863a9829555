package login

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// askAddress mails a link to the address that somebody wants to sign in with
// from now on. What they see is the same whether it is somebody's, may sign in,
// or neither.
func (l *Login) askAddress(w http.ResponseWriter, r *http.Request, form url.Values, login storage.Login, now time.Time) error {
	if !l.isFresh(r, login.Session, now) {
		return l.freshPage(w, r, login, nextAddress, now)
	}
	addr, err := ParseAddress(form.Get("email"))
	if err != nil {
		return l.invalidAddress(w, r, form.Get("email"))
	}
	if addr.Delivery == login.User.Email {
		return redirect(w, r, "/account", nil)
	}
	return l.askBound(w, r, storage.Attempt{Purpose: storage.PurposeAddress, UserID: login.User.ID}, addr, now)
}

func (l *Login) invalidAddress(w http.ResponseWriter, r *http.Request, typed string) error {
	return l.asUser(w, r, http.StatusForbidden, func(login storage.Login, now time.Time) error {
		page := templates.Account{Error: "invalid-email"}
		if len(typed) <= maxTyped {
			page.NewEmail = typed
		}
		return l.accountPage(w, r, http.StatusBadRequest, login, page, now)
	})
}

// provenSince is how old the last proof of the address there is may be when the
// new one is proven: it was fresh when the change was asked for, and a link has
// its time.
func (l *Login) provenSince(now time.Time) time.Time { return now.Add(-freshFor - l.cfg.LinkTTL) }

// mayChange says whether this browser is signed in as the one whose address an
// attempt changes. Whoever signed out meanwhile, or in as another, is not.
func (l *Login) mayChange(r *http.Request, a storage.Attempt, now time.Time) (bool, error) {
	login, err := ifAny(l.current(r, now))
	return login.User.ID == a.UserID && !login.Session.AuthTime.Before(l.provenSince(now)), err
}

// changeFirst tells whoever has a link for another address, and no session of
// the account that asked, to sign in to it first.
func (l *Login) changeFirst(w http.ResponseWriter, r *http.Request) error {
	l.log(r, slog.String("outcome", "not-signed-in"))
	return l.render(w, r, http.StatusForbidden, templates.Login{Account: true})
}

// changeAddress uses an attempt of storage.PurposeAddress that this browser has
// proven. The session is the one that this browser has, and of no other user
// than the one who asked; it goes on. When the attempt was used before, by this
// very session and not long ago, all is as wanted.
func (l *Login) changeAddress(w http.ResponseWriter, r *http.Request, a storage.Attempt, browser browserKey, byCode bool, now time.Time) (storage.Login, error) {
	change := storage.AddressChange{AttemptID: a.ID, ByCode: byCode, SessionID: l.sessionID(r), ProvenSince: l.provenSince(now)}
	login := storage.Login{}
	_, err := l.cfg.Accounts.ChangeAddress(r.Context(), change, now)
	switch {
	case err == nil:
		login, err = l.liveSession(r.Context(), change.SessionID, now)
	case errors.Is(err, storage.ErrNotFound):
		if a, err = l.cfg.Store.Attempt(r.Context(), a.ID); err == nil {
			login, err = l.again(r, a, now)
		}
	}
	if err != nil {
		return storage.Login{}, fmt.Errorf("change address: %w", err)
	}
	l.setKnown(w, r, a.Key, browser)
	return login, nil
}

// addressTaken tells the owner of a mailbox, who has just proven it, that it is
// another account's.
func (l *Login) addressTaken(w http.ResponseWriter, r *http.Request, a storage.Attempt) error {
	return l.asUser(w, r, http.StatusForbidden, func(login storage.Login, now time.Time) error {
		l.log(r, slog.String("outcome", "address-taken"))
		return l.accountPage(w, r, http.StatusConflict, login, templates.Account{Error: "address-taken", NewEmail: a.Email}, now)
	})
}
