package provider

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/storage"
)

// changed gives the clients of the settings with one of them changed.
func changed(id string, change func(*storage.Client)) func(*Config) {
	return func(c *Config) {
		for i := range c.Clients {
			if c.Clients[i].ID == id {
				change(&c.Clients[i])
			}
		}
	}
}

// OIDC Core §5.5, RFC 7591 §2: what a client registered bounds what it asks for,
// in whichever way.
func TestClaimsAskForNoMoreThanTheRegisteredScope(t *testing.T) {
	t.Parallel()
	w := newWorld(t, changed("thin", func(c *storage.Client) { c.Scope = "openid groups" }))
	b := w.signedIn("ada@example.com")
	g := b.tokens("thin", "scope", "openid email", "claims", `{"userinfo":{"email":null,"groups":null},"id_token":{"email":null,"name":null,"groups":null}}`)
	info := w.userinfo(g.access)
	if info.json["email"] != nil || g.claims["email"] != nil || g.claims["name"] != nil || g.json["scope"] != "openid" {
		t.Errorf("userinfo %v, ID token %v", info.json, g.claims)
	}
	if info.json["groups"] == nil || g.claims["groups"] == nil {
		t.Error("what is registered is missing")
	}
}

// OIDC Core §8.1: a sector is joined by those whose answers go there, and by
// nobody else.
func TestNobodyJoinsASectorThatDoesNotKnowHim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pair := w.client("pair")
	user := storage.User{ID: "ada"}
	theirs := w.provider.subject(pair, user)
	for name, change := range map[string]func(c *storage.Client){
		"tokens that come another way": func(c *storage.Client) { c.GrantTypes = append(c.GrantTypes, deviceGrant) },
		"a scheme of its own":          func(c *storage.Client) { c.RedirectURIs = []string{"com.evil.app://pair.example.com/cb"} },
		"a second way, of its own scheme": func(c *storage.Client) {
			c.RedirectURIs = []string{"https://pair.example.com/any", "com.evil.app://pair.example.com/cb"}
		},
		"plain http":                        func(c *storage.Client) { c.RedirectURIs = []string{"http://pair.example.com/cb"} },
		"a sector that lists none of its":   func(c *storage.Client) { c.RedirectURIs, c.SectorIdentifierURI = nil, "https://pair.example.com/s" },
		"another host that has the same in": func(c *storage.Client) { c.RedirectURIs = []string{"https://pair.example.com.evil.example/cb"} },
	} {
		c := pair
		c.ID, c.RedirectURIs, c.GrantTypes = "evil", slices.Clone(pair.RedirectURIs), slices.Clone(pair.GrantTypes)
		if change(&c); w.provider.subject(c, user) == theirs {
			t.Errorf("%s: the subject is that of the sector", name)
		}
	}
}

// OIDC Core §8.1: pairwise clients of two sectors have nothing to compare, the
// session's name included; and it still ends the session.
func TestPairwiseClientsShareNoSID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, changed("other", func(c *storage.Client) { c.SubjectType = "pairwise" }))
	b := w.signedIn("ada@example.com")
	one, two, public := b.tokens("pair"), b.tokens("other"), b.tokens("web")
	sids := []any{one.claims["sid"], two.claims["sid"], public.claims["sid"]}
	if sids[0] == sids[1] || sids[0] == sids[2] || sids[1] == sids[2] || b.tokens("pair").claims["sid"] != sids[0] {
		t.Errorf("sids %v", sids)
	}
	b.get("/logout", "id_token_hint", two.id).isPage(200, "logged-out", "")
}

// RFC 7662 §4: a client that registered itself is no resource server of ours.
func TestIntrospectionIsNotForStrangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, changed("poster", func(c *storage.Client) { c.RegistrationTokenSHA256 = hexSHA256("x") }))
	b := w.signedIn("ada@example.com")
	if a := w.introspect("poster", b.tokens("web").access); a.json["active"] != false || len(a.json) != 1 {
		t.Errorf("it is told %v", a.json)
	}
	if a := w.introspect("poster", b.tokens("poster").access); a.json["active"] != true {
		t.Errorf("of its own it is told %v", a.json)
	}
	if a := w.introspect("other", b.tokens("poster").access); a.json["active"] != true {
		t.Errorf("a resource server is told %v", a.json)
	}
}

// FAPI 2.0 §5.3.2.1: a minute at most, whatever the settings say.
func TestFAPICodesLiveAMinuteAtMost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.CodeTTL = 10 * time.Minute })
	b := w.signedIn("ada@example.com")
	f := b.fapi("fapi")
	code, other := f.code(), b.code("web")
	w.clock.pass(time.Minute)
	f.redeem(code).is(400, "invalid_grant")
	w.granted(w.redeem("web", other))
}

// RFC 9126 §4: as long as any page that was opened with a request_uri can go on,
// one sign-in has been answered, and no other is.
func TestPushedRequestIsAnsweredOnceAsLongAsAnyPageLives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.browser(), w.browser()
	uri := w.pushed("web")
	first := a.get("/authorize", "client_id", "web", "request_uri", uri).handle()
	w.clock.pass(parTTL - time.Second)
	second := b.get("/authorize", "client_id", "web", "request_uri", uri).handle()
	a.signIn("ada@example.com")
	a.resume(first).code()
	w.clock.pass(requestTTL - time.Second)
	b.signIn("bob@example.com")
	b.resume(second).isPage(400, "error", "invalid_request_uri")
}

// RFC 9449 §11.1: a proof is remembered as long as it is fresh, to the moment.
func TestProofIsSpentAsLongAsItIsFresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	s := signerOf("key", jose.ES256)
	g := w.granted(w.send(w.bound(newRequest("POST", "/token", params(w.exchange("spa", b.code("spa"), "client_id", "spa")...)), s, "")))
	w.clock.pass(time.Duration(1e9 - w.clock.Now().Nanosecond())) // a whole second
	proof := w.proofOf(s, w.proofClaims("GET", "/userinfo", g.access).with("iat", w.clock.Now().Add(dpopWindow).Unix()))
	ask := func() answer {
		r := newRequest("GET", "/userinfo", nil)
		r.Header.Set("Authorization", "DPoP "+g.access)
		r.Header.Set("DPoP", proof)
		return w.send(r)
	}
	ask().is(200, "")
	w.clock.pass(2 * dpopWindow)
	ask().is(401, "invalid_dpop_proof")
}

// OIDC Core §5.5.1: who is signed in is told to nobody whom they have allowed
// nothing.
func TestSubjectIsNotToldBeforeConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	for _, sub := range []string{b.login().User.ID, "somebody-else"} {
		b.authorize("ask", "prompt", "none", "claims", `{"id_token":{"sub":{"value":"`+sub+`"}}}`).isError("consent_required")
	}
}

// RFC 7009 §2.1: a public client proves nothing; an old token of it that somebody
// finds ends nothing.
func TestExpiredTokensOfPublicClientsRevokeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	g := b.offline("spa")
	w.clock.pass(accessTTL)
	if a := w.api("/revoke", "spa", "token", g.access); a.status != http.StatusOK {
		t.Errorf("%s", a)
	}
	w.granted(w.refresh("spa", g.refresh))
}

// What anybody can make up costs no write.
func TestGarbageCostsNoCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, form := range []url.Values{
		params("grant_type", "authorization_code", "code", "x", "redirect_uri", "x", "client_id", "spa"),
		params("grant_type", "refresh_token", "refresh_token", "x", "client_id", "spa"),
	} {
		a := w.send(w.bound(newRequest("POST", "/token", form), signerOf("key", jose.ES256), ""))
		if a.is(400, "invalid_grant"); len(a.writes)+len(a.reads) > 0 {
			t.Errorf("%v: %v %v", form, a.reads, a.writes)
		}
	}
}

// RFC 6749 §6: what a client is registered for now bounds a refresh.
func TestRefreshGivesNoMoreThanIsRegisteredNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	g := b.tokens("web", "scope", "openid email offline_access")
	c := w.client("web")
	c.Scope = "openid offline_access"
	w.provider.clients.fixed["web"] = c
	if second := w.granted(w.refresh("web", g.refresh)); second.json["scope"] != "openid offline_access" || second.claims["email"] != nil {
		t.Errorf("%v", second.json)
	}
}

// RFC 9449 §5: without the key a refresh token tells nothing.
func TestScopeProbeNeedsTheKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	s := signerOf("key", jose.ES256)
	g := w.granted(w.send(w.bound(newRequest("POST", "/token", params(w.exchange("spa", b.code("spa", "scope", "openid offline_access"), "client_id", "spa")...)), s, "")))
	w.refresh("spa", g.refresh, "scope", "groups").is(400, "invalid_grant")
}

// RFC 8707 §2.2: one resource named often is one.
func TestNamedTwiceIsOneAudience(t *testing.T) {
	t.Parallel()
	granted := []string{"https://a.example/", "https://b.example/"}
	got, err := narrowed(granted, slices.Repeat([]string{"https://b.example/"}, 1000))
	if err != nil || !slices.Equal(got, []string{"https://b.example/"}) {
		t.Errorf("%d, %v", len(got), err)
	}
}

// The secret alone makes no token that lives longer than the settings let one.
func TestNoTokenOutlivesTheSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := w.clock.Now().Unix()
	made := func(lives int64) string {
		plain := `{"iss":"` + issuer + `","sub":"machine","aud":"` + issuer + `","client_id":"machine","jti":"x","iat":` + strconv.FormatInt(now, 10) + `,"exp":` + strconv.FormatInt(now+lives, 10) + `}`
		return w.provider.cfg.Secret.Seal(opaquePurpose, []byte(plain))
	}
	if !w.active(made(int64(accessTTL/time.Second))) || w.active(made(int64(accessTTL/time.Second)+1)) {
		t.Error("it is taken for as long as it says")
	}
}

// stranger is a client that has registered itself and says that it is a bank.
func (w *world) stranger(change func(c *storage.Client)) storage.Client {
	w.Helper()
	now := w.clock.Now()
	c := storage.Client{
		ID: "stranger", Name: "Bank", SecretSHA256: hexSHA256(secretOf("stranger")), RegistrationTokenSHA256: hexSHA256("registration"), Consent: "ask",
		RedirectURIs: []string{"https://bank.example/cb", "https://evil.example/cb"}, LogoURI: "https://bank.example/logo.png", ClientURI: "https://bank.example/",
		InitiateLoginURI: "https://bank.example/start", CreatedAt: now, UpdatedAt: now,
	}
	if change != nil {
		change(&c)
	}
	if err := w.engine.AddClient(context.Background(), c.WithDefaults()); err != nil {
		w.Fatal(err)
	}
	return c
}

// OIDC Registration §9.1: what a client says of itself is worth nothing; where the
// answer goes is what a person is told.
func TestStrangerIsNamedByWhereTheAnswerGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.stranger(nil)
	b := w.signedIn("ada@example.com")
	evil := b.get("/authorize", "client_id", c.ID, "response_type", "code", "redirect_uri", "https://evil.example/cb", "scope", "openid", "state", "s")
	evil.isPage(200, "consent", "")
	if !strings.Contains(evil.body, "evil.example (Bank)") || strings.Contains(evil.body, "bank.example") {
		t.Errorf("the page tells of somewhere else: %s", evil.body)
	}
	bank := b.get("/authorize", "client_id", c.ID, "response_type", "code", "redirect_uri", "https://bank.example/cb", "scope", "openid", "state", "s")
	if !strings.Contains(bank.body, "bank.example (Bank)") || strings.Contains(bank.body, "evil.example") {
		t.Errorf("the page tells of somewhere else: %s", bank.body)
	}
	for uri, want := range map[string]string{"https://evil.example/cb": "https://evil.example/", "https://bank.example/cb": "https://bank.example/"} {
		if got := w.provider.home(c, uri); got != want {
			t.Errorf("home of %s is %q, want %q", uri, got, want)
		}
	}
	if got, err := w.provider.Describe(t.Context(), c.ID); err != nil || got.Name != "stranger (Bank)" || got.LogoURI != "" {
		t.Errorf("the account page says %+v, %v", got, err)
	}
	if to, err := w.provider.Restart(t.Context(), c.ID); err != nil || to != "" {
		t.Errorf("it starts at %q, %v", to, err)
	}
}

// What was allowed was allowed for one place, and a client may register another
// (RFC 7592 §2.2).
func TestStrangerThatMovesAsksAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.stranger(func(c *storage.Client) { c.RedirectURIs = c.RedirectURIs[:1] })
	b := w.signedIn("ada@example.com")
	ask := func(uri, prompt string) answer {
		return b.get("/authorize", "client_id", c.ID, "response_type", "code", "redirect_uri", uri, "scope", "openid", "state", "s", "prompt", prompt)
	}
	b.submit(ask("https://bank.example/cb", ""), "consent-allow").code()
	ask("https://bank.example/cb", "none").code()
	moved := c
	moved.RedirectURIs = []string{"https://evil.example/cb"}
	if err := w.engine.SaveClient(t.Context(), moved.WithDefaults(), c); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(clientCacheTTL)
	ask("https://evil.example/cb", "none").isError("consent_required")
	b.submit(ask("https://evil.example/cb", ""), "consent-allow").code()
	ask("https://evil.example/cb", "none").code()
	apps, err := w.engine.Apps(t.Context(), b.login().User.ID, w.clock.Now())
	if err != nil || len(apps) != 1 || !slices.Contains(apps[0].Scopes, storage.AllowedAt+"https://evil.example") {
		t.Errorf("apps %+v, %v", apps, err)
	}
}

// RFC 8628 §5.4: a device's tokens go to whoever polls, and no address vouches.
func TestStrangerWithADevice(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	w.stranger(func(c *storage.Client) { c.GrantTypes = []string{"authorization_code", deviceGrant} })
	r := newRequest("POST", "/device_authorization", params("client_id", "stranger", "scope", "openid profile"))
	r.SetBasicAuth("stranger", url.QueryEscape(secretOf("stranger")))
	a := w.send(r)
	code, ok := a.json["user_code"].(string)
	if !ok {
		t.Fatalf("no code: %s %s", a, a.body)
	}
	page := w.signedIn("ada@example.com").types(code)
	page.isPage(200, "device", "")
	if !strings.Contains(page.body, "stranger (Bank)") || strings.Contains(page.body, "bank.example") {
		t.Errorf("the page believes it: %s", page.body)
	}
	if !strings.Contains(page.body, `data-scope="email"`) {
		t.Error("it does not say that a profile holds the address")
	}
}

// RFC 8252 §8.6, RFC 6749 §10.2: any app on the device may say that it is this
// client.
func TestNativeClientAsksEachTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, changed("cli", func(c *storage.Client) { c.Consent, c.RegistrationTokenSHA256 = "ask", hexSHA256("registration") }))
	b := w.signedIn("ada@example.com")
	for _, uri := range []string{"http://127.0.0.1:1111/cb", "http://127.0.0.1:1111/cb", "http://127.0.0.1:2222/cb", "com.example.cli:/cb"} {
		b.authorize("cli", "redirect_uri", uri, "prompt", "none").isError("consent_required")
		w.granted(w.redeem("cli", b.submit(b.authorize("cli", "redirect_uri", uri), "consent-allow").code(), "redirect_uri", uri))
	}
	given, err := w.engine.Consent(t.Context(), b.login().User.ID, "cli")
	if err != nil || !slices.Equal(given.Scopes, []string{"at: this device", "email", "openid"}) {
		t.Errorf("what was allowed grows: %q, %v", given.Scopes, err)
	}
}

// A host that is cut would deceive.
func TestStrangerWithALongHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open)
	host := strings.Repeat("accounts.bank.example.", 3) + "evil.example"
	w.registration("POST", "/register", "", metadataOf("redirect_uris", []string{"https://" + host + "/cb"})).is(400, "invalid_redirect_uri")
}

// OIDC Core §5.5: claims end with the scopes that they stand for.
func TestClaimsEndWithWhatAClientMayAsk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.storedClient()
	b := w.signedIn("ada@example.com")
	seen := c
	a := b.get("/authorize", "client_id", c.ID, "response_type", "code", "redirect_uri", c.RedirectURIs[0], "scope", "openid offline_access", "state", "s",
		"claims", `{"userinfo":{"email":null},"id_token":{"email":null}}`)
	call := func(pairs ...string) granted {
		r := newRequest("POST", "/token", params(pairs...))
		r.SetBasicAuth("stored", url.QueryEscape(secretOf("stored")))
		return w.granted(w.send(r))
	}
	g := call("grant_type", "authorization_code", "code", a.code(), "redirect_uri", c.RedirectURIs[0])
	if g.claims["email"] != "ada@example.com" || w.userinfo(g.access).json["email"] != "ada@example.com" {
		t.Fatalf("claims %v", g.claims)
	}
	c.Scope = "openid offline_access"
	if err := w.engine.SaveClient(t.Context(), c, seen); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(clientCacheTTL)
	if got := w.userinfo(g.access).json["email"]; got != nil {
		t.Errorf("userinfo tells %v", got)
	}
	if g = call("grant_type", "refresh_token", "refresh_token", g.refresh); g.claims["email"] != nil {
		t.Errorf("the ID token tells %v", g.claims["email"])
	}
}

// What is fetched for clients that made themselves takes no slots of the others.
func TestStrangersHaveFetchesOfTheirOwn(t *testing.T) {
	t.Parallel()
	p := newWorld(t).provider
	for _, c := range []storage.Client{{ID: "registered", RegistrationTokenSHA256: "00ff"}, {ID: "https://app.example.com/client.json"}} {
		if p.fetcherFor(c) != p.strangers || p.clientKeys.fetcherFor(c) != p.strangers {
			t.Errorf("%s is fetched for as a known client", c.ID)
		}
	}
	if c := (storage.Client{ID: "web"}); p.fetcherFor(c) != p.fetcher || p.strangers == p.fetcher {
		t.Error("a known client is fetched for as a stranger")
	}
}
