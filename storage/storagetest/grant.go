package storagetest

import (
	"time"

	"github.com/sealpost/sealpost/storage"
)

var grantTests = []test{
	{name: "a grant is live until it expires or is revoked", run: grantLive},
	{name: "a grant that is not offline needs its session", run: grantSession},
	{name: "only its client revokes a grant", run: grantRevoke},
}

func grantLive(d *db) {
	l := d.signIn()
	d.wantGrant("unknown", "unknown", t0, storage.ErrNotFound)
	g := d.redeem(l, offline)
	d.wantGrant("just before its end", g.ID, g.ExpiresAt.Add(-tick), nil)
	d.wantGrant("expired", g.ID, g.ExpiresAt, storage.ErrNotFound)
	// Its refresh token is over, but the access token may be asked about.
	idle := d.redeem(l, offline, refreshable, func(g *storage.Grant) { g.RefreshIdleAt, g.RefreshEndsAt = t0, t0 })
	d.wantGrant("idle", idle.ID, t0, nil)
}

func grantSession(d *db) {
	idle, expired := d.signIn(), d.signIn()
	d.must(d.TouchSession(d.Context(), expired.Session.ID, t0, t0.Add(day)))
	for _, c := range []struct {
		name  string
		login storage.Login
		ends  time.Time
	}{
		{"idle", idle, idle.Session.IdleAt},
		{"expired", expired, expired.Session.ExpiresAt},
	} {
		long := func(g *storage.Grant) { g.ExpiresAt = t0.Add(2 * day) }
		online, off := d.redeem(c.login, long), d.redeem(c.login, long, offline)
		d.wantGrant("online, session live", online.ID, c.ends.Add(-tick), nil)
		d.wantGrant("online, session "+c.name, online.ID, c.ends, storage.ErrNotFound)
		d.wantGrant("offline, session "+c.name, off.ID, c.ends, nil)
	}
}

func grantRevoke(d *db) {
	l := d.signIn()
	g, other := d.redeem(l, offline), d.redeem(l, offline)
	d.must(d.RevokeGrant(d.Context(), "unknown", g.ClientID, t0))
	d.must(d.RevokeGrant(d.Context(), g.ID, "another client", t0))
	d.wantGrant("another client's revocation", g.ID, t0, nil)
	for range 2 {
		d.must(d.RevokeGrant(d.Context(), g.ID, g.ClientID, t0))
		d.wantGrant("revoked", g.ID, t0, storage.ErrNotFound)
	}
	d.wantGrant("another", other.ID, t0, nil)
}
