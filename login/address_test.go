package login

import (
	"net/mail"
	"strings"
	"testing"
)

// of254 is an address of as many octets as there may be: 64, @, and 189.
var of254 = strings.Repeat("a", 64) + "@" + strings.Repeat(strings.Repeat("b", 59)+".", 3) + strings.Repeat("c", 9)

func TestAddressesThatAreTaken(t *testing.T) {
	for in, want := range map[string]Address{
		"ada@example.com":             {"ada@example.com", "ada@example.com"},
		"Ada.L@Example.COM":           {"ada.l@example.com", "Ada.L@example.com"}, // RFC 5321 §2.4: the server may tell the case
		" \tada@example.com\r\n":      {"ada@example.com", "ada@example.com"},
		"ada+tag@sub.example.net":     {"ada+tag@sub.example.net", "ada+tag@sub.example.net"},
		"o'brien/x=y@a-b.example":     {"o'brien/x=y@a-b.example", "o'brien/x=y@a-b.example"},
		"#$&'*+-/?=^_{}~@example.com": {"#$&'*+-/?=^_{}~@example.com", "#$&'*+-/?=^_{}~@example.com"},
		"a@1.example":                 {"a@1.example", "a@1.example"},
		of254:                         {of254, of254},

		// RFC 5891 §5: U-labels become A-labels.
		"Ada@exämple.net":         {"ada@xn--exmple-cua.net", "Ada@xn--exmple-cua.net"},
		"ada@EXÄMPLE.net":         {"ada@xn--exmple-cua.net", "ada@xn--exmple-cua.net"},
		"ada@XN--EXMPLE-CUA.net":  {"ada@xn--exmple-cua.net", "ada@xn--exmple-cua.net"},
		"ada@straße.example":      {"ada@xn--strae-oqa.example", "ada@xn--strae-oqa.example"}, // not strasse: RFC 5894 §7.2
		"ada@пример.рф":           {"ada@xn--e1afmkfd.xn--p1ai", "ada@xn--e1afmkfd.xn--p1ai"},
		"ada@例え.テスト":              {"ada@xn--r8jz45g.xn--zckzah", "ada@xn--r8jz45g.xn--zckzah"},
		"ada@exämple。net":         {"ada@xn--exmple-cua.net", "ada@xn--exmple-cua.net"}, // UTS 46: the ideographic full stop is a dot
		"ada@gma\u0131l.com":      {"ada@xn--gmal-nza.com", "ada@xn--gmal-nza.com"},     // dotless i: another domain, not gmail.com
		"ada@р\u0430ypal.example": {"ada@xn--ypal-43d9g.example", "ada@xn--ypal-43d9g.example"},
	} {
		got, err := ParseAddress(in)
		if err != nil || got != want {
			t.Errorf("%q: %+v %v, want %+v", in, got, err, want)
		}
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	for clause, inputs := range map[string][]string{
		"nothing, or half of it":                                                 {"", " ", "@", "a", "a@", "@example.com"},
		"RFC 5321 §4.5.3.1.1: a local part of 65 octets":                         {strings.Repeat("a", 65) + "@example.com"},
		"RFC 5321 §4.5.3.1.3: 255 octets":                                        {of254 + "c", "a@" + strings.Repeat("b.", 130) + "example", strings.Repeat("ä", 128) + "@example.com"},
		"RFC 1035 §2.3.4: a label of 64 octets":                                  {"a@" + strings.Repeat("b", 64) + ".example", "a@" + strings.Repeat("ä", 60) + ".example"},
		"254 octets as A-labels, too":                                            {strings.Repeat("a", 64) + "@" + strings.Repeat("é.", 30) + "example"},
		"several addresses":                                                      {"a@example.com,b@example.com", "a@example.com, b@example.com", "a@example.com;b@example.com", "a@example.com b@example.com", "a@x,b@y", "a@b@example.com", "a%@b@example.com"},
		"RFC 5322 §3.4: display names, brackets and groups":                      {"Ada <a@example.com>", "<a@example.com>", "Ada: a@example.com;", "=?utf-8?q?x?= <a@example.com>", "a(c)@example.com", "a@example.com (Ada)", "a@(c)example.com"},
		"RFC 5321 §4.1.2: quoted local parts":                                    {`"a"@example.com`, `"a b"@example.com`, `"a\"> x"@example.com`, `"a@b"@example.com`, `a"b@example.com`, `a\b@example.com`},
		"RFC 5321 §4.1.3: address literals":                                      {"a@[127.0.0.1]", "a@[IPv6:::1]", "a@127.0.0.1", "a@2130706433", "a@1.2"},
		"RFC 5321 Appendix C: source routes":                                     {"@r.example:a@example.com"},
		"header and command injection":                                           {"a@example.com\r\nBcc: b@example.com", "a\r\n@example.com", "a@exam\nple.com", "a\x00@example.com", "a@example.com\x00", "a@example.com> SIZE=1", "a@example.com\u0085", "a@example.com\u2028b"},
		"white space":                                                            {"a b@example.com", "a @example.com", "a@ example.com", "a\t@example.com", "\u00a0a@example.com", "a@example.com\u3000"},
		"RFC 5322 §3.2.3: dots where no atom is":                                 {".a@example.com", "a.@example.com", "a..b@example.com", "a@.example.com", "a@example..com", "a@example.com."},
		"one label, or a top level that is none":                                 {"a@localhost", "a@example", "a@b.c", "a@example.1", "a@b.123"},
		"RFC 5890 §2.3.1: hyphens and underscores":                               {"a@-b.example", "a@b-.example", "a@a_b.example", "a@ab--c.example", "a@*.example.com", "a@b!.example"},
		"RFC 5321 §F.2, RFC 1123 §5.2.16: routes that some servers still follow": {"a%evil.example@example.com", "evil.example!a@example.com", "a%@example.com", "!a@example.com"},
		"what a program behind the mailbox might run":                            {"|sh@example.com", "`id`@example.com", "-oQ@example.com"},
		"RFC 2047 §2: encoded words":                                             {"=?utf-8?q?a?=@example.com"},
		"no UTF-8":                                                               {"a\xff@example.com", "a@\xc3.example", "a@example.com\xff"},
		"local parts beyond ASCII":                                               {"usér@example.com", "m\u0131ke@example.com", "m\u0130ke@example.com", "\u212Aate@example.com", "ſam@example.com", "ａda@example.com", "a\u200b@example.com", "a\u200d@example.com", "а@example.com", "ada＠example.com"},
		"domains that mapping makes ASCII":                                       {"a@ｇmail.com", "a@example\u200b.com", "a@exam\u00adple.com", "a@\u212Aelvin.com", "a@example\u3002com", "a@①.com", "a@ﬁ.example", "a@gmaiⅼ.com", "a@exa\ufe0fmple.com", "a@eˣample.com"},
		"right-to-left override":                                                 {"a@\u202egmail.com", "a\u202e@gmail.com"},
		"RFC 5893 §2: the bidi rule":                                             {"a@אa.example", "a@0א.example"},
		"RFC 5892 Appendix A: joiners":                                           {"a@a\u200db.example", "a@\u200cä.example"},
		"RFC 5891 §4.2: A-labels that are none":                                  {"a@xn--a.com", "a@xn--gmal-5la.com", "a@xn--.example", "a@xn--exmple-cua-.net", "a@xn--\u00e4.example"},
		"markup":                                                                 {`"><script>@x.example`, "<script>alert(1)</script>@example.com"},
	} {
		for _, in := range inputs {
			if got, err := ParseAddress(in); err == nil || got != (Address{}) {
				t.Errorf("%s: %q is taken as %+v", clause, in, got)
			}
		}
	}
}

func TestEveryOtherCharacterIsNoAliasOfALetter(t *testing.T) {
	for r := rune(0x80); r < 0xe1000; r++ {
		if r == 0x20000 { // ideographs and planes without characters
			r = 0xe0000
		}
		if a, err := ParseAddress("a@exa" + string(r) + "mple.com"); err == nil && !strings.Contains(a.Key, "@xn--") {
			t.Errorf("U+%04X in a domain becomes %s", r, a.Key)
		}
		if a, err := ParseAddress("a" + string(r) + "@example.com"); err == nil {
			t.Errorf("U+%04X in a local part becomes %s", r, a.Key)
		}
	}
}

func TestAbuseKeyIsOneForOnePerson(t *testing.T) {
	for in, want := range map[string]string{
		"J.o.h.n+x@GoogleMail.com": "john@gmail.com",
		"john@gmail.com":           "john@gmail.com",
		"j.ohn+a+b@example.com":    "j.ohn@example.com",
		"+tag@example.com":         "+tag@example.com", // not everyone's who leads with a plus
	} {
		a, err := ParseAddress(in)
		if err != nil || a.AbuseKey() != want {
			t.Errorf("%s: %s %v, want %s", in, a.AbuseKey(), err, want)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{
		"ada@example.com", "Ada.L+x@Sub.Example.COM", "user@exämple.net", "a@xn--exmple-cua.net", "o'brien/x=y@a-b.example", " a@b.example\n",
		`"a b"@example.com`, "Ada <a@example.com>", "a@[127.0.0.1]", "a@example.com\r\nBcc: b@example.com", "a@x,b@y", "m\u0131ke@example.org",
		"\u212Aate@example.org", "a@ｇmail.com", "a@exam\u00adple.com", "a@b\u3002example", "a@\u202egmail.com", "a@אבג.example", "a\xff@b.example",
		"a@*.example.com", "=?utf-8?q?x?=@example.com", of254, of254 + "c",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, err := ParseAddress(in)
		if err != nil {
			if a != (Address{}) {
				t.Fatalf("%q: an error and %+v", in, a)
			}
			return
		}
		for name, form := range map[string]string{"key": a.Key, "delivery": a.Delivery} {
			local, domain, ok := strings.Cut(form, "@")
			if !ok || !isASCII(form) || strings.ContainsAny(form, "\r\n\t <>\"(),:;[]\\\x00") {
				t.Fatalf("%q: %s %q", in, name, form)
			}
			if len(form) > 254 || len(local) > 64 || len(domain) > 253 || domain != strings.ToLower(domain) {
				t.Fatalf("%q: %s %q", in, name, form)
			}
			m, err := mail.ParseAddress(form)
			if err != nil || m.Address != form || m.Name != "" {
				t.Fatalf("%q: net/mail reads %q as %v: %v", in, form, m, err)
			}
		}
		if a.Key != strings.ToLower(a.Delivery) {
			t.Fatalf("%q: key %q and delivery %q name two mailboxes", in, a.Key, a.Delivery)
		}
		if again, err := ParseAddress(a.Delivery); err != nil || again != a {
			t.Fatalf("%q: read again %+v: %+v %v", in, a, again, err)
		}
		if key, err := ParseAddress(a.Key); err != nil || key.Key != a.Key || key.Delivery != a.Key {
			t.Fatalf("%q: the key of the key is %+v: %v", in, key, err)
		}
		if isASCII(in) && !strings.EqualFold(strings.TrimSpace(in), a.Key) {
			t.Fatalf("%q: became %q", in, a.Key)
		}
		abuse := a.AbuseKey()
		if again := (Address{Key: abuse}).AbuseKey(); again != abuse || strings.HasPrefix(abuse, "@") || strings.Count(abuse, "@") != 1 {
			t.Fatalf("%q: abuse key %q, then %q", in, abuse, again)
		}
		if !strings.Contains(a.Key, "*") && !Allowed(a.Key, []string{a.Delivery}, nil) || Allowed(a.Key, nil, []string{"*" + a.Key[strings.Index(a.Key, "@"):]}) {
			t.Fatalf("%q: no pattern matches %q", in, a.Key)
		}
	})
}
