package sqlite

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const resealKey = `UPDATE signing_keys SET sealed = ?3 WHERE id = ?1 AND sealed = ?2`

// ResealSigningKey replaces the sealed form of a key where it is still old:
// storage.ErrNotFound when it is not.
func (db *DB) ResealSigningKey(ctx context.Context, id string, old, sealed []byte) error {
	return db.write(ctx, func(tx *tx) error { return tx.one(resealKey, id, old, sealed) })
}

const removeKeys = `DELETE FROM signing_keys AS k WHERE EXISTS (
	SELECT 1 FROM signing_keys AS newer
	WHERE newer.algorithm = k.algorithm AND newer.generation > k.generation
		AND newer.retired_at IS NULL AND newer.signs_at <= ?1)
	RETURNING algorithm || ' ' || id`

// RemoveSigningKeys removes every key for which a newer generation of its
// algorithm, not retired itself, signs since before or longer.
func (db *DB) RemoveSigningKeys(ctx context.Context, before, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		rows, err := tx.query(removeKeys, moment(before))
		gone, err := collect(rows, err, func(name *string) []any { return []any{name} })
		if err != nil {
			return err
		}
		for _, name := range gone {
			if err := tx.log(storage.Event{At: now, Name: storage.EventKeyRetired, Detail: name}); err != nil {
				return err
			}
		}
		return nil
	})
}
