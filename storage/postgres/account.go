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

const sessionsOf = `
	SELECT ` + sessionColumns + ` FROM sessions s WHERE s.user_id = $2 AND ` + liveSession + ` ORDER BY s.seen_at DESC, s.id`

// SessionsOf lists the live sessions of a user, the one seen last first.
func (db *DB) SessionsOf(ctx context.Context, userID string, now time.Time) ([]storage.Session, error) {
	return list(ctx, db, "sessions of user", sessionFields, sessionsOf, at(now), userID)
}

const (
	// Sessions that end here are known by the time of their end after.
	endSessionOf = `
		WITH s AS (
			UPDATE sessions s SET ended_at = $1 WHERE s.id = $4 AND s.user_id = $2 AND ` + liveSession + returningEnded + `
		)` + insertEvents + sessionsEnded + `''` + wereLive
	endOtherSessions = `
		WITH s AS (
			UPDATE sessions s SET ended_at = $1 WHERE s.user_id = $2 AND s.id <> $4 AND ` + liveSession + returningEnded + `
		)` + insertEvents + sessionsEnded + `''` + wereLive
	revokeGrantsOfEnded = `
		UPDATE grants g SET revoked_at = $1 FROM sessions s
		WHERE g.user_id = $2 AND s.user_id = $2 AND s.id = g.session_id AND s.ended_at = $1 AND NOT g.offline AND g.revoked_at IS NULL`
)

// EndSessionOf ends a live session of the user as EndSession does:
// storage.ErrNotFound when the user has no such session.
func (db *DB) EndSessionOf(ctx context.Context, userID, id string, now time.Time) error {
	n, err := db.endSessions(ctx, "end session of user", endSessionOf, userID, id, now)
	if err == nil && n == 0 {
		err = storage.ErrNotFound
	}
	return err
}

// EndOtherSessions ends every live session of the user but keep and says how
// many.
func (db *DB) EndOtherSessions(ctx context.Context, userID, keep string, now time.Time) (int, error) {
	return db.endSessions(ctx, "end other sessions", endOtherSessions, userID, keep, now)
}

// endSessions ends what query does, with its grants and notices.
func (db *DB) endSessions(ctx context.Context, what, query, userID, id string, now time.Time) (n int, err error) {
	err = db.transaction(ctx, what, func(b *pgx.Batch) {
		b.Queue(query, at(now), userID, db.actor, id).Exec(func(tag pgconn.CommandTag) error {
			n = int(tag.RowsAffected())
			return nil
		})
		b.Queue(revokeGrantsOfEnded, at(now), userID)
		b.Queue(queueNoticesOfUser, at(now), userID)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

const appsOf = `
	SELECT client_id, scopes, at, NULL::timestamptz, false FROM consents WHERE user_id = $2
	UNION ALL
	SELECT g.client_id, g.scopes, NULL, g.created_at, g.offline FROM grants g JOIN users u ON u.id = g.user_id
	WHERE g.user_id = $2 AND ` + liveGrant

// Apps lists the clients that the user allowed something or that hold a live
// grant, by id.
func (db *DB) Apps(ctx context.Context, userID string, now time.Time) ([]storage.App, error) {
	parts, err := list(ctx, db, "apps", func(a *storage.App) []any {
		return []any{&a.ClientID, words{&a.Scopes}, stamp{&a.ConsentAt}, stamp{&a.GrantedAt}, &a.Offline}
	}, appsOf, at(now), userID)
	return storage.MergeApps(parts), err
}

const usersWithApps = `
	SELECT ` + userColumns + ` FROM users u
	WHERE u.id > $2 AND (
		EXISTS (SELECT FROM consents c WHERE c.user_id = u.id AND ($3::text = '' OR c.client_id = $3))
		OR EXISTS (SELECT FROM grants g WHERE g.user_id = u.id AND ($3::text = '' OR g.client_id = $3) AND ` + liveGrant + `))
	ORDER BY u.id LIMIT $4`

// UsersWithApps lists up to limit users beyond the id after who have to do with
// the client, or with any.
func (db *DB) UsersWithApps(ctx context.Context, clientID, after string, limit int, now time.Time) ([]storage.User, error) {
	return list(ctx, db, "users with apps", userFields, usersWithApps, at(now), after, clientID, max(limit, 0))
}

const (
	// Whoever redeems a code holds the session: what they made before is seen by
	// the statements after.
	holdSessionsOfUser = `
		SELECT FROM sessions s WHERE s.user_id = $2 AND ` + liveSession + ` ORDER BY s.id FOR UPDATE`
	takeBack = `
		WITH consent AS (
			DELETE FROM consents WHERE user_id = $2 AND client_id = $3 RETURNING true
		), revoked AS (
			UPDATE grants SET revoked_at = $1 WHERE user_id = $2 AND client_id = $3 AND revoked_at IS NULL RETURNING true
		)` + insertEvents + `
		SELECT $1::timestamptz, '` + string(storage.EventAppRemoved) + `', $4::text, $2::text, $3::text, '', '', '', ''
		WHERE EXISTS (SELECT FROM consent) OR EXISTS (SELECT FROM revoked)`
	queueNoticesOfApp = `
		INSERT INTO logout_notices (session_id, client_id, user_id, created_at, next_at)
		SELECT c.session_id, c.client_id, s.user_id, $1::timestamptz, $1::timestamptz
		FROM sessions s JOIN session_clients c ON c.session_id = s.id
		WHERE s.user_id = $2 AND c.client_id = $3 AND c.notify AND ` + liveSession + orQueued
	forgetClient = `
		DELETE FROM session_clients c USING sessions s WHERE s.user_id = $1 AND c.session_id = s.id AND c.client_id = $2`
)

// Before grants are revoked: one that a device is given meanwhile is among them.
const forgetDevices = `DELETE FROM devices WHERE user_id = $1 AND user_id <> '' AND client_id = $2 AND used_at IS NULL`

// RemoveApp takes back what the user allowed a client: consent, grants, devices
// that have not fetched theirs, and what its sessions know of it.
func (db *DB) RemoveApp(ctx context.Context, userID, clientID string, now time.Time) error {
	return db.transaction(ctx, "remove app", func(b *pgx.Batch) {
		b.Queue(holdSessionsOfUser, at(now), userID)
		b.Queue(forgetDevices, userID, clientID)
		b.Queue(takeBack, at(now), userID, clientID, db.actor)
		b.Queue(queueNoticesOfApp, at(now), userID, clientID)
		b.Queue(forgetClient, userID, clientID)
	})
}

const setProfile = `
	WITH before AS MATERIALIZED (
		SELECT id, name <> $3 OR locale <> $4 AS changes FROM users WHERE id = $2 FOR UPDATE
	), u AS (
		UPDATE users u SET name = $3, locale = $4, updated_at = CASE WHEN before.changes THEN $1 ELSE u.updated_at END
		FROM before WHERE u.id = before.id RETURNING ` + userColumns + `
	), logged AS (` + insertEvents + `
		SELECT $1::timestamptz, '` + string(storage.EventUserProfile) + `', $5::text, id, '', '', '', '', '' FROM before WHERE changes
	)
	SELECT ` + userColumns + ` FROM u`

// SetProfile sets what a user says of themselves; UpdatedAt moves when it
// changed. storage.ErrNotFound when there is no such user.
func (db *DB) SetProfile(ctx context.Context, userID, name, locale string, now time.Time) (u storage.User, err error) {
	err = db.get(ctx, "set profile", userFields(&u), setProfile, at(now), userID, name, locale, db.actor)
	return u, err
}

// Made like completeAttempt: the user of the session, then the attempt that is
// for them, each held, then what follows.
const changeAddress = `
	WITH owner AS MATERIALIZED (
		SELECT u.id, s.browser, s.network FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE s.id = $4 AND s.auth_time >= $5 AND u.disabled_at IS NULL AND ` + liveSession + `
		FOR UPDATE OF u
	), a AS MATERIALIZED (
		SELECT a.id, a.key, a.email, a.user_id FROM attempts a
		WHERE a.id = $2 AND a.purpose = 'address' AND a.user_id IN (SELECT id FROM owner) AND ` + proven + `
		FOR UPDATE
	), u AS (
		UPDATE users u SET key = a.key, email = a.email, updated_at = $1 FROM a WHERE u.id = a.user_id
		RETURNING ` + userColumns + `
	), used AS (
		UPDATE attempts SET used_at = $1, session_id = $4 FROM u WHERE attempts.id = $2
	), unmuted AS (
		DELETE FROM mutes m USING u WHERE m.key = u.key
	), logged AS (` + insertEvents + `
		SELECT $1::timestamptz, '` + string(storage.EventUserAddressChanged) + `', $6::text, u.id, '', $4::text, owner.browser, owner.network, '' FROM u, owner
	)
	SELECT ` + userColumns + ` FROM u`

// ChangeAddress uses an attempt of storage.PurposeAddress and gives its address
// to its user. One of any number of callers wins. storage.ErrNotFound when the
// attempt is not live, or the session is not a live one of the user proven
// since; storage.ErrConflict when the address is another user's; then nothing is
// written.
func (db *DB) ChangeAddress(ctx context.Context, c storage.AddressChange, now time.Time) (u storage.User, err error) {
	err = db.get(ctx, "change address", userFields(&u), changeAddress, at(now), c.AttemptID, c.ByCode, c.SessionID, at(c.ProvenSince), db.actor)
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == "23505" { // unique_violation
		return storage.User{}, fmt.Errorf("%w: %w", storage.ErrConflict, err)
	}
	return u, err
}

const (
	// Attempts first, as who completes one holds it before the user: so nobody
	// comes back in between.
	removeAttemptsOfUser = `
		DELETE FROM attempts WHERE key = (SELECT key FROM users WHERE id = $1)`
	removeAttemptsForUser = `
		DELETE FROM attempts WHERE user_id = $1 AND user_id <> ''`
	holdUserForGood = `
		SELECT FROM users WHERE id = $1 FOR UPDATE`
	removeMuteOfUser = `
		DELETE FROM mutes WHERE key = (SELECT key FROM users WHERE id = $1)`
	removeBounceOfUser = `
		DELETE FROM bounces WHERE key = (SELECT key FROM users WHERE id = $1)`
	removeDevicesOfUser = `
		DELETE FROM devices WHERE user_id = $1 AND user_id <> ''`
	// With sessions, grants and consents.
	removeUser = `
		WITH u AS (
			DELETE FROM users WHERE id = $2 RETURNING id
		)` + insertEvents + `
		SELECT $1::timestamptz, '` + string(storage.EventUserDeleted) + `', $3::text, id, '', '', '', '', '' FROM u`
)

// DeleteUser removes a user for good, with all that is kept about them but
// events: storage.ErrNotFound when there is no such user.
func (db *DB) DeleteUser(ctx context.Context, userID string, now time.Time) error {
	var found bool
	err := db.transaction(ctx, "delete user", func(b *pgx.Batch) {
		b.Queue(removeAttemptsOfUser, userID)
		b.Queue(removeAttemptsForUser, userID)
		b.Queue(holdUserForGood, userID)
		b.Queue(endSessionsOfUser, at(now), userID, db.actor, string(storage.EventUserDeleted))
		b.Queue(queueNoticesOfUser, at(now), userID)
		b.Queue(removeMuteOfUser, userID)
		b.Queue(removeBounceOfUser, userID)
		b.Queue(removeDevicesOfUser, userID)
		b.Queue(removeUser, at(now), userID, db.actor).Exec(func(tag pgconn.CommandTag) error {
			found = tag.RowsAffected() > 0
			return nil
		})
	})
	if err == nil && !found {
		return storage.ErrNotFound
	}
	return err
}
