package migrations

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

func openPostgres(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func postgresSteps(steps ...string) fstest.MapFS {
	dir := fstest.MapFS{}
	for i, text := range steps {
		dir["postgres/000"+string(rune('1'+i))+"_step.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + text)}
	}
	return dir
}

// Statements that would pass a second time are the dangerous ones.
func TestPostgresMigrationTakesEffectOnce(t *testing.T) {
	url := postgrestest.New(t)
	steps := postgresSteps(
		"CREATE TABLE IF NOT EXISTS numbers (n bigint);\nINSERT INTO numbers VALUES (1);",
		"UPDATE numbers SET n = n * 2;",
		"-- +goose NO TRANSACTION\nUPDATE numbers SET n = n * 2;",
	)
	start := make(chan struct{})
	var all sync.WaitGroup
	for range 8 {
		db := openPostgres(t, url)
		all.Go(func() {
			<-start
			if err := postgresUp(t.Context(), db, steps); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	all.Wait()
	db := openPostgres(t, url)
	if rows, n := count(t, db, "SELECT count(*) FROM numbers"), count(t, db, "SELECT sum(n) FROM numbers"); rows != 1 || n != 4 {
		t.Errorf("got %d rows with %d, want 1 with 4", rows, n)
	}
}

func TestPostgresFailedMigrationLeavesNothing(t *testing.T) {
	db := openPostgres(t, postgrestest.New(t))
	for _, wrong := range []string{"INSERT INTO none VALUES (1);", "CREATE TABLE one (n bigint);"} {
		err := postgresUp(t.Context(), db, postgresSteps("CREATE TABLE one (n bigint);", "CREATE TABLE two (n bigint);\n"+wrong))
		if err == nil || !strings.Contains(err.Error(), "version:2") {
			t.Errorf("got error %v, want one that names the migration", err)
		}
		if at := count(t, db, postgresVersion); at != 1 {
			t.Errorf("at version %d, want 1", at)
		}
		if count(t, db, "SELECT count(*) FROM pg_tables WHERE tablename = 'two'") != 0 {
			t.Error("half of a migration is there")
		}
	}
}

func TestPostgresGoesForwardAlone(t *testing.T) {
	db := openPostgres(t, postgrestest.New(t))
	older, newer := postgresSteps("CREATE TABLE one (n bigint);"), postgresSteps("CREATE TABLE one (n bigint);", "CREATE TABLE two (n bigint);")
	for _, steps := range []fstest.MapFS{older, newer, older, newer} {
		if err := postgresUp(t.Context(), db, steps); err != nil {
			t.Fatal(err)
		}
	}
	if at := count(t, db, postgresVersion); at != 2 {
		t.Errorf("at version %d, want 2", at)
	}
}

// The lock of a program that is gone is free.
func TestPostgresLock(t *testing.T) {
	url := postgrestest.New(t)
	db, holder := openPostgres(t, url), openPostgres(t, url)
	for _, query := range []string{createPostgresLock, insertPostgresLock} {
		if _, err := holder.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	held, err := holder.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var id, pid int
	if err := held.QueryRowContext(t.Context(), takePostgresLock).Scan(&id); err != nil {
		t.Fatal(err)
	}
	if err := held.QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := Postgres(ctx, db); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want it to wait as long as it may", err)
	}
	if count(t, db, "SELECT count(*) FROM pg_tables WHERE tablename = 'users'") != 0 {
		t.Error("it migrated in spite of the lock")
	}

	if _, err := db.ExecContext(t.Context(), "SELECT pg_terminate_backend($1)", pid); err != nil {
		t.Fatal(err)
	}
	if err := Postgres(t.Context(), db); err != nil {
		t.Error(err)
	}
	if at, newest, err := PostgresVersion(t.Context(), db); err != nil || at != newest {
		t.Errorf("got %d of %d (error %v)", at, newest, err)
	}
}

func TestPostgresVersionChangesNothing(t *testing.T) {
	db := openPostgres(t, postgrestest.New(t))
	if at, newest, err := PostgresVersion(t.Context(), db); err != nil || at != 0 || newest < 1 {
		t.Errorf("got %d of %d (error %v)", at, newest, err)
	}
	if count(t, db, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") != 0 {
		t.Error("asking made a table")
	}
}
