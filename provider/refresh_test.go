package provider

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/keys"
)

// offline are tokens with a refresh token.
func (b *browser) offline(clientID string) granted {
	b.Helper()
	g := b.tokens(clientID, "scope", "openid email offline_access")
	if g.refresh == "" {
		b.Fatal("no refresh token")
	}
	return g
}

// RFC 6749 §6, OIDC Core §12.2.
func TestRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	for _, client := range []string{"web", "cli", "es", "poster"} {
		w.run(client, func(t *testing.T) {
			first := b.offline(client)
			w.clock.pass(time.Hour)
			a := w.refresh(client, first.refresh)
			second := w.granted(a)
			if !slices.Equal(a.writes, []string{"Refresh"}) || len(a.reads) > 0 {
				t.Errorf("asked for %v %v", a.writes, a.reads)
			}
			if got := names(second.json); !slices.Equal(got, names(first.json)) {
				t.Errorf("RFC 6749 §5.1: fields %v", got)
			}
			if second.refresh == first.refresh || second.access == first.access {
				t.Error("RFC 9700 §4.14.2: a token was not renewed")
			}
			for _, name := range []string{"iss", "sub", "aud", "auth_time", "sid", "acr", "email"} {
				if second.claims[name] != first.claims[name] {
					t.Errorf("OIDC Core §12.2: %s was %v, is %v", name, first.claims[name], second.claims[name])
				}
			}
			if second.claims["nonce"] != nil {
				t.Errorf("OIDC Core §12.2: nonce %v", second.claims["nonce"])
			}
			now := float64(w.clock.Now().Unix())
			if second.claims["iat"] != now || second.claims["exp"] != now+idTTL.Seconds() || second.claims["at_hash"] != keys.LeftHalf("RS256", second.access) {
				t.Errorf("OIDC Core §12.2: %v", second.claims)
			}
			if second.json["scope"] != "openid email offline_access" {
				t.Errorf("scope %v", second.json["scope"])
			}
			if got := w.userinfo(second.access); got.status != 200 || got.json["sub"] != first.claims["sub"] {
				t.Errorf("userinfo: %s", got)
			}
		})
	}
}

// OIDC Core §11: no offline_access, no refresh token.
func TestNoRefreshToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	if g := b.tokens("web"); g.refresh != "" {
		t.Error("a refresh token that nobody asked for")
	}
	g := b.tokens("once", "scope", "openid offline_access")
	if g.refresh != "" || g.json["scope"] != "openid" {
		t.Errorf("a client that may not refresh: %v", g.json["scope"])
	}
}

func TestRefreshIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	for _, tt := range []struct {
		name    string
		refresh func(token string) answer
		error   string
		dead    bool // the token is worth nothing afterwards
	}{
		{"RFC 6749 §6: another client's", func(token string) answer { return w.refresh("other", token) }, "invalid_grant", false},
		{"RFC 6749 §6: another client's, public", func(token string) answer { return w.refresh("cli", token) }, "invalid_grant", false},
		{"RFC 6749 §6: another client's, whatever the scope", func(token string) answer { return w.refresh("other", token, "scope", "groups") }, "invalid_grant", false},
		{"RFC 6749 §5.2: missing", func(string) answer { return w.refresh("web", "", "refresh_token", omit) }, "invalid_request", false},
		{"RFC 6749 §3.1: empty", func(string) answer { return w.refresh("web", "") }, "invalid_request", false},
		{"garbage", func(string) answer { return w.refresh("web", "garbage") }, "invalid_grant", false},
		{"tampered", func(token string) answer {
			bad := []byte(token)
			bad[20] ^= 1
			return w.refresh("web", string(bad))
		}, "invalid_grant", false},
		{"cut short", func(token string) answer { return w.refresh("web", token[:len(token)-1]) }, "invalid_grant", false},
		{"with a line feed", func(token string) answer { return w.refresh("web", token+"\n") }, "invalid_grant", false},
		{"an access token", func(string) answer { return w.refresh("web", b.tokens("web").access) }, "invalid_grant", false},
		{"a code", func(string) answer { return w.refresh("web", b.code("web")) }, "invalid_grant", false},
		{"a generation that was never given", func(token string) answer {
			random, _, _ := w.provider.readRefreshToken(token)
			return w.refresh("web", w.provider.newRefreshToken(random, 7))
		}, "invalid_grant", false},
		{"generation 0", func(token string) answer {
			random, _, _ := w.provider.readRefreshToken(token)
			return w.refresh("web", w.provider.newRefreshToken(random, 0))
		}, "invalid_grant", false},
		{"a grant that nobody has", func(string) answer {
			return w.refresh("web", w.provider.newRefreshToken(keys.Random(refreshRandom), 1))
		}, "invalid_grant", false},
		{"without the client's secret", func(token string) answer {
			return w.send(newRequest("POST", "/token", params("grant_type", "refresh_token", "client_id", "web", "refresh_token", token)))
		}, "invalid_client", false},
		{"RFC 6749 §6: a scope beyond", func(token string) answer { return w.refresh("web", token, "scope", "openid email groups") }, "invalid_scope", false},
		{"RFC 6749 §6: nothing but a scope beyond", func(token string) answer { return w.refresh("web", token, "scope", "profile") }, "invalid_scope", false},
		{"RFC 6749 §6: scopes that nobody knows", func(token string) answer { return w.refresh("web", token, "scope", "tea") }, "invalid_scope", false},
		{"good", func(token string) answer { return w.refresh("web", token) }, "", true},
		{"good, with the scopes that were asked for", func(token string) answer {
			return w.refresh("web", token, "scope", "openid email offline_access tea")
		}, "", true},
	} {
		w.run(tt.name, func(t *testing.T) {
			token := b.offline("web").refresh
			a := tt.refresh(token)
			if tt.error == "" {
				w.granted(a)
			} else if status := (&Error{Code: tt.error}).status(); a.status != status || a.json["error"] != tt.error {
				t.Errorf("%s, want %d %s", a, status, tt.error)
			}
			w.clock.pass(refreshGrace)
			if again := w.refresh("web", token); (again.status != 200) != tt.dead {
				t.Errorf("afterwards the token gives %s", again)
			}
		})
	}
	w.run("a grant without a refresh token", func(t *testing.T) {
		code := b.code("web")
		g := w.granted(w.redeem("web", code))
		plain, err := w.provider.cfg.Secret.Open(codePurpose, code)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(plain), `"x":"`)
		encoded, _, _ := strings.Cut(rest, `"`)
		random, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || keys.Hash(random) != (accessClaims{ID: g.accessClaims["jti"].(string)}).grantID() {
			t.Fatal("not the random part of this code")
		}
		for generation := range 3 {
			w.refresh("web", w.provider.newRefreshToken(random, generation)).is(400, "invalid_grant")
		}
		if !w.active(g.access) {
			t.Error("a forged generation revoked the grant")
		}
	})
}

// RFC 9700 §4.14.2: a refresh token used twice revokes the whole family.
func TestReusedRefreshToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	first := b.offline("cli")
	second := w.granted(w.refresh("cli", first.refresh))
	third := w.granted(w.refresh("cli", second.refresh))
	other := b.offline("cli")

	w.refresh("other", first.refresh).is(400, "invalid_grant") // a stranger's reuse is none
	if !w.active(third.access) {
		t.Fatal("another client revoked the family")
	}
	w.refresh("cli", first.refresh).is(400, "invalid_grant")
	w.refresh("cli", third.refresh).is(400, "invalid_grant")
	for _, g := range []granted{first, second, third} {
		w.userinfo(g.access).is(401, "invalid_token")
		if w.active(g.access) || w.introspect("web", g.refresh).json["active"] != false {
			t.Error("a token of the family is still active")
		}
	}
	w.granted(w.refresh("cli", other.refresh))
}

func TestReuseIsNotHiddenByItsScope(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	first := b.offline("web")
	second := w.granted(w.refresh("web", first.refresh))
	// Asking for too much does not hide the reuse.
	w.clock.pass(refreshGrace)
	w.refresh("web", first.refresh, "scope", "groups").is(400, "invalid_grant")
	w.refresh("web", second.refresh).is(400, "invalid_grant")
}

func TestRefreshByManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	token := b.offline("cli").refresh
	answers := race(racers, func() answer { return w.refresh("cli", token) })
	next := w.granted(answers[0]).refresh
	for _, a := range answers { // as to someone whose answer was lost
		if again := w.granted(a); again.refresh != next {
			t.Errorf("two tokens for one")
		}
	}
	won := w.granted(w.refresh("cli", next))
	for _, a := range race(racers, func() answer { return w.refresh("cli", token) }) {
		a.is(400, "invalid_grant") // a reuse, by now
	}
	w.refresh("cli", won.refresh).is(400, "invalid_grant")
	w.userinfo(won.access).is(401, "invalid_token")
}

// RFC 6749 §6: a narrower scope is for the tokens of this answer, the refresh
// token keeps all of it.
func TestNarrowScopeDoesNotStick(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	first := b.offline("web")
	narrow := w.granted(w.refresh("web", first.refresh, "scope", "openid"))
	if narrow.json["scope"] != "openid" || narrow.claims["email"] != nil || narrow.accessClaims["scope"] != "openid" {
		t.Errorf("scope %v, claims %v", narrow.json["scope"], narrow.claims)
	}
	if info := w.userinfo(narrow.access); info.json["email"] != nil {
		t.Errorf("userinfo of the narrow token has %s", info.body)
	}
	without := w.granted(w.refresh("web", narrow.refresh, "scope", "email"))
	if without.id != "" || without.json["scope"] != "email" {
		t.Errorf("an ID token without openid, scope %v", without.json["scope"])
	}
	w.userinfo(without.access).is(403, "insufficient_scope")
	whole := w.granted(w.refresh("web", without.refresh))
	if whole.json["scope"] != "openid email offline_access" || whole.claims["email"] != "ada@example.com" {
		t.Errorf("scope %v, claims %v", whole.json["scope"], whole.claims)
	}
}

func TestRefreshTokenExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	w.run("idle, to the microsecond", func(t *testing.T) {
		good, late := b.offline("web"), b.offline("web")
		w.clock.pass(refreshIdle - time.Microsecond)
		good = w.granted(w.refresh("web", good.refresh))
		if !w.introspect("web", late.refresh).json["active"].(bool) {
			t.Error("not active a microsecond before its end")
		}
		w.clock.pass(time.Microsecond)
		w.refresh("web", late.refresh).is(400, "invalid_grant")
		if w.introspect("web", late.refresh).json["active"].(bool) {
			t.Error("active at its end")
		}
		w.granted(w.refresh("web", good.refresh))
	})
	w.run("the end, however often it was used", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		g := b.offline("web")
		for range 3 {
			w.clock.pass(refreshTTL/4 - time.Nanosecond)
			g = w.granted(w.refresh("web", g.refresh))
			if _, err := w.engine.Sweep(t.Context(), w.clock.Now(), 1000); err != nil {
				t.Fatal(err)
			}
		}
		w.clock.pass(refreshTTL/4 - time.Second)
		g = w.granted(w.refresh("web", g.refresh))
		w.clock.pass(time.Second + 3*time.Nanosecond)
		w.refresh("web", g.refresh).is(400, "invalid_grant")
		// The last access token lives out its time.
		if a := w.userinfo(g.access); a.status != 200 {
			t.Errorf("userinfo: %s", a)
		}
		w.clock.pass(accessTTL)
		w.userinfo(g.access).is(401, "invalid_token")
	})
	w.run("RefreshIdle longer than RefreshTTL", func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.RefreshIdle = 2 * c.RefreshTTL })
		g := w.signedIn("ada@example.com").offline("web")
		if exp := w.introspect("web", g.refresh).json["exp"]; exp != float64(w.clock.Now().Add(refreshTTL).Unix()) {
			t.Errorf("introspection: exp %v", exp)
		}
		w.clock.pass(refreshTTL)
		w.refresh("web", g.refresh).is(400, "invalid_grant")
	})
}

// OIDC Core §11: an offline grant outlives its session, not its user.
func TestOfflineGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	g := b.offline("web")
	online := b.tokens("web")
	b.endSession()
	w.userinfo(online.access).is(401, "invalid_token")
	if w.active(online.access) {
		t.Error("an online token outlives its session")
	}
	again := w.granted(w.refresh("web", g.refresh))
	if again.claims["sid"] != g.claims["sid"] || again.claims["auth_time"] != g.claims["auth_time"] {
		t.Errorf("%v, then %v", g.claims, again.claims)
	}
	if a := w.userinfo(again.access); a.status != 200 {
		t.Errorf("userinfo: %s", a)
	}
	login := w.signedIn("ada@example.com").login()
	if err := w.engine.DisableUser(t.Context(), login.User.ID, w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	w.refresh("web", again.refresh).is(400, "invalid_grant")
	w.userinfo(again.access).is(401, "invalid_token")
	if w.active(again.access) || w.active(again.refresh) {
		t.Error("tokens of somebody who is disabled are active")
	}
}

func TestRefreshAsksTheAccessRulesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	id := b.login().User.ID
	w.describe(id, "", "", "staff")
	g := b.offline("members")
	w.describe(id, "", "", "interns")
	w.refresh("members", g.refresh).is(400, "invalid_grant")

	other := w.signedIn("bob@example.com").offline("web")
	w.provider.cfg.Deny = []string{"bob@example.com"}
	w.refresh("web", other.refresh).is(400, "invalid_grant")
}

// What a claim says is read anew.
func TestRefreshTellsNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	g := b.tokens("web", "scope", "openid profile groups offline_access")
	w.describe(b.login().User.ID, "Ada King", "de", "ops")
	again := w.granted(w.refresh("web", g.refresh))
	if again.claims["name"] != "Ada King" || again.claims["locale"] != "de" || len(again.claims["groups"].([]any)) != 1 {
		t.Errorf("%v", again.claims)
	}
}

func TestLostAnswerOfRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	g := b.offline("web")
	w.store.failBefore("Refresh", errBroken)
	w.refresh("web", g.refresh).is(503, "temporarily_unavailable")
	w.store.heal()
	g = w.granted(w.refresh("web", g.refresh))
	w.store.failBefore("Grant", errBroken)
	w.refresh("web", g.refresh, "scope", "openid").is(503, "temporarily_unavailable")
	w.store.heal()
	g = w.granted(w.refresh("web", g.refresh, "scope", "openid"))
	w.store.failAfter("Refresh", errBroken)
	w.refresh("web", g.refresh).is(503, "temporarily_unavailable")
	w.store.heal()
	// The answer was lost: for a short while it is given once more.
	first := w.granted(w.refresh("web", g.refresh))
	second := w.granted(w.refresh("web", g.refresh))
	if first.refresh != second.refresh || first.access == second.access {
		t.Error("two refresh tokens for one")
	}
	w.refresh("web", g.refresh, "scope", "groups").is(400, "invalid_scope")
	w.granted(w.refresh("web", second.refresh))
	w.refresh("web", g.refresh).is(400, "invalid_grant") // the next use ends the grace
	if w.active(second.access) {
		t.Error("and a reuse, the grant")
	}
	w.run("the grace ends", func(t *testing.T) {
		g := b.offline("web")
		w.refresh("web", g.refresh)
		w.clock.pass(refreshGrace - time.Microsecond)
		second := w.granted(w.refresh("web", g.refresh))
		w.clock.pass(time.Microsecond)
		w.refresh("web", g.refresh).is(400, "invalid_grant")
		w.refresh("web", second.refresh).is(400, "invalid_grant")
	})
	w.run("of many at once all get the same token", func(t *testing.T) {
		g := b.offline("web")
		want := w.granted(w.refresh("web", g.refresh)).refresh
		for range 8 {
			if again := w.granted(w.refresh("web", g.refresh)); again.refresh != want {
				t.Error("another token")
			}
		}
	})
}

// Only what newRefreshToken made is read, and as it was made.
func FuzzReadRefreshToken(f *testing.F) {
	w := newWorld(f)
	random := keys.Random(refreshRandom)
	good := w.provider.newRefreshToken(random, 1)
	f.Add(good, 1)
	f.Add(good[1:], 2)
	f.Add(good+"\n", 0)
	f.Add(good+"=", 1<<31-1)
	f.Add(strings.ToLower(good), -1)
	f.Add("", 1<<32-1)
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, refreshSize)), 3)
	f.Fuzz(func(t *testing.T, token string, generation int) {
		w.TB = t
		if _, _, ok := w.provider.readRefreshToken(token); ok && token != good {
			t.Errorf("%q was taken", token)
		}
		if generation < 0 || generation > 1<<32-1 {
			return
		}
		made := w.provider.newRefreshToken(random, generation)
		got, n, ok := w.provider.readRefreshToken(made)
		if !ok || n != generation || !slices.Equal(got, random) {
			t.Errorf("generation %d came back as %d, %v", generation, n, ok)
		}
		b := unbase64(w, made)
		if binary.BigEndian.Uint32(b[refreshRandom:]) != uint32(generation) || len(b) != refreshSize {
			t.Errorf("a token of %d bytes", len(b))
		}
	})
}
