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

	// RedeemCode inserts the grant of an authorization code, whose id is the
	// hash of the code. One caller wins. Any other gets storage.ErrConflict,
	// and the grant is revoked by then (RFC 6749 §4.1.2). storage.ErrNotFound
	// when the session is not live or its user is disabled or another.
	RedeemCode(ctx context.Context, g storage.Grant, now time.Time) (storage.User, error)

	// BurnCode inserts the grant revoked, or revokes it: the code was presented
	// with the wrong proof and gets no second guess.
	BurnCode(ctx context.Context, g storage.Grant, now time.Time) error

	// Refresh moves a live grant of the client from one refresh generation to
	// the next and its RefreshIdleAt to idleAt (not past RefreshEndsAt) and
	// ExpiresAt to expiresAt when that is later. storage.ErrConflict when the
	// generation was used before; the grant is revoked by then (RFC 9700
	// §4.14.2). storage.ErrNotFound when it is unknown, another client's,
	// expired, revoked, its user disabled, or, unless Offline, its session not
	// live.
	Refresh(ctx context.Context, id, clientID string, generation int, now, idleAt, expiresAt time.Time) (storage.Grant, storage.User, error)

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

	// EndSession ends a session and revokes its grants, save Offline ones.
	// Ending twice is no error.
	EndSession(ctx context.Context, id string, now time.Time) error
}
