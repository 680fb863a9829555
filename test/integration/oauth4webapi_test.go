//go:build integration

package integration

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestOAuth4WebAPISignsInByMailedLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		throughOAuth4WebAPI(t, w, "bearer", map[string]any{"token_endpoint_auth_method": "client_secret_post"}, nil)
	})
}

func TestOAuth4WebAPISignsInWithAKey(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		throughOAuth4WebAPI(t, w, "bearer", map[string]any{"token_endpoint_auth_method": "private_key_jwt"}, map[string]any{"private_key_jwt": true})
	})
}

func TestOAuth4WebAPISignsInByPARWithDPoP(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		throughOAuth4WebAPI(t, w, "dpop", map[string]any{"token_endpoint_auth_method": "private_key_jwt", "dpop_bound_access_tokens": true},
			map[string]any{"private_key_jwt": true, "par": true, "dpop": true})
	})
}

func throughOAuth4WebAPI(t *testing.T, w *world, tokenType string, client, settings map[string]any) {
	rp := w.relyingParty()
	w.start(rp.client(client), nil)
	w.run(rp, node(t, "oauth4webapi.mjs"), settings)
	ben := person("Ben")
	var got struct {
		login
		Iss struct {
			Promised bool
			Given    string
		}
		AtHash struct{ Given, Computed string } `json:"at_hash"`
	}
	w.browser().signIn(rp.origin+"/login", ben).says(&got)
	got.of(t, ben)
	if got.TokenType != tokenType {
		t.Errorf("the token is %s, want %s", got.TokenType, tokenType)
	}
	if !got.Iss.Promised || got.Iss.Given != w.issuer { // RFC 9207 §2
		t.Errorf("iss is promised: %t, and %q", got.Iss.Promised, got.Iss.Given)
	}
	if got.AtHash.Given != got.AtHash.Computed {
		t.Errorf("at_hash is %q, want %q", got.AtHash.Given, got.AtHash.Computed)
	}
}

// A client that nobody has told the provider about finds it and registers
// itself (RFC 8414, RFC 7591), and gets tokens for the one server that it asks
// them for (RFC 8707).
func TestMCPClientFindsTheProviderRegistersAndReachesItsServer(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		rp := w.relyingParty()
		var settings map[string]any // of the page
		page := strings.ReplaceAll(documented(t, "integrations/mcp.md", "yaml")[0], "https://mcp.example.com/", rp.origin+"/mcp")
		if err := yaml.Unmarshal([]byte(page), &settings); err != nil {
			t.Fatal(err)
		}
		w.start(nil, settings)
		w.run(rp, node(t, "mcp.mjs"), nil)
		cid, b := person("Cid"), w.browser()
		consent := b.signIn(rp.origin+"/login", cid).is("consent") // nobody has vouched for the client
		type token struct {
			Subject  string `json:"sub"`
			ClientID string `json:"client_id"`
		}
		var got struct {
			ClientID          string `json:"client_id"`
			Server, Refreshed token
		}
		b.submit(consent, "consent-allow").says(&got)
		if got.Server.Subject == "" || got.Server.ClientID != got.ClientID || got.Refreshed != got.Server {
			t.Errorf("the server knows %+v, and refreshed %+v, of client %q", got.Server, got.Refreshed, got.ClientID)
		}
	})
}
