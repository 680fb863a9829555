package migrations

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed sqlite/*.sql
var sqliteFiles embed.FS

// sqliteVersions makes goose's table of versions with one constraint more: when
// two processes run the same migration, the second fails to insert its version,
// and its whole transaction with it. goose finds the table there and makes none.
const sqliteVersions = `
CREATE TABLE IF NOT EXISTS goose_db_version (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    version_id INTEGER NOT NULL UNIQUE,
    is_applied INTEGER NOT NULL,
    tstamp     TIMESTAMP DEFAULT (datetime('now'))
);
INSERT OR IGNORE INTO goose_db_version (version_id, is_applied) VALUES (0, 1)`

// SQLite brings a SQLite database up to date. The transactions of db must begin
// IMMEDIATE and wait for those of other processes.
func SQLite(ctx context.Context, db *sql.DB) error { return sqliteUp(ctx, db, sqliteFiles) }

// SQLiteVersion gives the version that a SQLite database is at, 0 when it is
// empty, and the newest one of this program. It changes nothing.
func SQLiteVersion(ctx context.Context, db *sql.DB) (at, newest int64, err error) {
	p, err := sqliteProvider(db, sqliteFiles)
	if err != nil {
		return 0, 0, err
	}
	sources := p.ListSources()
	at, err = sqliteAt(ctx, db)
	return at, sources[len(sources)-1].Version, err
}

func sqliteUp(ctx context.Context, db *sql.DB, files fs.FS) error {
	p, err := sqliteProvider(db, files)
	if err != nil {
		return err
	}
	if err := sqlitePrepare(ctx, db); err != nil {
		return fmt.Errorf("table of versions: %w", err)
	}
	for {
		before, err := sqliteAt(ctx, db)
		if err != nil {
			return err
		}
		_, failed := p.Up(ctx)
		if failed == nil {
			return nil
		}
		// Another process may have been faster; then there is less left to do.
		if after, err := sqliteAt(ctx, db); err != nil || after == before {
			return failed
		}
	}
}

func sqliteProvider(db *sql.DB, files fs.FS) (*goose.Provider, error) {
	dir, err := fs.Sub(files, "sqlite")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, db, dir, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
}

func sqlitePrepare(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, sqliteVersions); err != nil {
		return err
	}
	return tx.Commit()
}

func sqliteAt(ctx context.Context, db *sql.DB) (version int64, err error) {
	var found bool
	err = db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'goose_db_version')`).Scan(&found)
	if err != nil || !found {
		return 0, err
	}
	err = db.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version`).Scan(&version)
	return version, err
}
