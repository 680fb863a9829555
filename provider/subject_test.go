package provider

import (
	"testing"

	"github.com/sealpost/sealpost/storage"
)

type storageClient = storage.Client

// OIDC Core §8.1: pairwise subjects differ by sector, and stay.
func TestPairwiseSubject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	public := b.tokens("web")
	pair, sameSector := b.tokens("pair", "scope", "openid offline_access"), b.tokens("pairtoo")
	other := w.signedIn("bob@example.com").tokens("pair")
	switch {
	case public.claims["sub"] != b.login().User.ID:
		t.Error("the public sub is another")
	case pair.claims["sub"] == public.claims["sub"] || pair.claims["sub"] == other.claims["sub"]:
		t.Error("it is not pairwise")
	case pair.claims["sub"] != sameSector.claims["sub"]:
		t.Error("it differs within a sector")
	case pair.accessClaims["sub"] != pair.claims["sub"]:
		t.Error("the access token tells another")
	}
	w.run("OIDC Core §5.3.2: userinfo says the same", func(t *testing.T) {
		if a := w.userinfo(pair.access); a.json["sub"] != pair.claims["sub"] {
			t.Errorf("userinfo %v", a.json)
		}
	})
	w.run("RFC 7662: so does introspection", func(t *testing.T) {
		for _, token := range []string{pair.access, pair.refresh} {
			if a := w.introspect("pair", token); a.json["sub"] != pair.claims["sub"] {
				t.Errorf("introspection %v", a.json)
			}
		}
	})
	w.run("OIDC Core §3.1.2.1: it is known again as a hint", func(t *testing.T) {
		b.authorize("pair", "prompt", "none", "id_token_hint", pair.id).code()
		b.authorize("pair", "prompt", "none", "id_token_hint", other.id).isError("login_required")
		b.authorize("web", "prompt", "none", "id_token_hint", pair.id).isError("invalid_request")
	})
	w.run("RP-Initiated Logout §2: and at logout", func(t *testing.T) {
		if a := b.get("/logout", "id_token_hint", pair.id); a.page != "logged-out" {
			t.Errorf("%s", a)
		}
	})
}
