package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sealpost/sealpost/storage"
)

// sessionColumns are the columns of s in the order of sessionFields.
const sessionColumns = `s.id, s.user_id, s.auth_time, s.created_at, s.seen_at, s.expires_at, s.idle_at, s.ended_at, s.browser, s.network`

// sessionFields scans a session, the zero Session when all is NULL.
func sessionFields(s *storage.Session) []any {
	return []any{
		text{&s.ID}, text{&s.UserID}, stamp{&s.AuthTime}, stamp{&s.CreatedAt}, stamp{&s.SeenAt},
		stamp{&s.ExpiresAt}, stamp{&s.IdleAt}, stamp{&s.EndedAt}, text{&s.Browser}, text{&s.Network},
	}
}

func loginFields(l *storage.Login) []any {
	return append(sessionFields(&l.Session), userFields(&l.User)...)
}

// liveSession holds for a session s that is live at $1.
const liveSession = `s.ended_at IS NULL AND s.expires_at > $1 AND s.idle_at > $1`

const sessionWithUser = `
	SELECT ` + sessionColumns + `, ` + userColumns + `
	FROM sessions s JOIN users u ON u.id = s.user_id
	WHERE s.id = $2 AND ` + liveSession + ` AND u.disabled_at IS NULL`

// Session finds a live session and its user, who must not be disabled.
func (db *DB) Session(ctx context.Context, id string, now time.Time) (l storage.Login, err error) {
	err = db.get(ctx, "session", loginFields(&l), sessionWithUser, at(now), id)
	return l, err
}

const (
	sessionsWithUsers = `
	SELECT ` + sessionColumns + `, ` + userColumns + `
	FROM sessions s JOIN users u ON u.id = s.user_id
	WHERE s.id > $2 AND ` + liveSession + ` AND u.disabled_at IS NULL`
	signedInTo = ` AND EXISTS (SELECT FROM session_clients c WHERE c.session_id = s.id AND c.client_id = $%d)`
)

// Sessions lists live sessions with their users, by id.
func (db *DB) Sessions(ctx context.Context, f storage.SessionFilter, now time.Time) ([]storage.Login, error) {
	query, values := sessionsWithUsers, []any{at(now), f.After}
	add := func(condition, value string) {
		if value != "" {
			values = append(values, value)
			query += fmt.Sprintf(condition, len(values))
		}
	}
	add(` AND s.user_id = $%d`, f.UserID)
	add(signedInTo, f.ClientID)
	values = append(values, f.Most())
	query += fmt.Sprintf(` ORDER BY s.id LIMIT $%d`, len(values))
	return list(ctx, db, "sessions", loginFields, query, values...)
}

// ClientsOf lists the clients that a session signed in to, in the order of their
// ids' bytes.
func (db *DB) ClientsOf(ctx context.Context, sessionID string) ([]string, error) {
	clients, err := list(ctx, db, "clients of session", func(id *string) []any { return []any{id} }, clientsOfSession, sessionID)
	slices.Sort(clients) // here, because the order of the database depends on its locale
	return clients, err
}

const touchSession = `
	UPDATE sessions s SET seen_at = $1, idle_at = $3
	WHERE s.id = $2 AND ` + liveSession

// TouchSession moves the idle end of a live session, storage.ErrNotFound when it
// is not live.
func (db *DB) TouchSession(ctx context.Context, id string, now, idleAt time.Time) error {
	n, err := db.exec(ctx, "touch session", touchSession, at(now), id, at(idleAt))
	if err == nil && n == 0 {
		return storage.ErrNotFound
	}
	return err
}

const (
	endSession = `
		WITH s AS (
			UPDATE sessions SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL` + returningEnded + `
		), logged AS (` + insertEvents + sessionsEnded + `''` + wereLive + `
		)
		SELECT id FROM s`
	returningEnded = `
			RETURNING id, user_id, browser, network, expires_at > $1 AND idle_at > $1 AS live`
	// sessionsEnded are the events of the sessions s that were just ended, by the
	// actor $3; one that had run out before is none. The detail between the two is
	// the event that ended them, if any.
	sessionsEnded = `
			SELECT $1::timestamptz, '` + string(storage.EventSessionEnded) + `', $3::text, user_id, '', id, browser, network, `
	wereLive = `
			FROM s WHERE live`
	revokeGrantsOfSession = `
		UPDATE grants SET revoked_at = $1
		WHERE user_id = (SELECT user_id FROM sessions WHERE id = $2) AND session_id = $2 AND NOT offline AND revoked_at IS NULL`
	clientsOfSession = `
		SELECT client_id FROM session_clients WHERE session_id = $1`
)

// EndSession ends a session, revokes its grants, save Offline ones, queues its
// notices and gives the ids of all clients it signed in to, sorted. Ending twice
// is no error, and gives none.
func (db *DB) EndSession(ctx context.Context, id string, now time.Time) (clients []string, err error) {
	// The session's row first: whoever redeems a code holds it, and what they
	// made before is seen by the statements after.
	err = db.transaction(ctx, "end session", func(b *pgx.Batch) {
		ended := false
		b.Queue(endSession, at(now), id, db.actor).Exec(func(tag pgconn.CommandTag) error {
			ended = tag.RowsAffected() > 0
			return nil
		})
		b.Queue(revokeGrantsOfSession, at(now), id)
		b.Queue(queueNoticesOfSession, at(now), id)
		b.Queue(clientsOfSession, id).Query(func(rows pgx.Rows) error {
			clients, err = pgx.CollectRows(rows, pgx.RowTo[string])
			if !ended {
				clients = nil
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(clients) // here, because the order of the database depends on its locale
	return clients, nil
}
