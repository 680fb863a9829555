package postgres_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

// When the server has ended all connections, one call finds out for all. (One
// that has been idle for a second is asked before it is used, and costs none.)
func TestLostConnections(t *testing.T) {
	const connections = 4
	url := postgrestest.New(t)
	db, admin := open(t, url+"&pool_max_conns=4"), connect(t, url)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		// As many calls at once as there may be connections.
		run(t, admin, `BEGIN`)
		run(t, admin, `LOCK TABLE users IN ACCESS EXCLUSIVE MODE`)
		var all sync.WaitGroup
		for range connections {
			all.Go(func() {
				if _, err := db.User(t.Context(), "nobody"); !errors.Is(err, storage.ErrNotFound) {
					t.Error(err)
				}
			})
		}
		for waiting := 0; waiting < connections; {
			if err := admin.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&waiting); err != nil {
				t.Fatal(err)
			}
		}
		run(t, admin, `COMMIT`)
		all.Wait()
		run(t, admin, `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()`)
		lost := 0
		for range 2 * connections {
			if _, err := db.User(t.Context(), "nobody"); !errors.Is(err, storage.ErrNotFound) {
				lost++
			}
		}
		if lost > 1 {
			t.Errorf("%d calls failed", lost)
		}
	}
}
