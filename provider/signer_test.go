package provider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
)

// signer is a key pair of a client.
type signer struct {
	key jose.JSONWebKey
	alg jose.SignatureAlgorithm
}

// signers makes one key for each name and algorithm, once for all tests.
var signers = struct {
	sync.Mutex
	made map[string]signer
}{made: map[string]signer{}}

// signerOf gives the key of a name for an algorithm; its kid is both.
func signerOf(name string, alg jose.SignatureAlgorithm) signer {
	signers.Lock()
	defer signers.Unlock()
	kid := name + "-" + string(alg)
	if s, ok := signers.made[kid]; ok {
		return s
	}
	var private crypto.Signer
	var err error
	switch alg {
	case jose.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		panic(err)
	}
	s := signer{jose.JSONWebKey{Key: private, KeyID: kid, Algorithm: string(alg), Use: "sig"}, alg}
	signers.made[kid] = s
	return s
}

// jwks is the key set of signers, as a client registers it.
func jwks(list ...signer) json.RawMessage {
	var set jose.JSONWebKeySet
	for _, s := range list {
		set.Keys = append(set.Keys, s.key.Public())
	}
	b, err := json.Marshal(set)
	if err != nil {
		panic(err)
	}
	return b
}

// sign makes a compact JWS of claims, its header changed by options.
func (s signer) sign(t testing.TB, claims any, header map[jose.HeaderKey]any) string {
	t.Helper()
	options := &jose.SignerOptions{ExtraHeaders: header}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: s.alg, Key: s.key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

type claimSet map[string]any

// with gives the claims changed by pairs; a nil value leaves one out.
func (c claimSet) with(pairs ...any) claimSet {
	out := maps.Clone(c)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == nil {
			delete(out, pairs[i].(string))
		} else {
			out[pairs[i].(string)] = pairs[i+1]
		}
	}
	return out
}

// assertion are the claims of a good client assertion (RFC 7523 §3).
func (w *world) assertion(clientID string) claimSet {
	now := w.clock.Now()
	return claimSet{"iss": clientID, "sub": clientID, "aud": issuer, "jti": keys.Token(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
}

// asserted adds to a form a client assertion by the client's ES256 key.
func (w *world) asserted(form url.Values, clientID string) url.Values {
	w.Helper()
	return w.assertedBy(form, signerOf(clientID, jose.ES256), w.assertion(clientID))
}

func (w *world) assertedBy(form url.Values, s signer, claims claimSet) url.Values {
	w.Helper()
	form = maps.Clone(form)
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", s.sign(w.TB, claims, nil))
	return form
}

// proofClaims are the claims of a good DPoP proof (RFC 9449 §4.2).
func (w *world) proofClaims(method, path, token string) claimSet {
	c := claimSet{"jti": keys.Token(), "htm": method, "htu": issuer + path, "iat": w.clock.Now().Unix()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		c["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return c
}

// proofOf signs a DPoP proof with the key it names.
func (w *world) proofOf(s signer, claims claimSet) string {
	w.Helper()
	s.key.KeyID = ""
	return s.sign(w.TB, claims, map[jose.HeaderKey]any{"typ": dpopType, "jwk": s.key.Public()})
}

// thumbprint of a signer's key (RFC 7638).
func (w *world) thumbprint(s signer) string {
	w.Helper()
	public := s.key.Public()
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		w.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// bound adds a DPoP proof by s to a request.
func (w *world) bound(r *http.Request, s signer, token string) *http.Request {
	w.Helper()
	r.Header.Set("DPoP", w.proofOf(s, w.proofClaims(r.Method, r.URL.Path, token)))
	return r
}

// resourceRequest asks userinfo by a scheme, with a proof when s has a key.
func (w *world) resourceRequest(scheme, token string, s signer) *http.Request {
	w.Helper()
	r := newRequest("GET", "/userinfo", nil)
	r.Header.Set("Authorization", scheme+" "+token)
	if s.alg != "" {
		w.bound(r, s, token)
	}
	return r
}
