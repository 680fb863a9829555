package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sealpost/sealpost/storage"
)

// What is in use is mostly found before anything is written. Where it came in
// between, there is no end to give it, and the whole statement fails.
const use = `
	WITH asked AS MATERIALIZED (
		SELECT key, holder, ends_at FROM unnest($2::text[], $3::text[], $4::timestamptz[]) AS asked (key, holder, ends_at)
	)
	INSERT INTO uses AS u (key, holder, ends_at)
	SELECT asked.key, asked.holder, asked.ends_at FROM asked
	WHERE NOT EXISTS (
		SELECT FROM asked JOIN uses u ON u.key = asked.key
		WHERE u.ends_at > $1 AND (u.holder = '' OR u.holder <> asked.holder))
	ON CONFLICT (key) DO UPDATE SET holder = excluded.holder, ends_at = CASE
		WHEN u.ends_at <= $1 THEN excluded.ends_at
		WHEN u.holder <> '' AND u.holder = excluded.holder THEN u.ends_at END`

// Use marks values as used, all or none. storage.ErrConflict when one of them is
// in use at now, unless its Holder is this one's and not empty: then it stays as
// it is.
func (db *DB) Use(ctx context.Context, uses []storage.Use, now time.Time) error {
	if len(uses) == 0 {
		return nil
	}
	// Always in the same order, see queueLimits. A holder's second use of a value
	// changes nothing; any other is one too many.
	uses = slices.SortedStableFunc(slices.Values(uses), func(a, b storage.Use) int { return strings.Compare(a.Key, b.Key) })
	uses = slices.CompactFunc(uses, func(a, b storage.Use) bool { return a.Key == b.Key && a.Holder == b.Holder && a.Holder != "" })
	var keys, holders []string
	var ends []time.Time
	for i, u := range uses {
		if i > 0 && u.Key == uses[i-1].Key {
			return storage.ErrConflict
		}
		keys, holders, ends = append(keys, u.Key), append(holders, u.Holder), append(ends, micro(u.EndsAt))
	}
	n, err := db.exec(ctx, "use", use, at(now), keys, holders, ends)
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == "23502" { // not_null_violation
		return fmt.Errorf("%w: %w", storage.ErrConflict, err)
	}
	if err == nil && n == 0 {
		return storage.ErrConflict
	}
	return err
}

const used = `
	SELECT EXISTS (SELECT FROM uses WHERE key = $2 AND ends_at > $1)`

// Used says whether a value is in use at now.
func (db *DB) Used(ctx context.Context, key string, now time.Time) (found bool, err error) {
	err = db.get(ctx, "used", []any{&found}, used, at(now), key)
	return found, err
}
