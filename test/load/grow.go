package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// seeds are how many people really sign in. The rows that this leaves are copied
// until there are as many as wanted.
const seeds = 100

// runGrow measures the same steps with more and more people in the database.
func runGrow(args []string) (err error) {
	var o options
	var engine, sizes string
	flags := flag.NewFlagSet("grow", flag.ExitOnError)
	flags.StringVar(&o.binary, "binary", "../../bin/sealpost", "the binary of Sealpost")
	flags.StringVar(&engine, "engine", "sqlite", "sqlite or postgres")
	flags.StringVar(&sizes, "people", "10000,100000,1000000", "how many people, each time")
	flags.DurationVar(&o.lasts, "for", 5*time.Second, "how long each step is measured")
	flags.IntVar(&o.workers, "workers", 4, "people at once")
	flags.StringVar(&o.alg, "alg", "ES256", "of ID tokens")
	_ = flags.Parse(args)
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp("", "sealpost-grow-"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	if err := os.Chmod(o.dir, 0o755); err != nil { // PostgreSQL runs as somebody else
		return err
	}
	database, driver, source := "sqlite:"+filepath.Join(o.dir, "grow.db"), "sqlite", "file:"+filepath.Join(o.dir, "grow.db")+"?_pragma=busy_timeout(60000)&_pragma=cache_size(-1000000)&_pragma=synchronous(0)"
	if engine == "postgres" {
		// As much memory as indexes of millions of rows ask for, and fewer checkpoints while they are made.
		pg, err := startPostgres(o.dir, "shared_buffers=1GB", "max_wal_size=8GB")
		if err != nil {
			return err
		}
		defer pg.stop()
		if database, err = pg.database("grow"); err != nil {
			return err
		}
		driver, source = "pgx", database
	}
	mail, err := openMailbox()
	if err != nil {
		return err
	}
	server, err := startSealpost(o, o.dir, database, mail, "off")
	if err != nil {
		return err
	}
	defer server.stop()
	s := newSide(server, mail, o.workers)
	if err := s.prepare(); err != nil {
		return err
	}
	for range seeds - o.workers {
		if _, err := s.app.login(newBrowser(server.url)); err != nil {
			return err
		}
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	copies, err := newCopies(db, engine)
	if err != nil {
		return err
	}
	names := []string{"login", "silent", "refresh", "userinfo"}
	fmt.Printf("%s, %s, %d people at once; half of the steps within, and 99 of 100\n\n%10s", time.Now().Format(time.DateOnly), engine, o.workers, "people")
	for _, name := range names {
		fmt.Printf("  %-22s", name)
	}
	fmt.Println()
	for size := range strings.SplitSeq(sizes, ",") {
		people, err := strconv.Atoi(size)
		if err != nil {
			return fmt.Errorf("-people: %w", err)
		}
		if err := copies.upTo(people); err != nil {
			return err
		}
		fmt.Printf("%10d", people)
		for _, name := range names {
			t, err := s.turn(o, steps[name])
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fmt.Printf("  %-22s", percentile(t.took, .5).Round(10*time.Microsecond).String()+", "+percentile(t.took, .99).Round(100*time.Microsecond).String())
		}
		fmt.Println()
	}
	return nil
}

// copies makes rows like those that are there.
type copies struct {
	db    *sql.DB
	into  []string // statements, of a first and a last number
	there int      // numbers
}

// scattered are the columns that tell rows apart. A copy has the letters of the
// first turned around, so that it stands anywhere in an index, and a number.
var scattered = []string{"id", "key", "txn", "user_id", "session_id", "attempt_id"}

func newCopies(db *sql.DB, engine string) (*copies, error) {
	c := &copies{db: db}
	for _, table := range []string{"users", "sessions", "session_clients", "attempts", "mail", "grants", "events"} {
		if _, err := db.Exec("CREATE TABLE seed_" + table + " AS SELECT * FROM " + table); err != nil {
			return nil, err
		}
		var list string // of what is written and not made by the database
		query := "SELECT group_concat(name) FROM pragma_table_info('" + table + "') WHERE name <> 'seq'"
		if engine == "postgres" {
			query = "SELECT string_agg(attname, ',') FROM pg_attribute WHERE attrelid = '" + table + "'::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = ''"
		}
		if err := db.QueryRow(query).Scan(&list); err != nil {
			return nil, err
		}
		columns := strings.Split(list, ",")
		values := slices.Clone(columns)
		for i, name := range columns {
			if slices.Contains(scattered, name) {
				values[i] = fmt.Sprintf("CASE %[1]s WHEN '' THEN '' ELSE substr(%[1]s, 1 + n %% length(%[1]s)) || substr(%[1]s, 1, n %% length(%[1]s)) || '-' || n END", name)
			}
		}
		c.into = append(c.into, "INSERT INTO "+table+" ("+strings.Join(columns, ", ")+")\nWITH RECURSIVE g(n) AS (SELECT %d UNION ALL SELECT n + 1 FROM g WHERE n < %d)\n"+
			"SELECT "+strings.ReplaceAll(strings.Join(values, ", "), "%", "%%")+" FROM seed_"+table+", g")
	}
	return c, nil
}

// upTo makes copies until there are so many people.
func (c *copies) upTo(people int) error {
	const atOnce = 200
	for until := people/seeds - 1; c.there < until; {
		last := min(c.there+atOnce, until)
		tx, err := c.db.BeginTx(context.Background(), nil)
		if err != nil {
			return err
		}
		for _, statement := range c.into {
			if _, err := tx.Exec(fmt.Sprintf(statement, c.there+1, last)); err != nil {
				_ = tx.Rollback()
				return fmt.Errorf("%s: %w", strings.SplitN(statement, " (", 2)[0], err)
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		c.there = last
	}
	_, err := c.db.Exec("ANALYZE")
	return err
}
