package templates

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"go.yaml.in/yaml/v3"
)

// overrides are the files of [Branding.Dir]. They stand in for built-in files
// of the same name, save that
//
//   - messages/LANGUAGE.yaml holds only the messages that differ, and
//   - static/style.css is read after the built-in style sheet, and not instead.
type overrides struct {
	dir string
	own map[string][]byte // "pages/login.html" and so on; the style sheet with the built-in one before it
}

// overlay are the built-in files with the pages, mails and style sheet of an
// operator in their place.
type overlay struct {
	fs.FS
	own map[string][]byte
}

func (o overlay) ReadFile(name string) ([]byte, error) {
	if source, ok := o.own[name]; ok {
		return source, nil
	}
	return fs.ReadFile(o.FS, name)
}

func (o *overrides) files() fs.FS { return overlay{files, o.own} }

// fixed are built-in files that stay as they are.
var fixed = map[string]string{
	"pages/check-session.html": "no person sees this page, and relying parties count on what it holds",
	"static/sealpost.js":       "the pages count on what it does",
	"static/check-session.js":  "relying parties count on what it does",
	"static/icon.svg":          "it is drawn from the accent colour",
}

// readOverrides reads a directory, all of it: every file that overrides nothing
// is told, with the one it may have been meant for. Names that begin with a dot
// are passed over.
func readOverrides(dir string) (*overrides, error) {
	o := &overrides{dir: dir, own: map[string][]byte{}}
	folders, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, folder := range folders {
		if strings.HasPrefix(folder.Name(), ".") {
			continue
		}
		inside, err := os.ReadDir(filepath.Join(dir, folder.Name())) // follows a link, as Kubernetes mounts them
		if err != nil {
			names = append(names, folder.Name()) // a file
			continue
		}
		for _, file := range inside {
			if !strings.HasPrefix(file.Name(), ".") {
				names = append(names, path.Join(folder.Name(), file.Name()))
			}
		}
	}
	known := overridable()
	var wrong []error
	for _, name := range names {
		if why := fixed[name]; why != "" {
			wrong = append(wrong, fmt.Errorf("%s: cannot be overridden: %s; delete the file", o.path(name), why))
			continue
		}
		if !slices.Contains(known, name) {
			wrong = append(wrong, fmt.Errorf("%s: overrides nothing; the nearest name is %s", o.path(name), nearest(name, known)))
			continue
		}
		source, err := os.ReadFile(o.path(name))
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		o.own[name] = source
	}
	if sheet, ok := o.own["static/style.css"]; ok {
		if err := checkSheet(sheet); err != nil {
			wrong = append(wrong, fmt.Errorf("%s:%w", o.path("static/style.css"), err))
		}
		built, _ := files.ReadFile("static/style.css") // embedded: it is there
		o.own["static/style.css"] = slices.Concat(built, []byte("\n"), sheet)
	}
	return o, errors.Join(wrong...)
}

// path is where an operator finds the file.
func (o *overrides) path(name string) string { return filepath.Join(o.dir, filepath.FromSlash(name)) }

// overridable are the names of the built-in files that can be overridden.
func overridable() []string {
	all := []string{"static/style.css"}
	for _, pattern := range []string{"pages/*.html", "mails/*", "messages/*.yaml"} {
		names, _ := fs.Glob(files, pattern) // embedded, and the patterns are well formed
		all = append(all, names...)
	}
	return slices.DeleteFunc(all, func(name string) bool { return fixed[name] != "" })
}

// place finds the template and line that html/template and text/template name.
var place = regexp.MustCompile(`^(?:html/)?template: ?([a-z-]+\.(?:html|txt)):([0-9]+)(?::[0-9]+)?: (?s:(.*))$`)

// locate says in which file of the operator an error of a template is, and on
// which line. The fix is what such errors have in common.
func (o *overrides) locate(err error) error {
	if o.dir == "" {
		return err
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		m := place.FindStringSubmatch(inner.Error())
		if m == nil {
			continue
		}
		for _, folder := range []string{"pages/", "mails/"} {
			if _, ok := o.own[folder+m[1]]; ok {
				return fmt.Errorf("%s:%s: %s; compare with the built-in file of this name", o.path(folder+m[1]), m[2], m[3])
			}
		}
	}
	return fmt.Errorf("%s: %w", o.dir, err)
}

// words reads every language, with the operator's messages in place of the
// built-in ones.
func (o *overrides) words() ([]words, error) {
	if !slices.ContainsFunc(slices.Collect(maps.Keys(o.own)), func(name string) bool { return path.Dir(name) == "messages" }) {
		return everyWord()
	}
	all, err := readCatalogues(files)
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	english := all[0].clone()
	var wrong []error
	for _, c := range all {
		if source, ok := o.own["messages/"+c.file]; ok {
			wrong = append(wrong, c.override(source, english, o.path("messages/"+c.file)))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return checked(all)
}

// clone is c with messages of its own.
func (c catalogue) clone() catalogue {
	c.messages = maps.Clone(c.messages)
	return c
}

// yamlLine is how package yaml names a line.
var yamlLine = regexp.MustCompile(`^yaml: (?:unmarshal errors:\n\s*)?line ([0-9]+): `)

// override puts the messages of source in place of those of c. They fill in
// what English fills in, and have the plural forms of the language.
func (c catalogue) override(source []byte, english catalogue, file string) error {
	var root yaml.Node
	err := yaml.Unmarshal(source, &root)
	if err == nil && len(root.Content) == 0 {
		return nil // nothing but comments
	}
	var read *i18n.MessageFile
	if err == nil {
		read, err = i18n.ParseMessageFileBytes(source, c.file, map[string]i18n.UnmarshalFunc{"yaml": yaml.Unmarshal})
	}
	if err != nil {
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			return fmt.Errorf("%s:%s: %s; write it as the built-in file does", file, m[1], strings.TrimPrefix(err.Error(), m[0]))
		}
		return fmt.Errorf("%s: %w", file, err)
	}
	var wrong []error
	plurals := slices.Sorted(maps.Keys(forms(c.messages["when.minutes"]))) // of the language
	for _, m := range read.Messages {
		at := fmt.Sprintf("%s:%d: %s", file, line(&root, m.ID), m.ID)
		built := english.messages[m.ID]
		if built == nil {
			wrong = append(wrong, fmt.Errorf("%s is no message; the nearest is %s", at, nearest(m.ID, slices.Collect(maps.Keys(english.messages)))))
			continue
		}
		c.messages[m.ID] = m
		want, _ := placeholders(built.Other) // checked when the built-in messages were read
		for form, text := range forms(m) {
			if err := fills(form, text, want); err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %s: %w", at, form, err))
			}
		}
		if have := slices.Sorted(maps.Keys(forms(m))); slices.Contains(want, "Count") && !slices.Equal(have, plurals) {
			wrong = append(wrong, fmt.Errorf("%s: it has the forms %q, want %q", at, have, plurals))
		}
	}
	return errors.Join(wrong...)
}

// line is the line on which a message stands, 0 when it is not found.
func line(n *yaml.Node, id string) int {
	if n.Kind == yaml.DocumentNode {
		return line(n.Content[0], id)
	}
	if n.Kind != yaml.MappingNode {
		return 0
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Value == id {
			return key.Line
		}
		if rest, ok := strings.CutPrefix(id, key.Value+"."); ok {
			if at := line(value, rest); at > 0 {
				return at
			}
		}
	}
	return 0
}

// remarks are the comments and strings of a style sheet, in which braces mean
// nothing.
var remarks = regexp.MustCompile(`(?s)/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'`)

// elsewhere is what a style sheet fetches from outside.
var elsewhere = regexp.MustCompile(`(?i)@import|url\(\s*(?:https?:)?//`)

// checkSheet finds what would make browsers pass over the rest of a style
// sheet, and what the Content-Security-Policy refuses. Its errors begin with
// the line.
func checkSheet(sheet []byte) error {
	if i := elsewhere.FindIndex(sheet); i != nil {
		return fmt.Errorf("%d: pages fetch nothing from elsewhere, and no other style sheet; write what it holds here", 1+bytes.Count(sheet[:i[0]], []byte("\n")))
	}
	bare := remarks.ReplaceAllFunc(sheet, func(m []byte) []byte { return bytes.Repeat([]byte("\n"), bytes.Count(m, []byte("\n"))) })
	line := 1
	var open []int // the lines of what is not closed yet
	for _, b := range bare {
		switch {
		case b == '\n':
			line++
		case b == '{':
			open = append(open, line)
		case b == '}' && len(open) == 0:
			return fmt.Errorf("%d: this } closes nothing; delete it", line)
		case b == '}':
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%d: this { is not closed; write a } where the rule ends", open[len(open)-1])
	}
	return nil
}

// nearest is the name that takes the fewest changes of a letter to become
// another (Levenshtein).
func nearest(name string, names []string) string {
	slices.Sort(names)
	return slices.MinFunc(names, func(a, b string) int { return distance(name, a) - distance(name, b) })
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
