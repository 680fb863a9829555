package provider

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

func TestVerifyPKCE(t *testing.T) {
	longest := strings.Repeat("a", 128)
	for _, tt := range []struct {
		name, challenge, verifier string
		want                      bool
	}{
		{"RFC 7636 appendix B", challenge, verifier, true},
		{"neither sent", "", "", true},
		{"RFC 7636 §4.6, S2: challenge without verifier", challenge, "", false},
		{"RFC 9700 §4.8.2: verifier without challenge", "", verifier, false},
		{"RFC 7636 §4.6: wrong verifier", challenge, strings.Repeat("a", 43), false},
		{"RFC 9700 §2.1.1: plain", verifier, verifier, false},
		{"the challenge itself", challenge, challenge, false},
		{"RFC 7636 §4.1: another case", challenge, strings.ToUpper(verifier), false},
		{"RFC 7636 §4.1: 128 characters", s256(longest), longest, true},
		{"RFC 7636 §4.1: 129 characters", s256(longest + "a"), longest + "a", false},
		{"RFC 7636 §4.1: 42 characters", s256(verifier[1:]), verifier[1:], false},
		{"RFC 7636 §4.1: space", s256(verifier + " "), verifier + " ", false},
		{"RFC 7636 §4.1: slash", s256(verifier + "/"), verifier + "/", false},
		{"RFC 7636 §4.1: padding", s256(verifier + "="), verifier + "=", false},
		{"RFC 7636 §4.1: letter beyond ASCII", s256(verifier + "é"), verifier + "é", false},
		{"RFC 7636 §4.1: NUL", s256(verifier + "\x00"), verifier + "\x00", false},
		{"RFC 7636 §4.1: every unreserved character", s256(unreserved), unreserved, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := verifyPKCE(tt.challenge, tt.verifier); got != tt.want {
				t.Errorf("verifyPKCE = %v", got)
			}
		})
	}
}

func TestIsChallenge(t *testing.T) {
	for name, tt := range map[string]struct {
		challenge string
		want      bool
	}{
		"RFC 7636 appendix B":  {challenge, true},
		"empty":                {"", false},
		"too short":            {challenge[1:], false},
		"too long":             {challenge + "A", false},
		"padded":               {challenge + "=", false},
		"standard alphabet":    {strings.Repeat("+/", 21) + "A", false},
		"bits beyond the hash": {challenge[:42] + "N", false},
		"line feed":            {challenge[:42] + "\n" + challenge[42:], false},
	} {
		if got := isChallenge(tt.challenge); got != tt.want {
			t.Errorf("%s: isChallenge(%q) = %v", name, tt.challenge, got)
		}
	}
}

// The proof key at both endpoints, by client and method.
func TestPKCE(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	no := []string{"code_challenge", omit, "code_challenge_method", omit}
	hashed := []string{"code_challenge", challenge, "code_challenge_method", "S256"}
	for _, tt := range []struct {
		name, client string
		request      []string
		refused      bool
	}{
		{"RFC 7636 §4.3: S256", "web", hashed, false},
		{"OIDC Core §3.1.2.1: a confidential client needs none", "web", no, false},
		{"RFC 9700 §2.1.1: a public web client needs it", "spa", no, true},
		{"RFC 8252 §6: a native client needs it", "cli", no, true},
		{"require_pkce: always", "strict", no, true},
		{"require_pkce: always, S256", "strict", hashed, false},
		{"RFC 9700 §2.1.1: plain", "web", []string{"code_challenge", challenge, "code_challenge_method", "plain"}, true},
		{"RFC 7636 §4.3: no method means plain", "web", []string{"code_challenge", challenge}, true},
		{"RFC 7636 §4.3: no method means plain, public client", "spa", []string{"code_challenge_method", omit}, true},
		{"an unknown method", "web", []string{"code_challenge", challenge, "code_challenge_method", "S512"}, true},
		{"case of the method", "web", []string{"code_challenge", challenge, "code_challenge_method", "s256"}, true},
		{"a method without challenge", "web", []string{"code_challenge_method", "S256"}, true},
		{"RFC 7636 §4.2: a challenge that is no hash", "web", []string{"code_challenge", verifier + "a", "code_challenge_method", "S256"}, true},
		{"RFC 6749 §3.1: an empty challenge is none", "web", []string{"code_challenge", "", "code_challenge_method", ""}, false},
		{"RFC 6749 §3.1: an empty challenge is none, public client", "cli", []string{"code_challenge", "", "code_challenge_method", ""}, true},
	} {
		w.run(tt.name, func(t *testing.T) {
			a := b.authorize(tt.client, tt.request...)
			if tt.refused {
				a.isError("invalid_request")
			} else {
				a.code()
			}
		})
	}
	for _, tt := range []struct {
		name, client      string
		request, exchange []string
		refused           bool
	}{
		{"RFC 7636 §4.6: the right verifier", "web", hashed, []string{"code_verifier", verifier}, false},
		{"S2: a confidential client leaves it out", "web", hashed, nil, true},
		{"S2: a confidential client sends an empty one", "web", hashed, []string{"code_verifier", ""}, true},
		{"RFC 7636 §4.6: a public client leaves it out", "spa", nil, []string{"code_verifier", omit}, true},
		{"RFC 9700 §4.8.2: a verifier without challenge", "web", no, []string{"code_verifier", verifier}, true},
		{"RFC 7636 §4.6: a wrong verifier", "web", hashed, []string{"code_verifier", strings.Repeat("a", 43)}, true},
		{"the challenge for a verifier", "web", hashed, []string{"code_verifier", challenge}, true},
	} {
		w.run(tt.name, func(t *testing.T) {
			code := b.code(tt.client, tt.request...)
			a := w.redeem(tt.client, code, tt.exchange...)
			if !tt.refused {
				w.granted(a)
				return
			}
			a.is(400, "invalid_grant")
			// RFC 6749 §10.5: a stolen code gets one guess.
			again := w.exchange(tt.client, code)
			if len(tt.request) > 0 && tt.request[1] == challenge || tt.client == "spa" {
				again = append(again, "code_verifier", verifier)
			}
			w.api("/token", tt.client, again...).is(400, "invalid_grant")
		})
	}
}

func s256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
