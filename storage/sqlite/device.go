package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const deviceColumns = `devices.id, devices.user_code, devices.client_id, devices.scopes, devices.resources, devices.jkt,
	devices.agent, devices.network, devices.created_at, devices.expires_at, devices.poll_interval, devices.poll_at,
	devices.allowed_at, devices.denied_at, devices.used_at, devices.user_id, devices.session_id, devices.auth_time`

func deviceFields(d *storage.Device) []any {
	return []any{
		&d.ID, &d.UserCode, &d.ClientID, (*list)(&d.Scopes), (*list)(&d.Resources), &d.JKT,
		&d.Agent, &d.Network, (*moment)(&d.CreatedAt), (*moment)(&d.ExpiresAt), (*micros)(&d.Interval), (*moment)(&d.PollAt),
		(*moment)(&d.AllowedAt), (*moment)(&d.DeniedAt), (*moment)(&d.UsedAt), &d.UserID, &d.SessionID, (*moment)(&d.AuthTime),
	}
}

// micros carries a duration from a column: microseconds.
type micros time.Duration

// Scan is for database/sql.
func (m *micros) Scan(column any) error {
	n, ok := column.(int64)
	if !ok {
		return fmt.Errorf("%T is not a duration", column)
	}
	*m = micros(time.Duration(n) * time.Microsecond)
	return nil
}

const insertDevice = `INSERT INTO devices (id, user_code, client_id, scopes, resources, jkt,
		agent, network, created_at, expires_at, poll_interval, poll_at)
	VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)`

// AddDevice inserts a device authorization request.
func (db *DB) AddDevice(ctx context.Context, d storage.Device) error {
	return db.exec(ctx, insertDevice, d.ID, d.UserCode, d.ClientID, list(d.Scopes), list(d.Resources), d.JKT,
		d.Agent, d.Network, moment(d.CreatedAt), moment(d.ExpiresAt), d.Interval.Microseconds(), moment(d.PollAt))
}

// openDevice is true of a request that can be answered at ?1.
const openDevice = `allowed_at IS NULL AND denied_at IS NULL AND expires_at > ?1`

const (
	deviceByUserCode = `SELECT ` + deviceColumns + ` FROM devices WHERE user_code = ?2 AND ` + openDevice

	allowDevice = `UPDATE devices SET allowed_at = ?1, user_id = ?3, session_id = ?4, auth_time = ?5 WHERE user_code = ?2 AND ` + openDevice + `
		RETURNING ` + deviceColumns

	denyDevice = `UPDATE devices SET denied_at = ?1 WHERE user_code = ?2 AND ` + openDevice
)

// Device finds a device authorization request by user code, neither answered nor
// expired.
func (db *DB) Device(ctx context.Context, userCode string, now time.Time) (d storage.Device, err error) {
	err = db.get(ctx, deviceByUserCode, args{moment(now), userCode}, deviceFields(&d)...)
	return d, err
}

// AllowDevice lets the device have tokens of the login.
func (db *DB) AllowDevice(ctx context.Context, userCode string, login storage.Login, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		var d storage.Device
		values := args{moment(now), userCode, login.User.ID, login.Session.ID, moment(login.Session.AuthTime)}
		if err := tx.get(allowDevice, values, deviceFields(&d)...); err != nil {
			return err
		}
		return tx.log(storage.Event{At: now, Name: storage.EventDeviceAllowed, UserID: d.UserID, ClientID: d.ClientID, SessionID: d.SessionID, Agent: d.Agent, Network: d.Network})
	})
}

// DenyDevice refuses a request.
func (db *DB) DenyDevice(ctx context.Context, userCode string, now time.Time) error {
	return db.write(ctx, func(tx *tx) error { return tx.one(denyDevice, moment(now), userCode) })
}

const (
	deviceOfClient = `SELECT ` + deviceColumns + ` FROM devices WHERE id = ?1 AND client_id = ?2`

	countPoll = `UPDATE devices SET poll_interval = ?2, poll_at = ?3 WHERE id = ?1`
)

// PollDevice counts a poll and gives the request as it was before.
func (db *DB) PollDevice(ctx context.Context, id, clientID string, now time.Time) (d storage.Device, err error) {
	err = db.write(ctx, func(tx *tx) error {
		if err := tx.get(deviceOfClient, args{id, clientID}, deviceFields(&d)...); err != nil {
			return err
		}
		interval := d.Interval
		if now.Truncate(time.Microsecond).Before(d.PollAt) {
			interval += storage.SlowDown
		}
		return tx.one(countPoll, id, interval.Microseconds(), moment(now.Add(interval)))
	})
	if err != nil {
		return storage.Device{}, err
	}
	return d, nil
}

const useDevice = `UPDATE devices SET used_at = ?1
	WHERE id = ?2 AND client_id = ?3 AND session_id = ?4
		AND allowed_at IS NOT NULL AND used_at IS NULL AND expires_at > ?1`

// RedeemDevice uses up a request that was allowed to the grant's client and
// session, and inserts the grant.
func (db *DB) RedeemDevice(ctx context.Context, id string, g storage.Grant, notify bool, now time.Time) (u storage.User, err error) {
	err = db.write(ctx, func(tx *tx) error {
		if err := tx.one(useDevice, moment(now), id, g.ClientID, g.SessionID); err != nil {
			return err
		}
		return redeem(tx, &u, g, notify, "device", now)
	})
	if err != nil {
		return storage.User{}, err
	}
	return u, nil
}
