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

	"github.com/sealpost/sealpost/test/world"
)

// The proxy knows the issuer, its client id and secret, and what it needs for
// itself: its address, what lies behind it, and a secret for its cookies.
func TestOAuth2ProxyLetsAPersonThroughByMailedLink(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) { throughOAuth2Proxy(t, w) })
}

func TestOAuth2ProxyWithPKCELetsAPersonThroughByMailedLink(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) { throughOAuth2Proxy(t, w, "--code-challenge-method=S256") })
}

func throughOAuth2Proxy(t *testing.T, w *world.World, options ...string) {
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
	host := "127.0.0.1:" + world.FreePort(t)
	front, secret := "http://"+host, rand.Text()
	w.Seen.Secret("client secret", secret)
	w.Start(map[string]any{"clients": []any{map[string]any{
		"client_id": "proxy", "client_name": "Behind the proxy", "client_secret": secret,
		"redirect_uris": []string{front + "/oauth2/callback"}, "post_logout_redirect_uris": []string{front + "/"},
	}}})
	issuer, err := url.Parse(w.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	proxy := world.StartProcess(t, exec.Command(binary, append([]string{
		"--provider=oidc", "--oidc-issuer-url=" + w.Issuer, "--client-id=proxy", "--client-secret=" + secret,
		"--redirect-url=" + front + "/oauth2/callback", "--http-address=" + host, "--upstream=" + upstream.URL,
		"--email-domain=*", "--cookie-secure=false", "--cookie-secret=" + world.NewSecret()[:32],
		"--skip-provider-button", "--whitelist-domain=" + issuer.Host,
	}, options...)...), nil)
	t.Cleanup(proxy.Kill)
	proxy.Answers(front + "/ping")

	yan, b := w.Person("Yan"), w.Browser(world.Firefox)
	reaches := func(p world.Page) {
		t.Helper()
		p.MustBe("upstream", http.StatusOK)
		if got := world.Attribute(p.Find("p", "data-email"), "data-email"); got != yan {
			t.Errorf("the upstream knows %q", got)
		}
	}
	form := b.Open(front+"/some/page?of=it").MustBe("login", http.StatusOK)
	b.Submit(form, "email", "email", yan).MustBe("sent", http.StatusOK)
	arrived := b.Submit(b.Open(w.Mail.Next(yan).Link).MustBe("confirm", http.StatusOK), "confirm")
	reaches(arrived)
	if arrived.At.Path != "/some/page" || arrived.At.RawQuery != "of=it" {
		t.Errorf("the person wanted another page than %s", arrived.At)
	}

	// A proxy that has forgotten asks the provider, which knows.
	forget(b)
	reaches(b.Open(front + "/"))

	bye := b.Open(front+"/oauth2/sign_out?"+url.Values{"rd": {
		w.Issuer + "/logout?" + url.Values{"client_id": {"proxy"}, "post_logout_redirect_uri": {front + "/"}}.Encode(),
	}}.Encode()).MustBe("logout", http.StatusOK)
	out := b.Submit(bye, "logout").MustBe("logged-out", http.StatusOK)
	if out.Button() != front+"/" {
		t.Errorf("after logout the way on is %s", out.Button())
	}
	b.Open(out.Button()).MustBe("login", http.StatusOK)
}

// forget takes all cookies away but those of the provider.
func forget(b *world.Browser) {
	b.W.T.Helper()
	b.Client.Jar = b.Copy().Client.Jar
}
