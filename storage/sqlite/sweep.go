package sqlite

import (
	"context"
	"time"
)

// kept is how long attempts, sessions, device requests and notices are kept when
// they are over.
const kept = 24 * time.Hour

// bouncesKept is how long a bounce is remembered after the last one.
const bouncesKept = 90 * 24 * time.Hour

const (
	sweepAttempts = `DELETE FROM attempts WHERE seq IN (SELECT seq FROM attempts WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)`
	sweepSessions = `DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE over_at <= ?1 ORDER BY over_at LIMIT ?2)`
	sweepGrants   = `DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)`
	sweepLimits   = `DELETE FROM limits WHERE key IN (SELECT key FROM limits WHERE ends_at <= ?1 ORDER BY ends_at LIMIT ?2)`
	sweepUses     = `DELETE FROM uses WHERE key IN (SELECT key FROM uses WHERE ends_at <= ?1 ORDER BY ends_at LIMIT ?2)`
	sweepDevices  = `DELETE FROM devices WHERE id IN (SELECT id FROM devices WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)`
	sweepMutes    = `DELETE FROM mutes WHERE key IN (SELECT key FROM mutes WHERE ends_at <= ?1 ORDER BY ends_at LIMIT ?2)`
	sweepBounces  = `DELETE FROM bounces WHERE key IN (SELECT key FROM bounces WHERE at <= ?1 ORDER BY at LIMIT ?2)`
	sweepNotices  = `DELETE FROM logout_notices WHERE (session_id, client_id) IN (
		SELECT session_id, client_id FROM logout_notices WHERE ended_at <= ?1 ORDER BY ended_at LIMIT ?2)`
)

// Sweep removes up to limit rows of each kind and returns how many: attempts
// with their mail a day after they expired, sessions with the clients they signed
// in to a day after they ended or ran out, grants that have expired, counters
// whose window is over, uses that have ended, device requests a day after they
// expired, notices a day after they ended, mutes that have ended, and bounces 90
// days after the last one. Queued notices stay.
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
			{sweepUses, now},
			{sweepDevices, now.Add(-kept)},
			{sweepNotices, now.Add(-kept)},
			{sweepMutes, now},
			{sweepBounces, now.Add(-bouncesKept)},
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
