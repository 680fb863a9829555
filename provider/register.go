package provider

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-jose/go-jose/v4"
	strictjson "github.com/go-jose/go-jose/v4/json" // refuses a member that is there twice, and tells "K" from "k"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// Who may register a client at /register (Config.Registration).
const (
	RegistrationOff   = "off"
	RegistrationToken = "token" // who has an initial access token
	RegistrationOpen  = "open"  // anyone
)

// isRegistration says whether a path is that of client registration.
func isRegistration(path string) bool {
	return path == pathRegister || strings.HasPrefix(path, pathRegister+"/")
}

// registrationRoutes adds the registration endpoint (OIDC Registration §3, RFC
// 7591 §3) and the configuration endpoint of each client that registered itself
// (OIDC Registration §4, RFC 7592 §2). Scripts of any origin may call them:
// neither takes a cookie.
func (p *Provider) registrationRoutes(r chi.Router) {
	if !p.cfg.registers() {
		return
	}
	const one = pathRegister + "/{client_id}"
	for _, route := range []struct {
		method, path string
		endpoint     endpoint
	}{
		{http.MethodPost, pathRegister, p.register},
		{http.MethodGet, one, p.readClient},
		{http.MethodPut, one, p.replaceClient},
		{http.MethodDelete, one, p.removeClient},
	} {
		r.Method(route.method, route.path, cors(p.serveAPI(route.endpoint, p.bearerChallenge)))
	}
	r.Method(http.MethodOptions, pathRegister, cors(nil))
	r.Method(http.MethodOptions, one, cors(nil))
}

// registers says whether clients may register themselves.
func (c Config) registers() bool {
	return c.Registration == RegistrationToken || c.Registration == RegistrationOpen
}

// bearerChallenge goes with 401 (RFC 6750 §3).
func (p *Provider) bearerChallenge(h http.Header, _ *http.Request, e *Error) {
	challenge := `Bearer realm="` + p.cfg.Issuer + `"`
	if e.Description != "" {
		challenge += `, error="` + e.Code + `", error_description="` + e.Description + `"`
	}
	h.Set("WWW-Authenticate", challenge)
}

// register is the registration endpoint.
func (p *Provider) register(c *call) (any, error) {
	if err := p.mayRegister(c); err != nil {
		return nil, err
	}
	m, err := p.readMetadata(c)
	if err != nil {
		return nil, err
	}
	now := p.cfg.Now()
	client, secret, err := p.registrant(c, m, storage.Client{ID: "reg-" + keys.ID(), CreatedAt: now, UpdatedAt: now})
	if err != nil {
		return nil, err
	}
	token := keys.Token()
	client.RegistrationTokenSHA256 = hashHex(token)
	if err := p.cfg.Store.AddClient(c.Context(), client); err != nil {
		return nil, err
	}
	p.cfg.Log(c.Context(), slog.String("client_id", client.ID), slog.String("outcome", "registered"))
	return reply{http.StatusCreated, "application/json", p.registered(client, secret, token)}, nil
}

const initialPurpose = "initial-access-token"

// initialAccess is what an initial access token holds (RFC 7591 §3).
type initialAccess struct {
	Expires int64 `json:"e"` // seconds
}

// InitialAccessToken makes a token that lets its bearer register clients until it
// expires (RFC 7591 §3). It is written nowhere.
func InitialAccessToken(secret keys.Secret, expires time.Time) (string, error) {
	plain, err := json.Marshal(initialAccess{expires.Unix()})
	if err != nil {
		return "", err
	}
	return secret.Seal(initialPurpose, plain), nil
}

var errRegistrationToken = &Error{Code: invalidToken, Description: "the token is unknown, expired, or another client's"}

// mayRegister proves the initial access token, where one is needed.
func (p *Provider) mayRegister(c *call) error {
	if p.cfg.Registration == RegistrationOpen {
		return nil
	}
	token, err := bearerToken(c)
	if err != nil {
		return err
	}
	plain, err := p.cfg.Secret.Open(initialPurpose, token)
	if err != nil {
		return errRegistrationToken.because(err)
	}
	var access initialAccess
	if err := json.Unmarshal(plain, &access); err != nil {
		return errRegistrationToken.because(err)
	}
	if p.cfg.Now().Unix() >= access.Expires {
		return errRegistrationToken
	}
	return nil
}

func bearerToken(c *call) (string, error) {
	token, scheme, err := accessToken(c)
	if err == nil && scheme != "Bearer" {
		err = errRegistrationToken
	}
	return token, err
}

// registrant makes a client of what it says of itself, with a secret when it is
// to have one that it has not. Each that is good counts, before anything is
// fetched or written for it.
func (p *Provider) registrant(c *call, m metadataFields, base storage.Client) (client storage.Client, secret string, err error) {
	base.TokenEndpointAuthMethod = clientSecretBasic.name // OIDC Registration §2
	if client, err = m.client(base); err != nil {
		return client, "", err
	}
	client.TokenEndpointAuthMethod = cmp.Or(client.TokenEndpointAuthMethod, base.TokenEndpointAuthMethod)
	secret = giveSecret(&client)
	if wrong := CheckClient(client, p.rules()); len(wrong) > 0 {
		return client, "", wrong[0].public()
	}
	for _, uri := range client.RedirectURIs {
		if u, err := url.Parse(uri); err == nil && len(u.Host) > maxShownHost {
			return client, "", MetadataError{Field: "redirect_uris", Fix: fmt.Sprintf("has a host of more than %d characters, which would not fit on a page", maxShownHost), Code: invalidRedirectURI}.public()
		}
	}
	if client.JWKS != nil { // the keys that count, and nothing that came with them
		good, err := checkJWKS(client.JWKS)
		if err == nil {
			client.JWKS, err = json.Marshal(jose.JSONWebKeySet{Keys: good})
		}
		if err != nil {
			return client, "", err
		}
	}
	if err := p.countRegistration(c); err != nil {
		return client, "", err
	}
	return client.WithDefaults(), secret, p.checkSector(c.Context(), client, sectorFetch)
}

func (p *Provider) rules() ClientRules {
	return ClientRules{Loopback: strings.HasPrefix(p.cfg.Issuer, "http:")} // which is loopback alone
}

// giveSecret gives a client the secret that its method wants, unless it has one:
// unreserved characters, so that no client has to escape it (RFC 6749 §2.3.1).
func giveSecret(c *storage.Client) (secret string) {
	switch {
	case !strings.HasPrefix(c.TokenEndpointAuthMethod, "client_secret_"):
		c.SecretSHA256 = ""
	case c.SecretSHA256 == "":
		secret = keys.Token()
		c.SecretSHA256 = hashHex(secret)
	}
	return secret
}

func hashHex(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// countRegistration counts a registration, or a change of one.
func (p *Provider) countRegistration(c *call) error {
	if p.cfg.RegistrationLimit.Max == 0 {
		return nil
	}
	limit := p.limit("register", p.cfg.RegistrationLimit.Max, networkKey(c.Request))
	limit.Window = p.cfg.RegistrationLimit.Window
	return p.count(c.Context(), limit)
}

// sectorFetch is how a sector_identifier_uri is fetched: anew for each
// registration.
var sectorFetch = fetchOptions{limit: 64 << 10, types: []string{"application/json"}}

// checkSector holds the redirect URIs to the document of the sector, which lists
// them all (OIDC Registration §5).
func (p *Provider) checkSector(ctx context.Context, c storage.Client, o fetchOptions) error {
	if c.SectorIdentifierURI == "" {
		return nil
	}
	body, err := p.strangers.get(ctx, c.SectorIdentifierURI, o)
	var listed []string
	if err == nil {
		err = json.Unmarshal(body, &listed)
	}
	switch {
	case err != nil:
		return &Error{Code: invalidClientMetadata, Description: "sector_identifier_uri: no list of addresses could be fetched there", Err: err}
	case slices.ContainsFunc(c.RedirectURIs, func(uri string) bool { return !slices.Contains(listed, uri) }):
		return &Error{Code: invalidClientMetadata, Description: "sector_identifier_uri: what is there does not list all redirect_uris"}
	}
	return nil
}

// registered is the answer to a client: all that was registered (RFC 7591
// §3.2.1, RFC 7592 §3). A secret is told once, when it is made.
func (p *Provider) registered(c storage.Client, secret, token string) map[string]any {
	out := map[string]any{
		"client_id": c.ID, "client_id_issued_at": c.CreatedAt.Unix(),
		"registration_access_token": token,
		"registration_client_uri":   p.cfg.Issuer + pathRegister + "/" + url.PathEscape(c.ID),
	}
	if secret != "" {
		out["client_secret"], out["client_secret_expires_at"] = secret, 0
	}
	for _, f := range registrable(&c) {
		if v := reflect.ValueOf(f.value).Elem(); !v.IsZero() {
			out[f.name] = v.Interface()
		}
	}
	return out
}

// managed proves the registration access token of the client that a call is
// about (RFC 7592 §2). Of a client that is unknown, gone, or the operator's, none
// is good.
func (p *Provider) managed(c *call) (storage.Client, string, error) {
	token, err := bearerToken(c)
	if err != nil {
		return storage.Client{}, "", err
	}
	id := chi.URLParam(c.Request, "client_id")
	if !isClientID(id) {
		return storage.Client{}, "", errRegistrationToken
	}
	if _, ok := p.clients.fixed[id]; ok { // the operator's by now
		return storage.Client{}, "", errRegistrationToken
	}
	client, err := p.cfg.Store.Client(c.Context(), id)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Client{}, "", errRegistrationToken.because(err)
	}
	if err != nil {
		return storage.Client{}, "", err
	}
	if subtle.ConstantTimeCompare([]byte(hashHex(token)), []byte(client.RegistrationTokenSHA256)) != 1 {
		return storage.Client{}, "", errRegistrationToken
	}
	p.cfg.Log(c.Context(), slog.String("client_id", client.ID))
	return client, token, nil
}

// readClient is GET of the configuration endpoint (RFC 7592 §2.1).
func (p *Provider) readClient(c *call) (any, error) {
	client, token, err := p.managed(c)
	if err != nil {
		return nil, err
	}
	return p.registered(client.WithDefaults(), "", token), nil
}

// replaceClient is PUT of the configuration endpoint (RFC 7592 §2.2): what is
// left out is as if it had never been there. The token stays, and so does the
// secret while the client needs one.
func (p *Provider) replaceClient(c *call) (any, error) {
	old, token, err := p.managed(c)
	if err != nil {
		return nil, err
	}
	m, err := p.readMetadata(c)
	if err != nil {
		return nil, err
	}
	if err := m.checkReplaced(old); err != nil {
		return nil, err
	}
	base := storage.Client{
		ID: old.ID, SecretSHA256: old.SecretSHA256, RegistrationTokenSHA256: old.RegistrationTokenSHA256,
		CreatedAt: old.CreatedAt, UpdatedAt: p.cfg.Now(),
	}
	client, secret, err := p.registrant(c, m, base)
	if err != nil {
		return nil, err
	}
	if (old.SubjectType == "pairwise" || client.SubjectType == "pairwise") && (old.SubjectType != client.SubjectType || sector(old) != sector(client)) {
		return nil, MetadataError{Field: "subject_type", Fix: "and the sector stay: people would be others", Code: invalidClientMetadata}.public() // OIDC Core §8
	}
	if err := p.changed(client.ID, p.cfg.Store.SaveClient(c.Context(), client, old)); err != nil {
		return nil, err
	}
	return p.registered(client, secret, token), nil
}

// removeClient is DELETE of the configuration endpoint (RFC 7592 §2.3).
func (p *Provider) removeClient(c *call) (any, error) {
	client, _, err := p.managed(c)
	if err != nil {
		return nil, err
	}
	if err := p.changed(client.ID, p.cfg.Store.RemoveClient(c.Context(), client.ID, p.cfg.Now())); err != nil {
		return nil, err
	}
	p.cfg.Log(c.Context(), slog.String("outcome", "removed"))
	return reply{status: http.StatusNoContent}, nil
}

// changed makes the outcome of a change count here at once, also one that is in
// doubt. A client that went meanwhile has no token.
func (p *Provider) changed(id string, err error) error {
	p.clients.forget(id)
	if errors.Is(err, storage.ErrNotFound) {
		return errRegistrationToken.because(err)
	}
	if errors.Is(err, storage.ErrConflict) { // an operator, or another call, changed it meanwhile
		return errUnavailable.because(err)
	}
	return err
}

// metadataFields are what a client says of itself, by name.
type metadataFields map[string]json.RawMessage

// readMetadata reads the body of a call.
func (p *Provider) readMetadata(c *call) (metadataFields, error) {
	body, err := io.ReadAll(c.Body) // which readCall has bounded
	if err != nil {
		return nil, &Error{Code: invalidRequest, Description: "the body is malformed or too long", Err: err}
	}
	m, err := parseMetadata(body)
	if err != nil {
		return nil, &Error{Code: invalidClientMetadata, Description: "the body is not one JSON object with each member once", Err: err}
	}
	return m, nil
}

// parseMetadata reads one JSON object. Members are told by their exact names, and
// no object in it has one twice: two readers could take it for different things
// (RFC 8259 §4).
func parseMetadata(body []byte) (metadataFields, error) {
	var all map[string]any
	if err := strictjson.Unmarshal(body, &all); err != nil {
		return nil, err
	}
	var m metadataFields
	if err := strictjson.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, errors.New("null is no object")
	}
	return m, nil
}

// metadataField is a field that a client may set, and where it is kept.
type metadataField struct {
	name  string
	value any // a pointer
}

// registrable are the fields that a client may set by itself: those of OIDC
// Registration §2 and its relatives, and of our own those that give it nothing.
// All others are ignored (RFC 7591 §2): consent, profile, allow, groups,
// client_secret_sha256 and the like are the operator's, a software_statement is
// not supported (RFC 7591 §3.1.1), and names in other languages have no place
// (OIDC Registration §2.1).
func registrable(c *storage.Client) []metadataField {
	return []metadataField{
		{"client_name", &c.Name}, {"client_uri", &c.ClientURI}, {"logo_uri", &c.LogoURI}, {"policy_uri", &c.PolicyURI}, {"tos_uri", &c.TosURI},
		{"contacts", &c.Contacts}, {"software_id", &c.SoftwareID}, {"software_version", &c.SoftwareVersion},

		{"redirect_uris", &c.RedirectURIs}, {"application_type", &c.ApplicationType}, {"response_types", &c.ResponseTypes},
		{"grant_types", &c.GrantTypes}, {"scope", &c.Scope}, {"default_max_age", &c.DefaultMaxAge}, {"require_auth_time", &c.RequireAuthTime},
		{"default_acr_values", &c.DefaultACRValues}, {"initiate_login_uri", &c.InitiateLoginURI},
		{"require_pushed_authorization_requests", &c.RequirePAR}, {"request_uris", &c.RequestURIs},
		{"request_object_signing_alg", &c.RequestObjectSigningAlg}, {"require_signed_request_object", &c.RequireSignedRequestObject},

		{"token_endpoint_auth_method", &c.TokenEndpointAuthMethod}, {"token_endpoint_auth_signing_alg", &c.TokenEndpointAuthSigningAlg},
		{"jwks", &c.JWKS}, {"jwks_uri", &c.JWKSURI}, {"dpop_bound_access_tokens", &c.DPoPBound},

		{"id_token_signed_response_alg", &c.IDTokenSigningAlg}, {"userinfo_signed_response_alg", &c.UserinfoSigningAlg},
		{"subject_type", &c.SubjectType}, {"sector_identifier_uri", &c.SectorIdentifierURI},

		{"post_logout_redirect_uris", &c.PostLogoutRedirectURIs},
		{"backchannel_logout_uri", &c.BackchannelLogoutURI}, {"backchannel_logout_session_required", &c.BackchannelLogoutSessionRequired},
		{"frontchannel_logout_uri", &c.FrontchannelLogoutURI}, {"frontchannel_logout_session_required", &c.FrontchannelLogoutSessionRequired},

		{"id_token_claims", &c.IDTokenClaims}, {"require_pkce", &c.RequirePKCE},
		{"access_token_format", &c.AccessTokenFormat}, {"access_token_signing_alg", &c.AccessTokenSigningAlg},
	}
}

// UnsupportedMetadata are fields that cannot be ignored: a client that sets one
// would not understand our answers, or believe them protected when they are not.
var UnsupportedMetadata = []string{
	"id_token_encrypted_response_alg", "id_token_encrypted_response_enc", "userinfo_encrypted_response_alg", "userinfo_encrypted_response_enc",
	"request_object_encryption_alg", "request_object_encryption_enc",
	"authorization_signed_response_alg", "authorization_encrypted_response_alg", "authorization_encrypted_response_enc",
	"introspection_signed_response_alg", "introspection_encrypted_response_alg", "introspection_encrypted_response_enc",
	"tls_client_certificate_bound_access_tokens",
}

// client makes a client of the fields, over base. What they leave out is as OIDC
// Registration §2 has it, and a person is asked to consent.
func (m metadataFields) client(base storage.Client) (storage.Client, error) {
	for _, name := range UnsupportedMetadata {
		if !slices.Contains([]string{"", "null", "false", `""`}, string(m[name])) {
			return base, MetadataError{Field: name, Fix: "is not supported here; leave it out", Code: invalidClientMetadata}.public()
		}
	}
	c := base
	c.Consent, c.IDTokenClaims, c.GrantTypes = "ask", new(bool), []string{authorizationCode.name}
	for _, f := range registrable(&c) {
		raw, ok := m[f.name]
		if !ok || string(raw) == "null" { // RFC 7592 §2.2: null is as left out
			continue
		}
		if err := strictjson.Unmarshal(raw, f.value); err != nil {
			e := MetadataError{Field: f.name, Fix: "has a value of the wrong type", Code: invalidClientMetadata}
			if f.name == "redirect_uris" {
				e.Code = invalidRedirectURI
			}
			return base, e.public().because(err)
		}
	}
	if c.MayGrant(clientCredentials.name) { // nobody would be asked before the client gets tokens
		return base, MetadataError{Field: "grant_types", Fix: "client_credentials are for clients that an operator added", Code: invalidClientMetadata}.public()
	}
	if c.ApplicationType == "" && c.WithDefaults().Public() && slices.ContainsFunc(c.RedirectURIs, onDevice) {
		c.ApplicationType = "native"
	}
	return c, nil
}

// onDevice says whether a redirect URI leads to an application on the person's
// own device (RFC 8252 §7.1, §7.3). Public clients with one are native: many do
// not say so (RFC 7591 §3.2.1 lets the server choose).
func onDevice(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && (u.Scheme == "http" && isLoopbackHost(u.Hostname()) || customScheme.MatchString(u.Scheme))
}

// checkReplaced holds a replacement to the client it replaces, and refuses what it
// may not name (RFC 7592 §2.2).
func (m metadataFields) checkReplaced(c storage.Client) error {
	for _, name := range []string{"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"} {
		if _, ok := m[name]; ok {
			return MetadataError{Field: name, Fix: "has no place in a replacement", Code: invalidClientMetadata}.public()
		}
	}
	var id, secret string
	if json.Unmarshal(m["client_id"], &id) != nil || id != c.ID {
		return MetadataError{Field: "client_id", Fix: "is not that of this client", Code: invalidClientMetadata}.public()
	}
	if raw, ok := m["client_secret"]; ok && (json.Unmarshal(raw, &secret) != nil || proveSecret(c, secret) != nil) {
		return MetadataError{Field: "client_secret", Fix: "is not that of this client; leave it out", Code: invalidClientMetadata}.public()
	}
	return nil
}
