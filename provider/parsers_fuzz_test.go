package provider

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// FuzzReadCall holds what every endpoint for clients reads first: one value for
// each parameter, from the body alone, and one method of authentication or an
// error that tells nothing.
func FuzzReadCall(f *testing.F) {
	f.Add("/token", "grant_type=authorization_code&code=x", "application/x-www-form-urlencoded", "", "client_id=web")
	f.Add("/token", "client_id=web&client_secret=y", "application/x-www-form-urlencoded; charset=utf-8", "Basic d2ViOng=", "")
	f.Add("/par", "client_assertion=x.y.z&client_assertion_type="+url.QueryEscape(assertionType), "application/x-www-form-urlencoded", "", "code=x")
	f.Add("/introspect", "token=%zz", "text/plain", "Basic %%%", "x=%")
	f.Add("/revoke", "token=a&token=b", "application/x-www-form-urlencoded", "bearer x", "")
	f.Add("/register", "{}", "application/json", "", "")
	f.Fuzz(func(t *testing.T, path, form, media, authorization, query string) {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, " ?#%\x7f") || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' }) {
			return
		}
		r := httptest.NewRequest("POST", issuer+"/token", strings.NewReader(form))
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header.Set("Content-Type", media)
		r.Header.Set("Authorization", authorization)
		c, err := readCall(httptest.NewRecorder(), r)
		if err != nil {
			checkDescription(t, publicError(err).Description)
			return
		}
		for name, values := range c.form {
			if len(values) != 1 && name != "resource" {
				t.Errorf("%s has %d values", name, len(values))
			}
		}
		method, id, err := methodOf(c)
		if (err == nil) != (method.name != "" && id != "") {
			t.Errorf("method %q, client %q, %v", method.name, id, err)
		}
		if err != nil {
			checkDescription(t, publicError(err).Description)
		}
	})
}

// FuzzReadProof holds the reader of DPoP proofs to what it promises: a proof is
// of a public key of a supported algorithm, and good for its request alone.
func FuzzReadProof(f *testing.F) {
	w := newWorld(f)
	now := w.clock.Now()
	for _, alg := range dpopAlgorithms {
		f.Add(w.proofOf(signerOf("fuzz", alg), w.proofClaims("POST", "/token", "")))
	}
	f.Add(hmacSigned(f, w.proofClaims("POST", "/token", "")))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		jkt, claims, err := readProof(token)
		if (err == nil) != (jkt != "") {
			t.Fatalf("key %q, %v", jkt, err)
		}
		if err != nil {
			return
		}
		if !isChallenge(jkt) {
			t.Errorf("thumbprint %q", jkt)
		}
		if claims.check("POST", issuer+"/token", "", now) == nil && claims.check("GET", issuer+"/token", "", now) == nil {
			t.Error("good for two methods")
		}
		if claims.check("POST", issuer+"/token", "", now.Add(time.Hour)) == nil {
			t.Error("good an hour later")
		}
	})
}

// FuzzSameEndpoint holds the comparison of htu to its endpoint: whatever it
// takes leads there.
func FuzzSameEndpoint(f *testing.F) {
	for _, htu := range []string{
		issuer + "/token", issuer + "/token?x", "HTTPS://LOGIN.EXAMPLE.COM:443/token#x", "https://login.example.com@evil.example/token",
		"https://login.example.com\\/token", "//login.example.com/token", "https:/token", "https://login.example.com/%74oken",
	} {
		f.Add(htu)
	}
	f.Fuzz(func(t *testing.T, htu string) {
		if !sameEndpoint(htu, issuer+"/token") {
			return
		}
		u, err := url.Parse(htu)
		if err != nil || !strings.EqualFold(u.Hostname(), "login.example.com") || u.Path != "/token" || !strings.EqualFold(u.Scheme, "https") || u.User != nil {
			t.Errorf("%q was taken", htu)
		}
	})
}

// FuzzAssertedClient holds the reader of client assertions to what it promises:
// a name, or an error, before anything is proven.
func FuzzAssertedClient(f *testing.F) {
	w := newWorld(f)
	f.Add(signerOf("jwt", jose.ES256).sign(f, w.assertion("jwt"), nil), assertionType)
	f.Add("x.y.z", assertionType)
	f.Add("", assertionType)
	f.Add("x", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer")
	f.Fuzz(func(t *testing.T, token, kind string) {
		c := &call{form: url.Values{"client_assertion": {token}, "client_assertion_type": {kind}}}
		id, used, err := assertedClient(c)
		if used != (token != "" || kind != "") || err == nil && used && id == "" || err != nil && id != "" {
			t.Errorf("%q of %q: client %q, used %v, %v", token, kind, id, used, err)
		}
	})
}

// FuzzResourceDomain holds WebFinger to one spelling of a domain.
func FuzzResourceDomain(f *testing.F) {
	for _, s := range []string{"acct:ada@example.com", "acct:@x", "acct:a@b@c", "https://EXAMPLE.com/ada", "https://u:p@example.com", "mailto:x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, resource string) {
		if domain := resourceDomain(resource); domain != strings.ToLower(domain) || domain != "" && !strings.Contains(strings.ToLower(resource), domain) {
			t.Errorf("%q is of %q", resource, domain)
		}
	})
}
