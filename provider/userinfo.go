package provider

import (
	"errors"
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

var errToken = &Error{Code: invalidToken, Description: "the access token is invalid, expired or revoked"}

// userinfoAnswer is what userinfo says (OIDC Core §5.3.2). Signed, it says who
// says so and to whom.
type userinfoAnswer struct {
	Issuer   string `json:"iss,omitempty"`
	Audience string `json:"aud,omitempty"`
	Subject  string `json:"sub"`
	userClaims
}

// userinfo is the userinfo endpoint (OIDC Core §5.3). The access token must be
// ours, alive, for us, by the scheme and the key it is bound to, carry scope
// openid, and belong to a grant that still stands.
func (p *Provider) userinfo(c *call) (any, error) {
	token, scheme, err := accessToken(c)
	if err != nil {
		return nil, err
	}
	claims, err := p.readAccessToken(token)
	if err != nil {
		return nil, errToken.because(err)
	}
	if err := p.holds(c, token, scheme, claims); err != nil {
		return nil, err
	}
	grant, user, err := p.standing(c.Context(), claims)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, errToken.because(errors.New("expired, or the grant has ended"))
	}
	if err != nil {
		return nil, err
	}
	if !hasScope(claims.scopes(), "openid") || user.ID == "" {
		return nil, &Error{Code: insufficientScope, Description: "the access token lacks scope openid"}
	}
	client, err := p.clients.get(c.Context(), claims.ClientID)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, errToken.because(errors.New("the client is gone"))
	}
	if err != nil {
		return nil, err
	}
	names := append(readClaimsRequest(grant.Claims).within(client).Userinfo, claimsOfScopes(claims.scopes())...)
	answer := userinfoAnswer{Subject: p.subject(client, user), userClaims: claimsAbout(user, names)}
	if client.UserinfoSigningAlg == "" {
		return answer, nil
	}
	answer.Issuer, answer.Audience = p.cfg.Issuer, client.ID
	signed, err := p.cfg.Keys.Sign(jose.SignatureAlgorithm(client.UserinfoSigningAlg), keys.TypeJWT, answer)
	if err != nil {
		return nil, errSign.because(err)
	}
	return reply{status: http.StatusOK, contentType: "application/jwt", body: signed}, nil
}

// holds says whether an access token came by its scheme, with a proof of its
// key (RFC 9449 §7.1).
func (p *Provider) holds(c *call, token, scheme string, claims accessClaims) error {
	if !slices.Contains(claims.Audience, p.cfg.Issuer) {
		return errToken.because(errors.New("for another audience"))
	}
	if claims.jkt() == "" && scheme == "Bearer" {
		return nil
	}
	if claims.jkt() == "" || scheme != "DPoP" { // RFC 9449 §7.2
		return errToken.because(errors.New("sent by the scheme of another kind of token"))
	}
	jkt, err := p.proof(c, token)
	switch {
	case err != nil:
		return err
	case jkt == "":
		return errProof
	case jkt != claims.jkt():
		return errToken.because(errors.New("bound to another key"))
	}
	return p.spend(c)
}
