package provider

import (
	"strings"

	"github.com/sealpost/sealpost/keys"
)

// userCodeLetters are those of RFC 8628 §6.1: no vowels, so that no word comes
// of them, and nothing that looks like something else.
const userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"

// userCodeLength makes 34 bits, against which a few guesses a minute are
// nothing (RFC 8628 §5.1).
const userCodeLength = 8

// newUserCode makes a user code as it is stored: every letter as likely.
func newUserCode() string {
	const n = len(userCodeLetters)
	code := make([]byte, 0, userCodeLength)
	for len(code) < userCodeLength {
		if b := int(keys.Random(1)[0]); b < 256/n*n {
			code = append(code, userCodeLetters[b%n])
		}
	}
	return string(code)
}

// showUserCode writes a stored user code for people: XXXX-XXXX.
func showUserCode(code string) string {
	return code[:userCodeLength/2] + "-" + code[userCodeLength/2:]
}

// readUserCode reads what a person typed (RFC 8628 §6.1): case does not matter,
// nor what stands between the letters. ok: it can be a user code.
func readUserCode(typed string) (code string, ok bool) {
	if len(typed) > 64 {
		return "", false
	}
	code = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, typed)
	return code, len(code) == userCodeLength && strings.Trim(code, userCodeLetters) == ""
}
