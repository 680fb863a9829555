package sqlite

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const noticeColumns = `logout_notices.session_id, logout_notices.client_id, logout_notices.user_id,
	logout_notices.created_at, logout_notices.next_at, logout_notices.tries`

func noticeFields(n *storage.LogoutNotice) []any {
	return []any{&n.SessionID, &n.ClientID, &n.UserID, (*moment)(&n.CreatedAt), (*moment)(&n.NextAt), &n.Tries}
}

// The notices of sessions that ended at ?1, in the transaction that ended them.
// A session ends once: had another ended it at the same moment, all are there.
const (
	queueNotices = `INSERT INTO logout_notices (session_id, client_id, user_id, created_at, next_at)
		SELECT session_clients.session_id, session_clients.client_id, sessions.user_id, ?1, ?1
		FROM sessions JOIN session_clients ON session_clients.session_id = sessions.id
		WHERE sessions.ended_at = ?1 AND session_clients.notify AND `

	// An earlier notice is one of an app that was removed and signed in to again.
	orAgain = ` ON CONFLICT (session_id, client_id) DO UPDATE SET created_at = excluded.created_at, next_at = excluded.next_at,
		tries = 0, state = 'queued', detail = '', ended_at = NULL WHERE logout_notices.created_at <> excluded.created_at`

	queueNoticesOfSession = queueNotices + `sessions.id = ?2` + orAgain
	queueNoticesOfUser    = queueNotices + `sessions.user_id = ?2` + orAgain
)

const (
	dueNotices = `SELECT ` + noticeColumns + ` FROM logout_notices
		WHERE state = 'queued' AND next_at <= ?1
		ORDER BY next_at, created_at, session_id, client_id LIMIT ?2`

	leaseNotice = `UPDATE logout_notices SET next_at = ?3, tries = tries + 1 WHERE session_id = ?1 AND client_id = ?2 RETURNING ` + noticeColumns
)

// ClaimNotices leases up to n notices that are due at now.
func (db *DB) ClaimNotices(ctx context.Context, n int, now, leaseUntil time.Time) (claimed []storage.LogoutNotice, err error) {
	err = db.write(ctx, func(tx *tx) error {
		rows, err := tx.query(dueNotices, moment(now), n)
		if claimed, err = collect(rows, err, noticeFields); err != nil {
			return err
		}
		for i, c := range claimed {
			if err := tx.get(leaseNotice, args{c.SessionID, c.ClientID, moment(leaseUntil)}, noticeFields(&claimed[i])...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

const finishNotice = `UPDATE logout_notices SET state = ?4, next_at = ifnull(?5, next_at), detail = ?6,
		ended_at = CASE WHEN ?4 = 'queued' THEN NULL ELSE ?1 END
	WHERE session_id = ?2 AND client_id = ?3 AND created_at = ?7 AND state = 'queued'`

// FinishNotices records outcomes, all in one commit.
func (db *DB) FinishNotices(ctx context.Context, outcomes []storage.NoticeOutcome, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		for _, o := range outcomes {
			if _, err := tx.exec(finishNotice, moment(now), o.SessionID, o.ClientID, string(o.State), moment(o.NextAt), o.Detail, moment(o.CreatedAt)); err != nil {
				return err
			}
		}
		return nil
	})
}
