package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/login"
)

// zone is what a DNS server of a test knows: "TXT example.com" and its values. A
// name that is SERVFAIL is not answered well.
type zone map[string][]string

// resolver starts the server and gives a resolver that asks it.
func (z zone) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		for buffer := make([]byte, 4096); ; {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return // closed
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) == nil && len(m.Questions) == 1 {
				if answer, err := z.answer(m); err == nil {
					_, _ = conn.WriteTo(answer, from)
				}
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (z zone) answer(m dnsmessage.Message) ([]byte, error) {
	q := m.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	m.Response, m.Authoritative, m.RecursionAvailable, m.Additionals = true, true, true, nil
	m.RCode = dnsmessage.RCodeNameError
	for key := range z {
		if strings.HasSuffix(key, " "+name) {
			m.RCode = dnsmessage.RCodeSuccess
		}
	}
	if _, ok := z["SERVFAIL "+name]; ok {
		m.RCode = dnsmessage.RCodeServerFailure
		return m.Pack()
	}
	for _, value := range z[strings.TrimPrefix(q.Type.String(), "Type")+" "+name] {
		var body dnsmessage.ResourceBody
		switch q.Type {
		case dnsmessage.TypeTXT:
			var parts []string
			for ; len(value) > 255; value = value[255:] {
				parts = append(parts, value[:255])
			}
			body = &dnsmessage.TXTResource{TXT: append(parts, value)}
		case dnsmessage.TypeMX:
			host, err := dnsmessage.NewName(value)
			if err != nil {
				return nil, err
			}
			body = &dnsmessage.MXResource{Pref: 10, MX: host}
		case dnsmessage.TypeA:
			body = &dnsmessage.AResource{A: netip.MustParseAddr(value).As4()}
		default:
			continue
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, Body: body})
	}
	return m.Pack()
}

// found gives the findings of checks, each as a line.
func (d *doctor) found() string {
	var out strings.Builder
	for _, f := range d.findings {
		fmt.Fprintf(&out, "%s %s: %s | %s\n", f.State, f.Check, f.What, f.Fix)
	}
	return out.String()
}

// wants fails unless each text is in a finding.
func (d *doctor) wants(t *testing.T, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if !strings.Contains(d.found(), want) {
			t.Errorf("no finding %q in:\n%s", want, d.found())
		}
	}
}

func TestDoctorAsksTheDNS(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "dkim.pem")
	text, err := login.NewDKIMKey(false)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeNew(file, text); err != nil {
		t.Fatal(err)
	}
	key, err := login.ParseDKIMKey("example.com", "s1", text)
	if err != nil {
		t.Fatal(err)
	}
	record := login.DKIMRecord(key)
	other, _, _ := strings.Cut(record, "p=")
	well := zone{
		"MX example.com": {"mx.example.com."}, "TXT example.com": {"google-site-verification=x", "v=spf1 a:smtp.example.com -all"},
		"A smtp.example.com": {"203.0.113.25"}, "TXT s1._domainkey.example.com": {record}, "TXT _dmarc.example.com": {"v=DMARC1; p=reject"},
	}
	const cloudflare = "cloudflare://0123456789abcdef0123456789abcdef:token"
	for _, c := range []struct {
		name   string
		change zone // nil values take away
		set    func(*Mail)
		want   []string
	}{
		{"all is well", nil, nil, []string{
			"ok mx: example.com takes mail at mx.example.com", "ok spf: example.com lets smtp.example.com send",
			"ok dkim: the record s1._domainkey.example.com is that of the key that signs", "ok dmarc: the policy of _dmarc.example.com is reject",
		}},
		{"a key record in other words", zone{"TXT s1._domainkey.example.com": {strings.ReplaceAll(strings.Replace(record, "v=DKIM1; k=rsa; ", "", 1), "A", " A") + ";"}}, nil,
			[]string{"ok dkim: "}},
		{"the policy stands above", nil, func(m *Mail) { m.From = "a@login.example.com" }, []string{"ok dmarc: the policy of _dmarc.example.com is reject"}},
		{"another policy below", zone{"TXT _dmarc.example.com": {"v=DMARC1; p=reject; sp=none"}}, func(m *Mail) { m.From = "a@login.example.com" },
			[]string{"warning dmarc: the policy is none: receivers take mail that others send in the name of login.example.com"}},
		{"RFC 7505: null MX", zone{"MX example.com": {"."}}, nil, []string{"warning mx: example.com says that it takes no mail"}},
		{"RFC 5321 §5.1: an address and no MX", zone{"MX example.com": nil, "A example.com": {"203.0.113.1"}}, nil, []string{"ok mx: example.com takes mail at its own address"}},
		{"neither", zone{"MX example.com": nil}, nil, []string{"warning mx: example.com has neither an MX record nor an address"}},
		{"no SPF", zone{"TXT example.com": nil}, nil, []string{"warning spf: example.com does not say who may send for it | publish a TXT record example.com: v=spf1 a:smtp.example.com ~all"}},
		{"RFC 7208 §4.5: two of SPF", zone{"TXT example.com": {"v=spf1 -all", "v=spf1 mx -all"}}, nil, []string{"failed spf: example.com has 2 SPF records"}},
		{"SPF without the server", zone{"TXT example.com": {"v=spf1 ip4:198.51.100.0/24 ~all"}}, nil, []string{"warning spf: example.com does not list 203.0.113.25 (smtp.example.com) | unless your mail service sends from other addresses and its include: is there, add a:smtp.example.com"}},
		{"SPF with an include", zone{"TXT example.com": {"v=spf1 include:spf.example.net -all"}, "TXT spf.example.net": {"v=spf1 ip4:203.0.113.0/24 -all"}}, nil, []string{"ok spf: "}},
		{"SPF in error", zone{"TXT example.com": {"v=spf1 nonsense:x -all"}}, nil, []string{"failed spf: example.com says \"v=spf1 nonsense:x -all\", which is in error"}},
		{"SPF of an unknown way out", nil, func(m *Mail) { m.URL = "smtp+plain://127.0.0.1:25" }, []string{"ok spf: example.com says", "cannot be seen from here"}},
		{"the DNS is away", zone{"SERVFAIL example.com": {}}, nil, []string{"warning mx: the DNS did not answer", "warning spf: the DNS did not answer"}},
		{"no key record", zone{"TXT s1._domainkey.example.com": nil}, nil, []string{"failed dkim: there is no record s1._domainkey.example.com for the key that signs | publish a TXT record s1._domainkey.example.com: " + record}},
		{"a record of another key", zone{"TXT s1._domainkey.example.com": {other + "p=AAAA"}}, nil, []string{"failed dkim: the record s1._domainkey.example.com is of another key"}},
		{"a key taken back", zone{"TXT s1._domainkey.example.com": {other + "p="}}, nil, []string{"failed dkim: the record s1._domainkey.example.com is of another key"}},
		{"no key", nil, func(m *Mail) { m.DKIM = DKIM{} }, []string{"warning dkim: whether the mail server signs cannot be seen from here"}},
		{"no policy", zone{"TXT _dmarc.example.com": nil}, nil, []string{"warning dmarc: example.com has no policy, and big receivers want one | publish a TXT record _dmarc.example.com: v=DMARC1; p=none"}},
		{"RFC 7489 §6.6.3: two policies", zone{"TXT _dmarc.example.com": {"v=DMARC1; p=reject", "v=DMARC1; p=none"}}, nil, []string{"failed dmarc: _dmarc.example.com has 2 policies"}},
		{"a policy that is none", zone{"TXT _dmarc.example.com": {"v=DMARC1; p=perhaps"}}, nil, []string{"failed dmarc: _dmarc.example.com has no policy that is known"}},
		{"RFC 7489 §3.1.1: strict", zone{"TXT _dmarc.example.com": {"v=DMARC1; p=reject; adkim=s"}, "TXT login.example.com": {"v=spf1 a:smtp.example.com -all"}},
			func(m *Mail) { m.From, m.DKIM.Domain = "a@login.example.com", "example.com" },
			[]string{"failed dmarc: _dmarc.example.com wants signatures of login.example.com itself (adkim=s), and example.com signs | set mail.dkim.domain to login.example.com"}},
		{"nothing aligns", zone{"TXT example.com": nil, "TXT s1._domainkey.example.com": nil}, nil, []string{"warning dmarc: the policy is reject, and neither SPF nor DKIM is known to be right"}},
		{"Cloudflare", zone{"TXT cf-bounce.example.com": {"v=spf1 include:_spf.mx.cloudflare.net ~all"}, "TXT cf-bounce._domainkey.example.com": {"v=DKIM1; p=x"}},
			func(m *Mail) { m.URL, m.DKIM = cloudflare, DKIM{} }, []string{"ok spf: cf-bounce.example.com lets Cloudflare send", "ok dkim: Cloudflare signs, with the key cf-bounce._domainkey.example.com"}},
		{"Cloudflare, not set up", zone{"TXT cf-bounce.example.com": {"v=spf1 -all"}},
			func(m *Mail) { m.URL, m.DKIM = cloudflare, DKIM{} }, []string{"failed spf: cf-bounce.example.com says \"v=spf1 -all\", without Cloudflare", "failed dkim: there is no record cf-bounce._domainkey.example.com"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			z := zone{}
			for _, part := range []zone{well, c.change} {
				for name, values := range part {
					if z[name] = values; values == nil {
						delete(z, name)
					}
				}
			}
			s := Defaults()
			s.Mail = Mail{URL: "smtp://smtp.example.com", From: "Example <login@example.com>", DKIM: DKIM{Selector: "s1", KeyFile: file}}
			if c.set != nil {
				c.set(&s.Mail)
			}
			if s.Mail.From != "Example <login@example.com>" && s.Mail.DKIM.Domain == "" {
				s.Mail.DKIM.Domain = "example.com"
			}
			d := &doctor{now: time.Now, resolver: z.resolver(t), settings: &s}
			d.mailDomain(t.Context())
			d.wants(t, c.want...)
			if c.name == "all is well" && strings.Count(d.found(), "ok ") != 4 {
				t.Errorf("not all is well:\n%s", d.found())
			}
		})
	}
}

func TestDoctorKnocksAtTheMailServer(t *testing.T) {
	sink := mailSink{arrived: make(chan sunkMail, 1)}
	t.Cleanup(sink.close)
	address, err := sink.listen("")
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(&cloudflare{sink: &sink})
	t.Cleanup(api.Close)
	for url, want := range map[string]string{
		"smtp+plain://user:password@" + address:                        "ok mail server: smtp+plain://" + address + " lets us in",
		"smtp://user:password@" + address:                              "failed mail server: smtp://" + address + ": tls: the server offers no STARTTLS",
		"smtps://user:password@" + address:                             "write the host as its certificate has it",
		"smtp+plain://user:password@127.0.0.1:1":                       "check host and port in mail.url",
		"smtp://nowhere.example.com":                                   "failed mail server: the name nowhere.example.com leads nowhere",
		"cloudflare://" + cloudflareID + ":hunter2?api_url=" + api.URL: "ok mail server: " + api.URL,
		"cloudflare://" + cloudflareID + ":hunter3?api_url=" + api.URL: "failed mail server: " + api.URL + ": api: 401 authentication.unauthorized: the provider turns the token or the account down",
	} {
		s := Defaults()
		s.Mail.URL, s.Mail.From = SecretURL(url), "login@example.com"
		d := &doctor{now: time.Now, resolver: zone{}.resolver(t), settings: &s}
		d.mailServer(t.Context())
		d.wants(t, want)
		if len(sink.arrived) > 0 {
			t.Errorf("%s: a mail was sent", want)
		}
	}
}

// behind starts an instance with a proxy in front that does TLS, and a doctor
// who comes by it.
func behind(t *testing.T, trusted string, rewrite func(*httputil.ProxyRequest), change func(*Settings)) *doctor {
	t.Helper()
	s := settingsOf(t, "sqlite")
	if trusted != "" {
		s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(trusted)}
	}
	in, _ := buildInstance(t, s, time.Now, nil)
	t.Cleanup(func() { in.close() })
	server := httptest.NewServer(in.servers[0].Handler)
	t.Cleanup(server.Close)
	to, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := newCertificate("login.example.com")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
		rewrite(r)
	}})
	proxy.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	if change != nil {
		change(&s)
	}
	return &doctor{now: time.Now, settings: &s, transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, proxy.Listener.Addr().String())
		},
	}}
}

func TestDoctorComesByTheProxy(t *testing.T) {
	good := func(r *httputil.ProxyRequest) { r.SetXForwarded() }
	for _, c := range []struct {
		name, trusted string
		rewrite       func(*httputil.ProxyRequest)
		change        func(*Settings)
		want          []string
	}{
		{"well", "127.0.0.1/32", good, nil, []string{
			"ok issuer: answers from here, as https://login.example.com", "ok issuer clock: ",
			"warning issuer tls: the certificate expires on ", "ok proxies: 127.0.0.1 is believed; a request from here is seen from 127.0.0.1",
		}},
		{"one that appends", "127.0.0.1/32", func(r *httputil.ProxyRequest) {
			r.Out.Header["X-Forwarded-For"] = append(r.In.Header["X-Forwarded-For"], "127.0.0.1")
		}, nil, []string{"ok proxies: 127.0.0.1 is believed, and so is this machine, 127.0.0.1"}},
		{"one that appends who is not believed", "127.0.0.1/32", func(r *httputil.ProxyRequest) {
			r.Out.Header["X-Forwarded-For"] = append(r.In.Header["X-Forwarded-For"], "203.0.113.7")
		}, nil, []string{"ok proxies: 127.0.0.1 is believed; a request from here is seen from 203.0.113.7"}},
		{"not believed", "", good, nil, []string{"failed proxies: 127.0.0.1 is not believed and counts as everyone: the limit per network is one for all | trusted_proxies: [127.0.0.1]"}},
		{"silent", "127.0.0.1/32", func(*httputil.ProxyRequest) {}, nil, []string{"failed proxies: 127.0.0.1 does not say whom a request is from, and counts as everyone | let it set X-Forwarded-For to the address of who connected\n"}},
		{"silent and not believed", "", func(*httputil.ProxyRequest) {}, nil, []string{"and name it: trusted_proxies: [127.0.0.1]"}},
		{"gullible", "127.0.0.1/32", func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			if forged := r.In.Header["X-Forwarded-For"]; len(forged) > 0 {
				r.Out.Header["X-Forwarded-For"] = forged
			}
		}, nil, []string{"failed proxies: what a caller writes into X-Forwarded-For is believed"}},
		{"a proxy before the proxy", "127.0.0.1/32", func(r *httputil.ProxyRequest) {
			r.Out.Header["X-Forwarded-For"] = []string{"203.0.113.7, 10.0.0.9"}
		}, nil, []string{"warning proxies: a request from here came from 203.0.113.7 by 10.0.0.9, and is seen from 10.0.0.9 | if 10.0.0.9 is a proxy of yours, too: name it in trusted_proxies"}},
		{"another secret", "127.0.0.1/32", good, func(s *Settings) { s.Secret = Secret(keys.NewSecret()) },
			[]string{"warning proxies: what arrives behind them is not known: the server there has another secret, clock or version"}},
		{"a path of its own", "127.0.0.1/32", func(r *httputil.ProxyRequest) { r.Out.URL.Path = "/sso" + r.Out.URL.Path }, nil,
			[]string{"failed issuer: https://login.example.com/.well-known/openid-configuration answers with status 404"}},
		{"a Host of its own", "127.0.0.1/32", func(r *httputil.ProxyRequest) { r.Out.Host = "upstream" }, nil, []string{"let the proxy pass on every path, and Host as it came"}},
		{"another issuer", "127.0.0.1/32", func(r *httputil.ProxyRequest) { r.Out.Host = "login.example.com" },
			func(s *Settings) { s.Issuer = "https://other.example.com" }, []string{"failed issuer: https://other.example.com/.well-known/openid-configuration cannot be reached from here"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := behind(t, c.trusted, c.rewrite, c.change)
			d.issuer(t.Context())
			d.wants(t, c.want...)
		})
	}
	t.Run("another time", func(t *testing.T) {
		d := behind(t, "127.0.0.1/32", good, nil)
		d.now = func() time.Time { return time.Now().Add(-61 * time.Minute) }
		d.transport.TLSClientConfig.Time = time.Now
		d.issuer(t.Context())
		d.wants(t, "failed issuer clock: is 1h", "| let both machines follow a time server (NTP)", "warning proxies: what arrives behind them is not known")
	})
}

// TestOnlyTheDoctorIsTold what arrives behind the proxies.
func TestOnlyTheDoctorIsTold(t *testing.T) {
	s := settingsOf(t, "sqlite")
	now := time.Now()
	in, _ := buildInstance(t, s, func() time.Time { return now }, nil)
	t.Cleanup(func() { in.close() })
	secret, err := s.secrets()
	if err != nil {
		t.Fatal(err)
	}
	another, err := keys.ParseSecret(keys.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	good := doctorToken(secret, s.Issuer, now)
	for name, c := range map[string]struct {
		path, token string
		told        bool
	}{
		"the doctor":          {"/healthz", good, true},
		"anyone":              {"/healthz", "", false},
		"nonsense":            {"/healthz", "x", false},
		"no proof":            {"/healthz", strings.SplitAfter(good, ".")[0], false},
		"cut short":           {"/healthz", good[:len(good)-2], false},
		"another secret":      {"/healthz", doctorToken(another, s.Issuer, now), false},
		"of another instance": {"/healthz", doctorToken(secret, "https://other.example.com", now), false},
		"too old":             {"/healthz", doctorToken(secret, s.Issuer, now.Add(-doctorMayBe-time.Second)), false},
		"from the future":     {"/healthz", doctorToken(secret, s.Issuer, now.Add(doctorMayBe+time.Second)), false},
		"elsewhere":           {"/readyz", good, false},
	} {
		w := request(in, "GET", c.path, func(r *http.Request) { r.Header.Set(doctorHeader, c.token) })
		if told := strings.Contains(w.Body.String(), `"peer"`); told != c.told || w.Code != 200 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

func TestDoctorLooksAtTheDatabase(t *testing.T) {
	for engine := range engines {
		t.Run(engine, func(t *testing.T) {
			s := settingsOf(t, engine)
			look := func(want ...string) {
				t.Helper()
				d := &doctor{now: time.Now, settings: &s}
				d.database(t.Context())
				d.wants(t, want...)
			}
			if engine == "sqlite" {
				look("warning database: " + string(s.Database) + " is not there yet")
				if _, err := os.Stat(strings.TrimPrefix(string(s.Database), "sqlite:")); err == nil {
					t.Error("the doctor made a database")
				}
			} else {
				look("warning database: has no schema yet | start sealpost serve, or run: sealpost migrate up")
				s.Migrate = false // nobody would make one
				look("failed database: has no schema yet | run: sealpost migrate up")
				s.Migrate = true
			}
			db, err := openMigrated(t.Context(), &s, false)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			look("ok database: answers, with schema ", "warning signing keys: there are none yet")
			if engine == "postgres" {
				look("ok database clock: agrees with this machine's")
			}
			in, _ := buildInstance(t, s, time.Now, nil)
			t.Cleanup(func() { in.close() })
			look("ok signing keys: 4 sign, the oldest for 0 days")
			d := &doctor{now: func() time.Time { return time.Now().Add(2400 * time.Hour) }, settings: &s}
			d.database(t.Context())
			d.wants(t, "warning signing keys: the oldest signs for 100 days, and keys.rotate says 90")
			if engine == "postgres" {
				d.wants(t, "failed database clock: is 2400h0m")
			}
		})
	}
	s := settingsOf(t, "sqlite")
	s.Database = "postgres://user:hunter2@127.0.0.1:1/db?connect_timeout=5"
	d := &doctor{now: time.Now, settings: &s}
	d.database(t.Context())
	d.wants(t, "failed database: ", "| see that it runs, and that address, user and password are right")
	if strings.Contains(d.found(), "hunter2") {
		t.Errorf("it tells the password:\n%s", d.found())
	}
}

func TestDoctorLooksAtFilesAndCertificates(t *testing.T) {
	dir := t.TempDir()
	cert, key, err := newCertificate("login.example.com")
	if err != nil {
		t.Fatal(err)
	}
	s := Defaults()
	s.Issuer, s.TLS = "https://login.example.com", TLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	for name, content := range map[string][]byte{s.TLS.CertFile: cert, s.TLS.KeyFile: key} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look := func(now time.Time, want string) {
		t.Helper()
		d := &doctor{now: func() time.Time { return now }, settings: &s}
		d.files(t.Context())
		d.ownCertificate(t.Context())
		d.wants(t, want)
	}
	now := time.Now()
	look(now, "warning tls: the certificate expires on ")
	look(now.Add(2*time.Hour), "failed tls: the certificate has expired on ")
	look(now.Add(-20*24*time.Hour), "ok tls: the certificate expires on ")
	look(now, "ok files: no secret can be read by every user of this machine")
	if err := os.Chmod(s.TLS.KeyFile, 0o604); err != nil {
		t.Fatal(err)
	}
	look(now, "warning files: tls.key_file "+s.TLS.KeyFile+" can be read by every user of this machine | chmod o= "+s.TLS.KeyFile)
	s.Issuer = "https://other.example.com"
	look(now, "failed tls: the certificate is not for other.example.com | get one for the host of the issuer")
	s.TLS.KeyFile = s.TLS.CertFile
	look(now, "| give a certificate and its own key, both in PEM")
}

// TestDoctor examines an instance that is well by the command line.
func TestDoctor(t *testing.T) {
	sink := mailSink{arrived: make(chan sunkMail, 1)}
	t.Cleanup(sink.close)
	address, err := sink.listen("")
	if err != nil {
		t.Fatal(err)
	}
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := settingsOf(t, "sqlite")
	s.Issuer = "http://" + public.Addr().String()
	s.Mail.URL, s.Mail.From = SecretURL("smtp+plain://"+address), "login@localhost"
	environ := []string{
		"SEALPOST_ISSUER=" + s.Issuer, "SEALPOST_SECRET=" + string(s.Secret), "SEALPOST_DATABASE=" + string(s.Database),
		"SEALPOST_MAIL_URL=" + string(s.Mail.URL), "SEALPOST_MAIL_FROM=" + s.Mail.From,
	}
	var log safeBuffer
	in, err := build(t.Context(), &process{stderr: &log, now: time.Now}, s, public, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- in.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	var out, problems safeBuffer
	if code := run(t.Context(), []string{"doctor"}, environ, nil, &out, &problems); code != exitOK || problems.String() != "" {
		t.Errorf("exit code %d: %s", code, problems.String())
	}
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("have %s", line)
		}
	}
	for _, want := range []string{"ok settings: are complete\n", "ok mail server: ", "ok issuer: ", "ok issuer clock: ", "ok proxies: there are none; a request from here is seen from 127.0.0.1\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}

	out, problems = safeBuffer{}, safeBuffer{}
	if code := run(t.Context(), []string{"doctor", "--json", "--set", "mail.from=login@example.invalid"}, append(environ, "SEALPOST_MAIL_URL=smtp+plain://127.0.0.1:1"), nil, &out, &problems); code != exitFailed {
		t.Errorf("exit code %d: %s", code, problems.String())
	}
	var findings []finding
	if err := json.Unmarshal([]byte(out.String()), &findings); err != nil || len(findings) < 6 {
		t.Errorf("%v: %s", err, out.String())
	}
	if !strings.Contains(problems.String(), " checks failed") {
		t.Errorf("have %s", problems.String())
	}
}
