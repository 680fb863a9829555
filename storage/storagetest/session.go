package storagetest

import (
	"slices"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var sessionTests = []test{
	{name: "a session is live until it expires, idles or is ended", run: sessionLive},
	{name: "touching moves the idle end", run: sessionTouch},
	{name: "what is not live cannot be touched", run: sessionTouchDead},
	{name: "ending revokes the session's grants save offline ones", run: sessionEnd},
	{name: "ending twice, or nothing, is no error", run: sessionEndTwice},
	{name: "ending tells every client that was signed in to, sorted", run: sessionEndClients},
	{name: "of 32 that end a session one is told its clients", run: sessionEndRace},
}

// end ends a session and gives the clients it signed in to.
func (d *db) end(id string, now time.Time) []string {
	d.Helper()
	clients, err := d.EndSession(d.Context(), id, now)
	d.must(err)
	return clients
}

// signInTo redeems a code of the client at t0.
func (d *db) signInTo(l storage.Login, client string, notify bool, change ...func(*storage.Grant)) storage.Grant {
	d.Helper()
	g := d.newGrant(l, append(change, func(g *storage.Grant) { g.ClientID = client })...)
	_, err := d.RedeemCode(d.Context(), g, storage.Redeeming{Notify: notify}, t0)
	d.must(err)
	return g
}

func sessionLive(d *db) {
	_, err := d.Session(d.Context(), "unknown", t0)
	d.want("unknown", err, storage.ErrNotFound)

	l := d.signIn()
	d.wantSession("just before idle", l.Session.ID, l.Session.IdleAt.Add(-tick), nil)
	d.wantSession("idle", l.Session.ID, l.Session.IdleAt, storage.ErrNotFound)

	d.must(d.TouchSession(d.Context(), l.Session.ID, t0, t0.Add(100*time.Hour)))
	d.wantSession("just before its end", l.Session.ID, l.Session.ExpiresAt.Add(-tick), nil)
	d.wantSession("expired", l.Session.ID, l.Session.ExpiresAt, storage.ErrNotFound)

	d.end(l.Session.ID, t0)
	d.wantSession("ended", l.Session.ID, t0, storage.ErrNotFound)
}

func sessionTouch(d *db) {
	l, other := d.signIn(), d.signIn()
	now, seen := odd(t0.Add(time.Minute))
	d.must(d.TouchSession(d.Context(), l.Session.ID, now, now.Add(2*time.Hour)))
	want := l
	want.Session.SeenAt, want.Session.IdleAt = seen, seen.Add(2*time.Hour)
	got, err := d.Session(d.Context(), l.Session.ID, seen)
	d.must(err)
	same(d, "touched", got, want)
	got, err = d.Session(d.Context(), other.Session.ID, seen)
	d.must(err)
	same(d, "another", got, other)
}

func sessionTouchDead(d *db) {
	touch := func(what, id string, now time.Time) {
		d.Helper()
		d.want(what, d.TouchSession(d.Context(), id, now, now.Add(time.Hour)), storage.ErrNotFound)
	}
	touch("unknown", "unknown", t0)
	idle, expired, ended := d.signIn().Session, d.signIn().Session, d.signIn().Session
	touch("idle", idle.ID, idle.IdleAt)
	d.wantSession("idle stays idle", idle.ID, idle.IdleAt, storage.ErrNotFound)
	d.must(d.TouchSession(d.Context(), expired.ID, idle.IdleAt.Add(-tick), expired.ExpiresAt.Add(time.Hour)))
	touch("expired", expired.ID, expired.ExpiresAt)
	d.end(ended.ID, t0)
	touch("ended", ended.ID, t0)
	d.wantSession("ended stays ended", ended.ID, t0, storage.ErrNotFound)
}

func sessionEnd(d *db) {
	l := d.signIn()
	other := d.signInAs(l.User)
	online, off := d.redeem(l), d.redeem(l, offline)
	elsewhere := d.redeem(other)
	d.end(l.Session.ID, t0)
	d.wantGrant("online", online.ID, t0, storage.ErrNotFound)
	d.wantGrant("offline", off.ID, t0, nil)
	d.wantGrant("of another session", elsewhere.ID, t0, nil)
	d.wantSession("another", other.Session.ID, t0, nil)
}

func sessionEndTwice(d *db) {
	l := d.signIn()
	d.signInTo(l, "client", true)
	for _, want := range []int{1, 0, 0} {
		same(d, "clients", len(d.end(l.Session.ID, t0)), want)
	}
	same(d, "clients of nothing", len(d.end("unknown", t0)), 0)
}

func sessionEndClients(d *db) {
	l, other := d.signIn(), d.signIn()
	for i, client := range []string{"b", "ä", "a-b", "B", "a", "ab", "a"} {
		d.signInTo(l, client, i%2 == 0)
	}
	d.signInTo(l, "offline", false, offline)
	d.signInTo(other, "of another session", true)
	burned := d.newGrant(l, func(g *storage.Grant) { g.ClientID = "burned" })
	d.must(d.BurnCode(d.Context(), burned, t0))
	_, err := d.RedeemCode(d.Context(), burned, storage.Redeeming{Notify: true}, t0)
	d.want("burned", err, storage.ErrConflict)
	// However long ago: the grants may be gone, the clients go with the session.
	_, err = d.Sweep(d.Context(), l.Session.IdleAt.Add(day-tick), 1000)
	d.must(err)
	same(d, "clients", d.end(l.Session.ID, t0), []string{"B", "a", "a-b", "ab", "b", "offline", "ä"})
	same(d, "clients of the other", d.end(other.Session.ID, t0), []string{"of another session"})
	same(d, "clients of none", len(d.end(d.signIn().Session.ID, t0)), 0)
	_, err = d.RedeemCode(d.Context(), d.newGrant(l), storage.Redeeming{Notify: true}, t0)
	d.want("after the end", err, storage.ErrNotFound)
}

func sessionEndRace(d *db) {
	l := d.signIn()
	d.signInTo(l, "client", true)
	told := make([][]string, racers)
	for _, err := range d.race(func(s Store, i int) (err error) {
		told[i], err = s.EndSession(d.Context(), l.Session.ID, t0)
		return err
	}) {
		d.must(err)
	}
	same(d, "told", slices.Concat(told...), []string{"client"})
	same(d, "notices", len(d.claimNotices(10, t0)), 1)
}
