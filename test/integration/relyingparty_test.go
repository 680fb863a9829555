//go:build integration

package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"os/exec"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// relyingParty is an application in a process of its own, behind a proxy.
type relyingParty struct {
	listen, origin string
	secret         string
	key            jose.JSONWebKey // for private_key_jwt
}

func (w *world) relyingParty() relyingParty {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	port := freePort(w.t)
	rp := relyingParty{listen: "127.0.0.1:" + port, secret: rand.Text()}
	rp.origin = "https://127.0.0.1:" + front(w.t, rp.listen, nil)
	rp.key = jose.JSONWebKey{Key: key, KeyID: "of " + port, Algorithm: string(jose.ES256), Use: "sig"}
	return rp
}

// client is the application in the settings of the provider, with some changes.
func (rp relyingParty) client(changes map[string]any) map[string]any {
	client := map[string]any{
		"client_id": "application", "client_name": "Application",
		"redirect_uris": []string{rp.origin + "/callback"}, "post_logout_redirect_uris": []string{rp.origin + "/bye"},
	}
	if changes["token_endpoint_auth_method"] == "private_key_jwt" {
		client["jwks"] = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{rp.key.Public()}}
	} else {
		client["client_secret"] = rp.secret
	}
	maps.Copy(client, changes)
	return client
}

// run starts the application: a program that reads its settings from the
// variable RELYING_PARTY and answers at /ready.
func (w *world) run(rp relyingParty, cmd *exec.Cmd, more map[string]any) {
	w.t.Helper()
	settings := map[string]any{
		"issuer": w.issuer, "listen": rp.listen, "origin": rp.origin,
		"client_id": "application", "client_secret": rp.secret, "key": rp.key,
	}
	maps.Copy(settings, more)
	content, err := json.Marshal(settings)
	if err != nil {
		w.t.Fatal(err)
	}
	authority := authority(w.t).file("authority.pem")
	p := startProcess(w.t, cmd, "RELYING_PARTY="+string(content), "NODE_EXTRA_CA_CERTS="+authority, "REQUESTS_CA_BUNDLE="+authority, "SSL_CERT_FILE="+authority, "NO_PROXY=*")
	w.answers(p, rp.origin+"/ready")
}

// claims is what an application knows of a person.
type claims struct {
	Subject           string   `json:"sub"`
	Email             string   `json:"email"`
	EmailVerified     bool     `json:"email_verified"`
	PreferredUsername string   `json:"preferred_username"`
	Groups            []string `json:"groups"`
}

// login is what the applications say of a login.
type login struct {
	Claims, UserInfo claims
	TokenType        string `json:"token_type"`
}

// of wants the login to be somebody's.
func (l login) of(t testing.TB, email string) {
	t.Helper()
	if l.Claims.Email != email || !l.Claims.EmailVerified || l.Claims.Subject == "" {
		t.Errorf("the ID token is of %+v, want %s", l.Claims, email)
	}
	if l.UserInfo.Email != email || !l.UserInfo.EmailVerified || l.UserInfo.Subject != l.Claims.Subject {
		t.Errorf("userinfo is of %+v, want %s, subject %s", l.UserInfo, email, l.Claims.Subject)
	}
}
