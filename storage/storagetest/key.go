package storagetest

import (
	"time"

	"github.com/sealpost/sealpost/storage"
)

var keyTests = []test{
	{name: "every field comes back, the oldest key first", run: keyFields},
	{name: "a generation of an algorithm is taken once", run: keyConflict},
	{name: "of 32 replicas one adds the generation", run: keyRace},
}

func keyFields(d *db) {
	got, err := d.SigningKeys(d.Context())
	d.must(err)
	same(d, "keys", len(got), 0)
	newer := storage.SigningKey{ID: "a", Algorithm: "RS256", Generation: 2, Sealed: []byte{0, 1, 0xff, 0}, CreatedAt: t0, SignsAt: t0.Add(day)}
	older := storage.SigningKey{ID: "b", Algorithm: "RS256", Generation: 1, Sealed: []byte("sealed"), CreatedAt: t0.Add(-day), SignsAt: t0, RetiredAt: t0.Add(day)}
	given := older
	given.CreatedAt, _ = odd(older.CreatedAt)
	given.SignsAt, _ = odd(older.SignsAt)
	given.RetiredAt, _ = odd(older.RetiredAt)
	d.must(d.AddSigningKey(d.Context(), newer))
	d.must(d.AddSigningKey(d.Context(), given))
	got, err = d.SigningKeys(d.Context())
	d.must(err)
	same(d, "keys", got, []storage.SigningKey{older, newer})
}

func keyConflict(d *db) {
	k := storage.SigningKey{ID: "a", Algorithm: "RS256", Generation: 1, Sealed: []byte("first"), CreatedAt: t0, SignsAt: t0}
	d.must(d.AddSigningKey(d.Context(), k))
	again := k
	again.ID, again.Sealed = "b", []byte("second")
	d.want("same generation", d.AddSigningKey(d.Context(), again), storage.ErrConflict)
	again.ID, again.Generation = "a", 2
	d.want("same id", d.AddSigningKey(d.Context(), again), storage.ErrConflict)
	got, err := d.SigningKeys(d.Context())
	d.must(err)
	same(d, "keys", got, []storage.SigningKey{k})

	again.ID = "c"
	d.must(d.AddSigningKey(d.Context(), again))
	again.ID, again.Algorithm = "d", "ES256"
	d.must(d.AddSigningKey(d.Context(), again))
}

func keyRace(d *db) {
	ids := make([]string, racers)
	for i := range ids {
		ids[i] = d.id("kid")
	}
	won := d.winner(d.race(func(s Store, i int) error {
		return s.AddSigningKey(d.Context(), storage.SigningKey{
			ID: ids[i], Algorithm: "ES256", Generation: 1, Sealed: []byte(ids[i]), CreatedAt: t0.Add(time.Duration(i)), SignsAt: t0,
		})
	}), storage.ErrConflict)
	got, err := d.SigningKeys(d.Context())
	d.must(err)
	if len(got) != 1 || got[0].ID != ids[won] || string(got[0].Sealed) != ids[won] {
		d.Fatalf("got %+v, want the key of %d", got, won)
	}
}
