package templates

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/text/feature/plural"
)

// readWords reads and checks every catalogue.
func readWords(fsys fs.FS) ([]words, error) {
	catalogues, err := readCatalogues(fsys)
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	return checked(catalogues)
}

func TestBuiltInWords(t *testing.T) {
	if all, err := readWords(files); err != nil || len(all) != len(Languages()) {
		t.Errorf("%d languages, %v", len(all), err)
	}
}

// catalogues are every language's, English first.
func catalogues(t *testing.T) []catalogue {
	t.Helper()
	all, err := readCatalogues(files)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryMessageExistsAndIsUsed(t *testing.T) {
	used := map[string]bool{}
	plain := regexp.MustCompile(`\.[TH][ (]"([a-zA-Z._-]+)"`)
	span := regexp.MustCompile(`\.Span[ (]"([a-z.-]+)"`)
	fact := regexp.MustCompile(`\{"(fact\.[a-z]+)"`)
	sources, _ := filepath.Glob("*.go")
	for _, folder := range []string{"pages/*", "mails/*"} {
		more, err := filepath.Glob(folder)
		if err != nil || len(more) == 0 {
			t.Fatalf("%s: %d files, %v", folder, len(more), err)
		}
		sources = append(sources, more...)
	}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range append(plain.FindAllSubmatch(source, -1), fact.FindAllSubmatch(source, -1)...) {
			used[string(m[1])] = true
		}
		for _, m := range span.FindAllSubmatch(source, -1) {
			for _, unit := range []string{"seconds", "minutes", "hours"} {
				used[string(m[1])+"."+unit] = true
			}
		}
	}
	delete(used, "scope.") // completed below
	delete(used, "activity.")
	for _, a := range activities {
		used["activity."+strings.ReplaceAll(a, ".", "-")] = true
	}
	for _, s := range scopes {
		used["scope."+s] = true
	}
	for _, f := range append([]string{"app"}, failures...) {
		used["failure."+f+".title"], used["failure."+f+".lead"] = true, true
	}
	for m := time.January; m <= time.December; m++ {
		used[fmt.Sprintf("month.%d", m)] = true
	}
	there := catalogues(t)[0].messages
	for _, key := range slices.Sorted(maps.Keys(used)) {
		if there[key] == nil {
			t.Errorf("%s is used, but not in the catalogue", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(there)) {
		if !used[key] {
			t.Errorf("%s is in the catalogue, but not used", key)
		}
	}
}

// What is wrong with a catalogue is told at start.
func TestCataloguesAreComplete(t *testing.T) {
	english := `{a: "A {{.App}}", b: {one: "{{.Count}} b", other: "{{.Count}} bs"}}`
	for _, tc := range []struct{ name, german, want string }{
		{"complete", `{a: "Ä {{.App}}", b: {one: "ein B", other: "{{.Count}} Bs"}}`, ""},
		{"missing", `{a: "Ä {{.App}}"}`, "de.yaml: b is missing"},
		{"unknown", `{a: "Ä {{.App}}", b: {one: "ein B", other: "{{.Count}} Bs"}, c: x}`, "de.yaml: c is unknown"},
		{"empty", `{a: "", b: {one: "ein B", other: "{{.Count}} Bs"}}`, "de.yaml: a"},
		{"a placeholder is left out", `{a: "Ä", b: {one: "ein B", other: "{{.Count}} Bs"}}`, `de.yaml: a: other: it fills in [], want ["App"]`},
		{"another placeholder", `{a: "Ä {{.Ap}}", b: {one: "ein B", other: "{{.Count}} Bs"}}`, `want ["App"]`},
		{"a broken placeholder", `{a: "Ä {{.App}", b: {one: "ein B", other: "{{.Count}} Bs"}}`, "broken placeholder"},
		{"an instruction", `{a: "Ä {{len .App}}", b: {one: "ein B", other: "{{.Count}} Bs"}}`, "broken placeholder"},
		{"no number where there are many", `{a: "Ä {{.App}}", b: {one: "ein B", other: "Bs"}}`, `want ["Count"]`},
		{"no form for 1", `{a: "Ä {{.App}}", b: {other: "{{.Count}} Bs"}}`, "de.yaml: b: no form for 1"},
		{"no YAML", `{a: `, "de.yaml"},
		{"twice", `{a: "Ä {{.App}}", a: "Ä {{.App}}"}`, "de.yaml"},
	} {
		_, err := readWords(fstest.MapFS{"messages/en.yaml": {Data: []byte(english)}, "messages/de.yaml": {Data: []byte(tc.german)}})
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	for name, fsys := range map[string]fstest.MapFS{
		"no English":    {"messages/de.yaml": {Data: []byte(english)}},
		"no language":   {"messages/en.yaml": {Data: []byte(english)}, "messages/x y.yaml": {Data: []byte(english)}},
		"bad reference": {"messages/en.yaml": {Data: []byte(`{a: "{{"}`)}},
	} {
		if _, err := readWords(fsys); err == nil || !strings.HasPrefix(err.Error(), "read messages: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// CLDR: a message with a number has the forms of its language, and no other.
func TestEveryPluralFormIsThere(t *testing.T) {
	names := map[plural.Form]string{plural.Zero: "zero", plural.One: "one", plural.Two: "two", plural.Few: "few", plural.Many: "many", plural.Other: "other"}
	for _, c := range catalogues(t) {
		want := map[string]bool{"other": true}
		for n := range 1000 {
			want[names[plural.Cardinal.MatchPlural(c.tag, n, 0, 0, 0, 0)]] = true
		}
		switch base, _ := c.tag.Base(); base.String() { // newer than the table of x/text, which is of CLDR 32
		case "he":
			delete(want, "many")
		case "es", "fr", "it", "pt":
			want["many"] = true // millions
		}
		var plurals int
		for key, m := range c.messages {
			if !strings.Contains(m.Other, "{{.Count}}") {
				if len(forms(m)) > 1 {
					t.Errorf("%s: %s has forms, and no number", c.file, key)
				}
				continue
			}
			plurals++
			if have := slices.Sorted(maps.Keys(forms(m))); !slices.Equal(have, slices.Sorted(maps.Keys(want))) {
				t.Errorf("%s: %s: forms %q, want %q", c.file, key, have, slices.Sorted(maps.Keys(want)))
			}
		}
		if plurals == 0 {
			t.Errorf("%s: no message has a number", c.file)
		}
	}
}

// same are the words that are the same in English.
var same = map[string][]string{
	"de": {"account.name", "fact.app", "fact.browser", "month.4", "month.8", "month.9", "month.11", "sent.wait"},
	"es": {"failure.code"},
	"fr": {"check-session.title"},
	"it": {"fact.app", "fact.browser"},
	"nl": {"common.help", "mail.help", "fact.app", "fact.browser"},
}

func TestEveryMessageIsTranslated(t *testing.T) {
	all := catalogues(t)
	if len(all) != 14 {
		t.Errorf("%d languages", len(all))
	}
	for _, c := range all[1:] {
		for key, m := range c.messages {
			equal := m.Other == all[0].messages[key].Other
			if strings.Trim(placeholder.ReplaceAllString(m.Other, ""), " ,()UTC") == "" {
				continue // nothing but names
			}
			if equal && !slices.Contains(same[c.tag.String()], key) {
				t.Errorf("%s: %s is English: %q", c.file, key, m.Other)
			}
			if !equal && slices.Contains(same[c.tag.String()], key) {
				t.Errorf("%s: %s is not the same as in English", c.file, key)
			}
		}
	}
}

// Each place has room for so many columns.
func TestMessagesFitTheirPlace(t *testing.T) {
	for _, c := range catalogues(t) {
		for key, m := range c.messages {
			limit := 330
			part := key[strings.LastIndex(key, ".")+1:]
			switch {
			case strings.HasPrefix(key, "month."):
				limit = 12
			case strings.HasPrefix(key, "fact."):
				limit = 20
			case strings.HasPrefix(key, "common.") && key != "common.tick", key == "mail.help", key == "language.choose":
				limit = 24
			case slices.Contains([]string{"submit", "createSubmit", "changeSubmit", "resend", "show", "deny", "allow", "continue", "switch"}, part) && key != "confirm.switch":
				limit = 36
			case part == "title", key == "login.create", key == "mail.subject":
				limit = 44
			}
			for form, text := range forms(m) {
				if n := columns(placeholder.ReplaceAllString(text, "")); n > limit {
					t.Errorf("%s: %s: %s: %d columns, want at most %d: %s", c.file, key, form, n, limit, text)
				}
				if text != strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\n' || r == '\t' }), " ") {
					t.Errorf("%s: %s: white space: %q", c.file, key, text)
				}
			}
		}
	}
}

func TestSentences(t *testing.T) {
	w := site(t).languages.get("en")
	if got, err := w.H("sent.leadApp", "Email", `<b>{{.App}}`, "App", "A&B"); err != nil || got != `We sent a link to <bdi dir="ltr">&lt;b&gt;{{.App}}</bdi> to sign in to <bdi>A&amp;B</bdi>.` {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := w.T("no.such.message"); err == nil {
		t.Error("a message that is not there is said")
	}
	for d, want := range map[time.Duration]string{
		0:                 "Try again in 0 seconds.",
		1:                 "Try again in 1 second.",
		59 * time.Second:  "Try again in 59 seconds.",
		time.Minute:       "Try again in 1 minute.",
		time.Minute + 1:   "Try again in 2 minutes.",
		100 * time.Minute: "Try again in 100 minutes.",
		3*time.Hour + 1:   "Try again in 4 hours.",
	} {
		if got, err := w.Span("limited.wait", d); err != nil || got != want {
			t.Errorf("%v: %q, %v, want %q", d, got, err, want)
		}
	}
}
