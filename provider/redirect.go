package provider

import (
	"net/url"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/storage"
)

// matchRedirectURI says whether the client registered uri. The comparison is
// of strings, without any normalization (RFC 9700 §2.1, RFC 3986 §6.2.1). One
// exception: a native client that registered a loopback http URI may use any
// port of it (RFC 8252 §7.3); all else must be the same to the letter.
func matchRedirectURI(c storage.Client, uri string) bool {
	if uri == "" {
		return false
	}
	if slices.Contains(c.RedirectURIs, uri) {
		return true
	}
	if c.ApplicationType != "native" {
		return false
	}
	host, rest, ok := cutLoopback(uri)
	if !ok {
		return false
	}
	return slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		h, r, ok := cutLoopback(registered)
		return ok && h == host && r == rest
	})
}

// cutLoopback takes the port out of a loopback http URI: host, and all that
// follows the authority. A URI with user information, a fragment, or a port
// that is no number is none.
func cutLoopback(uri string) (host, rest string, ok bool) {
	after, ok := strings.CutPrefix(uri, "http://")
	if !ok || strings.ContainsAny(after, "#@\\") {
		return "", "", false
	}
	authority, rest := after, ""
	if i := strings.IndexAny(after, "/?"); i >= 0 {
		authority, rest = after[:i], after[i:]
	}
	for _, host := range []string{"127.0.0.1", "[::1]", "localhost"} {
		port, found := strings.CutPrefix(authority, host)
		if !found {
			continue
		}
		if port == "" {
			return host, rest, true
		}
		if len(port) > 1 && len(port) <= 6 && port[0] == ':' && strings.Trim(port[1:], "0123456789") == "" {
			return host, rest, true
		}
	}
	return "", "", false
}

// withParams gives uri with params in its query; what the query held already
// stays as it was (RFC 6749 §3.1.2).
func withParams(uri string, params url.Values) string {
	if len(params) == 0 {
		return uri
	}
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
		if strings.HasSuffix(uri, "?") || strings.HasSuffix(uri, "&") {
			separator = ""
		}
	}
	return uri + separator + params.Encode()
}
