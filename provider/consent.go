package provider

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// needsConsent says whether the person has to be asked (OIDC Core §3.1.2.4):
// always with prompt=consent, and for clients that ask, until what they want
// was allowed once.
func (p *Provider) needsConsent(ctx context.Context, q request, c storage.Client, u storage.User) (bool, error) {
	if q.Consented {
		return false, nil
	}
	if q.prompts("consent") {
		return true, nil
	}
	if c.Consent != "ask" {
		return false, nil
	}
	// Any app on the device may say that it is this client (RFC 8252 §8.6).
	if c.ApplicationType == "native" && c.Public() && onDevice(q.RedirectURI) {
		return true, nil
	}
	given, err := p.cfg.Store.Consent(ctx, u.ID, c.ID)
	if errors.Is(err, storage.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(wanted(c, q.RedirectURI, q.Scopes, q.Claims, q.Resources), func(s string) bool { return !slices.Contains(given.Scopes, s) }), nil
}

// resourcePrefix marks a resource among what was allowed (RFC 8707): no scope
// has a colon and a blank in it.
const resourcePrefix = "resource: "

// wanted is all that a person is asked to allow: what is shown, resources, and
// where it goes, for a client may register another place. It is never nil.
func wanted(c storage.Client, redirectURI string, scopes []string, claims string, resources []string) []string {
	list := append([]string{}, shown(scopes, claims)...)
	for _, r := range resources {
		list = append(list, resourcePrefix+r)
	}
	if registeredItself(c) {
		list = append(list, storage.AllowedAt+placeName(redirectURI))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// placeName is the origin of a redirect URI. Apps on the device, whose ports come
// and go, are all in one place.
func placeName(redirectURI string) string {
	if onDevice(redirectURI) {
		return "this device"
	}
	return cmp.Or(originOf(redirectURI), redirectURI)
}

// shown are the scopes, and those in whose words the claims parameter asks. A
// profile has the address for a user name, and says so.
func shown(scopes []string, claims string) []string {
	list := slices.Clone(scopes)
	add := func(s string) {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	for _, s := range scopesOfClaims(readClaimsRequest(claims).names()) {
		add(s)
	}
	if slices.Contains(list, "profile") {
		add("email")
	}
	return list
}

// redeeming is how the client's code becomes the grant: what the person allowed
// may have been taken back since it was given.
func redeeming(c storage.Client, g storage.Grant, redirectURI string) storage.Redeeming {
	r := storage.Redeeming{Notify: notified(c)}
	if c.Consent == "ask" {
		r.Allowed = wanted(c, redirectURI, g.Scopes, g.Claims, g.Resources)
	}
	return r
}

// askConsent shows what the client wants. The form proves by a MAC that it was
// shown to this session for this request.
func (p *Provider) askConsent(w http.ResponseWriter, r *http.Request, q request, t target, login storage.Login) error {
	q.Browser, q.Chosen = p.logins.Browser(w, r), true
	handle, err := p.seal(q)
	if err != nil {
		return err
	}
	if q.Pushed != "" && r.URL.Path != pathResume { // the address of the page outlives that of the request
		redirect(w, pathResume+"?"+url.Values{"request": {handle}}.Encode())
		return nil
	}
	p.cfg.Templates.Render(w, r, http.StatusOK, templates.Consent{
		Client: display(t.client, q.RedirectURI), Request: handle, Email: login.User.Email, Scopes: shown(q.Scopes, q.Claims), Resources: q.Resources, Token: p.formToken("consent", handle, login),
	})
	return nil
}

// resumePost is POST /authorize/resume: the answer to the consent page.
func (p *Provider) resumePost(w http.ResponseWriter, r *http.Request) error {
	form, q, t, login, err := p.resumed(w, r)
	if err != nil {
		return err
	}
	if login == nil {
		return p.toLogin(w, r, q)
	}
	if !p.checkFormToken(form.Get("token"), "consent", form.Get("request"), *login) {
		return &Error{Code: invalidRequest, Description: "this page is out of date; go back to the application and start again"}
	}
	if form.Get("consent") != "allow" {
		p.fail(w, r, t, &Error{Code: accessDenied, Description: "the person did not allow this"})
		return nil
	}
	err = p.cfg.Store.SaveConsent(r.Context(), storage.Consent{UserID: login.User.ID, ClientID: t.client.ID, Scopes: wanted(t.client, q.RedirectURI, q.Scopes, q.Claims, q.Resources), At: p.cfg.Now()})
	if err != nil {
		return err
	}
	q.Consented = true
	return p.proceed(w, r, q, t, login)
}
