package postgrestest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

func TestNew(t *testing.T) {
	url := postgrestest.New(t)
	for range 10 {
		_ = postgrestest.New(t)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var super bool
	if err := conn.QueryRow(t.Context(), `SELECT rolsuper FROM pg_roles WHERE rolname = current_user`).Scan(&super); err != nil {
		t.Fatal(err)
	}
	if super {
		t.Error("the role is a superuser")
	}
}
