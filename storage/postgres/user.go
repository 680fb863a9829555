package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
		WITH u AS MATERIALIZED (
			SELECT id, disabled_at FROM users WHERE id = $2 FOR UPDATE
		), changed AS (
			UPDATE users SET disabled_at = $1 FROM u WHERE users.id = u.id AND u.disabled_at IS NULL RETURNING users.id
		), logged AS (` + insertEvents + `
			SELECT $1::timestamptz, '` + string(storage.EventUserDisabled) + `', $3::text, id, '', '', '', '', '' FROM changed
		)
		SELECT id FROM u`
	endSessionsOfUser = `
		WITH s AS (
			UPDATE sessions SET ended_at = $1 WHERE user_id = $2 AND ended_at IS NULL` + returningEnded + `
		)` + insertEvents + sessionsEnded + `$4::text` + wereLive
	revokeGrantsOfUser = `
		UPDATE grants SET revoked_at = $1 WHERE user_id = $2 AND revoked_at IS NULL`
)

// DisableUser disables a user, ends their sessions with the notices of that and
// revokes their grants, offline ones included. Disabling again keeps the first
// time.
// storage.ErrNotFound when there is no such user.
func (db *DB) DisableUser(ctx context.Context, id string, now time.Time) error {
	// The user's row first: whoever signs in or redeems a code holds it, and
	// what they made before is seen by the statements after.
	var found bool
	err := db.transaction(ctx, "disable user", func(b *pgx.Batch) {
		b.Queue(disableUser, at(now), id, db.actor).Exec(func(tag pgconn.CommandTag) error {
			found = tag.RowsAffected() > 0
			return nil
		})
		b.Queue(endSessionsOfUser, at(now), id, db.actor, string(storage.EventUserDisabled))
		b.Queue(queueNoticesOfUser, at(now), id)
		b.Queue(revokeGrantsOfUser, at(now), id)
	})
	if err == nil && !found {
		return storage.ErrNotFound
	}
	return err
}

const (
	userByKey = `
		SELECT ` + userColumns + ` FROM users u WHERE u.key = $1`
	allUsers = `
		SELECT ` + userColumns + ` FROM users u`
	addUser = `
		WITH u AS (
			INSERT INTO users (id, key, email, name, locale, groups, created_at, updated_at, last_login_at, disabled_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			RETURNING id, created_at
		)` + insertEvents + `
		SELECT created_at, '` + string(storage.EventUserAdded) + `', $11::text, id, '', '', '', '', '' FROM u`
	setGroups = `
		WITH u AS MATERIALIZED (
			SELECT id, groups FROM users WHERE id = $2 FOR UPDATE
		), changed AS (
			UPDATE users SET groups = $4, updated_at = $1 FROM u WHERE users.id = u.id AND u.groups <> $4::text[] RETURNING users.id
		), logged AS (` + insertEvents + `
			SELECT $1::timestamptz, '` + string(storage.EventUserGroups) + `', $3::text, id, '', '', '', '', $5::text FROM changed
		)
		SELECT id FROM u`
	enableUser = `
		WITH u AS MATERIALIZED (
			SELECT id, disabled_at FROM users WHERE id = $2 FOR UPDATE
		), changed AS (
			UPDATE users SET disabled_at = NULL FROM u WHERE users.id = u.id AND u.disabled_at IS NOT NULL RETURNING users.id
		), logged AS (` + insertEvents + `
			SELECT $1::timestamptz, '` + string(storage.EventUserEnabled) + `', $3::text, id, '', '', '', '', '' FROM changed
		)
		SELECT id FROM u`
)

// AddUser inserts a user: storage.ErrConflict when the id or the address is
// taken.
func (db *DB) AddUser(ctx context.Context, u storage.User) error {
	_, err := db.exec(ctx, "add user", addUser, u.ID, u.Key, u.Email, u.Name, u.Locale, texts(u.Groups),
		at(u.CreatedAt), at(u.UpdatedAt), at(u.LastLoginAt), at(u.DisabledAt), db.actor)
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == "23505" { // unique_violation
		return fmt.Errorf("%w: %w", storage.ErrConflict, err)
	}
	return err
}

// User finds a user by the identity key of the address.
func (db *DB) User(ctx context.Context, key string) (u storage.User, err error) {
	err = db.get(ctx, "user", userFields(&u), userByKey, key)
	return u, err
}

const usersByID = `
	SELECT ` + userColumns + ` FROM users u WHERE u.id = ANY($1)`

// UsersByID finds the users of these ids, in no order; those that are not there
// are left out.
func (db *DB) UsersByID(ctx context.Context, ids []string) ([]storage.User, error) {
	return list(ctx, db, "users by id", userFields, usersByID, texts(ids))
}

// Users lists all users in the order of their keys' bytes.
func (db *DB) Users(ctx context.Context) ([]storage.User, error) {
	users, err := list(ctx, db, "users", userFields, allUsers)
	// Here, because the order of the database depends on its locale.
	slices.SortFunc(users, func(a, b storage.User) int { return strings.Compare(a.Key, b.Key) })
	return users, err
}

// SetGroups says which groups a user is in. UpdatedAt moves when they are others.
func (db *DB) SetGroups(ctx context.Context, id string, groups []string, now time.Time) error {
	return db.one(ctx, "set groups", setGroups, at(now), id, db.actor, texts(groups), strings.Join(groups, ", "))
}

// EnableUser undoes DisableUser, save for sessions and grants.
func (db *DB) EnableUser(ctx context.Context, id string, now time.Time) error {
	return db.one(ctx, "enable user", enableUser, at(now), id, db.actor)
}

// one runs a statement that changes one row: storage.ErrNotFound when it
// changes none.
func (db *DB) one(ctx context.Context, what, query string, args ...any) error {
	n, err := db.exec(ctx, what, query, args...)
	if err == nil && n == 0 {
		err = storage.ErrNotFound
	}
	return err
}
