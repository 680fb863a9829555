// Package keys holds the operator's secret and the ring of signing keys.
//
// What it guarantees:
//
//   - Private keys leave this package in no form but sealed under the secret
//     (AES-256-GCM), and are opened only in memory.
//   - Any number of replicas that start at once agree on the same keys.
//   - Signers are built once per key and type of token; JWKS bytes once per
//     change of the ring.
package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/storage"
)

// Algorithms that the ring signs with (RFC 7518 §3.1), the OpenID default first.
var Algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256}

// Types of token, the "typ" of its header.
const (
	TypeJWT         = "JWT"
	TypeAccessToken = "at+jwt" // RFC 9068 §2.1
)

// ErrSignature means that a token was not signed by a key of the ring.
var ErrSignature = errors.New("no valid signature of ours")

const sealPurpose = "signing-key"

// skew is how far the clocks of replicas may be apart: one that is behind must
// not find the first key of the ring too early to sign.
const skew = time.Hour

// Ring is the set of signing keys in memory. It is safe for concurrent use.
type Ring struct {
	store  Store
	secret Secret
	now    func() time.Time
	state  atomic.Pointer[state]
}

// state is one immutable view of the ring.
type state struct {
	keys    map[string]*key                  // by kid
	signing map[jose.SignatureAlgorithm]*key // the key that signs now
	jwks    []byte
	etag    string
}

type key struct {
	storage.SigningKey
	public  jose.JSONWebKey
	signers map[string]jose.Signer // by type of token
}

// Open loads the ring and creates what is missing: one key for each of
// Algorithms. Several replicas may do so at once. It fails when the stored
// keys were sealed under another secret.
func Open(ctx context.Context, store Store, secret Secret, now func() time.Time) (*Ring, error) {
	r := &Ring{store: store, secret: secret, now: now}
	if err := r.Reload(ctx); err != nil {
		return nil, err
	}
	for _, alg := range Algorithms {
		if r.state.Load().signing[alg] != nil {
			continue
		}
		if err := r.create(ctx, alg, 1); err != nil && !errors.Is(err, storage.ErrConflict) {
			return nil, err
		}
	}
	if err := r.Reload(ctx); err != nil {
		return nil, err
	}
	for _, alg := range Algorithms {
		if r.state.Load().signing[alg] == nil {
			return nil, fmt.Errorf("key ring: no %s key may sign yet", alg)
		}
	}
	return r, nil
}

// Reload reads the ring from the store again.
func (r *Ring) Reload(ctx context.Context) error {
	stored, err := r.store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("load key ring: %w", err)
	}
	now := r.now()
	s := &state{keys: map[string]*key{}, signing: map[jose.SignatureAlgorithm]*key{}}
	var set jose.JSONWebKeySet
	for _, sk := range stored {
		k, err := r.open(sk)
		if err != nil {
			return err
		}
		s.keys[k.ID] = k
		set.Keys = append(set.Keys, k.public)
		alg := jose.SignatureAlgorithm(k.Algorithm)
		retired := !k.RetiredAt.IsZero() && !k.RetiredAt.After(now)
		if current := s.signing[alg]; !k.SignsAt.After(now) && !retired && (current == nil || current.Generation < k.Generation) {
			s.signing[alg] = k
		}
	}
	if s.jwks, err = json.Marshal(set); err != nil {
		return fmt.Errorf("encode key set: %w", err)
	}
	s.etag = `"` + Hash(s.jwks) + `"`
	r.state.Store(s)
	return nil
}

// create makes a key that signs at once.
func (r *Ring) create(ctx context.Context, alg jose.SignatureAlgorithm, generation int) error {
	var private crypto.Signer
	var err error
	switch alg {
	case jose.RS256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		return fmt.Errorf("create signing key: algorithm %q is not supported", alg)
	}
	if err != nil {
		return fmt.Errorf("create %s key: %w", alg, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("create %s key: %w", alg, err)
	}
	public := jose.JSONWebKey{Key: private.Public()}
	print, err := public.Thumbprint(crypto.SHA256) // RFC 7638: a kid that tells nothing and never repeats
	if err != nil {
		return fmt.Errorf("create %s key: %w", alg, err)
	}
	now := r.now()
	err = r.store.AddSigningKey(ctx, storage.SigningKey{
		ID: b64.EncodeToString(print), Algorithm: string(alg), Generation: generation,
		Sealed: []byte(r.secret.Seal(sealPurpose, der)), CreatedAt: now, SignsAt: now.Add(-skew),
	})
	if err != nil {
		return fmt.Errorf("store %s key: %w", alg, err)
	}
	return nil
}

func (r *Ring) open(sk storage.SigningKey) (*key, error) {
	der, err := r.secret.Open(sealPurpose, string(sk.Sealed))
	if err != nil {
		return nil, fmt.Errorf("signing key %s was sealed under another secret: start with the secret this database was first used with", sk.ID)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", sk.ID, err)
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("signing key %s cannot sign", sk.ID)
	}
	k := &key{
		SigningKey: sk,
		public:     jose.JSONWebKey{Key: private.Public(), KeyID: sk.ID, Algorithm: sk.Algorithm, Use: "sig"},
		signers:    map[string]jose.Signer{},
	}
	for _, typ := range []string{TypeJWT, TypeAccessToken} {
		signer, err := jose.NewSigner(
			jose.SigningKey{Algorithm: jose.SignatureAlgorithm(sk.Algorithm), Key: jose.JSONWebKey{Key: private, KeyID: sk.ID}},
			(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
		if err != nil {
			return nil, fmt.Errorf("signer for key %s: %w", sk.ID, err)
		}
		k.signers[typ] = signer
	}
	return k, nil
}

// Sign makes a compact JWS of claims with the key that signs now for the
// algorithm; typ is TypeJWT or TypeAccessToken.
func (r *Ring) Sign(alg jose.SignatureAlgorithm, typ string, claims any) (string, error) {
	k := r.state.Load().signing[alg]
	if k == nil || k.signers[typ] == nil {
		return "", fmt.Errorf("sign: no %s key for %s", alg, typ)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	jws, err := k.signers[typ].Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return jws.CompactSerialize()
}

// Verify gives the claims of a token that a key of the ring signed as typ, or
// ErrSignature. It checks the signature, its algorithm and the type, not the
// claims: an expired token verifies, and so does one of a retired key.
func (r *Ring) Verify(token, typ string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, Algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, ErrSignature
	}
	header := jws.Signatures[0].Protected
	k := r.state.Load().keys[header.KeyID]
	if k == nil || header.Algorithm != k.Algorithm || header.ExtraHeaders[jose.HeaderType] != typ {
		return nil, ErrSignature
	}
	payload, err := jws.Verify(k.public)
	if err != nil {
		return nil, ErrSignature
	}
	return payload, nil
}

// JWKS gives the public keys (RFC 7517 §5) as bytes that must not be changed,
// and their ETag.
func (r *Ring) JWKS() (body []byte, etag string) {
	s := r.state.Load()
	return s.jwks, s.etag
}

// LeftHalf gives the at_hash or c_hash of a value under an algorithm: the left
// half of its hash in base64url (OIDC Core §3.1.3.6). Every algorithm of the
// ring hashes with SHA-256.
func LeftHalf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return b64.EncodeToString(sum[:sha256.Size/2])
}
