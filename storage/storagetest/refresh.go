package storagetest

import (
	"errors"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var refreshTests = []test{
	{name: "the generation moves with its ends", run: refreshMoves},
	{name: "the idle end does not pass RefreshEndsAt, nor ExpiresAt move back", run: refreshEnds},
	{name: "a generation used before is a conflict and revokes the grant", run: refreshReuse},
	{name: "what is not live is not found and stays as it is", run: refreshNotLive},
	{name: "only offline grants outlive their session", run: refreshOffline},
	{name: "of 32 callers one wins and the grant is revoked", run: refreshRace},
}

// refresh moves a grant on at now, by an hour.
func (d *db) refresh(s Store, g storage.Grant, generation int, now time.Time) (storage.Grant, error) {
	got, _, err := s.Refresh(d.Context(), g.ID, g.ClientID, generation, now, now.Add(time.Hour), now.Add(6*time.Hour))
	return got, err
}

func refreshMoves(d *db) {
	l := d.signIn()
	want, other := d.redeem(l, offline, refreshable), d.redeem(l, offline, refreshable)
	for n := 1; n <= 3; n++ {
		now := t0.Add(time.Duration(n) * 10 * time.Minute)
		given, kept := odd(now)
		got, user, err := d.Refresh(d.Context(), want.ID, want.ClientID, n, now, given.Add(time.Hour), given.Add(6*time.Hour))
		d.must(err)
		want.Refresh, want.RefreshIdleAt, want.ExpiresAt = n+1, kept.Add(time.Hour), kept.Add(6*time.Hour)
		same(d, "refreshed", got, want)
		same(d, "user", user, l.User)
		got, _, err = d.Grant(d.Context(), want.ID, now)
		d.must(err)
		same(d, "grant", got, want)
	}
	got, _, err := d.Grant(d.Context(), other.ID, t0)
	d.must(err)
	same(d, "another", got, other)
}

func refreshEnds(d *db) {
	want := d.redeem(d.signIn(), offline, refreshable)
	got, _, err := d.Refresh(d.Context(), want.ID, want.ClientID, 1, t0, want.RefreshEndsAt.Add(time.Hour), want.ExpiresAt.Add(-time.Hour))
	d.must(err)
	want.Refresh, want.RefreshIdleAt = 2, want.RefreshEndsAt
	same(d, "refreshed", got, want)
}

func refreshReuse(d *db) {
	l := d.signIn()
	other := d.redeem(l, offline, refreshable)
	for _, kind := range []func(*storage.Grant){func(*storage.Grant) {}, offline} {
		g := d.redeem(l, kind, refreshable)
		for n := 1; n <= 2; n++ {
			_, err := d.refresh(d, g, n, t0)
			d.must(err)
		}
		_, _, err := d.Refresh(d.Context(), g.ID, "another client", 1, t0, t0.Add(time.Hour), t0.Add(time.Hour))
		d.want("reuse by another client", err, storage.ErrNotFound)
		d.wantGrant("after another client's reuse", g.ID, t0, nil)
		_, err = d.refresh(d, g, 1, t0)
		d.want("reuse", err, storage.ErrConflict)
		d.wantGrant("reused", g.ID, t0, storage.ErrNotFound)
		for n := 1; n <= 3; n++ {
			_, err = d.refresh(d, g, n, t0)
			d.want("after the reuse", err, storage.ErrNotFound)
		}
	}
	d.wantGrant("another", other.ID, t0, nil)
}

func refreshNotLive(d *db) {
	l, disabled := d.signIn(), d.signIn()
	ends := t0.Add(time.Minute)
	live := d.redeem(l, offline, refreshable)
	revoked := d.redeem(l, offline, refreshable)
	d.must(d.RevokeGrant(d.Context(), revoked.ID, revoked.ClientID, t0))
	ofDisabled := d.redeem(disabled, offline, refreshable)
	d.must(d.DisableUser(d.Context(), disabled.User.ID, t0))
	foreign := live
	foreign.ClientID = "another client"
	for _, c := range []struct {
		name       string
		grant      storage.Grant
		generation int
		now        time.Time
	}{
		{"unknown", storage.Grant{ID: "unknown", ClientID: "client"}, 1, t0},
		{"another client's", foreign, 1, t0},
		{"revoked", revoked, 1, t0},
		{"idle", d.redeem(l, offline, refreshable, func(g *storage.Grant) { g.RefreshIdleAt = ends }), 1, ends},
		{"at its end", d.redeem(l, offline, refreshable, func(g *storage.Grant) { g.RefreshEndsAt = ends }), 1, ends},
		{"expired", d.redeem(l, offline, refreshable, func(g *storage.Grant) { g.ExpiresAt = ends }), 1, ends},
		{"of a disabled user", ofDisabled, 1, t0},
		{"without a refresh token", d.redeem(l, offline), 0, t0},
		{"without a refresh token, the first", d.redeem(l, offline), 1, t0},
		{"not given out yet", live, 2, t0},
		{"no generation", live, 0, t0},
		{"negative", live, -1, t0},
	} {
		_, err := d.refresh(d, c.grant, c.generation, c.now)
		d.want(c.name, err, storage.ErrNotFound)
	}
	got, _, err := d.Grant(d.Context(), live.ID, t0)
	d.must(err)
	same(d, "the live one", got, live)
	for _, change := range []func(*storage.Grant){
		func(g *storage.Grant) { g.RefreshIdleAt = ends }, func(g *storage.Grant) { g.RefreshEndsAt = ends }, func(g *storage.Grant) { g.ExpiresAt = ends },
	} {
		g := d.redeem(l, offline, refreshable, change)
		_, err := d.refresh(d, g, 1, ends.Add(-tick))
		d.must(err)
	}
	// A used generation of what has run out is not worth a revocation.
	g := d.redeem(l, offline, refreshable)
	_, err = d.refresh(d, g, 1, t0)
	d.must(err)
	_, err = d.refresh(d, g, 1, t0.Add(time.Hour))
	d.want("reuse when idle", err, storage.ErrNotFound)
}

func refreshOffline(d *db) {
	l := d.signIn()
	online, off := d.redeem(l, refreshable), d.redeem(l, offline, refreshable)
	_, err := d.refresh(d, online, 1, l.Session.IdleAt.Add(-tick))
	d.must(err)
	_, err = d.refresh(d, online, 2, l.Session.IdleAt)
	d.want("session idle", err, storage.ErrNotFound)
	d.must(d.EndSession(d.Context(), l.Session.ID, t0))
	_, err = d.refresh(d, online, 2, t0)
	d.want("session ended", err, storage.ErrNotFound)
	_, err = d.refresh(d, off, 1, t0)
	d.must(err)
}

func refreshRace(d *db) {
	g := d.redeem(d.signIn(), offline, refreshable)
	conflicts := 0
	errs := d.race(func(s Store, _ int) error {
		_, err := d.refresh(s, g, 1, t0)
		return err
	})
	// Whoever comes after the revocation finds nothing.
	d.winner(errs, storage.ErrConflict, storage.ErrNotFound)
	for _, err := range errs {
		if errors.Is(err, storage.ErrConflict) {
			conflicts++
		}
	}
	if conflicts == 0 {
		d.Fatal("nobody saw a conflict")
	}
	d.wantGrant("reused", g.ID, t0, storage.ErrNotFound)
	_, err := d.refresh(d, g, 2, t0)
	d.want("the winner's token", err, storage.ErrNotFound)
}
