package provider

import (
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/sealpost/sealpost/storage"
)

// tokens is a successful token response (RFC 6749 §5.1, OIDC Core §3.1.3.3).
type tokens = oidc.AccessTokenResponse

// grantType is one way to get tokens at the token endpoint.
type grantType struct {
	name  string // the registered grant_type
	grant func(p *Provider, t tokenRequest) (*tokens, error)
	// ours says, without a look at the database, whether what the client shows can
	// be of our making; nil: it shows nothing.
	ours func(p *Provider, t tokenRequest) error
}

// grantTypes are all of them. A new one is a file of its own and a line here.
var grantTypes = []grantType{authorizationCode, refreshToken, clientCredentials, deviceCode}

// tokenRequest is a token request of a client that has proven itself.
type tokenRequest struct {
	*call
	client storage.Client
	jkt    string // thumbprint of the key of its DPoP proof; "" without one
}

// token is the token endpoint (RFC 6749 §3.2): it finds the grant.
func (p *Provider) token(c *call, client storage.Client) (any, error) {
	name := c.form.Get("grant_type")
	for _, g := range grantTypes {
		if g.name != name {
			continue
		}
		if !client.MayGrant(name) {
			return nil, &Error{Code: unauthorizedClient, Description: "the client is not registered for this grant_type"}
		}
		jkt, err := p.boundKey(c, client)
		if err != nil {
			return nil, err
		}
		t := tokenRequest{call: c, client: client, jkt: jkt}
		if g.ours != nil {
			if err := g.ours(p, t); err != nil { // before anything is written: garbage costs nothing
				return nil, err
			}
		}
		if err := p.spend(c); err != nil {
			return nil, err
		}
		return g.grant(p, t)
	}
	if name == "" {
		return nil, &Error{Code: invalidRequest, Description: "grant_type is missing"}
	}
	return nil, &Error{Code: unsupportedGrantType, Description: "grant_type is not supported"}
}

// boundKey gives the key that tokens are to be bound to (RFC 9449 §5).
func (p *Provider) boundKey(c *call, client storage.Client) (string, error) {
	jkt, err := p.proof(c, "")
	if err == nil && jkt == "" && client.DPoP() {
		err = errProof
	}
	return jkt, err
}

// issuance is what tokens are made from.
type issuance struct {
	client       storage.Client
	user         storage.User  // zero: the client itself
	grant        storage.Grant // zero: none is kept
	scopes       []string      // of these tokens
	resources    []string      // RFC 8707; empty: ours alone
	jkt          string        // key that the access token is bound to
	nonce        string
	refreshToken string
	code         string // that the ID token travels beside
	now          time.Time
}

// issue signs the tokens: an access token, and with scope openid an ID token.
func (p *Provider) issue(i issuance) (*tokens, error) {
	access, err := p.accessToken(i)
	if err != nil {
		return nil, err
	}
	t := &tokens{
		AccessToken: access, TokenType: tokenType(i.jkt), ExpiresIn: uint64(p.cfg.AccessTTL / time.Second),
		RefreshToken: i.refreshToken, Scope: i.scopes,
	}
	if !hasScope(i.scopes, "openid") || i.user.ID == "" {
		return t, nil
	}
	t.IDToken, err = p.idToken(i, access)
	return t, err
}

// tokenType is the scheme that an access token is sent by (RFC 6749 §7.1, RFC
// 9449 §5).
func tokenType(jkt string) string {
	if jkt != "" {
		return "DPoP"
	}
	return oidc.BearerToken
}
