package storagetest

import (
	"time"

	"github.com/sealpost/sealpost/storage"
)

var completeTests = []test{
	{name: "a new address makes a user and a session", run: completeNew},
	{name: "a known address finds its user", run: completeKnown},
	{name: "an attempt is used once", run: completeOnce},
	{name: "an attempt that is not live completes nothing", run: completeDead},
	{name: "by the link up to the last microsecond and the last try but one", run: completeLink},
	{name: "by code only when shown, tried and not closed", run: completeByCode},
	{name: "the last try still completes by code", run: completeLastTry},
	{name: "whoever may not sign in is refused and nothing is written", run: completeRefused},
	{name: "a live Current of the same user is kept", run: completeCurrent},
	{name: "a Current that is over is left alone", run: completeOldCurrent},
	{name: "a live Current of another user is ended with its grants", run: completeOtherCurrent},
	{name: "one of 32 callers wins", run: completeRace},
	{name: "32 attempts of one new address agree on one user", run: completeUserRace},
	{name: "using and cancelling exclude each other", run: completeCancelRace},
}

func byCode(c *storage.Completion) { c.ByCode = true }

func completeNew(d *db) {
	a := d.start()
	given, now := odd(t0.Add(time.Minute))
	c := d.completion(a, given)
	got, err := d.CompleteAttempt(d.Context(), c, given)
	d.must(err)

	session := c.Session
	session.UserID = c.UserID
	session.AuthTime, session.CreatedAt, session.SeenAt = now, now, now
	session.IdleAt, session.ExpiresAt = now.Add(time.Hour), now.Add(10*time.Hour)
	want := storage.Login{Session: session, User: storage.User{
		ID: c.UserID, Key: a.Key, Email: a.Email, Locale: a.Locale, CreatedAt: now, UpdatedAt: now, LastLoginAt: now,
	}}
	same(d, "completed", got, want)
	got, err = d.Session(d.Context(), c.Session.ID, now)
	d.must(err)
	same(d, "session", got, want)

	used := d.wantState("completed", a.ID, now, storage.StateUsed)
	same(d, "used", used.UsedAt, now)
	same(d, "attempt's session", used.SessionID, c.Session.ID)
}

func completeKnown(d *db) {
	first := d.signIn()
	later := t0.Add(time.Minute)
	a := d.start(func(a *storage.Attempt) { a.Key, a.Email, a.Locale = first.User.Key, "spelt@otherwise.example", "fr" })
	got := d.complete(a, later, func(c *storage.Completion) { c.Signup = false })
	want := first.User
	want.LastLoginAt = later
	same(d, "user", got.User, want)
	same(d, "session's user", got.Session.UserID, want.ID)
	d.wantSession("the first, in another browser", first.Session.ID, later, nil)
}

func completeOnce(d *db) {
	a := d.start()
	d.complete(a, t0)
	before := d.wantState("used", a.ID, t0, storage.StateUsed)
	c := d.completion(a, t0.Add(tick))
	_, err := d.CompleteAttempt(d.Context(), c, t0.Add(tick))
	d.want("again", err, storage.ErrNotFound)
	same(d, "attempt", d.wantState("used", a.ID, t0, storage.StateUsed), before)
	d.wantSession("of the second", c.Session.ID, t0, storage.ErrNotFound)
}

func completeDead(d *db) {
	now := t0.Add(time.Minute)
	d.wantUnchanged(d.dead(now), now, func(a storage.Attempt) {
		for _, way := range []func(*storage.Completion){func(*storage.Completion) {}, byCode} {
			c := d.completion(a, now, way)
			_, err := d.CompleteAttempt(d.Context(), c, now)
			d.want("not live", err, storage.ErrNotFound)
			d.wantSession("of an attempt that is not live", c.Session.ID, now, storage.ErrNotFound)
		}
	})
}

func completeLink(d *db) {
	now := t0.Add(time.Minute)
	a := d.start(func(a *storage.Attempt) { a.ExpiresAt = now.Add(tick) })
	for range storage.MaxTries - 1 {
		_, err := d.TryCode(d.Context(), a.ID, a.Browser, false, t0)
		d.must(err)
	}
	d.must(d.CloseAttempt(d.Context(), a.ID, t0))
	d.complete(a, now)
}

func completeByCode(d *db) {
	now := t0.Add(time.Minute)
	show := func(a storage.Attempt) {
		_, err := d.ShowCode(d.Context(), a.ID, t0)
		d.must(err)
	}
	try := func(a storage.Attempt) {
		_, err := d.TryCode(d.Context(), a.ID, a.Browser, false, t0)
		d.must(err)
	}
	shut := func(a storage.Attempt) { d.must(d.CloseAttempt(d.Context(), a.ID, t0)) }
	cancel := func(a storage.Attempt) { d.must(d.CancelAttempts(d.Context(), a.Txn, a.Browser, t0)) }
	supersede := func(a storage.Attempt) { d.start(func(n *storage.Attempt) { n.Txn = a.Txn }) }
	use := func(a storage.Attempt) { d.complete(a, t0) }
	for _, c := range []struct {
		name  string
		steps []func(storage.Attempt)
		ends  time.Time
		want  error
	}{
		{"shown and tried", []func(storage.Attempt){show, try}, now.Add(tick), nil},
		{"not shown", []func(storage.Attempt){try}, now.Add(tick), storage.ErrNotFound},
		{"not tried", []func(storage.Attempt){show}, now.Add(tick), storage.ErrNotFound},
		{"closed", []func(storage.Attempt){show, try, shut}, now.Add(tick), storage.ErrNotFound},
		{"expired", []func(storage.Attempt){show, try}, now, storage.ErrNotFound},
		{"cancelled", []func(storage.Attempt){show, try, cancel}, now.Add(tick), storage.ErrNotFound},
		{"superseded", []func(storage.Attempt){show, try, supersede}, now.Add(tick), storage.ErrNotFound},
		{"used", []func(storage.Attempt){show, try, use}, now.Add(tick), storage.ErrNotFound},
	} {
		a := d.start(func(a *storage.Attempt) { a.ExpiresAt = c.ends })
		for _, step := range c.steps {
			step(a)
		}
		_, err := d.CompleteAttempt(d.Context(), d.completion(a, now, byCode), now)
		d.want(c.name, err, c.want)
	}
}

func completeLastTry(d *db) {
	a := d.start()
	_, err := d.ShowCode(d.Context(), a.ID, t0)
	d.must(err)
	for range storage.MaxTries {
		_, err := d.TryCode(d.Context(), a.ID, a.Browser, true, t0)
		d.must(err)
	}
	d.complete(a, t0, byCode)
}

func completeRefused(d *db) {
	disabled, bystander := d.signIn(), d.signIn()
	d.must(d.DisableUser(d.Context(), disabled.User.ID, t0))
	now := t0.Add(time.Minute)
	for _, c := range []struct {
		name   string
		key    string
		signup bool
	}{
		{"unknown without signup", "nobody@example.com", false},
		{"disabled", disabled.User.Key, false},
		{"disabled, signup open", disabled.User.Key, true},
	} {
		a := d.start(func(a *storage.Attempt) { a.Key = c.key })
		completion := d.completion(a, now, func(x *storage.Completion) { x.Signup, x.Current = c.signup, bystander.Session.ID })
		_, err := d.CompleteAttempt(d.Context(), completion, now)
		d.want(c.name, err, storage.ErrRefused)
		same(d, c.name, d.wantState(c.name, a.ID, now, storage.StateLive), a)
		d.wantSession(c.name, completion.Session.ID, now, storage.ErrNotFound)
		d.wantSession(c.name+": Current", bystander.Session.ID, now, nil)
	}
	// The refusal made no user and did not use the attempt up.
	a, err := d.LatestAttempt(d.Context(), d.start(func(a *storage.Attempt) { a.Key = "nobody@example.com" }).Txn, "browser")
	d.must(err)
	_, err = d.CompleteAttempt(d.Context(), d.completion(a, now, func(c *storage.Completion) { c.Signup = false }), now)
	d.want("still unknown", err, storage.ErrRefused)
	d.complete(a, now)
}

func completeCurrent(d *db) {
	first := d.signIn()
	now := t0.Add(time.Hour - tick) // the last moment of its idle time
	g := d.redeem(first, refreshable)
	a := d.start(func(a *storage.Attempt) { a.Key, a.ExpiresAt = first.User.Key, t0.Add(day) })
	c := d.completion(a, now, func(c *storage.Completion) { c.Current = first.Session.ID })
	got, err := d.CompleteAttempt(d.Context(), c, now)
	d.must(err)
	want := first
	want.User.LastLoginAt = now
	want.Session.AuthTime, want.Session.SeenAt, want.Session.IdleAt = now, now, now.Add(time.Hour)
	same(d, "kept", got, want)
	got, err = d.Session(d.Context(), first.Session.ID, now)
	d.must(err)
	same(d, "session", got, want)
	same(d, "attempt's session", d.wantState("used", a.ID, now, storage.StateUsed).SessionID, first.Session.ID)
	d.wantSession("the new one", c.Session.ID, now, storage.ErrNotFound)
	d.wantGrant("of the kept session", g.ID, now, nil)
}

func completeOldCurrent(d *db) {
	ended := d.signIn()
	d.end(ended.Session.ID, t0)
	for _, c := range []struct {
		name    string
		current storage.Login
		now     time.Time
	}{
		{"ended", ended, t0.Add(time.Minute)},
		{"idle", d.signIn(), t0.Add(time.Hour)},
		{"expired", d.signIn(), t0.Add(10 * time.Hour)},
		{"unknown", storage.Login{Session: storage.Session{ID: "unknown"}, User: d.signIn().User}, t0},
	} {
		if c.name == "expired" {
			d.must(d.TouchSession(d.Context(), c.current.Session.ID, t0, t0.Add(day)))
		}
		a := d.start(func(a *storage.Attempt) { a.Key, a.ExpiresAt = c.current.User.Key, t0.Add(day) })
		got := d.complete(a, c.now, func(x *storage.Completion) { x.Current = c.current.Session.ID })
		if got.Session.ID == c.current.Session.ID || got.User.ID != c.current.User.ID {
			d.Fatalf("%s: got session %+v", c.name, got.Session)
		}
		d.wantSession(c.name+" before", c.current.Session.ID, c.now, storage.ErrNotFound)
		d.wantSession(c.name+" after", got.Session.ID, c.now, nil)
	}
}

func completeOtherCurrent(d *db) {
	other := d.signIn()
	online, off := d.redeem(other), d.redeem(other, offline)
	got := d.complete(d.start(), t0, func(c *storage.Completion) { c.Current = other.Session.ID })
	if got.User.ID == other.User.ID || got.Session.ID == other.Session.ID {
		d.Fatalf("got %+v", got)
	}
	d.wantSession("of the other", other.Session.ID, t0, storage.ErrNotFound)
	d.wantGrant("online", online.ID, t0, storage.ErrNotFound)
	d.wantGrant("offline", off.ID, t0, nil)
}

func completeRace(d *db) {
	a := d.start()
	cs := make([]storage.Completion, racers)
	for i := range cs {
		cs[i] = d.completion(a, t0)
	}
	won := d.winner(d.race(func(s Store, i int) error {
		_, err := s.CompleteAttempt(d.Context(), cs[i], t0)
		return err
	}), storage.ErrNotFound)
	for i, c := range cs {
		if i != won {
			d.wantSession("of a loser", c.Session.ID, t0, storage.ErrNotFound)
		}
	}
	got, err := d.Session(d.Context(), cs[won].Session.ID, t0)
	d.must(err)
	same(d, "user", got.User.ID, cs[won].UserID)
	same(d, "attempt's session", d.wantState("used", a.ID, t0, storage.StateUsed).SessionID, cs[won].Session.ID)
}

func completeUserRace(d *db) {
	key := d.id("key") + "@example.com"
	cs := make([]storage.Completion, racers)
	for i := range cs {
		cs[i] = d.completion(d.start(func(a *storage.Attempt) { a.Key = key }), t0)
	}
	users := make([]string, racers)
	for _, err := range d.race(func(s Store, i int) error {
		login, err := s.CompleteAttempt(d.Context(), cs[i], t0)
		users[i] = login.User.ID
		return err
	}) {
		d.must(err)
	}
	for _, id := range users {
		same(d, "user", id, users[0])
	}
}

func completeCancelRace(d *db) {
	as := make([]storage.Attempt, racers/2)
	cs := make([]storage.Completion, racers/2)
	for i := range as {
		as[i] = d.start()
		cs[i] = d.completion(as[i], t0)
	}
	errs := d.race(func(s Store, i int) error {
		// Either way each attempt meets both handles.
		if a := as[i/2]; i%2 == i/2%2 {
			return s.CancelAttempts(d.Context(), a.Txn, a.Browser, t0)
		}
		_, err := s.CompleteAttempt(d.Context(), cs[i/2], t0)
		return err
	})
	for i, err := range errs {
		a, readErr := d.Attempt(d.Context(), as[i/2].ID)
		d.must(readErr)
		if a.UsedAt.IsZero() == a.CancelledAt.IsZero() {
			d.Fatalf("used at %v and cancelled at %v", a.UsedAt, a.CancelledAt)
		}
		completing, cancelled := i%2 != i/2%2, !a.CancelledAt.IsZero()
		if completing && cancelled {
			d.want("complete what was cancelled", err, storage.ErrNotFound)
		} else {
			d.must(err)
		}
	}
}
