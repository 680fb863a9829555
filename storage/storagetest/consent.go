package storagetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var consentTests = []test{
	{name: "saving adds scopes to what was allowed", run: consentAdds},
	{name: "a consent is of one user and one client", run: consentOwn},
	{name: "32 savings at once lose no scope", run: consentRace},
}

// wantConsent checks what a user allowed a client, in any order.
func (d *db) wantConsent(userID, clientID string, at time.Time, scopes ...string) {
	d.Helper()
	got, err := d.Consent(d.Context(), userID, clientID)
	d.must(err)
	slices.Sort(got.Scopes)
	slices.Sort(scopes)
	same(d, "consent", got, storage.Consent{UserID: userID, ClientID: clientID, Scopes: scopes, At: at})
}

func consentAdds(d *db) {
	user := d.signIn().User.ID
	given, kept := odd(t0)
	c := storage.Consent{UserID: user, ClientID: "client", Scopes: []string{"openid", "email"}, At: given}
	d.must(d.SaveConsent(d.Context(), c))
	d.wantConsent(user, "client", kept, "openid", "email")
	c.Scopes, c.At = []string{"groups", "email", "groups"}, t0.Add(time.Minute)
	d.must(d.SaveConsent(d.Context(), c))
	d.wantConsent(user, "client", c.At, "openid", "email", "groups")
	c.Scopes, c.At = nil, t0
	d.must(d.SaveConsent(d.Context(), c))
	d.wantConsent(user, "client", t0.Add(time.Minute), "openid", "email", "groups")
}

func consentOwn(d *db) {
	user, other := d.signIn().User.ID, d.signIn().User.ID
	d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: user, ClientID: "client", Scopes: []string{"openid"}, At: t0}))
	for _, of := range [][2]string{{user, "another"}, {other, "client"}, {"unknown", "client"}} {
		_, err := d.Consent(d.Context(), of[0], of[1])
		d.want(fmt.Sprint(of), err, storage.ErrNotFound)
	}
	err := d.SaveConsent(d.Context(), storage.Consent{UserID: "unknown", ClientID: "client", Scopes: []string{"openid"}, At: t0})
	if err == nil {
		d.Error("an unknown user's consent was saved")
	}
}

func consentRace(d *db) {
	user := d.signIn().User.ID
	scopes := make([]string, racers)
	for i := range scopes {
		scopes[i] = fmt.Sprintf("scope%02d", i)
	}
	for _, err := range d.race(func(s Store, i int) error {
		return s.SaveConsent(d.Context(), storage.Consent{UserID: user, ClientID: "client", Scopes: scopes[i : i+1], At: t0})
	}) {
		d.must(err)
	}
	d.wantConsent(user, "client", t0, scopes...)
}
