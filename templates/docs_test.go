package templates

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/branding.md lists every page with its forms, and every data- attribute.
func TestTheDocumentsListEveryHook(t *testing.T) {
	text, err := os.ReadFile("../docs/branding.md")
	if err != nil {
		t.Fatal(err)
	}
	told, attributes := map[string][]string{}, map[string]bool{}
	names := regexp.MustCompile("`([a-z-]+)`")
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.Contains(cells[1], "`") {
			continue
		}
		for _, page := range names.FindAllStringSubmatch(cells[1], -1) {
			if strings.HasPrefix(page[1], "data-") {
				attributes[page[1]] = true
				continue
			}
			told[page[1]] = nil
			for _, form := range names.FindAllStringSubmatch(cells[2], -1) {
				told[page[1]] = append(told[page[1]], form[1])
			}
			slices.Sort(told[page[1]])
		}
	}
	s, there, used := site(t), map[string]map[string]bool{}, map[string]bool{"data-page": true, "data-form": true}
	for _, it := range samples(intranet, ada) {
		doc := render(t, s, it)
		if there[it.page.page()] == nil {
			there[it.page.page()] = map[string]bool{}
		}
		for _, f := range doc.with("data-form") {
			there[it.page.page()][f.get("data-form")] = true
		}
		doc.all(func(e *node) bool {
			for _, a := range e.Attr {
				if strings.HasPrefix(a.Key, "data-") && !slices.Contains(ornaments, a.Key) {
					used[a.Key] = true
				}
			}
			return false
		})
	}
	for page, forms := range there {
		if want := slices.Sorted(maps.Keys(forms)); !slices.Equal(told[page], want) {
			t.Errorf("branding.md: %s has the forms %q, want %q", page, told[page], want)
		}
	}
	attributes["data-page"], attributes["data-form"] = true, true
	if have, want := slices.Sorted(maps.Keys(attributes)), slices.Sorted(maps.Keys(used)); !slices.Equal(have, want) {
		t.Errorf("branding.md: attributes %q, want %q", have, want)
	}
	for page := range told {
		if there[page] == nil {
			t.Errorf("branding.md: there is no page %s", page)
		}
	}
}
