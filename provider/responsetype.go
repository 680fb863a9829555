package provider

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// responseTypes are those of OAuth 2.0 Multiple Response Types §3 and §5 that a
// client may register, each in the order in which it is kept.
var responseTypes = []string{"code", "id_token", "id_token token", "code id_token", "code token", "code id_token token"}

// canonicalType gives a response_type in the order in which it is kept: the
// order that it is sent in means nothing (RFC 6749 §3.1.1).
func canonicalType(s string) string {
	words := strings.Fields(s)
	slices.Sort(words)
	return strings.Join(words, " ")
}

// gives says whether the answer to a response type has a code, a token or an
// id_token in it.
func gives(responseType, what string) bool {
	return slices.Contains(strings.Fields(responseType), what)
}

// response is what a request is answered with (OAuth 2.0 Multiple Response Types
// §5). A code is written nowhere; what else the answer holds belongs to a grant
// of its own. storage.ErrNotFound: the session is not live any more.
func (p *Provider) response(r *http.Request, q request, t target, login storage.Login) (url.Values, error) {
	params := url.Values{}
	if gives(q.ResponseType, "code") {
		code, err := p.newCode(q, t.client, login)
		if err != nil {
			return nil, err
		}
		params.Set("code", code)
	}
	if q.ResponseType == "code" {
		return params, nil
	}
	now := p.cfg.Now()
	g := storage.Grant{
		ID: keys.Hash(keys.Random(32)), ClientID: t.client.ID, UserID: login.User.ID, SessionID: login.Session.ID,
		Scopes:    slices.DeleteFunc(slices.Clone(q.Scopes), func(s string) bool { return s == "offline_access" }),
		Resources: q.Resources, Claims: q.Claims, AuthTime: login.Session.AuthTime, CreatedAt: now, ExpiresAt: now.Add(p.cfg.AccessTTL),
	}
	user, err := p.cfg.Store.RedeemCode(r.Context(), g, redeeming(t.client, g, q.RedirectURI), now)
	if err != nil {
		return nil, err
	}
	i := issuance{
		client: t.client, user: user, grant: g, scopes: g.Scopes, resources: g.Resources, nonce: string(q.Nonce), code: params.Get("code"), now: now,
	}
	return params, p.addTokens(params, q, i)
}

// addTokens puts into the answer the tokens that the response type names (OIDC
// Core §3.2.2.5, §3.3.2.5).
func (p *Provider) addTokens(params url.Values, q request, i issuance) (err error) {
	var access string
	if gives(q.ResponseType, "token") {
		if access, err = p.accessToken(i); err != nil {
			return err
		}
		params.Set("access_token", access)
		params.Set("token_type", tokenType(""))
		params.Set("expires_in", strconv.Itoa(int(p.cfg.AccessTTL/time.Second)))
		params.Set("scope", strings.Join(i.scopes, " "))
	}
	if gives(q.ResponseType, "id_token") {
		token, err := p.idToken(i, access)
		if err != nil {
			return err
		}
		params.Set("id_token", token)
	}
	return nil
}
