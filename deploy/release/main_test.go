//go:build integration

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestReleaseIsReproducible builds the same tree in two folders, with caches of
// different age and different clocks on the files, and compares bytes.
func TestReleaseIsReproducible(t *testing.T) {
	here := runtime.GOOS + "/" + runtime.GOARCH
	made := map[string][]byte{}
	var first string
	for _, folder := range []string{"one", "another/deep down"} {
		source := filepath.Join(t.TempDir(), folder)
		copyTree(t, "../..", source)
		out := t.TempDir()
		if err := run(t.Context(), []string{"-version", "v0.0.1-test", "-source", source, "-out", out, "-platforms", here, "-date", "1700000000"}); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(out + "/*")
		if err != nil || len(files) != 3 {
			t.Fatalf("released %v, %v", files, err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Base(file)
			if before, ok := made[name]; ok && !bytes.Equal(before, content) {
				t.Errorf("%s differs between two folders", name)
			}
			made[name] = content
		}
		first = out
	}
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = first
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}

	name := "sealpost-v0.0.1-test-" + runtime.GOOS + "-" + runtime.GOARCH
	files := unpack(t, made[name+".tar.gz"], name)
	for _, want := range []string{"LICENSE", "CHANGELOG.md", "deploy/systemd/sealpost.service", "docs/quickstart.md"} {
		if len(files[want]) == 0 {
			t.Errorf("the archive has no %s", want)
		}
	}
	binary := filepath.Join(t.TempDir(), "sealpost")
	if err := os.WriteFile(binary, files["sealpost"], 0o700); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command(binary, "version").Output(); err != nil || string(said) != "sealpost v0.0.1-test\n" {
		t.Errorf("it says %q, %v", said, err)
	}
	var materials bom
	if err := json.Unmarshal(made[name+".cdx.json"], &materials); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(made[name+".cdx.json"]), "pkg:golang/github.com/jackc/pgx/v5@v") || len(materials.Components) < 20 {
		t.Errorf("the bill of materials has %d components", len(materials.Components))
	}
}

// copyTree copies what a release is made of, with clocks of their own.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	listed := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	listed.Dir = from
	names, err := listed.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// unpack reads an archive: everything of one date and of nobody, under one folder.
func unpack(t *testing.T, archive []byte, folder string) map[string][]byte {
	t.Helper()
	compressed, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(compressed); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		inside, ok := strings.CutPrefix(h.Name, folder+"/")
		if !ok || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || !h.ModTime.Equal(time.Unix(1700000000, 0)) {
			t.Errorf("%s: of %d:%d %q, %s", h.Name, h.Uid, h.Gid, h.Uname, h.ModTime)
		}
		if files[inside], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
