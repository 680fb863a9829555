//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"go.yaml.in/yaml/v3"
	"golang.org/x/oauth2"
)

// Nobody has tried some of the recipes; their clients at least are taken.
func TestClientsOfTheRecipesAreTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite")
	w.start(nil, nil)
	taken := 0
	for _, page := range []string{"integrations/apps.md", "integrations/proxies.md"} {
		for _, block := range documented(t, page, "sh") {
			for _, command := range regexp.MustCompile(`(?m)^sealpost client add (?:.*\\\n)*.*$`).FindAllString(block, -1) {
				w.addClient(command)
				taken++
			}
		}
	}
	if taken < 10 {
		t.Errorf("the pages add %d clients", taken)
	}
}

// kubelogin signs a person in, and the API server takes the ID token: it
// verifies with go-oidc, and takes an address alone that is verified.
func TestKubernetesTakesTheIDToken(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.start(nil, nil)
		here := strings.NewReplacer("https://login.example.com", w.issuer)
		var add, kubelogin string
		for _, block := range documented(t, "integrations/apps.md", "sh") {
			if before, after, found := strings.Cut(here.Replace(block), "\nkubectl oidc-login setup "); found {
				add, kubelogin = before, after
			}
		}
		w.addClient(add)
		option := func(name string) string {
			t.Helper()
			found := regexp.MustCompile(`--` + name + `=(\S+)`).FindStringSubmatch(kubelogin)
			if found == nil {
				t.Fatalf("kubelogin has no --%s: %s", name, kubelogin)
			}
			return found[1]
		}
		meg := person("Meg")
		if out, err := w.sealpost("user", "add", meg, "--group", "staff").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}

		ctx := oidc.ClientContext(t.Context(), w.client())
		provider, err := oidc.NewProvider(ctx, option("oidc-issuer-url"))
		if err != nil {
			t.Fatal(err)
		}
		// http://localhost:8000 is where kubelogin listens.
		listening := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_ = json.NewEncoder(rw).Encode(map[string]string{"code": r.FormValue("code"), "state": r.FormValue("state")})
		}))
		defer listening.Close()
		b := w.browser()
		b.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "localhost:8000" {
				address = listening.Listener.Addr().String()
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
		config := oauth2.Config{
			ClientID: option("oidc-client-id"), Endpoint: provider.Endpoint(), RedirectURL: "http://localhost:8000",
			Scopes: append([]string{oidc.ScopeOpenID}, strings.Split(option("oidc-extra-scope"), ",")...),
		}
		verifier := oauth2.GenerateVerifier()
		var answer struct{ Code, State string }
		b.signIn(config.AuthCodeURL("state", oidc.Nonce("nonce"), oauth2.S256ChallengeOption(verifier)), meg).says(&answer)
		token, err := config.Exchange(ctx, answer.Code, oauth2.VerifierOption(verifier))
		if err != nil || answer.State != "state" {
			t.Fatalf("state %q, %v", answer.State, err)
		}

		var apiServer struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string
			JWT        []struct {
				Issuer struct {
					URL       string
					Audiences []string
				}
				ClaimMappings struct {
					Username, Groups struct{ Claim, Prefix string }
				} `yaml:"claimMappings"`
			}
		}
		for _, block := range documented(t, "integrations/apps.md", "yaml") {
			if strings.Contains(block, "kind: AuthenticationConfiguration") {
				decoder := yaml.NewDecoder(strings.NewReader(here.Replace(block)))
				decoder.KnownFields(true)
				if err := decoder.Decode(&apiServer); err != nil {
					t.Fatal(err)
				}
			}
		}
		jwt := apiServer.JWT[0]
		if provider, err = oidc.NewProvider(ctx, jwt.Issuer.URL); err != nil {
			t.Fatal(err)
		}
		raw, _ := token.Extra("id_token").(string)
		idToken, err := provider.Verifier(&oidc.Config{ClientID: jwt.Issuer.Audiences[0]}).Verify(ctx, raw)
		if err != nil {
			t.Fatal(err)
		}
		var claims map[string]any
		if err := idToken.Claims(&claims); err != nil {
			t.Fatal(err)
		}
		if name := claims[jwt.ClaimMappings.Username.Claim]; name != meg || claims["email_verified"] != true {
			t.Errorf("the user is %v, verified: %v", name, claims["email_verified"])
		}
		if groups, _ := claims[jwt.ClaimMappings.Groups.Claim].([]any); !slices.Equal(groups, []any{"staff"}) {
			t.Errorf("the groups are %v", groups)
		}
	})
}

// sealpost is a command with the settings of the provider.
func (w *world) sealpost(args ...string) *exec.Cmd {
	w.t.Helper()
	binary, err := build()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = append(environ(), "SEALPOST_CONFIG="+w.file)
	return cmd
}
