package login

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/textproto"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/sqlite"
)

// queue is a database with mail to send.
type queue struct {
	testing.TB
	*sqlite.DB
	raw *sql.DB

	mu     sync.Mutex
	fail   func(call string) error // before a call takes effect
	after  func(call string) error // after it took effect
	logged bytes.Buffer
}

func openQueue(t testing.TB) *queue {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sealpost.db")
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	return &queue{TB: t, DB: db, raw: raw}
}

// failing sets what goes wrong from now on.
func (q *queue) failing(before, after func(call string) error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fail, q.after = before, after
}

func (q *queue) hooks() (before, after func(string) error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before, after = q.fail, q.after
	none := func(string) error { return nil }
	if before == nil {
		before = none
	}
	if after == nil {
		after = none
	}
	return before, after
}

func (q *queue) ClaimMail(ctx context.Context, n int, now, until time.Time) ([]storage.QueuedMail, error) {
	before, after := q.hooks()
	if err := before("claim"); err != nil {
		return nil, err
	}
	mails, err := q.DB.ClaimMail(ctx, n, now, until)
	return mails, errors.Join(err, after("claim"))
}

func (q *queue) FinishMail(ctx context.Context, outcomes []storage.MailOutcome, now time.Time) error {
	before, after := q.hooks()
	if err := before("finish"); err != nil {
		return err
	}
	return errors.Join(q.DB.FinishMail(ctx, outcomes, now), after("finish"))
}

// Write takes the log.
func (q *queue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.logged.Write(p)
}

// log is what was logged, which never tells who or how to get in.
func (q *queue) log() string {
	q.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	text := q.logged.String()
	if strings.Contains(text, "@") || strings.Contains(text, "token=") {
		q.Errorf("an address or a token was logged:\n%s", text)
	}
	return text
}

// ask queues a mail and gives its id.
func (q *queue) ask(to string, change ...func(*storage.Attempt, *storage.Mail)) string {
	q.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	m := queuedMail(to)
	a := m.Attempt
	a.CreatedAt, a.ExpiresAt = now, now.Add(15*time.Minute)
	mail := storage.Mail{ID: m.Mail.ID, AttemptID: a.ID, CreatedAt: now, NextAt: now, NotAfter: a.ExpiresAt}
	for _, f := range change {
		f(&a, &mail)
	}
	if err := q.StartAttempt(q.Context(), a, mail, nil, now); err != nil {
		q.Fatal(err)
	}
	return mail.ID
}

// state is "state detail" of a mail, with how often it was claimed.
func (q *queue) state(id string) (state string, tries int) {
	q.Helper()
	var detail string
	if err := q.raw.QueryRow(`SELECT state, detail, tries FROM mail WHERE id = ?`, id).Scan(&state, &detail, &tries); err != nil {
		q.Fatal(err)
	}
	return strings.TrimSpace(state + " " + detail), tries
}

// becomes waits for a state.
func (q *queue) becomes(id, want string) {
	q.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if state, _ := q.state(id); state == want {
			return
		}
		if time.Now().After(deadline) {
			q.is(id, want)
			return
		}
	}
}

func (q *queue) is(id, want string) {
	q.Helper()
	if got, tries := q.state(id); got != want {
		q.Errorf("%s after %d tries, want %s\n%s", got, tries, want, q.log())
	}
}

// count is how many mails are in a state.
func (q *queue) count(state storage.MailState) (n int) {
	q.Helper()
	if err := q.raw.QueryRow(`SELECT count(*) FROM mail WHERE state = ?`, string(state)).Scan(&n); err != nil {
		q.Fatal(err)
	}
	return n
}

// outbox sends over server.
func (q *queue) outbox(server MailServer, change ...func(*OutboxConfig)) *Outbox {
	q.Helper()
	c := testComposer(q, "login@example.com")
	cfg := OutboxConfig{
		Issuer: c.issuer, Secret: c.secret, Store: q, Templates: c.templates, URL: server, From: "Example <login@example.com>", Signup: true,
		Log: slog.New(slog.NewTextHandler(q, nil)),
	}
	for _, f := range change {
		f(&cfg)
	}
	o, err := NewOutbox(cfg)
	if err != nil {
		q.Fatal(err)
	}
	return o
}

// office stands for a mail server where time matters: each worker has a line to
// it, which answers as it is told.
type office struct {
	mu     sync.Mutex
	sent   []dispatched // whatever the answer was
	answer func(ctx context.Context, m message) *failure
	now    int // mails being taken at this moment
	most   int
	lines  map[*officeLine]bool // open
}

type dispatched struct {
	message
	at time.Time
}

type officeLine struct{ *office }

func (l *officeLine) deliver(ctx context.Context, m message) *failure {
	l.mu.Lock()
	l.sent = append(l.sent, dispatched{m, time.Now()})
	l.now++
	l.most = max(l.most, l.now)
	l.lines[l] = true
	answer := l.answer
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.now--
		l.mu.Unlock()
	}()
	if answer == nil {
		return nil
	}
	return answer(ctx, m)
}

func (l *officeLine) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lines, l)
}

func (f *office) mails() []dispatched {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]dispatched(nil), f.sent...)
}

func (f *office) answers(with func(ctx context.Context, m message) *failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = with
}

// to counts what was handed over, by recipient.
func (f *office) to() map[string]int {
	n := map[string]int{}
	for _, m := range f.mails() {
		n[m.to]++
	}
	return n
}

func (f *office) outbox(q *queue, change ...func(*OutboxConfig)) *Outbox {
	q.Helper()
	f.lines = map[*officeLine]bool{}
	o := q.outbox(mailServer(q, "smtp+plain://localhost"), change...)
	o.dial = func() transport { return &officeLine{f} }
	return o
}

func replied(stage string, code int, enhanced string) *failure {
	return &failure{stage: stage, code: code, enhanced: enhanced, err: &textproto.Error{Code: code, Msg: enhanced + " <ada@example.com> is turned away"}}
}

// running runs an outbox until stop, which gives what Run returned.
func running(o *Outbox) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// inBubble runs a test in a bubble where waiting takes no time.
func inBubble(t *testing.T, f func(t *testing.T, q *queue)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, openQueue(t)) })
}

func TestQueuedMailIsSentOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{}
		o := f.outbox(q)
		stop := running(o)
		first := q.ask("Ada@example.com")
		time.Sleep(pollEvery) // nobody woke it
		synctest.Wait()
		q.is(first, "sent")
		second, asked := q.ask("bob@example.com"), time.Now()
		o.Wake()
		o.Wake()
		synctest.Wait()
		q.is(second, "sent")
		if got := f.mails(); len(got) != 2 || got[0].to != "Ada@example.com" || !got[1].at.Equal(asked) {
			t.Errorf("%+v", got)
		}
		time.Sleep(time.Hour)
		if err := stop(); err != nil || len(f.mails()) != 2 {
			t.Errorf("%v, %d mails", err, len(f.mails()))
		}
		if log := q.log(); strings.Count(log, "outcome=sent") != 2 || !strings.Contains(log, "mail="+first) || !strings.Contains(log, "try=1") || !strings.Contains(log, "duration_ms=") {
			t.Error(log)
		}
	})
}

func TestWhoMayNotSignInGetsNoMail(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{}
		user := func(email string) {
			a := queuedMail(email)
			id := q.ask(email, func(at *storage.Attempt, m *storage.Mail) { at.ID, m.AttemptID = a.Attempt.ID, a.Attempt.ID })
			now := time.Now()
			_, err := q.CompleteAttempt(t.Context(), storage.Completion{AttemptID: a.Attempt.ID, UserID: keys.ID(), Signup: true, Session: storage.Session{
				ID: keys.ID(), AuthTime: now, CreatedAt: now, SeenAt: now, ExpiresAt: now.Add(time.Hour), IdleAt: now.Add(time.Hour)}}, now)
			if err != nil {
				t.Fatal(err)
			}
			if err := q.FinishMail(t.Context(), []storage.MailOutcome{{ID: id, State: storage.MailSent}}, now); err != nil {
				t.Fatal(err)
			}
		}
		user("Known@example.com")
		user("disabled@example.com")
		if _, err := q.raw.Exec(`UPDATE users SET disabled_at = 1 WHERE key = 'disabled@example.com'`); err != nil {
			t.Fatal(err)
		}
		stop := running(f.outbox(q, func(c *OutboxConfig) {
			c.Signup, c.Allow, c.Deny = false, []string{"*@example.com", "*@example.org"}, []string{"denied@example.com"}
		}))
		for _, tt := range []struct{ to, want string }{
			{"known@EXAMPLE.com", "sent"},
			{"stranger@example.com", "refused not invited"},
			{"disabled@example.com", "refused disabled"},
			{"denied@example.com", "refused not allowed"},
			{"known@example.net", "refused not allowed"},
		} {
			addr, err := ParseAddress(tt.to)
			if err != nil {
				t.Fatal(err)
			}
			id := q.ask(addr.Delivery)
			time.Sleep(pollEvery)
			synctest.Wait()
			q.is(id, tt.want)
		}
		// Whoever asks for another address has an account, and nobody need invite it.
		for to, want := range map[string]string{"new@example.com": "sent", "new@example.net": "refused not allowed"} {
			id := q.ask(to, func(a *storage.Attempt, _ *storage.Mail) { a.Purpose, a.UserID = storage.PurposeAddress, "somebody" })
			time.Sleep(pollEvery)
			synctest.Wait()
			q.is(id, want)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if got := f.to(); len(got) != 2 || got["Known@example.com"] != 1 || got["new@example.com"] != 1 {
			t.Errorf("sent to %v", got)
		}
		q.log()
	})
}

func TestLinkThatEndedIsNotMailed(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{}
		o := f.outbox(q)
		r := &run{Outbox: o}
		live := queuedMail("ada@example.com")
		live.Attempt.CreatedAt, live.Attempt.ExpiresAt = time.Now(), time.Now().Add(time.Minute)
		live.Mail.NotAfter = live.Attempt.ExpiresAt
		for want, change := range map[string]func(*storage.Attempt){
			"sent ":              func(*storage.Attempt) {},
			"expired superseded": func(a *storage.Attempt) { a.SupersededAt = time.Now() },
			"expired cancelled":  func(a *storage.Attempt) { a.CancelledAt = time.Now() },
			"expired used":       func(a *storage.Attempt) { a.UsedAt = time.Now() },
			"expired expired":    func(a *storage.Attempt) { a.ExpiresAt = time.Now() },
		} {
			m := live
			change(&m.Attempt)
			res := r.try(t.Context(), &worker{line: o.dial()}, lease{m, time.Now().Add(leaseFor)})
			if got := string(res.outcome.State) + " " + res.outcome.Detail; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		if len(f.mails()) != 1 {
			t.Errorf("%d mails", len(f.mails()))
		}
	})
}

func TestMailIsTriedWithGrowingPausesUntilTheLinkExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{answer: func(context.Context, message) *failure { return replied(stageRcpt, 451, "4.7.1") }}
		stop := running(f.outbox(q))
		id := q.ask("ada@example.com")
		began := time.Now()
		time.Sleep(time.Hour)
		q.is(id, "expired rcpt 451 4.7.1")
		got := f.mails()
		if len(got) < 12 || len(got) > 40 {
			t.Errorf("%d tries", len(got))
		}
		for i, m := range got {
			if !m.at.Before(began.Add(15 * time.Minute)) {
				t.Errorf("tried %s after the mail was asked for", m.at.Sub(began))
			}
			if !bytes.Equal(m.raw, got[0].raw) {
				t.Errorf("try %d differs", i)
			}
			if i > 0 {
				most := min(lastDelay, firstDelay<<(i-1)) * 3 / 2
				if pause := m.at.Sub(got[i-1].at); pause > most+pollEvery || pause < most/3 {
					t.Errorf("%s before try %d", pause, i+1)
				}
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if log := q.log(); !strings.Contains(log, `level=WARN msg=mail`) || !strings.Contains(log, `detail="rcpt 451 4.7.1"`) || strings.Contains(log, "turned away") {
			t.Error(log)
		}
	})
}

func TestBackoff(t *testing.T) {
	for tries := -1; tries < 100; tries++ {
		for range 100 {
			d := min(lastDelay, firstDelay<<min(10, max(0, tries-1)))
			if got := backoff(tries, lastDelay); got < d/2 || got >= d/2+d {
				t.Fatalf("%d tries: %s", tries, got)
			}
		}
	}
}

func TestMailRefusedForGoodIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{answer: func(_ context.Context, m message) *failure {
			if m.to == "gone@example.com" {
				return replied(stageRcpt, 550, "5.1.1")
			}
			return nil
		}}
		stop := running(f.outbox(q))
		gone, ada := q.ask("gone@example.com"), q.ask("ada@example.com")
		broken := q.ask("bob@example.com", func(a *storage.Attempt, m *storage.Mail) { a.ID, m.AttemptID = "AAAA", "AAAA" })
		time.Sleep(20 * time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		q.is(gone, "failed rcpt 550 5.1.1")
		q.is(ada, "sent")
		q.is(broken, "failed compose")
		if got := f.to(); got["gone@example.com"] != 1 || got["ada@example.com"] != 1 {
			t.Errorf("%v", got)
		}
		q.log()
	})
}

func TestServerInTroubleIsSparedAndTheOperatorCalled(t *testing.T) {
	for name, trouble := range map[string]*failure{
		"AUTH refused":     replied(stageAuth, 535, "5.7.8"),
		"sender refused":   replied(stageMail, 550, "5.7.1"),
		"AUTH wanted":      replied(stageRcpt, 530, "5.7.0"),
		"no STARTTLS":      {stage: stageTLS, err: errNoTLS},
		"nobody there":     {stage: stageConnect, err: errors.New("connection refused")},
		"too many of us":   replied(stageConnect, 421, "4.7.0"),
		"greets, then EOF": {stage: stageHello, err: errors.New("EOF")},
		"token refused":    answered(403, "authentication.forbidden", errAccount),
		"throttled":        answered(429, "throttled", errBusy),
	} {
		inBubble(t, func(t *testing.T, q *queue) {
			f := &office{answer: func(context.Context, message) *failure { return trouble }}
			outbox := f.outbox(q)
			stop := running(outbox)
			var ids []string
			for n := range 20 {
				ids = append(ids, q.ask(fmt.Sprintf("u%d@example.com", n)))
			}
			time.Sleep(5 * time.Minute)
			if n := len(f.mails()); n < 8 || n > 40 { // not 20 mails a dozen times each
				t.Errorf("%s: %d tries", name, n)
			}
			if !outbox.Delayed() {
				t.Errorf("%s: nobody may know that mail is delayed", name)
			}
			log := q.log()
			if called := strings.Contains(log, "level=ERROR msg=mail") && strings.Contains(log, "sealpost mail test"); called != trouble.ofSettings() {
				t.Errorf("%s: called %t\n%s", name, called, log)
			}
			f.answers(nil)
			time.Sleep(2 * time.Minute) // the longest pauses, server's and mail's
			for _, id := range ids {
				q.is(id, "sent")
			}
			if outbox.Delayed() {
				t.Errorf("%s: still delayed", name)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// RFC 9110 §10.2.3: a mail waits for as long as the server asks. Others wait a
// minute at most, as it may have meant the one recipient.
func TestServerIsLeftAloneForAsLongAsItAsks(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{answer: func(_ context.Context, m message) *failure {
			if !strings.HasPrefix(m.to, "limited") {
				return nil
			}
			busy := answered(429, "throttled", errBusy)
			busy.after = 5 * time.Minute
			return busy
		}}
		o := f.outbox(q)
		stop, began := running(o), time.Now()
		limited := q.ask("limited@example.com")
		o.Wake()
		synctest.Wait()
		other := q.ask("ada@example.com")
		o.Wake()
		time.Sleep(lastDelay - pollEvery)
		q.is(other, "queued")
		time.Sleep(3 * pollEvery)
		q.is(other, "sent")
		time.Sleep(5*time.Minute - 1 - time.Since(began))
		if n := f.to()["limited@example.com"]; n != 1 {
			t.Errorf("%d tries", n)
		}
		time.Sleep(3 * pollEvery)
		if n := f.to()["limited@example.com"]; n != 2 {
			t.Errorf("%d tries", n)
		}
		q.is(limited, "queued api 429 throttled")
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := f.to()["limited@example.com"]; n != 2 { // nor does a stop hurry it
			t.Errorf("%d tries", n)
		}
	})
}

func TestTroubleOfOneMailDoesNotPauseTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{answer: func(_ context.Context, m message) *failure {
			if strings.HasPrefix(m.to, "grey") {
				return replied(stageRcpt, 451, "4.7.1")
			}
			return nil
		}}
		o := f.outbox(q)
		stop := running(o)
		defer stop()
		for n := range 20 {
			q.ask(fmt.Sprintf("grey%d@example.com", n))
		}
		id := q.ask("ada@example.com")
		o.Wake()
		synctest.Wait()
		q.is(id, "sent")
	})
}

func TestLeaseOfADeadProcessEndsBeforeItsMailIsSent(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		id := q.ask("ada@example.com")
		claimed := time.Now()
		if mails, err := q.ClaimMail(t.Context(), 10, claimed, claimed.Add(leaseFor)); err != nil || len(mails) != 1 {
			t.Fatal(len(mails), err) // and the process that claimed it dies
		}
		f := &office{}
		stop := running(f.outbox(q))
		time.Sleep(leaseFor - 1)
		synctest.Wait()
		if n := len(f.mails()); n != 0 {
			t.Fatalf("%d mails while the lease holds", n)
		}
		time.Sleep(time.Hour)
		if err := stop(); err != nil {
			t.Error(err)
		}
		q.is(id, "sent")
		if got := f.mails(); len(got) != 1 || got[0].at.Sub(claimed) > leaseFor+2*pollEvery {
			t.Errorf("%+v", got)
		}
	})
}

func TestProcessDiesBetweenSendingAndRecording(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{}
		id, asked := q.ask("ada@example.com"), time.Now()
		q.failing(func(call string) error {
			if call == "finish" {
				return errors.New("killed")
			}
			return nil
		}, nil)
		if err := running(f.outbox(q))(); err == nil || !strings.Contains(err.Error(), "outcomes of 1 mails are not written") {
			t.Errorf("%v", err)
		}
		q.failing(nil, nil)
		stop := running(f.outbox(q))
		time.Sleep(time.Hour)
		if err := stop(); err != nil {
			t.Error(err)
		}
		q.is(id, "sent")
		// RFC 5321 §4.5.3.2.6: once more, as the outcome is lost, and alike.
		got := f.mails()
		if len(got) != 2 || got[1].at.Sub(asked) < leaseFor || !bytes.Equal(got[0].raw, got[1].raw) {
			t.Errorf("%d mails", len(got))
		}
	})
}

func TestOutcomeThatCannotBeWrittenComesBeforeAnyMail(t *testing.T) {
	for name, effect := range map[string]bool{"before it takes effect": false, "after it took effect": true} {
		inBubble(t, func(t *testing.T, q *queue) {
			f := &office{answer: func(context.Context, message) *failure {
				time.Sleep(writeEvery * 3 / 5)
				return nil
			}}
			down := func(call string) error {
				if call == "finish" {
					return errors.New("the database is away")
				}
				return nil
			}
			if effect {
				q.failing(nil, down)
			} else {
				q.failing(down, nil)
			}
			stop := running(f.outbox(q, func(c *OutboxConfig) { c.Workers = 2 }))
			var ids []string
			for n := range 20 {
				ids = append(ids, q.ask(fmt.Sprintf("u%d@example.com", n)))
			}
			time.Sleep(10 * time.Minute)      // longer than any lease
			if n := len(f.mails()); n > 2*3 { // what two workers begin before the first write
				t.Errorf("%s: %d mails begun with outcomes unwritten", name, n)
			}
			q.failing(nil, nil)
			time.Sleep(time.Minute + leaseFor)
			if err := stop(); err != nil {
				t.Error(err)
			}
			for _, id := range ids {
				q.is(id, "sent")
			}
			for to, n := range f.to() {
				if n != 1 {
					t.Errorf("%s: %d mails to %s", name, n, to)
				}
			}
			if !strings.Contains(q.log(), "level=ERROR") {
				t.Errorf("%s: nobody was told", name)
			}
		})
	}
}

func TestRetryThatWasWrittenUnseenLeavesTheNextLeaseAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{answer: func(context.Context, message) *failure { return replied(stageRcpt, 451, "4.7.1") }}
		o := f.outbox(q)
		o.delay = func(int, time.Duration) time.Duration { return 0 }
		q.failing(nil, func(call string) error {
			if call == "finish" {
				return errors.New("the answer of the database is lost")
			}
			return nil
		})
		q.ask("ada@example.com")
		stop := running(o)
		synctest.Wait()
		q.failing(nil, nil)
		now := time.Now() // another replica
		if mails, err := q.DB.ClaimMail(t.Context(), 1, now, now.Add(leaseFor)); err != nil || len(mails) != 1 {
			t.Fatal(len(mails), err)
		}
		time.Sleep(leaseFor - 1)
		synctest.Wait()
		if n := len(f.mails()); n != 1 {
			t.Errorf("%d mails while another sends it", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRetryThatIsWrittenTooLateLeavesTheNextLeaseAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{answer: func(context.Context, message) *failure {
			time.Sleep(pollEvery / 2)
			return replied(stageRcpt, 451, "4.7.1")
		}}
		o := f.outbox(q)
		o.delay = func(int, time.Duration) time.Duration { return 0 }
		q.ask("ada@example.com")
		stop := running(o)
		synctest.Wait()
		q.failing(func(string) error { time.Sleep(leaseFor + time.Minute); return nil }, nil)
		o.Wake() // the store takes its time while the mail is under way
		time.Sleep(leaseFor)
		now := time.Now() // another replica
		if mails, err := q.DB.ClaimMail(t.Context(), 1, now, now.Add(leaseFor)); err != nil || len(mails) != 1 {
			t.Fatal(len(mails), err)
		}
		q.failing(nil, nil)
		time.Sleep(leaseFor - 1)
		synctest.Wait()
		if n := len(f.mails()); n != 1 {
			t.Errorf("%d mails while another sends it", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestClaimThatFailsIsTriedAgain(t *testing.T) {
	for name, effect := range map[string]bool{"before it takes effect": false, "after it took effect": true} {
		inBubble(t, func(t *testing.T, q *queue) {
			f := &office{}
			id, calls := q.ask("ada@example.com"), 0
			down := func(call string) error {
				if calls++; call == "claim" && calls <= 3 {
					return errors.New("the database is away")
				}
				return nil
			}
			if effect {
				q.failing(nil, down)
			} else {
				q.failing(down, nil)
			}
			stop := running(f.outbox(q))
			time.Sleep(leaseFor + time.Minute)
			if err := stop(); err != nil || len(f.mails()) != 1 {
				t.Errorf("%s: %v, %d mails", name, err, len(f.mails()))
			}
			q.is(id, "sent")
		})
	}
}

func TestStopSendsWhatIsQueuedAndDue(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{answer: func(context.Context, message) *failure {
			time.Sleep(100 * time.Millisecond)
			return nil
		}}
		o := f.outbox(q)
		stop := running(o)
		synctest.Wait()
		for n := range 100 {
			q.ask(fmt.Sprintf("u%d@example.com", n))
		}
		later := q.ask("later@example.com", func(_ *storage.Attempt, m *storage.Mail) { m.NextAt = m.NextAt.Add(time.Minute) })
		began := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > drainFor {
			t.Errorf("stopping took %s", took)
		}
		if n := q.count(storage.MailSent); n != 100 || len(f.mails()) != 100 || f.most > 4 {
			t.Errorf("%d recorded, %d sent, %d at once", n, len(f.mails()), f.most)
		}
		q.is(later, "queued")
		if len(f.lines) > 0 {
			t.Errorf("%d connections are open", len(f.lines))
		}
	})
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{answer: func(ctx context.Context, _ message) *failure {
			<-ctx.Done() // a stalled server
			return failed(ctx, stageRcpt, ctx.Err())
		}}
		stop := running(f.outbox(q))
		var ids []string
		for n := range 30 {
			ids = append(ids, q.ask(fmt.Sprintf("u%d@example.com", n)))
		}
		time.Sleep(2 * pollEvery)
		began := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != drainFor {
			t.Errorf("stopping took %s", took)
		}
		f.answers(nil)
		stop = running(f.outbox(q)) // the next start needs not wait for leases
		time.Sleep(pollEvery)
		synctest.Wait()
		for _, id := range ids {
			q.is(id, "sent")
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestStopWhileTheDatabaseIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		q.failing(func(string) error { return errors.New("the database is away") }, nil)
		stop := running((&office{}).outbox(q))
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err) // nothing was sent, so nothing is lost
		}
	})
}

func TestStalledMailIsGivenItsTimeAndNoMore(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		var took []time.Duration
		f := &office{answer: func(ctx context.Context, _ message) *failure {
			began := time.Now()
			<-ctx.Done()
			took = append(took, time.Since(began))
			return failed(ctx, stageDot, ctx.Err())
		}}
		stop := running(f.outbox(q, func(c *OutboxConfig) { c.Workers = 1 }))
		id := q.ask("ada@example.com", func(a *storage.Attempt, m *storage.Mail) {
			a.ExpiresAt = a.CreatedAt.Add(2 * time.Minute)
			m.NotAfter = a.ExpiresAt
		})
		time.Sleep(time.Hour)
		if err := stop(); err != nil {
			t.Error(err)
		}
		q.is(id, "expired dot")
		if len(took) != 2 || took[0] != messageTimeout || took[1] > 2*time.Minute-messageTimeout {
			t.Errorf("%v", took)
		}
	})
}

func TestMailWithoutAnAnswerIsNotSentForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{answer: func(context.Context, message) *failure { return &failure{stage: stageDot, err: io.ErrUnexpectedEOF} }}
		stop := running(f.outbox(q))
		id := q.ask("ada@example.com")
		time.Sleep(time.Hour)
		if err := stop(); err != nil || len(f.mails()) != enoughCopies {
			t.Errorf("%v, %d mails", err, len(f.mails()))
		}
		q.is(id, "failed dot")
	})
}

func TestReplicasOfASlowServerNeverSendTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{answer: func(context.Context, message) *failure {
			time.Sleep(45 * time.Second) // two fit in a lease, and four are claimed
			return nil
		}}
		var stops []func() error
		o := [2]*Outbox{}
		for i := range o {
			o[i] = f.outbox(q, func(c *OutboxConfig) { c.Workers = 1 })
		}
		for _, o := range o {
			stops = append(stops, running(o))
		}
		for n := range 20 {
			q.ask(fmt.Sprintf("u%d@example.com", n))
		}
		time.Sleep(14 * time.Minute)
		for _, stop := range stops {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		if n := q.count(storage.MailSent); n != 20 || len(f.mails()) != 20 {
			t.Errorf("%d recorded, %d sent", n, len(f.mails()))
		}
		for to, n := range f.to() {
			if n != 1 {
				t.Errorf("%d mails to %s", n, to)
			}
		}
	})
}

func TestOutcomesShareCommits(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{answer: func(context.Context, message) *failure {
			time.Sleep(30 * time.Millisecond)
			return nil
		}}
		for n := range 100 {
			q.ask(fmt.Sprintf("u%d@example.com", n))
		}
		calls := map[string]int{}
		q.failing(nil, func(call string) error { calls[call]++; return nil })
		if err := running(f.outbox(q))(); err != nil {
			t.Error(err)
		}
		if n := q.count(storage.MailSent); n != 100 || calls["finish"] > 12 || calls["claim"] > 12 {
			t.Errorf("%d mails with %v", n, calls)
		}
	})
}

func TestIdleConnectionIsClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, q *queue) {
		f := &office{}
		o := f.outbox(q)
		stop := running(o)
		open := func() int {
			f.mu.Lock()
			defer f.mu.Unlock()
			return len(f.lines)
		}
		for range 5 { // one after the other: the same connection serves all
			q.ask("ada@example.com")
			o.Wake()
			synctest.Wait()
			if open() != 1 {
				t.Errorf("%d connections", open())
			}
			time.Sleep(idleAfter / 2)
		}
		time.Sleep(idleAfter)
		if open() != 0 {
			t.Errorf("%d connections after idling", open())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestNewOutboxRefuses(t *testing.T) {
	q := openQueue(t)
	for name, change := range map[string]func(*OutboxConfig){
		"no store":     func(c *OutboxConfig) { c.Store = nil },
		"no templates": func(c *OutboxConfig) { c.Templates = nil },
		"no server":    func(c *OutboxConfig) { c.URL = MailServer{} },
		"a bad sender": func(c *OutboxConfig) { c.From = "nobody" },
		"a pattern":    func(c *OutboxConfig) { c.Deny = []string{"example.com"} },
		"two replies":  func(c *OutboxConfig) { c.ReplyTo = "a@example.com, b@example.com" },
		"a named one":  func(c *OutboxConfig) { c.ReplyTo = "Support <a@example.com>" },
		"no RSA key":   func(c *OutboxConfig) { c.DKIM = []DKIMKey{edKey()} },
	} {
		c := testComposer(t, "login@example.com")
		cfg := OutboxConfig{Issuer: issuer, Secret: c.secret, Store: q, Templates: c.templates, URL: mailServer(t, "smtps://h"), From: "login@example.com"}
		change(&cfg)
		if _, err := NewOutbox(cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// arrives waits until the host has taken so many mails.
func arrives(t *testing.T, h *host, n int) []delivered {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); len(h.taken()) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d mails of %d", len(h.taken()), n)
		}
	}
	return h.taken()
}

func TestRetryOverTheWireHasTheSameBytes(t *testing.T) {
	for name, fail := range map[string]func(*session) error{
		"451 after the mail":                    func(*session) error { return reply(451, 4, 7, 1, "greylisted") },
		"421 after the mail":                    func(*session) error { return reply(421, 4, 3, 2, "shutting down") },
		"dropped before the answer to the mail": func(s *session) error { s.conn.Conn().Close(); return nil },
	} {
		h, q := newHost(t), openQueue(t)
		var refused []byte
		h.failing(func(s *session, stage string) error {
			if stage == "dot" && refused == nil {
				refused = s.now.raw
				return fail(s)
			}
			return nil
		})
		o := q.outbox(h.plain(t), func(c *OutboxConfig) { c.DKIM = []DKIMKey{rsaKey(), edKey()} })
		o.delay = func(int, time.Duration) time.Duration { return 0 }
		stop := running(o)
		id := q.ask("ada@example.com")
		o.Wake()
		q.becomes(id, "sent")
		if err := stop(); err != nil {
			t.Error(err)
		}
		last := h.taken()
		if !bytes.Equal(refused, last[len(last)-1].raw) {
			t.Errorf("%s:\n%s\n%s", name, refused, last[len(last)-1].raw)
		}
	}
}

func TestReplicasSendEachMailOnce(t *testing.T) {
	const mails = 200
	files, goroutines := descriptors(t), 0
	goroutines = runtime.NumGoroutine()
	t.Run("", func(t *testing.T) {
		h, q := newHost(t), openQueue(t)
		var ids []string
		for n := range mails {
			ids = append(ids, q.ask(fmt.Sprintf("u%d@example.com", n)))
		}
		first, second := running(q.outbox(h.plain(t))), running(q.outbox(h.plain(t)))
		arrives(t, h, mails)
		if err := errors.Join(first(), second()); err != nil {
			t.Error(err)
		}
		seen := map[string]string{}
		for _, m := range h.taken() {
			id := readMessage(t, m.raw).head.Get("Message-Id")
			if seen[m.to] != "" {
				t.Errorf("%s got %s and %s", m.to, seen[m.to], id)
			}
			seen[m.to] = id
		}
		if len(seen) != mails {
			t.Errorf("%d mails of %d", len(seen), mails)
		}
		for _, id := range ids {
			if state, tries := q.state(id); state != "sent" || tries != 1 {
				t.Errorf("%s after %d tries", state, tries)
			}
		}
		// Eight workers, and a new connection after each 45 mails.
		if n := h.conns.Load(); n > 8+mails/perConnection {
			t.Errorf("%d connections", n)
		}
		q.log()
	})
	settles(t, "descriptors", files, func() int { return descriptors(t) })
	settles(t, "goroutines", goroutines, runtime.NumGoroutine)
}

// BenchmarkOutbox sends what is queued from SQLite to a server on loopback, and
// counts the commits it takes.
func BenchmarkOutbox(b *testing.B) {
	h := newHost(b)
	h.server.Debug = nil
	q := openQueue(b)
	var commits atomic.Int64
	q.failing(nil, func(string) error { commits.Add(1); return nil })
	o := q.outbox(h.plain(b))
	for n := range b.N {
		q.ask(fmt.Sprintf("u%d@example.com", n))
	}
	b.ResetTimer()
	stop := running(o)
	for len(h.taken()) < b.N {
		time.Sleep(time.Millisecond)
	}
	if err := stop(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
	b.ReportMetric(float64(commits.Load())/float64(b.N), "commits/mail")
}
