package provider

import (
	"net/http"
	"net/url"

	"github.com/sealpost/sealpost/templates"
)

// This file is the only place that sends a browser to a client with an
// authorization response; logout.go sends it to one afterwards.

// answer sends the authorization response (RFC 6749 §4.1.2, RFC 9207 §2,
// OAuth 2.0 Form Post Response Mode).
func (p *Provider) answer(w http.ResponseWriter, r *http.Request, t target, params url.Values) {
	if t.state != "" {
		params.Set("state", t.state)
	}
	params.Set("iss", p.cfg.Issuer)
	w.Header().Set("Cache-Control", "no-store")
	switch t.mode {
	case "form_post":
		p.cfg.Templates.Render(w, r, http.StatusOK, templates.FormPost{Action: t.uri, Params: params})
	case "fragment":
		redirect(w, t.uri+"#"+params.Encode())
	default:
		redirect(w, withParams(t.uri, params))
	}
}

// fail sends an authorization error response (RFC 6749 §4.1.2.1).
func (p *Provider) fail(w http.ResponseWriter, r *http.Request, t target, err *Error) {
	p.logError(r, err)
	params := url.Values{"error": {err.Code}}
	if err.Description != "" {
		params.Set("error_description", err.Description)
	}
	p.answer(w, r, t, params)
}

// redirect is 303 (RFC 9700 §4.12) with no body: a code has no business in a
// page.
func redirect(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}
