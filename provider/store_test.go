package provider

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// broken is the text of an error of the database. Nobody outside may read it.
const broken = "UNIQUE constraint failed: grants.id at /var/lib/sealpost.db"

var errBroken = errors.New(broken)

// watched counts what one request does to the database, and fails on demand.
type watched struct {
	Store
	mu     sync.Mutex
	before map[string]error // by method: fail at once
	after  map[string]error // by method: fail when it took effect
}

// usage is what one request did.
type usage struct {
	sync.Mutex
	reads, writes []string
}

type usageKey struct{}

func (s *watched) failBefore(method string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = map[string]error{method: err}
}

func (s *watched) failAfter(method string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = map[string]error{method: err}
}

func (s *watched) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = nil, nil
}

func (s *watched) failing(when map[string]error, method string) error {
	if err := when[method]; err != nil {
		return err
	}
	return when["*"]
}

func (s *watched) read(ctx context.Context, method string) error  { return s.enter(ctx, method, false) }
func (s *watched) write(ctx context.Context, method string) error { return s.enter(ctx, method, true) }

func (s *watched) enter(ctx context.Context, method string, writes bool) error {
	if u, ok := ctx.Value(usageKey{}).(*usage); ok {
		u.Lock()
		if writes {
			u.writes = append(u.writes, method)
		} else {
			u.reads = append(u.reads, method)
		}
		u.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failing(s.before, method)
}

// leave is for the outcome of a write that took effect.
func (s *watched) leave(method string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if failed := s.failing(s.after, method); err == nil && failed != nil {
		return failed
	}
	return err
}

func (s *watched) Client(ctx context.Context, id string) (storage.Client, error) {
	if err := s.read(ctx, "Client"); err != nil {
		return storage.Client{}, err
	}
	return s.Store.Client(ctx, id)
}

func (s *watched) RedeemCode(ctx context.Context, g storage.Grant, now time.Time) (storage.User, error) {
	if err := s.write(ctx, "RedeemCode"); err != nil {
		return storage.User{}, err
	}
	u, err := s.Store.RedeemCode(ctx, g, now)
	return u, s.leave("RedeemCode", err)
}

func (s *watched) BurnCode(ctx context.Context, g storage.Grant, now time.Time) error {
	if err := s.write(ctx, "BurnCode"); err != nil {
		return err
	}
	return s.leave("BurnCode", s.Store.BurnCode(ctx, g, now))
}

func (s *watched) Refresh(ctx context.Context, id, clientID string, generation int, now, idleAt, expiresAt time.Time) (storage.Grant, storage.User, error) {
	if err := s.write(ctx, "Refresh"); err != nil {
		return storage.Grant{}, storage.User{}, err
	}
	g, u, err := s.Store.Refresh(ctx, id, clientID, generation, now, idleAt, expiresAt)
	return g, u, s.leave("Refresh", err)
}

func (s *watched) Grant(ctx context.Context, id string, now time.Time) (storage.Grant, storage.User, error) {
	if err := s.read(ctx, "Grant"); err != nil {
		return storage.Grant{}, storage.User{}, err
	}
	return s.Store.Grant(ctx, id, now)
}

func (s *watched) RevokeGrant(ctx context.Context, id, clientID string, now time.Time) error {
	if err := s.write(ctx, "RevokeGrant"); err != nil {
		return err
	}
	return s.leave("RevokeGrant", s.Store.RevokeGrant(ctx, id, clientID, now))
}

func (s *watched) Consent(ctx context.Context, userID, clientID string) (storage.Consent, error) {
	if err := s.read(ctx, "Consent"); err != nil {
		return storage.Consent{}, err
	}
	return s.Store.Consent(ctx, userID, clientID)
}

func (s *watched) SaveConsent(ctx context.Context, c storage.Consent) error {
	if err := s.write(ctx, "SaveConsent"); err != nil {
		return err
	}
	return s.leave("SaveConsent", s.Store.SaveConsent(ctx, c))
}

func (s *watched) EndSession(ctx context.Context, id string, now time.Time) error {
	if err := s.write(ctx, "EndSession"); err != nil {
		return err
	}
	return s.leave("EndSession", s.Store.EndSession(ctx, id, now))
}
