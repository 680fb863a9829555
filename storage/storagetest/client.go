package storagetest

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var clientTests = []test{
	{name: "every field comes back", run: clientFields},
	{name: "an id is taken once", run: clientConflict},
	{name: "saving replaces what is there", run: clientSave},
	{name: "removing takes along all that is the client's", run: clientRemove},
	{name: "clients are listed by id", run: clientList},
	{name: "of 32 callers one adds the client", run: clientRace},
}

func (d *db) wantClient(want storage.Client) {
	d.Helper()
	got, err := d.Client(d.Context(), want.ID)
	d.must(err)
	same(d, "keys", d.meaning(got.JWKS), d.meaning(want.JWKS))
	got.JWKS, want.JWKS = nil, nil
	same(d, "client", got, want)
}

// meaning is what JSON says: its text need not come back as it was.
func (d *db) meaning(text json.RawMessage) (v any) {
	d.Helper()
	if text != nil {
		d.must(json.Unmarshal(text, &v))
	}
	return v
}

// fill sets every field that goes into JSON, those to come included.
func fill(d *db, c *storage.Client) {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		switch f := v.Field(i).Addr().Interface().(type) {
		case *string:
			*f = "ü <" + name + "> \"'\\"
		case *[]string:
			*f = []string{name, "", "https://example.com/ü?a=b&c=" + name}
		case **int:
			*f = new(int)
		case **bool:
			*f = new(bool)
		case *bool:
			*f = true
		case *json.RawMessage:
			*f = json.RawMessage(`{"keys": [{"kty": "EC", "kid": "ü", "crv": "P-256", "y": "BB", "x": "AA", "n": 1}]}`)
		case *time.Time:
		default:
			d.Fatalf("field %s has a type that this test does not know", name)
		}
	}
}

func clientFields(d *db) {
	_, err := d.Client(d.Context(), "unknown")
	d.want("unknown", err, storage.ErrNotFound)

	var full storage.Client
	fill(d, &full)
	for _, want := range []storage.Client{
		full,
		{ID: "small", RedirectURIs: []string{"https://app.example.com/callback"}},
		storage.Client{ID: "usual", RedirectURIs: []string{"https://app.example.com/callback"}}.WithDefaults(),
	} {
		given := want
		given.CreatedAt, want.CreatedAt = odd(t0)
		given.UpdatedAt, want.UpdatedAt = odd(t0.Add(time.Minute))
		d.must(d.AddClient(d.Context(), given))
		d.wantClient(want)
	}
}

func clientConflict(d *db) {
	first := storage.Client{ID: "client", Name: "First", CreatedAt: t0, UpdatedAt: t0}
	d.must(d.AddClient(d.Context(), first))
	second := first
	second.Name = "Second"
	d.want("second", d.AddClient(d.Context(), second), storage.ErrConflict)
	d.wantClient(first)
	second.ID = "Client" // ids differ by case, too
	d.must(d.AddClient(d.Context(), second))
}

func clientSave(d *db) {
	c := storage.Client{ID: "client", Name: "First", Allow: []string{"*@example.com"}, CreatedAt: t0, UpdatedAt: t0}
	d.want("unknown", d.SaveClient(d.Context(), c, c), storage.ErrNotFound)
	d.must(d.AddClient(d.Context(), c))
	other := c
	other.ID = "other"
	d.must(d.AddClient(d.Context(), other))
	given := storage.Client{ID: c.ID, Name: "Second", SecretSHA256: "00ff", CreatedAt: t0.Add(time.Hour), UpdatedAt: t0.Add(time.Hour)}
	d.must(d.SaveClient(d.Context(), given, c))
	given.CreatedAt = t0
	d.wantClient(given)
	late := given
	late.Name, late.SecretSHA256 = "Late", ""
	for what, change := range map[string]func(seen *storage.Client){
		"no secret":                func(seen *storage.Client) { seen.SecretSHA256 = "" },
		"another secret":           func(seen *storage.Client) { seen.SecretSHA256 = "00fe" },
		"what it was before":       func(seen *storage.Client) { seen.UpdatedAt = t0 },
		"what it was a tick since": func(seen *storage.Client) { seen.UpdatedAt = seen.UpdatedAt.Add(tick) },
	} {
		seen := given
		change(&seen)
		d.want("whoever saw "+what, d.SaveClient(d.Context(), late, seen), storage.ErrConflict)
	}
	d.wantClient(given)
	seen := given
	given.Name = "Third"
	d.must(d.SaveClient(d.Context(), given, seen))
	d.wantClient(given)
	d.wantClient(other)
}

func clientRemove(d *db) {
	d.want("unknown", d.RemoveClient(d.Context(), "client", t0), storage.ErrNotFound)
	c := storage.Client{ID: "client", CreatedAt: t0, UpdatedAt: t0}
	d.must(d.AddClient(d.Context(), c))
	l := d.signIn()
	g, other := d.redeem(l, offline), d.redeem(l, offline, func(g *storage.Grant) { g.ClientID = "other" })
	for _, id := range []string{"client", "other"} {
		d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: l.User.ID, ClientID: id, Scopes: []string{"openid"}, At: t0}))
	}
	ended := d.signIn()
	for _, id := range []string{"client", "other"} {
		d.signInTo(ended, id, true)
	}
	d.end(ended.Session.ID, t0)
	asked, askedOther := d.askDevice(), d.askDevice(func(d *storage.Device) { d.ClientID = "other" })
	d.must(d.RemoveClient(d.Context(), "client", t0))
	_, err := d.Client(d.Context(), "client")
	d.want("removed", err, storage.ErrNotFound)
	d.want("again", d.RemoveClient(d.Context(), "client", t0), storage.ErrNotFound)

	d.must(d.AddClient(d.Context(), c))
	d.wantGrant("of the removed client", g.ID, t0, storage.ErrNotFound)
	_, err = d.Consent(d.Context(), l.User.ID, "client")
	d.want("consent of the removed client", err, storage.ErrNotFound)
	d.wantGrant("of another", other.ID, t0, nil)
	d.wantConsent(l.User.ID, "other", t0, "openid")
	_, err = d.Device(d.Context(), asked.UserCode, t0)
	d.want("device of the removed client", err, storage.ErrNotFound)
	_, err = d.Device(d.Context(), askedOther.UserCode, t0)
	d.must(err)
	same(d, "clients of the session", d.end(l.Session.ID, t0), []string{"other"})
	d.wantNotices("of the other", 10, t0, ended.Session.ID+" other")
}

func clientList(d *db) {
	list := func(want ...string) {
		d.Helper()
		got, err := d.Clients(d.Context())
		d.must(err)
		ids := []string{}
		for _, c := range got {
			same(d, "name", c.Name, "Name of "+c.ID)
			ids = append(ids, c.ID)
		}
		same(d, "clients", ids, append([]string{}, want...))
	}
	list()
	for _, id := range []string{"b", "ä", "a-b", "B", "a", "ab"} {
		d.must(d.AddClient(d.Context(), storage.Client{ID: id, Name: "Name of " + id, CreatedAt: t0, UpdatedAt: t0}))
	}
	list("B", "a", "a-b", "ab", "b", "ä")
}

func clientRace(d *db) {
	d.winner(d.race(func(s Store, _ int) error {
		return s.AddClient(d.Context(), storage.Client{ID: "client", CreatedAt: t0, UpdatedAt: t0})
	}), storage.ErrConflict)
}
