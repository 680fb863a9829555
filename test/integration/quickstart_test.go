//go:build integration

package integration

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

// A stranger does what docs/quickstart.md says, line by line, and people sign in.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	superuser, err := url.Parse(postgrestest.NewServer(t))
	if err != nil {
		t.Fatal(err)
	}
	m, blocks := newMachine(t, superuser), documented(t, "quickstart.md", "sh")
	said := m.walk(blocks)
	of := func(command string) string {
		t.Helper()
		for i, block := range blocks {
			if strings.Contains(block, command) {
				return said[i]
			}
		}
		t.Fatalf("the page has no %s", command)
		return ""
	}
	const login, app = "https://login.example.com", "https://app.example.com"
	if issuer := of("jq -r .issuer"); !strings.HasSuffix(issuer, "\n"+login+"\n") {
		t.Errorf("the provider does not say who it is: %s", issuer)
	}
	for line := range strings.Lines(of("sealpost doctor")) {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("the doctor finds %s", line)
		}
	}
	if wrong := of("journalctl"); wrong != "" {
		t.Errorf("in the log: %s", wrong)
	}
	if link := m.mail.next("you@example.com"); link != "" {
		t.Error("the test mail has a link")
	}
	w := &world{t: t, issuer: login, mail: m.mail, wire: newWire()}
	for _, replica := range []string{"sealpost@1", "sealpost@2"} {
		p := m.service(replica)
		t.Cleanup(func() { checkLog(t, p, w.wire) })
	}

	ann, b := person("Ann"), m.browser(w)
	b.signIn(login, ann).is("signed-in")
	b.open("http://app.example.com/some/page?of=it").reached("/some/page?of=it", ann) // signed in already

	// One replica goes while somebody signs in.
	bob, b := person("Bob"), m.browser(w)
	b.submit(b.open(app+"/other").is("login"), "email", "email", bob).is("sent")
	link := m.mail.next(bob)
	m.service("sealpost@1").stop()
	b.submit(b.open(link).is("confirm"), "confirm").reached("/other", bob)

	bye := b.open(app + "/oauth2/sign_out?" + url.Values{"rd": {
		login + "/logout?" + url.Values{"client_id": {"intranet"}, "post_logout_redirect_uri": {app + "/"}}.Encode(),
	}}.Encode()).is("logout")
	b.submit(bye, "logout").is("logged-out")
	b.open(app + "/").is("login")

	answer, err := http.Get("http://" + m.differs.Replace("127.0.0.1:9092") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(text), "\nsealpost_") {
		t.Errorf("metrics: %s, %v\n%s", answer.Status, err, text)
	}
	if list, err := exec.Command("pg_restore", "--list", m.backup()).CombinedOutput(); err != nil || !strings.Contains(string(list), "TABLE DATA public clients") {
		t.Errorf("the backup does not hold the clients: %v\n%s", err, list)
	}
	// The certificate is renewed from behind the redirect to https.
	renew := strings.Fields("certonly --webroot --agree-tos --non-interactive -m you@example.com -w " + m.root + "/var/www/html -d login.example.com --deploy-hook true")
	if out, err := m.certbot(renew); err != nil {
		t.Errorf("renewal: %v\n%s", err, out)
	}
}

// The same with SQLite: one replica, and what the page says of it.
func TestQuickstartWithSQLite(t *testing.T) {
	t.Parallel()
	sqlite := documented(t, "quickstart.md", "shell")[0]
	backup := regexp.MustCompile("`(sealpost backup [^`]+)`").FindStringSubmatch(pageText(t, "quickstart.md"))[1]
	changes := strings.NewReplacer("sealpost@1 sealpost@2", "sealpost@1", "replica in 1 2", "replica in 1")
	var blocks []string
	for _, block := range documented(t, "quickstart.md", "sh") {
		if strings.Contains(block, "CREATE ROLE") {
			block = sqlite
		}
		block = regexp.MustCompile(`(?m)^pg_dump .*\npg_restore .*$`).ReplaceAllLiteralString(block, backup)
		blocks = append(blocks, changes.Replace(block))
	}
	m := newMachine(t, &url.URL{})
	m.walk(blocks)
	w := &world{t: t, issuer: "https://login.example.com", mail: m.mail, wire: newWire()}
	pat := person("Pat")
	m.browser(w).signIn("https://app.example.com/some/page", pat).reached("/some/page", pat)
	if copied, err := os.ReadFile(m.backup()); err != nil || !bytes.HasPrefix(copied, []byte("SQLite format 3")) {
		t.Errorf("the backup is no database: %v", err)
	}
}

// browser is a browser in whose DNS the names of the page are.
func (m *machine) browser(w *world) *browser {
	b := w.browser()
	b.client.Transport.(*http.Transport).DialContext = m.dial
	return b
}

// backup is the file that the page's backup left.
func (m *machine) backup() string {
	m.t.Helper()
	dumps, err := filepath.Glob(m.root + "/var/backups/sealpost/*.dump")
	if err != nil || len(dumps) != 1 {
		m.t.Fatalf("the backups are %q, %v", dumps, err)
	}
	return dumps[0]
}
