package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// exposureAtMost is what docs/operations.md promises of systemd-analyze security,
// in tenths.
const exposureAtMost = 12

func TestSystemd(t *testing.T) {
	unit, replica := read(t, "systemd/sealpost.service"), read(t, "systemd/replica.conf")
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatalf("%v; apt-get install systemd", err)
	}

	// A copy whose programs exist: nothing is started.
	dir := t.TempDir()
	for _, name := range []string{"sealpost.service", "oauth2-proxy.service"} {
		copied := regexp.MustCompile(`/usr/local/bin/\S+`).ReplaceAllString(read(t, "systemd/"+name), binary)
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(copied), 0o600); err != nil {
			t.Fatal(err)
		}
		verify := exec.Command(analyze, "verify", "--man=no", file)
		if out, err := verify.CombinedOutput(); err != nil || bytes.Contains(out, []byte(name)) {
			t.Errorf("%s: %v\n%s", verify, err, out)
		}
	}
	out, err := exec.Command(analyze, "security", "--offline=yes", "--no-pager", filepath.Join(dir, "sealpost.service")).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, out)
	}
	found := regexp.MustCompile(`Overall exposure level for sealpost\.service: (\d+)\.(\d)`).FindSubmatch(out)
	if found == nil {
		t.Fatalf("systemd-analyze security says no figure:\n%s", out)
	}
	if exposure, _ := strconv.Atoi(string(found[1]) + string(found[2])); exposure > exposureAtMost {
		t.Errorf("the exposure is %d tenths, more than %d:\n%s", exposure, exposureAtMost, out)
	}

	environ := func(texts ...string) (all []string) {
		for _, text := range texts {
			for _, m := range regexp.MustCompile(`(?m)^Environment=(.*)$`).FindAllStringSubmatch(text, -1) {
				all = append(all, strings.ReplaceAll(m[1], "%i", "1"))
			}
		}
		return all
	}
	in := install(t)
	says(t, in.takes(read(t, "sealpost.yaml"), environ(unit)...), "listen: :8080")
	settings := in.takes(read(t, "sealpost.yaml"), environ(unit, replica)...)
	says(t, settings, "listen: 127.0.0.1:8081")
	says(t, settings, "admin_listen: 127.0.0.1:9091")
	for _, m := range regexp.MustCompile(`(?m)^LoadCredential=([^:]+):(.+)$`).FindAllStringSubmatch(unit, -1) {
		if !strings.Contains(unit, "=%d/"+m[1]+"\n") || !strings.Contains(unit, "-"+m[2]) || !strings.Contains(read(t, "sealpost.yaml"), m[2]) {
			t.Errorf("the credential %s is handed over, and not used, or %s is not kept from the service", m[1], m[2])
		}
	}
}
