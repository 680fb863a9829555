package provider

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/sealpost/sealpost/keys"
)

// metadata is what the provider says about itself (OIDC Discovery §3, RFC 8414
// §2). Nothing stands here that is not so.
type metadata struct {
	oidc.DiscoveryConfiguration
	PromptValuesSupported []string `json:"prompt_values_supported"`
	UILocales             []string `json:"ui_locales_supported,omitempty"`                 // in place of the library's, which rewrites tags
	IssParameter          bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3
	PAREndpoint           string   `json:"pushed_authorization_request_endpoint"`          // RFC 9126 §5
	RequirePAR            bool     `json:"require_pushed_authorization_requests"`
	DPoPAlgorithms        []string `json:"dpop_signing_alg_values_supported"` // RFC 9449 §5.1

	FrontchannelLogout        bool `json:"frontchannel_logout_supported"` // OIDC Front-Channel Logout §3
	FrontchannelLogoutSession bool `json:"frontchannel_logout_session_supported"`
	BackchannelLogout         bool `json:"backchannel_logout_supported"` // OIDC Back-Channel Logout §2
	BackchannelLogoutSession  bool `json:"backchannel_logout_session_supported"`
}

func newMetadata(cfg Config) (document, error) {
	m := metadata{
		DiscoveryConfiguration: endpoints(cfg.Issuer),
		PromptValuesSupported:  promptValues,
		UILocales:              cfg.Languages,
		IssParameter:           true,
		PAREndpoint:            cfg.Issuer + pathPAR,
		DPoPAlgorithms:         algorithmNames(dpopAlgorithms),
		FrontchannelLogout:     true, FrontchannelLogoutSession: true,
		BackchannelLogout: true, BackchannelLogoutSession: true,
	}
	describe(&m.DiscoveryConfiguration)
	if cfg.registers() {
		m.RegistrationEndpoint = cfg.Issuer + pathRegister
	}
	m.ClientIDMetadataDocumentSupported = cfg.ClientDocuments
	body, err := json.Marshal(m)
	if err != nil {
		return document{}, fmt.Errorf("encode metadata: %w", err)
	}
	return newDocument(body, `"`+keys.Hash(body)+`"`, "application/json"), nil
}

// endpoints are where everything is.
func endpoints(issuer string) oidc.DiscoveryConfiguration {
	return oidc.DiscoveryConfiguration{
		Issuer:                      issuer,
		AuthorizationEndpoint:       issuer + pathAuthorize,
		TokenEndpoint:               issuer + pathToken,
		UserinfoEndpoint:            issuer + pathUserinfo,
		IntrospectionEndpoint:       issuer + pathIntrospect,
		RevocationEndpoint:          issuer + pathRevoke,
		DeviceAuthorizationEndpoint: issuer + pathDevice,
		EndSessionEndpoint:          issuer + pathLogout,
		CheckSessionIframe:          issuer + pathCheck,
		JwksURI:                     issuer + pathJWKS,
	}
}

// describe says what is supported, as the registries of this package have it.
func describe(d *oidc.DiscoveryConfiguration) {
	signing, assertions := algorithmNames(keys.Algorithms), algorithmNames(clientAlgorithms)
	methods := listOf(authMethods, func(m authMethod) oidc.AuthMethod { return oidc.AuthMethod(m.name) })
	confidential := slices.DeleteFunc(slices.Clone(methods), func(m oidc.AuthMethod) bool { return m == oidc.AuthMethodNone })

	d.ScopesSupported = supportedScopes
	d.ResponseTypesSupported = responseTypes
	d.ResponseModesSupported = []string{"query", "fragment", "form_post"}
	d.GrantTypesSupported = append(listOf(grantTypes, func(g grantType) oidc.GrantType { return oidc.GrantType(g.name) }), oidc.GrantTypeImplicit)
	d.ACRValuesSupported = []string{acrMail}
	d.SubjectTypesSupported = []string{"public", "pairwise"}
	d.IDTokenSigningAlgValuesSupported = signing
	d.UserinfoSigningAlgValuesSupported = signing
	d.RequestObjectSigningAlgValuesSupported = assertions
	d.TokenEndpointAuthMethodsSupported, d.TokenEndpointAuthSigningAlgValuesSupported = methods, assertions
	d.RevocationEndpointAuthMethodsSupported, d.RevocationEndpointAuthSigningAlgValuesSupported = methods, assertions
	d.IntrospectionEndpointAuthMethodsSupported, d.IntrospectionEndpointAuthSigningAlgValuesSupported = confidential, assertions
	d.ClaimsSupported = claimsSupported
	d.ClaimTypesSupported = []string{"normal"}
	d.ClaimsParameterSupported = true
	d.DisplayValuesSupported = []oidc.Display{oidc.DisplayPage}
	d.CodeChallengeMethodsSupported = []oidc.CodeChallengeMethod{oidc.CodeChallengeMethodS256}
	d.RequestParameterSupported, d.RequestURIParameterSupported, d.RequireRequestURIRegistration = true, true, true
}

// listOf gives something of each member of a list.
func listOf[T any, N any](list []T, name func(T) N) []N {
	out := make([]N, len(list))
	for i, item := range list {
		out[i] = name(item)
	}
	return out
}

func algorithmNames(list []jose.SignatureAlgorithm) []string {
	return listOf(list, func(a jose.SignatureAlgorithm) string { return string(a) })
}

var claimsSupported = []string{
	"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash", "c_hash",
	"email", "email_verified", "preferred_username", "name", "locale", "updated_at", "groups",
}

// documentMaxAge is how long a document may be cached, in seconds.
const documentMaxAge = 300

// document is an answer whose bytes are ready.
type document struct {
	body   []byte
	etag   string
	header http.Header
}

func newDocument(body []byte, etag, contentType string) document {
	return document{body, etag, http.Header{
		"Content-Type":  {contentType},
		"Etag":          {etag},
		"Cache-Control": {"public, max-age=" + strconv.Itoa(documentMaxAge)},
	}}
}

// ServeHTTP answers with the document, or with 304 when the caller has it.
func (d document) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	maps.Copy(h, d.header)
	for tag := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == d.etag || tag == "*" { // RFC 9110 §13.1.2
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(d.body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(d.body)
	}
}
