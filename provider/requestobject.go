package provider

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/storage"
)

// Request objects that are fetched (RFC 9101 §5.2).
var requestObjectFetch = fetchOptions{limit: maxForm, minAge: time.Minute, maxAge: time.Hour}

// objectParams are the parameters of a request object, which are no
// authorization request parameters (RFC 9101 §4, RFC 7519 §4.1).
var objectParams = []string{"iss", "aud", "exp", "nbf", "iat", "jti"}

// unwrap gives the parameters of a request object in place of form; what stands
// beside it counts for nothing (RFC 9101 §6.3). A form without one comes back as
// it is.
func (p *Provider) unwrap(ctx context.Context, c storage.Client, form url.Values) (url.Values, *Error) {
	object, uri := form.Get("request"), form.Get("request_uri")
	switch {
	case len(form["request"]) > 1 || len(form["request_uri"]) > 1 || object != "" && uri != "":
		return nil, &Error{Code: invalidRequest, Description: "request and request_uri are for one request object"}
	case object == "" && uri == "" && c.RequireSignedRequestObject: // RFC 9101 §10.5
		return nil, &Error{Code: invalidRequest, Description: "this client has to sign its requests"}
	case object == "" && uri == "":
		return form, nil
	case uri != "" && (!slices.Contains(c.RequestURIs, uri) || c.FAPI()): // OIDC Core §6.2, RFC 9101 §10.4
		return nil, &Error{Code: invalidRequestURI, Description: "request_uri is not registered for this application"}
	}
	if uri != "" {
		fetched, err := p.fetcherFor(c).get(ctx, uri, requestObjectFetch)
		if err != nil {
			return nil, &Error{Code: invalidRequestURI, Description: "request_uri could not be fetched", Err: err}
		}
		object = strings.TrimSpace(string(fetched))
	}
	payload, header, err := p.clientKeys.verify(ctx, c, object, algorithmsOf(c, c.RequestObjectSigningAlg))
	if err != nil {
		return nil, errObject.because(err)
	}
	unwrapped, err := readObject(payload, header, c, p.cfg.Issuer, p.cfg.Now())
	if err != nil {
		return nil, errObject.because(err)
	}
	return unwrapped, nil
}

var errObject = &Error{Code: invalidRequestObject, Description: "the request object is malformed, expired, not for this issuer, or not signed by the application"}

// readObject turns the claims of a proven request object into parameters. It is
// a pure function.
func readObject(payload []byte, header jose.Header, c storage.Client, issuer string, now time.Time) (url.Values, error) {
	if typ, ok := header.ExtraHeaders[jose.HeaderType].(string); ok && !slices.Contains([]string{"oauth-authz-req+jwt", "jwt"}, strings.TrimPrefix(strings.ToLower(typ), "application/")) {
		return nil, errors.New("typ is that of another kind of token") // RFC 9101 §10.8
	}
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, err
	}
	if err := checkObject(payload, c, issuer, now); err != nil {
		return nil, err
	}
	form := url.Values{}
	for name, raw := range claims {
		switch {
		case slices.Contains(objectParams, name):
		case name == "request" || name == "request_uri" || name == "sub": // RFC 9101 §4, §10.8
			return nil, errors.New(name + " has no place in a request object")
		default:
			values, err := paramValues(raw)
			if err != nil {
				return nil, err
			}
			form[name] = values
		}
	}
	form.Set("client_id", c.ID)
	return form, nil
}

// checkObject checks what a request object says of itself. Issuer, audience and
// times may be left out (RFC 9101 §4).
func checkObject(payload []byte, c storage.Client, issuer string, now time.Time) error {
	var o struct {
		assertion
		ClientID string `json:"client_id"`
	}
	if err := json.Unmarshal(payload, &o); err != nil {
		return err
	}
	expires, errExpires := numericDate(o.Expires)
	notBefore, errNotBefore := numericDate(o.NotBefore)
	switch {
	case o.ClientID != "" && o.ClientID != c.ID, o.Issuer != "" && o.Issuer != c.ID:
		return errors.New("another client's")
	case errExpires != nil || errNotBefore != nil:
		return errors.New("a time is no number")
	case !expires.IsZero() && !now.Before(expires.Add(assertionSkew)), notBefore.After(now.Add(assertionSkew)):
		return errors.New("expired, or from the future")
	}
	if len(o.Audience) == 0 {
		return nil
	}
	audience, err := audienceOf(o.Audience, true)
	if err != nil || !slices.Contains(audience, issuer) {
		return errors.New("for another audience")
	}
	return nil
}

// paramValues writes a claim as a parameter: strings as they are, lists of
// strings as several, all else as JSON (RFC 9101 §4).
func paramValues(raw json.RawMessage) ([]string, error) {
	if string(raw) == "null" {
		return nil, errors.New("a parameter is null")
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	var many []string
	if json.Unmarshal(raw, &many) == nil && len(many) > 0 {
		return many, nil
	}
	return []string{string(raw)}, nil
}
