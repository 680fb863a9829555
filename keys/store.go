package keys

import (
	"context"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// Store is what the key ring needs from storage.
type Store interface {
	// SigningKeys lists all keys, oldest first.
	SigningKeys(ctx context.Context) ([]storage.SigningKey, error)

	// AddSigningKey inserts a key. storage.ErrConflict when the algorithm has
	// that generation already: another replica was first, and its key counts.
	AddSigningKey(ctx context.Context, k storage.SigningKey) error

	// ResealSigningKey replaces the sealed form of a key where it is still old.
	// storage.ErrNotFound when it is not: another replica was first.
	ResealSigningKey(ctx context.Context, id string, old, sealed []byte) error

	// RemoveSigningKeys removes every key for which a newer generation of its
	// algorithm, not retired itself, signs since before or longer. The newest
	// stays, whatever the clock says.
	RemoveSigningKeys(ctx context.Context, before, now time.Time) error
}
