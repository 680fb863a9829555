// Package sqlite keeps Sealpost's records in one SQLite file, for one machine.
// What the engine guarantees is said in package storage, what each method does
// where its consumer declares it; storagetest proves both.
//
// The file is in WAL mode: readers and the writer do not wait for each other.
// All writes go through one connection, in transactions that take the write lock
// first, so that no two work on the same rows; those that wait for each other
// share a commit. Every read is one
// statement, on one of several connections that cannot write. Other processes
// may use the file at the same time, such as the command line beside the
// server; writers wait for each other. It must be on a local disk.
//
// A commit is on disk before it is acknowledged (synchronous = FULL). With
// NORMAL it would survive the end of the process, but a power failure could take
// the last commits back: links that were used would be good again, and so would
// revoked tokens. The price is one flush of the disk for each commit.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/sealpost/sealpost/migrations"
	"github.com/sealpost/sealpost/storage"
)

// busyTimeout is how long a write waits for another process to finish its own.
const busyTimeout = 10 * time.Second

// DB is an open database. It is safe for concurrent use.
type DB struct {
	file   string
	writer *pool // one connection
	reader *pool
	queue  *queue // of writes
	actor  string // of the events
}

// Open opens the database in the file called source and creates it, for the
// owner's eyes only, when there is none. The schema is Migrate's business.
func Open(ctx context.Context, source string) (*DB, error) {
	if source == "" || strings.HasPrefix(source, ":memory:") {
		return nil, errors.New("name a file; a database in memory would be lost")
	}
	if strings.ContainsAny(source, "?\x00") {
		return nil, fmt.Errorf("%q: a file's name alone is wanted; options are not for setting", source)
	}
	path, err := filepath.Abs(source)
	if err != nil {
		return nil, err
	}
	if err := create(path); err != nil {
		return nil, err
	}
	db := &DB{file: path, queue: newQueue()}
	if db.writer, err = newPool(path, 1, "_txlock", "immediate", "_journal_mode", "WAL", "_synchronous", "FULL", "_foreign_keys", "1"); err != nil {
		return nil, err
	}
	if db.reader, err = newPool(path, max(4, runtime.NumCPU()), "_query_only", "1"); err != nil {
		return nil, errors.Join(err, db.writer.Close())
	}
	if err := db.connect(ctx); err != nil {
		return nil, errors.Join(unusable(path, err), db.Close())
	}
	return db, nil
}

// connect makes the first connections, the writer's first: it turns WAL on, for
// whoever opens the file. While another process does that, or is the last to
// leave the file, SQLite answers SQLITE_BUSY at once, whatever the timeout; so
// it is asked again.
func (db *DB) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for {
		err := db.writer.PingContext(ctx)
		if err == nil {
			err = db.Ping(ctx)
		}
		if !isCode(err, sqlite3.SQLITE_BUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// creating is held while create has a file open: closing any descriptor of a
// file drops all locks that the process has on it (POSIX advisory locks).
var creating sync.Mutex

// create makes the file when there is none. SQLite gives the files beside it
// the same permissions.
func create(path string) error {
	creating.Lock()
	defer creating.Unlock()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// unusable says why a file cannot serve.
func unusable(path string, err error) error {
	if info, statErr := os.Stat(path); statErr == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if isCode(err, sqlite3.SQLITE_NOTADB) || isCode(err, sqlite3.SQLITE_CORRUPT) {
		return fmt.Errorf("%s is not a sound SQLite database: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// Migrate brings the schema up to date.
func (db *DB) Migrate(ctx context.Context) error { return migrations.SQLite(ctx, db.writer.DB) }

// SchemaVersion gives the migration the database is at, 0 when it is empty, and
// the newest one of this program.
func (db *DB) SchemaVersion(ctx context.Context) (at, newest int64, err error) {
	return migrations.SQLiteVersion(ctx, db.reader.DB)
}

// Ping asks whether the database can be read.
func (db *DB) Ping(ctx context.Context) error {
	var tables int
	return db.reader.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&tables)
}

// Close ends all connections. The last to leave a file writes the log back
// into it.
func (db *DB) Close() error { return errors.Join(db.reader.Close(), db.writer.Close()) }

// pool is a set of like connections with the statements prepared on them:
// compiling a query takes longer than running it.
type pool struct {
	*sql.DB
	prepared sync.Map // query: *sql.Stmt
}

// prepare gives a query that stays prepared. It takes a connection.
func (p *pool) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := p.prepared.Load(query); ok {
		return s.(*sql.Stmt), nil
	}
	s, err := p.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if first, ok := p.prepared.LoadOrStore(query, s); ok {
		return first.(*sql.Stmt), s.Close()
	}
	return s, nil
}

func newPool(path string, size int, options ...string) (*pool, error) {
	// mode=rw: a file that is gone is an error, not a new database.
	query := url.Values{"mode": {"rw"}, "_busy_timeout": {fmt.Sprint(busyTimeout.Milliseconds())}, "_defensive": {"1"}, "_dqs": {"0"}, "_error_rc": {"1"}}
	for i := 0; i < len(options); i += 2 {
		query.Set(options[i], options[i+1])
	}
	name := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(path), "/"), RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return &pool{DB: db}, nil
}

// args are the values of a query's ?1, ?2, … By custom ?1 is the time of the
// call, where a query has one.
type args []any

// get reads one row into fields: storage.ErrNotFound when there is none.
func (db *DB) get(ctx context.Context, query string, values args, fields ...any) error {
	s, err := db.reader.prepare(ctx, query)
	if err != nil {
		return err
	}
	return known(s.QueryRowContext(ctx, values...).Scan(fields...))
}

// tx is a transaction that writes.
type tx struct {
	ctx      context.Context
	tx       *sql.Tx
	pool     *pool
	actor    string   // of the events
	unstored []string // queries met for the first time
}

// stmt gives a query prepared for this transaction.
func (t *tx) stmt(query string) (*sql.Stmt, error) {
	if s, ok := t.pool.prepared.Load(query); ok {
		return t.tx.StmtContext(t.ctx, s.(*sql.Stmt)), nil
	}
	t.unstored = append(t.unstored, query)
	return t.tx.PrepareContext(t.ctx, query)
}

// get reads one row into fields: storage.ErrNotFound when there is none.
func (t *tx) get(query string, values args, fields ...any) error {
	s, err := t.stmt(query)
	if err != nil {
		return err
	}
	return known(s.QueryRowContext(t.ctx, values...).Scan(fields...))
}

func (t *tx) query(query string, values ...any) (*sql.Rows, error) {
	s, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(t.ctx, values...)
}

// exec runs a query and gives how many rows it changed.
func (t *tx) exec(query string, values ...any) (int, error) {
	s, err := t.stmt(query)
	if err != nil {
		return 0, err
	}
	result, err := s.ExecContext(t.ctx, values...)
	if err != nil {
		return 0, known(err)
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// one runs a query that changes one row: storage.ErrNotFound when it changes
// none.
func (t *tx) one(query string, values ...any) error {
	n, err := t.exec(query, values...)
	if err == nil && n == 0 {
		err = storage.ErrNotFound
	}
	return err
}

// exec runs a query in a transaction of its own, whatever number of rows it
// changes.
func (db *DB) exec(ctx context.Context, query string, values ...any) error {
	return db.write(ctx, func(tx *tx) error {
		_, err := tx.exec(query, values...)
		return err
	})
}

// collect reads all rows of a query.
func collect[T any](rows *sql.Rows, err error, fields func(*T) []any) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []T
	for rows.Next() {
		var row T
		if err := rows.Scan(fields(&row)...); err != nil {
			return nil, err
		}
		found = append(found, row)
	}
	return found, rows.Err()
}

// known turns errors that callers branch on into those of package storage.
func known(err error) error {
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return storage.ErrNotFound
	case isCode(err, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY), isCode(err, sqlite3.SQLITE_CONSTRAINT_UNIQUE):
		return fmt.Errorf("%w: %w", storage.ErrConflict, err)
	}
	return err
}

// isCode says whether err is an error of SQLite with this result code, primary
// or extended.
func isCode(err error, code int) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code() == code || e.Code()&0xff == code)
}

// moment carries a time to and from a column: microseconds since 1970, NULL
// for the zero time.
type moment time.Time

// Value is for database/sql.
func (m moment) Value() (driver.Value, error) {
	if t := time.Time(m); !t.IsZero() {
		return t.UnixMicro(), nil
	}
	return nil, nil
}

// Scan is for database/sql.
func (m *moment) Scan(column any) error {
	switch column := column.(type) {
	case nil:
		*m = moment{}
	case int64:
		*m = moment(time.UnixMicro(column).UTC())
	default:
		return fmt.Errorf("%T is not a time", column)
	}
	return nil
}

// list carries a list of strings to and from a column: a JSON array.
type list []string

// Value is for database/sql.
func (l list) Value() (driver.Value, error) {
	if l == nil {
		return "[]", nil
	}
	text, err := json.Marshal(l)
	return string(text), err
}

// Scan is for database/sql. An empty array gives nil.
func (l *list) Scan(column any) error {
	*l = nil
	text, ok := column.(string)
	if !ok {
		return fmt.Errorf("%T is not a list", column)
	}
	if text == "[]" {
		return nil
	}
	return json.Unmarshal([]byte(text), (*[]string)(l))
}
