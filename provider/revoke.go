package provider

import (
	"context"
	"errors"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

var errNotYours = &Error{Code: invalidGrant, Description: "the token was issued to another client"}

// revoke is the revocation endpoint (RFC 7009). Whichever token is revoked,
// the whole grant goes with it: its refresh token and every access token. A
// token that means nothing here is no error (§2.2); another client's is
// refused (§2.1).
func (p *Provider) revoke(ctx context.Context, client storage.Client, token string) error {
	now := p.cfg.Now()
	if random, _, ok := p.readRefreshToken(token); ok {
		g, _, err := p.cfg.Store.Grant(ctx, keys.Hash(random), now)
		switch {
		case errors.Is(err, storage.ErrNotFound): // over already
			return nil
		case err != nil:
			return err
		case g.ClientID != client.ID:
			return errNotYours
		}
		return p.cfg.Store.RevokeGrant(ctx, g.ID, client.ID, now)
	}
	c, err := p.readAccessToken(token)
	if err != nil {
		return nil
	}
	if c.ClientID != client.ID {
		return errNotYours
	}
	return p.cfg.Store.RevokeGrant(ctx, c.grantID(), client.ID, now)
}
