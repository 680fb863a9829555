package sqlite

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const userColumns = `users.id, users.key, users.email, users.name, users.locale, users.groups,
	users.created_at, users.updated_at, users.last_login_at, users.disabled_at`

func userFields(u *storage.User) []any {
	return []any{
		&u.ID, &u.Key, &u.Email, &u.Name, &u.Locale, (*list)(&u.Groups),
		(*moment)(&u.CreatedAt), (*moment)(&u.UpdatedAt), (*moment)(&u.LastLoginAt), (*moment)(&u.DisabledAt),
	}
}

const (
	userByID  = `SELECT ` + userColumns + ` FROM users WHERE id = ?1`
	userByKey = `SELECT ` + userColumns + ` FROM users WHERE key = ?1`

	loginUser = `UPDATE users SET last_login_at = ?1 WHERE key = ?2 AND disabled_at IS NULL RETURNING ` + userColumns

	// Whoever is disabled has the key already.
	insertUser = `INSERT INTO users (id, key, email, name, locale, groups, created_at, updated_at, last_login_at)
		VALUES (?2, ?3, ?4, '', ?5, '[]', ?1, ?1, ?1)
		ON CONFLICT (key) DO NOTHING
		RETURNING ` + userColumns
)

const (
	disableUser = `UPDATE users SET disabled_at = ifnull(disabled_at, ?1) WHERE id = ?2`

	endSessionsOfUser = `UPDATE sessions SET ended_at = ?1 WHERE user_id = ?2 AND ended_at IS NULL`

	revokeGrantsOfUser = `UPDATE grants SET revoked_at = ?1 WHERE user_id = ?2 AND revoked_at IS NULL`
)

// DisableUser disables a user, ends their sessions and revokes their grants,
// Offline ones included. Disabling again keeps the first time.
func (db *DB) DisableUser(ctx context.Context, id string, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		if err := tx.one(disableUser, moment(now), id); err != nil {
			return err
		}
		if _, err := tx.exec(endSessionsOfUser, moment(now), id); err != nil {
			return err
		}
		_, err := tx.exec(revokeGrantsOfUser, moment(now), id)
		return err
	})
}
