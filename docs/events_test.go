package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/storage"
)

// TestEvents holds events.md, the constants of storage and its list of them to
// each other.
func TestEvents(t *testing.T) {
	text, err := os.ReadFile("events.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "## Every event")
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z.-]+)` \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(list, -1) {
		listed = append(listed, m[1])
	}
	constants := eventConstants(t)
	if want := slices.Sorted(maps.Values(constants)); !slices.Equal(slices.Sorted(slices.Values(listed)), want) || len(want) < 20 {
		t.Errorf("events.md lists %q, the constants are %q", listed, want)
	}
	var names []string
	for _, name := range storage.EventNames() {
		names = append(names, string(name))
	}
	if !slices.Equal(names, listed) {
		t.Errorf("EventNames are %q, events.md lists %q", names, listed)
	}
}

// eventConstants are the constants of type EventName, by their own name.
func eventConstants(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../storage/event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "EventName" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found[spec.Names[0].Name] = value
		}
		return true
	})
	return found
}
