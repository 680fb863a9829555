package provider

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// clientCacheTTL is how long a client read from the database is believed: a
// change or removal takes effect everywhere within it.
const clientCacheTTL = 5 * time.Second

// maxCachedClients bounds the memory of the cache.
const maxCachedClients = 10_000

// clients finds clients: those of the settings file first, then those of the
// database, which are remembered for clientCacheTTL.
type clients struct {
	fixed map[string]storage.Client
	store Store
	now   func() time.Time

	mu    sync.Mutex
	known map[string]cachedClient
}

type cachedClient struct {
	client storage.Client
	until  time.Time
}

func newClients(fixed []storage.Client, store Store, now func() time.Time) *clients {
	c := &clients{fixed: make(map[string]storage.Client, len(fixed)), store: store, now: now, known: map[string]cachedClient{}}
	for _, client := range fixed {
		c.fixed[client.ID] = client.WithDefaults()
	}
	return c
}

// get finds a client: storage.ErrNotFound when there is none.
func (c *clients) get(ctx context.Context, id string) (storage.Client, error) {
	if client, ok := c.fixed[id]; ok {
		return client, nil
	}
	// RFC 6749 §A.1: visible characters. Others are no matter for a database.
	if id == "" || len(id) > 255 || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) {
		return storage.Client{}, storage.ErrNotFound
	}
	now := c.now()
	c.mu.Lock()
	hit, ok := c.known[id]
	c.mu.Unlock()
	if ok && now.Before(hit.until) {
		return hit.client, nil
	}
	client, err := c.store.Client(ctx, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if errors.Is(err, storage.ErrNotFound) {
			delete(c.known, id)
		}
		return storage.Client{}, err
	}
	if len(c.known) >= maxCachedClients {
		clear(c.known)
	}
	client = client.WithDefaults()
	c.known[id] = cachedClient{client: client, until: now.Add(clientCacheTTL)}
	return client, nil
}
