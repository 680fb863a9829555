package storagetest

import (
	"slices"
	"sync"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var noticeTests = []test{
	{name: "a claim tells whose session ended, when and for which client", run: noticeFields},
	{name: "the clients that want a notice get one", run: noticeWanted},
	{name: "every way to end a session queues its notices", run: noticeWays},
	{name: "a session that goes on queues none", run: noticeNone},
	{name: "what is due comes oldest first and no more than asked", run: noticeOrder},
	{name: "a lease holds until it ends and counts a try", run: noticeLease},
	{name: "what failed for now comes back when asked for", run: noticeRetry},
	{name: "an ended notice stays ended", run: noticeStaysEnded},
	{name: "what becomes of a notice is not what becomes of the next one", run: noticeAgain},
	{name: "a session that ends by a clock that is behind has its notice", run: noticeClock},
	{name: "32 workers share notices without one twice", run: noticeRace},
	{name: "of codes redeemed while the session ends each has its notice", run: noticeRedeemRace},
}

// claimNotices claims up to n notices at now, for a minute.
func (d *db) claimNotices(n int, now time.Time) []storage.LogoutNotice {
	d.Helper()
	got, err := d.ClaimNotices(d.Context(), n, now, now.Add(time.Minute))
	d.must(err)
	return got
}

// wantNotices checks which notices are due at now, in order: session and client.
func (d *db) wantNotices(what string, n int, now time.Time, want ...string) {
	d.Helper()
	got := []string{}
	for _, n := range d.claimNotices(n, now) {
		got = append(got, n.SessionID+" "+n.ClientID)
	}
	same(d, "notices "+what, got, append([]string{}, want...))
}

// notice queues one of a session of its own that ended at t0.
func (d *db) notice(client string) storage.LogoutNotice {
	d.Helper()
	l := d.signIn()
	d.signInTo(l, client, true)
	d.end(l.Session.ID, t0)
	return storage.LogoutNotice{SessionID: l.Session.ID, ClientID: client, UserID: l.User.ID, CreatedAt: t0, NextAt: t0}
}

func (d *db) finishNotice(n storage.LogoutNotice, state storage.NoticeState, now time.Time) {
	d.Helper()
	d.must(d.FinishNotices(d.Context(), []storage.NoticeOutcome{{SessionID: n.SessionID, ClientID: n.ClientID, CreatedAt: n.CreatedAt, State: state, NextAt: now}}, now))
}

func noticeFields(d *db) {
	l := d.signIn()
	d.signInTo(l, "client", true)
	given, now := odd(t0.Add(time.Second))
	d.end(l.Session.ID, given)
	d.wantNotices("before", 10, now.Add(-tick))
	lease, kept := odd(t0.Add(time.Minute))
	got, err := d.ClaimNotices(d.Context(), 10, now, lease)
	d.must(err)
	same(d, "notices", got, []storage.LogoutNotice{
		{SessionID: l.Session.ID, ClientID: "client", UserID: l.User.ID, CreatedAt: now, NextAt: kept, Tries: 1},
	})
}

func noticeWanted(d *db) {
	l := d.signIn()
	for range 2 {
		d.signInTo(l, "wants none", false)
		d.signInTo(l, "wants", true)
	}
	for _, notify := range []bool{false, true, false} {
		d.signInTo(l, "wants since", notify)
	}
	for _, notify := range []bool{true, false} {
		d.signInTo(l, "wanted", notify, offline)
	}
	_, err := d.RedeemCode(d.Context(), d.signInTo(l, "replayed", false), storage.Redeeming{Notify: true}, t0)
	d.want("replay", err, storage.ErrConflict)
	d.end(l.Session.ID, t0)
	id := l.Session.ID
	d.wantNotices("in the order of their clients", 10, t0, id+" wanted", id+" wants", id+" wants since")
}

func noticeWays(d *db) {
	for _, c := range []struct {
		name string
		end  func(l storage.Login)
	}{
		{"EndSession", func(l storage.Login) { d.end(l.Session.ID, t0) }},
		{"DisableUser", func(l storage.Login) { d.must(d.DisableUser(d.Context(), l.User.ID, t0)) }},
		{"CompleteAttempt of another user", func(l storage.Login) {
			d.complete(d.start(), t0, func(c *storage.Completion) { c.Current = l.Session.ID })
		}},
	} {
		l, bystander := d.signIn(), d.signIn()
		for _, l := range []storage.Login{l, bystander} {
			d.signInTo(l, "client", true)
			d.signInTo(l, "wants none", false)
		}
		c.end(l)
		same(d, c.name, d.claimNotices(10, t0), []storage.LogoutNotice{
			{SessionID: l.Session.ID, ClientID: "client", UserID: l.User.ID, CreatedAt: t0, NextAt: t0.Add(time.Minute), Tries: 1},
		})
		d.end(l.Session.ID, t0)
		d.must(d.DisableUser(d.Context(), l.User.ID, t0))
		d.wantNotices("again: "+c.name, 10, t0)
	}
	// All sessions of a user.
	first := d.signIn()
	second := d.signInAs(first.User)
	d.signInTo(first, "client", true)
	d.signInTo(second, "client", true)
	d.must(d.DisableUser(d.Context(), first.User.ID, t0))
	d.wantNotices("of all sessions", 10, t0, first.Session.ID+" client", second.Session.ID+" client")
}

func noticeNone(d *db) {
	l := d.signIn()
	d.signInTo(l, "client", true)
	again := d.start(func(a *storage.Attempt) { a.Key = l.User.Key })
	d.complete(again, t0, func(c *storage.Completion) { c.Current = l.Session.ID })
	used := d.completion(again, t0, func(c *storage.Completion) { c.Current = l.Session.ID })
	_, err := d.CompleteAttempt(d.Context(), used, t0)
	d.want("used", err, storage.ErrNotFound)
	d.must(d.TouchSession(d.Context(), l.Session.ID, t0, t0.Add(time.Hour)))
	d.wantNotices("of a session that goes on", 10, t0.Add(100*day))
}

func noticeOrder(d *db) {
	first, second, third := d.notice("client"), d.notice("client"), d.notice("client")
	name := func(n storage.LogoutNotice) string { return n.SessionID + " client" }
	d.finishNotice(third, storage.NoticeQueued, t0.Add(3*time.Second))
	d.finishNotice(first, storage.NoticeQueued, t0.Add(1*time.Second))
	d.finishNotice(second, storage.NoticeQueued, t0.Add(2*time.Second))
	d.wantNotices("not due", 10, t0.Add(time.Second-tick))
	later := t0.Add(3 * time.Second)
	d.wantNotices("if none are asked for", 0, later)
	d.wantNotices("the oldest", 1, later, name(first))
	d.wantNotices("the others", 10, later, name(second), name(third))
}

func noticeLease(d *db) {
	want := d.notice("client")
	for try := 1; try <= 3; try++ {
		now := t0.Add(time.Duration(try-1) * time.Minute)
		want.NextAt, want.Tries = now.Add(time.Minute), try
		same(d, "leased", d.claimNotices(10, now), []storage.LogoutNotice{want})
		d.wantNotices("while the lease holds", 10, want.NextAt.Add(-tick))
	}
}

func noticeRetry(d *db) {
	n := d.notice("client")
	d.claimNotices(1, t0)
	next, kept := odd(t0.Add(5 * time.Minute))
	d.must(d.FinishNotices(d.Context(), []storage.NoticeOutcome{
		{SessionID: n.SessionID, ClientID: n.ClientID, CreatedAt: n.CreatedAt, State: storage.NoticeQueued, NextAt: next, Detail: "status 500"},
		{SessionID: n.SessionID, ClientID: "unknown", CreatedAt: n.CreatedAt, State: storage.NoticeDelivered},
		{SessionID: "unknown", ClientID: n.ClientID, CreatedAt: n.CreatedAt, State: storage.NoticeDelivered},
	}, t0))
	d.wantNotices("before", 1, kept.Add(-tick))
	n.NextAt, n.Tries = kept.Add(time.Minute), 2
	same(d, "notices", d.claimNotices(1, kept), []storage.LogoutNotice{n})
	d.must(d.FinishNotices(d.Context(), nil, t0))
}

// endsTwice has the app of a notice that was claimed at t0 signed in to once more, and
// its session ended at now: what was claimed, of an app that was removed.
func (d *db) endsTwice(now time.Time) storage.LogoutNotice {
	d.Helper()
	l := d.signIn()
	d.signInTo(l, "client", true)
	d.must(d.RemoveApp(d.Context(), l.User.ID, "client", t0))
	first := d.claimNotices(10, t0)[0]
	d.signInTo(l, "client", true)
	d.end(l.Session.ID, now)
	return first
}

func noticeAgain(d *db) {
	for _, state := range []storage.NoticeState{storage.NoticeQueued, storage.NoticeDelivered, storage.NoticeDropped, storage.NoticeFailed} {
		now := t0.Add(2 * time.Second)
		first := d.endsTwice(now)
		d.must(d.FinishNotices(d.Context(), []storage.NoticeOutcome{{
			SessionID: first.SessionID, ClientID: first.ClientID, CreatedAt: first.CreatedAt, State: state, NextAt: now.Add(time.Hour), Detail: "of the first",
		}}, now))
		second := first
		second.CreatedAt, second.NextAt, second.Tries = now, now.Add(time.Minute), 1
		same(d, "after the first is "+string(state), d.claimNotices(10, now), []storage.LogoutNotice{second})
		d.finishNotice(second, storage.NoticeDelivered, now)
	}
}

func noticeClock(d *db) {
	behind := t0.Add(-time.Second)
	first := d.endsTwice(behind)
	d.finishNotice(first, storage.NoticeDelivered, t0)
	d.wantNotices("of the second end", 10, t0, first.SessionID+" client")
}

func noticeStaysEnded(d *db) {
	states := []storage.NoticeState{storage.NoticeDelivered, storage.NoticeDropped, storage.NoticeFailed}
	for _, state := range states {
		n := d.notice("client")
		d.finishNotice(n, state, t0)
		for _, s := range append(states, storage.NoticeQueued) {
			d.finishNotice(n, s, t0.Add(time.Hour))
		}
		d.end(n.SessionID, t0)
		d.wantNotices("that have ended", 10, t0.Add(day))
	}
	d.wantSweep("sessions, grants and notices, a day after they first ended", t0.Add(day), 3+3+3)
}

func noticeRace(d *db) {
	const sessions, clients = 10, 5
	for range sessions {
		l := d.signIn()
		for i := range clients {
			d.signInTo(l, string(rune('a'+i)), true)
		}
		d.end(l.Session.ID, t0)
	}
	var (
		mu      sync.Mutex
		claimed = map[string]int{}
	)
	count := func(got []storage.LogoutNotice) {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range got {
			claimed[n.SessionID+n.ClientID]++
		}
	}
	for _, err := range d.race(func(s Store, _ int) error {
		for {
			got, err := s.ClaimNotices(d.Context(), 3, t0, t0.Add(time.Minute))
			if err != nil || len(got) == 0 {
				return err
			}
			count(got)
		}
	}) {
		d.must(err)
	}
	// Whoever met only notices that others were leasing has gone home.
	count(d.claimNotices(sessions*clients, t0))
	same(d, "claimed", len(claimed), sessions*clients)
	for name, n := range claimed {
		if n != 1 {
			d.Errorf("%s was claimed %d times", name, n)
		}
	}
}

// Otherwise whoever signs in to an application at that very moment would stay
// signed in there.
func noticeRedeemRace(d *db) {
	for _, end := range []func(s Store, l storage.Login, c storage.Completion) error{
		func(s Store, l storage.Login, _ storage.Completion) error {
			_, err := s.EndSession(d.Context(), l.Session.ID, t0)
			return err
		},
		func(s Store, l storage.Login, _ storage.Completion) error {
			return s.DisableUser(d.Context(), l.User.ID, t0)
		},
		func(s Store, l storage.Login, c storage.Completion) error {
			_, err := s.CompleteAttempt(d.Context(), c, t0)
			return err
		},
	} {
		l := d.signIn()
		c := d.completion(d.start(), t0, func(c *storage.Completion) { c.Current = l.Session.ID })
		gs := make([]storage.Grant, racers)
		for i := range gs {
			gs[i] = d.newGrant(l, func(g *storage.Grant) { g.ClientID = d.id("client") })
		}
		errs := d.race(func(s Store, i int) error {
			if i == racers/2 {
				return end(s, l, c)
			}
			_, err := s.RedeemCode(d.Context(), gs[i], storage.Redeeming{Notify: true}, t0)
			return err
		})
		var want, got []string
		for i, err := range errs {
			switch {
			case i == racers/2:
				d.must(err)
			case err == nil:
				want = append(want, gs[i].ClientID)
			default:
				d.want("redeem", err, storage.ErrNotFound)
			}
		}
		for _, n := range d.claimNotices(racers, t0) {
			got = append(got, n.ClientID)
		}
		slices.Sort(want)
		slices.Sort(got)
		same(d, "told", got, want)
	}
}
