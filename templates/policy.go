package templates

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Policy is the Content-Security-Policy of every answer that needs nothing
// else: no inline script or style, nothing from elsewhere, no frames. It has no
// form-action, because browsers apply that to the redirect after a POST, too,
// and a login's POST ends at the client.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; " + images + "; " +
	"connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"

const images = "img-src 'self' data:"

// protect says what browsers may do with a page: [Policy], and what the page
// has from elsewhere by its very origin.
func protect(h http.Header, p Page) {
	policy := Policy
	if logo := logo(p); logo != "" {
		policy = strings.Replace(policy, images, images+" "+origin(logo), 1)
	}
	if frames := frames(p); len(frames) > 0 {
		policy += "; frame-src"
		for _, o := range origins(frames) {
			policy += " " + o
		}
	}
	if _, ok := p.(CheckSession); ok { // framed by every relying party: that is its use
		policy = "default-src 'none'; script-src 'self'; base-uri 'none'"
		h.Del("X-Frame-Options")
	}
	h.Set("Content-Security-Policy", policy)
}

// logo is the address of the client's logo on the pages that introduce a
// client; "" on any other. What is shown once a link is out, holding its token,
// loads nothing from elsewhere.
func logo(p Page) string {
	var c Client
	switch p := p.(type) {
	case Login:
		c = p.Client
	case Consent:
		c = p.Client
	case Device:
		c = p.Client
	}
	if origin(c.LogoURI) == "" {
		return ""
	}
	return c.LogoURI
}

// frames are the addresses a page opens in frames.
func frames(p Page) []string {
	out, _ := p.(LoggedOut)
	return slices.DeleteFunc(slices.Clone(out.Frames), func(address string) bool { return origin(address) == "" })
}

func origins(addresses []string) []string {
	var all []string
	for _, address := range addresses {
		all = append(all, origin(address))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// plainOrigin leaves out every character that means something in a policy: a
// registered address must not write one (CSP Level 3 §2.3.1, host-source).
var plainOrigin = regexp.MustCompile(`^https?://[A-Za-z0-9.-]+(:[0-9]+)?$`)

// origin is the web origin of an address as a policy names it, "" when it has
// none.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil || !plainOrigin.MatchString(u.Scheme+"://"+u.Host) {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}
