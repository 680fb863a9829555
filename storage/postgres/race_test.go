package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// redeemAnother redeems a code of the client "another", as a part of it that
// holds the session.
const redeemAnother = `
	WITH held AS (
		SELECT user_id FROM sessions WHERE id = $1 FOR SHARE
	), client AS (
		INSERT INTO session_clients SELECT $1, 'another', true FROM held
	)
	INSERT INTO grants SELECT 'another', 'another', user_id, $1, '{}', now(), now(), '2100-01-01', 0, NULL, NULL, false, NULL FROM held`

// What a statement decides by must hold when it commits, not only when it
// began. All of these would be lost in a read followed by a write.
func TestAmid(t *testing.T) {
	type fixture struct {
		admin   *pgx.Conn
		login   storage.Login   // a live session
		grant   storage.Grant   // of it, redeemed, offline and refreshable
		attempt storage.Attempt // a live one of the same user
		device  storage.Device  // allowed by the login
	}
	none := func(t *testing.T, db *postgres.DB, f fixture) {}
	redeemDevice := func(ctx context.Context, db *postgres.DB, f fixture) error {
		g := f.grant
		g.ID = "of the device"
		_, err := db.RedeemDevice(ctx, f.device.ID, g, true, t0)
		return err
	}
	wantNotices := func(clients ...string) func(t *testing.T, db *postgres.DB, f fixture) {
		return func(t *testing.T, db *postgres.DB, f fixture) {
			var got []string
			notices, err := db.ClaimNotices(t.Context(), 10, t0, t0)
			for _, n := range notices {
				got = append(got, n.ClientID)
			}
			if err != nil || !slices.Equal(got, clients) {
				t.Errorf("got notices of %q, %v; want %q", got, err, clients)
			}
		}
	}
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
				_, err := db.RedeemCode(ctx, g, storage.Redeeming{}, t0)
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
			"what was allowed is taken back while a code is redeemed",
			`WITH held AS (SELECT FROM sessions WHERE user_id = $1 FOR UPDATE) DELETE FROM consents WHERE user_id = $1 AND EXISTS (SELECT FROM held)`,
			func(f fixture) []any { return []any{f.login.User.ID} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				g := f.grant
				g.ID = "another"
				_, err := db.RedeemCode(ctx, g, storage.Redeeming{Allowed: []string{"openid"}}, t0)
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
			redeemAnother,
			func(f fixture) []any { return []any{f.login.Session.ID} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				clients, err := db.EndSession(ctx, f.login.Session.ID, t0)
				if err == nil && !slices.Equal(clients, []string{"another", "client"}) {
					err = fmt.Errorf("got clients %q", clients)
				}
				return err
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
			"a code is redeemed while its user signs out by signing in as another",
			redeemAnother,
			func(f fixture) []any { return []any{f.login.Session.ID} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				a, m, _ := newAttempt(3) // of another user
				if err := db.StartAttempt(ctx, a, m, nil, t0); err != nil {
					return err
				}
				c := completionOf(a)
				c.Current = f.login.Session.ID
				_, err := db.CompleteAttempt(ctx, c, t0)
				return err
			},
			nil, wantNotices("another", "client"),
		},
		{
			"a code is redeemed while its user is disabled",
			`WITH held AS (SELECT FROM users WHERE id = (SELECT user_id FROM sessions WHERE id = $1) FOR SHARE)
				INSERT INTO session_clients SELECT $1, 'another', true FROM held`,
			func(f fixture) []any { return []any{f.login.Session.ID} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				return db.DisableUser(ctx, f.login.User.ID, t0)
			},
			nil, wantNotices("another", "client"),
		},
		{
			"a value is used while it is used with another",
			`INSERT INTO uses (key, holder, ends_at) VALUES ('value', 'holder', $1)`,
			func(f fixture) []any { return []any{t0.Add(time.Hour)} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				another, value := storage.Use{Key: "another", EndsAt: t0.Add(time.Hour)}, storage.Use{Key: "value", Holder: "me", EndsAt: t0.Add(time.Hour)}
				return db.Use(ctx, []storage.Use{another, value}, t0)
			},
			storage.ErrConflict,
			func(t *testing.T, db *postgres.DB, f fixture) {
				if used, err := db.Used(t.Context(), "another", t0); used || err != nil {
					t.Errorf("the other is used: %v, %v", used, err)
				}
			},
		},
		{
			"a device is polled while it is polled",
			`UPDATE devices SET poll_at = $2, poll_interval = 7000000 WHERE id = $1`,
			func(f fixture) []any { return []any{f.device.ID, t0.Add(time.Second)} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				for _, want := range []time.Duration{7 * time.Second, 7*time.Second + storage.SlowDown} {
					d, err := db.PollDevice(ctx, f.device.ID, f.device.ClientID, t0)
					if err != nil || d.Interval != want {
						return fmt.Errorf("got interval %s, want %s: %w", d.Interval, want, err)
					}
				}
				return nil
			},
			nil, none,
		},
		{
			"a device request is used while it is redeemed",
			`UPDATE devices SET used_at = $2 WHERE id = $1`,
			func(f fixture) []any { return []any{f.device.ID, t0} },
			redeemDevice,
			storage.ErrNotFound, none,
		},
		{
			"the session is ended while its device is redeemed",
			`UPDATE sessions SET ended_at = $2 WHERE id = $1`,
			func(f fixture) []any { return []any{f.login.Session.ID, t0} },
			redeemDevice,
			storage.ErrNotFound,
			func(t *testing.T, db *postgres.DB, f fixture) {
				if d, err := db.PollDevice(t.Context(), f.device.ID, f.device.ClientID, t0); err != nil || !d.UsedAt.IsZero() {
					t.Errorf("got %+v, %v; want it not used", d, err)
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
				_, _, err := db.Refresh(ctx, refreshing(f.grant, 1), t0)
				return err
			},
			storage.ErrNotFound, none,
		},
		{
			"the generation is used while it is refreshed",
			`UPDATE grants SET refresh = refresh + 1 WHERE id = $1`,
			func(f fixture) []any { return []any{f.grant.ID} },
			func(ctx context.Context, db *postgres.DB, f fixture) error {
				_, _, err := db.Refresh(ctx, refreshing(f.grant, 1), t0)
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
			if err := db.SaveConsent(t.Context(), storage.Consent{UserID: f.login.User.ID, ClientID: f.grant.ClientID, Scopes: []string{"openid"}, At: t0}); err != nil {
				t.Fatal(err)
			}
			a, m, _ := newAttempt(2)
			a.Key = f.login.User.Key
			if err := db.StartAttempt(t.Context(), a, m, nil, t0); err != nil {
				t.Fatal(err)
			}
			f.attempt = a
			f.device = storage.Device{ID: "device", UserCode: "CODE", ClientID: f.grant.ClientID, CreatedAt: t0, ExpiresAt: t0.Add(time.Hour), Interval: time.Second}
			if err := errors.Join(db.AddDevice(t.Context(), f.device), db.AllowDevice(t.Context(), f.device.UserCode, f.login, t0)); err != nil {
				t.Fatal(err)
			}
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
