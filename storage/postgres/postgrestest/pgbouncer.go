//go:build unix

package postgrestest

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"sync"
	"testing"
)

// PgBouncer gives the URL of a database of New through a PgBouncer in
// transaction mode that has two connections to the server for all clients of a
// database. Without the pgbouncer binary the test fails.
func PgBouncer(t testing.TB, database string) string {
	t.Helper()
	address, err := pooler()
	if err != nil {
		t.Fatalf("postgrestest: pgbouncer: %v", err)
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatalf("postgrestest: PgBouncer wants a URL of New")
	}
	u.Host = address
	return u.String()
}

var pooler = sync.OnceValues(startPgBouncer)

func startPgBouncer() (address string, err error) {
	admin, err := server()
	if err != nil {
		return "", err
	}
	u, err := url.Parse(admin)
	if err != nil {
		return "", err
	}
	bin, err := findPgBouncer()
	if err != nil {
		return "", err
	}
	password, _ := u.User.Password()
	// auth_type any: whoever connects is the user of the line of the databases.
	// The check makes up for New, which ends the sessions of a database.
	const config = `[databases]
* = host=%s port=%s user=%s password=%s
[pgbouncer]
listen_addr = %s
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 500
server_check_delay = 0
`
	files := map[string]string{}
	return start("KILL", files, func(host, port string) string {
		files["pgbouncer.ini"] = fmt.Sprintf(config, u.Hostname(), cmp.Or(u.Port(), "5432"), u.User.Username(), password, host, port)
		return "exec " + bin + " pgbouncer.ini"
	}, func(address string) error {
		pooled := *u
		pooled.Host = address
		return execute(pooled.String(), "SELECT 1")
	})
}

func findPgBouncer() (string, error) {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} { // sbin may not be in PATH
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("PgBouncer is not installed; run: apt-get install pgbouncer")
}
