package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
)

// ErrSealed means that a sealed value was not sealed under this secret and
// purpose, or was changed since.
var ErrSealed = errors.New("not sealed under this secret")

// secretSize is the length of the master secret in bytes.
const secretSize = 32

// macMin is the shortest MAC: 128 bits, which nobody tries online.
const macMin = 16

var b64 = base64.RawURLEncoding.Strict()

// Secret is the operator's master secret. Every use of it has a purpose, and
// every purpose a key of its own (HKDF, RFC 5869), so that a value made for
// one purpose is worth nothing for another. A Secret does not print: not by
// itself, and not in an unexported field, where fmt asks no method of it and
// would read anything but a function.
//
// A Secret may know previous ones (ParseSecrets), so that an operator can
// change it while people sign in: Seal and MAC use the current one, Open and
// CheckMAC take what any of them made.
type Secret struct{ material func() []*material } // the current first, then the previous

type material struct {
	master  []byte
	derived sync.Map // purpose → *derivedKey
}

type derivedKey struct {
	mac  []byte
	aead cipher.AEAD
}

// IsZero says whether this is the zero Secret, which serves no purpose.
func (s Secret) IsZero() bool { return s.material == nil }

// ParseSecret reads 32 bytes in base64, standard or URL alphabet, padded or not.
func ParseSecret(s string) (Secret, error) { return ParseSecrets(s) }

// ParseSecrets reads the current secret and previous ones, each as ParseSecret
// does.
func ParseSecrets(current string, previous ...string) (Secret, error) {
	m, err := parseMaterial(current)
	if err != nil {
		return Secret{}, fmt.Errorf("secret %w", err)
	}
	all := []*material{m}
	for i, p := range previous {
		if m, err = parseMaterial(p); err != nil {
			return Secret{}, fmt.Errorf("previous secret %d %w", i+1, err)
		}
		all = append(all, m)
	}
	return Secret{func() []*material { return all }}, nil
}

func parseMaterial(s string) (*material, error) {
	s = strings.TrimRight(strings.TrimSpace(s), "=")
	s = strings.NewReplacer("+", "-", "/", "_").Replace(s)
	master, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil, errors.New("is not base64; make one with: sealpost secret")
	}
	if len(master) != secretSize {
		return nil, fmt.Errorf("has %d bytes, wants %d; make one with: sealpost secret", len(master), secretSize)
	}
	return &material{master: master}, nil
}

// Each gives the current secret and then the previous ones, each without the
// others: for values that follow from a MAC and are not one.
func (s Secret) Each() iter.Seq[Secret] {
	return func(yield func(Secret) bool) {
		for _, m := range s.material() {
			if !yield(Secret{func() []*material { return []*material{m} }}) {
				return
			}
		}
	}
}

// NewSecret makes a secret in the form ParseSecret reads.
func NewSecret() string { return base64.StdEncoding.EncodeToString(Random(secretSize)) }

// String keeps the secret out of logs and messages.
func (Secret) String() string { return "[secret]" }

// GoString keeps the secret out of %#v.
func (Secret) GoString() string { return "[secret]" }

// MarshalText keeps the secret out of JSON and slog.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// MAC proves that parts were put together by a holder of the secret, for this
// purpose: 32 bytes of HMAC-SHA256. Each part is bound with its length.
func (s Secret) MAC(purpose string, parts ...[]byte) []byte {
	return s.material()[0].sum(purpose, parts)
}

// CheckMAC says whether MAC made mac for the purpose and parts under this
// secret or a previous one. Of a MAC cut short, which takes 16 bytes at least,
// the caller fixes the length. It takes as long for a wrong one as for a right one.
func (s Secret) CheckMAC(purpose string, mac []byte, parts ...[]byte) bool {
	if len(mac) < macMin || len(mac) > sha256.Size {
		return false
	}
	found := 0
	for _, m := range s.material() {
		found |= subtle.ConstantTimeCompare(mac, m.sum(purpose, parts)[:len(mac)])
	}
	return found == 1
}

func (m *material) sum(purpose string, parts [][]byte) []byte {
	h := hmac.New(sha256.New, m.key(purpose).mac)
	var size [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write(p)
	}
	return h.Sum(nil)
}

// Seal encrypts and authenticates plain with AES-256-GCM under the key of the
// purpose; the result is base64url text.
func (s Secret) Seal(purpose string, plain []byte) string {
	aead := s.material()[0].key(purpose).aead
	out := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	rand.Read(out)
	return b64.EncodeToString(aead.Seal(out, out, plain, nil))
}

// Open undoes Seal: ErrSealed for anything that Seal did not make for the same
// purpose, under this secret or a previous one.
func (s Secret) Open(purpose, sealed string) ([]byte, error) {
	plain, _, err := s.open(purpose, sealed)
	return plain, err
}

// open is Open; stale says that a previous secret sealed the value.
func (s Secret) open(purpose, sealed string) (plain []byte, stale bool, err error) {
	for i, m := range s.material() {
		if plain, err = m.open(purpose, sealed); err == nil {
			return plain, i > 0, nil
		}
	}
	return nil, false, ErrSealed
}

func (m *material) open(purpose, sealed string) ([]byte, error) {
	aead := m.key(purpose).aead
	in, err := b64.DecodeString(sealed)
	// The decoder skips line breaks; one value is to have one spelling.
	if err != nil || len(in) < aead.NonceSize()+aead.Overhead() || len(sealed) != b64.EncodedLen(len(in)) {
		return nil, ErrSealed
	}
	plain, err := aead.Open(nil, in[:aead.NonceSize()], in[aead.NonceSize():], nil)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

func (m *material) key(purpose string) *derivedKey {
	if k, ok := m.derived.Load(purpose); ok {
		return k.(*derivedKey)
	}
	derive := func(use string) []byte {
		k, err := hkdf.Key(sha256.New, m.master, nil, "sealpost/1/"+use+"/"+purpose, 32)
		if err != nil {
			panic(err) // only for lengths HKDF cannot give
		}
		return k
	}
	block, err := aes.NewCipher(derive("seal"))
	if err != nil {
		panic(err) // only for key lengths AES does not have
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // only for ciphers of another block size
	}
	k, _ := m.derived.LoadOrStore(purpose, &derivedKey{mac: derive("mac"), aead: aead})
	return k.(*derivedKey)
}

// Random gives n bytes that nobody can guess.
func Random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// Token gives 32 random bytes in base64url: 43 characters.
func Token() string { return b64.EncodeToString(Random(32)) }

// ID gives 16 random bytes in base64url: 22 characters.
func ID() string { return b64.EncodeToString(Random(16)) }

// Hash names a secret value without telling it: the first 16 bytes of its
// SHA-256 in base64url, 22 characters.
func Hash(b []byte) string {
	sum := sha256.Sum256(b)
	return b64.EncodeToString(sum[:16])
}

// SID is the public name of a session, the "sid" of tokens and logs (OIDC
// Back-Channel Logout §2.1). The session's own id stays on the server: without
// it the secret alone makes no code.
func SID(sessionID string) string { return Hash([]byte("sid:" + sessionID)) }
