package storagetest

import (
	"errors"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var codeTests = []test{
	{name: "a code gives its grant and user", run: codeRedeem},
	{name: "a second redemption is a conflict and revokes the grant", run: codeTwice},
	{name: "a replay after the session's end still revokes", run: codeReplayLate},
	{name: "no code is redeemed without a live session of its user", run: codeSession},
	{name: "no code is redeemed once what it needs was taken back", run: codeAllowed},
	{name: "redeeming and taking back at once leave nothing", run: codeAllowedRace},
	{name: "one of 32 callers wins and the grant is revoked", run: codeRace},
	{name: "a burned code cannot be redeemed", run: codeBurn},
	{name: "of a user who is gone there is nothing to burn", run: codeBurnGone},
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
		user, err := d.RedeemCode(d.Context(), given, storage.Redeeming{}, t0)
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
			_, err := d.RedeemCode(d.Context(), g, storage.Redeeming{}, t0.Add(time.Minute))
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
	_, err := d.RedeemCode(d.Context(), g, storage.Redeeming{}, t0)
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
		_, err := d.RedeemCode(d.Context(), g, storage.Redeeming{}, c.now)
		d.want(c.name, err, c.want)
		d.wantGrant(c.name, g.ID, c.now, c.want)
	}
}

func codeAllowed(d *db) {
	l, other := d.signIn(), d.signIn()
	allow := func(l storage.Login, client string, scopes ...string) {
		d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: l.User.ID, ClientID: client, Scopes: scopes, At: t0}))
	}
	redeem := func(what string, g storage.Grant, want error, allowed ...string) {
		d.Helper()
		_, err := d.RedeemCode(d.Context(), g, storage.Redeeming{Allowed: append([]string{}, allowed...)}, t0)
		d.want(what, err, want)
		d.wantGrant(what, g.ID, t0, want)
	}
	allow(l, "another client", "openid", "email")
	allow(other, "client", "openid", "email")
	redeem("nothing allowed, nothing needed", d.newGrant(l), storage.ErrNotFound)
	redeem("nothing allowed", d.newGrant(l), storage.ErrNotFound, "openid")
	allow(l, "client", "openid", "email")
	redeem("nothing needed", d.newGrant(l), nil)
	redeem("less needed", d.newGrant(l), nil, "email")
	redeem("all needed", d.newGrant(l), nil, "email", "openid")
	redeem("more needed", d.newGrant(l), storage.ErrNotFound, "email", "groups", "openid")

	late := d.newGrant(l, offline)
	d.must(d.RemoveApp(d.Context(), l.User.ID, "client", t0))
	redeem("taken back", late, storage.ErrNotFound, "openid")
	d.wantApps("taken back", l.User.ID, t0, storage.App{ClientID: "another client", Scopes: []string{"email", "openid"}, ConsentAt: t0})
	allow(l, "client", "openid")
	redeem("allowed less since", late, storage.ErrNotFound, "email", "openid")
	redeem("allowed again", late, nil, "openid")

	d.must(d.RemoveApp(d.Context(), l.User.ID, "client", t0))
	_, err := d.RedeemCode(d.Context(), late, storage.Redeeming{Allowed: []string{"openid"}}, t0)
	d.want("a replay is one, whatever is allowed", err, storage.ErrConflict)
	_, err = d.RedeemCode(d.Context(), d.newGrant(l), storage.Redeeming{}, t0)
	d.want("a client that asks nobody", err, nil)
}

func codeAllowedRace(d *db) {
	l := d.signIn()
	for range 8 {
		d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: l.User.ID, ClientID: "client", Scopes: []string{"openid"}, At: t0}))
		gs := make([]storage.Grant, racers)
		for i := range gs {
			gs[i] = d.newGrant(l, offline)
		}
		for _, err := range d.race(func(s Store, i int) error {
			if i == racers/2 {
				return s.RemoveApp(d.Context(), l.User.ID, "client", t0)
			}
			_, err := s.RedeemCode(d.Context(), gs[i], storage.Redeeming{Allowed: []string{"openid"}}, t0)
			return err
		}) {
			if !errors.Is(err, storage.ErrNotFound) {
				d.must(err)
			}
		}
		for _, g := range gs {
			d.wantGrant("taken back", g.ID, t0, storage.ErrNotFound)
		}
	}
}

func codeRace(d *db) {
	for _, kind := range []func(*storage.Grant){func(*storage.Grant) {}, offline} {
		g := d.newGrant(d.signIn(), kind)
		d.winner(d.race(func(s Store, _ int) error {
			_, err := s.RedeemCode(d.Context(), g, storage.Redeeming{}, t0)
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
	_, err := d.RedeemCode(d.Context(), g, storage.Redeeming{}, t0)
	d.want("redeeming what was burned", err, storage.ErrConflict)

	d.end(l.Session.ID, t0)
	d.must(d.BurnCode(d.Context(), d.newGrant(l), t0))
	gone := l
	gone.Session.ID = "unknown"
	d.must(d.BurnCode(d.Context(), d.newGrant(gone), t0))
}

func codeBurnGone(d *db) {
	l := d.signIn()
	redeemed, g := d.redeem(l), d.newGrant(l)
	d.must(d.DeleteUser(d.Context(), l.User.ID, t0))
	for _, g := range []storage.Grant{redeemed, g} {
		d.must(d.BurnCode(d.Context(), g, t0))
		_, err := d.RedeemCode(d.Context(), g, storage.Redeeming{}, t0)
		d.want("redeeming it", err, storage.ErrNotFound)
	}
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
		_, err := s.RedeemCode(d.Context(), g, storage.Redeeming{}, t0)
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
