package postgres

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const mute = `
	WITH a AS MATERIALIZED (
		SELECT a.key, a.client_id, a.agent, a.network FROM attempts a WHERE a.id = $2
	), muted AS (
		INSERT INTO mutes AS m (key, ends_at) SELECT key, $3::timestamptz FROM a
		ON CONFLICT (key) DO UPDATE SET ends_at = excluded.ends_at WHERE m.ends_at < excluded.ends_at
		RETURNING true
	), logged AS (` + insertEvents + `
		SELECT $1::timestamptz, '` + string(storage.EventMailMuted) + `', $4::text, coalesce(u.id, ''), a.client_id, '', a.agent, a.network, ''
		FROM muted, a LEFT JOIN users u ON u.key = a.key
	)
	SELECT FROM a`

// Mute keeps mails from the address of an attempt until then, save those asked
// for where the address was proven before: storage.ErrNotFound when there is no
// such attempt.
func (db *DB) Mute(ctx context.Context, attemptID string, now, until time.Time) error {
	return db.one(ctx, "mute", mute, at(now), attemptID, at(until), db.actor)
}

// What the outcomes of the mails $2 at $1 say of their addresses, after
// finishMail.
const (
	undelivered = `
		UPDATE attempts a SET undelivered_at = coalesce(a.undelivered_at, $1)
		FROM mail m WHERE m.id = ANY ($2) AND m.state = 'failed' AND m.updated_at = $1 AND a.id = m.attempt_id`
	rememberBounces = `
		INSERT INTO bounces AS b (key, email, detail, count, at)
		SELECT DISTINCT ON (a.key) a.key, a.email, m.detail, 1, $1::timestamptz
		FROM mail m JOIN attempts a ON a.id = m.attempt_id
		WHERE m.id = ANY ($2) AND m.state = 'failed' AND m.updated_at = $1
		ORDER BY a.key
		ON CONFLICT (key) DO UPDATE SET email = excluded.email, detail = excluded.detail, count = b.count + 1, at = excluded.at`
	forgetBounces = `
		DELETE FROM bounces b USING mail m JOIN attempts a ON a.id = m.attempt_id
		WHERE m.id = ANY ($2) AND m.state = 'sent' AND m.updated_at = $1 AND b.key = a.key`
)

const bounces = `
	SELECT key, email, detail, count, at FROM bounces WHERE at >= coalesce($1, '-infinity'::timestamptz) ORDER BY at DESC, key LIMIT $2`

// Bounces lists up to limit addresses that were refused since, the last first.
func (db *DB) Bounces(ctx context.Context, since time.Time, limit int) ([]storage.Bounce, error) {
	return list(ctx, db, "bounces", func(b *storage.Bounce) []any {
		return []any{&b.Key, &b.Email, &b.Detail, &b.Count, stamp{&b.At}}
	}, bounces, at(since), max(limit, 0))
}
