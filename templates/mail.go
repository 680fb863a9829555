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

func (v mailView) Theme() theme { return v.t.theme }

func (v mailView) Monogram() string { return monogram(v.Brand()) }
func (v mailView) Support() string  { return v.t.brand.SupportURL }

// Filler follows the preheader, so that an inbox doesn't show what comes
// after it.
func (v mailView) Filler() template.HTML {
	return template.HTML(strings.Repeat("&#847;&zwnj;&nbsp;", 60))
}

// Fact is a line about who asked.
type Fact struct{ Label, Value string }

// Facts tell who asked and when, so that a link nobody asked for is
// recognised.
func (v mailView) Facts() ([]Fact, error) {
	asked, err := v.At(v.Mail.Asked)
	if err != nil {
		return nil, err
	}
	expires, err := v.At(v.Mail.Expires)
	if err != nil {
		return nil, err
	}
	var facts []Fact
	for _, f := range []Fact{
		{"fact.app", v.App()},
		{"fact.address", v.Mail.To},
		{"fact.browser", SafeName(v.Mail.Browser)},
		{"fact.network", SafeName(v.Mail.Network)},
		{"fact.time", asked},
		{"fact.expires", expires},
	} {
		if f.Value == "" {
			continue
		}
		if f.Label, err = v.T(f.Label); err != nil {
			return nil, err
		}
		facts = append(facts, f)
	}
	return facts, nil
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
			for ; n > width && !strings.Contains(word, "://"); n -= width { // an address may be longer than a line
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
