//go:build unix

// Package postgrestest gives tests a PostgreSQL database of their own.
//
// The server is the one that SEALPOST_TEST_POSTGRES names, the URL of a role
// that may create databases; without it a private one is started from the
// installed binaries, once for each test process, and goes away with the
// process however that ends.
package postgrestest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Env names the environment variable with the URL of a server to use.
const Env = "SEALPOST_TEST_POSTGRES"

// startTimeout bounds how long a server may take to start; a loaded machine
// needs more than the usual second.
const startTimeout = time.Minute

var server = sync.OnceValues(func() (string, error) {
	if u := os.Getenv(Env); u != "" {
		return u, nil
	}
	return startPostgres()
})

// free names the databases of the private server that were emptied for the next
// test, which takes a tenth of the time of making one.
var free struct {
	sync.Mutex
	names []string
}

// New gives the URL of a fresh, empty database, which is gone when the test is
// over. Its role is no superuser. A server that cannot be reached or started
// fails the test.
func New(t testing.TB) string {
	t.Helper()
	admin, err := server()
	if err != nil {
		t.Fatalf("postgrestest: %v", err)
	}
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatalf("postgrestest: %s is not a URL", Env)
	}
	free.Lock()
	var name string
	if n := len(free.names); n > 0 {
		name, free.names = free.names[n-1], free.names[:n-1]
	}
	free.Unlock()
	if name == "" {
		name = "sealpost_test_" + strings.ToLower(rand.Text())
		// template0 has no sessions, so that databases can be made at the same time.
		if err := execute(admin, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
			t.Fatalf("postgrestest: create database: %v", err)
		}
	}
	u.Path = "/" + name
	t.Cleanup(func() {
		if err := discard(admin, u.String(), name); err != nil {
			t.Errorf("postgrestest: discard database: %v", err)
		}
	})
	return u.String()
}

func discard(admin, database, name string) error {
	if os.Getenv(Env) != "" { // leave nothing behind
		return execute(admin, "DROP DATABASE "+name+" WITH (FORCE)")
	}
	const empty = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid();
		DROP SCHEMA public CASCADE; CREATE SCHEMA public`
	if err := execute(database, empty); err != nil {
		return err
	}
	free.Lock()
	defer free.Unlock()
	free.names = append(free.names, name)
	return nil
}

func execute(url, query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, query)
	return errors.Join(err, conn.Close(ctx))
}

// What makes a server and runs it: of the binaries, a host and a port. No
// fsync: what a crash of the machine would lose is thrown away in any case.
const (
	initialize = `
				%[1]s/initdb -D data -U postgres --pwfile=password --auth=password --encoding=UTF8 --no-locale --no-sync || exit 1`
	serve = `%[1]s/postgres -D data -c listen_addresses=%[2]s -c port=%[3]s -c unix_socket_directories= \
					-c fsync=off -c full_page_writes=off -c wal_level=minimal -c max_wal_senders=0 \
					-c autovacuum=off -c shared_buffers=32MB -c max_connections=100`
)

// NewServer starts a server with nothing on it, which goes away with the
// process, and gives the URL of its superuser. Without the binaries the test
// fails, whatever SEALPOST_TEST_POSTGRES names.
func NewServer(t testing.TB) string {
	t.Helper()
	superuser, err := startServer()
	if err != nil {
		t.Fatalf("postgrestest: %v", err)
	}
	return superuser
}

// startPostgres starts a server and gives the URL of a role that may create
// databases and nothing else.
func startPostgres() (string, error) {
	superuser, err := startServer()
	if err != nil {
		return "", err
	}
	u, err := url.Parse(superuser)
	if err != nil {
		return "", err
	}
	password := rand.Text()
	return roleURL("sealpost", password, u.Host), execute(superuser, "CREATE ROLE sealpost LOGIN CREATEDB PASSWORD '"+password+"'")
}

// startServer starts a server on a free port of the loopback address and gives
// the URL of its superuser.
func startServer() (string, error) {
	bin, err := findPostgres()
	if err != nil {
		return "", err
	}
	password := rand.Text()
	address, err := start("QUIT", // immediately, and take the children along
		map[string]string{"password": password},
		func(host, port string) string {
			return fmt.Sprintf(initialize+`
				exec `+serve, bin, host, port)
		},
		func(address string) error { return execute(roleURL("postgres", password, address), "SELECT 1") })
	return roleURL("postgres", password, address), err
}

func roleURL(role, password, address string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/postgres?sslmode=disable", role, password, address)
}

// findPostgres finds the directory with the server's binaries, of the newest
// version that is installed.
func findPostgres() (string, error) {
	var dirs []string
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		slices.Reverse(found)
		dirs = append(dirs, found...)
	}
	for _, dir := range dirs {
		_, err := os.Stat(filepath.Join(dir, "initdb"))
		_, err2 := os.Stat(filepath.Join(dir, "postgres"))
		if err == nil && err2 == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("PostgreSQL is not installed; run: apt-get install postgresql (or name a server in %s)", Env)
}
