package fault

import (
	"database/sql"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/sealpost/sealpost/test/world"
)

// signsInOnce shows that the installation works.
func signsInOnce(w *world.World) {
	w.T.Helper()
	ada, login := newPerson(w, "Ada"), w.App.Begin()
	_, letter := ada.Ask(login, ada.address)
	ada.signsIn(login, letter)
}

// The disk is full when the schema is made, a little later each time.
func TestMigrationThatTheDiskHasNoRoomFor(t *testing.T) {
	t.Parallel()
	w := world.New(t, "sqlite")
	interrupted := 0
	for blocks := 0; ; blocks += 64 { // of 512 bytes
		cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf(`ulimit -f %d && exec "$0" "$@"`, blocks), world.Binary(t), "migrate", "up", "--config", w.SettingsFile(nil))
		out, err := cmd.CombinedOutput()
		if err == nil {
			break
		}
		interrupted++
		if !strings.Contains(string(out), "sealpost: ") {
			t.Errorf("%d blocks: %v\n%s", blocks, err, out)
		}
		if blocks > 1<<14 {
			t.Fatalf("the schema does not fit: %s", out)
		}
	}
	if interrupted < 3 {
		t.Errorf("interrupted %d times", interrupted)
	}
	in := w.Start(nil)
	signsInOnce(w)
	in.Stop()
	w.Hold()
}

// Processes are killed in the middle of each migration: they wait for a table
// whose name another transaction has taken.
func TestMigrationThatIsKilled(t *testing.T) {
	t.Parallel()
	w := world.New(t, "postgres")
	db, err := sql.Open("pgx", w.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, table := range []string{"sessions", "uses", "bounces", "events"} {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), "CREATE TABLE "+table+" ()"); err != nil {
			t.Fatalf("%s: %v", table, err)
		}
		in := w.Launch(nil)
		world.Eventually(t, "migration that waits for "+table, func() bool {
			var n int
			err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n)
			if err != nil {
				t.Fatal(err)
			}
			return n > 0
		})
		in.Kill()
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
	in := w.Start(nil)
	signsInOnce(w)
	in.Stop()
	w.Hold()
}

// The same on SQLite: processes are killed at each commit that the schema takes,
// when all of it is done but that.
func TestMigrationThatIsKilledAtItsCommit(t *testing.T) {
	t.Parallel()
	killed := 0
	for done := false; !done; {
		w := world.New(t, "sqlite")
		cmd := exec.Command(world.Binary(t), "migrate", "up", "--config", w.SettingsFile(nil))
		cmd.Env = append(cmd.Environ(), fmt.Sprintf("FAILPOINT=commit %d", killed+1))
		out, err := cmd.CombinedOutput()
		exit := (*exec.ExitError)(nil)
		switch {
		case err == nil:
			done = true
		case errors.As(err, &exit) && exit.ExitCode() == -1:
			killed++
		default:
			t.Fatalf("commit %d: %v\n%s", killed+1, err, out)
		}
		in := w.Start(nil)
		signsInOnce(w)
		in.Stop()
		w.Hold()
	}
	if killed < 4 {
		t.Errorf("killed at %d commits, and there are more migrations", killed)
	}
}

// What stands in the way of a migration is named, and the next start goes on.
func TestMigrationThatFails(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		driver, source := "pgx", w.Database
		if w.Engine == "sqlite" {
			driver, source = "sqlite", strings.TrimPrefix(w.Database, "sqlite:")
		}
		db, err := sql.Open(driver, source)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		run := func(query string) {
			t.Helper()
			if _, err := db.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
		run("CREATE TABLE events (one integer)")
		for range 2 {
			in := w.Launch(nil)
			in.Ends(1)
			if got := in.Log.String(); !strings.Contains(got, "migrate") || !strings.Contains(got, "events") {
				t.Errorf("it says: %s", got)
			}
		}
		run("DROP TABLE events")
		in := w.Start(nil)
		signsInOnce(w)
		in.Stop()
		w.Hold()
	})
}
