package provider

import (
	"context"
	"slices"
	"testing"
)

// RFC 6749 §4.4: a client for itself.
func TestClientCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := func(clientID string, pairs ...string) answer {
		return w.api("/token", clientID, append([]string{"grant_type", "client_credentials"}, pairs...)...)
	}
	a := ask("machine")
	g := w.granted(a)
	if g.refresh != "" || g.id != "" || a.json["scope"] != "api:read api:write" || g.accessClaims["sub"] != "machine" || g.accessClaims["client_id"] != "machine" || g.accessClaims["auth_time"] != nil {
		t.Errorf("tokens %v, claims %v", a.json, g.accessClaims)
	}
	if len(a.writes)+len(a.reads) > 0 {
		t.Errorf("it took the database: %v %v", a.reads, a.writes)
	}
	w.run("RFC 7662: it is active", func(t *testing.T) {
		if a := w.introspect("web", g.access); a.json["active"] != true || a.json["sub"] != "machine" || a.json["scope"] != "api:read api:write" {
			t.Errorf("introspection %v", a.json)
		}
	})
	w.run("userinfo is about people", func(t *testing.T) { w.userinfo(g.access).is(403, "insufficient_scope") })
	w.run("a scope of those registered", func(t *testing.T) {
		if a := ask("machine", "scope", "api:write"); a.json["scope"] != "api:write" {
			t.Errorf("%v", a.json)
		}
		ask("machine", "scope", "api:write api:admin").is(400, "invalid_scope")
		ask("machine", "scope", "openid").is(400, "invalid_scope")
	})
	w.run("RFC 8707: for a resource", func(t *testing.T) {
		if g := w.granted(ask("machine", "resource", "https://api.example.com/")); g.audienceClaim() != `"https://api.example.com/"` {
			t.Errorf("aud %s", g.audienceClaim())
		}
	})
	w.run("a client that did not register it", func(t *testing.T) { ask("web").is(400, "unauthorized_client") })
	w.run("RFC 7009: it can be taken back", func(t *testing.T) {
		w.api("/revoke", "web", "token", g.access).is(400, "invalid_grant")
		for range 2 {
			if a := w.api("/revoke", "machine", "token", g.access); a.status != 200 {
				t.Errorf("%s", a)
			}
		}
		if w.active(g.access) {
			t.Error("it lives")
		}
		if !w.active(w.granted(ask("machine")).access) {
			t.Error("others died with it")
		}
	})
	w.run("it ends with its time, and with its client", func(t *testing.T) {
		c := w.storedClient()
		c.GrantTypes = []string{"client_credentials"}
		if err := w.engine.SaveClient(context.Background(), c, c); err != nil {
			t.Fatal(err)
		}
		w.clock.pass(clientCacheTTL)
		r := newRequest("POST", "/token", params("grant_type", "client_credentials", "client_id", "stored", "client_secret", secretOf("stored")))
		g := w.granted(w.send(r))
		if !w.active(g.access) {
			t.Error("it is not active")
		}
		if err := w.engine.RemoveClient(context.Background(), "stored", w.clock.Now()); err != nil {
			t.Fatal(err)
		}
		w.clock.pass(clientCacheTTL)
		if w.active(g.access) {
			t.Error("it outlives its client")
		}
		g = w.granted(ask("machine"))
		w.clock.pass(accessTTL)
		if w.active(g.access) {
			t.Error("it outlives its time")
		}
	})
}

// RFC 6749 §4.4: public clients have nothing to prove.
func TestNoClientCredentialsForPublicClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) {
		i := slices.IndexFunc(c.Clients, func(c2 storageClient) bool { return c2.ID == "spa" })
		c.Clients[i].GrantTypes = []string{"authorization_code", "client_credentials"}
	})
	w.api("/token", "spa", "grant_type", "client_credentials").is(400, "unauthorized_client")
}
