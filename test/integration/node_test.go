//go:build integration

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// node runs one of the programs of the directory node.
func node(t testing.TB, program string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("Node.js is missing; run: make test-integration, or apt-get install nodejs npm")
	}
	if _, err := os.Stat("node/node_modules/openid-client"); err != nil {
		t.Fatal("openid-client is missing; run: make test-integration, or npm ci in test/integration/node")
	}
	path, err := filepath.Abs(filepath.Join("node", program))
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command("node", path)
}
