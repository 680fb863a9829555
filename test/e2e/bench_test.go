package e2e

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sealpost/sealpost/test/world"
)

// BenchmarkUser signs people in, each once at one application, and tells what
// the database holds for each of them: rows, and bytes on disk, indexes
// included. docs/scaling.md has the numbers.
func BenchmarkUser(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		b.Run(engine, func(b *testing.B) {
			w := world.New(b, engine)
			w.Start(map[string]any{"limits": map[string]any{"per_network": "off", "per_address": "off"}})
			before, rowsBefore := held(b, w)
			for b.Loop() {
				browser, login := w.Browser(world.Firefox), w.App.Begin()
				_, letter := browser.Ask(login, w.Person("User"))
				login.Finish(browser.Submit(browser.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
			}
			b.StopTimer()
			after, rowsAfter := held(b, w)
			b.ReportMetric(float64(after-before)/float64(b.N), "B/user")
			for table, n := range rowsAfter {
				if n -= rowsBefore[table]; n > 0 {
					b.ReportMetric(float64(n)/float64(b.N), table+"/user")
				}
			}
		})
	}
}

// held gives the size of the database in bytes, and the rows of each table.
func held(b *testing.B, w *world.World) (bytes int64, rows map[string]int64) {
	b.Helper()
	rows = map[string]int64{}
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	count := func(names []string, row func(query string) interface{ Scan(...any) error }) {
		for _, name := range names {
			var n int64
			check(row(fmt.Sprintf(`SELECT count(*) FROM %q`, name)).Scan(&n))
			rows[name] = n
		}
	}
	if file, ok := strings.CutPrefix(w.Database, "sqlite:"); ok {
		db, err := sql.Open("sqlite", "file:"+file)
		check(err)
		defer db.Close()
		_, err = db.Exec(`PRAGMA wal_checkpoint(PASSIVE)`)
		check(err)
		var names string
		check(db.QueryRow(`SELECT group_concat(name) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'`).Scan(&names))
		count(strings.Split(names, ","), func(query string) interface{ Scan(...any) error } { return db.QueryRow(query) })
		info, err := os.Stat(file)
		check(err)
		return info.Size(), rows
	}
	db, err := pgx.Connect(b.Context(), w.Database)
	check(err)
	defer db.Close(b.Context())
	_, err = db.Exec(b.Context(), `VACUUM`)
	check(err)
	var names []string
	check(db.QueryRow(b.Context(), `SELECT array_agg(tablename::text) FROM pg_tables WHERE schemaname = 'public'`).Scan(&names))
	count(names, func(query string) interface{ Scan(...any) error } { return db.QueryRow(b.Context(), query) })
	check(db.QueryRow(b.Context(), `SELECT sum(pg_total_relation_size(format('%I', tablename)))::bigint FROM pg_tables WHERE schemaname = 'public'`).Scan(&bytes))
	return bytes, rows
}
