package login

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits in octets. A path of 256 octets includes its angle brackets, so an
// address has 254 (RFC 5321 §4.5.3.1.3, RFC 3696 erratum 1690).
const (
	maxAddress = 254
	maxLocal   = 64 // RFC 5321 §4.5.3.1.1
)

var errInvalidAddress = errors.New("not an email address")

// Address is one mailbox. Both forms are pure ASCII.
type Address struct {
	// Key is the identity: the local part and the domain in lower case. Dots
	// and plus tags stay, as they name other mailboxes at many providers.
	Key string
	// Delivery is where mail goes: the local part as typed, as a server may
	// tell its case (RFC 5321 §2.4), and the domain as in Key.
	Delivery string
}

// ParseAddress reads an address as a person types it into a form. It takes
// less than RFC 5321 §4.1.2 would allow: a local part that is an ASCII
// dot-atom, and a domain name of at least two labels. There are no quoted
// strings, comments, display names or address literals, so that no two parsers
// disagree on where mail goes.
//
// Nothing beyond ASCII is folded in the local part, and a domain that only
// compatibility mapping makes ASCII is refused: otherwise two people's
// addresses could become one key. An internationalized domain becomes its
// A-labels (RFC 5891 §5).
func ParseAddress(s string) (Address, error) {
	s = strings.Trim(s, " \t\r\n")
	if len(s) > maxAddress || !utf8.ValidString(s) || strings.Count(s, "@") != 1 {
		return Address{}, errInvalidAddress
	}
	local, domain, _ := strings.Cut(s, "@")
	if !dotAtom(local) {
		return Address{}, errInvalidAddress
	}
	domain, err := domainASCII(domain)
	if err != nil || len(local)+len("@")+len(domain) > maxAddress {
		return Address{}, errInvalidAddress
	}
	return Address{Key: lower(local) + "@" + domain, Delivery: local + "@" + domain}, nil
}

// AbuseKey is for counting alone and never an identity: mailboxes that one
// person makes up at will share it. Plus tags are dropped, and for Gmail the
// dots and the other domain, too.
func (a Address) AbuseKey() string {
	local, domain, _ := strings.Cut(a.Key, "@")
	if untagged, _, _ := strings.Cut(local, "+"); untagged != "" {
		local = untagged
	}
	if domain == "googlemail.com" {
		domain = "gmail.com"
	}
	if domain == "gmail.com" {
		local = strings.ReplaceAll(local, ".", "")
	}
	return local + "@" + domain
}

// atext is RFC 5322 §3.2.3 without what may mean another mailbox to a mail
// server or a program behind it: % and ! were routes once, to any host, and some
// servers still follow them (RFC 5321 §F.2, RFC 1123 §5.2.16); | and ` are
// commands to a shell.
const atext = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789#$&'*+-/=?^_{}~"

// dotAtom says whether s is a local part that we take: RFC 5322 §3.2.3, but no
// option of a command and no encoded word.
func dotAtom(s string) bool {
	if len(s) > maxLocal || strings.HasPrefix(s, "-") || strings.Contains(s, "=?") {
		return false
	}
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.Trim(atom, atext) != "" {
			return false
		}
	}
	return true
}

// lookup maps and checks domain names (RFC 5891 §5, UTS 46), with every check
// there is.
var lookup = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.CheckJoiners(true),
	idna.CheckHyphens(true), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// toASCII gives the A-label form of a domain name, in lower case. It refuses
// full width letters, invisible characters and the like: what looks like another
// spelling of an ASCII domain would become that domain.
func toASCII(domain string) (string, error) {
	mapped, err := lookup.ToASCII(domain) // on an error, too, there is some text
	if err != nil || !isASCII(domain) && !strings.Contains(mapped, "xn--") {
		return "", errInvalidAddress
	}
	return mapped, nil
}

// domainASCII is toASCII for what is a domain of mailboxes: two labels at least
// and a top level that can be one.
func domainASCII(domain string) (string, error) {
	ascii, err := toASCII(domain)
	if err != nil {
		return "", err
	}
	i := strings.LastIndexByte(ascii, '.')
	top := ascii[i+1:] // none after a trailing dot, digits in an IPv4 address
	if i < 0 || len(top) < 2 || strings.Trim(top, "0123456789") == "" {
		return "", errInvalidAddress
	}
	return ascii, nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// lower folds ASCII letters and nothing else: strings.ToLower makes ASCII
// letters of some others.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}
