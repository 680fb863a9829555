package provider

import (
	"context"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// revoke is the revocation endpoint (RFC 7009). Whichever token is revoked,
// the whole grant goes with it: its refresh token and every access token. A
// token that means nothing here is no error (§2.2); another client's is
// refused (§2.1).
func (p *Provider) revoke(ctx context.Context, client storage.Client, token string) error {
	if random, _, ok := p.readRefreshToken(token); ok {
		return p.cfg.Store.RevokeGrant(ctx, keys.Hash(random), client.ID, p.cfg.Now())
	}
	c, err := p.readAccessToken(token)
	if err != nil {
		return nil
	}
	if c.ClientID != client.ID {
		return &Error{Code: invalidGrant, Description: "the token was issued to another client"}
	}
	return p.cfg.Store.RevokeGrant(ctx, c.grantID(), client.ID, p.cfg.Now())
}
