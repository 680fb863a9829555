package world

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// mailServer is the server that takes the mail of a world. It may be down, or
// refuse for a while, or take its time.
type mailServer struct {
	t       testing.TB
	seen    *seen
	address string

	// With tls, STARTTLS is offered, and a password wanted.
	tls            *tls.Config
	user, password string
	authority      string // PEM file of who signed the certificate

	close func() error // nil: down

	mu       sync.Mutex
	mails    []Letter
	read     map[string]int // how many of somebody's mails next has given
	refused  int
	refusing bool
	turning  bool
	hold     chan struct{} // a message waits for it before it is taken
	held     chan struct{} // tells that one waits
}

// Letter is a mail that was delivered.
type Letter struct {
	From, To   string // of the envelope
	Header     mail.Header
	Text, HTML string
	Link       string
	Secure     bool // came over TLS
}

// Token is the TOKEN of the letter's link.
func (l Letter) Token(t testing.TB) string {
	t.Helper()
	u, err := url.Parse(l.Link)
	if err != nil || u.Query().Get("token") == "" {
		t.Fatalf("no link in the mail: %q", l.Text)
	}
	return u.Query().Get("token")
}

// ID is the left part of the letter's Message-ID: the name of the mail in the
// store.
func (l Letter) ID() string {
	id, _, _ := strings.Cut(strings.Trim(l.Header.Get("Message-Id"), "<>"), "@")
	return id
}

// newMailServer starts a server that speaks SMTP without TLS.
func newMailServer(t testing.TB, seen *seen) *mailServer {
	t.Helper()
	s := &mailServer{t: t, seen: seen, address: "127.0.0.1:" + FreePort(t), read: map[string]int{}}
	s.Start()
	t.Cleanup(func() {
		if s.close != nil {
			s.Stop()
		}
	})
	return s
}

// Secure makes the server ask for STARTTLS and for a password, as those out in
// the world do. Its certificate comes from an authority of its own.
func (s *mailServer) Secure() {
	s.t.Helper()
	s.Stop()
	s.user, s.password = "sealpost@example.com", rand.Text()
	s.seen.Secret("password of the mail server", s.password)
	certificate, authority := newCertificate(s.t)
	s.tls = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.authority = filepath.Join(s.t.TempDir(), "authority.pem")
	if err := os.WriteFile(s.authority, authority, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.Start()
}

// Address is where the server listens.
func (s *mailServer) Address() string { return s.address }

// url is the setting mail.url.
func (s *mailServer) url() string {
	if s.tls == nil {
		return "smtp+plain://" + s.address
	}
	u := url.URL{Scheme: "smtp", User: url.UserPassword(s.user, s.password), Host: s.address, RawQuery: url.Values{"ca_file": {s.authority}}.Encode()}
	return u.String()
}

// Start takes connections, again at the same address.
func (s *mailServer) Start() {
	s.t.Helper()
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &delivery{server: s, conn: c}, nil
	}))
	server.Domain = "mail.example.com"
	server.TLSConfig = s.tls
	server.MaxMessageBytes = 1 << 20
	server.ReadTimeout, server.WriteTimeout = patience, patience
	server.ErrorLog = quiet{} // of connections that a killed process left
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l) // it ends with the listener
	}()
	s.close = func() error {
		err := errors.Join(server.Close(), ignoreClosed(l.Close())) // the server knows its listener only when it serves
		<-ended
		return err
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// Stop lets every connection fall and takes none.
func (s *mailServer) Stop() {
	s.t.Helper()
	if err := s.close(); err != nil {
		s.t.Errorf("stop the mail server: %v", err)
	}
	s.close = nil
}

// Refuse makes the server put off whoever comes (451), or no longer.
func (s *mailServer) Refuse(refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusing = refuse
}

// TurnAway makes the server refuse all mail for good (550), or no longer.
func (s *mailServer) TurnAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turning = away
}

// Refusals is how many messages were put off.
func (s *mailServer) Refusals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// HoldNext makes the server keep the next message waiting after its last byte:
// held is closed when it is there, and release lets the server take it.
func (s *mailServer) HoldNext() (held <-chan struct{}, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.hold = make(chan struct{}), make(chan struct{})
	hold := s.hold
	release = sync.OnceFunc(func() { close(hold) })
	s.t.Cleanup(release)
	return s.held, release
}

// Next waits for the next mail to somebody.
func (s *mailServer) Next(to string) Letter {
	s.t.Helper()
	var found Letter
	Eventually(s.t, "mail to "+to, func() bool {
		all := s.To(to)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.read[to] >= len(all) {
			return false
		}
		found = all[s.read[to]]
		s.read[to]++
		return true
	})
	return found
}

// To gives the mails that somebody got.
func (s *mailServer) To(address string) []Letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(func(yield func(Letter) bool) {
		for _, l := range s.mails {
			if l.To == address && !yield(l) {
				return
			}
		}
	})
}

// delivery is one SMTP conversation.
type delivery struct {
	server   *mailServer
	conn     *smtp.Conn
	from, to string
	known    bool
}

var _ smtp.AuthSession = (*delivery)(nil)

// AuthMechanisms is smtp.AuthSession.
func (d *delivery) AuthMechanisms() []string {
	if d.server.user == "" {
		return nil
	}
	return []string{sasl.Plain}
}

// Auth is smtp.AuthSession.
func (d *delivery) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != d.server.user || password != d.server.password {
			return smtp.ErrAuthFailed
		}
		d.known = true
		return nil
	}), nil
}

func (d *delivery) Mail(from string, _ *smtp.MailOptions) error {
	if d.server.user != "" && !d.known {
		return smtp.ErrAuthRequired
	}
	d.from = from
	return nil
}

func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = to
	return nil
}

func (d *delivery) Reset()        {}
func (d *delivery) Logout() error { return nil }

// Data is smtp.Session.
func (d *delivery) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	l, err := readLetter(raw)
	if err != nil {
		return &smtp.SMTPError{Code: 554, Message: err.Error()}
	}
	l.From, l.To = d.from, d.to
	_, l.Secure = d.conn.TLSConnectionState()
	s := d.server
	s.mu.Lock()
	held, hold := s.held, s.hold
	s.held, s.hold = nil, nil
	s.mu.Unlock()
	if held != nil {
		close(held)
		<-hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turning {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "not that"}
	}
	if s.refusing {
		s.refused++
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "not now"}
	}
	s.mails = append(s.mails, l)
	if u, err := url.Parse(l.Link); err == nil {
		s.seen.values(u.Query())
	}
	s.seen.Secret("address", l.To)
	return nil
}

var loginLink = regexp.MustCompile(`https?://\S+/login\?token=[A-Za-z0-9_-]+`)

// readLetter takes a message apart (RFC 5322, RFC 2046).
func readLetter(raw []byte) (Letter, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return Letter{}, err
	}
	media, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return Letter{}, err
	}
	if media != "multipart/alternative" {
		return Letter{}, fmt.Errorf("the mail is %s", media)
	}
	parts := map[string]string{}
	for reader := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Letter{}, err
		}
		var body io.Reader = part
		if strings.EqualFold(part.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
			body = quotedprintable.NewReader(part)
		}
		content, err := io.ReadAll(body)
		if err != nil {
			return Letter{}, err
		}
		kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			return Letter{}, err
		}
		parts[kind] = string(content)
	}
	if len(parts) != 2 || parts["text/plain"] == "" || parts["text/html"] == "" {
		return Letter{}, fmt.Errorf("the parts of the mail are %q", slices.Sorted(maps.Keys(parts)))
	}
	l := Letter{Header: m.Header, Text: parts["text/plain"], HTML: parts["text/html"]}
	l.Link = loginLink.FindString(l.Text)
	return l, nil
}

// newCertificate makes a certificate for this machine and the authority that
// signed it.
func newCertificate(t testing.TB) (tls.Certificate, []byte) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		return key
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Authority"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	authorityKey, key := newKey(), newKey()
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	must(err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Mail"}, NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority, key.Public(), authorityKey)
	must(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER})
}
