//go:build integration

package integration

import (
	"crypto/rand"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The recipes are those of docs/integrations/proxies.md, the proxies in front
// of Sealpost those of deploy/; only addresses, ports and certificates are the
// test's.

func TestNginxLetsAPersonThroughByMailedLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		r := newRecipe(t, w)
		r.nginx("server {\n\tlisten " + r.listen + " ssl;\n" + r.certificate() + r.page("nginx") + "}\n")
		r.letsThrough()
	})
}

func TestCaddyLetsAPersonThroughByMailedLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		r := newRecipe(t, w)
		r.caddy(strings.Replace(r.page("caddyfile"), "app.example.com {", r.origin+" {\n"+r.tls(), 1))
		r.letsThrough()
	})
}

func TestSealpostBehindTheNginxOfDeploy(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		r := newRecipe(t, w)
		r.inFront()
		conf := r.deployed("nginx/sealpost.conf")
		conf = regexp.MustCompile(`(?s)server \{\s+listen 80;.*?\n\}\n`).ReplaceAllString(conf, "")
		conf = regexp.MustCompile(`listen \[::\]:443[^;]*;`).ReplaceAllString(conf, "")
		conf = strings.Replace(conf, "listen 443 ", "listen "+strings.TrimPrefix(w.issuer, "https://localhost:")+" ", 1)
		conf = strings.Replace(conf, "server_name login.example.com;", "server_name localhost;", 1)
		conf = regexp.MustCompile(`(?m)^\s*ssl_certificate(_key)? .*\n`).ReplaceAllString(conf, "")
		conf = strings.Replace(conf, "server_name localhost;", "server_name localhost;\n"+r.certificate(), 1)
		conf = strings.Replace(conf, "Host $host;", "Host $http_host;", 1) // a port that is not the default
		conf = strings.Replace(conf, "server 127.0.0.1:8081;", "server "+w.listen+";", 1)
		conf = strings.Replace(conf, "\tserver 127.0.0.1:8082;\n", "", 1)
		r.nginx(conf)
		r.behind()
	})
}

func TestSealpostBehindTheCaddyOfDeploy(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		r := newRecipe(t, w)
		r.inFront()
		r.caddy(strings.Replace(r.deployed("caddy/Caddyfile"), "\tencode\n", r.tls()+"\tencode\n", 1), "SEALPOST_HOST="+w.issuer, "SEALPOST_UPSTREAM="+w.listen)
		r.behind()
	})
}

// recipe is a proxy that another asks whether somebody is signed in, and an
// application behind it that knows nothing of logins.
type recipe struct {
	relyingParty
	t        testing.TB
	w        *world
	asked    string // address of oauth2-proxy
	upstream string
}

func newRecipe(t testing.TB, w *world) *recipe {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(rw).Encode([]string{r.URL.String(), r.Header.Get("X-Forwarded-Email")})
	}))
	t.Cleanup(upstream.Close)
	r := &recipe{t: t, w: w, asked: "127.0.0.1:" + freePort(t), upstream: strings.TrimPrefix(upstream.URL, "http://")}
	r.listen, r.secret = "127.0.0.1:"+freePort(t), rand.Text()
	r.origin = "https://" + r.listen
	return r
}

func (r *recipe) file(name, content string) string {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return file
}

// page is the block of a kind on the page of recipes, with the addresses of the test.
func (r *recipe) page(kind string) string {
	r.t.Helper()
	text, err := os.ReadFile("../../docs/integrations/proxies.md")
	if err != nil {
		r.t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)\n```" + kind + "\n(.*?)```").FindSubmatch(text)
	if block == nil {
		r.t.Fatalf("the page has no %s", kind)
	}
	return strings.NewReplacer("127.0.0.1:4180", r.asked, "127.0.0.1:3000", r.upstream).Replace(string(block[1]))
}

func (r *recipe) deployed(name string) string {
	r.t.Helper()
	text, err := os.ReadFile("../../deploy/" + name)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// certificate is the one of the test in nginx, and tls in Caddy.
func (r *recipe) certificate() string {
	return "\tssl_certificate " + authority(r.t).file("certificate.pem") + ";\n\tssl_certificate_key " + authority(r.t).file("key.pem") + ";\n"
}

func (r *recipe) tls() string {
	return "\ttls " + authority(r.t).file("certificate.pem") + " " + authority(r.t).file("key.pem") + "\n"
}

func (r *recipe) nginx(sites string) {
	r.t.Helper()
	binary, err := exec.LookPath("nginx")
	if err != nil {
		binary, err = exec.LookPath("/usr/sbin/nginx") // sbin may not be in PATH
	}
	if err != nil {
		r.t.Fatalf("nginx is missing (%v); run: make test-integration, or apt-get install nginx-light", err)
	}
	dir := r.t.TempDir()
	var temporary string
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	startProcess(r.t, exec.Command(binary, "-c", r.file("nginx.conf",
		"daemon off;\nmaster_process off;\nerror_log stderr;\npid "+dir+"/pid;\nevents {}\nhttp {\naccess_log off;\n"+temporary+sites+"}\n")))
}

func (r *recipe) caddy(sites string, environ ...string) {
	r.t.Helper()
	binary, err := filepath.Abs("../../bin/caddy")
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		r.t.Fatal("caddy is missing; run: make bin/caddy")
	}
	file := r.file("Caddyfile", "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"+sites)
	startProcess(r.t, exec.Command(binary, "run", "--adapter", "caddyfile", "--config", file),
		append(environ, "XDG_DATA_HOME="+r.t.TempDir(), "XDG_CONFIG_HOME="+r.t.TempDir())...)
}

// letsThrough has somebody reach the application by way of a mail.
func (r *recipe) letsThrough() {
	r.t.Helper()
	r.w.start(r.client(map[string]any{"redirect_uris": []string{r.origin + "/oauth2/callback"}}), nil)
	binary, err := filepath.Abs("../../bin/oauth2-proxy")
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		r.t.Fatal("oauth2-proxy is missing; run: make bin/oauth2-proxy")
	}
	oauth2Proxy := startProcess(r.t, exec.Command(binary, "--provider=oidc", "--oidc-issuer-url="+r.w.issuer, "--client-id=application",
		"--client-secret="+r.secret, "--redirect-url="+r.origin+"/oauth2/callback", "--code-challenge-method=S256", "--email-domain=*",
		"--cookie-secret="+rand.Text()[:16], "--skip-provider-button", "--http-address="+r.asked, "--reverse-proxy",
		"--upstream=static://202", "--set-xauthrequest", "--provider-ca-file="+authority(r.t).file("authority.pem")))
	r.w.answers(oauth2Proxy, "http://"+r.asked+"/ping")
	r.w.answers(oauth2Proxy, r.origin+"/oauth2/sign_in")

	gus, b := person("Gus"), r.w.browser()
	knows := func(p page, at, email string) {
		r.t.Helper()
		var got []string
		if p.says(&got); got[0] != at || got[1] != email {
			r.t.Errorf("the application got %q, want %s of %s", got, at, email)
		}
	}
	knows(b.signIn(r.origin+"/some/page?of=it&and=more", gus), "/some/page?of=it&and=more", gus)
	knows(b.open(r.origin+"/other"), "/other", gus)
	r.w.browser().open(r.origin + "/").is("login")
}

// inFront moves the issuer to a port that the test's own proxy does not have.
func (r *recipe) inFront() {
	r.w.issuer = "https://localhost:" + freePort(r.t)
	r.w.settings["issuer"] = r.w.issuer
}

// behind has somebody sign in at Sealpost behind the proxy, which tells the
// address of the person: it has a limit of its own, and nobody can claim another.
func (r *recipe) behind() {
	r.t.Helper()
	r.w.start(nil, map[string]any{"limits": map[string]any{"per_network": "1/15m"}, "trusted_proxies": []string{"127.0.0.1/32"}})
	hal, b := person("Hal"), r.from("127.0.0.2", "")
	b.signIn(r.w.issuer+"/login", hal)
	if p := b.open(r.w.issuer + "/login"); !strings.Contains(p.body, hal) {
		r.t.Errorf("after the login the browser is at %s", p)
	}
	asks := func(address, claimed string) int {
		b := r.from(address, claimed)
		return b.submit(b.open(r.w.issuer+"/login").is("login"), "email", "email", person("Ida")).status
	}
	if status := asks("127.0.0.2", ""); status != http.StatusTooManyRequests {
		r.t.Errorf("a second link for the same network: %d", status)
	}
	if status := asks("127.0.0.2", "192.0.2.1"); status != http.StatusTooManyRequests {
		r.t.Errorf("a network that claims to be another: %d", status)
	}
	if status := asks("127.0.0.3", ""); status != http.StatusOK {
		r.t.Errorf("another network: %d", status)
	}
}

// from is a browser at an address of this machine, which may claim another.
func (r *recipe) from(address, claimed string) *browser {
	r.t.Helper()
	b := r.w.browser()
	transport := b.client.Transport.(*http.Transport)
	transport.DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext
	if claimed != "" {
		b.client.Transport = claimant{transport, claimed}
	}
	return b
}

// claimant sends X-Forwarded-For.
type claimant struct {
	http.RoundTripper
	address string
}

func (c claimant) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Forwarded-For", c.address)
	return c.RoundTripper.RoundTrip(r)
}
