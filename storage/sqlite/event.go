package sqlite

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// By gives a handle of the same database whose events carry actor. It is closed
// with db.
func (db *DB) By(actor string) *DB {
	other := *db
	other.actor = actor
	return &other
}

const insertEvent = `INSERT INTO events (at, name, actor, user_id, client_id, session_id, agent, network, detail)
	VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)`

// log writes an event of the transaction.
func (t *tx) log(e storage.Event) error {
	_, err := t.exec(insertEvent, moment(e.At), string(e.Name), t.actor, e.UserID, e.ClientID, e.SessionID, e.Agent, e.Network, e.Detail)
	return err
}

const eventColumns = `seq, at, name, actor, user_id, client_id, session_id, agent, network, detail`

func eventFields(e *storage.Event) []any {
	return []any{&e.Seq, (*moment)(&e.At), (*string)(&e.Name), &e.Actor, &e.UserID, &e.ClientID, &e.SessionID, &e.Agent, &e.Network, &e.Detail}
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
	add(f.UserID != "", `user_id <> '' AND user_id = ?%d`, f.UserID)
	add(f.ClientID != "", `client_id <> '' AND client_id = ?%d`, f.ClientID)
	add(f.Name != "", `name = ?%d`, string(f.Name))
	add(!f.Since.IsZero(), `at >= ?%d`, moment(f.Since))
	add(!f.Until.IsZero(), `at < ?%d`, moment(f.Until))
	add(f.Before != 0, `seq < ?%d`, f.Before)
	query = `SELECT ` + eventColumns + ` FROM events`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	order := `seq`
	if !f.Since.IsZero() {
		order = `+seq` // or SQLite would go by seq through all that is older, too
	}
	values = append(values, f.Most())
	return query + fmt.Sprintf(` ORDER BY %s DESC LIMIT ?%d`, order, len(values)), values
}

// Events lists events, the newest first.
func (db *DB) Events(ctx context.Context, f storage.EventFilter) ([]storage.Event, error) {
	query, values := eventQuery(f)
	rows, err := db.reader.QueryContext(ctx, query, values...)
	return collect(rows, err, eventFields)
}

const sweepEvents = `DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE at < ?1 ORDER BY at LIMIT ?2)`

// SweepEvents removes up to limit events that are older than before, the oldest
// first, and gives how many.
func (db *DB) SweepEvents(ctx context.Context, before time.Time, limit int) (removed int, err error) {
	err = db.write(ctx, func(tx *tx) error {
		removed, err = tx.exec(sweepEvents, moment(before), max(limit, 0)) // to SQLite -1 is no limit
		return err
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}
