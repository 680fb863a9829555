package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// Times of the outbox.
const (
	pollEvery = time.Second // for what another replica queued, and what is due again
	// A lease outlasts messageTimeout, so that no replica sends what another is
	// still sending. A mail begins only while so much of its lease is left.
	leaseFor     = 2 * time.Minute
	storeTimeout = 10 * time.Second       // one call of the store
	writeEvery   = 100 * time.Millisecond // outcomes, while workers are busy
	idleAfter    = 20 * time.Second       // an unused connection is closed
	drainFor     = 8 * time.Second        // what a stop waits for mail
	firstDelay   = time.Second
	lastDelay    = time.Minute      // between two tries of one mail
	lastPause    = 30 * time.Second // between two tries of a server in trouble
)

// enoughCopies is after how many tries a mail is not sent again for want of an
// answer: each may have arrived.
const enoughCopies = 3

// OutboxConfig is what an Outbox is made of.
type OutboxConfig struct {
	Issuer    string // no trailing slash
	Secret    keys.Secret
	Store     MailStore
	Templates *templates.Templates

	URL     MailServer
	From    string    // the sender: Example <login@example.com>
	ReplyTo string    // where answers go, such as support@example.com; empty: to From
	DKIM    []DKIMKey // an RSA key signs, and one of Ed25519 may sign besides it; empty: the server signs
	Workers int       // connections at most; 0: 4

	Signup bool     // addresses that are no user's get mail, too
	Allow  []string // address patterns; empty: everyone
	Deny   []string // stronger than Allow

	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: slog.Default()
	// Observe is told what became of each try, and how long after it was queued;
	// nil: nobody is.
	Observe func(o storage.MailOutcome, after time.Duration)
}

// ErrReplaced is the cause that ends the context of a Run whose place another
// Outbox takes: mails that are not begun are left to that one.
var ErrReplaced = errors.New("replaced by another outbox")

// Outbox sends the mails that are queued in the store. Any number of outboxes
// may share one store.
//
// What it guarantees:
//
//   - A mail that the server is known to have taken is not sent again: while it
//     is being sent its lease keeps every other outbox away, and no mail is
//     begun while the outcomes of earlier ones cannot be written. Only when this
//     process dies, or the server's answer is lost, between the end of the mail
//     and the record of it, is the mail sent again, with the same bytes and
//     Message-ID and a few times at most: an undelivered link locks a person
//     out, a second copy does no harm (RFC 5321 §4.5.3.2.6).
//   - It is tried until the server takes it, refuses it for good, or its link
//     expires, with growing pauses.
//   - What is wrong with the server or with our account there is never held
//     against a mail: the queue pauses, one mail tries the water, and the log
//     says at level Error what an operator must do.
//   - Who may not sign in gets no mail.
//   - Neither addresses nor tokens are logged or stored.
type Outbox struct {
	cfg     OutboxConfig
	compose composer
	wake    chan struct{}
	delayed atomic.Bool

	// For tests.
	dial  func() transport
	delay func(tries int, most time.Duration) time.Duration
}

// NewOutbox checks the configuration and makes an Outbox. Nothing is sent
// before Run.
func NewOutbox(c OutboxConfig) (*Outbox, error) {
	if c.Secret.IsZero() || c.Store == nil || c.Templates == nil {
		return nil, errors.New("outbox: Secret, Store and Templates are required")
	}
	if c.URL.host == "" {
		return nil, errors.New("outbox: URL is required")
	}
	if err := CheckPatterns(append(c.Allow[:len(c.Allow):len(c.Allow)], c.Deny...)); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	from, err := parseSender(c.From)
	if err != nil {
		return nil, fmt.Errorf("outbox: sender %q: %w", c.From, err)
	}
	if from.replyTo, err = replyTo(c.ReplyTo); err != nil {
		return nil, fmt.Errorf("outbox: reply to: %w", err)
	}
	if err := checkDKIM(from, c.URL, c.DKIM); err != nil {
		return nil, fmt.Errorf("outbox: dkim: %w", err)
	}
	if c.Workers <= 0 {
		c.Workers = 4
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Observe == nil {
		c.Observe = func(storage.MailOutcome, time.Duration) {}
	}
	return &Outbox{
		cfg:     c,
		compose: composer{issuer: c.Issuer, secret: c.Secret, templates: c.Templates, from: from, dkim: c.DKIM},
		wake:    make(chan struct{}, 1),
		dial:    func() transport { return c.URL.transport(from.domain, nil) },
		delay:   backoff,
	}, nil
}

// Wake tells that a mail was queued. It never blocks.
func (o *Outbox) Wake() {
	select {
	case o.wake <- struct{}{}:
	default: // it is awake already
	}
}

// Delayed says whether the mail server is in trouble, so that mails wait: any
// mail, to whomever.
func (o *Outbox) Delayed() bool { return o.delayed.Load() }

// backoff is how long to wait after so many tries: twice as long each time, up
// to most, give or take half, so that what failed together doesn't return
// together.
func backoff(tries int, most time.Duration) time.Duration {
	d := most
	if tries < 16 {
		d = min(most, firstDelay<<max(0, tries-1))
	}
	return d/2 + rand.N(d)
}

// Run sends mail until ctx ends. Then it sends what is queued and due, for some
// seconds at most, and returns; the rest stays queued. With the cause ErrReplaced
// it finishes what it has begun. An error says that the
// outcomes of mails could not be written. Run must not be called twice.
func (o *Outbox) Run(ctx context.Context) error {
	work, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	r := &run{
		Outbox: o, done: make(chan result, o.cfg.Workers),
		replaced: func() bool { return errors.Is(context.Cause(ctx), ErrReplaced) },
	}
	var working sync.WaitGroup
	for range o.cfg.Workers {
		w := &worker{mails: make(chan lease, 1), line: o.dial()}
		working.Go(func() { w.run(work, r) })
		r.workers, r.idle = append(r.workers, w), append(r.idle, w)
	}
	err := r.loop(ctx, work, abort)
	for _, w := range r.workers {
		close(w.mails)
	}
	working.Wait()
	return err
}

// lease is a mail that is ours until a time.
type lease struct {
	storage.QueuedMail
	until time.Time
}

// result is what became of a lease.
type result struct {
	worker  *worker // nil: it was not begun
	lease   lease
	outcome storage.MailOutcome
	asked   bool          // the server was asked
	trouble bool          // and is the trouble
	after   time.Duration // which it wants to be left alone for
}

func (r result) queued() bool { return r.outcome.State == storage.MailQueued }

// run is one Run. Its loop is the only one to touch the fields; workers send to
// done.
type run struct {
	*Outbox
	workers  []*worker
	done     chan result
	replaced func() bool // whether the rest is another's

	idle  []*worker // the one used last is last, so that few connections stay warm
	ready []lease   // claimed and not begun
	due   bool      // there may be more to claim

	pending []result         // not written
	linger  <-chan time.Time // until it is time to write them
	overdue bool             // it is
	stuck   bool             // they could not be written: nothing else begins

	troubles int // in a row
	paused   time.Time
}

func (r *run) loop(ctx, work context.Context, abort context.CancelFunc) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	stopping, aborted := ctx.Done(), work.Done()
	r.due = true
	for {
		if r.overdue || r.quiet() {
			r.write(work)
		}
		if !r.stuck {
			r.claim(work)
			r.dispatch(work)
		}
		if r.quiet() && len(r.ready) == 0 {
			switch {
			case len(r.pending) > 0 && !r.stuck: // let go just now
				continue
			case stopping != nil:
			case len(r.pending) == 0 && (!r.due || aborted == nil):
				return nil
			case aborted == nil:
				return fmt.Errorf("outbox: the outcomes of %d mails are not written", len(r.pending))
			}
		}
		select {
		case res := <-r.done:
			r.take(res)
		case <-r.linger:
			r.overdue = true
		case <-r.wake:
			r.due = true
		case <-tick.C:
			r.due, r.overdue = true, true
		case <-stopping:
			stopping, r.due = nil, true
			defer time.AfterFunc(drainFor, abort).Stop()
		case <-aborted:
			aborted = nil
		}
	}
}

// take notes a result. What is the server's trouble stops everything for a
// while; workers that fail meanwhile tell nothing new.
func (r *run) take(res result) {
	r.idle = append(r.idle, res.worker)
	r.note(res)
	now := r.cfg.Now()
	switch {
	case !res.asked:
	case !res.trouble:
		r.troubles = 0
	case !now.Before(r.paused):
		r.troubles++
		// It may mean this one mail, so others don't wait for ever.
		r.paused = now.Add(max(r.delay(r.troubles, lastPause), min(res.after, lastDelay)))
		r.letGo(r.ready, now)
		r.ready = nil
	}
	r.delayed.Store(r.troubles > 0)
}

// letGo gives up leases of mails that were not begun.
func (r *run) letGo(leases []lease, now time.Time) {
	for _, l := range leases {
		r.note(result{lease: l, outcome: storage.MailOutcome{ID: l.Mail.ID, State: storage.MailQueued, NextAt: now, Detail: "not begun"}})
	}
}

// quiet says whether no mail is under way.
func (r *run) quiet() bool { return len(r.idle) == len(r.workers) }

// note has a result written: soon, so that busy workers share a commit, and at
// once when nobody is busy.
func (r *run) note(res result) {
	r.pending = append(r.pending, res)
	if r.linger == nil {
		r.linger = time.After(writeEvery)
	}
}

// write records what is pending. It works on when everything else is told to
// stop: an outcome that is lost is a mail that is sent again.
func (r *run) write(ctx context.Context) {
	r.linger, r.overdue = nil, false
	now := r.cfg.Now()
	// The end of a lease gives the mail back by itself. It may be another's now.
	r.pending = slices.DeleteFunc(r.pending, func(res result) bool {
		return res.queued() && !now.Before(res.lease.until)
	})
	if r.stuck = false; len(r.pending) == 0 {
		return
	}
	outcomes := make([]storage.MailOutcome, len(r.pending))
	for i, res := range r.pending {
		outcomes[i] = res.outcome
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := r.cfg.Store.FinishMail(ctx, outcomes, now); err != nil {
		r.cfg.Log.Error("mail outcomes not written", "mails", len(outcomes), "error", err)
		// It may have been written all the same, and the mail be another's by
		// now: to queue it once more would cut that lease short.
		r.pending = slices.DeleteFunc(r.pending, result.queued)
		r.stuck = true
		return
	}
	r.pending = nil
}

// claim leases mails when there may be some and workers for them. After trouble
// one mail tries the water.
func (r *run) claim(ctx context.Context) {
	now := r.cfg.Now()
	if !r.due || len(r.idle) == 0 || len(r.ready) > 0 {
		return
	}
	r.due = false
	if ctx.Err() != nil || now.Before(r.paused) || r.replaced() {
		return
	}
	n := 4 * len(r.workers)
	if r.troubles > 0 {
		n = 1
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	until := now.Add(leaseFor)
	mails, err := r.cfg.Store.ClaimMail(ctx, n, now, until)
	if err != nil {
		r.cfg.Log.Error("mail not claimed", "error", err)
		return
	}
	for _, m := range mails {
		r.ready = append(r.ready, lease{m, until})
	}
	r.due = len(mails) == n && n > 1
}

// dispatch gives mails to workers. What cannot be finished within its lease
// isn't begun.
func (r *run) dispatch(ctx context.Context) {
	now := r.cfg.Now()
	for len(r.ready) > 0 && len(r.idle) > 0 {
		l := r.ready[0]
		r.ready = r.ready[1:]
		if ctx.Err() != nil || now.Add(messageTimeout).After(l.until) {
			r.letGo([]lease{l}, now)
			continue
		}
		w := r.idle[len(r.idle)-1]
		r.idle = r.idle[:len(r.idle)-1]
		w.mails <- l
	}
}

// worker sends one mail at a time over a connection of its own.
type worker struct {
	mails chan lease
	line  transport
}

func (w *worker) run(ctx context.Context, r *run) {
	defer w.line.close()
	for {
		select {
		case l, ok := <-w.mails:
			if !ok {
				return
			}
			r.done <- r.try(ctx, w, l)
		case <-time.After(idleAfter):
			w.line.close()
		}
	}
}

// try decides about one mail and, if it is to be sent, sends it.
func (r *run) try(ctx context.Context, w *worker, l lease) result {
	started := time.Now()
	res := result{worker: w, lease: l}
	f := r.send(ctx, &res)
	o := res.outcome
	attrs := []slog.Attr{
		slog.String("mail", o.ID), slog.Int("try", l.Mail.Tries), slog.String("outcome", string(o.State)), slog.String("detail", o.Detail),
		slog.Float64("duration_ms", float64(time.Since(started).Microseconds())/1000),
	}
	level := slog.LevelInfo
	if f != nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("cause", f.cause()))
		if f.ofSettings() {
			level = slog.LevelError
			attrs = append(attrs, slog.String("fix", "the mail server turns us away: check mail.url and mail.from with: sealpost mail test --to ADDR"))
		}
	}
	r.cfg.Log.LogAttrs(ctx, level, "mail", attrs...)
	r.cfg.Observe(o, r.cfg.Now().Sub(l.Mail.CreatedAt))
	return res
}

// send fills in the outcome of a result.
func (r *run) send(ctx context.Context, res *result) *failure {
	l, now := res.lease, r.cfg.Now()
	end := func(state storage.MailState, detail string) {
		res.outcome = storage.MailOutcome{ID: l.Mail.ID, State: state, Detail: detail}
	}
	if why := r.cfg.refuses(l.QueuedMail); why != "" {
		end(storage.MailRefused, why)
		return nil
	}
	if state := l.Attempt.State(now); state != storage.StateLive { // the link has ended before its mail
		end(storage.MailExpired, string(state))
		return nil
	}
	m, err := r.compose.compose(l.QueuedMail)
	if err != nil { // ours alone: it would fail again
		end(storage.MailFailed, "compose")
		return &failure{stage: "compose", err: err}
	}
	sending, cancel := context.WithTimeout(ctx, min(messageTimeout, l.Mail.NotAfter.Sub(now)))
	defer cancel()
	f := res.worker.line.deliver(sending, m)
	res.asked = true
	if f == nil {
		end(storage.MailSent, "")
		return nil
	}
	res.trouble = f.ofServer() && sending.Err() == nil
	res.after = f.after
	wait := f.after
	if ctx.Err() == nil { // else the next start begins with it
		wait = max(wait, r.delay(l.Mail.Tries, lastDelay))
	}
	next := r.cfg.Now().Add(wait)
	switch {
	case f.permanent(), f.ambiguous() && l.Mail.Tries >= enoughCopies:
		end(storage.MailFailed, f.detail())
		res.outcome.Bounced = f.ofRecipient()
	case !next.Before(l.Mail.NotAfter):
		end(storage.MailExpired, f.detail())
	default:
		end(storage.MailQueued, f.detail())
		res.outcome.NextAt = next
	}
	return f
}

// refuses says why a mail is not sent: who may not sign in gets none, nor does
// who has muted them. "" when nothing is against it.
// Whoever asked has been told that a mail is on its way, as always.
func (c *OutboxConfig) refuses(q storage.QueuedMail) string {
	switch {
	case !Allowed(q.Attempt.Key, c.Allow, c.Deny):
		return "not allowed"
	case q.User.ID == "" && !c.Signup && q.Attempt.Purpose != storage.PurposeAddress: // whoever asked has an account
		return "not invited"
	case !q.User.DisabledAt.IsZero():
		return "disabled"
	case q.Muted:
		return "muted"
	}
	return ""
}
