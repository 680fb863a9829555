package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows are what each package may import of this module. Arrows point down:
// who imports everything is imported by nobody, and what everybody imports
// imports nothing.
var arrows = map[string][]string{
	"cmd/sealpost":     {"provider", "login", "keys", "storage", "storage/postgres", "storage/sqlite", "templates", "docs"},
	"deploy/release":   {},
	"docs":             {},
	"provider":         {"keys", "storage", "templates"},
	"login":            {"keys", "storage", "templates"},
	"keys":             {"storage"},
	"templates":        {},
	"storage/postgres": {"storage", "migrations"},
	"storage/sqlite":   {"storage", "migrations"},
	"migrations":       {},
	"storage":          {},
}

// testSupport are packages that only tests import. They may import what they
// like.
func testSupport(name string) bool {
	return strings.HasPrefix(name, "test/") || name == "storage/storagetest" || name == "storage/postgres/postgrestest"
}

// listed is a package as go list tells it, its tests left out.
type listed struct {
	ImportPath string
	GoFiles    []string
	Imports    []string
	Module     *struct{ Path string }
}

func TestArrowsPointDown(t *testing.T) {
	const module = "github.com/sealpost/sealpost"
	inside := func(path string) (string, bool) { return strings.CutPrefix(path, module+"/") }

	seen := map[string]bool{}
	for _, p := range goList(t, "./...") {
		name, ok := inside(p.ImportPath)
		if !ok {
			t.Errorf("%s is not in a folder of the module", p.ImportPath)
			continue
		}
		if testSupport(name) {
			continue
		}
		if len(p.GoFiles) == 0 {
			t.Errorf("%s has no files", name)
		}
		seen[name] = true
		allowed, ok := arrows[name]
		if !ok {
			t.Errorf("%s is new: say in this test what it may import", name)
		}
		for _, path := range p.Imports {
			if other, ok := inside(path); ok && !slices.Contains(allowed, other) {
				t.Errorf("%s imports %s", name, other)
			}
		}
	}
	for name := range arrows {
		if !seen[name] {
			t.Errorf("there is no package %s", name)
		}
	}
}

// TestTheProgramHoldsNoTestSupport looks at everything the program is linked
// of.
func TestTheProgramHoldsNoTestSupport(t *testing.T) {
	own := 0
	for _, p := range goList(t, "-deps", "./cmd/sealpost") {
		if p.Module == nil {
			if p.ImportPath == "testing" {
				t.Error("package testing is linked into the program")
			}
			continue
		}
		if name, ok := strings.CutPrefix(p.ImportPath, "github.com/sealpost/sealpost/"); ok {
			own++
			if testSupport(name) {
				t.Errorf("%s is linked into the program", name)
			}
		}
		for _, module := range []string{"github.com/chromedp/chromedp", "github.com/rogpeppe/go-internal", "github.com/maxmind/mmdbwriter", "github.com/santhosh-tekuri/jsonschema/v6"} {
			if p.Module.Path == module {
				t.Errorf("%s is linked into the program", p.ImportPath)
			}
		}
	}
	if want := len(arrows) - 1; own != want { // deploy/release is a program of its own
		t.Errorf("%d packages of ours are linked, want %d", own, want)
	}
}

// goList asks the go command, from the top of the module. Finding nothing is a
// failure.
func goList(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,GoFiles,Imports,Module"}, args...)...)
	cmd.Dir = "../.."
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &complaint)
	}
	var packages []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		t.Fatalf("%v: no packages", cmd)
	}
	return packages
}
