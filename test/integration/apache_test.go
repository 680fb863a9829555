//go:build integration

package integration

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
)

func TestApacheLetsAPersonThroughByMailedLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		a := newApache(t, w)
		a.run("--no-id-token-claims", nil) // they come from userinfo
		eve, b := person("Eve"), w.browser()
		a.knows(b.signIn(a.origin+"/some/page?of=it", eve), "/some/page?of=it", eve)
		a.knows(b.open(a.origin+"/other"), "/other", eve)

		bye := b.open(a.origin + "/oidc/callback?" + url.Values{"logout": {a.origin + "/bye"}}.Encode())
		a.knows(bye, "/bye", "")
		b.open(a.origin + "/some/page").is("login")
	})
}

// The person signs out at the provider, which tells the application (OIDC
// Back-Channel Logout §2.5).
func TestApacheForgetsAPersonByBackChannelLogout(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		a := newApache(t, w)
		a.run("", map[string]any{"outbound": map[string]any{"allow": []string{"127.0.0.0/8", "::1/128"}, "ca_file": authority(t).file("authority.pem")}})
		fay, here, there := person("Fay"), w.browser(), w.browser()
		a.knows(here.signIn(a.origin+"/", fay), "/", fay)
		a.knows(there.signIn(a.origin+"/", fay), "/", fay)

		here.submit(here.open(w.issuer+"/logout").is("logout"), "logout").is("logged-out")
		eventually(t, "end of the session in the application", func() bool { return here.open(a.origin+"/").name() == "login" })
		a.knows(there.open(a.origin+"/"), "/", fay) // another session of the same person
	})
}

// apache is mod_auth_openidc before something that knows nothing of logins.
type apache struct{ *recipe }

func newApache(t testing.TB, w *world) *apache {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(rw).Encode(request{r.URL.String(), r.Header.Get("OIDC_CLAIM_email"), r.Header.Get("OIDC_CLAIM_email_verified"), r.Header.Get("OIDC_CLAIM_sub")})
	}))
	t.Cleanup(upstream.Close)
	a := &apache{newRecipe(t, w)}
	a.upstream = upstream.URL
	return a
}

// request is what reached the application, and who made it.
type request struct{ URL, Email, EmailVerified, Subject string }

// knows wants a request to have reached the application as somebody's.
func (a *apache) knows(p page, at, email string) {
	a.t.Helper()
	var got request
	p.says(&got)
	if got.URL != at || got.Email != email || (got.EmailVerified == "1") != (email != "") || (got.Subject != "") != (email != "") {
		a.t.Errorf("the application got %+v, want %s of %q", got, at, email)
	}
}

const apacheModules = "/usr/lib/apache2/modules"

var apacheConfig = template.Must(template.New("").Parse(`
ServerRoot "{{.Dir}}"
DefaultRuntimeDir "{{.Dir}}"
PidFile "{{.Dir}}/pid"
ServerName 127.0.0.1
Listen {{.Listen}}
StartServers 1
ErrorLog /dev/stderr
LogLevel warn auth_openidc:info
{{range .Load}}LoadModule {{.}}_module {{$.Modules}}/mod_{{.}}.so
{{end}}
{{if .Root}}
User #65534
Group #65534
{{end}}
SSLEngine on
SSLCertificateFile "{{.Certificate}}"
SSLCertificateKeyFile "{{.Key}}"

OIDCCABundlePath "{{.Authority}}"
ProxyPass / {{.Upstream}}/
{{.Recipe}}
<Location /bye>
	AuthType None
	Require all granted
</Location>
`))

// run adds the client of the page, with some more options, starts provider and
// server and waits until they answer.
func (a *apache) run(options string, more map[string]any) {
	a.t.Helper()
	a.w.start(nil, more)
	secret := a.w.addClient(strings.TrimSpace(a.page("sh", "client add apache")) + " " + options)
	recipe := strings.NewReplacer("OIDCClientSecret …", "OIDCClientSecret "+secret, "OIDCCryptoPassphrase …", "OIDCCryptoPassphrase "+rand.Text()).Replace(a.page("apache", "OIDCClientID"))
	binary, err := exec.LookPath(cmp.Or(os.Getenv("SEALPOST_TEST_APACHE"), "apache2"))
	if err != nil {
		binary, err = exec.LookPath("/usr/sbin/apache2") // sbin may not be in PATH
	}
	if err == nil {
		_, err = os.Stat(apacheModules + "/mod_auth_openidc.so")
	}
	if err != nil {
		a.t.Fatalf("mod_auth_openidc is missing (%v); run: make test-integration, or apt-get install apache2-bin libapache2-mod-auth-openidc", err)
	}
	dir := a.t.TempDir()
	var config strings.Builder
	if err := apacheConfig.Execute(&config, map[string]any{
		"Dir": dir, "Listen": a.listen, "Upstream": a.upstream, "Recipe": recipe, "Root": os.Geteuid() == 0,
		"Modules": apacheModules, "Load": []string{"mpm_event", "authn_core", "authz_core", "authz_user", "proxy", "proxy_http", "ssl", "auth_openidc"},
		"Certificate": authority(a.t).file("certificate.pem"), "Key": authority(a.t).file("key.pem"), "Authority": authority(a.t).file("authority.pem"),
	}); err != nil {
		a.t.Fatal(err)
	}
	file := filepath.Join(dir, "apache.conf")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		a.t.Fatal(err)
	}
	server := startProcess(a.t, exec.Command(binary, "-f", file, "-DFOREGROUND"))
	a.w.answers(server, a.origin+"/bye")
}
