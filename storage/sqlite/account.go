package sqlite

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const sessionsOf = `SELECT ` + sessionColumns + ` FROM sessions WHERE user_id = ?2 AND ` + liveSession + ` ORDER BY seen_at DESC, id`

// SessionsOf lists the live sessions of a user, the one seen last first.
func (db *DB) SessionsOf(ctx context.Context, userID string, now time.Time) ([]storage.Session, error) {
	rows, err := db.reader.QueryContext(ctx, sessionsOf, moment(now), userID)
	return collect(rows, err, sessionFields)
}

const sessionOf = `SELECT id FROM sessions WHERE id = ?2 AND user_id = ?3 AND ` + liveSession

// EndSessionOf ends a live session of the user as EndSession does.
func (db *DB) EndSessionOf(ctx context.Context, userID, id string, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		if err := tx.get(sessionOf, args{moment(now), id, userID}, &id); err != nil {
			return err
		}
		_, err := end(tx, id, "", now)
		return err
	})
}

const (
	endOtherSessions = `UPDATE sessions SET ended_at = ?1 WHERE user_id = ?2 AND id <> ?3 AND ` + liveSession + ` RETURNING ` + sessionColumns

	revokeGrantsOfEnded = `UPDATE grants SET revoked_at = ?1 WHERE user_id = ?2 AND offline = 0 AND revoked_at IS NULL
		AND session_id IN (SELECT id FROM sessions WHERE user_id = ?2 AND ended_at = ?1)`
)

// EndOtherSessions ends every live session of the user but keep.
func (db *DB) EndOtherSessions(ctx context.Context, userID, keep string, now time.Time) (n int, err error) {
	err = db.write(ctx, func(tx *tx) error {
		rows, err := tx.query(endOtherSessions, moment(now), userID, keep)
		ended, err := collect(rows, err, sessionFields)
		if n = len(ended); err != nil || n == 0 {
			return err
		}
		if err := logEnded(tx, "", now, ended...); err != nil {
			return err
		}
		for _, query := range []string{revokeGrantsOfEnded, queueNoticesOfUser} {
			if _, err := tx.exec(query, moment(now), userID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

const appsOf = `SELECT client_id, scopes, at, NULL, 0 FROM consents WHERE user_id = ?2
	UNION ALL
	SELECT client_id, scopes, NULL, created_at, offline FROM grants
	WHERE user_id = ?2 AND revoked_at IS NULL AND expires_at > ?1
		AND (offline OR EXISTS (SELECT 1 FROM sessions WHERE sessions.id = grants.session_id AND sessions.user_id = grants.user_id AND ` + liveSession + `))`

// Apps lists the clients that the user allowed something or that hold a live
// grant.
func (db *DB) Apps(ctx context.Context, userID string, now time.Time) ([]storage.App, error) {
	rows, err := db.reader.QueryContext(ctx, appsOf, moment(now), userID)
	parts, err := collect(rows, err, func(a *storage.App) []any {
		return []any{&a.ClientID, (*list)(&a.Scopes), (*moment)(&a.ConsentAt), (*moment)(&a.GrantedAt), &a.Offline}
	})
	return storage.MergeApps(parts), err
}

const usersWithApps = `SELECT ` + userColumns + ` FROM users
	WHERE users.id > ?2 AND (
		EXISTS (SELECT 1 FROM consents WHERE consents.user_id = users.id AND (?3 = '' OR consents.client_id = ?3))
		OR EXISTS (SELECT 1 FROM grants WHERE grants.user_id = users.id AND (?3 = '' OR grants.client_id = ?3) AND ` + liveGrant + `))
	ORDER BY users.id LIMIT ?4`

// UsersWithApps lists up to limit users beyond the id after who have to do with
// the client, or with any.
func (db *DB) UsersWithApps(ctx context.Context, clientID, after string, limit int, now time.Time) ([]storage.User, error) {
	rows, err := db.reader.QueryContext(ctx, usersWithApps, moment(now), after, clientID, max(limit, 0))
	return collect(rows, err, userFields)
}

const (
	removeConsent = `DELETE FROM consents WHERE user_id = ?2 AND client_id = ?3`

	revokeGrantsOfApp = `UPDATE grants SET revoked_at = ?1 WHERE user_id = ?2 AND client_id = ?3 AND revoked_at IS NULL`

	queueNoticesOfApp = `INSERT INTO logout_notices (session_id, client_id, user_id, created_at, next_at)
		SELECT session_clients.session_id, session_clients.client_id, sessions.user_id, ?1, ?1
		FROM sessions JOIN session_clients ON session_clients.session_id = sessions.id
		WHERE sessions.user_id = ?2 AND session_clients.client_id = ?3 AND session_clients.notify AND ` + liveSession + orAgain

	forgetClient = `DELETE FROM session_clients WHERE client_id = ?2 AND session_id IN (SELECT id FROM sessions WHERE user_id = ?1)`
)

const forgetDevices = `DELETE FROM devices WHERE user_id = ?1 AND user_id <> '' AND client_id = ?2 AND used_at IS NULL`

// RemoveApp takes back what the user allowed a client.
func (db *DB) RemoveApp(ctx context.Context, userID, clientID string, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		if _, err := tx.exec(forgetDevices, userID, clientID); err != nil {
			return err
		}
		taken := 0
		for _, query := range []string{removeConsent, revokeGrantsOfApp} {
			n, err := tx.exec(query, moment(now), userID, clientID)
			if err != nil {
				return err
			}
			taken += n
		}
		if _, err := tx.exec(queueNoticesOfApp, moment(now), userID, clientID); err != nil {
			return err
		}
		if _, err := tx.exec(forgetClient, userID, clientID); err != nil || taken == 0 {
			return err
		}
		return tx.log(storage.Event{At: now, Name: storage.EventAppRemoved, UserID: userID, ClientID: clientID})
	})
}

const setProfile = `UPDATE users SET name = ?3, locale = ?4, updated_at = CASE WHEN name = ?3 AND locale = ?4 THEN updated_at ELSE ?1 END
	WHERE id = ?2 RETURNING ` + userColumns

// SetProfile sets what a user says of themselves.
func (db *DB) SetProfile(ctx context.Context, userID, name, locale string, now time.Time) (u storage.User, err error) {
	err = db.write(ctx, func(tx *tx) error {
		var before storage.User
		if err := tx.get(userByID, args{userID}, userFields(&before)...); err != nil {
			return err
		}
		if err := tx.get(setProfile, args{moment(now), userID, name, locale}, userFields(&u)...); err != nil || before.Name == name && before.Locale == locale {
			return err
		}
		return tx.log(storage.Event{At: now, Name: storage.EventUserProfile, UserID: userID})
	})
	return u, err
}

const (
	ownerOfSession = `SELECT users.id, sessions.browser, sessions.network FROM sessions JOIN users ON users.id = sessions.user_id
		WHERE sessions.id = ?2 AND sessions.auth_time >= ?3 AND users.disabled_at IS NULL AND ` + liveSession

	changes = ` AND purpose = 'address' AND user_id = ?4 RETURNING key, email`

	useChangeByLink = useAttempt + byLink + changes
	useChangeByCode = useAttempt + byCode + changes

	setAddress = `UPDATE users SET key = ?3, email = ?4, updated_at = ?1 WHERE id = ?2 RETURNING ` + userColumns
)

// ChangeAddress uses an attempt of storage.PurposeAddress and gives its address
// to its user.
func (db *DB) ChangeAddress(ctx context.Context, c storage.AddressChange, now time.Time) (u storage.User, err error) {
	use := useChangeByLink
	if c.ByCode {
		use = useChangeByCode
	}
	err = db.write(ctx, func(tx *tx) error {
		var key, email string
		e := storage.Event{At: now, Name: storage.EventUserAddressChanged, SessionID: c.SessionID}
		if err := tx.get(ownerOfSession, args{moment(now), c.SessionID, moment(c.ProvenSince)}, &e.UserID, &e.Agent, &e.Network); err != nil {
			return err
		}
		if err := tx.get(use, args{moment(now), c.AttemptID, c.SessionID, e.UserID}, &key, &email); err != nil {
			return err
		}
		if err := tx.get(setAddress, args{moment(now), e.UserID, key, email}, userFields(&u)...); err != nil {
			return err
		}
		if _, err := tx.exec(unmute, key); err != nil {
			return err
		}
		return tx.log(e)
	})
	if err != nil {
		return storage.User{}, err
	}
	return u, nil
}

const (
	removeAttemptsOfUser  = `DELETE FROM attempts WHERE key = (SELECT key FROM users WHERE id = ?1)`
	removeAttemptsForUser = `DELETE FROM attempts WHERE user_id = ?1 AND user_id <> ''`
	removeMuteOfUser      = `DELETE FROM mutes WHERE key = (SELECT key FROM users WHERE id = ?1)`
	removeBounceOfUser    = `DELETE FROM bounces WHERE key = (SELECT key FROM users WHERE id = ?1)`
	removeDevicesOfUser   = `DELETE FROM devices WHERE user_id = ?1 AND user_id <> ''`
	removeUser            = `DELETE FROM users WHERE id = ?1` // with sessions, grants and consents
)

// DeleteUser removes a user for good.
func (db *DB) DeleteUser(ctx context.Context, userID string, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		if err := endAll(tx, userID, storage.EventUserDeleted, now); err != nil {
			return err
		}
		for _, query := range []string{removeAttemptsOfUser, removeAttemptsForUser, removeMuteOfUser, removeBounceOfUser, removeDevicesOfUser} {
			if _, err := tx.exec(query, userID); err != nil {
				return err
			}
		}
		if err := tx.one(removeUser, userID); err != nil {
			return err
		}
		return tx.log(storage.Event{At: now, Name: storage.EventUserDeleted, UserID: userID})
	})
}
