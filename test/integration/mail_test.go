//go:build integration

package integration

import (
	"crypto/tls"
	"io"
	"mime/quotedprintable"
	"net"
	"regexp"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// mailServer takes the mail of a world over SMTP and keeps the links.
type mailServer struct {
	t       testing.TB
	address string

	// Wanted of who sends, over STARTTLS; empty: anyone may.
	user, password string

	mu    sync.Mutex
	links map[string][]string // by recipient, in their order
}

func newMailServer(t testing.TB) *mailServer {
	t.Helper()
	return startMailServer(t, "", "")
}

// startMailServer starts a server that asks for STARTTLS and a password when
// there is a user.
func startMailServer(t testing.TB, user, password string) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{t: t, address: l.Addr().String(), user: user, password: password, links: map[string][]string{}}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{server: s}, nil }))
	server.Domain = "mail.example.com"
	if user != "" {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{authority(t).certificate}}
	}
	go func() { _ = server.Serve(l) }() // it ends with the listener
	t.Cleanup(func() { _ = l.Close(); _ = server.Close() })
	return s
}

// next waits for the next mail to somebody and gives its link; a mail without
// one gives "".
func (s *mailServer) next(to string) string {
	s.t.Helper()
	var link string
	eventually(s.t, "mail to "+to, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.links[to]) == 0 {
			return false
		}
		link, s.links[to] = s.links[to][0], s.links[to][1:]
		return true
	})
	return link
}

// delivery is one SMTP conversation.
type delivery struct {
	server *mailServer
	to     string
	known  bool
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
		d.known = user == d.server.user && password == d.server.password
		if !d.known {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (d *delivery) Mail(string, *smtp.MailOptions) error {
	if d.server.user != "" && !d.known {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error { d.to = to; return nil }
func (d *delivery) Reset()                                    {}
func (d *delivery) Logout() error                             { return nil }

var loginLink = regexp.MustCompile(`https://\S+/login\?token=[A-Za-z0-9_-]+`)

// Data is smtp.Session.
func (d *delivery) Data(r io.Reader) error {
	content, err := io.ReadAll(quotedprintable.NewReader(r)) // what else stands there reads the same
	if err != nil {
		return err
	}
	d.server.mu.Lock()
	defer d.server.mu.Unlock()
	d.server.links[d.to] = append(d.server.links[d.to], string(loginLink.Find(content)))
	return nil
}
