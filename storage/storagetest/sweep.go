package storagetest

import (
	"testing"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var sweepTests = []test{
	{name: "nothing live is removed", run: sweepLive},
	{name: "attempts go with their mail a day after they expired", run: sweepAttempts},
	{name: "sessions go a day after their end", run: sweepSessions},
	{name: "grants go when they expire", run: sweepGrants},
	{name: "counters go when their window ends", run: sweepLimits},
	{name: "uses go when they end", run: sweepUses},
	{name: "device requests go a day after they expired", run: sweepDevices},
	{name: "notices go a day after they ended", run: sweepNotices},
	{name: "a batch is bounded and the next goes on", run: sweepBatches},
	{name: "sweeps at once remove each row once", run: sweepRace},
}

// wantSweep checks how many rows go at now.
func (d *db) wantSweep(what string, now time.Time, want int) {
	d.Helper()
	got, err := d.Sweep(d.Context(), now, 1000)
	d.must(err)
	same(d, "swept: "+what, got, want)
}

func sweepLive(d *db) {
	l := d.signIn()
	a := d.start()
	g := d.redeem(l, offline, refreshable)
	d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: l.User.ID, ClientID: "client", Scopes: []string{"openid"}, At: t0}))
	d.must(d.AddClient(d.Context(), storage.Client{ID: "client", CreatedAt: t0, UpdatedAt: t0}))
	d.must(d.AddSigningKey(d.Context(), storage.SigningKey{ID: "a", Algorithm: "RS256", Generation: 1, Sealed: []byte("k"), CreatedAt: t0, SignsAt: t0, RetiredAt: t0}))
	d.must(d.ask(d, t0, storage.Limit{Key: "l", Max: 1, Window: time.Hour}))
	d.wantSweep("live", t0, 0)
	d.wantState("live", a.ID, t0, storage.StateLive)
	d.wantSession("live", l.Session.ID, t0, nil)
	d.wantGrant("live", g.ID, t0, nil)
	d.wantLimit("full", d.ask(d, t0, storage.Limit{Key: "l", Max: 1, Window: time.Hour}), "l", time.Hour)

	// However long ago: these have no end.
	_, err := d.Sweep(d.Context(), t0.Add(10000*day), 1000)
	d.must(err)
	d.wantConsent(l.User.ID, "client", t0, "openid")
	_, err = d.Client(d.Context(), "client")
	d.must(err)
	keys, err := d.SigningKeys(d.Context())
	d.must(err)
	same(d, "keys", len(keys), 1)
	again := d.signInAs(l.User)
	same(d, "user", again.User.ID, l.User.ID)
}

func sweepAttempts(d *db) {
	used, waiting := d.start(), d.start()
	d.complete(used, t0, func(c *storage.Completion) { c.Session.ExpiresAt, c.Session.IdleAt = t0.Add(99*day), t0.Add(99*day) })
	later := d.start(func(a *storage.Attempt) { a.ExpiresAt = a.ExpiresAt.Add(tick) })
	goes := waiting.ExpiresAt.Add(day)
	d.wantSweep("the last moment", goes.Add(-tick), 0)
	d.wantState("used", used.ID, goes, storage.StateUsed)
	d.wantState("expired", waiting.ID, goes, storage.StateExpired)
	d.wantSweep("a day later", goes, 2)
	for _, a := range []storage.Attempt{used, waiting} {
		_, err := d.Attempt(d.Context(), a.ID)
		d.want("swept", err, storage.ErrNotFound)
	}
	d.wantState("a moment later", later.ID, goes, storage.StateExpired)
	for _, m := range d.claim(10, t0) {
		same(d, "mail of", m.Attempt.ID, later.ID)
	}
	d.wantSweep("nothing left", goes, 0)
}

func sweepSessions(d *db) {
	for _, c := range []struct {
		name string
		over func(l storage.Login) time.Time
	}{
		{"idle", func(l storage.Login) time.Time { return l.Session.IdleAt }},
		{"expired", func(l storage.Login) time.Time {
			d.must(d.TouchSession(d.Context(), l.Session.ID, t0, t0.Add(9*day)))
			return l.Session.ExpiresAt
		}},
		{"ended", func(l storage.Login) time.Time {
			d.end(l.Session.ID, t0.Add(time.Minute))
			return t0.Add(time.Minute)
		}},
	} {
		d.wantSweep("everything before", t0.Add(1000*day), sweptBefore(c.name))
		a := d.start(func(a *storage.Attempt) { a.ExpiresAt = t0.Add(100 * day) })
		l := d.complete(a, t0)
		off := d.redeem(l, offline, func(g *storage.Grant) { g.ExpiresAt = t0.Add(100 * day) })
		over := c.over(l)
		d.wantSweep(c.name+", the last moment", over.Add(day-tick), 0)
		d.wantSweep(c.name+", a day later", over.Add(day), 1)
		d.wantSweep(c.name+", again", over.Add(day), 0)
		d.wantGrant("offline, its session swept", off.ID, over.Add(day), nil)
		_, err := d.RedeemCode(d.Context(), off, storage.Redeeming{}, over.Add(day))
		d.want("replay, its session swept", err, storage.ErrConflict)
	}
}

// sweptBefore is what the case before leaves: an attempt and an offline grant.
func sweptBefore(name string) int {
	if name == "idle" {
		return 0
	}
	return 2
}

func sweepGrants(d *db) {
	l := d.signIn()
	long := d.redeem(l, offline, refreshable)
	ends := t0.Add(10 * time.Minute)
	for _, kind := range []func(*storage.Grant){func(*storage.Grant) {}, offline} {
		d.redeem(l, kind)
		revoked := d.redeem(l, kind)
		d.must(d.RevokeGrant(d.Context(), revoked.ID, revoked.ClientID, t0))
	}
	burned := d.newGrant(l)
	d.must(d.BurnCode(d.Context(), burned, t0))
	d.wantSweep("the last moment", ends.Add(-tick), 0)
	_, err := d.RedeemCode(d.Context(), burned, storage.Redeeming{}, ends.Add(-tick))
	d.want("a burned code is known to its end", err, storage.ErrConflict)
	d.wantSweep("expired", ends, 5)
	d.wantGrant("live", long.ID, ends, nil)
}

func sweepLimits(d *db) {
	short := storage.Limit{Key: "short", Max: 1, Window: time.Minute}
	long := storage.Limit{Key: "long", Max: 1, Window: time.Minute + tick}
	d.must(d.ask(d, t0, short, long))
	d.wantSweep("the last moment", t0.Add(time.Minute-tick), 0)
	d.wantSweep("over", t0.Add(time.Minute), 1)
	d.wantLimit("the other", d.ask(d, t0.Add(time.Minute), long), long.Key, tick)
}

func sweepBatches(d *db) {
	for i := range 25 {
		d.start(func(a *storage.Attempt) { a.ExpiresAt = a.ExpiresAt.Add(time.Duration(i)) })
	}
	goes := t0.Add(2 * day)
	for _, want := range []int{10, 10, 5, 0} {
		got, err := d.Sweep(d.Context(), goes, 10)
		d.must(err)
		same(d, "swept", got, want)
	}
	// The bound is for each kind, so that no kind starves another.
	l := d.signIn()
	for range 3 {
		d.start()
		d.redeem(l)
		d.signIn()
		d.must(d.ask(d, t0, storage.Limit{Key: d.id("limit"), Max: 1, Window: time.Minute}))
		d.must(d.Use(d.Context(), []storage.Use{{Key: d.id("use"), EndsAt: t0.Add(time.Minute)}}, t0))
		d.askDevice()
		d.notice("dropped")
	}
	for _, n := range d.claimNotices(10, t0) {
		d.finishNotice(n, storage.NoticeDropped, t0)
	}
	swept := 0
	for {
		got, err := d.Sweep(d.Context(), goes, 2)
		d.must(err)
		if got > 7*2 {
			d.Fatalf("swept %d rows of seven kinds, want 2 of each at most", got)
		}
		if got == 0 {
			break
		}
		swept += got
	}
	same(d, "swept in all", swept, 13+7+6+3+3+3+3) // attempts, sessions, grants, counters, uses, device requests, notices
	got, err := d.Sweep(d.Context(), goes, 0)
	d.must(err)
	same(d, "swept with no limit left", got, 0)
}

func sweepUses(d *db) {
	short := storage.Use{Key: "short", EndsAt: t0.Add(time.Minute)}
	long := storage.Use{Key: "long", EndsAt: t0.Add(time.Minute + tick)}
	d.must(d.Use(d.Context(), []storage.Use{short, long}, t0))
	d.wantSweep("the last moment", short.EndsAt.Add(-tick), 0)
	d.wantSweep("over", short.EndsAt, 1)
	d.want("the other", d.Use(d.Context(), []storage.Use{long}, short.EndsAt), storage.ErrConflict)
}

func sweepDevices(d *db) {
	l := d.signIn()
	d.wantSweep("everything before", t0.Add(100*day), 2) // an attempt and its session
	asked, answered := d.askDevice(), d.allowed(l)
	goes := asked.ExpiresAt.Add(day)
	later := d.askDevice(func(d *storage.Device) { d.ExpiresAt = d.ExpiresAt.Add(tick) })
	d.wantSweep("the last moment", goes.Add(-tick), 0)
	d.must(d.poll(answered, t0))
	d.wantSweep("a day later", goes, 2)
	d.want("swept", d.poll(asked, t0), storage.ErrNotFound)
	d.must(d.poll(later, t0))
	again := d.newDevice(func(d *storage.Device) { d.UserCode = asked.UserCode })
	d.must(d.AddDevice(d.Context(), again))
}

func sweepNotices(d *db) {
	for _, client := range []string{"delivered", "dropped", "failed", "queued"} {
		d.notice(client)
	}
	ended := t0.Add(time.Hour)
	for _, n := range d.claimNotices(10, t0) {
		d.finishNotice(n, storage.NoticeState(n.ClientID), ended)
	}
	// Their attempts, sessions and grants.
	d.wantSweep("the last moment", ended.Add(day-tick), 4+4+4)
	d.wantSweep("a day later", ended.Add(day), 3)
	_, err := d.Sweep(d.Context(), t0.Add(10000*day), 1000)
	d.must(err)
	left := d.claimNotices(10, t0.Add(10000*day))
	if len(left) != 1 || left[0].ClientID != "queued" || left[0].UserID == "" {
		d.Fatalf("got %+v, want the one that is queued", left)
	}
}

func sweepRace(d *db) {
	for range 50 {
		d.start()
	}
	swept := make([]int, racers)
	for _, err := range d.race(func(s Store, i int) (err error) {
		swept[i], err = s.Sweep(d.Context(), t0.Add(2*day), 5)
		return err
	}) {
		d.must(err)
	}
	sum := 0
	for _, n := range swept {
		sum += n
	}
	for { // replicas may have passed over what others were removing
		n, err := d.Sweep(d.Context(), t0.Add(2*day), 5)
		d.must(err)
		if n == 0 {
			break
		}
		sum += n
	}
	same(d, "swept in all", sum, 50)
}

// BenchmarkSweep removes what logins leave, and tells how long that takes beside
// making it. login makes one login of a number.
func BenchmarkSweep(b *testing.B, db Store, login func(n int64)) {
	began := time.Now()
	for n := range int64(b.N) {
		login(n)
	}
	making := time.Since(began)
	b.ResetTimer()
	for swept := 1; swept > 0; {
		var err error
		if swept, err = db.Sweep(b.Context(), t0.Add(9999*day), 500); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/making.Seconds(), "of-making")
}
