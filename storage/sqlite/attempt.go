package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const attemptColumns = `attempts.id, attempts.txn, attempts.browser, attempts.request, attempts.client_id, attempts.client_name,
	attempts.key, attempts.email, attempts.locale, attempts.agent, attempts.network, attempts.created_at, attempts.expires_at,
	attempts.used_at, attempts.superseded_at, attempts.closed_at, attempts.cancelled_at, attempts.code_shown_at,
	attempts.tries, attempts.session_id, attempts.purpose, attempts.user_id, attempts.known, attempts.undelivered_at`

func attemptFields(a *storage.Attempt) []any {
	return []any{
		&a.ID, &a.Txn, &a.Browser, &a.Request, &a.ClientID, &a.ClientName,
		&a.Key, &a.Email, &a.Locale, &a.Agent, &a.Network, (*moment)(&a.CreatedAt), (*moment)(&a.ExpiresAt),
		(*moment)(&a.UsedAt), (*moment)(&a.SupersededAt), (*moment)(&a.ClosedAt), (*moment)(&a.CancelledAt), (*moment)(&a.CodeShownAt),
		&a.Tries, &a.SessionID, &a.Purpose, &a.UserID, &a.Known, (*moment)(&a.UndeliveredAt),
	}
}

// pending is storage.StateLive at ?1, but for the tries; live has them, too.
const (
	pending = `attempts.used_at IS NULL AND attempts.cancelled_at IS NULL AND attempts.superseded_at IS NULL AND attempts.expires_at > ?1`
	live    = pending + ` AND attempts.tries < 5`
)

// The number in live is storage.MaxTries, or this does not compile.
const (
	_ uint = storage.MaxTries - 5
	_ uint = 5 - storage.MaxTries
)

const (
	supersedeAttempts = `UPDATE attempts SET superseded_at = ?1 WHERE txn = ?2 AND ` + live

	insertAttempt = `INSERT INTO attempts (id, txn, browser, request, client_id, client_name, key, email, locale, agent, network, created_at, expires_at, purpose, user_id, known)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)`
)

// StartAttempt counts every limit and, when none is full, inserts the attempt
// and its mail and supersedes the live attempts of the same Txn.
func (db *DB) StartAttempt(ctx context.Context, a storage.Attempt, m storage.Mail, limits []storage.Limit, now time.Time) error {
	return db.counting(ctx, limits, now, func(tx *tx) error {
		if _, err := tx.exec(supersedeAttempts, moment(now), a.Txn); err != nil {
			return err
		}
		_, err := tx.exec(insertAttempt, a.ID, a.Txn, a.Browser, a.Request, a.ClientID, a.ClientName,
			a.Key, a.Email, a.Locale, a.Agent, a.Network, moment(a.CreatedAt), moment(a.ExpiresAt), string(a.Purpose), a.UserID, a.Known)
		if err != nil {
			return err
		}
		return queueMail(tx, m)
	})
}

const attemptByID = `SELECT ` + attemptColumns + ` FROM attempts WHERE id = ?1`

// Attempt finds an attempt by id.
func (db *DB) Attempt(ctx context.Context, id string) (a storage.Attempt, err error) {
	err = db.get(ctx, attemptByID, args{id}, attemptFields(&a)...)
	return a, err
}

const latestAttempt = `SELECT ` + attemptColumns + ` FROM attempts WHERE txn = ?1 AND browser = ?2
	ORDER BY created_at DESC, seq DESC LIMIT 1`

// LatestAttempt finds the newest attempt of a Txn started by browser.
func (db *DB) LatestAttempt(ctx context.Context, txn, browser string) (a storage.Attempt, err error) {
	err = db.get(ctx, latestAttempt, args{txn, browser}, attemptFields(&a)...)
	return a, err
}

const showCode = `UPDATE attempts SET code_shown_at = ifnull(code_shown_at, ?1)
	WHERE id = ?2 AND closed_at IS NULL AND ` + live + `
	RETURNING ` + attemptColumns

// ShowCode records that the code of a live attempt that is not closed is being
// shown.
func (db *DB) ShowCode(ctx context.Context, id string, now time.Time) (a storage.Attempt, err error) {
	err = db.write(ctx, func(tx *tx) error {
		return tx.get(showCode, args{moment(now), id}, attemptFields(&a)...)
	})
	return a, err
}

const closeAttempt = `UPDATE attempts SET closed_at = ?1 WHERE id = ?2 AND closed_at IS NULL
	RETURNING ` + attemptColumns

// CloseAttempt closes the other-browser way for good.
func (db *DB) CloseAttempt(ctx context.Context, id string, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		var a storage.Attempt
		err := tx.get(closeAttempt, args{moment(now), id}, attemptFields(&a)...)
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return logAttempt(tx, storage.EventLoginNotMe, a, now)
	})
}

const userIDByKey = `SELECT id FROM users WHERE key = ?1`

// logAttempt writes an event of an attempt: of the user of its address, from
// where it was asked for.
func logAttempt(tx *tx, name storage.EventName, a storage.Attempt, now time.Time) error {
	e := storage.Event{At: now, Name: name, ClientID: a.ClientID, Agent: a.Agent, Network: a.Network}
	if err := tx.get(userIDByKey, args{a.Key}, &e.UserID); err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	return tx.log(e)
}

const cancelAttempts = `UPDATE attempts SET cancelled_at = ?1 WHERE txn = ?2 AND browser = ?3 AND ` + live

// CancelAttempts cancels the live attempts of a Txn started by browser.
func (db *DB) CancelAttempts(ctx context.Context, txn, browser string, now time.Time) error {
	return db.exec(ctx, cancelAttempts, moment(now), txn, browser)
}

const tryCode = `UPDATE attempts SET tries = tries + 1
	WHERE id = ?2 AND browser = ?3 AND ` + live + `
	RETURNING ` + attemptColumns

// TryCode spends one of the storage.MaxTries tries of a live attempt.
func (db *DB) TryCode(ctx context.Context, id, browser string, right bool, now time.Time) (a storage.Attempt, err error) {
	err = db.write(ctx, func(tx *tx) error {
		err := tx.get(tryCode, args{moment(now), id, browser}, attemptFields(&a)...)
		if err != nil || a.Tries < storage.MaxTries || right && a.ClosedAt.IsZero() {
			return err
		}
		return logAttempt(tx, storage.EventLoginBurned, a, now)
	})
	return a, err
}

const (
	useAttempt = `UPDATE attempts SET used_at = ?1, session_id = ?3 WHERE id = ?2 AND `
	byLink     = live
	byCode     = `code_shown_at IS NOT NULL AND closed_at IS NULL AND tries > 0 AND ` + pending
	signsIn    = ` AND purpose <> 'address' RETURNING id, key, email, locale, client_id`

	useAttemptByLink = useAttempt + byLink + signsIn
	useAttemptByCode = useAttempt + byCode + signsIn

	keepSession = `UPDATE attempts SET session_id = ?2 WHERE id = ?1`
)

// CompleteAttempt uses the attempt, finds or creates its user, and makes the
// session.
func (db *DB) CompleteAttempt(ctx context.Context, c storage.Completion, now time.Time) (l storage.Login, err error) {
	use, proof := useAttemptByLink, "link"
	if c.ByCode {
		use, proof = useAttemptByCode, "code"
	}
	err = db.write(ctx, func(tx *tx) error {
		var a storage.Attempt
		if err := tx.get(use, args{moment(now), c.AttemptID, c.Session.ID}, &a.ID, &a.Key, &a.Email, &a.Locale, &a.ClientID); err != nil {
			return err
		}
		if err := signIn(tx, &l.User, a, c, now); err != nil {
			return err
		}
		kept, err := continueSession(tx, &l, c, now)
		if err != nil {
			return err
		}
		if kept {
			err = tx.one(keepSession, a.ID, l.Session.ID)
		} else {
			err = insertSession(tx, &l, c.Session)
		}
		if err != nil {
			return err
		}
		return tx.log(storage.Event{At: now, Name: storage.EventLogin, UserID: l.User.ID, ClientID: a.ClientID, SessionID: l.Session.ID,
			Agent: c.Session.Browser, Network: c.Session.Network, Detail: proof})
	})
	if err != nil {
		return storage.Login{}, err
	}
	return l, nil
}

// signIn finds the user of an attempt, or creates one.
func signIn(tx *tx, u *storage.User, a storage.Attempt, c storage.Completion, now time.Time) error {
	err := tx.get(loginUser, args{moment(now), a.Key}, userFields(u)...)
	if errors.Is(err, storage.ErrNotFound) && c.Signup {
		err = tx.get(insertUser, args{moment(now), c.UserID, a.Key, a.Email, a.Locale}, userFields(u)...)
		if err == nil {
			err = tx.log(storage.Event{At: now, Name: storage.EventUserCreated, UserID: u.ID, ClientID: a.ClientID, Agent: c.Session.Browser, Network: c.Session.Network})
		}
	}
	if errors.Is(err, storage.ErrNotFound) {
		return storage.ErrRefused
	}
	if err != nil {
		return err
	}
	_, err = tx.exec(unmute, a.Key)
	return err
}
