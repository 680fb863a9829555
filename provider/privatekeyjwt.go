package provider

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// Algorithms of what clients sign: assertions and request objects. FAPI 2.0
// §5.4.1 leaves out RS256.
var (
	clientAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA}
	fapiAlgorithms   = []jose.SignatureAlgorithm{jose.PS256, jose.ES256, jose.EdDSA}
)

// algorithmsOf are those that a client may sign with; registered is the one it
// said it would use, if it did.
func algorithmsOf(c storage.Client, registered string) []jose.SignatureAlgorithm {
	allowed := clientAlgorithms
	if c.FAPI() {
		allowed = fapiAlgorithms
	}
	if registered == "" {
		return allowed
	}
	return slices.DeleteFunc(slices.Clone(allowed), func(a jose.SignatureAlgorithm) bool { return string(a) != registered })
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// Limits of an assertion's times (RFC 7523 §3).
const (
	assertionSkew   = 30 * time.Second // how far a client's clock may be off
	assertionMaxAge = time.Hour        // how far its end may lie ahead
)

// privateKeyJWT is a JWT that the client signed with a key of its own (OIDC
// Core §9, RFC 7523 §2.2).
var privateKeyJWT = authMethod{
	name:   "private_key_jwt",
	claims: assertedClient,
	prove:  (*Provider).proveAssertion,
}

// assertion are the claims of a client assertion (RFC 7523 §3).
type assertion struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	Expires   json.Number     `json:"exp"`
	NotBefore json.Number     `json:"nbf"`
	IssuedAt  json.Number     `json:"iat"`
	ID        string          `json:"jti"`
}

// assertedClient reads who an assertion is said to come from, before it is
// proven.
func assertedClient(c *call) (string, bool, error) {
	token, kind := c.form.Get("client_assertion"), c.form.Get("client_assertion_type")
	switch {
	case token == "" && kind == "":
		return "", false, nil
	case kind != assertionType || token == "":
		return "", true, errClient.because(errors.New("client_assertion_type is not jwt-bearer, or the assertion is missing"))
	}
	jws, err := jose.ParseSignedCompact(token, clientAlgorithms)
	if err != nil {
		return "", true, errClient.because(err)
	}
	var a assertion
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &a); err != nil || a.Subject == "" {
		return "", true, errClient.because(errors.New("the assertion has no sub"))
	}
	return a.Subject, true, nil
}

func (p *Provider) proveAssertion(c *call, client storage.Client) error {
	payload, _, err := p.clientKeys.verify(c.Context(), client, c.form.Get("client_assertion"), algorithmsOf(client, client.TokenEndpointAuthSigningAlg))
	if isAway(err) {
		return err // the keys could not be consulted: that proves nothing either way
	}
	if err != nil {
		return errClient.because(err)
	}
	var a assertion
	if err := json.Unmarshal(payload, &a); err != nil {
		return errClient.because(err)
	}
	now := p.cfg.Now()
	expires, err := a.check(client, p.assertionAudiences(c, client), now)
	if err != nil {
		return errClient.because(err)
	}
	c.uses = append(c.uses, storage.Use{Key: keys.Hash([]byte("assertion\x00" + client.ID + "\x00" + a.ID)), EndsAt: expires.Add(assertionSkew)})
	return nil
}

// assertionAudiences are what an assertion may be addressed to. FAPI 2.0
// §5.3.2.1 takes the issuer alone, as a string; OpenID Connect names the token
// endpoint (OIDC Core §9), and what is pushed may name its own (RFC 9126 §2).
func (p *Provider) assertionAudiences(c *call, client storage.Client) []string {
	if client.FAPI() {
		return []string{p.cfg.Issuer}
	}
	return []string{p.cfg.Issuer, p.cfg.Issuer + pathToken, p.cfg.Issuer + c.URL.Path}
}

// check gives the end of the assertion.
func (a assertion) check(client storage.Client, audiences []string, now time.Time) (time.Time, error) {
	named, err := audienceOf(a.Audience, !client.FAPI())
	if err != nil {
		return time.Time{}, err
	}
	expires, err := numericDate(a.Expires)
	switch {
	case err != nil || a.Expires == "":
		return time.Time{}, errors.New("the assertion has no exp")
	case a.Issuer != client.ID || a.Subject != client.ID:
		return time.Time{}, errors.New("iss and sub of the assertion are not the client")
	case !slices.ContainsFunc(named, func(aud string) bool { return slices.Contains(audiences, aud) }):
		return time.Time{}, errors.New("the assertion is for another audience")
	case a.ID == "" || len(a.ID) > maxParam:
		return time.Time{}, errors.New("the assertion has no jti")
	case !now.Before(expires.Add(assertionSkew)):
		return time.Time{}, errors.New("the assertion has expired")
	case expires.After(now.Add(assertionMaxAge)):
		return time.Time{}, errors.New("the assertion lives too long")
	}
	for _, n := range []json.Number{a.NotBefore, a.IssuedAt} {
		at, err := numericDate(n)
		if err != nil {
			return time.Time{}, errors.New("a time of the assertion is no number")
		}
		if at.After(now.Add(assertionSkew)) {
			return time.Time{}, errors.New("the assertion is from the future")
		}
	}
	return expires, nil
}

// audienceOf reads an aud, a string or, where lists are taken, a list of them
// (RFC 7519 §4.1.3).
func audienceOf(raw json.RawMessage, lists bool) ([]string, error) {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	var many []string
	if err := json.Unmarshal(raw, &many); err != nil || !lists {
		return nil, errors.New("aud is not as it should be")
	}
	return many, nil
}

// numericDate reads a NumericDate (RFC 7519 §2), to the second; absent, it is
// the zero time.
func numericDate(n json.Number) (time.Time, error) {
	if n == "" {
		return time.Time{}, nil
	}
	whole, _, _ := strings.Cut(n.String(), ".")
	seconds, err := json.Number(whole).Int64()
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return time.Time{}, errors.New("not a date")
	}
	return time.Unix(seconds, 0), nil
}
