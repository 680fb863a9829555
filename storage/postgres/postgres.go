// Package postgres keeps Sealpost's records in PostgreSQL, for any number of
// replicas on one database.
//
// Each method is one round trip and at most one commit: a single statement, or
// statements sent together between BEGIN and COMMIT. (A connection that nobody
// used for a second is asked first whether it still lives.) Nothing outlives a
// transaction on the server, so that PgBouncer in transaction mode may stand in
// between, and nothing is asked of the server that CockroachDB or YugabyteDB
// do not have: no LISTEN, advisory lock, trigger or superuser right, no sequence
// but that of an identity column, and no table changed by two parts of one
// statement.
//
// A transaction that the server gave up for the sake of another (SQLSTATE 40001
// and 40P01) is tried again, at any isolation level the database is set to.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sealpost/sealpost/migrations"
	"github.com/sealpost/sealpost/storage"
)

const (
	// queryTimeout bounds a statement with the wait for its connection, unless
	// the caller's deadline comes first. It is kept on this side: PgBouncer
	// refuses statement_timeout at connect. A request whose database has fallen
	// silent is answered in less than its listener gives it (30 seconds).
	queryTimeout = 10 * time.Second
	// pingTimeout bounds the question whether an idle connection still lives.
	pingTimeout = 2 * time.Second
	// connectTimeout is the default of connect_timeout.
	connectTimeout = 5 * time.Second
	// maxTries bounds how often one transaction is tried. With the waits
	// between them it gives up after about a second.
	maxTries = 20
	// firstWait is the longest wait before the second try; it doubles with each
	// try up to lastWait.
	firstWait = 2 * time.Millisecond
	lastWait  = 100 * time.Millisecond
)

// DB is a PostgreSQL database. Its methods may be called at the same time.
//
// A call whose context ends while it waits for a connection does nothing. Once
// the statement is on its way the call sees it through, cancelled or not, until
// its deadline or for 10 seconds: so its outcome is known, and the connection
// stays good although a browser went away.
type DB struct {
	pool  *pgxpool.Pool
	actor string // of the events
}

// Open connects to the database of a postgres:// URL. Besides the parameters of
// libpq it takes those of pgxpool (pool_max_conns and so on; by default 4
// connections or one per CPU) and default_query_exec_mode. No error tells the
// password.
//
// Statements are prepared once per connection (cache_statement), which saves
// the server more than half of its work, but only on connections that lead to
// the server itself: behind a pooler such as PgBouncer the next statement may
// find another session, and they are then planned each time (cache_describe). A
// pooler that keeps prepared statements, as PgBouncer 1.21 can, is worth saying
// so with default_query_exec_mode=cache_statement.
func Open(ctx context.Context, url string) (*DB, error) {
	config, chosen, err := parse(url)
	if err != nil {
		return nil, err
	}
	direct, err := probe(ctx, config.ConnConfig)
	if err != nil {
		return nil, err
	}
	if !chosen && !direct {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return &DB{pool: pool}, nil
}

// parse also says whether the URL chose how queries are executed.
func parse(source string) (config *pgxpool.Config, chosen bool, err error) {
	// Only of a URL with certain borders can the text of an error leave the
	// password out, and an unescaped / or ? in the password makes it a path.
	u, err := url.Parse(source)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || strings.Contains(u.Path, "@") {
		return nil, false, errors.New("not a URL: write postgres://user:password@host:5432/database, with / ? # @ : % in the password as %2F %3F %23 %40 %3A %25")
	}
	if config, err = pgxpool.ParseConfig(source); err != nil {
		return nil, false, err
	}
	c := config.ConnConfig
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	if config.PingTimeout == 0 {
		config.PingTimeout = pingTimeout
	}
	if config.MaxConnLifetimeJitter == 0 {
		config.MaxConnLifetimeJitter = config.MaxConnLifetime / 10
	}
	if _, ok := c.RuntimeParams["application_name"]; !ok {
		c.RuntimeParams["application_name"] = "sealpost"
	}
	return config, u.Query().Has("default_query_exec_mode"), nil
}

// probe connects once and says whether the connection leads to the server
// itself: a pooler makes its own process number up, since what it names may
// change with each transaction.
func probe(ctx context.Context, config *pgx.ConnConfig) (direct bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false, err
	}
	var pid int64
	err = conn.QueryRow(ctx, `SELECT pg_backend_pid()`, pgx.QueryExecModeExec).Scan(&pid)
	return uint32(pid) == conn.PgConn().PID(), errors.Join(err, conn.Close(ctx))
}

// Close closes all connections, once the calls that use them are done.
func (db *DB) Close() error {
	db.pool.Close()
	return nil
}

// Ping asks whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	return db.call(ctx, "ping", func(ctx context.Context, c *pgxpool.Conn) error { return c.Ping(ctx) })
}

// Clock gives the server's time, for comparison: nothing is decided by it.
func (db *DB) Clock(ctx context.Context) (now time.Time, err error) {
	err = db.get(ctx, "clock", []any{&now}, `SELECT clock_timestamp()`)
	return now, err
}

// Migrate brings the schema up to date, as long as ctx allows. Any number of
// replicas may do it at once; the one that migrates holds two connections, which
// a pooler in between must have to give. On a schema newer than this program's
// it does nothing.
func (db *DB) Migrate(ctx context.Context) error {
	pool := db.forMigrations()
	return errors.Join(migrations.Postgres(ctx, pool), pool.Close())
}

// SchemaVersion gives the migration that the database is at, 0 when it has no
// schema, and the newest one of this program. It changes nothing.
func (db *DB) SchemaVersion(ctx context.Context) (at, newest int64, err error) {
	pool := db.forMigrations()
	at, newest, err = migrations.PostgresVersion(ctx, pool)
	return at, newest, errors.Join(err, pool.Close())
}

// forMigrations gives connections beside the pool, which may be as small as
// one; migrating takes two.
func (db *DB) forMigrations() *sql.DB { return stdlib.OpenDB(*db.pool.Config().ConnConfig) }

// call runs f on a connection, again when the server asked for that. The
// context of f has the deadline of ctx but is not cancelled with it.
func (db *DB) call(ctx context.Context, what string, f func(ctx context.Context, c *pgxpool.Conn) error) (err error) {
	ctx, end := traced(ctx, what)
	defer func() { end(err) }()
	for try := 1; ; try++ {
		err := db.try(ctx, f)
		if err == nil {
			return nil
		}
		if try == maxTries || !transient(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w after %w", what, ctx.Err(), err)
		case <-time.After(rand.N(min(firstWait<<(try-1), lastWait))):
		}
	}
}

func (db *DB) try(ctx context.Context, f func(ctx context.Context, c *pgxpool.Conn) error) error {
	bounded, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	conn, err := db.pool.Acquire(bounded)
	if err != nil {
		return err
	}
	defer conn.Release()
	deadline, _ := bounded.Deadline()
	running, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	err = f(running, conn)
	if conn.Conn().IsClosed() {
		db.pool.Reset() // what has ended this connection has ended the others, and nobody may have been told
	}
	return err
}

// transient says whether the same transaction may succeed when tried again.
func transient(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return true
	case "23505": // unique_violation: another attempt of the Txn came in between
		return e.ConstraintName == "attempts_txn_seq"
	}
	return false
}

// exec runs one statement and gives how many rows it changed.
func (db *DB) exec(ctx context.Context, what, query string, args ...any) (n int64, err error) {
	err = db.call(ctx, what, func(ctx context.Context, c *pgxpool.Conn) error {
		tag, err := c.Exec(ctx, query, args...)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}

// get runs one statement and scans its row: storage.ErrNotFound without one.
func (db *DB) get(ctx context.Context, what string, dest []any, query string, args ...any) error {
	return db.call(ctx, what, func(ctx context.Context, c *pgxpool.Conn) error {
		err := c.QueryRow(ctx, query, args...).Scan(dest...)
		if errors.Is(err, pgx.ErrNoRows) {
			return storage.ErrNotFound
		}
		return err
	})
}

// list runs one statement and scans its rows into what fields points to.
func list[T any](ctx context.Context, db *DB, what string, fields func(*T) []any, query string, args ...any) (all []T, err error) {
	err = db.call(ctx, what, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t T, err error) {
			return t, row.Scan(fields(&t)...)
		})
		return err
	})
	return all, err
}

// transaction sends what fill queues in one round trip, between BEGIN and
// COMMIT: some poolers and databases do not take a batch for a transaction.
// fill is called for each try.
func (db *DB) transaction(ctx context.Context, what string, fill func(b *pgx.Batch)) error {
	return db.call(ctx, what, func(ctx context.Context, c *pgxpool.Conn) error {
		b := &pgx.Batch{}
		b.Queue("BEGIN")
		fill(b)
		b.Queue("COMMIT")
		err := c.SendBatch(ctx, b).Close()
		if err != nil && c.Conn().PgConn().TxStatus() == 'E' {
			_, rollbackErr := c.Exec(ctx, "ROLLBACK") // or the pool would drop the connection
			err = errors.Join(err, rollbackErr)
		}
		return err
	})
}

// at gives the argument for a time: to the microsecond, NULL when it is zero.
func at(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: micro(t), Valid: !t.IsZero()}
}

func micro(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// stamp scans a time: UTC, zero when it is NULL.
type stamp struct{ t *time.Time }

func (s stamp) ScanTimestamptz(v pgtype.Timestamptz) error {
	*s.t = time.Time{}
	if v.Valid {
		*s.t = v.Time.UTC()
	}
	return nil
}

// text scans a text that is empty when it is NULL.
type text struct{ s *string }

func (t text) ScanText(v pgtype.Text) error {
	*t.s = v.String
	return nil
}

// words scans a list that is nil when it is empty.
type words struct{ list *[]string }

func (w words) SetDimensions(dims []pgtype.ArrayDimension) error {
	*w.list = nil
	if len(dims) > 0 {
		*w.list = make([]string, dims[0].Length)
	}
	return nil
}

func (w words) ScanIndex(i int) any { return &(*w.list)[i] }

func (w words) ScanIndexType() any { return new(string) }

// texts gives the argument for a list: empty, never NULL.
func texts(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// micros scans a duration in microseconds.
type micros struct{ d *time.Duration }

func (m micros) ScanInt64(v pgtype.Int8) error {
	*m.d = time.Duration(v.Int64) * time.Microsecond
	return nil
}
