package storagetest

import (
	"sync"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var mailTests = []test{
	{name: "a claim carries message, attempt and user", run: mailFields},
	{name: "what is due comes oldest first and no more than asked", run: mailOrder},
	{name: "a lease holds until it ends and counts a try", run: mailLease},
	{name: "what has expired is never sent", run: mailExpired},
	{name: "an attempt that is not live needs no mail", run: mailDead},
	{name: "what is over does not use up a claim", run: mailSkips},
	{name: "what has ended is not claimed again", run: mailEnded},
	{name: "what failed for now comes back when asked for", run: mailRetry},
	{name: "an ended message stays ended", run: mailStaysEnded},
	{name: "32 workers share messages without one twice", run: mailRace},
}

// claim claims up to n messages at now, for a minute.
func (d *db) claim(n int, now time.Time) []storage.QueuedMail {
	d.Helper()
	got, err := d.ClaimMail(d.Context(), n, now, now.Add(time.Minute))
	d.must(err)
	return got
}

// wantClaim checks which messages are due at now, in order.
func (d *db) wantClaim(what string, n int, now time.Time, ids ...string) {
	d.Helper()
	got := []string{}
	for _, q := range d.claim(n, now) {
		got = append(got, q.Mail.ID)
	}
	same(d, what, got, append([]string{}, ids...))
}

// queue starts an attempt whose message is tried first at next.
func (d *db) queue(next time.Time, change ...func(*storage.Mail)) (storage.Mail, storage.Attempt) {
	d.Helper()
	a := d.attempt()
	m := d.mail(a)
	m.NextAt = next
	for _, f := range change {
		f(&m)
	}
	d.must(d.StartAttempt(d.Context(), a, m, nil, t0))
	return m, a
}

func mailFields(d *db) {
	known := d.signIn().User
	d.claim(10, t0)
	a := d.start(func(a *storage.Attempt) { a.Key = known.Key })
	b := d.attempt()
	m := d.mail(b)
	want := m
	m.CreatedAt, want.CreatedAt = odd(t0.Add(-time.Second))
	m.NotAfter, want.NotAfter = odd(t0.Add(time.Hour))
	m.NextAt, _ = odd(t0.Add(tick))
	d.must(d.StartAttempt(d.Context(), b, m, nil, t0))

	lease, kept := odd(t0.Add(time.Minute))
	got, err := d.ClaimMail(d.Context(), 10, t0.Add(tick), lease)
	d.must(err)
	if len(got) != 2 {
		d.Fatalf("got %d messages, want 2", len(got))
	}
	same(d, "attempt", got[0].Attempt, a)
	same(d, "known user", got[0].User, known)
	want.NextAt, want.Tries = kept, 1
	same(d, "message", got[1], storage.QueuedMail{Mail: want, Attempt: b})
}

func mailOrder(d *db) {
	third, _ := d.queue(t0.Add(3 * time.Second))
	first, _ := d.queue(t0.Add(1 * time.Second))
	second, _ := d.queue(t0.Add(2 * time.Second))
	d.wantClaim("too early", 10, t0.Add(time.Second-tick))
	d.wantClaim("none asked for", 0, t0.Add(time.Second))
	d.wantClaim("the first", 10, t0.Add(time.Second), first.ID)
	fourth, _ := d.queue(t0.Add(4 * time.Second))
	d.wantClaim("two", 2, t0.Add(5*time.Second), second.ID, third.ID)
	d.wantClaim("the rest", 2, t0.Add(5*time.Second), fourth.ID)
	d.wantClaim("nothing", 2, t0.Add(5*time.Second))
}

func mailLease(d *db) {
	m, _ := d.queue(t0)
	for try := 1; try <= 3; try++ {
		now := t0.Add(time.Duration(try-1) * time.Minute)
		got := d.claim(1, now)
		if len(got) != 1 || got[0].Mail.ID != m.ID || got[0].Mail.Tries != try || !got[0].Mail.NextAt.Equal(now.Add(time.Minute)) {
			d.Fatalf("try %d: got %+v", try, got)
		}
		d.wantClaim("leased", 1, now.Add(time.Minute-tick))
	}
}

func mailExpired(d *db) {
	notAfter := t0.Add(time.Minute)
	expired := func(m *storage.Mail) { m.NotAfter = notAfter }
	d.queue(t0, expired)
	d.wantClaim("expired", 10, notAfter)
	d.wantClaim("expired, as seen by a slower clock", 10, notAfter.Add(-tick))
	m, _ := d.queue(t0, expired)
	d.wantClaim("just before", 10, notAfter.Add(-tick), m.ID)
}

func mailDead(d *db) {
	now := t0.Add(time.Minute)
	dead := d.dead(now)
	left := d.claim(100, now)
	for state, attempts := range dead {
		for _, a := range attempts {
			for _, q := range left {
				if q.Attempt.ID == a.ID {
					d.Errorf("the mail of a %s attempt was claimed", state)
				}
			}
		}
	}
	same(d, "messages of live attempts", len(left), 1) // the one that superseded
	closed := d.start()
	d.must(d.CloseAttempt(d.Context(), closed.ID, t0))
	same(d, "messages of closed attempts", len(d.claim(100, now)), 1)
}

func mailSkips(d *db) {
	for range 5 {
		_, a := d.queue(t0)
		d.must(d.CancelAttempts(d.Context(), a.Txn, a.Browser, t0))
	}
	m, _ := d.queue(t0.Add(time.Second))
	d.wantClaim("behind what is over", 1, t0.Add(time.Second), m.ID)
}

func mailEnded(d *db) {
	var outcomes []storage.MailOutcome
	for _, state := range []storage.MailState{storage.MailSent, storage.MailRefused, storage.MailFailed, storage.MailExpired} {
		m, _ := d.queue(t0)
		outcomes = append(outcomes, storage.MailOutcome{ID: m.ID, State: state, Detail: "250 at DATA"})
	}
	outcomes = append(outcomes, storage.MailOutcome{ID: "unknown", State: storage.MailSent})
	same(d, "due", len(d.claim(10, t0)), 4)
	d.must(d.FinishMail(d.Context(), outcomes, t0))
	d.wantClaim("after the lease", 10, t0.Add(time.Minute))
	d.must(d.FinishMail(d.Context(), nil, t0))
}

func mailRetry(d *db) {
	m, _ := d.queue(t0)
	d.claim(1, t0)
	next, kept := odd(t0.Add(5 * time.Minute))
	d.must(d.FinishMail(d.Context(), []storage.MailOutcome{{ID: m.ID, State: storage.MailQueued, NextAt: next, Detail: "451 at RCPT"}}, t0))
	d.wantClaim("before", 1, kept.Add(-tick))
	got := d.claim(1, kept)
	if len(got) != 1 || got[0].Mail.Tries != 2 {
		d.Fatalf("got %+v", got)
	}
}

func mailStaysEnded(d *db) {
	for _, state := range []storage.MailState{storage.MailSent, storage.MailRefused, storage.MailFailed, storage.MailExpired} {
		m, _ := d.queue(t0)
		for _, s := range []storage.MailState{state, storage.MailQueued, storage.MailSent, storage.MailQueued} {
			d.must(d.FinishMail(d.Context(), []storage.MailOutcome{{ID: m.ID, State: s, NextAt: t0}}, t0))
		}
	}
	d.wantClaim("nothing", 10, t0)
}

func mailRace(d *db) {
	const messages = 100
	for range messages {
		d.queue(t0)
	}
	var (
		mu      sync.Mutex
		claimed = map[string]int{}
	)
	for _, err := range d.race(func(s Store, _ int) error {
		for {
			got, err := s.ClaimMail(d.Context(), 3, t0, t0.Add(time.Minute))
			if err != nil || len(got) == 0 {
				return err
			}
			mu.Lock()
			for _, q := range got {
				claimed[q.Mail.ID]++
			}
			mu.Unlock()
		}
	}) {
		d.must(err)
	}
	// Whoever met only messages that others were leasing has gone home.
	for _, q := range d.claim(messages, t0) {
		claimed[q.Mail.ID]++
	}
	same(d, "claimed", len(claimed), messages)
	for id, n := range claimed {
		if n != 1 {
			d.Errorf("%s was claimed %d times", id, n)
		}
	}
}
