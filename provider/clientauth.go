package provider

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"

	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/sealpost/sealpost/storage"
)

var errClient = &Error{Code: invalidClient, Description: "client authentication failed"}

// credentialsPresent refuses a request that does not even try to say which
// client it comes from, or tries in a way that is not ours (RFC 6749 §5.2).
func credentialsPresent(r *http.Request) *Error {
	id, _, basic := r.BasicAuth()
	header := r.Header.Get("Authorization")
	switch {
	case header != "" && !basic, len(r.Header.Values("Authorization")) > 1:
		return errClient.because(errors.New("malformed Authorization header"))
	case basic && r.PostForm.Get("client_secret") != "":
		return &Error{Code: invalidRequest, Description: "client authentication must use one method"} // RFC 6749 §2.3
	case basic && id == "", !basic && r.PostForm.Get("client_id") == "":
		return errClient.because(errors.New("no client named"))
	}
	return nil
}

// authenticate proves the client by client_secret_basic, client_secret_post or
// none (RFC 6749 §2.3.1, OIDC Core §9). A confidential client may use either
// way of sending its secret, whichever it registered: many libraries choose by
// themselves.
func (p *Provider) authenticate(ctx context.Context, cc op.ClientCredentials, form url.Values) (storage.Client, error) {
	if cc.ClientAssertion != "" || cc.ClientAssertionType != "" {
		return storage.Client{}, errClient.because(errors.New("client assertions are not supported"))
	}
	if named := form.Get("client_id"); named != "" && named != cc.ClientID {
		return storage.Client{}, errClient.because(errors.New("client_id is not the authenticated client's"))
	}
	c, err := p.clients.get(ctx, cc.ClientID)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Client{}, errClient.because(err)
	}
	if err != nil {
		return storage.Client{}, err
	}
	if c.Public() {
		if cc.ClientSecret != "" {
			return storage.Client{}, errClient.because(errors.New("a public client sent a secret"))
		}
		return c, nil
	}
	sum := sha256.Sum256([]byte(cc.ClientSecret))
	want, err := hex.DecodeString(c.SecretSHA256)
	if err != nil || cc.ClientSecret == "" || subtle.ConstantTimeCompare(sum[:], want) != 1 {
		return storage.Client{}, errClient.because(errors.New("wrong secret"))
	}
	return c, nil
}
