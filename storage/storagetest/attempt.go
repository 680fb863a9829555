package storagetest

import (
	"slices"
	"sync"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var attemptTests = []test{
	{name: "every field comes back in UTC and to the microsecond", run: attemptFields},
	{name: "unknown is not found", run: attemptUnknown},
	{name: "an id is taken once", run: attemptConflict},
	{name: "a newer link supersedes the live ones of its Txn alone", run: attemptSupersede},
	{name: "the latest is the newest of this Txn and browser", run: attemptLatest},
	{name: "of equal times the latest is what was inserted last", run: attemptLatestTie},
	{name: "only a live attempt that is not closed shows its code", run: attemptShowCode},
	{name: "showing the code again keeps the first time", run: attemptShowAgain},
	{name: "closing is for good and once", run: attemptClose},
	{name: "cancelling takes the live ones of this Txn and browser", run: attemptCancel},
	{name: "only a live attempt of this browser spends a try", run: attemptTryCode},
	{name: "no more than MaxTries tries are spent", run: attemptMaxTries},
	{name: "parallel tries get no extra one", run: attemptTryRace},
}

func attemptFields(d *db) {
	a := d.attempt()
	want := a
	a.CreatedAt, want.CreatedAt = odd(a.CreatedAt)
	a.ExpiresAt, want.ExpiresAt = odd(a.ExpiresAt)
	d.must(d.StartAttempt(d.Context(), a, d.mail(a), nil, a.CreatedAt))
	got, err := d.Attempt(d.Context(), a.ID)
	d.must(err)
	same(d, "started", got, want)

	given, kept := odd(t0.Add(time.Minute))
	want.CodeShownAt = kept
	got, err = d.ShowCode(d.Context(), a.ID, given)
	d.must(err)
	same(d, "code shown", got, want)

	given, want.ClosedAt = odd(t0.Add(2 * time.Minute))
	d.must(d.CloseAttempt(d.Context(), a.ID, given))
	want.Tries = 1
	got, err = d.TryCode(d.Context(), a.ID, a.Browser, false, given)
	d.must(err)
	same(d, "closed and tried", got, want)

	given, want.SupersededAt = odd(t0.Add(3 * time.Minute))
	next := d.attempt(func(n *storage.Attempt) { n.Txn = a.Txn })
	d.must(d.StartAttempt(d.Context(), next, d.mail(next), nil, given))
	got, err = d.Attempt(d.Context(), a.ID)
	d.must(err)
	same(d, "superseded", got, want)

	given, next.CancelledAt = odd(t0.Add(4 * time.Minute))
	d.must(d.CancelAttempts(d.Context(), a.Txn, a.Browser, given))
	got, err = d.LatestAttempt(d.Context(), a.Txn, a.Browser)
	d.must(err)
	same(d, "cancelled", got, next)

	used := d.start(func(a *storage.Attempt) {
		a.Browser, a.Request, a.ClientID, a.ClientName, a.Locale = "", "", "", "", ""
	})
	given, used.UsedAt = odd(t0.Add(5 * time.Minute))
	c := d.completion(used, given)
	used.SessionID = c.Session.ID
	_, err = d.CompleteAttempt(d.Context(), c, given)
	d.must(err)
	got, err = d.Attempt(d.Context(), used.ID)
	d.must(err)
	same(d, "used", got, used)
}

func attemptUnknown(d *db) {
	d.start()
	_, err := d.Attempt(d.Context(), "unknown")
	d.want("attempt", err, storage.ErrNotFound)
	_, err = d.LatestAttempt(d.Context(), "unknown", "browser")
	d.want("latest", err, storage.ErrNotFound)
	_, err = d.ShowCode(d.Context(), "unknown", t0)
	d.want("show", err, storage.ErrNotFound)
	_, err = d.TryCode(d.Context(), "unknown", "browser", false, t0)
	d.want("try", err, storage.ErrNotFound)
	_, err = d.CompleteAttempt(d.Context(), d.completion(storage.Attempt{ID: "unknown"}, t0), t0)
	d.want("complete", err, storage.ErrNotFound)
	d.must(d.CloseAttempt(d.Context(), "unknown", t0))
	d.must(d.CancelAttempts(d.Context(), "unknown", "browser", t0))
}

func attemptConflict(d *db) {
	first := d.start()
	again := d.attempt(func(a *storage.Attempt) { a.ID, a.Txn = first.ID, first.Txn })
	err := d.StartAttempt(d.Context(), again, d.mail(again), nil, t0)
	d.want("same id", err, storage.ErrConflict)
	got, err := d.Attempt(d.Context(), first.ID)
	d.must(err)
	same(d, "the first", got, first)
}

// dead makes an attempt of each kind that is no longer live at now, which is
// between t0 and the end of the attempts of this package.
func (d *db) dead(now time.Time) map[storage.State][]storage.Attempt {
	d.Helper()
	used, cancelled, burned, superseded := d.start(), d.start(), d.start(), d.start()
	d.complete(used, t0)
	d.must(d.CancelAttempts(d.Context(), cancelled.Txn, cancelled.Browser, t0))
	d.start(func(a *storage.Attempt) { a.Txn = superseded.Txn })
	for range storage.MaxTries {
		_, err := d.TryCode(d.Context(), burned.ID, burned.Browser, false, t0)
		d.must(err)
	}
	expired := d.start(func(a *storage.Attempt) { a.ExpiresAt = now })
	return map[storage.State][]storage.Attempt{
		storage.StateUsed: {used}, storage.StateCancelled: {cancelled, burned}, storage.StateSuperseded: {superseded}, storage.StateExpired: {expired},
	}
}

// wantUnchanged checks that what is no longer live stays as it is.
func (d *db) wantUnchanged(dead map[storage.State][]storage.Attempt, now time.Time, call func(a storage.Attempt)) {
	d.Helper()
	for state, attempts := range dead {
		for _, a := range attempts {
			before := d.wantState("before", a.ID, now, state)
			call(a)
			same(d, string(state)+" attempt after the call", d.wantState("after", a.ID, now, state), before)
		}
	}
}

func attemptSupersede(d *db) {
	now := t0.Add(time.Minute)
	again := func(txn, browser string) {
		a := d.attempt(func(a *storage.Attempt) { a.Txn, a.Browser, a.CreatedAt = txn, browser, now })
		d.must(d.StartAttempt(d.Context(), a, d.mail(a), nil, now))
	}
	live, other := d.start(), d.start()
	closed := d.start(func(a *storage.Attempt) { a.ExpiresAt = now.Add(tick) })
	d.must(d.CloseAttempt(d.Context(), closed.ID, t0))
	for _, a := range []storage.Attempt{live, closed} {
		again(a.Txn, "another browser")
		if got := d.wantState("live", a.ID, now, storage.StateSuperseded); !got.SupersededAt.Equal(now) {
			d.Fatalf("superseded at %v, want %v", got.SupersededAt, now)
		}
	}
	d.wantState("another Txn", other.ID, now, storage.StateLive)
	d.wantUnchanged(d.dead(now), now, func(a storage.Attempt) { again(a.Txn, a.Browser) })
}

func attemptLatest(d *db) {
	newer := d.start(func(a *storage.Attempt) { a.CreatedAt = t0.Add(tick) })
	d.start(func(a *storage.Attempt) { a.Txn = newer.Txn })
	other := d.start(func(a *storage.Attempt) { a.Txn, a.Browser, a.CreatedAt = newer.Txn, "another", t0.Add(time.Minute) })
	none := d.start(func(a *storage.Attempt) { a.Txn, a.Browser = newer.Txn, "" })
	for _, want := range []storage.Attempt{newer, other, none} {
		got, err := d.LatestAttempt(d.Context(), want.Txn, want.Browser)
		d.must(err)
		same(d, "latest of "+want.Browser, got.ID, want.ID)
	}
	_, err := d.LatestAttempt(d.Context(), newer.Txn, "a third")
	d.want("a browser that asked for nothing", err, storage.ErrNotFound)
}

func attemptLatestTie(d *db) {
	txn := d.id("txn")
	for _, id := range []string{"m", "z", "a", "n"} {
		d.start(func(a *storage.Attempt) { a.ID, a.Txn = id, txn })
		got, err := d.LatestAttempt(d.Context(), txn, "browser")
		d.must(err)
		same(d, "latest", got.ID, id)
	}
}

func attemptShowCode(d *db) {
	now := t0.Add(time.Minute)
	live := d.start(func(a *storage.Attempt) { a.ExpiresAt = now.Add(tick) })
	got, err := d.ShowCode(d.Context(), live.ID, now)
	d.must(err)
	same(d, "shown", got.CodeShownAt, now)
	closed := d.start()
	d.must(d.CloseAttempt(d.Context(), closed.ID, t0))
	_, err = d.ShowCode(d.Context(), closed.ID, now)
	d.want("closed", err, storage.ErrNotFound)
	d.wantUnchanged(d.dead(now), now, func(a storage.Attempt) {
		_, err := d.ShowCode(d.Context(), a.ID, now)
		d.want("not live", err, storage.ErrNotFound)
	})
}

func attemptShowAgain(d *db) {
	a := d.start()
	for range 2 {
		got, err := d.ShowCode(d.Context(), a.ID, t0)
		d.must(err)
		same(d, "shown", got.CodeShownAt, t0)
	}
	got, err := d.ShowCode(d.Context(), a.ID, t0.Add(time.Minute))
	d.must(err)
	same(d, "shown again", got.CodeShownAt, t0)
}

func attemptClose(d *db) {
	a := d.start()
	_, err := d.ShowCode(d.Context(), a.ID, t0)
	d.must(err)
	d.must(d.CloseAttempt(d.Context(), a.ID, t0))
	d.must(d.CloseAttempt(d.Context(), a.ID, t0.Add(time.Minute)))
	got := d.wantState("closed", a.ID, t0, storage.StateLive)
	same(d, "closed", got.ClosedAt, t0)

	tried, err := d.TryCode(d.Context(), a.ID, a.Browser, false, t0) // whoever waits must not learn of it
	d.must(err)
	same(d, "tries", tried.Tries, 1)
	_, err = d.CompleteAttempt(d.Context(), d.completion(a, t0, byCode), t0)
	d.want("by code", err, storage.ErrNotFound)
	d.complete(a, t0) // by the link
}

func attemptCancel(d *db) {
	now := t0.Add(time.Minute)
	live := d.start(func(a *storage.Attempt) { a.ExpiresAt = now.Add(tick) })
	txn := d.start()
	d.must(d.CancelAttempts(d.Context(), txn.Txn, "another", now))
	d.must(d.CancelAttempts(d.Context(), txn.Txn, "", now))
	d.wantState("another browser's", txn.ID, now, storage.StateLive)
	for range 2 {
		d.must(d.CancelAttempts(d.Context(), live.Txn, live.Browser, now))
		got := d.wantState("live", live.ID, now, storage.StateCancelled)
		same(d, "cancelled", got.CancelledAt, now)
	}
	d.wantState("another Txn", txn.ID, now, storage.StateLive)
	d.wantUnchanged(d.dead(now), now, func(a storage.Attempt) {
		d.must(d.CancelAttempts(d.Context(), a.Txn, a.Browser, now))
	})
}

func attemptTryCode(d *db) {
	now := t0.Add(time.Minute)
	for _, browser := range []string{"browser", ""} {
		a := d.start(func(a *storage.Attempt) { a.Browser, a.ExpiresAt = browser, now.Add(tick) })
		got, err := d.TryCode(d.Context(), a.ID, browser, false, now)
		d.must(err)
		a.Tries = 1
		same(d, "tried", got, a)
		_, err = d.TryCode(d.Context(), a.ID, "another", false, now)
		d.want("another browser", err, storage.ErrNotFound)
		same(d, "another browser's try", d.wantState("tried", a.ID, now, storage.StateLive), a)
	}
	d.wantUnchanged(d.dead(now), now, func(a storage.Attempt) {
		_, err := d.TryCode(d.Context(), a.ID, a.Browser, false, now)
		d.want("not live", err, storage.ErrNotFound)
	})
}

func attemptMaxTries(d *db) {
	a := d.start()
	for n := 1; n <= storage.MaxTries; n++ {
		got, err := d.TryCode(d.Context(), a.ID, a.Browser, false, t0)
		d.must(err)
		same(d, "tries", got.Tries, n)
	}
	_, err := d.TryCode(d.Context(), a.ID, a.Browser, false, t0)
	d.want("one too many", err, storage.ErrNotFound)
	_, err = d.CompleteAttempt(d.Context(), d.completion(a, t0), t0)
	d.want("the link of a burned attempt", err, storage.ErrNotFound)
	d.wantState("burned", a.ID, t0, storage.StateCancelled)
}

func attemptTryRace(d *db) {
	a := d.start()
	var (
		mu    sync.Mutex
		tries []int
	)
	errs := d.race(func(s Store, _ int) error {
		got, err := s.TryCode(d.Context(), a.ID, a.Browser, false, t0)
		if err == nil {
			mu.Lock()
			tries = append(tries, got.Tries)
			mu.Unlock()
		}
		return err
	})
	slices.Sort(tries)
	same(d, "tries that were spent", tries, []int{1, 2, 3, 4, 5}[:storage.MaxTries])
	for _, err := range errs {
		if err != nil {
			d.want("a try too many", err, storage.ErrNotFound)
		}
	}
}
