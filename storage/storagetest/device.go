package storagetest

import (
	"time"

	"github.com/sealpost/sealpost/storage"
)

var deviceTests = []test{
	{name: "every field comes back as it was", run: deviceFields},
	{name: "a user code is one request's while it is kept", run: deviceConflict},
	{name: "of 32 requests with one user code one is kept", run: deviceAddRace},
	{name: "a request is open until it is answered or expires", run: deviceOpen},
	{name: "the device learns who allowed it", run: deviceAllowed},
	{name: "of 32 answers one wins", run: deviceAnswerRace},
	{name: "a poll before its time makes the interval longer", run: devicePoll},
	{name: "only its client polls a request, expired or not", run: devicePollWhose},
	{name: "of 32 polls at once one is in time", run: devicePollRace},
	{name: "an allowed request gives its grant and user", run: deviceRedeem},
	{name: "no other request is redeemed", run: deviceRedeemNot},
	{name: "a request is redeemed once", run: deviceRedeemOnce},
	{name: "one of 32 callers redeems a request", run: deviceRedeemRace},
	{name: "the client of a device hears of the session's end", run: deviceNotice},
}

// newDevice is a request that AddDevice takes at t0, for ten minutes.
func (d *db) newDevice(change ...func(*storage.Device)) storage.Device {
	n := storage.Device{
		ID: d.id("device"), UserCode: d.id("CODE"), ClientID: "client", Scopes: []string{"openid"}, Resources: []string{"https://api.example.com/"},
		JKT: "key", Agent: "curl", Network: "192.0.2.0/24", CreatedAt: t0, ExpiresAt: t0.Add(10 * time.Minute), Interval: 5 * time.Second, PollAt: t0,
	}
	for _, f := range change {
		f(&n)
	}
	return n
}

// askDevice adds a request.
func (d *db) askDevice(change ...func(*storage.Device)) storage.Device {
	d.Helper()
	n := d.newDevice(change...)
	d.must(d.AddDevice(d.Context(), n))
	return n
}

// allowed adds a request and allows it.
func (d *db) allowed(l storage.Login, change ...func(*storage.Device)) storage.Device {
	d.Helper()
	n := d.askDevice(change...)
	d.must(d.AllowDevice(d.Context(), n.UserCode, l, t0))
	return n
}

// poll polls a request at now.
func (d *db) poll(n storage.Device, now time.Time) error {
	_, err := d.PollDevice(d.Context(), n.ID, n.ClientID, now)
	return err
}

// wantPoll checks what a poll at now gives.
func (d *db) wantPoll(what string, now time.Time, want storage.Device) {
	d.Helper()
	got, err := d.PollDevice(d.Context(), want.ID, want.ClientID, now)
	d.must(err)
	same(d, "poll "+what, got, want)
}

// wantOpen checks whether a request is open at now; target nil: it is.
func (d *db) wantOpen(what string, n storage.Device, now time.Time, target error) {
	d.Helper()
	_, err := d.Device(d.Context(), n.UserCode, now)
	d.want("device: "+what, err, target)
}

func deviceFields(d *db) {
	for _, want := range []storage.Device{
		d.newDevice(),
		d.newDevice(func(d *storage.Device) { d.Scopes, d.Resources, d.JKT, d.Agent, d.Network = nil, nil, "", "", "" }),
		d.newDevice(func(d *storage.Device) { d.Interval, d.PollAt = 0, time.Time{} }),
		d.newDevice(func(d *storage.Device) { d.Interval = 90*time.Minute + tick }),
	} {
		given := want
		given.CreatedAt, want.CreatedAt = odd(want.CreatedAt)
		given.ExpiresAt, want.ExpiresAt = odd(want.ExpiresAt)
		if !want.PollAt.IsZero() {
			given.PollAt, want.PollAt = odd(want.PollAt)
		}
		d.must(d.AddDevice(d.Context(), given))
		got, err := d.Device(d.Context(), want.UserCode, t0)
		d.must(err)
		same(d, "device", got, want)
		d.wantPoll("the first", t0, want)
	}
}

func deviceConflict(d *db) {
	first := d.askDevice()
	second := d.newDevice(func(d *storage.Device) { d.UserCode, d.ClientID = first.UserCode, "another" })
	d.want("the same user code", d.AddDevice(d.Context(), second), storage.ErrConflict)
	d.must(d.DenyDevice(d.Context(), first.UserCode, t0))
	d.want("answered", d.AddDevice(d.Context(), second), storage.ErrConflict)
	second.ID, second.UserCode = first.ID, "ANOTHER"
	d.want("the same id", d.AddDevice(d.Context(), second), storage.ErrConflict)
	d.wantOpen("refused", second, t0, storage.ErrNotFound)
	first.DeniedAt = t0
	d.wantPoll("of the first", t0, first)
}

func deviceAddRace(d *db) {
	ns := make([]storage.Device, racers)
	for i := range ns {
		ns[i] = d.newDevice(func(d *storage.Device) { d.UserCode = "CODE" })
	}
	won := d.winner(d.race(func(s Store, i int) error { return s.AddDevice(d.Context(), ns[i]) }), storage.ErrConflict)
	got, err := d.Device(d.Context(), "CODE", t0)
	d.must(err)
	same(d, "device", got, ns[won])
}

func deviceOpen(d *db) {
	l := d.signIn()
	n, allowed, denied := d.askDevice(), d.allowed(l), d.askDevice()
	d.must(d.DenyDevice(d.Context(), denied.UserCode, t0))
	d.wantOpen("the last moment", n, n.ExpiresAt.Add(-tick), nil)
	for _, c := range []struct {
		name string
		n    storage.Device
		now  time.Time
	}{
		{"unknown", storage.Device{UserCode: "UNKNOWN"}, t0},
		{"by its id", storage.Device{UserCode: n.ID}, t0},
		{"expired", n, n.ExpiresAt},
		{"allowed", allowed, t0},
		{"denied", denied, t0},
	} {
		d.wantOpen(c.name, c.n, c.now, storage.ErrNotFound)
		d.want("allow: "+c.name, d.AllowDevice(d.Context(), c.n.UserCode, l, c.now), storage.ErrNotFound)
		d.want("deny: "+c.name, d.DenyDevice(d.Context(), c.n.UserCode, c.now), storage.ErrNotFound)
	}
	last := d.askDevice()
	d.must(d.AllowDevice(d.Context(), last.UserCode, l, last.ExpiresAt.Add(-tick)))
	d.must(d.DenyDevice(d.Context(), n.UserCode, n.ExpiresAt.Add(-tick)))
}

func deviceAllowed(d *db) {
	l, want, other := d.signIn(), d.askDevice(), d.askDevice()
	now, kept := odd(t0.Add(time.Minute))
	l.Session.AuthTime = now.Add(time.Second)
	d.must(d.AllowDevice(d.Context(), want.UserCode, l, now))
	want.AllowedAt, want.UserID, want.SessionID, want.AuthTime = kept, l.User.ID, l.Session.ID, kept.Add(time.Second)
	d.wantPoll("of what was allowed", t0, want)
	d.wantPoll("of another", t0, other)
}

func deviceAnswerRace(d *db) {
	ls := make([]storage.Login, racers)
	for i := range ls {
		ls[i] = d.signIn()
	}
	want := d.askDevice()
	won := d.winner(d.race(func(s Store, i int) error {
		if i%4 < 2 {
			return s.DenyDevice(d.Context(), want.UserCode, t0)
		}
		return s.AllowDevice(d.Context(), want.UserCode, ls[i], t0)
	}), storage.ErrNotFound)
	if won%4 < 2 {
		want.DeniedAt = t0
	} else {
		want.AllowedAt, want.UserID, want.SessionID, want.AuthTime = t0, ls[won].User.ID, ls[won].Session.ID, t0
	}
	d.wantPoll("of the answer that won", t0, want)
}

func devicePoll(d *db) {
	want := d.askDevice()
	poll := func(what string, now time.Time) {
		d.Helper()
		d.wantPoll(what, now, want)
	}
	poll("in time", t0)
	want.PollAt = t0.Add(want.Interval)
	now := want.PollAt
	poll("at its exact moment", now)
	want.PollAt = now.Add(want.Interval)
	now = want.PollAt.Add(-tick)
	poll("a moment before", now)
	want.Interval += storage.SlowDown
	want.PollAt = now.Add(want.Interval)
	now = now.Add(time.Second)
	poll("before again", now)
	want.Interval += storage.SlowDown
	want.PollAt = now.Add(want.Interval)
	given, now := odd(want.PollAt.Add(time.Minute))
	poll("in time again", given)
	want.PollAt = now.Add(want.Interval)
	poll("after that", want.PollAt)
}

func devicePollWhose(d *db) {
	l := d.signIn()
	n := d.askDevice()
	_, err := d.PollDevice(d.Context(), "unknown", n.ClientID, t0)
	d.want("unknown", err, storage.ErrNotFound)
	_, err = d.PollDevice(d.Context(), n.UserCode, n.ClientID, t0)
	d.want("by user code", err, storage.ErrNotFound)
	_, err = d.PollDevice(d.Context(), n.ID, "another client", t0)
	d.want("another client's", err, storage.ErrNotFound)
	d.wantPoll("in time", t0, n)

	used := d.allowed(l)
	_, err = d.RedeemDevice(d.Context(), used.ID, d.newGrant(l), false, t0)
	d.must(err)
	used.AllowedAt, used.UsedAt, used.UserID, used.SessionID, used.AuthTime = t0, t0, l.User.ID, l.Session.ID, t0
	d.wantPoll("used", t0, used)
	n = d.askDevice()
	d.wantPoll("expired", n.ExpiresAt.Add(day-tick), n)
}

func devicePollRace(d *db) {
	n := d.askDevice()
	got := make([]storage.Device, racers)
	for _, err := range d.race(func(s Store, i int) (err error) {
		got[i], err = s.PollDevice(d.Context(), n.ID, n.ClientID, t0)
		return err
	}) {
		d.must(err)
	}
	inTime := 0
	for _, g := range got {
		if !g.PollAt.After(t0) {
			inTime++
		}
	}
	same(d, "in time", inTime, 1)
	n.Interval += (racers - 1) * storage.SlowDown
	n.PollAt = t0.Add(n.Interval)
	d.wantPoll("afterwards", n.PollAt, n)
}

func deviceRedeem(d *db) {
	l := d.signIn()
	for _, want := range []storage.Grant{d.newGrant(l), d.newGrant(l, offline, refreshable)} {
		n := d.allowed(l)
		user, err := d.RedeemDevice(d.Context(), n.ID, want, false, t0)
		d.must(err)
		same(d, "user", user, l.User)
		got, user, err := d.Grant(d.Context(), want.ID, t0)
		d.must(err)
		same(d, "grant", got, want)
		same(d, "user of the grant", user, l.User)
	}
}

func deviceRedeemNot(d *db) {
	l, other, ended, expired, disabled := d.signIn(), d.signIn(), d.signIn(), d.signIn(), d.signIn()
	second := d.signInAs(l.User)
	d.must(d.TouchSession(d.Context(), expired.Session.ID, t0, t0.Add(day)))
	long := func(d *storage.Device) { d.ExpiresAt = t0.Add(2 * day) }
	asked, denied := d.askDevice(), d.askDevice()
	d.must(d.DenyDevice(d.Context(), denied.UserCode, t0))
	late := d.allowed(l)
	ofEnded, ofDisabled := d.allowed(ended), d.allowed(disabled)
	d.end(ended.Session.ID, t0)
	d.must(d.DisableUser(d.Context(), disabled.User.ID, t0))
	foreign := func(g *storage.Grant) { g.ClientID = "another" }
	for _, c := range []struct {
		name  string
		n     storage.Device
		grant storage.Grant
		now   time.Time
		want  error
	}{
		{"unknown", storage.Device{ID: "unknown"}, d.newGrant(l), t0, storage.ErrNotFound},
		{"by user code", storage.Device{ID: late.UserCode}, d.newGrant(l), t0, storage.ErrNotFound},
		{"not answered", asked, d.newGrant(l), t0, storage.ErrNotFound},
		{"denied", denied, d.newGrant(l), t0, storage.ErrNotFound},
		{"expired", late, d.newGrant(l), late.ExpiresAt, storage.ErrNotFound},
		{"for another client", late, d.newGrant(l, foreign), t0, storage.ErrNotFound},
		{"for another user", late, d.newGrant(other), t0, storage.ErrNotFound},
		{"for another session", late, d.newGrant(second), t0, storage.ErrNotFound},
		{"just before its end", late, d.newGrant(l), late.ExpiresAt.Add(-tick), nil},
		{"session ended", ofEnded, d.newGrant(ended, offline), t0, storage.ErrNotFound},
		{"session idle", d.allowed(l, long), d.newGrant(l, offline), l.Session.IdleAt, storage.ErrNotFound},
		{"session just before idle", d.allowed(l, long), d.newGrant(l), l.Session.IdleAt.Add(-tick), nil},
		{"session expired", d.allowed(expired, long), d.newGrant(expired, offline), expired.Session.ExpiresAt, storage.ErrNotFound},
		{"session just before its end", d.allowed(expired, long), d.newGrant(expired), expired.Session.ExpiresAt.Add(-tick), nil},
		{"of a disabled user", ofDisabled, d.newGrant(disabled, offline), t0, storage.ErrNotFound},
	} {
		c.grant.ExpiresAt = t0.Add(2 * day)
		_, err := d.RedeemDevice(d.Context(), c.n.ID, c.grant, false, c.now)
		d.want(c.name, err, c.want)
		d.wantGrant(c.name, c.grant.ID, c.now, c.want)
	}
}

func deviceRedeemOnce(d *db) {
	l := d.signIn()
	n, first := d.allowed(l), d.newGrant(l)
	_, err := d.RedeemDevice(d.Context(), n.ID, first, false, t0)
	d.must(err)
	second := d.newGrant(l)
	for _, g := range []storage.Grant{first, second} {
		_, err = d.RedeemDevice(d.Context(), n.ID, g, false, t0)
		d.want("again", err, storage.ErrNotFound)
	}
	d.wantGrant("the first", first.ID, t0, nil)
	d.wantGrant("the second", second.ID, t0, storage.ErrNotFound)

	// What cannot be inserted uses nothing up.
	n = d.allowed(l)
	if _, err := d.RedeemDevice(d.Context(), n.ID, first, false, t0); err == nil {
		d.Fatal("a grant was there, and was inserted")
	}
	d.wantGrant("the first", first.ID, t0, nil)
	_, err = d.RedeemDevice(d.Context(), n.ID, second, false, t0)
	d.must(err)
}

func deviceRedeemRace(d *db) {
	l := d.signIn()
	n := d.allowed(l)
	gs := make([]storage.Grant, racers)
	for i := range gs {
		gs[i] = d.newGrant(l)
	}
	won := d.winner(d.race(func(s Store, i int) error {
		_, err := s.RedeemDevice(d.Context(), n.ID, gs[i], true, t0)
		return err
	}), storage.ErrNotFound)
	for i, g := range gs {
		want := storage.ErrNotFound
		if i == won {
			want = nil
		}
		d.wantGrant("of the race", g.ID, t0, want)
	}
}

func deviceNotice(d *db) {
	l := d.signIn()
	for _, c := range []struct {
		client string
		notify bool
	}{{"wants", true}, {"wants none", false}, {"wants", false}} {
		n := d.allowed(l, func(d *storage.Device) { d.ClientID = c.client })
		_, err := d.RedeemDevice(d.Context(), n.ID, d.newGrant(l, func(g *storage.Grant) { g.ClientID = c.client }), c.notify, t0)
		d.must(err)
	}
	n := d.allowed(l, func(d *storage.Device) { d.ClientID = "too late" })
	_, err := d.RedeemDevice(d.Context(), n.ID, d.newGrant(l, func(g *storage.Grant) { g.ClientID = "too late" }), true, n.ExpiresAt)
	d.want("too late", err, storage.ErrNotFound)
	same(d, "clients", d.end(l.Session.ID, t0), []string{"wants", "wants none"})
	d.wantNotices("of a device", 10, t0, l.Session.ID+" wants")
}
