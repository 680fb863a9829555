package login

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// read is a message taken apart.
type read struct {
	head  mail.Header
	parts []part
}

type part struct{ contentType, encoding, content string }

// readMessage takes a message apart with nothing but the standard library.
func readMessage(t testing.TB, raw []byte) read {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	media, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || media != "multipart/alternative" {
		t.Fatalf("%s: %v", media, err)
	}
	out := read{head: m.Header}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		out.parts = append(out.parts, part{p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), string(content)})
	}
}

func testComposer(t testing.TB, from string) *composer {
	t.Helper()
	pages, err := templates.New(templates.Branding{Name: "Example"})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := keys.ParseSecret(strings.Repeat("A", 43))
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseSender(from)
	if err != nil {
		t.Fatal(err)
	}
	return &composer{issuer: issuer, secret: secret, templates: pages, from: s}
}

var asked = time.Date(2031, 3, 4, 5, 6, 7, 891_000, time.UTC)

func queuedMail(to string) storage.QueuedMail {
	a := storage.Attempt{
		ID: keys.ID(), Txn: keys.ID(), ClientID: "app", ClientName: "App", Key: lower(to), Email: to, Locale: "en",
		Agent: "Firefox on Linux", Network: "203.0.113.0/24", CreatedAt: asked, ExpiresAt: asked.Add(15 * time.Minute),
	}
	return storage.QueuedMail{Attempt: a, Mail: storage.Mail{ID: keys.ID(), AttemptID: a.ID, CreatedAt: asked, NextAt: asked, NotAfter: a.ExpiresAt, Tries: 1}}
}

func TestMailHasItsHeadersAndNoOthers(t *testing.T) {
	q := queuedMail("Ada@example.com")
	m, err := testComposer(t, "Example Inc. <login@mail.example.com>").compose(q)
	if err != nil {
		t.Fatal(err)
	}
	if m.from != "login@mail.example.com" || m.to != "Ada@example.com" {
		t.Errorf("envelope: from %s to %s", m.from, m.to)
	}
	got := readMessage(t, m.raw)
	want := map[string]string{
		"Date":                     "Tue, 04 Mar 2031 05:06:07 +0000",
		"Message-Id":               "<" + q.Mail.ID + "@mail.example.com>", // RFC 5322 §3.6.4
		"From":                     `"Example Inc." <login@mail.example.com>`,
		"To":                       "<Ada@example.com>",
		"Subject":                  "Sign in to App",
		"Mime-Version":             "1.0",
		"Content-Type":             "multipart/alternative; boundary=part-" + q.Mail.ID,
		"Content-Language":         "en",
		"Auto-Submitted":           "auto-generated", // RFC 3834 §5.1
		"X-Auto-Response-Suppress": "DR, RN, NRN, OOF, AutoReply",
		"X-Entity-Ref-Id":          q.Mail.ID,
		"X-Mailgun-Track":          "no",
		"X-Mailjet-Trackclick":     "0",
		"X-Mailjet-Trackopen":      "0",
		"X-Msys-Api":               `{"options":{"click_tracking":false,"open_tracking":false}}`,
		"X-Pm-Tracklinks":          "None",
		"X-Pm-Trackopens":          "false",
		"X-Smtpapi":                `{"filters":{"clicktrack":{"settings":{"enable":0}},"opentrack":{"settings":{"enable":0}}}}`,
	}
	for name, values := range got.head {
		if len(values) != 1 || want[name] != values[0] {
			t.Errorf("%s: %q, want %q", name, values, want[name])
		}
	}
	if len(got.head) != len(want) {
		t.Errorf("%d headers, want %d", len(got.head), len(want))
	}
}

func TestAnswersGoToSupport(t *testing.T) {
	c := testComposer(t, "login@example.com")
	for in, want := range map[string]string{"": "", "Support@EXÄMPLE.net": "<Support@xn--exmple-cua.net>"} {
		address, err := replyTo(in)
		if err != nil {
			t.Fatal(err)
		}
		c.from.replyTo = address
		m, err := c.compose(queuedMail("ada@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		if got := readMessage(t, m.raw).head.Get("Reply-To"); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

// A mailing list's headers would have a button that locks its owner out, and
// Precedence the reputation of one.
func TestMailIsNoMailingList(t *testing.T) {
	s, err := parseSender("login@example.com")
	if err != nil {
		t.Fatal(err)
	}
	test, err := s.testMail("id", "you@example.org", asked)
	if err != nil {
		t.Fatal(err)
	}
	mail, err := testComposer(t, "login@example.com").compose(queuedMail("ada@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []message{test, mail} {
		head := readMessage(t, m.raw).head
		for name := range head {
			if strings.HasPrefix(name, "List-") || name == "Precedence" || name == "Importance" || name == "User-Agent" || name == "X-Mailer" {
				t.Errorf("%s: %s", name, head.Get(name))
			}
		}
		for name, want := range headers {
			if got := head.Get(string(name)); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
}

func TestMailBodyIsTheTemplates(t *testing.T) {
	c := testComposer(t, "login@example.com")
	q := queuedMail("ada@example.com")
	m, err := c.compose(q)
	if err != nil {
		t.Fatal(err)
	}
	link := issuer + "/login?token=" + linkToken(c.secret, q.Attempt.ID)
	if len(link) >= 120 {
		t.Errorf("%d characters: %s", len(link), link)
	}
	if id, ok := parseToken(c.secret, link[strings.Index(link, "=")+1:]); !ok || id != q.Attempt.ID {
		t.Errorf("the link is of attempt %q", id)
	}
	_, text, page, err := c.templates.LoginMail(templates.LoginMail{
		Client: templates.Client{Name: "App"}, To: "ada@example.com", Link: link, Browser: "Firefox on Linux", Network: "203.0.113.0/24",
		Locale: "en", Asked: q.Attempt.CreatedAt, Expires: q.Attempt.ExpiresAt,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := readMessage(t, m.raw)
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	if len(got.parts) != 2 {
		t.Fatalf("%d parts", len(got.parts))
	}
	// RFC 2046 §5.1.4: the best comes last.
	for i, want := range []part{{"text/plain; charset=UTF-8", "quoted-printable", crlf(text)}, {"text/html; charset=UTF-8", "quoted-printable", crlf(page)}} {
		if got.parts[i] != want {
			t.Errorf("part %d: %+v\nwant %+v", i, got.parts[i], want)
		}
	}
	if n := strings.Count(got.parts[0].content, "\r\n"+link+"\r\n"); n != 1 {
		t.Errorf("the link stands %d times alone on its line in\n%s", n, got.parts[0].content)
	}
	if hrefs := links(t, got.parts[1].content); len(hrefs) != 2 || hrefs[0] != link || hrefs[1] != link {
		t.Errorf("links %q", hrefs)
	}
}

// links are the targets of a page's links.
func links(t *testing.T, page string) (out []string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		for _, a := range n.Attr {
			if a.Key == "href" || a.Key == "src" {
				out = append(out, a.Val)
			}
		}
	}
	return out
}

func TestMailIsFitForTheWire(t *testing.T) {
	q := queuedMail(of254)
	q.Attempt.ClientName = strings.Repeat("Größe ", 20)
	m, err := testComposer(t, "Beispiel Größe <login@exämple.net>").compose(q)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(m.raw), "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n") { // RFC 5322 §2.1.1, §2.3
			t.Errorf("%d octets: %q", len(line), line)
		}
	}
	if !isASCII(string(m.raw)) {
		t.Error("not 7 bits: 8BITMIME would be needed")
	}
	if m.from != "login@xn--exmple-cua.net" || m.to != of254 {
		t.Errorf("from %s to %s", m.from, m.to)
	}
	got := readMessage(t, m.raw)
	subject, err := new(mime.WordDecoder).DecodeHeader(got.head.Get("Subject"))
	if err != nil || !strings.HasPrefix(subject, "Sign in to Größe Größe") {
		t.Errorf("subject %q: %v", subject, err)
	}
	from, err := got.head.AddressList("From")
	if err != nil || len(from) != 1 || from[0].Name != "Beispiel Größe" || from[0].Address != m.from {
		t.Errorf("from %v: %v", from, err)
	}
	if to, err := got.head.AddressList("To"); err != nil || len(to) != 1 || to[0].Address != of254 {
		t.Errorf("to %v: %v", to, err)
	}
}

func TestSameMailSameBytes(t *testing.T) {
	q := queuedMail("ada@example.com")
	first, err := testComposer(t, "login@example.com").compose(q)
	if err != nil {
		t.Fatal(err)
	}
	q.Mail.Tries, q.Mail.NextAt = 7, asked.Add(time.Minute) // a later try
	q.Mail.CreatedAt = q.Mail.CreatedAt.In(time.FixedZone("", 3600))
	again, err := testComposer(t, "login@example.com").compose(q)
	if err != nil || !bytes.Equal(first.raw, again.raw) {
		t.Errorf("%v:\n%s\n%s", err, first.raw, again.raw)
	}
	other := queuedMail("ada@example.com")
	if m, err := testComposer(t, "login@example.com").compose(other); err != nil || bytes.Contains(m.raw, []byte(q.Mail.ID)) {
		t.Errorf("another mail: %v", err)
	}
}

func TestMailOfAKnownUserGoesToTheStoredAddress(t *testing.T) {
	c := testComposer(t, "login@example.com")
	q := queuedMail("ADA@example.com")
	q.User = storage.User{ID: "u", Key: "ada@example.com", Email: "Ada@example.com"}
	m, err := c.compose(q)
	if err != nil || m.to != "Ada@example.com" || readMessage(t, m.raw).head.Get("To") != "<Ada@example.com>" || bytes.Contains(m.raw, []byte("ADA@")) {
		t.Errorf("to %s: %v", m.to, err)
	}
	// What a store's collation found alike is not the same mailbox.
	q.User.Email = "m\u0131ke@example.com"
	for _, stored := range []string{"mike@example.com", "ad\u00e0@example.com", "", "ada@example.com, bob@example.com"} {
		q.User.Email = stored
		if m, err := c.compose(q); err == nil {
			t.Errorf("stored %q: mailed to %s", stored, m.to)
		}
	}
}

func TestMailOfAForgedAttemptIsNotWritten(t *testing.T) {
	c := testComposer(t, "login@example.com")
	for name, change := range map[string]func(*storage.QueuedMail){
		"no attempt id":    func(q *storage.QueuedMail) { q.Attempt.ID = "" },
		"a short one":      func(q *storage.QueuedMail) { q.Attempt.ID = "AAAA" },
		"another key":      func(q *storage.QueuedMail) { q.Attempt.Key = "bob@example.com" },
		"header injection": func(q *storage.QueuedMail) { q.Attempt.Email = "ada@example.com\r\nBcc: bob@example.com" },
		"two addresses":    func(q *storage.QueuedMail) { q.Attempt.Email = "ada@example.com, bob@example.com" },
	} {
		q := queuedMail("ada@example.com")
		change(&q)
		if m, err := c.compose(q); err == nil || strings.Contains(err.Error(), "@") {
			t.Errorf("%s: %q, %v", name, m.to, err)
		}
	}
}

func TestNamesInjectNothing(t *testing.T) {
	c := testComposer(t, "login@example.com")
	for _, name := range []string{
		"X\r\nBcc: victim@example.com", "X\nBcc: victim@example.com", "X\rBcc: victim@example.com", "X\u2028Bcc: victim@example.com", "X\u0085Bcc: v@example.com",
		"X\r\n\r\n<html>", "=?utf-8?q?=0D=0ABcc:_victim@example.com?=", "==??utf-8?q?Bank?=", "\u202eknaB", strings.Repeat("Größe", 500), strings.Repeat("x", 5000),
		`"><script>alert(1)</script>`, "--part-", "\x00\x01\x7f", "\xff\xfe", ".\r\n.\r\n",
	} {
		q := queuedMail("ada@example.com")
		q.Attempt.ClientName, q.Attempt.Agent, q.Attempt.Network, q.Attempt.Locale = name, name, name, "en"
		m, err := c.compose(q)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		got := readMessage(t, m.raw)
		if len(got.head) != 18 || got.head.Get("Bcc") != "" || len(got.parts) != 2 {
			t.Errorf("%q: %d headers, %d parts:\n%s", name, len(got.head), len(got.parts), m.raw)
		}
		if to := got.head.Get("To"); to != "<ada@example.com>" || m.to != "ada@example.com" {
			t.Errorf("%q: to %s", name, to)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(got.head.Get("Subject"))
		if err != nil || strings.Contains(subject, "=?") || strings.ContainsAny(subject, "\r\n\x00\u202e\u2028") {
			t.Errorf("%q: subject %q, %v", name, subject, err)
		}
		if !strings.HasPrefix(subject, "Sign in to ") || len([]rune(subject)) > 80 {
			t.Errorf("%q: subject %q", name, subject)
		}
		if hrefs := links(t, got.parts[1].content); len(hrefs) != 2 {
			t.Errorf("%q: links %q", name, hrefs)
		}
	}
	q := queuedMail("ada@example.com")
	q.Attempt.Locale = "en\r\nBcc: victim@example.com"
	if m, err := c.compose(q); err == nil && readMessage(t, m.raw).head.Get("Bcc") != "" {
		t.Error("the language injects a header")
	}
}

func TestParseSender(t *testing.T) {
	for in, want := range map[string]sender{
		"login@example.com":                         {"", "login@example.com", "example.com", ""},
		"Example <Login@EXAMPLE.com>":               {"Example", "Login@example.com", "example.com", ""},
		"Sealpost <login@localhost>":                {"Sealpost", "login@localhost", "localhost", ""},
		`"Example, Inc." <login@exämple.net>`:       {"Example, Inc.", "login@xn--exmple-cua.net", "xn--exmple-cua.net", ""},
		"=?utf-8?q?Gr=C3=B6=C3=9Fe?= <a@b.example>": {"Größe", "a@b.example", "b.example", ""},
	} {
		if got, err := parseSender(in); err != nil || got != want {
			t.Errorf("%s: %+v %v", in, got, err)
		}
	}
	for _, in := range []string{"", "login", "a@example.com, b@example.com", "usér@example.com", `"a b"@example.com`, "a@[127.0.0.1]", "a@-b.example", "a@ｇmail.com\r\nBcc: b@example.com", "a@example.com\r\nBcc: b@example.com"} {
		if got, err := parseSender(in); err == nil || !strings.Contains(err.Error(), "write one address") {
			t.Errorf("%q: %+v %v", in, got, err)
		}
	}
}

func BenchmarkCompose(b *testing.B) {
	c, q := testComposer(b, "Example <login@example.com>"), queuedMail("ada@example.com")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.compose(q); err != nil {
			b.Fatal(err)
		}
	}
}
