package provider

import (
	"context"
	"log/slog"
	"net/url"

	"github.com/sealpost/sealpost/storage"
)

// frames are the front-channel logout URIs of the clients that a session signed
// in to, with issuer and session (OIDC Front-Channel Logout §2, §3). A client
// that is gone or cannot be looked up is told by nobody: the person is signed
// out all the same.
func (p *Provider) frames(ctx context.Context, clients []string, s storage.Session) (frames []string) {
	for _, id := range clients {
		c, err := p.clients.get(ctx, id)
		if err != nil {
			p.cfg.Log(ctx, slog.String("frontchannel", "client not found"))
			continue
		}
		if c.FrontchannelLogoutURI == "" {
			continue
		}
		frames = append(frames, withParams(c.FrontchannelLogoutURI, url.Values{"iss": {p.cfg.Issuer}, "sid": {p.sid(c, s.ID)}}))
	}
	return frames
}
