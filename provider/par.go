package provider

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
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

type parAnswer struct {
	RequestURI string `json:"request_uri"`
	ExpiresIn  int    `json:"expires_in"` // seconds
}

// par is the pushed authorization request endpoint (RFC 9126 §2). It checks the
// request as /authorize would, so that a client hears of its mistakes before a
// browser does.
func (p *Provider) par(c *call, client storage.Client) (any, error) {
	jkt, err := p.proof(c, "")
	if err != nil {
		return nil, err
	}
	if err := p.spend(c); err != nil {
		return nil, err
	}
	form, err := p.pushedForm(c, client)
	if err != nil {
		return nil, err
	}
	if jkt != "" { // RFC 9449 §10.1
		if named := form.Get("dpop_jkt"); named != "" && named != jkt {
			return nil, &Error{Code: invalidDPoPProof, Description: "dpop_jkt is not the key of the proof"}
		}
		form.Set("dpop_jkt", jkt)
	}
	t, err := targetOf(client, form)
	if err != nil {
		return nil, err
	}
	now := p.cfg.Now()
	if _, refused := p.check(form, t, now); refused != nil {
		return nil, refused
	}
	plain, err := json.Marshal(pushed{ClientID: client.ID, Form: []byte(form.Encode()), ExpiresAt: now.Add(parTTL).UnixMicro()})
	if err != nil {
		return nil, err
	}
	uri := parPrefix + p.cfg.Secret.Seal(parPurpose, plain)
	if len(uri) > maxPushed {
		return nil, &Error{Code: invalidRequest, Description: "the request is too long"}
	}
	return reply{http.StatusCreated, "application/json", parAnswer{RequestURI: uri, ExpiresIn: int(parTTL / time.Second)}}, nil
}

// pushedForm is the authorization request in a call: its parameters, or those of
// its request object (RFC 9126 §3).
func (p *Provider) pushedForm(c *call, client storage.Client) (url.Values, error) {
	form := url.Values{"client_id": {client.ID}}
	for name, values := range c.form {
		switch name {
		case "client_id", "client_secret", "client_assertion", "client_assertion_type":
		case "request_uri": // RFC 9126 §2.1
			return nil, &Error{Code: invalidRequest, Description: "request_uri cannot be pushed"}
		default:
			form[name] = values
		}
	}
	form, refused := p.unwrap(c.Context(), client, form)
	if refused != nil {
		return nil, refused
	}
	return form, nil
}

var errNotPushed = &Error{Code: invalidRequestURI, Description: "this request has expired or was never made; go back to the application and start again"}

// unpush gives the parameters of a pushed request in place of form, and by what
// its use is known; what stands beside its request_uri counts for nothing (RFC
// 9126 §4, RFC 9101 §6.3). Any other form comes back as it is.
func (p *Provider) unpush(form url.Values) (_ url.Values, id string, _ error) {
	sealed, ok := strings.CutPrefix(form.Get("request_uri"), parPrefix)
	if !ok {
		return form, "", nil
	}
	if len(form["request_uri"]) > 1 || len(form["client_id"]) > 1 {
		return nil, "", &Error{Code: invalidRequest, Description: "a parameter is repeated"}
	}
	var q pushed
	plain, err := p.cfg.Secret.Open(parPurpose, sealed)
	if err == nil {
		err = json.Unmarshal(plain, &q)
	}
	if err != nil {
		return nil, "", errNotPushed.because(err)
	}
	if form.Get("client_id") != q.ClientID || !p.cfg.Now().Before(time.UnixMicro(q.ExpiresAt)) {
		return nil, "", errNotPushed
	}
	form, err = url.ParseQuery(string(q.Form))
	return form, keys.Hash([]byte("pushed\x00" + sealed)), err
}

// answerPushed marks a pushed request as answered. A browser may load its pages
// as often as it likes before; afterwards the same sign-in may be answered again,
// as by a double click, and no other (RFC 9126 §4).
func (p *Provider) answerPushed(r *http.Request, q request) error {
	if q.Pushed == "" {
		return nil
	}
	issued := time.UnixMicro(q.IssuedAt)
	err := p.cfg.Store.Use(r.Context(), []storage.Use{{
		Key: q.Pushed, Holder: keys.Hash([]byte(q.Browser + "\x00" + strconv.FormatInt(q.IssuedAt, 10))),
		EndsAt: issued.Add(requestTTL + parTTL), // as long as any page that was opened with it
	}}, p.cfg.Now())
	if errors.Is(err, storage.ErrConflict) {
		return errNotPushed.because(errors.New("answered before"))
	}
	return err
}
