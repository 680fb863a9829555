package login

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// Store is what login needs from storage. Every method may also fail with the
// engine's own error, on which login refuses with 503.
type Store interface {
	// StartAttempt counts every limit and, when none is full, inserts the
	// attempt and its mail, in one transaction. Live attempts of the same Txn
	// are superseded in it. A full limit is a *storage.LimitError, the one with
	// the longest wait; then nothing is written, nor counted: whoever is refused
	// cannot fill the counters of others.
	StartAttempt(ctx context.Context, a storage.Attempt, m storage.Mail, limits []storage.Limit, now time.Time) error

	// CountLimits counts every limit, in one transaction. When one is full, none
	// is counted: the error is a *storage.LimitError, the one with the longest
	// wait.
	CountLimits(ctx context.Context, limits []storage.Limit, now time.Time) error

	// Attempt finds an attempt by id: storage.ErrNotFound when there is none.
	Attempt(ctx context.Context, id string) (storage.Attempt, error)

	// LatestAttempt finds the newest attempt of a Txn started by browser.
	LatestAttempt(ctx context.Context, txn, browser string) (storage.Attempt, error)

	// ShowCode records that the code is being shown in another browser. It is
	// storage.ErrNotFound unless the attempt is live and not closed. Showing
	// again keeps the first time.
	ShowCode(ctx context.Context, id string, now time.Time) (storage.Attempt, error)

	// CloseAttempt closes the other-browser way for good: no code is shown or
	// taken any more. The link stays good for the browser that asked.
	// Closing twice is no error.
	CloseAttempt(ctx context.Context, id string, now time.Time) error

	// Mute keeps mails from the address of an attempt until then, save those
	// asked for where the address was proven before (storage.Attempt.Known). Any
	// completed login of the address ends it.
	Mute(ctx context.Context, attemptID string, now, until time.Time) error

	// CancelAttempts cancels the live attempts of a Txn started by browser.
	CancelAttempts(ctx context.Context, txn, browser string, now time.Time) error

	// TryCode spends one of the storage.MaxTries tries of a live attempt that
	// browser started. Whether the code is right counts only once the try is
	// spent, so that parallel guesses get no extra try; the last try that is not
	// right burns the attempt. storage.ErrNotFound when the attempt is not live.
	TryCode(ctx context.Context, id, browser string, right bool, now time.Time) (storage.Attempt, error)

	// CompleteAttempt uses the attempt, finds or creates its user, and makes
	// the session, in one transaction. One of any number of callers wins; any
	// other gets storage.ErrNotFound, as for an attempt that is not live.
	// storage.ErrRefused: the user is disabled or unknown and Signup is not
	// set; then nothing is written.
	CompleteAttempt(ctx context.Context, c storage.Completion, now time.Time) (storage.Login, error)

	// Session finds a live session and its user, who must not be disabled.
	Session(ctx context.Context, id string, now time.Time) (storage.Login, error)

	// TouchSession moves the idle end of a live session.
	TouchSession(ctx context.Context, id string, now, idleAt time.Time) error
}

// MailStore is what the mail workers need from storage.
type MailStore interface {
	// ClaimMail leases up to n messages that are due at now, oldest first,
	// until leaseUntil and counts a try for each. Messages leased by another
	// worker are skipped; those whose NotAfter has come are set to
	// storage.MailExpired and not returned.
	ClaimMail(ctx context.Context, n int, now, leaseUntil time.Time) ([]storage.QueuedMail, error)

	// FinishMail records outcomes, all in one commit.
	FinishMail(ctx context.Context, outcomes []storage.MailOutcome, now time.Time) error
}
