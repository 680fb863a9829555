package provider

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/storage"
)

func goodClient() storage.Client {
	return storage.Client{ID: "app", SecretSHA256: hexSHA256("0123456789abcdef"), RedirectURIs: []string{"https://app.example.com/cb"}}
}

// Each is wrong in one way, in the field named before the blank of want; those
// with want "" are good.
func TestCheckClient(t *testing.T) {
	t.Parallel()
	type change = func(*storage.Client)
	keyed := func(c *storage.Client) { c.SecretSHA256, c.JWKS = "", jwks(signerOf("app", jose.ES256)) }
	fapi := func(c *storage.Client) { keyed(c); c.Profile = "fapi2" }
	implicit := func(types ...string) change {
		return func(c *storage.Client) {
			c.GrantTypes, c.ResponseTypes = []string{"authorization_code", "implicit"}, types
		}
	}
	both := func(f, g change) change { return func(c *storage.Client) { f(c); g(c) } }
	long := func(n int) string { return strings.Repeat("a", n) }
	for name, c := range map[string]struct {
		change change
		want   string
	}{
		"confidential web client": {func(*storage.Client) {}, ""},
		"public web client":       {func(c *storage.Client) { c.SecretSHA256 = "" }, ""},
		"no id":                   {func(c *storage.Client) { c.ID = "" }, "client_id is not set"},
		"id with a colon":         {func(c *storage.Client) { c.ID = "a:b" }, "client_id"},
		"id too long":             {func(c *storage.Client) { c.ID = long(129) }, "client_id"},

		"OIDC Registration §2: application_type":           {func(c *storage.Client) { c.ApplicationType = "service" }, "application_type web or native"},
		"RFC 7591 §2: an auth method that is none of ours": {func(c *storage.Client) { c.TokenEndpointAuthMethod = "client_secret_jwt" }, "token_endpoint_auth_method private_key_jwt"},
		"RFC 8705 §2.1.1":                                        {func(c *storage.Client) { c.TokenEndpointAuthMethod = "tls_client_auth" }, "token_endpoint_auth_method"},
		"secret and none":                                        {func(c *storage.Client) { c.TokenEndpointAuthMethod = "none" }, "token_endpoint_auth_method the client has a secret"},
		"secret and keys to prove":                               {both(func(c *storage.Client) { c.TokenEndpointAuthMethod = "private_key_jwt" }, func(c *storage.Client) { c.JWKSURI = "https://app.example.com/jwks" }), "token_endpoint_auth_method the client has a secret"},
		"secret and keys for request objects":                    {func(c *storage.Client) { c.JWKS = jwks(signerOf("app", jose.ES256)) }, ""},
		"no secret and basic":                                    {func(c *storage.Client) { c.SecretSHA256, c.TokenEndpointAuthMethod = "", "client_secret_basic" }, "token_endpoint_auth_method the client has no secret"},
		"hash in capitals":                                       {func(c *storage.Client) { c.SecretSHA256 = strings.ToUpper(c.SecretSHA256) }, "client_secret_sha256 lower-case hex"},
		"OIDC Core §9: keys of its own":                          {keyed, ""},
		"OIDC Registration §2: keys by address":                  {func(c *storage.Client) { c.SecretSHA256, c.JWKSURI = "", "https://app.example.com/jwks" }, ""},
		"OIDC Registration §2: jwks and jwks_uri":                {both(keyed, func(c *storage.Client) { c.JWKSURI = "https://app.example.com/jwks" }), "jwks_uri keep one"},
		"OIDC Core §9: private_key_jwt without keys":             {func(c *storage.Client) { c.SecretSHA256, c.TokenEndpointAuthMethod = "", "private_key_jwt" }, "token_endpoint_auth_method public keys"},
		"OIDC Core §9: private_key_jwt with keys for encryption": {func(c *storage.Client) { c.SecretSHA256, c.JWKS = "", json.RawMessage(`{"keys":[]}`) }, "token_endpoint_auth_method public keys"},
		"RFC 7517 §5: no key set":                                {func(c *storage.Client) { c.JWKS = json.RawMessage(`[]`) }, "jwks JWK Set"},
		"RFC 9101 §10.5: signed requests alone, without keys":    {func(c *storage.Client) { c.RequireSignedRequestObject = true }, "require_signed_request_object public keys"},

		"OIDC Registration §2: id_token_signed_response_alg none": {func(c *storage.Client) { c.IDTokenSigningAlg = "none" }, "id_token_signed_response_alg RS256 or ES256"},
		"by a shared secret": {func(c *storage.Client) { c.IDTokenSigningAlg = "HS256" }, "id_token_signed_response_alg"},
		"OIDC Registration §2: userinfo_signed_response_alg":         {func(c *storage.Client) { c.UserinfoSigningAlg = "none" }, "userinfo_signed_response_alg"},
		"OIDC Registration §2: request_object_signing_alg none":      {func(c *storage.Client) { c.RequestObjectSigningAlg = "none" }, "request_object_signing_alg"},
		"OIDC Registration §2: token_endpoint_auth_signing_alg none": {func(c *storage.Client) { c.TokenEndpointAuthSigningAlg = "none" }, "token_endpoint_auth_signing_alg"},
		"access_token_signing_alg":                                   {func(c *storage.Client) { c.AccessTokenSigningAlg = "HS256" }, "access_token_signing_alg"},
		"access_token_format":                                        {func(c *storage.Client) { c.AccessTokenFormat = "saml" }, "access_token_format jwt or opaque"},
		"every algorithm of ours": {func(c *storage.Client) {
			c.IDTokenSigningAlg, c.UserinfoSigningAlg, c.AccessTokenSigningAlg = "PS256", "EdDSA", "RS256"
		}, ""},
		"unknown consent":             {func(c *storage.Client) { c.Consent = "never" }, "consent skip or ask"},
		"OIDC Core §8: subject_type":  {func(c *storage.Client) { c.SubjectType = "secret" }, "subject_type public or pairwise"},
		"default_max_age":             {func(c *storage.Client) { n := -1; c.DefaultMaxAge = &n }, "default_max_age seconds"},
		"unknown grant":               {func(c *storage.Client) { c.GrantTypes = []string{"authorization_code", "password"} }, "grant_types authorization_code or"},
		"a grant that starts nothing": {func(c *storage.Client) { c.GrantTypes = []string{"refresh_token"} }, "grant_types add authorization_code"},
		"RFC 6749 §4.4: client credentials of a public client": {func(c *storage.Client) {
			c.SecretSHA256, c.GrantTypes = "", []string{"authorization_code", "client_credentials"}
		}, "grant_types the client has no credentials"},
		"unknown response type":                                        {func(c *storage.Client) { c.ResponseTypes = []string{"code", "none"} }, "response_types code or"},
		"OIDC Registration §2: id_token needs implicit":                {func(c *storage.Client) { c.ResponseTypes = []string{"id_token"} }, "response_types add implicit"},
		"OIDC Registration §2: code id_token needs both":               {both(implicit("code id_token"), func(c *storage.Client) { c.GrantTypes = []string{"implicit"} }), "response_types add authorization_code"},
		"OIDC Registration §2: code by default, with implicit alone":   {func(c *storage.Client) { c.GrantTypes = []string{"implicit"} }, "response_types add authorization_code"},
		"RFC 6749 §3.1.1: words in any order":                          {implicit("code", "token id_token", "id_token code", "token code id_token"), ""},
		"RFC 9449 §5: a token in front, of a client with bound tokens": {both(implicit("id_token token"), func(c *storage.Client) { c.DPoPBound = true }), "response_types leave out token"},
		"OIDC Registration §2: an implicit web client on localhost":    {both(implicit("id_token"), func(c *storage.Client) { c.RedirectURIs = []string{"https://localhost/cb"} }), "redirect_uris own machine"},
		"no redirect URI": {func(c *storage.Client) { c.RedirectURIs = nil }, "redirect_uris is not set"},
		"RFC 8628 §3.1: a device needs no redirect URI":  {func(c *storage.Client) { c.RedirectURIs, c.GrantTypes = nil, []string{deviceCode.name} }, ""},
		"RFC 6749 §4.4: a service needs no redirect URI": {func(c *storage.Client) { c.RedirectURIs, c.GrantTypes = nil, []string{"client_credentials"} }, ""},
		"but a response type that has no grant is none": {func(c *storage.Client) {
			c.GrantTypes, c.ResponseTypes = []string{"client_credentials"}, []string{"id_token"}
		}, "response_types add implicit"},
		"more redirect URIs than anyone has":        {func(c *storage.Client) { c.RedirectURIs = slices.Repeat(c.RedirectURIs, 21) }, "redirect_uris 20 at most"},
		"a redirect URI too long for a request":     {func(c *storage.Client) { c.RedirectURIs = []string{"https://app.example.com/" + long(2000)} }, "redirect_uris 2000 characters"},
		"RP-Initiated Logout §3.1":                  {func(c *storage.Client) { c.PostLogoutRedirectURIs = []string{"https://app.example.com/#x"} }, "post_logout_redirect_uris fragment"},
		"OIDC Core §4: initiate_login_uri is https": {func(c *storage.Client) { c.InitiateLoginURI = "http://app.example.com/login" }, "initiate_login_uri https"},
		"logo by script":                            {func(c *storage.Client) { c.LogoURI = "javascript:alert(1)" }, "logo_uri https"},
		"logo in the clear":                         {func(c *storage.Client) { c.LogoURI = "http://app.example.com/logo.png" }, "logo_uri https"},
		"terms with user information":               {func(c *storage.Client) { c.TosURI = "https://u:p@app.example.com/" }, "tos_uri user and password"},
		"policy and home": {func(c *storage.Client) {
			c.PolicyURI, c.ClientURI = "https://example.com/p#data", "https://example.com"
		}, ""},
		"OIDC Registration §2: jwks_uri is https":                        {func(c *storage.Client) { c.JWKSURI = "http://app.example.com/jwks" }, "jwks_uri https"},
		"OIDC Registration §5: sector_identifier_uri is https":           {func(c *storage.Client) { c.SectorIdentifierURI = "http://example.com/sector" }, "sector_identifier_uri https"},
		"OIDC Back-Channel Logout §2.2: no fragment":                     {func(c *storage.Client) { c.BackchannelLogoutURI = "https://app.example.com/out#x" }, "backchannel_logout_uri fragment"},
		"OIDC Front-Channel Logout §2: no fragment":                      {func(c *storage.Client) { c.FrontchannelLogoutURI = "https://app.example.com/out#" }, "frontchannel_logout_uri fragment"},
		"OIDC Front-Channel Logout §2: host of a redirect URI":           {func(c *storage.Client) { c.FrontchannelLogoutURI = "https://example.com/out" }, "frontchannel_logout_uri host and port"},
		"OIDC Front-Channel Logout §2: port, too":                        {func(c *storage.Client) { c.FrontchannelLogoutURI = "https://app.example.com:8443/out" }, "frontchannel_logout_uri host and port"},
		"OIDC Front-Channel Logout §2: the default port is that of none": {func(c *storage.Client) { c.FrontchannelLogoutURI = "https://app.example.com:443/out?x=1" }, ""},
		"OIDC Core §6.2: request_uris have the hash for a fragment":      {func(c *storage.Client) { c.RequestURIs = []string{"https://app.example.com/request#hash"} }, ""},
		"OIDC Registration §2: request_uris are https":                   {func(c *storage.Client) { c.RequestURIs = []string{"urn:example:request"} }, "request_uris https"},
		"more request_uris than anyone has":                              {func(c *storage.Client) { c.RequestURIs = slices.Repeat([]string{"https://app.example.com/r"}, 21) }, "request_uris 20 at most"},
		"OIDC Core §8.1: pairwise on one host": {func(c *storage.Client) {
			c.SubjectType = "pairwise"
			c.RedirectURIs = append(c.RedirectURIs, "https://app.example.com/b")
		}, ""},
		"OIDC Core §8.1: pairwise on two": {func(c *storage.Client) {
			c.SubjectType = "pairwise"
			c.RedirectURIs = append(c.RedirectURIs, "https://b.example.com/b")
		}, "subject_type sector_identifier_uri"},
		"OIDC Core §8.1: two, of one sector": {func(c *storage.Client) {
			c.SubjectType, c.SectorIdentifierURI = "pairwise", "https://example.com/sector.json"
			c.RedirectURIs = append(c.RedirectURIs, "https://b.example.com/b")
		}, ""},
		"RFC 6749 §A.4: scope":             {func(c *storage.Client) { c.Scope = "openid https://api.example.com/read" }, ""},
		"RFC 6749 §A.4: two spaces":        {func(c *storage.Client) { c.Scope = "openid  email" }, "scope one space"},
		"RFC 6749 §A.4: a quotation mark":  {func(c *storage.Client) { c.Scope = `openid "email"` }, "scope one space"},
		"a name too long":                  {func(c *storage.Client) { c.Name = long(201) }, "client_name 200 characters"},
		"a name in letters of two bytes":   {func(c *storage.Client) { c.Name = strings.Repeat("é", 200) }, ""},
		"a name of several lines":          {func(c *storage.Client) { c.Name = "A\nB" }, "client_name control character"},
		"software_id too long":             {func(c *storage.Client) { c.SoftwareID = long(256) }, "software_id"},
		"software_version of two lines":    {func(c *storage.Client) { c.SoftwareVersion = "1\n2" }, "software_version"},
		"too many contacts":                {func(c *storage.Client) { c.Contacts = slices.Repeat([]string{"a@example.com"}, 21) }, "contacts 20 at most"},
		"a contact that is nobody":         {func(c *storage.Client) { c.Contacts = []string{""} }, "contacts empty items"},
		"default_acr_values":               {func(c *storage.Client) { c.DefaultACRValues = []string{acrMail} }, ""},
		"too many default_acr_values":      {func(c *storage.Client) { c.DefaultACRValues = slices.Repeat([]string{"x"}, 11) }, "default_acr_values 10 at most"},
		"unknown profile":                  {func(c *storage.Client) { c.Profile = "fapi1" }, "profile openid or fapi2"},
		"FAPI 2.0 §5.3.2: as it should be": {fapi, ""},
		"FAPI 2.0 §5.3.2.1: with a secret": {func(c *storage.Client) { c.Profile = "fapi2" }, "token_endpoint_auth_method private_key_jwt alone"},
		"FAPI 2.0 §5.3.2.2: code alone":    {both(implicit("code", "code id_token"), fapi), "response_types code alone"},
		"FAPI 2.0 §5.4.1: no RS256":        {both(fapi, func(c *storage.Client) { c.IDTokenSigningAlg = "RS256" }), "id_token_signed_response_alg write ES256"},
		"FAPI 2.0 §5.4.1: nor of the client's": {both(fapi, func(c *storage.Client) { c.TokenEndpointAuthSigningAlg = "RS256" }),
			"token_endpoint_auth_signing_alg write PS256"},
	} {
		t.Run(name, func(t *testing.T) {
			client := goodClient()
			c.change(&client)
			for _, client := range []storage.Client{client, client.WithDefaults()} { // a stored one is as good
				found := CheckClient(client, ClientRules{})
				if c.want == "" && len(found) > 0 || c.want != "" && len(found) != 1 {
					t.Fatalf("have %v, want %q", found, c.want)
				}
				if c.want == "" {
					continue
				}
				field, text, _ := strings.Cut(c.want, " ")
				if found[0].Field != field || !strings.Contains(found[0].Error(), text) {
					t.Errorf("have %v, want %q", found[0], c.want)
				}
				checkDescription(t, found[0].public().Description)
				want := map[bool]string{true: "invalid_redirect_uri", false: "invalid_client_metadata"}[field == "redirect_uris"]
				if found[0].Code != want {
					t.Errorf("RFC 7591 §3.2.2: code %q", found[0].Code)
				}
			}
		})
	}
}

// What is told of a wrong value is never the secret that somebody put in the
// wrong place.
func TestCheckClientTellsNoSecret(t *testing.T) {
	t.Parallel()
	c := goodClient()
	c.SecretSHA256 = "hunter2hunter2"
	for _, e := range CheckClient(c, ClientRules{}) {
		if strings.Contains(e.Error(), "hunter2") {
			t.Error(e)
		}
	}
}

// When the issuer is on this machine, so may be all addresses of clients.
func TestCheckClientOnLoopback(t *testing.T) {
	t.Parallel()
	c := goodClient()
	const at = "http://127.0.0.1:8081/"
	c.RedirectURIs, c.GrantTypes, c.ResponseTypes = []string{at}, []string{"implicit"}, []string{"id_token"}
	c.LogoURI, c.InitiateLoginURI, c.BackchannelLogoutURI, c.FrontchannelLogoutURI, c.JWKSURI = at, at, at, at, at
	c.RequestURIs, c.SectorIdentifierURI = []string{at}, at
	if found := CheckClient(c, ClientRules{Loopback: true}); len(found) > 0 {
		t.Error(found)
	}
	fields := listOf(CheckClient(c, ClientRules{}), func(e MetadataError) string { return e.Field })
	if want := []string{"redirect_uris", "logo_uri", "initiate_login_uri", "jwks_uri", "sector_identifier_uri", "backchannel_logout_uri", "frontchannel_logout_uri", "request_uris"}; !slices.Equal(fields, want) {
		t.Errorf("on another issuer: %v, want %v", fields, want)
	}
	c.LogoURI = "http://app.example.com/logo.png"
	if found := CheckClient(c, ClientRules{Loopback: true}); len(found) != 1 {
		t.Errorf("http to elsewhere: %v", found)
	}
}

// RFC 6749 §3.1.2, RFC 8252 §7, §8.4, RFC 9700 §2.1.
func TestRedirectURIsAreChecked(t *testing.T) {
	t.Parallel()
	const web, native, loopback = 1, 2, 4 // kinds of client that may have it
	for uri, may := range map[string]int{
		"https://app.example.com/cb":       web | native | loopback,
		"https://app.example.com/cb?x=1":   web | native | loopback,
		"http://app.example.com/cb":        0,
		"http://127.0.0.1/cb":              native | loopback,
		"http://[::1]:8000/cb":             native | loopback,
		"http://localhost:8081/callback":   native | loopback,
		"http://localhost.example.com/":    0,
		"com.example.app:/cb":              native,
		"myapp:/cb":                        0,
		"javascript:alert(1)":              0,
		"data:text/html,x":                 0,
		"https://app.example.com/cb#x":     0,
		"https://app.example.com/cb#":      0,
		"https://*.example.com/cb":         0,
		"https://u:p@app.example.com/cb":   0,
		"https://app.example.com/a/../b":   0,
		"https://app.example.com/a/%2E./b": 0,
		"https://app.example.com\\@evil":   0,
		"https://app.example.com/ cb":      0,
		"https:///cb":                      0,
		"https:cb":                         0,
		"/cb":                              0,
		"":                                 0,
	} {
		for kind, fix := range map[int]string{
			web: checkRedirectURI(uri, false, false), native: checkRedirectURI(uri, true, false), loopback: checkRedirectURI(uri, false, true),
		} {
			if (fix == "") != (may&kind != 0) {
				t.Errorf("%q for kind %d: %q", uri, kind, fix)
			}
		}
	}
}
