package keys_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/storage/sqlite"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 678000, time.UTC)

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

// database gives a database of its own in a file.
func database(t testing.TB) (store keys.Store, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "keys.db")
	db, err := sqlite.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db, file
}

func config(t testing.TB, store keys.Store, now func() time.Time) keys.Config {
	return keys.Config{Store: store, Secret: parseSecret(t, testSecret), Now: now}
}

func openRing(t testing.TB, store keys.Store, now func() time.Time) *keys.Ring {
	t.Helper()
	ring, err := keys.Open(t.Context(), config(t, store, now))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func freshRing(t testing.TB) (*keys.Ring, keys.Store) {
	t.Helper()
	store, _ := database(t)
	return openRing(t, store, at(start)), store
}

func sign(t testing.TB, ring *keys.Ring, alg jose.SignatureAlgorithm, typ string) string {
	t.Helper()
	token, err := ring.Sign(alg, typ, map[string]any{"sub": "ada"})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

const wantPayload = `{"sub":"ada"}`

// published reads the key set as a relying party does.
func published(t testing.TB, ring *keys.Ring) map[string]jose.JSONWebKey {
	t.Helper()
	body, _ := ring.JWKS()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(body, &set); err != nil {
		t.Fatal(err)
	}
	out := map[string]jose.JSONWebKey{}
	for _, k := range set.Keys {
		if _, twice := out[k.KeyID]; twice {
			t.Errorf("kid %s is published twice", k.KeyID)
		}
		out[k.KeyID] = k
	}
	return out
}

func header(t testing.TB, token string) jose.Header {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, keys.Algorithms)
	if err != nil {
		t.Fatal(err)
	}
	return jws.Signatures[0].Protected
}

// private opens the stored key of a kid, as only a holder of the secret can.
func private(t testing.TB, store keys.Store, kid string) (key crypto.Signer, der []byte) {
	t.Helper()
	stored, err := store.SigningKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(stored, func(k storage.SigningKey) bool { return k.ID == kid })
	if i < 0 {
		t.Fatalf("no key %s", kid)
	}
	if der, err = parseSecret(t, testSecret).Open("signing-key", string(stored[i].Sealed)); err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.(crypto.Signer), der
}

// add puts an ES256 key into the store, as another replica would.
func add(t testing.TB, store keys.Store, generation int, signs, retired time.Time) (kid string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	kid = keys.ID()
	if err := store.AddSigningKey(t.Context(), storage.SigningKey{
		ID: kid, Algorithm: "ES256", Generation: generation, Sealed: []byte(parseSecret(t, testSecret).Seal("signing-key", der)),
		CreatedAt: start, SignsAt: signs, RetiredAt: retired,
	}); err != nil {
		t.Fatal(err)
	}
	return kid
}

func TestReplicasThatStartAtOnceAgree(t *testing.T) {
	_, file := database(t)
	const replicas = 8
	rings := make([]*keys.Ring, replicas)
	failures := make([]error, replicas)
	var ready, starting sync.WaitGroup
	ready.Add(replicas)
	for i := range replicas {
		starting.Go(func() {
			db, err := sqlite.Open(t.Context(), file)
			ready.Done()
			if err != nil {
				failures[i] = err
				return
			}
			ready.Wait()
			// Clocks are never quite the same.
			now := start.Add(time.Duration(i-replicas/2) * 100 * time.Millisecond)
			rings[i], err = keys.Open(t.Context(), config(t, db, at(now)))
			failures[i] = errors.Join(err, db.Close())
		})
	}
	starting.Wait()
	if err := errors.Join(failures...); err != nil {
		t.Fatal(err)
	}
	body, etag := rings[0].JWKS()
	algorithms := map[string]int{}
	for _, k := range published(t, rings[0]) {
		algorithms[k.Algorithm]++
	}
	if want := map[string]int{"RS256": 1, "ES256": 1, "PS256": 1, "EdDSA": 1}; !maps.Equal(algorithms, want) {
		t.Errorf("have %v, want %v", algorithms, want)
	}
	for i, ring := range rings {
		if b, e := ring.JWKS(); !bytes.Equal(b, body) || e != etag {
			t.Errorf("replica %d publishes other keys than replica 0", i)
		}
		for _, alg := range keys.Algorithms {
			token := sign(t, ring, alg, keys.TypeJWT)
			for j, other := range rings {
				if _, err := other.Verify(token, keys.TypeJWT); err != nil {
					t.Errorf("%s token of replica %d at replica %d: %v", alg, i, j, err)
				}
			}
		}
	}
}

func TestAReplicaWithASlowClockCanStart(t *testing.T) {
	store, _ := database(t)
	openRing(t, store, at(start))
	late := openRing(t, store, at(start.Add(-10*time.Minute)))
	sign(t, late, jose.RS256, keys.TypeJWT)
}

func TestTheSameSecretVerifiesAfterARestart(t *testing.T) {
	ring, store := freshRing(t)
	body, etag := ring.JWKS()
	tokens := map[string]jose.SignatureAlgorithm{}
	for _, alg := range keys.Algorithms {
		tokens[sign(t, ring, alg, keys.TypeAccessToken)] = alg
	}
	again := openRing(t, store, at(start.Add(24*time.Hour)))
	for token, alg := range tokens {
		if payload, err := again.Verify(token, keys.TypeAccessToken); err != nil || string(payload) != wantPayload {
			t.Errorf("%s: have %s, %v", alg, payload, err)
		}
	}
	if b, e := again.JWKS(); !bytes.Equal(b, body) || e != etag {
		t.Error("the key set has changed")
	}
}

func TestAnotherSecretIsRefusedWithTheAdvice(t *testing.T) {
	_, store := freshRing(t)
	before, err := store.SigningKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := config(t, store, at(start))
	other.Secret = parseSecret(t, keys.NewSecret())
	_, err = keys.Open(t.Context(), other)
	if err == nil || !strings.Contains(err.Error(), "start with the secret that this database was last used with") {
		t.Errorf("have %v, want the advice", err)
	}
	after, err := store.SigningKeys(t.Context())
	if err != nil || len(after) != len(before) {
		t.Errorf("%d keys became %d, %v", len(before), len(after), err)
	}
}

// broken is a store that fails, or that holds what nobody wrote.
type broken struct {
	keys.Store
	list []storage.SigningKey
	err  error
}

func (b broken) SigningKeys(context.Context) ([]storage.SigningKey, error) { return b.list, b.err }
func (b broken) AddSigningKey(context.Context, storage.SigningKey) error   { return b.err }
func (b broken) RemoveSigningKeys(_ context.Context, _, _ time.Time) error { return b.err }

func TestAStoreThatFailsIsNoEmptyRing(t *testing.T) {
	failure := errors.New("connection lost")
	if _, err := keys.Open(t.Context(), config(t, broken{err: failure}, at(start))); !errors.Is(err, failure) {
		t.Errorf("have %v", err)
	}
	// A conflict, and then no key: somebody removed what somebody else made.
	_, err := keys.Open(t.Context(), config(t, conflicting{}, at(start)))
	if err == nil || !strings.Contains(err.Error(), "no pairwise key may sign yet") {
		t.Errorf("have %v", err)
	}
}

type conflicting struct{ broken }

func (conflicting) AddSigningKey(context.Context, storage.SigningKey) error {
	return fmt.Errorf("insert: %w", storage.ErrConflict)
}

func TestStoredNonsenseIsRefused(t *testing.T) {
	_, store := freshRing(t)
	stored, err := store.SigningKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := parseSecret(t, testSecret)
	for name, change := range map[string]func(k *storage.SigningKey){
		"no key": func(k *storage.SigningKey) { k.Sealed = []byte(s.Seal("signing-key", []byte("no key"))) },
		"another kind of key": func(k *storage.SigningKey) {
			k.Algorithm = map[string]string{"RS256": "ES256", "ES256": "EdDSA", "PS256": "EdDSA", "EdDSA": "RS256"}[k.Algorithm]
		},
		"not sealed":             func(k *storage.SigningKey) { k.Sealed = []byte("-----BEGIN PRIVATE KEY-----") },
		"sealed for another use": func(k *storage.SigningKey) { k.Sealed = []byte(s.Seal("request", nil)) },
	} {
		for _, k := range stored {
			change(&k)
			if _, err := keys.Open(t.Context(), config(t, broken{list: []storage.SigningKey{k}}, at(start))); err == nil {
				t.Errorf("%s for %s was taken", name, k.Algorithm)
			}
		}
	}
}

func TestAReloadThatFailsKeepsTheRing(t *testing.T) {
	store, _ := database(t)
	flaky := &flakyStore{Store: store}
	ring := openRing(t, flaky, at(start))
	body, _ := ring.JWKS()
	flaky.err = errors.New("connection lost")
	if err := ring.Reload(t.Context()); !errors.Is(err, flaky.err) {
		t.Errorf("have %v", err)
	}
	if b, _ := ring.JWKS(); !bytes.Equal(b, body) {
		t.Error("the key set is another")
	}
	sign(t, ring, jose.ES256, keys.TypeJWT)
}

type flakyStore struct {
	keys.Store
	err error
}

func (s *flakyStore) SigningKeys(ctx context.Context) ([]storage.SigningKey, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.Store.SigningKeys(ctx)
}

func TestAFutureKeyIsPublishedAndSignsWhenItsTimeComes(t *testing.T) {
	now := start
	store, _ := database(t)
	ring := openRing(t, store, func() time.Time { return now })
	current := header(t, sign(t, ring, jose.ES256, keys.TypeJWT)).KeyID
	next := add(t, store, 2, start.Add(24*time.Hour), time.Time{})
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{start, current},
		{start.Add(24*time.Hour - time.Microsecond), current},
		{start.Add(24 * time.Hour), next},
		{start.Add(48 * time.Hour), next},
	} {
		now = c.at
		if err := ring.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, ok := published(t, ring)[next]; !ok {
			t.Errorf("%v: the next key is not published", c.at)
		}
		token := sign(t, ring, jose.ES256, keys.TypeJWT)
		if have := header(t, token).KeyID; have != c.want {
			t.Errorf("%v: signed by %s, want %s", c.at, have, c.want)
		}
		if _, err := ring.Verify(token, keys.TypeJWT); err != nil {
			t.Errorf("%v: %v", c.at, err)
		}
	}
}

func TestARetiredKeyVerifiesAndDoesNotSign(t *testing.T) {
	now := start
	store, _ := database(t)
	ring := openRing(t, store, func() time.Time { return now })
	first := header(t, sign(t, ring, jose.ES256, keys.TypeJWT)).KeyID
	retiring := add(t, store, 2, start, start.Add(time.Hour))
	if err := ring.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := sign(t, ring, jose.ES256, keys.TypeJWT)
	if have := header(t, old).KeyID; have != retiring {
		t.Errorf("signed by %s, want the higher generation %s", have, retiring)
	}
	now = start.Add(time.Hour)
	if err := ring.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if have := header(t, sign(t, ring, jose.ES256, keys.TypeJWT)).KeyID; have != first {
		t.Errorf("signed by %s, want %s, which is not retired", have, first)
	}
	if payload, err := ring.Verify(old, keys.TypeJWT); err != nil || string(payload) != wantPayload {
		t.Errorf("a token of the retired key: %s, %v", payload, err)
	}
	if _, ok := published(t, ring)[retiring]; !ok {
		t.Error("the retired key is not published")
	}
}

// RFC 7517 §4 and §5, RFC 7518 §6, RFC 8037 §2.
func TestTheKeySet(t *testing.T) {
	ring, _ := freshRing(t)
	body, _ := ring.JWKS()
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != len(keys.Algorithms) {
		t.Errorf("%d keys, want %d", len(set.Keys), len(keys.Algorithms))
	}
	members := map[string][]string{
		"RS256": {"alg", "e", "kid", "kty", "n", "use"},
		"ES256": {"alg", "crv", "kid", "kty", "use", "x", "y"},
		"PS256": {"alg", "e", "kid", "kty", "n", "use"},
		"EdDSA": {"alg", "crv", "kid", "kty", "use", "x"}, // RFC 8037 §2
	}
	for _, k := range set.Keys {
		alg, _ := k["alg"].(string)
		if have := slices.Sorted(maps.Keys(k)); !slices.Equal(have, members[alg]) { // d, p, q, … would be the private key
			t.Errorf("%s: members %v, want %v", alg, have, members[alg])
		}
		if k["use"] != "sig" {
			t.Errorf("%s: use %v", alg, k["use"])
		}
	}
	for kid, k := range published(t, ring) {
		switch public := k.Key.(type) {
		case *rsa.PublicKey:
			if bits := public.N.BitLen(); bits < 2048 || k.Algorithm != "RS256" && k.Algorithm != "PS256" {
				t.Errorf("%s key with %d bits", k.Algorithm, bits)
			}
		case *ecdsa.PublicKey:
			if public.Curve != elliptic.P256() || k.Algorithm != "ES256" {
				t.Errorf("%s key on %s", k.Algorithm, public.Params().Name)
			}
		case ed25519.PublicKey:
			if k.Algorithm != "EdDSA" {
				t.Errorf("%s key of Ed25519", k.Algorithm)
			}
		default:
			t.Errorf("a key of type %T", k.Key)
		}
		print, err := k.Thumbprint(crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if want := base64.RawURLEncoding.EncodeToString(print); kid != want {
			t.Errorf("kid %s, want the thumbprint (RFC 7638) %s", kid, want)
		}
	}
}

func TestTheKeySetChangesWithItsKeysAlone(t *testing.T) {
	ring, store := freshRing(t)
	body, etag := ring.JWKS()
	if want := `"` + keys.Hash(body) + `"`; etag != want { // RFC 9110 §8.8.3: quoted
		t.Errorf("ETag %s, want %s", etag, want)
	}
	for range 3 {
		if err := ring.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b, e := ring.JWKS(); !bytes.Equal(b, body) || e != etag {
			t.Error("a reload changed bytes or ETag")
		}
	}
	add(t, store, 2, start.Add(24*time.Hour), time.Time{})
	if b, e := ring.JWKS(); !bytes.Equal(b, body) || e != etag {
		t.Error("changed without a reload")
	}
	if err := ring.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, e := ring.JWKS(); bytes.Equal(b, body) || e == etag {
		t.Error("another key, the same bytes or ETag")
	}
}

func TestPrivateKeysAreSealedAtRest(t *testing.T) {
	store, file := database(t)
	ring := openRing(t, store, at(start))
	files, err := filepath.Glob(file + "*") // the write-ahead log, too
	if err != nil || len(files) == 0 {
		t.Fatalf("no database files: %v", err)
	}
	var disk []byte
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		disk = append(disk, b...)
	}
	for kid, k := range published(t, ring) {
		if !bytes.Contains(disk, []byte(kid)) {
			t.Fatalf("the files don't hold key %s: the test looks in the wrong place", kid)
		}
		key, der := private(t, store, kid)
		secrets := map[string][]byte{"PKCS8": der[len(der)/3:]}
		switch key := key.(type) {
		case *rsa.PrivateKey:
			secrets["d"], secrets["p"], secrets["q"] = key.D.Bytes(), key.Primes[0].Bytes(), key.Primes[1].Bytes()
		case *ecdsa.PrivateKey:
			if secrets["d"], err = key.Bytes(); err != nil {
				t.Fatal(err)
			}
		case ed25519.PrivateKey:
			secrets["d"] = key.Seed()
		}
		for name, secret := range secrets {
			for _, form := range [][]byte{secret, []byte(base64.RawURLEncoding.EncodeToString(secret)), []byte(base64.StdEncoding.EncodeToString(secret)), fmt.Appendf(nil, "%x", secret)} {
				if bytes.Contains(disk, form) {
					t.Errorf("%s: the database holds %s", k.Algorithm, name)
				}
			}
		}
	}
}

func TestTokensVerifyWithThePublishedKey(t *testing.T) {
	ring, _ := freshRing(t)
	public := published(t, ring)
	for _, alg := range keys.Algorithms {
		for _, typ := range []string{keys.TypeJWT, keys.TypeAccessToken, keys.TypeLogoutToken} {
			token := sign(t, ring, alg, typ)
			jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{alg})
			if err != nil {
				t.Fatal(err)
			}
			h := jws.Signatures[0].Protected
			if h.Algorithm != string(alg) || h.ExtraHeaders[jose.HeaderType] != typ || len(h.ExtraHeaders) != 1 || h.JSONWebKey != nil {
				t.Errorf("%s %s: header %+v", alg, typ, h)
			}
			payload, err := jws.Verify(public[h.KeyID])
			if err != nil || string(payload) != wantPayload {
				t.Errorf("%s %s: a relying party reads %s, %v", alg, typ, payload, err)
			}
			if payload, err = ring.Verify(token, typ); err != nil || string(payload) != wantPayload {
				t.Errorf("%s %s: we read %s, %v", alg, typ, payload, err)
			}
		}
	}
}

func TestSignRefusesWhatItHasNoKeyFor(t *testing.T) {
	ring, _ := freshRing(t)
	for _, alg := range []jose.SignatureAlgorithm{"", "none", jose.HS256, jose.PS384, jose.ES384, "Ed25519"} {
		if token, err := ring.Sign(alg, keys.TypeJWT, 1); err == nil {
			t.Errorf("%q: %s", alg, token)
		}
	}
	if token, err := ring.Sign(jose.RS256, "JOSE", 1); err == nil {
		t.Errorf("an unknown type: %s", token)
	}
	if token, err := ring.Sign(jose.RS256, keys.TypeJWT, make(chan int)); err == nil {
		t.Errorf("claims that are no JSON: %s", token)
	}
}

// RFC 8725 §2.1 and §3: what a forger tries.
func TestForgeriesAreRefused(t *testing.T) {
	ring, store := freshRing(t)
	kids := map[jose.SignatureAlgorithm]string{}
	for _, alg := range keys.Algorithms {
		kids[alg] = header(t, sign(t, ring, alg, keys.TypeJWT)).KeyID
	}
	ownRSA, _ := private(t, store, kids[jose.RS256])
	ownEC, _ := private(t, store, kids[jose.ES256])
	ownPS, _ := private(t, store, kids[jose.PS256])
	ownEd, _ := private(t, store, kids[jose.EdDSA])
	theirEC, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	theirRSA, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkix, err := x509.MarshalPKIXPublicKey(ownRSA.Public())
	if err != nil {
		t.Fatal(err)
	}
	body, _ := ring.JWKS()
	forge := func(alg jose.SignatureAlgorithm, key any, kid string, options ...func(*jose.SignerOptions)) string {
		t.Helper()
		o := (&jose.SignerOptions{}).WithType(keys.TypeJWT)
		for _, option := range options {
			option(o)
		}
		if kid != "" {
			key = jose.JSONWebKey{Key: key, KeyID: kid}
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign([]byte(wantPayload))
		if err != nil {
			t.Fatal(err)
		}
		token, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	embed := func(o *jose.SignerOptions) { o.EmbedJWK = true }
	typ := func(value string) func(*jose.SignerOptions) {
		return func(o *jose.SignerOptions) { o.ExtraHeaders[jose.HeaderType] = value }
	}
	critical := func(o *jose.SignerOptions) { o.WithCritical("exp").WithHeader("exp", 1) }

	control := map[string]string{ // the forger's tools work
		"RS256": forge(jose.RS256, ownRSA, kids[jose.RS256]),
		"ES256": forge(jose.ES256, ownEC, kids[jose.ES256]),
		"PS256": forge(jose.PS256, ownPS, kids[jose.PS256]),
		"EdDSA": forge(jose.EdDSA, ownEd, kids[jose.EdDSA]),
	}
	for name, token := range control {
		if _, err := ring.Verify(token, keys.TypeJWT); err != nil {
			t.Fatalf("%s: a token by our own key: %v", name, err)
		}
	}
	for name, token := range map[string]string{
		"HS256 with the public key, DER":            forge(jose.HS256, pkix, kids[jose.RS256]),
		"HS256 with the public key, PEM":            forge(jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}), kids[jose.RS256]),
		"HS256 with the modulus":                    forge(jose.HS256, ownRSA.Public().(*rsa.PublicKey).N.Bytes(), kids[jose.RS256]),
		"HS256 with the key set":                    forge(jose.HS256, body, kids[jose.RS256]),
		"none":                                      part(`{"alg":"none","typ":"JWT","kid":"`+kids[jose.RS256]+`"}`) + "." + part(wantPayload) + ".",
		"None":                                      part(`{"alg":"None","typ":"JWT","kid":"`+kids[jose.RS256]+`"}`) + "." + part(wantPayload) + ".AAAA",
		"no alg":                                    part(`{"typ":"JWT","kid":"`+kids[jose.RS256]+`"}`) + "." + part(wantPayload) + ".AAAA",
		"RS256 by our key, the kid of ES256":        forge(jose.RS256, ownRSA, kids[jose.ES256]),
		"ES256 by our key, the kid of RS256":        forge(jose.ES256, ownEC, kids[jose.RS256]),
		"PS256 by our RSA key":                      forge(jose.PS256, ownRSA, kids[jose.RS256]),
		"RS256 by the key of PS256":                 forge(jose.RS256, ownPS, kids[jose.PS256]),
		"PS256 by the key of RS256, the kid of PS":  forge(jose.PS256, ownRSA, kids[jose.PS256]),
		"EdDSA by our key, the kid of ES256":        forge(jose.EdDSA, ownEd, kids[jose.ES256]),
		"RS384 by our RSA key":                      forge(jose.RS384, ownRSA, kids[jose.RS256]),
		"by another RSA key, our kid":               forge(jose.RS256, theirRSA, kids[jose.RS256]),
		"by another EC key, our kid":                forge(jose.ES256, theirEC, kids[jose.ES256]),
		"by another key that it brings along":       forge(jose.ES256, theirEC, "", embed),
		"by another key that it brings, our kid":    forge(jose.ES256, theirEC, kids[jose.ES256], embed),
		"by our key, unknown kid":                   forge(jose.ES256, ownEC, "unknown"),
		"by our key, no kid":                        forge(jose.ES256, ownEC, ""),
		"by our key, for another use":               forge(jose.ES256, ownEC, kids[jose.ES256], typ(keys.TypeAccessToken)),
		"by our key, type in other letters":         forge(jose.ES256, ownEC, kids[jose.ES256], typ("jwt")),
		"by our key, a critical header we don't do": forge(jose.ES256, ownEC, kids[jose.ES256], critical),
		"empty":     "",
		"dots":      "..",
		"one part":  "AAAA",
		"no base64": "ä.ä.ä",
	} {
		if payload, err := ring.Verify(token, keys.TypeJWT); !errors.Is(err, keys.ErrSignature) || payload != nil {
			t.Errorf("%s: %s, %v", name, payload, err)
		}
	}
	if _, err := ring.Verify(sign(t, ring, jose.RS256, keys.TypeJWT), keys.TypeAccessToken); !errors.Is(err, keys.ErrSignature) {
		t.Errorf("an ID token as access token: %v", err)
	}
	flattened, err := jose.ParseSignedCompact(control["ES256"], keys.Algorithms)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Verify(flattened.FullSerialize(), keys.TypeJWT); !errors.Is(err, keys.ErrSignature) {
		t.Errorf("JSON serialization: %v", err)
	}
}

func TestTamperedTokensAreRefused(t *testing.T) {
	ring, _ := freshRing(t)
	for _, alg := range keys.Algorithms {
		token := sign(t, ring, alg, keys.TypeJWT)
		dots := [2]int{strings.Index(token, "."), strings.LastIndex(token, ".")}
		for _, i := range []int{0, 5, dots[0] - 1, dots[0] + 1, dots[1] - 2, dots[1] + 1, (dots[1] + len(token)) / 2, len(token) - 2} {
			other := byte('A')
			if token[i] == other {
				other = 'B'
			}
			if _, err := ring.Verify(token[:i]+string(other)+token[i+1:], keys.TypeJWT); !errors.Is(err, keys.ErrSignature) {
				t.Errorf("%s, letter %d of %d changed: %v", alg, i, len(token), err)
			}
		}
		for _, cut := range []string{token[:len(token)-1], token[:dots[1]], token[:dots[1]+1], token[1:], token + ".x"} {
			if _, err := ring.Verify(cut, keys.TypeJWT); !errors.Is(err, keys.ErrSignature) {
				t.Errorf("%s, cut to %d letters of %d: %v", alg, len(cut), len(token), err)
			}
		}
	}
}

// OIDC Core §3.1.3.6, §A.3 and §A.4; the SHA-512 was made by another program.
func TestLeftHalf(t *testing.T) {
	const access, code = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk"
	for _, c := range []struct {
		alg         jose.SignatureAlgorithm
		value, want string
	}{
		{jose.RS256, access, "77QmUPtjPfzWtF2AnpK9RQ"},
		{jose.RS256, code, "LDktKdoQak3Pk0cnXxCltA"},
		{jose.ES256, access, "77QmUPtjPfzWtF2AnpK9RQ"},
		{jose.PS256, access, "77QmUPtjPfzWtF2AnpK9RQ"},
		{jose.EdDSA, access, "q7nS86GgvvFaZkzALLWqJYaJIKw2wCDAVfCAsm5CrBM"},
		{"Ed25519", access, "q7nS86GgvvFaZkzALLWqJYaJIKw2wCDAVfCAsm5CrBM"},
	} {
		if have := keys.LeftHalf(c.alg, c.value); have != c.want {
			t.Errorf("%s: %s: have %s, want %s", c.alg, c.value, have, c.want)
		}
	}
}

func TestSigningGoesOnWhileTheRingIsReloaded(t *testing.T) {
	ring, store := freshRing(t)
	stop := make(chan struct{})
	var signing sync.WaitGroup
	for _, alg := range keys.Algorithms {
		for range 4 {
			signing.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					token, err := ring.Sign(alg, keys.TypeAccessToken, map[string]any{"sub": "ada"})
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := ring.Verify(token, keys.TypeAccessToken); err != nil {
						t.Error(err)
						return
					}
					if body, etag := ring.JWKS(); etag != `"`+keys.Hash(body)+`"` {
						t.Error("bytes of one ring, ETag of another")
						return
					}
				}
			})
		}
	}
	for generation := range 10 {
		add(t, store, generation+2, start, time.Time{})
		if err := ring.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	signing.Wait()
}

func BenchmarkSign(b *testing.B) {
	ring, _ := freshRing(b)
	for _, alg := range keys.Algorithms {
		b.Run(string(alg), func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					sign(b, ring, alg, keys.TypeJWT)
				}
			})
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	ring, _ := freshRing(b)
	for _, alg := range keys.Algorithms {
		token := sign(b, ring, alg, keys.TypeAccessToken)
		b.Run(string(alg), func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := ring.Verify(token, keys.TypeAccessToken); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
