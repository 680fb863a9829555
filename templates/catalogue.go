package templates

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"
)

// catalogue is what one language says: messages/LANGUAGE.yaml.
type catalogue struct {
	tag      language.Tag
	file     string
	messages map[string]*i18n.Message
}

// readCatalogues reads every language, English first.
func readCatalogues(fsys fs.FS) ([]catalogue, error) {
	names, err := fs.Glob(fsys, "messages/*.yaml")
	if err != nil {
		return nil, err
	}
	var all []catalogue
	for _, name := range names {
		c, err := readCatalogue(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path.Base(name), err)
		}
		if c.tag == language.English {
			all = slices.Insert(all, 0, c)
		} else {
			all = append(all, c)
		}
	}
	if len(all) == 0 || all[0].tag != language.English {
		return nil, fmt.Errorf("en.yaml is missing")
	}
	return all, nil
}

func readCatalogue(fsys fs.FS, name string) (c catalogue, err error) {
	c = catalogue{file: path.Base(name), messages: map[string]*i18n.Message{}}
	if c.tag, err = language.Parse(strings.TrimSuffix(c.file, ".yaml")); err != nil {
		return c, err
	}
	source, err := fs.ReadFile(fsys, name)
	if err != nil {
		return c, err
	}
	file, err := i18n.ParseMessageFileBytes(source, c.file, map[string]i18n.UnmarshalFunc{"yaml": yaml.Unmarshal})
	if err != nil {
		return c, err
	}
	for _, m := range file.Messages {
		c.messages[m.ID] = m
	}
	return c, nil
}

// check tells what is missing from c, or too much, compared with English.
func (c catalogue) check(english catalogue) error {
	for _, key := range slices.Sorted(maps.Keys(c.messages)) {
		if english.messages[key] == nil {
			return fmt.Errorf("%s: %s is unknown", c.file, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(english.messages)) {
		if c.messages[key] == nil {
			return fmt.Errorf("%s: %s is missing", c.file, key)
		}
		want, err := placeholders(english.messages[key].Other)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", english.file, key, err)
		}
		for form, text := range forms(c.messages[key]) {
			if err := fills(form, text, want); err != nil {
				return fmt.Errorf("%s: %s: %s: %w", c.file, key, form, err)
			}
		}
	}
	return nil
}

// forms are the forms that a message has, "other" always.
func forms(m *i18n.Message) map[string]string {
	all := map[string]string{"zero": m.Zero, "one": m.One, "two": m.Two, "few": m.Few, "many": m.Many}
	maps.DeleteFunc(all, func(_, text string) bool { return text == "" })
	all["other"] = m.Other
	return all
}

// fills checks that a text fills in what is wanted. Where a form is of one
// number alone, its words may stand for Count.
func fills(form, text string, want []string) error {
	if strings.TrimSpace(text) == "" {
		return fmt.Errorf("nothing is said")
	}
	have, err := placeholders(text)
	if err != nil {
		return err
	}
	exact := form == "zero" || form == "one" || form == "two"
	if exact && !slices.Contains(have, "Count") {
		want = slices.DeleteFunc(slices.Clone(want), func(name string) bool { return name == "Count" })
	}
	if !slices.Equal(have, want) {
		return fmt.Errorf("it fills in %q, want %q", have, want)
	}
	return nil
}

var placeholder = regexp.MustCompile(`\{\{\.([A-Z][a-z]+)\}\}`)

// placeholders are the names of what a text fills in, in order of the
// alphabet. Nothing else may stand in braces.
func placeholders(text string) ([]string, error) {
	if strings.ContainsAny(placeholder.ReplaceAllString(text, ""), "{}") {
		return nil, fmt.Errorf("a broken placeholder in %q", text)
	}
	var names []string
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
