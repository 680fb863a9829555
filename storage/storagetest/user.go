package storagetest

import (
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var userTests = []test{
	{name: "every field comes back as it was", run: userFields},
	{name: "a key is one user's", run: userConflict},
	{name: "users are listed by key", run: userList},
	{name: "users are found by their ids", run: usersByID},
	{name: "groups are set", run: userGroups},
	{name: "whoever is enabled signs in again", run: userEnable},
	{name: "disabling ends sessions and grants, offline ones included", run: userDisable},
	{name: "disabling again keeps the first time", run: userDisableTwice},
	{name: "a user disabled in mid-race gets no session and no grant", run: userDisableRace},
}

// newUser is one that was invited.
func (d *db) newUser(key string) (given, kept storage.User) {
	g, k := odd(t0)
	given = storage.User{ID: "id-" + key, Key: key, Email: "Typed-" + key, Name: "Name", Locale: "de", Groups: []string{"ops", "staff"}}
	kept = given
	given.CreatedAt, given.UpdatedAt, given.LastLoginAt, given.DisabledAt = g, g.Add(time.Hour), g.Add(2*time.Hour), g.Add(3*time.Hour)
	kept.CreatedAt, kept.UpdatedAt, kept.LastLoginAt, kept.DisabledAt = k, k.Add(time.Hour), k.Add(2*time.Hour), k.Add(3*time.Hour)
	return given, kept
}

func userFields(d *db) {
	given, kept := d.newUser("ada@example.com")
	d.must(d.AddUser(d.Context(), given))
	got, err := d.User(d.Context(), given.Key)
	d.must(err)
	same(d, "user", got, kept)
	_, err = d.User(d.Context(), "nobody@example.com")
	d.want("unknown", err, storage.ErrNotFound)
}

func userConflict(d *db) {
	given, kept := d.newUser("ada@example.com")
	d.must(d.AddUser(d.Context(), given))
	other := given
	other.ID, other.Name = "another", "Another"
	d.want("the same key", d.AddUser(d.Context(), other), storage.ErrConflict)
	got, err := d.User(d.Context(), given.Key)
	d.must(err)
	same(d, "user", got, kept)
	signedIn := d.signIn()
	other.Key = signedIn.User.Key
	d.want("the key of who has signed in", d.AddUser(d.Context(), other), storage.ErrConflict)
}

func userList(d *db) {
	var want []storage.User
	for _, key := range []string{"A@example.com", "a@example.com", "b@example.com"} {
		given, kept := d.newUser(key)
		d.must(d.AddUser(d.Context(), given))
		want = append(want, kept)
	}
	got, err := d.Users(d.Context())
	d.must(err)
	same(d, "users", got, want)
}

func usersByID(d *db) {
	ada, bob := d.signIn().User, d.signIn().User
	for _, ids := range [][]string{nil, {"nobody"}} {
		got, err := d.UsersByID(d.Context(), ids)
		d.must(err)
		same(d, "nobody", len(got), 0)
	}
	got, err := d.UsersByID(d.Context(), []string{bob.ID, "nobody", ada.ID, bob.ID})
	d.must(err)
	want := []storage.User{ada, bob}
	byID := func(a, b storage.User) int { return strings.Compare(a.ID, b.ID) }
	slices.SortFunc(got, byID)
	slices.SortFunc(want, byID)
	same(d, "users", got, want)
}

func userGroups(d *db) {
	given, want := d.newUser("ada@example.com")
	d.must(d.AddUser(d.Context(), given))
	for _, groups := range [][]string{{"x"}, nil} {
		now, kept := odd(t0.Add(day))
		d.must(d.SetGroups(d.Context(), given.ID, groups, now))
		want.Groups, want.UpdatedAt = groups, kept
		got, err := d.User(d.Context(), given.Key)
		d.must(err)
		same(d, "user", got, want)
	}
	d.want("unknown", d.SetGroups(d.Context(), "unknown", nil, t0), storage.ErrNotFound)
}

func userEnable(d *db) {
	l := d.signIn()
	d.must(d.DisableUser(d.Context(), l.User.ID, t0))
	d.must(d.EnableUser(d.Context(), l.User.ID, t0))
	d.wantSession("of before", l.Session.ID, t0, storage.ErrNotFound)
	again := d.signInAs(l.User)
	d.wantSession("of after", again.Session.ID, t0, nil)
	d.want("unknown", d.EnableUser(d.Context(), "unknown", t0), storage.ErrNotFound)
}

func userDisable(d *db) {
	d.want("unknown", d.DisableUser(d.Context(), "unknown", t0), storage.ErrNotFound)
	l, bystander := d.signIn(), d.signIn()
	second := d.signInAs(l.User)
	online, off, refreshed := d.redeem(l), d.redeem(second, offline), d.redeem(l, offline, refreshable)
	others := d.redeem(bystander)
	d.must(d.DisableUser(d.Context(), l.User.ID, t0))
	for _, s := range []storage.Login{l, second} {
		d.wantSession("of a disabled user", s.Session.ID, t0, storage.ErrNotFound)
	}
	for _, g := range []storage.Grant{online, off, refreshed} {
		d.wantGrant("of a disabled user", g.ID, t0, storage.ErrNotFound)
	}
	_, err := d.refresh(d, refreshed, 1, t0)
	d.want("refresh", err, storage.ErrNotFound)
	d.wantSession("of another user", bystander.Session.ID, t0, nil)
	d.wantGrant("of another user", others.ID, t0, nil)
	d.wantSweep("expired grants", t0.Add(day-tick), 4)
	d.wantSweep("the sessions, a day after they were ended", t0.Add(day), 2)
}

// The mail of a disabled user is the one place where the record shows.
func userDisableTwice(d *db) {
	l := d.signIn()
	given, kept := odd(t0.Add(time.Minute))
	d.must(d.DisableUser(d.Context(), l.User.ID, given))
	d.must(d.DisableUser(d.Context(), l.User.ID, given.Add(time.Hour)))
	d.start(func(a *storage.Attempt) { a.Key = l.User.Key })
	want := l.User
	want.DisabledAt = kept
	mail := d.claim(1, t0)
	if len(mail) != 1 {
		d.Fatalf("got %d messages, want 1", len(mail))
	}
	same(d, "user", mail[0].User, want)
}

func userDisableRace(d *db) {
	l := d.signIn()
	cs, gs := make([]storage.Completion, racers), make([]storage.Grant, racers)
	for i := range cs {
		cs[i] = d.completion(d.start(func(a *storage.Attempt) { a.Key = l.User.Key }), t0)
		gs[i] = d.newGrant(l, offline)
	}
	for _, err := range d.race(func(s Store, i int) (err error) {
		switch {
		case i == racers/2:
			return s.DisableUser(d.Context(), l.User.ID, t0)
		case i%4 < 2:
			_, err = s.CompleteAttempt(d.Context(), cs[i], t0)
		default:
			_, err = s.RedeemCode(d.Context(), gs[i], storage.Redeeming{}, t0)
		}
		if isAny(err, []error{storage.ErrRefused, storage.ErrNotFound}) {
			return nil
		}
		return err
	}) {
		d.must(err)
	}
	for i := range cs {
		d.wantSession("of a disabled user", cs[i].Session.ID, t0, storage.ErrNotFound)
		d.wantGrant("of a disabled user", gs[i].ID, t0, storage.ErrNotFound)
	}
}
