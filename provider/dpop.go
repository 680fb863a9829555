package provider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// Algorithms of DPoP proofs: those of FAPI 2.0 §5.4.1, for everyone.
var dpopAlgorithms = []jose.SignatureAlgorithm{jose.ES256, jose.PS256, jose.EdDSA}

const (
	dpopHeader = "DPoP"
	dpopType   = "dpop+jwt"
	// dpopWindow is how far the iat of a proof may be from our clock, both ways
	// (RFC 9449 §11.1).
	dpopWindow = time.Minute
	// dpopNonceTTL is how long a nonce is taken; a new one is given at half of it.
	dpopNonceTTL = 5 * time.Minute
)

var (
	errProof    = &Error{Code: invalidDPoPProof, Description: "the DPoP proof is missing, malformed, used before, or not for this request"}
	errUseNonce = &Error{Code: useDPoPNonce, Description: "the DPoP proof needs the nonce of this answer"}
)

// dpopClaims are the claims of a proof (RFC 9449 §4.2).
type dpopClaims struct {
	ID              string      `json:"jti"`
	Method          string      `json:"htm"`
	URI             string      `json:"htu"`
	IssuedAt        json.Number `json:"iat"`
	AccessTokenHash string      `json:"ath"`
	Nonce           string      `json:"nonce"`
}

// proof gives the thumbprint of the key that the call proves to hold (RFC 9449
// §4.3), "" when it has no proof. token is the access token it comes with, ""
// when it comes with none. What it proves itself with is yet to be spent.
func (p *Provider) proof(c *call, token string) (jkt string, err error) {
	proofs := c.Header.Values(dpopHeader)
	if len(proofs) == 0 {
		return "", nil
	}
	if len(proofs) > 1 {
		return "", errProof.because(errors.New("more than one proof"))
	}
	jkt, claims, err := readProof(proofs[0])
	if err != nil {
		return "", errProof.because(err)
	}
	now := p.cfg.Now()
	if err := claims.check(c.Method, p.cfg.Issuer+c.URL.Path, token, now); err != nil {
		return "", errProof.because(err)
	}
	if p.cfg.DPoPNonce {
		c.header.Set("DPoP-Nonce", p.dpopNonce(now))
		if !p.goodNonce(claims.Nonce, now) {
			return "", errUseNonce
		}
	}
	c.uses = append(c.uses, storage.Use{Key: keys.Hash([]byte("dpop\x00" + jkt + "\x00" + claims.ID)), EndsAt: now.Add(2*dpopWindow + time.Second)})
	return jkt, nil
}

// readProof proves a proof by the key it names, and gives the key's thumbprint
// (RFC 7638). It is a pure function.
func readProof(token string) (jkt string, claims dpopClaims, err error) {
	jws, err := jose.ParseSignedCompact(token, dpopAlgorithms)
	if err != nil {
		return "", claims, err
	}
	header := jws.Signatures[0].Protected
	key := header.JSONWebKey
	switch {
	case header.ExtraHeaders[jose.HeaderType] != dpopType:
		return "", claims, errors.New("typ is not " + dpopType)
	case key == nil || !key.IsPublic() || !key.Valid():
		return "", claims, errors.New("jwk is not a public key")
	}
	if err := errors.Join(noExtensions(header), strongKey(key.Key)); err != nil {
		return "", claims, err
	}
	payload, err := jws.Verify(key.Key)
	if err != nil {
		return "", claims, err
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", claims, err
	}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", claims, err
	}
	return base64.RawURLEncoding.EncodeToString(sum), claims, nil
}

// strongKey refuses keys that are too short (FAPI 2.0 §5.4.1).
func strongKey(key any) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 || k.N.BitLen() > 8192 {
			return errors.New("RSA keys have 2048 to 8192 bits")
		}
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize != 256 {
			return errors.New("EC keys are on P-256")
		}
	}
	return nil
}

// check holds a proof to the request it came with (RFC 9449 §4.3).
func (d dpopClaims) check(method, uri, token string, now time.Time) error {
	issued, err := numericDate(d.IssuedAt)
	switch {
	case err != nil || d.IssuedAt == "":
		return errors.New("no iat")
	case d.ID == "" || len(d.ID) > maxParam:
		return errors.New("no jti")
	case d.Method != method:
		return errors.New("htm is not the method")
	case !sameEndpoint(d.URI, uri):
		return errors.New("htu is not the endpoint")
	case issued.Before(now.Add(-dpopWindow)) || issued.After(now.Add(dpopWindow)):
		return errors.New("iat is too far away")
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		if subtle.ConstantTimeCompare([]byte(d.AccessTokenHash), []byte(base64.RawURLEncoding.EncodeToString(sum[:]))) != 1 {
			return errors.New("ath is not of the access token")
		}
	}
	return nil
}

// sameEndpoint compares an htu with the endpoint, query and fragment left out,
// scheme and host without regard to case, the default port as none (RFC 9449
// §4.3, RFC 3986 §6.2).
func sameEndpoint(htu, endpoint string) bool {
	u, err := url.Parse(htu)
	if err != nil || u.User != nil || u.Opaque != "" {
		return false
	}
	return originOf(htu)+u.EscapedPath() == endpoint
}

// dpopNonce is a time, and a MAC over it: every replica takes it, none
// remembers it (RFC 9449 §8).
func (p *Provider) dpopNonce(now time.Time) string {
	at := binary.BigEndian.AppendUint64(nil, uint64(now.Truncate(dpopNonceTTL/2).Unix()))
	return base64.RawURLEncoding.EncodeToString(slices.Concat(at, p.cfg.Secret.MAC(noncePurpose, at)))
}

const noncePurpose = "dpop-nonce"

func (p *Provider) goodNonce(nonce string, now time.Time) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(b) != 8+sha256.Size || !p.cfg.Secret.CheckMAC(noncePurpose, b[8:], b[:8]) {
		return false
	}
	given := time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
	return !given.After(now) && now.Sub(given) < dpopNonceTTL
}

// accessToken reads the access token of a resource request, and by which scheme
// it came (RFC 6750 §2, RFC 9449 §7.1). Schemes are compared without regard to
// case (RFC 9110 §11.1).
func accessToken(c *call) (token, scheme string, err error) {
	values := c.Header.Values("Authorization")
	inBody := c.form.Get("access_token")
	switch {
	case len(values) > 1 || len(values) == 1 && inBody != "":
		return "", "", &Error{Code: invalidRequest, Description: "the access token must be sent in one way"}
	case len(values) == 0 && inBody != "":
		return inBody, "Bearer", nil
	case len(values) == 0:
		return "", "", &Error{Code: invalidToken}
	}
	given, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	for _, scheme := range []string{"Bearer", "DPoP"} {
		if strings.EqualFold(given, scheme) && token != "" {
			return token, scheme, nil
		}
	}
	return "", "", &Error{Code: invalidToken}
}

// challenges are the WWW-Authenticate of a resource (RFC 6750 §3, RFC 9449
// §7.1): that of the scheme in use with the error, or both.
func (p *Provider) challenges(r *http.Request, e *Error) []string {
	detail := ""
	if e.Description != "" {
		detail = `, error="` + e.Code + `", error_description="` + e.Description + `"`
	}
	bearer := `Bearer realm="` + p.cfg.Issuer + `"`
	dpop := `DPoP realm="` + p.cfg.Issuer + `", algs="` + strings.Join(algorithmNames(dpopAlgorithms), " ") + `"`
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "DPoP") || e.dpop():
		return []string{dpop + detail}
	case detail != "":
		return []string{bearer + detail}
	}
	return []string{bearer, dpop}
}
