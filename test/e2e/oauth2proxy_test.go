package e2e

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The proxy knows the issuer, its client id and secret, and what it needs for
// itself: its address, what lies behind it, and a secret for its cookies.
func TestOAuth2ProxyLetsAPersonThroughByMailedLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) { throughOAuth2Proxy(t, w) })
}

func TestOAuth2ProxyWithPKCELetsAPersonThroughByMailedLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) { throughOAuth2Proxy(t, w, "--code-challenge-method=S256") })
}

func throughOAuth2Proxy(t *testing.T, w *world, options ...string) {
	binary, err := filepath.Abs("../../bin/oauth2-proxy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatal("oauth2-proxy is missing; run: make bin/oauth2-proxy")
	}
	upstream := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "<!doctype html><body data-page=upstream><p data-email=%q>", r.Header.Get("X-Forwarded-Email"))
	}))
	defer upstream.Close()
	host := "127.0.0.1:" + freePort(t)
	front, secret := "http://"+host, rand.Text()
	w.seen.secret("client secret", secret)
	w.start(map[string]any{"clients": []any{map[string]any{
		"client_id": "proxy", "client_name": "Behind the proxy", "client_secret": secret,
		"redirect_uris": []string{front + "/oauth2/callback"}, "post_logout_redirect_uris": []string{front + "/"},
	}}})
	issuer, err := url.Parse(w.issuer)
	if err != nil {
		t.Fatal(err)
	}
	proxy := startProcess(t, exec.Command(binary, append([]string{
		"--provider=oidc", "--oidc-issuer-url=" + w.issuer, "--client-id=proxy", "--client-secret=" + secret,
		"--redirect-url=" + front + "/oauth2/callback", "--http-address=" + host, "--upstream=" + upstream.URL,
		"--email-domain=*", "--cookie-secure=false", "--cookie-secret=" + newSecret()[:32],
		"--skip-provider-button", "--whitelist-domain=" + issuer.Host,
	}, options...)...), nil)
	t.Cleanup(proxy.kill)
	proxy.answers(front + "/ping")

	yan, b := w.person("Yan"), w.browser(firefox)
	reaches := func(p page) {
		t.Helper()
		p.is("upstream", http.StatusOK)
		if got := attribute(p.find("p", "data-email"), "data-email"); got != yan {
			t.Errorf("the upstream knows %q", got)
		}
	}
	form := b.open(front+"/some/page?of=it").is("login", http.StatusOK)
	b.submit(form, "email", "email", yan).is("sent", http.StatusOK)
	arrived := b.submit(b.open(w.mail.next(yan).Link).is("confirm", http.StatusOK), "confirm")
	reaches(arrived)
	if arrived.at.Path != "/some/page" || arrived.at.RawQuery != "of=it" {
		t.Errorf("the person wanted another page than %s", arrived.at)
	}

	// A proxy that has forgotten asks the provider, which knows.
	b.forget()
	reaches(b.open(front + "/"))

	bye := b.open(front+"/oauth2/sign_out?"+url.Values{"rd": {
		w.issuer + "/logout?" + url.Values{"client_id": {"proxy"}, "post_logout_redirect_uri": {front + "/"}}.Encode(),
	}}.Encode()).is("logout", http.StatusOK)
	out := b.submit(bye, "logout").is("logged-out", http.StatusOK)
	if out.button() != front+"/" {
		t.Errorf("after logout the way on is %s", out.button())
	}
	b.open(out.button()).is("login", http.StatusOK)
}

// forget takes all cookies away but those of the provider.
func (b *browser) forget() {
	b.w.t.Helper()
	b.client.Jar = b.copy().client.Jar
}
