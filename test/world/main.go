package world

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait. Nothing here is waited for unless it must come,
// so only a failure takes that long. It is longer than a mail that a killed
// process was sending stays leased.
const patience = 3 * time.Minute

// scratch is where the binary is built, tags what it is built with.
var (
	scratch string
	tags    string
)

// WithoutRace has the binary built without the race detector, which makes it
// slow to start and to serve, where much is started and e2e races the same;
// SEALPOST_TEST_RACE=on has it all the same.
func WithoutRace() {
	if os.Getenv("SEALPOST_TEST_RACE") == "" {
		if err := os.Setenv("SEALPOST_TEST_RACE", "off"); err != nil {
			panic(err)
		}
	}
}

// RunTests runs the tests of a package, and gives the exit code. The binary is
// built with the build tag, if there is one.
func RunTests(m *testing.M, tag ...string) int {
	tags = strings.Join(tag, ",")
	// Tests wait for other processes, and for the clocks of pages, much more
	// than they work.
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked {
		if err := flag.Set("test.parallel", "6"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	var err error
	if scratch, err = os.MkdirTemp("", "sealpost-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	return m.Run()
}

var build = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(scratch, "sealpost")
	args := []string{"build", "-o", binary, "-tags", tags}
	if os.Getenv("SEALPOST_TEST_RACE") != "off" { // when only what it does matters, and not how often it is built
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "github.com/sealpost/sealpost/cmd/sealpost")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

// Binary gives the binary, built with the race detector: a race is a line
// that is no JSON and an exit code that is not 0.
func Binary(t testing.TB) string {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// OnEveryEngine runs a scenario on a new installation for each engine.
func OnEveryEngine(t *testing.T, scenario func(t *testing.T, w *World)) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			scenario(t, New(t, engine))
		})
	}
}

// Eventually waits until something holds.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in %s there was no %s", patience, what)
		}
	}
}

// Await waits for a channel.
func Await(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("in %s there was no %s", patience, what)
	}
}
