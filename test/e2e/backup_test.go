package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
	"github.com/sealpost/sealpost/test/world"
)

// What was given before the backup is good after it was restored in another
// place: docs/operations.md.
func TestBackupIsRestoredInAnotherPlace(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		first := w.Start(nil)
		ann, b := w.Person("Ann"), w.Browser(world.Firefox)
		login := w.App.Begin()
		_, letter := b.Ask(login, ann)
		got := login.Finish(b.Submit(b.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
		_, published := w.Send(http.MethodGet, w.Issuer+"/jwks", "", nil)

		restored := backUpAndRestore(t, w) // the server runs

		later := w.App.Begin()
		late := w.Browser(world.Phone)
		_, letter = late.Ask(later, w.Person("Bob"))
		later.Finish(late.Submit(late.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
		first.Stop()

		w.Start(map[string]any{"database": restored})
		if _, now := w.Send(http.MethodGet, w.Issuer+"/jwks", "", nil); now != published {
			t.Errorf("the keys are others:\n%s\n%s", now, published)
		}
		silent := w.App.Begin(oauth2.SetAuthURLParam("prompt", "none"))
		again := silent.Finish(b.Open(silent.Address))
		if again.Id.Subject != got.Id.Subject || again.Claims.SessionID != got.Claims.SessionID {
			t.Errorf("another session: sub %s sid %s, want %s %s", again.Id.Subject, again.Claims.SessionID, got.Id.Subject, got.Claims.SessionID)
		}
		if _, err := login.Provider.UserInfo(w.App.Ctx(), oauth2.StaticTokenSource(got.Token)); err != nil {
			t.Errorf("userinfo: %v", err)
		}
		if _, err := login.Refresh(got.Token); err != nil {
			t.Errorf("refresh: %v", err)
		}
		refused(t, "a code that was redeemed before the backup", "invalid_grant", func() error { _, err := login.Redeem(got.Code); return err })
		later = w.App.Begin()
		late.Open(later.Address).MustBe("login", http.StatusOK) // it came after the backup
	})
}

// backUpAndRestore gives the restored database, as the setting has it.
func backUpAndRestore(t *testing.T, w *world.World) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "backup")
	if w.Engine == "sqlite" {
		w.Do(nil, "backup", file)
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("the backup: %v, %v", info, err)
		}
		place := filepath.Join(t.TempDir(), "restored.db")
		if err := os.Rename(file, place); err != nil {
			t.Fatal(err)
		}
		return "sqlite:" + place
	}
	empty := postgrestest.New(t)
	w.Seen.Secret("database URL", empty)
	for _, command := range [][]string{
		{"pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--file=" + file, w.Database},
		{"pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", "--dbname=" + empty, file},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v (apt-get install postgresql-client)\n%s", strings.Join(command[:2], " "), err, out)
		}
	}
	return empty
}
