package postgres

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sealpost/sealpost/storage"
)

// noticeColumns are the columns of n in the order of noticeFields.
const noticeColumns = `n.session_id, n.client_id, n.user_id, n.created_at, n.next_at, n.tries`

func noticeFields(n *storage.LogoutNotice) []any {
	return []any{&n.SessionID, &n.ClientID, &n.UserID, stamp{&n.CreatedAt}, stamp{&n.NextAt}, &n.Tries}
}

// The notices of sessions that ended at $1, in the transaction that ended them.
// A session ends once: had another ended it at the same moment, all are there.
const (
	queueNotices = `
		INSERT INTO logout_notices (session_id, client_id, user_id, created_at, next_at)
		SELECT c.session_id, c.client_id, s.user_id, s.ended_at, s.ended_at
		FROM sessions s JOIN session_clients c ON c.session_id = s.id
		WHERE s.ended_at = $1 AND c.notify AND `
	// An earlier notice is one of an app that was removed and signed in to again.
	orQueued = `
		ON CONFLICT (session_id, client_id) DO UPDATE SET created_at = excluded.created_at, next_at = excluded.next_at,
			tries = 0, state = 'queued', detail = '', ended_at = NULL
		WHERE logout_notices.created_at <> excluded.created_at`
	queueNoticesOfSession = queueNotices + `s.id = $2` + orQueued
	queueNoticesOfUser    = queueNotices + `s.user_id = $2` + orQueued
)

const claimNotices = `
	WITH due AS MATERIALIZED (
		SELECT n.session_id, n.client_id, n.next_at FROM logout_notices n
		WHERE n.state = 'queued' AND n.next_at <= $1
		ORDER BY n.next_at, n.created_at, n.session_id, n.client_id LIMIT $2
		FOR UPDATE SKIP LOCKED
	), n AS (
		UPDATE logout_notices n SET next_at = $3, tries = n.tries + 1
		FROM due WHERE n.session_id = due.session_id AND n.client_id = due.client_id
		RETURNING ` + noticeColumns + `, due.next_at AS due_at
	)
	SELECT ` + noticeColumns + ` FROM n ORDER BY n.due_at, n.created_at, n.session_id, n.client_id`

// ClaimNotices leases up to n notices that are due at now, oldest first, until
// leaseUntil and counts a try for each. Notices leased by another worker are
// skipped.
func (db *DB) ClaimNotices(ctx context.Context, n int, now, leaseUntil time.Time) ([]storage.LogoutNotice, error) {
	return list(ctx, db, "claim notices", noticeFields, claimNotices, at(now), n, at(leaseUntil))
}

const finishNotice = `
	UPDATE logout_notices SET state = $4, next_at = coalesce($5, next_at), detail = $6,
		ended_at = CASE WHEN $4::text = 'queued' THEN NULL ELSE $1::timestamptz END
	WHERE session_id = $2 AND client_id = $3 AND created_at = $7 AND state = 'queued'`

// FinishNotices records outcomes, all in one commit. Unknown notices are
// skipped; one that has ended stays as it ended, and one queued since the claim
// stays queued.
func (db *DB) FinishNotices(ctx context.Context, outcomes []storage.NoticeOutcome, now time.Time) error {
	if len(outcomes) == 0 {
		return nil
	}
	// Always in the same order, see queueLimits.
	outcomes = slices.SortedStableFunc(slices.Values(outcomes), func(a, b storage.NoticeOutcome) int {
		return cmp.Or(cmp.Compare(a.SessionID, b.SessionID), cmp.Compare(a.ClientID, b.ClientID))
	})
	return db.transaction(ctx, "finish notices", func(b *pgx.Batch) {
		for _, o := range outcomes {
			b.Queue(finishNotice, at(now), o.SessionID, o.ClientID, string(o.State), at(o.NextAt), o.Detail, at(o.CreatedAt))
		}
	})
}
