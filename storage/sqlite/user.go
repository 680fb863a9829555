package sqlite

import (
	"context"
	"slices"
	"strings"
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
	disableUser = `UPDATE users SET disabled_at = ?1 WHERE id = ?2`

	endSessionsOfUser = `UPDATE sessions SET ended_at = ?1 WHERE user_id = ?2 AND ended_at IS NULL RETURNING ` + sessionColumns

	revokeGrantsOfUser = `UPDATE grants SET revoked_at = ?1 WHERE user_id = ?2 AND revoked_at IS NULL`
)

// DisableUser disables a user, ends their sessions with the notices of that and
// revokes their grants, Offline ones included. Disabling again keeps the first
// time.
func (db *DB) DisableUser(ctx context.Context, id string, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		var u storage.User
		if err := tx.get(userByID, args{id}, userFields(&u)...); err != nil {
			return err
		}
		if u.DisabledAt.IsZero() {
			if err := tx.one(disableUser, moment(now), id); err != nil {
				return err
			}
			if err := tx.log(storage.Event{At: now, Name: storage.EventUserDisabled, UserID: id}); err != nil {
				return err
			}
		}
		if err := endAll(tx, id, storage.EventUserDisabled, now); err != nil {
			return err
		}
		_, err := tx.exec(revokeGrantsOfUser, moment(now), id)
		return err
	})
}

// endAll ends the sessions of a user and queues the notices of that; why is the
// event that ends them.
func endAll(tx *tx, userID string, why storage.EventName, now time.Time) error {
	rows, err := tx.query(endSessionsOfUser, moment(now), userID)
	ended, err := collect(rows, err, sessionFields)
	if err != nil {
		return err
	}
	if err := logEnded(tx, string(why), now, ended...); err != nil {
		return err
	}
	_, err = tx.exec(queueNoticesOfUser, moment(now), userID)
	return err
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
	return db.write(ctx, func(tx *tx) error {
		err := tx.one(addUser, u.ID, u.Key, u.Email, u.Name, u.Locale, list(u.Groups),
			moment(u.CreatedAt), moment(u.UpdatedAt), moment(u.LastLoginAt), moment(u.DisabledAt))
		if err != nil {
			return err
		}
		return tx.log(storage.Event{At: u.CreatedAt, Name: storage.EventUserAdded, UserID: u.ID})
	})
}

// User finds a user by the identity key of the address.
func (db *DB) User(ctx context.Context, key string) (u storage.User, err error) {
	err = db.get(ctx, userByKey, args{key}, userFields(&u)...)
	return u, err
}

const usersByID = `SELECT ` + userColumns + ` FROM users WHERE id IN (SELECT value FROM json_each(?1))`

// UsersByID finds the users of these ids, in no order; those that are not there
// are left out.
func (db *DB) UsersByID(ctx context.Context, ids []string) ([]storage.User, error) {
	rows, err := db.reader.QueryContext(ctx, usersByID, list(ids))
	return collect(rows, err, userFields)
}

// Users lists all users by key.
func (db *DB) Users(ctx context.Context) ([]storage.User, error) {
	rows, err := db.reader.QueryContext(ctx, allUsers)
	return collect(rows, err, userFields)
}

// SetGroups says which groups a user is in. UpdatedAt moves when they are others.
func (db *DB) SetGroups(ctx context.Context, id string, groups []string, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		var u storage.User
		if err := tx.get(userByID, args{id}, userFields(&u)...); err != nil || slices.Equal(u.Groups, groups) {
			return err
		}
		if err := tx.one(setGroups, id, list(groups), moment(now)); err != nil {
			return err
		}
		return tx.log(storage.Event{At: now, Name: storage.EventUserGroups, UserID: id, Detail: strings.Join(groups, ", ")})
	})
}

// EnableUser undoes DisableUser, save for sessions and grants.
func (db *DB) EnableUser(ctx context.Context, id string, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		var u storage.User
		if err := tx.get(userByID, args{id}, userFields(&u)...); err != nil || u.DisabledAt.IsZero() {
			return err
		}
		if err := tx.one(enableUser, id); err != nil {
			return err
		}
		return tx.log(storage.Event{At: now, Name: storage.EventUserEnabled, UserID: id})
	})
}
