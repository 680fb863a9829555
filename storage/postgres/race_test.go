package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/postgres"
	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func run(t *testing.T, conn *pgx.Conn, query string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

// amid runs call while another transaction has done change and not committed
// it: the call begins before the commit, waits for it, and goes on after it.
// The hooks run while it waits.
func amid(t *testing.T, url string, change string, args []any, call func() error, hooks ...func()) error {
	t.Helper()
	other, watcher := connect(t, url), connect(t, url)
	run(t, other, "BEGIN")
	run(t, other, change, args...)
	result := make(chan error, 1)
	go func() { result <- call() }()
	for waiting := false; !waiting; {
		err := watcher.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'sealpost' AND wait_event_type = 'Lock')`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-result:
			t.Fatalf("the call did not wait; it gave %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	for _, hook := range hooks {
		hook()
	}
	run(t, other, "COMMIT")
	return <-result
}

// What a statement decides by must hold when it commits, not only when it
// began. All of these would be lost in a read followed by a write.
func TestAmid(t *testing.T) {
	type fixture struct {
		admin   *pgx.Conn
		login   storage.Login   // a live session
		grant   storage.Grant   // of it, redeemed, offline and refreshable
		attempt storage.Attempt // a live one of the same user
	}
	none := func(t *testing.T, db *postgres.DB, f fixture) {}
	for _, c := range []struct {
		name   string
		change string
		args   func(f fixture) []any
		call   func(ctx context.Context, db *postgres.DB, f fixture) error
		want   error
		after  func(t *testing.T, db *postgres.DB, f fixture)
	}{
		{
			"a try is spent while the link is opened",
			`UPDATE attempts SET tries = tries + 1 WHERE id = $1`,
			func(f fixture) []any { return []any{f.attempt.ID} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				_, err := db.CompleteAttempt(ctx, completionOf(f.attempt), t0)
				return err
			},
			nil,
			func(t *testing.T, db *postgres.DB, f fixture) {
				a, err := db.Attempt(t.Context(), f.attempt.ID)
				if err != nil || a.UsedAt.IsZero() || a.Tries != 1 {
					t.Errorf("got %+v, %v; want it used, with one try", a, err)
				}
			},
		},
		{
			"the last try is spent while the link is opened",
			`UPDATE attempts SET tries = 5 WHERE id = $1`,
			func(f fixture) []any { return []any{f.attempt.ID} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				_, err := db.CompleteAttempt(ctx, completionOf(f.attempt), t0)
				return err
			},
			storage.ErrNotFound, none,
		},
		{
			"the user is disabled while the link is opened",
			`UPDATE users SET disabled_at = $2 WHERE id = $1`,
			func(f fixture) []any { return []any{f.login.User.ID, t0} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				_, err := db.CompleteAttempt(ctx, completionOf(f.attempt), t0)
				return err
			},
			storage.ErrRefused,
			func(t *testing.T, db *postgres.DB, f fixture) {
				if a, err := db.Attempt(t.Context(), f.attempt.ID); err != nil || a.State(t0) != storage.StateLive {
					t.Errorf("got %+v, %v; want it live", a, err)
				}
			},
		},
		{
			"the current session is ended while the link is opened",
			`UPDATE sessions SET ended_at = $2 WHERE id = $1`,
			func(f fixture) []any { return []any{f.login.Session.ID, t0} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				c := completionOf(f.attempt)
				c.Current = f.login.Session.ID
				l, err := db.CompleteAttempt(ctx, c, t0)
				if err == nil && l.Session.ID != c.Session.ID {
					err = errors.New("the ended session was kept")
				}
				return err
			},
			nil, none,
		},
		{
			"the current session is touched while the link is opened",
			`UPDATE sessions SET idle_at = idle_at + interval '1 hour', network = 'touched' WHERE id = $1`,
			func(f fixture) []any { return []any{f.login.Session.ID} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				c := completionOf(f.attempt)
				c.Current = f.login.Session.ID
				l, err := db.CompleteAttempt(ctx, c, t0)
				if err == nil && (l.Session.ID != c.Current || l.Session.Network != "touched" || !l.Session.IdleAt.Equal(c.Session.IdleAt)) {
					err = errors.New("not the session as it was touched")
				}
				return err
			},
			nil, none,
		},
		{
			"the session is ended while its code is redeemed",
			`UPDATE sessions SET ended_at = $2 WHERE id = $1`,
			func(f fixture) []any { return []any{f.login.Session.ID, t0} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				g := f.grant
				g.ID = "another"
				_, err := db.RedeemCode(ctx, g, t0)
				return err
			},
			storage.ErrNotFound,
			func(t *testing.T, db *postgres.DB, f fixture) {
				if _, _, err := db.Grant(t.Context(), "another", t0); !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("got error %v, want no grant", err)
				}
			},
		},
		{
			"a code is redeemed while its session is ended",
			`INSERT INTO grants SELECT 'another', client_id, user_id, session_id, scopes, auth_time, created_at, expires_at, 0, NULL, NULL, false, NULL
				FROM grants, (SELECT FROM sessions WHERE id = $1 FOR SHARE) AS held`,
			func(f fixture) []any { return []any{f.login.Session.ID} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				return db.EndSession(ctx, f.login.Session.ID, t0)
			},
			nil,
			func(t *testing.T, db *postgres.DB, f fixture) {
				var revoked bool
				err := f.admin.QueryRow(t.Context(), `SELECT revoked_at IS NOT NULL FROM grants WHERE id = 'another'`).Scan(&revoked)
				if err != nil || !revoked {
					t.Errorf("revoked: %v, %v", revoked, err)
				}
			},
		},
		{
			"a link is asked for while another of its Txn is",
			`INSERT INTO attempts (id, txn, seq, browser, request, client_id, client_name, key, email, locale, agent, network, created_at, expires_at)
				SELECT 'another', 'race', 1, browser, request, client_id, client_name, key, email, locale, agent, network, created_at, expires_at FROM attempts WHERE id = $1`,
			func(f fixture) []any { return []any{f.attempt.ID} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				a, m, limits := newAttempt(3)
				a.Txn = "race"
				return db.StartAttempt(ctx, a, m, limits, t0)
			},
			nil,
			func(t *testing.T, db *postgres.DB, f fixture) {
				latest, _, limits := newAttempt(3)
				if a, err := db.Attempt(t.Context(), "another"); err != nil || a.State(t0) != storage.StateSuperseded {
					t.Errorf("got %+v, %v; want it superseded", a, err)
				}
				if a, err := db.LatestAttempt(t.Context(), "race", "browser"); err != nil || a.ID != latest.ID || a.State(t0) != storage.StateLive {
					t.Errorf("got %+v, %v; want %s, live", a, err, latest.ID)
				}
				var count int
				if err := f.admin.QueryRow(t.Context(), `SELECT count FROM limits WHERE key = $1`, limits[0].Key).Scan(&count); err != nil || count != 1 {
					t.Errorf("counted %d times, %v; want 1", count, err)
				}
			},
		},
		{
			"the grant is revoked while it is refreshed",
			`UPDATE grants SET revoked_at = $2 WHERE id = $1`,
			func(f fixture) []any { return []any{f.grant.ID, t0} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				_, _, err := db.Refresh(ctx, f.grant.ID, f.grant.ClientID, 1, t0, t0.Add(time.Hour), t0.Add(time.Hour))
				return err
			},
			storage.ErrNotFound, none,
		},
		{
			"the generation is used while it is refreshed",
			`UPDATE grants SET refresh = refresh + 1 WHERE id = $1`,
			func(f fixture) []any { return []any{f.grant.ID} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				_, _, err := db.Refresh(ctx, f.grant.ID, f.grant.ClientID, 1, t0, t0.Add(time.Hour), t0.Add(time.Hour))
				return err
			},
			storage.ErrConflict,
			func(t *testing.T, db *postgres.DB, f fixture) {
				if _, _, err := db.Grant(t.Context(), f.grant.ID, t0); !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("got error %v, want it revoked", err)
				}
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := postgrestest.New(t)
			db := open(t, url)
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			f := fixture{admin: connect(t, url), login: complete(t, db, start(t, db, 1))}
			f.grant = redeem(t, db, f.login)
			a, m, _ := newAttempt(2)
			a.Key = f.login.User.Key
			if err := db.StartAttempt(t.Context(), a, m, nil, t0); err != nil {
				t.Fatal(err)
			}
			f.attempt = a
			err := amid(t, url, c.change, c.args(f), func() error { return c.call(t.Context(), db, f) })
			if !errors.Is(err, c.want) {
				t.Fatalf("got error %v, want %v", err, c.want)
			}
			c.after(t, db, f)
		})
	}
}

// A browser that goes away does not stop what was begun, nor cost a connection.
func TestCallerGone(t *testing.T) {
	url := postgrestest.New(t)
	db := open(t, url+"&pool_max_conns=1")
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := start(t, db, 1)
	admin := connect(t, url)
	session := func() (pid int) {
		err := admin.QueryRow(t.Context(), `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'sealpost'`).Scan(&pid)
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	before := session()
	ctx, cancel := context.WithCancel(t.Context())
	err := amid(t, url, `UPDATE attempts SET tries = 1 WHERE id = $1`, []any{a.ID}, func() error {
		_, err := db.CompleteAttempt(ctx, completionOf(a), t0)
		return err
	}, cancel)
	if err != nil {
		t.Errorf("got error %v, want it to be done", err)
	}
	if after := session(); after != before {
		t.Error("the connection was given up")
	}
}
