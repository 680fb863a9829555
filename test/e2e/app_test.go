package e2e

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// appHost is where the application lives. Nobody is there: a browser that is
// sent to it has arrived.
const appHost = "app.example.com"

// app is a relying party that is made of what most are made of. It knows the
// issuer, its id and its secret.
type app struct {
	w                                    *world
	id, secret, redirectURI, afterLogout string
}

func newApp(w *world) *app {
	a := &app{
		w: w, id: "intranet", secret: rand.Text(),
		redirectURI: "https://" + appHost + "/oauth2/callback", afterLogout: "https://" + appHost + "/bye",
	}
	w.seen.secret("client secret", a.secret)
	return a
}

// settings is the client in the settings file.
func (a *app) settings() map[string]any {
	return map[string]any{
		"client_id": a.id, "client_name": "Intranet", "client_secret": a.secret,
		"redirect_uris": []string{a.redirectURI}, "post_logout_redirect_uris": []string{a.afterLogout},
	}
}

// ctx brings the HTTP client for both libraries.
func (a *app) ctx() context.Context {
	return oidc.ClientContext(context.Background(), &http.Client{Transport: witness{a.w.seen, http.DefaultTransport}, Timeout: patience})
}

// discover reads the metadata, as an application does when it starts.
func (a *app) discover() (*oidc.Provider, *oauth2.Config) {
	a.w.t.Helper()
	p, err := oidc.NewProvider(a.ctx(), a.w.issuer)
	if err != nil {
		a.w.t.Fatalf("discovery: %v", err)
	}
	return p, &oauth2.Config{
		ClientID: a.id, ClientSecret: a.secret, Endpoint: p.Endpoint(), RedirectURL: a.redirectURI,
		Scopes: []string{oidc.ScopeOpenID, "email", "profile", "groups", oidc.ScopeOfflineAccess},
	}
}

// signIn is a login that the application has begun.
type signIn struct {
	a                      *app
	provider               *oidc.Provider
	config                 *oauth2.Config
	state, nonce, verifier string
	address                string // where it sends the browser
}

func (a *app) begin(options ...oauth2.AuthCodeOption) signIn {
	a.w.t.Helper()
	s := signIn{a: a, state: rand.Text(), nonce: rand.Text(), verifier: oauth2.GenerateVerifier()}
	s.provider, s.config = a.discover()
	options = append(options, oidc.Nonce(s.nonce), oauth2.S256ChallengeOption(s.verifier))
	s.address = s.config.AuthCodeURL(s.state, options...)
	return s
}

// outcome is what a login gave the application.
type outcome struct {
	code   string
	token  *oauth2.Token
	raw    string // the ID token
	id     *oidc.IDToken
	claims claims
}

type claims struct {
	Email             string   `json:"email"`
	EmailVerified     any      `json:"email_verified"`
	PreferredUsername string   `json:"preferred_username"`
	Groups            []string `json:"groups"`
	AuthTime          int64    `json:"auth_time"`
	SessionID         string   `json:"sid"`
}

// finish takes the answer: state (RFC 6749 §10.12), iss (RFC 9207 §2.4), the
// code with its verifier (RFC 7636 §4.5), the ID token with its nonce (OIDC
// Core §3.1.3.7).
func (s signIn) finish(p page) outcome {
	t := s.a.w.t
	t.Helper()
	q := p.answer()
	if got := p.at.Scheme + "://" + p.at.Host + p.at.Path; got != s.a.redirectURI {
		t.Fatalf("the answer went to %s", got)
	}
	if q.Get("state") != s.state || q.Get("iss") != s.a.w.issuer || q.Get("error") != "" || q.Get("code") == "" {
		t.Fatalf("the answer is wrong: error %q, state right: %t, iss %q, code: %t", q.Get("error"), q.Get("state") == s.state, q.Get("iss"), q.Has("code"))
	}
	o := outcome{code: q.Get("code")}
	var err error
	if o.token, err = s.redeem(o.code); err != nil {
		t.Fatalf("redeem the code: %v", err)
	}
	s.verify(&o, s.nonce)
	return o
}

func (s signIn) redeem(code string) (*oauth2.Token, error) {
	return s.config.Exchange(s.a.ctx(), code, oauth2.VerifierOption(s.verifier))
}

// verify takes the ID token of a token response.
func (s signIn) verify(o *outcome, nonce string) {
	t := s.a.w.t
	t.Helper()
	o.raw, _ = o.token.Extra("id_token").(string)
	var err error
	if o.id, err = s.provider.Verifier(&oidc.Config{ClientID: s.a.id}).Verify(s.a.ctx(), o.raw); err != nil {
		t.Fatalf("ID token: %v", err)
	}
	if o.id.Nonce != nonce {
		t.Errorf("ID token: nonce %q, want %q", o.id.Nonce, nonce)
	}
	if err := o.id.VerifyAccessToken(o.token.AccessToken); err != nil {
		t.Errorf("ID token: at_hash: %v", err)
	}
	if err := o.id.Claims(&o.claims); err != nil {
		t.Fatalf("ID token: %v", err)
	}
}

// refresh uses the refresh token.
func (s signIn) refresh(token *oauth2.Token) (*oauth2.Token, error) {
	return s.config.TokenSource(s.a.ctx(), &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
}

// logoutAddress is where the application sends a browser to sign out (OIDC
// RP-Initiated Logout §2).
func (s signIn) logoutAddress(o outcome, state string) string {
	t := s.a.w.t
	t.Helper()
	var metadata struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := s.provider.Claims(&metadata); err != nil || metadata.EndSession == "" {
		t.Fatalf("there is no end_session_endpoint: %v", err)
	}
	return metadata.EndSession + "?" + url.Values{
		"id_token_hint": {o.raw}, "post_logout_redirect_uri": {s.a.afterLogout}, "state": {state},
	}.Encode()
}

// ask goes from the application to the form and asks for a link: the tab that
// waits and the mail.
func (b *browser) ask(s signIn, email string) (page, letter) {
	b.w.t.Helper()
	form := b.open(s.address).is("login", http.StatusOK)
	tab := b.submit(form, "email", "email", email).is("sent", http.StatusOK)
	return tab, b.w.mail.next(email)
}
