package sqlite

import (
	"context"

	"github.com/sealpost/sealpost/storage"
)

// Both counts are over the partial index of what is queued.
const backlog = `SELECT (SELECT count(*) FROM mail WHERE state = 'queued'), (SELECT min(created_at) FROM mail WHERE state = 'queued'),
	(SELECT count(*) FROM logout_notices WHERE state = 'queued')`

// Backlog tells what is queued.
func (db *DB) Backlog(ctx context.Context) (b storage.Backlog, err error) {
	err = db.get(ctx, backlog, nil, &b.Mails, (*moment)(&b.OldestMail), &b.Notices)
	return b, err
}

// Connections tells of the connections that read; one more writes.
func (db *DB) Connections() storage.Connections {
	s := db.reader.Stats()
	return storage.Connections{InUse: s.InUse, Idle: s.Idle, Max: s.MaxOpenConnections, Waits: s.WaitCount, Waited: s.WaitDuration}
}
