package postgres_test

import (
	"strings"
	"testing"

	"github.com/sealpost/sealpost/storage/postgres"
	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
	"github.com/sealpost/sealpost/storage/storagetest"
)

func open(t testing.TB, url string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), url)
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

// contract runs the suite on a database whose URL is changed by url. Tests of the
// schema get an empty database each; the others share one with the schema and no
// rows, for making the tables takes longer than most tests do.
func contract(t *testing.T, url func(database string) string) {
	shared := postgrestest.New(t)
	if err := open(t, shared).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin := connect(t, shared)
	// In any order: rows that refer to others go with them.
	var empty string
	err := admin.QueryRow(t.Context(), `SELECT string_agg('DELETE FROM ' || tablename, '; ') FROM pg_tables
		WHERE schemaname = 'public' AND tablename NOT IN ('goose_db_version', 'schema_lock')`).Scan(&empty)
	if err != nil {
		t.Fatal(err)
	}
	name := t.Name()
	storagetest.Run(t, func(t *testing.T) func(t *testing.T) storagetest.Store {
		database := shared
		if strings.HasPrefix(t.Name(), name+"/schema/") {
			database = postgrestest.New(t)
		} else {
			run(t, admin, empty)
		}
		return func(t *testing.T) storagetest.Store { return open(t, url(database)) }
	}, func(s storagetest.Store, actor string) storagetest.Store { return s.(*postgres.DB).By(actor) })
}

func TestContract(t *testing.T) {
	contract(t, func(database string) string { return database })
}

// Where every transaction is serializable, as on CockroachDB, the engine meets
// many that the server gives up and that it has to try again.
func TestContractSerializable(t *testing.T) {
	contract(t, func(database string) string {
		return database + serializable
	})
}

// Behind PgBouncer in transaction mode each transaction may run in another
// session.
func TestContractPgBouncer(t *testing.T) {
	contract(t, func(database string) string { return postgrestest.PgBouncer(t, database) })
}
