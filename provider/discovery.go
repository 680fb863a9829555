package provider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/sealpost/sealpost/keys"
)

// metadata is what the provider says about itself (OIDC Discovery §3, RFC 8414
// §2). Nothing stands here that is not so.
type metadata struct {
	oidc.DiscoveryConfiguration
	PromptValuesSupported []string `json:"prompt_values_supported"`
	IssParameter          bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3
	PAREndpoint           string   `json:"pushed_authorization_request_endpoint"`          // RFC 9126 §5
	RequirePAR            bool     `json:"require_pushed_authorization_requests"`
}

func newMetadata(issuer string) (document, error) {
	algorithms := make([]string, len(keys.Algorithms))
	for i, alg := range keys.Algorithms {
		algorithms[i] = string(alg)
	}
	secret := []oidc.AuthMethod{oidc.AuthMethodBasic, oidc.AuthMethodPost}
	m := metadata{
		DiscoveryConfiguration: oidc.DiscoveryConfiguration{
			Issuer:                issuer,
			AuthorizationEndpoint: issuer + pathAuthorize,
			TokenEndpoint:         issuer + pathToken,
			UserinfoEndpoint:      issuer + pathUserinfo,
			IntrospectionEndpoint: issuer + pathIntrospect,
			RevocationEndpoint:    issuer + pathRevoke,
			EndSessionEndpoint:    issuer + pathLogout,
			JwksURI:               issuer + pathJWKS,

			ScopesSupported:                           supportedScopes,
			ResponseTypesSupported:                    []string{"code"},
			ResponseModesSupported:                    []string{"query", "fragment", "form_post"},
			GrantTypesSupported:                       []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken},
			ACRValuesSupported:                        []string{acrMail},
			SubjectTypesSupported:                     []string{"public"},
			IDTokenSigningAlgValuesSupported:          algorithms,
			TokenEndpointAuthMethodsSupported:         append(slices.Clone(secret), oidc.AuthMethodNone),
			RevocationEndpointAuthMethodsSupported:    append(slices.Clone(secret), oidc.AuthMethodNone),
			IntrospectionEndpointAuthMethodsSupported: secret,
			ClaimsSupported:                           claimsSupported,
			ClaimTypesSupported:                       []string{"normal"},
			DisplayValuesSupported:                    []oidc.Display{oidc.DisplayPage},
			CodeChallengeMethodsSupported:             []oidc.CodeChallengeMethod{oidc.CodeChallengeMethodS256},
			RequestParameterSupported:                 false,
			RequestURIParameterSupported:              false,
		},
		PromptValuesSupported: []string{"none", "login", "consent", "select_account"},
		IssParameter:          true,
		PAREndpoint:           issuer + pathPAR,
	}
	body, err := json.Marshal(m)
	if err != nil {
		return document{}, fmt.Errorf("encode metadata: %w", err)
	}
	return document{body: body, etag: `"` + keys.Hash(body) + `"`, contentType: "application/json"}, nil
}

var claimsSupported = []string{
	"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash",
	"email", "email_verified", "preferred_username", "name", "locale", "updated_at", "groups",
}

// documentMaxAge is how long a document may be cached, in seconds.
const documentMaxAge = 300

// document is an answer whose bytes are ready.
type document struct {
	body        []byte
	etag        string
	contentType string
}

// ServeHTTP answers with the document, or with 304 when the caller has it.
func (d document) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", d.contentType)
	h.Set("ETag", d.etag)
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(documentMaxAge))
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
