package sqlite

import (
	"context"

	"github.com/sealpost/sealpost/storage"
)

const allKeys = `SELECT id, algorithm, generation, sealed, created_at, signs_at, retired_at FROM signing_keys
	ORDER BY created_at, generation, algorithm`

func keyFields(k *storage.SigningKey) []any {
	return []any{&k.ID, &k.Algorithm, &k.Generation, &k.Sealed, (*moment)(&k.CreatedAt), (*moment)(&k.SignsAt), (*moment)(&k.RetiredAt)}
}

// SigningKeys lists all keys, oldest first.
func (db *DB) SigningKeys(ctx context.Context) ([]storage.SigningKey, error) {
	rows, err := db.reader.QueryContext(ctx, allKeys)
	return collect(rows, err, keyFields)
}

const insertKey = `INSERT INTO signing_keys (id, algorithm, generation, sealed, created_at, signs_at, retired_at)
	VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`

// AddSigningKey inserts a key.
func (db *DB) AddSigningKey(ctx context.Context, k storage.SigningKey) error {
	return db.write(ctx, func(tx *tx) error {
		if err := tx.one(insertKey, k.ID, k.Algorithm, k.Generation, k.Sealed, moment(k.CreatedAt), moment(k.SignsAt), moment(k.RetiredAt)); err != nil {
			return err
		}
		return tx.log(storage.Event{At: k.CreatedAt, Name: storage.EventKeyAdded, Detail: k.Algorithm + " " + k.ID})
	})
}
