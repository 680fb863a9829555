package postgres

import (
	"context"

	"github.com/sealpost/sealpost/storage"
)

const allKeys = `
	SELECT id, algorithm, generation, sealed, created_at, signs_at, retired_at FROM signing_keys
	ORDER BY created_at, generation, id`

// SigningKeys lists all keys, oldest first.
func (db *DB) SigningKeys(ctx context.Context) ([]storage.SigningKey, error) {
	return list(ctx, db, "signing keys", func(k *storage.SigningKey) []any {
		return []any{&k.ID, &k.Algorithm, &k.Generation, &k.Sealed, stamp{&k.CreatedAt}, stamp{&k.SignsAt}, stamp{&k.RetiredAt}}
	}, allKeys)
}

const insertKey = `
	WITH k AS (
		INSERT INTO signing_keys (id, algorithm, generation, sealed, created_at, signs_at, retired_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
		RETURNING id, algorithm, created_at
	)` + insertEvents + `
	SELECT created_at, '` + string(storage.EventKeyAdded) + `', $8::text, '', '', '', '', '', algorithm || ' ' || id FROM k`

// AddSigningKey inserts a key. storage.ErrConflict when the id is taken or the
// algorithm has that generation already.
func (db *DB) AddSigningKey(ctx context.Context, k storage.SigningKey) error {
	n, err := db.exec(ctx, "add signing key", insertKey,
		k.ID, k.Algorithm, k.Generation, k.Sealed, at(k.CreatedAt), at(k.SignsAt), at(k.RetiredAt), db.actor)
	if err == nil && n == 0 {
		return storage.ErrConflict
	}
	return err
}
