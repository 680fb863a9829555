package login

import (
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

// A wait handle names the attempts (Txn) a tab waits for. It is bound to the
// browser's cookie: in any other browser it is worth as much as garbage and
// refused before the database is asked. Its purpose tells whether the attempts
// are bound to the browser as well.
const (
	waitBound = "wait"     // for a link this browser alone completes
	waitAny   = "wait-any" // for a link any browser may confirm
)

// tab is a waiting tab: its handle and the newest attempt it waits for.
type tab struct {
	handle  string
	attempt storage.Attempt
	browser browserKey
}

var (
	errUnknownWait = errors.New("not a wait handle of this browser")
	errWaitGone    = errors.New("the attempts of this wait handle were deleted")
)

// waitHandle makes the wait handle of an attempt for a browser.
func waitHandle(secret keys.Secret, a storage.Attempt, browser browserKey) (string, error) {
	txn, err := b64.DecodeString(a.Txn)
	if err != nil || len(txn) != idSize {
		return "", fmt.Errorf("txn of %d bytes", len(txn))
	}
	purpose := waitBound
	if a.Browser == "" {
		purpose = waitAny
	}
	return prove(secret, purpose, txn, browser), nil
}

// openWait finds the newest attempt that a wait handle of this browser names,
// and changes nothing.
func (l *Login) openWait(r *http.Request, handle string) (tab, error) {
	browser := l.knownBrowser(r)
	if browser == nil {
		return tab{}, errUnknownWait
	}
	owner := browser.hash()
	txn, ok := proven(l.cfg.Secret, waitBound, idSize, handle, browser)
	if !ok {
		owner = ""
		txn, ok = proven(l.cfg.Secret, waitAny, idSize, handle, browser)
	}
	if !ok {
		return tab{}, errUnknownWait
	}
	a, err := l.cfg.Store.LatestAttempt(r.Context(), b64.EncodeToString(txn), owner)
	if errors.Is(err, storage.ErrNotFound) {
		return tab{}, errWaitGone
	}
	if err != nil {
		return tab{}, fmt.Errorf("find latest attempt: %w", err)
	}
	l.log(r, slog.String("txn", a.Txn))
	speak(r, a.Locale)
	return tab{handle: handle, attempt: a, browser: browser}, nil
}

// noWait answers for a handle that openWait found nothing for.
func (l *Login) noWait(w http.ResponseWriter, r *http.Request, err error) error {
	switch {
	case errors.Is(err, errUnknownWait):
		return l.render(w, r, http.StatusNotFound, templates.Unknown{})
	case errors.Is(err, errWaitGone):
		return l.render(w, r, http.StatusGone, templates.Expired{})
	}
	return err
}

// toWait sends the browser to the tab that waits for an attempt.
func (l *Login) toWait(w http.ResponseWriter, r *http.Request, a storage.Attempt, browser browserKey) error {
	handle, err := waitHandle(l.cfg.Secret, a, browser)
	if err != nil {
		return err
	}
	return redirect(w, r, "/login", url.Values{"wait": {handle}})
}

// waitAgain has the browser look again: what it waits for has changed.
func (l *Login) waitAgain(w http.ResponseWriter, r *http.Request, t tab) error {
	return redirect(w, r, "/login", url.Values{"wait": {t.handle}})
}

// showWait is GET /login?wait=HANDLE.
func (l *Login) showWait(w http.ResponseWriter, r *http.Request, query url.Values) error {
	t, err := l.openWait(r, query.Get("wait"))
	if err != nil {
		return l.noWait(w, r, err)
	}
	return l.waitPage(w, r, t, l.cfg.Now())
}

// waitPage tells what became of what the tab waits for.
func (l *Login) waitPage(w http.ResponseWriter, r *http.Request, t tab, now time.Time) error {
	a := t.attempt
	state := a.State(now)
	switch state {
	case storage.StateLive:
		return l.sent(w, r, http.StatusOK, t, "", now)
	case storage.StateUsed:
		return l.waited(w, r, t, now)
	}
	return l.ended(w, r, a, state, templates.Expired{Wait: t.handle, Resend: true})
}

// waited tells the tab that the login was completed: here in another tab, or,
// for a link that any browser may confirm, in another browser.
func (l *Login) waited(w http.ResponseWriter, r *http.Request, t tab, now time.Time) error {
	a := t.attempt
	page := templates.SignedIn{Client: l.client(r, a), Email: a.Email}
	// The cookie may still be on its way to the tab that completed the login.
	if a.SessionID == l.sessionID(r) || a.SessionID == keys.Hash(l.sessionKey(a.ID, t.browser)) {
		login, err := l.liveSession(r.Context(), a.SessionID, now)
		switch {
		case err == nil:
			page.Email = login.User.Email
			// The application has had its answer, or is about to: it takes no second one.
			if page.ContinueURL = l.home(r, a); page.ContinueURL == "" && a.Request != "" {
				page.ContinueURL = "/authorize/resume?" + url.Values{"request": {a.Request}}.Encode()
			}
			if a.Purpose != "" {
				page.ContinueURL = landing(a)
			}
			page.Account = page.ContinueURL == ""
			return l.render(w, r, http.StatusOK, page)
		case !errors.Is(err, storage.ErrNotFound):
			return err
		}
	}
	if a.Browser == "" {
		page.Elsewhere = true
		return l.render(w, r, http.StatusOK, page)
	}
	return l.ended(w, r, a, storage.StateUsed, templates.Expired{})
}

// sent tells the tab that a mail is on its way, and what was wrong with the
// code, if anything.
func (l *Login) sent(w http.ResponseWriter, r *http.Request, status int, t tab, wrong string, now time.Time) error {
	a := t.attempt
	name, address := mailbox(a.Email)
	return l.render(w, r, status, templates.Sent{
		Client: l.client(r, a), Wait: t.handle, Email: a.Email, Error: wrong, Cancel: a.Request != "" || a.Browser != "", Any: a.Browser == "",
		Purpose: string(a.Purpose), Fixed: provesAgain(a),
		ResendIn: max(0, resendIn(a, now)), ExpiresIn: a.ExpiresAt.Sub(now),
		MailboxName: name, MailboxURL: address,
		Undelivered: l.undelivered(a), Delayed: l.cfg.Delayed(),
	})
}

// undelivered says whether the tab may know that the mail server refused the
// mail. Where only some get mail, by who they are, that would tell who they are.
func (l *Login) undelivered(a storage.Attempt) bool {
	return l.cfg.Signup && !a.UndeliveredAt.IsZero()
}

// status is GET /login/status?wait=HANDLE: the tab's script asks whether to
// load the page again.
func (l *Login) status(w http.ResponseWriter, r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalidRequest("Malformed query")
	}
	if err := once(query); err != nil {
		return err
	}
	t, err := l.openWait(r, query.Get("wait"))
	if errors.Is(err, errUnknownWait) || errors.Is(err, errWaitGone) {
		return &refusal{status: http.StatusNotFound, code: "unknown", description: "Nothing waits here"}
	}
	if err != nil {
		return err
	}
	type answer struct {
		State    string `json:"state"`
		Location string `json:"location,omitempty"`
		// Mail is "undelivered" when the mail server refused the mail: the page is
		// to say so, unless it does.
		Mail string `json:"mail,omitempty"`
	}
	reload := "/login?" + url.Values{"wait": {t.handle}}.Encode()
	switch state := t.attempt.State(l.cfg.Now()); state {
	case storage.StateLive:
		waiting := answer{State: "waiting"}
		if l.undelivered(t.attempt) {
			waiting.Mail = "undelivered"
		}
		writeJSON(w, http.StatusOK, waiting)
	case storage.StateUsed:
		writeJSON(w, http.StatusOK, answer{State: "done", Location: reload})
	default:
		writeJSON(w, http.StatusOK, answer{State: string(state), Location: reload})
	}
	return nil
}
