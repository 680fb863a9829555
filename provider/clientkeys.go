package provider

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	strictjson "github.com/go-jose/go-jose/v4/json" // refuses a name that comes twice, and tells "K" from "k"

	"github.com/sealpost/sealpost/storage"
)

const (
	maxClientKeys = 20
	maxJWKS       = 64 << 10
	maxKeySets    = 1000 // parsed, in memory
)

// jwksFetch is what a jwks_uri may answer. A key that a client took back is
// believed for maxAge at most.
var jwksFetch = fetchOptions{
	limit:  maxJWKS,
	types:  []string{"application/json", "application/jwk-set+json"}, // RFC 7517 §8.5.2
	minAge: 5 * time.Minute,
	maxAge: time.Hour,
}

// clientKeys proves what clients signed, with the public keys that they
// registered (jwks) or publish (jwks_uri).
type clientKeys struct {
	fetcherFor func(storage.Client) *fetcher

	mu   sync.Mutex
	sets map[[sha256.Size]byte][]jose.JSONWebKey // by the hash of the document: what changed is another
}

func newClientKeys(fetcherFor func(storage.Client) *fetcher) *clientKeys {
	return &clientKeys{fetcherFor: fetcherFor, sets: map[[sha256.Size]byte][]jose.JSONWebKey{}}
}

// verify gives the payload and the protected header of a compact JWS that the
// client signed with one of algs. What does not fit the keys known of a
// jwks_uri makes it be fetched again, at most once a minute (OIDC Core
// §10.1.1). Keys that the header brings along count for nothing.
func (k *clientKeys) verify(ctx context.Context, c storage.Client, token string, algs []jose.SignatureAlgorithm) (payload []byte, header jose.Header, err error) {
	jws, err := jose.ParseSignedCompact(token, algs)
	if err != nil {
		return nil, jose.Header{}, err
	}
	header = jws.Signatures[0].Protected
	if err := noExtensions(header); err != nil {
		return nil, jose.Header{}, err
	}
	if payload, err = k.prove(ctx, c, jws); err != nil {
		return nil, jose.Header{}, err
	}
	return payload, header, nil
}

// noExtensions refuses extensions of JWS, critical or not: b64 (RFC 7797)
// changes what is signed.
func noExtensions(header jose.Header) error {
	for _, extension := range []jose.HeaderKey{"crit", "b64"} {
		if _, ok := header.ExtraHeaders[extension]; ok {
			return fmt.Errorf("%s is not supported", extension)
		}
	}
	return nil
}

// prove verifies with the keys that are at hand, then with fresh ones.
func (k *clientKeys) prove(ctx context.Context, c storage.Client, jws *jose.JSONWebSignature) ([]byte, error) {
	switch {
	case c.JWKS != nil:
		return k.proveWith(c.JWKS, jws)
	case c.JWKSURI == "":
		return nil, errors.New("the client has no keys")
	}
	known, err := k.fetcherFor(c).get(ctx, c.JWKSURI, jwksFetch)
	if err != nil {
		return nil, err
	}
	if payload, err := k.proveWith(known, jws); err == nil {
		return payload, nil
	}
	fresh, err := k.fetcherFor(c).fresh(ctx, c.JWKSURI, jwksFetch)
	if err != nil {
		return nil, err
	}
	return k.proveWith(fresh, jws)
}

// proveWith verifies with the one key of the document that fits; among several
// nobody guesses.
func (k *clientKeys) proveWith(document []byte, jws *jose.JSONWebSignature) ([]byte, error) {
	set, err := k.parsed(document)
	if err != nil {
		return nil, err
	}
	header := jws.Signatures[0].Protected
	fitting := slices.DeleteFunc(slices.Clone(set), func(key jose.JSONWebKey) bool { return !fits(key, header) })
	if len(fitting) != 1 {
		return nil, fmt.Errorf("%d keys of the client fit, not one", len(fitting))
	}
	return jws.Verify(fitting[0].Key)
}

// parsed is checkJWKS, remembered.
func (k *clientKeys) parsed(document []byte) ([]jose.JSONWebKey, error) {
	sum := sha256.Sum256(document)
	k.mu.Lock()
	set, ok := k.sets[sum]
	k.mu.Unlock()
	if ok {
		return set, nil
	}
	set, err := checkJWKS(document)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.sets) >= maxKeySets {
		clear(k.sets)
	}
	k.sets[sum] = set
	return set, nil
}

// fits says whether a key may have made a signature: its type is that of the
// algorithm, it is for no other, and it is the one that is named, if one is. A
// public key never fits an HMAC.
func fits(key jose.JSONWebKey, header jose.Header) bool {
	if key.Algorithm != "" && key.Algorithm != header.Algorithm || header.KeyID != "" && key.KeyID != header.KeyID {
		return false
	}
	switch alg := jose.SignatureAlgorithm(header.Algorithm); key.Key.(type) {
	case *rsa.PublicKey:
		return alg == jose.RS256 || alg == jose.PS256
	case *ecdsa.PublicKey:
		return alg == jose.ES256
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	}
	return false
}

// privateMembers are those of keys that are no one else's business (RFC 7518
// §6.2.2, §6.3.2, §6.4.1; RFC 8037 §2; RFC 9964).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// checkJWKS reads the keys of a client that signatures can be verified with.
// Sets with private or symmetric keys are refused. What is for other purposes,
// unknown, malformed or weak is left out (RFC 7517 §5), so there may be none:
// whoever needs one says so.
func checkJWKS(raw json.RawMessage) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(raw) > maxJWKS {
		return nil, fmt.Errorf("a key set has at most %d bytes", maxJWKS)
	}
	if err := strictjson.Unmarshal(raw, &set); err != nil || set.Keys == nil {
		return nil, errors.New("a key set is a JSON object with a list of keys")
	}
	if len(set.Keys) > maxClientKeys {
		return nil, fmt.Errorf("a key set has at most %d keys", maxClientKeys)
	}
	var good []jose.JSONWebKey
	for _, one := range set.Keys {
		var members map[string]json.RawMessage
		if err := strictjson.Unmarshal(one, &members); err != nil {
			return nil, errors.New("a key is a JSON object")
		}
		for _, name := range privateMembers {
			if _, ok := members[name]; ok {
				return nil, errors.New("a key set has public keys only")
			}
		}
		if key, ok := verificationKey(one); ok {
			good = append(good, key)
		}
	}
	return good, nil
}

// verificationKey reads a key that signatures can be verified with: RSA,
// P-256 or Ed25519, and for that (RFC 7517 §4.2, §4.3).
func verificationKey(raw []byte) (jose.JSONWebKey, bool) {
	var key jose.JSONWebKey
	var about struct {
		Operations []string `json:"key_ops"`
	}
	if strictjson.Unmarshal(raw, &key) != nil || strictjson.Unmarshal(raw, &about) != nil || strongKey(key.Key) != nil {
		return key, false
	}
	if key.Use != "" && key.Use != "sig" || about.Operations != nil && !slices.Contains(about.Operations, "verify") {
		return key, false
	}
	key = jose.JSONWebKey{Key: key.Key, KeyID: key.KeyID, Algorithm: key.Algorithm}
	switch key.Key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return key, key.Valid()
	}
	return key, false
}
