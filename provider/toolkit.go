package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/sealpost/sealpost/storage"
)

// server puts our endpoints under op.RegisterServer, which routes, decodes
// forms and client credentials, and encodes answers. Whatever it lets through
// too easily is refused before it (Provider.api) or rewritten after it
// (apiWriter).
type server struct {
	op.UnimplementedServer
	p *Provider
}

func (p *Provider) toolkit() http.Handler {
	return op.RegisterServer(&server{p: p}, op.Endpoints{
		Token: op.NewEndpoint(pathToken), Introspection: op.NewEndpoint(pathIntrospect),
		Userinfo: op.NewEndpoint(pathUserinfo), Revocation: op.NewEndpoint(pathRevoke),
	}, op.WithServerCORSOptions(nil))
}

// VerifyClient authenticates the client of a token, introspection or
// revocation request.
func (s *server) VerifyClient(ctx context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	c, err := s.p.authenticate(ctx, *r.Data, r.Form)
	if err != nil {
		return nil, refuse(ctx, err)
	}
	return toolkitClient{c}, nil
}

// CodeExchange is grant_type=authorization_code.
func (s *server) CodeExchange(ctx context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	return respond(ctx)(s.p.redeem(ctx, clientOf(r.Client), r.Form))
}

// RefreshToken is grant_type=refresh_token.
func (s *server) RefreshToken(ctx context.Context, r *op.ClientRequest[oidc.RefreshTokenRequest]) (*op.Response, error) {
	return respond(ctx)(s.p.refresh(ctx, clientOf(r.Client), r.Form))
}

// Introspect is the introspection endpoint.
func (s *server) Introspect(ctx context.Context, r *op.Request[op.IntrospectionRequest]) (*op.Response, error) {
	client, err := s.p.authenticate(ctx, *r.Data.ClientCredentials, r.Form)
	if err != nil {
		return nil, refuse(ctx, err)
	}
	answer, err := s.p.introspect(ctx, client, r.Data.Token)
	if err != nil {
		return nil, refuse(ctx, err)
	}
	return op.NewResponse(answer), nil
}

// Revocation is the revocation endpoint.
func (s *server) Revocation(ctx context.Context, r *op.ClientRequest[oidc.RevocationRequest]) (*op.Response, error) {
	if err := s.p.revoke(ctx, clientOf(r.Client), r.Data.Token); err != nil {
		return nil, refuse(ctx, err)
	}
	return op.NewResponse(nil), nil
}

// UserInfo is the userinfo endpoint.
func (s *server) UserInfo(ctx context.Context, r *op.Request[oidc.UserInfoRequest]) (*op.Response, error) {
	answer, err := s.p.userinfo(ctx, r.Data.AccessToken)
	if err != nil {
		return nil, refuse(ctx, err)
	}
	return op.NewResponse(answer), nil
}

func respond(ctx context.Context) func(*tokens, error) (*op.Response, error) {
	return func(t *tokens, err error) (*op.Response, error) {
		if err != nil {
			return nil, refuse(ctx, err)
		}
		return op.NewResponse(t), nil
	}
}

// toolkitClient is a client as op.Client. The toolkit asks it for its grant
// types and whether it is public; the rest is answered as the interface wants.
type toolkitClient struct{ storage.Client }

func clientOf(c op.Client) storage.Client { return c.(toolkitClient).Client }

func (c toolkitClient) GetID() string                       { return c.ID }
func (c toolkitClient) RedirectURIs() []string              { return c.Client.RedirectURIs }
func (c toolkitClient) PostLogoutRedirectURIs() []string    { return c.Client.PostLogoutRedirectURIs }
func (c toolkitClient) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c toolkitClient) AuthMethod() oidc.AuthMethod {
	return oidc.AuthMethod(c.TokenEndpointAuthMethod)
}
func (c toolkitClient) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c toolkitClient) GrantTypes() []oidc.GrantType {
	types := make([]oidc.GrantType, len(c.Client.GrantTypes))
	for i, t := range c.Client.GrantTypes {
		types[i] = oidc.GrantType(t)
	}
	return types
}
func (c toolkitClient) LoginURL(string) string              { return "" }
func (c toolkitClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (c toolkitClient) IDTokenLifetime() time.Duration      { return 0 }
func (c toolkitClient) DevMode() bool                       { return false }
func (c toolkitClient) IsScopeAllowed(string) bool          { return false }
func (c toolkitClient) ClockSkew() time.Duration            { return 0 }
func (c toolkitClient) IDTokenUserinfoClaimsAssertion() bool {
	return c.ClaimsInIDToken()
}
func (c toolkitClient) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}
func (c toolkitClient) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}

// refusal carries our own error past the toolkit, which would put Go's error
// text into the answer and has no headers for errors.
type refusal struct{ err *Error }

type refusalKey struct{}

// refuse notes err for the answer. What it returns only tells the toolkit to
// stop.
func refuse(ctx context.Context, err error) error {
	ctx.Value(refusalKey{}).(*refusal).err = publicError(err)
	return oidc.ErrServerError()
}

// descriptions of the errors that the toolkit finds by itself.
var descriptions = map[string]string{
	invalidRequest:       "the request is malformed or a parameter is missing",
	invalidClient:        "client authentication failed",
	unauthorizedClient:   "the client is not registered for this grant_type",
	unsupportedGrantType: "grant_type is not supported",
}

// api wraps the toolkit: parameters come from the body alone, once each;
// answers are never stored; errors have their true status and headers.
func (p *Provider) api(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := &apiWriter{ResponseWriter: w, status: http.StatusOK}
		ref := &refusal{}
		if err := p.strictForm(w, r); err != nil {
			ref.err = err
		} else {
			next.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), refusalKey{}, ref)))
		}
		p.writeAPI(w, r, out, ref.err)
	})
}

// strictForm reads the body's form. The query is dropped: credentials and
// tokens have no place in it (RFC 6749 §2.3.1, RFC 9700 §4.3.2).
func (p *Provider) strictForm(w http.ResponseWriter, r *http.Request) *Error {
	query := r.URL.RawQuery
	u := *r.URL
	u.RawQuery = ""
	r.URL = &u
	if r.Method == http.MethodPost {
		media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if media != "application/x-www-form-urlencoded" && !(media == "" && r.ContentLength == 0) {
			return &Error{Code: invalidRequest, Description: "the body must be application/x-www-form-urlencoded"}
		}
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	}
	if err := r.ParseForm(); err != nil {
		return &Error{Code: invalidRequest, Description: "the body is malformed or too long", Err: err}
	}
	for name, values := range r.Form {
		if len(values) > 1 && name != "resource" && name != "audience" {
			return &Error{Code: invalidRequest, Description: "a parameter is repeated"}
		}
	}
	if r.URL.Path == pathUserinfo {
		if len(r.Header.Values("Authorization")) > 1 || r.Header.Get("Authorization") != "" && r.Form.Get("access_token") != "" { // RFC 6750 §2
			return &Error{Code: invalidRequest, Description: "the access token must be sent in one way"}
		}
		return nil
	}
	if forbidden, err := url.ParseQuery(query); err != nil || slices.ContainsFunc([]string{"client_secret", "client_assertion", "code", "refresh_token", "token"}, forbidden.Has) {
		return &Error{Code: invalidRequest, Description: "credentials and tokens must be sent in the body"}
	}
	return credentialsPresent(r)
}

// apiWriter holds back what the toolkit answers: a few kilobytes at most.
type apiWriter struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (w *apiWriter) WriteHeader(status int)      { w.status = status }
func (w *apiWriter) Write(b []byte) (int, error) { return w.body.Write(b) }

func (p *Provider) writeAPI(w http.ResponseWriter, r *http.Request, out *apiWriter, e *Error) {
	h := w.Header()
	h.Set("Cache-Control", "no-store") // RFC 6749 §5.1
	h.Set("Pragma", "no-cache")
	if e == nil && out.status >= http.StatusBadRequest {
		var found struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(out.body.Bytes(), &found) != nil || descriptions[found.Error] == "" {
			found.Error = invalidRequest
		}
		e = &Error{Code: found.Error, Description: descriptions[found.Error]}
		if r.URL.Path == pathUserinfo {
			e = &Error{Code: invalidToken} // the one thing the toolkit finds there: no token at all
		}
	}
	if e == nil {
		if out.body.Len() == 0 { // RFC 7009 §2.2: 200 and nothing more
			w.WriteHeader(out.status)
			return
		}
		h.Set("Content-Type", "application/json")
		w.WriteHeader(out.status)
		_, _ = w.Write(out.body.Bytes())
		return
	}
	p.logError(r, e)
	status := e.status()
	switch {
	case status == http.StatusServiceUnavailable:
		h.Set("Retry-After", seconds(retryAfter))
	case r.URL.Path == pathUserinfo && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		h.Set("WWW-Authenticate", bearerChallenge(p.cfg.Issuer, e))
	case status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Basic realm="`+p.cfg.Issuer+`"`)
	}
	if e.Code == invalidToken && e.Description == "" { // RFC 6750 §3.1: no error code when no token was sent
		h.Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("{}\n"))
		return
	}
	body, err := json.Marshal(map[string]string{"error": e.Code, "error_description": e.Description})
	if err != nil {
		p.cfg.Log(r.Context(), slog.String("cause", err.Error()))
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// bearerChallenge is the WWW-Authenticate of a resource (RFC 6750 §3).
func bearerChallenge(realm string, e *Error) string {
	challenge := `Bearer realm="` + realm + `"`
	if e.Description != "" {
		challenge += `, error="` + e.Code + `", error_description="` + e.Description + `"`
	}
	return challenge
}

func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// cors lets scripts of any origin call endpoints that take no cookies: tokens
// and codes prove everything there. Nothing is allowed with credentials.
func cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		if next == nil || r.Method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", "GET, POST")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			h.Set("Access-Control-Max-Age", "86400")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
		next.ServeHTTP(w, r)
	})
}
