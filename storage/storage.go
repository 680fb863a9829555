// Package storage holds the records that Sealpost keeps and the errors its
// engines answer with. The engines are storage/postgres and storage/sqlite;
// storage/storagetest is the contract both prove.
//
// What the engines guarantee:
//
//   - Single use is one conditional statement: of any number of racing callers
//     exactly one wins.
//   - Time is an argument. No query reads the database's clock, and every
//     expiry is decided in the query.
//   - Nothing stored can log anyone in: sessions and grants are kept under the
//     hash of the value the browser or client holds, links and codes are
//     proven by a MAC under a secret the database does not have.
//
// All identifiers are base64url text. Times are kept to the microsecond, in
// UTC; the zero time means "not yet" and is stored as NULL.
package storage

import (
	"errors"
	"fmt"
	"time"
)

// Errors that callers branch on.
var (
	// ErrNotFound means that no row satisfies every condition of the call.
	ErrNotFound = errors.New("not found")
	// ErrConflict means that the row exists already, or that a single-use
	// value was used before.
	ErrConflict = errors.New("already there")
	// ErrRefused means that the person may not sign in: the user is disabled,
	// or does not exist and may not be created.
	ErrRefused = errors.New("refused")
)

// LimitError says that a counter was full and nothing was written: a refusal
// moves no counter.
type LimitError struct {
	Key        string        // the counter that was full
	RetryAfter time.Duration // until its window ends; positive
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("limit reached; retry after %s", e.RetryAfter.Round(time.Second))
}

// User is a person, known by one proven address.
type User struct {
	ID          string   // the OIDC subject: random, stable, never derived from the address
	Key         string   // identity key of the address; unique
	Email       string   // delivery form of the address
	Name        string   // display name, may be empty
	Locale      string   // BCP 47, may be empty
	Groups      []string // sorted
	CreatedAt   time.Time
	UpdatedAt   time.Time // when a claim last changed
	LastLoginAt time.Time
	DisabledAt  time.Time
}

// Session is one browser signed in. It is live while EndedAt is zero and both
// ExpiresAt and IdleAt lie ahead.
type Session struct {
	ID        string // hash of the cookie's random part; the "sid" claim
	UserID    string
	AuthTime  time.Time // when the link was last proven
	CreatedAt time.Time
	SeenAt    time.Time
	ExpiresAt time.Time
	IdleAt    time.Time
	EndedAt   time.Time
	Browser   string // "Firefox on Linux", for people
	Network   string // address prefix, for people
}

// SessionFilter picks live sessions; zero fields pick all.
type SessionFilter struct {
	UserID   string
	ClientID string // that the session signed in to
	After    string // ID beyond this one, in the engine's order
	Limit    int    // at most; 0: 100
}

// Most is how many sessions are wanted at most.
func (f SessionFilter) Most() int {
	if f.Limit <= 0 {
		return 100
	}
	return f.Limit
}

// Login is a live session with its user.
type Login struct {
	Session Session
	User    User
}

// Attempt is one mailed link.
type Attempt struct {
	ID         string // random; in the link beside its MAC, never public
	Txn        string // random; the attempts of one browser for one request share it
	Browser    string // hash of the cookie of the browser that asked; empty: any browser may confirm
	Request    string // sealed authorization request, empty when no relying party waits
	ClientID   string
	ClientName string // as shown to the person
	Key        string // identity key of the address
	Email      string // delivery form as typed; mail for an existing user goes to the user's own
	Locale     string // language of pages and mail
	Agent      string // "Firefox on Linux": the browser that asked
	Network    string // about where from
	Purpose    Purpose
	UserID     string // whose address it is to become; empty unless PurposeAddress
	Known      bool   // asked for where the address was proven before: muting does not apply
	CreatedAt  time.Time
	ExpiresAt  time.Time

	UndeliveredAt time.Time // the mail server refused its mail for good

	UsedAt       time.Time // completed
	SupersededAt time.Time // a newer link of the same Txn was asked for
	ClosedAt     time.Time // "This wasn't me": no code is shown or taken any more
	CancelledAt  time.Time // given up by the browser that asked
	CodeShownAt  time.Time // the code for another browser was shown
	Tries        int       // codes typed so far
	SessionID    string    // what completing it gave
}

// Purpose is what completing an attempt does.
type Purpose string

// Purposes of an attempt.
const (
	PurposeLogin   Purpose = ""        // signs in
	PurposeAccount Purpose = "account" // signs in, and goes on to the account page
	PurposeAddress Purpose = "address" // gives a user who is signed in another address
)

// MaxTries is how many codes may be typed for one attempt; the last wrong one
// burns the attempt, its link included.
const MaxTries = 5

// State says what an attempt is good for.
type State string

// States of an attempt, in the order in which they are decided.
const (
	StateUsed       State = "used"
	StateCancelled  State = "cancelled"  // given up, or burned by wrong codes
	StateSuperseded State = "superseded" // a newer link was sent
	StateExpired    State = "expired"
	StateLive       State = "live"
)

// State of the attempt at now. The engines decide the same in their queries.
func (a Attempt) State(now time.Time) State {
	switch {
	case !a.UsedAt.IsZero():
		return StateUsed
	case !a.CancelledAt.IsZero() || a.Tries >= MaxTries:
		return StateCancelled
	case !a.SupersededAt.IsZero():
		return StateSuperseded
	case !a.ExpiresAt.After(now):
		return StateExpired
	}
	return StateLive
}

// Limit is one counter to be counted: at most Max, one or more, in any window, which starts
// with the first count and lasts Window.
type Limit struct {
	Key    string
	Max    int
	Window time.Duration
}

// Completion asks for an attempt to be used, once, and for a session.
type Completion struct {
	AttemptID string
	// ByCode is set when the proof is the typed code: the attempt must not be
	// closed, its code must have been shown, and a try must have been spent
	// (TryCode). Otherwise the proof is the link and fewer than MaxTries codes
	// may have been typed.
	ByCode bool
	// Session is inserted with the user's id filled in, unless Current is a
	// live session of the same user: that one keeps its id and gets the new
	// AuthTime, SeenAt and IdleAt. A live Current of another user is ended.
	Session Session
	Current string
	// UserID is the id of the user to be created when the address is unknown
	// and Signup is set. Without Signup an unknown address is ErrRefused.
	UserID string
	Signup bool
}

// AddressChange asks for an attempt of PurposeAddress to be used, once, and for
// its address to become that of its user.
type AddressChange struct {
	AttemptID string
	ByCode    bool   // as in Completion
	SessionID string // of the user, live
	// ProvenSince is the earliest AuthTime of the session that will do: the
	// address there is was proven in it, too.
	ProvenSince time.Time
}

// App is a client that a user has to do with: it was allowed something, or
// holds a grant.
type App struct {
	ClientID  string
	Scopes    []string  // of the consent and of the live grants, sorted
	ConsentAt time.Time // zero: it was never asked for
	GrantedAt time.Time // of the newest live grant; zero: there is none
	Offline   bool      // it holds a grant that outlives the session
}

// Bounce is an address that a mail server refused for good, and has not taken
// a mail for since.
type Bounce struct {
	Key    string
	Email  string
	Detail string // reply code and stage
	Count  int
	At     time.Time // the last time
}

// Mail is one queued message. It holds no address and no token: both come from
// the attempt when the message is rendered, with the secret the database does
// not have.
type Mail struct {
	ID        string // random; the Message-ID's left part
	AttemptID string
	CreatedAt time.Time
	NextAt    time.Time // earliest time of the next try
	NotAfter  time.Time // when the link has expired there is nothing left to send
	Tries     int
}

// QueuedMail is a message that ClaimMail has leased, with what it takes to
// render it. User is the zero User when the address is not known yet.
type QueuedMail struct {
	Mail    Mail
	Attempt Attempt
	User    User
	Muted   bool // the address is muted, and the attempt is not of a Known browser
}

// MailState is how a message ended, or that it did not.
type MailState string

// States of a queued message.
const (
	MailQueued  MailState = "queued"  // waiting for NextAt
	MailSent    MailState = "sent"    // accepted by the mail server
	MailRefused MailState = "refused" // access rules: never sent
	MailFailed  MailState = "failed"  // refused by the mail server for good
	MailExpired MailState = "expired" // the link expired first
)

// MailOutcome is what became of one try. With State MailQueued the message is
// tried again at NextAt.
type MailOutcome struct {
	ID     string
	State  MailState
	NextAt time.Time
	Detail string // reply code and stage, never an address
	// Bounced says of MailFailed that it was the recipient that was refused: the
	// address is remembered as a Bounce until a mail to it is sent.
	Bounced bool
}

// Grant is what redeeming one authorization code gave. It is keyed by the
// hash of the code's random part, so a code can be redeemed once.
type Grant struct {
	ID        string
	ClientID  string
	UserID    string
	SessionID string
	Scopes    []string
	AuthTime  time.Time
	CreatedAt time.Time
	// ExpiresAt is when the row may go: after the last token it can be asked about.
	ExpiresAt time.Time
	// Refresh is the generation of the refresh token that is good now;
	// 0: no refresh token was given.
	Refresh       int
	RefreshIdleAt time.Time
	RefreshEndsAt time.Time
	// RefreshedAt is when Refresh last moved; zero before the first refresh.
	RefreshedAt time.Time
	// Offline grants outlive their session (OIDC Core §11).
	Offline   bool
	RevokedAt time.Time

	JKT       string   // thumbprint of the DPoP key the code was bound to (RFC 9449 §10); empty: none
	Resources []string // of the access tokens (RFC 8707); empty: none named
	Claims    string   // the claims parameter as checked, JSON (OIDC Core §5.5); empty: none
}

// Redeeming is one use of an authorization code.
type Redeeming struct {
	// Notify: the client is to have a LogoutNotice when the session ends.
	Notify bool
	// Allowed is what the user must have allowed the client, and not have taken
	// back since the code was given; nil: the client asks nobody.
	Allowed []string
}

// Refreshing is one use of a refresh token.
type Refreshing struct {
	ID, ClientID string
	Generation   int // of the token
	// Keep leaves the generation as it is: the token is not rotated (FAPI 2.0
	// §5.3.2.1).
	Keep bool
	// Grace lets the generation before the current one be used once more while
	// RefreshedAt is later than this: the answer to its use may have been lost.
	Grace time.Time
	// AnyKey is set for clients that authenticate: their tokens are bound to no
	// key. Otherwise JKT must be the grant's (RFC 9449 §5).
	AnyKey bool
	JKT    string
	// IdleAt (not past RefreshEndsAt) and ExpiresAt, when later, are the new
	// ones of the grant.
	IdleAt, ExpiresAt time.Time
}

// Use marks a value as used.
type Use struct {
	Key    string // what is used, hashed; never empty
	Holder string // who uses it and may come again; empty: nobody may
	EndsAt time.Time
}

// Device is one device authorization request (RFC 8628).
type Device struct {
	ID        string // hash of the device code
	UserCode  string // as stored: without separators, upper case; unique among those not expired
	ClientID  string
	Scopes    []string
	Resources []string
	JKT       string
	Agent     string // "curl": what asked
	Network   string // about where from
	CreatedAt time.Time
	ExpiresAt time.Time
	Interval  time.Duration // between polls
	PollAt    time.Time     // earliest time of the next poll

	AllowedAt time.Time
	DeniedAt  time.Time
	UsedAt    time.Time // its tokens were given

	// Of the login that allowed it.
	UserID    string
	SessionID string
	AuthTime  time.Time
}

// SlowDown is added to the interval of a device that polls too early (RFC 8628
// §3.5).
const SlowDown = 5 * time.Second

// LogoutNotice is a back-channel logout that a relying party is to hear of.
// Session and client are its key: a session ends once.
type LogoutNotice struct {
	SessionID string
	ClientID  string
	UserID    string
	CreatedAt time.Time // when the session ended
	NextAt    time.Time // earliest time of the next try
	Tries     int
}

// NoticeState is how a logout notice ended, or that it did not.
type NoticeState string

// States of a logout notice.
const (
	NoticeQueued    NoticeState = "queued"    // waiting for NextAt
	NoticeDelivered NoticeState = "delivered" // the relying party answered 200 or 204
	NoticeDropped   NoticeState = "dropped"   // the client has no back-channel URI any more
	NoticeFailed    NoticeState = "failed"    // given up
)

// NoticeOutcome is what became of one try. With State NoticeQueued it is tried
// again at NextAt.
type NoticeOutcome struct {
	SessionID, ClientID string
	CreatedAt           time.Time // of the notice that was claimed; one queued since, for the same session, stays
	State               NoticeState
	NextAt              time.Time
	Detail              string // for operators: status or kind of failure, no address
}

// AllowedAt marks, among what was allowed, where a client that registered itself
// gets it: no scope has a colon and a blank in it.
const AllowedAt = "at: "

// Consent is what a user allowed a client.
type Consent struct {
	UserID   string
	ClientID string
	Scopes   []string // and resources, and places (AllowedAt)
	At       time.Time
}

// Event is a line of the audit log. The engines write it in the transaction of
// what it tells of.
type Event struct {
	Seq       int64 // grows with each event; gaps are possible
	At        time.Time
	Name      EventName
	Actor     string // who did it, when it was neither the person nor the server by itself: "operator", "client"
	UserID    string // whom it is about; empty: nobody who is known
	ClientID  string
	SessionID string
	Agent     string // "Firefox on Linux", for people
	Network   string // address prefix, for people
	Detail    string // more about it, by name; never an address or a secret
}

// EventName says what happened. The names are a contract with who reads the log.
type EventName string

// EventFilter picks events; zero fields pick all.
type EventFilter struct {
	UserID, ClientID string
	Name             EventName
	Since, Until     time.Time // Since <= At < Until
	Before           int64     // Seq below this one
	Limit            int       // at most; 0: 100
}

// Backlog is what waits to be sent.
type Backlog struct {
	Mails      int       // queued
	OldestMail time.Time // when it was queued; zero: none is
	Notices    int       // back-channel logouts queued
}

// Connections are those of a process to its database.
type Connections struct {
	InUse, Idle, Max int
	Waits            int64         // how often a call waited for one
	Waited           time.Duration // and for how long altogether
}

// SigningKey is one private key, sealed. Algorithm and Generation are unique
// together, so that replicas that start at once agree on one key.
type SigningKey struct {
	ID         string // the JWKS "kid"
	Algorithm  string // "RS256", "PS256", "ES256", "EdDSA"
	Generation int
	Sealed     []byte
	CreatedAt  time.Time
	SignsAt    time.Time // may sign from here on
	RetiredAt  time.Time // signs no more
}
