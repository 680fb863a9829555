package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// clientRow is a client as it is stored: what has a name in JSON is there.
type clientRow struct {
	id, metadata         string
	createdAt, updatedAt time.Time
}

const clientColumns = `id, metadata::text, created_at, updated_at`

func clientFields(r *clientRow) []any {
	return []any{&r.id, &r.metadata, stamp{&r.createdAt}, stamp{&r.updatedAt}}
}

func (r clientRow) client() (c storage.Client, err error) {
	if err := json.Unmarshal([]byte(r.metadata), &c); err != nil {
		return storage.Client{}, fmt.Errorf("client %q: %w", r.id, err)
	}
	c.ID, c.CreatedAt, c.UpdatedAt = r.id, r.createdAt, r.updatedAt
	return c, nil
}

const clientByID = `
	SELECT ` + clientColumns + ` FROM clients WHERE id = $1`

// Client finds a registered client: storage.ErrNotFound when there is none.
func (db *DB) Client(ctx context.Context, id string) (storage.Client, error) {
	var r clientRow
	if err := db.get(ctx, "client", clientFields(&r), clientByID, id); err != nil {
		return storage.Client{}, err
	}
	return r.client()
}

const allClients = `
	SELECT ` + clientColumns + ` FROM clients`

// Clients lists the clients in the order of their ids' bytes.
func (db *DB) Clients(ctx context.Context) ([]storage.Client, error) {
	rows, err := list(ctx, db, "clients", clientFields, allClients)
	if err != nil {
		return nil, err
	}
	// Here, because the order of the database depends on its locale.
	slices.SortFunc(rows, func(a, b clientRow) int { return strings.Compare(a.id, b.id) })
	clients := make([]storage.Client, len(rows))
	for i, r := range rows {
		if clients[i], err = r.client(); err != nil {
			return nil, err
		}
	}
	return clients, nil
}

const insertClient = `
	WITH c AS (
		INSERT INTO clients (id, metadata, created_at, updated_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING id, created_at
	)` + insertEvents + `
	SELECT created_at, '` + string(storage.EventClientAdded) + `', $5::text, '', id, '', '', '', '' FROM c`

// AddClient inserts a client: storage.ErrConflict when the id is taken.
func (db *DB) AddClient(ctx context.Context, c storage.Client) error {
	metadata, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("add client: %w", err)
	}
	n, err := db.exec(ctx, "add client", insertClient, c.ID, string(metadata), at(c.CreatedAt), at(c.UpdatedAt), db.actor)
	if err == nil && n == 0 {
		return storage.ErrConflict
	}
	return err
}

const updateClient = `
	WITH c AS (
		UPDATE clients SET metadata = $2, updated_at = $3
		WHERE id = $1 AND coalesce(metadata ->> 'client_secret_sha256', '') = $5 AND updated_at = $6 RETURNING id, updated_at
	)` + insertEvents + `
	SELECT updated_at, '` + string(storage.EventClientChanged) + `', $4::text, '', id, '', '', '', '' FROM c`

// SaveClient replaces a client that is still as it was seen, by SecretSHA256 and
// UpdatedAt, and keeps CreatedAt: storage.ErrNotFound when there is none,
// storage.ErrConflict when it was changed since.
func (db *DB) SaveClient(ctx context.Context, c, seen storage.Client) error {
	metadata, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("save client: %w", err)
	}
	n, err := db.exec(ctx, "save client", updateClient, c.ID, string(metadata), at(c.UpdatedAt), db.actor, seen.SecretSHA256, at(seen.UpdatedAt))
	if err != nil || n > 0 {
		return err
	}
	if _, err := db.Client(ctx, c.ID); err != nil {
		return err
	}
	return storage.ErrConflict
}

const deleteClient = `
	WITH gone AS (
		DELETE FROM clients WHERE id = $1 RETURNING id
	), consent AS (
		DELETE FROM consents USING gone WHERE client_id = gone.id
	), granted AS (
		DELETE FROM grants USING gone WHERE client_id = gone.id
	), asked AS (
		DELETE FROM devices USING gone WHERE client_id = gone.id
	), signed_in AS (
		DELETE FROM session_clients USING gone WHERE client_id = gone.id
	), queued AS (
		DELETE FROM logout_notices USING gone WHERE client_id = gone.id AND state = 'queued'
	), logged AS (` + insertEvents + `
		SELECT $2::timestamptz, '` + string(storage.EventClientRemoved) + `', $3::text, '', id, '', '', '', '' FROM gone
	)
	SELECT id FROM gone`

// RemoveClient removes a client with its grants, consents, device requests and
// queued notices, so that whoever takes the id next does not get them:
// storage.ErrNotFound when there is none.
func (db *DB) RemoveClient(ctx context.Context, id string, now time.Time) error {
	return db.get(ctx, "remove client", []any{&id}, deleteClient, id, at(now), db.actor)
}
