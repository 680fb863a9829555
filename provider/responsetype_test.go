package provider

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
)

// front is an authorization response, taken apart: its ID token proven by the
// published keys.
type front struct {
	url.Values
	claims map[string]any
}

func (b *browser) front(clientID string, pairs ...string) front {
	b.Helper()
	_, got := b.authorize(clientID, pairs...).callback()
	f := front{Values: got}
	if got.Get("id_token") != "" {
		_, f.claims = b.proven(got.Get("id_token"))
	}
	return f
}

// OAuth 2.0 Multiple Response Types §5, OIDC Core §3.2.2.5, §3.3.2.5, Form Post:
// what each response type gives, by each mode in which it may.
func TestResponseTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	for _, responseType := range []string{"code", "id_token", "id_token token", "token id_token", "code id_token", "code token", "code id_token token", "token code id_token"} {
		for _, mode := range []string{"", "fragment", "form_post"} {
			w.run(responseType+" by "+mode, func(t *testing.T) {
				pairs := []string{"response_type", responseType, "scope", "openid email"}
				if mode != "" {
					pairs = append(pairs, "response_mode", mode)
				}
				a := b.authorize("front", pairs...)
				where := map[string]string{"": "#", "fragment": "#", "form_post": ""}[mode]
				if mode == "" && responseType == "code" {
					where = "?"
				}
				if at := a.header.Get("Location"); where == "" && a.page != "form-post" || where != "" && !strings.HasPrefix(at, w.client("front").RedirectURIs[0]+where) {
					t.Errorf("answered at %q", at)
				}
				_, got := a.callback()
				for name, what := range map[string]string{"code": "code", "access_token": "token", "token_type": "token", "expires_in": "token", "id_token": "id_token"} {
					if got.Has(name) != gives(responseType, what) {
						t.Errorf("%s is there: %v", name, got.Has(name))
					}
				}
				if got.Get("state") != "the state" || got.Get("iss") != issuer || got.Get("session_state") == "" {
					t.Errorf("answer %v", got)
				}
				checkFront(t, w, b, got)
			})
		}
	}
}

// checkFront proves what a response holds, and redeems its code.
func checkFront(t *testing.T, w *world, b *browser, got url.Values) {
	t.Helper()
	access := got.Get("access_token")
	if access != "" {
		if got.Get("token_type") != "Bearer" || got.Get("expires_in") != "600" {
			t.Errorf("answer %v", got)
		}
		if a := w.userinfo(access); a.status != 200 || a.json["email"] != "ada@example.com" {
			t.Errorf("userinfo: %s", a)
		}
	}
	var claims map[string]any
	if got.Get("id_token") != "" {
		var header jose.Header
		header, claims = w.proven(got.Get("id_token"))
		if header.Algorithm != "RS256" || claims["nonce"] != "the nonce" || claims["aud"] != "front" || claims["sid"] == nil {
			t.Errorf("ID token %v %v", header, claims)
		}
		for name, value := range map[string]string{"at_hash": access, "c_hash": got.Get("code")} { // OIDC Core §3.3.2.11
			if have, ok := claims[name]; ok != (value != "") || ok && have != keys.LeftHalf(jose.RS256, value) {
				t.Errorf("%s is %v", name, have)
			}
		}
	}
	if got.Get("code") == "" {
		return
	}
	g := w.granted(w.redeem("front", got.Get("code")))
	if claims != nil && (claims["sub"] != g.claims["sub"] || claims["iss"] != g.claims["iss"] || claims["auth_time"] != g.claims["auth_time"]) { // OIDC Core §3.3.3.6
		t.Errorf("two ID tokens of one answer: %v, %v", claims, g.claims)
	}
}

// OIDC Core §3.2.2.1, §3.2.2.6, OAuth 2.0 Multiple Response Types §5: what is
// refused, and where the error goes.
func TestResponseTypesThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	for name, tt := range map[string]struct {
		client string
		pairs  []string
		code   string
		where  string
	}{
		"OIDC Core §3.2.2.1: id_token without nonce":       {"front", []string{"response_type", "id_token", "nonce", omit}, "invalid_request", "#"},
		"OIDC Core §3.3.2.11: code id_token without nonce": {"front", []string{"response_type", "code id_token", "nonce", omit}, "invalid_request", "#"},
		"id_token without scope openid":                    {"front", []string{"response_type", "id_token", "scope", "email"}, "invalid_scope", "#"},
		"a token in a query":                               {"front", []string{"response_type", "code token", "response_mode", "query"}, "invalid_request", "#"},
		"not registered":                                   {"web", []string{"response_type", "id_token"}, "unauthorized_client", "#"},
		"token alone, which no ID token goes with":         {"front", []string{"response_type", "token"}, "unsupported_response_type", "#"},
		"none":             {"front", []string{"response_type", "none"}, "unsupported_response_type", "?"},
		"one twice":        {"front", []string{"response_type", "code code"}, "unsupported_response_type", "?"},
		"in other letters": {"front", []string{"response_type", "CODE"}, "unsupported_response_type", "?"},
		"missing":          {"front", []string{"response_type", omit}, "invalid_request", "?"},
		"FAPI 2.0 §5.3.2.2, RFC 9449: nothing unbound in front": {"bound", []string{"response_type", "code token"}, "unauthorized_client", "#"},
	} {
		w.run(name, func(t *testing.T) {
			a := b.authorize(tt.client, tt.pairs...)
			a.isError(tt.code)
			if at := a.header.Get("Location"); !strings.HasPrefix(at, w.client(tt.client).RedirectURIs[0]+tt.where) {
				t.Errorf("answered at %q", at)
			}
			if _, got := a.callback(); got.Get("state") != "the state" || got.Has("code") || got.Has("id_token") || got.Has("session_state") {
				t.Errorf("answer %v", got)
			}
		})
	}
	w.run("code token needs no nonce", func(t *testing.T) {
		f := b.front("front", "response_type", "code token", "nonce", omit)
		if g := w.granted(w.redeem("front", f.Get("code"))); g.claims["nonce"] != nil {
			t.Error("a nonce from nowhere")
		}
	})
}

// OIDC Core §5.4: without an access token all claims are in the ID token; beside
// one, only for clients that want them there.
func TestClaimsOfFrontChannelIDTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	for _, tt := range []struct {
		client, responseType string
		email                bool
	}{
		{"frontthin", "id_token", true},
		{"frontthin", "id_token token", false},
		{"frontthin", "code id_token", false},
		{"frontthin", "code id_token token", false},
		{"front", "code id_token", true},
	} {
		f := b.front(tt.client, "response_type", tt.responseType, "scope", "openid email")
		if _, ok := f.claims["email"]; ok != tt.email {
			t.Errorf("%s of %s has email: %v", tt.responseType, tt.client, ok)
		}
	}
}

// RFC 6749 §4.1.2: a replayed code takes back what it gave. What came beside it
// in front belongs to the person who was there, until the session ends.
func TestFrontChannelTokensBelongToTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	f := b.front("front", "response_type", "code token")
	g := w.granted(w.redeem("front", f.Get("code")))
	w.redeem("front", f.Get("code")).is(400, "invalid_grant")
	if w.active(g.access) || !w.active(f.Get("access_token")) {
		t.Error("the code's tokens live, or others died with them")
	}
	b.endSession()
	if w.active(f.Get("access_token")) {
		t.Error("a token outlives its session")
	}

	w.run("OIDC Core §11: no offline_access without a code", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		f := b.front("front", "response_type", "id_token token", "scope", "openid offline_access")
		if slices.Contains(strings.Fields(f.Get("scope")), "offline_access") {
			t.Errorf("scope %q", f.Get("scope"))
		}
		w.clock.pass(accessTTL)
		if w.active(f.Get("access_token")) {
			t.Error("it outlives its time")
		}
	})
	w.run("a session that ends meanwhile", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		w.store.failBefore("RedeemCode", errBroken)
		defer w.store.heal()
		b.authorize("front", "response_type", "id_token").isPage(503, "error", "temporarily_unavailable")
		b.authorize("front", "response_type", "id_token", "prompt", "none").isError("temporarily_unavailable")
	})
	w.run("one commit for what is in front, none for a code", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		w.clock.pass(time.Second)
		if a := b.authorize("front", "response_type", "code id_token"); !slices.Equal(a.writes, []string{"RedeemCode"}) {
			t.Errorf("wrote %v", a.writes)
		}
		if a := b.authorize("front", "response_type", "code"); len(a.writes) > 0 {
			t.Errorf("wrote %v", a.writes)
		}
	})
}
