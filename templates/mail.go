package templates

import (
	"bytes"
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"
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
	Purpose        string
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
	if err = t.mails.write(&plain, v, false, func(b *bytes.Buffer, v mailView) error { return t.mailText.Execute(b, v) }); err != nil {
		return "", "", "", fmt.Errorf("write mail: %w", err)
	}
	if err = t.mails.write(&rich, v, true, func(b *bytes.Buffer, v mailView) error { return t.mailHTML.Execute(b, v) }); err != nil {
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

// Address says whether the link gives somebody another address.
func (v mailView) Address() bool { return v.Mail.Purpose == PurposeAddress }

func (v mailView) Subject() (string, error) {
	if v.Address() {
		return v.T("mail.address.subject", "App", v.Place())
	}
	return v.T("mail.subject", "App", v.Place())
}

func (v mailView) Theme() theme { return v.t.theme }

func (v mailView) Monogram() string { return monogram(v.Brand()) }
func (v mailView) Support() string  { return v.t.brand.SupportURL }

// Filler follows the preheader, so that an inbox doesn't show what comes
// after it.
func (v mailView) Filler() template.HTML {
	return template.HTML(strings.Repeat("&#847;&zwnj;&nbsp;", 60))
}

// Start is the side on which lines begin. Mail readers that drop dir from the
// page keep align.
func (v mailView) Start() string {
	if v.Dir == "rtl" {
		return "right"
	}
	return "left"
}

// Isolated keeps a value in the text part from the direction of its line
// (UAX #9 §2.3), where lines run from right to left.
func (v mailView) Isolated(value string) string {
	if v.Dir == "rtl" {
		return "\u2068" + value + "\u2069"
	}
	return value
}

// Fact is a line about who asked.
type Fact struct {
	Label, Value string
	Latin        bool // it runs from left to right in every language
}

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
	browser, err := v.Agent(v.Mail.Browser)
	if err != nil {
		return nil, err
	}
	var facts []Fact
	for _, f := range []Fact{
		{"fact.app", v.App(), false},
		{"fact.address", v.Mail.To, true},
		{"fact.browser", browser, false},
		{"fact.network", SafeName(v.Mail.Network), true},
		{"fact.time", asked, false},
		{"fact.expires", expires, false},
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

// Lasts is how long the link works from when it was asked for.
func (v mailView) Lasts() (string, error) {
	return v.Span("mail.lasts", v.Mail.Expires.Sub(v.Mail.Asked))
}

// wrap folds lines longer than 76 columns between words, or between the
// characters of a script that has no spaces; the line that is the link stays
// as it is.
func wrap(text, link string) string {
	const limit = 76
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		if line == link || len(line) <= limit { // nothing is wider than its bytes are many
			b.WriteString(line + "\n")
			continue
		}
		column := 0
		for _, piece := range pieces(line) {
			n := columns(piece)
			if column > 0 && column+n > limit {
				b.WriteByte('\n')
				piece = strings.TrimLeft(piece, " ")
				column, n = 0, columns(piece)
			}
			for ; n > limit && !strings.Contains(piece, "://"); n -= limit { // an address may be longer than a line
				runes := []rune(piece)
				b.WriteString(string(runes[:limit]) + "\n")
				piece = string(runes[limit:])
			}
			b.WriteString(piece)
			column += n
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// pieces are the parts of a line between which it may be folded: words, each
// with the space before it, and single wide characters, each with the
// punctuation that belongs to it.
func pieces(line string) []string {
	var all []string
	var before rune
	start := 0
	for i, r := range line {
		wide := columns(string(r)) > 1 || columns(string(before)) > 1
		bound := strings.ContainsRune("ーっゃゅょッャュョァィゥェォ）」』", r) || unicode.Is(unicode.Po, r) || unicode.Is(unicode.Ps, before)
		if i > 0 && (r == ' ' || wide && before != ' ' && !bound) {
			all = append(all, line[start:i])
			start = i
		}
		before = r
	}
	return append(all, line[start:])
}

// columns is the width of text on a terminal.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n++
		if kind := width.LookupRune(r).Kind(); kind == width.EastAsianWide || kind == width.EastAsianFullwidth {
			n++
		}
	}
	return n
}
