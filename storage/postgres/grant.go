package postgres

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// grantColumns are the columns of g in the order of grantFields.
const grantColumns = `g.id, g.client_id, g.user_id, g.session_id, g.scopes, g.auth_time, g.created_at, g.expires_at,
	g.refresh, g.refresh_idle_at, g.refresh_ends_at, g.refreshed_at, g.offline, g.revoked_at, g.jkt, g.resources, g.claims`

func grantFields(g *storage.Grant) []any {
	return []any{
		&g.ID, &g.ClientID, &g.UserID, &g.SessionID, words{&g.Scopes}, stamp{&g.AuthTime}, stamp{&g.CreatedAt}, stamp{&g.ExpiresAt},
		&g.Refresh, stamp{&g.RefreshIdleAt}, stamp{&g.RefreshEndsAt}, stamp{&g.RefreshedAt}, &g.Offline, stamp{&g.RevokedAt},
		&g.JKT, words{&g.Resources}, &g.Claims,
	}
}

// grantValues are the arguments $1 to $16 of insertGrant.
func grantValues(g storage.Grant, now time.Time) []any {
	return []any{
		at(now), g.ID, g.ClientID, g.UserID, g.SessionID, texts(g.Scopes), at(g.AuthTime), at(g.CreatedAt), at(g.ExpiresAt),
		g.Refresh, at(g.RefreshIdleAt), at(g.RefreshEndsAt), g.Offline, g.JKT, texts(g.Resources), g.Claims,
	}
}

// insertGrant is followed by the value of revoked_at and where it comes from.
// With orRevokeGrant an existing grant is revoked, were it inserted this moment.
const (
	insertGrant = `
		INSERT INTO grants AS g (id, client_id, user_id, session_id, scopes, auth_time, created_at, expires_at,
			refresh, refresh_idle_at, refresh_ends_at, offline, jkt, resources, claims, revoked_at)
		SELECT $2::text, $3::text, $4::text, $5::text, $6::text[], $7::timestamptz, $8::timestamptz, $9::timestamptz,
			$10::bigint, $11::timestamptz, $12::timestamptz, $13::boolean, $14::text, $15::text[], $16::text, `
	orRevokeGrant = `
		ON CONFLICT (id) DO UPDATE SET revoked_at = $1 WHERE g.revoked_at IS NULL`
)

const (
	// liveUser is the user $4 of the live session $5, followed by more
	// conditions and holdUser, which holds both so until the commit.
	liveUser = `
		SELECT ` + userColumns + `, s.browser, s.network
		FROM users u JOIN sessions s ON s.user_id = u.id
		WHERE s.id = $5 AND u.id = $4 AND ` + liveSession + ` AND u.disabled_at IS NULL`
	holdUser = `
		FOR SHARE OF u, s`
	// rememberClient follows the grants g that were inserted. What is known
	// already is not written again.
	rememberClient = `
		INSERT INTO session_clients AS c (session_id, client_id, notify)
		SELECT $5::text, $3::text, $17::boolean FROM g
		WHERE g.first AND NOT EXISTS (SELECT FROM session_clients WHERE session_id = $5 AND client_id = $3 AND (notify OR NOT $17))
		ON CONFLICT (session_id, client_id) DO UPDATE SET notify = true WHERE excluded.notify AND NOT c.notify
		RETURNING true`
	// signedIn is the event of a client c that was not remembered before, with the
	// detail between the two.
	signedIn = `
		SELECT $1::timestamptz, '` + string(storage.EventAppSignedIn) + `', $18::text, $4::text, $3::text, $5::text, u.browser, u.network, `
	forTheFirstTime = `
		FROM c, u WHERE NOT EXISTS (SELECT FROM session_clients WHERE session_id = $5 AND client_id = $3)`
)

// The grant is inserted when its session is live, or when it is there already,
// which makes it a replay. Were it swept between the two, what is inserted is
// revoked. A replay of what is revoked already leaves g empty. Consent is held
// after the session, as where it is taken back.
const redeemCode = `
	WITH live AS MATERIALIZED (` + liveUser + holdUser + `
	), consent AS MATERIALIZED (
		SELECT FROM consents c
		WHERE $19::text[] IS NOT NULL AND c.user_id = (SELECT id FROM live) AND c.client_id = $3 AND c.scopes @> $19
		FOR KEY SHARE
	), u AS MATERIALIZED (
		SELECT * FROM live WHERE $19 IS NULL OR EXISTS (SELECT FROM consent)
	), code AS MATERIALIZED (
		SELECT EXISTS (SELECT FROM u) AS live WHERE EXISTS (SELECT FROM u) OR EXISTS (SELECT FROM grants WHERE id = $2)
	), g AS (` + insertGrant + `CASE WHEN code.live THEN NULL ELSE $1::timestamptz END FROM code` + orRevokeGrant + `
		RETURNING g.revoked_at IS NULL AS first
	), c AS (` + rememberClient + `
	), logged AS (` + insertEvents + signedIn + `''` + forTheFirstTime + `
		UNION ALL
		SELECT $1::timestamptz, '` + string(storage.EventCodeReplayed) + `', $18::text, $4::text, $3::text, $5::text, '', '', '' FROM g WHERE NOT g.first
	)
	SELECT coalesce(g.first, false), ` + userColumns + ` FROM code LEFT JOIN g ON true LEFT JOIN u ON true`

// RedeemCode inserts the grant of an authorization code and remembers that its
// session signed in to the client. One caller wins. Any other gets
// storage.ErrConflict, and the grant is revoked by then (RFC 6749 §4.1.2), were
// its session ended or not. storage.ErrNotFound when the session is not live,
// its user is disabled or another, or has not allowed what the code needs.
func (db *DB) RedeemCode(ctx context.Context, g storage.Grant, r storage.Redeeming, now time.Time) (u storage.User, err error) {
	var first bool
	err = db.get(ctx, "redeem code", append([]any{&first}, userFields(&u)...), redeemCode, append(grantValues(g, now), r.Notify, db.actor, r.Allowed)...)
	if err == nil && !first {
		err = storage.ErrConflict
	}
	if err != nil {
		return storage.User{}, err
	}
	return u, nil
}

// Of a user who is gone there is nothing to burn.
const burnGrant = `
	WITH u AS MATERIALIZED (
		SELECT FROM users WHERE id = $4 FOR KEY SHARE
	), g AS (` + insertGrant + `$1::timestamptz FROM u` + orRevokeGrant + `
		RETURNING g.user_id, g.client_id, g.session_id
	)` + insertEvents + `
	SELECT $1::timestamptz, '` + string(storage.EventCodeReplayed) + `', $17::text, user_id, client_id, session_id, '', '', ''
	FROM g WHERE EXISTS (SELECT FROM grants WHERE id = $2)`

// BurnCode inserts the grant revoked, or revokes it.
func (db *DB) BurnCode(ctx context.Context, g storage.Grant, now time.Time) error {
	_, err := db.exec(ctx, "burn code", burnGrant, append(grantValues(g, now), db.actor)...)
	return err
}

// liveGrant holds for a grant g of user u that is live at $1.
const liveGrant = `g.revoked_at IS NULL AND g.expires_at > $1 AND u.disabled_at IS NULL AND (
	g.offline OR EXISTS (SELECT FROM sessions s WHERE s.id = g.session_id AND s.user_id = g.user_id AND ` + liveSession + `))`

// Of two callers with one generation the second meets the row of the first:
// within the grace it is answered, else it revokes the grant.
const refreshGrant = `
	WITH used AS (UPDATE grants g SET
		refresh = CASE WHEN g.refresh = $4 AND NOT $5::boolean THEN g.refresh + 1 ELSE g.refresh END,
		refreshed_at = CASE WHEN g.refresh = $4 AND NOT $5 THEN $1 ELSE g.refreshed_at END,
		refresh_idle_at = CASE WHEN g.refresh = $4 THEN least($6, g.refresh_ends_at) ELSE g.refresh_idle_at END,
		expires_at = CASE WHEN g.refresh = $4 THEN greatest($7, g.expires_at) ELSE g.expires_at END,
		revoked_at = CASE WHEN g.refresh = $4 OR (g.refresh = $4 + 1 AND g.refreshed_at > $8) THEN NULL ELSE $1::timestamptz END
	FROM users u
	WHERE g.id = $2 AND g.client_id = $3 AND ($9::boolean OR g.jkt = $10) AND $4::bigint BETWEEN 1 AND g.refresh
		AND g.refresh_idle_at > $1 AND g.refresh_ends_at > $1 AND u.id = g.user_id AND ` + liveGrant + `
	RETURNING ` + grantColumns + `, ` + userColumns + `
	), logged AS (` + insertEvents + `
		SELECT $1::timestamptz, '` + string(storage.EventRefreshReplayed) + `', $11::text, user_id, client_id, session_id, '', '', ''
		FROM used WHERE revoked_at IS NOT NULL
	)
	SELECT * FROM used`

// Refresh uses a refresh token of a live grant: it moves the grant to the next
// generation, or, with Keep, leaves it; within Grace the generation before the
// current one moves nothing. storage.ErrConflict when the generation was used
// before; the grant is revoked by then (RFC 9700 §4.14.2). storage.ErrNotFound
// when the grant is unknown, another client's, bound to another key or not live,
// or never had the generation.
func (db *DB) Refresh(ctx context.Context, r storage.Refreshing, now time.Time) (g storage.Grant, u storage.User, err error) {
	err = db.get(ctx, "refresh", append(grantFields(&g), userFields(&u)...), refreshGrant,
		at(now), r.ID, r.ClientID, r.Generation, r.Keep, at(r.IdleAt), at(r.ExpiresAt), at(r.Grace), r.AnyKey, r.JKT, db.actor)
	if err == nil && !g.RevokedAt.IsZero() {
		err = storage.ErrConflict
	}
	if err != nil {
		return storage.Grant{}, storage.User{}, err
	}
	return g, u, nil
}

const grantWithUser = `
	SELECT ` + grantColumns + `, ` + userColumns + `
	FROM grants g JOIN users u ON u.id = g.user_id
	WHERE g.id = $2 AND ` + liveGrant

// Grant finds a grant that is not revoked nor expired, with its user, who must
// not be disabled. A grant that is not Offline needs its session to be live.
func (db *DB) Grant(ctx context.Context, id string, now time.Time) (g storage.Grant, u storage.User, err error) {
	err = db.get(ctx, "grant", append(grantFields(&g), userFields(&u)...), grantWithUser, at(now), id)
	return g, u, err
}

const revokeGrant = `
	WITH g AS (
		UPDATE grants SET revoked_at = $1 WHERE id = $2 AND client_id = $3 AND revoked_at IS NULL RETURNING user_id, client_id, session_id
	)` + insertEvents + `
	SELECT $1::timestamptz, '` + string(storage.EventGrantRevoked) + `', $4::text, user_id, client_id, session_id, '', '', '' FROM g`

// RevokeGrant revokes a grant of the client. An unknown one is no error (RFC
// 7009 §2.2).
func (db *DB) RevokeGrant(ctx context.Context, id, clientID string, now time.Time) error {
	_, err := db.exec(ctx, "revoke grant", revokeGrant, at(now), id, clientID, db.actor)
	return err
}
