package login

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail/log"
	"github.com/wneessen/go-mail/smtp"

	"github.com/sealpost/sealpost/keys"
)

// Bounds of one SMTP session. RFC 5321 §4.5.3.2 would wait for minutes; a
// person waits for this mail, and another try is cheap before the mail was
// sent. After it, the answer has all the time that is left of messageTimeout,
// since giving up then may send the mail twice (§4.5.3.2.6).
const (
	connectTimeout = 15 * time.Second // up to and with AUTH
	commandTimeout = 20 * time.Second // from MAIL until the mail is written
	messageTimeout = 90 * time.Second // all of one mail
	quitTimeout    = 2 * time.Second
	perConnection  = 45 // mails; some providers take 50 recipients in a session
)

// smtpTransport keeps one connection open between mails.
type smtpTransport struct {
	server MailServer
	helo   string
	log    *dialogue // nil: none
	conn   *smtpConn // nil: not connected
}

// smtpConn is a session that is ready for a mail. The library's client cannot
// be trusted to close its connection in every case, nor to heed a context, so
// we keep the connection: closing it ends whatever the client waits for.
type smtpConn struct {
	raw    net.Conn
	client *smtp.Client
	sent   int
}

// guard closes the connection when ctx ends before stop is called.
func (c *smtpConn) guard(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { c.raw.Close() })
}

// deliver is transport.deliver. A connection that was used before may have been
// closed by the server meanwhile, or be full: that says nothing about the mail,
// which goes out at once on a new one.
func (t *smtpTransport) deliver(ctx context.Context, m message) *failure {
	reused := t.conn != nil
	f := t.try(ctx, m)
	if reused && f != nil && f.ofConnection() && ctx.Err() == nil {
		f = t.try(ctx, m)
	}
	return f
}

// ofConnection says whether the connection, and not the mail, is the trouble,
// and the mail was surely not taken.
func (f *failure) ofConnection() bool {
	return f.stage != stageDot && (!f.replied() || f.code == 421 || f.sessionFull())
}

func (f *failure) sessionFull() bool { return f.code == 452 && f.enhanced == "4.5.3" }

func (t *smtpTransport) try(ctx context.Context, m message) *failure {
	if t.conn != nil && t.conn.sent >= perConnection {
		t.close()
	}
	if t.conn == nil {
		c, f := t.open(ctx)
		if f != nil {
			return f
		}
		t.conn = c
	}
	f := t.send(ctx, m)
	switch {
	case f == nil, f.stage == stageDot && f.code != 0 && f.code != 421: // the transaction is over
	case f.sessionFull():
		t.close()
	case !f.replied() || f.code == 421 || !t.conn.reset(ctx):
		t.conn.raw.Close()
		t.conn = nil
	}
	return f
}

// send is one transaction (RFC 5321 §3.3) on the open connection.
func (t *smtpTransport) send(ctx context.Context, m message) *failure {
	c := t.conn
	c.sent++
	early, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	stop := c.guard(early)
	defer func() { stop() }()
	if err := c.client.Mail("<" + m.from + ">"); err != nil {
		return failed(early, stageMail, err)
	}
	if err := c.client.Rcpt("<" + m.to + ">"); err != nil {
		return failed(early, stageRcpt, err)
	}
	body, err := c.client.Data()
	if err != nil {
		return failed(early, stageData, err)
	}
	if _, err := body.Write(m.raw); err != nil { // no dot now: half a mail would be taken for a whole
		return failed(early, stageBody, err)
	}
	stop()
	stop = c.guard(ctx)
	t.log.printf("C: (the mail, %d bytes)", len(m.raw))
	if err := body.Close(); err != nil {
		return failed(ctx, stageDot, err)
	}
	if reply, ok := body.(*smtp.DataCloser); ok && t.server.suppressed(reply.ServerResponse()) {
		return &failure{stage: stageDot, code: 250, err: errSuppressed}
	}
	return nil
}

// suppressed says whether a mail that was accepted goes nowhere: Cloudflare
// takes it and leaves the id out of the reply.
func (m MailServer) suppressed(reply string) bool {
	return m.ofCloudflare() && !strings.Contains(reply, "<")
}

// reset ends a transaction that failed, and says whether another may begin.
func (c *smtpConn) reset(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, quitTimeout)
	defer cancel()
	defer c.guard(ctx)()
	return c.client.Reset() == nil
}

// close is transport.close. Whatever the server says to QUIT, the connection is
// closed.
func (t *smtpTransport) close() {
	if t.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), quitTimeout)
	defer cancel()
	defer t.conn.guard(ctx)()
	_ = t.conn.client.Quit()
	_ = t.conn.raw.Close()
	t.conn = nil
}

// open connects and goes on until mail may be sent: TLS, which is never
// skipped, and AUTH, which never goes before it.
func (t *smtpTransport) open(ctx context.Context) (*smtpConn, *failure) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.server.address())
	if err != nil {
		return nil, failed(ctx, stageConnect, err)
	}
	c := &smtpConn{raw: raw}
	defer c.guard(ctx)()
	if stage, err := t.greet(ctx, c); err != nil {
		raw.Close()
		return nil, failed(ctx, stage, err)
	}
	return c, nil
}

// greet gives the stage that failed.
func (t *smtpTransport) greet(ctx context.Context, c *smtpConn) (stage string, err error) {
	conn := c.raw
	switch t.server.security {
	case noTLS:
		if addr, ok := conn.RemoteAddr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
			return stageConnect, errNotLoopback
		}
	case implicitTLS:
		encrypted := tls.Client(conn, t.server.tls)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return stageTLS, err
		}
		conn = encrypted
	}
	if c.client, err = smtp.NewClient(conn, t.server.host); err != nil {
		return stageConnect, err
	}
	c.client.SkipSMTPUTF8(true) // addresses are ASCII, and asking for it may stop the mail at a later server
	if t.log != nil {
		c.client.SetLogger(t.log)
		c.client.SetDebugLog(true)
	}
	if err := c.client.Hello(t.helo); err != nil {
		return stageHello, err
	}
	if t.server.security == startTLS {
		if ok, _ := c.client.Extension("STARTTLS"); !ok {
			return stageTLS, errNoTLS
		}
		if err := c.client.StartTLS(t.server.tls); err != nil {
			return stageTLS, err
		}
	}
	return stageAuth, t.authenticate(c.client)
}

func (t *smtpTransport) authenticate(client *smtp.Client) error {
	if t.server.user == "" {
		return nil
	}
	_, offered := client.Extension("AUTH")
	auth := t.server.mechanism(offered)
	if auth == nil {
		return errNoAuth
	}
	return client.Auth(auth)
}

// mechanism picks from the mechanisms a server offers. The connection is
// encrypted or never leaves this machine, so the simple ones, which every
// server gets right, come first.
func (m MailServer) mechanism(offered string) smtp.Auth {
	has := func(name string) bool { return slices.Contains(strings.Fields(strings.ToUpper(offered)), name) }
	switch {
	case has("PLAIN"):
		return smtp.PlainAuth("", m.user, m.password, m.host, true)
	case has("SCRAM-SHA-256"):
		return smtp.ScramSHA256Auth(m.user, m.password)
	case has("SCRAM-SHA-1"):
		return smtp.ScramSHA1Auth(m.user, m.password)
	case has("LOGIN"):
		return smtp.LoginAuth(m.user, m.password, m.host, true)
	}
	return nil
}

// dialogue writes what the library says to the server and hears from it. The
// library leaves out what AUTH sends.
type dialogue struct{ w io.Writer }

func (d *dialogue) printf(format string, args ...any) {
	if d != nil {
		fmt.Fprintf(d.w, format+"\n", args...)
	}
}

// Debugf is log.Logger.Debugf, the only one that is called.
func (d *dialogue) Debugf(l log.Log) {
	from := "C"
	if l.Direction == log.DirServerToClient {
		from = "S"
	}
	for line := range strings.Lines(fmt.Sprintf(l.Format, l.Messages...)) {
		d.printf("%s: %s", from, strings.TrimRight(line, "\r\n"))
	}
}

// Infof is Debugf.
func (d *dialogue) Infof(l log.Log) { d.Debugf(l) }

// Warnf is Debugf.
func (d *dialogue) Warnf(l log.Log) { d.Debugf(l) }

// Errorf is Debugf.
func (d *dialogue) Errorf(l log.Log) { d.Debugf(l) }

// SendTest hands one real mail to the server, signed and sent as the outbox
// would, and writes the dialogue without what proves our account. The error
// tells what the server said, and what to do where that is known. It gives the
// Message-ID of the mail (RFC 5322 §3.6.4).
func SendTest(ctx context.Context, server MailServer, from, to string, dialogueTo io.Writer, dkim ...DKIMKey) (messageID string, err error) {
	s, err := parseSender(from)
	if err != nil {
		return "", fmt.Errorf("sender %q: %w", from, err)
	}
	if err := checkDKIM(s, server, dkim); err != nil {
		return "", fmt.Errorf("dkim: %w", err)
	}
	addr, err := ParseAddress(to)
	if err != nil {
		return "", fmt.Errorf("%q: %w that could sign in: write user@example.com", to, err)
	}
	now, id := time.Now(), keys.ID()
	m, err := s.testMail(id, addr.Delivery, now)
	if err == nil {
		m, err = sign(m, dkim, now)
	}
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, messageTimeout)
	defer cancel()
	log := &dialogue{dialogueTo}
	t := server.transport(s.domain, log)
	defer t.close()
	log.printf("* %s", server)
	if f := t.deliver(ctx, m); f != nil {
		log.printf("* %v", f)
		return "", f
	}
	log.printf("S: (accepted)")
	return "<" + s.messageID(id) + ">", nil
}
