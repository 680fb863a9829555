package provider

import "net/http"

// jwks is the key set (RFC 7517 §5): bytes ready, an ETag, and a few minutes
// of cache, well under the time a new key is published before it signs.
func (p *Provider) jwks(w http.ResponseWriter, r *http.Request) {
	body, etag := p.cfg.Keys.JWKS()
	d := p.keySet.Load()
	if d == nil || d.etag != etag {
		d = new(newDocument(body, etag, "application/jwk-set+json"))
		p.keySet.Store(d)
	}
	d.ServeHTTP(w, r)
}
