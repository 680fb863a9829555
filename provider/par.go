package provider

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	// parPrefix is how every request_uri that we give begins (RFC 9126 §2.2).
	parPrefix  = "urn:ietf:params:oauth:request_uri:"
	parPurpose = "pushed-authorization-request"
	// parTTL is how long a pushed request may wait for its browser. Within it
	// the browser may load the page again; afterwards the handle goes on.
	parTTL = time.Minute
	// maxPushed is how long a request_uri may get, in bytes: it has to fit into
	// an address, beside the client_id.
	maxPushed = maxTurned - 1<<10
)

// pushed is an authorization request that its client pushed, as it travels
// sealed in the request_uri: nothing is stored.
type pushed struct {
	ClientID  string `json:"c"`
	Form      []byte `json:"f"` // encoded; bytes: JSON would write "&" six times as long
	ExpiresAt int64  `json:"e"` // microseconds
}

// par is the pushed authorization request endpoint (RFC 9126 §2). It checks the
// request as /authorize would, so that a client hears of its mistakes before a
// browser does.
func (p *Provider) par(w http.ResponseWriter, r *http.Request) {
	answer, err := p.push(r)
	if err != nil {
		_ = refuse(r.Context(), err)
		return
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(answer) // into memory
}

type parAnswer struct {
	RequestURI string `json:"request_uri"`
	ExpiresIn  int    `json:"expires_in"` // seconds
}

func (p *Provider) push(r *http.Request) (parAnswer, error) {
	credentials, err := clientCredentials(r)
	if err != nil {
		return parAnswer{}, err
	}
	client, err := p.authenticate(r.Context(), credentials, r.PostForm)
	if err != nil {
		return parAnswer{}, err
	}
	form := url.Values{"client_id": {client.ID}}
	for name, values := range r.PostForm {
		switch name {
		case "client_id", "client_secret":
		case "request_uri": // RFC 9126 §2.1
			return parAnswer{}, &Error{Code: invalidRequest, Description: "request_uri cannot be pushed"}
		default:
			form[name] = values
		}
	}
	t, err := p.target(r.Context(), form)
	if err != nil {
		return parAnswer{}, err
	}
	now := p.cfg.Now()
	q, refused := parseRequest(form, t, now)
	if refused == nil && q.idTokenHint != "" {
		refused = p.takeHint(&q, client)
	}
	if refused != nil {
		return parAnswer{}, refused
	}
	plain, err := json.Marshal(pushed{ClientID: client.ID, Form: []byte(form.Encode()), ExpiresAt: now.Add(parTTL).UnixMicro()})
	if err != nil {
		return parAnswer{}, err
	}
	uri := parPrefix + p.cfg.Secret.Seal(parPurpose, plain)
	if len(uri) > maxPushed {
		return parAnswer{}, &Error{Code: invalidRequest, Description: "the request is too long"}
	}
	return parAnswer{RequestURI: uri, ExpiresIn: int(parTTL / time.Second)}, nil
}

// clientCredentials reads what the client says of itself, in the header
// form-urlencoded (RFC 6749 §2.3.1).
func clientCredentials(r *http.Request) (op.ClientCredentials, error) {
	cc := op.ClientCredentials{ClientID: r.PostForm.Get("client_id"), ClientSecret: r.PostForm.Get("client_secret"),
		ClientAssertion: r.PostForm.Get("client_assertion"), ClientAssertionType: r.PostForm.Get("client_assertion_type")}
	id, secret, basic := r.BasicAuth()
	if !basic {
		return cc, nil
	}
	var err error
	if cc.ClientID, err = url.QueryUnescape(id); err == nil {
		cc.ClientSecret, err = url.QueryUnescape(secret)
	}
	if err != nil {
		return op.ClientCredentials{}, errClient.because(err)
	}
	return cc, nil
}

var errNotPushed = &Error{Code: "invalid_request_uri", Description: "this request has expired or was never made; go back to the application and start again"}

// unpush gives the parameters of a pushed request in place of form; what stands
// beside its request_uri counts for nothing (RFC 9126 §4, RFC 9101 §6.3). Any
// other form comes back as it is.
func (p *Provider) unpush(form url.Values) (_ url.Values, wasPushed bool, _ error) {
	sealed, ok := strings.CutPrefix(form.Get("request_uri"), parPrefix)
	if !ok {
		return form, false, nil
	}
	if len(form["request_uri"]) > 1 || len(form["client_id"]) > 1 {
		return nil, false, &Error{Code: invalidRequest, Description: "a parameter is repeated"}
	}
	var q pushed
	plain, err := p.cfg.Secret.Open(parPurpose, sealed)
	if err == nil {
		err = json.Unmarshal(plain, &q)
	}
	if err != nil {
		return nil, false, errNotPushed.because(err)
	}
	if form.Get("client_id") != q.ClientID || !p.cfg.Now().Before(time.UnixMicro(q.ExpiresAt)) {
		return nil, false, errNotPushed
	}
	form, err = url.ParseQuery(string(q.Form))
	return form, true, err
}
