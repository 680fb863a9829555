// Package keys holds the operator's secret and the ring of signing keys.
//
// What it guarantees:
//
//   - Private keys leave this package in no form but sealed under the secret
//     (AES-256-GCM), and are opened only in memory.
//   - Any number of replicas agree on the same keys, when they start and when
//     keys are renewed, without a leader.
//   - A key is published before it signs, for a day unless an operator is in a
//     hurry, and until everything it signed has expired. It verifies for a month
//     more.
//   - A replica that cannot reach the store signs and verifies with what it has
//     read, and takes up the next key when its time has come.
//   - Signers are built once per key and type of token; JWKS bytes when the ring
//     is read.
package keys

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/storage"
)

// Algorithms that the ring signs with (RFC 7518 §3.1, RFC 8037 §3.1), the
// OpenID default first. EdDSA is Ed25519.
var Algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.PS256, jose.EdDSA}

// Types of token, the "typ" of its header.
const (
	TypeJWT         = "JWT"
	TypeAccessToken = "at+jwt"     // RFC 9068 §2.1
	TypeLogoutToken = "logout+jwt" // OIDC Back-Channel Logout §2.4
)

var types = []string{TypeJWT, TypeAccessToken, TypeLogoutToken}

// ErrSignature means that a token was not signed by a key of the ring.
var ErrSignature = errors.New("no valid signature of ours")

// Config is what a ring is made of.
type Config struct {
	Store   Store
	Secret  Secret
	Rotate  time.Duration    // how long a key signs, more than a day; 0: until an operator rotates
	KeepFor time.Duration    // the longest life of a token that the ring signs
	Now     func() time.Time // the clock
}

// Ring is the set of signing keys in memory. It is safe for concurrent use.
type Ring struct {
	cfg      Config
	state    atomic.Pointer[state]
	verified verified
}

// state is one immutable view of the ring.
type state struct {
	keys  map[string]*key                    // by kid
	byAlg map[jose.SignatureAlgorithm][]*key // newest first
	jwks  []byte
	etag  string
}

// newest is the last key of an algorithm, which may sign or wait; nil: none.
func (s *state) newest(alg jose.SignatureAlgorithm) *key {
	if all := s.byAlg[alg]; len(all) > 0 {
		return all[0]
	}
	return nil
}

// signing is the key of an algorithm that signs at now; nil: none. No store is
// asked: a key that was read once signs when its time has come.
func (s *state) signing(alg jose.SignatureAlgorithm, now time.Time) *key {
	for _, k := range s.byAlg[alg] {
		if !k.SignsAt.After(now) && !retired(k.SigningKey, now) {
			return k
		}
	}
	return nil
}

// Open loads the ring, creates what is missing, one key for each of Algorithms,
// and does what Maintain does. Several replicas may do so at once. It fails
// when the stored keys were sealed under an unknown secret.
func Open(ctx context.Context, cfg Config) (*Ring, error) {
	r := &Ring{cfg: cfg}
	r.state.Store(&state{})
	if err := r.Maintain(ctx); err != nil {
		return nil, err
	}
	for _, alg := range append([]jose.SignatureAlgorithm{subjectKey}, Algorithms...) {
		if r.state.Load().signing(alg, cfg.Now()) == nil {
			return nil, fmt.Errorf("key ring: no %s key may sign yet", alg)
		}
	}
	return r, nil
}

// Reload reads the ring from the store again. When that fails the ring stays as
// it is.
func (r *Ring) Reload(ctx context.Context) error {
	stored, err := r.cfg.Store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("load key ring: %w", err)
	}
	s := &state{keys: map[string]*key{}, byAlg: map[jose.SignatureAlgorithm][]*key{}}
	var set jose.JSONWebKeySet
	for _, sk := range stored {
		alg := jose.SignatureAlgorithm(sk.Algorithm)
		if alg != subjectKey && !slices.Contains(Algorithms, alg) {
			continue // a newer version has made it, beside us
		}
		k, err := r.opened(sk)
		if err != nil {
			return err
		}
		s.keys[k.ID] = k
		s.byAlg[alg] = append(s.byAlg[alg], k)
		if k.shown = alg != subjectKey && r.cfg.published(sk, stored); k.shown {
			set.Keys = append(set.Keys, k.public)
		}
	}
	for _, all := range s.byAlg {
		slices.SortFunc(all, func(a, b *key) int { return b.Generation - a.Generation })
	}
	if s.jwks, err = json.Marshal(set); err != nil {
		return fmt.Errorf("encode key set: %w", err)
	}
	s.etag = `"` + Hash(s.jwks) + `"`
	r.state.Store(s)
	return nil
}

// opened is open, unless the same key is open already.
func (r *Ring) opened(sk storage.SigningKey) (*key, error) {
	if k := r.state.Load().keys[sk.ID]; k != nil && k.Algorithm == sk.Algorithm && bytes.Equal(k.Sealed, sk.Sealed) {
		again := *k
		again.SigningKey = sk
		return &again, nil
	}
	return open(sk, r.cfg.Secret)
}

// Ages tells for each of Algorithms how long its key has signed. An algorithm
// whose key may not sign has none: nothing can be issued with it.
func (r *Ring) Ages() map[jose.SignatureAlgorithm]time.Duration {
	s, now := r.state.Load(), r.cfg.Now()
	ages := map[jose.SignatureAlgorithm]time.Duration{}
	for _, alg := range Algorithms {
		if k := s.signing(alg, now); k != nil {
			ages[alg] = now.Sub(k.SignsAt)
		}
	}
	return ages
}

// Sign makes a compact JWS of claims with the key that signs now for the
// algorithm; typ is one of the types above.
func (r *Ring) Sign(alg jose.SignatureAlgorithm, typ string, claims any) (string, error) {
	k := r.state.Load().signing(alg, r.cfg.Now())
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
// claims: an expired token verifies, and so does an ID token of a key that is
// published no more, as a hint; no other token does.
func (r *Ring) Verify(token, typ string) ([]byte, error) {
	if known, ok := r.verified.get(token, typ); ok {
		if k := r.state.Load().keys[known.kid]; k == nil || !k.verifies(typ) {
			return nil, ErrSignature
		}
		return bytes.Clone(known.payload), nil
	}
	jws, err := jose.ParseSignedCompact(token, Algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, ErrSignature
	}
	header := jws.Signatures[0].Protected
	k := r.state.Load().keys[header.KeyID]
	if k == nil || header.Algorithm != k.Algorithm || header.ExtraHeaders[jose.HeaderType] != typ || !k.verifies(typ) {
		return nil, ErrSignature
	}
	payload, err := jws.Verify(k.public)
	if err != nil {
		return nil, ErrSignature
	}
	r.verified.add(token, signed{k.ID, typ, payload})
	return bytes.Clone(payload), nil
}

// verifies says whether tokens of a type may still be shown that the key signed.
func (k *key) verifies(typ string) bool { return k.shown || typ == TypeJWT }

// JWKS gives the public keys (RFC 7517 §5) as bytes that must not be changed,
// and their ETag.
func (r *Ring) JWKS() (body []byte, etag string) {
	s := r.state.Load()
	return s.jwks, s.etag
}

// LeftHalf gives the at_hash or c_hash of a value for a token signed with alg:
// the left half of its hash in base64url (OIDC Core §3.1.3.6). The hash is that
// of the algorithm's name, and SHA-512 for Ed25519, which uses it (RFC 8032 §5.1).
func LeftHalf(alg jose.SignatureAlgorithm, value string) string {
	if alg == jose.EdDSA || alg == "Ed25519" { // RFC 9864 §2.2
		sum := sha512.Sum512([]byte(value))
		return b64.EncodeToString(sum[:sha512.Size/2])
	}
	sum := sha256.Sum256([]byte(value))
	return b64.EncodeToString(sum[:sha256.Size/2])
}
