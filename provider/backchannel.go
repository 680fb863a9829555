package provider

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// Times of back-channel logout.
const (
	noticeEvery    = 2 * time.Second  // a look for what another replica queued, and what is due again
	noticeTimeout  = 10 * time.Second // of one delivery, and of one call of the store
	noticeLease    = 2 * time.Minute  // a delivery begins only while there is time for it
	noticeFirst    = 5 * time.Second
	noticeLast     = time.Hour      // between two tries of one notice
	noticeEnd      = 24 * time.Hour // after the end of the session it is given up
	logoutTokenTTL = 2 * time.Minute
)

const (
	noticeBatch   = 64
	noticeWorkers = 4  // deliveries at once, each to another client; and as many to clients that nobody but themselves stands for
	noticeClients = 64 // that may have notices which wait here
)

// notices delivers the logout notices that are queued in the store. Any number
// of replicas may share one store.
//
// What it guarantees:
//
//   - A notice is delivered until the relying party takes it or refuses it for
//     good, or a day has passed, with growing pauses. A lease keeps other
//     replicas away meanwhile; only when this process dies, or the answer is
//     lost, does the relying party hear of the same end twice.
//   - One relying party that is slow or away holds up its own notices and no
//     other's: it has one delivery under way at a time, and after a failure the
//     rest of its notices wait, too. Nor do clients hold up others that nobody but
//     themselves stands for, however many of them there are.
//   - Neither addresses nor tokens nor people are logged.
type notices struct {
	*Provider
	wake      chan struct{}
	slots     chan struct{} // one for each delivery under way
	strangers chan struct{} // the same, to clients that made themselves

	mu      sync.Mutex
	busy    map[string]bool // clients that are being notified
	working sync.WaitGroup

	// For tests.
	log   func() *slog.Logger
	delay func(age time.Duration) time.Duration
}

func newNotices(p *Provider) *notices {
	return &notices{
		Provider: p, wake: make(chan struct{}, 1), slots: make(chan struct{}, noticeWorkers), strangers: make(chan struct{}, noticeWorkers),
		busy: map[string]bool{}, log: slog.Default, delay: noticeDelay,
	}
}

// noticeDelay is how long a notice waits that has waited for age: as long once
// more, so that each pause is twice the one before, give or take half, so that
// what failed together doesn't return together.
func noticeDelay(age time.Duration) time.Duration {
	d := min(max(age, noticeFirst), noticeLast)
	return d/2 + rand.N(d)
}

// wakeNotices tells that notices were queued. It never blocks.
func (p *Provider) wakeNotices() {
	select {
	case p.notices.wake <- struct{}{}:
	default: // it is awake already
	}
}

// RunNotices delivers logout notices (OIDC Back-Channel Logout §2.5) until ctx
// ends; then it finishes the deliveries under way, and the rest stay queued.
func (p *Provider) RunNotices(ctx context.Context) error {
	n := p.notices
	defer n.working.Wait()
	tick := time.NewTicker(noticeEvery)
	defer tick.Stop()
	for {
		n.round(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-n.wake:
		case <-tick.C:
		}
	}
}

// round begins to deliver whatever is due.
func (n *notices) round(ctx context.Context) {
	for ctx.Err() == nil && n.room() {
		claimed, until, err := n.claim(ctx)
		if err != nil && ctx.Err() == nil {
			n.failed(ctx, "logout notices not claimed", err)
		}
		if err != nil {
			return
		}
		for client, batch := range byClient(claimed) {
			n.begin(ctx, client, batch, until)
		}
		if len(claimed) < noticeBatch {
			return
		}
	}
}

func (n *notices) claim(ctx context.Context) (claimed []storage.LogoutNotice, until time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, noticeTimeout)
	defer cancel()
	now := n.cfg.Now()
	until = now.Add(noticeLease)
	claimed, err = n.cfg.Store.ClaimNotices(ctx, noticeBatch, now, until)
	return claimed, until, err
}

func (n *notices) room() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.busy) < noticeClients
}

func byClient(list []storage.LogoutNotice) map[string][]storage.LogoutNotice {
	groups := map[string][]storage.LogoutNotice{}
	for _, notice := range list {
		groups[notice.ClientID] = append(groups[notice.ClientID], notice)
	}
	return groups
}

// begin has the notices of one client delivered, one after the other; when an
// earlier batch is not done yet, they wait.
func (n *notices) begin(ctx context.Context, client string, batch []storage.LogoutNotice, until time.Time) {
	n.mu.Lock()
	busy := n.busy[client]
	n.busy[client] = true
	n.mu.Unlock()
	if busy {
		n.finish(ctx, n.later(batch))
		return
	}
	n.working.Go(func() {
		outcomes := n.deliver(ctx, batch, until)
		n.mu.Lock()
		delete(n.busy, client)
		n.mu.Unlock()
		n.finish(ctx, outcomes)
	})
}

// deliver delivers notices of one client. After one that failed the others wait
// without a try of their own; what the lease leaves no time for is left to its
// end.
func (n *notices) deliver(ctx context.Context, batch []storage.LogoutNotice, until time.Time) (outcomes []storage.NoticeOutcome) {
	if n.isStranger(ctx, batch[0].ClientID) {
		select {
		case n.strangers <- struct{}{}:
			defer func() { <-n.strangers }()
		default:
			return n.later(batch)
		}
	} else {
		n.slots <- struct{}{}
		defer func() { <-n.slots }()
	}
	for i, notice := range batch {
		if ctx.Err() != nil || n.cfg.Now().Add(noticeTimeout).After(until) {
			return outcomes
		}
		o, cause := n.send(ctx, notice)
		n.tell(ctx, o, cause)
		outcomes = append(outcomes, o)
		if o.State != storage.NoticeQueued {
			continue
		}
		for _, rest := range batch[i+1:] {
			o := n.again(rest, putOff)
			n.tell(ctx, o, nil)
			outcomes = append(outcomes, o)
		}
		return outcomes
	}
	return outcomes
}

// isStranger says whether nobody but the client stands for it. No document is
// fetched for that.
func (n *notices) isStranger(ctx context.Context, id string) bool {
	if n.clients.documents(id) {
		return true
	}
	c, err := n.clients.get(ctx, id)
	return err == nil && selfMade(c)
}

// later has notices wait that nothing is wrong with.
func (n *notices) later(batch []storage.LogoutNotice) (outcomes []storage.NoticeOutcome) {
	for _, notice := range batch {
		o := outcomeOf(notice, storage.NoticeQueued, putOff)
		o.NextAt = n.cfg.Now().Add(noticeFirst)
		outcomes = append(outcomes, o)
	}
	return outcomes
}

const putOff = "put off" // without a try

// again has a notice tried once more, or gives it up.
func (n *notices) again(notice storage.LogoutNotice, why string) storage.NoticeOutcome {
	now := n.cfg.Now()
	next := now.Add(n.delay(now.Sub(notice.CreatedAt)))
	if next.After(notice.CreatedAt.Add(noticeEnd)) {
		return outcomeOf(notice, storage.NoticeFailed, "given up: "+why)
	}
	o := outcomeOf(notice, storage.NoticeQueued, why)
	o.NextAt = next
	return o
}

func outcomeOf(notice storage.LogoutNotice, s storage.NoticeState, detail string) storage.NoticeOutcome {
	return storage.NoticeOutcome{SessionID: notice.SessionID, ClientID: notice.ClientID, CreatedAt: notice.CreatedAt, State: s, Detail: detail}
}

// send posts the logout token and judges the answer (OIDC Back-Channel Logout
// §2.5, §2.8). What it began it ends, even when ctx does.
func (n *notices) send(ctx context.Context, notice storage.LogoutNotice) (o storage.NoticeOutcome, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noticeTimeout)
	defer cancel()
	c, err := n.clients.get(ctx, notice.ClientID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return outcomeOf(notice, storage.NoticeDropped, "the client is gone"), nil
	case err != nil:
		return n.again(notice, "the client could not be looked up"), err
	case c.BackchannelLogoutURI == "":
		return outcomeOf(notice, storage.NoticeDropped, "no backchannel_logout_uri"), nil
	}
	token, err := n.logoutToken(c, notice)
	if err != nil {
		return n.again(notice, "no logout token could be signed"), err
	}
	status, err := n.fetcherFor(c).post(ctx, c.BackchannelLogoutURI, url.Values{"logout_token": {token}})
	switch {
	case err != nil:
		return n.again(notice, "no answer"), err
	case status == http.StatusOK || status == http.StatusNoContent:
		return outcomeOf(notice, storage.NoticeDelivered, strconv.Itoa(status)), nil
	case status == http.StatusBadRequest: // it would be refused again
		return outcomeOf(notice, storage.NoticeFailed, strconv.Itoa(status)), nil
	}
	return n.again(notice, strconv.Itoa(status)), nil
}

// logoutClaims are the claims of a logout token (OIDC Back-Channel Logout
// §2.4). It never has a nonce, so that no ID token can be taken for one.
type logoutClaims struct {
	Issuer    string              `json:"iss"`
	Subject   string              `json:"sub"`
	Audience  string              `json:"aud"`
	IssuedAt  int64               `json:"iat"`
	Expires   int64               `json:"exp"`
	ID        string              `json:"jti"`
	Events    map[string]struct{} `json:"events"`
	SessionID string              `json:"sid"`
}

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// logoutToken makes a logout token. Every try has a jti of its own (§2.4): the
// relying party may have taken the token of an earlier one whose answer was
// lost, and must not have to refuse this one as a replay (§2.6).
func (p *Provider) logoutToken(c storage.Client, notice storage.LogoutNotice) (string, error) {
	now := p.cfg.Now()
	return p.cfg.Keys.Sign(jose.SignatureAlgorithm(c.IDTokenSigningAlg), keys.TypeLogoutToken, logoutClaims{
		Issuer: p.cfg.Issuer, Subject: p.subject(c, storage.User{ID: notice.UserID}), Audience: c.ID,
		IssuedAt: now.Unix(), Expires: now.Add(logoutTokenTTL).Unix(), ID: keys.ID(),
		Events: map[string]struct{}{logoutEvent: {}}, SessionID: p.sid(c, notice.SessionID),
	})
}

// finish records outcomes. Where that fails, the end of the lease brings the
// notices back.
func (n *notices) finish(ctx context.Context, outcomes []storage.NoticeOutcome) {
	if len(outcomes) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noticeTimeout)
	defer cancel()
	if err := n.cfg.Store.FinishNotices(ctx, outcomes, n.cfg.Now()); err != nil {
		n.failed(ctx, "outcomes of logout notices not written", err)
	}
}

// tell logs an outcome. A cause names the host and no more of an address.
func (n *notices) tell(ctx context.Context, o storage.NoticeOutcome, cause error) {
	level := slog.LevelInfo
	switch {
	case o.State == storage.NoticeFailed:
		level = slog.LevelWarn
	case o.Detail == putOff:
		return
	}
	attrs := []slog.Attr{slog.String("client_id", o.ClientID), slog.String("outcome", string(o.State)), slog.String("detail", o.Detail)}
	if cause != nil {
		attrs = append(attrs, slog.String("cause", cause.Error()))
	}
	n.log().LogAttrs(ctx, level, "back-channel logout", attrs...)
}

func (n *notices) failed(ctx context.Context, what string, err error) {
	n.log().LogAttrs(ctx, slog.LevelError, what, slog.String("error", err.Error()))
}
