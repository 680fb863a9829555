package sqlite

import (
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

// countLimits counts every limit and gives the full one with the longest wait,
// nil when none is full.
func countLimits(tx *tx, limits []storage.Limit, now time.Time) (full *storage.LimitError, err error) {
	for _, l := range limits {
		var count int
		var ends time.Time
		if err := tx.get(countLimit, args{moment(now), l.Key, moment(now.Add(l.Window))}, &count, (*moment)(&ends)); err != nil {
			return nil, err
		}
		wait := ends.Sub(now.Truncate(time.Microsecond))
		if count > l.Max && (full == nil || wait > full.RetryAfter) {
			full = &storage.LimitError{Key: l.Key, RetryAfter: wait}
		}
	}
	return full, nil
}
