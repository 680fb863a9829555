package provider

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// The certification profiles of the OpenID Foundation: each module under the name
// that it has there, by a client that registers itself as that suite's does.
// docs/specs.md has the whole list, and says how each ends there.

// Addresses of the suite.
const (
	suiteCallback = "https://suite.example.com/test/callback"
	suiteBye      = "https://suite.example.com/test/post_logout_redirect"
)

// suite is a provider at which the suite may register. A client of the file has
// all its addresses, so that the checks of a world know them.
func suite(c *Config) {
	open(c)
	c.Clients = append(c.Clients, storage.Client{
		ID: "suite", RedirectURIs: []string{suiteCallback, suiteCallback + "?bar=foo"}, PostLogoutRedirectURIs: []string{suiteBye},
	})
}

func suiteKey() signer { return signerOf("suite", jose.RS256) }

// trial is a module under way: a browser of its own, a client of its own, and how
// that asks.
type trial struct {
	*browser
	me           registered
	responseType string
	mode         string // "": that of the response type
}

func (w *world) trial(responseType, mode string, metadata ...any) trial {
	w.Helper()
	return trial{browser: w.browser(), responseType: responseType, mode: mode}.as(metadata...)
}

// as is the same trial by another client, which goes when the module has ended.
func (s trial) as(metadata ...any) trial {
	s.Helper()
	s.me = s.register(s.metadata().with(metadata...).pairs()...)
	s.TB.Cleanup(func() {
		if a := s.registration("DELETE", s.me.path, s.me.token, nil); a.status != http.StatusNoContent {
			s.Errorf("RFC 7592 §2.3: %s", a)
		}
	})
	return s
}

// metadata is what a client of the suite registers.
func (s trial) metadata() claimSet {
	var grants []string
	if gives(s.responseType, "code") {
		grants = append(grants, "authorization_code")
	}
	if s.responseType != "code" {
		grants = append(grants, "implicit")
	}
	return claimSet{
		"client_name": "suite", "contacts": []string{"suite@suite.example.com"}, "redirect_uris": []string{suiteCallback},
		"grant_types": grants, "response_types": []string{s.responseType},
		"token_endpoint_auth_method": "client_secret_basic", "jwks": jwks(suiteKey()),
	}
}

func (c claimSet) pairs() (list []any) {
	for name, value := range c {
		list = append(list, name, value)
	}
	return list
}

// sent is the request of a module, changed by pairs.
func (s trial) sent(pairs ...string) url.Values {
	form := params("client_id", s.me.id, "redirect_uri", suiteCallback, "scope", "openid", "state", keys.Token(), "nonce", keys.Token(), "response_type", s.responseType)
	if s.mode != "" {
		form.Set("response_mode", s.mode)
	}
	change(form, pairs...)
	return form
}

// outcome is an authorization response, and what the person saw before it.
type outcome struct {
	answer
	form           url.Values // that was sent
	got            url.Values // that came back
	login, consent bool       // the person was asked
}

// ask sends a request.
func (s trial) ask(pairs ...string) outcome {
	s.Helper()
	form := s.sent(pairs...)
	return s.walk(form, s.get("/authorize?"+form.Encode()))
}

// walk does what a person does until the client has its answer.
func (s trial) walk(form url.Values, a answer) outcome {
	s.Helper()
	o := outcome{form: form}
	if strings.HasPrefix(a.header.Get("Location"), "/login?") {
		o.login = true
		handle := a.handle()
		s.clock.pass(time.Second)
		s.signIn("ada@example.com")
		a = s.resume(handle)
	}
	if a.page == "consent" {
		o.consent = true
		a = s.submit(a, "consent-allow")
	}
	o.answer = a
	s.arrived(&o)
	return o
}

// arrived checks how an answer came and what every answer has: where the
// response type and mode want it and nowhere else, exact state, iss, and no
// parameter that nobody knows.
func (s trial) arrived(o *outcome) {
	s.Helper()
	_, o.got = o.callback()
	uri, at := o.form.Get("redirect_uri"), o.header.Get("Location")
	form := o.forms["form-post"]
	switch {
	case s.mode == "form_post":
		if at != "" || form.action != uri || form.method != "post" || o.status != 200 {
			s.Errorf("Form Post §2: answered at %q, to %q", at, form.action)
		}
	case gives(o.form.Get("response_type"), "token") || gives(o.form.Get("response_type"), "id_token"):
		if !strings.HasPrefix(at, uri+"#") {
			s.Errorf("Multiple Response Types §5: answered at %q", at)
		}
	default:
		if !strings.HasPrefix(at, uri+"?") && !strings.HasPrefix(at, uri+"&") || strings.Contains(at, "#") {
			s.Errorf("RFC 6749 §4.1.2: answered at %q", at)
		}
	}
	if o.got.Get("state") != o.form.Get("state") || o.got.Has("state") != o.form.Has("state") || o.got.Get("iss") != issuer {
		s.Errorf("state %q, iss %q", o.got.Get("state"), o.got.Get("iss"))
	}
	for name := range o.got {
		if !slices.Contains([]string{"code", "id_token", "access_token", "token_type", "expires_in", "scope", "state", "iss", "session_state", "error", "error_description", "bar"}, name) {
			s.Errorf("nobody knows parameter %q", name)
		}
	}
}

// flow is a login that came to its end.
type flow struct {
	outcome
	tokens  answer // of the token endpoint; zero without a code
	access  string // the last one, "" when there is none
	refresh string
	id      string         // the last ID token
	claims  map[string]any // of it
	info    map[string]any // what userinfo says; without access token, what the ID token does
}

// login is a request that has to succeed, with all that follows.
func (s trial) login(pairs ...string) flow {
	s.Helper()
	return s.complete(s.ask(pairs...))
}

// complete redeems an answer and checks all of it.
func (s trial) complete(o outcome, pairs ...string) flow {
	s.Helper()
	if o.got.Has("error") {
		s.Fatalf("%s: %s", o.got.Get("error"), o.got.Get("error_description"))
	}
	for name, what := range map[string]string{"code": "code", "access_token": "token", "token_type": "token", "expires_in": "token", "id_token": "id_token"} {
		if o.got.Has(name) != gives(s.responseType, what) {
			s.Errorf("%s is there: %v", name, o.got.Has(name))
		}
	}
	f := flow{outcome: o, id: o.got.Get("id_token"), access: o.got.Get("access_token")}
	if f.id != "" {
		f.claims = s.idToken(o, f.id, f.access, o.got.Get("code"))
	}
	if f.access != "" {
		s.accessToken(f.access, o.got.Get("token_type"), json.Number(o.got.Get("expires_in")))
	}
	if o.got.Has("code") {
		s.exchange(&f, pairs)
	}
	if f.info = f.claims; f.access != "" {
		f.info = s.asksUserinfo(f)
	}
	return f
}

// exchange redeems the code of a flow.
func (s trial) exchange(f *flow, pairs []string) {
	s.Helper()
	s.random("code", f.got.Get("code"))
	front := f.claims
	f.tokens = s.token(append([]string{"grant_type", "authorization_code", "code", f.got.Get("code"), "redirect_uri", f.form.Get("redirect_uri")}, pairs...)...)
	s.answered(f)
	if front != nil && (front["sub"] != f.claims["sub"] || front["auth_time"] != f.claims["auth_time"]) {
		s.Errorf("OIDC Core §3.3.3.6: two ID tokens of one login: %v, %v", front, f.claims)
	}
}

// answered checks what came from the token endpoint.
func (s trial) answered(f *flow) {
	s.Helper()
	f.tokens.is(200, "")
	if h := f.tokens.header; h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" {
		s.Errorf("RFC 6749 §5.1: %v", h)
	}
	text := func(name string) string { v, _ := f.tokens.json[name].(string); return v }
	f.access, f.id, f.refresh = text("access_token"), text("id_token"), text("refresh_token")
	expires, _ := json.Marshal(f.tokens.json["expires_in"])
	s.accessToken(f.access, text("token_type"), json.Number(expires))
	f.claims = s.idToken(f.outcome, f.id, f.access, "")
}

// token asks the token endpoint, proving the client as it registered.
func (s trial) token(pairs ...string) answer {
	s.Helper()
	form := params(pairs...)
	method := s.me.json["token_endpoint_auth_method"]
	if method == "private_key_jwt" && !form.Has("client_assertion") { // the suite names the token endpoint
		form = s.assertedBy(form, suiteKey(), s.assertion(s.me.id).with("aud", issuer+"/token"))
	}
	if method == "client_secret_post" {
		change(form, "client_id", s.me.id, "client_secret", s.me.secret)
	}
	r := newRequest("POST", "/token", form)
	if method == "client_secret_basic" {
		r.SetBasicAuth(url.QueryEscape(s.me.id), url.QueryEscape(s.me.secret))
	}
	return s.world.send(r)
}

func (s trial) accessToken(token, kind string, expires json.Number) {
	s.Helper()
	s.random("access_token", token)
	if n, err := expires.Int64(); kind != "Bearer" || err != nil || n < 1 || n > 31536000 {
		s.Errorf("RFC 6749 §5.1: token_type %q, expires_in %q", kind, expires)
	}
}

// random checks that a value cannot be guessed: more than 96 bits by Shannon's
// formula.
func (s trial) random(name, value string) {
	s.Helper()
	if bits := entropy(value); len(value) < 16 || bits <= 96 {
		s.Errorf("%s has %d characters and %.0f bits", name, len(value), bits)
	}
}

func entropy(value string) (bits float64) {
	count := map[rune]float64{}
	for _, r := range value {
		count[r]++
	}
	for _, n := range count {
		bits -= n * math.Log2(n/float64(len(value)))
	}
	return bits
}

// Claims that an ID token may have though nobody asked for them.
var tokenClaims = []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "at_hash", "c_hash", "s_hash", "nbf", "jti", "sid", "txn"}

// idToken checks an ID token as the suite does. In front it has the hashes of
// what is beside it; at the token endpoint they may be left out.
func (s trial) idToken(o outcome, token, access, code string) map[string]any {
	s.Helper()
	header, c := s.proven(token)
	if header.KeyID == "" || header.Algorithm != "RS256" {
		s.Errorf("header %v", header)
	}
	now := float64(s.clock.Now().Unix())
	number := func(name string) float64 { n, _ := c[name].(float64); return n }
	sub, _ := c["sub"].(string)
	acr, isText := c["acr"].(string)
	for what, wrong := range map[string]bool{
		"iss":       c["iss"] != issuer,
		"aud":       c["aud"] != s.me.id,
		"exp":       number("exp") <= now,
		"iat":       math.Abs(number("iat")-now) > 300,
		"sub":       sub == "" || len(sub) > 255 || strings.ContainsFunc(sub, func(r rune) bool { return r < ' ' || r > '~' }),
		"nonce":     c["nonce"] != any(o.form.Get("nonce")) && (c["nonce"] != nil || o.form.Has("nonce")),
		"auth_time": number("auth_time") > now || number("auth_time") < now-365*24*3600,
		"acr":       c["acr"] != nil && (!isText || acr == ""),
		"at_hash":   access != "" && (code != "" || c["at_hash"] != nil || s.responseType == "id_token token") && c["at_hash"] != keys.LeftHalf(jose.RS256, access),
		"c_hash":    code != "" && c["c_hash"] != keys.LeftHalf(jose.RS256, code),
	} {
		if wrong {
			s.Errorf("%s is %v", what, c[what])
		}
	}
	allowed := append(s.asked(o, "id_token"), tokenClaims...)
	if s.responseType == "id_token" { // OIDC Core §5.4
		allowed = append(allowed, claimsOfScopes(strings.Fields(o.form.Get("scope")))...)
	}
	for name := range c {
		if !slices.Contains(allowed, name) {
			s.Errorf("the ID token has %s, which nobody asked for", name)
		}
	}
	return c
}

// asked are the claims that the claims parameter asks for in one place.
func (s trial) asked(o outcome, where string) (list []string) {
	var claims map[string]map[string]any
	if json.Unmarshal([]byte(o.form.Get("claims")), &claims) == nil {
		list = names(claims[where])
	}
	return list
}

// asksUserinfo asks what the access token of a flow is for.
func (s trial) asksUserinfo(f flow) map[string]any {
	s.Helper()
	a := s.userinfo(f.access)
	s.saysWhoItIs(f, a)
	for name := range a.json {
		if !slices.Contains(append(append(s.asked(f.outcome, "userinfo"), "sub"), claimsOfScopes(strings.Fields(f.form.Get("scope")))...), name) {
			s.Errorf("userinfo has %s, which nobody asked for", name)
		}
	}
	return a.json
}

// saysWhoItIs checks an answer of userinfo: JSON, the same person, and claims of
// the types of OIDC Core §5.1.
func (s trial) saysWhoItIs(f flow, a answer) {
	s.Helper()
	if a.is(200, ""); a.header.Get("Content-Type") != "application/json" || a.json["sub"] == nil || f.claims != nil && a.json["sub"] != f.claims["sub"] {
		s.Errorf("%s: %v %s", a, a.header, a.body)
	}
	for name, value := range a.json {
		var good bool
		switch v := value.(type) {
		case string:
			good = v != "" && name != "email_verified" && name != "updated_at"
		case bool:
			good = name == "email_verified"
		case float64:
			good = name == "updated_at" && v > 631152000 && v <= float64(s.clock.Now().Unix())
		}
		if !good {
			s.Errorf("OIDC Core §5.1: %s is %v", name, value)
		}
	}
}

// has wants claims where the suite looks for them.
func (f flow) has(claims ...string) {
	f.Helper()
	for _, name := range claims {
		if f.info[name] == nil {
			f.Errorf("%s is not there", name)
		}
	}
}

// same wants the same login of the same person, unseen.
func (f flow) same(first flow) {
	f.Helper()
	if f.login || f.consent || f.claims["sub"] != first.claims["sub"] || f.claims["auth_time"] != first.claims["auth_time"] || first.claims["auth_time"] == nil {
		f.Errorf("asked %v %v; %v, then %v", f.login, f.consent, first.claims, f.claims)
	}
}

// later wants that the same person signed in once more.
func (f flow) later(first flow) {
	f.Helper()
	then, _ := first.claims["auth_time"].(float64)
	now, _ := f.claims["auth_time"].(float64)
	if !f.login || f.claims["sub"] != first.claims["sub"] || now <= then {
		f.Errorf("asked %v; %v, then %v", f.login, first.claims, f.claims)
	}
}

// Which response types have a module: those of the Basic profile have code alone,
// those of the Implicit one no code, the others are Hybrid.
var (
	anyType   = responseTypes
	basic     = []string{"code"}
	implicit  = []string{"id_token", "id_token token"}
	withCode  = []string{"code", "code id_token", "code token", "code id_token token"}
	withToken = []string{"code", "id_token token", "code id_token", "code token", "code id_token token"}
	inFront   = []string{"id_token", "id_token token", "code id_token", "code id_token token"}
)

// planned is how many modules the plans have for a response type.
var planned = map[string]int{
	"code": 38, "id_token": 27, "id_token token": 31, "code id_token": 36, "code token": 33, "code id_token token": 33,
}

func profileOf(responseType string) string {
	switch {
	case slices.Contains(basic, responseType):
		return "Basic"
	case slices.Contains(implicit, responseType):
		return "Implicit"
	}
	return "Hybrid"
}

// modules are those of the Basic, Implicit and Hybrid profiles, by response type.
var modules = []struct {
	name  string
	types []string
	run   func(s trial)
}{
	{"oidcc-server", anyType, succeeds()},
	{"oidcc-response-type-missing", []string{"code", "id_token token", "code id_token"}, func(s trial) { s.ask("response_type", omit).isError("invalid_request") }},
	{"oidcc-idtoken-signature", anyType, succeeds()},
	{"oidcc-idtoken-unsigned", basic, lacks("id_token_signing_alg_values_supported", "none")},
	{"oidcc-userinfo-get", withToken, userinfoBy("GET", false)},
	{"oidcc-userinfo-post-header", withToken, userinfoBy("POST", false)},
	{"oidcc-userinfo-post-body", withToken, userinfoBy("POST", true)},
	{"oidcc-ensure-request-without-nonce-succeeds-for-code-flow", []string{"code", "code token"}, succeeds("nonce", omit)},
	{"oidcc-ensure-request-without-nonce-fails", inFront, func(s trial) { s.ask("nonce", omit).isError("invalid_request") }},
	{"oidcc-scope-profile", anyType, func(s trial) {
		s.login("scope", "openid profile").has("name", "preferred_username", "locale", "updated_at")
	}},
	{"oidcc-scope-email", anyType, func(s trial) { s.login("scope", "openid email").has("email", "email_verified") }},
	{"oidcc-scope-address", anyType, lacks("scopes_supported", "address")},
	{"oidcc-scope-phone", anyType, lacks("scopes_supported", "phone")},
	{"oidcc-scope-all", anyType, lacks("scopes_supported", "phone")},
	{"oidcc-alternate-happy-flow", []string{"code", "id_token", "id_token token", "code id_token"}, alternate},
	{"oidcc-display-page", anyType, succeeds("display", "page")},
	{"oidcc-display-popup", anyType, succeeds("display", "popup")},
	{"oidcc-prompt-login", anyType, again(time.Second, nil, []string{"prompt", "login"}, flow.later)},
	{"oidcc-prompt-none-not-logged-in", anyType, func(s trial) {
		s.ask("prompt", "none", "state", strings.Repeat("s", 128)).isError("login_required")
	}},
	{"oidcc-prompt-none-logged-in", anyType, again(time.Second, nil, []string{"prompt", "none"}, flow.same)},
	{"oidcc-max-age-1", anyType, again(2*time.Second, nil, []string{"max_age", "1"}, flow.later)},
	{"oidcc-max-age-10000", anyType, again(time.Second, []string{"max_age", "15000"}, []string{"max_age", "10000"}, flow.same)},
	{"oidcc-ensure-request-with-unknown-parameter-succeeds", anyType, succeeds("extra", "foobar")},
	{"oidcc-id-token-hint", anyType, func(s trial) {
		first := s.login()
		s.login("prompt", "none", "id_token_hint", first.id).same(first)
	}},
	{"oidcc-login-hint", anyType, succeeds("login_hint", "buffy@login.example.com")},
	{"oidcc-ui-locales", anyType, succeeds("ui_locales", "se")},
	{"oidcc-claims-locales", anyType, succeeds("claims_locales", "se")},
	{"oidcc-ensure-request-with-acr-values-succeeds", anyType, func(s trial) {
		if f := s.login("acr_values", acrMail); f.claims["acr"] != acrMail {
			s.Errorf("acr %v", f.claims["acr"])
		}
	}},
	{"oidcc-codereuse", withCode, func(s trial) { s.replay(0) }},
	{"oidcc-codereuse-30seconds", withCode, func(s trial) { s.replay(30 * time.Second) }},
	{"oidcc-ensure-registered-redirect-uri", anyType, func(s trial) {
		s.get("/authorize?"+s.sent("redirect_uri", suiteCallback+"/"+keys.Token()).Encode()).isPage(400, "error", "invalid_request")
	}},
	{"oidcc-ensure-post-request-succeeds", basic, func(s trial) {
		form := s.sent()
		s.complete(s.walk(form, s.follow(s.crossSite("/authorize", form))))
	}},
	{"oidcc-server-client-secret-post", withCode, func(s trial) { s.as("token_endpoint_auth_method", "client_secret_post").login() }},
	{"oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported", anyType, lacks("request_object_signing_alg_values_supported", "none")},
	{"oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported", anyType, refusesUnsigned},
	{"oidcc-claims-essential", anyType, func(s trial) {
		where := "userinfo"
		if s.responseType == "id_token" {
			where = "id_token"
		}
		s.login("claims", `{"`+where+`":{"name":{"essential":true}}}`).has("name")
	}},
	{"oidcc-ensure-request-object-with-redirect-uri", anyType, refusesUnsigned},
	{"oidcc-refresh-token", withCode, refreshes},
	{"oidcc-ensure-request-with-valid-pkce-succeeds", []string{"code", "code id_token"}, func(s trial) {
		s.complete(s.ask("code_challenge", challenge, "code_challenge_method", "S256"), "code_verifier", verifier)
	}},
}

// succeeds is a request that has to be answered, and nothing more.
func succeeds(pairs ...string) func(trial) { return func(s trial) { s.login(pairs...) } }

// lacks is a module that the suite skips, because the metadata has a list without
// a value.
func lacks(list, value string) func(trial) {
	return func(s trial) {
		have, ok := s.document("/.well-known/openid-configuration").json[list].([]any)
		if !ok || containsAny(have, value) {
			s.Errorf("%s: %v", list, have)
		}
	}
}

// refusesUnsigned is a module with an unsigned request object, which the suite
// skips; whoever sends one all the same gets nothing for it.
func refusesUnsigned(s trial) {
	lacks("request_object_signing_alg_values_supported", "none")(s)
	object := unsigned(suiteKey().sign(s.TB, claimSet{"redirect_uri": suiteCallback, "state": "inside", "nonce": "inside"}, nil))
	s.ask("request", object).isError("invalid_request_object")
	s.get("/authorize?"+s.sent("request", object, "redirect_uri", suiteCallback+"_invalid").Encode()).isPage(400, "error", "invalid_request_object")
}

// userinfoBy asks userinfo in one of the ways of RFC 6750 §2.
func userinfoBy(method string, inBody bool) func(trial) {
	return func(s trial) {
		f := s.login()
		var form url.Values
		if inBody {
			form = params("access_token", f.access)
		}
		r := newRequest(method, "/userinfo", form)
		if !inBody {
			r.Header.Set("Authorization", "Bearer "+f.access)
		}
		s.saysWhoItIs(f, s.world.send(r))
	}
}

// alternate sends scopes and parameters in another order.
func alternate(s trial) {
	form := s.sent("scope", "email openid")
	var query []string
	for name := range form {
		query = append(query, name+"="+url.QueryEscape(form.Get(name)))
	}
	slices.Sort(query)
	slices.Reverse(query)
	s.complete(s.walk(form, s.get("/authorize?"+strings.Join(query, "&")))).has("email", "email_verified")
}

// again signs in, waits, and asks once more in the same browser.
func again(wait time.Duration, first, second []string, compare func(second, first flow)) func(trial) {
	return func(s trial) {
		before := s.login(first...)
		s.clock.pass(wait)
		compare(s.login(second...), before)
	}
}

// replay uses a code twice: what it gave is taken back.
func (s trial) replay(after time.Duration) {
	f := s.login()
	s.clock.pass(after)
	a := s.token("grant_type", "authorization_code", "code", f.got.Get("code"), "redirect_uri", suiteCallback)
	if a.is(400, "invalid_grant"); a.header.Get("Content-Type") != "application/json" {
		s.Errorf("%v", a.header)
	}
	s.userinfo(f.access).is(401, "invalid_token")
}

// refreshes refreshes, as one client and as another.
func refreshes(s trial) {
	grants := append(slices.Clone(s.metadata()["grant_types"].([]string)), "refresh_token")
	metadata := []any{"grant_types", grants, "token_endpoint_auth_method", s.me.json["token_endpoint_auth_method"]}
	one, two := s.as(metadata...), s.as(metadata...)
	wants := []string{"scope", "openid offline_access", "prompt", "consent"}
	f, other := one.login(wants...), two.login(wants...)
	one.random("refresh_token", f.refresh)
	s.clock.pass(time.Second)
	fresh := flow{outcome: f.outcome, tokens: one.token("grant_type", "refresh_token", "refresh_token", f.refresh, "scope", "openid offline_access")}
	fresh.form = one.sent("nonce", omit)
	one.answered(&fresh)
	one.random("refresh_token", fresh.refresh)
	for _, name := range []string{"iss", "sub", "aud", "azp", "auth_time"} {
		if fresh.claims[name] != f.claims[name] {
			s.Errorf("OIDC Core §12.2: %s is %v, was %v", name, fresh.claims[name], f.claims[name])
		}
	}
	if fresh.claims["iat"] == f.claims["iat"] {
		s.Error("OIDC Core §12.2: iat is that of before")
	}
	one.asksUserinfo(fresh)
	one.token("grant_type", "refresh_token", "refresh_token", other.refresh).is(400, "invalid_grant")
}

// The Basic, Implicit and Hybrid profiles, and each by Form Post.
func TestCertification(t *testing.T) {
	t.Parallel()
	for _, responseType := range responseTypes {
		for mode, name := range map[string]string{"": "", "form_post": "Form Post "} {
			t.Run(name+profileOf(responseType)+"/"+responseType, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, suite)
				w.describe(w.signedIn("ada@example.com").login().User.ID, "Ada Lovelace", "en-GB")
				n := 0
				for _, m := range modules {
					if slices.Contains(m.types, responseType) {
						n++
						w.run(m.name, func(*testing.T) { m.run(w.trial(responseType, mode)) })
					}
				}
				if n != planned[responseType] {
					t.Errorf("%d modules, planned are %d", n, planned[responseType])
				}
			})
		}
	}
}

// The metadata modules: Config, and those of each kind of logout.
func TestCertificationOfMetadata(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite)
	a := w.document("/.well-known/openid-configuration")
	has := func(list string, values ...string) {
		w.Helper()
		for _, v := range values {
			if have, _ := a.json[list].([]any); !containsAny(have, v) {
				w.Errorf("%s lacks %s: %v", list, v, have)
			}
		}
	}
	isTrue := func(names ...string) {
		w.Helper()
		for _, name := range append(names, "end_session_endpoint") {
			if v := a.json[name]; v != true && v != issuer+"/logout" {
				w.Errorf("%s is %v", name, v)
			}
		}
	}
	for name, check := range map[string]func(){
		"oidcc-discovery-endpoint-verification": func() {
			if a.is(200, ""); a.header.Get("Content-Type") != "application/json" || a.json["issuer"] != issuer {
				w.Errorf("%v, issuer %v", a.header, a.json["issuer"])
			}
			has("response_types_supported", "code", "id_token", "id_token token")
			has("grant_types_supported", "authorization_code", "implicit")
			has("subject_types_supported", "public", "pairwise")
			has("scopes_supported", "openid")
			has("claims_supported", "sub")
			has("code_challenge_methods_supported", "S256")
			has("token_endpoint_auth_methods_supported", "client_secret_basic", "client_secret_post", "private_key_jwt")
			for _, list := range []string{"id_token_signing_alg_values_supported", "userinfo_signing_alg_values_supported", "request_object_signing_alg_values_supported"} {
				has(list, "RS256")
			}
			for name, v := range a.json {
				if u, _ := v.(string); strings.HasSuffix(name, "_endpoint") && !strings.HasPrefix(u, "https://") {
					w.Errorf("%s is %q", name, u)
				}
			}
			for _, name := range []string{"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "registration_endpoint"} {
				if u, _ := a.json[name].(string); u == "" {
					w.Errorf("%s is missing", name)
				}
			}
			if a.json["request_uri_parameter_supported"] != true || a.json["request_parameter_supported"] != true {
				w.Error("request objects are not told")
			}
		},
		"oidcc-rp-initiated-logout-discovery-endpoint-verification": func() { isTrue() },
		"oidcc-session-management-discovery-endpoint-verification": func() {
			if isTrue(); a.json["check_session_iframe"] != issuer+"/check_session" {
				w.Errorf("check_session_iframe %v", a.json["check_session_iframe"])
			}
		},
		"oidcc-frontchannel-logout-discovery-endpoint-verification": func() { isTrue("frontchannel_logout_supported", "frontchannel_logout_session_supported") },
		"oidcc-backchannel-logout-discovery-endpoint-verification":  func() { isTrue("backchannel_logout_supported", "backchannel_logout_session_supported") },
	} {
		w.run(name, func(*testing.T) { check() })
	}
}

// suiteHost is what the suite serves, by path.
type suiteHost struct {
	*remote
	served sync.Map
}

func newSuiteHost(t *testing.T) *suiteHost {
	h := &suiteHost{}
	h.remote = newRemote(t, func(w http.ResponseWriter, r *http.Request) {
		body, ok := h.served.Load(r.URL.Path)
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body.([]byte))
	})
	return h
}

// serve gives an address with that content.
func (h *suiteHost) serve(path string, body []byte) string {
	h.served.Store(path, body)
	return h.URL + path
}

// The Dynamic profile, by a client with keys: what the other profiles do not have,
// or have by a client with a secret.
func TestCertificationOfDynamicClients(t *testing.T) {
	t.Parallel()
	host := newSuiteHost(t)
	w := newWorld(t, suite, reaching(host.remote))
	w.describe(w.signedIn("ada@example.com").login().User.ID, "Ada Lovelace", "en-GB")
	const twoURIs = suiteCallback + "?bar=foo"
	refused := func(s trial, pairs ...string) {
		s.Helper()
		s.get("/authorize?"+s.sent(pairs...).Encode()).isPage(400, "error", "invalid_request")
	}
	for _, m := range []struct {
		name     string
		metadata []any
		run      func(s trial)
	}{
		{"oidcc-server", nil, succeeds()},
		{"oidcc-idtoken-rs256", []any{"id_token_signed_response_alg", "RS256"}, succeeds()},
		{"oidcc-idtoken-unsigned", nil, lacks("id_token_signing_alg_values_supported", "none")},
		{"oidcc-userinfo-rs256", nil, signedUserinfo},
		{"oidcc-ensure-redirect-uri-in-authorization-request", []any{"redirect_uris", []string{suiteCallback, twoURIs}}, func(s trial) {
			refused(s, "redirect_uri", omit)
		}},
		{"oidcc-redirect-uri-query-OK", []any{"redirect_uris", []string{twoURIs}}, func(s trial) {
			if f := s.login("redirect_uri", twoURIs); f.got.Get("bar") != "foo" {
				s.Errorf("answer %v", f.got)
			}
		}},
		{"oidcc-redirect-uri-query-mismatch", []any{"redirect_uris", []string{twoURIs}}, func(s trial) { refused(s, "redirect_uri", suiteCallback+"?foo=bar") }},
		{"oidcc-redirect-uri-query-added", nil, func(s trial) { refused(s, "redirect_uri", suiteCallback+"?foo=bar") }},
		{"oidcc-registration-logo-uri", []any{"logo_uri", "https://suite.example.com/logo.png"}, shows},
		{"oidcc-registration-policy-uri", []any{"policy_uri", "https://suite.example.com/policy"}, shows},
		{"oidcc-registration-tos-uri", []any{"tos_uri", "https://suite.example.com/tos"}, shows},
		{"oidcc-registration-jwks-uri", []any{"jwks", nil, "jwks_uri", host.serve("/jwks", jwks(suiteKey()))}, succeeds()},
		{"oidcc-refresh-token", nil, refreshes},
		{"oidcc-refresh-token-rp-key-rotation", []any{
			"jwks", nil, "jwks_uri", host.serve("/rotating", jwks(suiteKey())), "grant_types", []string{"authorization_code", "refresh_token"},
		}, func(s trial) { rotatesItsKey(s, host) }},
		{"oidcc-request-uri-unsigned", nil, lacks("request_object_signing_alg_values_supported", "none")},
		{"oidcc-request-uri-signed-rs256", []any{"request_object_signing_alg", "RS256", "request_uris", []string{host.URL + "/request#whatever"}}, func(s trial) {
			form := s.sent()
			object := claimSet{"iss": s.me.id, "aud": issuer}
			for name := range form {
				object[name] = form.Get(name)
			}
			uri := host.serve("/request", []byte(suiteKey().sign(s.TB, object, nil))) + "#whatever"
			s.complete(s.walk(form, s.get("/authorize", "client_id", s.me.id, "response_type", "code", "scope", "openid", "request_uri", uri)))
		}},
		{"oidcc-ensure-request-object-with-redirect-uri", nil, refusesUnsigned},
		{"oidcc-ensure-client-assertion-with-iss-aud-succeeds", nil, func(s trial) {
			assertion := suiteKey().sign(s.TB, s.assertion(s.me.id).with("aud", issuer), nil)
			s.complete(s.ask(), "client_assertion", assertion, "client_assertion_type", assertionType)
		}},
		{"oidcc-server-rotate-keys", nil, rotatesOurKeys},
	} {
		w.run(m.name, func(*testing.T) {
			m.run(w.trial("code", "", append([]any{"token_endpoint_auth_method", "private_key_jwt"}, m.metadata...)...))
		})
	}
}

// signedUserinfo registers signed answers: userinfo is a JWT that says who says so
// and to whom, and has no nonce.
func signedUserinfo(s trial) {
	f := s.login()
	s = s.as("token_endpoint_auth_method", "client_secret_basic", "userinfo_signed_response_alg", "RS256")
	o := s.ask()
	f.tokens = s.token("grant_type", "authorization_code", "code", o.got.Get("code"), "redirect_uri", suiteCallback)
	access, _ := f.tokens.json["access_token"].(string)
	a := s.userinfo(access)
	header, claims := s.proven(a.body)
	if a.header.Get("Content-Type") != "application/jwt" || header.Algorithm != "RS256" {
		s.Errorf("%v by %s", a.header, header.Algorithm)
	}
	if claims["iss"] != issuer || claims["aud"] != s.me.id || claims["sub"] != f.claims["sub"] || claims["nonce"] != nil {
		s.Errorf("userinfo %v", claims)
	}
}

// shows hands to the login page what the client registered for it.
func shows(s trial) {
	handle := s.get("/authorize?" + s.sent().Encode()).handle()
	waiting, err := s.provider.Waiting(s.Context(), handle, keys.Hash([]byte(s.cookies[browserCookie])))
	if err != nil {
		s.Fatal(err)
	}
	for name, value := range map[string]string{"logo_uri": waiting.Client.LogoURI, "policy_uri": waiting.Client.PolicyURI, "tos_uri": waiting.Client.TosURI} {
		if want, _ := s.me.json[name].(string); value != want {
			s.Errorf("%s is %q, want %q", name, value, want)
		}
	}
}

// rotatesItsKey refreshes with a key that the client published after it signed
// people in.
func rotatesItsKey(s trial, host *suiteHost) {
	f := s.login("scope", "openid offline_access", "prompt", "consent")
	s.random("refresh_token", f.refresh)
	renewed := signerOf("suite, renewed", jose.RS256)
	host.serve("/rotating", jwks(renewed))
	s.clock.pass(time.Minute)
	a := s.world.send(newRequest("POST", "/token", s.assertedBy(
		params("grant_type", "refresh_token", "refresh_token", f.refresh), renewed, s.assertion(s.me.id).with("aud", issuer+"/token"),
	)))
	fresh := flow{outcome: f.outcome, tokens: a}
	fresh.form = s.sent("nonce", omit)
	s.answered(&fresh)
}

// rotatesOurKeys has the operator rotate: the set has another key beside the one
// before, under a name and with a modulus of its own, and people sign in with it.
func rotatesOurKeys(s trial) {
	before := s.login()
	old, _ := s.proven(before.id)
	if _, err := s.provider.cfg.Keys.Rotate(s.Context(), jose.RS256, true); err != nil {
		s.Fatal(err)
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(s.document("/jwks").body), &set); err != nil {
		s.Fatal(err)
	}
	kids, moduli := map[any]bool{}, map[any]bool{}
	for _, k := range set.Keys {
		if kids[k["kid"]] = true; k["alg"] == "RS256" {
			moduli[k["n"]] = true
		}
	}
	if len(kids) != len(set.Keys) || !kids[old.KeyID] || len(moduli) != 2 {
		s.Errorf("%d keys, %d kids, %d moduli", len(set.Keys), len(kids), len(moduli))
	}
	s.clock.pass(2 * time.Minute)
	if header, _ := s.proven(s.login().id); header.KeyID == old.KeyID {
		s.Error("the old key signs")
	}
	s.proven(before.id)
}
