package provider

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// call is one request to an endpoint for clients. Its form is that of the body
// alone, each parameter once.
type call struct {
	*http.Request
	form   url.Values
	header http.Header   // of the answer
	uses   []storage.Use // what it proves itself with and nobody may send again
}

// endpoint answers a call: with JSON, with a reply, or, with nil, with an
// empty body.
type endpoint func(c *call) (any, error)

// reply is an answer that is not 200 and JSON.
type reply struct {
	status      int
	contentType string
	body        any // a string is sent as it is, nil is nothing
}

// api serves an endpoint for clients. Answers are never stored; errors have
// their true status and headers.
func (p *Provider) api(e endpoint) http.HandlerFunc {
	return p.serveAPI(e, func(h http.Header, _ *http.Request, _ *Error) {
		h.Set("WWW-Authenticate", `Basic realm="`+p.cfg.Issuer+`"`) // RFC 6749 §5.2
	})
}

// resource serves an endpoint that takes an access token (RFC 6750, RFC 9449 §7).
func (p *Provider) resource(e endpoint) http.HandlerFunc {
	return p.serveAPI(e, func(h http.Header, r *http.Request, err *Error) {
		for _, challenge := range p.challenges(r, err) {
			h.Add("WWW-Authenticate", challenge)
		}
	})
}

// challenger sets the header that goes with 401, and with 403 of a resource.
type challenger func(h http.Header, r *http.Request, err *Error)

func (p *Provider) serveAPI(e endpoint, challenge challenger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store") // RFC 6749 §5.1
		h.Set("Pragma", "no-cache")
		c, err := readCall(w, r)
		var answer any
		if err == nil {
			answer, err = e(c)
		}
		if err == nil {
			err = p.write(w, answer)
		}
		if err != nil {
			p.writeError(w, r, publicError(err), challenge)
		}
	}
}

// maxBody is the longest body of a call, in bytes.
const maxBody = 64 << 10

// readCall reads a call strictly. The query is dropped: credentials and tokens
// have no place in it (RFC 6749 §2.3.1, RFC 9700 §4.3.2).
func readCall(w http.ResponseWriter, r *http.Request) (*call, error) {
	if query, err := url.ParseQuery(r.URL.RawQuery); err != nil || slices.ContainsFunc(secretParams, query.Has) {
		return nil, &Error{Code: invalidRequest, Description: "credentials and tokens must be sent in the header or the body"}
	}
	c := &call{Request: r, form: url.Values{}, header: w.Header()}
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		return c, nil
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case media == "application/json" && jsonEndpoint(r): // read by the endpoint
		return c, nil
	case media == "" && r.ContentLength == 0:
		return c, nil
	case media != "application/x-www-form-urlencoded" || jsonEndpoint(r):
		return nil, &Error{Code: invalidRequest, Description: "the body must be " + wantedMedia(r)}
	}
	if err := r.ParseForm(); err != nil {
		return nil, &Error{Code: invalidRequest, Description: "the body is malformed or too long", Err: err}
	}
	c.form = r.PostForm
	if err := singleValues(c.form); err != nil {
		return nil, err
	}
	return c, nil
}

// needs refuses a call without one of its parameters (RFC 6749 §5.2).
func (c *call) needs(names ...string) error {
	for _, name := range names {
		if c.form.Get(name) == "" {
			return &Error{Code: invalidRequest, Description: name + " is missing"}
		}
	}
	return nil
}

// secretParams are parameters that must not stand in a query.
var secretParams = []string{"client_secret", "client_assertion", "code", "refresh_token", "token", "device_code"}

// jsonEndpoint says whether a request goes to the one endpoint that takes JSON
// (RFC 7591 §3.1).
func jsonEndpoint(r *http.Request) bool { return isRegistration(r.URL.Path) }

func wantedMedia(r *http.Request) string {
	if jsonEndpoint(r) {
		return "application/json"
	}
	return "application/x-www-form-urlencoded"
}

// write sends a successful answer.
func (p *Provider) write(w http.ResponseWriter, answer any) error {
	out, ok := answer.(reply)
	if !ok {
		out = reply{status: http.StatusOK, contentType: "application/json", body: answer}
	}
	var body []byte
	switch b := out.body.(type) {
	case nil:
		w.WriteHeader(out.status)
		return nil
	case string:
		body = []byte(b)
	default:
		var err error
		if body, err = json.Marshal(b); err != nil {
			return &Error{Code: serverError, Description: "the answer could not be made", Err: err}
		}
		body = append(body, '\n')
	}
	w.Header().Set("Content-Type", out.contentType)
	w.WriteHeader(out.status)
	_, _ = w.Write(body) // to a client that may be gone
	return nil
}

// writeError sends an error as JSON.
func (p *Provider) writeError(w http.ResponseWriter, r *http.Request, e *Error, challenge challenger) {
	p.logError(r, e)
	h := w.Header()
	status := e.status()
	if e.dpop() && r.URL.Path == pathUserinfo { // RFC 9449 §7.1
		status = http.StatusUnauthorized
	}
	if e.Code == accessDenied { // RFC 8628 §3.5: an error like any other of the token endpoint
		status = http.StatusBadRequest
	}
	switch status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", seconds(max(e.RetryAfter, retryAfter)))
	case http.StatusUnauthorized, http.StatusForbidden:
		challenge(h, r, e)
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if e.Code == invalidToken && e.Description == "" { // RFC 6750 §3.1: no error code when no token was sent
		_, _ = w.Write([]byte("{}\n"))
		return
	}
	body, err := json.Marshal(map[string]string{"error": e.Code, "error_description": e.Description})
	if err != nil {
		p.cfg.Log(r.Context(), slog.String("cause", err.Error()))
	}
	_, _ = w.Write(append(body, '\n'))
}

// authenticated is an endpoint for clients that have proven themselves. What
// they proved themselves with is spent before anything is done.
func (p *Provider) authenticated(e func(c *call, client storage.Client) (any, error)) endpoint {
	return func(c *call) (any, error) {
		client, err := p.authenticate(c)
		if err != nil {
			return nil, err
		}
		p.cfg.Log(c.Context(), slog.String("client_id", client.ID))
		return e(c, client)
	}
}

// spend marks what a call proves itself with as used, all of it at once, on
// whichever replica (RFC 7523 §3, RFC 9449 §11.1).
func (p *Provider) spend(c *call) error {
	if len(c.uses) == 0 {
		return nil
	}
	err := p.cfg.Store.Use(c.Context(), c.uses, p.cfg.Now())
	c.uses = nil
	if errors.Is(err, storage.ErrConflict) {
		if c.form.Has("client_assertion") {
			return errClient.because(errors.New("an assertion or proof was sent before"))
		}
		return errProof.because(errors.New("the proof was sent before"))
	}
	return err
}

func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// cors lets scripts of any origin call endpoints that take no cookies: tokens
// and codes prove everything there. Nothing is allowed with credentials.
func cors(next http.Handler) http.Handler {
	always := http.Header{
		"Access-Control-Allow-Origin":   {"*"},
		"Access-Control-Expose-Headers": {"WWW-Authenticate, Retry-After, DPoP-Nonce"},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		maps.Copy(h, always)
		if next == nil || r.Method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP, MCP-Protocol-Version")
			h.Set("Access-Control-Max-Age", "86400")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
