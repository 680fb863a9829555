package templates

import (
	"bytes"
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode/utf8"
)

// LoginMail is the mail that carries a link.
type LoginMail struct {
	Client         Client
	To             string
	Link           string
	Browser        string // that asked; "" when unknown
	Network        string // that asked; "" when unknown
	Locale         string // as [Templates.Locale] named it when the link was asked for
	Asked, Expires time.Time
}

// LoginMail writes the mail. The text part is complete by itself: its lines
// are shorter than 78 columns (RFC 5322 §2.1.1) except the link, which stands
// alone on its line. The same m gives the same mail.
func (t *Templates) LoginMail(m LoginMail) (subject, text, html string, err error) {
	v := mailView{words: t.languages.get(m.Locale), t: t, Mail: m}
	if subject, err = v.Subject(); err != nil {
		return "", "", "", fmt.Errorf("write mail: %w", err)
	}
	var plain, rich bytes.Buffer
	if err = t.mailText.Execute(&plain, v); err != nil {
		return "", "", "", fmt.Errorf("write mail: %w", err)
	}
	if err = t.mailHTML.Execute(&rich, v); err != nil {
		return "", "", "", fmt.Errorf("write mail: %w", err)
	}
	return subject, wrap(plain.String(), m.Link), rich.String(), nil
}

// mailView is what the mail templates see.
type mailView struct {
	words
	t    *Templates
	Mail LoginMail
}

func (v mailView) Brand() string { return v.t.brand.Name }
func (v mailView) App() string   { return appName(v.Mail.Client) }

// Place is what the link signs in to: the app, or without one the instance.
func (v mailView) Place() string {
	if app := v.App(); app != "" {
		return app
	}
	return v.Brand()
}

func (v mailView) Subject() (string, error) { return v.T("mail.subject", "App", v.Place()) }

// Theme colours the mail. The values are ours: parsed and printed again.
func (v mailView) Theme() map[string]template.CSS {
	th := v.t.theme
	return map[string]template.CSS{
		"Accent": template.CSS(th.Accent), "OnAccent": template.CSS(th.OnAccent), "Edge": template.CSS(th.EdgeLight),
		"Ink": template.CSS(th.InkLight), "InkDark": template.CSS(th.InkDark), "EdgeDark": template.CSS(th.EdgeDark),
	}
}

// Fact is a line about who asked.
type Fact struct{ Label, Value string }

// Facts tell who asked, so that a link nobody asked for is recognised.
func (v mailView) Facts() ([]Fact, error) {
	var facts []Fact
	for _, f := range []struct{ key, value string }{
		{"fact.app", v.App()},
		{"fact.address", v.Mail.To},
		{"fact.browser", SafeName(v.Mail.Browser)},
		{"fact.network", SafeName(v.Mail.Network)},
	} {
		if f.value == "" {
			continue
		}
		label, err := v.T(f.key)
		if err != nil {
			return nil, err
		}
		facts = append(facts, Fact{label, f.value})
	}
	if v.Mail.Asked.IsZero() {
		return facts, nil
	}
	label, err := v.T("fact.time")
	if err != nil {
		return nil, err
	}
	at, err := v.At(v.Mail.Asked)
	return append(facts, Fact{label, at}), err
}

// At is a date and time in UTC, as nobody knows the reader's zone.
func (v mailView) At(at time.Time) (string, error) {
	at = at.UTC()
	month, err := v.T(fmt.Sprintf("month.%d", at.Month()))
	if err != nil {
		return "", err
	}
	return v.T("when.at", "Day", at.Day(), "Month", month, "Year", at.Year(), "Time", at.Format("15:04"))
}

// Lasts is how long the link works from when it was asked for.
func (v mailView) Lasts() (string, error) {
	return v.Span("mail.lasts", v.Mail.Expires.Sub(v.Mail.Asked))
}

// wrap folds lines longer than 76 columns between words; the line that is
// the link stays as it is.
func wrap(text, link string) string {
	const width = 76
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		if line == link {
			b.WriteString(line + "\n")
			continue
		}
		column := 0
		for i, word := range strings.Split(line, " ") {
			n := utf8.RuneCountInString(word)
			if i > 0 {
				if column+1+n > width {
					b.WriteByte('\n')
					column = 0
				} else {
					b.WriteByte(' ')
					column++
				}
			}
			for ; n > width; n -= width { // an address may be longer than a line
				runes := []rune(word)
				b.WriteString(string(runes[:width]) + "\n")
				word = string(runes[width:])
			}
			b.WriteString(word)
			column += n
		}
		b.WriteByte('\n')
	}
	return b.String()
}
