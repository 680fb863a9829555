package provider

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
)

const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

// isChallenge says whether s can be an S256 code challenge: 32 bytes in
// base64url (RFC 7636 §4.2).
func isChallenge(s string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == sha256.Size && len(s) == base64.RawURLEncoding.EncodedLen(sha256.Size) // no line feeds, which the decoder skips
}

// verifyPKCE checks the verifier whenever a challenge was sent (RFC 7636
// §4.6). A verifier without a challenge is refused as well: the request it
// belongs to was stripped of its challenge on the way (RFC 9700 §4.8.2).
func verifyPKCE(challenge, verifier string) bool {
	if challenge == "" || verifier == "" {
		return challenge == verifier
	}
	if len(verifier) < 43 || len(verifier) > 128 || strings.Trim(verifier, unreserved) != "" { // RFC 7636 §4.1
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	computed := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(computed), []byte(challenge)) == 1
}
