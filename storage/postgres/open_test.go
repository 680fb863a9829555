package postgres_test

import (
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/storage/postgres"
	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

// What goes wrong at the start is told so that it can be put right, and without
// the password.
func TestOpenErrors(t *testing.T) {
	database := postgrestest.New(t)
	change := func(f func(u *url.URL)) string {
		u, err := url.Parse(database)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(u.User.Username(), "topsecret")
		f(u)
		return u.String()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, url, want string }{
		{"wrong password", change(func(*url.URL) {}), "password authentication failed"},
		{"unknown role", change(func(u *url.URL) { u.User = url.UserPassword("nobody", "topsecret") }), "nobody"},
		{"unknown database", strings.Replace(database, "/sealpost_test_", "/unknown_", 1), `does not exist`},
		{"unknown host", change(func(u *url.URL) { u.Host = "db.invalid" }), "db.invalid"},
		{"nobody listens", change(func(u *url.URL) { u.Host = closed }), "connection refused"},
		{"no TLS", change(func(u *url.URL) { u.RawQuery = "sslmode=require" }), "TLS"},
		{"unknown sslmode", change(func(u *url.URL) { u.RawQuery = "sslmode=maybe" }), "sslmode"},
		{"unknown way to execute", change(func(u *url.URL) { u.RawQuery = "default_query_exec_mode=fast" }), "default_query_exec_mode"},
		{"bad size of the pool", change(func(u *url.URL) { u.RawQuery = "pool_max_conns=many" }), "pool_max_conns"},
		{"password in the query", "postgres://u@" + closed + "/db?password=topsecret&pool_max_conns=0", "pool_max_conns"},
		{"slash in the password", "postgres://u:top/topsecret@localhost/db", "%2F"},
		{"number and slash in the password", "postgres://u:12/topsecret@localhost/db", "%2F"},
		{"question mark in the password", "postgres://u:top?topsecret@localhost/db", "%3F"},
		{"percent in the password", "postgres://u:topsecret%@localhost/db", "%25"},
		{"no URL", "host=localhost user=u password=topsecret", "postgres://"},
		{"bad port", "postgres://u:topsecret@localhost:port/db", "not a URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			db, err := postgres.Open(t.Context(), c.url)
			if err == nil {
				t.Fatal(db.Close(), "it was opened")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want it to tell %q", err, c.want)
			}
			if strings.Contains(err.Error(), "topsecret") {
				t.Errorf("%q tells the password", err)
			}
		})
	}
}

// Prepared statements are for connections that lead to the server itself.
func TestPrepared(t *testing.T) {
	database := postgrestest.New(t)
	for i, c := range []struct {
		name, url string
		want      bool
	}{
		{"direct", database, true},
		{"direct, not wanted", database + "&default_query_exec_mode=cache_describe", false},
		{"behind PgBouncer", postgrestest.PgBouncer(t, database), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, w := postgrestest.Tap(t, c.url)
			db := open(t, url)
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			everyCall(t.Context(), db, int64(i+1), must(t))
			if got := w.Prepared.Load() > 0; got != c.want {
				t.Errorf("statements were prepared: %v, want %v", got, c.want)
			}
		})
	}
}
