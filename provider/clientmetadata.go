package provider

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// MetadataError is one thing that is wrong with the metadata of a client.
type MetadataError struct {
	Field string
	Value string // empty: there is none
	Fix   string // fixed text, fit for an error_description
	Code  string // of RFC 7591 §3.2.2
}

func (e MetadataError) Error() string {
	if e.Value == "" {
		return e.Field + " is not set: " + e.Fix
	}
	return fmt.Sprintf("%s: %q: %s", e.Field, e.Value, e.Fix)
}

// public is the error as the client hears of it: without what it sent.
func (e MetadataError) public() *Error {
	return &Error{Code: e.Code, Description: e.Field + ": " + e.Fix}
}

// ClientRules are what the check of a client depends on besides the client.
type ClientRules struct {
	Loopback bool // the issuer is on this machine: so may be addresses of the client, by http
	Document bool // client_id is the address of the client's metadata document
}

// CheckClient says everything that is wrong with a client. It is the one check
// for those of the settings file, of the command line, of /register and of
// metadata documents (OIDC Registration §2, RFC 7591 §2).
func CheckClient(c storage.Client, rules ClientRules) []MetadataError {
	k := clientCheck{Client: c.WithDefaults(), rules: rules}
	k.choices()
	k.algorithms()
	k.grants()
	k.credentials()
	k.redirects()
	k.addresses()
	k.subjects()
	k.texts()
	return k.found
}

// clientCheck is a check under way.
type clientCheck struct {
	storage.Client
	rules ClientRules
	found []MetadataError
}

func (k *clientCheck) wrong(field, value, fix string) {
	code := invalidClientMetadata
	if field == "redirect_uris" {
		code = invalidRedirectURI
	}
	k.found = append(k.found, MetadataError{field, value, fix, code})
}

// oneOf takes one of the allowed values, or none.
func (k *clientCheck) oneOf(field, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		k.wrong(field, value, "write "+strings.Join(allowed, " or "))
	}
}

// clientID is what RFC 6749 §A.1 allows, less the spaces and signs that break
// command lines, logs and the colon that ends a user name in HTTP Basic.
var (
	clientID  = regexp.MustCompile(`^[A-Za-z0-9._~@/+-]{1,128}$`)
	sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func authMethodNames() []string {
	return listOf(authMethods, func(m authMethod) string { return m.name })
}

func grantTypeNames() []string {
	return append(listOf(grantTypes, func(g grantType) string { return g.name }), "implicit")
}

// choices are the fields that take one of a few words.
func (k *clientCheck) choices() {
	if !k.rules.Document && !clientID.MatchString(k.ID) {
		k.wrong("client_id", k.ID, "write up to 128 letters, digits and . _ ~ @ / + -")
	}
	k.oneOf("application_type", k.ApplicationType, "web", "native")
	k.oneOf("token_endpoint_auth_method", k.TokenEndpointAuthMethod, authMethodNames()...)
	k.oneOf("subject_type", k.SubjectType, "public", "pairwise")
	k.oneOf("consent", k.Consent, "skip", "ask")
	k.oneOf("require_pkce", k.RequirePKCE, "auto", "always")
	k.oneOf("profile", k.Profile, "openid", "fapi2")
	k.oneOf("access_token_format", k.AccessTokenFormat, "jwt", "opaque")
	if k.DefaultMaxAge != nil && *k.DefaultMaxAge < 0 {
		k.wrong("default_max_age", fmt.Sprint(*k.DefaultMaxAge), "write seconds")
	}
}

// algorithms are those that we sign with for the client, and those that it
// signs with; "none" is neither. FAPI 2.0 §5.4.1 leaves out RS256.
func (k *clientCheck) algorithms() {
	ours := algorithmNames(keys.Algorithms)
	if k.FAPI() {
		ours = slices.DeleteFunc(ours, func(a string) bool { return a == string(jose.RS256) })
	}
	theirs := algorithmNames(algorithmsOf(k.Client, ""))
	k.oneOf("id_token_signed_response_alg", k.IDTokenSigningAlg, ours...)
	k.oneOf("userinfo_signed_response_alg", k.UserinfoSigningAlg, ours...)
	k.oneOf("access_token_signing_alg", k.AccessTokenSigningAlg, ours...)
	k.oneOf("token_endpoint_auth_signing_alg", k.TokenEndpointAuthSigningAlg, theirs...)
	k.oneOf("request_object_signing_alg", k.RequestObjectSigningAlg, theirs...)
}

// redirecting says whether a browser ever comes back to the client.
func (k *clientCheck) redirecting() bool {
	return k.MayGrant("authorization_code") || k.MayGrant("implicit")
}

// grants are grant and response types, which belong together (OIDC Registration
// §2, RFC 7591 §2.1).
func (k *clientCheck) grants() {
	for _, g := range k.GrantTypes {
		k.oneOf("grant_types", g, grantTypeNames()...)
	}
	if !slices.ContainsFunc(k.GrantTypes, func(g string) bool { return g != "refresh_token" }) {
		k.wrong("grant_types", strings.Join(k.GrantTypes, ", "), "add authorization_code, the way to sign in")
	}
	if k.MayGrant("client_credentials") && k.Public() { // RFC 6749 §4.4
		k.wrong("grant_types", "client_credentials", "the client has no credentials; it needs a secret or keys")
	}
	if !k.redirecting() && slices.Equal(k.ResponseTypes, []string{"code"}) { // the default, which means nothing then
		return
	}
	for _, t := range k.ResponseTypes {
		k.responseType(t)
	}
}

func (k *clientCheck) responseType(t string) {
	inFront := gives(t, "token") || gives(t, "id_token")
	switch {
	case !slices.Contains(responseTypes, canonicalType(t)):
		k.oneOf("response_types", t, responseTypes...)
	case gives(t, "code") && !k.MayGrant("authorization_code"):
		k.wrong("response_types", t, "add authorization_code to grant_types")
	case inFront && !k.MayGrant("implicit"):
		k.wrong("response_types", t, "add implicit to grant_types")
	case inFront && k.FAPI(): // FAPI 2.0 §5.3.2.2
		k.wrong("response_types", t, "profile fapi2 takes code alone")
	case gives(t, "token") && k.DPoP(): // RFC 9449 §5: nothing binds a token that is given in front
		k.wrong("response_types", t, "leave out token: with dpop_bound_access_tokens it comes from the token endpoint")
	}
}

// credentials are what the client proves itself with. One that may not be known
// at all is not looked at further.
func (k *clientCheck) credentials() {
	method := k.TokenEndpointAuthMethod
	if !slices.Contains(authMethodNames(), method) {
		return
	}
	takesSecret := strings.HasPrefix(method, "client_secret_")
	hasKeys := k.keys()
	switch {
	case k.SecretSHA256 != "" && !sha256Hex.MatchString(k.SecretSHA256): // it might be the secret
		k.wrong("client_secret_sha256", "[secret]", "write the SHA-256 of the secret in 64 lower-case hex digits")
	case k.SecretSHA256 != "" && !takesSecret:
		k.wrong("token_endpoint_auth_method", method, "the client has a secret; leave one of the two out")
	case k.SecretSHA256 == "" && takesSecret:
		k.wrong("token_endpoint_auth_method", method, "the client has no secret; give client_secret, client_secret_file or client_secret_sha256")
	case method == privateKeyJWT.name && !hasKeys:
		k.wrong("token_endpoint_auth_method", method, missingKeys)
	case k.FAPI() && method != privateKeyJWT.name: // FAPI 2.0 §5.3.2.1
		k.wrong("token_endpoint_auth_method", method, "profile fapi2 takes private_key_jwt alone")
	}
	if k.RequireSignedRequestObject && !hasKeys {
		k.wrong("require_signed_request_object", "true", missingKeys)
	}
}

const missingKeys = "give its public keys, as jwks or by jwks_uri: RSA, P-256 or Ed25519, for signatures"

// keys checks those of the client, which it has in one of two ways (OIDC
// Registration §2), and says whether there are any to verify with.
func (k *clientCheck) keys() bool {
	if len(k.JWKS) == 0 {
		return k.JWKSURI != ""
	}
	if k.JWKSURI != "" {
		k.wrong("jwks_uri", k.JWKSURI, "jwks is there, too; keep one of the two")
	}
	good, err := checkJWKS(k.JWKS)
	if err != nil {
		k.wrong("jwks", err.Error(), "write a JWK Set of public keys: an object whose member keys is a list")
	}
	return err != nil || len(good) > 0
}

// maxURI is the longest address taken, in bytes: what fits into a request with
// its name.
const (
	maxURI  = 2000
	maxURIs = 20
)

// redirects are where browsers go. A client that browsers never come back to
// needs none.
func (k *clientCheck) redirects() {
	if len(k.RedirectURIs) == 0 && k.redirecting() {
		k.wrong("redirect_uris", "", "write where the browser goes after the login, such as https://app.example.com/oauth2/callback")
	}
	for _, list := range []struct {
		field string
		uris  []string
	}{{"redirect_uris", k.RedirectURIs}, {"post_logout_redirect_uris", k.PostLogoutRedirectURIs}} {
		if len(list.uris) > maxURIs {
			k.wrong(list.field, fmt.Sprint(len(list.uris), " addresses"), fmt.Sprint("write ", maxURIs, " at most"))
		}
		for _, uri := range list.uris {
			if fix := checkRedirectURI(uri, k.ApplicationType == "native", k.rules.Loopback); fix != "" {
				k.wrong(list.field, uri, fix)
			}
		}
	}
	if !k.MayGrant("implicit") || k.ApplicationType != "web" || k.rules.Loopback {
		return
	}
	for _, uri := range k.RedirectURIs { // OIDC Registration §2, application_type
		if u, err := url.Parse(uri); err == nil && u.Scheme == "https" && isLoopbackHost(u.Hostname()) {
			k.wrong("redirect_uris", uri, "name a host that is not the browser's own machine, or leave out implicit")
		}
	}
}

// customScheme is a reversed domain name (RFC 8252 §7.1).
var customScheme = regexp.MustCompile(`^[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+$`)

// checkRedirectURI gives the fix for a URI that a browser must not be sent to
// with a code (RFC 6749 §3.1.2, RFC 8252 §7 and §8.4, RFC 9700 §2.1): empty
// when it is good.
func checkRedirectURI(uri string, native, loopback bool) string {
	if fix := checkSpelling(uri); fix != "" {
		return fix
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Scheme == "":
		return "write an absolute address, such as https://app.example.com/oauth2/callback"
	case strings.Contains(uri, "#"):
		return "leave out the fragment"
	case u.User != nil:
		return "leave out user and password"
	case hasDotSegment(u):
		return "leave out . and .. in the path"
	case u.Scheme == "https" && u.Hostname() != "":
		return ""
	case u.Scheme == "http" && isLoopbackHost(u.Hostname()):
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

// checkSpelling gives the fix for an address that somebody may read otherwise
// than we do.
func checkSpelling(uri string) string {
	switch {
	case len(uri) > maxURI:
		return fmt.Sprint("write an address of ", maxURI, " characters at most")
	case strings.ContainsAny(uri, `*\`) || strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "write one exact address: no wildcard, backslash or space; percent-encode what is not ASCII"
	}
	return ""
}

func hasDotSegment(u *url.URL) bool {
	segments := strings.Split(u.Path, "/")
	return slices.Contains(segments, ".") || slices.Contains(segments, "..")
}

// isLoopbackHost says whether a host is the machine itself (RFC 6761 §6.3).
func isLoopbackHost(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// addresses are all others: https, of http to this machine when the issuer is on
// it. Only those of request objects have a fragment, the hash of what is there
// (OIDC Core §6.2).
func (k *clientCheck) addresses() {
	const fragment = true
	check := func(field, uri string, fragment bool) {
		if fix := checkAddress(uri, k.rules.Loopback, fragment); uri != "" && fix != "" {
			k.wrong(field, uri, fix)
		}
	}
	check("logo_uri", k.LogoURI, !fragment)
	check("client_uri", k.ClientURI, fragment)
	check("policy_uri", k.PolicyURI, fragment)
	check("tos_uri", k.TosURI, fragment)
	check("initiate_login_uri", k.InitiateLoginURI, !fragment) // OIDC Core §4
	check("jwks_uri", k.JWKSURI, !fragment)
	check("sector_identifier_uri", k.SectorIdentifierURI, !fragment)     // OIDC Registration §5
	check("backchannel_logout_uri", k.BackchannelLogoutURI, !fragment)   // OIDC Back-Channel Logout §2.2
	check("frontchannel_logout_uri", k.FrontchannelLogoutURI, !fragment) // OIDC Front-Channel Logout §2
	if len(k.RequestURIs) > maxURIs {
		k.wrong("request_uris", fmt.Sprint(len(k.RequestURIs), " addresses"), fmt.Sprint("write ", maxURIs, " at most"))
	}
	for _, uri := range k.RequestURIs {
		check("request_uris", uri, fragment)
	}
	// A frame of the logout page: scheme, host and port are those of a redirect
	// URI (OIDC Front-Channel Logout §2).
	front := originOf(k.FrontchannelLogoutURI)
	if front != "" && !slices.ContainsFunc(k.RedirectURIs, func(uri string) bool { return originOf(uri) == front }) {
		k.wrong("frontchannel_logout_uri", k.FrontchannelLogoutURI, "use scheme, host and port of one of the redirect_uris")
	}
}

// checkAddress gives the fix for an address that is not on the web.
func checkAddress(uri string, loopback, fragment bool) string {
	if fix := checkSpelling(uri); fix != "" {
		return fix
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback || !isLoopbackHost(u.Hostname())):
		return "write an https address"
	case u.User != nil:
		return "leave out user and password"
	case !fragment && strings.Contains(uri, "#"):
		return "leave out the fragment"
	}
	return ""
}

// subjects: pairwise ones of a client with several hosts need to know which of
// them is meant (OIDC Core §8.1).
func (k *clientCheck) subjects() {
	if k.SubjectType != "pairwise" || k.SectorIdentifierURI != "" {
		return
	}
	hosts := listOf(k.RedirectURIs, func(uri string) string {
		u, err := url.Parse(uri)
		if err != nil {
			return ""
		}
		return u.Hostname()
	})
	slices.Sort(hosts)
	if len(slices.Compact(hosts)) > 1 {
		k.wrong("subject_type", "pairwise", "the redirect_uris have several hosts; give a sector_identifier_uri")
	}
}

// scopeToken is one word of a scope (RFC 6749 §A.4).
var scopeToken = regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]+$`)

// texts are words for people, and lists of words.
func (k *clientCheck) texts() {
	text := func(field, value string, most int) {
		if !isText(value) || utf8.RuneCountInString(value) > most {
			k.wrong(field, value, fmt.Sprint("write ", most, " characters at most, none of them a control character"))
		}
	}
	text("client_name", k.Name, 200)
	text("software_id", k.SoftwareID, 255)
	text("software_version", k.SoftwareVersion, 255)
	list := func(field string, values []string, most int) {
		if len(values) > most {
			k.wrong(field, fmt.Sprint(len(values), " items"), fmt.Sprint("write ", most, " at most"))
		}
		for _, v := range values {
			text(field, v, 255)
			if v == "" {
				k.wrong(field, `""`, "leave out empty items")
			}
		}
	}
	list("contacts", k.Contacts, 20)
	list("default_acr_values", k.DefaultACRValues, 10)
	list("groups", k.Groups, 100)
	list("allow", k.Allow, 1000)
	text("scope", k.Scope, 1000)
	if k.Scope != "" && slices.ContainsFunc(strings.Split(k.Scope, " "), func(s string) bool { return !scopeToken.MatchString(s) }) {
		k.wrong("scope", k.Scope, `write words of visible ASCII, one space between two`)
	}
}
