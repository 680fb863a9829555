package provider

import (
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
func (p *Provider) webfinger(c *call) (any, error) {
	query := c.URL.Query()
	resource := query["resource"]
	switch {
	case len(resource) != 1 || resource[0] == "" || len(resource[0]) > maxParam: // RFC 7033 §4.2
		return nil, &Error{Code: invalidRequest, Description: "one resource is wanted"}
	case resourceDomain(resource[0]) == "" || !slices.Contains(p.domains, resourceDomain(resource[0])):
		return nil, &Error{Code: notFound, Description: "there is no such resource here"}
	}
	answer := jrd{Subject: resource[0], Links: []jrdLink{}}
	if rel := query["rel"]; len(rel) == 0 || slices.Contains(rel, relIssuer) { // RFC 7033 §4.3
		answer.Links = append(answer.Links, jrdLink{relIssuer, p.cfg.Issuer})
	}
	return reply{http.StatusOK, "application/jrd+json", answer}, nil
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
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || !strings.Contains(resource, u.Host) { // as with %C3%BC
		return ""
	}
	return strings.ToLower(u.Host)
}
