package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

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
		UPDATE sessions SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL`
	revokeGrantsOfSession = `
		UPDATE grants SET revoked_at = $1
		WHERE user_id = (SELECT user_id FROM sessions WHERE id = $2) AND session_id = $2 AND NOT offline AND revoked_at IS NULL`
)

// EndSession ends a session and revokes its grants, save Offline ones. Ending
// twice is no error.
func (db *DB) EndSession(ctx context.Context, id string, now time.Time) error {
	return db.transaction(ctx, "end session", func(b *pgx.Batch) {
		b.Queue(endSession, at(now), id)
		b.Queue(revokeGrantsOfSession, at(now), id)
	})
}
