package keys

import (
	"context"

	"github.com/sealpost/sealpost/storage"
)

// Store is what the key ring needs from storage.
type Store interface {
	// SigningKeys lists all keys, oldest first.
	SigningKeys(ctx context.Context) ([]storage.SigningKey, error)

	// AddSigningKey inserts a key. storage.ErrConflict when the algorithm has
	// that generation already: another replica was first, and its key counts.
	AddSigningKey(ctx context.Context, k storage.SigningKey) error
}
