package templates

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLoginMail(t *testing.T) {
	s := site(t)
	for name, m := range mails() {
		subject, text, html, err := s.LoginMail(m)
		if err != nil {
			t.Fatal(err)
		}
		place := appName(m.Client)
		if place == "" {
			place = "Example"
		}
		if subject != "Sign in to "+place && (m.Purpose != PurposeAddress || subject != "Your new address for "+place) {
			t.Errorf("%s: subject %q", name, subject)
		}

		var links int
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if line == m.Link {
				links++
			} else if utf8.RuneCountInString(line) >= 78 {
				t.Errorf("%s: RFC 5322 §2.1.1: %d columns: %s", name, utf8.RuneCountInString(line), line)
			}
			if line != strings.TrimRight(line, " \r") {
				t.Errorf("%s: white space ends the line %q", name, line)
			}
		}
		if links != 1 || strings.Count(text, "://login.") != 1 {
			t.Errorf("%s: want the link once, alone on its line:\n%s", name, text)
		}
		if strings.Contains(text, "\n\n\n") {
			t.Errorf("%s: a gap in the text:\n%s", name, text)
		}

		doc := parse(t, html)
		var visible int
		for _, a := range doc.tags("a") {
			if a.text() == m.Link && a.get("href") == m.Link {
				visible++
			} else if a.get("href") != m.Link && a.get("href") != branding.SupportURL {
				t.Errorf("%s: a link to %q", name, a.get("href"))
			}
		}
		if visible != 1 {
			t.Errorf("%s: want the link once as what it is", name)
		}
		if len(doc.tags("img", "script", "link", "form", "iframe")) > 0 || strings.Contains(html, "url(") {
			t.Errorf("%s: the mail fetches or runs something", name)
		}
		if len(html) > 20_000 {
			t.Errorf("%s: %d bytes", name, len(html))
		}

		rich := doc.text()
		plain := strings.Join(strings.Fields(text), " ")
		facts := []string{m.Browser, m.Network, "2 March 2026, 12:00 UTC", "Never forward this mail", "ignore this mail", appName(m.Client)}
		if len(m.To) < 70 {
			facts = append(facts, m.To)
		}
		for _, want := range facts {
			if !strings.Contains(plain, want) || !strings.Contains(rich, want) {
				t.Errorf("%s: %q is not told in both parts:\n%s\n%s", name, want, plain, rich)
			}
		}

		subject2, text2, html2, err := site(t).LoginMail(m)
		if err != nil || subject2 != subject || text2 != text || html2 != html {
			t.Errorf("%s: the same mail was written differently", name)
		}
	}
}

func TestMailOfAHostileClient(t *testing.T) {
	m := mails()["mail"]
	m.Client = Client{Name: "=?utf-8?q?Bank?=\r\nBcc: x@example.com\u202e <script>alert(1)</script> " + strings.Repeat("long ", 50)}
	m.Browser = "<b>\r\nhttps://evil.example/"
	subject, text, html, err := site(t).LoginMail(m)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(subject, "\r\n\u202e") || strings.Contains(subject, "=?") || utf8.RuneCountInString(subject) > maxName+20 {
		t.Errorf("subject %q", subject)
	}
	if strings.ContainsAny(text, "\r\u202e") || strings.Contains(text, "\nBcc") || strings.Contains(text, "\nhttps://evil") {
		t.Errorf("text:\n%s", text)
	}
	if doc := parse(t, html); len(doc.tags("script", "b")) > 0 {
		t.Error("a name became markup")
	}
}

func TestMailTellsTheUseOfTheLink(t *testing.T) {
	s := site(t)
	for name, want := range map[string]string{"mail": "within 15 minutes", "mail-long": "within 4 hours", "mail-plain": "within 45 seconds"} {
		_, text, _, err := s.LoginMail(mails()[name])
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%s: %v, want %q in\n%s", name, err, want, text)
		}
	}
}
