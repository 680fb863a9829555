package postgres

import (
	"context"

	"github.com/sealpost/sealpost/storage"
)

// Both counts are over the partial index of what is queued.
const backlog = `
	SELECT (SELECT count(*) FROM mail WHERE state = 'queued'), (SELECT min(created_at) FROM mail WHERE state = 'queued'),
		(SELECT count(*) FROM logout_notices WHERE state = 'queued')`

// Backlog tells what is queued.
func (db *DB) Backlog(ctx context.Context) (b storage.Backlog, err error) {
	err = db.get(ctx, "backlog", []any{&b.Mails, stamp{&b.OldestMail}, &b.Notices}, backlog)
	return b, err
}

// Connections tells of the connections to the database.
func (db *DB) Connections() storage.Connections {
	s := db.pool.Stat()
	return storage.Connections{
		InUse: int(s.AcquiredConns()), Idle: int(s.IdleConns()), Max: int(s.MaxConns()),
		Waits: s.EmptyAcquireCount(), Waited: s.EmptyAcquireWaitTime(),
	}
}
