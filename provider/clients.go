package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// clientCacheTTL is how long a client read from the database is believed: a
// change or removal takes effect everywhere within it.
const clientCacheTTL = 5 * time.Second

// maxCachedClients bounds the memory of the cache.
const maxCachedClients = 10_000

// clients finds clients: those of the settings file first, then those whose id
// is the address of a document, then those of the database. What is not of the
// file is remembered for clientCacheTTL.
type clients struct {
	fixed map[string]storage.Client
	store Store
	now   func() time.Time
	// documents says whether an id is the address of a metadata document, and
	// document reads it.
	documents func(id string) bool
	document  func(ctx context.Context, id string) (storage.Client, error)

	mu      sync.Mutex
	known   map[string]cachedClient
	changes int // how often forget was called
}

type cachedClient struct {
	client storage.Client
	until  time.Time
}

func newClients(fixed []storage.Client, store Store, now func() time.Time) *clients {
	c := &clients{fixed: make(map[string]storage.Client, len(fixed)), store: store, now: now, known: map[string]cachedClient{}}
	c.documents = func(string) bool { return false }
	for _, client := range fixed {
		c.fixed[client.ID] = client.WithDefaults()
	}
	return c
}

// isClientID says whether an id can be one: visible characters (RFC 6749 §A.1).
// Others are no matter for a database.
func isClientID(id string) bool {
	return id != "" && len(id) <= 255 && !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' })
}

// get finds a client: storage.ErrNotFound when there is none.
func (c *clients) get(ctx context.Context, id string) (storage.Client, error) {
	if client, ok := c.fixed[id]; ok {
		return client, nil
	}
	if !isClientID(id) {
		return storage.Client{}, storage.ErrNotFound
	}
	now := c.now()
	c.mu.Lock()
	hit, ok := c.known[id]
	changes := c.changes
	c.mu.Unlock()
	if ok && now.Before(hit.until) {
		return hit.client, nil
	}
	read := c.store.Client
	if c.documents(id) {
		read = c.document
	}
	client, err := read(ctx, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if errors.Is(err, storage.ErrNotFound) {
			delete(c.known, id)
		}
		return storage.Client{}, err
	}
	client = client.WithDefaults()
	if len(c.known) >= maxCachedClients {
		clear(c.known)
	}
	if changes == c.changes { // else what was read may be of before
		c.known[id] = cachedClient{client: client, until: now.Add(clientCacheTTL)}
	}
	return client, nil
}

// met gives a client of a document when it was read lately.
func (c *clients) met(id string) (storage.Client, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hit, ok := c.known[id]
	return hit.client, ok
}

// Describe is what pages tell of the client of an id: storage.ErrNotFound when
// there is none. No document is fetched for it: a client that is one, and was not
// met lately, goes by its host.
func (p *Provider) Describe(ctx context.Context, id string) (templates.Client, error) {
	if _, fixed := p.clients.fixed[id]; !fixed && p.clients.documents(id) {
		c, ok := p.clients.met(id)
		if !ok {
			return templates.Client{Name: documentName(id, "")}, nil
		}
		return display(c, placeOf(c)), nil
	}
	c, err := p.clients.get(ctx, id)
	if err != nil {
		return templates.Client{}, fmt.Errorf("find client: %w", err)
	}
	return display(c, placeOf(c)), nil
}

// Describer gives Describe to whoever has no Provider. Of cfg it takes Issuer,
// Clients, ClientDocuments, Store and Now.
func Describer(cfg Config) func(ctx context.Context, id string) (templates.Client, error) {
	p := &Provider{cfg: cfg, clients: newClients(cfg.Clients, cfg.Store, cfg.Now)}
	if cfg.ClientDocuments {
		p.documentClients()
	}
	return p.Describe
}

// forget makes a change of a client count here at once.
func (c *clients) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	delete(c.known, id)
}
