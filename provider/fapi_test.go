package provider

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
)

// fapi is a FAPI client as it acts: with a DPoP key, and an assertion each time.
type fapi struct {
	*browser
	id   string
	key  signer // of its DPoP proofs
	cert signer // of its assertions
}

func (b *browser) fapi(id string) fapi {
	return fapi{b, id, signerOf("key of "+id, jose.ES256), signerOf(id, jose.ES256)}
}

// call is a request to an endpoint, proven in both ways; edit changes it last.
func (f fapi) call(path string, form url.Values, edit ...func(*http.Request)) answer {
	f.Helper()
	r := f.bound(newRequest("POST", path, f.assertedBy(form, f.cert, f.assertion(f.id))), f.key, "")
	for _, e := range edit {
		e(r)
	}
	return f.world.send(r)
}

func unbound(r *http.Request) { r.Header.Del("DPoP") }

// push sends its request ahead, changed by pairs, without a proof: the code is
// bound by nothing but PKCE then.
func (f fapi) push(pairs ...string) answer {
	f.Helper()
	return f.call("/par", f.authorization(f.id, pairs...), unbound)
}

func (f fapi) uri(a answer) string {
	f.Helper()
	uri, _ := a.json["request_uri"].(string)
	if a.status != http.StatusCreated || uri == "" {
		f.Fatalf("%s %s", a, a.body)
	}
	return uri
}

func (f fapi) authorize(uri string, pairs ...string) answer {
	f.Helper()
	return f.get("/authorize", append([]string{"client_id", f.id, "request_uri", uri}, pairs...)...)
}

func (f fapi) code(pairs ...string) string {
	f.Helper()
	return f.authorize(f.uri(f.push(pairs...))).code()
}

func (f fapi) redeem(code string, pairs ...string) answer {
	f.Helper()
	return f.call("/token", params(f.exchange(f.id, code, pairs...)...))
}

// FAPI 2.0 Security Profile, each module of its certification plan that a
// provider can fail, for private_key_jwt and DPoP.
func TestFAPI2SecurityProfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	one, two := b.fapi("fapi"), b.fapi("fapitoo")
	long := strings.Repeat("s", 128)

	w.run("discovery-end-point-verification", func(t *testing.T) {
		d := w.send(newRequest("GET", "/.well-known/openid-configuration", nil)).json
		for name, want := range map[string]string{
			"dpop_signing_alg_values_supported": "ES256", "id_token_signing_alg_values_supported": "PS256",
			"token_endpoint_auth_signing_alg_values_supported": "EdDSA", "token_endpoint_auth_methods_supported": "private_key_jwt",
			"code_challenge_methods_supported": "S256", "response_types_supported": "code", "scopes_supported": "openid",
		} {
			list, _ := d[name].([]any)
			if !containsAny(list, want) {
				t.Errorf("%s: %v", name, list)
			}
		}
		if d["authorization_response_iss_parameter_supported"] != true || d["pushed_authorization_request_endpoint"] != issuer+"/par" {
			t.Error("iss or PAR is not told")
		}
	})
	w.run("happy-flow", func(t *testing.T) {
		for _, f := range []fapi{one, two} {
			a := f.authorize(f.uri(f.push("state", long, "nonce", strings.Repeat("n", 43), "scope", "openid offline_access")))
			if _, got := a.callback(); got.Get("iss") != issuer || got.Get("state") != long {
				t.Errorf("answer %v", got)
			}
			g := w.granted(f.redeem(a.code()))
			if g.json["token_type"] != "DPoP" || g.claims["nonce"] != strings.Repeat("n", 43) || g.accessClaims["cnf"].(map[string]any)["jkt"] != w.thumbprint(f.key) {
				t.Errorf("tokens %v", g.json)
			}
			if header, _ := w.proven(g.id); header.Algorithm != "PS256" {
				t.Errorf("ID token by %s", header.Algorithm)
			}
			w.send(w.resourceRequest("DPoP", g.access, f.key)).is(200, "")
		}
	})
	w.run("happy-flow: another redirect URI, dpop_jkt alone, parameters in another order", func(t *testing.T) {
		uri := two.client(two.id).RedirectURIs[1]
		a := two.authorize(two.uri(two.push("redirect_uri", uri, "dpop_jkt", w.thumbprint(two.key))))
		if at := a.header.Get("Location"); !strings.HasPrefix(at, uri+"&") {
			t.Errorf("sent to %q", at)
		}
		w.granted(two.redeem(a.code(), "redirect_uri", uri))
	})
	w.run("happy-flow: another client's token with one's own key", func(t *testing.T) {
		g := w.granted(two.redeem(two.code()))
		w.send(w.resourceRequest("DPoP", g.access, one.key)).is(401, "invalid_token")
	})
	w.run("user-rejects-authentication", func(t *testing.T) {
		stranger := w.browser().fapi("fapi")
		handle := stranger.authorize(stranger.uri(stranger.push("state", long))).handle()
		a := stranger.browser.call(func(rw http.ResponseWriter, r *http.Request) { w.provider.Deny(rw, r, handle) })
		if _, got := a.callback(); got.Get("error") != "access_denied" || got.Get("state") != long {
			t.Errorf("answer %v", got)
		}
	})
	w.run("without-state-success, without-nonce-success", func(t *testing.T) {
		a := one.authorize(one.uri(one.push("state", omit, "nonce", omit)))
		if _, got := a.callback(); got.Has("state") {
			t.Errorf("answer %v", got)
		}
		if g := w.granted(one.redeem(a.code())); g.claims["nonce"] != nil {
			t.Error("a nonce from nowhere")
		}
	})
	for _, n := range []int{64, 384} {
		w.run("nonces and states of any length come back intact", func(t *testing.T) {
			a := one.authorize(one.uri(one.push("state", strings.Repeat("s", n), "nonce", strings.Repeat("n", n))))
			if _, got := a.callback(); got.Get("state") != strings.Repeat("s", n) {
				t.Errorf("state %v", got)
			}
			if g := w.granted(one.redeem(a.code())); g.claims["nonce"] != strings.Repeat("n", n) {
				t.Errorf("nonce %v", g.claims["nonce"])
			}
		})
	}
	w.run("ensure-other-scope-order-succeeds", func(t *testing.T) { w.granted(one.redeem(one.code("scope", "email openid"))) })
	w.run("test-claims-parameter-identity-claims", func(t *testing.T) {
		g := w.granted(one.redeem(one.code("scope", "openid", "claims", `{"userinfo":{"email":null,"name":{"essential":true},"x-unknown":null}}`)))
		if a := w.send(w.resourceRequest("DPoP", g.access, one.key)); a.json["email"] != "ada@example.com" || a.json["name"] == nil {
			t.Errorf("userinfo %v", a.json)
		}
	})
	w.run("access-token-type-header-case-sensitivity", func(t *testing.T) {
		g := w.granted(one.redeem(one.code()))
		w.send(w.resourceRequest("dPoP", g.access, one.key)).is(200, "")
		plain := b.tokens("web")
		w.send(w.resourceRequest("bEARER", plain.access, signer{})).is(200, "")
	})
	w.run("dpop binding of the code", func(t *testing.T) {
		other := one
		other.key = signerOf("another", jose.ES256)
		push := func(f fapi, pairs ...string) answer { return f.call("/par", f.authorization(f.id, pairs...)) }

		push(one, "dpop_jkt", w.thumbprint(other.key)).is(400, "invalid_dpop_proof")       // ensure-mismatched-dpop-jkt-fails
		other.redeem(one.authorize(one.uri(push(one))).code()).is(400, "invalid_grant")    // ...-with-mismatched-dpop-proof-jkt
		other.redeem(one.code("dpop_jkt", w.thumbprint(one.key))).is(400, "invalid_grant") // ...-with-mismatched-dpop-jkt
		w.granted(one.redeem(one.authorize(one.uri(push(one))).code()))                    // ensure-dpopproof-at-par-endpoint-binding-success
		w.granted(one.redeem(one.code("dpop_jkt", w.thumbprint(one.key))))                 // ensure-dpop-auth-code-binding-success
		w.granted(other.redeem(one.code()))                                                // bound by nothing before: to the key that redeems it
		push(one, "dpop_jkt", "not a thumbprint").is(400, "invalid_dpop_proof")            // before anything else of the request
		one.push("dpop_jkt", "not a thumbprint").is(400, "invalid_request")
	})
	w.run("what stands beside a request_uri counts for nothing: nonce, state, state-only-outside", func(t *testing.T) {
		a := one.authorize(one.uri(one.push("nonce", "inside", "state", "inside")), "nonce", "outside", "state", "outside")
		if _, got := a.callback(); got.Get("state") != "inside" {
			t.Errorf("answer %v", got)
		}
		if g := w.granted(one.redeem(a.code())); g.claims["nonce"] != "inside" {
			t.Errorf("nonce %v", g.claims["nonce"])
		}
		a = one.authorize(one.uri(one.push("state", omit)), "state", "outside")
		if _, got := a.callback(); got.Has("state") {
			t.Errorf("answer %v", got)
		}
	})
	w.run("refused at PAR", func(t *testing.T) {
		for name, tt := range map[string]struct {
			pairs []string
			code  string
		}{
			"ensure-request-object-without-redirect-uri-fails": {[]string{"redirect_uri", omit}, "invalid_request"},
			"tolerate-unregistered-redirect-uri":               {[]string{"redirect_uri", "https://fapi.example.com/other"}, "invalid_request"},
			"ensure-response-type-code-idtoken-fails":          {[]string{"response_type", "code id_token"}, "unauthorized_client"},
			"ensure-response-type-token-fails":                 {[]string{"response_type", "token"}, "unsupported_response_type"},
			"par-authorization-request-containing-request_uri": {[]string{"request_uri", "urn:x"}, "invalid_request"},
			"par-ensure-pkce-required":                         {[]string{"code_challenge", omit, "code_challenge_method", omit}, "invalid_request"},
			"par-plain-pkce-rejected":                          {[]string{"code_challenge_method", "plain"}, "invalid_request"},
			"par-plain-pkce-rejected, by an absent method":     {[]string{"code_challenge_method", omit}, "invalid_request"},
			"a nonce that cannot come back as it was":          {[]string{"nonce", "a\x00b"}, "invalid_request"},
		} {
			t.Run(name, func(t *testing.T) { one.push(tt.pairs...).is(400, tt.code) })
		}
	})
	w.run("ensure-unsigned-authorization-request-without-using-par-fails", func(t *testing.T) {
		b.authorize("fapi").isError("invalid_request")
	})
	w.run("ensure-client-id-in-token-endpoint", func(t *testing.T) {
		one.redeem(one.code(), "client_id", "fapitoo").is(401, "invalid_client")
	})
	w.run("ensure-holder-of-key-required", func(t *testing.T) {
		one.call("/token", params(one.exchange("fapi", one.code())...), unbound).is(400, "invalid_dpop_proof")
	})
	w.run("ensure-authorization-code-is-bound-to-client", func(t *testing.T) {
		two.redeem(one.code(), "redirect_uri", one.client("fapi").RedirectURIs[0]).is(400, "invalid_grant")
	})
	w.run("attempt-reuse-authorization-code-after-one-second", func(t *testing.T) {
		code := one.code()
		g := w.granted(one.redeem(code))
		w.clock.pass(time.Second)
		one.redeem(code).is(400, "invalid_grant")
		w.send(w.resourceRequest("DPoP", g.access, one.key)).is(401, "invalid_token")
	})
	w.run("ensure-token-endpoint-fails-with-expired-auth-code", func(t *testing.T) {
		code := one.code()
		w.clock.pass(62 * time.Second)
		one.redeem(code).is(400, "invalid_grant")
	})
	w.run("code_verifier required, and the right one", func(t *testing.T) {
		one.redeem(one.code(), "code_verifier", omit).is(400, "invalid_grant")
		one.redeem(one.code(), "code_verifier", strings.Repeat("x", 43)).is(400, "invalid_grant")
	})
	w.run("client assertions", func(t *testing.T) {
		now := w.clock.Now().Unix()
		for name, tt := range map[string]struct {
			by     signer
			claims claimSet
			code   string // "" when it is taken
		}{
			"ES256": {one.cert, w.assertion("fapi"), ""},
			"PS256": {signerOf("fapi", jose.PS256), w.assertion("fapi"), ""},
			"EdDSA": {signerOf("fapi", jose.EdDSA), w.assertion("fapi"), ""},
			"ensure-signed-client-assertion-with-RS256-fails": {signerOf("fapi", jose.RS256), w.assertion("fapi"), "invalid_client"},
			"exp-is-5-minutes-in-past-fails":                  {one.cert, w.assertion("fapi").with("exp", now-300), "invalid_client"},
			"no exp":                                          {one.cert, w.assertion("fapi").with("exp", nil), "invalid_client"},
			"with-wrong-aud-fails":                            {one.cert, w.assertion("fapi").with("aud", "https://other.example.com"), "invalid_client"},
			"with-no-sub-fails":                               {one.cert, w.assertion("fapi").with("sub", nil), "invalid_client"},
			"another sub":                                     {one.cert, w.assertion("fapi").with("sub", "fapitoo"), "invalid_client"},
			"another iss":                                     {one.cert, w.assertion("fapi").with("iss", "fapitoo"), "invalid_client"},
			"no jti":                                          {one.cert, w.assertion("fapi").with("jti", nil), "invalid_client"},
			"another client's key":                            {signerOf("fapitoo", jose.ES256), w.assertion("fapi"), "invalid_client"},
			"iat-nbf-8-seconds-in-the-future-is-accepted": {one.cert, w.assertion("fapi").with("nbf", now+8, "iat", now+8), ""},
			"iat-nbf-over-60-seconds-in-the-future-fails": {one.cert, w.assertion("fapi").with("nbf", now+61), "invalid_client"},
			"array-as-audience-fails":                     {one.cert, w.assertion("fapi").with("aud", []string{issuer, issuer + "/token"}), "invalid_client"},
			"array-as-audience-fails: even of one":        {one.cert, w.assertion("fapi").with("aud", []string{issuer}), "invalid_client"},
			"par-endpoint-url-as-audience-fails":          {one.cert, w.assertion("fapi").with("aud", issuer+"/par"), "invalid_client"},
			"token-endpoint-url-as-audience-fails":        {one.cert, w.assertion("fapi").with("aud", issuer+"/token"), "invalid_client"},
			"a life of more than an hour":                 {one.cert, w.assertion("fapi").with("exp", now+3601+30), "invalid_client"},
		} {
			t.Run(name, func(t *testing.T) {
				a := w.send(newRequest("POST", "/par", w.assertedBy(w.authorization("fapi"), tt.by, tt.claims)))
				if tt.code == "" {
					one.uri(a)
					return
				}
				a.is(401, tt.code)
			})
		}
	})
	w.run("ensure-client-assertion-in-token-endpoint", func(t *testing.T) {
		w.send(w.bound(newRequest("POST", "/token", params(one.exchange("fapi", one.code(), "client_id", "fapi")...)), one.key, "")).is(401, "invalid_client")
	})
	w.run("RFC 7523 §3: an assertion is taken once, by any endpoint", func(t *testing.T) {
		claims := w.assertion("fapi")
		one.uri(w.send(newRequest("POST", "/par", w.assertedBy(w.authorization("fapi"), one.cert, claims))))
		w.send(newRequest("POST", "/par", w.assertedBy(w.authorization("fapi"), one.cert, claims))).is(401, "invalid_client")
		w.send(newRequest("POST", "/introspect", w.assertedBy(params("token", "x"), one.cert, claims))).is(401, "invalid_client")
	})
	w.run("refresh-token", func(t *testing.T) {
		g := w.granted(one.redeem(one.code("scope", "openid offline_access")))
		refresh := func(f fapi, token string, edit ...func(*http.Request)) answer {
			return f.call("/token", params("grant_type", "refresh_token", "refresh_token", token), edit...)
		}
		renewed := one
		renewed.key = signerOf("renewed", jose.PS256)
		second := w.granted(refresh(renewed, g.refresh)) // with a new key
		if second.accessClaims["cnf"].(map[string]any)["jkt"] != w.thumbprint(renewed.key) {
			t.Error("bound to the key before")
		}
		w.granted(refresh(one, g.refresh)) // the previous one still works
		w.granted(refresh(one, second.refresh))
		refresh(one, g.refresh, unbound).is(400, "invalid_dpop_proof")
		refresh(two, g.refresh).is(400, "invalid_grant")
		w.send(w.bound(newRequest("POST", "/token", params("grant_type", "refresh_token", "refresh_token", g.refresh, "client_id", "fapi")), one.key, "")).is(401, "invalid_client")
		w.granted(refresh(one, g.refresh)) // none of which ended it
	})
	w.run("par-ensure-reused-request-uri-prior-to-auth-completion-succeeds", func(t *testing.T) {
		stranger := w.browser().fapi("fapi")
		uri := stranger.uri(stranger.push())
		stranger.authorize(uri).handle()
		handle := stranger.authorize(uri).handle()
		stranger.signIn("bob@example.com")
		w.granted(stranger.redeem(stranger.resume(handle).code()))
		stranger.authorize(uri).isPage(400, "error", "invalid_request_uri") // par-attempt-reuse-request_uri
	})
	w.run("par-attempt-reuse-request_uri, by a page that was open before", func(t *testing.T) {
		stranger := w.browser().fapi("fapi")
		uri := stranger.uri(stranger.push())
		first, second := stranger.authorize(uri).handle(), ""
		w.clock.pass(time.Second)
		second = stranger.authorize(uri).handle()
		stranger.signIn("carol@example.com")
		stranger.resume(first).code()
		stranger.resume(first).code() // a double click
		stranger.resume(second).isPage(400, "error", "invalid_request_uri")
	})
	w.run("par-attempt-to-use-expired-request_uri", func(t *testing.T) {
		uri := one.uri(one.push())
		w.clock.pass(time.Minute)
		one.authorize(uri).isPage(400, "error", "invalid_request_uri")
	})
	w.run("par-attempt-to-use-request_uri-for-different-client", func(t *testing.T) {
		two.authorize(one.uri(one.push())).isPage(400, "error", "invalid_request_uri")
	})
	w.run("par-attempt-invalid-http-method", func(t *testing.T) { w.send(newRequest("GET", "/par", nil)).is(405, "") })
	w.run("entropy of all that is handed out", func(t *testing.T) {
		uri := one.uri(one.push("scope", "openid offline_access"))
		code := one.authorize(uri).code()
		g := w.granted(one.redeem(code))
		for name, value := range map[string]string{"request_uri": uri, "code": code, "access_token": g.access, "refresh_token": g.refresh} {
			if len(value) < 43 {
				t.Errorf("%s has %d characters", name, len(value))
			}
		}
	})
}

func containsAny(list []any, want string) bool {
	for _, v := range list {
		if v == want {
			return true
		}
	}
	return false
}

// RFC 9449 §4.3, §7, §11.1: what a proof has to be at a resource
// (fapi2-security-profile-final-dpop-negative-tests).
func TestDPoPProofs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	f := b.fapi("fapi")
	g := w.granted(f.redeem(f.code()))
	now := w.clock.Now().Unix()
	good := func(pairs ...any) claimSet { return w.proofClaims("GET", "/userinfo", g.access).with(pairs...) }
	header := func(pairs ...any) map[jose.HeaderKey]any {
		h := map[jose.HeaderKey]any{"typ": dpopType, "jwk": f.key.key.Public()}
		for i := 0; i < len(pairs); i += 2 {
			if h[jose.HeaderKey(pairs[i].(string))] = pairs[i+1]; pairs[i+1] == nil {
				delete(h, jose.HeaderKey(pairs[i].(string)))
			}
		}
		return h
	}
	plain := f.key // without a kid of its own
	plain.key.KeyID = ""
	by := func(claims claimSet, h map[jose.HeaderKey]any) string { return plain.sign(t, claims, h) }
	rsa, ps, stranger := signerOf("rsa", jose.RS256), signerOf("ps", jose.PS256), signerOf("x", jose.ES256)

	for name, tt := range map[string]struct {
		proof string
		code  string // "" when it is taken
	}{
		"a good one":                           {by(good(), header()), ""},
		"nbf and exp":                          {by(good("nbf", now-1, "exp", now+60), header()), ""},
		"iat 10 seconds before":                {by(good("iat", now-10), header()), ""},
		"iat 10 seconds after":                 {by(good("iat", now+10), header()), ""},
		"iat with a fraction":                  {by(good("iat", float64(now)+0.5), header()), ""},
		"a header and a claim more":            {by(good("x", 1), header("x", "y")), ""},
		"htu with query and fragment":          {by(good("htu", issuer+"/userinfo?a=b#c"), header()), ""},
		"htu with the host in capitals":        {by(good("htu", "HTTPS://LOGIN.example.com/userinfo"), header()), ""},
		"htu with the default port":            {by(good("htu", "https://login.example.com:443/userinfo"), header()), ""},
		"not a JWT":                            {"nonsense", "invalid_dpop_proof"},
		"no typ":                               {by(good(), header("typ", nil)), "invalid_dpop_proof"},
		"another typ":                          {by(good(), header("typ", "JWT")), "invalid_dpop_proof"},
		"no jwk":                               {by(good(), header("jwk", nil)), "invalid_dpop_proof"},
		"a private key":                        {by(good(), header("jwk", plain.key)), "invalid_dpop_proof"},
		"a secret key":                         {by(good(), header("jwk", jose.JSONWebKey{Key: []byte("0123456789abcdef0123456789abcdef")})), "invalid_dpop_proof"},
		"another key's signature":              {by(good(), header("jwk", stranger.key.Public())), "invalid_dpop_proof"},
		"RS256":                                {rsa.sign(t, good(), map[jose.HeaderKey]any{"typ": dpopType, "jwk": rsa.key.Public()}), "invalid_dpop_proof"},
		"no alg":                               {unsigned(by(good(), header())), "invalid_dpop_proof"},
		"RFC 7797: another payload":            {by(good(), header("b64", true)), "invalid_dpop_proof"},
		"no jti":                               {by(good("jti", nil), header()), "invalid_dpop_proof"},
		"no htm":                               {by(good("htm", nil), header()), "invalid_dpop_proof"},
		"another htm":                          {by(good("htm", "POST"), header()), "invalid_dpop_proof"},
		"no htu":                               {by(good("htu", nil), header()), "invalid_dpop_proof"},
		"another htu":                          {by(good("htu", issuer+"/token"), header()), "invalid_dpop_proof"},
		"htu of another host":                  {by(good("htu", "https://evil.example/userinfo"), header()), "invalid_dpop_proof"},
		"htu with a user":                      {by(good("htu", "https://u@login.example.com/userinfo"), header()), "invalid_dpop_proof"},
		"no iat":                               {by(good("iat", nil), header()), "invalid_dpop_proof"},
		"iat an hour before":                   {by(good("iat", now-3600), header()), "invalid_dpop_proof"},
		"iat an hour after":                    {by(good("iat", now+3600), header()), "invalid_dpop_proof"},
		"iat as a text":                        {by(good("iat", "now"), header()), "invalid_dpop_proof"},
		"no ath":                               {by(good("ath", nil), header()), "invalid_dpop_proof"},
		"another ath":                          {by(good("ath", challenge), header()), "invalid_dpop_proof"},
		"a key that the token is not bound to": {w.proofOf(ps, good()), "invalid_token"},
	} {
		w.run(name, func(t *testing.T) {
			r := newRequest("GET", "/userinfo", nil)
			r.Header.Set("Authorization", "DPoP "+g.access)
			r.Header.Set("DPoP", tt.proof)
			a := w.send(r)
			if tt.code == "" {
				a.is(200, "")
				return
			}
			a.is(401, tt.code)
			if c := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(c, "DPoP ") || !strings.Contains(c, `error="`+tt.code+`"`) || !strings.Contains(c, `algs="ES256 PS256 EdDSA"`) {
				t.Errorf("challenge %q", c)
			}
		})
	}
	w.run("two proofs", func(t *testing.T) {
		r := w.resourceRequest("DPoP", g.access, f.key)
		r.Header.Add("DPoP", w.proofOf(f.key, good()))
		w.send(r).is(401, "invalid_dpop_proof")
	})
	w.run("no proof", func(t *testing.T) {
		w.send(w.resourceRequest("DPoP", g.access, signer{})).is(401, "invalid_dpop_proof")
	})
	w.run("RFC 9449 §7.2: a bound token as a bearer's", func(t *testing.T) {
		w.send(w.resourceRequest("Bearer", g.access, f.key)).is(401, "invalid_token")
	})
	w.run("a bearer's token with a proof", func(t *testing.T) {
		w.send(w.resourceRequest("DPoP", b.tokens("web").access, f.key)).is(401, "invalid_token")
	})
	w.run("RFC 9449 §11.1: a proof is taken once", func(t *testing.T) {
		proof := by(good(), header())
		for i, want := range []int{200, 401} {
			r := newRequest("GET", "/userinfo", nil)
			r.Header.Set("Authorization", "DPoP "+g.access)
			r.Header.Set("DPoP", proof)
			if a := w.send(r); a.status != want {
				t.Errorf("use %d: %s", i+1, a)
			}
		}
	})
	w.run("RFC 9449 §6.2: introspection tells the key", func(t *testing.T) {
		a := w.introspect("web", g.access)
		if cnf, _ := a.json["cnf"].(map[string]any); a.json["token_type"] != "DPoP" || cnf["jkt"] != w.thumbprint(f.key) {
			t.Errorf("introspection %v", a.json)
		}
	})
}

// unsigned takes the signature and the algorithm from a JWS.
func unsigned(token string) string {
	parts := strings.Split(token, ".")
	return "eyJhbGciOiJub25lIiwidHlwIjoiZHBvcCtqd3QifQ." + parts[1] + "."
}

// RFC 9449 §8, §9: with nonces on, a proof needs the one of the last answer.
func TestDPoPNonce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.DPoPNonce = true })
	b := w.signedIn("ada@example.com")
	s := signerOf("key", jose.ES256)
	form := params(w.exchange("web", b.code("web"))...)
	ask := func(nonce any) answer {
		r := newRequest("POST", "/token", maps.Clone(form))
		r.SetBasicAuth("web", url.QueryEscape(secretOf("web")))
		r.Header.Set("DPoP", w.proofOf(s, w.proofClaims("POST", "/token", "").with("nonce", nonce)))
		return w.send(r)
	}
	for name, nonce := range map[string]any{"none": nil, "a made up one": keys.Token(), "one of another kind": 1} {
		w.run(name, func(t *testing.T) {
			if a := ask(nonce); a.status != 400 || a.header.Get("DPoP-Nonce") == "" && nonce != 1 {
				t.Errorf("%s %v", a, a.header)
			}
		})
	}
	a := ask(nil)
	a.is(400, "use_dpop_nonce")
	nonce := a.header.Get("DPoP-Nonce")
	w.clock.pass(30 * time.Second)
	g := w.granted(ask(nonce)) // none of which used up the code
	if g.json["token_type"] != "DPoP" {
		t.Errorf("token_type %v", g.json["token_type"])
	}
	w.run("at a resource it is a challenge", func(t *testing.T) {
		a := w.send(w.resourceRequest("DPoP", g.access, s))
		a.is(401, "use_dpop_nonce")
		if !strings.Contains(a.header.Get("WWW-Authenticate"), `error="use_dpop_nonce"`) || a.header.Get("DPoP-Nonce") == "" {
			t.Errorf("%v", a.header)
		}
	})
	w.run("an old one", func(t *testing.T) {
		w.clock.pass(dpopNonceTTL)
		ask(nonce).is(400, "use_dpop_nonce")
	})
}

// RFC 9449 §5: the refresh token of a public client is bound to its key.
func TestRefreshTokenOfAPublicClientIsBound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	s, other := signerOf("key", jose.ES256), signerOf("another", jose.ES256)
	send := func(s signer, pairs ...string) answer {
		r := newRequest("POST", "/token", params(append(pairs, "client_id", "spa")...))
		if s.alg != "" {
			w.bound(r, s, "")
		}
		return w.send(r)
	}
	g := w.granted(send(s, w.exchange("spa", b.code("spa", "scope", "openid offline_access"))...))
	refresh := []string{"grant_type", "refresh_token", "refresh_token", g.refresh}
	send(other, refresh...).is(400, "invalid_grant")
	send(signer{}, refresh...).is(400, "invalid_grant")
	second := w.granted(send(s, refresh...)) // neither of which used it up
	if second.json["token_type"] != "DPoP" {
		t.Errorf("token_type %v", second.json["token_type"])
	}

	w.run("one given without a key takes none", func(t *testing.T) {
		g := w.granted(w.redeem("spa", b.code("spa", "scope", "openid offline_access")))
		refresh := []string{"grant_type", "refresh_token", "refresh_token", g.refresh}
		send(s, refresh...).is(400, "invalid_grant")
		w.granted(send(signer{}, refresh...))
	})
}
