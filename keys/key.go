package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/storage"
)

const sealPurpose = "signing-key"

// key is a signing key, opened.
type key struct {
	storage.SigningKey
	public  jose.JSONWebKey
	signers map[string]jose.Signer // by type of token
	subject []byte                 // of the subjectKey alone
	shown   bool                   // published: what it signed may still be in use
	stale   bool                   // sealed under a previous secret
}

// generate makes the private key of an algorithm. RS256 and PS256 have each a
// key of their own: the "alg" of a JWK is one (RFC 7517 §4.4).
func generate(alg jose.SignatureAlgorithm) (private crypto.Signer, err error) {
	switch alg {
	case jose.RS256, jose.PS256:
		return rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA, subjectKey:
		_, private, err = ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return nil, fmt.Errorf("algorithm %q is not supported", alg)
}

// fill gives a planned key its private half, sealed, and the name that follows
// from its public one.
func fill(k *storage.SigningKey, secret Secret) error {
	private, err := generate(jose.SignatureAlgorithm(k.Algorithm))
	if err != nil {
		return fmt.Errorf("create %s key: %w", k.Algorithm, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("create %s key: %w", k.Algorithm, err)
	}
	public := jose.JSONWebKey{Key: private.Public()}
	print, err := public.Thumbprint(crypto.SHA256) // RFC 7638: a kid that tells nothing and never repeats
	if err != nil {
		return fmt.Errorf("create %s key: %w", k.Algorithm, err)
	}
	k.ID, k.Sealed = b64.EncodeToString(print), []byte(secret.Seal(sealPurpose, der))
	return nil
}

// open opens a stored key and builds its signers.
func open(sk storage.SigningKey, secret Secret) (*key, error) {
	der, stale, err := secret.open(sealPurpose, string(sk.Sealed))
	if err != nil {
		return nil, fmt.Errorf("signing key %s was sealed under another secret: start with the secret that this database was last used with, or name it in previous_secrets", sk.ID)
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
		SigningKey: sk, stale: stale,
		public:  jose.JSONWebKey{Key: private.Public(), KeyID: sk.ID, Algorithm: sk.Algorithm, Use: "sig"},
		signers: map[string]jose.Signer{},
	}
	if sk.Algorithm == string(subjectKey) {
		k.subject = private.(ed25519.PrivateKey).Seed()
		return k, nil
	}
	for _, typ := range types {
		k.signers[typ], err = jose.NewSigner(
			jose.SigningKey{Algorithm: jose.SignatureAlgorithm(sk.Algorithm), Key: jose.JSONWebKey{Key: private, KeyID: sk.ID}},
			(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
		if err != nil {
			return nil, fmt.Errorf("signer for key %s: %w", sk.ID, err)
		}
	}
	return k, nil
}
