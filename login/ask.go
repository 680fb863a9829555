package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// resendAfter is how long a mail may take before another is sent to the same
// address by the same tab.
const resendAfter = 30 * time.Second

// resendIn is how long it is until then; not positive: now.
func resendIn(newest storage.Attempt, now time.Time) time.Duration {
	return newest.CreatedAt.Add(resendAfter).Sub(now)
}

// showStart is GET /login: the form, or who is signed in.
func (l *Login) showStart(w http.ResponseWriter, r *http.Request, _ url.Values) error {
	login, err := l.current(r, l.cfg.Now())
	if errors.Is(err, storage.ErrNotFound) {
		return l.render(w, r, http.StatusOK, templates.Login{})
	}
	if err != nil {
		return err
	}
	return l.render(w, r, http.StatusOK, templates.SignedIn{Email: login.User.Email, Account: true})
}

// showForm is GET /login?request=HANDLE: the form, or the choice of the account.
// With switch=1 the choice has been made.
func (l *Login) showForm(w http.ResponseWriter, r *http.Request, query url.Values) error {
	handle := query.Get("request")
	waiting, err := l.waiting(r.Context(), handle, l.knownBrowser(r).hash())
	if err != nil {
		return err
	}
	speak(r, waiting.UILocales)
	page := templates.Login{Client: waiting.Client, Request: handle, Create: waiting.Create}
	if hint, err := ParseAddress(waiting.LoginHint); err == nil {
		page.Email = hint.Delivery
	}
	if query.Get("switch") != "" || !waiting.SelectAccount && waiting.FreshAfter.IsZero() {
		return l.render(w, r, http.StatusOK, page)
	}
	login, err := ifAny(l.current(r, l.cfg.Now()))
	switch {
	case err != nil:
		return err
	case login.User.ID == "":
	case waiting.SelectAccount:
		return l.render(w, r, http.StatusOK, templates.SelectAccount{Client: waiting.Client, Request: handle, Email: login.User.Email})
	case page.Email == "" && !waiting.Create:
		page.Email = login.User.Email
	}
	return l.render(w, r, http.StatusOK, page)
}

// waiting opens a handle for a browser; none is ErrNoRequest.
func (l *Login) waiting(ctx context.Context, handle, browser string) (Waiting, error) {
	if handle == "" || browser == "" {
		return Waiting{}, ErrNoRequest
	}
	waiting, err := l.cfg.Requests.Waiting(ctx, handle, browser)
	if err != nil {
		return Waiting{}, fmt.Errorf("open request: %w", err)
	}
	return waiting, nil
}

// client is what pages tell of the relying party of an attempt: at least its
// name, which the attempt keeps.
func (l *Login) client(r *http.Request, a storage.Attempt) templates.Client {
	waiting, err := l.waiting(r.Context(), a.Request, a.Browser)
	if err != nil {
		return templates.Client{Name: a.ClientName}
	}
	return waiting.Client
}

// email is the form that asks for a link: for the request of a handle, for the
// account page, or to sign in and no more. Its answer tells a well-formed address
// from a malformed one and nothing more.
func (l *Login) email(w http.ResponseWriter, r *http.Request, form url.Values) error {
	var (
		handle  = form.Get("request")
		waiting Waiting
		bound   string
		purpose storage.Purpose
		err     error
	)
	if handle == "" && form.Get("account") != "" {
		purpose = storage.PurposeAccount
	}
	if handle != "" {
		bound = l.knownBrowser(r).hash()
		if waiting, err = l.waiting(r.Context(), handle, bound); err != nil {
			return err
		}
		speak(r, waiting.UILocales)
	}
	addr, err := ParseAddress(form.Get("email"))
	if err != nil {
		return l.invalidEmail(w, r, templates.Login{Client: waiting.Client, Request: handle, Create: waiting.Create, Account: purpose != ""}, form.Get("email"))
	}
	browser, locale := l.anyBrowser(w, r), l.cfg.Templates.Locale(r)
	a, err := l.ask(r, storage.Attempt{
		Txn: keys.ID(), Browser: bound, Request: handle, ClientID: waiting.ClientID, ClientName: waiting.Client.Name,
		Locale: locale, Agent: agent(r), Network: l.whereFrom(r, locale), Purpose: purpose,
	}, addr, l.cfg.Now())
	if err != nil {
		return err
	}
	return l.toWait(w, r, a, browser)
}

// maxTyped is how much of what was typed for an address comes back.
const maxTyped = 320

func (l *Login) invalidEmail(w http.ResponseWriter, r *http.Request, page templates.Login, typed string) error {
	if page.Error = "invalid-email"; len(typed) <= maxTyped {
		page.Email = typed
	}
	return l.render(w, r, http.StatusBadRequest, page)
}

// ask starts an attempt for an address: one transaction, and the mail workers
// do the rest.
func (l *Login) ask(r *http.Request, a storage.Attempt, addr Address, now time.Time) (storage.Attempt, error) {
	a.ID, a.Key, a.Email = keys.ID(), addr.Key, addr.Delivery
	a.Known = l.isKnown(r, addr.Key)
	a.CreatedAt, a.ExpiresAt = now, now.Add(l.cfg.LinkTTL)
	m := storage.Mail{ID: keys.ID(), AttemptID: a.ID, CreatedAt: now, NextAt: now, NotAfter: a.ExpiresAt}
	if err := l.cfg.Store.StartAttempt(r.Context(), a, m, l.limits(r, addr), now); err != nil {
		return storage.Attempt{}, fmt.Errorf("start attempt: %w", err)
	}
	l.cfg.Wake()
	l.log(r, slog.String("event", "link-asked"), slog.String("txn", a.Txn), slog.String("mail", m.ID))
	return a, nil
}

// askAgain starts another attempt in place of an earlier one: for the same
// browser and request, which must still be good, and as asked from there.
func (l *Login) askAgain(r *http.Request, a storage.Attempt, addr Address, now time.Time) (storage.Attempt, error) {
	if a.Request != "" {
		if _, err := l.waiting(r.Context(), a.Request, a.Browser); err != nil {
			return storage.Attempt{}, err
		}
	}
	return l.ask(r, storage.Attempt{
		Txn: a.Txn, Browser: a.Browser, Request: a.Request, ClientID: a.ClientID, ClientName: a.ClientName,
		Locale: a.Locale, Agent: a.Agent, Network: a.Network, Purpose: a.Purpose, UserID: a.UserID,
	}, addr, now)
}

// resend mails another link: for the tab that waits, or for whoever holds an
// earlier link and so has the mailbox. The latter is told of the mail, but gets
// no part in another browser's login.
func (l *Login) resend(w http.ResponseWriter, r *http.Request, form url.Values) error {
	if token := form.Get("token"); token != "" {
		return l.resendLink(w, r, token)
	}
	t, err := l.openWait(r, form.Get("wait"))
	if err != nil {
		return l.noWait(w, r, err)
	}
	now := l.cfg.Now()
	state := t.attempt.State(now)
	if state == storage.StateUsed {
		return l.waitAgain(w, r, t)
	}
	if wait := resendIn(t.attempt, now); wait > 0 {
		if state != storage.StateLive {
			return tooSoon(wait)
		}
		setRetryAfter(w, wait)
		return l.sent(w, r, http.StatusTooManyRequests, t, "", now)
	}
	addr, err := ParseAddress(t.attempt.Email)
	if err != nil {
		return fmt.Errorf("address of an attempt: %w", err)
	}
	if _, err := l.askAgain(r, t.attempt, addr, now); err != nil {
		return err
	}
	return l.waitAgain(w, r, t)
}

func (l *Login) resendLink(w http.ResponseWriter, r *http.Request, token string) error {
	k, err := l.openLink(r, token)
	if err != nil {
		return l.noLink(w, r, err)
	}
	now := l.cfg.Now()
	newest, err := l.cfg.Store.LatestAttempt(r.Context(), k.attempt.Txn, k.attempt.Browser)
	if err != nil {
		return fmt.Errorf("find latest attempt: %w", err)
	}
	// Since then the tab asked for another address: whoever holds a link that
	// went astray cannot put an end to the right one.
	if k.elsewhere() && newest.Key != k.attempt.Key {
		return l.ended(w, r, k.attempt, storage.StateSuperseded, templates.Expired{})
	}
	if wait := resendIn(newest, now); wait > 0 {
		return tooSoon(wait)
	}
	addr, err := ParseAddress(k.attempt.Email)
	if err != nil {
		return fmt.Errorf("address of an attempt: %w", err)
	}
	a, err := l.askAgain(r, k.attempt, addr, now)
	if err != nil {
		return err
	}
	if k.elsewhere() {
		return l.render(w, r, http.StatusOK, templates.Sent{Client: l.client(r, a), Email: a.Email, ExpiresIn: a.ExpiresAt.Sub(now), Any: a.Browser == "", Purpose: string(a.Purpose)})
	}
	return l.toWait(w, r, a, l.anyBrowser(w, r))
}

func tooSoon(wait time.Duration) error {
	return &storage.LimitError{Key: "resend", RetryAfter: wait}
}

// changeEmail mails a link to another address for the tab that waits, in place
// of the one it waited for.
func (l *Login) changeEmail(w http.ResponseWriter, r *http.Request, form url.Values) error {
	t, err := l.openWait(r, form.Get("wait"))
	if err != nil {
		return l.noWait(w, r, err)
	}
	now := l.cfg.Now()
	if t.attempt.State(now) == storage.StateUsed {
		return l.waitAgain(w, r, t)
	}
	if provesAgain(t.attempt) {
		return invalidRequest("Only the address of the account proves it.")
	}
	addr, err := ParseAddress(form.Get("email"))
	switch {
	case err != nil && t.attempt.Purpose == storage.PurposeAddress:
		return l.invalidAddress(w, r, form.Get("email"))
	case err != nil:
		return l.invalidEmail(w, r, templates.Login{Client: l.client(r, t.attempt), Request: t.attempt.Request, Account: t.attempt.Purpose != ""}, form.Get("email"))
	}
	if addr.Key == t.attempt.Key {
		return l.resend(w, r, url.Values{"wait": {t.handle}})
	}
	if _, err := l.askAgain(r, t.attempt, addr, now); err != nil {
		return err
	}
	return l.waitAgain(w, r, t)
}

// cancel gives up: from the tab that waits, or from the form before it.
func (l *Login) cancel(w http.ResponseWriter, r *http.Request, form url.Values) error {
	handle := form.Get("request")
	if wait := form.Get("wait"); wait != "" {
		t, err := l.openWait(r, wait)
		if err != nil {
			return l.noWait(w, r, err)
		}
		now := l.cfg.Now()
		if t.attempt.State(now) == storage.StateUsed {
			return l.waitAgain(w, r, t)
		}
		if err := l.cfg.Store.CancelAttempts(r.Context(), t.attempt.Txn, t.attempt.Browser, now); err != nil {
			return fmt.Errorf("cancel attempts: %w", err)
		}
		if handle = t.attempt.Request; handle == "" && t.attempt.Purpose != "" {
			return redirect(w, r, "/account", nil)
		} else if handle == "" {
			return redirect(w, r, "/login", nil)
		}
	}
	if _, err := l.waiting(r.Context(), handle, l.knownBrowser(r).hash()); err != nil {
		return err
	}
	l.log(r, slog.String("event", "given-up"))
	l.cfg.Requests.Deny(w, r, handle)
	return nil
}

// accountContinue goes on with the session there is; accountSwitch with another
// account.
func (l *Login) accountContinue(w http.ResponseWriter, r *http.Request, form url.Values) error {
	handle := form.Get("request")
	waiting, err := l.waiting(r.Context(), handle, l.knownBrowser(r).hash())
	if err != nil {
		return err
	}
	login, err := ifAny(l.Session(w, r))
	if err != nil {
		return err
	}
	if login.User.ID == "" || !waiting.takes(login.Session) {
		return l.accountSwitch(w, r, form)
	}
	l.cfg.Requests.Resume(w, r, handle, login)
	return nil
}

func (l *Login) accountSwitch(w http.ResponseWriter, r *http.Request, form url.Values) error {
	handle := form.Get("request")
	if _, err := l.waiting(r.Context(), handle, l.knownBrowser(r).hash()); err != nil {
		return err
	}
	return redirect(w, r, "/login", url.Values{"request": {handle}, "switch": {"1"}})
}
