package storagetest

import (
	"context"
	"slices"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// keyRotation is what an engine offers to the rotation of keys: the part of
// Store that package keys declares for it.
type keyRotation interface {
	ResealSigningKey(ctx context.Context, id string, old, sealed []byte) error
	RemoveSigningKeys(ctx context.Context, before, now time.Time) error
}

var keyRotateTests = []test{
	{name: "a key is sealed anew where it is as it was read", run: keyReseal},
	{name: "of 32 replicas one seals a key anew", run: keyResealRace},
	{name: "keys go when a newer one has signed for so long", run: keyRemove},
	{name: "removals at once leave the newest", run: keyRemoveRace},
	{name: "a call whose time is over changes no key", run: keyRotateContext},
}

// addKey adds a key that signs from t0 plus after on, named for what it is.
func (d *db) addKey(algorithm string, generation int, after time.Duration, change ...func(*storage.SigningKey)) storage.SigningKey {
	d.Helper()
	k := storage.SigningKey{
		ID: algorithm + string(rune('0'+generation)), Algorithm: algorithm, Generation: generation, Sealed: []byte("sealed"),
		CreatedAt: t0, SignsAt: t0.Add(after),
	}
	for _, f := range change {
		f(&k)
	}
	d.must(d.AddSigningKey(d.Context(), k))
	return k
}

func (d *db) wantKeys(what string, ids ...string) {
	d.Helper()
	keys, err := d.SigningKeys(d.Context())
	d.must(err)
	var got []string
	for _, k := range keys {
		got = append(got, k.ID)
	}
	slices.Sort(got)
	same(d, "keys "+what, got, ids)
}

func keyReseal(d *db) {
	k, other := d.addKey("RS256", 1, 0), d.addKey("ES256", 1, day)
	anew := []byte{0, 0xff, 0}
	d.must(d.ResealSigningKey(d.Context(), k.ID, k.Sealed, anew))
	d.want("sealed anew already", d.ResealSigningKey(d.Context(), k.ID, k.Sealed, []byte("late")), storage.ErrNotFound)
	d.want("unknown", d.ResealSigningKey(d.Context(), "unknown", k.Sealed, anew), storage.ErrNotFound)
	k.Sealed = anew
	got, err := d.SigningKeys(d.Context())
	d.must(err)
	slices.SortFunc(got, func(a, b storage.SigningKey) int { return int(a.SignsAt.Sub(b.SignsAt)) })
	same(d, "keys", got, []storage.SigningKey{k, other})
}

func keyResealRace(d *db) {
	k := d.addKey("RS256", 1, 0)
	won := d.winner(d.race(func(s Store, i int) error {
		return s.ResealSigningKey(d.Context(), k.ID, k.Sealed, []byte{byte(i)})
	}), storage.ErrNotFound)
	got, err := d.SigningKeys(d.Context())
	d.must(err)
	same(d, "sealed", got[0].Sealed, []byte{byte(won)})
}

func keyRemove(d *db) {
	d.addKey("ES256", 1, 0)
	d.addKey("RS256", 1, 0)
	d.addKey("RS256", 2, 2*day)
	d.addKey("RS256", 3, day) // wanted at once, before its elder's time came
	d.addKey("RS256", 4, 3*day)
	d.addKey("RS256", 5, 0, func(k *storage.SigningKey) { k.RetiredAt = t0.Add(99 * day) })
	d.must(d.RemoveSigningKeys(d.Context(), t0.Add(day-tick), t0))
	d.wantKeys("a moment before", "ES2561", "RS2561", "RS2562", "RS2563", "RS2564", "RS2565")
	d.must(d.RemoveSigningKeys(d.Context(), t0.Add(day), t0))
	d.wantKeys("in time", "ES2561", "RS2563", "RS2564", "RS2565")
	for range 2 {
		d.must(d.RemoveSigningKeys(d.Context(), t0.Add(10000*day), t0))
		d.wantKeys("however late", "ES2561", "RS2564", "RS2565")
	}
}

func keyRemoveRace(d *db) {
	for generation := range 9 {
		d.addKey("ES256", generation+1, time.Duration(generation)*day)
	}
	for i, err := range d.race(func(s Store, _ int) error { return s.RemoveSigningKeys(d.Context(), t0.Add(99*day), t0) }) {
		if err != nil {
			d.Errorf("caller %d: %v", i, err)
		}
	}
	d.wantKeys("that are left", "ES2569")
}

func keyRotateContext(d *db) {
	k := d.addKey("RS256", 1, 0)
	d.addKey("RS256", 2, 0)
	before, err := d.SigningKeys(d.Context())
	d.must(err)
	ctx, cancel := context.WithCancel(d.Context())
	cancel()
	d.want("reseal", d.ResealSigningKey(ctx, k.ID, k.Sealed, []byte("new")), context.Canceled)
	d.want("remove", d.RemoveSigningKeys(ctx, t0, t0), context.Canceled)
	after, err := d.SigningKeys(d.Context())
	d.must(err)
	same(d, "keys", after, before)
}
