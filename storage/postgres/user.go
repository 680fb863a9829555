package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sealpost/sealpost/storage"
)

// userColumns are the columns of u in the order of userFields.
const userColumns = `u.id, u.key, u.email, u.name, u.locale, u.groups, u.created_at, u.updated_at, u.last_login_at, u.disabled_at`

// userFields scans a user, the zero User when all is NULL.
func userFields(u *storage.User) []any {
	return []any{
		text{&u.ID}, text{&u.Key}, text{&u.Email}, text{&u.Name}, text{&u.Locale}, words{&u.Groups},
		stamp{&u.CreatedAt}, stamp{&u.UpdatedAt}, stamp{&u.LastLoginAt}, stamp{&u.DisabledAt},
	}
}

const (
	disableUser = `
		UPDATE users SET disabled_at = coalesce(disabled_at, $1) WHERE id = $2`
	endSessionsOfUser = `
		UPDATE sessions SET ended_at = $1 WHERE user_id = $2 AND ended_at IS NULL`
	revokeGrantsOfUser = `
		UPDATE grants SET revoked_at = $1 WHERE user_id = $2 AND revoked_at IS NULL`
)

// DisableUser disables a user, ends their sessions and revokes their grants,
// offline ones included. Disabling again keeps the first time.
// storage.ErrNotFound when there is no such user.
func (db *DB) DisableUser(ctx context.Context, id string, now time.Time) error {
	// The user's row first: whoever signs in or redeems a code holds it, and
	// what they made before is seen by the statements after.
	var found bool
	err := db.transaction(ctx, "disable user", func(b *pgx.Batch) {
		b.Queue(disableUser, at(now), id).Exec(func(tag pgconn.CommandTag) error {
			found = tag.RowsAffected() > 0
			return nil
		})
		b.Queue(endSessionsOfUser, at(now), id)
		b.Queue(revokeGrantsOfUser, at(now), id)
	})
	if err == nil && !found {
		return storage.ErrNotFound
	}
	return err
}
