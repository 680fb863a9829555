package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const sessionColumns = `sessions.id, sessions.user_id, sessions.auth_time, sessions.created_at, sessions.seen_at,
	sessions.expires_at, sessions.idle_at, sessions.ended_at, sessions.browser, sessions.network`

func sessionFields(s *storage.Session) []any {
	return []any{
		&s.ID, &s.UserID, (*moment)(&s.AuthTime), (*moment)(&s.CreatedAt), (*moment)(&s.SeenAt),
		(*moment)(&s.ExpiresAt), (*moment)(&s.IdleAt), (*moment)(&s.EndedAt), &s.Browser, &s.Network,
	}
}

// liveSession is true of a session that is live at ?1.
const liveSession = `sessions.ended_at IS NULL AND sessions.expires_at > ?1 AND sessions.idle_at > ?1`

const sessionWithUser = `SELECT ` + sessionColumns + `, ` + userColumns + `
	FROM sessions JOIN users ON users.id = sessions.user_id
	WHERE sessions.id = ?2 AND ` + liveSession + ` AND users.disabled_at IS NULL`

// Session finds a live session and its user, who must not be disabled.
func (db *DB) Session(ctx context.Context, id string, now time.Time) (l storage.Login, err error) {
	err = db.get(ctx, sessionWithUser, args{moment(now), id}, append(sessionFields(&l.Session), userFields(&l.User)...)...)
	return l, err
}

const (
	sessionsWithUsers = `SELECT ` + sessionColumns + `, ` + userColumns + `
	FROM sessions JOIN users ON users.id = sessions.user_id
	WHERE sessions.id > ?2 AND ` + liveSession + ` AND users.disabled_at IS NULL`

	signedInTo = ` AND EXISTS (SELECT 1 FROM session_clients WHERE session_id = sessions.id AND client_id = ?%d)`
)

// sessionQuery asks for the sessions of a filter that are live at now.
func sessionQuery(f storage.SessionFilter, now time.Time) (query string, values []any) {
	query, values = sessionsWithUsers, []any{moment(now), f.After}
	add := func(condition, value string) {
		if value != "" {
			values = append(values, value)
			query += fmt.Sprintf(condition, len(values))
		}
	}
	add(` AND sessions.user_id = ?%d`, f.UserID)
	add(signedInTo, f.ClientID)
	values = append(values, f.Most())
	return query + fmt.Sprintf(` ORDER BY sessions.id LIMIT ?%d`, len(values)), values
}

// Sessions lists live sessions with their users, by id.
func (db *DB) Sessions(ctx context.Context, f storage.SessionFilter, now time.Time) ([]storage.Login, error) {
	query, values := sessionQuery(f, now)
	rows, err := db.reader.QueryContext(ctx, query, values...)
	return collect(rows, err, func(l *storage.Login) []any { return append(sessionFields(&l.Session), userFields(&l.User)...) })
}

// ClientsOf lists the clients that a session signed in to, by id.
func (db *DB) ClientsOf(ctx context.Context, sessionID string) ([]string, error) {
	rows, err := db.reader.QueryContext(ctx, clientsOfSession, sessionID)
	return collect(rows, err, func(id *string) []any { return []any{id} })
}

const touchSession = `UPDATE sessions SET seen_at = ?1, idle_at = ?3 WHERE id = ?2 AND ` + liveSession

// TouchSession moves the idle end of a live session.
func (db *DB) TouchSession(ctx context.Context, id string, now, idleAt time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		return tx.one(touchSession, moment(now), id, moment(idleAt))
	})
}

const (
	endSession = `UPDATE sessions SET ended_at = ?1 WHERE id = ?2 AND ended_at IS NULL RETURNING ` + sessionColumns

	// The user is there for the index. A session that is gone needs nothing
	// revoked: its grants are not live without it.
	revokeGrantsOfSession = `UPDATE grants SET revoked_at = ?1
		WHERE user_id = (SELECT user_id FROM sessions WHERE id = ?2) AND session_id = ?2 AND offline = 0 AND revoked_at IS NULL`

	clientsOfSession = `SELECT client_id FROM session_clients WHERE session_id = ?1 ORDER BY client_id`
)

// EndSession ends a session, revokes its grants, save Offline ones, queues its
// notices and gives the ids of all clients it signed in to.
func (db *DB) EndSession(ctx context.Context, id string, now time.Time) (clients []string, err error) {
	err = db.write(ctx, func(tx *tx) error {
		ended, err := end(tx, id, "", now)
		if err != nil || !ended {
			return err
		}
		rows, err := tx.query(clientsOfSession, id)
		clients, err = collect(rows, err, func(id *string) []any { return []any{id} })
		return err
	})
	if err != nil {
		return nil, err
	}
	return clients, nil
}

// end ends a session; ended is false when it had ended before, or is not there.
func end(tx *tx, id, detail string, now time.Time) (ended bool, err error) {
	var s storage.Session
	switch err := tx.get(endSession, args{moment(now), id}, sessionFields(&s)...); {
	case errors.Is(err, storage.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	if err := logEnded(tx, detail, now, s); err != nil {
		return false, err
	}
	for _, query := range []string{revokeGrantsOfSession, queueNoticesOfSession} {
		if _, err := tx.exec(query, moment(now), id); err != nil {
			return false, err
		}
	}
	return true, nil
}

// logEnded writes the events of sessions that were just ended; one that had run
// out before is none. The detail is the event that ended them, if any.
func logEnded(tx *tx, detail string, now time.Time, ended ...storage.Session) error {
	for _, s := range ended {
		if !s.ExpiresAt.After(now) || !s.IdleAt.After(now) {
			continue
		}
		e := storage.Event{At: now, Name: storage.EventSessionEnded, UserID: s.UserID, SessionID: s.ID, Agent: s.Browser, Network: s.Network, Detail: detail}
		if err := tx.log(e); err != nil {
			return err
		}
	}
	return nil
}

const (
	userOfSession = `SELECT user_id FROM sessions WHERE id = ?2 AND ` + liveSession

	renewSession = `UPDATE sessions SET auth_time = ?2, seen_at = ?3, idle_at = ?4 WHERE id = ?1 RETURNING ` + sessionColumns

	newSession = `INSERT INTO sessions (id, user_id, auth_time, created_at, seen_at, expires_at, idle_at, browser, network)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING ` + sessionColumns
)

// continueSession renews a live Current of the user of l and ends one of
// another user.
func continueSession(tx *tx, l *storage.Login, c storage.Completion, now time.Time) (kept bool, err error) {
	var userID string
	switch err := tx.get(userOfSession, args{moment(now), c.Current}, &userID); {
	case errors.Is(err, storage.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case userID != l.User.ID:
		_, err := end(tx, c.Current, string(storage.EventLogin), now)
		return false, err
	}
	s := c.Session
	err = tx.get(renewSession, args{c.Current, moment(s.AuthTime), moment(s.SeenAt), moment(s.IdleAt)}, sessionFields(&l.Session)...)
	return err == nil, err
}

func insertSession(tx *tx, l *storage.Login, s storage.Session) error {
	values := args{s.ID, l.User.ID, moment(s.AuthTime), moment(s.CreatedAt), moment(s.SeenAt), moment(s.ExpiresAt), moment(s.IdleAt), s.Browser, s.Network}
	return tx.get(newSession, values, sessionFields(&l.Session)...)
}
