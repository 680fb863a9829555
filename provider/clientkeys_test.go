package provider

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/storage"
)

var allAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA}

// keyBox are the keys of a client, made once.
type keyBox struct {
	rsa, weak    *rsa.PrivateKey
	ec, ec2, big *ecdsa.PrivateKey
	ed           ed25519.PrivateKey
}

var boxOfKeys = sync.OnceValue(func() (k keyBox) {
	return keyBox{
		rsa: must(rsa.GenerateKey(rand.Reader, 2048)), weak: must(rsa.GenerateKey(rand.Reader, 1024)),
		ec: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), ec2: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		big: must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		ed:  ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)),
	}
})

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// publicKey is a key as a client publishes it.
func publicKey(key crypto.Signer, kid string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key.Public(), KeyID: kid}
}

func keySet(keys ...jose.JSONWebKey) json.RawMessage {
	return must(json.Marshal(jose.JSONWebKeySet{Keys: keys}))
}

// withMembers gives the first key of the set more members.
func withMembers(set json.RawMessage, members string) json.RawMessage {
	return json.RawMessage(strings.Replace(string(set), `{"keys":[{`, `{"keys":[{`+members+`,`, 1))
}

const signedClaims = `{"iss":"app"}`

// signJWS makes a compact JWS; options are pairs of header names and values.
func signJWS(alg jose.SignatureAlgorithm, key any, kid string, options ...any) string {
	o := &jose.SignerOptions{}
	for i := 0; i < len(options); i += 2 {
		o = o.WithHeader(jose.HeaderKey(options[i].(string)), options[i+1])
	}
	if kid != "" {
		o = o.WithHeader("kid", kid)
	}
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o))
	return must(must(signer.Sign([]byte(signedClaims))).CompactSerialize())
}

// rawJWS is a JWS as nobody's library makes it.
func rawJWS(header, payload string, signature []byte) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(header)) + "." + enc([]byte(payload)) + "." + enc(signature)
}

func TestClientKeysVerify(t *testing.T) {
	t.Parallel()
	k := boxOfKeys()
	one := keySet(publicKey(k.ec, "e1"))
	mixed := keySet(publicKey(k.rsa, "r"), publicKey(k.ec, "e"), publicKey(k.ed, "d"))
	pem, der := x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey), must(x509.MarshalPKIXPublicKey(&k.rsa.PublicKey))
	tampered := strings.Split(signJWS(jose.ES256, k.ec, "e1"), ".")
	tampered[1] = base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"b"}`))
	for name, tt := range map[string]struct {
		set   json.RawMessage
		token string
		why   string
	}{
		"RS256":                                  {mixed, signJWS(jose.RS256, k.rsa, "r"), ""},
		"PS256":                                  {mixed, signJWS(jose.PS256, k.rsa, "r"), ""},
		"ES256":                                  {mixed, signJWS(jose.ES256, k.ec, "e"), ""},
		"EdDSA":                                  {mixed, signJWS(jose.EdDSA, k.ed, "d"), ""},
		"RFC 7515 §4.1.4: no kid, one key fits":  {mixed, signJWS(jose.ES256, k.ec, ""), ""},
		"no kid, two keys fit":                   {keySet(publicKey(k.ec, "a"), publicKey(k.ec2, "b")), signJWS(jose.ES256, k.ec, ""), "2 keys"},
		"no kid, no key fits":                    {one, signJWS(jose.RS256, k.rsa, ""), "0 keys"},
		"one kid for two keys":                   {keySet(publicKey(k.ec, "a"), publicKey(k.ec2, "a")), signJWS(jose.ES256, k.ec, "a"), "2 keys"},
		"RFC 7517 §4.5: one kid for two types":   {keySet(publicKey(k.ec, "a"), publicKey(k.rsa, "a")), signJWS(jose.ES256, k.ec, "a"), ""},
		"unknown kid":                            {one, signJWS(jose.ES256, k.ec, "e2"), "0 keys"},
		"a kid for a key without":                {keySet(publicKey(k.ec, "")), signJWS(jose.ES256, k.ec, "e1"), "0 keys"},
		"another's key under our kid":            {one, signJWS(jose.ES256, k.ec2, "e1"), "cryptographic"},
		"changed after it was signed":            {one, strings.Join(tampered, "."), "cryptographic"},
		"RFC 7517 §4.2: for encryption":          {withMembers(one, `"use":"enc"`), signJWS(jose.ES256, k.ec, "e1"), "0 keys"},
		"RFC 7517 §4.2: for signatures":          {withMembers(one, `"use":"sig"`), signJWS(jose.ES256, k.ec, "e1"), ""},
		"RFC 7517 §4.3: not to verify with":      {withMembers(one, `"key_ops":["encrypt"]`), signJWS(jose.ES256, k.ec, "e1"), "0 keys"},
		"RFC 7517 §4.3: for nothing":             {withMembers(one, `"key_ops":[]`), signJWS(jose.ES256, k.ec, "e1"), "0 keys"},
		"RFC 7517 §4.3: to verify with":          {withMembers(one, `"key_ops":["verify"]`), signJWS(jose.ES256, k.ec, "e1"), ""},
		"RFC 7517 §4.4: for another algorithm":   {withMembers(keySet(publicKey(k.rsa, "r")), `"alg":"PS256"`), signJWS(jose.RS256, k.rsa, "r"), "0 keys"},
		"RFC 7517 §4.4: for this algorithm":      {withMembers(keySet(publicKey(k.rsa, "r")), `"alg":"PS256"`), signJWS(jose.PS256, k.rsa, "r"), ""},
		"RFC 7518 §3.3: RSA of 1024 bits":        {keySet(publicKey(k.weak, "w")), rawJWS(`{"alg":"RS256","kid":"w"}`, signedClaims, nil), "0 keys"},
		"RFC 7518 §3.4: ES256 on another curve":  {keySet(publicKey(k.big, "b")), rawJWS(`{"alg":"ES256","kid":"b"}`, signedClaims, make([]byte, 96)), "0 keys"},
		"an algorithm that is not taken":         {keySet(publicKey(k.big, "b")), signJWS(jose.ES384, k.big, "b"), "unexpected signature algorithm"},
		"RFC 8725 §2.1: none":                    {mixed, rawJWS(`{"alg":"none","kid":"r"}`, signedClaims, nil), "unexpected signature algorithm"},
		"RFC 8725 §2.1: nOnE":                    {mixed, rawJWS(`{"alg":"nOnE"}`, signedClaims, nil), "unexpected signature algorithm"},
		"no algorithm":                           {mixed, rawJWS(`{"kid":"r"}`, signedClaims, nil), "unexpected signature algorithm"},
		"key confusion: HMAC of the PKCS #1 key": {mixed, signJWS(jose.HS256, pem, "r"), "unexpected signature algorithm"},
		"key confusion: HMAC of the SPKI key":    {mixed, signJWS(jose.HS256, der, "r"), "unexpected signature algorithm"},
		"RFC 8725 §3.10: a key of its own":       {one, signJWS(jose.ES256, k.ec2, "e1", "jwk", publicKey(k.ec2, "e1")), "cryptographic"},
		"RFC 8725 §3.10: an address of a key":    {one, signJWS(jose.ES256, k.ec2, "e1", "jku", "https://evil.example.com/jwks"), "cryptographic"},
		"RFC 7515 §4.1.11: crit":                 {one, signJWS(jose.ES256, k.ec, "e1", "crit", []string{"exp"}, "exp", 1), "crit is not supported"},
		"RFC 7515 §4.1.11: empty crit":           {one, signJWS(jose.ES256, k.ec, "e1", "crit", []string{}), "crit is not supported"},
		"RFC 7797 §3: b64, critical":             {one, signJWS(jose.ES256, k.ec, "e1", "b64", false, "crit", []string{"b64"}), "crit is not supported"},
		"RFC 7797 §6: b64, not critical":         {one, signJWS(jose.ES256, k.ec, "e1", "b64", false), "b64 is not supported"},
		"an algorithm twice":                     {one, rawJWS(`{"alg":"ES256","alg":"none"}`, signedClaims, nil), "invalid"},
		"no signature":                           {one, rawJWS(`{"alg":"ES256","kid":"e1"}`, signedClaims, nil), "cryptographic"},
		"a signature of zeros":                   {one, rawJWS(`{"alg":"ES256","kid":"e1"}`, signedClaims, make([]byte, 64)), "cryptographic"},
		"two parts":                              {one, "e30.e30", "three parts"},
		"JSON serialization":                     {one, `{"payload":"e30","protected":"e30","signature":""}`, "three parts"},
		"nothing":                                {one, "", "empty"},
		"no keys":                                {nil, signJWS(jose.ES256, k.ec, "e1"), "no keys"},
		"an empty set":                           {json.RawMessage(`{"keys":[]}`), signJWS(jose.ES256, k.ec, "e1"), "0 keys"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			payload, header, err := newClientKeys(nil).verify(t.Context(), storage.Client{ID: "app", JWKS: tt.set}, tt.token, allAlgorithms)
			wantErr(t, err, tt.why)
			if (string(payload) == signedClaims) != (err == nil) || (header.Algorithm == "") != (err != nil) {
				t.Errorf("payload %q, header %v", payload, header)
			}
		})
	}
}

// A caller's mistake opens nothing: HMAC fits no key, and no algorithm means none.
func TestClientKeysNeverHMAC(t *testing.T) {
	t.Parallel()
	k := boxOfKeys()
	c := storage.Client{JWKS: keySet(publicKey(k.rsa, "r"))}
	token := signJWS(jose.HS256, x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey), "r")
	_, _, err := newClientKeys(nil).verify(t.Context(), c, token, []jose.SignatureAlgorithm{jose.HS256, "none"})
	wantErr(t, err, "0 keys")
	_, _, err = newClientKeys(nil).verify(t.Context(), c, signJWS(jose.RS256, k.rsa, "r"), nil)
	wantErr(t, err, "no signature algorithms")
}

func TestCheckJWKS(t *testing.T) {
	t.Parallel()
	k := boxOfKeys()
	ec := string(must(json.Marshal(publicKey(k.ec, "e"))))
	set := func(keys ...string) json.RawMessage {
		return json.RawMessage(`{"keys":[` + strings.Join(keys, ",") + `]}`)
	}
	many := make([]string, maxClientKeys+1)
	for i := range many {
		many[i] = ec
	}
	const private, shape = "public keys only", "a list of keys"
	for name, tt := range map[string]struct {
		raw  json.RawMessage
		want int
		why  string
	}{
		"one key":                               {set(ec), 1, ""},
		"as many as may be":                     {set(many[1:]...), maxClientKeys, ""},
		"one more":                              {set(many...), 0, "at most 20 keys"},
		"no keys":                               {set(), 0, ""},
		"too large":                             {set(ec, `{"kty":"`+strings.Repeat("x", maxJWKS)+`"}`), 0, "bytes"},
		"RFC 7517 §5: unknown members":          {json.RawMessage(`{"keys":[` + ec + `],"x":1}`), 1, ""},
		"RFC 7517 §5: unknown types":            {set(ec, `{"kty":"XX"}`), 1, ""},
		"RFC 7517 §5: missing members":          {set(ec, `{"kty":"RSA"}`, `{"kty":"EC","crv":"P-256"}`, `{}`), 1, ""},
		"RFC 7517 §5: not on the curve":         {set(`{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}`), 0, ""},
		"RFC 7517 §5: weak and other curves":    {keySet(publicKey(k.weak, ""), publicKey(k.big, "")), 0, ""},
		"other purposes":                        {withMembers(set(ec), `"use":"enc"`), 0, ""},
		"a use that is no string":               {withMembers(set(ec), `"use":1`), 0, ""},
		"operations that are no list":           {withMembers(set(ec), `"key_ops":"verify"`), 0, ""},
		"private EC":                            {keySet(jose.JSONWebKey{Key: k.ec}), 0, private},
		"private RSA":                           {keySet(jose.JSONWebKey{Key: k.rsa}), 0, private},
		"private Ed25519":                       {keySet(jose.JSONWebKey{Key: k.ed}), 0, private},
		"symmetric":                             {set(`{"kty":"oct","k":"AAAA"}`), 0, private},
		"symmetric, for another purpose":        {set(ec, `{"kty":"oct","use":"enc","k":"AAAA"}`), 0, private},
		"symmetric, without":                    {set(`{"kty":"oct"}`), 0, ""},
		"part of a private RSA key":             {withMembers(set(ec), `"dp":"AQ"`), 0, private},
		"private, of an unknown type":           {set(`{"kty":"XX","d":null}`), 0, private},
		"a member twice":                        {withMembers(set(ec), `"kty":"oct"`), 0, "a key is a JSON object"},
		"keys twice":                            {json.RawMessage(`{"keys":[` + ec + `],"keys":[]}`), 0, shape},
		"a key that is none":                    {set(`"x"`), 0, "a key is a JSON object"},
		"a key alone":                           {json.RawMessage(ec), 0, shape},
		"a list alone":                          {json.RawMessage(`[` + ec + `]`), 0, shape},
		"Keys":                                  {json.RawMessage(`{"Keys":[` + ec + `]}`), 0, shape},
		"null":                                  {json.RawMessage(`null`), 0, shape},
		"more behind it":                        {json.RawMessage(`{"keys":[]}{}`), 0, shape},
		"nothing":                               {nil, 0, shape},
		"RFC 7517 §4.7: certificate of another": {withMembers(set(ec), `"x5c":["AAAA"]`), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, err := checkJWKS(tt.raw)
			wantErr(t, err, tt.why)
			if len(keys) != tt.want {
				t.Errorf("%d keys, want %d", len(keys), tt.want)
			}
		})
	}
}

func FuzzCheckJWKS(f *testing.F) {
	k := boxOfKeys()
	f.Add([]byte(keySet(publicKey(k.ec, "e"), publicKey(k.rsa, "r"), publicKey(k.ed, "d"), publicKey(k.big, "b"))))
	f.Add([]byte(keySet(jose.JSONWebKey{Key: k.ec})))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQ","e":"AQAB","key_ops":["verify"],"use":"sig"}]}`))
	token := must(jose.ParseSignedCompact(signJWS(jose.ES256, k.ec, "e"), allAlgorithms))
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, err := checkJWKS(raw)
		if err != nil && keys != nil || len(keys) > maxClientKeys {
			t.Errorf("%d keys, %v", len(keys), err)
		}
		for _, key := range keys {
			if !key.IsPublic() || !key.Valid() || strongKey(key.Key) != nil {
				t.Errorf("%#v is taken", key)
			}
			_, _ = token.Verify(key.Key) // whatever it is, it does not panic
		}
		var shape struct{ Keys []map[string]any }
		if json.Unmarshal(raw, &shape) == nil && err == nil {
			for _, members := range shape.Keys {
				if _, ok := members["d"]; ok {
					t.Error("a private key is taken")
				}
			}
		}
	})
}

// publisher is a client that publishes its keys.
type publisher struct {
	*remote
	set atomic.Pointer[json.RawMessage] // nil: it is down
}

func newPublisher(t *testing.T, keys ...jose.JSONWebKey) *publisher {
	p := &publisher{}
	p.publish(keys...)
	p.remote = newRemote(t, func(w http.ResponseWriter, r *http.Request) {
		set := p.set.Load()
		if set == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "max-age=1200")
		_, _ = w.Write(*set)
	})
	return p
}

func (p *publisher) publish(keys ...jose.JSONWebKey) {
	set := keySet(keys...)
	p.set.Store(&set)
}

// OIDC Core §10.1.1: what is not known is looked up again, at most once a minute.
func TestClientKeysRotate(t *testing.T) {
	t.Parallel()
	k := boxOfKeys()
	p := newPublisher(t, publicKey(k.ec, "1"))
	f, now := p.fetcher()
	keys := newClientKeys(func(storage.Client) *fetcher { return f })
	verify := func(what, token string, fetches int32, why string) {
		t.Helper()
		_, _, err := keys.verify(t.Context(), storage.Client{ID: "app", JWKSURI: p.URL}, token, allAlgorithms)
		wantErr(t, err, why)
		if n := p.hits.Load(); n != fetches {
			t.Fatalf("%s: %d fetches, want %d", what, n, fetches)
		}
	}
	before, after, foreign := signJWS(jose.ES256, k.ec, "1"), signJWS(jose.ES256, k.ec2, "2"), signJWS(jose.ES256, k.ec2, "x")
	verify("the first", before, 1, "")
	verify("known", before, 1, "")
	verify("not published, just fetched", after, 1, "0 keys")

	now.pass(time.Second)
	p.publish(publicKey(k.ec2, "2"))
	verify("published a second after it was fetched", after, 1, "0 keys")
	now.pass(refetchAfter)
	verify("a minute after it was published", after, 2, "")
	verify("the old one is gone", before, 2, "0 keys")
	for range 32 {
		verify("someone makes up keys", foreign, 2, "0 keys")
	}
	now.pass(refetchAfter)
	verify("and again", foreign, 3, "0 keys")
	verify("and again", foreign, 3, "0 keys")

	now.pass(refetchAfter)
	p.publish(publicKey(k.ec, "2"))
	verify("another key under a known kid", signJWS(jose.ES256, k.ec, "2"), 4, "")

	now.pass(refetchAfter)
	p.set.Store(nil)
	verify("a key made up while the client is down", foreign, 5, "status is 503")
	verify("its own key still holds", signJWS(jose.ES256, k.ec, "2"), 5, "")
	now.pass(20 * time.Minute)
	verify("until it is too old", signJWS(jose.ES256, k.ec, "2"), 6, "status is 503")
	p.publish(publicKey(k.ec, "2"))
	verify("a client that failed is left alone", signJWS(jose.ES256, k.ec, "2"), 6, "status is 503")
	now.pass(failureAge)
	verify("and asked again", signJWS(jose.ES256, k.ec, "2"), 7, "")
}

// A key that was taken back is believed for as long as the document was to be
// kept, and for jwksFetch.maxAge at most.
func TestClientKeysExpire(t *testing.T) {
	t.Parallel()
	k := boxOfKeys()
	p := newPublisher(t, publicKey(k.ec, "1"))
	f, now := p.fetcher()
	keys, c := newClientKeys(func(storage.Client) *fetcher { return f }), storage.Client{ID: "app", JWKSURI: p.URL}
	_, _, err := keys.verify(t.Context(), c, signJWS(jose.ES256, k.ec, "1"), allAlgorithms)
	wantErr(t, err, "")
	p.publish(publicKey(k.ec2, "2"))
	now.pass(20 * time.Minute)
	_, _, err = keys.verify(t.Context(), c, signJWS(jose.ES256, k.ec, "1"), allAlgorithms)
	wantErr(t, err, "0 keys")
}

func TestClientKeysOfAJWKSURI(t *testing.T) {
	t.Parallel()
	k := boxOfKeys()
	for name, tt := range map[string]struct {
		keys []jose.JSONWebKey
		why  string
	}{
		"public keys":              {[]jose.JSONWebKey{publicKey(k.rsa, "r"), publicKey(k.ec, "e")}, ""},
		"a private key among them": {[]jose.JSONWebKey{publicKey(k.ec, "e"), {Key: k.rsa, KeyID: "r"}}, "public keys only"},
		"the secret among them":    {[]jose.JSONWebKey{publicKey(k.ec, "e"), {Key: []byte("secret"), KeyID: "s"}}, "public keys only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPublisher(t, tt.keys...)
			f, _ := p.fetcher()
			_, _, err := newClientKeys(func(storage.Client) *fetcher { return f }).verify(t.Context(), storage.Client{JWKSURI: p.URL}, signJWS(jose.ES256, k.ec, "e"), allAlgorithms)
			wantErr(t, err, tt.why)
		})
	}
	_, _, err := newClientKeys(func(storage.Client) *fetcher { return newFetcher(FetchConfig{}) }).verify(t.Context(), storage.Client{JWKSURI: "https://127.0.0.1/jwks"}, signJWS(jose.ES256, k.ec, "e"), allAlgorithms)
	wantErr(t, err, "not to be reached")
}

// Documents are parsed once, and what is kept of them is bounded.
func TestClientKeysAreParsedOnce(t *testing.T) {
	t.Parallel()
	k := boxOfKeys()
	keys, set := newClientKeys(nil), keySet(publicKey(k.ec, "e"))
	first, second := must(keys.parsed(set)), must(keys.parsed(set))
	if &first[0] != &second[0] {
		t.Error("parsed twice")
	}
	for i := range maxKeySets + 1 {
		keys.sets[sha256.Sum256(fmt.Append(nil, i))] = nil
	}
	if _ = must(keys.parsed(keySet(publicKey(k.ec2, "e")))); len(keys.sets) > maxKeySets {
		t.Errorf("%d sets", len(keys.sets))
	}
	if _, err := keys.parsed([]byte("{}")); err == nil {
		t.Error("a set without keys is taken")
	}
}

func TestClientKeysByManyAtOnce(t *testing.T) {
	t.Parallel()
	k := boxOfKeys()
	p := newPublisher(t, publicKey(k.ec, "1"))
	f, _ := p.fetcher()
	keys := newClientKeys(func(storage.Client) *fetcher { return f })
	good, bad := signJWS(jose.ES256, k.ec, "1"), signJWS(jose.ES256, k.ec2, "2")
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			<-start
			token := []string{good, bad}[i%2]
			_, _, err := keys.verify(t.Context(), storage.Client{JWKSURI: p.URL}, token, allAlgorithms)
			if (err == nil) != (token == good) {
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	if n := p.hits.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}
