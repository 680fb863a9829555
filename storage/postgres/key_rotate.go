package postgres

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const resealKey = `
	UPDATE signing_keys SET sealed = $3 WHERE id = $1 AND sealed = $2`

// ResealSigningKey replaces the sealed form of a key where it is still old:
// storage.ErrNotFound when it is not.
func (db *DB) ResealSigningKey(ctx context.Context, id string, old, sealed []byte) error {
	n, err := db.exec(ctx, "reseal signing key", resealKey, id, old, sealed)
	if err == nil && n == 0 {
		return storage.ErrNotFound
	}
	return err
}

const removeKeys = `
	WITH gone AS (
	DELETE FROM signing_keys AS k WHERE EXISTS (
		SELECT 1 FROM signing_keys AS newer
		WHERE newer.algorithm = k.algorithm AND newer.generation > k.generation
			AND newer.retired_at IS NULL AND newer.signs_at <= $1
	)
	RETURNING k.id, k.algorithm
	)` + insertEvents + `
	SELECT $2::timestamptz, '` + string(storage.EventKeyRetired) + `', $3::text, '', '', '', '', '', algorithm || ' ' || id FROM gone`

// RemoveSigningKeys removes every key for which a newer generation of its
// algorithm, not retired itself, signs since before or longer.
func (db *DB) RemoveSigningKeys(ctx context.Context, before, now time.Time) error {
	_, err := db.exec(ctx, "remove signing keys", removeKeys, at(before), at(now), db.actor)
	return err
}
