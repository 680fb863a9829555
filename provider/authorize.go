package provider

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// authorize is the authorization endpoint (RFC 6749 §3.1, OIDC Core §3.1.2).
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) error {
	sent, err := readForm(w, r)
	if err != nil {
		return err
	}
	q, t, err := p.read(r, sent)
	if refused := (*Error)(nil); errors.As(err, &refused) && t.uri != "" {
		p.fail(w, r, t, refused)
		return nil
	}
	if err != nil {
		return err
	}
	login, err := p.session(w, r)
	if err != nil {
		return p.unavailable(w, r, q, t, err)
	}
	// A browser holds back our cookies, which are SameSite=Lax, from a POST of
	// another site, whatever other cookies it sends. As a GET the request comes
	// with them, so that a session is seen.
	if login == nil && r.Method == http.MethodPost {
		query := sent.Encode()
		if len(query) >= maxTurned { // going on would give the browser a new cookie in place of the one it holds back
			p.fail(w, r, t, &Error{Code: invalidRequest, Description: "the request is too long"})
			return nil
		}
		redirect(w, p.cfg.Issuer+pathAuthorize+"?"+query)
		return nil
	}
	return p.proceed(w, r, q, t, login)
}

// read reads an authorization request. With an error, the target is only there
// when it is proven.
func (p *Provider) read(r *http.Request, sent url.Values) (q request, t target, err error) {
	form, pushedAs, err := p.unpush(sent)
	if err != nil {
		return q, t, err
	}
	client, err := p.namedClient(r.Context(), form)
	if err != nil {
		return q, t, err
	}
	p.cfg.Log(r.Context(), slog.String("client_id", client.ID))
	if pushedAs != "" {
		if used, err := p.cfg.Store.Used(r.Context(), pushedAs, p.cfg.Now()); err != nil || used {
			return q, t, cmp.Or(err, error(errNotPushed))
		}
	} else {
		unwrapped, refused := p.unwrap(r.Context(), client, form)
		if refused != nil { // what stands beside the object still says where to answer, when that is proven
			t, _ = targetOf(client, form)
			return q, t, refused
		}
		form = unwrapped
	}
	if t, err = targetOf(client, form); err != nil {
		return q, t, err
	}
	q, refused := p.check(form, t, p.cfg.Now())
	if refused == nil && client.PAR() && pushedAs == "" { // RFC 9126 §6
		refused = &Error{Code: invalidRequest, Description: "this client has to push its requests"}
	}
	if refused != nil {
		return q, t, refused
	}
	q.Pushed = pushedAs
	speak(r, q.UILocales)
	return q, t, nil
}

// speak has the pages that answer r speak one of the languages, the best first.
func speak(r *http.Request, locales ...string) { *r = *templates.WithLocales(r, locales...) }

// check checks all of a request whose client and redirect URI are proven.
func (p *Provider) check(form url.Values, t target, now time.Time) (request, *Error) {
	q, refused := parseRequest(form, t, p.cfg.Resources, now)
	if refused == nil && q.idTokenHint != "" {
		refused = p.takeHint(&q, t.client)
	}
	return q, refused
}

// unavailable answers when something could not be consulted: with a page, or,
// where no page may be shown, with an error for the client.
func (p *Provider) unavailable(w http.ResponseWriter, r *http.Request, q request, t target, err error) error {
	if !q.prompts("none") {
		return err
	}
	p.fail(w, r, t, publicError(err))
	return nil
}

// readForm gives the parameters of a browser request: of the query for GET, of
// the body alone for POST.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if r.Method != http.MethodPost {
		if len(r.URL.RawQuery) > maxForm {
			return nil, &Error{Code: invalidRequest, Description: "the request is too long"}
		}
		form, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return nil, &Error{Code: invalidRequest, Description: "the query is malformed", Err: err}
		}
		return form, nil
	}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/x-www-form-urlencoded" {
		return nil, &Error{Code: invalidRequest, Description: "the body must be application/x-www-form-urlencoded"}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, &Error{Code: invalidRequest, Description: "the body is malformed or too long", Err: err}
	}
	return r.PostForm, nil
}

// maxTurned is how long a query may get when a POST is turned into a GET, in
// bytes: what servers and proxies take.
const maxTurned = 6 << 10

// namedClient finds the client that a request names; until it and its redirect
// URI are proven, errors are pages.
func (p *Provider) namedClient(ctx context.Context, form url.Values) (storage.Client, error) {
	id := form.Get("client_id")
	switch {
	case len(form["client_id"]) > 1:
		return storage.Client{}, &Error{Code: invalidRequest, Description: "a parameter is repeated"}
	case id == "":
		return storage.Client{}, &Error{Code: invalidRequest, Description: "client_id is missing"}
	}
	client, err := p.clients.get(ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Client{}, &Error{Code: invalidClient, Description: "the application is not registered here"}
	}
	return client, err
}

// targetOf proves the redirect URI; until then errors are pages.
func targetOf(client storage.Client, form url.Values) (target, error) {
	for _, name := range []string{"redirect_uri", "state", "response_mode", "response_type"} {
		// state and response_mode shape the answer: repeated, there is no true one to answer with.
		if len(form[name]) > 1 {
			return target{}, &Error{Code: invalidRequest, Description: "a parameter is repeated"}
		}
	}
	uri := form.Get("redirect_uri")
	if uri == "" {
		return target{}, &Error{Code: invalidRequest, Description: "redirect_uri is missing"}
	}
	if !matchRedirectURI(client, uri) {
		return target{}, &Error{Code: invalidRequest, Description: "redirect_uri is not registered for this application"}
	}
	t := target{client: client, uri: uri}
	if state := form.Get("state"); len(state) <= maxParam {
		t.state = state
	}
	t.mode, _ = responseMode(form)
	return t, nil
}

// takeHint takes the subject from an id_token_hint (OIDC Core §3.1.2.1): one
// of our ID tokens, given to this client, expired or not.
func (p *Provider) takeHint(q *request, c storage.Client) *Error {
	hint, err := p.readIDToken(q.idTokenHint)
	if err != nil || hint.Audience != c.ID {
		return &Error{Code: invalidRequest, Description: "id_token_hint is not an ID token for this client", Err: err}
	}
	if q.Subject != "" && q.Subject != hint.Subject {
		return &Error{Code: invalidRequest, Description: "id_token_hint and claims name different people"}
	}
	q.Subject = hint.Subject
	return nil
}

// session gives the login of this browser, or nil when there is none.
func (p *Provider) session(w http.ResponseWriter, r *http.Request) (*storage.Login, error) {
	login, err := p.logins.Session(w, r)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &login, nil
}

// proceed takes a proven request as far as it can go: to login, to consent, or
// to the answer.
func (p *Provider) proceed(w http.ResponseWriter, r *http.Request, q request, t target, login *storage.Login) error {
	if q.Device != "" {
		return p.proceedDevice(w, r, q, t.client, login)
	}
	if login != nil {
		speak(r, q.UILocales, login.User.Locale)
	}
	none := q.prompts("none")
	other := login != nil && q.Subject != "" && q.Subject != p.subject(t.client, login.User) // than the request names
	if p.needsLogin(r, q, login) || none && other {
		if none && login != nil && other {
			// Who is signed in is told to nobody whom they have not allowed anything.
			if needed, err := p.needsConsent(r.Context(), q, t.client, login.User); err != nil || needed {
				return p.unavailable(w, r, q, t, cmp.Or(err, error(errConsent)))
			}
		}
		if none {
			p.fail(w, r, t, &Error{Code: loginRequired, Description: "the person has to sign in"})
			return nil
		}
		return p.toLogin(w, r, q)
	}
	justProven := login.Session.AuthTime.UnixMicro() >= q.IssuedAt
	if other {
		if justProven || q.Chosen { // OIDC Core §3.1.2.1: another person than the hint names
			p.fail(w, r, t, &Error{Code: loginRequired, Description: "somebody else than the id_token_hint names has signed in"})
			return nil
		}
		return p.toLogin(w, r, q)
	}
	if q.prompts("select_account") && !q.Chosen && !justProven {
		return p.toLogin(w, r, q)
	}
	if !p.mayUse(t.client, login.User) {
		p.fail(w, r, t, &Error{Code: accessDenied, Description: "this person may not use this application"})
		return nil
	}
	needed, err := p.needsConsent(r.Context(), q, t.client, login.User)
	if err != nil {
		return p.unavailable(w, r, q, t, err)
	}
	if needed {
		if none {
			p.fail(w, r, t, errConsent)
			return nil
		}
		return p.askConsent(w, r, q, t, *login)
	}
	if start := p.restart(t.client); start != "" && q.late(p.cfg.Now()) {
		p.cfg.Log(r.Context(), slog.String("outcome", "restarted"))
		redirect(w, start)
		return nil
	}
	if r.Method == http.MethodHead && (q.Pushed != "" || q.ResponseType != "code") { // RFC 9110 §9.2.1: nothing is used up or written
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if err := p.answerPushed(r, q); err != nil {
		return p.unavailable(w, r, q, t, err)
	}
	params, err := p.response(r, q, t, *login)
	if errors.Is(err, storage.ErrNotFound) { // the session has ended this moment
		p.fail(w, r, t, &Error{Code: loginRequired, Description: "the person has to sign in"})
		return nil
	}
	if err != nil {
		return p.unavailable(w, r, q, t, err)
	}
	p.cfg.Log(r.Context(), slog.String("user", login.User.ID), slog.String("outcome", q.ResponseType))
	if hasScope(q.Scopes, "openid") {
		p.addSessionState(w, r, params, t, *login)
	}
	p.answer(w, r, t, params)
	return nil
}

// lateAfter is how long applications remember what they asked for: oauth2-proxy
// and its like keep a cookie of 15 minutes.
const lateAfter = 15 * time.Minute

// late says whether an answer would come too late for the application, and the
// same request, asked again, would be answered at once.
func (q *request) late(now time.Time) bool {
	return len(q.Prompt) == 0 && now.Sub(time.UnixMicro(q.IssuedAt)) >= lateAfter
}

// restart is where the application has its people sign in from the start (OIDC
// Core §4); "" when it has no such place.
func (p *Provider) restart(c storage.Client) string {
	if c.InitiateLoginURI == "" || registeredItself(c) && !isAt(c, originOf(c.InitiateLoginURI)) {
		return ""
	}
	return withParams(c.InitiateLoginURI, url.Values{"iss": {p.cfg.Issuer}})
}

// Restart is where the client of the id has its people sign in from the start,
// for when its request is gone; "" when it has no such place.
func (p *Provider) Restart(ctx context.Context, clientID string) (string, error) {
	client, err := p.clients.get(ctx, clientID)
	if errors.Is(err, storage.ErrNotFound) {
		return "", nil
	}
	return p.restart(client), err
}

var errConsent = &Error{Code: consentRequired, Description: "the person has to allow this"}

// toLogin sends the browser to sign in, with the request sealed.
func (p *Provider) toLogin(w http.ResponseWriter, r *http.Request, q request) error {
	q.Browser = p.logins.Browser(w, r)
	handle, err := p.seal(q)
	if err != nil {
		return err
	}
	redirect(w, p.logins.URL(handle))
	return nil
}

// mayUse applies the access rules of the instance, and the client's own allow
// list and groups.
func (p *Provider) mayUse(c storage.Client, u storage.User) bool {
	if !p.cfg.Allowed(u.Key, p.cfg.Allow, p.cfg.Deny) {
		return false
	}
	if len(c.Allow) > 0 && !p.cfg.Allowed(u.Key, c.Allow, nil) {
		return false
	}
	return len(c.Groups) == 0 || slices.ContainsFunc(c.Groups, func(g string) bool { return slices.Contains(u.Groups, g) })
}

// reopen opens a handle for this browser and proves its target again: the
// client may have changed since.
func (p *Provider) reopen(r *http.Request, handle string) (request, target, error) {
	q, err := p.open(handle, p.logins.KnownBrowser(r))
	if err != nil {
		return request{}, target{}, err
	}
	client, err := p.clients.get(r.Context(), q.ClientID)
	if errors.Is(err, storage.ErrNotFound) || err == nil && q.Device == "" && !matchRedirectURI(client, q.RedirectURI) {
		return request{}, target{}, &Error{Code: invalidClient, Description: "the application is no longer registered here"}
	}
	if err != nil {
		return request{}, target{}, err
	}
	p.cfg.Log(r.Context(), slog.String("client_id", client.ID))
	speak(r, q.UILocales)
	return q, target{client: client, uri: q.RedirectURI, mode: q.Mode, state: string(q.State)}, nil
}

// resume is GET /authorize/resume: the session cookie now proves the login.
func (p *Provider) resume(w http.ResponseWriter, r *http.Request) error {
	_, q, t, login, err := p.resumed(w, r)
	if err != nil {
		return err
	}
	return p.proceed(w, r, q, t, login)
}

// resumed reads what comes to /authorize/resume: the form, and the request and
// the session it belongs to.
func (p *Provider) resumed(w http.ResponseWriter, r *http.Request) (form url.Values, q request, t target, login *storage.Login, err error) {
	if form, err = readForm(w, r); err != nil {
		return
	}
	if refused := singleHandle(form); refused != nil {
		err = refused
		return
	}
	if q, t, err = p.reopen(r, form.Get("request")); err != nil {
		return
	}
	login, err = p.session(w, r)
	return
}

// singleHandle refuses repeated parameters where a handle, which may be long,
// is one of them.
func singleHandle(form url.Values) *Error {
	for _, values := range form {
		if len(values) > 1 {
			return &Error{Code: invalidRequest, Description: "a parameter is repeated"}
		}
	}
	return nil
}

// Waiting is what login may know of a request that waits.
type Waiting struct {
	Client        templates.Client
	ClientID      string
	LoginHint     string
	UILocales     string
	SelectAccount bool      // the person is to choose the account
	Create        bool      // the person wants a new account (prompt=create)
	FreshAfter    time.Time // a login proven earlier is not enough (prompt=login, max_age); zero: any is
	// Home is where a person starts with the application, for when the answer to
	// this request was given already; "" when it has no such place.
	Home string
}

// Waiting opens a handle for the browser it is bound to.
func (p *Provider) Waiting(ctx context.Context, handle, browser string) (Waiting, error) {
	q, err := p.open(handle, browser)
	if err != nil {
		return Waiting{}, err
	}
	client, err := p.clients.get(ctx, q.ClientID)
	if errors.Is(err, storage.ErrNotFound) {
		return Waiting{}, errNoRequest
	}
	if err != nil {
		return Waiting{}, err
	}
	waiting := Waiting{
		Client: display(client, q.RedirectURI), ClientID: client.ID, LoginHint: q.LoginHint, UILocales: q.UILocales,
		Create:        q.prompts("create"),
		SelectAccount: q.prompts("select_account") && !q.prompts("login") && !q.Chosen,
		Home:          p.home(client, q.RedirectURI),
	}
	if q.Device != "" { // it is answered here
		waiting.Home = ""
	}
	if q.FreshAfter != 0 {
		waiting.FreshAfter = time.UnixMicro(q.FreshAfter)
	}
	return waiting, nil
}

// home is where the application signs people in by itself (OIDC Core §4), else
// where it says it is, else where it is redirected to. A native application,
// which is no place, has none.
func (p *Provider) home(c storage.Client, redirectURI string) string {
	if start := p.restart(c); start != "" {
		return start
	}
	if c.ClientURI != "" && (!registeredItself(c) || originOf(c.ClientURI) == originOf(redirectURI)) {
		return c.ClientURI
	}
	u, err := url.Parse(redirectURI)
	if err != nil || c.ApplicationType == "native" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return u.Scheme + "://" + u.Host + "/"
}

// NoRequest says whether err means that a handle cannot be used: forged,
// expired, or another browser's.
func NoRequest(err error) bool { return errors.Is(err, errNoRequest) || sameRefusal(err) }

func sameRefusal(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == errNoRequest.Code && e.Description == errNoRequest.Description
}

// display is what pages and mails tell of a client. One that registered itself is
// called by where the answer goes, before the name that it gives itself, and shows
// no logo of elsewhere and no such home. Where no address gets the answer, as with
// a device, it goes by its id.
func display(c storage.Client, redirectURI string) templates.Client {
	if registeredItself(c) {
		place := originOf(redirectURI)
		_, host, _ := strings.Cut(place, "://")
		switch {
		case redirectURI == "":
			host = c.ID
		case onDevice(redirectURI) || host == "":
			host = "an app on this device"
		}
		c.Name = named(host, c.Name)
		for _, uri := range []*string{&c.LogoURI, &c.ClientURI} {
			if place == "" || originOf(*uri) != place {
				*uri = ""
			}
		}
	}
	return templates.Client{Name: c.Name, URI: c.ClientURI, LogoURI: c.LogoURI, PolicyURI: c.PolicyURI, TosURI: c.TosURI}
}

// placeOf is a redirect URI that stands for the client where no request says which:
// "" when there are several places, or it gets tokens without one.
func placeOf(c storage.Client) string {
	if len(c.RedirectURIs) == 0 || c.MayGrant(deviceGrant) {
		return ""
	}
	first := c.RedirectURIs[0]
	if elsewhere := func(uri string) bool { return !onDevice(uri) }; !isAt(c, originOf(first)) && slices.ContainsFunc(c.RedirectURIs, elsewhere) {
		return ""
	}
	return first
}

// isAt says whether the client is redirected to no other place.
func isAt(c storage.Client, origin string) bool {
	return origin != "" && !slices.ContainsFunc(c.RedirectURIs, func(uri string) bool { return originOf(uri) != origin })
}

// Resume goes on with the request of a handle for a login that was just proven
// or chosen in this browser.
func (p *Provider) Resume(w http.ResponseWriter, r *http.Request, handle string, login storage.Login) {
	p.page(func(w http.ResponseWriter, r *http.Request) error {
		q, t, err := p.reopen(r, handle)
		if err != nil {
			return err
		}
		q.Chosen = true
		return p.proceed(w, r, q, t, &login)
	})(w, r)
}

// Deny answers the request of a handle with access_denied: the person gave up.
func (p *Provider) Deny(w http.ResponseWriter, r *http.Request, handle string) {
	p.page(func(w http.ResponseWriter, r *http.Request) error {
		q, t, err := p.reopen(r, handle)
		if err != nil {
			return err
		}
		if q.Device != "" {
			return p.denyDevice(w, r, q)
		}
		p.fail(w, r, t, &Error{Code: accessDenied, Description: "the person cancelled"})
		return nil
	})(w, r)
}
