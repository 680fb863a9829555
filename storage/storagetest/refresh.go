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
	{name: "a token that is kept stays good and moves the ends alone", run: refreshKeep},
	{name: "within the grace the generation before moves nothing", run: refreshGrace},
	{name: "the grace is over at its exact moment", run: refreshGraceEnd},
	{name: "with the key of another nothing is found and nothing changes", run: refreshKey},
	{name: "what is not live is not found and stays as it is", run: refreshNotLive},
	{name: "only offline grants outlive their session", run: refreshOffline},
	{name: "of 32 callers one wins and the grant is revoked", run: refreshRace},
	{name: "within the grace 32 callers get the same grant", run: refreshGraceRace},
	{name: "32 callers share a token that is kept", run: refreshKeepRace},
}

// refreshing uses a refresh token of the grant with its key; it moves the ends to
// an hour, and to six, after now.
func refreshing(g storage.Grant, generation int, now time.Time, change ...func(*storage.Refreshing)) storage.Refreshing {
	r := storage.Refreshing{
		ID: g.ID, ClientID: g.ClientID, Generation: generation, JKT: g.JKT, IdleAt: now.Add(time.Hour), ExpiresAt: now.Add(6 * time.Hour),
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

func keep(r *storage.Refreshing)   { r.Keep = true }
func anyKey(r *storage.Refreshing) { r.AnyKey = true }

// since gives a grace to generations that were used later than t.
func since(t time.Time) func(*storage.Refreshing) {
	return func(r *storage.Refreshing) { r.Grace = t }
}

// refresh uses a refresh token at now.
func (d *db) refresh(s Store, g storage.Grant, generation int, now time.Time, change ...func(*storage.Refreshing)) (storage.Grant, error) {
	got, _, err := s.Refresh(d.Context(), refreshing(g, generation, now, change...), now)
	return got, err
}

// wantRefresh checks what the use of a refresh token at now gives.
func (d *db) wantRefresh(what string, want storage.Grant, generation int, now time.Time, change ...func(*storage.Refreshing)) {
	d.Helper()
	got, err := d.refresh(d, want, generation, now, change...)
	d.must(err)
	same(d, what, got, want)
	got, _, err = d.Grant(d.Context(), want.ID, now)
	d.must(err)
	same(d, what+", the grant", got, want)
}

func refreshMoves(d *db) {
	l := d.signIn()
	want, other := d.redeem(l, offline, refreshable), d.redeem(l, offline, refreshable)
	for n := 1; n <= 3; n++ {
		now := t0.Add(time.Duration(n) * 10 * time.Minute)
		given, kept := odd(now)
		got, user, err := d.Refresh(d.Context(), refreshing(want, n, given), given)
		d.must(err)
		want.Refresh, want.RefreshedAt, want.RefreshIdleAt, want.ExpiresAt = n+1, kept, kept.Add(time.Hour), kept.Add(6*time.Hour)
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
	ends := func(idle, expires time.Time) func(*storage.Refreshing) {
		return func(r *storage.Refreshing) { r.IdleAt, r.ExpiresAt = idle, expires }
	}
	past := ends(want.RefreshEndsAt.Add(time.Hour), want.ExpiresAt.Add(-time.Hour))
	want.Refresh, want.RefreshedAt, want.RefreshIdleAt = 2, t0, want.RefreshEndsAt
	d.wantRefresh("past the end", want, 1, t0, past)
	earlier := t0.Add(time.Minute) // as new settings may want it
	want.Refresh, want.RefreshIdleAt = 3, earlier
	d.wantRefresh("earlier", want, 2, t0, ends(earlier, earlier))
}

func refreshKeep(d *db) {
	want := d.redeem(d.signIn(), offline, refreshable)
	for _, minutes := range []int{0, 10, 20} {
		now := t0.Add(time.Duration(minutes) * time.Minute)
		want.RefreshIdleAt, want.ExpiresAt = now.Add(time.Hour), now.Add(6*time.Hour)
		d.wantRefresh("kept", want, 1, now, keep)
	}
	now := t0.Add(30 * time.Minute)
	want.Refresh, want.RefreshedAt, want.RefreshIdleAt, want.ExpiresAt = 2, now, now.Add(time.Hour), now.Add(6*time.Hour)
	d.wantRefresh("moved on after all", want, 1, now)
	_, err := d.refresh(d, want, 1, now, keep)
	d.want("used before", err, storage.ErrConflict)
	d.wantGrant("used before", want.ID, now, storage.ErrNotFound)
}

func refreshGrace(d *db) {
	l := d.signIn()
	for _, way := range []func(*storage.Refreshing){func(*storage.Refreshing) {}, keep} {
		g := d.redeem(l, offline, refreshable)
		_, err := d.refresh(d, g, 1, t0)
		d.must(err)
		want, err := d.refresh(d, g, 2, t0.Add(time.Minute))
		d.must(err)
		later := t0.Add(2 * time.Minute)
		for range 2 {
			d.wantRefresh("the generation before", want, 2, later, way, since(t0))
		}
		_, err = d.refresh(d, g, 1, later, way, since(t0.Add(-time.Hour)))
		d.want("the one before that", err, storage.ErrConflict)
		d.wantGrant("the one before that", g.ID, later, storage.ErrNotFound)
		_, err = d.refresh(d, g, 2, later, way, since(t0))
		d.want("then", err, storage.ErrNotFound)
	}
	fresh := d.redeem(l, offline, refreshable)
	_, err := d.refresh(d, fresh, 0, t0, since(t0.Add(-time.Hour)))
	d.want("before the first", err, storage.ErrNotFound)
}

func refreshGraceEnd(d *db) {
	l := d.signIn()
	for _, c := range []struct {
		name  string
		grace time.Time
		want  error
	}{
		{"a moment before", t0.Add(-tick), nil},
		{"at its end", t0, storage.ErrConflict},
		{"without one", time.Time{}, storage.ErrConflict},
	} {
		g := d.redeem(l, offline, refreshable)
		_, err := d.refresh(d, g, 1, t0)
		d.must(err)
		_, err = d.refresh(d, g, 1, t0.Add(time.Minute), since(c.grace))
		d.want(c.name, err, c.want)
	}
}

func refreshKey(d *db) {
	l := d.signIn()
	for _, c := range []struct{ bound, given string }{{"key", "another"}, {"key", ""}, {"", "key"}} {
		want := d.redeem(l, offline, refreshable, func(g *storage.Grant) { g.JKT = c.bound })
		_, err := d.refresh(d, want, 1, t0)
		d.must(err)
		want, err = d.refresh(d, want, 2, t0)
		d.must(err)
		other := func(r *storage.Refreshing) { r.JKT = c.given }
		for generation := range 4 {
			for _, way := range []func(*storage.Refreshing){func(*storage.Refreshing) {}, keep, since(t0.Add(-time.Hour))} {
				_, err := d.refresh(d, want, generation, t0, other, way)
				d.want("another key", err, storage.ErrNotFound)
			}
		}
		d.wantRefresh("nothing changed", want, 3, t0, keep)
		want.Refresh = 4
		d.wantRefresh("any key", want, 3, t0, other, anyKey)
	}
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
		_, err := d.refresh(d, g, 1, t0, func(r *storage.Refreshing) { r.ClientID = "another client" })
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
	d.end(l.Session.ID, t0)
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

func refreshGraceRace(d *db) {
	want := d.redeem(d.signIn(), offline, refreshable)
	got := make([]storage.Grant, racers)
	for _, err := range d.race(func(s Store, i int) (err error) {
		got[i], err = d.refresh(s, want, 1, t0, since(t0.Add(-tick)))
		return err
	}) {
		d.must(err)
	}
	want.Refresh, want.RefreshedAt, want.RefreshIdleAt, want.ExpiresAt = 2, t0, t0.Add(time.Hour), t0.Add(6*time.Hour)
	for _, g := range got {
		same(d, "refreshed", g, want)
	}
}

func refreshKeepRace(d *db) {
	want := d.redeem(d.signIn(), offline, refreshable)
	for _, err := range d.race(func(s Store, _ int) error {
		_, err := d.refresh(s, want, 1, t0, keep)
		return err
	}) {
		d.must(err)
	}
	d.wantRefresh("kept", want, 1, t0, keep)
}
