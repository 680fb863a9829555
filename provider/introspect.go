package provider

import (
	"context"
	"errors"
	"strings"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

func (c accessClaims) scopes() []string { return strings.Fields(c.Scope) }

// introspection is the answer of the introspection endpoint (RFC 7662 §2.2).
// Of a token that is not active it says nothing more.
type introspection struct {
	Active    bool     `json:"active"`
	Scope     string   `json:"scope,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
	Expires   int64    `json:"exp,omitempty"`
	IssuedAt  int64    `json:"iat,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	Audience  string   `json:"aud,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	ID        string   `json:"jti,omitempty"`
	AuthTime  int64    `json:"auth_time,omitempty"`
	ACR       string   `json:"acr,omitempty"`
	AMR       []string `json:"amr,omitempty"`
}

// introspect is the introspection endpoint (RFC 7662). Any confidential client
// may ask about an access token, as a resource server does; about a refresh
// token only the client that holds it.
func (p *Provider) introspect(ctx context.Context, client storage.Client, token string) (*introspection, error) {
	if client.Public() {
		return nil, errClient.because(errors.New("a public client may not introspect"))
	}
	now := p.cfg.Now()
	if random, generation, ok := p.readRefreshToken(token); ok {
		g, user, err := p.cfg.Store.Grant(ctx, keys.Hash(random), now)
		if errors.Is(err, storage.ErrNotFound) {
			return &introspection{}, nil
		}
		if err != nil {
			return nil, err
		}
		if g.ClientID != client.ID || g.Refresh != generation || !g.RefreshIdleAt.After(now) {
			return &introspection{}, nil
		}
		return &introspection{
			Active: true, Scope: strings.Join(g.Scopes, " "), ClientID: g.ClientID, Subject: user.ID, Issuer: p.cfg.Issuer,
			Expires: g.RefreshIdleAt.Unix(), IssuedAt: g.CreatedAt.Unix(), AuthTime: g.AuthTime.Unix(),
		}, nil
	}
	c, err := p.readAccessToken(token)
	if err != nil || !c.live(now) {
		return &introspection{}, nil
	}
	_, _, err = p.cfg.Store.Grant(ctx, c.grantID(), now)
	if errors.Is(err, storage.ErrNotFound) {
		return &introspection{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &introspection{
		Active: true, Scope: c.Scope, ClientID: c.ClientID, TokenType: "Bearer", Expires: c.Expires, IssuedAt: c.IssuedAt,
		Subject: c.Subject, Audience: c.Audience, Issuer: c.Issuer, ID: c.ID, AuthTime: c.AuthTime, ACR: c.ACR, AMR: c.AMR,
	}, nil
}
