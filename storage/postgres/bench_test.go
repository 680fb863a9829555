package postgres_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/postgres"
	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
	"github.com/sealpost/sealpost/storage/storagetest"
)

var t0 = time.Date(2030, time.March, 4, 5, 6, 7, 0, time.UTC)

func migrated(t testing.TB) *postgres.DB {
	t.Helper()
	db := open(t, postgrestest.New(t))
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// newAttempt is the attempt of a number, which no other has, as StartAttempt
// takes it.
func newAttempt(n int64) (storage.Attempt, storage.Mail, []storage.Limit) {
	a := storage.Attempt{
		ID: fmt.Sprintf("attempt-with-a-long-id-%020d", n), Txn: fmt.Sprintf("txn-with-a-long-id-%020d", n), Browser: "browser", Request: "sealed",
		Key: fmt.Sprintf("user%d@example.com", n), Email: fmt.Sprintf("User%d@example.com", n), CreatedAt: t0, ExpiresAt: t0.Add(15 * time.Minute),
	}
	m := storage.Mail{ID: fmt.Sprintf("mail-with-a-long-id-%020d", n), AttemptID: a.ID, CreatedAt: t0, NextAt: t0, NotAfter: a.ExpiresAt}
	return a, m, []storage.Limit{
		{Key: fmt.Sprintf("address:%d", n), Max: 5, Window: 15 * time.Minute},
		{Key: fmt.Sprintf("network:%d", n%100), Max: 1 << 30, Window: 15 * time.Minute},
	}
}

func start(t testing.TB, db *postgres.DB, n int64) storage.Attempt {
	t.Helper()
	a, m, limits := newAttempt(n)
	if err := db.StartAttempt(t.Context(), a, m, limits, t0); err != nil {
		t.Fatal(err)
	}
	return a
}

func completionOf(a storage.Attempt) storage.Completion {
	return storage.Completion{
		AttemptID: a.ID, UserID: "user-of-" + a.ID, Signup: true,
		Session: storage.Session{ID: "session-of-" + a.ID, AuthTime: t0, CreatedAt: t0, SeenAt: t0, ExpiresAt: t0.Add(720 * time.Hour), IdleAt: t0.Add(168 * time.Hour)},
	}
}

func complete(t testing.TB, db *postgres.DB, a storage.Attempt) storage.Login {
	t.Helper()
	l, err := db.CompleteAttempt(t.Context(), completionOf(a), t0)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func grantOf(l storage.Login) storage.Grant {
	return storage.Grant{
		ID: "grant-of-" + l.Session.ID, ClientID: "client", UserID: l.User.ID, SessionID: l.Session.ID, Scopes: []string{"openid", "email", "offline_access"},
		AuthTime: t0, CreatedAt: t0, ExpiresAt: t0.Add(2000 * time.Hour), Refresh: 1, RefreshIdleAt: t0.Add(720 * time.Hour), RefreshEndsAt: t0.Add(2000 * time.Hour), Offline: true,
	}
}

func redeem(t testing.TB, db *postgres.DB, l storage.Login) storage.Grant {
	t.Helper()
	g := grantOf(l)
	if _, err := db.RedeemCode(t.Context(), g, storage.Redeeming{Notify: true}, t0); err != nil {
		t.Fatal(err)
	}
	return g
}

func refreshing(g storage.Grant, generation int) storage.Refreshing {
	return storage.Refreshing{ID: g.ID, ClientID: g.ClientID, Generation: generation, IdleAt: t0.Add(720 * time.Hour), ExpiresAt: t0.Add(721 * time.Hour)}
}

func refresh(t testing.TB, db *postgres.DB, g storage.Grant, generation int) {
	t.Helper()
	if _, _, err := db.Refresh(t.Context(), refreshing(g, generation), t0); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkLogin is what one login asks of the database: three commits.
func BenchmarkLogin(b *testing.B) {
	db := migrated(b)
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			redeem(b, db, complete(b, db, start(b, db, n.Add(1))))
		}
	})
}

func BenchmarkStartAttempt(b *testing.B) {
	db := migrated(b)
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			start(b, db, n.Add(1))
		}
	})
}

func BenchmarkRefresh(b *testing.B) {
	db := migrated(b)
	g := redeem(b, db, complete(b, db, start(b, db, 1)))
	for n := 1; b.Loop(); n++ {
		refresh(b, db, g, n)
	}
}

func BenchmarkSession(b *testing.B) {
	db := migrated(b)
	id := complete(b, db, start(b, db, 1)).Session.ID
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := db.Session(b.Context(), id, t0); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSweep(b *testing.B) {
	db := migrated(b)
	storagetest.BenchmarkSweep(b, db, func(n int64) {
		if _, err := db.RedeemCode(b.Context(), grantOf(complete(b, db, start(b, db, n))), storage.Redeeming{}, t0); err != nil {
			b.Fatal(err)
		}
	})
}
