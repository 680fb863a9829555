package storagetest

import (
	"fmt"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var useTests = []test{
	{name: "a value is in use until its end", run: useEnds},
	{name: "all are used or none", run: useAll},
	{name: "a holder may come again and changes nothing", run: useHolder},
	{name: "after its end a value is anybody's", run: useAgain},
	{name: "a value twice in a call is used twice", run: useTwice},
	{name: "one of 32 callers uses a value", run: useRace},
	{name: "32 callers of one holder all may", run: useHolderRace},
	{name: "32 callers of shared values use all or none", run: useAllRace},
}

// use marks values as used at now.
func (d *db) use(s Store, now time.Time, values ...storage.Use) error {
	return s.Use(d.Context(), values, now)
}

// value is used until an hour after t0.
func value(key, holder string) storage.Use {
	return storage.Use{Key: key, Holder: holder, EndsAt: t0.Add(time.Hour)}
}

func (d *db) wantUsed(what, key string, now time.Time, want bool) {
	d.Helper()
	got, err := d.Used(d.Context(), key, now)
	d.must(err)
	same(d, "used: "+what, got, want)
}

func useEnds(d *db) {
	d.wantUsed("unknown", "a", t0, false)
	given, ends := odd(t0.Add(time.Hour))
	d.must(d.use(d, t0, storage.Use{Key: "a", EndsAt: given}))
	d.wantUsed("at once", "a", t0, true)
	d.wantUsed("another", "A", t0, false)
	d.wantUsed("the last moment", "a", ends.Add(-tick), true)
	d.want("the last moment", d.use(d, ends.Add(-tick), value("a", "")), storage.ErrConflict)
	d.want("by a holder", d.use(d, ends.Add(-tick), value("a", "me")), storage.ErrConflict)
	d.wantUsed("at its end", "a", ends, false)
	d.must(d.use(d, t0))
}

func useAll(d *db) {
	d.must(d.use(d, t0, value("b", "")))
	d.want("the second", d.use(d, t0, value("a", ""), value("b", ""), value("c", "")), storage.ErrConflict)
	d.wantUsed("before it", "a", t0, false)
	d.wantUsed("after it", "c", t0, false)
	d.must(d.use(d, t0, value("c", ""), value("a", "")))
	for _, key := range []string{"a", "b", "c"} {
		d.wantUsed(key, key, t0, true)
	}
}

func useHolder(d *db) {
	d.must(d.use(d, t0, value("a", "me")))
	longer := storage.Use{Key: "a", Holder: "me", EndsAt: t0.Add(9 * time.Hour)}
	d.must(d.use(d, t0.Add(time.Minute), longer, value("b", "")))
	d.wantUsed("beside it", "b", t0, true)
	d.want("another holder", d.use(d, t0, value("a", "you")), storage.ErrConflict)
	d.want("no holder", d.use(d, t0, value("a", "")), storage.ErrConflict)
	d.must(d.use(d, t0.Add(time.Hour-tick), value("a", "me")))
	d.wantUsed("its end did not move", "a", t0.Add(time.Hour), false)
}

func useAgain(d *db) {
	d.must(d.use(d, t0, value("a", "me")))
	ends := t0.Add(time.Hour)
	d.must(d.use(d, ends, storage.Use{Key: "a", Holder: "you", EndsAt: ends.Add(time.Hour)}))
	d.want("the first holder", d.use(d, ends, value("a", "me")), storage.ErrConflict)
	d.wantUsed("its last moment", "a", ends.Add(time.Hour-tick), true)
	d.must(d.use(d, ends, storage.Use{Key: "a", Holder: "you", EndsAt: ends.Add(9 * time.Hour)}))
	d.wantUsed("its end", "a", ends.Add(time.Hour), false)
}

func useTwice(d *db) {
	d.want("by nobody", d.use(d, t0, value("a", ""), value("b", ""), value("a", "")), storage.ErrConflict)
	d.want("by two", d.use(d, t0, value("a", "me"), value("a", "you")), storage.ErrConflict)
	d.wantUsed("refused", "a", t0, false)
	d.wantUsed("refused", "b", t0, false)
	d.must(d.use(d, t0, value("a", "me"), value("b", ""), value("a", "me")))
	d.wantUsed("by one", "a", t0, true)
}

func useRace(d *db) {
	d.winner(d.race(func(s Store, _ int) error { return d.use(s, t0, value("new", "")) }), storage.ErrConflict)
	d.must(d.use(d, t0, storage.Use{Key: "over", EndsAt: t0.Add(time.Minute)}))
	won := d.winner(d.race(func(s Store, i int) error {
		return d.use(s, t0.Add(time.Minute), value("over", fmt.Sprint("holder ", i)))
	}), storage.ErrConflict)
	d.must(d.use(d, t0.Add(time.Minute), value("over", fmt.Sprint("holder ", won))))
}

func useHolderRace(d *db) {
	for _, err := range d.race(func(s Store, i int) error { return d.use(s, t0, value("a", "me"), value(d.id("own"), "")) }) {
		d.must(err)
	}
}

// Each caller uses its own value and the next one's, in any order.
func useAllRace(d *db) {
	key := func(i int) string { return fmt.Sprint("value ", i%racers) }
	errs := d.race(func(s Store, i int) error {
		mine, next := value(key(i), ""), value(key(i+1), "")
		if i%3 == 0 {
			mine, next = next, mine
		}
		return d.use(s, t0, mine, next)
	})
	used := map[string]int{}
	for i, err := range errs {
		if err == nil {
			used[key(i)]++
			used[key(i+1)]++
			continue
		}
		d.want("use", err, storage.ErrConflict)
	}
	if len(used) == 0 {
		d.Fatal("nobody won")
	}
	for i := range racers {
		if used[key(i)] > 1 {
			d.Fatalf("%s was used twice", key(i))
		}
		d.wantUsed(key(i), key(i), t0, used[key(i)] == 1)
	}
}
