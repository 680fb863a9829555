package keys_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/sqlite"
)

const (
	day     = 24 * time.Hour
	rotate  = 90 * day
	keepFor = time.Hour
	hintFor = 30 * day // after the last token of a key has expired
	skew    = time.Hour
	tick    = time.Microsecond // what the database can tell apart
)

// clock is moved by hand.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// rotating gives a ring whose keys are renewed, and its clock.
func rotating(t testing.TB, store keys.Store) (*keys.Ring, *clock) {
	t.Helper()
	c := &clock{start}
	ring, err := keys.Open(t.Context(), rotation(t, store, c.Now))
	if err != nil {
		t.Fatal(err)
	}
	return ring, c
}

func rotation(t testing.TB, store keys.Store, now func() time.Time) keys.Config {
	cfg := config(t, store, now)
	cfg.Rotate, cfg.KeepFor = rotate, keepFor
	return cfg
}

func maintain(t testing.TB, ring *keys.Ring) {
	t.Helper()
	if err := ring.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// list tells of the keys of an algorithm, the oldest first.
func list(t testing.TB, store keys.Store, alg jose.SignatureAlgorithm, now time.Time) (found []keys.Info) {
	t.Helper()
	cfg := rotation(t, store, at(now))
	cfg.Secret = keys.Secret{} // it needs none
	all, err := keys.List(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		if k.Algorithm == string(alg) {
			found = append(found, k)
		}
	}
	return found
}

func kidOf(t testing.TB, ring *keys.Ring, alg jose.SignatureAlgorithm) string {
	t.Helper()
	return header(t, sign(t, ring, alg, keys.TypeJWT)).KeyID
}

// Each state of a key to its exact moment: OIDC Core §10.1.1 for the old keys
// that stay, and the new ones that come early.
func TestStatesOfAKey(t *testing.T) {
	store, _ := database(t)
	ring, clock := rotating(t, store)
	first := sign(t, ring, jose.ES256, keys.TypeJWT)
	old := header(t, first).KeyID
	signsAt := start.Add(-skew).Add(rotate)    // of the second key
	unpublished := signsAt.Add(keepFor + skew) // the first
	gone := signsAt.Add(keepFor).Add(hintFor)  // the first
	third := signsAt.Add(rotate)               // of the third key
	states := func(s ...keys.State) []keys.State { return s }
	for _, c := range []struct {
		name      string
		at        time.Time
		states    []keys.State // oldest first
		signs     int          // which of them
		published bool         // the first
		verifies  bool         // what the first has signed
	}{
		{"alone", start, states(keys.Current), 0, true, true},
		{"a moment before its successor is made", signsAt.Add(-day - tick), states(keys.Current), 0, true, true},
		{"a day before its successor signs", signsAt.Add(-day), states(keys.Current, keys.Next), 0, true, true},
		{"a moment before its successor signs", signsAt.Add(-tick), states(keys.Current, keys.Next), 0, true, true},
		{"its successor signs", signsAt, states(keys.Previous, keys.Current), 1, true, true},
		{"its last token may live at a slow replica", unpublished.Add(-tick), states(keys.Previous, keys.Current), 1, true, true},
		{"its last token has expired", unpublished, states(keys.Previous, keys.Current), 1, false, true},
		{"a moment before it is gone", gone.Add(-tick), states(keys.Previous, keys.Current), 1, false, true},
		{"gone", gone, states(keys.Current), 0, false, false},
		{"a day before the third signs", third.Add(-day), states(keys.Current, keys.Next), 0, false, false},
	} {
		clock.now = c.at
		maintain(t, ring)
		all := list(t, store, jose.ES256, clock.now)
		var have []keys.State
		for _, k := range all {
			have = append(have, k.State)
		}
		if !slices.Equal(have, c.states) {
			t.Fatalf("%s: have %v, want %v", c.name, have, c.states)
		}
		if kid := kidOf(t, ring, jose.ES256); kid != all[c.signs].ID {
			t.Errorf("%s: another key signs", c.name)
		}
		for _, k := range all {
			if _, ok := published(t, ring)[k.ID]; ok != (k.ID != old || c.published) {
				t.Errorf("%s: the %s key is published: %v", c.name, k.State, ok)
			}
		}
		if payload, err := ring.Verify(first, keys.TypeJWT); c.verifies != (err == nil) || c.verifies != (string(payload) == wantPayload) {
			t.Errorf("%s: the first token: %s, %v", c.name, payload, err)
		}
		if len(all) == 2 && !all[0].GoneAt.Equal(all[1].SignsAt.Add(keepFor+hintFor)) || !all[len(all)-1].GoneAt.IsZero() {
			t.Errorf("%s: gone at %v", c.name, all)
		}
	}
}

// A ring lives for months and is looked at all the time: whatever is signed
// verifies for as long as it may have to, here and at relying parties, and no
// relying party meets a key it could not know for a day.
func TestTheLifeOfARing(t *testing.T) {
	const step = 12 * time.Hour
	store, _ := database(t)
	ring, clock := rotating(t, store)
	type signed struct {
		token   string // the last one
		expires time.Time
		alg     jose.SignatureAlgorithm
	}
	by := map[string]signed{}      // by kid
	seen := map[string]time.Time{} // when each kid was published first
	inUse := map[jose.SignatureAlgorithm][]string{}
	for ; clock.now.Before(start.Add(2*rotate + hintFor)); clock.now = clock.now.Add(step) {
		maintain(t, ring)
		set := published(t, ring)
		for kid := range set {
			if _, ok := seen[kid]; !ok {
				seen[kid] = clock.now
			}
		}
		for _, alg := range keys.Algorithms {
			token := sign(t, ring, alg, keys.TypeJWT)
			kid := header(t, token).KeyID
			if _, ok := by[kid]; !ok {
				inUse[alg] = append(inUse[alg], kid)
				if age := clock.now.Sub(seen[kid]); len(inUse[alg]) > 1 && age < day {
					t.Errorf("%v: %s key signs %v after it was published", clock.now, alg, age)
				}
			}
			by[kid] = signed{token, clock.now.Add(keepFor), alg}
		}
		for kid, last := range by {
			if _, err := ring.Verify(last.token, keys.TypeJWT); err != nil && clock.now.Before(last.expires.Add(hintFor)) {
				t.Fatalf("%v: %s token that expires at %v: %v", clock.now, last.alg, last.expires, err)
			}
			if _, ok := set[kid]; !ok && clock.now.Before(last.expires) {
				t.Fatalf("%v: the key of a live %s token is not published", clock.now, last.alg)
			}
		}
		if len(set) > 2*len(keys.Algorithms) {
			t.Fatalf("%v: %d keys are published", clock.now, len(set))
		}
	}
	for _, alg := range keys.Algorithms {
		if len(inUse[alg]) != 3 {
			t.Errorf("%s: %d keys have signed, want 3", alg, len(inUse[alg]))
		}
		if _, err := ring.Verify(by[inUse[alg][0]].token, keys.TypeJWT); !errors.Is(err, keys.ErrSignature) {
			t.Errorf("%s: a token of a key that is gone: %v", alg, err)
		}
	}
	if stored, err := store.SigningKeys(t.Context()); err != nil || len(stored) != 2*len(keys.Algorithms)+1 { // and that of pairwise subjects
		t.Errorf("%d keys are left, %v", len(stored), err)
	}
}

// replicas are rings over one database, each through a handle of its own, with
// clocks that are never quite the same.
func replicas(t *testing.T, file string, clock *clock) []*keys.Ring {
	t.Helper()
	rings := make([]*keys.Ring, 8)
	for i := range rings {
		db, err := sqlite.Open(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		now := func() time.Time { return clock.now.Add(time.Duration(i) * time.Second) }
		if rings[i], err = keys.Open(t.Context(), rotation(t, db, now)); err != nil {
			t.Fatal(err)
		}
	}
	return rings
}

// atOnce does one thing to every replica at the same time.
func atOnce(t *testing.T, rings []*keys.Ring, do func(i int, ring *keys.Ring) error) {
	t.Helper()
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i, ring := range rings {
		all.Go(func() {
			<-begin
			if err := do(i, ring); err != nil {
				t.Errorf("replica %d: %v", i, err)
			}
		})
	}
	close(begin)
	all.Wait()
}

func TestReplicasAgreeOnSuccessors(t *testing.T) {
	store, file := database(t)
	clock := &clock{start}
	rings := replicas(t, file, clock)
	for _, moment := range []time.Time{start.Add(rotate - day), start.Add(rotate), start.Add(rotate + keepFor + hintFor)} {
		clock.now = moment
		atOnce(t, rings, func(_ int, ring *keys.Ring) error { return ring.Maintain(t.Context()) })
		body, _ := rings[0].JWKS()
		for i, ring := range rings {
			if b, _ := ring.JWKS(); !bytes.Equal(b, body) {
				t.Errorf("%v: replica %d publishes other keys than replica 0", moment, i)
			}
			for _, alg := range keys.Algorithms {
				if _, err := rings[0].Verify(sign(t, ring, alg, keys.TypeJWT), keys.TypeJWT); err != nil {
					t.Errorf("%v: %s token of replica %d at replica 0: %v", moment, alg, i, err)
				}
			}
		}
	}
	stored, err := store.SigningKeys(t.Context())
	if err != nil || len(stored) != len(keys.Algorithms)+1 { // and that of pairwise subjects
		t.Fatalf("%d keys are left, %v", len(stored), err)
	}
	for _, k := range stored {
		if k.Algorithm == "pairwise" {
			continue
		}
		if k.Generation != 2 {
			t.Errorf("%s: generation %d", k.Algorithm, k.Generation)
		}
	}
}

func TestOperatorsWhoRotateAtTheSameTimeGetOneKey(t *testing.T) {
	store, file := database(t)
	rings := replicas(t, file, &clock{start})
	made := make([]keys.Info, len(rings))
	atOnce(t, rings, func(i int, ring *keys.Ring) (err error) {
		made[i], err = ring.Rotate(t.Context(), jose.ES256, false)
		return err
	})
	for i, k := range made {
		if k.ID != made[0].ID || k.State != keys.Next {
			t.Errorf("replica %d made %+v, replica 0 %+v", i, k, made[0])
		}
	}
	if all := list(t, store, jose.ES256, start); len(all) != 2 {
		t.Errorf("have %+v", all)
	}
}

func TestRotate(t *testing.T) {
	store, _ := database(t)
	ring, clock := rotating(t, store)
	other, err := keys.Open(t.Context(), rotation(t, store, clock.Now)) // as the command line has one
	if err != nil {
		t.Fatal(err)
	}
	turn := func(now bool) keys.Info {
		t.Helper()
		k, err := other.Rotate(t.Context(), jose.ES256, now)
		if err != nil {
			t.Fatal(err)
		}
		maintain(t, ring)
		if _, ok := published(t, ring)[k.ID]; !ok {
			t.Error("the new key is not published")
		}
		return k
	}
	first := kidOf(t, ring, jose.ES256)
	planned := turn(false)
	if !planned.SignsAt.Equal(start.Add(day)) || planned.State != keys.Next {
		t.Errorf("have %+v, want a key that signs in a day", planned)
	}
	clock.now = clock.now.Add(time.Hour)
	if again := turn(false); again.ID != planned.ID {
		t.Error("a second key, though one waits")
	}
	urgent := turn(true)
	if urgent.ID == planned.ID || urgent.SignsAt.Sub(clock.now) != 2*time.Minute {
		t.Errorf("at once: have %+v, want a key of its own, in two minutes", urgent)
	}
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{urgent.SignsAt.Add(-tick), first},
		{urgent.SignsAt, urgent.ID},
		{planned.SignsAt, urgent.ID}, // the planned key has been passed over
	} {
		clock.now = c.at
		if kid := kidOf(t, ring, jose.ES256); kid != c.want {
			t.Errorf("%v: signed by %s, want %s", c.at, kid, c.want)
		}
	}
	if all := list(t, store, jose.ES256, clock.now); len(all) != 3 || all[1].State != keys.Previous || all[2].State != keys.Current {
		t.Errorf("have %+v", all)
	}
	if all := list(t, store, jose.RS256, clock.now); len(all) != 1 {
		t.Errorf("another algorithm: %+v", all)
	}
	if _, err := other.Rotate(t.Context(), "HS256", false); err == nil {
		t.Error("an algorithm without keys was rotated")
	}
	clock.now = urgent.SignsAt.Add(keepFor + hintFor)
	maintain(t, ring)
	if all := list(t, store, jose.ES256, clock.now); len(all) != 1 || all[0].ID != urgent.ID {
		t.Errorf("have %+v, want the last key alone", all)
	}
}

func TestWithoutAnIntervalOnlyOperatorsRotate(t *testing.T) {
	store, _ := database(t)
	now := start
	ring := openRing(t, store, func() time.Time { return now })
	now = start.Add(10000 * day)
	maintain(t, ring)
	if all := list(t, store, jose.ES256, now); len(all) != 1 {
		t.Errorf("have %+v", all)
	}
}

func TestAfterALongPauseTheOldKeySignsUntilTheNextIsKnown(t *testing.T) {
	store, _ := database(t)
	_, clock := rotating(t, store)
	clock.now = start.Add(3 * rotate)
	ring, err := keys.Open(t.Context(), rotation(t, store, clock.Now))
	if err != nil {
		t.Fatal(err)
	}
	all := list(t, store, jose.RS256, clock.now)
	if len(all) != 2 || !all[1].SignsAt.Equal(clock.now.Add(day)) || kidOf(t, ring, jose.RS256) != all[0].ID {
		t.Errorf("have %+v", all)
	}
}

// changed is a store whose keys somebody has changed by hand.
type changed struct {
	keys.Store
	change func(*storage.SigningKey)
}

func (c changed) SigningKeys(ctx context.Context) ([]storage.SigningKey, error) {
	all, err := c.Store.SigningKeys(ctx)
	for i := range all {
		c.change(&all[i])
	}
	return all, err
}

func TestAKeyRetiredByHandReplacesNothing(t *testing.T) {
	store, _ := database(t)
	bad, clock := "", &clock{start}
	ring := openRing(t, changed{store, func(k *storage.SigningKey) {
		if k.ID == bad {
			k.RetiredAt = start
		}
	}}, clock.Now)
	good := kidOf(t, ring, jose.ES256)
	retiring := add(t, store, 2, start, time.Time{})
	maintain(t, ring)
	if kid := kidOf(t, ring, jose.ES256); kid != retiring {
		t.Fatalf("signed by %s, want %s", kid, retiring)
	}
	bad, clock.now = retiring, start.Add(day)
	maintain(t, ring)
	if kid := kidOf(t, ring, jose.ES256); kid != good {
		t.Errorf("signed by %s, want %s", kid, good)
	}
	if _, ok := published(t, ring)[good]; !ok {
		t.Error("the key that signs is not published")
	}
}

func TestAReplicaCutOffSwitchesInTime(t *testing.T) {
	store, _ := database(t)
	flaky := &flakyStore{Store: store}
	ring, clock := rotating(t, flaky)
	next, err := ring.Rotate(t.Context(), jose.ES256, false)
	if err != nil {
		t.Fatal(err)
	}
	old := sign(t, ring, jose.ES256, keys.TypeJWT)
	flaky.err = errors.New("connection lost")
	clock.now = next.SignsAt
	if err := ring.Maintain(t.Context()); !errors.Is(err, flaky.err) {
		t.Errorf("have %v", err)
	}
	if kid := kidOf(t, ring, jose.ES256); kid != next.ID {
		t.Errorf("signed by %s, want %s", kid, next.ID)
	}
	if _, err := ring.Verify(old, keys.TypeJWT); err != nil {
		t.Error(err)
	}
}

// failing fails one call, before it took effect or after.
type failing struct {
	keys.Store
	call  string
	after bool
}

var errLost = errors.New("connection lost")

func (f failing) do(call string, does func() error) error {
	switch {
	case f.call != call:
		return does()
	case f.after:
		return errors.Join(does(), errLost)
	}
	return errLost
}

func (f failing) AddSigningKey(ctx context.Context, k storage.SigningKey) error {
	return f.do("add", func() error { return f.Store.AddSigningKey(ctx, k) })
}

func (f failing) ResealSigningKey(ctx context.Context, id string, old, sealed []byte) error {
	return f.do("reseal", func() error { return f.Store.ResealSigningKey(ctx, id, old, sealed) })
}

func (f failing) RemoveSigningKeys(ctx context.Context, before, now time.Time) error {
	return f.do("remove", func() error { return f.Store.RemoveSigningKeys(ctx, before, now) })
}

func TestMaintainGoesOnWhereItFailed(t *testing.T) {
	store, _ := database(t)
	ring, clock := rotating(t, store)
	add(t, store, 2, start, time.Time{}) // there is something to remove later
	maintain(t, ring)
	clock.now = start.Add(rotate)
	cfg := rotation(t, store, clock.Now)
	secrets := []string{testSecret}
	for _, f := range []failing{
		{store, "add", false}, {store, "add", true}, {store, "reseal", false}, {store, "reseal", true}, {store, "remove", false}, {store, "remove", true},
	} {
		secrets = append([]string{keys.NewSecret()}, secrets...) // there is something to seal anew, too
		var err error
		if cfg.Secret, err = keys.ParseSecrets(secrets[0], secrets[1:]...); err != nil {
			t.Fatal(err)
		}
		cfg.Store = f
		if _, err := keys.Open(t.Context(), cfg); !errors.Is(err, errLost) {
			t.Errorf("%s fails, after its effect %v: %v", f.call, f.after, err)
		}
	}
	cfg.Store = store
	if _, err := keys.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for _, alg := range keys.Algorithms {
		if all := list(t, store, alg, clock.now); len(all) != 2 || all[0].State != keys.Current || all[1].State != keys.Next {
			t.Errorf("%s: %+v", alg, all)
		}
	}
}

func TestTheSecretChangesWithoutAPause(t *testing.T) {
	store, _ := database(t)
	before, clock := rotating(t, store)
	token := sign(t, before, jose.RS256, keys.TypeJWT)
	body, _ := before.JWKS()
	fresh := keys.NewSecret()
	open := func(current string, previous ...string) (*keys.Ring, error) {
		cfg := rotation(t, store, clock.Now)
		var err error
		if cfg.Secret, err = keys.ParseSecrets(current, previous...); err != nil {
			t.Fatal(err)
		}
		return keys.Open(t.Context(), cfg)
	}
	for _, c := range []struct {
		name   string
		secret []string
		opens  bool
	}{
		{"the new secret alone, too early", []string{fresh}, false},
		{"the old one, which knows the new", []string{testSecret, fresh}, true},
		{"the new one, which knows the old", []string{fresh, testSecret}, true},
		{"the old one again, which knows the new", []string{testSecret, fresh}, true},
		{"the new one, which knows the old, again", []string{fresh, keys.NewSecret(), testSecret}, true},
		{"the new secret alone", []string{fresh}, true},
		{"the old secret alone, too late", []string{testSecret}, false},
	} {
		ring, err := open(c.secret[0], c.secret[1:]...)
		if c.opens != (err == nil) {
			t.Fatalf("%s: %v", c.name, err)
		}
		if !c.opens {
			continue
		}
		if _, err := ring.Verify(token, keys.TypeJWT); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if b, _ := ring.JWKS(); !bytes.Equal(b, body) {
			t.Errorf("%s: other keys are published", c.name)
		}
		if _, err := before.Verify(sign(t, ring, jose.ES256, keys.TypeJWT), keys.TypeJWT); err != nil {
			t.Errorf("%s: a replica that has not changed yet refuses a token: %v", c.name, err)
		}
	}
	// It can read the ring no more, and goes on with what it has.
	if err := before.Maintain(t.Context()); err == nil {
		t.Error("the old secret opens what the new one sealed")
	}
	sign(t, before, jose.RS256, keys.TypeJWT)
}

func TestKeysOfANewerVersionAreLeftAlone(t *testing.T) {
	store, _ := database(t)
	ring, clock := rotating(t, store)
	body, _ := ring.JWKS()
	newer := storage.SigningKey{ID: "newer", Algorithm: "ML-DSA-44", Generation: 1, Sealed: []byte("in a way of its own"), CreatedAt: start, SignsAt: start}
	if err := store.AddSigningKey(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	maintain(t, ring)
	if b, _ := ring.JWKS(); !bytes.Equal(b, body) {
		t.Error("the key set has changed")
	}
	if all := list(t, store, "ML-DSA-44", clock.now); len(all) != 1 {
		t.Errorf("have %+v", all)
	}
}

// OIDC Core §8.1: a pairwise subject outlives every rotation and a change of the
// secret, is the same on every replica, and differs by sector and by person.
func TestPairwiseSubjectsStay(t *testing.T) {
	t.Parallel()
	store, _ := database(t)
	old, next := keys.NewSecret(), keys.NewSecret()
	now := start
	ring := func(secrets ...string) *keys.Ring {
		secret, err := keys.ParseSecrets(secrets[0], secrets[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := keys.Open(t.Context(), keys.Config{Store: store, Secret: secret, Rotate: rotate, KeepFor: keepFor, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return ring
	}
	first := ring(old)
	subject := first.Subject("app.example.com", "ada")
	for _, other := range []string{first.Subject("other.example.com", "ada"), first.Subject("app.example.com", "bob"), first.Subject("app.example.coma", "da")} {
		if other == subject {
			t.Errorf("two subjects are one")
		}
	}
	if again := ring(old).Subject("app.example.com", "ada"); again != subject {
		t.Error("another replica says another")
	}
	for range 8 { // a few years
		now = now.Add(rotate - day)
		maintain(t, first)
	}
	ring(next, old)
	if again := ring(next).Subject("app.example.com", "ada"); again != subject {
		t.Error("another secret says another")
	}
	body, _ := first.JWKS()
	if bytes.Contains(body, []byte("pairwise")) || len(list(t, store, "pairwise", now)) > 0 {
		t.Error("the key is shown")
	}
}

// A key that is published no more verifies ID tokens, which are hints, and no
// token that anybody may act upon.
func TestKeysOfThePastVerifyHintsAlone(t *testing.T) {
	t.Parallel()
	store, _ := database(t)
	ring, clock := rotating(t, store)
	hint, access := sign(t, ring, jose.ES256, keys.TypeJWT), sign(t, ring, jose.ES256, keys.TypeAccessToken)
	clock.now = start.Add(rotate + keepFor + skew - tick)
	maintain(t, ring)
	clock.now = clock.now.Add(day) // whatever the exact moment is: the successor was made by now
	maintain(t, ring)
	clock.now = clock.now.Add(day + keepFor + skew)
	maintain(t, ring)
	if _, err := ring.Verify(hint, keys.TypeJWT); err != nil {
		t.Errorf("a hint: %v", err)
	}
	if _, err := ring.Verify(access, keys.TypeAccessToken); !errors.Is(err, keys.ErrSignature) {
		t.Errorf("an access token: %v", err)
	}
}
