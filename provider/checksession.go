package provider

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// checkSession is the OP iframe of OIDC Session Management §3.2, the one page
// that may be framed. Its script compares what an application holds with the
// browser state, a cookie that it can read.
func (p *Provider) checkSession(w http.ResponseWriter, r *http.Request) error {
	p.cfg.Templates.Render(w, r, http.StatusOK, templates.CheckSession{Cookie: p.stateCookie()})
	return nil
}

// stateCookie names the cookie that holds the browser state.
func (p *Provider) stateCookie() string {
	if strings.HasPrefix(p.cfg.Issuer, "https:") {
		return "__Host-sealpost-state"
	}
	return "sealpost-state"
}

// browserState is a value that changes when the session does, and tells nothing
// else (OIDC Session Management §2).
func (p *Provider) browserState(s storage.Session) string {
	return base64.RawURLEncoding.EncodeToString(p.cfg.Secret.MAC("browser-state", []byte(s.ID)))
}

// addSessionState puts session_state into the answer (OIDC Session Management
// §2), and the browser state where the iframe finds it.
func (p *Provider) addSessionState(w http.ResponseWriter, r *http.Request, params url.Values, t target, login storage.Login) {
	origin := originOf(t.uri)
	if origin == "" {
		return
	}
	state := p.browserState(login.Session)
	if c, err := r.Cookie(p.stateCookie()); err != nil || c.Value != state {
		p.setState(w, state)
	}
	params.Set("session_state", sessionState(t.client.ID, origin, state, keys.Token()))
}

// originOf is the origin of an http address as browsers write it, "" for an app
// of its own, which has none (RFC 6454 §6.2).
func originOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return ""
	}
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
		host = strings.TrimSuffix(host, ":"+u.Port())
	}
	return u.Scheme + "://" + host
}

func sessionState(clientID, origin, browserState, salt string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{clientID, origin, browserState, salt}, " ")))
	return base64.RawURLEncoding.EncodeToString(sum[:]) + "." + salt
}

// setState keeps the browser state as long as the browser is open, for the
// script in a frame of another site: it is no secret and proves nothing.
func (p *Provider) setState(w http.ResponseWriter, state string) {
	c := &http.Cookie{Name: p.stateCookie(), Value: state, Path: "/", Secure: true, SameSite: http.SameSiteNoneMode}
	if state == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}
