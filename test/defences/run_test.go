//go:build defences

package defences

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMutants runs the tests named against each mutant, and demands that each of
// them fails, by saying what it misses, and passes against the program as it is.
// Go's -overlay puts the changed files in the place of the others: the tree stays
// as it is.
func TestMutants(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		for _, name := range []string{"TestHostileMail/.*", "Test.*"} {
			if out, err := suite(t, "", engine, name); err != nil {
				t.Fatalf("the program itself fails:\n%s", out)
			}
		}
	}
	for _, m := range Mutants {
		t.Run(strings.ReplaceAll(m.Defence, "/", " "), func(t *testing.T) {
			overlay := m.overlay(t)
			if out, err := run(t, overlay, "build", "-o", os.DevNull, "./cmd/sealpost"); err != nil {
				t.Fatalf("it does not build:\n%s", out)
			}
			for _, engine := range m.engines() {
				for _, name := range m.Tests {
					out, err := suite(t, overlay, engine, name)
					switch missed := assertion.FindString(out); {
					case err == nil:
						t.Errorf("%s does not notice on %s", name, engine)
					case missed == "" || broken.MatchString(out):
						t.Errorf("%s fails for another reason on %s:\n%s", name, engine, out)
					default:
						t.Logf("%s, %s: %s", name, engine, missed)
					}
				}
			}
		})
	}
}

var (
	// assertion is where a test says what it misses.
	assertion = regexp.MustCompile(`(attack|account|hostile|tools)_test\.go:\d+: .*`)
	// broken is a test that came to no verdict.
	broken = regexp.MustCompile(`(?m)^panic: |test timed out|\[build failed\]`)
)

// engines are those whose statements the mutant changes: both, or else SQLite,
// as all that stands above them is the same program.
func (m Mutant) engines() []string {
	for _, e := range m.Edits {
		if strings.HasPrefix(e.File, "storage/") {
			return []string{"sqlite", "postgres"}
		}
	}
	return []string{"sqlite"}
}

// suite runs a test of test/attack, or of test/hostile, on an engine.
func suite(t *testing.T, overlay, engine, name string) (out string, err error) {
	t.Helper()
	pkg, pattern := "./test/attack", name+"$/"
	if hostile, ok := strings.CutPrefix(name, "TestHostileMail/"); ok {
		pkg, pattern = "./test/hostile", "TestHostileMail$/^"+strings.TrimSuffix(hostile, "$")+"$/"
	}
	out, err = run(t, overlay, "test", "-count=1", "-timeout=5m", "-run", "^"+pattern+"^"+engine+"$", pkg)
	if strings.Contains(out, "no tests to run") {
		t.Fatalf("%s %s runs nothing", pkg, pattern)
	}
	return out, err
}

func run(t *testing.T, overlay string, args ...string) (string, error) {
	t.Helper()
	c := exec.Command("go", args...)
	c.Dir = root
	c.Env = append(os.Environ(), "SEALPOST_TEST_RACE=off")
	if overlay != "" {
		c.Env = append(c.Env, "GOFLAGS=-overlay="+overlay) // of the binary that the tests build, too
	}
	out, err := c.CombinedOutput()
	return string(out), err
}

// overlay writes the changed files and where they go.
func (m Mutant) overlay(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	changed := map[string]string{}
	for _, e := range m.Edits {
		if changed[e.File] == "" {
			changed[e.File] = read(t, e.File)
		}
		changed[e.File] = strings.Replace(changed[e.File], e.Old, e.New, 1)
	}
	replace := map[string]string{}
	for file, text := range changed {
		from, err := filepath.Abs(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		replace[from] = to
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
