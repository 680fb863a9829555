package login

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// codeDigits is the length of a code. A guesser has storage.MaxTries chances in
// a million for one link, codesPerMailbox for all links of a mailbox, and none
// before somebody with the link has asked to see the code.
const codeDigits = 6

// codesPerMailbox is how many codes may be typed for the links of one mailbox,
// however many are asked for. Only the way through another browser ends with
// it: the link stays good where it was asked for.
var codesPerMailbox = Limit{Max: 20, Per: 24 * time.Hour}

// code is what another browser shows and the one that asked takes. It follows
// from the attempt and the secret, so no one stores it.
func code(secret keys.Secret, attemptID string) string {
	n := binary.BigEndian.Uint64(secret.MAC("code", []byte(attemptID)))
	return fmt.Sprintf("%0*d", codeDigits, n%1_000_000)
}

// isCode says whether typed is the code of an attempt, shown under this secret
// or a previous one.
func isCode(secret keys.Secret, attemptID, typed string) bool {
	right := 0
	for s := range secret.Each() {
		right |= subtle.ConstantTimeCompare([]byte(typed), []byte(code(s, attemptID)))
	}
	return right == 1
}

// readCode takes the spaces and dashes from a typed code; ok when digits
// remain, as many as a code has.
func readCode(typed string) (code string, ok bool) {
	if len(typed) > 64 {
		return "", false
	}
	code = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -\t\u00a0\u2009\u202f\u2010\u2011\u2013", r) {
			return -1
		}
		return r
	}, typed)
	return code, len(code) == codeDigits && strings.Trim(code, "0123456789") == ""
}

// showCode is the form of a link's page in another browser: "Yes, that was me".
// It signs nobody in and leaves the link as good as it was.
func (l *Login) showCode(w http.ResponseWriter, r *http.Request, form url.Values) error {
	k, err := l.openLink(r, form.Get("token"))
	if err != nil {
		return l.noLink(w, r, err)
	}
	now := l.cfg.Now()
	if !k.elsewhere() { // where the link itself will do, no code is needed
		return l.linkPage(w, r, k, http.StatusOK, now)
	}
	shown, err := l.cfg.Store.ShowCode(r.Context(), k.attempt.ID, now)
	if errors.Is(err, storage.ErrNotFound) {
		if k.attempt, err = l.cfg.Store.Attempt(r.Context(), k.attempt.ID); err != nil {
			return fmt.Errorf("find attempt: %w", err)
		}
		return l.linkPage(w, r, k, http.StatusOK, now)
	}
	if err != nil {
		return fmt.Errorf("show code: %w", err)
	}
	l.log(r, slog.String("event", "code-shown"))
	return l.render(w, r, http.StatusOK, templates.Code{Client: l.client(r, shown), Token: k.token,
		Email: shown.Email,
		Code:  code(l.cfg.Secret, shown.ID), Browser: shown.Agent, Purpose: string(shown.Purpose)})
}

// notMe is the form "This wasn't me". The link stays good for the browser that
// asked, which has it only when the mailbox's owner opens it there.
func (l *Login) notMe(w http.ResponseWriter, r *http.Request, form url.Values) error {
	k, err := l.openLink(r, form.Get("token"))
	if err != nil {
		return l.noLink(w, r, err)
	}
	if err := l.cfg.Store.CloseAttempt(r.Context(), k.attempt.ID, l.cfg.Now()); err != nil {
		return fmt.Errorf("close attempt: %w", err)
	}
	l.log(r, slog.String("event", "not-me"), slog.String("asked_from", k.attempt.Network), slog.Bool("elsewhere", k.elsewhere()))
	if state := k.attempt.State(l.cfg.Now()); state != storage.StateLive { // too late to say that nobody was signed in
		return l.ended(w, r, k.attempt, state, templates.Expired{})
	}
	return l.notMePage(w, r, http.StatusOK, k, "")
}

// enterCode is the code's form in the tab that waits. A try is spent before it
// counts whether the code is right, so that guesses sent at once get no more tries
// than guesses sent one by one. A code that will never be taken, because "This wasn't me"
// was pressed, is a wrong one: whoever waits learns nothing of it.
func (l *Login) enterCode(w http.ResponseWriter, r *http.Request, form url.Values) error {
	t, err := l.openWait(r, form.Get("wait"))
	if err != nil {
		return l.noWait(w, r, err)
	}
	now := l.cfg.Now()
	if t.attempt.State(now) != storage.StateLive {
		return l.waitPage(w, r, t, now)
	}
	if t.attempt.Purpose == storage.PurposeAddress {
		may, err := l.mayChange(r, t.attempt, now)
		if err != nil {
			return err
		}
		if !may { // nor here
			return l.changeFirst(w, r)
		}
	}
	if t.attempt.CodeShownAt.IsZero() { // nothing to guess yet, so no try is spent
		return l.sent(w, r, http.StatusBadRequest, t, "no-code", now)
	}
	typed, ok := readCode(form.Get("code"))
	if !ok {
		return l.sent(w, r, http.StatusBadRequest, t, "wrong-code", now)
	}
	addr, err := ParseAddress(t.attempt.Email)
	if err != nil {
		return fmt.Errorf("address of an attempt: %w", err)
	}
	if err := l.cfg.Store.CountLimits(r.Context(), l.codeLimits(r, addr), now); err != nil {
		return fmt.Errorf("count codes: %w", err)
	}
	right := isCode(l.cfg.Secret, t.attempt.ID, typed)
	a, err := l.cfg.Store.TryCode(r.Context(), t.attempt.ID, t.attempt.Browser, right, now)
	if errors.Is(err, storage.ErrNotFound) {
		return l.waitAgain(w, r, t)
	}
	if err != nil {
		return fmt.Errorf("try code: %w", err)
	}
	if right && a.ClosedAt.IsZero() {
		login, err := l.complete(w, r, a, t.browser, true, now)
		if errors.Is(err, storage.ErrNotFound) {
			return l.waitAgain(w, r, t)
		}
		if errors.Is(err, storage.ErrConflict) {
			return l.addressTaken(w, r, a)
		}
		if err != nil {
			return err
		}
		return l.finish(w, r, a, login)
	}
	t.attempt = a
	l.log(r, slog.String("event", "wrong-code"), slog.Int("tries", a.Tries))
	if a.Tries >= storage.MaxTries {
		return l.waitPage(w, r, t, now)
	}
	return l.sent(w, r, http.StatusBadRequest, t, "wrong-code", now)
}
