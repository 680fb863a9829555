package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/storage"
)

// How long a key is in each state. What each is measured against is said in
// docs/decisions/0006-key-rotation.md.
const (
	// publishAhead is how long a key is published before it signs (OIDC Core
	// §10.1.1): relying parties that keep a key set for a day know it by then.
	publishAhead = 24 * time.Hour

	// settle is how long a key that is wanted at once waits until every replica
	// has read it. They do so about once a minute.
	settle = 2 * time.Minute

	// skew is how far the clocks of replicas may be apart. The first key of an
	// algorithm signs since so long: no replica finds it too early. A key
	// is published so much longer: a replica that is behind still signs with it.
	skew = time.Hour

	// hintFor is how long an ID token verifies as a hint (OIDC Core §3.1.2.1,
	// OIDC RP-Initiated Logout §2) once all tokens of its key have expired: as
	// long as a session lasts by default.
	hintFor = 30 * 24 * time.Hour
)

// State is what a key is good for. A key that is gone is in no list.
type State string

// States of a key, in the order of its life.
const (
	Next     State = "next"     // published, does not sign yet
	Current  State = "current"  // signs
	Previous State = "previous" // signs no more; its tokens verify
)

// Info is what an operator may know of a key.
type Info struct {
	ID        string // the "kid"
	Algorithm string
	State     State
	CreatedAt time.Time
	SignsAt   time.Time // signs from here on
	GoneAt    time.Time // nothing verifies from here on; zero while it has no successor
}

// List tells of all keys that sign, by algorithm and age. It changes nothing and needs no
// secret.
func List(ctx context.Context, cfg Config) ([]Info, error) {
	stored, err := cfg.Store.SigningKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list signing keys: %w", err)
	}
	slices.SortFunc(stored, func(a, b storage.SigningKey) int {
		return cmp.Or(cmp.Compare(a.Algorithm, b.Algorithm), cmp.Compare(a.Generation, b.Generation))
	})
	var all []Info
	for _, k := range stored {
		if k.Algorithm != string(subjectKey) {
			all = append(all, cfg.info(k, stored))
		}
	}
	return all, nil
}

// Check opens every key that this program has a use for, and changes nothing. The
// error names one that was sealed under another secret.
func Check(ctx context.Context, cfg Config) error {
	r := &Ring{cfg: cfg}
	r.state.Store(&state{})
	return r.Reload(ctx)
}

func (cfg Config) info(k storage.SigningKey, all []storage.SigningKey) Info {
	now, end := cfg.Now(), endOf(k, all)
	i := Info{ID: k.ID, Algorithm: k.Algorithm, State: Current, CreatedAt: k.CreatedAt, SignsAt: k.SignsAt}
	switch {
	case !end.IsZero() && !end.After(now) || retired(k, now):
		i.State = Previous
	case k.SignsAt.After(now):
		i.State = Next
	}
	if !end.IsZero() {
		i.GoneAt = end.Add(cfg.KeepFor + hintFor)
	}
	return i
}

// endOf is when a key hands over to a newer one of its algorithm: zero when
// there is none.
func endOf(k storage.SigningKey, all []storage.SigningKey) (end time.Time) {
	for _, newer := range all {
		if newer.Algorithm == k.Algorithm && newer.Generation > k.Generation && newer.RetiredAt.IsZero() &&
			(end.IsZero() || newer.SignsAt.Before(end)) {
			end = newer.SignsAt
		}
	}
	return end
}

func retired(k storage.SigningKey, now time.Time) bool {
	return !k.RetiredAt.IsZero() && !k.RetiredAt.After(now)
}

// published says whether relying parties are to know a key: not before it is
// stored, and until everything it signed has expired.
func (cfg Config) published(k storage.SigningKey, all []storage.SigningKey) bool {
	end := endOf(k, all)
	return end.IsZero() || cfg.Now().Before(end.Add(cfg.KeepFor+skew))
}

// Maintain reads the ring from the store again and does what is due: keys are
// sealed under the current secret, get successors, and go. Every replica calls
// it about once a minute; it does not matter which one is first.
func (r *Ring) Maintain(ctx context.Context) error {
	if err := r.Reload(ctx); err != nil {
		return err
	}
	now := r.cfg.Now()
	err := errors.Join(r.reseal(ctx), r.grow(ctx, r.due(now)))
	if e := r.cfg.Store.RemoveSigningKeys(ctx, now.Add(-r.cfg.KeepFor-hintFor), now); e != nil {
		err = errors.Join(err, fmt.Errorf("remove signing keys: %w", e))
	}
	return errors.Join(err, r.Reload(ctx))
}

// due plans the keys that are wanted now: the first of an algorithm, which
// signs at once, and the successor of one whose time is up within a day.
func (r *Ring) due(now time.Time) (plan []storage.SigningKey) {
	s := r.state.Load()
	for _, alg := range append([]jose.SignatureAlgorithm{subjectKey}, Algorithms...) {
		newest := s.newest(alg)
		if newest == nil {
			plan = append(plan, storage.SigningKey{Algorithm: string(alg), Generation: 1, CreatedAt: now, SignsAt: now.Add(-skew)})
			continue
		}
		signs := newest.SignsAt.Add(r.cfg.Rotate)
		if earliest := now.Add(publishAhead); alg != subjectKey && r.cfg.Rotate > 0 && !signs.After(earliest) {
			plan = append(plan, successor(newest, now, earliest))
		}
	}
	return plan
}

func successor(k *key, now, signs time.Time) storage.SigningKey {
	return storage.SigningKey{Algorithm: k.Algorithm, Generation: k.Generation + 1, CreatedAt: now, SignsAt: signs}
}

// grow makes planned keys, all at once for RSA takes its time, and stores
// them. Where another replica was first its key counts.
func (r *Ring) grow(ctx context.Context, plan []storage.SigningKey) error {
	errs := make([]error, len(plan))
	var making sync.WaitGroup
	for i := range plan {
		making.Go(func() { errs[i] = fill(&plan[i], r.cfg.Secret) })
	}
	making.Wait()
	for i, k := range plan {
		if errs[i] != nil {
			continue
		}
		if err := r.cfg.Store.AddSigningKey(ctx, k); err != nil && !errors.Is(err, storage.ErrConflict) {
			errs[i] = fmt.Errorf("store %s key: %w", k.Algorithm, err)
		}
	}
	return errors.Join(errs...)
}

// reseal seals anew what is sealed under a previous secret.
func (r *Ring) reseal(ctx context.Context) error {
	var errs []error
	for _, k := range r.state.Load().keys {
		if !k.stale {
			continue
		}
		der, err := r.cfg.Secret.Open(sealPurpose, string(k.Sealed))
		if err == nil {
			err = r.cfg.Store.ResealSigningKey(ctx, k.ID, k.Sealed, []byte(r.cfg.Secret.Seal(sealPurpose, der)))
		}
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			errs = append(errs, fmt.Errorf("seal signing key %s anew: %w", k.ID, err))
		}
	}
	return errors.Join(errs...)
}

// Rotate gives an algorithm its next key, which signs in a day; one that waits
// already will do. At once, it makes a key in any case, which signs as soon as
// every replica has it: whoever is in a hurry may not trust what is stored.
func (r *Ring) Rotate(ctx context.Context, alg jose.SignatureAlgorithm, atOnce bool) (Info, error) {
	const races = 3 // with other replicas; each has made a key
	for range races {
		if err := r.Reload(ctx); err != nil {
			return Info{}, err
		}
		now, newest := r.cfg.Now(), r.state.Load().newest(alg)
		if newest == nil {
			return Info{}, fmt.Errorf("rotate: there is no %s key", alg)
		}
		wait := publishAhead
		if atOnce {
			wait = settle
		} else if newest.SignsAt.After(now) {
			return r.cfg.info(newest.SigningKey, nil), nil
		}
		next := successor(newest, now, now.Add(wait))
		if err := fill(&next, r.cfg.Secret); err != nil {
			return Info{}, err
		}
		err := r.cfg.Store.AddSigningKey(ctx, next)
		if err == nil {
			return r.cfg.info(next, nil), r.Reload(ctx)
		}
		if !errors.Is(err, storage.ErrConflict) {
			return Info{}, fmt.Errorf("store %s key: %w", alg, err)
		}
	}
	return Info{}, fmt.Errorf("rotate %s: others make keys at the same time; try again", alg)
}
