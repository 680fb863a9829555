package main

import (
	"context"
	"database/sql"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "modernc.org/sqlite"
)

func connect(ctx context.Context, url string) (*pgx.Conn, error) { return pgx.Connect(ctx, url) }

// floorPostgres does each step in one statement, which is one commit and one
// round trip.
type floorPostgres struct{ pool *pgxpool.Pool }

func openFloorPostgres(url string) (floorStore, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, err
	}
	_, err = pool.Exec(context.Background(), `
		CREATE TABLE links (id bytea PRIMARY KEY, row bytea NOT NULL, ends bigint NOT NULL);
		CREATE TABLE codes (id bytea PRIMARY KEY, row bytea NOT NULL, ends bigint NOT NULL);
		CREATE TABLE sessions (id bytea PRIMARY KEY, row bytea NOT NULL, ends bigint NOT NULL);
		CREATE TABLE grants (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, access bytea UNIQUE, refresh bytea UNIQUE, row bytea NOT NULL, ends bigint NOT NULL)`,
		pgx.QueryExecModeSimpleProtocol)
	return floorPostgres{pool}, err
}

func (f floorPostgres) get(ctx context.Context, query string, args ...any) (row []byte, err error) {
	return row, f.pool.QueryRow(ctx, query, args...).Scan(&row)
}

func (f floorPostgres) addLink(ctx context.Context, link, row []byte, ends int64) error {
	_, err := f.pool.Exec(ctx, `INSERT INTO links VALUES ($1, $2, $3)`, link, row, ends)
	return err
}

func (f floorPostgres) link(ctx context.Context, link []byte, now int64) ([]byte, error) {
	return f.get(ctx, `SELECT row FROM links WHERE id = $1 AND ends > $2`, link, now)
}

func (f floorPostgres) useLink(ctx context.Context, link, code, session []byte, now, ends int64) ([]byte, error) {
	return f.get(ctx, `WITH used AS (DELETE FROM links WHERE id = $1 AND ends > $4 RETURNING row),
		code AS (INSERT INTO codes SELECT $2, row, $5 FROM used), session AS (INSERT INTO sessions SELECT $3, row, $5 FROM used)
		SELECT row FROM used`, link, code, session, now, ends)
}

func (f floorPostgres) useCode(ctx context.Context, code, access, refresh []byte, now, ends int64) ([]byte, error) {
	return f.get(ctx, `WITH used AS (DELETE FROM codes WHERE id = $1 AND ends > $4 RETURNING row)
		INSERT INTO grants (access, refresh, row, ends) SELECT $2, $3, row, $5 FROM used RETURNING row`, code, access, refresh, now, ends)
}

func (f floorPostgres) useRefresh(ctx context.Context, old, access, refresh []byte, ends int64) ([]byte, error) {
	return f.get(ctx, `UPDATE grants SET access = $2, refresh = $3, ends = $4 WHERE refresh = $1 RETURNING row`, old, access, refresh, ends)
}

func (f floorPostgres) access(ctx context.Context, access []byte, now int64) ([]byte, error) {
	return f.get(ctx, `SELECT row FROM grants WHERE access = $1 AND ends > $2`, access, now)
}

// floorSQLite has one writer, which commits together whatever waits.
type floorSQLite struct {
	reader *sql.DB
	steps  chan *floorStep
	writer *floorWriter
	links  *sql.Stmt
	tokens *sql.Stmt
}

type floorStep struct {
	run  func() error
	err  error
	done chan struct{}
}

func openFloorSQLite(file string) (floorStore, error) {
	const options = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)"
	writer, err := sql.Open("sqlite", "file:"+file+options)
	if err != nil {
		return nil, err
	}
	writer.SetMaxOpenConns(1)
	if _, err := writer.Exec(`
		CREATE TABLE links (id BLOB PRIMARY KEY, row BLOB NOT NULL, ends INTEGER NOT NULL) WITHOUT ROWID;
		CREATE TABLE codes (id BLOB PRIMARY KEY, row BLOB NOT NULL, ends INTEGER NOT NULL) WITHOUT ROWID;
		CREATE TABLE sessions (id BLOB PRIMARY KEY, row BLOB NOT NULL, ends INTEGER NOT NULL) WITHOUT ROWID;
		CREATE TABLE grants (n INTEGER PRIMARY KEY, access BLOB UNIQUE, refresh BLOB UNIQUE, row BLOB NOT NULL, ends INTEGER NOT NULL)`); err != nil {
		return nil, err
	}
	reader, err := sql.Open("sqlite", "file:"+file+options)
	if err != nil {
		return nil, err
	}
	reader.SetMaxOpenConns(4)
	reader.SetMaxIdleConns(4)
	f := &floorSQLite{reader: reader, steps: make(chan *floorStep, 1024)}
	if f.links, err = reader.Prepare(`SELECT row FROM links WHERE id = ? AND ends > ?`); err != nil {
		return nil, err
	}
	if f.tokens, err = reader.Prepare(`SELECT row FROM grants WHERE access = ? AND ends > ?`); err != nil {
		return nil, err
	}
	conn, err := writer.Conn(context.Background())
	if err != nil {
		return nil, err
	}
	w := &floorWriter{conn: conn, prepared: map[string]*sql.Stmt{}}
	f.writer = w
	go func() {
		for first := range f.steps {
			batch := []*floorStep{first}
			w.exec("BEGIN IMMEDIATE")
			first.err = first.run()
		more:
			for len(batch) < 128 {
				select {
				case next := <-f.steps:
					next.err = next.run()
					batch = append(batch, next)
				default:
					break more
				}
			}
			w.exec("COMMIT")
			for _, s := range batch {
				close(s.done)
			}
		}
	}()
	return f, nil
}

// floorWriter is the one connection that writes.
type floorWriter struct {
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

func (w *floorWriter) stmt(query string) *sql.Stmt {
	s := w.prepared[query]
	if s == nil {
		var err error
		if s, err = w.conn.PrepareContext(context.Background(), query); err != nil {
			panic(err)
		}
		w.prepared[query] = s
	}
	return s
}

func (w *floorWriter) exec(query string, args ...any) {
	if _, err := w.stmt(query).Exec(args...); err != nil {
		panic(err)
	}
}

func (f *floorSQLite) step(run func(w *floorWriter) error) error {
	w := f.writer
	s := &floorStep{run: func() error { return run(w) }, done: make(chan struct{})}
	f.steps <- s
	<-s.done
	return s.err
}

func (f *floorSQLite) addLink(_ context.Context, link, row []byte, ends int64) error {
	return f.step(func(w *floorWriter) error {
		_, err := w.stmt(`INSERT INTO links VALUES (?, ?, ?)`).Exec(link, row, ends)
		return err
	})
}

func (f *floorSQLite) link(ctx context.Context, link []byte, now int64) (row []byte, err error) {
	return row, f.links.QueryRowContext(ctx, link, now).Scan(&row)
}

func (f *floorSQLite) useLink(_ context.Context, link, code, session []byte, now, ends int64) (row []byte, err error) {
	return row, f.step(func(w *floorWriter) error {
		if err := w.stmt(`DELETE FROM links WHERE id = ? AND ends > ? RETURNING row`).QueryRow(link, now).Scan(&row); err != nil {
			return err
		}
		if _, err := w.stmt(`INSERT INTO codes VALUES (?, ?, ?)`).Exec(code, row, ends); err != nil {
			return err
		}
		_, err := w.stmt(`INSERT INTO sessions VALUES (?, ?, ?)`).Exec(session, row, ends)
		return err
	})
}

func (f *floorSQLite) useCode(_ context.Context, code, access, refresh []byte, now, ends int64) (row []byte, err error) {
	return row, f.step(func(w *floorWriter) error {
		if err := w.stmt(`DELETE FROM codes WHERE id = ? AND ends > ? RETURNING row`).QueryRow(code, now).Scan(&row); err != nil {
			return err
		}
		_, err := w.stmt(`INSERT INTO grants (access, refresh, row, ends) VALUES (?, ?, ?, ?)`).Exec(access, refresh, row, ends)
		return err
	})
}

func (f *floorSQLite) useRefresh(_ context.Context, old, access, refresh []byte, ends int64) (row []byte, err error) {
	return row, f.step(func(w *floorWriter) error {
		return w.stmt(`UPDATE grants SET access = ?, refresh = ?, ends = ? WHERE refresh = ? RETURNING row`).QueryRow(access, refresh, ends, old).Scan(&row)
	})
}

func (f *floorSQLite) access(ctx context.Context, access []byte, now int64) (row []byte, err error) {
	return row, f.tokens.QueryRowContext(ctx, access, now).Scan(&row)
}

// commits measures single-row commits of so many writers at once.
func commits(store floorStore, workers int, lasts time.Duration) (perSecond float64, err error) {
	row := make([]byte, 300)
	done, _, err := closedLoop(workers, lasts, func(int) error {
		_, id := fresh()
		return store.addLink(context.Background(), id, row, 1)
	})
	return float64(done) / lasts.Seconds(), err
}
