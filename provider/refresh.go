package provider

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// A refresh token is the random part of its grant (32 bytes), its generation
// (4), and a MAC over both (16). The database has the hash of the first and
// the generation that is good now: rotation is one update of one row, and any
// earlier generation is a reuse.
const (
	refreshRandom = 32
	refreshSize   = refreshRandom + 4 + 16

	refreshPurpose = "refresh-token"
)

func (p *Provider) newRefreshToken(random []byte, generation int) string {
	b := binary.BigEndian.AppendUint32(slices.Clone(random), uint32(generation))
	return base64.RawURLEncoding.EncodeToString(append(b, p.cfg.Secret.MAC(refreshPurpose, b)[:refreshSize-len(b)]...))
}

// readRefreshToken proves a refresh token before any look at the database.
func (p *Provider) readRefreshToken(token string) (random []byte, generation int, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != refreshSize || len(token) != base64.RawURLEncoding.EncodedLen(refreshSize) { // no line feeds, which the decoder skips
		return nil, 0, false
	}
	signed, mac := b[:refreshRandom+4], b[refreshRandom+4:]
	if !p.cfg.Secret.CheckMAC(refreshPurpose, mac, signed) {
		return nil, 0, false
	}
	return signed[:refreshRandom], int(binary.BigEndian.Uint32(signed[refreshRandom:])), true
}

var errRefresh = &Error{Code: invalidGrant, Description: "the refresh token is invalid, expired, revoked, or was used before"}

// refreshGrace is how long after its use a refresh token is still answered: the
// answer may have been lost, or two tabs may have asked at once. The answer is
// the same new token, and the next use of that ends the grace.
const refreshGrace = 10 * time.Second

// refreshToken is the grant of a refresh token (RFC 6749 §6, RFC 9700 §4.14.2):
// every use gives a new token, and a token used twice revokes the grant. Those
// of FAPI clients, who prove themselves each time, stay (FAPI 2.0 §5.3.2.1).
var refreshToken = grantType{name: "refresh_token", grant: (*Provider).refresh, ours: func(p *Provider, t tokenRequest) error {
	if err := t.needs("refresh_token"); err != nil {
		return err
	}
	if _, _, ok := p.readRefreshToken(t.form.Get("refresh_token")); !ok {
		return errRefresh
	}
	return nil
}}

func (p *Provider) refresh(t tokenRequest) (*tokens, error) {
	random, generation, ok := p.readRefreshToken(t.form.Get("refresh_token"))
	if !ok {
		return nil, errRefresh
	}
	asked := strings.Fields(t.form.Get("scope"))
	if len(asked)+len(t.form["resource"]) > 0 {
		// First of all: a refusal must not use up the token.
		if err := p.mayNarrow(t, keys.Hash(random), generation, asked); err != nil {
			return nil, err
		}
	}
	now := p.cfg.Now()
	idle := now.Add(p.cfg.RefreshIdle)
	g, user, err := p.cfg.Store.Refresh(t.Context(), storage.Refreshing{
		ID: keys.Hash(random), ClientID: t.client.ID, Generation: generation, Keep: t.client.FAPI(), Grace: now.Add(-refreshGrace),
		AnyKey: !t.client.Public(), JKT: t.jkt, IdleAt: idle, ExpiresAt: idle.Add(p.cfg.AccessTTL),
	}, now)
	switch {
	case errors.Is(err, storage.ErrConflict):
		return nil, errRefresh.because(errors.New("used before; its grant is revoked"))
	case errors.Is(err, storage.ErrNotFound):
		return nil, errRefresh
	case err != nil:
		return nil, err
	}
	if !p.mayUse(t.client, user) {
		return nil, errRefresh.because(errors.New("this person may no longer use this application"))
	}
	g.Scopes = slices.DeleteFunc(g.Scopes, func(s string) bool { return !mayAsk(t.client, s) }) // the client may have been told less since
	issue := issuance{
		client: t.client, user: user, grant: g, scopes: g.Scopes, jkt: t.jkt,
		refreshToken: p.newRefreshToken(random, g.Refresh), now: now,
	}
	// Narrower for these tokens alone.
	if len(asked) > 0 {
		issue.scopes = slices.DeleteFunc(slices.Clone(g.Scopes), func(s string) bool { return !slices.Contains(asked, s) })
	}
	var refused *Error
	if issue.resources, refused = narrowed(g.Resources, t.form["resource"]); refused != nil {
		return nil, refused
	}
	return p.issue(issue)
}

// mayNarrow says whether what is asked for is what was granted or less (RFC
// 6749 §6, RFC 8707 §2.2). Scopes that mean nothing here were dropped from the
// authorization request, too, and count as little now, unless there are no
// others. Whatever is wrong with the token itself is left to its use.
func (p *Provider) mayNarrow(t tokenRequest, id string, generation int, asked []string) error {
	g, _, err := p.cfg.Store.Grant(t.Context(), id, p.cfg.Now())
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	inGrace := g.Refresh == generation+1 && g.RefreshedAt.After(p.cfg.Now().Add(-refreshGrace))
	if g.ClientID != t.client.ID || g.Refresh != generation && !inGrace || t.client.Public() && g.JKT != t.jkt {
		return nil
	}
	beyond := func(s string) bool { return !hasScope(g.Scopes, s) && mayAsk(t.client, s) }
	if len(asked) > 0 && (slices.ContainsFunc(asked, beyond) || !slices.ContainsFunc(asked, func(s string) bool { return hasScope(g.Scopes, s) })) {
		return &Error{Code: invalidScope, Description: "scope goes beyond what was granted"}
	}
	if _, refused := narrowed(g.Resources, t.form["resource"]); refused != nil {
		return refused
	}
	return nil
}
