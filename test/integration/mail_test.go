//go:build integration

package integration

import (
	"io"
	"mime/quotedprintable"
	"net"
	"regexp"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// mailServer takes the mail of a world over SMTP and keeps the links.
type mailServer struct {
	t       testing.TB
	address string

	mu    sync.Mutex
	links map[string][]string // by recipient, in their order
}

func newMailServer(t testing.TB) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{t: t, address: l.Addr().String(), links: map[string][]string{}}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{server: s}, nil }))
	server.Domain = "mail.example.com"
	go func() { _ = server.Serve(l) }() // it ends with the listener
	t.Cleanup(func() { _ = l.Close(); _ = server.Close() })
	return s
}

// next waits for the next mail to somebody and gives its link.
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
}

func (d *delivery) Mail(string, *smtp.MailOptions) error      { return nil }
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
	link := loginLink.Find(content)
	if link == nil {
		return &smtp.SMTPError{Code: 554, Message: "there is no link in the mail"}
	}
	d.server.mu.Lock()
	defer d.server.mu.Unlock()
	d.server.links[d.to] = append(d.server.links[d.to], string(link))
	return nil
}
