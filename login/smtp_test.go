package login

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	client "github.com/wneessen/go-mail/smtp"
)

// authority is a private CA and a certificate of this machine that it signed.
type authority struct {
	file string // PEM of the CA
	leaf tls.Certificate
}

func newAuthority(t testing.TB, names ...string) authority {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	sign := func(c, parent *x509.Certificate, of, by *ecdsa.PrivateKey) []byte {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, parent, of.Public(), by)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	caKey, leafKey := key(), key()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER := sign(ca, ca, caKey, caKey)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	leafDER := sign(leaf, ca, leafKey, caKey)
	a := authority{file: filepath.Join(t.TempDir(), "ca.pem"), leaf: tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// host is a real mail server on this machine that fails on demand.
type host struct {
	server   *smtp.Server
	port     int
	sessions atomic.Int64 // that were greeted with EHLO, per connection and again after STARTTLS
	conns    atomic.Int64

	mu     sync.Mutex
	said   bytes.Buffer // both sides, as far as it can be read on the wire or after TLS
	mails  []delivered
	fail   func(*session, string) error // by stage: "mail", "rcpt", "data" before the mail is read, "dot" after it, "taken"
	logins []string
}

// delivered is a mail that host took.
type delivered struct {
	from, to string
	utf8     bool
	raw      []byte
}

func (h *host) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said.Write(p)
}

func (h *host) heard() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said.String()
}

func (h *host) taken() []delivered {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.mails)
}

// failing sets what fails from now on.
func (h *host) failing(f func(s *session, stage string) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail = f
}

// counted is a listener that counts.
type counted struct {
	net.Listener
	n *atomic.Int64
}

func (c counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return conn, err
}

func newHost(t testing.TB, change ...func(*smtp.Server)) *host { return newHostTLS(t, nil, change...) }

// newHostTLS speaks TLS from the start when it has a configuration for it.
func newHostTLS(t testing.TB, implicit *tls.Config, change ...func(*smtp.Server)) *host {
	t.Helper()
	h := &host{}
	h.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		h.sessions.Add(1)
		return &session{host: h, conn: c}, nil
	}))
	h.server.Domain, h.server.Debug, h.server.ErrorLog = "localhost", h, log.New(io.Discard, "", 0)
	for _, f := range change {
		f(h.server)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.port = l.Addr().(*net.TCPAddr).Port
	l = counted{l, &h.conns}
	if implicit != nil {
		l = tls.NewListener(l, implicit)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		h.server.Serve(l)
	}()
	t.Cleanup(func() {
		h.server.Close()
		<-served
	})
	return h
}

// plain is the host's server without TLS and AUTH.
func (h *host) plain(t testing.TB) MailServer {
	return mailServer(t, "smtp+plain://127.0.0.1:%d", h.port)
}

func mailServer(t testing.TB, format string, args ...any) MailServer {
	t.Helper()
	m, err := ParseMailURL(fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const password = "p@ss/w#rd?%"

// session is one connection of a host.
type session struct {
	host     *host
	conn     *smtp.Conn
	now      delivered
	attempts int // RCPTs
}

func (s *session) stage(name string) error {
	s.host.mu.Lock()
	fail := s.host.fail
	s.host.mu.Unlock()
	if fail == nil {
		return nil
	}
	return fail(s, name)
}

func (s *session) Mail(from string, opts *smtp.MailOptions) error {
	s.now = delivered{from: from, utf8: opts.UTF8}
	return s.stage("mail")
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.attempts++
	s.now.to = to
	return s.stage("rcpt")
}

func (s *session) Data(r io.Reader) error {
	if err := s.stage("data"); err != nil {
		return err
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.now.raw = raw
	if err := s.stage("dot"); err != nil {
		return err
	}
	s.host.mu.Lock()
	s.host.mails = append(s.host.mails, s.now)
	s.host.mu.Unlock()
	return s.stage("taken")
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

// withAuth is a session that demands AUTH.
type withAuth struct {
	*session
	mechanisms []string
}

func (s withAuth) AuthMechanisms() []string { return s.mechanisms }

func (s withAuth) Auth(mechanism string) (sasl.Server, error) {
	check := func(user, pass string) error {
		s.host.mu.Lock()
		defer s.host.mu.Unlock()
		s.host.logins = append(s.host.logins, mechanism+" "+user)
		if user != "us@er" || pass != password {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "user us@er or password are wrong"}
		}
		return nil
	}
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, user, pass string) error { return check(user, pass) }), nil
	case sasl.Login:
		return &loginServer{check: check}, nil
	}
	return nil, errors.New("no such mechanism")
}

// loginServer is the server's side of AUTH LOGIN.
type loginServer struct {
	check func(user, pass string) error
	heard []string
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	if response != nil {
		l.heard = append(l.heard, string(response))
	}
	switch len(l.heard) {
	case 0:
		return []byte("Username:"), false, nil
	case 1:
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.heard[0], l.heard[1])
}

// demanding makes a host's sessions demand AUTH.
func (h *host) demanding(mechanisms ...string) *host {
	h.server.AllowInsecureAuth = true // the loopback server's
	h.server.Backend = smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		h.sessions.Add(1)
		return withAuth{&session{host: h, conn: c}, mechanisms}, nil
	})
	return h
}

func reply(code int, a, b, c int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{a, b, c}, Message: text}
}

// escaped is the password in a URL.
var escaped = url.QueryEscape(password)

func at(h *host, stage string, err error) {
	h.failing(func(_ *session, now string) error {
		if now == stage {
			return err
		}
		return nil
	})
}

func TestParseMailURL(t *testing.T) {
	ca := newAuthority(t, "localhost")
	for in, want := range map[string]MailServer{
		"smtp://mail.example.com":                                  {host: "mail.example.com", port: "587", security: startTLS},
		"smtp://mail.example.com:2525/":                            {host: "mail.example.com", port: "2525", security: startTLS},
		"smtps://mail.example.com":                                 {host: "mail.example.com", port: "465", security: implicitTLS},
		"SMTPS://api_token:TOKEN@mail.example.com":                 {host: "mail.example.com", port: "465", security: implicitTLS, user: "api_token", password: "TOKEN"},
		"smtp://us%40er:" + escaped + "@mail.example":              {host: "mail.example", port: "587", security: startTLS, user: "us@er", password: password},
		"smtp://us+er:p:w@mail.example":                            {host: "mail.example", port: "587", security: startTLS, user: "us+er", password: "p:w"},
		"smtp://exämple.net":                                       {host: "xn--exmple-cua.net", port: "587", security: startTLS},
		"smtps://[2001:db8::1]:465":                                {host: "2001:db8::1", port: "465", security: implicitTLS},
		"smtp+plain://localhost":                                   {host: "localhost", port: "25", security: noTLS},
		"smtp+plain://mail.localhost:1025":                         {host: "mail.localhost", port: "1025", security: noTLS},
		"smtp+plain://u:p@127.0.0.2":                               {host: "127.0.0.2", port: "25", security: noTLS, user: "u", password: "p"},
		"smtp+plain://[::1]:1025":                                  {host: "::1", port: "1025", security: noTLS},
		"cloudflare://" + account + ":TOKEN_1-x":                   {host: "api.cloudflare.com", port: "443", security: cloudflareAPI, user: account, password: "TOKEN_1-x"},
		"cloudflare://" + account + ":T?api_url=http://[::1]:8":    {host: "::1", port: "8", security: cloudflareAPI, user: account, password: "T", plain: true},
		"cloudflare://" + account + ":T?api_url=https://127.0.0.1": {host: "127.0.0.1", port: "443", security: cloudflareAPI, user: account, password: "T"},
		"smtps://mail.example.com?ca_file=" + ca.file:              {host: "mail.example.com", port: "465", security: implicitTLS},
	} {
		got, err := ParseMailURL(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if c := got.tls; c.ServerName != want.host || c.MinVersion < tls.VersionTLS12 || c.InsecureSkipVerify || (c.RootCAs != nil) != strings.Contains(in, "ca_file") {
			t.Errorf("%s: TLS %+v", in, c)
		}
		got.tls = nil
		if got != want {
			t.Errorf("%s: %+v", in, got)
		}
	}
}

func TestParseMailURLTellsTheFixAndNoPassword(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for in, fix := range map[string]string{
		"":                                         "write smtp://",
		"topsecret":                                "write smtp://",
		"mail.example.com:587":                     "write smtp://",
		"smtp:mail.example.com":                    "write smtp://",
		"smtp://":                                  "write smtp://",
		"smtp://u:top%secret@h":                    "% is %25",
		"smtp://u:top/secret@h":                    "/ is %2F",
		"smtp://u:1/topsecret@h":                   "%2F",
		"smtp://u:1#topsecret@h":                   "%23",
		"smtp://u:1?topsecret@h":                   "%3F",
		"smtp://u:1?topsecret=x@h":                 "%3F",
		"smtp://h?tls=off":                         "only ca_file",
		"smtp://h?ca_file=a&ca_file=b":             "only ca_file",
		"smtp://h?ca_file=":                        "only ca_file",
		"smtp://h?%zz":                             "malformed",
		"smtp://h#":                                "%23",
		"http://u:topsecret@h":                     "smtps://",
		"cloudflare://ACCOUNT:topsecret":           "32 hexadecimal digits",
		"cloudflare:topsecret":                     "write cloudflare://ACCOUNT:TOKEN",
		"Cloudflare://" + account + ":top secret":  "write cloudflare://ACCOUNT:TOKEN",
		"cloudflare://" + account + ":topsecret@h": "write cloudflare://ACCOUNT:TOKEN",
		"cloudflare://" + account + ":topsecret?":  "write cloudflare://ACCOUNT:TOKEN",
		"cloudflare://" + account + ":topsecret?api_url=http://localhost:8":                        "write a loopback address",
		"cloudflare://" + account + ":topsecret?api_url=http://192.0.2.1":                          "write a loopback address",
		"cloudflare://" + account + ":topsecret?api_url=http://127.0.0.1/x":                        "one address without path",
		"cloudflare://" + account + ":topsecret?api_url=ftp://127.0.0.1":                           "one address without path",
		"cloudflare://" + account + ":topsecret?api_url=http://127.0.0.1&api_url=http://127.0.0.1": "one address without path",
		"cloudflare://" + account + ":topsecret?topsecret=1":                                       "what follows ? is unknown",
		"cloudflare://" + account + ":topsecret?ca_file=/nowhere":                                  "ca_file: open /nowhere",
		"cloudflare://" + account + ":":                                                            "write cloudflare://ACCOUNT:TOKEN",
		"smtp://u:topsecret@h:0":                                                                   "port",
		"smtp://u:topsecret@h:65536":                                                               "port",
		"smtp://u:topsecret@h:x":                                                                   "write smtp://",
		"smtp://u:topsecret@h:465":                                                                 "smtps://",
		"smtp://topsecret@h":                                                                       "both user and password",
		"smtp://:topsecret@h":                                                                      "both user and password",
		"smtp://u:@h":                                                                              "both user and password",
		"smtp://u:topsecret%00@h":                                                                  "%00",
		"smtp://u:topsecret@:587":                                                                  "host",
		"smtp://u:topsecret@a\u200b.example":                                                       "host",
		"smtp+plain://u:topsecret@mail.example.com":                                                "loopback",
		"smtp+plain://10.0.0.1":                                                                    "loopback",
		"smtp+plain://localhost.example":                                                           "loopback",
		"smtp+plain://localhost?ca_file=x":                                                         "no use",
		"smtp://h?ca_file=/does/not/exist":                                                         "no such file",
		"smtp://h?ca_file=" + empty:                                                                "no PEM certificate",
	} {
		got, err := ParseMailURL(in)
		if err == nil {
			t.Errorf("%s: taken as %s", in, got)
		} else if !strings.Contains(err.Error(), fix) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", in, err, fix)
		}
	}
}

func FuzzParseMailURL(f *testing.F) {
	for _, seed := range []string{
		"smtp://us%40er:p%2Fw@mail.example.com:587", "smtps://mail.example.com", "smtp+plain://[::1]:25", "smtp+plain://a.localhost", "smtp://exämple.net",
		"smtp://u:1#x@h", "cloudflare://a:b@c", "cloudflare://" + account + ":t", "smtp://h?x", "smtps://[fe80::1%25eth0]", "smtp://h:465", "SMTP://U:P@H/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if strings.Contains(in, "?") {
			return // it might name a file
		}
		m, err := ParseMailURL(in)
		if err != nil {
			return
		}
		if m.host == "" || !isASCII(m.host) || m.tls.InsecureSkipVerify || m.tls.ServerName != m.host {
			t.Fatalf("%q: %+v", in, m)
		}
		if m.security == noTLS && !loopbackName(m.host) || (m.user == "") != (m.password == "") {
			t.Fatalf("%q: %+v", in, m)
		}
		if m.security == cloudflareAPI {
			return // it is written as the address it is
		}
		again, err := ParseMailURL(m.String())
		if err != nil || again.address() != m.address() || again.security != m.security || again.user != "" {
			t.Fatalf("%q: reads as %s, and that as %v: %v", in, m, again, err)
		}
	})
}

func TestMailServerDoesNotPrintItsAccount(t *testing.T) {
	m := mailServer(t, "smtps://topuser:topsecret@mail.example.com")
	text, err := json.Marshal(map[string]any{"server": m})
	if err != nil {
		t.Fatal(err)
	}
	api := mailServer(t, "cloudflare://%s:topsecret", account)
	if out := fmt.Sprintf("%v %+v %#v %+v", api, &api, api, OutboxConfig{URL: api}); strings.Contains(out, "top") || strings.Contains(out, account) || !strings.Contains(out, "https://api.cloudflare.com") {
		t.Error(out)
	}
	for _, out := range []string{fmt.Sprint(m), fmt.Sprintf("%+v %#v %q", m, m, m), fmt.Sprintf("%+v", OutboxConfig{URL: m}), fmt.Sprintf("%v", &m), string(text)} {
		if strings.Contains(out, "top") || !strings.Contains(out, "smtps://mail.example.com:465") {
			t.Error(out)
		}
	}
}

// letterOf is a message with everything that transport may not change.
func letterOf(to string) message {
	return message{from: "login@example.com", to: to, raw: []byte("Subject: x\r\n\r\n.\r\n..dots\r\n.end\r\n\r\n" + strings.Repeat("=3D long\r\n", 1000))}
}

func line(m MailServer) *smtpTransport { return &smtpTransport{server: m, helo: "example.com"} }

func TestMailIsHandedOver(t *testing.T) {
	ca := newAuthority(t, "127.0.0.1", "localhost")
	with := &tls.Config{Certificates: []tls.Certificate{ca.leaf}}
	starttls := func(s *smtp.Server) { s.TLSConfig, s.EnableSMTPUTF8, s.EnableDSN = with, true, true }
	query := "?ca_file=" + ca.file
	account := "us%40er:" + escaped + "@"
	for _, tt := range []struct {
		name, url, login string
		host             *host
	}{
		{"RFC 3207: STARTTLS", "smtp://127.0.0.1:PORT" + query, "", newHost(t, starttls)},
		{"RFC 3207: STARTTLS, then AUTH PLAIN", "smtp://" + account + "localhost:PORT" + query, "PLAIN us@er", newHost(t, starttls).demanding("LOGIN", "PLAIN")},
		{"RFC 8314 §3.3: TLS from the start", "smtps://127.0.0.1:PORT" + query, "", newHostTLS(t, with)},
		{"TLS from the start, AUTH PLAIN", "smtps://" + account + "127.0.0.1:PORT" + query, "PLAIN us@er", newHostTLS(t, with).demanding("PLAIN")},
		{"TLS from the start, AUTH LOGIN alone", "smtps://" + account + "127.0.0.1:PORT" + query, "LOGIN us@er", newHostTLS(t, with).demanding("LOGIN")},
		{"loopback, plain", "smtp+plain://localhost:PORT", "", newHost(t)},
		{"loopback, AUTH", "smtp+plain://" + account + "127.0.0.1:PORT", "PLAIN us@er", newHost(t).demanding("PLAIN")},
	} {
		l := line(mailServer(t, "%s", strings.Replace(tt.url, "PORT", strconv.Itoa(tt.host.port), 1)))
		want := letterOf("o'brien+x@xn--exmple-cua.net")
		for range 3 {
			if f := l.deliver(t.Context(), want); f != nil {
				t.Fatalf("%s: %v", tt.name, f)
			}
		}
		l.close()
		for _, got := range tt.host.taken() {
			if got.from != want.from || got.to != want.to || !bytes.Equal(got.raw, want.raw) {
				t.Errorf("%s: from %s to %s: %q", tt.name, got.from, got.to, got.raw)
			}
			if got.utf8 {
				t.Errorf("%s: SMTPUTF8 was asked for", tt.name)
			}
		}
		if n := len(tt.host.taken()); n != 3 || tt.host.conns.Load() != 1 {
			t.Errorf("%s: %d mails over %d connections", tt.name, n, tt.host.conns.Load())
		}
		if logins := strings.Join(tt.host.logins, ","); logins != tt.login {
			t.Errorf("%s: logins %q", tt.name, logins)
		}
		if said := tt.host.heard(); !strings.Contains(said, "EHLO example.com\r\n") || strings.Contains(said, "RSET") || strings.Contains(said, "NOOP") || !strings.Contains(said, "QUIT") {
			t.Errorf("%s:\n%s", tt.name, said)
		}
	}
}

func TestWithoutTrustedTLSNothingIsSaid(t *testing.T) {
	ours, theirs, other := newAuthority(t, "127.0.0.1"), newAuthority(t, "127.0.0.1"), newAuthority(t, "mail.example.com", "127.0.0.2")
	serving := func(a authority, most uint16) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{a.leaf}, MinVersion: tls.VersionTLS10, MaxVersion: most}
	}
	starttls := func(c *tls.Config) *host { return newHost(t, func(s *smtp.Server) { s.TLSConfig = c }) }
	query := "?ca_file="
	for _, tt := range []struct {
		name, scheme, ca string
		host             *host
		settings         bool
	}{
		{"RFC 3207 §4: STARTTLS isn't offered", "smtp", ours.file, newHost(t), true},
		{"STARTTLS: the certificate is another host's", "smtp", other.file, starttls(serving(other, 0)), true},
		{"STARTTLS: the authority is unknown", "smtp", ours.file, starttls(serving(theirs, 0)), true},
		{"STARTTLS: TLS 1.1", "smtp", ours.file, starttls(serving(ours, tls.VersionTLS11)), false},
		{"TLS: the certificate is another host's", "smtps", other.file, newHostTLS(t, serving(other, 0)), true},
		{"TLS: the authority is unknown", "smtps", ours.file, newHostTLS(t, serving(theirs, 0)), true},
		{"TLS: TLS 1.1", "smtps", ours.file, newHostTLS(t, serving(ours, tls.VersionTLS11)), false},
	} {
		l := line(mailServer(t, "%s://us%%40er:%s@127.0.0.1:%d%s", tt.scheme, escaped, tt.host.demanding("PLAIN").port, query+tt.ca))
		f := l.deliver(t.Context(), letterOf("ada@example.com"))
		if f == nil || f.stage != stageTLS || f.code != 0 || f.permanent() || !f.ofServer() || f.ofSettings() != tt.settings {
			t.Errorf("%s: %+v", tt.name, f)
		}
		if l.conn != nil {
			t.Errorf("%s: the connection is kept", tt.name)
		}
		said := tt.host.heard()
		for _, never := range []string{"AUTH PLAIN AH", "MAIL FROM", "RCPT", "DATA", "ada@", base64.StdEncoding.EncodeToString([]byte("us@er"))} {
			if strings.Contains(said, never) {
				t.Errorf("%s: %s in\n%s", tt.name, never, said)
			}
		}
	}
}

func TestPlainStaysOnThisMachine(t *testing.T) {
	m := mailServer(t, "smtp+plain://u:p@mail.localhost:25")
	m.host = "192.0.2.1" // as a resolver might say
	client, server := net.Pipe()
	defer server.Close()
	if stage, err := line(m).greet(t.Context(), &smtpConn{raw: elsewhere{client}}); stage != stageConnect || !errors.Is(err, errNotLoopback) {
		t.Errorf("%s: %v", stage, err)
	}
}

type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }

func TestMechanism(t *testing.T) {
	m := mailServer(t, "smtps://u:p@mail.example.com")
	for offered, want := range map[string]string{
		"LOGIN PLAIN SCRAM-SHA-256":       "PLAIN",
		"login plain":                     "PLAIN",
		"LOGIN SCRAM-SHA-1 SCRAM-SHA-256": "SCRAM-SHA-256",
		"LOGIN SCRAM-SHA-1":               "SCRAM-SHA-1",
		"CRAM-MD5 LOGIN":                  "LOGIN",
		"XOAUTH2 PLAINTEXT GSSAPI":        "",
		"":                                "",
	} {
		auth := m.mechanism(offered)
		if auth == nil {
			if want != "" {
				t.Errorf("%q: none", offered)
			}
			continue
		}
		if name, _, err := auth.Start(&client.ServerInfo{Name: "mail.example.com", TLS: true}); err != nil || name != want {
			t.Errorf("%q: %s %v", offered, name, err)
		}
	}
}

func TestRepliesAreJudgedByStageAndCode(t *testing.T) {
	const (
		retry     = "retry"     // the mail waits
		pause     = "pause"     // everything waits
		operator  = "operator"  // everything waits, and someone is called
		permanent = "permanent" // the mail is given up
	)
	for _, tt := range []struct {
		name, stage string
		err         error
		detail      string
		judged      string
		kept        bool // the connection
	}{
		{"greylisted", "rcpt", reply(451, 4, 7, 1, "greylisted <ada@example.com>"), "rcpt 451 4.7.1", retry, true},
		{"RFC 5321 §4.2.2: no such mailbox", "rcpt", reply(550, 5, 1, 1, "<ada@example.com> unknown"), "rcpt 550 5.1.1", permanent, true},
		{"mailbox full", "rcpt", reply(552, 5, 2, 2, "full"), "rcpt 552 5.2.2", permanent, true},
		{"RFC 5321 §3.8: closing", "rcpt", reply(421, 4, 3, 2, "shutting down"), "rcpt 421 4.3.2", retry, false},
		{"session full", "rcpt", reply(452, 4, 5, 3, "too many recipients"), "rcpt 452 4.5.3", retry, false},
		{"RFC 4954 §6: AUTH wanted", "rcpt", reply(530, 5, 7, 0, "authenticate first"), "rcpt 530 5.7.0", operator, true},
		{"RFC 4954 §6: AUTH wanted", "mail", reply(530, 5, 7, 0, "authenticate first"), "mail 530 5.7.0", operator, true},
		{"our sender is refused", "mail", reply(550, 5, 7, 1, "not your domain"), "mail 550 5.7.1", operator, true},
		{"the server is short of space", "mail", reply(452, 4, 3, 1, "no space"), "mail 452 4.3.1", pause, true},
		{"content refused for now", "dot", reply(451, 4, 3, 0, "scanner down"), "dot 451 4.3.0", retry, true},
		{"content refused", "dot", reply(554, 5, 7, 1, "looks like spam"), "dot 554 5.7.1", permanent, true},
		{"too long", "dot", reply(552, 5, 3, 4, "too long"), "dot 552 5.3.4", permanent, true},
	} {
		h := newHost(t)
		l := line(h.plain(t))
		at(h, tt.stage, tt.err)
		f := l.deliver(t.Context(), letterOf("ada@example.com"))
		if f == nil {
			t.Errorf("%s: taken", tt.name)
			continue
		}
		judged := retry
		switch {
		case f.permanent():
			judged = permanent
		case f.ofSettings():
			judged = operator
		case f.ofServer():
			judged = pause
		}
		if judged != tt.judged || f.detail() != tt.detail || f.cause() != tt.detail || strings.Contains(f.detail()+f.cause(), "ada@") {
			t.Errorf("%s: %s, %q, cause %q; want %s, %q", tt.name, judged, f.detail(), f.cause(), tt.judged, tt.detail)
		}
		h.failing(nil)
		if f := l.deliver(t.Context(), letterOf("bob@example.com")); f != nil {
			t.Errorf("%s: then %v", tt.name, f)
		}
		if kept := h.conns.Load() == 1; kept != tt.kept || len(h.taken()) != 1 || h.taken()[0].to != "bob@example.com" {
			t.Errorf("%s: kept %t, then %d mails", tt.name, kept, len(h.taken()))
		}
		l.close()
	}
}

func TestWhoseFaultARefusalIs(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    *failure
		want bool
	}{
		{"RFC 3463 §3.2: no such mailbox", replied(stageRcpt, 550, "5.1.1"), true},
		{"RFC 3463 §3.3: mailbox full", replied(stageDot, 552, "5.2.2"), true},
		{"RFC 5321 §4.2.3: mailbox unavailable, without a status code", replied(stageRcpt, 550, ""), true},
		{"suppressed by the provider", &failure{stage: stageDot, err: errSuppressed}, true},
		{"bounced at once", answered(200, "bounced", errBounced), true},
		{"RFC 3463 §3.2: our sender's address", replied(stageRcpt, 553, "5.1.8"), false},
		{"RFC 3463 §3.8: policy", replied(stageRcpt, 550, "5.7.1"), false},
		{"content, without a status code", replied(stageDot, 554, ""), false},
		{"for now", replied(stageRcpt, 450, "4.2.1"), false},
		{"our account", replied(stageMail, 550, "5.1.1"), false},
	} {
		if got := tt.f.ofRecipient(); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestRefusedLogin(t *testing.T) {
	for name, h := range map[string]*host{"PLAIN": newHost(t).demanding("PLAIN"), "LOGIN": newHost(t).demanding("LOGIN")} {
		f := line(mailServer(t, "smtp+plain://us%%40er:wrong@127.0.0.1:%d", h.port)).deliver(t.Context(), letterOf("ada@example.com"))
		if f == nil || f.detail() != "auth 535 5.7.8" || f.permanent() || !f.ofSettings() {
			t.Errorf("%s: %+v", name, f)
		}
		if strings.Contains(h.heard(), "MAIL FROM") {
			t.Errorf("%s:\n%s", name, h.heard())
		}
	}
	for name, h := range map[string]*host{"no AUTH": newHost(t), "none we know": newHost(t).demanding("XOAUTH2")} {
		f := line(mailServer(t, "smtp+plain://u:p@127.0.0.1:%d", h.port)).deliver(t.Context(), letterOf("ada@example.com"))
		if f == nil || f.stage != stageAuth || !errors.Is(f, errNoAuth) || f.permanent() || !f.ofSettings() {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestConnectionIsReusedAndRotated(t *testing.T) {
	h := newHost(t)
	h.failing(func(s *session, stage string) error { // as some providers do at 50
		if stage == "rcpt" && s.attempts > 50 {
			return reply(452, 4, 5, 3, "too many recipients in this session")
		}
		return nil
	})
	l := line(h.plain(t))
	defer l.close()
	for range 2*perConnection + 1 {
		if f := l.deliver(t.Context(), letterOf("ada@example.com")); f != nil {
			t.Fatal(f)
		}
	}
	if n := h.conns.Load(); n != 3 {
		t.Errorf("%d connections for %d mails", n, len(h.taken()))
	}
}

func TestFullSessionIsLeftAtOnce(t *testing.T) {
	h := newHost(t)
	h.failing(func(s *session, stage string) error {
		if stage == "rcpt" && s.attempts > 10 {
			return reply(452, 4, 5, 3, "too many recipients in this session")
		}
		return nil
	})
	l := line(h.plain(t))
	defer l.close()
	for range 25 {
		if f := l.deliver(t.Context(), letterOf("ada@example.com")); f != nil {
			t.Fatal(f)
		}
	}
	if n := h.conns.Load(); n != 3 || len(h.taken()) != 25 {
		t.Errorf("%d mails over %d connections", len(h.taken()), n)
	}
}

// closedByServer waits until a connection has been closed by the other side.
func closedByServer(t *testing.T, l *smtpTransport) {
	t.Helper()
	if _, err := l.conn.raw.Read(make([]byte, 1<<10)); err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
}

func TestClosedConnectionSaysNothingAboutTheMail(t *testing.T) {
	drop := func(at string) func(*session, string) error {
		return func(s *session, stage string) error {
			if stage == at && s.host.conns.Load() == 1 && len(s.host.taken()) == 1 {
				s.conn.Conn().Close()
			}
			return nil
		}
	}
	for name, prepare := range map[string]func(*host, *smtpTransport){
		"dropped while idle": func(h *host, l *smtpTransport) {
			l.conn.raw.(*net.TCPConn).CloseWrite() // the server sees the end and closes
			closedByServer(t, l)
		},
		"dropped at MAIL": func(h *host, _ *smtpTransport) { h.failing(drop("mail")) },
		"dropped at RCPT": func(h *host, _ *smtpTransport) { h.failing(drop("rcpt")) },
		"421 at MAIL": func(h *host, _ *smtpTransport) {
			h.failing(func(s *session, stage string) error {
				if stage == "mail" && h.conns.Load() == 1 {
					return reply(421, 4, 4, 2, "idle for too long")
				}
				return nil
			})
		},
	} {
		h := newHost(t)
		l := line(h.plain(t))
		if f := l.deliver(t.Context(), letterOf("first@example.com")); f != nil {
			t.Fatal(f)
		}
		prepare(h, l)
		if f := l.deliver(t.Context(), letterOf("ada@example.com")); f != nil {
			t.Errorf("%s: %v", name, f)
		}
		if n := len(h.taken()); n != 2 || h.conns.Load() != 2 {
			t.Errorf("%s: %d mails over %d connections", name, n, h.conns.Load())
		}
		l.close()
	}
}

func TestMailThatMayHaveBeenTakenIsNotSentAgainAtOnce(t *testing.T) {
	h := newHost(t)
	l := line(h.plain(t))
	if f := l.deliver(t.Context(), letterOf("first@example.com")); f != nil {
		t.Fatal(f)
	}
	h.failing(func(s *session, stage string) error {
		if stage == "taken" {
			s.conn.Conn().Close()
		}
		return nil
	})
	f := l.deliver(t.Context(), letterOf("ada@example.com"))
	if f == nil || !f.ambiguous() || len(h.taken()) != 2 || h.conns.Load() != 1 {
		t.Errorf("%+v, %d mails over %d connections", f, len(h.taken()), h.conns.Load())
	}
}

func TestConnectionDroppedOnTheFirstMail(t *testing.T) {
	for stage, want := range map[string]struct {
		stage string
		taken int
	}{"mail": {"mail", 0}, "rcpt": {"rcpt", 0}, "dot": {"dot", 0}, "taken": {"dot", 1}} {
		h := newHost(t)
		h.failing(func(s *session, now string) error {
			if now == stage {
				s.conn.Conn().Close()
				return net.ErrClosed
			}
			return nil
		})
		l := line(h.plain(t))
		f := l.deliver(t.Context(), letterOf("ada@example.com"))
		if f == nil || f.stage != want.stage || f.code != 0 || f.permanent() || l.conn != nil {
			t.Errorf("at %s: %+v", stage, f)
		}
		// Sending again is for the queue to decide, with its pauses.
		if len(h.taken()) != want.taken || h.conns.Load() != 1 {
			t.Errorf("at %s: %d mails over %d connections", stage, len(h.taken()), h.conns.Load())
		}
	}
}

// script is a server that answers one connection as it is told, and what it
// heard.
func script(t *testing.T, serve func(w io.Writer, line func() string)) (MailServer, *bytes.Buffer) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var heard bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		lines := bufio.NewReader(io.TeeReader(conn, &heard))
		serve(conn, func() string {
			s, _ := lines.ReadString('\n')
			return strings.TrimSpace(s)
		})
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return mailServer(t, "smtp+plain://127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port), &heard
}

func TestServersThatMisbehave(t *testing.T) {
	long := message{from: "a@example.com", to: "b@example.com", raw: bytes.Repeat([]byte("0123456789abcdef\r\n"), 1<<19)} // more than any buffer between us
	for _, tt := range []struct {
		name, stage, cause string
		code               int
		serve              func(w io.Writer, line func() string)
	}{
		{"hangs up", stageConnect, "EOF", 0, func(io.Writer, func() string) {}},
		{"greets with a refusal", stageConnect, "connect 554 5.7.1", 554, func(w io.Writer, _ func() string) { io.WriteString(w, "554 5.7.1 go away\r\n") }},
		{"speaks another protocol", stageConnect, "malformed reply", 0, func(w io.Writer, _ func() string) { io.WriteString(w, "HTTP/1.1 400 ada@example.com\r\n") }},
		{"refuses EHLO and HELO", stageHello, "hello 502", 502, func(w io.Writer, line func() string) {
			io.WriteString(w, "220 x\r\n")
			for range 2 {
				line()
				io.WriteString(w, "502 no\r\n")
			}
		}},
		{"answers DATA with 250", stageData, "data 250", 250, func(w io.Writer, line func() string) {
			io.WriteString(w, "220 x\r\n")
			for range 4 {
				line()
				io.WriteString(w, "250 ok\r\n")
			}
		}},
		{"hangs up while the mail is written", stageBody, "", 0, func(w io.Writer, line func() string) {
			io.WriteString(w, "220 x\r\n")
			for _, answer := range []string{"250 ok", "250 ok", "250 ok", "354 go"} {
				line()
				io.WriteString(w, answer+"\r\n")
			}
			line()
		}},
	} {
		server, _ := script(t, tt.serve)
		l := line(server)
		f := l.deliver(t.Context(), long)
		if f == nil || f.stage != tt.stage || f.code != tt.code || tt.cause != "" && f.cause() != tt.cause || f.permanent() || l.conn != nil {
			t.Errorf("%s: %+v", tt.name, f)
		}
	}
}

func TestStalledServerIsLeftWhenTimeIsUp(t *testing.T) {
	answers := []string{"220 x", "250 x", "250 ok", "250 ok", "354 go", "250 taken"}
	for n, stage := range []string{stageConnect, stageHello, stageMail, stageRcpt, stageData, stageDot} {
		stalled, over := make(chan struct{}), make(chan struct{})
		server, _ := script(t, func(w io.Writer, line func() string) {
			for _, answer := range answers[:n] {
				io.WriteString(w, answer+"\r\n")
				for line() != "." && answer[0] == '3' {
				}
			}
			close(stalled)
			<-over
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-stalled
			cancel()
		}()
		l := line(server)
		f := l.deliver(ctx, letterOf("ada@example.com"))
		close(over)
		if f == nil || f.stage != stage || !errors.Is(f, context.Canceled) || l.conn != nil {
			t.Errorf("stalled at %s: %+v", stage, f)
		}
	}
}

func TestSuppressedMailIsNoSuccess(t *testing.T) {
	m := mailServer(t, "smtps://u:p@smtp.mx.cloudflare.net")
	if m.suppressed("2.0.0 Ok <id@example.com>") || !m.suppressed("2.0.0 Ok") || mailServer(t, "smtps://mail.example.com").suppressed("2.0.0 Ok") {
		t.Error("only Cloudflare's reply without an id is one")
	}
	h := newHost(t)
	server := h.plain(t)
	l := line(server)
	defer l.close()
	if f := l.deliver(t.Context(), letterOf("first@example.com")); f != nil {
		t.Fatal(f)
	}
	l.server.host = "smtp.mx.cloudflare.net" // the connection stays
	f := l.deliver(t.Context(), letterOf("ada@example.com"))
	if f == nil || !f.permanent() || f.detail() != "dot 250" || l.conn == nil {
		t.Errorf("%+v", f)
	}
}

// descriptors counts the open files of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// settles waits until count is back at what it was.
func settles(t *testing.T, what string, before int, count func() int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); count() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d %s, %d before", count(), what, before)
		}
	}
}

func TestNothingLeaks(t *testing.T) {
	ca, other := newAuthority(t, "127.0.0.1"), newAuthority(t, "127.0.0.2")
	open := func() int { return descriptors(t) }
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it closes what nobody holds
	files, goroutines := open(), runtime.NumGoroutine()
	t.Run("", func(t *testing.T) {
		withTLS := func(a authority) func(*smtp.Server) {
			return func(s *smtp.Server) { s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{a.leaf}} }
		}
		closing := newHost(t)
		closing.failing(func(s *session, _ string) error { s.conn.Conn().Close(); return nil })
		for _, server := range []MailServer{
			newHost(t).plain(t),
			closing.plain(t),
			mailServer(t, "smtp://127.0.0.1:%d", newHost(t).port),                                        // no STARTTLS
			mailServer(t, "smtp://127.0.0.1:%d?ca_file=%s", newHost(t, withTLS(ca)).port, ca.file),       // in order
			mailServer(t, "smtp://127.0.0.1:%d?ca_file=%s", newHost(t, withTLS(other)).port, other.file), // another's certificate
			mailServer(t, "smtp+plain://u:p@127.0.0.1:%d", newHost(t).port),                              // no AUTH
			mailServer(t, "smtp+plain://u:p@127.0.0.1:%d", newHost(t).demanding("PLAIN").port),           // AUTH refused
			mailServer(t, "smtp+plain://127.0.0.1:1"),                                                    // nobody there
		} {
			l := line(server)
			for range 10 {
				l.deliver(t.Context(), letterOf("ada@example.com"))
			}
			l.close()
		}
		gone := newHost(t) // before QUIT
		l := line(gone.plain(t))
		if f := l.deliver(t.Context(), letterOf("ada@example.com")); f != nil {
			t.Fatal(f)
		}
		gone.server.Close()
		l.close()
	})
	settles(t, "descriptors", files, open)
	settles(t, "goroutines", goroutines, runtime.NumGoroutine)
}

func TestSendTest(t *testing.T) {
	ca := newAuthority(t, "127.0.0.1")
	starttls := func(s *smtp.Server) { s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{ca.leaf}} }
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		h := newHost(t, starttls).demanding(mechanism)
		url := func(password string) MailServer {
			return mailServer(t, "smtp://us%%40er:%s@127.0.0.1:%d?ca_file=%s", password, h.port, ca.file)
		}
		var dialogue bytes.Buffer
		if _, err := SendTest(t.Context(), url(escaped), "Example <login@example.com>", "You@example.org", &dialogue); err != nil {
			t.Errorf("%s: %v\n%s", mechanism, err, dialogue.String())
		}
		for _, want := range []string{"* smtp://127.0.0.1:", "C: EHLO example.com", "S: 250", "C: STARTTLS", "S: 235 ", "C: MAIL FROM:<login@example.com>", "C: RCPT TO:<You@example.org>", "C: DATA", "S: 354 ", "S: (accepted)"} {
			if !strings.Contains(dialogue.String(), want) {
				t.Errorf("%s: no %q in\n%s", mechanism, want, dialogue.String())
			}
		}
		if m := readMessage(t, h.taken()[0].raw); m.head.Get("To") != "<You@example.org>" || len(m.parts) != 2 {
			t.Errorf("%v", m)
		}

		var refused bytes.Buffer
		_, err := SendTest(t.Context(), url("topsecret"), "login@example.com", "you@example.org", &refused)
		if err == nil || !strings.Contains(err.Error(), "auth: 535 5.7.8 user us@er or password are wrong") || !strings.Contains(refused.String(), "535 5.7.8 user us@er or password are wrong") {
			t.Errorf("%s: %v\n%s", mechanism, err, refused.String())
		}
		b64 := base64.StdEncoding.EncodeToString
		for _, secret := range []string{password, "topsecret", b64([]byte(password)), b64([]byte("topsecret")), b64([]byte("us@er")), b64([]byte("\x00us@er\x00" + password)), b64([]byte("\x00us@er\x00topsecret"))} {
			if strings.Contains(dialogue.String()+refused.String()+err.Error(), secret) {
				t.Errorf("%s: the account is in\n%s%s", mechanism, dialogue.String(), refused.String())
			}
		}
	}
}

func TestSendTestTellsWhatIsWrong(t *testing.T) {
	h := newHost(t)
	at(h, "rcpt", reply(550, 5, 1, 1, "no such user"))
	for _, tt := range []struct {
		server         MailServer
		from, to, want string
	}{
		{h.plain(t), "login@example.com", "you@example.com", "rcpt: 550 5.1.1 no such user"},
		{h.plain(t), "login@example.com", "you", `"you"`},
		{h.plain(t), "nobody", "you@example.com", "write one address"},
		{mailServer(t, "smtp://127.0.0.1:%d", h.port), "login@example.com", "you@example.com", "use smtps://"},
		{mailServer(t, "smtp+plain://127.0.0.1:1"), "login@example.com", "you@example.com", "refused"},
	} {
		var dialogue bytes.Buffer
		_, err := SendTest(t.Context(), tt.server, tt.from, tt.to, &dialogue)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.server, err, tt.want)
		}
		var f *failure
		if errors.As(err, &f) && !strings.Contains(dialogue.String(), f.Error()) {
			t.Errorf("%s: the dialogue ends without the failure:\n%s", tt.server, dialogue.String())
		}
	}
}

// BenchmarkDeliver measures mails per second over TLS and AUTH on loopback, on
// one connection and on one for each mail, and the ratio of the two.
func BenchmarkDeliver(b *testing.B) {
	ca := newAuthority(b, "127.0.0.1")
	h := newHostTLS(b, &tls.Config{Certificates: []tls.Certificate{ca.leaf}}).demanding("PLAIN")
	h.server.Debug = nil
	l := line(mailServer(b, "smtps://us%%40er:%s@127.0.0.1:%d?ca_file=%s", escaped, h.port, ca.file))
	defer l.close()
	m := letterOf("ada@example.com")
	deliver := func() {
		if f := l.deliver(b.Context(), m); f != nil {
			b.Fatal(f)
		}
	}
	var reused, fresh time.Duration
	for b.Loop() {
		began := time.Now()
		deliver()
		reused += time.Since(began)
	}
	for range b.N {
		began := time.Now()
		l.close()
		deliver()
		fresh += time.Since(began)
	}
	b.ReportMetric(float64(b.N)/reused.Seconds(), "reused/s")
	b.ReportMetric(float64(b.N)/fresh.Seconds(), "fresh/s")
	b.ReportMetric(fresh.Seconds()/reused.Seconds(), "fresh/reused")
}
