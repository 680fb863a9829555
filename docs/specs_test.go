// Package docs tests that the documents speak of what is there.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSpecs finds every file and every test that specs.md names.
func TestSpecs(t *testing.T) {
	text, err := os.ReadFile("specs.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| [^|]+ \\| `([^`|]+)`[^|]* \\| `([^`|]+)`")
	found := row.FindAllStringSubmatch(string(text), -1)
	if len(found) < 40 {
		t.Fatalf("specs.md has %d rows that can be read", len(found))
	}
	tests := map[string]string{} // all test code of a folder
	for _, m := range found {
		file, test := filepath.Join("..", m[1]), m[2]
		if _, err := os.Stat(file); err != nil {
			t.Errorf("specs.md names %s: %v", m[1], err)
		}
		where, name, ok := strings.Cut(test, ".")
		if !ok {
			t.Errorf("specs.md: test %q is not folder.TestName", test)
			continue
		}
		if _, read := tests[where]; !read {
			tests[where] = testCode(t, where)
		}
		if !strings.Contains(tests[where], "func "+name+"(") {
			t.Errorf("specs.md names test %s, which %s does not have", name, where)
		}
	}
}

func testCode(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range files {
		if code, err := os.ReadFile(name); err == nil && (strings.HasSuffix(name, "_test.go") || strings.Contains(folder, "storagetest")) {
			all.Write(code)
		}
	}
	return all.String()
}

// TestLinks follows the links between documents.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	checked := 0
	for _, page := range append(append(pages, more...), "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			checked++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
	if checked == 0 {
		t.Error("no links found")
	}
}
