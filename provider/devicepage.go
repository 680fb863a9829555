package provider

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// devicePage is GET /device (RFC 8628 §3.3): it asks for the code. A code in its
// address fills the field and does no more (§3.3.1): the person has to say that
// the device shows it.
func (p *Provider) devicePage(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	if refused := singleParams(form); refused != nil {
		return refused
	}
	p.deviceForm(w, r, http.StatusOK, form.Get("user_code"), "")
	return nil
}

// deviceForm asks for a code: with fault, once more.
func (p *Provider) deviceForm(w http.ResponseWriter, r *http.Request, status int, typed, fault string) {
	page := templates.Device{Error: fault}
	if code, ok := readUserCode(typed); ok {
		page.Code = showUserCode(code)
	}
	p.cfg.Templates.Render(w, r, status, page)
}

// devicePost is POST /device: a code, or the answer to what it asks for.
func (p *Provider) devicePost(w http.ResponseWriter, r *http.Request) error {
	if err := p.csrf.Check(r); err != nil {
		return &Error{Code: accessDenied, Description: "this form was sent from another site; go back and start again", Err: err}
	}
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	if refused := singleHandle(form); refused != nil {
		return refused
	}
	if form.Has("request") {
		return p.answerDevice(w, r, form)
	}
	return p.takeUserCode(w, r, form.Get("user_code"))
}

// takeUserCode takes a code that was typed. It is counted before anybody knows
// whether it is right (RFC 8628 §5.1).
func (p *Provider) takeUserCode(w http.ResponseWriter, r *http.Request, typed string) error {
	code, ok := readUserCode(typed)
	if !ok { // nothing is learned by it
		p.deviceForm(w, r, http.StatusBadRequest, typed, unknownUserCode)
		return nil
	}
	login, err := p.session(w, r)
	if err != nil {
		return err
	}
	err = p.count(r.Context(), p.userCodeLimits(w, r, login)...)
	if full := (*Error)(nil); errors.As(err, &full) && full.Code == tooManyRequests {
		w.Header().Set("Retry-After", seconds(full.RetryAfter))
		p.logError(r, full)
		p.deviceForm(w, r, http.StatusTooManyRequests, typed, "limited")
		return nil
	}
	if err != nil {
		return err
	}
	d, err := p.cfg.Store.Device(r.Context(), code, p.cfg.Now())
	if errors.Is(err, storage.ErrNotFound) {
		return p.noDevice(w, r, code)
	}
	if err != nil {
		return err
	}
	client, err := p.clients.get(r.Context(), d.ClientID)
	if errors.Is(err, storage.ErrNotFound) {
		return p.noDevice(w, r, code)
	}
	if err != nil {
		return err
	}
	p.cfg.Log(r.Context(), slog.String("client_id", client.ID))
	now := p.cfg.Now()
	q := request{ClientID: d.ClientID, Device: code, IssuedAt: now.UnixMicro()}
	if err := q.takeAge("", client.DefaultMaxAge, now); err != nil {
		return err
	}
	return p.proceedDevice(w, r, q, client, login)
}

// userCodeLimits are those of a network, and of the person or else of the
// browser. A browser that throws its cookies away still has a network.
func (p *Provider) userCodeLimits(w http.ResponseWriter, r *http.Request, login *storage.Login) []storage.Limit {
	person := "browser " + p.logins.Browser(w, r)
	if login != nil {
		person = "user " + login.User.ID
	}
	return []storage.Limit{
		p.limit("user-code-network", userCodesPerNetwork, networkKey(r)),
		p.limit("user-code", userCodesPerBrowser, person),
	}
}

const unknownUserCode = "unknown-code"

// noDevice says that no request waits under a code: any more, or at all.
func (p *Provider) noDevice(w http.ResponseWriter, r *http.Request, code string) error {
	p.deviceForm(w, r, http.StatusNotFound, code, unknownUserCode)
	return nil
}

// proceedDevice is proceed for the request of a device: to login, or to the page
// that asks. It asks every time, whatever was allowed before: a code may come
// from a stranger (RFC 8628 §5.4).
func (p *Provider) proceedDevice(w http.ResponseWriter, r *http.Request, q request, c storage.Client, login *storage.Login) error {
	if p.needsLogin(r, q, login) {
		return p.toLogin(w, r, q)
	}
	if !p.mayUse(c, login.User) {
		return errMayNotUse
	}
	d, err := p.waitingDevice(r.Context(), q)
	if errors.Is(err, storage.ErrNotFound) {
		return p.noDevice(w, r, q.Device)
	}
	if err != nil {
		return err
	}
	q.Browser = p.logins.Browser(w, r)
	handle, err := p.seal(q)
	if err != nil {
		return err
	}
	p.cfg.Templates.Render(w, r, http.StatusOK, templates.Device{
		State: "ask", Code: showUserCode(d.UserCode), Client: display(c, ""), Request: handle, Email: login.User.Email,
		Scopes: shown(d.Scopes, ""), Resources: d.Resources, Token: p.formToken("device", handle, *login),
		Agent: d.Agent, Network: d.Network, Asked: d.CreatedAt, Now: p.cfg.Now(),
	})
	return nil
}

var errMayNotUse = &Error{Code: accessDenied, Description: "this person may not use this application"}

// waitingDevice finds the request that a handle is about. Its code may be
// another device's by now.
func (p *Provider) waitingDevice(ctx context.Context, q request) (storage.Device, error) {
	d, err := p.cfg.Store.Device(ctx, q.Device, p.cfg.Now())
	if err == nil && (d.ClientID != q.ClientID || d.CreatedAt.UnixMicro() > q.IssuedAt) {
		err = storage.ErrNotFound
	}
	return d, err
}

// answerDevice takes the person's answer. The form proves that it was shown to
// this session for this code.
func (p *Provider) answerDevice(w http.ResponseWriter, r *http.Request, form url.Values) error {
	q, t, err := p.reopen(r, form.Get("request"))
	if err != nil {
		return err
	}
	login, err := p.session(w, r)
	if err != nil {
		return err
	}
	if p.needsLogin(r, q, login) {
		return p.toLogin(w, r, q)
	}
	if !p.checkFormToken(form.Get("token"), "device", form.Get("request"), *login) {
		return &Error{Code: invalidRequest, Description: "this page is out of date; enter the code again"}
	}
	if form.Get("consent") != "allow" {
		return p.denyDevice(w, r, q)
	}
	if !p.mayUse(t.client, login.User) {
		return errMayNotUse
	}
	return p.endDevice(w, r, q, "allowed", func() error {
		return p.cfg.Store.AllowDevice(r.Context(), q.Device, *login, p.cfg.Now())
	})
}

// denyDevice refuses the request of a device, signed in or not: whoever knows
// the code may give it up.
func (p *Provider) denyDevice(w http.ResponseWriter, r *http.Request, q request) error {
	return p.endDevice(w, r, q, "denied", func() error { return p.cfg.Store.DenyDevice(r.Context(), q.Device, p.cfg.Now()) })
}

// endDevice answers a request, once, and says so.
func (p *Provider) endDevice(w http.ResponseWriter, r *http.Request, q request, outcome string, end func() error) error {
	_, err := p.waitingDevice(r.Context(), q)
	if err == nil {
		err = end()
	}
	if errors.Is(err, storage.ErrNotFound) {
		return p.noDevice(w, r, q.Device)
	}
	if err != nil {
		return err
	}
	p.cfg.Log(r.Context(), slog.String("outcome", "device "+outcome))
	p.cfg.Templates.Render(w, r, http.StatusOK, templates.Device{State: outcome})
	return nil
}
