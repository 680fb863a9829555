package storagetest

import (
	"time"

	"github.com/sealpost/sealpost/storage"
)

var sessionTests = []test{
	{name: "a session is live until it expires, idles or is ended", run: sessionLive},
	{name: "touching moves the idle end", run: sessionTouch},
	{name: "what is not live cannot be touched", run: sessionTouchDead},
	{name: "ending revokes the session's grants save offline ones", run: sessionEnd},
	{name: "ending twice, or nothing, is no error", run: sessionEndTwice},
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

	d.must(d.EndSession(d.Context(), l.Session.ID, t0))
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
	d.must(d.EndSession(d.Context(), ended.ID, t0))
	touch("ended", ended.ID, t0)
	d.wantSession("ended stays ended", ended.ID, t0, storage.ErrNotFound)
}

func sessionEnd(d *db) {
	l := d.signIn()
	other := d.signInAs(l.User)
	online, off := d.redeem(l), d.redeem(l, offline)
	elsewhere := d.redeem(other)
	d.must(d.EndSession(d.Context(), l.Session.ID, t0))
	d.wantGrant("online", online.ID, t0, storage.ErrNotFound)
	d.wantGrant("offline", off.ID, t0, nil)
	d.wantGrant("of another session", elsewhere.ID, t0, nil)
	d.wantSession("another", other.Session.ID, t0, nil)
}

func sessionEndTwice(d *db) {
	l := d.signIn()
	for range 2 {
		d.must(d.EndSession(d.Context(), l.Session.ID, t0))
	}
	d.must(d.EndSession(d.Context(), "unknown", t0))
}
