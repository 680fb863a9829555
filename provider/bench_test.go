package provider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// Ratios are what these are for: see all of them in one run. An endpoint reports
// how much of its time the bare signatures and verifications of the same ring
// would take. The rest is reading, checking and SQLite.

// BenchmarkRing is what everything else is held against.
func BenchmarkRing(b *testing.B) {
	ring := newWorld(b).provider.cfg.Keys
	for _, alg := range keys.Algorithms {
		token := signed(b, ring, alg)
		b.Run("sign/"+string(alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				signed(b, ring, alg)
			}
		})
		b.Run("verify/"+string(alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				verified(b, ring, token)
			}
		})
	}
}

func signed(b *testing.B, ring *keys.Ring, alg jose.SignatureAlgorithm) string {
	token, err := ring.Sign(alg, keys.TypeJWT, idClaims{Issuer: issuer, Subject: "ada", Audience: "web", ACR: acrMail, AMR: []string{amrMail}})
	if err != nil {
		b.Fatal(err)
	}
	return token
}

func verified(b *testing.B, ring *keys.Ring, token string) {
	if _, err := ring.Verify(token, keys.TypeJWT); err != nil {
		b.Fatal(err)
	}
}

// bare is how long a signature or a verification takes by itself, at best.
var bare sync.Map // by "sign" or "verify" and the algorithm

func bareTime(b *testing.B, ring *keys.Ring, what string, alg jose.SignatureAlgorithm) time.Duration {
	if d, ok := bare.Load(what + string(alg)); ok {
		return d.(time.Duration)
	}
	token, best := signed(b, ring, alg), time.Hour
	for range 100 {
		start := time.Now()
		if what == "sign" {
			signed(b, ring, alg)
		} else {
			verified(b, ring, token)
		}
		best = min(best, time.Since(start))
	}
	bare.Store(what+string(alg), best)
	return best
}

// bench is a world whose person is signed in, and writes no log.
type bench struct {
	*world
	browser *browser
	login   storage.Login
}

func newBench(b *testing.B) *bench {
	w := newWorld(b, func(c *Config) {
		c.Log = nil
		c.Clients = append(c.Clients,
			storage.Client{ID: "tv", GrantTypes: []string{deviceGrant}},
			storage.Client{
				ID: "key", GrantTypes: []string{"client_credentials"}, TokenEndpointAuthMethod: "private_key_jwt", JWKS: jwks(signerOf("key", jose.ES256)),
			})
	})
	person := w.signedIn("ada@example.com")
	person.cookies[browserCookie] = keys.Token()
	return &bench{w, person, person.login()}
}

// call is a request of a client, which proves itself as it registered, with a
// DPoP proof if its tokens are bound.
func (w *bench) call(path, client string, pairs ...string) *http.Request {
	c, form := w.client(client), params(append(pairs, "client_id", client)...)
	switch {
	case c.TokenEndpointAuthMethod == "private_key_jwt":
		form = w.asserted(form, client)
	case !c.Public():
		form.Set("client_secret", secretOf(client))
	}
	r := newRequest("POST", path, form)
	if c.DPoP() {
		w.bound(r, signerOf("key of "+client, jose.ES256), "")
	}
	return r
}

// redeeming is the request that redeems a new code.
func (w *bench) redeeming(client string) *http.Request {
	c := w.client(client)
	q := request{ClientID: client, RedirectURI: c.RedirectURIs[0], Scopes: []string{"openid", "email", "offline_access"}}
	if c.PKCE() {
		q.Challenge = challenge
	}
	code, err := w.provider.newCode(q, c, w.login)
	if err != nil {
		w.Fatal(err)
	}
	return w.call("/token", client, w.exchange(client, code)...)
}

// got is a member of the JSON that a request is answered with.
func (w *bench) got(r *http.Request, name string) string {
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	var members map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &members); err != nil || members[name] == nil {
		w.Fatalf("%s: %d, no %s", r.URL.Path, rec.Code, name)
	}
	return members[name].(string)
}

// device is the code of a device, which the person has allowed or not.
func (w *bench) device(allowed bool) string {
	random, now := keys.Random(refreshRandom), w.clock.Now()
	d := storage.Device{
		ID: keys.Hash(random), UserCode: newUserCode(), ClientID: "tv", Scopes: []string{"openid", "email"},
		CreatedAt: now, ExpiresAt: now.Add(deviceTTL), Interval: deviceInterval, PollAt: now,
	}
	err := w.engine.AddDevice(w.Context(), d)
	if err == nil && allowed {
		err = w.engine.AllowDevice(w.Context(), d.UserCode, w.login, now)
	}
	if err != nil {
		w.Fatal(err)
	}
	return w.provider.newDeviceCode(random)
}

// authorize is a request of the browser, which has a session or not.
func (w *bench) authorize(session bool, form url.Values) *http.Request {
	asking := *w.browser
	if !session {
		asking.cookies = map[string]string{browserCookie: w.browser.cookies[browserCookie]}
	}
	return asking.request("GET", "/authorize", form)
}

// userinfo is a request with a token, by its scheme.
func (w *bench) userinfo(client, token string) *http.Request {
	if w.client(client).DPoP() {
		return w.resourceRequest("DPoP", token, signerOf("key of "+client, jose.ES256))
	}
	return w.resourceRequest("Bearer", token, signer{})
}

// Each endpoint, one request for each operation; what leads up to it is not
// counted.
func BenchmarkEndpoint(b *testing.B) {
	w := newBench(b)
	const rs, ps, es, ed = "RS256 ", "PS256 ", "ES256 ", "EdDSA "
	type sends = func() *http.Request
	token := func(client string) string { return w.got(w.redeeming(client), "access_token") }
	fetch := func(path, etag string) sends {
		return func() *http.Request {
			r := newRequest("GET", path, nil)
			r.Header.Set("If-None-Match", etag)
			return r
		}
	}
	// asked sends what make gives for one token again and again.
	asked := func(client string, make func(token string) *http.Request) sends {
		t := token(client)
		return func() *http.Request { return make(t) }
	}
	userinfo := func(client string) sends {
		return asked(client, func(t string) *http.Request { return w.userinfo(client, t) })
	}
	introspect := func(client string) sends {
		return asked(client, func(t string) *http.Request { return w.call("/introspect", client, "token", t) })
	}
	redeem := func(client string) sends { return func() *http.Request { return w.redeeming(client) } }
	networks := 0

	for _, c := range []struct {
		name               string
		status             int
		signatures, proofs string // algorithms of what is signed, and verified
		request            sends
	}{
		{"authorize/form", 303, "", "", func() *http.Request { return w.authorize(false, w.authorization("web")) }},
		{"authorize/silent, code", 303, "", "", func() *http.Request { return w.authorize(true, w.authorization("web")) }},
		{"authorize/silent, code id_token", 303, rs, "", func() *http.Request {
			return w.authorize(true, w.authorization("front", "response_type", "code id_token"))
		}},
		{"authorize/silent, pushed", 303, "", "", func() *http.Request {
			uri := w.got(w.call("/par", "web", pairsOf(w.authorization("web"))...), "request_uri")
			return w.authorize(true, params("client_id", "web", "request_uri", uri))
		}},
		{"par", 201, "", "", func() *http.Request { return w.call("/par", "web", pairsOf(w.authorization("web"))...) }},
		{"token/code, RS256", 200, rs + es, "", redeem("web")},
		{"token/code, PS256", 200, ps + es, "", redeem("ps")},
		{"token/code, ES256", 200, es + es, "", redeem("es")},
		{"token/code, EdDSA and RS256", 200, ed + rs, "", redeem("ed")},
		{"token/code, opaque", 200, rs, "", redeem("opaque")},
		{"token/code, private_key_jwt", 200, rs + es, es, redeem("jwt")},
		{"token/code, DPoP", 200, rs + es, es, redeem("bound")},
		{"token/code, private_key_jwt, DPoP, PS256", 200, ps + es, es + es, redeem("fapi")},
		{"token/refresh", 200, rs + es, "", func() *http.Request {
			return w.call("/token", "web", "grant_type", "refresh_token", "refresh_token", w.got(w.redeeming("web"), "refresh_token"))
		}},
		{"token/client_credentials", 200, es, "", func() *http.Request { return w.call("/token", "machine", "grant_type", "client_credentials") }},
		{"token/client_credentials, private_key_jwt", 200, es, es, func() *http.Request { return w.call("/token", "key", "grant_type", "client_credentials") }},
		{"token/device, pending", 400, "", "", func() *http.Request {
			return w.call("/token", "tv", "grant_type", deviceGrant, "device_code", w.device(false))
		}},
		{"token/device, allowed", 200, rs + es, "", func() *http.Request {
			return w.call("/token", "tv", "grant_type", deviceGrant, "device_code", w.device(true))
		}},
		{"device_authorization", 200, "", "", func() *http.Request {
			r := w.call("/device_authorization", "tv", "scope", "openid")
			networks++ // each has its limit
			r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", networks>>16&0xff, networks>>8&0xff, networks&0xff)
			return r
		}},
		{"userinfo/jwt", 200, "", es, userinfo("web")},
		{"userinfo/opaque", 200, "", "", userinfo("opaque")},
		{"userinfo/DPoP", 200, "", es + es, userinfo("bound")},
		{"userinfo/signed", 200, rs, es, userinfo("signed")},
		{"introspect/jwt", 200, "", es, introspect("web")},
		{"introspect/opaque", 200, "", "", introspect("opaque")},
		{"revoke/access token", 200, "", es, func() *http.Request { return w.call("/revoke", "web", "token", token("web")) }},
		{"revoke/refresh token", 200, "", "", func() *http.Request {
			return w.call("/revoke", "web", "token", w.got(w.redeeming("web"), "refresh_token"))
		}},
		{"discovery", 200, "", "", fetch("/.well-known/openid-configuration", "")},
		{"discovery/known", 304, "", "", fetch("/.well-known/openid-configuration", w.etag("/.well-known/openid-configuration"))},
		{"jwks", 200, "", "", fetch("/jwks", "")},
		{"jwks/known", 304, "", "", fetch("/jwks", w.etag("/jwks"))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				r, rec := c.request(), httptest.NewRecorder()
				b.StartTimer()
				w.handler.ServeHTTP(rec, r)
				if rec.Code != c.status {
					b.Fatalf("status %d, want %d: %s", rec.Code, c.status, rec.Body)
				}
			}
			w.reportShare(b, "sign", c.signatures)
			w.reportShare(b, "verify", c.proofs)
		})
	}
}

// reportShare says how much of an operation is what a bare signature takes, or
// several, or verifications.
func (w *bench) reportShare(b *testing.B, what, algs string) {
	op, all := b.Elapsed()/time.Duration(b.N), time.Duration(0)
	for _, alg := range strings.Fields(algs) {
		all += bareTime(b, w.provider.cfg.Keys, what, jose.SignatureAlgorithm(alg))
	}
	if all > 0 {
		b.ReportMetric(100*float64(all)/float64(op), "%"+what)
	}
}

func (w *bench) etag(path string) string {
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, newRequest("GET", path, nil))
	return rec.Header().Get("ETag")
}

func pairsOf(form url.Values) (pairs []string) {
	for name := range form {
		pairs = append(pairs, name, form.Get(name))
	}
	return pairs
}
