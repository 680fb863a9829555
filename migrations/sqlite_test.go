package migrations

import (
	"database/sql"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	_ "modernc.org/sqlite"
)

// openSQLite opens a database as the engine does.
func openSQLite(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_busy_timeout=10000&_journal_mode=WAL")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	if err := db.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func files(migrations ...string) fstest.MapFS {
	dir := fstest.MapFS{}
	for i, text := range migrations {
		dir["sqlite/000"+string(rune('1'+i))+"_step.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + text)}
	}
	return dir
}

func count(t *testing.T, db *sql.DB, query string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Statements that would pass a second time are the dangerous ones.
func TestSQLiteMigrationTakesEffectOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	steps := files(
		"CREATE TABLE IF NOT EXISTS numbers (n INTEGER);\nINSERT INTO numbers VALUES (1);",
		"UPDATE numbers SET n = n * 2;",
		"UPDATE numbers SET n = n * 2;",
	)
	start := make(chan struct{})
	var all sync.WaitGroup
	for range 8 {
		db := openSQLite(t, path)
		all.Go(func() {
			<-start
			if err := sqliteUp(t.Context(), db, steps); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	all.Wait()
	db := openSQLite(t, path)
	if rows, n := count(t, db, "SELECT count(*) FROM numbers"), count(t, db, "SELECT sum(n) FROM numbers"); rows != 1 || n != 4 {
		t.Errorf("got %d rows with %d, want 1 with 4", rows, n)
	}
}

func TestSQLiteFailedMigrationLeavesNothing(t *testing.T) {
	db := openSQLite(t, filepath.Join(t.TempDir(), "test.db"))
	err := sqliteUp(t.Context(), db, files("CREATE TABLE one (n INTEGER);", "CREATE TABLE two (n INTEGER);\nINSERT INTO none VALUES (1);"))
	if err == nil || !strings.Contains(err.Error(), "version:2") {
		t.Errorf("got error %v, want one that names the migration", err)
	}
	if at, err := sqliteAt(t.Context(), db); err != nil || at != 1 {
		t.Errorf("at version %d (error %v), want 1", at, err)
	}
	if count(t, db, "SELECT count(*) FROM sqlite_schema WHERE name = 'two'") != 0 {
		t.Error("half of a migration is there")
	}
}

func TestSQLiteGoesForwardAlone(t *testing.T) {
	db := openSQLite(t, filepath.Join(t.TempDir(), "test.db"))
	older, newer := files("CREATE TABLE one (n INTEGER);"), files("CREATE TABLE one (n INTEGER);", "CREATE TABLE two (n INTEGER);")
	for _, steps := range []fstest.MapFS{older, newer, older, newer} {
		if err := sqliteUp(t.Context(), db, steps); err != nil {
			t.Fatal(err)
		}
	}
	if at, err := sqliteAt(t.Context(), db); err != nil || at != 2 {
		t.Errorf("at version %d (error %v), want 2", at, err)
	}
}

func TestSQLiteVersionChangesNothing(t *testing.T) {
	db := openSQLite(t, filepath.Join(t.TempDir(), "test.db"))
	if at, newest, err := SQLiteVersion(t.Context(), db); err != nil || at != 0 || newest < 1 {
		t.Errorf("got %d of %d (error %v)", at, newest, err)
	}
	if count(t, db, "SELECT count(*) FROM sqlite_schema") != 0 {
		t.Error("asking made a table")
	}
	if err := SQLite(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if at, newest, err := SQLiteVersion(t.Context(), db); err != nil || at != newest {
		t.Errorf("got %d of %d (error %v)", at, newest, err)
	}
}
