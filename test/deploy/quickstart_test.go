package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestQuickstartFiles holds the files that docs/quickstart.md writes to who
// reads them, and every path in it to what the repository has.
func TestQuickstartFiles(t *testing.T) {
	text, err := os.ReadFile("../../docs/quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	files := map[string]string{} // by the name they are written to
	for _, m := range regexp.MustCompile(`(?s)cat > (\S+) <<'?EOF'?\n(.*?)\nEOF\n`).FindAllStringSubmatch(page, -1) {
		files[m[1]] = os.Expand(m[2], func(name string) string {
			return map[string]string{
				"LOGIN": "login.example.com", "APP": "app.example.com", "ALLOW": "*@example.com", "MAIL_FROM": "Example <login@example.com>",
				"secret": "a-secret-of-a-client",
			}[name]
		})
		if m[1] == "/etc/cron.daily/sealpost-backup" { // its variables are its own
			files[m[1]] = m[2]
		}
	}
	if len(files) != 3 {
		t.Fatalf("the page writes %d files", len(files))
	}

	settings := install(t).takes(files["/etc/sealpost/sealpost.yaml"])
	says(t, settings, "issuer: https://login.example.com")

	proxy, err := filepath.Abs("../../bin/oauth2-proxy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(proxy); err != nil {
		t.Fatal("oauth2-proxy is missing; run: make bin/oauth2-proxy")
	}
	config := regexp.MustCompile(`(?m)^cookie_secret = .*$`).ReplaceAllString(files["/etc/oauth2-proxy/oauth2-proxy.cfg"], `cookie_secret = "`+strings.Repeat("0", 32)+`"`)
	file := filepath.Join(t.TempDir(), "oauth2-proxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(proxy, "--config", file, "--config-test").CombinedOutput(); err != nil {
		t.Errorf("oauth2-proxy: %v\n%s", err, out)
	}

	check := exec.Command("sh", "-n")
	check.Stdin = strings.NewReader(files["/etc/cron.daily/sealpost-backup"])
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("a shell cannot read the backup: %v\n%s", err, out)
	}
	for _, path := range regexp.MustCompile(`\bdeploy/[a-z0-9./-]+[a-z]`).FindAllString(page, -1) {
		if _, err := os.Stat(filepath.Join("../..", path)); err != nil {
			t.Errorf("the page names %s: %v", path, err)
		}
	}
}
