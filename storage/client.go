package storage

import (
	"encoding/json"
	"slices"
	"time"
)

// Client is a relying party. The names are those of RFC 7591 §2, OpenID
// Connect Registration §2 and RP-Initiated Logout §3.1; the last block is our
// own. One struct serves the settings file, the command line and the database.
type Client struct {
	ID                      string   `json:"client_id" yaml:"client_id"`
	Name                    string   `json:"client_name,omitempty" yaml:"client_name"`
	SecretSHA256            string   `json:"client_secret_sha256,omitempty" yaml:"client_secret_sha256"` // lower-case hex of SHA-256 of the secret; empty: public client
	RedirectURIs            []string `json:"redirect_uris" yaml:"redirect_uris"`
	PostLogoutRedirectURIs  []string `json:"post_logout_redirect_uris,omitempty" yaml:"post_logout_redirect_uris"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method,omitempty" yaml:"token_endpoint_auth_method"` // client_secret_basic, client_secret_post, private_key_jwt, none
	GrantTypes              []string `json:"grant_types,omitempty" yaml:"grant_types"`
	ResponseTypes           []string `json:"response_types,omitempty" yaml:"response_types"`
	ApplicationType         string   `json:"application_type,omitempty" yaml:"application_type"` // web, native
	IDTokenSigningAlg       string   `json:"id_token_signed_response_alg,omitempty" yaml:"id_token_signed_response_alg"`
	DefaultMaxAge           *int     `json:"default_max_age,omitempty" yaml:"default_max_age"` // seconds
	RequireAuthTime         bool     `json:"require_auth_time,omitempty" yaml:"require_auth_time"`
	RequirePAR              bool     `json:"require_pushed_authorization_requests,omitempty" yaml:"require_pushed_authorization_requests"` // RFC 9126 §6
	LogoURI                 string   `json:"logo_uri,omitempty" yaml:"logo_uri"`
	ClientURI               string   `json:"client_uri,omitempty" yaml:"client_uri"`
	PolicyURI               string   `json:"policy_uri,omitempty" yaml:"policy_uri"`
	TosURI                  string   `json:"tos_uri,omitempty" yaml:"tos_uri"`
	InitiateLoginURI        string   `json:"initiate_login_uri,omitempty" yaml:"initiate_login_uri"`
	Contacts                []string `json:"contacts,omitempty" yaml:"contacts"`
	Scope                   string   `json:"scope,omitempty" yaml:"scope"` // what it may ask for, separated by spaces; empty: the standard scopes
	SoftwareID              string   `json:"software_id,omitempty" yaml:"software_id"`
	SoftwareVersion         string   `json:"software_version,omitempty" yaml:"software_version"`

	JWKS    json.RawMessage `json:"jwks,omitempty" yaml:"jwks"` // public keys (RFC 7517 §5), an object; not beside jwks_uri
	JWKSURI string          `json:"jwks_uri,omitempty" yaml:"jwks_uri"`

	TokenEndpointAuthSigningAlg string   `json:"token_endpoint_auth_signing_alg,omitempty" yaml:"token_endpoint_auth_signing_alg"` // of its assertions; empty: any that is supported
	RequestObjectSigningAlg     string   `json:"request_object_signing_alg,omitempty" yaml:"request_object_signing_alg"`           // likewise, of its request objects
	RequestURIs                 []string `json:"request_uris,omitempty" yaml:"request_uris"`
	RequireSignedRequestObject  bool     `json:"require_signed_request_object,omitempty" yaml:"require_signed_request_object"` // RFC 9101 §10.5
	UserinfoSigningAlg          string   `json:"userinfo_signed_response_alg,omitempty" yaml:"userinfo_signed_response_alg"`   // empty: JSON
	SubjectType                 string   `json:"subject_type,omitempty" yaml:"subject_type"`                                   // public, pairwise
	SectorIdentifierURI         string   `json:"sector_identifier_uri,omitempty" yaml:"sector_identifier_uri"`
	DefaultACRValues            []string `json:"default_acr_values,omitempty" yaml:"default_acr_values"`
	DPoPBound                   bool     `json:"dpop_bound_access_tokens,omitempty" yaml:"dpop_bound_access_tokens"` // RFC 9449 §5.2

	BackchannelLogoutURI              string `json:"backchannel_logout_uri,omitempty" yaml:"backchannel_logout_uri"`
	BackchannelLogoutSessionRequired  bool   `json:"backchannel_logout_session_required,omitempty" yaml:"backchannel_logout_session_required"`
	FrontchannelLogoutURI             string `json:"frontchannel_logout_uri,omitempty" yaml:"frontchannel_logout_uri"`
	FrontchannelLogoutSessionRequired bool   `json:"frontchannel_logout_session_required,omitempty" yaml:"frontchannel_logout_session_required"`

	Consent       string   `json:"consent,omitempty" yaml:"consent"`                 // skip, ask
	IDTokenClaims *bool    `json:"id_token_claims,omitempty" yaml:"id_token_claims"` // scope claims also in the ID token; nil means true
	RequirePKCE   string   `json:"require_pkce,omitempty" yaml:"require_pkce"`       // auto (public clients), always
	Allow         []string `json:"allow,omitempty" yaml:"allow"`                     // address patterns, narrower than login.allow
	Groups        []string `json:"groups,omitempty" yaml:"groups"`                   // only members of one of these
	Profile       string   `json:"profile,omitempty" yaml:"profile"`                 // openid, fapi2 (FAPI 2.0 Security Profile)

	AccessTokenFormat     string `json:"access_token_format,omitempty" yaml:"access_token_format"`           // jwt (RFC 9068), opaque
	AccessTokenSigningAlg string `json:"access_token_signing_alg,omitempty" yaml:"access_token_signing_alg"` // of a jwt

	// RegistrationTokenSHA256 is of the registration access token (RFC 7592),
	// lower-case hex; empty: the client was not registered by itself.
	RegistrationTokenSHA256 string `json:"registration_token_sha256,omitempty" yaml:"-"`

	CreatedAt time.Time `json:"-" yaml:"-"`
	UpdatedAt time.Time `json:"-" yaml:"-"`
}

// WithDefaults fills what was left out: a confidential web client (public when
// it has no secret) that may use authorization codes and refresh tokens.
func (c Client) WithDefaults() Client {
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	if c.SecretSHA256 == "" {
		if c.JWKS != nil || c.JWKSURI != "" {
			set(&c.TokenEndpointAuthMethod, "private_key_jwt")
		}
		set(&c.TokenEndpointAuthMethod, "none")
	}
	set(&c.TokenEndpointAuthMethod, "client_secret_basic")
	set(&c.ApplicationType, "web")
	if c.FAPI() {
		set(&c.IDTokenSigningAlg, "PS256") // FAPI 2.0 §5.4.1
	}
	set(&c.IDTokenSigningAlg, "RS256")
	set(&c.Consent, "skip")
	set(&c.RequirePKCE, "auto")
	set(&c.SubjectType, "public")
	set(&c.Profile, "openid")
	set(&c.AccessTokenFormat, "jwt")
	set(&c.AccessTokenSigningAlg, "ES256")
	set(&c.Name, c.ID)
	if len(c.GrantTypes) == 0 {
		c.GrantTypes = []string{"authorization_code", "refresh_token"}
	}
	if len(c.ResponseTypes) == 0 {
		c.ResponseTypes = []string{"code"}
	}
	return c
}

// Public says whether the client has no secret (RFC 6749 §2.1).
func (c Client) Public() bool { return c.TokenEndpointAuthMethod == "none" }

// PKCE says whether every authorization request must carry a code challenge
// (RFC 7636): always for public clients.
func (c Client) PKCE() bool { return c.Public() || c.RequirePKCE == "always" || c.FAPI() }

// FAPI says whether the FAPI 2.0 Security Profile holds for the client: pushed
// requests alone, response_type code, PKCE, sender-constrained tokens, no
// RS256, assertions for the issuer.
func (c Client) FAPI() bool { return c.Profile == "fapi2" }

// PAR says whether the client has to push its authorization requests (RFC 9126
// §6).
func (c Client) PAR() bool { return c.RequirePAR || c.FAPI() }

// DPoP says whether the client's access tokens must be bound to a key (RFC
// 9449).
func (c Client) DPoP() bool { return c.DPoPBound || c.FAPI() }

// ClaimsInIDToken says whether scope claims are also put into the ID token.
func (c Client) ClaimsInIDToken() bool { return c.IDTokenClaims == nil || *c.IDTokenClaims }

// MayGrant says whether the client registered the grant type.
func (c Client) MayGrant(grantType string) bool { return slices.Contains(c.GrantTypes, grantType) }
