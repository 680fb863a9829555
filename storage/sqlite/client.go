package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sealpost/sealpost/storage"
)

const clientColumns = `metadata, created_at, updated_at`

// metadata carries a client to and from a column: its JSON.
type metadata storage.Client

// Scan is for database/sql.
func (m *metadata) Scan(column any) error {
	text, ok := column.(string)
	if !ok {
		return fmt.Errorf("%T is not a client", column)
	}
	return json.Unmarshal([]byte(text), m)
}

func clientFields(c *storage.Client) []any {
	return []any{(*metadata)(c), (*moment)(&c.CreatedAt), (*moment)(&c.UpdatedAt)}
}

const clientByID = `SELECT ` + clientColumns + ` FROM clients WHERE id = ?1`

// Client finds a registered client.
func (db *DB) Client(ctx context.Context, id string) (c storage.Client, err error) {
	err = db.get(ctx, clientByID, args{id}, clientFields(&c)...)
	return c, err
}

const allClients = `SELECT ` + clientColumns + ` FROM clients ORDER BY id`

// Clients lists the clients by id.
func (db *DB) Clients(ctx context.Context) ([]storage.Client, error) {
	rows, err := db.reader.QueryContext(ctx, allClients)
	return collect(rows, err, clientFields)
}

const insertClient = `INSERT INTO clients (id, metadata, created_at, updated_at) VALUES (?1, ?2, ?3, ?4)`

// AddClient inserts a client.
func (db *DB) AddClient(ctx context.Context, c storage.Client) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return db.write(ctx, func(tx *tx) error {
		if err := tx.one(insertClient, c.ID, string(text), moment(c.CreatedAt), moment(c.UpdatedAt)); err != nil {
			return err
		}
		return tx.log(storage.Event{At: c.CreatedAt, Name: storage.EventClientAdded, ClientID: c.ID})
	})
}

const (
	updateClient = `UPDATE clients SET metadata = ?2, updated_at = ?3 WHERE id = ?1 AND coalesce(metadata ->> 'client_secret_sha256', '') = ?4 AND updated_at = ?5`
	clientExists = `SELECT id FROM clients WHERE id = ?1`
)

// SaveClient replaces a client that is still as it was seen, but for its
// CreatedAt.
func (db *DB) SaveClient(ctx context.Context, c, seen storage.Client) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return db.write(ctx, func(tx *tx) error {
		n, err := tx.exec(updateClient, c.ID, string(text), moment(c.UpdatedAt), seen.SecretSHA256, moment(seen.UpdatedAt))
		if err != nil {
			return err
		}
		if n == 0 {
			if err := tx.get(clientExists, args{c.ID}, new(string)); err != nil {
				return err
			}
			return storage.ErrConflict
		}
		return tx.log(storage.Event{At: c.UpdatedAt, Name: storage.EventClientChanged, ClientID: c.ID})
	})
}

const (
	deleteClient                = `DELETE FROM clients WHERE id = ?1`
	deleteGrantsOfClient        = `DELETE FROM grants WHERE client_id = ?1`
	deleteConsentsOfClient      = `DELETE FROM consents WHERE client_id = ?1`
	deleteDevicesOfClient       = `DELETE FROM devices WHERE client_id = ?1`
	deleteSessionsOfClient      = `DELETE FROM session_clients WHERE client_id = ?1`
	deleteQueuedNoticesOfClient = `DELETE FROM logout_notices WHERE client_id = ?1 AND state = 'queued'`
)

// RemoveClient removes a client with its grants, consents, device requests and
// queued notices.
func (db *DB) RemoveClient(ctx context.Context, id string, now time.Time) error {
	return db.write(ctx, func(tx *tx) error {
		if err := tx.one(deleteClient, id); err != nil {
			return err
		}
		for _, query := range []string{deleteGrantsOfClient, deleteConsentsOfClient, deleteDevicesOfClient, deleteSessionsOfClient, deleteQueuedNoticesOfClient} {
			if _, err := tx.exec(query, id); err != nil {
				return err
			}
		}
		return tx.log(storage.Event{At: now, Name: storage.EventClientRemoved, ClientID: id})
	})
}
