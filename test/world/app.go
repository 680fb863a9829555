package world

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// AppHost is where the application lives. Nobody is there: a browser that is
// sent to it has arrived.
const AppHost = "app.example.com"

// app is a relying party that is made of what most are made of. It knows the
// issuer, its id and its secret.
type app struct {
	w                                    *World
	id, secret, RedirectURI, afterLogout string
}

func newApp(w *World) *app {
	a := &app{
		w: w, id: "intranet", secret: rand.Text(),
		RedirectURI: "https://" + AppHost + "/oauth2/callback", afterLogout: "https://" + AppHost + "/bye",
	}
	w.Seen.Secret("client secret", a.secret)
	return a
}

// Settings is the client in the settings file.
func (a *app) Settings() map[string]any {
	return map[string]any{
		"client_id": a.id, "client_name": "Intranet", "client_secret": a.secret,
		"redirect_uris": []string{a.RedirectURI}, "post_logout_redirect_uris": []string{a.afterLogout},
	}
}

// Ctx brings the HTTP client for both libraries.
func (a *app) Ctx() context.Context {
	return oidc.ClientContext(context.Background(), &http.Client{Transport: witness{a.w.Seen, http.DefaultTransport}, Timeout: patience})
}

// discover reads the metadata, as an application does when it starts.
func (a *app) discover() (*oidc.Provider, *oauth2.Config) {
	a.w.T.Helper()
	p, err := oidc.NewProvider(a.Ctx(), a.w.Issuer)
	if err != nil {
		a.w.T.Fatalf("discovery: %v", err)
	}
	return p, &oauth2.Config{
		ClientID: a.id, ClientSecret: a.secret, Endpoint: p.Endpoint(), RedirectURL: a.RedirectURI,
		Scopes: []string{oidc.ScopeOpenID, "email", "profile", "groups", oidc.ScopeOfflineAccess},
	}
}

// SignIn is a login that the application has begun.
type SignIn struct {
	a                      *app
	Provider               *oidc.Provider
	config                 *oauth2.Config
	state, nonce, verifier string
	Address                string // where it sends the browser
}

func (a *app) Begin(options ...oauth2.AuthCodeOption) SignIn {
	a.w.T.Helper()
	s := SignIn{a: a, state: rand.Text(), nonce: rand.Text(), verifier: oauth2.GenerateVerifier()}
	s.Provider, s.config = a.discover()
	options = append(options, oidc.Nonce(s.nonce), oauth2.S256ChallengeOption(s.verifier))
	s.Address = s.config.AuthCodeURL(s.state, options...)
	return s
}

// Outcome is what a login gave the application.
type Outcome struct {
	Code   string
	Token  *oauth2.Token
	raw    string // the ID token
	Id     *oidc.IDToken
	Claims claims
}

type claims struct {
	Email             string   `json:"email"`
	EmailVerified     any      `json:"email_verified"`
	PreferredUsername string   `json:"preferred_username"`
	Groups            []string `json:"groups"`
	AuthTime          int64    `json:"auth_time"`
	SessionID         string   `json:"sid"`
}

// Finish takes the answer: state (RFC 6749 §10.12), iss (RFC 9207 §2.4), the
// code with its verifier (RFC 7636 §4.5), the ID token with its nonce (OIDC
// Core §3.1.3.7).
func (s SignIn) Finish(p Page) Outcome {
	t := s.a.w.T
	t.Helper()
	q := p.Answer()
	if got := p.At.Scheme + "://" + p.At.Host + p.At.Path; got != s.a.RedirectURI {
		t.Fatalf("the answer went to %s", got)
	}
	if q.Get("state") != s.state || q.Get("iss") != s.a.w.Issuer || q.Get("error") != "" || q.Get("code") == "" {
		t.Fatalf("the answer is wrong: error %q, state right: %t, iss %q, code: %t", q.Get("error"), q.Get("state") == s.state, q.Get("iss"), q.Has("code"))
	}
	o := Outcome{Code: q.Get("code")}
	var err error
	if o.Token, err = s.Redeem(o.Code); err != nil {
		t.Fatalf("redeem the code: %v", err)
	}
	s.Verify(&o, s.nonce)
	return o
}

func (s SignIn) Redeem(code string) (*oauth2.Token, error) {
	return s.config.Exchange(s.a.Ctx(), code, oauth2.VerifierOption(s.verifier))
}

// Verify takes the ID token of a token response.
func (s SignIn) Verify(o *Outcome, nonce string) {
	t := s.a.w.T
	t.Helper()
	o.raw, _ = o.Token.Extra("id_token").(string)
	var err error
	if o.Id, err = s.Provider.Verifier(&oidc.Config{ClientID: s.a.id}).Verify(s.a.Ctx(), o.raw); err != nil {
		t.Fatalf("ID token: %v", err)
	}
	if o.Id.Nonce != nonce {
		t.Errorf("ID token: nonce %q, want %q", o.Id.Nonce, nonce)
	}
	if err := o.Id.VerifyAccessToken(o.Token.AccessToken); err != nil {
		t.Errorf("ID token: at_hash: %v", err)
	}
	if err := o.Id.Claims(&o.Claims); err != nil {
		t.Fatalf("ID token: %v", err)
	}
}

// Refresh uses the refresh token.
func (s SignIn) Refresh(token *oauth2.Token) (*oauth2.Token, error) {
	return s.config.TokenSource(s.a.Ctx(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
}

// LogoutAddress is where the application sends a browser to sign out (OIDC
// RP-Initiated Logout §2).
func (s SignIn) LogoutAddress(o Outcome, state string) string {
	t := s.a.w.T
	t.Helper()
	var metadata struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := s.Provider.Claims(&metadata); err != nil || metadata.EndSession == "" {
		t.Fatalf("there is no end_session_endpoint: %v", err)
	}
	return metadata.EndSession + "?" + url.Values{
		"id_token_hint": {o.raw}, "post_logout_redirect_uri": {s.a.afterLogout}, "state": {state},
	}.Encode()
}

// Ask goes from the application to the form and asks for a link: the tab that
// waits and the mail.
func (b *Browser) Ask(s SignIn, email string) (Page, Letter) {
	b.W.T.Helper()
	form := b.Open(s.Address).MustBe("login", http.StatusOK)
	tab := b.Submit(form, "email", "email", email).MustBe("sent", http.StatusOK)
	return tab, b.W.Mail.Next(email)
}
