package provider

import (
	"encoding/base64"

	"github.com/sealpost/sealpost/storage"
)

// formToken proves that a form was shown by us to this session for this
// subject: a MAC over both, in a hidden field. A form of another site has none.
func (p *Provider) formToken(purpose, subject string, login storage.Login) string {
	return base64.RawURLEncoding.EncodeToString(p.cfg.Secret.MAC(purpose, []byte(subject), []byte(login.Session.ID)))
}

func (p *Provider) checkFormToken(token, purpose, subject string, login storage.Login) bool {
	mac, err := base64.RawURLEncoding.Strict().DecodeString(token)
	return err == nil && len(mac) == 32 && p.cfg.Secret.CheckMAC(purpose, mac, []byte(subject), []byte(login.Session.ID))
}
