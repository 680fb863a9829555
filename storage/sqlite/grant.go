package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const grantColumns = `grants.id, grants.client_id, grants.user_id, grants.session_id, grants.scopes, grants.auth_time,
	grants.created_at, grants.expires_at, grants.refresh, grants.refresh_idle_at, grants.refresh_ends_at, grants.offline, grants.revoked_at`

func grantFields(g *storage.Grant) []any {
	return []any{
		&g.ID, &g.ClientID, &g.UserID, &g.SessionID, (*list)(&g.Scopes), (*moment)(&g.AuthTime),
		(*moment)(&g.CreatedAt), (*moment)(&g.ExpiresAt), &g.Refresh, (*moment)(&g.RefreshIdleAt), (*moment)(&g.RefreshEndsAt), &g.Offline, (*moment)(&g.RevokedAt),
	}
}

func grantValues(g storage.Grant, revokedAt time.Time) args {
	return args{
		g.ID, g.ClientID, g.UserID, g.SessionID, list(g.Scopes), moment(g.AuthTime),
		moment(g.CreatedAt), moment(g.ExpiresAt), g.Refresh, moment(g.RefreshIdleAt), moment(g.RefreshEndsAt), g.Offline, moment(revokedAt),
	}
}

const insertGrant = `INSERT INTO grants (id, client_id, user_id, session_id, scopes, auth_time,
		created_at, expires_at, refresh, refresh_idle_at, refresh_ends_at, offline, revoked_at)
	VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) `

// liveGrant is true of a grant, joined with its user, that is live at ?1.
const liveGrant = `grants.revoked_at IS NULL AND grants.expires_at > ?1 AND users.disabled_at IS NULL AND (grants.offline = 1 OR EXISTS (
		SELECT 1 FROM sessions WHERE sessions.id = grants.session_id AND ` + liveSession + `))`

const (
	revokeGrantByID = `UPDATE grants SET revoked_at = ifnull(revoked_at, ?1) WHERE id = ?2`

	userOfLiveSession = `SELECT ` + userColumns + ` FROM sessions JOIN users ON users.id = sessions.user_id
		WHERE sessions.id = ?2 AND sessions.user_id = ?3 AND ` + liveSession + ` AND users.disabled_at IS NULL`
)

// RedeemCode inserts the grant of an authorization code. A replay revokes it.
func (db *DB) RedeemCode(ctx context.Context, g storage.Grant, now time.Time) (u storage.User, err error) {
	replayed := false
	err = db.write(ctx, func(tx *tx) error {
		n, err := tx.exec(revokeGrantByID, moment(now), g.ID)
		if replayed = n > 0; err != nil || replayed {
			return err // the revocation is committed
		}
		if err := tx.get(userOfLiveSession, args{moment(now), g.SessionID, g.UserID}, userFields(&u)...); err != nil {
			return err
		}
		return tx.one(insertGrant, grantValues(g, time.Time{})...)
	})
	if err == nil && replayed {
		err = storage.ErrConflict
	}
	return u, err
}

const burnGrant = insertGrant + `ON CONFLICT (id) DO UPDATE SET revoked_at = ifnull(grants.revoked_at, excluded.revoked_at)`

// BurnCode inserts the grant revoked, or revokes it.
func (db *DB) BurnCode(ctx context.Context, g storage.Grant, now time.Time) error {
	return db.exec(ctx, burnGrant, grantValues(g, now)...)
}

// refreshable is true of a grant of client ?3 whose refresh token is good at
// ?1, whatever its generation.
const refreshable = `grants.id = ?2 AND grants.client_id = ?3 AND grants.refresh > 0 AND grants.refresh_idle_at > ?1 AND grants.refresh_ends_at > ?1 AND ` + liveGrant

const (
	refreshGrant = `UPDATE grants SET refresh = refresh + 1, refresh_idle_at = min(?5, refresh_ends_at), expires_at = max(?6, grants.expires_at)
		FROM users WHERE users.id = grants.user_id AND grants.refresh = ?4 AND ` + refreshable + `
		RETURNING ` + grantColumns

	revokeReused = `UPDATE grants SET revoked_at = ?1
		FROM users WHERE users.id = grants.user_id AND ?4 BETWEEN 1 AND grants.refresh - 1 AND ` + refreshable
)

// Refresh moves a live grant of the client to the next refresh generation. A
// generation used before revokes it.
func (db *DB) Refresh(ctx context.Context, id, clientID string, generation int, now, idleAt, expiresAt time.Time) (g storage.Grant, u storage.User, err error) {
	reused := false
	err = db.write(ctx, func(tx *tx) error {
		err := tx.get(refreshGrant, args{moment(now), id, clientID, generation, moment(idleAt), moment(expiresAt)}, grantFields(&g)...)
		if !errors.Is(err, storage.ErrNotFound) {
			if err == nil {
				err = tx.get(userByID, args{g.UserID}, userFields(&u)...)
			}
			return err
		}
		reused = true
		return tx.one(revokeReused, moment(now), id, clientID, generation)
	})
	if err == nil && reused {
		err = storage.ErrConflict
	}
	return g, u, err
}

const grantWithUser = `SELECT ` + grantColumns + `, ` + userColumns + ` FROM grants JOIN users ON users.id = grants.user_id
	WHERE grants.id = ?2 AND ` + liveGrant

// Grant finds a live grant with its user.
func (db *DB) Grant(ctx context.Context, id string, now time.Time) (g storage.Grant, u storage.User, err error) {
	err = db.get(ctx, grantWithUser, args{moment(now), id}, append(grantFields(&g), userFields(&u)...)...)
	return g, u, err
}

const revokeGrant = `UPDATE grants SET revoked_at = ?1 WHERE id = ?2 AND client_id = ?3 AND revoked_at IS NULL`

// RevokeGrant revokes a grant of the client.
func (db *DB) RevokeGrant(ctx context.Context, id, clientID string, now time.Time) error {
	return db.exec(ctx, revokeGrant, moment(now), id, clientID)
}
