package invariants

import (
	"database/sql"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/postgres"
	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
	"github.com/sealpost/sealpost/storage/sqlite"
	"github.com/sealpost/sealpost/storage/storagetest"
)

var now = time.Date(2030, time.March, 4, 5, 6, 7, 0, time.UTC)

// onEachEngine gives an installation in which all that there is rules of has
// happened: what was told of it is what is true.
func onEachEngine(t *testing.T, do func(t *testing.T, database string, told Told)) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			var db storagetest.Store
			var err error
			database := "sqlite:" + filepath.Join(t.TempDir(), "test.db")
			if engine == "sqlite" {
				db, err = sqlite.Open(t.Context(), strings.TrimPrefix(database, "sqlite:"))
			} else {
				database = postgrestest.New(t)
				db, err = postgres.Open(t.Context(), database)
			}
			if err != nil {
				t.Fatal(err)
			}
			told := live(t, db)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			do(t, database, told)
		})
	}
}

func live(t *testing.T, db storagetest.Store) Told {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(db.Migrate(ctx))
	ask := func(id, person, txn string) {
		a := storage.Attempt{ID: id, Txn: txn, Key: person, Email: person, CreatedAt: now, ExpiresAt: now.Add(15 * time.Minute)}
		m := storage.Mail{ID: "mail-" + id, AttemptID: id, CreatedAt: now, NextAt: now, NotAfter: a.ExpiresAt}
		must(db.StartAttempt(ctx, a, m, nil, now))
	}
	signIn := func(id, person string) storage.Login {
		ask(id, person, "txn-"+id)
		_, err := db.ClaimMail(ctx, 1, now, now.Add(time.Minute))
		must(err)
		must(db.FinishMail(ctx, []storage.MailOutcome{{ID: "mail-" + id, State: storage.MailSent}}, now))
		l, err := db.CompleteAttempt(ctx, storage.Completion{AttemptID: id, UserID: "user-" + id, Signup: true, Session: storage.Session{
			ID: "session-" + id, AuthTime: now, CreatedAt: now, SeenAt: now, ExpiresAt: now.Add(time.Hour), IdleAt: now.Add(time.Hour)}}, now)
		must(err)
		return l
	}
	grant := func(id string, l storage.Login, offline bool) storage.Grant {
		return storage.Grant{ID: id, ClientID: "client", UserID: l.User.ID, SessionID: l.Session.ID, AuthTime: now, CreatedAt: now, Offline: offline,
			ExpiresAt: now.Add(time.Hour), Refresh: 1, RefreshIdleAt: now.Add(time.Minute), RefreshEndsAt: now.Add(time.Hour)}
	}
	redeem := func(g storage.Grant, want error) {
		if _, err := db.RedeemCode(ctx, g, storage.Redeeming{Notify: true}, now); !errors.Is(err, want) {
			t.Fatal(err)
		}
	}

	ada, ben := signIn("ada", "ada@example.com"), signIn("ben", "ben@example.com")
	offline := grant("offline", ada, true)
	redeem(offline, nil)
	_, _, err := db.Refresh(ctx, storage.Refreshing{ID: offline.ID, ClientID: "client", Generation: 1, IdleAt: now.Add(time.Minute), ExpiresAt: now}, now)
	must(err)
	replayed := grant("replayed", ada, true)
	redeem(replayed, nil)
	redeem(replayed, storage.ErrConflict)
	redeem(grant("online", ben, false), nil)
	_, err = db.EndSession(ctx, ben.Session.ID, now)
	must(err)
	device := storage.Device{ID: "device", UserCode: "CODE", ClientID: "client", CreatedAt: now, ExpiresAt: now.Add(time.Hour), Interval: time.Second}
	must(db.AddDevice(ctx, device))
	must(db.AllowDevice(ctx, device.UserCode, ada, now))
	_, err = db.RedeemDevice(ctx, device.ID, grant("of the device", ada, false), false, now)
	must(err)

	// One link that another took the place of, and one whose mail was refused.
	ask("old", "cal@example.com", "txn")
	ask("new", "cal@example.com", "txn")
	_, err = db.ClaimMail(ctx, 10, now, now.Add(time.Minute))
	must(err)
	must(db.FinishMail(ctx, []storage.MailOutcome{{ID: "mail-new", State: storage.MailFailed}}, now))
	return Told{
		Clients:  []string{"client"},
		Accepted: map[string]int{"ada@example.com": 1, "ben@example.com": 1, "cal@example.com": 2},
		Taken:    map[string]int{"mail-ada": 1, "mail-ben": 1},
		Redeemed: map[string]int{"code": 1},
	}
}

// plants break each rule of the store.
var plants = map[string]string{
	"an attempt ended in two ways":                      `UPDATE attempts SET cancelled_at = used_at`,
	"an attempt was used and gave no session":           `UPDATE attempts SET session_id = ''`,
	"a link was used twice":                             `INSERT INTO events (at, name, actor, user_id, client_id, session_id, agent, network, detail) SELECT at, name, actor, user_id, client_id, session_id, agent, network, detail FROM events WHERE name = 'login'`,
	"a session is of no login":                          `DELETE FROM events WHERE name = 'login'`,
	"a session is of no user":                           `DELETE FROM users`,
	"a session is not of whom the link was for":         `UPDATE users SET key = 'another' WHERE id = 'user-ada'`,
	"a session ended and its grant did not":             `UPDATE grants SET revoked_at = NULL WHERE id = 'online'`,
	"a session ended and its client was not told":       `DELETE FROM logout_notices`,
	"a grant is of no user":                             `UPDATE grants SET user_id = 'nobody'`,
	noClient:                                            `UPDATE grants SET client_id = 'another'`,
	"a grant is another user's than its session":        `UPDATE grants SET user_id = 'user-ben'`,
	"a grant is of no login":                            `UPDATE grants SET session_id = 'another' WHERE id = 'offline'`,
	"a session does not know whom it signed in to":      `DELETE FROM session_clients`,
	"a refresh family has no one token that is good":    `UPDATE grants SET refresh = 3 WHERE id = 'online'`,
	"a replay left its grant live":                      `UPDATE grants SET revoked_at = NULL WHERE id = 'replayed'`,
	"a device got tokens that nobody allowed":           `DELETE FROM grants`,
	"an attempt has no mail":                            `DELETE FROM mail WHERE id = 'mail-new'`,
	"a mail is for no attempt":                          `DELETE FROM attempts WHERE id = 'new'`,
	"a mail ended and was never tried":                  `UPDATE mail SET tries = 0`,
	"a mail failed and its link's page does not say so": `UPDATE attempts SET undelivered_at = NULL`,
	waits: `UPDATE mail SET state = 'queued' WHERE id = 'mail-ada'`,
}

// What was promised or came, and the store knows otherwise.
var untrue = map[string]func(*Told){
	lost:       func(told *Told) { told.Accepted["ada@example.com"] = 2 },
	doubled:    func(told *Told) { told.Taken["mail-ada"] = 2 },
	unsent:     func(told *Told) { delete(told.Taken, "mail-ada") },
	unrecorded: func(told *Told) { told.Taken["mail-new"] = 1 },
	unasked:    func(told *Told) { told.Taken["mail-unknown"] = 1 },
	redeemed:   func(told *Told) { told.Redeemed["code"] = 2 },
}

func TestNothingIsFoundWhereAllIsWell(t *testing.T) {
	onEachEngine(t, func(t *testing.T, database string, told Told) { Hold(t, database, told) })
}

func TestEachViolationIsFound(t *testing.T) {
	for _, r := range rules {
		if plants[r.name] == "" {
			t.Errorf("nobody breaks the rule: %s", r.name)
		}
	}
	onEachEngine(t, func(t *testing.T, database string, told Told) {
		db, err := open(database)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		db.SetMaxOpenConns(1) // what follows is said to a connection
		allow(t, db)
		for name, plant := range plants {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			result, err := tx.ExecContext(t.Context(), plant)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if n, err := result.RowsAffected(); err != nil || n == 0 {
				t.Errorf("%s: %d rows, %v: nothing is planted", name, n, err)
			}
			broken, err := brokenIn(t.Context(), tx, told)
			if err != nil {
				t.Fatal(err)
			}
			if !found(broken, name) {
				t.Errorf("%s is not found, but %q", name, broken)
			}
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
		}
		for name, change := range untrue {
			other := told
			other.Accepted, other.Taken, other.Redeemed = maps.Clone(told.Accepted), maps.Clone(told.Taken), maps.Clone(told.Redeemed)
			change(&other)
			broken, err := Broken(t.Context(), database, other)
			if err != nil {
				t.Fatal(err)
			}
			if len(broken) != 1 || !found(broken, name) {
				t.Errorf("%s: found %q", name, broken)
			}
		}
		other := told
		other.Taken, other.Twice = map[string]int{"mail-ada": 2, "mail-ben": 1}, []string{"mail-ada"}
		if broken, err := Broken(t.Context(), database, other); err != nil || len(broken) > 0 {
			t.Errorf("a mail that may come twice: %q, %v", broken, err)
		}
		other.Taken["mail-ada"] = 3
		if broken, err := Broken(t.Context(), database, other); err != nil || !found(broken, doubled) {
			t.Errorf("one that came three times: %q, %v", broken, err)
		}
	})
}

func found(broken []string, rule string) bool {
	return slices.ContainsFunc(broken, func(s string) bool { return strings.HasPrefix(s, rule+": ") })
}

// allow takes away what the schema itself refuses, so that it can be planted.
func allow(t *testing.T, db *sql.DB) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), `PRAGMA ignore_check_constraints = 1; PRAGMA foreign_keys = 0`); err == nil {
		return
	}
	_, err := db.ExecContext(t.Context(), `DO $$ DECLARE c record; BEGIN
		FOR c IN SELECT conrelid::regclass AS its, conname FROM pg_constraint WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace LOOP
			EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.its, c.conname);
		END LOOP; END $$`)
	if err != nil {
		t.Fatal(err)
	}
}
