package postgres

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sealpost/sealpost/storage"
)

// A window that has ended starts anew; one that goes on never outlasts what is
// asked for now, so that new settings take effect at once.
const countLimit = `
	INSERT INTO limits AS l (key, count, ends_at) VALUES ($2, 1, $3)
	ON CONFLICT (key) DO UPDATE SET
		count = CASE WHEN l.ends_at > $1 THEN l.count + 1 ELSE 1 END,
		ends_at = CASE WHEN l.ends_at > $1 THEN least(l.ends_at, excluded.ends_at) ELSE excluded.ends_at END
	RETURNING count, ends_at`

// limitsFree holds, once all are counted, when no counter of the keys $2 is
// beyond its maximum in $3. The statements of one transaction see what it
// counted, and nobody else can count before it ends.
const (
	limitsFree = freeFrom + `$2::text[], $3::bigint[]` + freeTo
	freeFrom   = `
	NOT EXISTS (
		SELECT FROM unnest(`
	freeTo = `) AS asked (key, max) JOIN limits l ON l.key = asked.key
		WHERE l.count > asked.max)`
)

// What was counted is taken back when one of the counters is full: a refusal
// moves no other, and makes no row. The full one itself stays at its maximum.
const (
	dropCounts = `
		DELETE FROM limits WHERE key = ANY ($1) AND count = 1 AND NOT ` + countedFree
	uncount = `
		UPDATE limits SET count = count - 1 WHERE key = ANY ($1) AND NOT ` + countedFree
	countedFree = freeFrom + `$1::text[], $2::bigint[]` + freeTo
)

// queueUncount ends what queueLimits began.
func queueUncount(b *pgx.Batch, limits []storage.Limit) {
	if len(limits) == 0 {
		return
	}
	keys, max := limitArgs(limits)
	b.Queue(dropCounts, keys, max)
	b.Queue(uncount, keys, max)
}

func limitArgs(limits []storage.Limit) (keys []string, max []int64) {
	for _, l := range limits {
		keys, max = append(keys, l.Key), append(max, int64(l.Max))
	}
	return keys, max
}

// CountLimits counts every limit. When one is full, none is, and the error is
// the *storage.LimitError with the longest wait.
func (db *DB) CountLimits(ctx context.Context, limits []storage.Limit, now time.Time) error {
	var full *storage.LimitError
	err := db.transaction(ctx, "count limits", func(b *pgx.Batch) {
		queueLimits(b, limits, now, &full)
		queueUncount(b, limits)
	})
	if err == nil && full != nil {
		return full
	}
	return err
}

// queueLimits counts limits and sets *full to the full one with the longest
// wait, if any.
func queueLimits(b *pgx.Batch, limits []storage.Limit, now time.Time, full **storage.LimitError) {
	*full = nil
	// Always in the same order: two transactions that hold one counter each and
	// want the other's would be a deadlock.
	limits = slices.SortedStableFunc(slices.Values(limits), func(a, b storage.Limit) int { return strings.Compare(a.Key, b.Key) })
	for _, l := range limits {
		b.Queue(countLimit, at(now), l.Key, at(now.Add(l.Window))).QueryRow(func(row pgx.Row) error {
			var count int
			var ends time.Time
			if err := row.Scan(&count, stamp{&ends}); err != nil {
				return err
			}
			wait := ends.Sub(micro(now))
			if count > l.Max && (*full == nil || wait > (*full).RetryAfter) {
				*full = &storage.LimitError{Key: l.Key, RetryAfter: wait}
			}
			return nil
		})
	}
}
