// Package storagetest is the contract of a storage engine, as tests. Both
// engines run the same suite against a real database.
//
// Every single-use row is raced by 32 goroutines over two handles, as by two
// replicas. Every expiry is tried at its exact moment, at which it has come,
// and one microsecond before it. No test sleeps or reads a clock: all times
// are arguments.
package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// Store is everything an engine offers. The consumers' interfaces hold the
// contract: Store and MailStore of login, Store of provider and of keys, and
// store of cmd/sealpost. Only what they leave open is said here.
type Store interface {
	// StartAttempt is storage.ErrConflict when there is an attempt of this id.
	StartAttempt(ctx context.Context, a storage.Attempt, m storage.Mail, limits []storage.Limit, now time.Time) error
	CountLimits(ctx context.Context, limits []storage.Limit, now time.Time) error
	Attempt(ctx context.Context, id string) (storage.Attempt, error)
	// LatestAttempt goes by CreatedAt, and by what was inserted last when that
	// is equal. An empty browser finds the attempts of no browser.
	LatestAttempt(ctx context.Context, txn, browser string) (storage.Attempt, error)
	ShowCode(ctx context.Context, id string, now time.Time) (storage.Attempt, error)
	// CloseAttempt of an unknown attempt is no error.
	CloseAttempt(ctx context.Context, id string, now time.Time) error
	CancelAttempts(ctx context.Context, txn, browser string, now time.Time) error
	// TryCode writes storage.EventLoginBurned when the last try is not right, or
	// right and too late: the attempt is closed.
	TryCode(ctx context.Context, id, browser string, right bool, now time.Time) (storage.Attempt, error)
	// CompleteAttempt ends a Current of another user as EndSession does. ByCode,
	// the last of the storage.MaxTries tries still completes.
	CompleteAttempt(ctx context.Context, c storage.Completion, now time.Time) (storage.Login, error)
	Session(ctx context.Context, id string, now time.Time) (storage.Login, error)
	// TouchSession is storage.ErrNotFound when the session is not live.
	TouchSession(ctx context.Context, id string, now, idleAt time.Time) error

	// ClaimMail goes by NextAt. A message whose attempt is not live any more is
	// set to storage.MailExpired, too: nobody waits for it.
	ClaimMail(ctx context.Context, n int, now, leaseUntil time.Time) ([]storage.QueuedMail, error)
	// FinishMail skips unknown messages. A message that has ended stays as it
	// ended, save that storage.MailSent is the truth whenever it comes.
	FinishMail(ctx context.Context, outcomes []storage.MailOutcome, now time.Time) error

	Client(ctx context.Context, id string) (storage.Client, error)
	// RedeemCode prefers storage.ErrConflict: a replay is one even when the
	// session has ended since. A client that once wanted a notice of the session
	// goes on wanting it.
	RedeemCode(ctx context.Context, g storage.Grant, r storage.Redeeming, now time.Time) (storage.User, error)
	// BurnCode needs no live session.
	BurnCode(ctx context.Context, g storage.Grant, now time.Time) error
	// Refresh is storage.ErrNotFound for a generation that was never given out,
	// and for a used one of a grant that has ended already. No Grace is none. The
	// new IdleAt may be earlier, ExpiresAt never moves back.
	Refresh(ctx context.Context, r storage.Refreshing, now time.Time) (storage.Grant, storage.User, error)
	Grant(ctx context.Context, id string, now time.Time) (storage.Grant, storage.User, error)
	RevokeGrant(ctx context.Context, id, clientID string, now time.Time) error
	Consent(ctx context.Context, userID, clientID string) (storage.Consent, error)
	// SaveConsent keeps each scope once and the latest At.
	SaveConsent(ctx context.Context, c storage.Consent) error
	EndSession(ctx context.Context, id string, now time.Time) ([]string, error)

	// ClaimNotices goes by NextAt.
	ClaimNotices(ctx context.Context, n int, now, leaseUntil time.Time) ([]storage.LogoutNotice, error)
	FinishNotices(ctx context.Context, outcomes []storage.NoticeOutcome, now time.Time) error

	// Use of one value twice in a call is as if it came in two.
	Use(ctx context.Context, uses []storage.Use, now time.Time) error
	Used(ctx context.Context, key string, now time.Time) (bool, error)

	AddDevice(ctx context.Context, d storage.Device) error
	Device(ctx context.Context, userCode string, now time.Time) (storage.Device, error)
	AllowDevice(ctx context.Context, userCode string, login storage.Login, now time.Time) error
	DenyDevice(ctx context.Context, userCode string, now time.Time) error
	// PollDevice sets PollAt to Interval after now, the longer one after a poll
	// that was too early.
	PollDevice(ctx context.Context, id, clientID string, now time.Time) (storage.Device, error)
	// RedeemDevice is storage.ErrNotFound, too, when the grant is for another
	// client, user or session than the request.
	RedeemDevice(ctx context.Context, id string, g storage.Grant, notify bool, now time.Time) (storage.User, error)

	SigningKeys(ctx context.Context) ([]storage.SigningKey, error)
	AddSigningKey(ctx context.Context, k storage.SigningKey) error
	keyRotation

	// Migrate may run in any number of processes at once, and beside those that
	// serve. On a schema newer than this program's it does nothing.
	Migrate(ctx context.Context) error
	// SchemaVersion changes nothing. A database without a schema is at 0.
	SchemaVersion(ctx context.Context) (at, newest int64, err error)
	Ping(ctx context.Context) error
	// Sweep removes up to limit rows of each kind and returns how many it
	// removed, 0 when there is nothing left to remove at now:
	//
	//   - attempts with their mail, a day after ExpiresAt: until then a link's
	//     page can tell what became of it;
	//   - sessions with the clients they signed in to, a day after they have
	//     ended or run out; offline grants stand without them;
	//   - grants at ExpiresAt, revoked or not: until then a replayed code or
	//     token must be known;
	//   - counters at the end of their window;
	//   - uses at EndsAt;
	//   - device requests, a day after ExpiresAt: until then a device is told
	//     that it is too late;
	//   - notices, a day after they were delivered, dropped or given up; queued
	//     ones stay;
	//   - mutes at their end;
	//   - bounces, 90 days after the last one.
	//
	// What goes with something else is not counted. Users, clients, consents and
	// keys stay.
	Sweep(ctx context.Context, now time.Time, limit int) (int, error)

	// Backlog tells what waits to be sent.
	Backlog(ctx context.Context) (storage.Backlog, error)
	// Connections tells of the connections to the database; none is in use
	// between calls.
	Connections() storage.Connections

	// Clients are in the order of their ids' bytes.
	Clients(ctx context.Context) ([]storage.Client, error)
	AddClient(ctx context.Context, c storage.Client) error
	// SaveClient is storage.ErrNotFound when there is none, and keeps CreatedAt.
	SaveClient(ctx context.Context, c, seen storage.Client) error
	// RemoveClient removes the grants, consents, device requests and queued
	// notices of the client, too, and that sessions signed in to it: whoever takes
	// the id next does not get them.
	RemoveClient(ctx context.Context, id string, now time.Time) error

	// DisableUser disables a user, ends their sessions as EndSession does and
	// revokes their grants, Offline ones included, in one transaction. Disabling
	// again keeps the first time. storage.ErrNotFound when there is no such user.
	DisableUser(ctx context.Context, id string, now time.Time) error
	// EnableUser brings back neither sessions nor grants.
	EnableUser(ctx context.Context, id string, now time.Time) error
	AddUser(ctx context.Context, u storage.User) error
	User(ctx context.Context, key string) (storage.User, error)
	Users(ctx context.Context) ([]storage.User, error)
	// UsersByID leaves out who is not there.
	UsersByID(ctx context.Context, ids []string) ([]storage.User, error)
	// SetGroups moves UpdatedAt when the groups are others.
	SetGroups(ctx context.Context, id string, groups []string, now time.Time) error

	// What the account page asks for is said in login.AccountStore. Times decide
	// in the queries; a session that is not live is not the user's.
	SessionsOf(ctx context.Context, userID string, now time.Time) ([]storage.Session, error)
	// Sessions goes by id, in the engine's order, which After continues.
	Sessions(ctx context.Context, f storage.SessionFilter, now time.Time) ([]storage.Login, error)
	// ClientsOf is in the order of the ids' bytes.
	ClientsOf(ctx context.Context, sessionID string) ([]string, error)
	EndSessionOf(ctx context.Context, userID, id string, now time.Time) error
	EndOtherSessions(ctx context.Context, userID, keep string, now time.Time) (int, error)
	Apps(ctx context.Context, userID string, now time.Time) ([]storage.App, error)
	// UsersWithApps lists whom Apps has something for, by id as Sessions does.
	UsersWithApps(ctx context.Context, clientID, after string, limit int, now time.Time) ([]storage.User, error)
	RemoveApp(ctx context.Context, userID, clientID string, now time.Time) error
	SetProfile(ctx context.Context, userID, name, locale string, now time.Time) (storage.User, error)
	ChangeAddress(ctx context.Context, c storage.AddressChange, now time.Time) (storage.User, error)
	DeleteUser(ctx context.Context, userID string, now time.Time) error

	// Mute is storage.ErrNotFound when there is no such attempt. It makes a mute
	// no shorter.
	Mute(ctx context.Context, attemptID string, now, until time.Time) error
	// Bounces lists up to limit addresses that were refused at since or later, the
	// last first. A mail that is sent to an address removes its bounce.
	Bounces(ctx context.Context, since time.Time, limit int) ([]storage.Bounce, error)

	// Events are the newest first. What stands in the same transaction is in the
	// order in which it came about. Sweep leaves them alone.
	Events(ctx context.Context, f storage.EventFilter) ([]storage.Event, error)
	SweepEvents(ctx context.Context, before time.Time, limit int) (int, error)

	Close() error
}

// Run proves an engine. create makes an empty database, without a schema, and
// gives what opens it; each call opens another handle, as another replica
// would, which is closed when its test ends. by gives a handle of the same
// database whose events carry actor.
func Run(t *testing.T, create func(t *testing.T) (open func(t *testing.T) Store), by func(s Store, actor string) Store) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"schema", schemaTests},
		{"attempt", attemptTests},
		{"complete", completeTests},
		{"limit", limitTests},
		{"session", sessionTests},
		{"mail", mailTests},
		{"backlog", backlogTests},
		{"code", codeTests},
		{"refresh", refreshTests},
		{"grant", grantTests},
		{"notice", noticeTests},
		{"use", useTests},
		{"device", deviceTests},
		{"consent", consentTests},
		{"client", clientTests},
		{"key", keyTests},
		{"key rotation", keyRotateTests},
		{"user", userTests},
		{"account", accountTests},
		{"event", eventTests},
		{"sweep", sweepTests},
		{"context", contextTests},
		{"model", modelTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					open := create(t)
					d := &db{T: t, by: by, again: func() Store { return open(t) }}
					d.Store = d.again()
					if !test.empty {
						d.must(d.Migrate(t.Context()))
					}
					test.run(d)
				})
			}
		})
	}
}

type test struct {
	name  string
	run   func(d *db)
	empty bool // without a schema
}

// db is a fresh database with its test.
type db struct {
	*testing.T
	Store
	by    func(s Store, actor string) Store
	again func() Store // another handle
	last  atomic.Int64 // number of the last id
}

const (
	racers = 32
	tick   = time.Microsecond // what the database can tell apart
	day    = 24 * time.Hour
)

// t0 is when a test begins. It has microseconds to lose.
var t0 = time.Date(2030, time.March, 4, 5, 6, 7, 891234000, time.UTC)

// odd gives a time that no database keeps as it is: its zone and its
// nanoseconds are lost, which gives kept.
func odd(t time.Time) (given, kept time.Time) {
	return t.Add(789 * time.Nanosecond).In(time.FixedZone("", 5*3600+1800)), t
}

// id makes an identifier.
func (d *db) id(kind string) string { return fmt.Sprintf("%s_%d", kind, d.last.Add(1)) }

func (d *db) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

// want checks the error of a call; nil: it succeeded.
func (d *db) want(what string, err, target error) {
	d.Helper()
	if !errors.Is(err, target) {
		d.Fatalf("%s: got error %v, want %v", what, err, target)
	}
}

// same compares two values, times by their UTC representation.
func same[T any](d *db, what string, got, want T) {
	d.Helper()
	if !reflect.DeepEqual(got, want) {
		d.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// race calls do racers times at once, by turns on two handles, and gives the
// errors by caller.
func (d *db) race(do func(s Store, i int) error) []error {
	var (
		stores = []Store{d.Store, d.again()}
		errs   = make([]error, racers)
		start  = make(chan struct{})
		all    sync.WaitGroup
	)
	for i := range racers {
		all.Go(func() {
			<-start
			errs[i] = do(stores[i%len(stores)], i)
		})
	}
	close(start)
	all.Wait()
	return errs
}

// winner checks that one racer succeeded and that any other got one of losses.
func (d *db) winner(errs []error, losses ...error) int {
	d.Helper()
	won := -1
	for i, err := range errs {
		switch {
		case err == nil && won >= 0:
			d.Fatalf("both %d and %d won", won, i)
		case err == nil:
			won = i
		case !isAny(err, losses):
			d.Fatalf("caller %d: got error %v, want one of %v", i, err, losses)
		}
	}
	if won < 0 {
		d.Fatalf("nobody won: %v", errs)
	}
	return won
}

func isAny(err error, targets []error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// attempt is one that StartAttempt takes, live from t0 for 15 minutes.
func (d *db) attempt(change ...func(*storage.Attempt)) storage.Attempt {
	a := storage.Attempt{
		ID: d.id("attempt"), Txn: d.id("txn"), Browser: "browser", Request: "sealed request", ClientID: "client", ClientName: "Client",
		Key: d.id("key") + "@example.com", Email: d.id("User") + "@Example.com", Locale: "de-AT", Agent: "Firefox on Linux", Network: "192.0.2.0/24",
		CreatedAt: t0, ExpiresAt: t0.Add(15 * time.Minute),
	}
	for _, f := range change {
		f(&a)
	}
	return a
}

// mail is the message of an attempt, due at once.
func (d *db) mail(a storage.Attempt) storage.Mail {
	return storage.Mail{ID: d.id("mail"), AttemptID: a.ID, CreatedAt: a.CreatedAt, NextAt: a.CreatedAt, NotAfter: a.ExpiresAt}
}

// start starts an attempt when it was created.
func (d *db) start(change ...func(*storage.Attempt)) storage.Attempt {
	d.Helper()
	a := d.attempt(change...)
	d.must(d.StartAttempt(d.Context(), a, d.mail(a), nil, a.CreatedAt))
	return a
}

// completion uses an attempt by its link. Its session is live for an hour when
// it is used, for ten hours when it is seen.
func (d *db) completion(a storage.Attempt, now time.Time, change ...func(*storage.Completion)) storage.Completion {
	c := storage.Completion{
		AttemptID: a.ID, UserID: d.id("user"), Signup: true,
		Session: storage.Session{
			ID: d.id("session"), AuthTime: now, CreatedAt: now, SeenAt: now, IdleAt: now.Add(time.Hour), ExpiresAt: now.Add(10 * time.Hour),
			Browser: "Safari on iOS", Network: "2001:db8::/48",
		},
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

// complete uses an attempt.
func (d *db) complete(a storage.Attempt, now time.Time, change ...func(*storage.Completion)) storage.Login {
	d.Helper()
	login, err := d.CompleteAttempt(d.Context(), d.completion(a, now, change...), now)
	d.must(err)
	return login
}

// signIn signs a new user in at t0.
func (d *db) signIn() storage.Login {
	d.Helper()
	return d.complete(d.start(), t0)
}

// signInAs gives a user another session at t0.
func (d *db) signInAs(u storage.User) storage.Login {
	d.Helper()
	return d.complete(d.start(func(a *storage.Attempt) { a.Key = u.Key }), t0)
}

func offline(g *storage.Grant) { g.Offline = true }

// refreshable gives a grant the first refresh token, good for an hour and for
// five when it is used.
func refreshable(g *storage.Grant) {
	g.Refresh, g.RefreshIdleAt, g.RefreshEndsAt = 1, t0.Add(time.Hour), t0.Add(5*time.Hour)
	g.ExpiresAt = t0.Add(6 * time.Hour)
}

// newGrant is one that RedeemCode takes at t0, for ten minutes.
func (d *db) newGrant(l storage.Login, change ...func(*storage.Grant)) storage.Grant {
	g := storage.Grant{
		ID: d.id("grant"), ClientID: "client", UserID: l.User.ID, SessionID: l.Session.ID, Scopes: []string{"openid", "email"},
		AuthTime: l.Session.AuthTime, CreatedAt: t0, ExpiresAt: t0.Add(10 * time.Minute),
		JKT: "key", Resources: []string{"https://api.example.com/"}, Claims: `{"userinfo": {"name": null}}`,
	}
	for _, f := range change {
		f(&g)
	}
	return g
}

// redeem redeems a code at t0.
func (d *db) redeem(l storage.Login, change ...func(*storage.Grant)) storage.Grant {
	d.Helper()
	g := d.newGrant(l, change...)
	_, err := d.RedeemCode(d.Context(), g, storage.Redeeming{}, t0)
	d.must(err)
	return g
}

// wantGrant checks whether a grant is live; target nil: it is.
func (d *db) wantGrant(what, id string, now time.Time, target error) {
	d.Helper()
	_, _, err := d.Grant(d.Context(), id, now)
	d.want("grant: "+what, err, target)
}

// wantSession checks whether a session is live; target nil: it is.
func (d *db) wantSession(what, id string, now time.Time, target error) {
	d.Helper()
	_, err := d.Session(d.Context(), id, now)
	d.want("session: "+what, err, target)
}

// wantState checks what an attempt is good for at now.
func (d *db) wantState(what, id string, now time.Time, state storage.State) storage.Attempt {
	d.Helper()
	a, err := d.Attempt(d.Context(), id)
	d.must(err)
	if got := a.State(now); got != state {
		d.Fatalf("%s: attempt is %s, want %s", what, got, state)
	}
	return a
}
