package storagetest

import (
	"time"

	"github.com/sealpost/sealpost/storage"
)

var codeTests = []test{
	{name: "a code gives its grant and user", run: codeRedeem},
	{name: "a second redemption is a conflict and revokes the grant", run: codeTwice},
	{name: "a replay after the session's end still revokes", run: codeReplayLate},
	{name: "no code is redeemed without a live session of its user", run: codeSession},
	{name: "one of 32 callers wins and the grant is revoked", run: codeRace},
	{name: "a burned code cannot be redeemed", run: codeBurn},
	{name: "burning revokes what was redeemed", run: codeBurnRedeemed},
	{name: "burning and redeeming at once leave nothing", run: codeBurnRace},
}

func codeRedeem(d *db) {
	l := d.signIn()
	for _, g := range []storage.Grant{
		d.newGrant(l), d.newGrant(l, offline), d.newGrant(l, offline, refreshable),
		d.newGrant(l, func(g *storage.Grant) { g.Scopes = []string{"one"} }),
		d.newGrant(l, func(g *storage.Grant) { g.JKT, g.Resources, g.Claims = "", nil, "" }),
	} {
		given := g
		given.AuthTime, g.AuthTime = odd(g.AuthTime)
		given.CreatedAt, g.CreatedAt = odd(g.CreatedAt)
		given.ExpiresAt, g.ExpiresAt = odd(g.ExpiresAt)
		if g.Refresh > 0 {
			given.RefreshIdleAt, g.RefreshIdleAt = odd(g.RefreshIdleAt)
			given.RefreshEndsAt, g.RefreshEndsAt = odd(g.RefreshEndsAt)
		}
		user, err := d.RedeemCode(d.Context(), given, false, t0)
		d.must(err)
		same(d, "user of the code", user, l.User)
		got, user, err := d.Grant(d.Context(), g.ID, t0)
		d.must(err)
		same(d, "grant", got, g)
		same(d, "user of the grant", user, l.User)
	}
	g := d.redeem(l, func(g *storage.Grant) { g.Scopes = nil })
	got, _, err := d.Grant(d.Context(), g.ID, t0)
	d.must(err)
	same(d, "scopes of none", len(got.Scopes), 0)
}

func codeTwice(d *db) {
	l := d.signIn()
	other := d.redeem(l)
	for _, kind := range []func(*storage.Grant){func(*storage.Grant) {}, offline} {
		g := d.redeem(l, kind)
		for range 2 {
			_, err := d.RedeemCode(d.Context(), g, false, t0.Add(time.Minute))
			d.want("again", err, storage.ErrConflict)
			d.wantGrant("replayed", g.ID, t0.Add(time.Minute), storage.ErrNotFound)
		}
	}
	d.wantGrant("another", other.ID, t0, nil)
}

func codeReplayLate(d *db) {
	l := d.signIn()
	g := d.redeem(l, offline, refreshable)
	d.end(l.Session.ID, t0)
	d.wantGrant("offline", g.ID, t0, nil)
	_, err := d.RedeemCode(d.Context(), g, false, t0)
	d.want("replay", err, storage.ErrConflict)
	d.wantGrant("replayed", g.ID, t0, storage.ErrNotFound)
}

func codeSession(d *db) {
	ended, expired, mine, other, disabled := d.signIn(), d.signIn(), d.signIn(), d.signIn(), d.signIn()
	d.end(ended.Session.ID, t0)
	d.must(d.TouchSession(d.Context(), expired.Session.ID, t0, t0.Add(day)))
	d.must(d.DisableUser(d.Context(), disabled.User.ID, t0))
	for _, c := range []struct {
		name  string
		login storage.Login
		now   time.Time
		want  error
	}{
		{"ended", ended, t0, storage.ErrNotFound},
		{"just before idle", mine, mine.Session.IdleAt.Add(-tick), nil},
		{"idle", mine, mine.Session.IdleAt, storage.ErrNotFound},
		{"just before its end", expired, expired.Session.ExpiresAt.Add(-tick), nil},
		{"expired", expired, expired.Session.ExpiresAt, storage.ErrNotFound},
		{"unknown", storage.Login{User: mine.User, Session: storage.Session{ID: "unknown", AuthTime: t0}}, t0, storage.ErrNotFound},
		{"another user's", storage.Login{User: mine.User, Session: other.Session}, t0, storage.ErrNotFound},
		{"of a disabled user", disabled, t0, storage.ErrNotFound},
	} {
		g := d.newGrant(c.login, offline, func(g *storage.Grant) { g.ExpiresAt = t0.Add(2 * day) })
		_, err := d.RedeemCode(d.Context(), g, false, c.now)
		d.want(c.name, err, c.want)
		d.wantGrant(c.name, g.ID, c.now, c.want)
	}
}

func codeRace(d *db) {
	for _, kind := range []func(*storage.Grant){func(*storage.Grant) {}, offline} {
		g := d.newGrant(d.signIn(), kind)
		d.winner(d.race(func(s Store, _ int) error {
			_, err := s.RedeemCode(d.Context(), g, false, t0)
			return err
		}), storage.ErrConflict)
		d.wantGrant("replayed", g.ID, t0, storage.ErrNotFound)
	}
}

func codeBurn(d *db) {
	l := d.signIn()
	g := d.newGrant(l, offline)
	for range 2 {
		d.must(d.BurnCode(d.Context(), g, t0))
		d.wantGrant("burned", g.ID, t0, storage.ErrNotFound)
	}
	_, err := d.RedeemCode(d.Context(), g, false, t0)
	d.want("redeeming what was burned", err, storage.ErrConflict)

	d.end(l.Session.ID, t0)
	d.must(d.BurnCode(d.Context(), d.newGrant(l), t0))
	gone := l
	gone.Session.ID = "unknown"
	d.must(d.BurnCode(d.Context(), d.newGrant(gone), t0))
}

func codeBurnRedeemed(d *db) {
	l := d.signIn()
	g, other := d.redeem(l, offline), d.redeem(l, offline)
	d.must(d.BurnCode(d.Context(), g, t0))
	d.wantGrant("burned", g.ID, t0, storage.ErrNotFound)
	d.wantGrant("another", other.ID, t0, nil)
}

func codeBurnRace(d *db) {
	g := d.newGrant(d.signIn(), offline)
	for i, err := range d.race(func(s Store, i int) error {
		if i%4 < 2 {
			return s.BurnCode(d.Context(), g, t0)
		}
		_, err := s.RedeemCode(d.Context(), g, false, t0)
		return err
	}) {
		if i%4 < 2 || err == nil {
			d.must(err)
			continue
		}
		d.want("redeem", err, storage.ErrConflict)
	}
	d.wantGrant("burned", g.ID, t0, storage.ErrNotFound)
}
