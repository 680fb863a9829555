package e2e

import (
	"database/sql"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"
	_ "modernc.org/sqlite" // opens the database of the world

	"github.com/sealpost/sealpost/test/world"
)

// The statements and steps are those of docs/operations.md.
func TestAfterBothLeakedNothingOldIsGood(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)### Both leaked.*?```sql\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/operations.md has no statements")
	}
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Forgets = true
		in := w.Start(nil)
		cat, b := w.Person("Cat"), w.Browser(world.Firefox)
		login := w.App.Begin()
		_, letter := b.Ask(login, cat)
		got := login.Finish(b.Submit(b.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
		_, pending := b.Ask(w.App.Begin(oauth2.SetAuthURLParam("prompt", "login")), cat)
		_, published := w.Send(http.MethodGet, w.Issuer+"/jwks", "", nil)
		old := w.Settings["secret"]
		in.Stop()

		execute(t, w, string(block[1]))
		secret := world.NewSecret()
		w.Seen.Secret("secret", secret)
		w.Start(map[string]any{"secret": secret, "previous_secrets": []any{old}}).Stop()
		w.Start(map[string]any{"secret": secret})

		if _, now := w.Send(http.MethodGet, w.Issuer+"/jwks", "", nil); now == published {
			t.Error("the keys are the old ones")
		}
		b.Open(w.App.Begin().Address).MustBe("login", http.StatusOK)
		if page := b.Open(pending.Link); page.Name() == "confirm" || page.Status == http.StatusOK {
			t.Errorf("a link of before leads to %s, %d", page.Name(), page.Status)
		}
		if _, err := login.Provider.UserInfo(w.App.Ctx(), oauth2.StaticTokenSource(got.Token)); err == nil {
			t.Error("an access token of before is good")
		}
		refused(t, "a refresh token of before", "invalid_grant", func() error { _, err := login.Refresh(got.Token); return err })

		again := w.App.Begin()
		_, letter = b.Ask(again, cat)
		if after := again.Finish(b.Submit(b.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm")); after.Id.Subject != got.Id.Subject {
			t.Errorf("sub was %s and is %s", got.Id.Subject, after.Id.Subject)
		}
	})
}

// execute runs statements in the database, as its owner does.
func execute(t *testing.T, w *world.World, statements string) {
	t.Helper()
	if file, ok := strings.CutPrefix(w.Database, "sqlite:"); ok {
		db, err := sql.Open("sqlite", "file:"+file+"?_pragma=foreign_keys(1)")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(statements); err != nil {
			t.Fatal(err)
		}
		return
	}
	db, err := pgx.Connect(t.Context(), w.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	if _, err := db.Exec(t.Context(), statements, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}
