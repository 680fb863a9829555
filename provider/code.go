package provider

import (
	"encoding/json"
	"errors"
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
	JKT         string   `json:"k,omitempty"` // key it is bound to (RFC 9449 §10)
	Scopes      []string `json:"s,omitempty"`
	Resources   []string `json:"rs,omitempty"`
	Claims      string   `json:"cl,omitempty"`
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
func (p *Provider) newCode(q request, c storage.Client, login storage.Login) (string, error) {
	ttl := p.cfg.CodeTTL
	if c.FAPI() {
		ttl = min(ttl, time.Minute) // FAPI 2.0 §5.3.2.1
	}
	plain, err := json.Marshal(code{
		Random: keys.Random(32), ClientID: q.ClientID, RedirectURI: q.RedirectURI, Challenge: q.Challenge, JKT: q.JKT,
		Scopes: q.Scopes, Resources: q.Resources, Claims: q.Claims, Nonce: q.Nonce, UserID: login.User.ID, SessionID: login.Session.ID,
		AuthTime: login.Session.AuthTime.UnixMicro(), ExpiresAt: p.cfg.Now().Add(ttl).UnixMicro(),
	})
	if err != nil {
		return "", err
	}
	return p.cfg.Secret.Seal(codePurpose, plain), nil
}

var errCode = &Error{Code: invalidGrant, Description: "the code is invalid, expired, or was used before"}

// authorizationCode is the grant of a code (RFC 6749 §4.1.3).
var authorizationCode = grantType{name: "authorization_code", grant: (*Provider).redeem, ours: func(p *Provider, t tokenRequest) error {
	_, err := p.openCode(t)
	return err
}}

func (p *Provider) redeem(t tokenRequest) (*tokens, error) {
	c, err := p.openCode(t)
	if err != nil {
		return nil, err
	}
	resources, refused := narrowed(c.Resources, t.form["resource"])
	if refused != nil { // before its use: the code is not at fault
		return nil, refused
	}
	now := p.cfg.Now()
	g := p.grantOf(c, t, now)
	// Redeem first, verify second: a stolen code gets one guess (RFC 6749
	// §10.5). A replay after its minute still revokes what it had given.
	if wrong := c.check(t, now); wrong != nil {
		if err := p.cfg.Store.BurnCode(t.Context(), g, now); err != nil {
			return nil, err
		}
		return nil, errCode.because(wrong)
	}
	user, err := p.cfg.Store.RedeemCode(t.Context(), g, redeeming(t.client, g, c.RedirectURI), now)
	switch {
	case errors.Is(err, storage.ErrConflict):
		return nil, errCode.because(errors.New("used before; what it gave is revoked"))
	case errors.Is(err, storage.ErrNotFound):
		return nil, errCode.because(errors.New("the session has ended, or what was allowed was taken back"))
	case err != nil:
		return nil, err
	case !p.mayUse(t.client, user):
		return nil, errCode.because(errors.New("this person may no longer use this application"))
	}
	issue := issuance{
		client: t.client, user: user, grant: g, scopes: g.Scopes, resources: resources, jkt: t.jkt, nonce: string(c.Nonce), now: now,
	}
	if g.Refresh > 0 {
		issue.refreshToken = p.newRefreshToken(c.Random, g.Refresh)
	}
	return p.issue(issue)
}

// openCode opens a code that was given to the client.
func (p *Provider) openCode(t tokenRequest) (c code, err error) {
	if err := t.needs("code", "redirect_uri"); err != nil {
		return code{}, err
	}
	plain, err := p.cfg.Secret.Open(codePurpose, t.form.Get("code"))
	if err == nil {
		err = json.Unmarshal(plain, &c)
	}
	if err == nil && c.ClientID != t.client.ID {
		err = errors.New("another client's code")
	}
	if err != nil {
		return code{}, errCode.because(err)
	}
	return c, nil
}

// check says what is wrong with the use of a code.
func (c code) check(t tokenRequest, now time.Time) error {
	switch {
	case t.form.Get("redirect_uri") != c.RedirectURI:
		return errors.New("redirect_uri is not that of the request")
	case !verifyPKCE(c.Challenge, t.form.Get("code_verifier")):
		return errors.New("code_verifier does not match")
	case c.JKT != "" && c.JKT != t.jkt:
		return errors.New("bound to another key")
	case !now.Before(time.UnixMicro(c.ExpiresAt)):
		return errors.New("expired")
	}
	return nil
}

// grantOf is the grant that a code makes, with a refresh token where the person
// may be away (OIDC Core §11).
func (p *Provider) grantOf(c code, t tokenRequest, now time.Time) storage.Grant {
	g := storage.Grant{
		ID: keys.Hash(c.Random), ClientID: c.ClientID, UserID: c.UserID, SessionID: c.SessionID, Scopes: c.Scopes,
		Resources: c.Resources, Claims: c.Claims, JKT: t.jkt,
		AuthTime: time.UnixMicro(c.AuthTime).UTC(), CreatedAt: now, ExpiresAt: now.Add(max(p.cfg.AccessTTL, p.cfg.CodeTTL)),
	}
	return p.mayStayAway(g, t.client, now)
}

// mayStayAway makes a grant offline when its scopes and its client allow it.
func (p *Provider) mayStayAway(g storage.Grant, c storage.Client, now time.Time) storage.Grant {
	if hasScope(g.Scopes, "offline_access") && c.MayGrant("refresh_token") {
		g.Refresh, g.Offline = 1, true
		g.RefreshIdleAt, g.RefreshEndsAt = now.Add(min(p.cfg.RefreshIdle, p.cfg.RefreshTTL)), now.Add(p.cfg.RefreshTTL)
		g.ExpiresAt = g.RefreshIdleAt.Add(p.cfg.AccessTTL)
	}
	return g
}

// notified says whether a client is to hear of the end of a session (OIDC
// Back-Channel Logout §2.2).
func notified(c storage.Client) bool { return c.BackchannelLogoutURI != "" }
