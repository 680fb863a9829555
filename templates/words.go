package templates

import (
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"
)

// languages is the message catalogue: English first, then every other file.
type languages struct {
	matcher language.Matcher
	words   []words
}

// words says things in one language.
type words struct {
	Lang string // BCP 47
	Dir  string // "ltr" or "rtl"
	say  *i18n.Localizer
}

func readLanguages(fsys fs.FS) (*languages, error) {
	bundle := i18n.NewBundle(language.English)
	bundle.RegisterUnmarshalFunc("yaml", yaml.Unmarshal)
	names, err := fs.Glob(fsys, "messages/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	tags := []language.Tag{language.English}
	for _, name := range names {
		if _, err := bundle.LoadMessageFileFS(fsys, name); err != nil {
			return nil, fmt.Errorf("read messages: %s: %w", path.Base(name), err)
		}
		tag, err := language.Parse(strings.TrimSuffix(path.Base(name), ".yaml"))
		if err != nil {
			return nil, fmt.Errorf("read messages: %s: %w", path.Base(name), err)
		}
		if tag != language.English {
			tags = append(tags, tag)
		}
	}
	l := &languages{matcher: language.NewMatcher(tags)}
	for _, tag := range tags {
		l.words = append(l.words, words{tag.String(), direction(tag), i18n.NewLocalizer(bundle, tag.String())})
	}
	return l, nil
}

func direction(tag language.Tag) string {
	script, _ := tag.Script()
	switch script.String() {
	case "Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm", "Rohg":
		return "rtl"
	}
	return "ltr"
}

// get finds the words of a language that [Templates.Locale] named; English
// for any other.
func (l *languages) get(locale string) words {
	for _, w := range l.words {
		if w.Lang == locale {
			return w
		}
	}
	return l.words[0]
}

// Locale picks the best language there is for a request: by ui_locales
// (OIDC Core §3.1.2.1) if given, else by Accept-Language.
func (t *Templates) Locale(r *http.Request, uiLocales ...string) string {
	var want []language.Tag
	for _, s := range append(uiLocales, r.Header.Get("Accept-Language")) {
		tags, _, err := language.ParseAcceptLanguage(strings.Join(strings.Fields(s), ","))
		if err == nil {
			want = append(want, tags...)
		}
	}
	_, i, _ := t.languages.matcher.Match(want...)
	return t.languages.words[i].Lang
}

// message says key with values given as name, value, name, value. A value
// named Count chooses the plural form.
func (w words) message(key string, pairs []any) (string, error) {
	values := make(map[string]any, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		values[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	said, err := w.say.Localize(&i18n.LocalizeConfig{
		MessageID:    key,
		TemplateData: values,
		PluralCount:  values["Count"],
	})
	var missing *i18n.MessageNotFoundErr
	if errors.As(err, &missing) && said != "" { // said in English instead
		err = nil
	}
	return said, err
}

// T says key in plain text.
func (w words) T(key string, pairs ...any) (string, error) { return w.message(key, pairs) }

// H says key in HTML. Values stand out, and are isolated from the direction of
// the sentence.
func (w words) H(key string, pairs ...any) (template.HTML, error) {
	// The sentence is said with a mark for each value, escaped, and then
	// filled: no value can be taken for markup, and no markup for a value.
	const mark = '\ue000'
	marked := append([]any(nil), pairs...)
	var fill []string
	for i := 1; i < len(marked); i += 2 {
		var html string
		switch v := marked[i].(type) {
		case string:
			html = "<bdi>" + template.HTMLEscapeString(v) + "</bdi>"
		case template.HTML:
			html = string(v)
		default:
			continue
		}
		m := string(mark + rune(i))
		marked[i] = m
		fill = append(fill, m, html)
	}
	said, err := w.message(key, marked)
	if err != nil {
		return "", err
	}
	return template.HTML(strings.NewReplacer(fill...).Replace(template.HTMLEscapeString(said))), nil
}

// Span says how long d is in the largest unit that is fair to it: key.seconds,
// key.minutes or key.hours, with Count.
func (w words) Span(key string, d time.Duration) (string, error) {
	unit, count := "seconds", ceil(d, time.Second)
	switch {
	case d >= 3*time.Hour:
		unit, count = "hours", ceil(d, time.Hour)
	case d >= time.Minute:
		unit, count = "minutes", ceil(d, time.Minute)
	}
	return w.T(key+"."+unit, "Count", count)
}

// ceil rounds up: nobody is told to come back too early.
func ceil(d, unit time.Duration) int { return int((max(d, 0) + unit - 1) / unit) }
