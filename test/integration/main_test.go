//go:build integration

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait. Nothing here is waited for unless it must come,
// so only a failure takes that long.
const patience = time.Minute

// scratch is where the binary is built and the certificates are.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "sealpost-integration-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	if err := os.Chmod(scratch, 0o755); err != nil { // servers that give up their rights read certificates here
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build makes the binary with the race detector, or takes the one that
// SEALPOST_TEST_BINARY names.
var build = sync.OnceValues(func() (string, error) {
	if binary := os.Getenv("SEALPOST_TEST_BINARY"); binary != "" {
		return filepath.Abs(binary)
	}
	binary := filepath.Join(scratch, "sealpost")
	cmd := exec.Command("go", "build", "-race", "-o", binary, "github.com/sealpost/sealpost/cmd/sealpost")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

// onEveryEngine runs a scenario on a new installation for each engine.
func onEveryEngine(t *testing.T, scenario func(t *testing.T, w *world)) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			scenario(t, newWorld(t, engine))
		})
	}
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in %s there was no %s", patience, what)
		}
	}
}
