package postgres_test

import (
	"fmt"
	"testing"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

const serializable = "&options=-c%20default_transaction_isolation%3Dserializable"

// A transaction that cannot be put in order with another's is tried again.
func TestSerializationFailure(t *testing.T) {
	database := postgrestest.New(t)
	url, w := postgrestest.Tap(t, database+serializable)
	db := open(t, url)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := storage.Consent{UserID: complete(t, db, start(t, db, 1)).User.ID, ClientID: "client", Scopes: []string{"a"}, At: t0}
	if err := db.SaveConsent(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	err := amid(t, database, `UPDATE consents SET scopes = scopes || ARRAY['b'] WHERE user_id = $1`, []any{c.UserID}, func() error {
		c := c
		c.Scopes = []string{"c"}
		return db.SaveConsent(t.Context(), c)
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.GaveUp.Load() == 0 {
		t.Error("the server gave nothing up: this proves nothing")
	}
	got, err := db.Consent(t.Context(), c.UserID, c.ClientID)
	if err != nil || fmt.Sprint(got.Scopes) != "[a b c]" {
		t.Errorf("got %v, %v; want [a b c]", got.Scopes, err)
	}
}

// Single statements and transactions of several are tried again for as long as
// it may help, and not for ever.
func TestTransient(t *testing.T) {
	for _, code := range []string{"40001", "40P01"} {
		t.Run(code, func(t *testing.T) {
			database := postgrestest.New(t)
			url, w := postgrestest.Tap(t, database+"&pool_max_conns=1")
			db := open(t, url)
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			admin := connect(t, database)
			run(t, admin, `CREATE SEQUENCE failures`) // a sequence counts on when a transaction is given up
			run(t, admin, `CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF nextval('failures') < TG_ARGV[0]::bigint THEN RAISE EXCEPTION 'given up' USING ERRCODE = '`+code+`'; END IF;
				RETURN new; END $$`)
			for _, table := range []string{"attempts", "grants"} {
				run(t, admin, `CREATE TRIGGER fail BEFORE INSERT ON `+table+` FOR EACH ROW EXECUTE FUNCTION fail('4')`)
			}
			a := start(t, db, 1)
			if n := w.GaveUp.Load(); n != 3 {
				t.Errorf("StartAttempt was given up %d times, want 3", n)
			}
			run(t, admin, `ALTER SEQUENCE failures RESTART`)
			redeem(t, db, complete(t, db, a))
			if n := w.GaveUp.Load(); n != 6 {
				t.Errorf("StartAttempt and RedeemCode were given up %d times, want 6", n)
			}

			run(t, admin, `DROP TRIGGER fail ON attempts`)
			run(t, admin, `CREATE TRIGGER fail BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION fail('1000')`)
			b, m, limits := newAttempt(2)
			if err := db.StartAttempt(t.Context(), b, m, limits, t0); err == nil {
				t.Error("it succeeded")
			}
			if n := w.GaveUp.Load(); n < 16 || n > 106 {
				t.Errorf("given up %d times in all", n)
			}
			run(t, admin, `DROP TRIGGER fail ON attempts`)
			start(t, db, 2) // the connection is good, and nothing was counted
		})
	}
}
