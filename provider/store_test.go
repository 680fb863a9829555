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

// reading and writing pass a call on, counted, unless it is to fail.
func reading[T any](s *watched, ctx context.Context, method string, call func() (T, error)) (T, error) {
	if err := s.read(ctx, method); err != nil {
		return *new(T), err
	}
	return call()
}

func writing[T any](s *watched, ctx context.Context, method string, call func() (T, error)) (T, error) {
	if err := s.write(ctx, method); err != nil {
		return *new(T), err
	}
	v, err := call()
	return v, s.leave(method, err)
}

func effect(s *watched, ctx context.Context, method string, call func() error) error {
	_, err := writing(s, ctx, method, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// granting is a grant with its user.
type granting struct {
	storage.Grant
	storage.User
}

func (s *watched) Client(ctx context.Context, id string) (storage.Client, error) {
	return reading(s, ctx, "Client", func() (storage.Client, error) { return s.Store.Client(ctx, id) })
}

func (s *watched) AddClient(ctx context.Context, c storage.Client) error {
	return effect(s, ctx, "AddClient", func() error { return s.Store.AddClient(ctx, c) })
}

func (s *watched) SaveClient(ctx context.Context, c, seen storage.Client) error {
	return effect(s, ctx, "SaveClient", func() error { return s.Store.SaveClient(ctx, c, seen) })
}

func (s *watched) RemoveClient(ctx context.Context, id string, now time.Time) error {
	return effect(s, ctx, "RemoveClient", func() error { return s.Store.RemoveClient(ctx, id, now) })
}

func (s *watched) RedeemCode(ctx context.Context, g storage.Grant, r storage.Redeeming, now time.Time) (storage.User, error) {
	return writing(s, ctx, "RedeemCode", func() (storage.User, error) { return s.Store.RedeemCode(ctx, g, r, now) })
}

func (s *watched) BurnCode(ctx context.Context, g storage.Grant, now time.Time) error {
	return effect(s, ctx, "BurnCode", func() error { return s.Store.BurnCode(ctx, g, now) })
}

func (s *watched) Refresh(ctx context.Context, r storage.Refreshing, now time.Time) (storage.Grant, storage.User, error) {
	g, err := writing(s, ctx, "Refresh", func() (granting, error) {
		g, u, err := s.Store.Refresh(ctx, r, now)
		return granting{g, u}, err
	})
	return g.Grant, g.User, err
}

func (s *watched) Grant(ctx context.Context, id string, now time.Time) (storage.Grant, storage.User, error) {
	g, err := reading(s, ctx, "Grant", func() (granting, error) {
		g, u, err := s.Store.Grant(ctx, id, now)
		return granting{g, u}, err
	})
	return g.Grant, g.User, err
}

func (s *watched) RevokeGrant(ctx context.Context, id, clientID string, now time.Time) error {
	return effect(s, ctx, "RevokeGrant", func() error { return s.Store.RevokeGrant(ctx, id, clientID, now) })
}

func (s *watched) Consent(ctx context.Context, userID, clientID string) (storage.Consent, error) {
	return reading(s, ctx, "Consent", func() (storage.Consent, error) { return s.Store.Consent(ctx, userID, clientID) })
}

func (s *watched) SaveConsent(ctx context.Context, c storage.Consent) error {
	return effect(s, ctx, "SaveConsent", func() error { return s.Store.SaveConsent(ctx, c) })
}

func (s *watched) EndSession(ctx context.Context, id string, now time.Time) ([]string, error) {
	return writing(s, ctx, "EndSession", func() ([]string, error) { return s.Store.EndSession(ctx, id, now) })
}

func (s *watched) Use(ctx context.Context, uses []storage.Use, now time.Time) error {
	return effect(s, ctx, "Use", func() error { return s.Store.Use(ctx, uses, now) })
}

func (s *watched) Used(ctx context.Context, key string, now time.Time) (bool, error) {
	return reading(s, ctx, "Used", func() (bool, error) { return s.Store.Used(ctx, key, now) })
}

func (s *watched) CountLimits(ctx context.Context, limits []storage.Limit, now time.Time) error {
	return effect(s, ctx, "CountLimits", func() error { return s.Store.CountLimits(ctx, limits, now) })
}

func (s *watched) AddDevice(ctx context.Context, d storage.Device) error {
	return effect(s, ctx, "AddDevice", func() error { return s.Store.AddDevice(ctx, d) })
}

func (s *watched) Device(ctx context.Context, userCode string, now time.Time) (storage.Device, error) {
	return reading(s, ctx, "Device", func() (storage.Device, error) { return s.Store.Device(ctx, userCode, now) })
}

func (s *watched) AllowDevice(ctx context.Context, userCode string, login storage.Login, now time.Time) error {
	return effect(s, ctx, "AllowDevice", func() error { return s.Store.AllowDevice(ctx, userCode, login, now) })
}

func (s *watched) DenyDevice(ctx context.Context, userCode string, now time.Time) error {
	return effect(s, ctx, "DenyDevice", func() error { return s.Store.DenyDevice(ctx, userCode, now) })
}

func (s *watched) PollDevice(ctx context.Context, id, clientID string, now time.Time) (storage.Device, error) {
	return writing(s, ctx, "PollDevice", func() (storage.Device, error) { return s.Store.PollDevice(ctx, id, clientID, now) })
}

func (s *watched) RedeemDevice(ctx context.Context, id string, g storage.Grant, notify bool, now time.Time) (storage.User, error) {
	return writing(s, ctx, "RedeemDevice", func() (storage.User, error) { return s.Store.RedeemDevice(ctx, id, g, notify, now) })
}
