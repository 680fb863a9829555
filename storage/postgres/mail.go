package postgres

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sealpost/sealpost/storage"
)

// mailColumns are the columns of m in the order of mailFields.
const mailColumns = `m.id, m.attempt_id, m.created_at, m.next_at, m.not_after, m.tries`

func mailFields(m *storage.Mail) []any {
	return []any{&m.ID, &m.AttemptID, stamp{&m.CreatedAt}, stamp{&m.NextAt}, stamp{&m.NotAfter}, &m.Tries}
}

const (
	// mailDue holds for a message m that may be claimed at $1, mailWanted for
	// one that is worth sending: somebody waits for its attempt a.
	mailDue    = `m.state = 'queued' AND m.next_at <= $1`
	mailWanted = `m.not_after > $1 AND ` + live

	// The bound keeps the claim short; what is left is not claimed, and expired
	// by the next.
	expireMail = `
		UPDATE mail SET state = 'expired', updated_at = $1 WHERE id = ANY (ARRAY(
			SELECT m.id FROM mail m JOIN attempts a ON a.id = m.attempt_id
			WHERE ` + mailDue + ` AND NOT (` + mailWanted + `)
			ORDER BY m.next_at LIMIT 1000
			FOR UPDATE OF m SKIP LOCKED))`
	claimMail = `
		WITH due AS MATERIALIZED (
			SELECT m.id, m.next_at FROM mail m JOIN attempts a ON a.id = m.attempt_id
			WHERE ` + mailDue + ` AND ` + mailWanted + `
			ORDER BY m.next_at, m.created_at, m.id LIMIT $2
			FOR UPDATE OF m SKIP LOCKED
		), m AS (
			UPDATE mail m SET next_at = $3, tries = m.tries + 1, updated_at = $1 FROM due WHERE m.id = due.id
			RETURNING ` + mailColumns + `, due.next_at AS due_at
		)
		SELECT ` + mailColumns + `, ` + attemptColumns + `, ` + userColumns + `,
			NOT a.known AND EXISTS (SELECT FROM mutes WHERE mutes.key = a.key AND mutes.ends_at > $1)
		FROM m JOIN attempts a ON a.id = m.attempt_id LEFT JOIN users u ON u.key = a.key
		ORDER BY m.due_at, m.created_at, m.id`
)

// ClaimMail leases up to n messages that are due at now, oldest first, until
// leaseUntil and counts a try for each. Messages leased by another worker are
// skipped. Those whose NotAfter has come, or whose attempt is not live any more,
// are set to storage.MailExpired and not returned.
func (db *DB) ClaimMail(ctx context.Context, n int, now, leaseUntil time.Time) (claimed []storage.QueuedMail, err error) {
	err = db.transaction(ctx, "claim mail", func(b *pgx.Batch) {
		claimed = nil
		b.Queue(expireMail, at(now))
		b.Queue(claimMail, at(now), n, at(leaseUntil)).Query(func(rows pgx.Rows) error {
			claimed, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (q storage.QueuedMail, err error) {
				return q, row.Scan(slices.Concat(mailFields(&q.Mail), attemptFields(&q.Attempt), userFields(&q.User), []any{&q.Muted})...)
			})
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// What has ended stays as it ended, save that a message that was sent was sent.
const finishMail = `
	UPDATE mail SET state = $3, next_at = coalesce($4, next_at), detail = $5, updated_at = $1
	WHERE id = $2 AND (state = 'queued' OR $3 = 'sent')`

// FinishMail records outcomes, all in one commit. Unknown messages are skipped.
func (db *DB) FinishMail(ctx context.Context, outcomes []storage.MailOutcome, now time.Time) error {
	if len(outcomes) == 0 {
		return nil
	}
	// Always in the same order, see queueLimits.
	outcomes = slices.SortedStableFunc(slices.Values(outcomes), func(a, b storage.MailOutcome) int { return strings.Compare(a.ID, b.ID) })
	var sent, failed, bounced []string
	for _, o := range outcomes {
		switch {
		case o.State == storage.MailSent:
			sent = append(sent, o.ID)
		case o.State == storage.MailFailed && o.Bounced:
			bounced = append(bounced, o.ID)
			fallthrough
		case o.State == storage.MailFailed:
			failed = append(failed, o.ID)
		}
	}
	return db.transaction(ctx, "finish mail", func(b *pgx.Batch) {
		for _, o := range outcomes {
			b.Queue(finishMail, at(now), o.ID, string(o.State), at(o.NextAt), o.Detail)
		}
		if len(sent) > 0 {
			b.Queue(forgetBounces, at(now), sent)
		}
		if len(failed) > 0 {
			b.Queue(undelivered, at(now), failed)
		}
		if len(bounced) > 0 {
			b.Queue(rememberBounces, at(now), bounced)
		}
	})
}
