package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sealpost/sealpost/storage"
)

// attemptColumns are the columns of a in the order of attemptFields.
const attemptColumns = `a.id, a.txn, a.browser, a.request, a.client_id, a.client_name, a.key, a.email, a.locale, a.agent, a.network,
	a.created_at, a.expires_at, a.used_at, a.superseded_at, a.closed_at, a.cancelled_at, a.code_shown_at, a.tries, a.session_id,
	a.purpose, a.user_id, a.known, a.undelivered_at`

func attemptFields(a *storage.Attempt) []any {
	return []any{
		&a.ID, &a.Txn, &a.Browser, &a.Request, &a.ClientID, &a.ClientName, &a.Key, &a.Email, &a.Locale, &a.Agent, &a.Network,
		stamp{&a.CreatedAt}, stamp{&a.ExpiresAt}, stamp{&a.UsedAt}, stamp{&a.SupersededAt}, stamp{&a.ClosedAt}, stamp{&a.CancelledAt},
		stamp{&a.CodeShownAt}, &a.Tries, &a.SessionID, &a.Purpose, &a.UserID, &a.Known, stamp{&a.UndeliveredAt},
	}
}

// pending is storage.StateLive of an attempt a at $1, but for the tries; live has
// them, too.
const (
	pending = `a.used_at IS NULL AND a.cancelled_at IS NULL AND a.superseded_at IS NULL AND a.expires_at > $1`
	live    = pending + ` AND a.tries < 5`
)

// proven holds for an attempt a that may be used at $1: by its link, or, with
// $3, by its code.
const proven = pending + ` AND CASE WHEN $3::boolean
			THEN a.closed_at IS NULL AND a.code_shown_at IS NOT NULL AND a.tries BETWEEN 1 AND 5
			ELSE a.tries < 5 END`

// The number in live is storage.MaxTries, or this does not compile.
const (
	_ uint = storage.MaxTries - 5
	_ uint = 5 - storage.MaxTries
)

const (
	supersedeAttempts = `
		UPDATE attempts a SET superseded_at = $1
		WHERE a.txn = $4 AND ` + live + ` AND ` + limitsFree
	insertAttempt = `
		INSERT INTO attempts (id, txn, seq, browser, request, client_id, client_name, key, email, locale, agent, network, created_at, expires_at,
			purpose, user_id, known)
		SELECT $5::text, $4::text, 1 + coalesce((SELECT max(seq) FROM attempts WHERE txn = $4), 0), $6::text, $7::text, $8::text, $9::text,
			$10::text, $11::text, $12::text, $13::text, $14::text, $1::timestamptz, $15::timestamptz,
			$16::text, $17::text, $18::boolean
		WHERE ` + limitsFree
	insertMail = `
		INSERT INTO mail (id, attempt_id, created_at, next_at, not_after, tries, updated_at)
		SELECT $4::text, $5::text, $1::timestamptz, $6::timestamptz, $7::timestamptz, $8::bigint, $1::timestamptz
		WHERE ` + limitsFree
)

// StartAttempt counts every limit and, when none is full, supersedes the live
// attempts of the same Txn and inserts the attempt and its mail. A full limit is
// a *storage.LimitError, the one with the longest wait; then nothing is written,
// nor counted. storage.ErrConflict when there is an attempt of this id.
func (db *DB) StartAttempt(ctx context.Context, a storage.Attempt, m storage.Mail, limits []storage.Limit, now time.Time) error {
	keys, max := limitArgs(limits)
	var full *storage.LimitError
	err := db.transaction(ctx, "start attempt", func(b *pgx.Batch) {
		queueLimits(b, limits, now, &full)
		b.Queue(supersedeAttempts, at(now), keys, max, a.Txn)
		b.Queue(insertAttempt, at(a.CreatedAt), keys, max, a.Txn, a.ID, a.Browser, a.Request, a.ClientID, a.ClientName,
			a.Key, a.Email, a.Locale, a.Agent, a.Network, at(a.ExpiresAt), string(a.Purpose), a.UserID, a.Known)
		b.Queue(insertMail, at(m.CreatedAt), keys, max, m.ID, m.AttemptID, at(m.NextAt), at(m.NotAfter), m.Tries)
		queueUncount(b, limits)
	})
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e) && e.Code == "23505": // unique_violation
		return fmt.Errorf("%w: %w", err, storage.ErrConflict)
	case err == nil && full != nil:
		return full
	}
	return err
}

const (
	attemptByID = `
		SELECT ` + attemptColumns + ` FROM attempts a WHERE a.id = $1`
	latestAttempt = `
		SELECT ` + attemptColumns + ` FROM attempts a WHERE a.txn = $1 AND a.browser = $2
		ORDER BY a.created_at DESC, a.seq DESC LIMIT 1`
)

// Attempt finds an attempt by id: storage.ErrNotFound when there is none.
func (db *DB) Attempt(ctx context.Context, id string) (a storage.Attempt, err error) {
	err = db.get(ctx, "attempt", attemptFields(&a), attemptByID, id)
	return a, err
}

// LatestAttempt finds the newest attempt of a Txn started by browser; of equally
// old ones, the one inserted last.
func (db *DB) LatestAttempt(ctx context.Context, txn, browser string) (a storage.Attempt, err error) {
	err = db.get(ctx, "latest attempt", attemptFields(&a), latestAttempt, txn, browser)
	return a, err
}

const (
	showCode = `
		UPDATE attempts a SET code_shown_at = coalesce(a.code_shown_at, $1)
		WHERE a.id = $2 AND a.closed_at IS NULL AND ` + live + `
		RETURNING ` + attemptColumns
	closeAttempt = `
		WITH a AS (
			UPDATE attempts a SET closed_at = $1 WHERE a.id = $2 AND a.closed_at IS NULL RETURNING a.key, a.client_id, a.agent, a.network
		)` + insertEvents + `
		SELECT $1::timestamptz, '` + string(storage.EventLoginNotMe) + `', $3::text, coalesce(u.id, ''), a.client_id, '', a.agent, a.network, ''
		FROM a LEFT JOIN users u ON u.key = a.key`
	cancelAttempts = `
		UPDATE attempts a SET cancelled_at = $1 WHERE a.txn = $2 AND a.browser = $3 AND ` + live
	tryCode = `
		WITH a AS (
			UPDATE attempts a SET tries = a.tries + 1
			WHERE a.id = $2 AND a.browser = $3 AND ` + live + `
			RETURNING ` + attemptColumns + `
		), logged AS (` + insertEvents + `
			SELECT $1::timestamptz, '` + string(storage.EventLoginBurned) + `', $5::text, coalesce(u.id, ''), a.client_id, '', a.agent, a.network, ''
			FROM a LEFT JOIN users u ON u.key = a.key
			WHERE a.tries >= 5 AND NOT ($4::boolean AND a.closed_at IS NULL)
		)
		SELECT ` + attemptColumns + ` FROM a`
)

// ShowCode records that the code is being shown in another browser. It is
// storage.ErrNotFound unless the attempt is live and not closed. Showing again
// keeps the first time.
func (db *DB) ShowCode(ctx context.Context, id string, now time.Time) (a storage.Attempt, err error) {
	err = db.get(ctx, "show code", attemptFields(&a), showCode, at(now), id)
	return a, err
}

// CloseAttempt closes the other-browser way for good. Closing twice, or what is
// not there, is no error.
func (db *DB) CloseAttempt(ctx context.Context, id string, now time.Time) error {
	_, err := db.exec(ctx, "close attempt", closeAttempt, at(now), id, db.actor)
	return err
}

// CancelAttempts cancels the live attempts of a Txn started by browser.
func (db *DB) CancelAttempts(ctx context.Context, txn, browser string, now time.Time) error {
	_, err := db.exec(ctx, "cancel attempts", cancelAttempts, at(now), txn, browser)
	return err
}

// TryCode spends one of the storage.MaxTries tries of a live attempt that
// browser started: storage.ErrNotFound when the attempt is not live. Right is
// whether the code is the one; with the last try that is not, the attempt burns.
func (db *DB) TryCode(ctx context.Context, id, browser string, right bool, now time.Time) (a storage.Attempt, err error) {
	err = db.get(ctx, "try code", attemptFields(&a), tryCode, at(now), id, browser, right, db.actor)
	return a, err
}

// One statement, each step made of the rows of the one before: the attempt when
// it is open, its user when they may sign in, the sessions. Its rows are locked
// where they are read, so that what is written was true when it was written:
//
//   - a is empty for whoever comes second: it waits for the first and then
//     finds the attempt used.
//   - u inserts the user or meets the row that is there, were it inserted this
//     moment by another attempt of the address. It offers the known user's own
//     id, for the checks of the table come before the conflict.
//   - s is the new session, or Current with its new times, or both when Current
//     is another user's and ends. They are one INSERT because no table may be
//     changed twice in a statement.
//
// Only when all is done is the attempt used.
const completeAttempt = `
	WITH a AS MATERIALIZED (
		SELECT a.id, a.key, a.email, a.locale, a.client_id FROM attempts a
		WHERE a.id = $2 AND a.purpose <> 'address' AND ` + proven + `
		FOR UPDATE
	), u AS (
		INSERT INTO users AS u (id, key, email, name, locale, groups, created_at, updated_at, last_login_at)
		SELECT coalesce(known.id, $4::text), a.key, a.email, '', a.locale, '{}'::text[], $1::timestamptz, $1::timestamptz, $1::timestamptz
		FROM a LEFT JOIN users known ON known.key = a.key
		WHERE known.id IS NOT NULL OR $5::boolean
		ON CONFLICT (key) DO UPDATE SET last_login_at = excluded.last_login_at WHERE u.disabled_at IS NULL
		RETURNING ` + userColumns + `
	), unmuted AS (
		DELETE FROM mutes m USING u WHERE m.key = u.key
	), cur AS MATERIALIZED (
		SELECT ` + sessionColumns + `, s.user_id = u.id AS kept FROM u JOIN sessions s ON s.id = $6 AND ` + liveSession + `
		FOR UPDATE OF s
	), s AS (
		INSERT INTO sessions AS s (id, user_id, auth_time, created_at, seen_at, expires_at, idle_at, ended_at, browser, network)
		SELECT $7::text, u.id, $8::timestamptz, $9::timestamptz, $10::timestamptz, $11::timestamptz, $12::timestamptz, NULL::timestamptz, $13::text, $14::text
		FROM u WHERE NOT EXISTS (SELECT FROM cur WHERE kept)
		UNION ALL
		SELECT id, user_id, CASE WHEN kept THEN $8::timestamptz ELSE auth_time END, created_at, CASE WHEN kept THEN $10::timestamptz ELSE seen_at END,
			expires_at, CASE WHEN kept THEN $12::timestamptz ELSE idle_at END, CASE WHEN kept THEN NULL ELSE $1::timestamptz END, browser, network
		FROM cur
		ON CONFLICT (id) DO UPDATE SET auth_time = excluded.auth_time, seen_at = excluded.seen_at, idle_at = excluded.idle_at, ended_at = excluded.ended_at
		WHERE s.id = $6
		RETURNING ` + sessionColumns + `
	), revoked AS (
		UPDATE grants g SET revoked_at = $1 FROM s
		WHERE g.user_id = s.user_id AND g.session_id = s.id AND s.ended_at IS NOT NULL AND NOT g.offline AND g.revoked_at IS NULL
	), used AS (
		UPDATE attempts SET used_at = $1, session_id = s.id FROM s WHERE attempts.id = $2 AND s.ended_at IS NULL
	), logged AS (` + insertEvents + `
		SELECT $1::timestamptz, e.name, $15::text, e.user_id, e.client_id, e.session_id, e.agent, e.network, e.detail
		FROM (
			SELECT 1 AS n, '` + string(storage.EventUserCreated) + `' AS name, u.id AS user_id, a.client_id, '' AS session_id, $13::text AS agent, $14::text AS network, '' AS detail
			FROM a, u WHERE u.id = $4 AND NOT EXISTS (SELECT FROM users WHERE id = $4)
			UNION ALL
			SELECT 2, '` + string(storage.EventSessionEnded) + `', s.user_id, '', s.id, s.browser, s.network, '` + string(storage.EventLogin) + `'
			FROM s WHERE s.ended_at IS NOT NULL
			UNION ALL
			SELECT 3, '` + string(storage.EventLogin) + `', s.user_id, a.client_id, s.id, $13::text, $14::text, CASE WHEN $3::boolean THEN 'code' ELSE 'link' END
			FROM a, s WHERE s.ended_at IS NULL
		) e ORDER BY e.n
	)
	SELECT ` + sessionColumns + `, ` + userColumns + `
	FROM a LEFT JOIN u ON true LEFT JOIN s ON s.ended_at IS NULL`

// CompleteAttempt uses the attempt, finds or creates its user, and makes the
// session. One of any number of callers wins; any other gets
// storage.ErrNotFound, as for an attempt that is not live. storage.ErrRefused:
// the user is disabled or unknown and Signup is not set; then nothing is
// written. A Current of another user ends as by EndSession.
func (db *DB) CompleteAttempt(ctx context.Context, c storage.Completion, now time.Time) (l storage.Login, err error) {
	s, found := c.Session, false
	err = db.transaction(ctx, "complete attempt", func(b *pgx.Batch) {
		b.Queue(completeAttempt, at(now), c.AttemptID, c.ByCode, c.UserID, c.Signup, c.Current,
			s.ID, at(s.AuthTime), at(s.CreatedAt), at(s.SeenAt), at(s.ExpiresAt), at(s.IdleAt), s.Browser, s.Network, db.actor).QueryRow(func(row pgx.Row) error {
			err := row.Scan(loginFields(&l)...)
			found = err == nil
			if errors.Is(err, pgx.ErrNoRows) {
				err = nil
			}
			return err
		})
		b.Queue(queueNoticesOfSession, at(now), c.Current) // sees what was redeemed while the statement before it waited
	})
	switch {
	case err != nil:
		return storage.Login{}, err
	case !found:
		return storage.Login{}, storage.ErrNotFound
	case l.User.ID == "":
		return storage.Login{}, storage.ErrRefused
	case l.Session.ID == "":
		return storage.Login{}, fmt.Errorf("complete attempt: session %w", storage.ErrConflict)
	}
	return l, nil
}
