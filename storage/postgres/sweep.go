package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// kept is how long attempts, sessions, device requests and notices are kept
// after their end: a page, a device or an operator can still be told what became
// of it.
const kept = 24 * time.Hour

// bouncesKept is how long a bounce is remembered after the last one.
const bouncesKept = 90 * 24 * time.Hour

// Replicas that sweep at once share the work: each passes over what another is
// removing. ARRAY keeps the planner, which does not know how few they are, from
// reading the whole table to find them.
const (
	sweepAttempts = `
		DELETE FROM attempts WHERE id = ANY (ARRAY(
			SELECT id FROM attempts WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))`
	sweepSessions = `
		DELETE FROM sessions WHERE id = ANY (ARRAY(
			SELECT id FROM sessions WHERE least(expires_at, idle_at, ended_at) <= $1
			ORDER BY least(expires_at, idle_at, ended_at) LIMIT $2 FOR UPDATE SKIP LOCKED))`
	sweepGrants = `
		DELETE FROM grants WHERE id = ANY (ARRAY(
			SELECT id FROM grants WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))`
	sweepLimits = `
		DELETE FROM limits WHERE key = ANY (ARRAY(
			SELECT key FROM limits WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2 FOR UPDATE SKIP LOCKED))`
	sweepUses = `
		DELETE FROM uses WHERE key = ANY (ARRAY(
			SELECT key FROM uses WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2 FOR UPDATE SKIP LOCKED))`
	sweepDevices = `
		DELETE FROM devices WHERE id = ANY (ARRAY(
			SELECT id FROM devices WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))`
	sweepMutes = `
		DELETE FROM mutes WHERE key = ANY (ARRAY(
			SELECT key FROM mutes WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2 FOR UPDATE SKIP LOCKED))`
	sweepBounces = `
		DELETE FROM bounces WHERE key = ANY (ARRAY(
			SELECT key FROM bounces WHERE at <= $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))`
	sweepNotices = `
		WITH gone AS MATERIALIZED (
			SELECT session_id, client_id FROM logout_notices WHERE ended_at <= $1 ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED
		)
		DELETE FROM logout_notices n USING gone WHERE n.session_id = gone.session_id AND n.client_id = gone.client_id`
)

// Sweep removes up to limit rows of each kind and returns how many it removed: 0
// when there is nothing left to remove at now.
//
//   - attempts with their mail, which is not counted, a day after ExpiresAt;
//   - sessions with the clients they signed in to, which are not counted, a day
//     after they have ended or run out;
//   - grants at ExpiresAt, revoked or not: until then a replayed code or token
//     must be known;
//   - counters at the end of their window;
//   - uses at EndsAt;
//   - device requests, a day after ExpiresAt;
//   - notices, a day after they have ended; queued ones stay;
//   - mutes at their end;
//   - bounces, 90 days after the last one.
//
// Users, clients, consents and keys stay.
func (db *DB) Sweep(ctx context.Context, now time.Time, limit int) (n int, err error) {
	err = db.transaction(ctx, "sweep", func(b *pgx.Batch) {
		n = 0
		count := func(tag pgconn.CommandTag) error {
			n += int(tag.RowsAffected())
			return nil
		}
		b.Queue(sweepAttempts, at(now.Add(-kept)), limit).Exec(count)
		b.Queue(sweepSessions, at(now.Add(-kept)), limit).Exec(count)
		b.Queue(sweepGrants, at(now), limit).Exec(count)
		b.Queue(sweepLimits, at(now), limit).Exec(count)
		b.Queue(sweepUses, at(now), limit).Exec(count)
		b.Queue(sweepDevices, at(now.Add(-kept)), limit).Exec(count)
		b.Queue(sweepNotices, at(now.Add(-kept)), limit).Exec(count)
		b.Queue(sweepMutes, at(now), limit).Exec(count)
		b.Queue(sweepBounces, at(now.Add(-bouncesKept)), limit).Exec(count)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
