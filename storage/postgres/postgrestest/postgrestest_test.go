//go:build unix

package postgrestest_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

func query(t *testing.T, url, sql string) (answer string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func run(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestNew(t *testing.T) {
	const (
		super  = `SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user`
		tables = `SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'`
	)
	for range 3 { // the second may be the first again
		t.Run("", func(t *testing.T) {
			url, other := postgrestest.New(t), postgrestest.New(t)
			if url == other {
				t.Fatal("two of one")
			}
			if query(t, url, super) != "false" {
				t.Error("the role is a superuser")
			}
			if query(t, url, tables) != "0" {
				t.Error("the database is not empty")
			}
			run(t, url, `CREATE TABLE one (n bigint)`)
			if query(t, other, tables) != "0" {
				t.Error("a table in one database is in the other")
			}
		})
	}
}

const child = "POSTGRESTEST_CHILD"

// Nothing is left of a server whose test process was killed.
func TestKilled(t *testing.T) {
	if os.Getenv(child) != "" {
		fmt.Println(postgrestest.PgBouncer(t, postgrestest.New(t)))
		select {}
	}
	dir := t.TempDir()
	// As /tmp is: the server may run as another user.
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), child+"=1", postgrestest.Env+"=", "TMPDIR="+dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if query(t, strings.TrimSpace(url), `SELECT 'here'`) != "here" {
		t.Error("the server does not answer")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		left, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left: %v", left)
		}
	}
}
