package login

import (
	"encoding/base64"
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

// Sizes of the proofs that browsers and mails carry, in bytes. A proof is a
// random value followed by half a MAC over it, so that whatever we didn't make
// is refused before the database is asked.
const (
	idSize     = 16 // attempts and their Txn
	secretSize = 32 // cookies
	macSize    = 16 // 128 bits: nobody tries them online
)

var b64 = base64.RawURLEncoding.Strict()

// prove joins value and the MAC that binds it to a purpose and to parts.
func prove(secret keys.Secret, purpose string, value []byte, parts ...[]byte) string {
	mac := secret.MAC(purpose, append([][]byte{value}, parts...)...)[:macSize]
	return b64.EncodeToString(append(value[:len(value):len(value)], mac...))
}

// proven undoes prove, in constant time. It refuses any other size, any other
// spelling of the same bytes, and whatever was proven for another purpose.
func proven(secret keys.Secret, purpose string, size int, proof string, parts ...[]byte) ([]byte, bool) {
	if len(proof) != b64.EncodedLen(size+macSize) {
		return nil, false
	}
	raw, err := b64.DecodeString(proof)
	if err != nil || len(raw) != size+macSize {
		return nil, false
	}
	value := raw[:size:size]
	return value, secret.CheckMAC(purpose, raw[size:], append([][]byte{value}, parts...)...)
}

// linkToken is the TOKEN of a mailed link: the attempt's id and the proof that
// we mailed it. The database holds the id alone, which opens nothing.
func linkToken(secret keys.Secret, attemptID string) string {
	id, err := b64.DecodeString(attemptID)
	if err != nil || len(id) != idSize {
		return "" // no attempt has such an id; the empty token opens nothing
	}
	return prove(secret, "link", id)
}

// parseToken gives the attempt's id of a token that linkToken made.
func parseToken(secret keys.Secret, token string) (attemptID string, ok bool) {
	id, ok := proven(secret, "link", idSize, token)
	if !ok {
		return "", false
	}
	return b64.EncodeToString(id), true
}

// link is a mailed link as it was opened: its attempt, and by whom.
type link struct {
	token   string
	attempt storage.Attempt
	browser browserKey // nil: a browser without our cookie
}

// here says whether the link was opened in the browser that asked for it.
func (k link) here() bool {
	return k.attempt.Browser != "" && k.attempt.Browser == k.browser.hash()
}

// elsewhere says whether another browser asked for it.
func (k link) elsewhere() bool { return k.attempt.Browser != "" && !k.here() }

var (
	errUnknownLink = errors.New("not a link of ours")
	errLinkGone    = errors.New("the attempt of this link was deleted")
)

// openLink finds the attempt of a token and changes nothing. What has no MAC of
// ours is errUnknownLink without a look into the database.
func (l *Login) openLink(r *http.Request, token string) (link, error) {
	id, ok := parseToken(l.cfg.Secret, token)
	if !ok {
		return link{}, errUnknownLink
	}
	a, err := l.cfg.Store.Attempt(r.Context(), id)
	if errors.Is(err, storage.ErrNotFound) {
		return link{}, errLinkGone
	}
	if err != nil {
		return link{}, fmt.Errorf("find attempt: %w", err)
	}
	l.log(r, slog.String("txn", a.Txn))
	speak(r, a.Locale)
	return link{token: token, attempt: a, browser: l.knownBrowser(r)}, nil
}

// noLink answers for a token that openLink found nothing for.
func (l *Login) noLink(w http.ResponseWriter, r *http.Request, err error) error {
	switch {
	case errors.Is(err, errUnknownLink):
		l.log(r, slog.String("link", "unknown"))
		return l.render(w, r, http.StatusNotFound, templates.Unknown{})
	case errors.Is(err, errLinkGone): // it was ours: only old rows are deleted
		return l.render(w, r, http.StatusGone, templates.Expired{})
	}
	return err
}

// showLink is GET /login?token=TOKEN.
func (l *Login) showLink(w http.ResponseWriter, r *http.Request, query url.Values) error {
	k, err := l.openLink(r, query.Get("token"))
	if err != nil {
		return l.noLink(w, r, err)
	}
	return l.linkPage(w, r, k, http.StatusOK, l.cfg.Now())
}

// linkPage tells what a link is good for in this browser. A page that can go on
// has the status ok.
func (l *Login) linkPage(w http.ResponseWriter, r *http.Request, k link, ok int, now time.Time) error {
	a := k.attempt
	state := a.State(now)
	l.log(r, slog.String("link", string(state)), slog.Bool("elsewhere", k.elsewhere()))
	switch {
	case k.elsewhere() && !a.ClosedAt.IsZero(): // "This wasn't me" offers no new mail
		if state != storage.StateLive {
			return l.ended(w, r, a, state, templates.Expired{})
		}
		return l.notMePage(w, r, http.StatusGone, k, "")
	case k.elsewhere() && state == storage.StateLive:
		return l.render(w, r, ok, templates.OtherBrowser{Client: l.client(r, a), Token: k.token, Email: a.Email,
			Browser: a.Agent, Network: a.Network, Asked: a.CreatedAt, Now: now, Purpose: string(a.Purpose)})
	case state == storage.StateLive:
		return l.confirmPage(w, r, k, ok, now)
	case state == storage.StateUsed:
		switch _, err := l.again(r, a, now); {
		case err == nil:
			return l.confirmPage(w, r, k, ok, now)
		case !errors.Is(err, storage.ErrNotFound):
			return err
		}
	}
	return l.ended(w, r, a, state, templates.Expired{Token: k.token, Resend: true})
}

// confirmPage asks for the click that completes the login. Only in the browser
// that asked may a script click: a mail scanner has no cookie.
func (l *Login) confirmPage(w http.ResponseWriter, r *http.Request, k link, ok int, now time.Time) error {
	if k.attempt.Purpose == storage.PurposeAddress {
		may, err := l.mayChange(r, k.attempt, now)
		if err != nil {
			return err
		}
		if !may { // a script would confirm this page over and over
			return l.changeFirst(w, r)
		}
	}
	page := templates.Confirm{Client: l.client(r, k.attempt), Token: k.token, Email: k.attempt.Email, Auto: k.here() && !prefetch(r), Purpose: string(k.attempt.Purpose)}
	if !k.here() {
		// The cookie comes with the page, so that the click shows that this
		// browser has seen it.
		l.anyBrowser(w, r)
		signedIn, err := ifAny(l.current(r, now))
		if err != nil {
			return err
		}
		if signedIn.User.Key != k.attempt.Key {
			page.SignedInAs = signedIn.User.Email
		}
	}
	return l.render(w, r, ok, page)
}

// ended tells why an attempt has come to its end, and what may be asked for
// instead.
func (l *Login) ended(w http.ResponseWriter, r *http.Request, a storage.Attempt, state storage.State, how templates.Expired) error {
	how.Client, how.Email = l.client(r, a), a.Email
	var page templates.Page = how
	switch state {
	case storage.StateUsed:
		page = templates.Used(how)
	case storage.StateSuperseded:
		page = templates.Superseded(how)
	case storage.StateCancelled:
		page = templates.Cancelled{Client: how.Client, Token: how.Token, Wait: how.Wait, Email: how.Email, Resend: how.Resend}
	}
	return l.render(w, r, http.StatusGone, page)
}

// notMePage tells what "This wasn't me" has done, and offers more; what was
// wrong about taking the offer, if anything was.
func (l *Login) notMePage(w http.ResponseWriter, r *http.Request, status int, k link, wrong string) error {
	return l.render(w, r, status, templates.Cancelled{Client: l.client(r, k.attempt), Email: k.attempt.Email, NotMe: true, Mute: k.token, Error: wrong})
}

// confirm is the form of a link's page: the one way in which a link completes
// a login.
func (l *Login) confirm(w http.ResponseWriter, r *http.Request, form url.Values) error {
	k, err := l.openLink(r, form.Get("token"))
	if err != nil {
		return l.noLink(w, r, err)
	}
	now := l.cfg.Now()
	if k.elsewhere() {
		return l.linkPage(w, r, k, http.StatusForbidden, now)
	}
	// Our cookie is SameSite=Lax: a form of another site comes without it. So a
	// stranger's link cannot be confirmed for the person (login CSRF).
	if k.browser == nil {
		return invalidRequest("Your browser sent no cookie. Please allow cookies for this site and open the link again.")
	}
	login, err := l.complete(w, r, k.attempt, k.browser, false, now)
	if errors.Is(err, storage.ErrNotFound) {
		if k.attempt, err = l.cfg.Store.Attempt(r.Context(), k.attempt.ID); err != nil {
			return fmt.Errorf("find attempt: %w", err)
		}
		return l.linkPage(w, r, k, http.StatusOK, now)
	}
	if errors.Is(err, storage.ErrConflict) {
		return l.addressTaken(w, r, k.attempt)
	}
	if err != nil {
		return err
	}
	if !k.attempt.UsedAt.IsZero() && !now.Before(k.attempt.UsedAt.Add(answerFor)) {
		if home := l.home(r, k.attempt); home != "" {
			http.Redirect(w, r, home, http.StatusSeeOther)
			return nil
		}
	}
	return l.finish(w, r, k.attempt, login)
}

// home is where the application of an attempt starts, "" when that is unknown.
func (l *Login) home(r *http.Request, a storage.Attempt) string {
	waiting, err := l.waiting(r.Context(), a.Request, a.Browser)
	if err != nil {
		return ""
	}
	return waiting.Home
}

// complete uses an attempt that this browser has proven and gives the browser
// its session. When it was used before, by this very browser and not long ago,
// that session is given again; otherwise it is storage.ErrNotFound.
func (l *Login) complete(w http.ResponseWriter, r *http.Request, a storage.Attempt, browser browserKey, byCode bool, now time.Time) (storage.Login, error) {
	if !Allowed(a.Key, l.cfg.Allow, l.cfg.Deny) {
		return storage.Login{}, storage.ErrRefused
	}
	if a.Purpose == storage.PurposeAddress {
		return l.changeAddress(w, r, a, browser, byCode, now)
	}
	key := l.sessionKey(a.ID, browser)
	login, err := l.cfg.Store.CompleteAttempt(r.Context(), storage.Completion{
		AttemptID: a.ID,
		ByCode:    byCode,
		Session: storage.Session{
			ID: keys.Hash(key), AuthTime: now, CreatedAt: now, SeenAt: now,
			ExpiresAt: now.Add(l.cfg.SessionTTL), IdleAt: now.Add(l.cfg.SessionIdle),
			Browser: agent(r), Network: l.whereFrom(r, l.cfg.Templates.Locale(r)),
		},
		Current: l.sessionID(r),
		UserID:  keys.ID(),
		Signup:  l.cfg.Signup,
	}, now)
	if errors.Is(err, storage.ErrNotFound) {
		if a, err = l.cfg.Store.Attempt(r.Context(), a.ID); err == nil {
			login, err = l.again(r, a, now)
		}
	}
	if err != nil {
		return storage.Login{}, fmt.Errorf("complete attempt: %w", err)
	}
	l.setKnown(w, r, a.Key, browser)
	// A live session of the same user was kept with its cookie.
	if login.Session.ID == keys.Hash(key) {
		l.setSession(w, key)
	}
	l.setFresh(w, r, login.Session, browser)
	return login, nil
}

// again finds the live session that a used attempt gave this very browser not
// long ago: storage.ErrNotFound when it gave none.
func (l *Login) again(r *http.Request, a storage.Attempt, now time.Time) (storage.Login, error) {
	if a.UsedAt.IsZero() || !now.Before(a.UsedAt.Add(againFor)) {
		return storage.Login{}, storage.ErrNotFound
	}
	browser := l.knownBrowser(r)
	if a.SessionID != l.sessionID(r) && (browser == nil || a.SessionID != keys.Hash(l.sessionKey(a.ID, browser))) {
		return storage.Login{}, storage.ErrNotFound
	}
	return l.liveSession(r.Context(), a.SessionID, now)
}

// finish goes on where the person wanted to go.
func (l *Login) finish(w http.ResponseWriter, r *http.Request, a storage.Attempt, login storage.Login) error {
	event := slog.String("event", "signed-in")
	if a.Purpose == storage.PurposeAddress {
		event = slog.String("event", "address-changed")
	}
	l.log(r, event, slog.String("user", login.User.ID), slog.String("sid", keys.SID(login.Session.ID)))
	if a.Request == "" {
		return l.land(w, r, a)
	}
	// A link may outlive the request it was asked for.
	if _, err := l.waiting(r.Context(), a.Request, a.Browser); errors.Is(err, ErrNoRequest) {
		start, err := l.cfg.Requests.Restart(r.Context(), a.ClientID)
		if err != nil {
			return fmt.Errorf("find client: %w", err)
		}
		if start != "" {
			l.log(r, slog.String("outcome", "restarted"))
			http.Redirect(w, r, start, http.StatusSeeOther)
			return nil
		}
	}
	l.cfg.Requests.Resume(w, r, a.Request, login)
	return nil
}
