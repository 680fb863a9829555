package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// More people than one batch has.
func TestRevokingForEverybody(t *testing.T) {
	for engine := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			s := settingsOf(t, engine)
			db, err := openMigrated(t.Context(), &s, false)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			now := time.Now()
			const many = revokeBatch + 1
			for i := range many {
				u := storage.User{ID: fmt.Sprint("user", i), Key: fmt.Sprint("key", i), Email: "ada@example.com", CreatedAt: now, UpdatedAt: now}
				if err := db.AddUser(t.Context(), u); err != nil {
					t.Fatal(err)
				}
				if err := db.SaveConsent(t.Context(), storage.Consent{UserID: u.ID, ClientID: "app", Scopes: []string{"openid"}, At: now}); err != nil {
					t.Fatal(err)
				}
			}
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), []string{"grant", "revoke", "--client", "app", "--yes"}, []string{"SEALPOST_DATABASE=" + string(s.Database)}, strings.NewReader(""), &stdout, &stderr)
			if code != exitOK || stdout.String() != fmt.Sprintf("revoked %d\n", many) || stderr.String() != fmt.Sprintf("%d revoked so far\n", revokeBatch) {
				t.Errorf("exit code %d, %q, %q", code, &stdout, &stderr)
			}
			left, err := db.UsersWithApps(t.Context(), "app", "", 1, now)
			if err != nil || len(left) > 0 {
				t.Errorf("left %v, %v", left, err)
			}
		})
	}
}
