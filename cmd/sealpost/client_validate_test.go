package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/storage"
)

func TestClientsAreChecked(t *testing.T) {
	good := storage.Client{ID: "app", SecretSHA256: hashClientSecret("0123456789abcdef"), RedirectURIs: []string{"https://app.example.com/cb"}}
	with := func(change func(*storage.Client)) storage.Client {
		c := good
		change(&c)
		return c
	}
	for _, c := range []struct {
		name   string
		client storage.Client
		want   string // "": good
	}{
		{"confidential web client", good, ""},
		{"public web client", with(func(c *storage.Client) { c.SecretSHA256 = "" }), ""},
		{"no id", with(func(c *storage.Client) { c.ID = "" }), "client_id"},
		{"id with a colon", with(func(c *storage.Client) { c.ID = "a:b" }), "client_id"},
		{"no redirect URI", with(func(c *storage.Client) { c.RedirectURIs = nil }), "redirect_uris is not set"},
		{"unknown grant", with(func(c *storage.Client) { c.GrantTypes = []string{"authorization_code", "password"} }), `"password"`},
		{"no authorization code", with(func(c *storage.Client) { c.GrantTypes = []string{"refresh_token"} }), "authorization_code"},
		{"unknown algorithm", with(func(c *storage.Client) { c.IDTokenSigningAlg = "HS256" }), "RS256 or ES256"},
		{"unsigned ID tokens", with(func(c *storage.Client) { c.IDTokenSigningAlg = "none" }), "RS256 or ES256"},
		{"secret and none", with(func(c *storage.Client) { c.TokenEndpointAuthMethod = "none" }), "the client has a secret"},
		{"no secret and basic", with(func(c *storage.Client) { c.SecretSHA256, c.TokenEndpointAuthMethod = "", "client_secret_basic" }), "the client has no secret"},
		{"hash in capitals", with(func(c *storage.Client) { c.SecretSHA256 = strings.ToUpper(c.SecretSHA256) }), "lower-case hex"},
		{"unknown consent", with(func(c *storage.Client) { c.Consent = "never" }), "skip or ask"},
		{"implicit flow", with(func(c *storage.Client) { c.ResponseTypes = []string{"id_token"} }), "write code"},
		{"logo by script", with(func(c *storage.Client) { c.LogoURI = "javascript:alert(1)" }), "logo_uri"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := errors.Join(checkClient(c.client, false)...)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("have %v, want %q", err, c.want)
			}
		})
	}
}

func TestRedirectURIsAreChecked(t *testing.T) {
	const web, native, loopback = 1, 2, 4 // kinds of client that may have it
	for uri, may := range map[string]int{
		"https://app.example.com/cb":     web | native | loopback,
		"https://app.example.com/cb?x=1": web | native | loopback,
		"http://app.example.com/cb":      0,
		"http://127.0.0.1/cb":            native | loopback,
		"http://[::1]:8000/cb":           native | loopback,
		"http://localhost:8081/callback": native | loopback,
		"http://localhost.example.com/":  0,
		"com.example.app:/cb":            native,
		"myapp:/cb":                      0,
		"javascript:alert(1)":            0,
		"data:text/html,x":               0,
		"https://app.example.com/cb#x":   0,
		"https://app.example.com/cb#":    0,
		"https://*.example.com/cb":       0,
		"https://u:p@app.example.com/cb": 0,
		"https://app.example.com/a/../b": 0,
		"https://app.example.com\\@evil": 0,
		"https://app.example.com/ cb":    0,
		"https:///cb":                    0,
		"https:cb":                       0,
		"/cb":                            0,
		"":                               0,
	} {
		for kind, fix := range map[int]string{
			web: checkRedirectURI(uri, false, false), native: checkRedirectURI(uri, true, false), loopback: checkRedirectURI(uri, false, true),
		} {
			if (fix == "") != (may&kind != 0) {
				t.Errorf("%q for kind %d: %q", uri, kind, fix)
			}
		}
	}
}

func TestClientsOfTheFile(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"same id twice", "clients: [{client_id: a, redirect_uris: [https://a.example]}, {client_id: a, redirect_uris: [https://a.example]}]", `clients[1].client_id: "a": another client has this id`},
		{"weak secret", "clients: [{client_id: a, client_secret: weak, redirect_uris: [https://a.example]}]", "clients[0].client_secret has 4 characters"},
		{"secret and hash", "clients: [{client_id: a, client_secret: 0123456789abcdef, client_secret_sha256: x, redirect_uris: [https://a.example]}]", "are both set; keep one"},
		{"later metadata", "clients: [{client_id: a, jwks_uri: https://a.example/jwks}]", "clients[0].jwks_uri is not available in this version"},
		{"typo", "clients: [{client_id: a, redirect_uri: https://a.example}]", "did you mean clients[0].redirect_uris?"},
		{"not a list", "clients: a", "clients: write a list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadFile(t, c.yaml, nil, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have %v, want %q", err, c.want)
			}
		})
	}
	s, err := loadFile(t, "issuer: http://localhost\nclients: [{client_id: a, client_secret: 0123456789abcdef, redirect_uris: ['http://127.0.0.1:9/cb']}]", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Clients[0].SecretSHA256 != hashClientSecret("0123456789abcdef") {
		t.Error("the secret was not hashed")
	}
}
