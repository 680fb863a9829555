package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/login"
	"github.com/sealpost/sealpost/provider"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/postgres"
	"github.com/sealpost/sealpost/storage/sqlite"
)

// store is what the engines offer: what each package needs, and what the
// command line does.
type store interface {
	login.Store
	login.MailStore
	login.AccountStore
	provider.Store
	keys.Store

	// Migrate brings the schema up to date.
	Migrate(ctx context.Context) error
	// SchemaVersion gives the migration the database is at and the newest one
	// of this program.
	SchemaVersion(ctx context.Context) (at, newest int64, err error)
	// Ping asks whether the database answers.
	Ping(ctx context.Context) error
	// Backlog tells what waits to be sent. It is the database's answer, too.
	Backlog(ctx context.Context) (storage.Backlog, error)
	// Connections tells of the connections to the database.
	Connections() storage.Connections
	// Sweep removes expired rows, a bounded batch of each kind.
	Sweep(ctx context.Context, now time.Time, limit int) (int, error)

	// Clients lists the clients by id.
	Clients(ctx context.Context) ([]storage.Client, error)
	// AddClient inserts a client: storage.ErrConflict when the id is taken.
	AddClient(ctx context.Context, c storage.Client) error
	// SaveClient replaces a client that is still as it was seen, by SecretSHA256
	// and UpdatedAt: storage.ErrConflict when it was changed since.
	SaveClient(ctx context.Context, c, seen storage.Client) error
	// RemoveClient removes a client: storage.ErrNotFound when there is none.
	RemoveClient(ctx context.Context, id string, now time.Time) error

	// Bounces lists up to limit addresses that were refused since, the last first.
	Bounces(ctx context.Context, since time.Time, limit int) ([]storage.Bounce, error)

	// Users lists the users by identity key.
	Users(ctx context.Context) ([]storage.User, error)
	// User finds a user by identity key: storage.ErrNotFound when there is none.
	User(ctx context.Context, key string) (storage.User, error)
	// AddUser inserts a user: storage.ErrConflict when the address is taken.
	AddUser(ctx context.Context, u storage.User) error
	// UsersByID finds users, in no order; who is not there is left out.
	UsersByID(ctx context.Context, ids []string) ([]storage.User, error)
	// Sessions lists live sessions with their users, by id.
	Sessions(ctx context.Context, f storage.SessionFilter, now time.Time) ([]storage.Login, error)
	// ClientsOf lists the clients that a session signed in to, by id.
	ClientsOf(ctx context.Context, sessionID string) ([]string, error)
	// UsersWithApps lists up to limit users beyond the id after who allowed the
	// client something, or for whom it holds a live grant; without a client those
	// of any.
	UsersWithApps(ctx context.Context, clientID, after string, limit int, now time.Time) ([]storage.User, error)
	// SetGroups says which groups a user is in.
	SetGroups(ctx context.Context, id string, groups []string, now time.Time) error
	// DisableUser disables a user, ends their sessions and revokes their grants.
	DisableUser(ctx context.Context, id string, now time.Time) error
	// EnableUser lets a disabled user sign in again.
	EnableUser(ctx context.Context, id string, now time.Time) error

	// SweepEvents removes up to limit events that are older than before.
	SweepEvents(ctx context.Context, before time.Time, limit int) (int, error)

	Close() error
}

// by gives a handle of the same database whose events carry actor.
func by(db store, actor string) store {
	switch db := db.(type) {
	case *sqlite.DB:
		return db.By(actor)
	case *postgres.DB:
		return db.By(actor)
	}
	panic(fmt.Sprintf("no engine: %T", db))
}

// clientsOwn is the store of the provider, where clients manage themselves
// (/register) and give back their tokens (/revoke): the audit log says so.
type clientsOwn struct {
	store
	client store // by "client"
}

func (s clientsOwn) AddClient(ctx context.Context, c storage.Client) error {
	return s.client.AddClient(ctx, c)
}

func (s clientsOwn) SaveClient(ctx context.Context, c, seen storage.Client) error {
	return s.client.SaveClient(ctx, c, seen)
}

func (s clientsOwn) RemoveClient(ctx context.Context, id string, now time.Time) error {
	return s.client.RemoveClient(ctx, id, now)
}

func (s clientsOwn) RevokeGrant(ctx context.Context, id, clientID string, now time.Time) error {
	return s.client.RevokeGrant(ctx, id, clientID, now)
}

// openStore opens the database of the settings.
func openStore(ctx context.Context, s *Settings) (store, error) {
	engine, source, err := s.engine()
	if err != nil {
		return nil, usageError{fmt.Errorf("database: %q: %w", s.Database, err)}
	}
	if engine == "sqlite" {
		db, err := sqlite.Open(ctx, source)
		if err != nil {
			return nil, fmt.Errorf("database %s: %w", s.Database, err)
		}
		return db, nil
	}
	db, err := postgres.Open(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", s.Database, err)
	}
	return db, nil
}

// mustExist refuses a SQLite database that is not there. Whoever looks into one
// does not make it: the settings are the wrong ones.
func (s *Settings) mustExist() error {
	engine, file, _ := s.engine() // openStore says what is wrong with it
	if engine != "sqlite" {
		return nil
	}
	if _, err := os.Stat(file); err != nil {
		if abs, err := filepath.Abs(file); err == nil {
			file = abs // the folder may be what is wrong
		}
		return noDatabase("sqlite:"+file, errors.Unwrap(err))
	}
	return nil
}

func noDatabase(database string, why error) error {
	return fmt.Errorf("database %s: %w; name the settings with --config, or make it: sealpost migrate up", database, why)
}

// openMigrated opens the database with its schema up to date. Where the
// settings leave that to the operator, a schema that is behind is an error; and
// so is, where an old database is wanted, none at all.
func openMigrated(ctx context.Context, s *Settings, old bool) (store, error) {
	db, err := openStore(ctx, s)
	if err != nil {
		return nil, err
	}
	if old {
		at, _, err := db.SchemaVersion(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("schema: %w", err), db.Close())
		}
		if at == 0 {
			return nil, errors.Join(noDatabase(s.Database.String(), errors.New("has no schema")), db.Close())
		}
	}
	if s.Migrate {
		err = db.Migrate(ctx)
	} else {
		_, _, err = schema(ctx, db)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("migrate: %w", err), db.Close())
	}
	return db, nil
}

// schema compares the schema with what this program wants; the error says that
// it is behind.
func schema(ctx context.Context, db store) (at, newest int64, err error) {
	if at, newest, err = db.SchemaVersion(ctx); err == nil && at < newest {
		err = errors.New("the schema is behind; run: sealpost migrate up")
	}
	return at, newest, err
}
