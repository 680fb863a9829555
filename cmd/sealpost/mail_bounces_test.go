package main

import (
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

func TestMailBounces(t *testing.T) {
	for engine := range engines {
		t.Run(engine, func(t *testing.T) {
			s := settingsOf(t, engine)
			db, err := openMigrated(t.Context(), &s, false)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			said := func(args ...string) string {
				t.Helper()
				var out, problems safeBuffer
				if code := run(t.Context(), append([]string{"mail", "bounces"}, args...), []string{"SEALPOST_DATABASE=" + string(s.Database)}, nil, &out, &problems); code != exitOK || problems.String() != "" {
					t.Fatalf("exit code %d: %s", code, problems.String())
				}
				return out.String()
			}
			doctor := func(want string) {
				t.Helper()
				d := &doctor{now: time.Now, settings: &s}
				d.database(t.Context())
				d.wants(t, want)
			}
			if have := said("--json"); have != "[]\n" {
				t.Errorf("at first: %s", have)
			}
			doctor("ok bounces: no address is refused")

			at := time.Now().Add(-48 * time.Hour).UTC().Truncate(time.Second)
			for i, email := range []string{"gone@example.com", "full@example.com"} {
				at := at.Add(time.Duration(i) * 36 * time.Hour)
				a := storage.Attempt{ID: keys.ID(), Txn: keys.ID(), Email: email, Key: email, CreatedAt: at, ExpiresAt: at.Add(time.Hour)}
				m := storage.Mail{ID: keys.ID(), AttemptID: a.ID, CreatedAt: at, NextAt: at, NotAfter: at.Add(time.Hour)}
				if err := db.StartAttempt(t.Context(), a, m, nil, at); err != nil {
					t.Fatal(err)
				}
				if err := db.FinishMail(t.Context(), []storage.MailOutcome{{ID: m.ID, State: storage.MailFailed, Detail: "rcpt 550 5.1.1", Bounced: true}}, at); err != nil {
					t.Fatal(err)
				}
			}
			lines := strings.Split(strings.TrimSpace(said()), "\n")
			if len(lines) != 3 || !strings.HasPrefix(lines[0], "EMAIL ") || !strings.HasPrefix(lines[1], "full@example.com ") ||
				strings.Join(strings.Fields(lines[2]), " ") != "gone@example.com "+stamp(at)+" 1 rcpt 550 5.1.1" {
				t.Errorf("have %q", lines)
			}
			if have := said("--since", "24h", "--json"); !strings.Contains(have, `"email": "full@example.com"`) || strings.Contains(have, "gone") {
				t.Errorf("since yesterday: %s", have)
			}
			if have := said("--limit", "1"); strings.Contains(have, "gone") {
				t.Errorf("at most one: %s", have)
			}
			doctor("ok bounces: 2 addresses are refused, the last on ")
		})
	}
}
