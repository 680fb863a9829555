package provider

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-chi/chi/v5"
	"golang.org/x/oauth2"
)

// relyingParty walks the whole flow over HTTP with the libraries that
// applications use.
type relyingParty struct {
	*world
	ctx      context.Context
	provider *oidc.Provider
	config   oauth2.Config
	verifier *oidc.IDTokenVerifier
	client   *http.Client // the browser
}

// newRelyingParty serves a provider at an address of its own, where opening
// the login page signs ada in.
func newRelyingParty(t *testing.T, clientID string) *relyingParty {
	t.Helper()
	router := chi.NewRouter()
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	w := newWorld(t, func(c *Config) { c.Issuer = server.URL })
	w.provider.Routes(router, fakeLogins{w})
	router.Get("/login", func(rw http.ResponseWriter, r *http.Request) {
		b := w.browser()
		login := b.signIn("ada@example.com")
		http.SetCookie(rw, &http.Cookie{Name: sessionCookie, Value: b.cookies[sessionCookie], Path: "/"})
		w.provider.Resume(rw, r, r.URL.Query().Get("request"), login)
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	rp := &relyingParty{world: w, ctx: oidc.ClientContext(t.Context(), server.Client())}
	rp.client = &http.Client{Jar: jar, Transport: server.Client().Transport, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host != server.Listener.Addr().String() {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	if rp.provider, err = oidc.NewProvider(rp.ctx, server.URL); err != nil {
		t.Fatal(err)
	}
	c := w.client(clientID)
	rp.config = oauth2.Config{ClientID: clientID, RedirectURL: c.RedirectURIs[0], Endpoint: rp.provider.Endpoint(), Scopes: []string{oidc.ScopeOpenID, "email", "profile", oidc.ScopeOfflineAccess}}
	if !c.Public() {
		rp.config.ClientSecret = secretOf(clientID)
	}
	rp.verifier = rp.provider.Verifier(&oidc.Config{ClientID: clientID, Now: w.clock.Now, SupportedSigningAlgs: []string{c.IDTokenSigningAlg}})
	return rp
}

// login is the browser's way to the client's redirect URI.
func (rp *relyingParty) login(options ...oauth2.AuthCodeOption) url.Values {
	rp.Helper()
	response, err := rp.client.Get(rp.config.AuthCodeURL("the state", options...))
	if err != nil {
		rp.Fatal(err)
	}
	defer response.Body.Close()
	at, err := response.Location()
	if err != nil {
		rp.Fatalf("%d: %v", response.StatusCode, err)
	}
	return at.Query()
}

func TestRelyingParty(t *testing.T) {
	for _, clientID := range []string{"web", "poster", "es", "spa", "cli"} {
		t.Run(clientID, func(t *testing.T) {
			t.Parallel()
			rp := newRelyingParty(t, clientID)
			pkce := oauth2.GenerateVerifier()
			got := rp.login(oauth2.S256ChallengeOption(pkce), oidc.Nonce("the nonce"))
			if got.Get("state") != "the state" || got.Get("iss") != rp.world.provider.cfg.Issuer {
				t.Fatalf("the client got %v", got)
			}
			token, err := rp.config.Exchange(rp.ctx, got.Get("code"), oauth2.VerifierOption(pkce))
			if err != nil {
				t.Fatal(err)
			}
			if token.Type() != "Bearer" || token.RefreshToken == "" || time.Until(token.Expiry) > accessTTL || token.Extra("scope") != "openid email profile offline_access" {
				t.Errorf("token of type %s until %s for %v", token.Type(), token.Expiry, token.Extra("scope"))
			}
			first := rp.verify(token)
			if first.Nonce != "the nonce" {
				t.Errorf("nonce %q", first.Nonce)
			}
			if err := first.VerifyAccessToken(token.AccessToken); err != nil {
				t.Errorf("at_hash: %v", err)
			}
			info, err := rp.provider.UserInfo(rp.ctx, oauth2.StaticTokenSource(token))
			if err != nil || info.Subject != first.Subject || info.Email != "ada@example.com" || !info.EmailVerified {
				t.Errorf("userinfo: %+v, %v", info, err)
			}

			token.Expiry = time.Now().Add(-time.Hour)
			second, err := rp.config.TokenSource(rp.ctx, token).Token()
			if err != nil {
				t.Fatal(err)
			}
			if again := rp.verify(second); again.Subject != first.Subject || again.Nonce != "" || second.RefreshToken == token.RefreshToken {
				t.Errorf("refreshed: %+v", again)
			}
			rp.clock.pass(refreshGrace)
			if _, err := rp.config.TokenSource(rp.ctx, token).Token(); err == nil {
				t.Error("a refresh token was good twice")
			}
			if _, err := rp.provider.UserInfo(rp.ctx, oauth2.StaticTokenSource(second)); err == nil {
				t.Error("userinfo after a reuse")
			}

			// Now the browser has a session.
			got = rp.login(oauth2.S256ChallengeOption(pkce), oauth2.SetAuthURLParam("prompt", "none"))
			if got.Get("code") == "" {
				t.Errorf("silently: %v", got)
			}
		})
	}
}

func (rp *relyingParty) verify(token *oauth2.Token) *oidc.IDToken {
	rp.Helper()
	raw, _ := token.Extra("id_token").(string)
	id, err := rp.verifier.Verify(rp.ctx, raw)
	if err != nil {
		rp.Fatal(err)
	}
	return id
}
