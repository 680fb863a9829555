package provider

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document-02):
// a client_id that is the address of a document in which the client says of itself
// what it would have registered. Nothing of it is stored.

// documentFetch is how documents are fetched, and for how long they are believed
// (Client ID Metadata Document §5.2, §8.7).
var documentFetch = fetchOptions{limit: 10 << 10, types: []string{"application/json"}, minAge: time.Minute, maxAge: 24 * time.Hour}

// maxShownHost is the longest host that fits before a name on a page and in
// the subject of a mail. One that is cut would deceive.
const maxShownHost = 50

// isDocumentID says whether a client_id is the address of a document: https, with
// a path, without user, fragment or dots (Client ID Metadata Document §3). On a
// loopback issuer, http to this machine will do.
func isDocumentID(id string, loopback bool) bool {
	u, err := url.Parse(id)
	switch {
	case err != nil || u.Path == "" || u.User != nil || strings.ContainsAny(id, "#\\ ") || hasDotSegment(u):
		return false
	case !strings.HasPrefix(id, u.Scheme+"://"+u.Host+"/"): // as it is written, not only as it can be read
		return false
	case u.Host != strings.ToLower(u.Host): // "I" looks like "l"
		return false
	case u.Hostname() == "" || len(u.Host) > maxShownHost:
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && loopback && isLoopbackHost(u.Hostname())
}

// documentClients lets clients be found by the addresses of their documents.
func (p *Provider) documentClients() {
	loopback := p.rules().Loopback
	p.clients.documents = func(id string) bool { return isDocumentID(id, loopback) }
	p.clients.document = p.fetchClient
}

var errDocument = &Error{Code: invalidClient, Description: "the metadata document of the client could not be fetched, or is not valid"}

// fetchClient makes a client of its document. Errors are not kept (Client ID
// Metadata Document §5.2), but nobody can make us ask without end: a host that
// failed is left alone for some seconds, one with a bad document for a minute.
func (p *Provider) fetchClient(ctx context.Context, id string) (storage.Client, error) {
	c, err := p.readClientOf(ctx, id, p.strangers.get)
	if err != nil {
		c, err = p.readClientOf(ctx, id, p.strangers.fresh)
	}
	if err == nil {
		err = p.checkSector(ctx, c, documentFetch)
	}
	if isAway(err) {
		return storage.Client{}, err // it could not be consulted: nobody is to throw tokens away for that
	}
	if err != nil {
		return storage.Client{}, errDocument.because(err)
	}
	return c, nil
}

func (p *Provider) readClientOf(ctx context.Context, id string, get func(context.Context, string, fetchOptions) ([]byte, error)) (storage.Client, error) {
	body, err := get(ctx, id, documentFetch)
	if err != nil {
		return storage.Client{}, err
	}
	return documentClient(id, body, p.rules().Loopback)
}

// documentClient reads a document. It is a pure function.
func documentClient(id string, body []byte, loopback bool) (storage.Client, error) {
	m, err := parseMetadata(body)
	if err != nil {
		return storage.Client{}, err
	}
	var named string
	if json.Unmarshal(m["client_id"], &named) != nil || named != id { // Client ID Metadata Document §4
		return storage.Client{}, errors.New("client_id is not the address of the document")
	}
	for _, secret := range []string{"client_secret", "client_secret_expires_at"} { // Client ID Metadata Document §4.1
		if _, ok := m[secret]; ok {
			return storage.Client{}, errors.New("the document is public and holds a secret")
		}
	}
	c, err := m.client(storage.Client{ID: id})
	if err != nil {
		return storage.Client{}, err
	}
	c.Name, c.LogoURI = documentName(id, c.Name), "" // nobody has looked at the logo (Client ID Metadata Document §8.8)
	c = c.WithDefaults()
	if c.TokenEndpointAuthMethod != noAuthentication.name && c.TokenEndpointAuthMethod != privateKeyJWT.name { // no secret could be shared
		return storage.Client{}, errors.New("token_endpoint_auth_method is neither none nor private_key_jwt")
	}
	if wrong := CheckClient(c, ClientRules{Loopback: loopback, Document: true}); len(wrong) > 0 {
		return storage.Client{}, wrong[0]
	}
	return c, nil
}

// documentName is how pages and mails call the client: by the host that vouches
// for it, before the name that it gives itself (Client ID Metadata Document
// §8.5).
func documentName(id, name string) string {
	_, rest, _ := strings.Cut(id, "//")
	host, _, _ := strings.Cut(rest, "/")
	return named(host, name)
}

func named(host, name string) string {
	if name == "" || name == host {
		return host
	}
	return host + " (" + name + ")"
}
