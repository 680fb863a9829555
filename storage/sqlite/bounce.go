package sqlite

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const (
	isMuted = `SELECT count(*) FROM mutes WHERE key = ?2 AND ends_at > ?1`

	mute = `INSERT INTO mutes (key, ends_at) VALUES (?1, ?2)
		ON CONFLICT (key) DO UPDATE SET ends_at = excluded.ends_at WHERE ends_at < excluded.ends_at`

	unmute = `DELETE FROM mutes WHERE key = ?1`
)

// Mute keeps mails from the address of an attempt until then.
func (db *DB) Mute(ctx context.Context, attemptID string, now, until time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		var a storage.Attempt
		if err := tx.get(attemptByID, args{attemptID}, attemptFields(&a)...); err != nil {
			return err
		}
		if n, err := tx.exec(mute, a.Key, moment(until)); err != nil || n == 0 {
			return err
		}
		return logAttempt(tx, storage.EventMailMuted, a, now)
	})
}

// What the outcome of the mail ?2 at ?1 says of its address.
const (
	ofMail = ` (SELECT attempt_id FROM mail WHERE id = ?2)`

	undelivered = `UPDATE attempts SET undelivered_at = ifnull(undelivered_at, ?1) WHERE id =` + ofMail

	rememberBounce = `INSERT INTO bounces (key, email, detail, count, at)
		SELECT attempts.key, attempts.email, mail.detail, 1, ?1 FROM mail JOIN attempts ON attempts.id = mail.attempt_id WHERE mail.id = ?2
		ON CONFLICT (key) DO UPDATE SET email = excluded.email, detail = excluded.detail, count = count + 1, at = excluded.at`

	forgetBounce = `DELETE FROM bounces WHERE at <= ?1 AND key = (SELECT key FROM attempts WHERE id =` + ofMail + `)`

	bounces = `SELECT key, email, detail, count, at FROM bounces WHERE at >= ifnull(?1, 0) ORDER BY at DESC, key LIMIT ?2`
)

// Bounces lists up to limit addresses that were refused since, the last first.
func (db *DB) Bounces(ctx context.Context, since time.Time, limit int) ([]storage.Bounce, error) {
	rows, err := db.reader.QueryContext(ctx, bounces, moment(since), max(limit, 0))
	return collect(rows, err, func(b *storage.Bounce) []any {
		return []any{&b.Key, &b.Email, &b.Detail, &b.Count, (*moment)(&b.At)}
	})
}
