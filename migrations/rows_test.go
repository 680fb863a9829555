package migrations

import (
	"database/sql"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

// version1 writes one row into each table as programs of version 1 do. Where
// the engines differ, TIME and LIST stand for their values.
var version1 = map[string]string{
	"users": `INSERT INTO users (id, key, email, name, locale, groups, created_at, updated_at, last_login_at)
		VALUES ('user', 'ada@example.com', 'Ada@example.com', 'Ada', 'de', LIST, TIME, TIME, TIME)`,
	"attempts": `INSERT INTO attempts (id, txn, seq, browser, request, client_id, client_name, key, email, locale, agent, network, created_at, expires_at)
		VALUES ('attempt', 'txn', 1, 'browser', 'sealed', 'client', 'Client', 'ada@example.com', 'Ada@example.com', 'de', 'Firefox', '192.0.2.0/24', TIME, TIME)`,
	"mail":     `INSERT INTO mail (id, attempt_id, created_at, next_at, not_after, tries, updated_at) VALUES ('mail', 'attempt', TIME, TIME, TIME, 0, TIME)`,
	"limits":   `INSERT INTO limits (key, count, ends_at) VALUES ('address:a', 1, TIME)`,
	"sessions": `INSERT INTO sessions (id, user_id, auth_time, created_at, seen_at, expires_at, idle_at, browser, network) VALUES ('session', 'user', TIME, TIME, TIME, TIME, TIME, '', '')`,
	"grants": `INSERT INTO grants (id, client_id, user_id, session_id, scopes, auth_time, created_at, expires_at, refresh, refresh_idle_at, refresh_ends_at, offline)
		VALUES ('grant', 'client', 'user', 'session', LIST, TIME, TIME, TIME, 1, TIME, TIME, '0')`,
	"consents":     `INSERT INTO consents (user_id, client_id, scopes, at) VALUES ('user', 'client', LIST, TIME)`,
	"clients":      `INSERT INTO clients (id, metadata, created_at, updated_at) VALUES ('client', '{"client_name": "Client"}', TIME, TIME)`,
	"signing_keys": `INSERT INTO signing_keys (id, algorithm, generation, sealed, created_at, signs_at) VALUES ('key', 'RS256', 1, 'sealed', TIME, TIME)`,
}

// inOrder are the tables of version1, those that others refer to first.
var inOrder = strings.Fields("users attempts mail limits sessions grants consents clients signing_keys")

// carry checks that rows of version 1 are as they were on the newest schema, and
// that programs of version 1 still write there.
func carry(t *testing.T, old, newest *sql.DB, migrate func(db *sql.DB) error, value *strings.Replacer, columns, row string) {
	write := func(db *sql.DB) {
		for _, table := range inOrder {
			if _, err := db.ExecContext(t.Context(), value.Replace(version1[table])); err != nil {
				t.Fatalf("%s: %v", table, err)
			}
		}
	}
	write(old)
	read := map[string]string{} // queries of the columns of version 1
	for _, table := range inOrder {
		var list string
		if err := old.QueryRowContext(t.Context(), columns, table).Scan(&list); err != nil {
			t.Fatal(err)
		}
		read[table] = fmt.Sprintf(row, list, table)
	}
	rows := func(db *sql.DB) (all []string) {
		for _, table := range inOrder {
			var row string
			if err := db.QueryRowContext(t.Context(), read[table]).Scan(&row); err != nil {
				t.Fatalf("%s: %v", table, err)
			}
			all = append(all, table+": "+row)
		}
		return all
	}
	before := strings.Join(rows(old), "\n")
	for _, db := range []*sql.DB{old, newest} {
		if err := migrate(db); err != nil {
			t.Fatal(err)
		}
	}
	write(newest)
	for name, db := range map[string]*sql.DB{"carried": old, "written by version 1": newest} {
		if after := strings.Join(rows(db), "\n"); after != before {
			t.Errorf("%s:\n got %s\nwant %s", name, after, before)
		}
		if n := count(t, db, value.Replace("SELECT count(*) FROM grants WHERE refreshed_at IS NULL AND jkt = '' AND resources = NONE AND claims = ''")); n != 1 {
			t.Errorf("%s: the grant has values that nobody gave it", name)
		}
	}
}

// first is the first migration alone.
func first(t *testing.T, files fs.FS, engine string) fstest.MapFS {
	t.Helper()
	found, err := fs.Glob(files, path.Join(engine, "0001_*.sql"))
	if err != nil || len(found) != 1 {
		t.Fatalf("found %q, %v", found, err)
	}
	text, err := fs.ReadFile(files, found[0])
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{found[0]: &fstest.MapFile{Data: text}}
}

func TestSQLiteCarriesRows(t *testing.T) {
	old, newest := openSQLite(t, filepath.Join(t.TempDir(), "old.db")), openSQLite(t, filepath.Join(t.TempDir(), "newest.db"))
	if err := sqliteUp(t.Context(), old, first(t, sqliteFiles, "sqlite")); err != nil {
		t.Fatal(err)
	}
	carry(t, old, newest, func(db *sql.DB) error { return SQLite(t.Context(), db) },
		strings.NewReplacer("TIME", "1900000000000000", "LIST", `'["one"]'`, "NONE", `'[]'`, "'sealed', TIME", "x'00ff', 1900000000000000"),
		`SELECT group_concat('quote(' || name || ')', ' || '', '' || ') FROM pragma_table_info(?1)`, `SELECT %s FROM %s`)
}

func TestPostgresCarriesRows(t *testing.T) {
	old, newest := openPostgres(t, postgrestest.New(t)), openPostgres(t, postgrestest.New(t))
	if err := postgresUp(t.Context(), old, first(t, postgresFiles, "postgres")); err != nil {
		t.Fatal(err)
	}
	carry(t, old, newest, func(db *sql.DB) error { return Postgres(t.Context(), db) },
		strings.NewReplacer("TIME", "'2030-03-04 05:06:07.891234Z'", "LIST", `'{one}'`, "NONE", `'{}'`),
		`SELECT string_agg(column_name, ', ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_name = $1 AND table_schema = 'public'`,
		`SELECT ROW(%s)::text FROM %s`)
}
