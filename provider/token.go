package provider

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// What a mailed link proves, in the words of OIDC Core §2 and RFC 8176: one
// factor, control of a mailbox. No registered value says so; neither claims
// more.
const (
	acrMail = "urn:sealpost:acr:email"
	amrMail = "email"
)

// tokens is a successful token response (RFC 6749 §5.1, OIDC Core §3.1.3.3).
type tokens = oidc.AccessTokenResponse

// issuance is what tokens are made from.
type issuance struct {
	client       storage.Client
	user         storage.User
	grant        storage.Grant
	nonce        string
	refreshToken string
	now          time.Time
}

// accessClaims are the claims of an access token (RFC 9068 §2.2).
type accessClaims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience string   `json:"aud"`
	ClientID string   `json:"client_id"`
	IssuedAt int64    `json:"iat"`
	Expires  int64    `json:"exp"`
	ID       string   `json:"jti"` // grant id, dot, random
	Scope    string   `json:"scope,omitempty"`
	AuthTime int64    `json:"auth_time"`
	ACR      string   `json:"acr"`
	AMR      []string `json:"amr"`
}

// grantID is the grant that an access token belongs to.
func (c accessClaims) grantID() string {
	id, _, _ := strings.Cut(c.ID, ".")
	return id
}

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
	userClaims
}

// userClaims are the claims about a person that scopes ask for (OIDC Core
// §5.4). The address is verified by nature: a link mailed to it was opened.
type userClaims struct {
	Email             string    `json:"email,omitempty"`
	EmailVerified     bool      `json:"email_verified,omitempty"`
	PreferredUsername string    `json:"preferred_username,omitempty"`
	Name              string    `json:"name,omitempty"`
	Locale            string    `json:"locale,omitempty"`
	UpdatedAt         int64     `json:"updated_at,omitempty"`
	Groups            *[]string `json:"groups,omitempty"` // present, if empty, with scope groups
}

func claimsFor(u storage.User, scopes []string) userClaims {
	var c userClaims
	if hasScope(scopes, "email") {
		c.Email, c.EmailVerified = u.Email, true
	}
	if hasScope(scopes, "profile") {
		c.PreferredUsername, c.Name, c.Locale, c.UpdatedAt = u.Email, u.Name, u.Locale, u.UpdatedAt.Unix()
		if c.Name == "" {
			c.Name, _, _ = strings.Cut(u.Email, "@")
		}
	}
	if hasScope(scopes, "groups") {
		groups := append([]string{}, u.Groups...)
		c.Groups = &groups
	}
	return c
}

func hasScope(scopes []string, scope string) bool { return slices.Contains(scopes, scope) }

// issue signs the tokens: an access token, and with scope openid an ID token.
func (p *Provider) issue(i issuance) (*tokens, error) {
	expires := i.now.Add(p.cfg.AccessTTL)
	access, err := p.cfg.Keys.Sign(accessTokenAlg, keys.TypeAccessToken, accessClaims{
		Issuer: p.cfg.Issuer, Subject: i.user.ID, Audience: p.cfg.Issuer, ClientID: i.client.ID,
		IssuedAt: i.now.Unix(), Expires: expires.Unix(), ID: i.grant.ID + "." + keys.Token(),
		Scope: strings.Join(i.grant.Scopes, " "), AuthTime: i.grant.AuthTime.Unix(), ACR: acrMail, AMR: []string{amrMail},
	})
	if err != nil {
		return nil, &Error{Code: serverError, Description: "the token could not be signed", Err: err}
	}
	t := &tokens{
		AccessToken: access, TokenType: oidc.BearerToken, ExpiresIn: uint64(p.cfg.AccessTTL / time.Second),
		RefreshToken: i.refreshToken, Scope: i.grant.Scopes,
	}
	if !hasScope(i.grant.Scopes, "openid") {
		return t, nil
	}
	claims := idClaims{
		Issuer: p.cfg.Issuer, Subject: i.user.ID, Audience: i.client.ID,
		IssuedAt: i.now.Unix(), Expires: i.now.Add(p.cfg.IDTTL).Unix(), AuthTime: i.grant.AuthTime.Unix(),
		Nonce: i.nonce, ACR: acrMail, AMR: []string{amrMail}, SessionID: keys.SID(i.grant.SessionID), AccessTokenHash: keys.LeftHalf(access),
	}
	if i.client.ClaimsInIDToken() {
		claims.userClaims = claimsFor(i.user, i.grant.Scopes)
	}
	if t.IDToken, err = p.cfg.Keys.Sign(idTokenAlg(i.client), keys.TypeJWT, claims); err != nil {
		return nil, &Error{Code: serverError, Description: "the token could not be signed", Err: err}
	}
	return t, nil
}

// readIDToken proves one of our ID tokens, expired or not, as a hint (OIDC
// Core §3.1.2.1, RP-Initiated Logout §2).
func (p *Provider) readIDToken(token string) (idClaims, error) {
	var c idClaims
	payload, err := p.cfg.Keys.Verify(token, keys.TypeJWT)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(payload, &c); err != nil || c.Issuer != p.cfg.Issuer || c.Subject == "" || c.Audience == "" {
		return idClaims{}, keys.ErrSignature
	}
	return c, nil
}

// readAccessToken proves one of our access tokens. An ID token is none: its
// type differs (RFC 9068 §4).
func (p *Provider) readAccessToken(token string) (accessClaims, error) {
	var c accessClaims
	payload, err := p.cfg.Keys.Verify(token, keys.TypeAccessToken)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(payload, &c); err != nil || c.Issuer != p.cfg.Issuer || c.Audience != p.cfg.Issuer || c.grantID() == "" {
		return accessClaims{}, keys.ErrSignature
	}
	return c, nil
}

// live says whether the access token's time has not passed.
func (c accessClaims) live(now time.Time) bool { return now.Unix() < c.Expires }
