package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const mailColumns = `mail.id, mail.attempt_id, mail.created_at, mail.next_at, mail.not_after, mail.tries`

func mailFields(m *storage.Mail) []any {
	return []any{&m.ID, &m.AttemptID, (*moment)(&m.CreatedAt), (*moment)(&m.NextAt), (*moment)(&m.NotAfter), &m.Tries}
}

const insertMail = `INSERT INTO mail (id, attempt_id, created_at, next_at, not_after, tries, updated_at)
	VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?3)`

func queueMail(tx *tx, m storage.Mail) error {
	return tx.one(insertMail, m.ID, m.AttemptID, moment(m.CreatedAt), moment(m.NextAt), moment(m.NotAfter), m.Tries)
}

const (
	// The first column says whether anybody still waits for the message.
	dueMail = `SELECT mail.not_after > ?1 AND ` + live + `, ` + mailColumns + `, ` + attemptColumns + `
		FROM mail JOIN attempts ON attempts.id = mail.attempt_id
		WHERE mail.state = 'queued' AND mail.next_at <= ?1
		ORDER BY mail.next_at, mail.seq LIMIT ?2`

	leaseMail = `UPDATE mail SET next_at = ?3, tries = tries + 1, updated_at = ?1 WHERE id = ?2 RETURNING ` + mailColumns

	expireMail = `UPDATE mail SET state = 'expired', updated_at = ?1 WHERE id = ?2`
)

// ClaimMail leases up to n messages that are due at now. It looks at no more
// than it leases or sets to storage.MailExpired, however many are due.
func (db *DB) ClaimMail(ctx context.Context, n int, now, leaseUntil time.Time) (claimed []storage.QueuedMail, err error) {
	err = db.write(ctx, func(tx *tx) error {
		for len(claimed) < n {
			wanted := n - len(claimed)
			due, err := dueMessages(tx, wanted, now)
			if err != nil {
				return err
			}
			for _, m := range due {
				if !m.live {
					err = tx.one(expireMail, moment(now), m.Mail.ID)
				} else if err = lease(tx, &m.QueuedMail, now, leaseUntil); err == nil {
					claimed = append(claimed, m.QueuedMail)
				}
				if err != nil {
					return err
				}
			}
			if len(due) < wanted {
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

type dueMessage struct {
	live bool
	storage.QueuedMail
}

func dueMessages(tx *tx, n int, now time.Time) ([]dueMessage, error) {
	rows, err := tx.query(dueMail, moment(now), n)
	return collect(rows, err, func(m *dueMessage) []any {
		return append(append([]any{&m.live}, mailFields(&m.Mail)...), attemptFields(&m.Attempt)...)
	})
}

func lease(tx *tx, m *storage.QueuedMail, now, until time.Time) error {
	if err := tx.get(leaseMail, args{moment(now), m.Mail.ID, moment(until)}, mailFields(&m.Mail)...); err != nil {
		return err
	}
	if err := tx.get(isMuted, args{moment(now), m.Attempt.Key}, &m.Muted); err != nil {
		return err
	}
	m.Muted = m.Muted && !m.Attempt.Known
	err := tx.get(userByKey, args{m.Attempt.Key}, userFields(&m.User)...)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}

const finishMail = `UPDATE mail SET state = ?3, next_at = ifnull(?4, next_at), detail = ?5, updated_at = ?1
	WHERE id = ?2 AND (state = 'queued' OR ?3 = 'sent')`

// FinishMail records outcomes, all in one commit.
func (db *DB) FinishMail(ctx context.Context, outcomes []storage.MailOutcome, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		for _, o := range outcomes {
			n, err := tx.exec(finishMail, moment(now), o.ID, string(o.State), moment(o.NextAt), o.Detail)
			if err == nil && n > 0 {
				err = addressed(tx, o, now)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// addressed notes what an outcome says of the address.
func addressed(tx *tx, o storage.MailOutcome, now time.Time) error {
	var queries []string
	switch {
	case o.State == storage.MailSent:
		queries = []string{forgetBounce}
	case o.State == storage.MailFailed && o.Bounced:
		queries = []string{undelivered, rememberBounce}
	case o.State == storage.MailFailed:
		queries = []string{undelivered}
	}
	for _, query := range queries {
		if _, err := tx.exec(query, moment(now), o.ID); err != nil {
			return err
		}
	}
	return nil
}
