package provider

import (
	"encoding/json"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
)

// What a mailed link proves, in the words of OIDC Core §2 and RFC 8176: one
// factor, control of a mailbox. No registered value says so; neither claims
// more.
const (
	acrMail = "urn:sealpost:acr:email"
	amrMail = "email"
)

// idClaims are the claims of an ID token (OIDC Core §2).
type idClaims struct {
	Issuer          string   `json:"iss"`
	Subject         string   `json:"sub"`
	Audience        string   `json:"aud"`
	IssuedAt        int64    `json:"iat"`
	Expires         int64    `json:"exp"`
	AuthTime        int64    `json:"auth_time"`
	Nonce           string   `json:"nonce,omitempty"`
	ACR             string   `json:"acr"`
	AMR             []string `json:"amr"`
	SessionID       string   `json:"sid"`
	AccessTokenHash string   `json:"at_hash,omitempty"`
	CodeHash        string   `json:"c_hash,omitempty"`
	userClaims
}

// idToken makes an ID token. access is the access token it travels beside, ""
// when there is none: then all that was asked for is in it (OIDC Core §5.4).
func (p *Provider) idToken(i issuance, access string) (string, error) {
	alg := jose.SignatureAlgorithm(i.client.IDTokenSigningAlg)
	claims := idClaims{
		Issuer: p.cfg.Issuer, Subject: p.subject(i.client, i.user), Audience: i.client.ID,
		IssuedAt: i.now.Unix(), Expires: i.now.Add(p.cfg.IDTTL).Unix(), AuthTime: i.grant.AuthTime.Unix(),
		Nonce: i.nonce, ACR: acrMail, AMR: []string{amrMail}, SessionID: p.sid(i.client, i.grant.SessionID),
	}
	if access != "" {
		claims.AccessTokenHash = keys.LeftHalf(alg, access)
	}
	if i.code != "" {
		claims.CodeHash = keys.LeftHalf(alg, i.code)
	}
	wanted := readClaimsRequest(i.grant.Claims).within(i.client).IDToken
	if i.client.ClaimsInIDToken() || access == "" && i.code == "" {
		wanted = append(wanted, claimsOfScopes(i.scopes)...)
	}
	claims.userClaims = claimsAbout(i.user, wanted)
	token, err := p.cfg.Keys.Sign(alg, keys.TypeJWT, claims)
	if err != nil {
		return "", errSign.because(err)
	}
	return token, nil
}

// readIDToken proves one of our ID tokens, expired or not, as a hint (OIDC
// Core §3.1.2.1, RP-Initiated Logout §2).
func (p *Provider) readIDToken(token string) (idClaims, error) {
	var c idClaims
	payload, err := p.cfg.Keys.Verify(token, keys.TypeJWT)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(payload, &c); err != nil || c.Issuer != p.cfg.Issuer || c.Subject == "" || c.Audience == "" || c.AuthTime == 0 {
		return idClaims{}, keys.ErrSignature
	}
	return c, nil
}
