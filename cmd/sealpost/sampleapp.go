package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"golang.org/x/oauth2"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/templates"
)

//go:embed pages
var devFiles embed.FS

// devPages are the pages of the mailbox and the sample application. The files
// are part of the binary, so that they don't parse is a bug.
func devPage(name string) *template.Template {
	return template.Must(template.ParseFS(devFiles, "pages/layout.html", "pages/"+name))
}

// sampleApp is a relying party as one would write it: it knows the issuer, its
// own address, id and secret, and takes the rest from discovery.
type sampleApp struct {
	issuer, url, mailbox string
	clientID, secret     string
	pages                *templates.Templates // for the looks only
	page                 *template.Template
	now                  func() time.Time

	mu       sync.Mutex
	provider *oidc.Provider
	logins   map[string]sampleLogin    // by state
	sessions map[string]*sampleSession // by cookie
}

// sampleLogin is what the application remembers while the browser is away.
type sampleLogin struct{ cookie, nonce, verifier string }

// sampleSession is who is signed in to the application.
type sampleSession struct {
	Name      string
	Claims    []claim
	UserInfo  []claim
	Refreshed int

	idToken string
	token   *oauth2.Token
}

type claim struct{ Name, Value string }

// Expires is when the access token ends, for people.
func (s *sampleSession) Expires() string { return s.token.Expiry.Format("15:04:05") }

const (
	sampleCookie    = "sample-app"
	samplesAtMost   = 1000 // logins and sessions each; it is a sample
	sampleClientID  = "sample"
	callbackPath    = "/callback"
	sampleScopeList = "openid email profile groups offline_access"
)

func newSampleApp(issuer, address, mailbox, secret string, pages *templates.Templates, now func() time.Time) *sampleApp {
	return &sampleApp{
		issuer: issuer, url: address, mailbox: mailbox, clientID: sampleClientID, secret: secret,
		pages: pages, page: devPage("sample.html"), now: now,
		logins: map[string]sampleLogin{}, sessions: map[string]*sampleSession{},
	}
}

// handler serves the application, under its own name alone: another that leads
// to this machine is a stranger's (DNS rebinding).
func (a *sampleApp) handler() http.Handler {
	r := chi.NewRouter()
	self, err := url.Parse(a.url)
	if err != nil {
		panic(err) // it was made of a port
	}
	r.Use(securityHeaders(self), recoverPanics(a.pages), onlyHost(self, a.pages), middleware.RequestSize(maxBody),
		http.NewCrossOriginProtection().Handler)
	r.Get("/", a.home)
	r.Get("/login", a.login)
	r.Get(callbackPath, a.do(a.callback))
	r.Post("/userinfo", a.do(a.userinfo))
	r.Post("/refresh", a.do(a.refresh))
	r.Post("/logout", a.logout)
	r.Handle("/static/*", a.pages.Static())
	return r
}

// discover reads the provider's metadata, once.
func (a *sampleApp) discover(ctx context.Context) (*oidc.Provider, *oauth2.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.provider == nil {
		p, err := oidc.NewProvider(ctx, a.issuer)
		if err != nil {
			return nil, nil, fmt.Errorf("discovery: %w", err)
		}
		a.provider = p
	}
	return a.provider, &oauth2.Config{
		ClientID: a.clientID, ClientSecret: a.secret, Endpoint: a.provider.Endpoint(),
		RedirectURL: a.url + callbackPath, Scopes: []string{sampleScopeList},
	}, nil
}

func (a *sampleApp) home(w http.ResponseWriter, r *http.Request) {
	a.render(w, http.StatusOK, a.session(r), nil)
}

// login sends the browser away with a fresh state, nonce and code verifier.
func (a *sampleApp) login(w http.ResponseWriter, r *http.Request) {
	_, conf, err := a.discover(r.Context())
	if err != nil {
		a.render(w, http.StatusBadGateway, nil, err)
		return
	}
	state := keys.Token()
	l := sampleLogin{cookie: keys.Token(), nonce: keys.Token(), verifier: oauth2.GenerateVerifier()}
	if c, err := r.Cookie(sampleCookie); err == nil && c.Value != "" {
		l.cookie = c.Value
	}
	http.SetCookie(w, &http.Cookie{Name: sampleCookie, Value: l.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	a.mu.Lock()
	if len(a.logins) >= samplesAtMost {
		clear(a.logins)
	}
	a.logins[state] = l
	a.mu.Unlock()
	options := []oauth2.AuthCodeOption{oidc.Nonce(l.nonce), oauth2.S256ChallengeOption(l.verifier)}
	for _, name := range []string{"prompt", "login_hint", "max_age"} { // to try them out: /login?prompt=login
		if v := r.URL.Query().Get(name); v != "" {
			options = append(options, oauth2.SetAuthURLParam(name, v))
		}
	}
	http.Redirect(w, r, conf.AuthCodeURL(state, options...), http.StatusSeeOther)
}

// do answers a handler's error with a page.
func (a *sampleApp) do(handle func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := handle(w, r); err != nil {
			a.render(w, http.StatusBadRequest, nil, err)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// callback takes the answer: state (RFC 6749 §10.12), iss (RFC 9207 §2.4), the
// code with its verifier (RFC 7636 §4.5), and the ID token with its nonce
// (OIDC Core §3.1.3.7).
func (a *sampleApp) callback(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	c, err := r.Cookie(sampleCookie)
	if err != nil {
		return errors.New("this browser started no login here")
	}
	a.mu.Lock()
	l, ok := a.logins[q.Get("state")]
	delete(a.logins, q.Get("state"))
	a.mu.Unlock()
	switch {
	case !ok && a.session(r) != nil: // another tab of the same login was faster
		return nil
	case !ok || subtle.ConstantTimeCompare([]byte(l.cookie), []byte(c.Value)) != 1:
		return errors.New("this browser started no such login here")
	case q.Get("iss") != a.issuer:
		return errors.New("the answer comes from another provider")
	case q.Get("error") != "":
		return fmt.Errorf("%s: %s", q.Get("error"), q.Get("error_description"))
	}
	_, conf, err := a.discover(r.Context())
	if err != nil {
		return err
	}
	token, err := conf.Exchange(r.Context(), q.Get("code"), oauth2.VerifierOption(l.verifier))
	if err != nil {
		return fmt.Errorf("redeem the code: %w", err)
	}
	s := &sampleSession{}
	if err := a.take(r.Context(), s, token, l.nonce); err != nil {
		return err
	}
	// A new cookie: whoever knew the one from before the login gets nothing.
	cookie := keys.Token()
	http.SetCookie(w, &http.Cookie{Name: sampleCookie, Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.sessions) >= samplesAtMost {
		clear(a.sessions)
	}
	delete(a.sessions, c.Value)
	a.sessions[cookie] = s
	return nil
}

// take verifies the ID token of a token response and keeps what it says. A
// refreshed one has no nonce of its own (OIDC Core §12.2).
func (a *sampleApp) take(ctx context.Context, s *sampleSession, token *oauth2.Token, nonce string) error {
	raw, _ := token.Extra("id_token").(string)
	if raw == "" && nonce == "" { // a refresh need not bring one
		s.token = token
		return nil
	}
	p, _, err := a.discover(ctx)
	if err != nil {
		return err
	}
	id, err := p.Verifier(&oidc.Config{ClientID: a.clientID, Now: a.now}).Verify(ctx, raw)
	if err != nil {
		return fmt.Errorf("ID token: %w", err)
	}
	if nonce != "" && id.Nonce != nonce {
		return errors.New("ID token: wrong nonce")
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			return fmt.Errorf("ID token: %w", err)
		}
	}
	var all map[string]any
	if err := id.Claims(&all); err != nil {
		return fmt.Errorf("ID token: %w", err)
	}
	email, _ := all["email"].(string)
	name, _ := all["name"].(string)
	s.Name, s.Claims = cmp.Or(name, email, id.Subject), claims(all)
	s.idToken, s.token = raw, token
	return nil
}

func claims(all map[string]any) []claim {
	var out []claim
	for name, v := range all {
		text, ok := v.(string)
		if !ok {
			b, _ := json.Marshal(v) // it came from JSON
			text = string(b)
		}
		out = append(out, claim{name, text})
	}
	slices.SortFunc(out, func(x, y claim) int { return cmp.Compare(x.Name, y.Name) })
	return out
}

func (a *sampleApp) session(r *http.Request) *sampleSession {
	c, err := r.Cookie(sampleCookie)
	if err != nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.sessions[c.Value]; s != nil {
		seen := *s
		return &seen
	}
	return nil
}

// change replaces the session of the browser by what f makes of it.
func (a *sampleApp) change(r *http.Request, f func(*sampleSession) error) error {
	s := a.session(r)
	if s == nil {
		return errors.New("you are not signed in")
	}
	if err := f(s); err != nil {
		return err
	}
	c, err := r.Cookie(sampleCookie)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions[c.Value] = s
	return nil
}

func (a *sampleApp) userinfo(_ http.ResponseWriter, r *http.Request) error {
	return a.change(r, func(s *sampleSession) error {
		p, _, err := a.discover(r.Context())
		if err != nil {
			return err
		}
		info, err := p.UserInfo(r.Context(), oauth2.StaticTokenSource(s.token))
		if err != nil {
			return fmt.Errorf("userinfo: %w", err)
		}
		var all map[string]any
		if err := info.Claims(&all); err != nil {
			return fmt.Errorf("userinfo: %w", err)
		}
		s.UserInfo = claims(all)
		return nil
	})
}

func (a *sampleApp) refresh(_ http.ResponseWriter, r *http.Request) error {
	return a.change(r, func(s *sampleSession) error {
		_, conf, err := a.discover(r.Context())
		if err != nil {
			return err
		}
		token, err := conf.TokenSource(r.Context(), &oauth2.Token{RefreshToken: s.token.RefreshToken}).Token()
		if err != nil {
			return fmt.Errorf("refresh: %w", err)
		}
		s.Refreshed++
		return a.take(r.Context(), s, token, "")
	})
}

// logout ends the session here and sends the browser to end the one there
// (OIDC RP-Initiated Logout §2).
func (a *sampleApp) logout(w http.ResponseWriter, r *http.Request) {
	s := a.session(r)
	if c, err := r.Cookie(sampleCookie); err == nil {
		a.mu.Lock()
		delete(a.sessions, c.Value)
		a.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: sampleCookie, Path: "/", MaxAge: -1})
	var metadata struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if p, _, err := a.discover(r.Context()); err == nil {
		_ = p.Claims(&metadata) // without the endpoint the logout stays here
	}
	if s == nil || metadata.EndSession == "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, metadata.EndSession+"?"+url.Values{
		"id_token_hint": {s.idToken}, "post_logout_redirect_uri": {a.url + "/"}, "client_id": {a.clientID},
	}.Encode(), http.StatusSeeOther)
}

func (a *sampleApp) render(w http.ResponseWriter, status int, s *sampleSession, err error) {
	view := struct {
		Session         *sampleSession
		Error           string
		Issuer, Mailbox string
	}{Session: s, Issuer: a.issuer, Mailbox: a.mailbox}
	if err != nil {
		view.Error = err.Error()
	}
	renderDev(w, a.page, status, view)
}

// renderDev answers with a page of dev mode.
func renderDev(w http.ResponseWriter, page *template.Template, status int, view any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", devPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	var body bytes.Buffer
	if err := page.ExecuteTemplate(&body, "layout.html", view); err != nil {
		slog.Error("render page", "page", page.Name(), "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
	_, _ = body.WriteTo(w)
}

// devPolicy is the content security policy of the pages of dev mode: as strict
// as the provider's, with the frame a mail is shown in.
const devPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
