package provider

import (
	"bytes"
	"context"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// party is a relying party that hears of logouts.
type party struct {
	*httptest.Server
	mu       sync.Mutex
	status   int
	heard    []string // logout tokens
	problems []string
	hold     chan struct{} // not nil: every answer waits for one of these
	arrived  chan struct{}
	at, most int // requests at once
}

// newParty starts a relying party that answers 200.
func newParty(t *testing.T) *party {
	t.Helper()
	p := &party{status: http.StatusOK, arrived: make(chan struct{}, 1000)}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	return p
}

// ServeHTTP is the back-channel logout endpoint (OIDC Back-Channel Logout §2.5).
func (p *party) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	form, parseErr := url.ParseQuery(string(body))
	p.mu.Lock()
	p.at++
	p.most = max(p.most, p.at)
	if err != nil || parseErr != nil || r.Method != http.MethodPost || r.URL.Path != "/out" || r.URL.RawQuery != "hidden=query" ||
		r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || len(form) != 1 || len(form["logout_token"]) != 1 {
		p.problems = append(p.problems, r.Method+" "+r.URL.String()+" "+string(body))
	}
	p.heard = append(p.heard, form.Get("logout_token"))
	status, hold := p.status, p.hold
	p.mu.Unlock()
	p.arrived <- struct{}{}
	if hold != nil {
		<-hold
	}
	p.mu.Lock()
	p.at--
	p.mu.Unlock()
	w.Header().Set("Location", p.URL+"/elsewhere")
	w.WriteHeader(status)
}

func (p *party) answers(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = status
}

// tokens are those heard since they were last asked for.
func (p *party) tokens(t *testing.T) []string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.problems) > 0 {
		t.Errorf("OIDC Back-Channel Logout §2.5: heard %q", p.problems)
	}
	heard := p.heard
	p.heard = nil
	return heard
}

// newNoticeWorld has a client for each relying party.
func newNoticeWorld(t *testing.T, parties map[string]*party, change ...func(*Config)) *world {
	t.Helper()
	return newWorld(t, append([]func(*Config){func(c *Config) {
		c.Fetch.RootCAs = x509.NewCertPool()
		c.Fetch.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		for id, p := range parties {
			c.Fetch.RootCAs.AddCert(p.Certificate())
			c.Clients = append(c.Clients, storage.Client{
				ID: id, SecretSHA256: hexSHA256(secretOf(id)), RedirectURIs: []string{"https://" + id + ".example.com/cb"},
				PostLogoutRedirectURIs: []string{"https://" + id + ".example.com/bye"}, BackchannelLogoutURI: p.URL + "/out?hidden=query",
			})
		}
	}}, change...)...)
}

// deliver delivers whatever is due.
func (w *world) deliver() {
	w.Helper()
	w.provider.notices.deliverDue(w.Context())
}

func (n *notices) deliverDue(ctx context.Context) {
	n.round(ctx)
	n.working.Wait()
}

func (n *notices) isBusy(client string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.busy[client]
}

// steady makes the pauses between tries exact.
func (w *world) steady() *notices {
	n := w.provider.notices
	n.delay = func(age time.Duration) time.Duration { return min(max(age, noticeFirst), noticeLast) }
	return n
}

// replica is another instance on the same database.
func (w *world) replica() *Provider {
	w.Helper()
	p, err := New(w.provider.cfg)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// rows are those of a query for one column, beside the engine.
func rows[T any](w *world, query string, args ...any) (list []T) {
	w.Helper()
	db, err := sql.Open("sqlite", w.file)
	if err != nil {
		w.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(query, args...)
	if err != nil {
		w.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			w.Fatal(err)
		}
		list = append(list, v)
	}
	if err := rows.Err(); err != nil {
		w.Fatal(err)
	}
	return list
}

// notice is the state of the notices of a client, and why.
func (w *world) notice(clientID string) []string {
	w.Helper()
	return rows[string](w, `SELECT state || ' ' || detail FROM logout_notices WHERE client_id = ? ORDER BY created_at`, clientID)
}

// due is when the one notice of a client is tried again; now when it has ended.
func (w *world) due(clientID string) time.Time {
	w.Helper()
	for _, at := range rows[int64](w, `SELECT next_at FROM logout_notices WHERE client_id = ? AND state = 'queued'`, clientID) {
		return time.UnixMicro(at)
	}
	return w.clock.Now()
}

func (w *world) hasNotice(clientID string, want ...string) {
	w.Helper()
	if got := w.notice(clientID); !slices.Equal(got, want) {
		w.Errorf("notices of %s: %q, want %q", clientID, got, want)
	}
}

// OIDC Back-Channel Logout §2.4, §2.6 and the module
// oidcc-backchannel-rp-initiated-logout: what a relying party checks.
func TestLogoutToken(t *testing.T) {
	t.Parallel()
	rp := newParty(t)
	w := newNoticeWorld(t, map[string]*party{"rs": rp, "es": rp, "pw": rp}, func(c *Config) {
		c.Clients = slices.DeleteFunc(c.Clients, func(c storage.Client) bool { return c.ID == "es" && c.BackchannelLogoutURI == "" })
		for i := range c.Clients {
			switch c.Clients[i].ID {
			case "es":
				c.Clients[i].IDTokenSigningAlg = "ES256"
			case "pw":
				c.Clients[i].SubjectType = "pairwise"
			}
		}
	})
	for client, alg := range map[string]string{"rs": "RS256", "es": "ES256", "pw": "RS256"} {
		w.run(client, func(t *testing.T) {
			b := w.signedIn("ada@example.com")
			user, g := b.login().User.ID, b.tokens(client)
			uri := "https://" + client + ".example.com/bye"
			b.logout("id_token_hint", g.id, "post_logout_redirect_uri", uri, "state", "s").goes(uri + "?state=s")
			b.authorize(client, "prompt", "none").isError("login_required")
			select {
			case <-w.provider.notices.wake:
			default:
				t.Error("nobody is told that a notice is queued")
			}
			w.deliver()
			heard := rp.tokens(t)
			if len(heard) != 1 {
				t.Fatalf("heard %d tokens", len(heard))
			}
			header, claims := w.proven(heard[0])
			if header.Algorithm != alg || header.ExtraHeaders["typ"] != "logout+jwt" || header.KeyID == "" {
				t.Errorf("§2.4: header %v", header)
			}
			now := float64(w.clock.Now().Unix())
			want := map[string]any{
				"iss": issuer, "aud": client, "iat": now, "exp": now + 120, "sub": g.claims["sub"], "sid": g.claims["sid"],
				"jti": claims["jti"], "events": map[string]any{logoutEvent: map[string]any{}},
			}
			if id, _ := claims["jti"].(string); len(id) < 22 || !equalJSON(claims, want) {
				t.Errorf("§2.4: claims %v, want %v", claims, want)
			}
			if client == "pw" && claims["sub"] == user {
				t.Error("OIDC Core §8.1: the subject is not pairwise")
			}
			w.hasNotice(client, "delivered 200")
			w.userinfo(heard[0]).refusesToken()
			w.clock.pass(48 * time.Hour)
			if w.deliver(); len(rp.tokens(t)) > 0 {
				t.Error("what was delivered is delivered again")
			}
			b.logout("id_token_hint", heard[0]).isPage(400, "error", "invalid_request")
		})
	}
}

func equalJSON(a, b map[string]any) bool {
	return maps.EqualFunc(a, b, func(x, y any) bool {
		if m, ok := x.(map[string]any); ok {
			n, _ := y.(map[string]any)
			return equalJSON(m, n)
		}
		return x == y
	})
}

// OIDC Back-Channel Logout §2.7, §2.8: what answers mean.
func TestNoticeAnswers(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		200: "delivered 200", 204: "delivered 204", 400: "failed 400", 500: "queued 500", 503: "queued 503", 429: "queued 429",
		404: "queued 404", 202: "queued 202", 302: "queued no answer", 401: "queued 401",
	} {
		rp := newParty(t)
		rp.answers(status)
		w := newNoticeWorld(t, map[string]*party{"rp": rp})
		n := w.steady()
		b := w.signedIn("ada@example.com")
		b.tokens("rp")
		b.endSession()
		w.deliver()
		first := rp.tokens(t)
		w.hasNotice("rp", want)
		w.clock.pass(noticeFirst - time.Microsecond)
		if w.deliver(); len(rp.tokens(t)) > 0 {
			t.Errorf("%d: tried again too soon", status)
		}
		w.clock.pass(time.Microsecond)
		rp.answers(200)
		n.deliverDue(t.Context())
		again := rp.tokens(t)
		if queued := strings.HasPrefix(want, "queued"); len(again) > 0 != queued {
			t.Errorf("%d: tried again: %v", status, !queued)
		} else if queued {
			w.hasNotice("rp", "delivered 200")
			_, one := w.proven(first[0])
			_, two := w.proven(again[0])
			if one["jti"] == two["jti"] || one["iat"] == two["iat"] {
				t.Errorf("§2.4: %d: the second try has the jti of the first", status)
			}
		}
	}
}

// A relying party that is away is tried with growing pauses and given up after
// a day, which the log tells without address or person.
func TestNoticesAreGivenUp(t *testing.T) {
	t.Parallel()
	rp := newParty(t)
	rp.answers(503)
	w := newNoticeWorld(t, map[string]*party{"rp": rp})
	n := w.steady()
	var logged bytes.Buffer
	n.log = func() *slog.Logger { return slog.New(slog.NewJSONHandler(&logged, nil)) }
	b := w.signedIn("ada@example.com")
	user := b.login().User.ID
	sid := keys.SID(b.sessionID())
	b.tokens("rp")
	b.endSession()
	var pauses []time.Duration
	began := w.clock.Now()
	for strings.HasPrefix(w.notice("rp")[0], "queued") {
		w.deliver()
		if n := len(rp.tokens(t)); n != 1 {
			t.Fatalf("%d tries", n)
		}
		pause := w.due("rp").Sub(w.clock.Now())
		pauses = append(pauses, pause)
		w.clock.pass(pause)
	}
	if want := []time.Duration{5 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second}; !slices.Equal(pauses[:4], want) || pauses[15] != noticeLast {
		t.Errorf("pauses %v", pauses)
	}
	if took := w.clock.Now().Sub(began); took < noticeEnd-noticeLast || took > noticeEnd {
		t.Errorf("given up after %s", took)
	}
	w.hasNotice("rp", "failed given up: 503")
	log := logged.String()
	if n := strings.Count(log, `"level":"WARN"`); n != 1 || !strings.Contains(log, `"client_id":"rp","outcome":"failed"`) {
		t.Errorf("%d warnings in %s", n, log)
	}
	for _, secret := range []string{"hidden", user, sid, "ada@", "eyJ"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
}

// A replica that dies with a lease is replaced when the lease ends.
func TestNoticesOfADeadReplica(t *testing.T) {
	t.Parallel()
	rp := newParty(t)
	w := newNoticeWorld(t, map[string]*party{"rp": rp})
	b := w.signedIn("ada@example.com")
	b.tokens("rp")
	b.endSession()
	claimed, _, err := w.replica().notices.claim(t.Context()) // and no more of it
	if err != nil || len(claimed) != 1 {
		t.Fatal(claimed, err)
	}
	w.clock.pass(noticeLease - time.Microsecond)
	if w.deliver(); len(rp.tokens(t)) > 0 {
		t.Error("delivered under another's lease")
	}
	w.clock.pass(time.Microsecond)
	if w.deliver(); len(rp.tokens(t)) != 1 {
		t.Error("not delivered after the lease")
	}
	w.hasNotice("rp", "delivered 200")
}

// Of many replicas one delivers a notice.
func TestReplicasDeliverOnce(t *testing.T) {
	t.Parallel()
	parties := map[string]*party{"one": newParty(t), "two": newParty(t)}
	w := newNoticeWorld(t, parties)
	for range 5 {
		b := w.signedIn("ada@example.com")
		b.tokens("one")
		b.tokens("two")
		b.endSession()
	}
	var wg sync.WaitGroup
	for range 4 {
		p := w.replica()
		wg.Go(func() { p.notices.deliverDue(t.Context()) })
	}
	wg.Wait()
	for id, p := range parties {
		if n := len(p.tokens(t)); n != 5 {
			t.Errorf("%s heard %d tokens", id, n)
		}
	}
}

// A client that is gone, or has no URI any more, hears nothing.
func TestNoticesOfClientsThatAreGone(t *testing.T) {
	t.Parallel()
	rp := newParty(t)
	w := newNoticeWorld(t, map[string]*party{"rp": rp})
	ctx := t.Context()
	c := w.storedClient()
	queue := func() {
		t.Helper()
		c.BackchannelLogoutURI = rp.URL + "/out?hidden=query"
		if err := w.engine.SaveClient(ctx, c, c); err != nil {
			t.Fatal(err)
		}
		w.clock.pass(clientCacheTTL)
		b := w.signedIn("ada@example.com")
		code := b.authorize("stored", "redirect_uri", c.RedirectURIs[0]).code()
		r := newRequest("POST", "/token", params("grant_type", "authorization_code", "code", code, "redirect_uri", c.RedirectURIs[0]))
		r.SetBasicAuth("stored", url.QueryEscape(secretOf("stored")))
		w.granted(w.send(r))
		b.endSession()
	}
	queue()
	c.BackchannelLogoutURI = ""
	if err := w.engine.SaveClient(ctx, c, c); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(clientCacheTTL)
	w.deliver()
	w.hasNotice("stored", "dropped no backchannel_logout_uri")
	queue()
	if err := w.engine.RemoveClient(ctx, c.ID, w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(clientCacheTTL)
	w.deliver()
	if states := w.notice("stored"); slices.ContainsFunc(states, func(s string) bool { return !strings.HasPrefix(s, "dropped") }) {
		t.Errorf("notices %q", states)
	}
	if heard := rp.tokens(t); len(heard) > 0 {
		t.Errorf("heard %d tokens", len(heard))
	}
}

// Who is disabled is signed out of every application, from every session.
func TestDisabledUsersAreSignedOutEverywhere(t *testing.T) {
	t.Parallel()
	parties := map[string]*party{"one": newParty(t), "two": newParty(t), "three": newParty(t)}
	w := newNoticeWorld(t, parties)
	var sids []any
	for range 2 {
		b := w.signedIn("ada@example.com")
		for id := range parties {
			b.tokens(id)
		}
		sids = append(sids, keys.SID(b.sessionID()))
	}
	other := w.signedIn("bob@example.com")
	other.tokens("one")
	ada := w.signedIn("ada@example.com")
	if err := w.engine.DisableUser(t.Context(), ada.login().User.ID, w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	w.deliver()
	for id, p := range parties {
		var got []any
		for _, token := range p.tokens(t) {
			_, claims := w.proven(token)
			got = append(got, claims["sid"])
		}
		if len(got) != 2 || !slices.Contains(got, sids[0]) || !slices.Contains(got, sids[1]) {
			t.Errorf("%s heard of %v, want %v", id, got, sids)
		}
	}
}

// One relying party that does not answer holds up no other, and is asked by one
// delivery at a time.
func TestASlowRelyingPartyStopsNoOther(t *testing.T) {
	t.Parallel()
	slow, quick := newParty(t), newParty(t)
	slow.hold = make(chan struct{})
	w := newNoticeWorld(t, map[string]*party{"slow": slow, "quick": quick})
	n := w.provider.notices
	sessions := 3 * noticeWorkers
	for range sessions {
		b := w.signedIn("ada@example.com")
		b.tokens("slow")
		b.tokens("quick")
		b.endSession()
	}
	n.round(t.Context())
	for range sessions {
		<-quick.arrived
	}
	<-slow.arrived
	late := w.signedIn("bob@example.com") // while the first round is still under way
	late.tokens("slow")
	late.tokens("quick")
	late.endSession()
	for n.isBusy("quick") { // its first batch has arrived and is about to end
		runtime.Gosched()
	}
	n.round(t.Context())
	<-quick.arrived
	close(slow.hold)
	n.working.Wait()
	w.clock.pass(noticeLast)
	w.deliver()
	if n := len(slow.tokens(t)); n != sessions+1 || slow.most != 1 {
		t.Errorf("the slow one heard %d tokens, %d at once", n, slow.most)
	}
}

// After a failure the other notices of the client wait without a try.
func TestAFailureHoldsBackTheRestOfTheClient(t *testing.T) {
	t.Parallel()
	rp := newParty(t)
	rp.answers(503)
	w := newNoticeWorld(t, map[string]*party{"rp": rp})
	w.steady()
	for range 5 {
		b := w.signedIn("ada@example.com")
		b.tokens("rp")
		b.endSession()
	}
	w.deliver()
	if n := len(rp.tokens(t)); n != 1 {
		t.Errorf("%d tries", n)
	}
	rp.answers(200)
	w.clock.pass(noticeFirst)
	w.deliver()
	if n := len(rp.tokens(t)); n != 5 {
		t.Errorf("%d tokens", n)
	}
}

// unsteady fails where it is told to.
type unsteady struct {
	Store
	claim, finish error
}

func (s *unsteady) ClaimNotices(ctx context.Context, n int, now, until time.Time) ([]storage.LogoutNotice, error) {
	if s.claim != nil {
		return nil, s.claim
	}
	return s.Store.ClaimNotices(ctx, n, now, until)
}

func (s *unsteady) FinishNotices(ctx context.Context, o []storage.NoticeOutcome, now time.Time) error {
	if s.finish != nil {
		return s.finish
	}
	return s.Store.FinishNotices(ctx, o, now)
}

// An outcome that is not written brings the notice back: better twice than
// never.
func TestNoticesWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	rp := newParty(t)
	store := &unsteady{claim: errBroken}
	w := newNoticeWorld(t, map[string]*party{"rp": rp}, func(c *Config) { store.Store, c.Store = c.Store, store })
	b := w.signedIn("ada@example.com")
	b.tokens("rp")
	b.endSession()
	if w.deliver(); len(rp.tokens(t)) != 0 {
		t.Error("delivered without a claim")
	}
	store.claim, store.finish = nil, errBroken
	w.deliver()
	store.finish = nil
	w.clock.pass(noticeLease)
	w.deliver()
	if n := len(rp.tokens(t)); n != 2 {
		t.Errorf("%d tokens", n)
	}
	w.hasNotice("rp", "delivered 200")
}

// RunNotices is woken by a logout, ends with its context and finishes what it
// began.
func TestRunNotices(t *testing.T) {
	t.Parallel()
	rp := newParty(t)
	rp.hold = make(chan struct{})
	w := newNoticeWorld(t, map[string]*party{"rp": rp})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.provider.RunNotices(ctx) }()
	b := w.signedIn("ada@example.com")
	hint := b.tokens("rp").id
	b.logout("id_token_hint", hint).isPage(200, "logged-out", "")
	<-rp.arrived
	stop()
	close(rp.hold)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.hasNotice("rp", "delivered 200")
}

// Pauses double, and what failed together does not return together.
func TestNoticeDelay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ age, want time.Duration }{
		{0, noticeFirst}, {noticeFirst, noticeFirst}, {time.Minute, time.Minute}, {time.Hour, noticeLast}, {48 * time.Hour, noticeLast}, {-time.Hour, noticeFirst},
	} {
		seen := map[time.Duration]bool{}
		for range 100 {
			d := noticeDelay(tt.age)
			if d < tt.want/2 || d >= tt.want*3/2 {
				t.Fatalf("after %s: %s", tt.age, d)
			}
			seen[d] = true
		}
		if len(seen) < 50 {
			t.Errorf("after %s: %d different pauses of 100", tt.age, len(seen))
		}
	}
}

// However many clients made themselves and do not answer: known ones hear at once.
func TestSlowStrangersStopNobody(t *testing.T) {
	t.Parallel()
	quick, parties := newParty(t), map[string]*party{}
	parties["quick"] = quick
	for i := range 2 * noticeWorkers {
		p := newParty(t)
		p.hold = make(chan struct{})
		parties[fmt.Sprint("slow", i)] = p
	}
	w := newNoticeWorld(t, parties, func(c *Config) {
		for i := range c.Clients {
			if strings.HasPrefix(c.Clients[i].ID, "slow") {
				c.Clients[i].RegistrationTokenSHA256 = hexSHA256("registration")
			}
		}
	})
	n, b := w.provider.notices, w.signedIn("eve@example.com")
	for id := range parties {
		b.tokens(id)
	}
	b.endSession()
	n.round(t.Context())
	<-quick.arrived
	for id, p := range parties {
		if id != "quick" {
			close(p.hold)
		}
	}
	n.working.Wait()
	for range 2 {
		w.clock.pass(noticeFirst)
		w.deliver()
	}
	for id, p := range parties {
		if got := len(p.tokens(t)); got != 1 {
			t.Errorf("%s heard %d tokens", id, got)
		}
	}
}

// A session that signs in again, and ends, while its first notice is on its way.
func TestNoticeWhileOneIsDelivered(t *testing.T) {
	t.Parallel()
	rp := newParty(t)
	w := newNoticeWorld(t, map[string]*party{"rp": rp})
	b := w.signedIn("ada@example.com")
	b.tokens("rp")
	rp.hold = make(chan struct{})
	if err := w.engine.RemoveApp(t.Context(), b.login().User.ID, "rp", w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	w.provider.notices.round(t.Context())
	<-rp.arrived // it has ended what it had, and its answer is under way
	b.tokens("rp")
	w.clock.pass(time.Second)
	b.endSession()
	close(rp.hold)
	w.provider.notices.working.Wait()
	w.deliver()
	if got := len(rp.tokens(t)); got != 2 {
		t.Errorf("it heard of %d ends, want 2", got)
	}
}
