package templates

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
)

// languages are the words of every language, those of the instance first.
type languages struct {
	matcher language.Matcher
	tags    []language.Tag
	words   []words
}

// words says things in one language.
type words struct {
	tag  language.Tag
	Lang string // BCP 47
	Dir  string // "ltr" or "rtl"
	say  *i18n.Localizer
	said map[string]string // what is said without a value, by key
}

// everyWord is read once, however many instances there are in a process. It is
// not checked at every start: tests do.
var everyWord = sync.OnceValues(func() ([]words, error) {
	catalogues, err := readCatalogues(files)
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	return speak(catalogues)
})

// checked are the words of catalogues, English first, that say all there is to
// say.
func checked(catalogues []catalogue) ([]words, error) {
	for _, c := range catalogues {
		if err := c.check(catalogues[0]); err != nil {
			return nil, fmt.Errorf("read messages: %w", err)
		}
	}
	all, err := speak(catalogues)
	if err != nil {
		return nil, err
	}
	for i, c := range catalogues {
		if err := all[i].count(c); err != nil {
			return nil, fmt.Errorf("read messages: %s: %w", c.file, err)
		}
	}
	return all, nil
}

// speak makes words of catalogues.
func speak(catalogues []catalogue) ([]words, error) {
	bundle := i18n.NewBundle(language.English)
	var all []words
	for _, c := range catalogues {
		for _, m := range c.messages {
			if err := bundle.AddMessages(c.tag, m); err != nil {
				return nil, fmt.Errorf("read messages: %s: %s: %w", c.file, m.ID, err)
			}
		}
		w := words{c.tag, c.tag.String(), direction(c.tag), i18n.NewLocalizer(bundle, c.tag.String()), map[string]string{}}
		for key, m := range c.messages {
			if !strings.Contains(m.Other, "{{") {
				w.said[key] = m.Other
			}
		}
		all = append(all, w)
	}
	return all, nil
}

// newLanguages puts the language of the instance first: who wants none of the
// others reads that one.
func newLanguages(all []words, first string) (*languages, error) {
	i := slices.IndexFunc(all, func(w words) bool { return w.Lang == first })
	if i < 0 {
		return nil, fmt.Errorf("branding: language %q: want one of %s", first, strings.Join(Languages(), ", "))
	}
	l := &languages{words: slices.Clone(all)}
	l.words[0], l.words[i] = l.words[i], l.words[0]
	for _, w := range l.words {
		l.tags = append(l.tags, w.tag)
	}
	l.matcher = language.NewMatcher(l.tags)
	return l, nil
}

// count says everything that has a plural with a number of every kind there is
// in any language (CLDR's cardinal rules of whole numbers).
func (w words) count(c catalogue) error {
	for key, m := range c.messages {
		if !strings.Contains(m.Other, "{{.Count}}") {
			continue
		}
		for _, n := range []int{0, 1, 2, 3, 5, 11, 20, 21, 100, 1_000_000} {
			if _, err := w.T(key, "Count", n); err != nil {
				return fmt.Errorf("%s: no form for %d: %w", key, n, err)
			}
		}
	}
	return nil
}

func direction(tag language.Tag) string {
	script, _ := tag.Script()
	switch script.String() {
	case "Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm", "Rohg":
		return "rtl"
	}
	return "ltr"
}

// Gap stands between two sentences.
func (w words) Gap() string {
	switch base, _ := w.tag.Base(); base.String() {
	case "ja", "zh":
		return ""
	}
	return " "
}

func (l *languages) has(lang string) bool {
	return slices.ContainsFunc(l.words, func(w words) bool { return w.Lang == lang })
}

// get finds the words of a language that [Templates.Locale] named; those of
// the instance for any other.
func (l *languages) get(lang string) words {
	for _, w := range l.words {
		if w.Lang == lang {
			return w
		}
	}
	return l.words[0]
}

// message says key with values given as name, value, name, value. A value
// named Count chooses the plural form.
func (w words) message(key string, pairs []any) (string, error) {
	values := make(map[string]any, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		values[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return w.say.Localize(&i18n.LocalizeConfig{
		MessageID:    key,
		TemplateData: values,
		PluralCount:  values["Count"],
	})
}

// T says key in plain text.
func (w words) T(key string, pairs ...any) (string, error) {
	if said, ok := w.said[key]; ok && len(pairs) == 0 {
		return said, nil
	}
	return w.message(key, pairs)
}

// H says key in HTML. Values stand out, and are isolated from the direction of
// the sentence; an address or a host runs from left to right in every language.
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
			html = "<bdi" + leftToRight(marked[i-1]) + ">" + template.HTMLEscapeString(v) + "</bdi>"
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

func leftToRight(name any) string {
	switch name {
	case "Email", "Other", "Host":
		return ` dir="ltr"`
	}
	return ""
}

// Agent says which browser asked, "Firefox on Linux", in the words of the
// language.
func (w words) Agent(agent string) (string, error) {
	browser, system, found := strings.Cut(SafeName(agent), " on ")
	var err error
	switch browser {
	case "A browser":
		browser, err = w.T("agent.browser")
	case "A web view":
		browser, err = w.T("agent.webView")
	}
	if err != nil || !found {
		return browser, err
	}
	return w.T("agent.on", "Browser", browser, "System", system)
}

// On is a date in UTC, as nobody knows the reader's zone.
func (w words) On(at time.Time) (string, error) {
	at = at.UTC()
	month, err := w.T(fmt.Sprintf("month.%d", at.Month()))
	if err != nil {
		return "", err
	}
	return w.T("when.on", "Day", at.Day(), "Month", month, "Year", at.Year())
}

// At is a date and time in UTC.
func (w words) At(at time.Time) (string, error) {
	at = at.UTC()
	month, err := w.T(fmt.Sprintf("month.%d", at.Month()))
	if err != nil {
		return "", err
	}
	return w.T("when.at", "Day", at.Day(), "Month", month, "Year", at.Year(), "Time", at.Format("15:04"))
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
