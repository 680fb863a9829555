package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/login"
	"github.com/sealpost/sealpost/provider"
)

// TestAnApplicationRegistersItself walks through a registration (RFC 7591, RFC
// 7592) as the settings allow it, on each engine.
func TestAnApplicationRegistersItself(t *testing.T) {
	for engine := range engines {
		t.Run(engine, func(t *testing.T) {
			now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			s := settingsOf(t, engine)
			s.Registration.Dynamic = provider.RegistrationToken
			s.Limits.Registrations = Limit{login.Limit{Max: 2, Per: time.Hour}}
			in, log := buildInstance(t, s, func() time.Time { return now }, nil)
			t.Cleanup(func() { in.close() })
			secret, err := keys.ParseSecret(string(s.Secret))
			if err != nil {
				t.Fatal(err)
			}
			initial, err := provider.InitialAccessToken(secret, now.Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			ask := func(method, path, token, body string, status int) map[string]any {
				t.Helper()
				w := request(in, method, path, func(r *http.Request) {
					r.Header.Set("Authorization", "Bearer "+token)
					if body != "" {
						r.Header.Set("Content-Type", "application/json; charset=utf-8")
						r.Body = io.NopCloser(strings.NewReader(body))
					}
				})
				if w.Code != status {
					t.Fatalf("%s: %d %s, want %d", method, w.Code, w.Body, status)
				}
				var out map[string]any
				if status != http.StatusNoContent && json.Unmarshal(w.Body.Bytes(), &out) != nil {
					t.Fatalf("%s: %s", method, w.Body)
				}
				return out
			}

			ask("POST", "/register", "none", `{"redirect_uris": ["https://rp.example.com/cb"]}`, 401)
			r := ask("POST", "/register", initial, `{"redirect_uris": ["https://rp.example.com/cb"]}`, 201)
			token, path := r["registration_access_token"].(string), strings.TrimPrefix(r["registration_client_uri"].(string), s.Issuer)
			if have := ask("GET", path, token, "", 200); have["client_id"] != r["client_id"] {
				t.Errorf("have %v", have)
			}
			changed := ask("PUT", path, token, fmt.Sprintf(`{"client_id": %q, "client_name": "New", "redirect_uris": ["https://rp.example.com/new"]}`, r["client_id"]), 200)
			if changed["client_name"] != "New" {
				t.Errorf("have %v", changed)
			}
			ask("POST", "/register", initial, `{"redirect_uris": ["https://rp.example.com/cb"]}`, 429)
			ask("DELETE", path, token, "", 204)
			ask("GET", path, token, "", 401)
			ask("GET", "/register/%00", token, "", 401)
			for _, secret := range []string{initial, token, r["client_secret"].(string), path} {
				if strings.Contains(log.String(), secret) {
					t.Error("the log tells a token, a secret or a path")
				}
			}
		})
	}
}

// TestSettingsOfApplicationsReachTheProvider: a client that is known by its
// document alone (registration.client_id_metadata) is fetched where outbound lets
// the server go, and asks for a resource that is known.
func TestSettingsOfApplicationsReachTheProvider(t *testing.T) {
	var id string
	host := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"client_id": %q, "redirect_uris": ["https://rp.example.com/cb"]}`, id)
	}))
	t.Cleanup(host.Close)
	id = host.URL + "/client.json"
	s := settingsOf(t, "sqlite")
	s.Registration.ClientIDMetadata = "on"
	s.Resources = []string{"https://api.example.com/"}
	s.Tokens.DPoPNonce = true
	s.Outbound.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(s.Outbound.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: host.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	authorize := func(in *instance, resource string) string {
		w := request(in, "GET", "/authorize?"+url.Values{
			"client_id": {id}, "redirect_uri": {"https://rp.example.com/cb"}, "response_type": {"code"}, "resource": {resource},
			"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
		}.Encode(), nil)
		return fmt.Sprint(w.Code, " ", w.Header().Get("Location"))
	}
	in, _ := buildInstance(t, s, time.Now, nil)
	t.Cleanup(func() { in.close() })
	if have := authorize(in, s.Resources[0]); have != "400 " {
		t.Errorf("a network that is not allowed: %s", have)
	}

	s.Database = SecretURL(engines["sqlite"](t))
	s.Outbound.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	allowed, _ := buildInstance(t, s, time.Now, nil)
	t.Cleanup(func() { allowed.close() })
	if have := authorize(allowed, s.Resources[0]); !strings.HasPrefix(have, "303 /login?request=") && !strings.HasPrefix(have, "303 "+s.Issuer+"/login?request=") {
		t.Errorf("a network that is allowed: %s", have)
	}
	if have := authorize(allowed, "https://other.example.com/"); !strings.Contains(have, "error=invalid_target") {
		t.Errorf("a resource that is not known: %s", have)
	}
}
