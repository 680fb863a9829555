package storage

import (
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
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method,omitempty" yaml:"token_endpoint_auth_method"` // client_secret_basic, client_secret_post, none
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

	Consent       string   `json:"consent,omitempty" yaml:"consent"`                 // skip, ask
	IDTokenClaims *bool    `json:"id_token_claims,omitempty" yaml:"id_token_claims"` // scope claims also in the ID token; nil means true
	RequirePKCE   string   `json:"require_pkce,omitempty" yaml:"require_pkce"`       // auto (public clients), always
	Allow         []string `json:"allow,omitempty" yaml:"allow"`                     // address patterns, narrower than login.allow
	Groups        []string `json:"groups,omitempty" yaml:"groups"`                   // only members of one of these

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
		set(&c.TokenEndpointAuthMethod, "none")
	}
	set(&c.TokenEndpointAuthMethod, "client_secret_basic")
	set(&c.ApplicationType, "web")
	set(&c.IDTokenSigningAlg, "RS256")
	set(&c.Consent, "skip")
	set(&c.RequirePKCE, "auto")
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
func (c Client) PKCE() bool { return c.Public() || c.RequirePKCE == "always" }

// ClaimsInIDToken says whether scope claims are also put into the ID token.
func (c Client) ClaimsInIDToken() bool { return c.IDTokenClaims == nil || *c.IDTokenClaims }

// MayGrant says whether the client registered the grant type.
func (c Client) MayGrant(grantType string) bool { return slices.Contains(c.GrantTypes, grantType) }
