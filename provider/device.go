package provider

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

const (
	deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"
	// deviceTTL is how long a person has, who may have to wait for a mail.
	deviceTTL = 15 * time.Minute
	// deviceInterval is what RFC 8628 §3.2 takes for granted.
	deviceInterval = 5 * time.Second
	// userCodeTries is how many user codes are made for one that nobody has.
	userCodeTries = 5
)

// deviceAnswer is a device authorization response (RFC 8628 §3.2).
type deviceAnswer struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	Complete        string `json:"verification_uri_complete"`
	ExpiresIn       int    `json:"expires_in"` // seconds
	Interval        int    `json:"interval"`   // seconds
}

// deviceAuthorization is the device authorization endpoint (RFC 8628 §3.1).
func (p *Provider) deviceAuthorization(c *call, client storage.Client) (any, error) {
	if !client.MayGrant(deviceGrant) {
		return nil, &Error{Code: unauthorizedClient, Description: "the client is not registered for device authorization"}
	}
	jkt, err := p.proof(c, "")
	if err != nil {
		return nil, err
	}
	if err := p.spend(c); err != nil {
		return nil, err
	}
	asked := request{ResponseType: "code"} // of which this is a variant: its tokens come from the token endpoint
	if refused := asked.takeScope(c.form, client); refused != nil {
		return nil, refused
	}
	resources, refused := checkResources(c.form["resource"], p.cfg.Resources)
	if refused != nil {
		return nil, refused
	}
	if err := p.count(c.Context(), p.limit("device", devicesPerNetwork, client.ID+" "+networkKey(c.Request))); err != nil {
		return nil, err
	}
	random, now := keys.Random(refreshRandom), p.cfg.Now()
	d := storage.Device{
		ID: keys.Hash(random), ClientID: client.ID, Scopes: asked.Scopes, Resources: resources, JKT: jkt,
		Agent: deviceAgent(c.Request), Network: p.whereFrom(c.Request),
		CreatedAt: now, ExpiresAt: now.Add(deviceTTL), Interval: deviceInterval, PollAt: now,
	}
	if err := p.addDevice(c, &d); err != nil {
		return nil, err
	}
	shown := showUserCode(d.UserCode)
	return deviceAnswer{
		DeviceCode: p.newDeviceCode(random), UserCode: shown, VerificationURI: p.cfg.Issuer + pathDevicePage,
		Complete:  p.cfg.Issuer + pathDevicePage + "?" + url.Values{"user_code": {shown}}.Encode(),
		ExpiresIn: int(deviceTTL / time.Second), Interval: int(deviceInterval / time.Second),
	}, nil
}

// addDevice adds the request under a user code that no other one has.
func (p *Provider) addDevice(c *call, d *storage.Device) (err error) {
	for range userCodeTries {
		d.UserCode = newUserCode()
		if err = p.cfg.Store.AddDevice(c.Context(), *d); !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
	return err
}

// A device code is the random part of its request, whose id is the hash of it,
// and a MAC: what is none of ours is refused without a look at the database.
// The grant that comes of it has the same random part, and so the same id.
func (p *Provider) newDeviceCode(random []byte) string {
	return base64.RawURLEncoding.EncodeToString(append(random[:refreshRandom:refreshRandom], p.cfg.Secret.MAC("device-code", random)[:16]...))
}

func (p *Provider) readDeviceCode(s string) (random []byte, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != refreshRandom+16 || len(s) != base64.RawURLEncoding.EncodedLen(len(b)) { // no line feeds, which the decoder skips
		return nil, false
	}
	random = b[:refreshRandom]
	return random, p.cfg.Secret.CheckMAC("device-code", b[refreshRandom:], random)
}

var (
	errDeviceCode = &Error{Code: invalidGrant, Description: "the device_code is invalid, for another client or key, or was used before"}
	errPending    = &Error{Code: authorizationPending, Description: "the person has not answered yet"}
	errSlowDown   = &Error{Code: slowDown, Description: "wait five seconds longer between requests from now on"}
	errExpired    = &Error{Code: expiredToken, Description: "the device_code has expired; start again"}
	errDenied     = &Error{Code: accessDenied, Description: "the person did not allow this"}
)

// deviceCode is the grant of a device that a person connects with another
// browser (RFC 8628 §3.4).
var deviceCode = grantType{name: deviceGrant, grant: (*Provider).pollDevice, ours: func(p *Provider, t tokenRequest) error {
	if _, ok := p.readDeviceCode(t.form.Get("device_code")); !ok {
		return errDeviceCode
	}
	return nil
}}

func (p *Provider) pollDevice(t tokenRequest) (*tokens, error) {
	random, ok := p.readDeviceCode(t.form.Get("device_code"))
	if !ok {
		return nil, errDeviceCode
	}
	now := p.cfg.Now()
	d, err := p.cfg.Store.PollDevice(t.Context(), keys.Hash(random), t.client.ID, now)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, errDeviceCode.because(err)
	}
	if err != nil {
		return nil, err
	}
	if err := answerTo(d, t.jkt, now); err != nil {
		return nil, err
	}
	resources, refused := narrowed(d.Resources, t.form["resource"])
	if refused != nil { // before its use: the code is not at fault
		return nil, refused
	}
	return p.redeemDevice(t, d, random, resources, now)
}

// answerTo is what a poll is told unless it gets tokens (RFC 8628 §3.5). Only
// who has to go on polling is told to slow down.
func answerTo(d storage.Device, jkt string, now time.Time) error {
	switch {
	case d.JKT != "" && d.JKT != jkt:
		return errDeviceCode.because(errors.New("bound to another key"))
	case !d.UsedAt.IsZero():
		return errDeviceCode.because(errors.New("used before"))
	case !d.DeniedAt.IsZero():
		return errDenied
	case !now.Before(d.ExpiresAt):
		return errExpired
	case !d.AllowedAt.IsZero():
		return nil
	case now.Before(d.PollAt):
		return errSlowDown
	}
	return errPending
}

// redeemDevice uses up an allowed request. One poll wins.
func (p *Provider) redeemDevice(t tokenRequest, d storage.Device, random []byte, resources []string, now time.Time) (*tokens, error) {
	g := p.mayStayAway(storage.Grant{
		ID: d.ID, ClientID: d.ClientID, UserID: d.UserID, SessionID: d.SessionID, Scopes: d.Scopes, Resources: d.Resources, JKT: t.jkt,
		AuthTime: d.AuthTime, CreatedAt: now, ExpiresAt: now.Add(p.cfg.AccessTTL),
	}, t.client, now)
	user, err := p.cfg.Store.RedeemDevice(t.Context(), d.ID, g, notified(t.client), now)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, errDeviceCode.because(errors.New("used before, or the session has ended"))
	case err != nil:
		return nil, err
	case !p.mayUse(t.client, user):
		return nil, errDeviceCode.because(errors.New("this person may no longer use this application"))
	}
	p.cfg.Log(t.Context(), slog.String("user", user.ID))
	issue := issuance{client: t.client, user: user, grant: g, scopes: g.Scopes, resources: resources, jkt: t.jkt, now: now}
	if g.Refresh > 0 {
		issue.refreshToken = p.newRefreshToken(random, g.Refresh)
	}
	return p.issue(issue)
}

// devicePrograms are what asks for codes, most of all.
var devicePrograms = []struct{ mark, name string }{
	{"kubelogin", "kubelogin"}, {"curl/", "curl"}, {"Wget/", "Wget"}, {"PostmanRuntime", "Postman"},
	{"Go-http-client", "A Go program"}, {"ython", "A Python program"}, {"axios", "A Node.js program"}, {"node", "A Node.js program"},
	{"okhttp", "An app"}, {"Java", "A Java program"}, {"Mozilla/", "A browser"},
}

// deviceAgent says what asks for a code, "" when that is unknown. Every word is
// ours: nothing that a stranger wrote stands on the page that warns of strangers.
func deviceAgent(r *http.Request) string {
	agent := r.UserAgent()
	for _, p := range devicePrograms {
		if strings.Contains(agent[:min(len(agent), 1024)], p.mark) {
			return p.name
		}
	}
	return ""
}
