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

// DisableUser disables a user, ends their sessions with the notices of that and
// revokes their grants, Offline ones included. Disabling again keeps the first
// time.
func (db *DB) DisableUser(ctx context.Context, id string, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		if err := tx.one(disableUser, moment(now), id); err != nil {
			return err
		}
		for _, query := range []string{endSessionsOfUser, queueNoticesOfUser, revokeGrantsOfUser} {
			if _, err := tx.exec(query, moment(now), id); err != nil {
				return err
			}
		}
		return nil
	})
}

const (
	allUsers = `SELECT ` + userColumns + ` FROM users ORDER BY key`

	addUser = `INSERT INTO users (id, key, email, name, locale, groups, created_at, updated_at, last_login_at, disabled_at)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)`

	setGroups = `UPDATE users SET groups = ?2, updated_at = ?3 WHERE id = ?1`

	enableUser = `UPDATE users SET disabled_at = NULL WHERE id = ?1`
)

// AddUser inserts a user: storage.ErrConflict when the id or the address is
// taken.
func (db *DB) AddUser(ctx context.Context, u storage.User) error {
	return db.exec(ctx, addUser, u.ID, u.Key, u.Email, u.Name, u.Locale, list(u.Groups),
		moment(u.CreatedAt), moment(u.UpdatedAt), moment(u.LastLoginAt), moment(u.DisabledAt))
}

// User finds a user by the identity key of the address.
func (db *DB) User(ctx context.Context, key string) (u storage.User, err error) {
	err = db.get(ctx, userByKey, args{key}, userFields(&u)...)
	return u, err
}

// Users lists all users by key.
func (db *DB) Users(ctx context.Context) ([]storage.User, error) {
	rows, err := db.reader.QueryContext(ctx, allUsers)
	return collect(rows, err, userFields)
}

// SetGroups says which groups a user is in.
func (db *DB) SetGroups(ctx context.Context, id string, groups []string, now time.Time) error {
	return db.write(ctx, func(tx *tx) error { return tx.one(setGroups, id, list(groups), moment(now)) })
}

// EnableUser undoes DisableUser, save for sessions and grants.
func (db *DB) EnableUser(ctx context.Context, id string) error {
	return db.write(ctx, func(tx *tx) error { return tx.one(enableUser, id) })
}
