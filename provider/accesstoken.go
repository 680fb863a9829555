package provider

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// accessClaims are the claims of an access token (RFC 9068 §2.2).
type accessClaims struct {
	Issuer       string        `json:"iss"`
	Subject      string        `json:"sub"`
	Audience     audience      `json:"aud"`
	ClientID     string        `json:"client_id"`
	IssuedAt     int64         `json:"iat"`
	Expires      int64         `json:"exp"`
	ID           string        `json:"jti"` // grant id, dot, random; no dot: the client's own, without a grant
	Scope        string        `json:"scope,omitempty"`
	AuthTime     int64         `json:"auth_time,omitempty"`
	ACR          string        `json:"acr,omitempty"`
	AMR          []string      `json:"amr,omitempty"`
	Confirmation *confirmation `json:"cnf,omitempty"`
}

// confirmation is the key that a token is bound to (RFC 9449 §6.1).
type confirmation struct {
	JKT string `json:"jkt"`
}

// audience is one string, or a list of them (RFC 7519 §4.1.3).
type audience []string

// MarshalJSON writes a list of one as a string.
func (a audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// UnmarshalJSON reads either form.
func (a *audience) UnmarshalJSON(b []byte) (err error) {
	*a, err = audienceOf(b, true)
	return err
}

// grantID is the grant that an access token belongs to, "" for none.
func (c accessClaims) grantID() string {
	id, _, ok := strings.Cut(c.ID, ".")
	if !ok {
		return ""
	}
	return id
}

func (c accessClaims) scopes() []string { return strings.Fields(c.Scope) }

// live says whether the access token's time has not passed.
func (c accessClaims) live(now time.Time) bool { return now.Unix() < c.Expires }

// jkt is the key the token is bound to, "" for none.
func (c accessClaims) jkt() string {
	if c.Confirmation == nil {
		return ""
	}
	return c.Confirmation.JKT
}

const opaquePurpose = "access-token"

// accessToken makes an access token: a signed JWT, or, for clients that want
// it, the same claims sealed.
func (p *Provider) accessToken(i issuance) (string, error) {
	claims := accessClaims{
		Issuer: p.cfg.Issuer, Subject: i.client.ID, Audience: p.audience(i), ClientID: i.client.ID,
		IssuedAt: i.now.Unix(), Expires: i.now.Add(p.cfg.AccessTTL).Unix(), ID: keys.Token(), Scope: strings.Join(i.scopes, " "),
	}
	if i.user.ID != "" {
		claims.Subject, claims.ID = p.subject(i.client, i.user), i.grant.ID+"."+claims.ID
		claims.AuthTime, claims.ACR, claims.AMR = i.grant.AuthTime.Unix(), acrMail, []string{amrMail}
	}
	if i.jkt != "" {
		claims.Confirmation = &confirmation{i.jkt}
	}
	if i.client.AccessTokenFormat == "opaque" {
		plain, err := json.Marshal(claims)
		if err != nil {
			return "", errSign.because(err)
		}
		return p.cfg.Secret.Seal(opaquePurpose, plain), nil
	}
	token, err := p.cfg.Keys.Sign(jose.SignatureAlgorithm(i.client.AccessTokenSigningAlg), keys.TypeAccessToken, claims)
	if err != nil {
		return "", errSign.because(err)
	}
	return token, nil
}

var errSign = &Error{Code: serverError, Description: "the token could not be made"}

// audience is the resources named (RFC 8707), and we ourselves: alone when none
// is named, and beside them when userinfo can be asked.
func (p *Provider) audience(i issuance) audience {
	if len(i.resources) > 0 && !hasScope(i.scopes, "openid") {
		return i.resources
	}
	return append(slices.Clone(i.resources), p.cfg.Issuer)
}

// readAccessToken proves one of our access tokens. An ID token is none: its
// type differs (RFC 9068 §4).
func (p *Provider) readAccessToken(token string) (accessClaims, error) {
	var c accessClaims
	var payload []byte
	var err error
	if strings.Contains(token, ".") {
		payload, err = p.cfg.Keys.Verify(token, keys.TypeAccessToken)
	} else {
		payload, err = p.cfg.Secret.Open(opaquePurpose, token)
	}
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(payload, &c); err != nil || c.Issuer != p.cfg.Issuer || c.ID == "" || c.ClientID == "" || c.grantID() == "" && c.Subject != c.ClientID {
		return accessClaims{}, keys.ErrSignature
	}
	if c.Expires-c.IssuedAt > int64(p.cfg.AccessTTL/time.Second) { // longer than any of ours lives
		return accessClaims{}, keys.ErrSignature
	}
	return c, nil
}

// standing finds the grant and the person of an access token, neither for a
// client's own. storage.ErrNotFound: it has expired, was revoked, or what it
// stands on is gone.
func (p *Provider) standing(ctx context.Context, c accessClaims) (storage.Grant, storage.User, error) {
	now := p.cfg.Now()
	if !c.live(now) {
		return storage.Grant{}, storage.User{}, storage.ErrNotFound
	}
	if !p.clients.documents(c.ClientID) { // a document is not fetched for this
		if _, err := p.clients.get(ctx, c.ClientID); err != nil {
			return storage.Grant{}, storage.User{}, err
		}
	}
	if id := c.grantID(); id != "" {
		return p.cfg.Store.Grant(ctx, id, now)
	}
	revoked, err := p.cfg.Store.Used(ctx, revokedKey(c), now)
	if err == nil && revoked {
		err = storage.ErrNotFound
	}
	return storage.Grant{}, storage.User{}, err
}

// end takes an access token back: its grant, or, when it has none, the token.
func (p *Provider) end(ctx context.Context, c accessClaims) error {
	now := p.cfg.Now()
	if id := c.grantID(); id != "" {
		return p.cfg.Store.RevokeGrant(ctx, id, c.ClientID, now)
	}
	err := p.cfg.Store.Use(ctx, []storage.Use{{Key: revokedKey(c), EndsAt: time.Unix(c.Expires, 0)}}, now)
	if errors.Is(err, storage.ErrConflict) { // already
		return nil
	}
	return err
}

func revokedKey(c accessClaims) string { return keys.Hash([]byte("revoked\x00" + c.ID)) }
