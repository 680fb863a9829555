package postgres_test

import (
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

func contract(t *testing.T, url func(database string) string) {
	storagetest.Run(t, func(t *testing.T) func(t *testing.T) storagetest.Store {
		database := postgrestest.New(t)
		return func(t *testing.T) storagetest.Store { return open(t, url(database)) }
	})
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
