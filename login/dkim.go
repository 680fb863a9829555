package login

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"slices"
	"strings"
	"time"
)

// DKIMKey signs mail for a domain (RFC 6376). It doesn't print its private key.
type DKIMKey struct {
	domain, selector string
	signer           crypto.Signer // RSA or Ed25519
	record           string
}

var errDKIMKey = errors.New("write one unencrypted private key in PEM, RSA or Ed25519, as made by: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048")

// What is wrong with where a key is published.
var (
	ErrDKIMDomain   = errors.New("the domain is not a domain name")
	ErrDKIMSelector = errors.New("the selector is not made of letters, digits, - and dots")
)

// ParseDKIMKey reads a private key in PEM: RSA in PKCS #1 or #8, or Ed25519 in
// PKCS #8. Its public half is found in the DNS under the selector and domain.
// Errors are ErrDKIMDomain, ErrDKIMSelector, or of the key, of which they tell
// nothing.
func ParseDKIMKey(domain, selector string, text []byte) (DKIMKey, error) {
	ascii, err := toASCII(domain)
	if err != nil || ascii == "" || strings.HasSuffix(ascii, ".") {
		return DKIMKey{}, ErrDKIMDomain
	}
	k := DKIMKey{domain: ascii, selector: lower(selector)}
	labels, err := toASCII(k.selector) // RFC 6376 §3.1
	if err != nil || labels != k.selector || labels == "" || strings.HasSuffix(labels, ".") || len(k.String()) > 253 {
		return DKIMKey{}, ErrDKIMSelector
	}
	if k.signer, err = parsePrivateKey(text); err != nil {
		return DKIMKey{}, err
	}
	k.record, err = dkimRecord(k.signer.Public())
	return k, err
}

// NewDKIMKey makes a private key in PEM, as ParseDKIMKey reads it: RSA of 2048
// bits, which every receiver can check and whose record the DNS can hold, or
// Ed25519.
func NewDKIMKey(ed bool) ([]byte, error) {
	var key any
	var err error
	if ed {
		_, key, err = ed25519.GenerateKey(rand.Reader)
	} else {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		return nil, fmt.Errorf("make DKIM key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make DKIM key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func parsePrivateKey(text []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(text)
	if block == nil || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 { // an encrypted one has headers (RFC 1421 §4.6.1.1)
		return nil, errDKIMKey
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, errDKIMKey
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		// RFC 8301 §3.2: signers should use 2048 bits at least, and verifiers
		// need not handle more than 4096.
		if n := key.N.BitLen(); n < 2048 || n > 4096 {
			return nil, fmt.Errorf("the key is RSA of %d bits: 2048 to 4096 are taken (RFC 8301 §3.2)", n)
		}
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, errDKIMKey
}

// dkimRecord gives the key record (RFC 6376 §3.6.1; of Ed25519, RFC 8463 §4.2).
func dkimRecord(public crypto.PublicKey) (string, error) {
	algorithm, p := "ed25519", []byte(nil)
	switch public := public.(type) {
	case ed25519.PublicKey:
		p = public
	default:
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return "", err
		}
		algorithm, p = "rsa", der
	}
	return "v=DKIM1; k=" + algorithm + "; p=" + base64.StdEncoding.EncodeToString(p), nil
}

// DKIMRecord is the value of the TXT record that must be published under the
// name k.String(), for receivers to find the public key. A string of a TXT
// record holds 255 octets: a longer value is written as several strings, which
// are read as one (RFC 6376 §3.6.2.2).
func DKIMRecord(k DKIMKey) string { return k.record }

// String is the name of the key's record in the DNS (RFC 6376 §3.6.2.1).
func (k DKIMKey) String() string { return k.selector + "._domainkey." + k.domain }

// GoString keeps the private key out of %#v.
func (k DKIMKey) GoString() string { return k.String() }

// MarshalText keeps the private key out of JSON and slog.
func (k DKIMKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func (k DKIMKey) algorithm() string {
	switch k.signer.(type) {
	case *rsa.PrivateKey:
		return "rsa"
	case ed25519.PrivateKey:
		return "ed25519"
	}
	return ""
}

// CheckDKIM says why mail of a sender cannot be signed with keys before a
// server gets it.
func CheckDKIM(from string, server MailServer, keys []DKIMKey) error {
	s, err := parseSender(from)
	if err != nil {
		return err
	}
	return checkDKIM(s, server, keys)
}

// checkDKIM is CheckDKIM. Few receivers know Ed25519, so it only comes second.
func checkDKIM(from sender, server MailServer, keys []DKIMKey) error {
	switch {
	case len(keys) == 0:
		return nil
	case server.Signs():
		return errors.New("the mail server is Cloudflare's, which signs by itself and takes no mail that is signed: leave the keys out")
	case len(keys) > 2, keys[0].algorithm() != "rsa", len(keys) == 2 && keys[1].algorithm() != "ed25519":
		return errors.New("one RSA key signs, and one Ed25519 key may sign besides it")
	case len(keys) == 2 && keys[0].String() == keys[1].String():
		return fmt.Errorf("both keys are published as %s: give each a selector of its own", keys[0])
	}
	for _, k := range keys {
		if !aligned(from.domain, k.domain) {
			return fmt.Errorf("mail from %s and signed by %s is not trusted (RFC 7489 §3.1.1): sign with a key of %[1]s", from.domain, k.domain)
		}
	}
	return nil
}

// aligned is relaxed alignment as far as it can be told without a list of
// public suffixes: one domain is the other, or above it (RFC 7489 §3.1.1).
func aligned(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	return a == b || strings.Contains(b, ".") && strings.HasSuffix(a, "."+b)
}

// signedFields are what a reader sees and how the body is read. Each is signed
// once more than it occurs: a second one would break the signature (RFC 6376
// §5.4.2, §8.15).
var signedFields = []string{"from", "to", "subject", "date", "message-id", "content-type", "mime-version", "reply-to"}

// sign puts a signature of each key before a message. The same message, keys
// and time give the same bytes: both algorithms are deterministic (RFC 8017
// §8.2, RFC 8032 §5.1.6). A signature doesn't expire and covers the whole body.
func sign(m message, keys []DKIMKey, at time.Time) (message, error) {
	var signed []byte
	for _, k := range keys {
		field, err := k.sign(m.raw, at)
		if err != nil {
			return message{}, fmt.Errorf("sign mail: %w", err)
		}
		signed = append(signed, field...)
	}
	m.raw = append(signed, m.raw...)
	return m, nil
}

// sign gives the header field that signs a message (RFC 6376 §3.5, §3.7).
func (k DKIMKey) sign(raw []byte, at time.Time) (string, error) {
	head, body, ok := strings.Cut(string(raw), "\r\n\r\n")
	if !ok {
		return "", errors.New("no body")
	}
	sum, bodySum := sha256.New(), sha256.Sum256([]byte(relaxedBody(body)))
	names := hashFields(sum, head)
	value := fmt.Sprintf(" v=1; a=%s-sha256; c=relaxed/relaxed; d=%s; s=%s;\r\n\tt=%d;\r\n\th=%s;\r\n\tbh=%s;\r\n\tb=",
		k.algorithm(), k.domain, k.selector, at.Unix(), names, base64.StdEncoding.EncodeToString(bodySum[:]))
	fmt.Fprintf(sum, "dkim-signature:%s", relaxedValue(value))
	kind := crypto.SHA256
	if k.algorithm() == "ed25519" {
		kind = 0 // it signs the digest as it signs any message (RFC 8463 §3)
	}
	signature, err := k.signer.Sign(rand.Reader, sum.Sum(nil), kind)
	if err != nil {
		return "", err
	}
	return "DKIM-Signature:" + value + folded(base64.StdEncoding.EncodeToString(signature)) + "\r\n", nil
}

// hashFields hashes the fields that are signed and gives their names as h=
// lists them. Of fields with one name the last is the first (RFC 6376 §5.4.2).
func hashFields(sum hash.Hash, head string) string {
	fields := map[string][]string{}
	for _, field := range strings.Split(unfolded.Replace(head), "\r\n") {
		name, value, _ := strings.Cut(field, ":")
		name = lower(strings.TrimRight(name, " \t"))
		fields[name] = append(fields[name], relaxedValue(value))
	}
	var names []string
	for _, name := range signedFields {
		for _, value := range slices.Backward(fields[name]) {
			names = append(names, name)
			fmt.Fprintf(sum, "%s:%s\r\n", name, value)
		}
		names = append(names, name)
	}
	var lines []string
	for line := range slices.Chunk(names, 6) {
		lines = append(lines, strings.Join(line, ":"))
	}
	return strings.Join(lines, ":\r\n\t")
}

var (
	unfolded = strings.NewReplacer("\r\n ", " ", "\r\n\t", " ")
	blanks   = regexp.MustCompile(`[ \t]+`)
)

// relaxedValue is the relaxed form of a header field's value (RFC 6376 §3.4.2).
func relaxedValue(value string) string {
	return strings.Trim(blanks.ReplaceAllString(unfolded.Replace(value), " "), " ")
}

// relaxedBody is the relaxed form of a body (RFC 6376 §3.4.4).
func relaxedBody(body string) string {
	body = strings.ReplaceAll(blanks.ReplaceAllString(body, " "), " \r\n", "\r\n")
	if body = strings.TrimRight(body, " \r\n"); body == "" {
		return ""
	}
	return body + "\r\n"
}

// folded breaks a long value into lines (RFC 5322 §2.2.3).
func folded(s string) string {
	const width = 72
	var b strings.Builder
	for ; len(s) > width; s = s[width:] {
		b.WriteString(s[:width] + "\r\n\t")
	}
	return b.String() + s
}
