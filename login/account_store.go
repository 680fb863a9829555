package login

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// AccountStore is what the account page needs from storage besides Store.
type AccountStore interface {
	// SessionsOf lists the live sessions of a user, the one seen last first.
	SessionsOf(ctx context.Context, userID string, now time.Time) ([]storage.Session, error)

	// EndSessionOf ends a live session of the user as provider.Store.EndSession
	// does; storage.ErrNotFound when the user has no such session.
	EndSessionOf(ctx context.Context, userID, id string, now time.Time) error

	// EndOtherSessions ends every live session of the user but keep, in one
	// transaction, and says how many. With keep empty it ends all.
	EndOtherSessions(ctx context.Context, userID, keep string, now time.Time) (int, error)

	// Apps lists the clients that the user allowed something or that hold a
	// live grant, by id.
	Apps(ctx context.Context, userID string, now time.Time) ([]storage.App, error)

	// RemoveApp takes back what the user allowed a client: the consent goes,
	// every grant is revoked, Offline ones too, and for each live session that
	// signed in to it and wants one a storage.LogoutNotice is queued, in one
	// transaction. The session signs in to it anew, should it come to that. None
	// to take back is no error.
	RemoveApp(ctx context.Context, userID, clientID string, now time.Time) error

	// SetProfile sets what a user says of themselves; UpdatedAt moves when it
	// changed. storage.ErrNotFound when there is no such user.
	SetProfile(ctx context.Context, userID, name, locale string, now time.Time) (storage.User, error)

	// ChangeAddress uses an attempt of storage.PurposeAddress and gives its
	// address to its user, in one transaction. One of any number of callers
	// wins. storage.ErrNotFound when the attempt is not live, or the session is
	// not a live one of the user (not disabled) proven since; storage.ErrConflict
	// when the address is another user's; then nothing is written. CompleteAttempt
	// takes no such attempt.
	ChangeAddress(ctx context.Context, c storage.AddressChange, now time.Time) (storage.User, error)

	// DeleteUser removes a user for good: sessions are ended as by EndSession, with
	// their notices, then the user and all that is kept about them goes, attempts
	// and mail for the address included. Events stay, by the id. storage.ErrNotFound
	// when there is no such user.
	DeleteUser(ctx context.Context, userID string, now time.Time) error

	// Events lists events, the newest first.
	Events(ctx context.Context, f storage.EventFilter) ([]storage.Event, error)
}
