package provider

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// logoutRequest is a checked logout request (RP-Initiated Logout §2).
type logoutRequest struct {
	client  storage.Client // zero: none named
	hinted  bool           // an ID token of ours names client and session
	subject string         // of the id_token_hint
	sid     string         // of the id_token_hint
	uri     string         // post_logout_redirect_uri, registered by client
	state   string
}

// logout is the end session endpoint (RP-Initiated Logout §2). Without an ID
// token of the session that this browser has, nobody is signed out before they
// have said so, and nobody is redirected anywhere.
func (p *Provider) logout(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	q, err := p.parseLogout(r, form)
	if err != nil {
		return err
	}
	login, err := p.session(w, r)
	if err != nil {
		return err
	}
	if login == nil {
		return p.logoutUnseen(w, r, q, form)
	}
	current := q.hinted && q.subject == p.subject(q.client, login.User) && q.sid == p.sid(q.client, login.Session.ID)
	if r.Method == http.MethodHead || !current && !p.logoutConfirmed(r, form, *login) {
		return p.askLogout(w, r, q, form, *login)
	}
	return p.signOut(w, r, q, *login)
}

// signOut ends the session of this browser, and answers.
func (p *Provider) signOut(w http.ResponseWriter, r *http.Request, q logoutRequest, login storage.Login) error {
	clients, err := p.cfg.Store.EndSession(r.Context(), login.Session.ID, p.cfg.Now())
	if err != nil {
		return err
	}
	p.logins.ClearSession(w)
	p.Ended(w, true)
	return p.loggedOut(w, r, q, p.frames(r.Context(), clients, login.Session)...)
}

// SignOut ends the session of this browser, as the person asked on a page of
// login, and answers.
func (p *Provider) SignOut(w http.ResponseWriter, r *http.Request, login storage.Login) {
	p.page(func(w http.ResponseWriter, r *http.Request) error {
		return p.signOut(w, r, logoutRequest{}, login)
	})(w, r)
}

// Ended lets applications hear of sessions that were ended, or that signed out of
// one of them; here: the session of this browser, too.
func (p *Provider) Ended(w http.ResponseWriter, here bool) {
	p.wakeNotices()
	if here {
		p.setState(w, "")
	}
}

// logoutUnseen answers when no session is seen. The session cookie is left
// alone: a POST of another site comes without it (see authorize), and taking it
// away would sign someone out unasked.
func (p *Provider) logoutUnseen(w http.ResponseWriter, r *http.Request, q logoutRequest, form url.Values) error {
	// Whoever sends one of our cookies would have sent the session's as well.
	if r.Method != http.MethodPost || p.logins.KnownBrowser(r) != "" {
		return p.loggedOut(w, r, q)
	}
	pressed := form.Get("confirm") != ""
	form.Del("confirm")
	form.Del("token")
	if query := form.Encode(); len(query) < maxTurned {
		redirect(w, p.cfg.Issuer+pathLogout+"?"+query)
		return nil
	}
	if pressed {
		return p.loggedOut(w, r, q)
	}
	return p.askLogout(w, r, q, form, storage.Login{}) // our own button brings the cookie
}

// parseLogout checks what the request says of client and target. Whatever is
// wrong is a page, never a redirect.
func (p *Provider) parseLogout(r *http.Request, form url.Values) (logoutRequest, error) {
	if err := singleParams(form); err != nil {
		return logoutRequest{}, err
	}
	q := logoutRequest{uri: form.Get("post_logout_redirect_uri"), state: form.Get("state")}
	id := form.Get("client_id")
	if hint := form.Get("id_token_hint"); hint != "" {
		claims, err := p.readIDToken(hint)
		if err != nil || id != "" && id != claims.Audience {
			return logoutRequest{}, &Error{Code: invalidRequest, Description: "id_token_hint is not an ID token for this application", Err: err}
		}
		id, q.hinted, q.subject, q.sid = claims.Audience, true, claims.Subject, claims.SessionID
	}
	if id != "" {
		var err error
		if q.client, err = p.clients.get(r.Context(), id); errors.Is(err, storage.ErrNotFound) {
			return logoutRequest{}, &Error{Code: invalidClient, Description: "the application is not registered here"}
		} else if err != nil && isDocumentID(id, true) { // it says who it is another time; signing out goes on
			q.client, q.hinted, q.uri = storage.Client{}, false, ""
		} else if err != nil {
			return logoutRequest{}, err
		}
	}
	if q.uri != "" && !slices.Contains(q.client.PostLogoutRedirectURIs, q.uri) {
		return logoutRequest{}, &Error{Code: invalidRequest, Description: "post_logout_redirect_uri is not registered for this application"}
	}
	return q, nil
}

// askLogout shows the button that signs out. It carries the request along, and
// a proof that it was shown to this session: the endpoint takes forms of other
// sites, this button is ours alone.
func (p *Provider) askLogout(w http.ResponseWriter, r *http.Request, q logoutRequest, form url.Values, login storage.Login) error {
	params := url.Values{"token": {p.formToken("logout", "", login)}}
	for _, name := range []string{"id_token_hint", "client_id", "post_logout_redirect_uri", "state"} {
		if value := form.Get(name); value != "" {
			params.Set(name, value)
		}
	}
	p.cfg.Templates.Render(w, r, http.StatusOK, templates.Logout{Client: display(q.client, placeOf(q.client)), Email: login.User.Email, Params: params})
	return nil
}

func (p *Provider) logoutConfirmed(r *http.Request, form url.Values, login storage.Login) bool {
	return r.Method == http.MethodPost && form.Get("confirm") == "yes" && p.checkFormToken(form.Get("token"), "logout", "", login)
}

// loggedOut goes where the client wants (RP-Initiated Logout §3). A client that
// only named itself gets no redirect, but the person a link.
// Applications that want to hear of it in the browser are told first.
func (p *Provider) loggedOut(w http.ResponseWriter, r *http.Request, q logoutRequest, frames ...string) error {
	target := q.uri
	if target != "" && q.state != "" {
		target = withParams(target, url.Values{"state": {q.state}})
	}
	if target != "" && q.hinted && len(frames) == 0 {
		redirect(w, target)
		return nil
	}
	p.cfg.Templates.Render(w, r, http.StatusOK, templates.LoggedOut{
		Client: display(q.client, placeOf(q.client)), ContinueURL: target, Frames: frames, Auto: q.hinted,
	})
	return nil
}
