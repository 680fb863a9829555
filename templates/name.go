package templates

import (
	"strings"
	"unicode"
)

// maxName is the longest name shown, in characters.
const maxName = 60

// SafeName makes a name that somebody else chose fit to stand in our sentences
// and in mail headers: control, formatting and bidi characters are gone
// (zero-width joiners stay, scripts need them), so is "=?", which opens an
// encoded word (RFC 2047 §2); white space is single; what is too long is cut.
func SafeName(name string) string {
	name = clean(name)
	if runes := []rune(name); len(runes) > maxName {
		name = strings.TrimSpace(string(runes[:maxName-1])) + "…"
	}
	return name
}

// CleanName is [SafeName] without the cut, for a name that is kept.
func CleanName(name string) string { return clean(name) }

// clean is [SafeName] without the cut, for what deceives when its end is
// missing, such as a host.
func clean(name string) string {
	name = strings.ToValidUTF8(name, "")
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == '\u200c' || r == '\u200d':
			return r
		case !unicode.IsGraphic(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r):
			return -1
		}
		return r
	}, name)
	for strings.Contains(name, "=?") {
		name = strings.ReplaceAll(name, "=?", "")
	}
	return strings.Join(strings.Fields(name), " ")
}

// monogram is the first letter or digit of a name, standing in for its logo.
func monogram(name string) string {
	for _, r := range name {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return string(unicode.ToUpper(r))
		}
	}
	return "•"
}
