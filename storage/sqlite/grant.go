package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const grantColumns = `grants.id, grants.client_id, grants.user_id, grants.session_id, grants.scopes, grants.auth_time,
	grants.created_at, grants.expires_at, grants.refresh, grants.refresh_idle_at, grants.refresh_ends_at, grants.refreshed_at,
	grants.offline, grants.revoked_at, grants.jkt, grants.resources, grants.claims`

func grantFields(g *storage.Grant) []any {
	return []any{
		&g.ID, &g.ClientID, &g.UserID, &g.SessionID, (*list)(&g.Scopes), (*moment)(&g.AuthTime),
		(*moment)(&g.CreatedAt), (*moment)(&g.ExpiresAt), &g.Refresh, (*moment)(&g.RefreshIdleAt), (*moment)(&g.RefreshEndsAt), (*moment)(&g.RefreshedAt),
		&g.Offline, (*moment)(&g.RevokedAt), &g.JKT, (*list)(&g.Resources), &g.Claims,
	}
}

func grantValues(g storage.Grant, revokedAt time.Time) args {
	return args{
		g.ID, g.ClientID, g.UserID, g.SessionID, list(g.Scopes), moment(g.AuthTime),
		moment(g.CreatedAt), moment(g.ExpiresAt), g.Refresh, moment(g.RefreshIdleAt), moment(g.RefreshEndsAt),
		g.Offline, moment(revokedAt), g.JKT, list(g.Resources), g.Claims,
	}
}

const insertGrant = `INSERT INTO grants (id, client_id, user_id, session_id, scopes, auth_time,
		created_at, expires_at, refresh, refresh_idle_at, refresh_ends_at, offline, revoked_at, jkt, resources, claims)
	VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) `

// liveGrant is true of a grant, joined with its user, that is live at ?1.
const liveGrant = `grants.revoked_at IS NULL AND grants.expires_at > ?1 AND users.disabled_at IS NULL AND (grants.offline = 1 OR EXISTS (
		SELECT 1 FROM sessions WHERE sessions.id = grants.session_id AND ` + liveSession + `))`

const (
	revokeGrantByID = `UPDATE grants SET revoked_at = ?1 WHERE id = ?2`

	grantByID = `SELECT ` + grantColumns + ` FROM grants WHERE id = ?1`

	userOfLiveSession = `SELECT ` + userColumns + `, sessions.browser, sessions.network FROM sessions JOIN users ON users.id = sessions.user_id
		WHERE sessions.id = ?2 AND sessions.user_id = ?3 AND ` + liveSession + ` AND users.disabled_at IS NULL`

	clientOfSession = `SELECT client_id FROM session_clients WHERE session_id = ?1 AND client_id = ?2`

	// What is known already is not written again.
	rememberClient = `INSERT INTO session_clients (session_id, client_id, notify) VALUES (?1, ?2, ?3)
		ON CONFLICT (session_id, client_id) DO UPDATE SET notify = 1 WHERE excluded.notify AND NOT session_clients.notify`
)

// RedeemCode inserts the grant of an authorization code. A replay revokes it.
func (db *DB) RedeemCode(ctx context.Context, g storage.Grant, r storage.Redeeming, now time.Time) (u storage.User, err error) {
	replayed := false
	err = db.write(ctx, func(tx *tx) error {
		if replayed, err = replay(tx, g.ID, now); err != nil || replayed {
			return err // the revocation is committed
		}
		if err := allowed(tx, g.UserID, g.ClientID, r.Allowed); err != nil {
			return err
		}
		return redeem(tx, &u, g, r.Notify, "", now)
	})
	if err == nil && replayed {
		err = storage.ErrConflict
	}
	return u, err
}

// replay revokes the grant of a code that was used before; known is false when
// it was not.
func replay(tx *tx, id string, now time.Time) (known bool, err error) {
	var g storage.Grant
	err = tx.get(grantByID, args{id}, grantFields(&g)...)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	if err != nil || !g.RevokedAt.IsZero() {
		return true, err
	}
	if err := tx.one(revokeGrantByID, moment(now), id); err != nil {
		return true, err
	}
	return true, logGrant(tx, storage.EventCodeReplayed, g, now)
}

func logGrant(tx *tx, name storage.EventName, g storage.Grant, now time.Time) error {
	return tx.log(storage.Event{At: now, Name: name, UserID: g.UserID, ClientID: g.ClientID, SessionID: g.SessionID})
}

// redeem inserts a grant when its session is live and its user, who is read into
// u, not disabled, and remembers that the session signed in to the client; the
// event of its first time has the detail.
func redeem(tx *tx, u *storage.User, g storage.Grant, notify bool, detail string, now time.Time) error {
	e := storage.Event{At: now, Name: storage.EventAppSignedIn, UserID: g.UserID, ClientID: g.ClientID, SessionID: g.SessionID, Detail: detail}
	if err := tx.get(userOfLiveSession, args{moment(now), g.SessionID, g.UserID}, append(userFields(u), &e.Agent, &e.Network)...); err != nil {
		return err
	}
	if err := tx.one(insertGrant, grantValues(g, time.Time{})...); err != nil {
		return err
	}
	known := tx.get(clientOfSession, args{g.SessionID, g.ClientID}, new(string))
	if known != nil && !errors.Is(known, storage.ErrNotFound) {
		return known
	}
	if _, err := tx.exec(rememberClient, g.SessionID, g.ClientID, notify); err != nil || known == nil {
		return err
	}
	return tx.log(e)
}

// BurnCode inserts the grant revoked, or revokes it. Of a user who is gone there
// is nothing to burn.
func (db *DB) BurnCode(ctx context.Context, g storage.Grant, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		if known, err := replay(tx, g.ID, now); err != nil || known {
			return err
		}
		var u storage.User
		err := tx.get(userByID, args{g.UserID}, userFields(&u)...)
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return tx.one(insertGrant, grantValues(g, now)...)
	})
}

const refreshGrant = `UPDATE grants SET
		refresh = CASE WHEN grants.refresh = ?4 AND NOT ?5 THEN grants.refresh + 1 ELSE grants.refresh END,
		refreshed_at = CASE WHEN grants.refresh = ?4 AND NOT ?5 THEN ?1 ELSE grants.refreshed_at END,
		refresh_idle_at = CASE WHEN grants.refresh = ?4 THEN min(?6, grants.refresh_ends_at) ELSE grants.refresh_idle_at END,
		expires_at = CASE WHEN grants.refresh = ?4 THEN max(?7, grants.expires_at) ELSE grants.expires_at END,
		revoked_at = CASE WHEN grants.refresh = ?4 OR (grants.refresh = ?4 + 1 AND grants.refreshed_at > ?8) THEN NULL ELSE ?1 END
	FROM users
	WHERE grants.id = ?2 AND grants.client_id = ?3 AND (?9 OR grants.jkt = ?10) AND ?4 BETWEEN 1 AND grants.refresh
		AND grants.refresh_idle_at > ?1 AND grants.refresh_ends_at > ?1 AND users.id = grants.user_id AND ` + liveGrant + `
	RETURNING ` + grantColumns

// Refresh uses a refresh token of a live grant. Any but that of the current
// generation, or within Grace the one before, revokes it.
func (db *DB) Refresh(ctx context.Context, r storage.Refreshing, now time.Time) (g storage.Grant, u storage.User, err error) {
	values := args{moment(now), r.ID, r.ClientID, r.Generation, r.Keep, moment(r.IdleAt), moment(r.ExpiresAt), moment(r.Grace), r.AnyKey, r.JKT}
	err = db.write(ctx, func(tx *tx) error {
		if err := tx.get(refreshGrant, values, grantFields(&g)...); err != nil {
			return err
		}
		if !g.RevokedAt.IsZero() {
			return logGrant(tx, storage.EventRefreshReplayed, g, now) // the revocation is committed
		}
		return tx.get(userByID, args{g.UserID}, userFields(&u)...)
	})
	if err == nil && !g.RevokedAt.IsZero() {
		err = storage.ErrConflict
	}
	if err != nil {
		return storage.Grant{}, storage.User{}, err
	}
	return g, u, nil
}

const grantWithUser = `SELECT ` + grantColumns + `, ` + userColumns + ` FROM grants JOIN users ON users.id = grants.user_id
	WHERE grants.id = ?2 AND ` + liveGrant

// Grant finds a live grant with its user.
func (db *DB) Grant(ctx context.Context, id string, now time.Time) (g storage.Grant, u storage.User, err error) {
	err = db.get(ctx, grantWithUser, args{moment(now), id}, append(grantFields(&g), userFields(&u)...)...)
	return g, u, err
}

const revokeGrant = `UPDATE grants SET revoked_at = ?1 WHERE id = ?2 AND client_id = ?3 AND revoked_at IS NULL
	RETURNING ` + grantColumns

// RevokeGrant revokes a grant of the client.
func (db *DB) RevokeGrant(ctx context.Context, id, clientID string, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		var g storage.Grant
		err := tx.get(revokeGrant, args{moment(now), id, clientID}, grantFields(&g)...)
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return logGrant(tx, storage.EventGrantRevoked, g, now)
	})
}
