package login

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/sealpost/sealpost/keys"
)

// pkcs8 writes a private key in PEM.
func pkcs8(key any) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// rsaOf makes an RSA key of so many bits.
func rsaOf(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

var testRSA = sync.OnceValue(func() *rsa.PrivateKey { return rsaOf(2048) })

var testEd = sync.OnceValue(func() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

func keyOf(domain, selector string, key crypto.Signer) DKIMKey {
	k, err := ParseDKIMKey(domain, selector, pkcs8(key))
	if err != nil {
		panic(err)
	}
	return k
}

func rsaKey() DKIMKey { return keyOf("example.com", "mail", testRSA()) }
func edKey() DKIMKey  { return keyOf("example.com", "mail-ed", testEd()) }

// verify gives the algorithms of the signatures that another's implementation
// finds valid, with the records of keys in the DNS.
func verify(t testing.TB, raw []byte, keys ...DKIMKey) (valid []string) {
	t.Helper()
	found, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		for _, k := range keys {
			if k.String() == name {
				return []string{DKIMRecord(k)}, nil
			}
		}
		return nil, errors.New("no such record")
	}})
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	for i, v := range found {
		if v.Err == nil && v.Domain == keys[i].domain && v.Time.Unix() == asked.Unix() && v.Expiration.IsZero() {
			valid = append(valid, keys[i].algorithm())
		}
	}
	return valid
}

// hard is a letter with everything that transport or a careless canonical form
// may change.
func hard() letter {
	return letter{
		id: keys.ID(), to: of254, at: asked, language: "de", subject: "Anmelden bei Größe 漢字 " + strings.Repeat("lang ", 30),
		text: ".\n..\n.dots\n\n \t spaces  and\ttabs \t\n" + strings.Repeat("ö", 3000) + "\nFrom the start\n" + strings.Repeat("x", 5000) + "\n \n\n\n",
		html: "<p>" + strings.Repeat("größe ", 2000) + "</p>",
	}
}

func TestSignedMailIsValidAfterTransport(t *testing.T) {
	for _, from := range []string{"login@example.com", `"Größe & Söhne, 漢字" <login@example.com>`, "Example <login@signin.example.com>"} {
		s, err := parseSender(from)
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.write(hard())
		if err != nil {
			t.Fatal(err)
		}
		signers := []DKIMKey{rsaKey(), edKey()}
		if m, err = sign(m, signers, asked); err != nil {
			t.Fatal(err)
		}
		h := newHost(t)
		l := line(h.plain(t))
		defer l.close()
		if f := l.deliver(t.Context(), m); f != nil {
			t.Fatal(f)
		}
		if got := verify(t, h.taken()[0].raw, signers...); !slices.Equal(got, []string{"rsa", "ed25519"}) {
			t.Errorf("%s: valid: %v in\n%s", from, got, h.taken()[0].raw)
		}
		for line := range strings.SplitSeq(string(m.raw), "\r\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\n") || !isASCII(line) {
				t.Errorf("%d octets: %q", len(line), line)
			}
		}
	}
}

// What the receiver has is made of any bytes at all, and not only of those we
// write.
func TestCanonicalFormsOfRFC6376(t *testing.T) {
	for name, body := range map[string]string{
		"§3.4.4: no body": "", "§3.4.4: only lines without anything": "\r\n\r\n", "§3.4.4: only white space": " \t\r\n \r\n",
		"§3.4.4: no end of line": "x", "§3.4.4: white space at the end": "x \t\r\n\r\ny \t ", "§3.4.4: runs of it": " a \t b\r\n\tc\r\n",
		"§3.4.4: the example": " C \r\nD \t E\r\n\r\n\r\n",
	} {
		raw := "A: X \r\nFROM \t:  a@example.com \r\nB : Y\t\r\n\tZ  \r\nSubject:\r\n\t x\r\n  y\r\nTo: a\r\nto:b\r\n\r\n" + body
		m, err := sign(message{raw: []byte(raw)}, []DKIMKey{rsaKey()}, asked)
		if err != nil {
			t.Fatal(err)
		}
		if got := verify(t, m.raw, rsaKey()); len(got) != 1 {
			t.Errorf("%s: not valid:\n%s", name, m.raw)
		}
	}
	if got := relaxedBody(" C \r\nD \t E\r\n\r\n\r\n"); got != " C\r\nD E\r\n" { // RFC 6376 §3.4.5
		t.Errorf("%q", got)
	}
	if m, err := sign(message{raw: []byte("From: a@example.com\r\n")}, []DKIMKey{rsaKey()}, asked); err == nil {
		t.Errorf("%s", m.raw)
	}
}

// Whatever a field and a body are made of, another's implementation agrees.
func FuzzSign(f *testing.F) {
	f.Add(" x \t y", "a \t\n\n b\n \n")
	f.Add("\n\tfolded\n  twice", "no end")
	f.Add("", "")
	key := rsaKey()
	breaks := strings.NewReplacer("\r", "", "\n", "\r\n")
	f.Fuzz(func(t *testing.T, subject, body string) {
		subject = strings.ReplaceAll(strings.ReplaceAll(breaks.Replace(subject), "\r\n", " \r\n\t"), "\x00", "")
		raw := "From: a@example.com\r\nSubject:" + subject + "\r\n\r\n" + breaks.Replace(body)
		m, err := sign(message{raw: []byte(raw)}, []DKIMKey{key}, asked)
		if err != nil {
			t.Fatal(err)
		}
		if got := verify(t, m.raw, key); len(got) != 1 {
			t.Errorf("not valid: %q", m.raw)
		}
	})
}

func TestAnyChangeBreaksTheSignature(t *testing.T) {
	c := testComposer(t, "Example <login@example.com>")
	c.from.replyTo, c.dkim = "support@example.com", []DKIMKey{rsaKey(), edKey()}
	m, err := c.compose(queuedMail("ada@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if got := verify(t, m.raw, c.dkim...); len(got) != 2 {
		t.Fatalf("valid: %v in\n%s", got, m.raw)
	}
	raw := string(m.raw)
	before := func(field string) string { return strings.Replace(raw, "\r\nFrom: ", "\r\n"+field+"\r\nFrom: ", 1) }
	for name, changed := range map[string]string{
		"From":             strings.Replace(raw, "\r\nFrom: \"Example\"", "\r\nFrom: \"Bank\"", 1),
		"To":               strings.Replace(raw, "\r\nTo: <ada@", "\r\nTo: <bob@", 1),
		"Subject":          strings.Replace(raw, "\r\nSubject: Sign", "\r\nSubject: sign", 1),
		"Date":             strings.Replace(raw, "05:06:07", "05:06:08", 1),
		"Message-ID":       strings.Replace(raw, "\r\nMessage-ID: <", "\r\nMessage-ID: <x", 1),
		"Reply-To":         strings.Replace(raw, "support@example.com", "support@example.org", 1),
		"Content-Type":     strings.Replace(raw, "multipart/alternative", "multipart/mixed", 1),
		"body":             strings.Replace(raw, "15 minutes", "95 minutes", 1),
		"more body":        raw + "more\r\n",
		"less body":        strings.TrimSuffix(raw, "--\r\n"),
		"a second From":    before("From: <bank@example.com>"),
		"a second Subject": before("Subject: Pay"),
		"a second To":      before("To: <bob@example.com>"),
		"a second type":    before("Content-Type: text/html"),
		"time":             strings.ReplaceAll(raw, fmt.Sprintf("t=%d", asked.Unix()), fmt.Sprintf("t=%d", asked.Unix()+1)),
		"another key":      strings.ReplaceAll(strings.ReplaceAll(raw, "s=mail-ed;", "s=other;"), "s=mail;", "s=other;"),
	} {
		if changed == raw {
			t.Errorf("%s: nothing was changed in\n%s", name, raw)
		}
		if got := verify(t, []byte(changed), c.dkim...); len(got) != 0 {
			t.Errorf("%s: valid: %v", name, got)
		}
	}
	// What servers on the way do to a mail doesn't.
	for name, changed := range map[string]string{
		"a trace field":        "Received: from a by b; Tue, 04 Mar 2031 05:06:08 +0000\r\n" + raw,
		"a provider's is used": strings.Replace(raw, "X-Mailgun-Track: no\r\n", "", 1),
		"folded anew":          strings.Replace(raw, "\r\nSubject: Sign in ", "\r\nSubject:\r\n  Sign\r\n\tin ", 1),
		"an end of lines":      raw + "\r\n\r\n",
	} {
		if got := verify(t, []byte(changed), c.dkim...); changed == raw || len(got) != 2 {
			t.Errorf("%s: valid: %v", name, got)
		}
	}
}

func TestSignatureIsTheSameAfterACrash(t *testing.T) {
	q := queuedMail("ada@example.com")
	var mails [2]message
	for i := range mails {
		c := testComposer(t, "login@example.com")
		c.dkim = []DKIMKey{rsaKey(), edKey()} // parsed again
		var err error
		if mails[i], err = c.compose(q); err != nil {
			t.Fatal(err)
		}
		q.Mail.Tries++
		q.Mail.NextAt = q.Mail.NextAt.Add(1)
	}
	if !bytes.Equal(mails[0].raw, mails[1].raw) || bytes.Count(mails[0].raw, []byte("DKIM-Signature:")) != 2 {
		t.Errorf("%s\n%s", mails[0].raw, mails[1].raw)
	}
}

func TestSignatureSaysNoMoreThanItMust(t *testing.T) {
	m, err := sign(message{raw: []byte("From: a@example.com\r\n\r\n")}, []DKIMKey{rsaKey()}, asked)
	if err != nil {
		t.Fatal(err)
	}
	field, _, _ := strings.Cut(string(m.raw), "\r\nFrom:")
	var tags []string
	for tag := range strings.SplitSeq(strings.TrimPrefix(field, "DKIM-Signature:"), ";") {
		name, _, _ := strings.Cut(strings.TrimSpace(tag), "=")
		tags = append(tags, name)
	}
	// Neither l= nor x= (RFC 6376 §8.2).
	if want := []string{"v", "a", "c", "d", "s", "t", "h", "bh", "b"}; !slices.Equal(tags, want) || !strings.Contains(field, "c=relaxed/relaxed") {
		t.Errorf("%v in %s", tags, field)
	}
}

func TestParseDKIMKey(t *testing.T) {
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(testRSA())})
	for name, text := range map[string][]byte{"PKCS #1": pkcs1, "PKCS #8": pkcs8(testRSA()), "RFC 8410": pkcs8(testEd()), "more lines": append(pkcs1, "\n\n"...)} {
		k, err := ParseDKIMKey("Exämple.NET", "S1.Mail", text)
		if err != nil || k.String() != "s1.mail._domainkey.xn--exmple-cua.net" {
			t.Errorf("%s: %s, %v", name, k, err)
		}
	}
	public, err := x509.MarshalPKIXPublicKey(testRSA().Public())
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		domain, selector string
		text             []byte
		want             string
	}{
		"RFC 8301 §3.2: 1024 bits": {"example.com", "s", pkcs8(rsaOf(1024)), "RSA of 1024 bits: 2048 to 4096"},
		"no PEM":                   {"example.com", "s", []byte("topsecret"), "openssl genpkey"},
		"nothing":                  {"example.com", "s", nil, "openssl genpkey"},
		"damaged":                  {"example.com", "s", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("topsecret")}), "openssl genpkey"},
		"public":                   {"example.com", "s", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), "openssl genpkey"},
		"encrypted, PKCS #8":       {"example.com", "s", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: public}), "unencrypted"},
		"encrypted, PKCS #1":       {"example.com", "s", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: public}), "unencrypted"},
		"two keys":                 {"example.com", "s", append(pkcs1, pkcs1...), "one unencrypted"},
		"ECDSA":                    {"example.com", "s", pkcs8(curve), "RSA or Ed25519"},
		"no domain":                {"", "s", pkcs1, "domain"},
		"a domain's dot":           {"example.com.", "s", pkcs1, "domain"},
		"a bad domain":             {"exa mple.com", "s", pkcs1, "domain"},
		"injection by domain":      {"example.com; l=0", "s", pkcs1, "domain"},
		"no selector":              {"example.com", "", pkcs1, "selector"},
		"injection by selector":    {"example.com", "s; l=0", pkcs1, "selector"},
		"a selector in full":       {"example.com", "s._domainkey.example.com", pkcs1, "selector"},
		"a dot":                    {"example.com", "s.", pkcs1, "selector"},
		"not ASCII":                {"example.com", "größe", pkcs1, "selector"},
		"too long":                 {"example.com", strings.Repeat("s.", 120) + "s", pkcs1, "selector"},
	} {
		if k, err := ParseDKIMKey(tt.domain, tt.selector, tt.text); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: %s, %v", name, k, err)
		}
	}
}

func TestDKIMRecord(t *testing.T) {
	p, ok := strings.CutPrefix(DKIMRecord(rsaKey()), "v=DKIM1; k=rsa; p=")
	der, err := base64.StdEncoding.DecodeString(p)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if public, err := x509.ParsePKIXPublicKey(der); err != nil || !testRSA().PublicKey.Equal(public) { // RFC 6376 §3.6.1, erratum 3017
		t.Error(err)
	}
	// RFC 8463 §4.2: the key itself, without any wrapping.
	if got := DKIMRecord(edKey()); got != "v=DKIM1; k=ed25519; p="+base64.StdEncoding.EncodeToString(testEd().Public().(ed25519.PublicKey)) {
		t.Error(got)
	}
}

func TestDKIMKeyDoesNotPrint(t *testing.T) {
	k := edKey()
	text, err := json.Marshal(map[string]any{"key": k})
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("%v %+v %#v %s %+v", k, &k, k, text, OutboxConfig{DKIM: []DKIMKey{k}})
	if strings.Count(out, "mail-ed._domainkey.example.com") != 5 || strings.Contains(out, "signer") || strings.Contains(out, fmt.Sprint(testEd()[0], " ", testEd()[1])) {
		t.Error(out)
	}
}

func TestOnlyAlignedKeysSign(t *testing.T) {
	other := keyOf("example.com", "other", testRSA())
	for name, tt := range map[string]struct {
		from, server string
		keys         []DKIMKey
		want         string
	}{
		"none":           {"a@example.com", "smtps://h", nil, ""},
		"RSA":            {"a@example.com", "smtps://h", []DKIMKey{rsaKey()}, ""},
		"and Ed25519":    {"a@example.com", "smtps://h", []DKIMKey{rsaKey(), edKey()}, ""},
		"Ed25519 alone":  {"a@example.com", "smtps://h", []DKIMKey{edKey()}, "one RSA key"},
		"the other way":  {"a@example.com", "smtps://h", []DKIMKey{edKey(), rsaKey()}, "one RSA key"},
		"two of RSA":     {"a@example.com", "smtps://h", []DKIMKey{rsaKey(), other}, "one RSA key"},
		"three":          {"a@example.com", "smtps://h", []DKIMKey{rsaKey(), edKey(), edKey()}, "one RSA key"},
		"no key":         {"a@example.com", "smtps://h", []DKIMKey{{}}, "one RSA key"},
		"one name":       {"a@example.com", "smtps://h", []DKIMKey{rsaKey(), keyOf("example.com", "mail", testEd())}, "both keys are published as mail._domainkey.example.com"},
		"below":          {"a@login.example.com", "smtps://h", []DKIMKey{rsaKey()}, ""},
		"above":          {"a@example.com", "smtps://h", []DKIMKey{keyOf("mail.example.com", "s", testRSA())}, ""},
		"an IDN":         {"a@exämple.net", "smtps://h", []DKIMKey{keyOf("exämple.net", "s", testRSA())}, ""},
		"another":        {"a@example.org", "smtps://h", []DKIMKey{rsaKey()}, "mail from example.org and signed by example.com"},
		"a sibling":      {"a@login.example.com", "smtps://h", []DKIMKey{keyOf("mail.example.com", "s", testRSA())}, "login.example.com and signed by mail.example.com"},
		"only an ending": {"a@badexample.com", "smtps://h", []DKIMKey{rsaKey()}, "badexample.com and signed by example.com"},
		"a top level":    {"a@example.com", "smtps://h", []DKIMKey{keyOf("com", "s", testRSA())}, "example.com and signed by com"},
		"the second":     {"a@example.com", "smtps://h", []DKIMKey{rsaKey(), keyOf("example.org", "s", testEd())}, "example.com and signed by example.org"},
		"an API":         {"a@example.com", "cloudflare://" + account + ":t", []DKIMKey{rsaKey()}, "Cloudflare's, which signs"},
		"its SMTP":       {"a@example.com", "smtps://smtp.mx.cloudflare.net", []DKIMKey{rsaKey()}, "Cloudflare's, which signs"},
	} {
		from, err := parseSender(tt.from)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkDKIM(from, mailServer(t, "%s", tt.server), tt.keys); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTestMailIsSigned(t *testing.T) {
	h := newHost(t)
	var dialogue bytes.Buffer
	if _, err := SendTest(t.Context(), h.plain(t), "login@example.com", "you@example.org", &dialogue, rsaKey()); err != nil {
		t.Fatal(err)
	}
	if raw := h.taken()[0].raw; !bytes.HasPrefix(raw, []byte("DKIM-Signature: v=1; a=rsa-sha256;")) {
		t.Errorf("%s", raw)
	}
	if _, err := SendTest(t.Context(), h.plain(t), "login@example.org", "you@example.org", &dialogue, rsaKey()); err == nil || len(h.taken()) != 1 {
		t.Error("mail is sent that is signed by another domain")
	}
}

func BenchmarkSign(b *testing.B) {
	m, err := testComposer(b, "login@example.com").compose(queuedMail("ada@example.com"))
	if err != nil {
		b.Fatal(err)
	}
	signers := []DKIMKey{rsaKey(), edKey()}
	for b.Loop() {
		if _, err := sign(m, signers, asked); err != nil {
			b.Fatal(err)
		}
	}
}
