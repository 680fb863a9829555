package storagetest

import (
	"errors"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var limitTests = []test{
	{name: "Max pass in a window and the rest are told how long to wait", run: limitMax},
	{name: "a window starts with its first count and is over at its end", run: limitWindow},
	{name: "a full limit writes nothing", run: limitNothing},
	{name: "a refusal moves no counter", run: limitRefusal},
	{name: "limits are counted without an attempt", run: limitAlone},
	{name: "of several full limits the longest wait is told", run: limitLongest},
	{name: "a window never outlasts the Window asked for", run: limitShorter},
	{name: "of 32 callers exactly Max pass", run: limitRace},
}

// ask starts an attempt at now under limits.
func (d *db) ask(s Store, now time.Time, limits ...storage.Limit) error {
	a := d.attempt(func(a *storage.Attempt) { a.CreatedAt, a.ExpiresAt = now, now.Add(15*time.Minute) })
	return s.StartAttempt(d.Context(), a, d.mail(a), limits, now)
}

// wantLimit checks that a limit was full.
func (d *db) wantLimit(what string, err error, key string, wait time.Duration) {
	d.Helper()
	var full *storage.LimitError
	if !errors.As(err, &full) {
		d.Fatalf("%s: got error %v, want a LimitError", what, err)
	}
	same(d, what, *full, storage.LimitError{Key: key, RetryAfter: wait})
}

func limitMax(d *db) {
	l := storage.Limit{Key: "address:a", Max: 3, Window: time.Hour}
	for i := range l.Max {
		d.must(d.ask(d, t0.Add(time.Duration(i)*time.Minute), l))
	}
	for range 2 {
		d.wantLimit("full", d.ask(d, t0.Add(5*time.Minute), l), l.Key, 55*time.Minute)
	}
	other := l
	other.Key = "address:b"
	d.must(d.ask(d, t0, other))
	d.must(d.ask(d, t0))
}

func limitWindow(d *db) {
	l := storage.Limit{Key: "address:a", Max: 1, Window: time.Hour}
	d.must(d.ask(d, t0, l))
	d.wantLimit("the last moment", d.ask(d, t0.Add(time.Hour-tick), l), l.Key, tick)
	d.must(d.ask(d, t0.Add(time.Hour), l))
	d.wantLimit("the next window", d.ask(d, t0.Add(time.Hour), l), l.Key, time.Hour)
}

func limitNothing(d *db) {
	l := storage.Limit{Key: "address:a", Max: 1, Window: time.Hour}
	first := d.attempt()
	d.must(d.StartAttempt(d.Context(), first, d.mail(first), []storage.Limit{l}, t0))
	refused := d.attempt(func(a *storage.Attempt) { a.Txn = first.Txn })
	err := d.StartAttempt(d.Context(), refused, d.mail(refused), []storage.Limit{l}, t0)
	d.wantLimit("full", err, l.Key, time.Hour)
	_, err = d.Attempt(d.Context(), refused.ID)
	d.want("attempt", err, storage.ErrNotFound)
	d.wantState("the one before", first.ID, t0, storage.StateLive)
	mail, err := d.ClaimMail(d.Context(), 10, t0, t0.Add(time.Minute))
	d.must(err)
	same(d, "messages", len(mail), 1)
}

// Otherwise whoever is refused could fill the counters of others, and the table.
func limitRefusal(d *db) {
	full := storage.Limit{Key: "network:n", Max: 1, Window: time.Hour}
	d.must(d.ask(d, t0, full))
	counted := storage.Limit{Key: "address:counted", Max: 2, Window: 2 * time.Hour}
	d.must(d.ask(d, t0, counted))
	fresh := storage.Limit{Key: "address:fresh", Max: 1, Window: 2 * time.Hour}
	over := storage.Limit{Key: "address:over", Max: 1, Window: time.Second}
	d.must(d.ask(d, t0, over))
	later := t0.Add(time.Minute)
	for range 3 {
		d.wantLimit("full", d.ask(d, later, full, counted, fresh, over), full.Key, 59*time.Minute)
		d.wantLimit("full", d.CountLimits(d.Context(), []storage.Limit{over, fresh, counted, full}, later), full.Key, 59*time.Minute)
	}
	d.must(d.ask(d, later, counted, fresh, over))
	d.wantLimit("then", d.ask(d, later, counted), counted.Key, 2*time.Hour-time.Minute)
	d.wantLimit("then", d.ask(d, later, fresh), fresh.Key, 2*time.Hour)
	d.wantLimit("then", d.ask(d, later, over), over.Key, time.Second)
	d.must(d.ask(d, t0.Add(time.Hour), full)) // its window did not move
}

func limitAlone(d *db) {
	l := storage.Limit{Key: "code:a", Max: 2, Window: time.Hour}
	d.must(d.CountLimits(d.Context(), nil, t0))
	d.must(d.CountLimits(d.Context(), []storage.Limit{l}, t0))
	d.must(d.ask(d, t0, l)) // the same counters
	d.wantLimit("full", d.CountLimits(d.Context(), []storage.Limit{l}, t0), l.Key, time.Hour)
	d.must(d.CountLimits(d.Context(), []storage.Limit{l}, t0.Add(time.Hour)))
}

func limitLongest(d *db) {
	limits := []storage.Limit{
		{Key: "a", Max: 1, Window: time.Hour}, {Key: "b", Max: 1, Window: 3 * time.Hour}, {Key: "c", Max: 1, Window: 2 * time.Hour},
		{Key: "d", Max: 9, Window: 9 * time.Hour},
	}
	d.must(d.ask(d, t0, limits...))
	d.wantLimit("full", d.ask(d, t0.Add(time.Minute), limits...), "b", 3*time.Hour-time.Minute)
}

// New settings, or a clock that was put right, take effect at once.
func limitShorter(d *db) {
	l := storage.Limit{Key: "address:a", Max: 1, Window: 1000 * time.Hour}
	d.must(d.ask(d, t0, l))
	l.Window = time.Minute
	d.wantLimit("full", d.ask(d, t0, l), l.Key, time.Minute)
	d.wantLimit("still the same window", d.ask(d, t0.Add(time.Minute-tick), l), l.Key, tick)
	d.must(d.ask(d, t0.Add(time.Minute), l))
}

func limitRace(d *db) {
	a := storage.Limit{Key: "address:a", Max: 7, Window: time.Hour}
	n := storage.Limit{Key: "network:n", Max: racers, Window: time.Hour}
	passed := 0
	for _, err := range d.race(func(s Store, i int) error {
		if i%4 < 2 { // in any order
			return d.ask(s, t0, a, n)
		}
		return d.ask(s, t0, n, a)
	}) {
		if err == nil {
			passed++
			continue
		}
		d.wantLimit("full", err, a.Key, time.Hour)
	}
	same(d, "passed", passed, a.Max)
	n.Max = a.Max + 1
	d.must(d.ask(d, t0, n)) // only those that passed were counted
	d.wantLimit("then", d.ask(d, t0, n), n.Key, time.Hour)
}
