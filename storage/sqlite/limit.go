package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// The end of a window never moves away: it starts anew when it is over, and
// comes nearer when a shorter one is asked for.
const countLimit = `INSERT INTO limits (key, count, ends_at) VALUES (?2, 1, ?3)
	ON CONFLICT (key) DO UPDATE SET
		count = CASE WHEN limits.ends_at > ?1 THEN limits.count + 1 ELSE 1 END,
		ends_at = CASE WHEN limits.ends_at > ?1 THEN min(limits.ends_at, excluded.ends_at) ELSE excluded.ends_at END
	RETURNING count, ends_at`

// CountLimits counts every limit, or none when one is full.
func (db *DB) CountLimits(ctx context.Context, limits []storage.Limit, now time.Time) error {
	return db.counting(ctx, limits, now, func(*tx) error { return nil })
}

const shortenWindow = `UPDATE limits SET ends_at = min(ends_at, ?2) WHERE key = ?1`

// counting counts every limit and, when none is full, does what they limit, in
// one transaction. A refusal is rolled back and writes nothing, save where a
// window has become shorter: that has to be remembered.
func (db *DB) counting(ctx context.Context, limits []storage.Limit, now time.Time, do func(tx *tx) error) error {
	err := db.write(ctx, func(tx *tx) error {
		if err := countLimits(tx, limits, now); err != nil {
			return err
		}
		return do(tx)
	})
	var full *storage.LimitError
	if !errors.As(err, &full) {
		return err
	}
	for _, l := range limits {
		if l.Key == full.Key && full.RetryAfter == l.Window {
			return errors.Join(full, db.exec(ctx, shortenWindow, l.Key, moment(now.Add(l.Window))))
		}
	}
	return full
}

// countLimits counts every limit. When one is full it gives the one with the
// longest wait, and the transaction is to be rolled back.
func countLimits(tx *tx, limits []storage.Limit, now time.Time) error {
	var full *storage.LimitError
	for _, l := range limits {
		var count int
		var ends time.Time
		if err := tx.get(countLimit, args{moment(now), l.Key, moment(now.Add(l.Window))}, &count, (*moment)(&ends)); err != nil {
			return err
		}
		wait := ends.Sub(now.Truncate(time.Microsecond))
		if count > l.Max && (full == nil || wait > full.RetryAfter) {
			full = &storage.LimitError{Key: l.Key, RetryAfter: wait}
		}
	}
	if full != nil {
		return full
	}
	return nil
}
