package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// By gives a handle of the same database whose events carry actor. It is closed
// with db.
func (db *DB) By(actor string) *DB { return &DB{pool: db.pool, actor: actor} }

// insertEvents is followed by what selects them. It stands in the statement that
// makes what they tell of, so that they take no round trip of their own. Of
// several events the one that stands first has the lower seq.
const insertEvents = `
		INSERT INTO events (at, name, actor, user_id, client_id, session_id, agent, network, detail)`

const eventColumns = `seq, at, name, actor, user_id, client_id, session_id, agent, network, detail`

func eventFields(e *storage.Event) []any {
	return []any{&e.Seq, stamp{&e.At}, (*string)(&e.Name), &e.Actor, &e.UserID, &e.ClientID, &e.SessionID, &e.Agent, &e.Network, &e.Detail}
}

// eventQuery asks for the events of a filter.
func eventQuery(f storage.EventFilter) (query string, values []any) {
	var where []string
	add := func(given bool, condition string, value any) {
		if given {
			values = append(values, value)
			where = append(where, fmt.Sprintf(condition, len(values)))
		}
	}
	add(f.UserID != "", `user_id <> '' AND user_id = $%d`, f.UserID)
	add(f.ClientID != "", `client_id <> '' AND client_id = $%d`, f.ClientID)
	add(f.Name != "", `name = $%d`, string(f.Name))
	add(!f.Since.IsZero(), `at >= $%d`, at(f.Since))
	add(!f.Until.IsZero(), `at < $%d`, at(f.Until))
	add(f.Before != 0, `seq < $%d`, f.Before)
	query = `SELECT ` + eventColumns + ` FROM events`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	values = append(values, f.Most())
	return query + fmt.Sprintf(` ORDER BY seq DESC LIMIT $%d`, len(values)), values
}

// Events lists events, the newest first.
func (db *DB) Events(ctx context.Context, f storage.EventFilter) ([]storage.Event, error) {
	query, values := eventQuery(f)
	return list(ctx, db, "events", eventFields, query, values...)
}

// No row is locked before it is removed, as elsewhere: that would take the right
// to UPDATE.
const sweepEvents = `
	DELETE FROM events WHERE seq = ANY (ARRAY(
		SELECT seq FROM events WHERE at < $1 ORDER BY at LIMIT $2))`

// SweepEvents removes up to limit events that are older than before, the oldest
// first, and gives how many.
func (db *DB) SweepEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := db.exec(ctx, "sweep events", sweepEvents, at(before), max(limit, 0))
	return int(n), err
}
