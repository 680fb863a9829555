package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// Config is what a Provider is made of. All fields without a default named
// are required.
type Config struct {
	Issuer    string // no path, no trailing slash
	Secret    keys.Secret
	Keys      *keys.Ring
	Store     Store
	Templates *templates.Templates
	Clients   []storage.Client // of the settings file; they come before those of the database
	Domains   []string         // whose addresses WebFinger answers for, besides the issuer's host
	Resources []string         // that tokens may be for (RFC 8707); none: any
	DPoPNonce bool             // whether proofs need a nonce of ours (RFC 9449 §8)
	Languages []string         // of the pages, as BCP 47 names them, for discovery; none: it says nothing
	Fetch     FetchConfig      // where it may go for clients

	Registration      string        // who may register clients: RegistrationOff (as is ""), RegistrationToken, RegistrationOpen
	RegistrationLimit storage.Limit // per network; Max 0: none
	ClientDocuments   bool          // whether a client_id may be the address of a metadata document

	// Lifetimes.
	CodeTTL, AccessTTL, IDTTL, RefreshTTL, RefreshIdle time.Duration

	// Allowed decides whether an identity key passes lists of patterns: those of
	// the instance, Allow and Deny, and those of clients.
	Allowed     func(key string, allow, deny []string) bool
	Allow, Deny []string

	// Place names the place of an address, in a language or else in English; "":
	// unknown. It stands with a device that asks. nil: no place is named.
	Place func(addr netip.Addr, language string) string

	Now func() time.Time
	Log func(ctx context.Context, attrs ...slog.Attr) // adds to the line of the request; nil: nothing
}

// Logins is what the provider wants from login: is there a session, and where
// does the browser go to get one.
type Logins interface {
	// Session gives the live session of this browser: storage.ErrNotFound
	// when there is none.
	Session(w http.ResponseWriter, r *http.Request) (storage.Login, error)
	// Browser gives the hash of this browser's binding cookie and sets the
	// cookie when there is none.
	Browser(w http.ResponseWriter, r *http.Request) string
	// KnownBrowser is Browser for a browser that has the cookie; "" when it has
	// none. It sets none: a browser may hold it back from a POST of another site,
	// and what is sealed for it needs it.
	KnownBrowser(r *http.Request) string
	// ProvedHere says whether it was in this very browser that the address of the
	// session was proven at its AuthTime. The session alone does not tell: whoever
	// has stolen its cookie would have a fresh one as soon as its owner signs in.
	ProvedHere(r *http.Request, s storage.Session) bool
	// ClearSession takes the session cookie from the browser.
	ClearSession(w http.ResponseWriter)
	// URL is where a browser signs in for the request of a handle.
	URL(handle string) string
}

// Provider answers relying parties.
type Provider struct {
	cfg        Config
	clients    *clients
	logins     Logins
	fetcher    *fetcher // for clients that are known
	strangers  *fetcher // for those that nobody but themselves stands for: they must not be in the way of the others
	clientKeys *clientKeys
	metadata   document // discovery, RFC 8414
	keySet     atomic.Pointer[document]
	domains    []string // WebFinger; lower case
	csrf       *http.CrossOriginProtection
	notices    *notices
}

// fetcherFor is whose slots a fetch for the client takes.
func (p *Provider) fetcherFor(c storage.Client) *fetcher {
	if selfMade(c) {
		return p.strangers
	}
	return p.fetcher
}

// New checks the configuration and makes a Provider.
func New(cfg Config) (*Provider, error) {
	for name, missing := range map[string]bool{
		"Issuer": cfg.Issuer == "", "Secret": cfg.Secret.IsZero(), "Keys": cfg.Keys == nil, "Store": cfg.Store == nil, "Templates": cfg.Templates == nil,
		"Allowed": cfg.Allowed == nil, "Now": cfg.Now == nil,
		"CodeTTL": cfg.CodeTTL <= 0, "AccessTTL": cfg.AccessTTL <= 0, "IDTTL": cfg.IDTTL <= 0,
		"RefreshTTL": cfg.RefreshTTL <= 0, "RefreshIdle": cfg.RefreshIdle <= 0,
	} {
		if missing {
			return nil, fmt.Errorf("provider: %s is not set", name)
		}
	}
	if cfg.Log == nil {
		cfg.Log = func(context.Context, ...slog.Attr) {}
	}
	cfg.Fetch.Now = cfg.Now
	p := &Provider{cfg: cfg, clients: newClients(cfg.Clients, cfg.Store, cfg.Now), fetcher: newFetcher(cfg.Fetch), strangers: newFetcher(cfg.Fetch)}
	p.clientKeys = newClientKeys(p.fetcherFor)
	if cfg.ClientDocuments {
		p.documentClients()
	}
	for _, domain := range append([]string{resourceDomain(cfg.Issuer)}, cfg.Domains...) {
		p.domains = append(p.domains, strings.ToLower(domain))
	}
	p.notices = newNotices(p)
	p.csrf = http.NewCrossOriginProtection()
	// Behind a proxy that rewrites Host the issuer is still our own origin.
	if err := p.csrf.AddTrustedOrigin(cfg.Issuer); err != nil {
		return nil, fmt.Errorf("provider: Issuer %q: %w", cfg.Issuer, err)
	}
	var err error
	if p.metadata, err = newMetadata(cfg); err != nil {
		return nil, err
	}
	return p, nil
}

// Paths of the endpoints.
const (
	pathAuthorize  = "/authorize"
	pathResume     = "/authorize/resume"
	pathPAR        = "/par"
	pathToken      = "/token"
	pathUserinfo   = "/userinfo"
	pathIntrospect = "/introspect"
	pathRevoke     = "/revoke"
	pathRegister   = "/register"
	pathDevice     = "/device_authorization"
	pathDevicePage = "/device"
	pathLogout     = "/logout"
	pathCheck      = "/check_session"
	pathJWKS       = "/jwks"
	pathOpenID     = "/.well-known/openid-configuration"
	pathOAuth      = "/.well-known/oauth-authorization-server"
)

// Routes adds every endpoint to r.
func (p *Provider) Routes(r chi.Router, logins Logins) {
	p.logins = logins

	// For browsers. No CORS (RFC 9700 §2.6).
	r.Get(pathAuthorize, p.page(p.authorize))
	r.Post(pathAuthorize, p.page(p.authorize))
	r.Get(pathResume, p.page(p.resume))
	r.Post(pathResume, p.page(p.resumePost))
	r.Get(pathLogout, p.page(p.logout))
	r.Post(pathLogout, p.page(p.logout))
	r.Get(pathCheck, p.page(p.checkSession))
	r.Get(pathDevicePage, p.page(p.devicePage))
	r.Post(pathDevicePage, p.page(p.devicePost))

	// For clients.
	r.Method(http.MethodPost, pathDevice, p.api(p.authenticated(p.deviceAuthorization)))
	r.Method(http.MethodPost, pathPAR, cors(p.api(p.authenticated(p.par))))
	r.Method(http.MethodPost, pathToken, cors(p.api(p.authenticated(p.token))))
	r.Method(http.MethodPost, pathRevoke, cors(p.api(p.authenticated(p.revoke))))
	r.Method(http.MethodPost, pathIntrospect, p.api(p.authenticated(p.introspect)))
	r.Method(http.MethodGet, pathUserinfo, cors(p.resource(p.userinfo)))
	r.Method(http.MethodPost, pathUserinfo, cors(p.resource(p.userinfo)))
	r.Method(http.MethodGet, pathWebFinger, cors(p.api(p.webfinger)))
	p.registrationRoutes(r)
	for _, path := range []string{pathWebFinger, pathPAR, pathToken, pathRevoke, pathUserinfo, pathJWKS, pathOpenID, pathOAuth} {
		r.Method(http.MethodOptions, path, cors(nil))
	}

	// For anyone.
	for _, path := range []string{pathOpenID, pathOAuth} {
		r.Method(http.MethodGet, path, cors(p.metadata))
		r.Method(http.MethodHead, path, cors(p.metadata))
	}
	r.Method(http.MethodGet, pathJWKS, cors(http.HandlerFunc(p.jwks)))
	r.Method(http.MethodHead, pathJWKS, cors(http.HandlerFunc(p.jwks)))
}

// page answers a handler's error with a page of its true status.
func (p *Provider) page(handle func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := handle(w, r); err != nil {
			p.errorPage(w, r, err)
		}
	}
}

func (p *Provider) errorPage(w http.ResponseWriter, r *http.Request, err error) {
	e := publicError(err)
	p.logError(r, e)
	status := e.status()
	switch status {
	case http.StatusUnauthorized: // a page asks for no credentials
		status = http.StatusBadRequest
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", seconds(retryAfter))
	}
	p.cfg.Templates.Render(w, r, status, templates.Error{Code: e.Code, Description: e.Description})
}

func (p *Provider) logError(r *http.Request, e *Error) {
	attrs := []slog.Attr{slog.String("error", e.Code), slog.String("error_description", e.Description)}
	if e.Err != nil && !errors.Is(e.Err, keys.ErrSealed) {
		attrs = append(attrs, slog.String("cause", e.Err.Error()))
	}
	p.cfg.Log(r.Context(), attrs...)
}
