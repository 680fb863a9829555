package storagetest

import (
	"errors"
	"flag"
	"reflect"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/sealpost/sealpost/storage"
)

var modelTests = []test{
	{name: "whatever happens in whatever order, all is as in the model", run: modelRandom},
}

// modelRandom does at random what browsers, clients and operators do, through two
// replicas whose clock moves as it likes, and compares each answer with that of a
// model. -rapid.checks=N has it begin N times, each time with about 80 things to
// do. Of a failure it tells the shortest way there that it finds.
func modelRandom(d *db) {
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if !asked {
		d.must(flag.Set("rapid.checks", "40"))
	}
	d.must(flag.Set("rapid.steps", "80"))
	stores := []Store{d.Store, d.again()}
	rapid.Check(d.T, func(t *rapid.T) {
		m := &model{db: d, stores: stores, now: t0, users: map[string]*storage.User{}, signedIn: map[string][]string{}}
		for range 3 {
			m.keys, m.txns = append(m.keys, d.id("key")), append(m.txns, d.id("txn"))
		}
		t.Repeat(map[string]func(*rapid.T){
			"time passes":        m.pass,
			"a link is asked":    m.start,
			"a code is shown":    m.show,
			"a code is typed":    m.try,
			"a code completes":   m.completeByCode,
			"a link completes":   m.complete,
			"a link ends":        either(m.shut, m.cancel),
			"the newest is seen": m.latest,
			"a session is seen":  m.touch,
			"a session ends":     m.end,
			"a code is redeemed": m.redeem,
			"another one is":     m.redeem,
			"a code comes again": either(m.redeemAgain, m.burn),
			"a token refreshes":  m.refreshNewest,
			"another one does":   m.refreshNewest,
			"a token is used":    m.refresh,
			"a grant ends":       m.revoke,
			"an operator acts":   either(m.enable, m.disable, m.sweep),
			"all is looked at":   m.compare,
		})
		m.compare(t)
	})
}

// grace is for how long a token that was used is taken once more.
const grace = time.Minute

// model is what the store should hold: the contract once more, as plainly as it
// can be said.
type model struct {
	*db
	stores     []Store
	now        time.Time
	keys, txns []string

	users    map[string]*storage.User // by key
	attempts []*storage.Attempt
	sessions []*storage.Session
	grants   []*storage.Grant
	signedIn map[string][]string // clients by session
}

// at gives the replica that does the next thing.
func (m *model) at(t *rapid.T) Store { return rapid.SampledFrom(m.stores).Draw(t, "replica") }

// agree compares an answer with the model's.
func agree[T any](t *rapid.T, what string, got, want T, err, wantErr error) {
	t.Helper()
	if !errors.Is(err, wantErr) {
		t.Fatalf("%s: error %v, want %v", what, err, wantErr)
	}
	if wantErr == nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// errs is agree where there is nothing but an error.
func errs(t *rapid.T, what string, err, wantErr error) {
	t.Helper()
	agree(t, what, 0, 0, err, wantErr)
}

// one picks among what there is, what came last more often.
func one[T any](t *rapid.T, what string, all []T) T {
	if len(all) == 0 {
		t.Skip("there is none")
	}
	return all[len(all)-1-rapid.IntRange(0, len(all)-1).Draw(t, what)]
}

// newest picks among the last three.
func newest[T any](t *rapid.T, what string, all []T) T { return one(t, what, all[max(0, len(all)-3):]) }

// either does one of several things.
func either(all ...func(*rapid.T)) func(*rapid.T) {
	return func(t *rapid.T) { rapid.SampledFrom(all).Draw(t, "which")(t) }
}

// rarely is true one time in ten.
func rarely(t *rapid.T, what string) bool { return rapid.IntRange(0, 9).Draw(t, what) == 9 }

// ifFound is the error of a call that finds something, or not.
func ifFound(found bool) error {
	if found {
		return nil
	}
	return storage.ErrNotFound
}

// pass moves the clock: by a little, by a lot, back as from one replica to
// another, or to the moment at which something ends, or just before it.
func (m *model) pass(t *rapid.T) {
	ends := []time.Time{m.now.Add(2 * time.Hour)}
	add := func(all ...time.Time) {
		for _, at := range all {
			if at.After(m.now) {
				ends = append(ends, at, at.Add(-tick))
			}
		}
	}
	for _, a := range m.attempts {
		add(a.ExpiresAt, a.ExpiresAt.Add(day))
	}
	for _, s := range m.sessions {
		add(s.IdleAt, s.ExpiresAt)
	}
	for _, g := range m.grants {
		add(g.RefreshIdleAt, g.RefreshEndsAt, g.ExpiresAt, g.RefreshedAt.Add(grace))
	}
	slices.SortFunc(ends, time.Time.Compare)
	soon := ends[rapid.IntRange(0, min(len(ends)-1, 7)).Draw(t, "end")]
	m.now = rapid.SampledFrom([]time.Time{m.now.Add(grace / 3), soon, m.now.Add(10 * time.Minute), m.now.Add(-grace), m.now.Add(3 * time.Hour)}).Draw(t, "now")
}

func (m *model) start(t *rapid.T) {
	a := m.attempt(func(a *storage.Attempt) {
		a.Txn, a.Key = one(t, "txn", m.txns), one(t, "key", m.keys)
		a.Browser = rapid.SampledFrom([]string{"browser", "another"}).Draw(t, "browser")
		if rarely(t, "address") {
			a.Purpose = storage.PurposeAddress
		}
		a.CreatedAt, a.ExpiresAt = m.now, m.now.Add(15*time.Minute)
	})
	again := len(m.attempts) > 0 && rarely(t, "again")
	if again {
		a.ID = one(t, "attempt", m.attempts).ID
	}
	err := m.at(t).StartAttempt(m.Context(), a, m.mail(a), nil, m.now)
	if again {
		errs(t, "start again", err, storage.ErrConflict)
		return
	}
	errs(t, "start", err, nil)
	for _, old := range m.attempts {
		if old.Txn == a.Txn && old.State(m.now) == storage.StateLive {
			old.SupersededAt = m.now
		}
	}
	m.attempts = append(m.attempts, &a)
}

func (m *model) show(t *rapid.T) {
	a := newest(t, "attempt", m.attempts)
	found := a.State(m.now) == storage.StateLive && a.ClosedAt.IsZero()
	if found && a.CodeShownAt.IsZero() {
		a.CodeShownAt = m.now
	}
	got, err := m.at(t).ShowCode(m.Context(), a.ID, m.now)
	agree(t, "show", got, *a, err, ifFound(found))
}

func (m *model) shut(t *rapid.T) {
	a := one(t, "attempt", m.attempts)
	if a.ClosedAt.IsZero() {
		a.ClosedAt = m.now
	}
	errs(t, "close", m.at(t).CloseAttempt(m.Context(), a.ID, m.now), nil)
}

func (m *model) cancel(t *rapid.T) {
	of := one(t, "attempt", m.attempts)
	for _, a := range m.attempts {
		if a.Txn == of.Txn && a.Browser == of.Browser && a.State(m.now) == storage.StateLive {
			a.CancelledAt = m.now
		}
	}
	errs(t, "cancel", m.at(t).CancelAttempts(m.Context(), of.Txn, of.Browser, m.now), nil)
}

func (m *model) try(t *rapid.T) {
	a := newest(t, "attempt", m.attempts)
	browser := rapid.SampledFrom([]string{"browser", "another"}).Draw(t, "browser")
	for range rapid.IntRange(1, storage.MaxTries).Draw(t, "times") {
		found := a.State(m.now) == storage.StateLive && a.Browser == browser
		if found {
			a.Tries++
		}
		got, err := m.at(t).TryCode(m.Context(), a.ID, browser, rapid.Bool().Draw(t, "right"), m.now)
		agree(t, "try", got, *a, err, ifFound(found))
	}
}

func (m *model) latest(t *rapid.T) {
	of := one(t, "attempt", m.attempts)
	var want *storage.Attempt
	for _, a := range m.attempts {
		if a.Txn == of.Txn && a.Browser == of.Browser && (want == nil || !a.CreatedAt.Before(want.CreatedAt)) {
			want = a
		}
	}
	got, err := m.at(t).LatestAttempt(m.Context(), of.Txn, of.Browser)
	agree(t, "latest", got, *want, err, nil)
}

func (m *model) session(id string) *storage.Session {
	for _, s := range m.sessions {
		if s.ID == id {
			return s
		}
	}
	return nil
}

func (m *model) live(s *storage.Session) bool {
	return s != nil && s.EndedAt.IsZero() && s.ExpiresAt.After(m.now) && s.IdleAt.After(m.now)
}

func (m *model) user(id string) *storage.User {
	for _, u := range m.users {
		if u.ID == id {
			return u
		}
	}
	return nil
}

func (m *model) complete(t *rapid.T) { m.completed(t, false) }

func (m *model) completeByCode(t *rapid.T) { m.completed(t, true) }

func (m *model) completed(t *rapid.T, byCode bool) {
	a := newest(t, "attempt", m.attempts)
	current := ""
	if len(m.sessions) > 0 && rapid.Bool().Draw(t, "there is a session") {
		current = one(t, "current", m.sessions).ID
	}
	c := m.completion(*a, m.now, func(c *storage.Completion) {
		c.Current, c.ByCode, c.Signup = current, byCode, !rarely(t, "no signup")
		c.Session.ExpiresAt = m.now.Add(90 * time.Minute)
	})
	got, err := m.at(t).CompleteAttempt(m.Context(), c, m.now)

	proven := a.State(m.now) == storage.StateLive
	if c.ByCode {
		untried := *a
		untried.Tries = 0
		proven = untried.State(m.now) == storage.StateLive && a.Tries > 0 && a.ClosedAt.IsZero() && !a.CodeShownAt.IsZero()
	}
	u := m.users[a.Key]
	switch {
	case !proven || a.Purpose == storage.PurposeAddress:
		errs(t, "complete", err, storage.ErrNotFound)
		return
	case u == nil && !c.Signup, u != nil && !u.DisabledAt.IsZero():
		errs(t, "complete", err, storage.ErrRefused)
		return
	case u == nil:
		u = &storage.User{ID: c.UserID, Key: a.Key, Email: a.Email, Locale: a.Locale, CreatedAt: m.now, UpdatedAt: m.now}
		m.users[a.Key] = u
	}
	u.LastLoginAt = m.now
	s := m.session(current)
	if m.live(s) && s.UserID == u.ID {
		s.AuthTime, s.SeenAt, s.IdleAt = c.Session.AuthTime, c.Session.SeenAt, c.Session.IdleAt
	} else {
		if m.live(s) {
			m.ends(s)
		}
		made := c.Session
		made.UserID = u.ID
		s = &made
		m.sessions = append(m.sessions, s)
	}
	a.UsedAt, a.SessionID = m.now, s.ID
	agree(t, "complete", got, storage.Login{Session: *s, User: *u}, err, nil)
}

// ends ends a session with all but its offline grants.
func (m *model) ends(s *storage.Session) {
	s.EndedAt = m.now
	for _, g := range m.grants {
		if g.SessionID == s.ID && !g.Offline && g.RevokedAt.IsZero() {
			g.RevokedAt = m.now
		}
	}
}

func (m *model) touch(t *rapid.T) {
	s, idle := one(t, "session", m.sessions), m.now.Add(time.Hour)
	live := m.live(s)
	if live {
		s.SeenAt, s.IdleAt = m.now, idle
	}
	errs(t, "touch", m.at(t).TouchSession(m.Context(), s.ID, m.now, idle), ifFound(live))
}

func (m *model) end(t *rapid.T) {
	s := one(t, "session", m.sessions)
	var want []string
	if s.EndedAt.IsZero() {
		m.ends(s)
		want = m.signedIn[s.ID]
	}
	got, err := m.at(t).EndSession(m.Context(), s.ID, m.now)
	agree(t, "end", len(got), len(want), err, nil)
	for i := range want {
		agree(t, "client", got[i], want[i], nil, nil)
	}
}

// code is one that was redeemed before, or a new one of a session.
func (m *model) code(t *rapid.T, again bool) (g storage.Grant, known *storage.Grant) {
	if again {
		known = one(t, "grant", m.grants)
		return *known, known
	}
	s := newest(t, "session", m.sessions)
	g = m.newGrant(storage.Login{Session: *s, User: storage.User{ID: s.UserID}}, func(g *storage.Grant) {
		g.ClientID = rapid.SampledFrom([]string{"client", "another client"}).Draw(t, "client")
		g.CreatedAt, g.ExpiresAt = m.now, m.now.Add(10*time.Minute)
		g.Offline = rapid.Bool().Draw(t, "offline")
		if !rarely(t, "no refresh") {
			g.Refresh, g.RefreshIdleAt, g.RefreshEndsAt, g.ExpiresAt = 1, m.now.Add(time.Hour), m.now.Add(70*time.Minute), m.now.Add(370*time.Minute)
		}
	})
	return g, nil
}

func (m *model) redeem(t *rapid.T) { m.redeemed(t, false) }

func (m *model) redeemAgain(t *rapid.T) { m.redeemed(t, true) }

func (m *model) redeemed(t *rapid.T, again bool) {
	g, known := m.code(t, again)
	got, err := m.at(t).RedeemCode(m.Context(), g, storage.Redeeming{}, m.now)
	if known != nil {
		if known.RevokedAt.IsZero() {
			known.RevokedAt = m.now
		}
		errs(t, "redeem again", err, storage.ErrConflict)
		return
	}
	s, u := m.session(g.SessionID), m.user(g.UserID)
	if !m.live(s) || !u.DisabledAt.IsZero() {
		errs(t, "redeem", err, storage.ErrNotFound)
		return
	}
	agree(t, "redeem", got, *u, err, nil)
	m.grants = append(m.grants, &g)
	if !slices.Contains(m.signedIn[s.ID], g.ClientID) {
		m.signedIn[s.ID] = append(m.signedIn[s.ID], g.ClientID)
		slices.Sort(m.signedIn[s.ID])
	}
}

func (m *model) burn(t *rapid.T) {
	g, known := m.code(t, len(m.grants) > 0 && rapid.Bool().Draw(t, "again"))
	errs(t, "burn", m.at(t).BurnCode(m.Context(), g, m.now), nil)
	if known == nil {
		known = &g
		m.grants = append(m.grants, known)
	}
	if known.RevokedAt.IsZero() {
		known.RevokedAt = m.now
	}
}

func (m *model) good(g *storage.Grant) bool {
	return g.RevokedAt.IsZero() && g.ExpiresAt.After(m.now) && m.user(g.UserID).DisabledAt.IsZero() && (g.Offline || m.live(m.session(g.SessionID)))
}

func (m *model) refresh(t *rapid.T) {
	g := one(t, "grant", m.grants)
	m.refreshed(t, g, rapid.IntRange(0, g.Refresh+1).Draw(t, "generation"))
}

func (m *model) refreshNewest(t *rapid.T) {
	g := newest(t, "grant", m.grants)
	m.refreshed(t, g, g.Refresh)
}

func (m *model) refreshed(t *rapid.T, g *storage.Grant, generation int) {
	r := refreshing(*g, generation, m.now)
	r.Keep, r.AnyKey = rapid.Bool().Draw(t, "keep"), rapid.Bool().Draw(t, "any key")
	if rapid.Bool().Draw(t, "grace") {
		r.Grace = m.now.Add(-grace)
	}
	if rarely(t, "wrong") {
		r.JKT = "another"
	}
	got, u, err := m.at(t).Refresh(m.Context(), r, m.now)

	switch {
	case !m.good(g), r.JKT != g.JKT && !r.AnyKey, generation < 1, generation > g.Refresh, !g.RefreshIdleAt.After(m.now), !g.RefreshEndsAt.After(m.now):
		errs(t, "refresh", err, storage.ErrNotFound)
		return
	case generation == g.Refresh:
		if !r.Keep {
			g.Refresh++
			g.RefreshedAt = m.now
		}
		g.RefreshIdleAt = earlier(r.IdleAt, g.RefreshEndsAt)
		if r.ExpiresAt.After(g.ExpiresAt) {
			g.ExpiresAt = r.ExpiresAt
		}
	case generation == g.Refresh-1 && !r.Grace.IsZero() && g.RefreshedAt.After(r.Grace):
	default:
		g.RevokedAt = m.now
		errs(t, "refresh again", err, storage.ErrConflict)
		return
	}
	agree(t, "refresh", got, *g, err, nil)
	agree(t, "user", u, *m.user(g.UserID), nil, nil)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (m *model) revoke(t *rapid.T) {
	g := one(t, "grant", m.grants)
	client := rapid.SampledFrom([]string{"client", "another client"}).Draw(t, "client")
	if client == g.ClientID && g.RevokedAt.IsZero() {
		g.RevokedAt = m.now
	}
	errs(t, "revoke", m.at(t).RevokeGrant(m.Context(), g.ID, client, m.now), nil)
}

func (m *model) disable(t *rapid.T) {
	u := m.anybody(t)
	errs(t, "disable", m.at(t).DisableUser(m.Context(), u.ID, m.now), nil)
	if u.DisabledAt.IsZero() {
		u.DisabledAt = m.now
	}
	for _, s := range m.sessions {
		if s.UserID == u.ID && s.EndedAt.IsZero() {
			m.ends(s)
		}
	}
	for _, g := range m.grants {
		if g.UserID == u.ID && g.RevokedAt.IsZero() {
			g.RevokedAt = m.now
		}
	}
}

func (m *model) enable(t *rapid.T) {
	u := m.anybody(t)
	u.DisabledAt = time.Time{}
	errs(t, "enable", m.at(t).EnableUser(m.Context(), u.ID, m.now), nil)
}

func (m *model) anybody(t *rapid.T) *storage.User {
	u := m.users[one(t, "key", m.keys)]
	if u == nil {
		t.Skip("unknown")
	}
	return u
}

// sweep removes as the doc comment of Store.Sweep says.
func (m *model) sweep(t *rapid.T) {
	for {
		n, err := m.at(t).Sweep(m.Context(), m.now, 1000)
		errs(t, "sweep", err, nil)
		if n == 0 {
			break
		}
	}
	gone := func(at time.Time) bool { return !at.After(m.now) }
	m.attempts = slices.DeleteFunc(m.attempts, func(a *storage.Attempt) bool { return gone(a.ExpiresAt.Add(day)) })
	m.grants = slices.DeleteFunc(m.grants, func(g *storage.Grant) bool { return gone(g.ExpiresAt) })
	m.sessions = slices.DeleteFunc(m.sessions, func(s *storage.Session) bool {
		over := earlier(s.ExpiresAt, s.IdleAt)
		if !s.EndedAt.IsZero() {
			over = earlier(over, s.EndedAt)
		}
		return gone(over.Add(day))
	})
}

// compare looks at all that there is.
func (m *model) compare(t *rapid.T) {
	for _, want := range m.attempts {
		got, err := m.Attempt(m.Context(), want.ID)
		agree(t, "attempt", got, *want, err, nil)
	}
	for _, s := range m.sessions {
		u := m.user(s.UserID)
		got, err := m.Session(m.Context(), s.ID, m.now)
		agree(t, "session", got, storage.Login{Session: *s, User: *u}, err, ifFound(m.live(s) && u.DisabledAt.IsZero()))
	}
	for _, want := range m.grants {
		got, u, err := m.Grant(m.Context(), want.ID, m.now)
		agree(t, "grant", got, *want, err, ifFound(m.good(want)))
		if m.good(want) {
			agree(t, "grant's user", u, *m.user(want.UserID), nil, nil)
		}
	}
}
