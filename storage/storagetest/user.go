package storagetest

import (
	"time"

	"github.com/sealpost/sealpost/storage"
)

var userTests = []test{
	{name: "disabling ends sessions and grants, offline ones included", run: userDisable},
	{name: "disabling again keeps the first time", run: userDisableTwice},
	{name: "a user disabled in mid-race gets no session and no grant", run: userDisableRace},
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
			_, err = s.RedeemCode(d.Context(), gs[i], t0)
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
