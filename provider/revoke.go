package provider

import (
	"errors"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

var errNotYours = &Error{Code: invalidGrant, Description: "the token was issued to another client"}

// revoke is the revocation endpoint (RFC 7009). Whichever token is revoked,
// the whole grant goes with it: its refresh token and every access token. A
// token that means nothing here is no error (§2.2); another client's is
// refused (§2.1).
func (p *Provider) revoke(c *call, client storage.Client) (any, error) {
	if err := p.spend(c); err != nil {
		return nil, err
	}
	if err := c.needs("token"); err != nil {
		return nil, err
	}
	token, now := c.form.Get("token"), p.cfg.Now()
	if random, _, ok := p.readRefreshToken(token); ok {
		g, _, err := p.cfg.Store.Grant(c.Context(), keys.Hash(random), now)
		switch {
		case errors.Is(err, storage.ErrNotFound): // over already
			return nil, nil
		case err != nil:
			return nil, err
		case g.ClientID != client.ID:
			return nil, errNotYours
		}
		return nil, p.cfg.Store.RevokeGrant(c.Context(), g.ID, client.ID, now)
	}
	claims, err := p.readAccessToken(token)
	if err != nil || !claims.live(now) && client.Public() { // a token found in an old log ends nothing
		return nil, nil
	}
	if claims.ClientID != client.ID {
		return nil, errNotYours
	}
	return nil, p.end(c.Context(), claims)
}
