package provider

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// foreign are keys of somebody else.
var foreign = sync.OnceValue(func() map[jose.SignatureAlgorithm]any {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return map[jose.SignatureAlgorithm]any{jose.RS256: r, jose.ES256: e}
})

// forgeries gives what an attacker can make of one good token, by name.
func (w *world) forgeries(token string) map[string]string {
	w.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		w.Fatalf("not a compact JWS")
	}
	var header map[string]any
	if err := json.Unmarshal(unbase64(w, parts[0]), &header); err != nil {
		w.Fatal(err)
	}
	head := func(pairs ...any) string {
		h := maps.Clone(header)
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i].(string)] = pairs[i+1]
		}
		return base64JSON(w, h)
	}
	var claims map[string]any
	if err := json.Unmarshal(unbase64(w, parts[1]), &claims); err != nil {
		w.Fatal(err)
	}
	claims["sub"] = "somebody-else"
	changed := base64JSON(w, claims)
	kid := header["kid"].(string)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(w.send(newRequest("GET", "/jwks", nil)).body), &set); err != nil {
		w.Fatal(err)
	}
	public := set.Key(kid)[0]
	der, err := x509.MarshalPKIXPublicKey(public.Key)
	if err != nil {
		w.Fatal(err)
	}
	jwk, err := public.MarshalJSON()
	if err != nil {
		w.Fatal(err)
	}
	mac := func(key []byte) string {
		signed := head("alg", "HS256") + "." + parts[1]
		h := hmac.New(sha256.New, key)
		h.Write([]byte(signed))
		return signed + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	}
	alg := jose.SignatureAlgorithm(header["alg"].(string))
	other := jose.RS256
	if alg == jose.RS256 {
		other = jose.ES256
	}
	signature := unbase64(w, parts[2])
	signature[len(signature)/2] ^= 1
	return map[string]string{
		"garbage":                   "garbage",
		"two dots":                  "..",
		"one part":                  parts[0],
		"no signature":              parts[0] + "." + parts[1] + ".",
		"alg none":                  head("alg", "none") + "." + parts[1] + ".",
		"alg None":                  head("alg", "None") + "." + parts[1] + "." + parts[2],
		"alg none, signature kept":  head("alg", "none") + "." + parts[1] + "." + parts[2],
		"HS256 with the public key": mac(der),
		"HS256 with the public JWK": mac(jwk),
		"HS256 with an empty key":   mac(nil),
		"claims changed":            parts[0] + "." + changed + "." + parts[2],
		"signature changed":         parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(signature),
		"foreign key, our kid":      w.sign(alg, foreign()[alg], header, parts[1]),
		"foreign key, no kid":       w.sign(alg, foreign()[alg], map[string]any{"typ": header["typ"]}, parts[1]),
		"foreign key in the header": w.signEmbedded(alg, foreign()[alg], header["typ"].(string), parts[1]),
		"other algorithm, our kid":  w.sign(other, foreign()[other], header, parts[1]),
		"unknown kid":               head("kid", "unknown") + "." + parts[1] + "." + parts[2],
		"critical header":           head("crit", []string{"exp"}, "exp", 1) + "." + parts[1] + "." + parts[2],
		"JSON serialization":        `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"five parts":                token + ".AAAA.AAAA",
	}
}

// sign signs a payload, which is encoded already, with the typ and kid of header.
func (w *world) sign(alg jose.SignatureAlgorithm, key any, header map[string]any, payload string) string {
	w.Helper()
	kid, _ := header["kid"].(string)
	typ, _ := header["typ"].(string)
	return w.compact(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)), payload)
}

func (w *world) signEmbedded(alg jose.SignatureAlgorithm, key any, typ, payload string) string {
	w.Helper()
	return w.compact(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType(jose.ContentType(typ)), payload)
}

func (w *world) compact(key jose.SigningKey, options *jose.SignerOptions, payload string) string {
	w.Helper()
	signer, err := jose.NewSigner(key, options)
	if err != nil {
		w.Fatal(err)
	}
	jws, err := signer.Sign(unbase64(w, payload))
	if err != nil {
		w.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		w.Fatal(err)
	}
	return token
}

// signed is a token of our own key ring, with claims as wanted.
func (w *world) signed(alg jose.SignatureAlgorithm, typ string, claims any) string {
	w.Helper()
	token, err := w.provider.cfg.Keys.Sign(alg, typ, claims)
	if err != nil {
		w.Fatal(err)
	}
	return token
}

func unbase64(w *world, s string) []byte {
	w.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		w.Fatal(err)
	}
	return b
}

func base64JSON(w *world, v any) string {
	w.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		w.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
