package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/postgres"
	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

// everyCall goes through every call, with the records of a number of their own.
func everyCall(ctx context.Context, db *postgres.DB, n int64, step func(name string, call func() error)) {
	a, m, limits := newAttempt(n)
	other, otherMail, _ := newAttempt(1000 + n)
	c := completionOf(a)
	l := storage.Login{Session: c.Session, User: storage.User{ID: c.UserID}}
	g := grantOf(l)
	later := t0.Add(time.Minute)
	client := storage.Client{ID: fmt.Sprint("client", n), Name: "Client", CreatedAt: t0, UpdatedAt: t0}
	key := storage.SigningKey{ID: fmt.Sprint("key", n), Algorithm: "RS256", Generation: int(n), Sealed: []byte{0, 0xff}, CreatedAt: t0, SignsAt: t0}
	consent := storage.Consent{UserID: c.UserID, ClientID: client.ID, Scopes: []string{"openid"}, At: t0}

	use := storage.Use{Key: fmt.Sprint("use", n), EndsAt: later}
	held := storage.Use{Key: fmt.Sprint("held", n), Holder: "holder", EndsAt: later}
	device := storage.Device{
		ID: fmt.Sprint("device", n), UserCode: fmt.Sprint("CODE", n), ClientID: g.ClientID, Scopes: []string{"openid"},
		CreatedAt: t0, ExpiresAt: later, Interval: 5 * time.Second, PollAt: t0,
	}
	denied := device
	denied.ID, denied.UserCode = fmt.Sprint("denied", n), fmt.Sprint("DENIED", n)
	ofDevice := g
	ofDevice.ID = fmt.Sprint("grant of device", n)

	step("StartAttempt", func() error { return db.StartAttempt(ctx, a, m, limits, t0) })
	step("StartAttempt, no limit", func() error { return db.StartAttempt(ctx, other, otherMail, nil, t0) })
	step("StartAttempt, limit full", func() error {
		third, thirdMail, _ := newAttempt(2000 + n)
		full := storage.Limit{Key: "full", Max: 0, Window: time.Hour}
		return want[*storage.LimitError](db.StartAttempt(ctx, third, thirdMail, []storage.Limit{full}, t0))
	})
	step("Attempt", func() error { _, err := db.Attempt(ctx, a.ID); return err })
	step("LatestAttempt", func() error { _, err := db.LatestAttempt(ctx, a.Txn, a.Browser); return err })
	step("ShowCode", func() error { _, err := db.ShowCode(ctx, a.ID, t0); return err })
	step("TryCode", func() error { _, err := db.TryCode(ctx, a.ID, a.Browser, false, t0); return err })
	step("CloseAttempt", func() error { return db.CloseAttempt(ctx, other.ID, t0) })
	step("CancelAttempts", func() error { return db.CancelAttempts(ctx, other.Txn, other.Browser, t0) })
	step("ClaimMail", func() error {
		claimed, err := db.ClaimMail(ctx, 10, t0, later)
		if err == nil && (len(claimed) != 1 || claimed[0].Mail.ID != m.ID) {
			err = fmt.Errorf("got %+v", claimed)
		}
		return err
	})
	step("FinishMail", func() error {
		return db.FinishMail(ctx, []storage.MailOutcome{{ID: m.ID, State: storage.MailSent, Detail: "250"}, {ID: otherMail.ID, State: storage.MailQueued, NextAt: later}}, t0)
	})
	step("CompleteAttempt", func() error {
		got, err := db.CompleteAttempt(ctx, c, t0)
		if err == nil && (got.Session.ID != l.Session.ID || got.User.ID != l.User.ID) {
			err = fmt.Errorf("got %+v", got)
		}
		return err
	})
	step("CompleteAttempt again", func() error {
		_, err := db.CompleteAttempt(ctx, c, t0)
		return wantIs(err, storage.ErrNotFound)
	})
	step("Session", func() error { _, err := db.Session(ctx, l.Session.ID, t0); return err })
	step("TouchSession", func() error { return db.TouchSession(ctx, l.Session.ID, t0, later) })
	step("CountLimits", func() error {
		return db.CountLimits(ctx, []storage.Limit{{Key: "code:a", Max: 9, Window: time.Hour}}, t0)
	})
	step("RedeemCode", func() error { _, err := db.RedeemCode(ctx, g, storage.Redeeming{Notify: true}, t0); return err })
	step("Refresh", func() error { _, _, err := db.Refresh(ctx, refreshing(g, 1), t0); return err })
	step("Use", func() error { return db.Use(ctx, []storage.Use{use, held}, t0) })
	step("Use by its holder", func() error { return db.Use(ctx, []storage.Use{held}, t0) })
	step("Use again", func() error { return wantIs(db.Use(ctx, []storage.Use{held, use}, t0), storage.ErrConflict) })
	step("Used", func() error { _, err := db.Used(ctx, use.Key, t0); return err })
	step("AddDevice", func() error { return db.AddDevice(ctx, device) })
	step("AddDevice again", func() error { return wantIs(db.AddDevice(ctx, device), storage.ErrConflict) })
	step("AddDevice, another", func() error { return db.AddDevice(ctx, denied) })
	step("Device", func() error { _, err := db.Device(ctx, device.UserCode, t0); return err })
	step("AllowDevice", func() error { return db.AllowDevice(ctx, device.UserCode, l, t0) })
	step("DenyDevice", func() error { return db.DenyDevice(ctx, denied.UserCode, t0) })
	for _, poll := range []string{"PollDevice", "PollDevice too early"} {
		step(poll, func() error { _, err := db.PollDevice(ctx, device.ID, device.ClientID, t0); return err })
	}
	step("RedeemDevice", func() error { _, err := db.RedeemDevice(ctx, device.ID, ofDevice, true, t0); return err })
	step("RedeemDevice again", func() error {
		_, err := db.RedeemDevice(ctx, device.ID, ofDevice, true, t0)
		return wantIs(err, storage.ErrNotFound)
	})
	step("Grant", func() error { _, _, err := db.Grant(ctx, g.ID, t0); return err })
	step("RedeemCode again", func() error {
		_, err := db.RedeemCode(ctx, g, storage.Redeeming{}, t0)
		return wantIs(err, storage.ErrConflict)
	})
	step("BurnCode", func() error { return db.BurnCode(ctx, g, t0) })
	step("RevokeGrant", func() error { return db.RevokeGrant(ctx, g.ID, g.ClientID, t0) })
	step("SaveConsent", func() error { return db.SaveConsent(ctx, consent) })
	step("Consent", func() error { _, err := db.Consent(ctx, consent.UserID, consent.ClientID); return err })
	step("SessionsOf", func() error { _, err := db.SessionsOf(ctx, l.User.ID, t0); return err })
	step("Sessions", func() error {
		got, err := db.Sessions(ctx, storage.SessionFilter{UserID: l.User.ID, ClientID: g.ClientID, Limit: 9}, t0)
		if err == nil && (len(got) != 1 || got[0].User.ID != l.User.ID) {
			err = fmt.Errorf("got %+v", got)
		}
		return err
	})
	step("ClientsOf", func() error { _, err := db.ClientsOf(ctx, l.Session.ID); return err })
	step("UsersByID", func() error { _, err := db.UsersByID(ctx, []string{l.User.ID}); return err })
	step("UsersWithApps", func() error { _, err := db.UsersWithApps(ctx, g.ClientID, "", 9, t0); return err })
	step("EndSessionOf", func() error { return wantIs(db.EndSessionOf(ctx, l.User.ID, "unknown", t0), storage.ErrNotFound) })
	step("EndOtherSessions", func() error { _, err := db.EndOtherSessions(ctx, l.User.ID, l.Session.ID, t0); return err })
	step("Apps", func() error { _, err := db.Apps(ctx, l.User.ID, t0); return err })
	step("RemoveApp", func() error { return db.RemoveApp(ctx, l.User.ID, "another", t0) })
	step("SetProfile", func() error { _, err := db.SetProfile(ctx, l.User.ID, "Ada", "de", t0); return err })
	step("ChangeAddress", func() error {
		_, err := db.ChangeAddress(ctx, storage.AddressChange{AttemptID: other.ID, SessionID: l.Session.ID}, t0)
		return wantIs(err, storage.ErrNotFound)
	})
	step("Mute", func() error { return db.Mute(ctx, a.ID, t0, later) })
	step("Bounces", func() error { _, err := db.Bounces(ctx, t0, 10); return err })
	step("EndSession", func() error {
		clients, err := db.EndSession(ctx, l.Session.ID, t0)
		if err == nil && len(clients) != 1 {
			err = fmt.Errorf("got clients %q", clients)
		}
		return err
	})
	step("ClaimNotices", func() error {
		notices, err := db.ClaimNotices(ctx, 10, t0, later)
		if err == nil && (len(notices) != 1 || notices[0].SessionID != l.Session.ID) {
			err = fmt.Errorf("got %+v", notices)
		}
		return err
	})
	step("FinishNotices", func() error {
		return db.FinishNotices(ctx, []storage.NoticeOutcome{
			{SessionID: l.Session.ID, ClientID: g.ClientID, CreatedAt: t0, State: storage.NoticeDelivered, Detail: "204"}, {SessionID: "unknown", ClientID: "unknown", State: storage.NoticeQueued, NextAt: later},
		}, t0)
	})
	step("DeleteUser", func() error { return wantIs(db.DeleteUser(ctx, "unknown", t0), storage.ErrNotFound) })
	step("DisableUser", func() error { return db.DisableUser(ctx, l.User.ID, t0) })
	step("AddClient", func() error { return db.AddClient(ctx, client) })
	step("SaveClient", func() error { return db.SaveClient(ctx, client, client) })
	step("Client", func() error { _, err := db.Client(ctx, client.ID); return err })
	step("Clients", func() error { _, err := db.Clients(ctx); return err })
	step("RemoveClient", func() error { return db.RemoveClient(ctx, client.ID, t0) })
	step("AddSigningKey", func() error { return db.AddSigningKey(ctx, key) })
	step("SigningKeys", func() error { _, err := db.SigningKeys(ctx); return err })
	step("Events", func() error {
		events, err := db.By("operator").Events(ctx, storage.EventFilter{UserID: c.UserID, ClientID: g.ClientID, Name: storage.EventAppSignedIn, Since: t0, Until: later, Before: 1 << 60, Limit: 9})
		if err == nil && len(events) != 1 {
			err = fmt.Errorf("got %+v", events)
		}
		return err
	})
	step("SweepEvents", func() error { _, err := db.SweepEvents(ctx, t0, 10); return err })
	step("Sweep", func() error { _, err := db.Sweep(ctx, t0, 10); return err })
}

func want[E error](err error) error {
	var e E
	if errors.As(err, &e) {
		return nil
	}
	return fmt.Errorf("got error %w, want a %T", err, e)
}

func wantIs(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return fmt.Errorf("got error %w, want %w", err, target)
}

func must(t *testing.T) func(name string, call func() error) {
	return func(name string, call func() error) {
		t.Helper()
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every call is one round trip, and so one commit at most, in every way that
// statements can be executed.
func TestRoundTrips(t *testing.T) {
	for _, mode := range []string{"", "cache_statement", "cache_describe", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			url := postgrestest.New(t) + "&pool_max_conns=1" // what is prepared once is prepared for all
			if mode != "" {
				url += "&default_query_exec_mode=" + mode
			}
			url, w := postgrestest.Tap(t, url)
			db := open(t, url)
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			everyCall(t.Context(), db, 1, must(t))
			everyCall(t.Context(), db, 2, func(name string, call func() error) {
				before := w.RoundTrips.Load()
				must(t)(name, call)
				if n := w.RoundTrips.Load() - before; n != 1 {
					t.Errorf("%s: %d round trips", name, n)
				}
			})
		})
	}
}

// A release goes on serving while the next one adds to the schema, and starts
// on it, too.
func TestNewerSchema(t *testing.T) {
	url := postgrestest.New(t)
	db := open(t, url)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	everyCall(t.Context(), db, 1, must(t))
	_, newest, err := db.SchemaVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	admin := connect(t, url)
	for _, table := range []string{"clients", "users", "sessions", "attempts", "mail", "limits", "grants", "consents", "signing_keys", "session_clients", "logout_notices", "uses", "devices", "bounces", "mutes", "events"} {
		run(t, admin, `ALTER TABLE `+table+` ADD COLUMN later text NOT NULL DEFAULT 'later'`)
	}
	run(t, admin, `CREATE TABLE later (id text PRIMARY KEY)`)
	run(t, admin, `INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, true)`, newest+1)

	everyCall(t.Context(), db, 2, must(t))
	old := open(t, url)
	if err := old.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	at, got, err := old.SchemaVersion(t.Context())
	if err != nil || at != newest+1 || got != newest {
		t.Errorf("got version %d of %d, %v; want %d of %d", at, got, err, newest+1, newest)
	}
	everyCall(t.Context(), old, 3, must(t))
}
