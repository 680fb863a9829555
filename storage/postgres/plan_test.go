package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

// small tables are the operator's, and read whole.
var small = []string{"clients", "signing_keys", "goose_db_version", "schema_lock"}

// What grows with the people is read by an index, by every call, as the planner
// finds when there are thousands of rows of each kind: no call takes longer the
// more there are.
func TestNoCallReadsAWholeTable(t *testing.T) {
	url := postgrestest.New(t)
	busy := url + "&application_name=busy" // scans waits for its connections, which tell what they read when they end
	calls := func(name string, call func() error) {
		if name != "RemoveClient" && name != "UsersWithApps" { // an operator's, once in a while: all that is a client's
			must(t)(name, call)
		}
	}
	db := open(t, busy)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	everyCall(t.Context(), db, 1, calls)
	must(t)("Close", db.Close)
	filling := connect(t, busy)
	run(t, filling, `INSERT INTO bounces (key, email, detail, count, at) VALUES ('ada@example.com', 'ada@example.com', '550', 1, $1)`, t0)
	multiply(t, filling, 3000)
	run(t, filling, `ANALYZE`)
	must(t)("Close", func() error { return filling.Close(t.Context()) })

	admin := connect(t, url)
	before := scans(t, admin, url)
	db = open(t, busy)
	everyCall(t.Context(), db, 2, calls)
	must(t)("Close", db.Close)
	seen := 0
	for table, after := range scans(t, admin, url) {
		if slices.Contains(small, table) {
			continue
		}
		seen++
		if n := after.whole - before[table].whole; n != 0 {
			t.Errorf("%s was read whole %d times", table, n)
		}
		if table != "bounces" && after.indexed == before[table].indexed {
			t.Errorf("%s was never read", table)
		}
	}
	if seen < 13 {
		t.Errorf("%d tables were looked at", seen)
	}
}

// multiply writes n more rows for each that is there, which differ in what is
// indexed and in time.
func multiply(t *testing.T, conn *pgx.Conn, n int) {
	t.Helper()
	rows, err := conn.Query(t.Context(), `
		SELECT c.relname, array_agg(quote_ident(a.attname) ORDER BY a.attnum), array_agg(CASE
			WHEN a.atttypid = 'timestamptz'::regtype THEN format('%I + n * interval ''1 s''', a.attname)
			WHEN a.atttypid = 'text'::regtype AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey))
				THEN format('CASE WHEN %1$I <> '''' THEN %1$I || ''-'' || n ELSE '''' END', a.attname)
			ELSE quote_ident(a.attname) END ORDER BY a.attnum)
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity = ''
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> ALL ($1)
		GROUP BY c.oid ORDER BY c.oid`, small)
	if err != nil {
		t.Fatal(err)
	}
	type table struct {
		name         string
		columns, new []string
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t table, err error) {
		return t, row.Scan(&t.name, &t.columns, &t.new)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		run(t, conn, fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s FROM %[1]s, generate_series(1, %[4]d) n`,
			table.name, strings.Join(table.columns, ", "), strings.Join(table.new, ", "), n))
	}
}

type reads struct{ whole, indexed int64 }

// scans tells how often tables were read, when connections that call themselves
// busy have ended and told.
func scans(t *testing.T, conn *pgx.Conn, url string) map[string]reads {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		var busy int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'busy'`).Scan(&busy); err != nil {
			t.Fatal(err)
		}
		if busy == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a connection stays open")
		}
	}
	rows, err := connect(t, url).Query(t.Context(), `SELECT relname, seq_scan, coalesce(idx_scan, 0) FROM pg_stat_user_tables`)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]reads{}
	var table string
	var r reads
	if _, err := pgx.ForEachRow(rows, []any{&table, &r.whole, &r.indexed}, func() error { all[table] = r; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}
