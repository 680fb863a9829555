//go:build integration

package integration

import (
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
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

func TestOAuth2ProxyLetsAPersonThroughByMailedLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		r := newRecipe(t, w)
		r.origin = "https://127.0.0.1:" + front(t, r.asked, nil)
		r.letsThrough(r.oauth2Proxy())
	})
}

func TestNginxLetsAPersonThroughByMailedLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		r := newRecipe(t, w)
		r.nginx("server {\n\tlisten " + r.listen + " ssl;\n" + r.certificate() + r.page("nginx", "auth_request") + "}\n")
		r.letsThrough(r.oauth2Proxy("--upstream=http://"+r.upstream, asksFirst))
	})
}

func TestCaddyLetsAPersonThroughByMailedLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		r := newRecipe(t, w)
		site := strings.TrimPrefix(r.origin, "https://") + " {\n"
		r.caddy(strings.Replace(r.page("caddyfile", "forward_auth"), site, site+r.tls(), 1))
		r.letsThrough(r.oauth2Proxy("--upstream=http://"+r.upstream, asksFirst))
	})
}

func TestSealpostBehindTheNginxOfDeploy(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		r := newRecipe(t, w)
		r.inFront()
		r.nginx(r.sealpostNginx(w.listen))
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
	r := &recipe{t: t, w: w, asked: "127.0.0.1:" + freePort(t), upstream: application(t)}
	r.listen = "127.0.0.1:" + freePort(t)
	r.origin = "https://" + r.listen
	return r
}

// application starts something that knows nothing of logins and says what it was
// asked, and by whom, and gives its address.
func application(t testing.TB) string {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(rw).Encode([]string{r.URL.String(), cmp.Or(r.Header.Get("X-Forwarded-Email"), r.Header.Get("X-Auth-Request-Email"))})
	}))
	t.Cleanup(upstream.Close)
	return strings.TrimPrefix(upstream.URL, "http://")
}

// reached wants a page of the application, asked by somebody.
func (p page) reached(at, email string) {
	p.t.Helper()
	var got []string
	if p.says(&got); got[0] != at || got[1] != email {
		p.t.Errorf("the application got %q, want %s of %s", got, at, email)
	}
}

func (r *recipe) file(name, content string) string {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return file
}

// page is the first block of a kind on the page of recipes that has some words,
// with the addresses of the test.
func (r *recipe) page(kind, words string) string {
	r.t.Helper()
	for _, block := range documented(r.t, "integrations/proxies.md", kind) {
		if strings.Contains(block, words) {
			return r.differs().Replace(block)
		}
	}
	r.t.Fatalf("the page has no %s with %s", kind, words)
	return ""
}

// differs is all that differs from the page.
func (r *recipe) differs() *strings.Replacer {
	return strings.NewReplacer(
		"login.example.com", strings.TrimPrefix(r.w.issuer, "https://"), "app.example.com", strings.TrimPrefix(r.origin, "https://"),
		"127.0.0.1:4180", r.asked, "127.0.0.1:3000", r.upstream,
	)
}

func (r *recipe) deployed(name string) string {
	r.t.Helper()
	text, err := os.ReadFile("../../deploy/" + name)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// sealpostNginx is the site of deploy/ at the issuer, before some replicas.
func (r *recipe) sealpostNginx(replicas ...string) string {
	r.t.Helper()
	conf := r.deployed("nginx/sealpost.conf")
	servers := regexp.MustCompile(`(?m)^\tserver 127\.0\.0\.1:808\d(.*;)\n`)
	var upstream string
	for _, replica := range replicas {
		upstream += "\tserver " + replica + servers.FindStringSubmatch(conf)[1] + "\n"
	}
	conf = strings.Replace(servers.ReplaceAllString(conf, ""), "upstream sealpost {\n", "upstream sealpost {\n"+upstream, 1)
	conf = regexp.MustCompile(`(?s)server \{\s+listen 80;.*?\n\}\n`).ReplaceAllString(conf, "")
	conf = regexp.MustCompile(`listen \[::\]:443[^;]*;`).ReplaceAllString(conf, "")
	conf = strings.Replace(conf, "listen 443 ", "listen "+strings.TrimPrefix(r.w.issuer, "https://localhost:")+" ", 1)
	conf = regexp.MustCompile(`(?m)^\s*ssl_certificate(_key)? .*\n`).ReplaceAllString(conf, "")
	conf = strings.ReplaceAll(conf, "server_name login.example.com;", "server_name localhost;\n"+r.certificate())
	return strings.Replace(conf, "Host $host;", "Host $http_host;", 1) // a port that is not the default
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
	startProcess(r.t, exec.Command(nginx(r.t), "-c", r.file("nginx.conf", "master_process off;\n"+nginxConfig(r.t.TempDir(), sites))))
}

// nginx is the installed program.
func nginx(t testing.TB) string {
	t.Helper()
	binary, err := exec.LookPath("nginx")
	if err != nil {
		binary, err = exec.LookPath("/usr/sbin/nginx") // sbin may not be in PATH
	}
	if err != nil {
		t.Fatalf("nginx is missing (%v); run: make test-integration, or apt-get install nginx-light", err)
	}
	return binary
}

// nginxConfig is the main file for sites; nginx writes into a folder.
func nginxConfig(dir, sites string) string {
	var temporary string
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	return "daemon off;\nerror_log stderr;\npid " + dir + "/pid;\nevents {}\nhttp {\naccess_log off;\n" + temporary + sites + "}\n"
}

// made is a program that make puts into bin.
func made(t testing.TB, name string) string {
	t.Helper()
	binary, err := filepath.Abs("../../bin/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("%s is missing; run: make bin/%s", name, name)
	}
	return binary
}

func (r *recipe) caddy(sites string, environ ...string) {
	r.t.Helper()
	file := r.file("Caddyfile", "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"+sites)
	startProcess(r.t, exec.Command(made(r.t, "caddy"), "run", "--adapter", "caddyfile", "--config", file),
		append(environ, "XDG_DATA_HOME="+r.t.TempDir(), "XDG_CONFIG_HOME="+r.t.TempDir())...)
}

// oauth2Proxy does what the page says, and gives the link that signs out.
func (r *recipe) oauth2Proxy(changes ...string) (signOut string) {
	r.t.Helper()
	r.w.start(nil, nil)
	add, run, _ := strings.Cut(r.page("sh", "oauth2-proxy "), "\noauth2-proxy ")
	secret := r.w.addClient(add)
	run = strings.NewReplacer(changes...).Replace(run)
	p := startProcess(r.t, exec.Command("sh", "-c", "exec "+made(r.t, "oauth2-proxy")+" "+run), "SECRET="+secret, "SSL_CERT_FILE="+authority(r.t).file("authority.pem"))
	r.w.answers(p, "http://"+r.asked+"/ping")
	r.w.answers(p, r.origin+"/oauth2/sign_in")
	link := regexp.MustCompile("`(/oauth2/sign_out\\?[^`]+)`").FindStringSubmatch(pageText(r.t, "integrations/proxies.md"))
	if link == nil {
		r.t.Fatal("the page has no link that signs out")
	}
	escaped := strings.NewReplacer("login.example.com", url.QueryEscape(strings.TrimPrefix(r.w.issuer, "https://")),
		"app.example.com", url.QueryEscape(url.QueryEscape(strings.TrimPrefix(r.origin, "https://"))))
	return r.origin + escaped.Replace(link[1])
}

// addClient runs a sealpost client add of a page and gives the secret, if there
// is one.
func (w *world) addClient(command string) (secret string) {
	w.t.Helper()
	sealpost := w.sealpost()
	cmd := exec.Command("sh", "-c", `sealpost() { "`+sealpost.Path+`" "$@"; }`+"\n"+command)
	cmd.Env = sealpost.Env
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v in %s\n%s", err, command, out)
	}
	if found := regexp.MustCompile(`(?m)^client_secret: (.*)$`).FindSubmatch(out); found != nil {
		secret = string(found[1])
	}
	return secret
}

// asksFirst are the options of an oauth2-proxy that another proxy asks.
const asksFirst = "--upstream=static://202 --set-xauthrequest"

// letsThrough has somebody reach the application by way of a mail, and sign out.
func (r *recipe) letsThrough(signOut string) {
	r.t.Helper()
	gus, b := person("Gus"), r.w.browser()
	b.signIn(r.origin+"/some/page?of=it&and=more", gus).reached("/some/page?of=it&and=more", gus)
	b.open(r.origin+"/other").reached("/other", gus)
	r.w.browser().open(r.origin + "/").is("login")
	b.submit(b.open(signOut).is("logout"), "logout").is("logged-out")
	b.open(r.origin + "/").is("login")
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
