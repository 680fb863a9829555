package provider

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// Store is what the provider needs from storage.
type Store interface {
	// Client finds a registered client: storage.ErrNotFound when there is none.
	Client(ctx context.Context, id string) (storage.Client, error)

	// AddClient inserts a client: storage.ErrConflict when the id is taken.
	AddClient(ctx context.Context, c storage.Client) error
	// SaveClient replaces a client that is still as it was seen, by SecretSHA256
	// and UpdatedAt: storage.ErrNotFound when there is none, storage.ErrConflict
	// when it was changed since.
	SaveClient(ctx context.Context, c, seen storage.Client) error
	// RemoveClient removes a client with its grants and consents:
	// storage.ErrNotFound when there is none.
	RemoveClient(ctx context.Context, id string, now time.Time) error

	// RedeemCode inserts the grant of an authorization code, whose id is the
	// hash of the code, and remembers that the session signed in to the client.
	// One caller wins. Any other gets storage.ErrConflict, and the grant is
	// revoked by then (RFC 6749 §4.1.2). storage.ErrNotFound when the session is
	// not live, its user is disabled or another, or has not allowed the client
	// what the code needs.
	RedeemCode(ctx context.Context, g storage.Grant, r storage.Redeeming, now time.Time) (storage.User, error)

	// BurnCode inserts the grant revoked, or revokes it: the code was presented
	// with the wrong proof and gets no second guess.
	BurnCode(ctx context.Context, g storage.Grant, now time.Time) error

	// Refresh uses a refresh token of a live grant: it moves the grant from the
	// token's generation to the next, or, with Keep, leaves it. Within Grace the
	// generation before the current one is answered like the current one, and
	// nothing moves. storage.ErrConflict when the generation was used before;
	// the grant is revoked by then (RFC 9700 §4.14.2). storage.ErrNotFound when
	// the grant is unknown, another client's or bound to another key, expired,
	// revoked, its user disabled, or, unless Offline, its session not live;
	// nothing changes then.
	Refresh(ctx context.Context, r storage.Refreshing, now time.Time) (storage.Grant, storage.User, error)

	// Grant finds a grant that is not revoked nor expired, with its user, who
	// must not be disabled. A grant that is not Offline needs its session to
	// be live, too.
	Grant(ctx context.Context, id string, now time.Time) (storage.Grant, storage.User, error)

	// RevokeGrant revokes a grant of the client. An unknown one is no error
	// (RFC 7009 §2.2).
	RevokeGrant(ctx context.Context, id, clientID string, now time.Time) error

	// Consent finds what the user allowed the client; storage.ErrNotFound.
	Consent(ctx context.Context, userID, clientID string) (storage.Consent, error)

	// SaveConsent adds scopes to what the user allowed the client.
	SaveConsent(ctx context.Context, c storage.Consent) error

	// EndSession ends a session, revokes its grants, save Offline ones, and
	// queues a storage.LogoutNotice for each client that wants one, in one
	// transaction. It gives the ids of all clients that the session signed in
	// to, sorted. Ending twice is no error, and gives none.
	EndSession(ctx context.Context, id string, now time.Time) ([]string, error)

	// ClaimNotices leases up to n notices that are due at now, oldest first,
	// until leaseUntil and counts a try for each. Notices leased by another
	// worker are skipped.
	ClaimNotices(ctx context.Context, n int, now, leaseUntil time.Time) ([]storage.LogoutNotice, error)

	// FinishNotices records outcomes, all in one commit. Unknown notices are
	// skipped; one that has ended stays as it ended.
	FinishNotices(ctx context.Context, outcomes []storage.NoticeOutcome, now time.Time) error

	// Use marks values as used, all or none, in one commit. storage.ErrConflict
	// when one of them is in use at now, unless its Holder is this one's and
	// not empty: then it stays as it is.
	Use(ctx context.Context, uses []storage.Use, now time.Time) error

	// Used says whether a value is in use at now.
	Used(ctx context.Context, key string, now time.Time) (bool, error)

	// CountLimits counts every limit, in one transaction. When one is full, none
	// is counted: the error is a *storage.LimitError, the one with the longest
	// wait.
	CountLimits(ctx context.Context, limits []storage.Limit, now time.Time) error

	// AddDevice inserts a device authorization request: storage.ErrConflict
	// when its user code is that of another that is still kept.
	AddDevice(ctx context.Context, d storage.Device) error

	// Device finds a device authorization request by user code: neither
	// answered nor expired at now, else storage.ErrNotFound.
	Device(ctx context.Context, userCode string, now time.Time) (storage.Device, error)

	// AllowDevice and DenyDevice answer such a request. One caller wins; any
	// other gets storage.ErrNotFound.
	AllowDevice(ctx context.Context, userCode string, login storage.Login, now time.Time) error
	DenyDevice(ctx context.Context, userCode string, now time.Time) error

	// PollDevice counts a poll of the client and gives the request, expired or
	// not, as it was before with PollAt still the old one: a poll before it was
	// too early, and makes Interval longer by storage.SlowDown (RFC 8628 §3.5).
	// storage.ErrNotFound when it is unknown or another client's.
	PollDevice(ctx context.Context, id, clientID string, now time.Time) (storage.Device, error)

	// RedeemDevice is RedeemCode for an allowed request that is not expired: it
	// is used up as the grant is inserted. One caller wins; any other gets
	// storage.ErrNotFound.
	RedeemDevice(ctx context.Context, id string, g storage.Grant, notify bool, now time.Time) (storage.User, error)
}
