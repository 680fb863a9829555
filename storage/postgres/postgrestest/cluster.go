//go:build unix

package postgrestest

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Cluster is a server of a test's own, which it may crash. It lives as long as
// the test process.
type Cluster struct {
	URL   string // of an empty database; its role owns it
	admin string
}

// NewCluster starts a server from the installed binaries.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	bin, err := findPostgres()
	if err != nil {
		t.Fatalf("postgrestest: %v", err)
	}
	password := rand.Text()
	c := &Cluster{}
	address, err := start("TERM", map[string]string{"password": password},
		func(host, port string) string {
			// Whenever the server is gone it is started again. What it has written
			// survives its end, if not that of the machine.
			return fmt.Sprintf(initialize+`
				trap 'kill -s QUIT $server; wait; exit' TERM
				while true; do `+serve+` & server=$!; wait $server; done`, bin, host, port)
		},
		func(address string) error {
			c.admin, c.URL = roleURL("postgres", password, address), roleURL("sealpost", password, address)
			return execute(c.admin, "CREATE ROLE sealpost LOGIN PASSWORD '"+password+"'; GRANT CREATE ON SCHEMA public TO sealpost")
		})
	if err != nil {
		t.Fatalf("postgrestest: %s: %v", address, err)
	}
	return c
}

// Crash ends the server without any goodbye, and waits until it is there again.
func (c *Cluster) Crash(t testing.TB) {
	t.Helper()
	was, err := c.process()
	if err != nil {
		t.Fatalf("postgrestest: %v", err)
	}
	if err := syscall.Kill(was, syscall.SIGQUIT); err != nil {
		t.Fatalf("postgrestest: %v", err)
	}
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
		is, err := c.process()
		if err == nil && is != was {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("postgrestest: the server did not come back: %v", err)
		}
	}
}

// process is the number of the server's process.
func (c *Cluster) process() (pid int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.admin)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	var text string
	if err := conn.QueryRow(ctx, `SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)`).Scan(&text); err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}
