//go:build integration

package integration

import (
	"net/http"
	"strings"
	"testing"
)

func TestOpenIDClientSignsInByMailedLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) { throughOpenIDClient(t, w, false) })
}

func TestOpenIDClientSignsInByPARWithAKeyAndDPoP(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) { throughOpenIDClient(t, w, true) })
}

// throughOpenIDClient is the life of a login. A strict client has keys in place
// of secrets, for itself (RFC 7523) and for its tokens (RFC 9449), and pushes
// its requests (RFC 9126).
func throughOpenIDClient(t *testing.T, w *world, strict bool) {
	rp := w.relyingParty()
	changes, tokenType, asBearer := map[string]any{}, "bearer", http.StatusOK
	if strict {
		changes = map[string]any{
			"token_endpoint_auth_method": "private_key_jwt", "dpop_bound_access_tokens": true, "require_pushed_authorization_requests": true,
		}
		tokenType, asBearer = "dpop", http.StatusUnauthorized
	}
	w.start(rp.client(changes), nil)
	w.run(rp, node(t, "openid-client.mjs"), map[string]any{"private_key_jwt": strict, "dpop": strict, "par": strict})

	ada, b := person("Ada"), w.browser()
	var got struct {
		login
		AsBearer      int `json:"as_bearer"`
		Introspection introspection
		Refreshed     struct {
			Claims    claims
			TokenType string `json:"token_type"`
			Rotated   bool
		}
		Revoked struct {
			Introspection introspection
			Refresh       any // the error
		}
	}
	b.signIn(rp.origin+"/login", ada).says(&got)
	got.of(t, ada)
	if got.TokenType != tokenType || got.Refreshed.TokenType != tokenType {
		t.Errorf("the tokens are %s and %s, want %s", got.TokenType, got.Refreshed.TokenType, tokenType)
	}
	if got.AsBearer != asBearer {
		t.Errorf("userinfo for a mere bearer is %d, want %d", got.AsBearer, asBearer)
	}
	if in := got.Introspection; !in.Active || in.Subject != got.Claims.Subject || in.ClientID != "application" || strings.ToLower(in.TokenType) != tokenType || (in.Confirmation.JKT != "") != strict {
		t.Errorf("introspection: %+v", in)
	}
	if got.Refreshed.Claims.Subject != got.Claims.Subject || !got.Refreshed.Rotated {
		t.Errorf("refresh: %+v", got.Refreshed)
	}
	if got.Revoked.Introspection != (introspection{}) || got.Revoked.Refresh != "invalid_grant" {
		t.Errorf("after revocation: %+v", got.Revoked)
	}

	var bye struct{ State string }
	b.open(rp.origin + "/logout").says(&bye)
	if bye.State != "so long" {
		t.Errorf("after logout the state is %q", bye.State)
	}
	b.open(rp.origin + "/login").is("login")
}

// introspection is what RFC 7662 §2.2 says of a token.
type introspection struct {
	Active       bool
	Subject      string `json:"sub"`
	ClientID     string `json:"client_id"`
	TokenType    string `json:"token_type"`
	Confirmation struct {
		JKT string `json:"jkt"`
	} `json:"cnf"`
}
