package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/storagetest"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("SEALPOST_TEST_PROCESS"); role != "" {
		if err := anotherProcess(role, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func open(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestContract(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) func(t *testing.T) storagetest.Store {
		path := filepath.Join(t.TempDir(), "sealpost.db")
		return func(t *testing.T) storagetest.Store { return open(t, path) }
	}, func(s storagetest.Store, actor string) storagetest.Store { return s.(*DB).By(actor) })
}

func TestEventsAreNeverChanged(t *testing.T) {
	db := migrated(t)
	complete(t, db, start(t, db, 1))
	if _, err := db.writer.Exec(`UPDATE events SET actor = 'somebody'`); err == nil || !strings.Contains(err.Error(), "never changed") {
		t.Errorf("got error %v", err)
	}
	events, err := db.Events(t.Context(), storage.EventFilter{})
	if err != nil || len(events) != 2 || events[0].Actor != "" {
		t.Errorf("got %+v, %v", events, err)
	}
}

// Events are found and removed by their indexes, whatever they are asked for.
func TestEventQueriesUseIndexes(t *testing.T) {
	db := migrated(t)
	for _, c := range []struct {
		filter storage.EventFilter
		want   string
	}{
		{storage.EventFilter{UserID: "user"}, "USING INDEX events_user"},
		{storage.EventFilter{UserID: "user", Before: 9}, "USING INDEX events_user"},
		{storage.EventFilter{ClientID: "client", Name: storage.EventLogin}, "USING INDEX events_client"},
		{storage.EventFilter{Since: t0}, "USING INDEX events_at"},
		{storage.EventFilter{Before: 9}, "USING INTEGER PRIMARY KEY"},
	} {
		query, _ := eventQuery(c.filter)
		if plan := db.plan(t, query); !strings.Contains(plan, c.want) {
			t.Errorf("%s\n%s", query, plan)
		}
	}
	if plan := db.plan(t, sweepEvents); !strings.Contains(plan, "INDEX events_at") {
		t.Error(plan)
	}
}

// Lists go by an index, page by page, and sort nothing.
func TestListsUseIndexes(t *testing.T) {
	db := migrated(t)
	queries := map[string]string{usersWithApps: "users USING PRIMARY KEY (id>?)"}
	for _, c := range []struct {
		filter storage.SessionFilter
		want   string
	}{
		{storage.SessionFilter{}, "sessions USING PRIMARY KEY (id>?)"},
		{storage.SessionFilter{ClientID: "client"}, "sessions USING PRIMARY KEY (id>?)"},
		{storage.SessionFilter{UserID: "user"}, "sessions USING INDEX sessions_user (user_id=? AND id>?)"},
		{storage.SessionFilter{UserID: "user", ClientID: "client"}, "sessions USING INDEX sessions_user (user_id=? AND id>?)"},
	} {
		query, _ := sessionQuery(c.filter, t0)
		queries[query] = c.want
	}
	for query, want := range queries {
		if plan := db.plan(t, query); !strings.Contains(plan, want) || strings.Contains(plan, "SCAN") || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s\n%s", query, plan)
		}
	}
	if plan := db.plan(t, usersByID); !strings.Contains(plan, "users USING PRIMARY KEY (id=?)") {
		t.Error(plan)
	}
}

func TestFileIsTheOwnersAlone(t *testing.T) {
	db := migrated(t)
	start(t, db, 1)
	path := db.path(t)
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if mode := fileMode(t, name); mode != 0o600 {
			t.Errorf("%s has mode %o, want 600", filepath.Base(name), mode)
		}
	}
	// What the operator allowed stays.
	if err := errors.Join(db.Close(), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	if mode := fileMode(t, path); mode != 0o640 {
		t.Errorf("opening changed the mode to %o", mode)
	}
}

func fileMode(t *testing.T, name string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// path is where SQLite has the file.
func (db *DB) path(t testing.TB) (file string) {
	t.Helper()
	if err := db.reader.QueryRow(`SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSettings(t *testing.T) {
	db := migrated(t)
	for _, c := range []struct {
		pool         *pool
		pragma, want string
	}{
		{db.writer, "journal_mode", "wal"},
		{db.writer, "synchronous", "2"}, // FULL
		{db.writer, "foreign_keys", "1"},
		{db.writer, "busy_timeout", "10000"},
		{db.reader, "busy_timeout", "10000"},
		{db.reader, "query_only", "1"},
	} {
		var got string
		if err := c.pool.QueryRow("PRAGMA " + c.pragma).Scan(&got); err != nil || got != c.want {
			t.Errorf("%s = %q (error %v), want %q", c.pragma, got, err, c.want)
		}
	}
	if _, err := db.reader.Exec(`DELETE FROM attempts`); err == nil {
		t.Error("a reader wrote")
	}
}

func TestAnyFileName(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a b.db", "50%20.db", "#ü&=+;.db", "file:x.db", "'\".db", "\\.db"} {
		path := filepath.Join(dir, name)
		db := open(t, path)
		if err := db.Migrate(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := db.path(t); got != path {
			t.Errorf("%s: the file is %s", name, got)
		}
	}
	t.Chdir(dir)
	db := open(t, "relative.db")
	t.Chdir("/")
	if err := db.Migrate(t.Context()); err != nil {
		t.Error(err)
	}
	if got := db.path(t); got != filepath.Join(dir, "relative.db") {
		t.Errorf("relative.db is %s", got)
	}
}

func TestUnusableFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	db := migrated(t)
	sound := db.path(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	damaged, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	copy(damaged[100:4096], make([]byte, 4096))
	for _, c := range []struct{ name, source, want string }{
		{"no name", "", "name a file"},
		{"memory", ":memory:", "name a file"},
		{"options", "sealpost.db?_pragma=synchronous(0)", "options are not for setting"},
		{"no directory", filepath.Join(dir, "no", "sealpost.db"), "no such file or directory"},
		{"a directory", dir, dir + " is not a regular file"},
		{"another format", write("x.yaml", []byte(strings.Repeat("issuer: https://login.example.com\n", 200))), "x.yaml is not a sound SQLite database"},
		{"damaged", write("damaged.db", damaged), "damaged.db is not a sound SQLite database"},
	} {
		db, err := Open(t.Context(), c.source)
		if err == nil {
			db.Close()
			t.Errorf("%s: opened", c.name)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %q, want %q in it", c.name, err, c.want)
		}
	}
}

func TestReadersDoNotWaitForTheWriter(t *testing.T) {
	db := migrated(t)
	l := complete(t, db, start(t, db, 1))
	err := db.write(t.Context(), func(tx *tx) error {
		if _, err := end(tx, l.Session.ID, "", t0); err != nil {
			return err
		}
		for range 50 { // more than there are readers
			if _, err := db.Session(t.Context(), l.Session.ID, t0); err != nil {
				return fmt.Errorf("before the commit: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Session(t.Context(), l.Session.ID, t0); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("after the commit: got error %v", err)
	}
}

// That its user is disabled hides this from every other method.
func TestDisablingRevokesGrants(t *testing.T) {
	db := migrated(t)
	l := complete(t, db, start(t, db, 1))
	if _, err := db.RedeemCode(t.Context(), grantOf(l), storage.Redeeming{}, t0); err != nil {
		t.Fatal(err)
	}
	if err := db.DisableUser(t.Context(), l.User.ID, t0); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := db.reader.QueryRow(`SELECT count(*) FROM grants WHERE revoked_at IS NULL`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d grants are left (error %v)", left, err)
	}
}

func TestSchemaRefusesNonsense(t *testing.T) {
	db := migrated(t)
	ctx := t.Context()
	l, ended := complete(t, db, start(t, db, 1)), complete(t, db, start(t, db, 2))
	for _, l := range []storage.Login{l, ended} {
		if _, err := db.RedeemCode(ctx, grantOf(l), storage.Redeeming{Notify: true}, t0); err != nil {
			t.Fatal(err)
		}
	}
	_, err := db.EndSession(ctx, ended.Session.ID, t0)
	device, g := storage.Device{ID: "device", UserCode: "CODE", ClientID: "client", CreatedAt: t0, ExpiresAt: t0.Add(time.Minute)}, grantOf(l)
	g.ID = "of the device"
	err = errors.Join(err, db.AddDevice(ctx, device), db.AllowDevice(ctx, device.UserCode, l, t0))
	if _, redeemErr := db.RedeemDevice(ctx, device.ID, g, true, t0); err != nil || redeemErr != nil {
		t.Fatal(err, redeemErr)
	}
	for _, change := range []string{
		`UPDATE attempts SET cancelled_at = 1`, // is used already
		`UPDATE attempts SET session_id = ''`,
		`UPDATE attempts SET tries = -1`,
		`UPDATE attempts SET created_at = '2030-01-01'`,
		`UPDATE attempts SET expires_at = NULL`,
		`UPDATE mail SET state = 'lost'`,
		`UPDATE mail SET attempt_id = 'unknown'`,
		`UPDATE users SET groups = 'admins'`,
		`UPDATE users SET id = ''`,
		`UPDATE sessions SET user_id = 'unknown'`,
		`UPDATE grants SET user_id = 'unknown'`,
		`UPDATE grants SET refresh_idle_at = NULL`,
		`UPDATE grants SET offline = 2`,
		`UPDATE grants SET scopes = '{}'`,
		`UPDATE grants SET resources = ''`,
		`UPDATE session_clients SET session_id = 'unknown'`,
		`UPDATE session_clients SET notify = 2`,
		`INSERT INTO uses (key, holder, ends_at) VALUES ('', '', 1)`,
		`UPDATE devices SET denied_at = 1`, // is allowed already
		`UPDATE devices SET allowed_at = NULL`,
		`UPDATE devices SET user_id = ''`,
		`UPDATE devices SET poll_interval = -1`,
		`UPDATE logout_notices SET state = 'lost'`,
		`UPDATE logout_notices SET state = 'failed'`, // but did not end
	} {
		if _, err := db.writer.Exec(change); err == nil {
			t.Errorf("%s: not refused", change)
		}
	}
}

// Several processes may find no file and make it, all at once.
func TestOpenRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sealpost.db")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			db, err := Open(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			if err := errors.Join(db.Migrate(t.Context()), db.Ping(t.Context()), db.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestNewerSchema(t *testing.T) {
	db := migrated(t)
	_, newest, err := db.SchemaVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []string{
		`ALTER TABLE users ADD COLUMN pronouns TEXT NOT NULL DEFAULT ''`,
		`CREATE TABLE passkeys (id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE) STRICT`,
		fmt.Sprintf(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, 1)`, newest+1),
	} {
		if _, err := db.writer.Exec(change); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Errorf("migrate: %v", err)
	}
	if at, _, err := db.SchemaVersion(t.Context()); err != nil || at != newest+1 {
		t.Errorf("got version %d (error %v), want %d", at, err, newest+1)
	}
	complete(t, db, start(t, db, 1))
}

// Every query of the contract's hot paths finds its rows by an index.
func TestQueriesUseIndexes(t *testing.T) {
	scans := map[string]bool{
		allClients: true, allKeys: true, // few rows, all wanted
		// an operator waits
		deleteGrantsOfClient: true, deleteConsentsOfClient: true, deleteDevicesOfClient: true, deleteSessionsOfClient: true, deleteQueuedNoticesOfClient: true,
	}
	db := migrated(t)
	l := complete(t, db, start(t, db, 1))
	g := grantOf(l)
	later := t0.Add(time.Minute)
	ctx := t.Context()
	check := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrConflict) {
				t.Fatal(err)
			}
		}
	}
	a := start(t, db, 2)
	_, err := db.RedeemCode(ctx, g, storage.Redeeming{}, t0)
	check(err)
	_, err = db.Attempt(ctx, a.ID)
	check(err)
	_, err = db.LatestAttempt(ctx, a.Txn, a.Browser)
	check(err)
	_, err = db.ShowCode(ctx, a.ID, t0)
	check(err)
	_, err = db.TryCode(ctx, a.ID, a.Browser, false, t0)
	check(err, db.CloseAttempt(ctx, a.ID, t0))
	_, err = db.Session(ctx, l.Session.ID, t0)
	check(err, db.TouchSession(ctx, l.Session.ID, t0, later))
	_, err = db.ClaimMail(ctx, 10, t0, later)
	check(err, db.FinishMail(ctx, []storage.MailOutcome{{ID: "x", State: storage.MailSent}}, t0))
	check(db.CancelAttempts(ctx, a.Txn, a.Browser, t0), db.BurnCode(ctx, g, t0))
	_, _, err = db.Grant(ctx, g.ID, t0)
	check(err)
	_, _, err = db.Refresh(ctx, refreshing(g, 1), t0)
	check(err, db.RevokeGrant(ctx, g.ID, g.ClientID, t0))
	consent := storage.Consent{UserID: l.User.ID, ClientID: "client", At: t0}
	device := storage.Device{ID: "device", UserCode: "CODE", ClientID: g.ClientID, CreatedAt: t0, ExpiresAt: later}
	check(db.AddDevice(ctx, device), db.AllowDevice(ctx, device.UserCode, l, t0), db.DenyDevice(ctx, device.UserCode, t0))
	_, err = db.Device(ctx, device.UserCode, t0)
	check(err)
	_, err = db.PollDevice(ctx, device.ID, device.ClientID, t0)
	check(err)
	g.ID = "of the device"
	_, err = db.RedeemDevice(ctx, device.ID, g, true, t0)
	check(err, db.Use(ctx, []storage.Use{{Key: "use", EndsAt: later}}, t0))
	_, err = db.Used(ctx, "use", t0)
	check(err, db.SaveConsent(ctx, consent))
	_, err = db.EndSession(ctx, l.Session.ID, t0)
	check(err, db.DisableUser(ctx, l.User.ID, t0))
	notices, err := db.ClaimNotices(ctx, 10, t0, later)
	if len(notices) != 1 {
		t.Errorf("got notices %+v, want one", notices)
	}
	check(err, db.FinishNotices(ctx, []storage.NoticeOutcome{{SessionID: l.Session.ID, ClientID: g.ClientID, CreatedAt: t0, State: storage.NoticeFailed}}, t0))
	_, err = db.Sweep(ctx, t0, 10)
	check(err)
	client := storage.Client{ID: "client", CreatedAt: t0, UpdatedAt: t0}
	check(db.AddClient(ctx, client), db.SaveClient(ctx, client, client), db.RemoveClient(ctx, client.ID, t0))

	seen := 0
	for _, p := range []*pool{db.writer, db.reader} {
		p.prepared.Range(func(query, _ any) bool {
			seen++
			if plan := db.plan(t, query.(string)); strings.Contains(strings.ReplaceAll(plan, "SCAN CONSTANT ROW", ""), "SCAN") && !scans[query.(string)] {
				t.Errorf("%s\n%s", query, plan)
			}
			return true
		})
	}
	if seen < 50 {
		t.Errorf("only %d queries were seen", seen)
	}
}

func (db *DB) plan(t *testing.T, query string) string {
	t.Helper()
	var none [20]any
	rows, err := db.reader.Query("EXPLAIN QUERY PLAN "+query, none[:parameters(query)]...)
	steps, err := collect(rows, err, func(step *struct {
		id, parent, unused int
		detail             string
	}) []any {
		return []any{&step.id, &step.parent, &step.unused, &step.detail}
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var plan strings.Builder
	for _, step := range steps {
		fmt.Fprintln(&plan, step.detail)
	}
	return plan.String()
}

// parameters is the highest number of a query's parameters.
func parameters(query string) int {
	for n := 20; n > 0; n-- {
		if strings.Contains(query, fmt.Sprintf("?%d", n)) {
			return n
		}
	}
	return 0
}

// anotherProcess is what this test binary does beside the tests.
func anotherProcess(role, path string) error {
	t := &process{}
	db := open(t, path)
	switch role {
	case "starts attempts until it is killed":
		for n := int64(1); ; n++ {
			fmt.Println(start(t, db, n).ID)
		}
	case "asks under a limit":
		passed := 0
		for n := range 100 {
			a := storage.Attempt{ID: fmt.Sprintf("%d-%d", os.Getpid(), n), Txn: "txn", Key: "key", Email: "email", CreatedAt: t0, ExpiresAt: t0.Add(time.Hour)}
			m := storage.Mail{ID: a.ID, AttemptID: a.ID, CreatedAt: t0, NextAt: t0, NotAfter: a.ExpiresAt}
			err := db.StartAttempt(t.Context(), a, m, []storage.Limit{{Key: "key", Max: 50, Window: time.Hour}}, t0)
			if full := (*storage.LimitError)(nil); err != nil && !errors.As(err, &full) {
				return err
			} else if err == nil {
				passed++
			}
		}
		fmt.Println(passed)
	}
	return nil
}

// process stands in for a test in a process that runs none.
type process struct{ testing.TB }

func (*process) Helper()                  {}
func (*process) Cleanup(f func())         {}
func (*process) Fatal(v ...any)           { fmt.Fprintln(os.Stderr, v...); os.Exit(1) }
func (*process) Context() context.Context { return context.Background() }

func command(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, path)
	c.Env = append(os.Environ(), "SEALPOST_TEST_PROCESS="+role)
	c.Stderr = os.Stderr
	return c
}

// What was acknowledged is there after kill -9, and the file is sound.
func TestKilled(t *testing.T) {
	db := migrated(t)
	path := db.path(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	c := command(t, "starts attempts until it is killed", path)
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var acknowledged []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		acknowledged = append(acknowledged, lines.Text())
		if len(acknowledged) == 100 {
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.Wait() // killed is no success
	if len(acknowledged) < 100 {
		t.Fatalf("only %d attempts were acknowledged", len(acknowledged))
	}
	db = open(t, path)
	for _, id := range acknowledged {
		if _, err := db.Attempt(t.Context(), id); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
	mail, err := db.ClaimMail(t.Context(), 1<<20, t0, t0.Add(time.Minute))
	if err != nil || len(mail) < len(acknowledged) {
		t.Errorf("%d messages (error %v) for %d attempts", len(mail), err, len(acknowledged))
	}
	var check string
	if err := db.reader.QueryRow(`PRAGMA integrity_check`).Scan(&check); err != nil || check != "ok" {
		t.Errorf("integrity check: %s (error %v)", check, err)
	}
}

// Processes that write at once wait for each other.
func TestProcesses(t *testing.T) {
	db := migrated(t)
	outputs := make([]strings.Builder, 4)
	var all sync.WaitGroup
	for i := range outputs {
		c := command(t, "asks under a limit", db.path(t))
		c.Stdout = &outputs[i]
		all.Go(func() {
			if err := c.Run(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	passed := 0
	for i := range outputs {
		var n int
		if _, err := fmt.Sscan(outputs[i].String(), &n); err != nil {
			t.Fatal(err)
		}
		passed += n
	}
	if passed != 50 {
		t.Errorf("%d attempts passed a limit of 50", passed)
	}
}

// together has a write beside one that do does, in one commit, and gives what
// became of both. The turn is that of own.
func together(t *testing.T, db *DB, own *job, do func(*tx) error) (beside, itself error) {
	t.Helper()
	first := &job{ctx: t.Context(), do: mark("beside"), done: make(chan struct{})}
	second := &job{ctx: t.Context(), do: do, done: make(chan struct{})}
	db.queue.add(first)
	db.queue.add(second)
	db.queue.turn <- struct{}{}
	db.take(own)
	<-first.done
	<-second.done
	return first.err, second.err
}

func mark(key string) func(*tx) error {
	return func(tx *tx) error {
		_, err := tx.exec(use, moment(time.Unix(1, 0)), key, "", moment(time.Unix(2, 0)))
		return err
	}
}

func marked(t *testing.T, db *DB, key string) bool {
	t.Helper()
	found, err := db.Used(t.Context(), key, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A write that panics takes back those that share its commit, which say so, and
// not those that come later. Through whom the panic goes has written nothing.
func TestPanicInsideAWrite(t *testing.T) {
	db := migrated(t)
	own := &job{ctx: t.Context(), do: mark("own"), done: make(chan struct{})}
	first := &job{ctx: t.Context(), do: mark("beside"), done: make(chan struct{})}
	second := &job{ctx: t.Context(), do: func(*tx) error { panic("on purpose") }, done: make(chan struct{})}
	for _, j := range []*job{first, second} {
		db.queue.add(j)
	}
	for range batchMost - 2 {
		db.queue.add(&job{ctx: t.Context(), do: mark("many"), done: make(chan struct{})})
	}
	db.queue.add(own) // one more than share a commit
	func() {
		defer func() {
			if recover() != "on purpose" {
				t.Error("the panic does not go on")
			}
		}()
		db.queue.turn <- struct{}{}
		db.take(own)
	}()
	for _, j := range []*job{first, second} {
		if <-j.done; !errors.Is(j.err, errBroken) {
			t.Errorf("it says %v", j.err)
		}
	}
	if err := db.write(t.Context(), mark("later")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"beside", "many", "own"} {
		if marked(t, db, key) {
			t.Errorf("%s is written", key)
		}
	}
	if !marked(t, db, "later") {
		t.Error("what comes later is not written")
	}
}

// Whose write is done takes no turn for others.
func TestDoneTakesNoTurn(t *testing.T) {
	db := migrated(t)
	own := &job{ctx: t.Context(), done: make(chan struct{})}
	close(own.done)
	waits := &job{ctx: t.Context(), do: mark("waits"), done: make(chan struct{})}
	db.queue.add(waits)
	db.queue.turn <- struct{}{}
	db.take(own)
	if !db.queue.withdraw(waits) {
		t.Error("the write of another was begun")
	}
}

// A transaction that breaks at one write tells the others of that, and not what
// the write had found: to them "not found" would be an answer.
func TestBrokenTransactionTellsNoAnswerOfAnother(t *testing.T) {
	db := migrated(t)
	beside, itself := together(t, db, &job{ctx: t.Context(), done: make(chan struct{})}, func(tx *tx) error {
		if _, err := tx.tx.ExecContext(tx.ctx, "RELEASE write"); err != nil { // as SQLite may on a full disk: nothing to roll back to
			t.Fatal(err)
		}
		return storage.ErrNotFound
	})
	if beside == nil || errors.Is(beside, storage.ErrNotFound) {
		t.Errorf("the write beside it: %v", beside)
	}
	if itself == nil {
		t.Error("the broken write is said to be done")
	}
	if marked(t, db, "beside") {
		t.Error("what was taken back is written")
	}
}

// Nor is it told what it found there of another, when nothing of it is left.
func TestBrokenTransactionTakesAnswersBack(t *testing.T) {
	db := migrated(t)
	once := func(tx *tx) error {
		n, err := tx.exec(use, moment(t0), "once", "", moment(t0.Add(time.Hour)))
		if err == nil && n == 0 {
			return storage.ErrConflict
		}
		return err
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	first := &job{ctx: t.Context(), do: once, done: make(chan struct{})}
	second := &job{ctx: t.Context(), do: once, done: make(chan struct{})}
	third := &job{ctx: gone, do: once, done: make(chan struct{})}
	for _, j := range []*job{first, second, third} {
		db.queue.add(j)
	}
	if err := db.write(t.Context(), func(tx *tx) error {
		_, err := tx.tx.ExecContext(tx.ctx, "ROLLBACK")
		return err
	}); err == nil {
		t.Error("the broken write is said to be done")
	}
	for _, j := range []*job{first, second} {
		if <-j.done; j.err == nil || errors.Is(j.err, storage.ErrConflict) {
			t.Errorf("it says %v", j.err)
		}
	}
	if <-third.done; !errors.Is(third.err, context.Canceled) {
		t.Errorf("who has gone is told %v", third.err)
	}
	if marked(t, db, "once") {
		t.Error("what was taken back is written")
	}
	// Where nothing is broken they are told.
	db.queue.add(&job{ctx: t.Context(), do: once, done: make(chan struct{})})
	if err := db.write(t.Context(), once); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
}

// A disk that is full takes nothing, and all that was asked for at once is
// refused; with room again the same handle goes on.
func TestFullDatabase(t *testing.T) {
	db := migrated(t)
	limit := func(pages string) {
		t.Helper()
		if _, err := db.writer.ExecContext(t.Context(), `PRAGMA max_page_count = `+pages); err != nil {
			t.Fatal(err)
		}
	}
	asked := func(n int) error {
		a := storage.Attempt{ID: fmt.Sprint(n), Txn: fmt.Sprint(n), Key: "k", Email: "e", Request: strings.Repeat("r", 4096), CreatedAt: t0, ExpiresAt: t0.Add(time.Hour)}
		return db.StartAttempt(t.Context(), a, storage.Mail{ID: a.ID, AttemptID: a.ID, CreatedAt: t0, NextAt: t0, NotAfter: a.ExpiresAt}, nil, t0)
	}
	limit("1") // what there is
	taken, full := 0, error(nil)
	for ; taken < 100 && full == nil; taken++ {
		full = asked(taken)
	}
	if !isCode(full, sqlite3.SQLITE_FULL) {
		t.Fatalf("after %d attempts: %v", taken, full)
	}
	taken--
	errs := make([]error, 10)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = asked(1000 + i) })
	}
	all.Wait()
	for _, err := range errs {
		if err == nil {
			t.Error("something was stored where there is no room")
		}
	}
	limit("1000000")
	for i := range errs {
		if err := asked(1000 + i); err != nil {
			t.Errorf("with room again: %v", err)
		}
	}
	mail, err := db.ClaimMail(t.Context(), 1000, t0, t0.Add(time.Minute))
	if err != nil || len(mail) != taken+len(errs) {
		t.Errorf("%d mails, %v, want %d", len(mail), err, taken+len(errs))
	}
}
