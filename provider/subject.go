package provider

import (
	"cmp"
	"net/url"

	"github.com/sealpost/sealpost/keys"
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
// sector_identifier_uri, whose document lists the client's redirect URIs, or the
// host of those. Nobody joins it who is not sent there: a client that gets tokens
// in another way, or whose redirect URIs are no web addresses, is a sector of its
// own.
func sector(c storage.Client) string {
	uri := c.SectorIdentifierURI
	if len(c.RedirectURIs) == 0 || c.MayGrant(deviceGrant) {
		uri = ""
	} else if uri == "" {
		uri = c.RedirectURIs[0]
		for _, other := range c.RedirectURIs {
			if webHost(other) != webHost(uri) {
				return "client:" + c.ID
			}
		}
	}
	return cmp.Or(webHost(uri), "client:"+c.ID)
}

// webHost is the host of an https address, else "".
func webHost(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "https" {
		return ""
	}
	return u.Hostname()
}

// sid names a session to a client, and to no other sector the same if the
// client's subjects are pairwise.
func (p *Provider) sid(c storage.Client, sessionID string) string {
	if c.SubjectType != "pairwise" {
		return keys.SID(sessionID)
	}
	return p.cfg.Keys.Subject("sid of "+sector(c), sessionID)
}
