package login

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// freshFor is how long after a link or code was proven the account page lets a
// person do what cannot be undone.
const freshFor = 15 * time.Minute

// What a fresh proof is asked for.
const (
	nextAddress = "address"
	nextDelete  = "delete"
	nextExport  = "export"
)

func isNext(s string) bool { return slices.Contains([]string{nextAddress, nextDelete, nextExport}, s) }

// freshProof proves that it was this browser in which the address was proven
// last, and for which session.
func (l *Login) freshProof(s storage.Session, browser browserKey) string {
	at := strconv.FormatInt(s.AuthTime.UnixMicro(), 10)
	return b64.EncodeToString(l.cfg.Secret.MAC("fresh", []byte(s.ID), []byte(at), browser)[:macSize])
}

// setFresh remembers in the browser that the address of its session was proven
// there just now, and for the rest of the request.
func (l *Login) setFresh(w http.ResponseWriter, r *http.Request, s storage.Session, browser browserKey) {
	l.fresh.set(w, l.freshProof(s, browser))
	*r = *r.WithContext(context.WithValue(r.Context(), provenNow{}, s.ID))
}

// provenNow is the key of the session whose address was proven in a request.
type provenNow struct{}

// isFresh says whether the address was proven in this very browser within
// freshFor. The session alone does not tell: whoever has stolen its cookie would
// have a fresh one as soon as its owner signs in again.
func (l *Login) isFresh(r *http.Request, s storage.Session, now time.Time) bool {
	return now.Before(s.AuthTime.Add(freshFor)) && l.ProvedHere(r, s)
}

// ProvedHere says whether it was this very browser in which the address of the
// session was proven last.
func (l *Login) ProvedHere(r *http.Request, s storage.Session) bool {
	if r.Context().Value(provenNow{}) == s.ID {
		return true
	}
	browser := l.knownBrowser(r)
	if browser == nil {
		return false
	}
	c, err := r.Cookie(l.fresh.name)
	if err != nil {
		return false
	}
	mac, err := b64.DecodeString(c.Value)
	at := strconv.FormatInt(s.AuthTime.UnixMicro(), 10)
	return err == nil && len(mac) == macSize && l.cfg.Secret.CheckMAC("fresh", mac, []byte(s.ID), []byte(at), browser)
}

// freshPage asks for a new proof before what was asked for.
func (l *Login) freshPage(w http.ResponseWriter, r *http.Request, login storage.Login, next string, now time.Time) error {
	l.log(r, slog.String("outcome", "not-fresh"))
	return l.accountPage(w, r, http.StatusForbidden, login, templates.Account{State: "fresh", Next: next}, now)
}

// proveAgain mails a link to the person's own address, bound to this browser:
// another one shows a code, and the session that was there goes on.
func (l *Login) proveAgain(w http.ResponseWriter, r *http.Request, form url.Values, login storage.Login, now time.Time) error {
	next := form.Get("next")
	if !isNext(next) {
		return invalidRequest("This form is unknown here.")
	}
	addr, err := ParseAddress(login.User.Email)
	if err != nil {
		return err
	}
	l.next.set(w, next)
	return l.askBound(w, r, storage.Attempt{Purpose: storage.PurposeAccount}, addr, now)
}

// askBound mails a link that this browser alone completes, with no relying
// party waiting, and waits for it.
func (l *Login) askBound(w http.ResponseWriter, r *http.Request, a storage.Attempt, addr Address, now time.Time) error {
	browser, locale := l.anyBrowser(w, r), l.cfg.Templates.Locale(r)
	a.Txn, a.Browser, a.Locale, a.Agent, a.Network = keys.ID(), browser.hash(), locale, agent(r), l.whereFrom(r, locale)
	a, err := l.ask(r, a, addr, now)
	if err != nil {
		return err
	}
	return l.toWait(w, r, a, browser)
}

// provesAgain says whether an attempt is a new proof for whoever is signed in:
// no other address will do.
func provesAgain(a storage.Attempt) bool {
	return a.Purpose == storage.PurposeAccount && a.Browser != ""
}

// landing is where a browser goes that completed an attempt which no relying
// party waits for.
func landing(a storage.Attempt) string {
	switch a.Purpose {
	case storage.PurposeAddress:
		return "/account?notice=address-changed"
	case storage.PurposeAccount:
		return "/account"
	}
	return "/login"
}

// land goes there, after a new proof to what it was asked for.
func (l *Login) land(w http.ResponseWriter, r *http.Request, a storage.Attempt) error {
	to := landing(a)
	if c, err := r.Cookie(l.next.name); err == nil && provesAgain(a) && isNext(c.Value) {
		l.next.set(w, "")
		to += "?next=" + c.Value + map[string]string{nextAddress: "#profile", nextExport: "#data"}[c.Value]
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}
