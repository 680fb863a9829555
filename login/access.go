package login

import (
	"errors"
	"fmt"
	"strings"
)

// pattern is one or many addresses: user@example.com, *@example.com, or
// *@*.example.com, which is every subdomain and not the domain itself.
type pattern struct {
	local      string // "": any
	domain     string // A-labels, lower case
	subdomains bool
}

// readPattern refuses what it doesn't know with the fix.
func readPattern(s string) (pattern, error) {
	local, domain, ok := strings.Cut(s, "@")
	switch {
	case !ok && s != "" && s != "*" && !strings.ContainsAny(s, " \t\r\n"):
		return pattern{}, fmt.Errorf("write *@%s", s)
	case !ok || strings.Contains(domain, "@"):
		return pattern{}, errors.New("write *@example.com, *@*.example.com or user@example.com")
	case local == "*":
		local = ""
	case strings.Contains(local, "*") || !dotAtom(local):
		return pattern{}, errors.New("before the @ stands * or the whole local part of one address")
	}
	domain, subdomains := strings.CutPrefix(domain, "*.")
	ascii, err := domainASCII(domain)
	if err != nil {
		return pattern{}, errors.New("after the @ stands a domain such as example.com, or *.example.com")
	}
	return pattern{local: lower(local), domain: ascii, subdomains: subdomains}, nil
}

// matches says whether an identity key is one of the pattern's addresses.
func (p pattern) matches(key string) bool {
	local, domain, _ := strings.Cut(key, "@")
	if p.local != "" && p.local != local {
		return false
	}
	if p.subdomains {
		return strings.HasSuffix(domain, "."+p.domain)
	}
	return domain == p.domain
}

// denies is matches for a list of those kept out: one address that is kept out is
// under every spelling of its mailbox (AbuseKey).
func (p pattern) denies(key string) bool {
	if p.local == "" || p.subdomains {
		return p.matches(key)
	}
	return Address{Key: p.local + "@" + p.domain}.AbuseKey() == Address{Key: key}.AbuseKey()
}

// Allowed says whether the address with this identity key may sign in. Without
// an allow pattern everyone may; a deny pattern is stronger, and plus tags and
// Gmail's dots don't get around it. Case doesn't matter. A pattern that CheckPatterns refuses allows nobody and, among the
// denied, denies everyone: what cannot be decided is refused.
func Allowed(key string, allow, deny []string) bool {
	key = lower(key)
	for _, s := range deny {
		if p, err := readPattern(s); err != nil || p.denies(key) {
			return false
		}
	}
	for _, s := range allow {
		if p, err := readPattern(s); err == nil && p.matches(key) {
			return true
		}
	}
	return len(allow) == 0
}

// CheckPatterns names every pattern that Allowed couldn't use, with the fix.
func CheckPatterns(patterns []string) error {
	var wrong []error
	for _, s := range patterns {
		if _, err := readPattern(s); err != nil {
			wrong = append(wrong, fmt.Errorf("pattern %q: %w", s, err))
		}
	}
	return errors.Join(wrong...)
}
