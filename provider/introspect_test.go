package provider

import (
	"slices"
	"testing"
	"time"
)

// RFC 7662 §2.2: what is said of a token, field by field.
func TestIntrospection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	w.clock.pass(time.Minute)
	g := b.offline("cli")
	sub, now := g.claims["sub"], float64(w.clock.Now().Unix())

	for _, client := range []string{"web", "other", "poster"} {
		w.run("an access token, asked by "+client, func(t *testing.T) {
			a := w.introspect(client, g.access)
			for name, want := range map[string]any{
				"active": true, "scope": "openid email offline_access", "client_id": "cli", "token_type": "Bearer", "exp": now + accessTTL.Seconds(), "iat": now,
				"sub": sub, "aud": issuer, "iss": issuer, "jti": g.accessClaims["jti"], "auth_time": now - 60, "acr": acrMail,
			} {
				if a.json[name] != want {
					t.Errorf("%s: %v, want %v", name, a.json[name], want)
				}
			}
			if len(a.json) != 13 || a.header.Get("Content-Type") != "application/json" || len(a.writes) > 0 {
				t.Errorf("%s: %v", a, names(a.json))
			}
		})
		w.run("another client's refresh token, asked by "+client, func(t *testing.T) {
			if a := w.introspect(client, g.refresh); a.body != "{\"active\":false}\n" {
				t.Errorf("%s: %s", a, a.body)
			}
		})
	}
	w.run("its own refresh token", func(t *testing.T) {
		own := b.offline("web")
		a := w.introspect("web", own.refresh)
		for name, want := range map[string]any{
			"active": true, "scope": "openid email offline_access", "client_id": "web", "sub": sub, "iss": issuer,
			"exp": float64(w.clock.Now().Add(refreshIdle).Unix()), "iat": now, "auth_time": now - 60,
		} {
			if a.json[name] != want {
				t.Errorf("%s: %v, want %v", name, a.json[name], want)
			}
		}
		if len(a.json) != 8 {
			t.Errorf("%v", names(a.json))
		}
		next := w.granted(w.refresh("web", own.refresh))
		if !w.active(next.refresh) {
			t.Error("the next one is not active")
		}
		if w.active(own.refresh) {
			t.Error("one that was used is active")
		}
		if !w.active(next.refresh) {
			t.Error("asking is no use of it")
		}
	})
	w.run("RFC 7662 §2.1: the hint is a hint", func(t *testing.T) {
		for _, hint := range []string{"access_token", "refresh_token", "nonsense", ""} {
			if a := w.api("/introspect", "web", "token", g.access, "token_type_hint", hint); a.json["active"] != true {
				t.Errorf("%q: %s", hint, a.body)
			}
		}
	})
	w.run("what is no token", func(t *testing.T) {
		for name, token := range map[string]string{"garbage": "garbage", "an ID token": g.id, "a code": b.code("web"), "a handle": w.browser().handle("web")} {
			if w.active(token) {
				t.Errorf("%s is active", name)
			}
		}
	})
	w.run("RFC 6749 §5.2: token missing", func(t *testing.T) {
		w.api("/introspect", "web").is(400, "invalid_request")
		w.api("/introspect", "web", "token", "").is(400, "invalid_request")
	})
	w.run("RFC 7662 §2.1: a public client may not", func(t *testing.T) {
		for _, client := range []string{"cli", "spa"} {
			w.introspect(client, g.access).is(401, "invalid_client")
		}
	})
	w.run("narrowed", func(t *testing.T) {
		own := b.offline("web")
		narrow := w.granted(w.refresh("web", own.refresh, "scope", "openid"))
		if a := w.introspect("web", narrow.access); a.json["scope"] != "openid" {
			t.Errorf("scope %v", a.json["scope"])
		}
	})
}

// RFC 7009 §2: whichever token it is, the whole grant goes.
func TestRevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	for _, tt := range []struct {
		name, client string
		which        func(first, second granted) string
		hint         string
	}{
		{"a refresh token", "web", func(_, g granted) string { return g.refresh }, omit},
		{"a refresh token, with its hint", "web", func(_, g granted) string { return g.refresh }, "refresh_token"},
		{"RFC 7009 §2.1: a refresh token, with the wrong hint", "web", func(_, g granted) string { return g.refresh }, "access_token"},
		{"an access token", "web", func(_, g granted) string { return g.access }, omit},
		{"RFC 7009 §2.1: an access token, with the wrong hint", "web", func(_, g granted) string { return g.access }, "refresh_token"},
		{"RFC 7009 §2.2.1: a hint that nobody knows", "web", func(_, g granted) string { return g.access }, "nonsense"},
		{"an older access token", "web", func(g, _ granted) string { return g.access }, omit},
		{"a refresh token that was used", "web", func(g, _ granted) string { return g.refresh }, omit},
		{"by client_secret_post", "poster", func(_, g granted) string { return g.refresh }, omit},
		{"by a public client", "cli", func(_, g granted) string { return g.refresh }, omit},
		{"an access token, by a public client", "spa", func(_, g granted) string { return g.access }, omit},
	} {
		w.run(tt.name, func(t *testing.T) {
			first := b.offline(tt.client)
			second := w.granted(w.refresh(tt.client, first.refresh))
			other := b.offline(tt.client)
			a := w.api("/revoke", tt.client, "token", tt.which(first, second), "token_type_hint", tt.hint)
			if a.status != 200 || a.body != "" || !slices.Equal(a.writes, []string{"RevokeGrant"}) {
				t.Errorf("RFC 7009 §2.2: %s %q, wrote %v", a, a.body, a.writes)
			}
			w.refresh(tt.client, second.refresh).is(400, "invalid_grant")
			for _, token := range []string{first.access, second.access} {
				w.userinfo(token).refusesToken()
				if w.active(token) {
					t.Error("a token is still active")
				}
			}
			if a := w.api("/revoke", tt.client, "token", tt.which(first, second)); a.status != 200 {
				t.Errorf("once more: %s", a)
			}
			w.granted(w.refresh(tt.client, other.refresh))
		})
	}
	w.run("RFC 7009 §2.2: a token that means nothing", func(t *testing.T) {
		g := b.tokens("web")
		tokens := w.forgeries(g.access)
		tokens["an ID token"], tokens["a code"] = g.id, b.code("web")
		tokens["a refresh token of no grant"] = w.provider.newRefreshToken(make([]byte, refreshRandom), 1)
		for name, token := range tokens {
			a := w.api("/revoke", "web", "token", token)
			if a.status != 200 || a.body != "" || len(a.writes) > 0 {
				t.Errorf("%s: %s %q, wrote %v", name, a, a.body, a.writes)
			}
		}
		if !w.active(g.access) {
			t.Error("a forgery revoked the token it was made from")
		}
	})
	w.run("RFC 7009 §2.1: another client's", func(t *testing.T) {
		g := b.offline("web")
		for _, client := range []string{"other", "cli"} {
			for _, token := range []string{g.access, g.refresh} {
				a := w.api("/revoke", client, "token", token)
				a.is(400, "invalid_grant")
				if len(a.writes) > 0 {
					t.Errorf("wrote %v", a.writes)
				}
			}
		}
		if !w.active(g.access) || !w.active(g.refresh) {
			t.Error("another client revoked it")
		}
	})
	w.run("an access token that has expired", func(t *testing.T) {
		g := b.offline("web")
		w.clock.pass(accessTTL)
		if a := w.api("/revoke", "web", "token", g.access); a.status != 200 {
			t.Errorf("%s", a)
		}
		w.refresh("web", g.refresh).is(400, "invalid_grant")
	})
	w.run("RFC 6749 §5.2: token missing", func(t *testing.T) {
		w.api("/revoke", "web").is(400, "invalid_request")
		w.api("/revoke", "web", "token", "").is(400, "invalid_request")
	})
	w.run("a session is not ended by it", func(t *testing.T) {
		w.api("/revoke", "web", "token", b.tokens("web").access)
		b.authorize("web", "prompt", "none").code()
	})
}
