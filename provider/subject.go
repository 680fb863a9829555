package provider

import (
	"net/url"

	"github.com/sealpost/sealpost/storage"
)

// subject is the sub of a person for a client (OIDC Core §8). Pairwise, it is
// the same for the clients of a sector and says nothing to those of any other.
func (p *Provider) subject(c storage.Client, u storage.User) string {
	if c.SubjectType != "pairwise" {
		return u.ID
	}
	return p.cfg.Keys.Subject(sector(c), u.ID)
}

// sector is the sector identifier of a client (OIDC Core §8.1): the host of its
// sector_identifier_uri, or that of its redirect URIs, which is one.
func sector(c storage.Client) string {
	uri := c.SectorIdentifierURI
	if uri == "" && len(c.RedirectURIs) > 0 {
		uri = c.RedirectURIs[0]
	}
	u, err := url.Parse(uri)
	if err != nil || u.Hostname() == "" {
		return "client:" + c.ID
	}
	return u.Hostname()
}
