package docs

import (
	"io/fs"
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

// TestModules holds each module of the section Certification to a test that names
// it, or that has the words beside the test, and the modules of a test to the
// section.
func TestModules(t *testing.T) {
	text, err := os.ReadFile("specs.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("^\\| `([A-Za-z0-9_-]+)` \\| (passed|warning|review|skipped) \\| `([^`.]+)\\.([A-Za-z0-9_]+)`(?:: \"([^\"|]+)\")? \\|$")
	listed := map[string]bool{}
	for line := range strings.SplitSeq(string(text), "\n") {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		m := row.FindStringSubmatch(line)
		if m == nil || listed[m[1]] {
			t.Errorf("specs.md has a module twice, or a row that says something else: %s", line)
			continue
		}
		listed[m[1]] = true
		words := regexp.MustCompile(`(^|[^\w-])(fapi2-security-profile-final-)?` + m[1] + `($|[^\w-])`)
		if m[5] != "" {
			words = regexp.MustCompile(regexp.QuoteMeta(m[5]))
		}
		if !words.MatchString(fileOf(t, m[3], m[4])) {
			t.Errorf("specs.md: the file of %s.%s does not name %s", m[3], m[4], m[1])
		}
	}
	named := regexp.MustCompile(`"(oidcc-[\w-]+)"`).FindAllStringSubmatch(fileOf(t, "provider", "TestCertification"), -1)
	if len(listed) < 130 || len(named) < 60 {
		t.Errorf("specs.md lists %d modules, the test names %d", len(listed), len(named))
	}
	for _, m := range named {
		if !listed[m[1]] {
			t.Errorf("specs.md does not list %s", m[1])
		}
	}
}

// fileOf is the code of the file that has a test.
func fileOf(t *testing.T, folder, test string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if code, err := os.ReadFile(name); err == nil && strings.Contains(string(code), "func "+test+"(") {
			return string(code)
		}
	}
	t.Errorf("%s has no test %s", folder, test)
	return ""
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

// TestNamedTests finds every test that a page names as folder.TestName.
func TestNamedTests(t *testing.T) {
	named := 0
	for _, pattern := range []string{"*.md", "*/*.md"} {
		pages, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile("`(e2e|integration|deploy)\\.(Test\\w+)`").FindAllStringSubmatch(string(text), -1) {
				named++
				if !strings.Contains(testCode(t, filepath.Join("test", m[1])), "func "+m[2]+"(") {
					t.Errorf("%s names %s.%s, which does not exist", page, m[1], m[2])
				}
			}
		}
	}
	if named < 10 {
		t.Errorf("only %d tests are named", named)
	}
}

// Every test that security.md and accessibility.md name is there.
func TestTestsOfSecurity(t *testing.T) {
	there := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(code), -1) {
			there[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"security.md", "accessibility.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(text), -1)
		if len(named) == 0 {
			t.Errorf("%s names no test", page)
		}
		for _, m := range named {
			if !there[m[1]] {
				t.Errorf("%s names %s, which is not there", page, m[1])
			}
		}
	}
}

// TestFaults finds the tests that faults.md names, and in it all tests of
// test/fault.
func TestFaults(t *testing.T) {
	text, err := os.ReadFile("faults.md")
	if err != nil {
		t.Fatal(err)
	}
	folders := map[string]string{"fault": "test/fault", "e2e": "test/e2e", "sqlite": "storage/sqlite"}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z0-9]+)\\.(Test\\w+)`").FindAllStringSubmatch(string(text), -1) {
		named[m[2]] = true
		if !strings.Contains(testCode(t, folders[m[1]]), "func "+m[2]+"(") {
			t.Errorf("faults.md names test %s, which %s does not have", m[2], m[1])
		}
	}
	there := regexp.MustCompile(`(?m)^func (Test[A-Z]\w+)\(t `).FindAllStringSubmatch(testCode(t, folders["fault"]), -1)
	if len(there) < 10 {
		t.Errorf("test/fault has %d tests", len(there))
	}
	for _, m := range there {
		if !named[m[1]] {
			t.Errorf("faults.md does not name %s", m[1])
		}
	}
}
