package login

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// mem keeps the contract of store.go in memory, one caller at a time. It proves the
// handlers, not an engine.
type mem struct {
	sync.Mutex
	a     map[string]*storage.Attempt
	s     map[string]*storage.Session
	u     map[string]*storage.User
	l     map[string]*cnt
	order []string
}
type cnt struct {
	n   int
	end time.Time
}

func openStore(t *testing.T) Store {
	return &mem{a: map[string]*storage.Attempt{}, s: map[string]*storage.Session{}, u: map[string]*storage.User{}, l: map[string]*cnt{}}
}
func (m *mem) StartAttempt(_ context.Context, a storage.Attempt, _ storage.Mail, limits []storage.Limit, now time.Time) error {
	m.Lock()
	defer m.Unlock()
	var le *storage.LimitError
	for _, l := range limits {
		c := m.l[l.Key]
		if c == nil || !c.end.After(now) {
			c = &cnt{end: now.Add(l.Window)}
			m.l[l.Key] = c
		}
		c.n++
		if c.n > l.Max && (le == nil || le.RetryAfter < c.end.Sub(now)) {
			le = &storage.LimitError{Key: l.Key, RetryAfter: c.end.Sub(now)}
		}
	}
	if le != nil {
		return le
	}
	for _, o := range m.a {
		if o.Txn == a.Txn && o.State(now) == storage.StateLive {
			o.SupersededAt = now
		}
	}
	m.a[a.ID] = &a
	m.order = append(m.order, a.ID)
	return nil
}
func (m *mem) Attempt(_ context.Context, id string) (storage.Attempt, error) {
	m.Lock()
	defer m.Unlock()
	if a := m.a[id]; a != nil {
		return *a, nil
	}
	return storage.Attempt{}, storage.ErrNotFound
}
func (m *mem) LatestAttempt(_ context.Context, txn, b string) (storage.Attempt, error) {
	m.Lock()
	defer m.Unlock()
	for i := len(m.order) - 1; i >= 0; i-- {
		a := m.a[m.order[i]]
		if a.Txn == txn && a.Browser == b {
			return *a, nil
		}
	}
	return storage.Attempt{}, storage.ErrNotFound
}
func (m *mem) ShowCode(_ context.Context, id string, now time.Time) (storage.Attempt, error) {
	m.Lock()
	defer m.Unlock()
	a := m.a[id]
	if a == nil || a.State(now) != storage.StateLive || !a.ClosedAt.IsZero() {
		return storage.Attempt{}, storage.ErrNotFound
	}
	if a.CodeShownAt.IsZero() {
		a.CodeShownAt = now
	}
	return *a, nil
}
func (m *mem) CloseAttempt(_ context.Context, id string, now time.Time) error {
	m.Lock()
	defer m.Unlock()
	if a := m.a[id]; a != nil && a.ClosedAt.IsZero() {
		a.ClosedAt = now
	}
	return nil
}
func (m *mem) CancelAttempts(_ context.Context, txn, b string, now time.Time) error {
	m.Lock()
	defer m.Unlock()
	for _, a := range m.a {
		if a.Txn == txn && a.Browser == b && a.State(now) == storage.StateLive {
			a.CancelledAt = now
		}
	}
	return nil
}
func (m *mem) TryCode(_ context.Context, id, b string, now time.Time) (storage.Attempt, error) {
	m.Lock()
	defer m.Unlock()
	a := m.a[id]
	if a == nil || a.Browser != b || a.State(now) != storage.StateLive {
		return storage.Attempt{}, storage.ErrNotFound
	}
	a.Tries++
	return *a, nil
}
func (m *mem) live(id string, now time.Time) *storage.Session {
	s := m.s[id]
	if s == nil || !s.EndedAt.IsZero() || !s.ExpiresAt.After(now) || !s.IdleAt.After(now) {
		return nil
	}
	return s
}
func (m *mem) CompleteAttempt(_ context.Context, c storage.Completion, now time.Time) (storage.Login, error) {
	m.Lock()
	defer m.Unlock()
	a := m.a[c.AttemptID]
	if a == nil {
		return storage.Login{}, storage.ErrNotFound
	}
	x := *a
	if c.ByCode {
		if x.CodeShownAt.IsZero() || !x.ClosedAt.IsZero() || x.Tries == 0 {
			return storage.Login{}, storage.ErrNotFound
		}
		x.Tries = 0
	}
	if x.State(now) != storage.StateLive {
		return storage.Login{}, storage.ErrNotFound
	}
	u := m.u[a.Key]
	if u == nil {
		if !c.Signup {
			return storage.Login{}, storage.ErrRefused
		}
		u = &storage.User{ID: c.UserID, Key: a.Key, Email: a.Email}
		m.u[a.Key] = u
	}
	s := c.Session
	s.UserID = u.ID
	if cur := m.live(c.Current, now); cur != nil {
		if cur.UserID == u.ID {
			cur.AuthTime, cur.SeenAt, cur.IdleAt = s.AuthTime, s.SeenAt, s.IdleAt
			s = *cur
		} else {
			cur.EndedAt = now
		}
	}
	m.s[s.ID] = &s
	a.UsedAt, a.SessionID = now, s.ID
	return storage.Login{Session: s, User: *u}, nil
}
func (m *mem) Session(_ context.Context, id string, now time.Time) (storage.Login, error) {
	m.Lock()
	defer m.Unlock()
	s := m.live(id, now)
	if s == nil {
		return storage.Login{}, storage.ErrNotFound
	}
	for _, u := range m.u {
		if u.ID == s.UserID {
			return storage.Login{Session: *s, User: *u}, nil
		}
	}
	return storage.Login{}, storage.ErrNotFound
}
func (m *mem) TouchSession(_ context.Context, id string, now, idle time.Time) error {
	m.Lock()
	defer m.Unlock()
	s := m.live(id, now)
	if s == nil {
		return storage.ErrNotFound
	}
	s.SeenAt, s.IdleAt = now, idle
	return nil
}
