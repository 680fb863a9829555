package provider

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/url"
	"slices"
	"strings"

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
)

func (p *Provider) newRefreshToken(random []byte, generation int) string {
	b := binary.BigEndian.AppendUint32(slices.Clone(random), uint32(generation))
	return base64.RawURLEncoding.EncodeToString(append(b, p.refreshMAC(b)...))
}

func (p *Provider) refreshMAC(b []byte) []byte { return p.cfg.Secret.MAC("refresh-token", b)[:16] }

// readRefreshToken proves a refresh token before any look at the database.
func (p *Provider) readRefreshToken(token string) (random []byte, generation int, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != refreshSize || len(token) != base64.RawURLEncoding.EncodedLen(refreshSize) { // no line feeds, which the decoder skips
		return nil, 0, false
	}
	signed, mac := b[:refreshRandom+4], b[refreshRandom+4:]
	if subtle.ConstantTimeCompare(mac, p.refreshMAC(signed)) != 1 {
		return nil, 0, false
	}
	return signed[:refreshRandom], int(binary.BigEndian.Uint32(signed[refreshRandom:])), true
}

var errRefresh = &Error{Code: invalidGrant, Description: "the refresh token is invalid, expired, revoked, or was used before"}

// refresh is grant_type=refresh_token with rotation (RFC 6749 §6, RFC 9700
// §4.14.2): every use gives a new token, and a token used twice revokes the
// grant.
func (p *Provider) refresh(ctx context.Context, client storage.Client, form url.Values) (*tokens, error) {
	random, generation, ok := p.readRefreshToken(form.Get("refresh_token"))
	if !ok {
		return nil, errRefresh
	}
	now := p.cfg.Now()
	asked := strings.Fields(form.Get("scope"))
	if len(asked) > 0 {
		// First of all: a refusal must not use up the token.
		if err := p.mayNarrow(ctx, keys.Hash(random), client.ID, generation, asked); err != nil {
			return nil, err
		}
	}
	idle := now.Add(p.cfg.RefreshIdle)
	g, user, err := p.cfg.Store.Refresh(ctx, keys.Hash(random), client.ID, generation, now, idle, idle.Add(p.cfg.AccessTTL))
	switch {
	case errors.Is(err, storage.ErrConflict):
		return nil, errRefresh.because(errors.New("used before; its grant is revoked"))
	case errors.Is(err, storage.ErrNotFound):
		return nil, errRefresh
	case err != nil:
		return nil, err
	}
	if !p.mayUse(client, user) {
		return nil, errRefresh.because(errors.New("this person may no longer use this application"))
	}
	if len(asked) > 0 { // for these tokens alone
		g.Scopes = slices.DeleteFunc(slices.Clone(g.Scopes), func(s string) bool { return !slices.Contains(asked, s) })
	}
	return p.issue(issuance{client: client, user: user, grant: g, refreshToken: p.newRefreshToken(random, g.Refresh), now: now})
}

// mayNarrow says whether the scopes asked for are the granted ones or fewer (RFC
// 6749 §6). Scopes that mean nothing here were dropped from the authorization
// request, too, and count as little now, unless there are no others. Whatever
// is wrong with the token itself is left to its use.
func (p *Provider) mayNarrow(ctx context.Context, id, clientID string, generation int, asked []string) error {
	g, _, err := p.cfg.Store.Grant(ctx, id, p.cfg.Now())
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if g.ClientID != clientID || g.Refresh != generation {
		return nil
	}
	beyond := func(s string) bool { return !hasScope(g.Scopes, s) && slices.Contains(supportedScopes, s) }
	if slices.ContainsFunc(asked, beyond) || !slices.ContainsFunc(asked, func(s string) bool { return hasScope(g.Scopes, s) }) {
		return &Error{Code: invalidScope, Description: "scope goes beyond what was granted"}
	}
	return nil
}
