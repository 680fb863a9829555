package provider

import (
	"context"
	"errors"

	"github.com/sealpost/sealpost/storage"
)

var errToken = &Error{Code: invalidToken, Description: "the access token is invalid, expired or revoked"}

// userinfoAnswer is what userinfo says (OIDC Core §5.3.2).
type userinfoAnswer struct {
	Subject string `json:"sub"`
	userClaims
}

// userinfo is the userinfo endpoint (OIDC Core §5.3). The access token must be
// ours, alive, carry scope openid, and belong to a grant that still stands.
func (p *Provider) userinfo(ctx context.Context, token string) (*userinfoAnswer, error) {
	c, err := p.readAccessToken(token)
	if err != nil {
		return nil, errToken.because(err)
	}
	now := p.cfg.Now()
	if !c.live(now) {
		return nil, errToken.because(errors.New("expired"))
	}
	_, user, err := p.cfg.Store.Grant(ctx, c.grantID(), now)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, errToken.because(errors.New("the grant has ended"))
	}
	if err != nil {
		return nil, err
	}
	if !hasScope(c.scopes(), "openid") {
		return nil, &Error{Code: insufficientScope, Description: "the access token lacks scope openid"}
	}
	return &userinfoAnswer{Subject: user.ID, userClaims: claimsFor(user, c.scopes())}, nil
}
