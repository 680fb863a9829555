package defences

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table in docs/security.md")

const root = "../../"

func read(t testing.TB, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// What is taken out is there, once; else the mutant would be the program.
func TestDefencesAreThere(t *testing.T) {
	for _, m := range Mutants {
		if len(m.Edits) == 0 || len(m.Tests) == 0 {
			t.Errorf("%s: nothing is taken out, or nothing notices", m.Defence)
		}
		for _, e := range m.Edits {
			if n := strings.Count(read(t, e.File), e.Old); n != 1 {
				t.Errorf("%s: %s holds it %d times: %q", m.Defence, e.File, n, e.Old)
			}
		}
	}
}

// Every test of both suites notices something, and every test named is there.
func TestEveryTestNotices(t *testing.T) {
	there := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, "test/attack/*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`).FindAllStringSubmatch(read(t, strings.TrimPrefix(file, root)), -1) {
			there[m[1]] = false
		}
	}
	list := regexp.MustCompile(`(?s)var hostiles = .*?\n}\n`).FindString(read(t, "test/hostile/hostile_test.go"))
	for _, m := range regexp.MustCompile(`(?m)^\t\{"([^"]+)", \w+\},`).FindAllStringSubmatch(list, -1) {
		there["TestHostileMail/"+strings.ReplaceAll(m[1], " ", "_")] = false
	}
	if len(there) < 25 {
		t.Fatalf("only %d tests are found", len(there))
	}
	for _, m := range Mutants {
		for _, name := range m.Tests {
			name = strings.TrimSuffix(name, "$")
			if _, ok := there[name]; !ok {
				t.Errorf("%s: there is no %s", m.Defence, name)
			}
			there[name] = true
		}
	}
	for name, noticed := range there {
		if !noticed {
			t.Errorf("%s fails without no defence", name)
		}
	}
}

// The table in docs/security.md is that of Mutants.
func TestTable(t *testing.T) {
	const begin, end = "<!-- defences -->\n", "<!-- /defences -->\n"
	page := read(t, "docs/security.md")
	before, rest, ok := strings.Cut(page, begin)
	have, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("docs/security.md has no %q and %q", begin, end)
	}
	want := table()
	if have == want {
		return
	}
	if !*update {
		t.Fatal("the table in docs/security.md is another: run go test ./test/defences -update")
	}
	if err := os.WriteFile(filepath.Join(root, "docs/security.md"), []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("| defence | taken out of | what fails then |\n| --- | --- | --- |\n")
	for _, m := range Mutants {
		var files, tests []string
		for _, e := range m.Edits {
			if !slices.Contains(files, "`"+e.File+"`") {
				files = append(files, "`"+e.File+"`")
			}
		}
		for _, name := range m.Tests {
			name = strings.TrimSuffix(name, "$")
			if hostile, ok := strings.CutPrefix(name, "TestHostileMail/"); ok {
				name = "hostile: " + strings.ReplaceAll(hostile, "_", " ")
			} else {
				name = "`" + name + "`"
			}
			tests = append(tests, name)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", m.Defence, strings.Join(files, ", "), strings.Join(tests, "; "))
	}
	return b.String()
}
