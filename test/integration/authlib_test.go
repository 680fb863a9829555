//go:build integration

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

func TestAuthlibSignsInByMailedLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		rp := w.relyingParty()
		w.start(rp.client(nil), nil)
		recipe, _ := code(t, w, rp, "python")
		w.run(rp, python(t, "authlib_rp.py"), map[string]any{"recipe": recipe})
		dot := person("Dot")
		var got login
		w.browser().signIn(rp.origin+"/login", dot).says(&got)
		got.of(t, dot)
		if got.Claims.PreferredUsername != dot || !slices.Equal(got.Claims.Groups, []string{}) {
			t.Errorf("preferred_username is %q, groups %q", got.Claims.PreferredUsername, got.Claims.Groups)
		}
	})
}

// python runs a program with the Python that has Authlib: $SEALPOST_TEST_PYTHON,
// the first in PATH, or the system's.
func python(t testing.TB, program string) *exec.Cmd {
	t.Helper()
	path, err := filepath.Abs(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{os.Getenv("SEALPOST_TEST_PYTHON"), "python3", "/usr/bin/python3"} {
		if name != "" && exec.Command(name, "-c", "import authlib, flask, requests").Run() == nil {
			return exec.Command(name, path)
		}
	}
	t.Fatal("Authlib is missing; run: make test-integration, or apt-get install python3-authlib python3-flask python3-requests")
	return nil
}
