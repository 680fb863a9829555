package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const use = `INSERT INTO uses (key, holder, ends_at) VALUES (?2, ?3, ?4)
	ON CONFLICT (key) DO UPDATE SET
		holder = excluded.holder,
		ends_at = CASE WHEN uses.ends_at > ?1 THEN uses.ends_at ELSE excluded.ends_at END
	WHERE uses.ends_at <= ?1 OR (uses.holder <> '' AND uses.holder = excluded.holder)`

// Use marks values as used, all or none.
func (db *DB) Use(ctx context.Context, uses []storage.Use, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		for _, u := range uses {
			err := tx.one(use, moment(now), u.Key, u.Holder, moment(u.EndsAt))
			if errors.Is(err, storage.ErrNotFound) {
				return storage.ErrConflict
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

const used = `SELECT count(*) > 0 FROM uses WHERE key = ?2 AND ends_at > ?1`

// Used says whether a value is in use at now.
func (db *DB) Used(ctx context.Context, key string, now time.Time) (found bool, err error) {
	err = db.get(ctx, used, args{moment(now), key}, &found)
	return found, err
}
