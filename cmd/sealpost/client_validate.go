package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/login"
	"github.com/sealpost/sealpost/storage"
)

// laterClientKeys are registration metadata (OIDC Registration §2 and its
// relatives) that mean something to an operator and nothing here yet.
var laterClientKeys = []string{
	"jwks", "jwks_uri", "backchannel_logout_uri", "backchannel_logout_session_required",
	"frontchannel_logout_uri", "frontchannel_logout_session_required", "subject_type", "sector_identifier_uri",
	"userinfo_signed_response_alg", "request_object_signing_alg", "request_uris", "default_acr_values",
	"token_endpoint_auth_signing_alg", "dpop_bound_access_tokens",
}

func clientKey(i int, name string) string { return fmt.Sprintf("clients[%d].%s", i, name) }

// validateClients checks the clients of the file and turns their secrets into
// hashes.
func (s *Settings) validateClients(wrong *problems) {
	seen := map[string]bool{}
	for i := range s.Clients {
		c := &s.Clients[i]
		if c.Secret != "" {
			if c.SecretSHA256 != "" {
				*wrong = append(*wrong, fmt.Errorf("%s and client_secret_sha256 are both set; keep one", clientKey(i, "client_secret")))
			}
			if len(c.Secret) < minClientSecret && !s.loopbackIssuer() {
				*wrong = append(*wrong, fmt.Errorf("%s has %d characters: use %d or more, letters and digits at random",
					clientKey(i, "client_secret"), len(c.Secret), minClientSecret))
			}
			c.SecretSHA256 = hashClientSecret(string(c.Secret))
		}
		for _, problem := range checkClient(c.Client, s.loopbackIssuer()) {
			*wrong = append(*wrong, fmt.Errorf("clients[%d] %q: %w", i, c.ID, problem))
		}
		if seen[c.ID] && c.ID != "" {
			wrong.add(clientKey(i, "client_id"), c.ID, "another client has this id")
		}
		seen[c.ID] = true
	}
}

// minClientSecret refuses what is no secret, save on an instance for one
// machine. A hash cannot tell a weak one.
const minClientSecret = 8

func hashClientSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// clientID is what RFC 6749 §A.1 allows, less the spaces and signs that break
// command lines, logs and the colon that ends a user name in HTTP Basic.
var (
	clientID     = regexp.MustCompile(`^[A-Za-z0-9._~@/+-]{1,128}$`)
	sha256Hex    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	customScheme = regexp.MustCompile(`^[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+$`) // RFC 8252 §7.1: reversed domain name
)

// checkClient says everything that is wrong with a client. loopback allows
// plain http to loopback hosts for web clients, too.
func checkClient(c storage.Client, loopback bool) []error {
	var wrong problems
	given := c
	c = c.WithDefaults()
	if !clientID.MatchString(c.ID) {
		wrong.add("client_id", c.ID, "write up to 128 letters, digits and . _ ~ @ / + -")
	}
	oneOf := func(key, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			wrong.add(key, value, "write %s", strings.Join(allowed, " or "))
		}
	}
	oneOf("application_type", c.ApplicationType, "web", "native")
	oneOf("token_endpoint_auth_method", c.TokenEndpointAuthMethod, "client_secret_basic", "client_secret_post", "none")
	oneOf("id_token_signed_response_alg", c.IDTokenSigningAlg, "RS256", "ES256")
	oneOf("consent", c.Consent, "skip", "ask")
	oneOf("require_pkce", c.RequirePKCE, "auto", "always")
	for _, g := range c.GrantTypes {
		oneOf("grant_types", g, "authorization_code", "refresh_token")
	}
	if !slices.Contains(c.GrantTypes, "authorization_code") {
		wrong.add("grant_types", strings.Join(c.GrantTypes, ", "), "authorization_code is the way to sign in; add it")
	}
	for _, t := range c.ResponseTypes {
		oneOf("response_types", t, "code")
	}
	switch {
	case c.SecretSHA256 != "" && !sha256Hex.MatchString(c.SecretSHA256):
		wrong = append(wrong, errors.New("client_secret_sha256: write the SHA-256 of the secret in 64 lower-case hex digits")) // it might be the secret
	case c.SecretSHA256 != "" && c.Public():
		wrong.add("token_endpoint_auth_method", "none", "the client has a secret; leave one of the two out")
	case c.SecretSHA256 == "" && given.TokenEndpointAuthMethod != "" && !c.Public():
		wrong.add("token_endpoint_auth_method", given.TokenEndpointAuthMethod, "the client has no secret; give client_secret, client_secret_file or client_secret_sha256")
	}
	if c.DefaultMaxAge != nil && *c.DefaultMaxAge < 0 {
		wrong.add("default_max_age", *c.DefaultMaxAge, "write seconds")
	}
	if len(c.RedirectURIs) == 0 {
		wrong.missing("redirect_uris", "write where the browser goes after the login, such as https://app.example.com/oauth2/callback")
	}
	native := c.ApplicationType == "native"
	for _, uri := range c.RedirectURIs {
		if fix := checkRedirectURI(uri, native, loopback); fix != "" {
			wrong.add("redirect_uris", uri, "%s", fix)
		}
	}
	for _, uri := range c.PostLogoutRedirectURIs {
		if fix := checkRedirectURI(uri, native, loopback); fix != "" {
			wrong.add("post_logout_redirect_uris", uri, "%s", fix)
		}
	}
	for _, link := range []struct{ key, uri string }{
		{"logo_uri", c.LogoURI}, {"client_uri", c.ClientURI}, {"policy_uri", c.PolicyURI}, {"tos_uri", c.TosURI}, {"initiate_login_uri", c.InitiateLoginURI},
	} {
		if u, err := url.Parse(link.uri); link.uri != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
			wrong.add(link.key, link.uri, "write an https address")
		}
	}
	if err := login.CheckPatterns(c.Allow); err != nil {
		wrong.add("allow", strings.Join(c.Allow, ", "), "%v", err)
	}
	return wrong
}

// checkRedirectURI gives the fix for a URI that a browser must not be sent to
// with a code (RFC 6749 §3.1.2, RFC 8252 §7 and §8.4, RFC 9700 §2.1): empty
// when it is good.
func checkRedirectURI(uri string, native, loopback bool) string {
	if strings.ContainsAny(uri, "*\\") || strings.IndexFunc(uri, func(r rune) bool { return r <= ' ' || r >= 0x7f }) >= 0 {
		return "write one exact address: no wildcard, backslash or space; percent-encode what is not ASCII"
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Scheme == "":
		return "write an absolute address, such as https://app.example.com/oauth2/callback"
	case strings.Contains(uri, "#"):
		return "leave out the fragment"
	case u.User != nil:
		return "leave out user and password"
	case slices.Contains(strings.Split(u.Path, "/"), "..") || slices.Contains(strings.Split(u.Path, "/"), "."):
		return "leave out . and .. in the path"
	case u.Scheme == "https" && u.Hostname() != "":
		return ""
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		if native || loopback {
			return ""
		}
		return "use https; http to this machine is for application_type native, or when the issuer is on it, too"
	case u.Scheme == "http" || u.Scheme == "https":
		return "use https and name the host"
	case !native:
		return "use https; a scheme of its own is for application_type native"
	case !customScheme.MatchString(u.Scheme):
		return "use a scheme that is a reversed domain name, such as com.example.app:/callback"
	}
	return ""
}
