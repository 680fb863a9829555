package provider

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
)

func names(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// RFC 6749 §5.1, OIDC Core §3.1.3.3: the token response, field by field.
func TestTokenAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("Ada@Example.com")
	for _, tt := range []struct {
		name, scope, want string // scope that is granted
		fields            []string
	}{
		{"openid", "openid", "openid", []string{"access_token", "expires_in", "id_token", "scope", "token_type"}},
		{"openid email", "email openid", "email openid", []string{"access_token", "expires_in", "id_token", "scope", "token_type"}},
		{"OIDC Core §11: offline_access", "openid offline_access", "openid offline_access", []string{"access_token", "expires_in", "id_token", "refresh_token", "scope", "token_type"}},
		{"OIDC Core §3.1.2.1: unknown scopes are dropped", "openid address tea email", "openid email", []string{"access_token", "expires_in", "id_token", "scope", "token_type"}},
		{"repeated scopes", "openid  openid email email", "openid email", []string{"access_token", "expires_in", "id_token", "scope", "token_type"}},
		{"case of scopes", "OpenID email", "email", []string{"access_token", "expires_in", "scope", "token_type"}},
		{"without openid there is no ID token", "email offline_access", "email offline_access", []string{"access_token", "expires_in", "refresh_token", "scope", "token_type"}},
		{"no scope at all", omit, "", []string{"access_token", "expires_in", "token_type"}},
		{"unknown scopes alone", "tea", "", []string{"access_token", "expires_in", "token_type"}},
	} {
		w.run(tt.name, func(t *testing.T) {
			g := b.tokens("web", "scope", tt.scope)
			if got := names(g.json); !slices.Equal(got, tt.fields) {
				t.Errorf("fields %v", got)
			}
			if g.json["token_type"] != "Bearer" || g.json["expires_in"] != accessTTL.Seconds() || tt.want != "" && g.json["scope"] != tt.want {
				t.Errorf("token_type %v, expires_in %v, scope %v", g.json["token_type"], g.json["expires_in"], g.json["scope"])
			}
			if g.header.Get("Content-Type") != "application/json" || g.header.Get("Pragma") != "no-cache" {
				t.Errorf("RFC 6749 §5.1: %v", g.header)
			}
			if !slices.Equal(g.writes, []string{"RedeemCode"}) || len(g.reads) > 0 {
				t.Errorf("redeeming asked for %v %v", g.writes, g.reads)
			}
		})
	}
}

// OIDC Core §2, §5.4: the ID token, claim by claim.
func TestIDTokenClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	handle := b.handle("web", "scope", "openid email profile groups", "max_age", "3600")
	w.clock.pass(30 * time.Second)
	login := b.signIn("Ada@Example.com")
	w.describe(login.User.ID, "Ada Lovelace", "en-GB", "ops", "staff")
	w.clock.pass(20 * time.Second)
	code := b.resume(handle).code()
	w.clock.pass(10 * time.Second)
	g := w.granted(w.redeem("web", code))
	now := w.clock.Now().Unix()
	want := map[string]any{
		"iss": issuer, "sub": login.User.ID, "aud": "web", "iat": float64(now), "exp": float64(now) + idTTL.Seconds(),
		"auth_time": float64(login.Session.AuthTime.Unix()), "nonce": "the nonce", "acr": acrMail, "sid": keys.SID(login.Session.ID),
		"at_hash": keys.LeftHalf("RS256", g.access),
		"email":   "Ada@Example.com", "email_verified": true, "preferred_username": "Ada@Example.com", "name": "Ada Lovelace", "locale": "en-GB",
		"updated_at": g.claims["updated_at"],
	}
	for name, value := range want {
		if g.claims[name] != value {
			t.Errorf("%s: %v, want %v", name, g.claims[name], value)
		}
	}
	if amr, _ := g.claims["amr"].([]any); len(amr) != 1 || amr[0] != amrMail {
		t.Errorf("amr: %v", g.claims["amr"])
	}
	if groups, _ := g.claims["groups"].([]any); len(groups) != 2 || groups[0] != "ops" || groups[1] != "staff" {
		t.Errorf("groups: %v", g.claims["groups"])
	}
	if updated, ok := g.claims["updated_at"].(float64); !ok || updated <= 0 || updated > float64(now) {
		t.Errorf("updated_at: %v", g.claims["updated_at"])
	}
	if len(g.claims) != len(want)+2 {
		t.Errorf("claims that nobody asked for: %v", names(g.claims))
	}
	if g.claims["sub"] == "Ada@Example.com" || g.claims["sid"] == login.Session.ID {
		t.Error("sub or sid tells what it must not")
	}
	// The same in userinfo, OIDC Core §5.3.2, and no more than that.
	info := w.userinfo(g.access).json
	for _, name := range []string{"sub", "email", "email_verified", "preferred_username", "name", "locale", "updated_at"} {
		if info[name] != g.claims[name] {
			t.Errorf("userinfo: %s is %v", name, info[name])
		}
	}
	if len(info) != 8 {
		t.Errorf("userinfo has %v", names(info))
	}
}

func TestScopesOfClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	standard := []string{"acr", "amr", "at_hash", "aud", "auth_time", "exp", "iat", "iss", "nonce", "sid", "sub"}
	for _, tt := range []struct {
		scope  string
		claims []string
	}{
		{"openid", nil},
		{"openid email", []string{"email", "email_verified"}},
		{"openid profile", []string{"name", "preferred_username", "updated_at"}},
		{"openid groups", []string{"groups"}},
		{"openid offline_access", nil},
	} {
		for _, client := range []string{"web", "thin"} {
			w.run(client+" "+tt.scope, func(t *testing.T) {
				g := b.tokens(client, "scope", tt.scope)
				want := slices.Clone(standard)
				if client == "web" { // id_token_claims: true
					want = append(want, tt.claims...)
				}
				slices.Sort(want)
				if got := names(g.claims); !slices.Equal(got, want) {
					t.Errorf("the ID token has %v, want %v", got, want)
				}
				want = append([]string{"sub"}, tt.claims...)
				slices.Sort(want)
				info := w.userinfo(g.access)
				if got := names(info.json); !slices.Equal(got, want) {
					t.Errorf("userinfo has %v, want %v", got, want)
				}
				if tt.scope == "openid groups" {
					if groups, ok := info.json["groups"].([]any); !ok || len(groups) != 0 {
						t.Errorf("groups of a member of none: %s", info.body)
					}
				}
				if tt.scope == "openid profile" && info.json["name"] != "ada" {
					t.Errorf("name %v", info.json["name"])
				}
			})
		}
	}
}

func TestSigningAlgorithms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	for client, alg := range map[string]string{"web": "RS256", "es": "ES256", "cli": "RS256"} {
		w.run("oidcc-idtoken-signature: "+client, func(t *testing.T) {
			g := b.tokens(client)
			header, _ := w.proven(g.id)
			if header.Algorithm != alg || header.KeyID == "" || header.ExtraHeaders[jose.HeaderType] != "JWT" {
				t.Errorf("ID token: %+v", header)
			}
			header, _ = w.proven(g.access)
			if header.Algorithm != "ES256" || header.KeyID == "" || header.ExtraHeaders[jose.HeaderType] != "at+jwt" {
				t.Errorf("RFC 9068 §2.1: access token: %+v", header)
			}
			if g.claims["at_hash"] != keys.LeftHalf("RS256", g.access) {
				t.Errorf("OIDC Core §3.1.3.6: at_hash %v", g.claims["at_hash"])
			}
		})
	}
}

// RFC 9068 §2.2: the access token, claim by claim.
func TestAccessTokenClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	w.clock.pass(time.Minute)
	g := b.tokens("cli", "scope", "openid email")
	now := float64(w.clock.Now().Unix())
	for name, want := range map[string]any{
		"iss": issuer, "sub": g.claims["sub"], "aud": issuer, "client_id": "cli", "iat": now, "exp": now + accessTTL.Seconds(),
		"scope": "openid email", "auth_time": now - 60, "acr": acrMail,
	} {
		if g.accessClaims[name] != want {
			t.Errorf("%s: %v, want %v", name, g.accessClaims[name], want)
		}
	}
	if want := []string{"acr", "amr", "aud", "auth_time", "client_id", "exp", "iat", "iss", "jti", "scope", "sub"}; !slices.Equal(names(g.accessClaims), want) {
		t.Errorf("claims %v", names(g.accessClaims))
	}
	if again := b.tokens("cli"); again.accessClaims["jti"] == g.accessClaims["jti"] {
		t.Error("RFC 9068 §2.2: two tokens have the same jti")
	}
}

// The subject is the person's for good, whatever client or address.
func TestSubject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.signedIn("ada@example.com").tokens("web").claims["sub"]
	w.clock.pass(time.Hour)
	if two := w.signedIn("ada@example.com").tokens("other").claims["sub"]; two != one {
		t.Errorf("%v, then %v", one, two)
	}
	if three := w.signedIn("bob@example.com").tokens("web").claims["sub"]; three == one {
		t.Error("two people have one subject")
	}
	if s := one.(string); len(s) == 0 || len(s) > 255 {
		t.Errorf("OIDC Core §2: sub of %d characters", len(s))
	}
}
