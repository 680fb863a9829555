package sqlite

import (
	"context"
	"time"
)

// kept is how long attempts and sessions are kept when they are over.
const kept = 24 * time.Hour

const (
	sweepAttempts = `DELETE FROM attempts WHERE seq IN (SELECT seq FROM attempts WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)`
	sweepSessions = `DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE over_at <= ?1 ORDER BY over_at LIMIT ?2)`
	sweepGrants   = `DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)`
	sweepLimits   = `DELETE FROM limits WHERE key IN (SELECT key FROM limits WHERE ends_at <= ?1 ORDER BY ends_at LIMIT ?2)`
)

// Sweep removes up to limit rows of each kind and returns how many: attempts
// with their mail a day after they expired, sessions a day after they ended or
// ran out, grants that have expired, and counters whose window is over.
func (db *DB) Sweep(ctx context.Context, now time.Time, limit int) (removed int, err error) {
	err = db.write(ctx, func(tx *tx) error {
		for _, kind := range []struct {
			query  string
			before time.Time
		}{
			{sweepAttempts, now.Add(-kept)},
			{sweepSessions, now.Add(-kept)},
			{sweepGrants, now},
			{sweepLimits, now},
		} {
			n, err := tx.exec(kind.query, moment(kind.before), max(limit, 0)) // to SQLite -1 is no limit
			if err != nil {
				return err
			}
			removed += n
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}
