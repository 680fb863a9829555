package provider

import (
	"errors"
	"strings"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

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
	Audience  audience `json:"aud,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	ID        string   `json:"jti,omitempty"`
	AuthTime  int64    `json:"auth_time,omitempty"`
	ACR       string   `json:"acr,omitempty"`
	AMR       []string `json:"amr,omitempty"`

	Confirmation *confirmation `json:"cnf,omitempty"` // RFC 9449 §6.2
}

// introspect is the introspection endpoint (RFC 7662). Any confidential client of
// the operator's may ask about an access token, as a resource server does; one
// that registered itself about its own; about a refresh
// token only the client that holds it.
func (p *Provider) introspect(c *call, client storage.Client) (any, error) {
	if client.Public() {
		return nil, errClient.because(errors.New("a public client may not introspect"))
	}
	if err := p.spend(c); err != nil {
		return nil, err
	}
	if err := c.needs("token"); err != nil {
		return nil, err
	}
	token, now := c.form.Get("token"), p.cfg.Now()
	if random, generation, ok := p.readRefreshToken(token); ok {
		g, user, err := p.cfg.Store.Grant(c.Context(), keys.Hash(random), now)
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
			Active: true, Scope: strings.Join(g.Scopes, " "), ClientID: g.ClientID, Subject: p.subject(client, user), Issuer: p.cfg.Issuer,
			Expires: g.RefreshIdleAt.Unix(), IssuedAt: g.CreatedAt.Unix(), AuthTime: g.AuthTime.Unix(),
		}, nil
	}
	claims, err := p.readAccessToken(token)
	if err != nil {
		return &introspection{}, nil
	}
	if selfMade(client) && claims.ClientID != client.ID { // RFC 7662 §4: a stranger is no resource server of ours
		return &introspection{}, nil
	}
	_, _, err = p.standing(c.Context(), claims)
	if errors.Is(err, storage.ErrNotFound) {
		return &introspection{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &introspection{
		Active: true, Scope: claims.Scope, ClientID: claims.ClientID, TokenType: tokenType(claims.jkt()), Expires: claims.Expires,
		IssuedAt: claims.IssuedAt, Subject: claims.Subject, Audience: claims.Audience, Issuer: claims.Issuer, ID: claims.ID,
		AuthTime: claims.AuthTime, ACR: claims.ACR, AMR: claims.AMR, Confirmation: claims.Confirmation,
	}, nil
}
