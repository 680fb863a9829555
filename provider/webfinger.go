package provider

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// pathWebFinger is fixed by RFC 7033 §4.
const pathWebFinger = "/.well-known/webfinger"

// relIssuer is the one relation there is to tell (OIDC Discovery §2).
const relIssuer = "http://openid.net/specs/connect/1.0/issuer"

// jrd is a JSON Resource Descriptor (RFC 7033 §4.4).
type jrd struct {
	Subject string    `json:"subject"`
	Links   []jrdLink `json:"links"`
}

type jrdLink struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

// webfinger tells who signs in the addresses of our domains (OIDC Discovery
// §2). It answers alike for every name, whether or not somebody has it.
func (p *Provider) webfinger(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	resource := query["resource"]
	switch {
	case err != nil || len(resource) != 1 || resource[0] == "" || len(resource[0]) > maxParam: // RFC 7033 §4.2
		p.writeAPI(w, r, nil, &Error{Code: invalidRequest, Description: "one resource is wanted"})
		return
	case resourceDomain(resource[0]) == "" || !slices.Contains(p.domains, resourceDomain(resource[0])):
		p.writeAPI(w, r, nil, &Error{Code: notFound, Description: "there is no such resource here"})
		return
	}
	answer := jrd{Subject: resource[0], Links: []jrdLink{}}
	if rel := query["rel"]; len(rel) == 0 || slices.Contains(rel, relIssuer) { // RFC 7033 §4.3
		answer.Links = append(answer.Links, jrdLink{relIssuer, p.cfg.Issuer})
	}
	h := w.Header()
	h.Set("Content-Type", "application/jrd+json")
	h.Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(answer) // to a client that may be gone
}

// resourceDomain gives the domain of acct:user@domain and https://domain/…; ""
// for any other resource.
func resourceDomain(resource string) string {
	if account, ok := strings.CutPrefix(resource, "acct:"); ok {
		if name, domain, ok := strings.Cut(account, "@"); ok && name != "" {
			return strings.ToLower(domain)
		}
		return ""
	}
	u, err := url.Parse(resource)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}
