package provider

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// code is what an authorization code seals.
type code struct {
	Random      []byte   `json:"x"` // the grant's id is its hash
	ClientID    string   `json:"c"`
	RedirectURI string   `json:"r"`
	Challenge   string   `json:"cc,omitempty"`
	Scopes      []string `json:"s,omitempty"`
	Nonce       []byte   `json:"n,omitempty"`
	UserID      string   `json:"u"`
	// SessionID never leaves the server otherwise: without the database no
	// code can be made.
	SessionID string `json:"d"`
	AuthTime  int64  `json:"a"` // microseconds
	ExpiresAt int64  `json:"e"` // microseconds
}

const codePurpose = "authorization-code"

// newCode makes an authorization code. It is written nowhere: its redemption
// is what the database remembers.
func (p *Provider) newCode(q request, login storage.Login) (string, error) {
	plain, err := json.Marshal(code{
		Random: keys.Random(32), ClientID: q.ClientID, RedirectURI: q.RedirectURI, Challenge: q.Challenge,
		Scopes: q.Scopes, Nonce: q.Nonce, UserID: login.User.ID, SessionID: login.Session.ID,
		AuthTime: login.Session.AuthTime.UnixMicro(), ExpiresAt: p.cfg.Now().Add(p.cfg.CodeTTL).UnixMicro(),
	})
	if err != nil {
		return "", err
	}
	return p.cfg.Secret.Seal(codePurpose, plain), nil
}

var errCode = &Error{Code: invalidGrant, Description: "the code is invalid, expired, or was used before"}

// redeem is grant_type=authorization_code (RFC 6749 §4.1.3).
func (p *Provider) redeem(ctx context.Context, client storage.Client, form url.Values) (*tokens, error) {
	var c code
	plain, err := p.cfg.Secret.Open(codePurpose, form.Get("code"))
	if err != nil {
		return nil, errCode.because(err)
	}
	if err := json.Unmarshal(plain, &c); err != nil {
		return nil, errCode.because(err)
	}
	if c.ClientID != client.ID {
		return nil, errCode.because(errors.New("another client's code"))
	}
	now := p.cfg.Now()
	g := storage.Grant{
		ID: keys.Hash(c.Random), ClientID: client.ID, UserID: c.UserID, SessionID: c.SessionID, Scopes: c.Scopes,
		AuthTime: time.UnixMicro(c.AuthTime).UTC(), CreatedAt: now, ExpiresAt: now.Add(max(p.cfg.AccessTTL, p.cfg.CodeTTL)),
	}
	// Redeem first, verify second: a stolen code gets one guess (RFC 6749 §10.5).
	if form.Get("redirect_uri") != c.RedirectURI || !verifyPKCE(c.Challenge, form.Get("code_verifier")) {
		if err := p.cfg.Store.BurnCode(ctx, g, now); err != nil {
			return nil, err
		}
		return nil, errCode.because(errors.New("redirect_uri or code_verifier does not match"))
	}
	if !now.Before(time.UnixMicro(c.ExpiresAt)) {
		// A replay after its minute still revokes what the code had given.
		if err := p.cfg.Store.BurnCode(ctx, g, now); err != nil {
			return nil, err
		}
		return nil, errCode.because(errors.New("expired"))
	}
	refresh := hasScope(c.Scopes, "offline_access") && client.MayGrant("refresh_token")
	if refresh {
		g.Refresh, g.Offline = 1, true
		g.RefreshIdleAt, g.RefreshEndsAt = now.Add(min(p.cfg.RefreshIdle, p.cfg.RefreshTTL)), now.Add(p.cfg.RefreshTTL)
		g.ExpiresAt = g.RefreshIdleAt.Add(p.cfg.AccessTTL)
	}
	user, err := p.cfg.Store.RedeemCode(ctx, g, now)
	switch {
	case errors.Is(err, storage.ErrConflict):
		return nil, errCode.because(errors.New("used before; what it gave is revoked"))
	case errors.Is(err, storage.ErrNotFound):
		return nil, errCode.because(errors.New("the session has ended"))
	case err != nil:
		return nil, err
	case !p.mayUse(client, user):
		return nil, errCode.because(errors.New("this person may no longer use this application"))
	}
	issue := issuance{client: client, user: user, grant: g, nonce: string(c.Nonce), now: now}
	if refresh {
		issue.refreshToken = p.newRefreshToken(c.Random, g.Refresh)
	}
	return p.issue(issue)
}
