package postgres

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// deviceColumns are the columns of d in the order of deviceFields.
const deviceColumns = `d.id, d.user_code, d.client_id, d.scopes, d.resources, d.jkt, d.agent, d.network, d.created_at, d.expires_at,
	d.poll_interval, d.poll_at, d.allowed_at, d.denied_at, d.used_at, d.user_id, d.session_id, d.auth_time`

func deviceFields(d *storage.Device) []any {
	return []any{
		&d.ID, &d.UserCode, &d.ClientID, words{&d.Scopes}, words{&d.Resources}, &d.JKT, &d.Agent, &d.Network, stamp{&d.CreatedAt}, stamp{&d.ExpiresAt},
		micros{&d.Interval}, stamp{&d.PollAt}, stamp{&d.AllowedAt}, stamp{&d.DeniedAt}, stamp{&d.UsedAt}, &d.UserID, &d.SessionID, stamp{&d.AuthTime},
	}
}

const insertDevice = `
	INSERT INTO devices (id, user_code, client_id, scopes, resources, jkt, agent, network, created_at, expires_at, poll_interval, poll_at)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
	ON CONFLICT DO NOTHING`

// AddDevice inserts a device authorization request: storage.ErrConflict when its
// user code is that of another that is still kept.
func (db *DB) AddDevice(ctx context.Context, d storage.Device) error {
	n, err := db.exec(ctx, "add device", insertDevice, d.ID, d.UserCode, d.ClientID, texts(d.Scopes), texts(d.Resources), d.JKT, d.Agent, d.Network,
		at(d.CreatedAt), at(d.ExpiresAt), d.Interval.Microseconds(), at(d.PollAt))
	if err == nil && n == 0 {
		return storage.ErrConflict
	}
	return err
}

// openDevice holds for a request d that can be answered at $1.
const openDevice = `d.allowed_at IS NULL AND d.denied_at IS NULL AND d.expires_at > $1`

const (
	deviceByUserCode = `
		SELECT ` + deviceColumns + ` FROM devices d WHERE d.user_code = $2 AND ` + openDevice
	allowDevice = `
		WITH d AS (
			UPDATE devices d SET allowed_at = $1, user_id = $3, session_id = $4, auth_time = $5 WHERE d.user_code = $2 AND ` + openDevice + `
			RETURNING d.user_id, d.client_id, d.session_id, d.agent, d.network
		)` + insertEvents + `
		SELECT $1::timestamptz, '` + string(storage.EventDeviceAllowed) + `', $6::text, user_id, client_id, session_id, agent, network, '' FROM d`
	denyDevice = `
		UPDATE devices d SET denied_at = $1 WHERE d.user_code = $2 AND ` + openDevice
)

// Device finds a device authorization request by user code: neither answered nor
// expired at now, else storage.ErrNotFound.
func (db *DB) Device(ctx context.Context, userCode string, now time.Time) (d storage.Device, err error) {
	err = db.get(ctx, "device", deviceFields(&d), deviceByUserCode, at(now), userCode)
	return d, err
}

// AllowDevice lets the device have tokens of the login. One answer wins; any
// other gets storage.ErrNotFound.
func (db *DB) AllowDevice(ctx context.Context, userCode string, login storage.Login, now time.Time) error {
	return db.one(ctx, "allow device", allowDevice, at(now), userCode, login.User.ID, login.Session.ID, at(login.Session.AuthTime), db.actor)
}

// DenyDevice refuses a request; otherwise as AllowDevice.
func (db *DB) DenyDevice(ctx context.Context, userCode string, now time.Time) error {
	return db.one(ctx, "deny device", denyDevice, at(now), userCode)
}

const pollDevice = `
	WITH d AS MATERIALIZED (
		SELECT ` + deviceColumns + `, d.poll_interval + CASE WHEN d.poll_at > $1 THEN $4::bigint ELSE 0 END AS next_interval
		FROM devices d WHERE d.id = $2 AND d.client_id = $3
		FOR UPDATE
	), polled AS (
		UPDATE devices SET poll_interval = d.next_interval, poll_at = $1::timestamptz + d.next_interval * interval '1 microsecond'
		FROM d WHERE devices.id = d.id
	)
	SELECT ` + deviceColumns + ` FROM d`

// PollDevice counts a poll and gives the request as it was before. A poll before
// its PollAt makes Interval longer by storage.SlowDown (RFC 8628 §3.5).
// storage.ErrNotFound when it is unknown or another client's.
func (db *DB) PollDevice(ctx context.Context, id, clientID string, now time.Time) (d storage.Device, err error) {
	err = db.get(ctx, "poll device", deviceFields(&d), pollDevice, at(now), id, clientID, storage.SlowDown.Microseconds())
	return d, err
}

// The request is held first, so that whoever comes second finds it used.
const redeemDevice = `
	WITH d AS MATERIALIZED (
		SELECT d.id FROM devices d
		WHERE d.id = $19 AND d.client_id = $3 AND d.session_id = $5
			AND d.allowed_at IS NOT NULL AND d.used_at IS NULL AND d.expires_at > $1
		FOR UPDATE
	), u AS MATERIALIZED (` + liveUser + ` AND EXISTS (SELECT FROM d)` + holdUser + `
	), g AS (` + insertGrant + `NULL::timestamptz FROM u
		RETURNING true AS first
	), c AS (` + rememberClient + `
	), logged AS (` + insertEvents + signedIn + `'device'` + forTheFirstTime + `
	), used AS (
		UPDATE devices SET used_at = $1 FROM g WHERE devices.id = $19
	)
	SELECT ` + userColumns + ` FROM g, u`

// RedeemDevice uses up a request that was allowed to the grant's client and
// session, as RedeemCode does with a code. One caller wins; any other gets
// storage.ErrNotFound, as for a request that has expired.
func (db *DB) RedeemDevice(ctx context.Context, id string, g storage.Grant, notify bool, now time.Time) (u storage.User, err error) {
	err = db.get(ctx, "redeem device", userFields(&u), redeemDevice, append(grantValues(g, now), notify, db.actor, id)...)
	return u, err
}
