package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
)

//go:embed postgres/*.sql
var postgresFiles embed.FS

// The lock is a row that one transaction holds while another connection
// migrates. Unlike an advisory lock it works through PgBouncer in transaction
// mode and on CockroachDB; unlike a lease it is free the moment its holder's
// connection is gone. Whoever finds it taken comes back later and does not wait
// in a transaction, for which a pooler may have no connection left.
const (
	createPostgresLock = `CREATE TABLE IF NOT EXISTS schema_lock (id bigint PRIMARY KEY CHECK (id = 1))`
	insertPostgresLock = `INSERT INTO schema_lock (id) VALUES (1) ON CONFLICT DO NOTHING`
	keepPostgresLock   = `SET LOCAL idle_in_transaction_session_timeout = 0`
	takePostgresLock   = `SELECT id FROM schema_lock WHERE id = 1 FOR UPDATE SKIP LOCKED`
	postgresVersion    = `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`
)

// Postgres brings a PostgreSQL database up to date. Any number of programs may
// do so at once: one migrates, over two connections of db, and the others come
// back until it is done or ctx ends.
func Postgres(ctx context.Context, db *sql.DB) error { return postgresUp(ctx, db, postgresFiles) }

func postgresUp(ctx context.Context, db *sql.DB, files fs.FS) error {
	p, err := postgresProvider(db, files)
	if err != nil {
		return err
	}
	for {
		at, newest, err := postgresVersions(ctx, db, p)
		if err != nil || at >= newest {
			return err
		}
		done, err := postgresUpLocked(ctx, db, p)
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10*time.Millisecond + rand.N(90*time.Millisecond)):
		}
	}
}

// postgresUpLocked migrates; done is false when another program came in
// between.
func postgresUpLocked(ctx context.Context, db *sql.DB, p *goose.Provider) (done bool, err error) {
	for _, query := range []string{createPostgresLock, insertPostgresLock} {
		if _, err := db.ExecContext(ctx, query); err != nil {
			// IF NOT EXISTS does not save whoever runs it at the same time: the table,
			// its type, or a row of the catalogues may be there first.
			return false, except(err, "23505", "42P07", "42710", "40001", "40P01")
		}
	}
	lock, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer lock.Rollback() // frees the lock
	if _, err := lock.ExecContext(ctx, keepPostgresLock); err != nil {
		return false, err
	}
	var id int
	if err := lock.QueryRowContext(ctx, takePostgresLock).Scan(&id); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			err = nil // it is taken
		}
		return false, err
	}
	if _, err := p.Up(ctx); err != nil {
		return false, except(err, "40001", "40P01") // given up for those that serve meanwhile
	}
	return true, nil
}

// except gives err, nil when it has one of the SQLSTATEs.
func except(err error, states ...string) error {
	if slices.Contains(states, sqlState(err)) {
		return nil
	}
	return err
}

// PostgresVersion gives the version that a PostgreSQL database is at, 0 when it
// is empty, and the newest one of this program. It changes nothing.
func PostgresVersion(ctx context.Context, db *sql.DB) (at, newest int64, err error) {
	p, err := postgresProvider(db, postgresFiles)
	if err != nil {
		return 0, 0, err
	}
	return postgresVersions(ctx, db, p)
}

func postgresVersions(ctx context.Context, db *sql.DB, p *goose.Provider) (at, newest int64, err error) {
	sources := p.ListSources()
	newest = sources[len(sources)-1].Version
	err = db.QueryRowContext(ctx, postgresVersion).Scan(&at)
	if sqlState(err) == "42P01" { // undefined_table: never migrated
		err = nil
	}
	return at, newest, err
}

func postgresProvider(db *sql.DB, files fs.FS) (*goose.Provider, error) {
	dir, err := fs.Sub(files, "postgres")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, dir, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
}

// sqlState gives the SQLSTATE of err, empty when it has none.
func sqlState(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
