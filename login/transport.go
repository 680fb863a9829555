package login

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// transport hands mails to the next server. One goroutine uses it.
type transport interface {
	// deliver returns nil when the server has taken the mail over.
	deliver(ctx context.Context, m message) *failure
	// close ends the connection, if there is one; deliver may open another.
	close()
}

// Stages of handing over a mail, as they are logged. Those up to stageMail are
// about the server and our account there, later ones about the one mail.
const (
	stageConnect = "connect" // up to the greeting
	stageHello   = "hello"
	stageTLS     = "tls"
	stageAuth    = "auth"
	stageMail    = "mail"
	stageRcpt    = "rcpt"
	stageData    = "data"
	stageBody    = "body"
	stageDot     = "dot" // the mail is sent, the answer awaited
)

// failure is why a mail was not taken.
type failure struct {
	stage    string
	code     int    // SMTP reply code; 0: no reply came
	enhanced string // RFC 3463 status code, if the reply has one
	answer   string // of an HTTP API, in place of a code: its status and what it is called
	err      error
	after    time.Duration // what the server wants to be waited for; 0: it doesn't say
}

var statusCode = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}\b`)

// failed makes the failure of a stage. What I/O says of a connection that ctx
// closed is less than why it did.
func failed(ctx context.Context, stage string, err error) *failure {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return &failure{stage: stage, code: reply.Code, enhanced: statusCode.FindString(reply.Msg), err: err}
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return &failure{stage: stage, err: err}
}

// Error may hold what the server said, and so an address: it is for the
// operator's terminal and not for logs.
func (f *failure) Error() string {
	text := f.err.Error()
	var reply *textproto.Error
	if errors.As(f.err, &reply) {
		text = fmt.Sprintf("%d %s", reply.Code, reply.Msg)
	}
	if f.answer != "" {
		text = f.answer + ": " + text
	}
	return f.stage + ": " + strings.Join(strings.Fields(text), " ")
}

func (f *failure) Unwrap() error { return f.err }

// detail is the stage and the reply code: nothing the server has worded.
func (f *failure) detail() string {
	out := f.stage
	if f.answer != "" {
		out += " " + f.answer
	}
	if f.code != 0 {
		out += " " + strconv.Itoa(f.code)
	}
	if f.enhanced != "" {
		out += " " + f.enhanced
	}
	return out
}

// cause is what is known without the server's words.
func (f *failure) cause() string {
	var malformed textproto.ProtocolError
	switch {
	case f.code != 0, f.answer != "":
		return f.detail()
	case errors.As(f.err, &malformed):
		return "malformed reply"
	}
	return f.err.Error()
}

// replied says whether the server answered with a reason of its own, which
// leaves the connection in order.
func (f *failure) replied() bool { return f.code/100 == 4 || f.code/100 == 5 }

// ofServer says whether the server, or our account there, is the trouble, so
// that any other mail would fare alike.
func (f *failure) ofServer() bool {
	switch f.stage {
	case stageConnect, stageHello, stageTLS, stageAuth, stageMail:
		return true
	}
	return f.unauthenticated() || errors.Is(f.err, errAccount) || errors.Is(f.err, errBusy)
}

// unauthenticated: these replies blame our login, whatever they reply to
// (RFC 4954 §6).
func (f *failure) unauthenticated() bool {
	return f.code == 530 || f.code == 534 || f.code == 535 || f.code == 538
}

// ofSettings says whether only an operator can help.
func (f *failure) ofSettings() bool {
	var certificate *tls.CertificateVerificationError
	return f.ofServer() && f.code/100 == 5 || errors.As(f.err, &certificate) ||
		errors.Is(f.err, errNoTLS) || errors.Is(f.err, errNoAuth) || errors.Is(f.err, errNotLoopback) || errors.Is(f.err, errAccount)
}

// permanent says whether the server will never take this mail (RFC 5321
// §4.2.1). What an operator can help is not permanent: it is not the person's
// fault.
func (f *failure) permanent() bool {
	return errors.Is(f.err, errSuppressed) || errors.Is(f.err, errBounced) || errors.Is(f.err, errTurnsDown) ||
		f.code/100 == 5 && !f.ofServer()
}

// ofRecipient says whether it is the address that is refused for good: it is
// none, or the mailbox takes no mail (RFC 3463 §3.2, §3.3). Without a status
// code the reply to RCPT tells (RFC 5321 §4.2.3).
func (f *failure) ofRecipient() bool {
	switch {
	case errors.Is(f.err, errSuppressed), errors.Is(f.err, errBounced):
		return true
	case !f.permanent():
		return false
	case f.enhanced != "":
		ofSender := f.enhanced == "5.1.7" || f.enhanced == "5.1.8"
		return strings.HasPrefix(f.enhanced, "5.1.") && !ofSender || strings.HasPrefix(f.enhanced, "5.2.")
	}
	return f.stage == stageRcpt && (f.code == 550 || f.code == 551 || f.code == 553)
}

// ambiguous says whether the server may have taken the mail: it was sent whole,
// and no answer came.
func (f *failure) ambiguous() bool { return f.stage == stageDot && f.code == 0 }

var (
	errNoTLS       = errors.New("the server offers no STARTTLS: use smtps://, or a server that does")
	errNoAuth      = errors.New("the server offers none of AUTH PLAIN, LOGIN, SCRAM-SHA-256 and SCRAM-SHA-1")
	errNotLoopback = errors.New("smtp+plain:// led to another machine: use smtp:// or smtps://")
	errSuppressed  = errors.New("accepted, but the provider suppresses mail to this address")
)

// security is how a connection is protected.
type security int

const (
	startTLS      security = iota // required, never skipped (RFC 8314 §3)
	implicitTLS                   // TLS from the first byte
	noTLS                         // loopback alone
	cloudflareAPI                 // HTTPS
)

// MailServer is where mail is handed over, and the account there. It doesn't
// print its user and password.
type MailServer struct {
	host, port     string
	security       security
	user, password string // empty: no AUTH; of an API, account and token
	plain          bool   // of an API: http, to this machine
	tls            *tls.Config
}

var schemes = map[string]struct {
	security security
	port     string
}{
	"smtp":       {startTLS, "587"}, // RFC 6409 §3.1
	"smtps":      {implicitTLS, "465"},
	"smtp+plain": {noTLS, "25"},
}

// ParseMailURL reads where mail is handed over:
//
//	smtp://user:password@host:587    STARTTLS, required
//	smtps://user:password@host:465   TLS from the start
//	smtp+plain://localhost:25        no TLS; loopback only
//	cloudflare://ACCOUNT:TOKEN       Cloudflare's Email Service, over HTTPS
//
// The ports shown are the defaults. User and password are percent-encoded, and
// both or neither are there. TLS is 1.2 or newer and the certificate must be
// the host's; ?ca_file=FILE names the certificate authorities (PEM) that are
// believed in place of the system's. For tests, ?api_url=http://127.0.0.1:8000
// has Cloudflare's API on this machine. Errors tell the fix and nothing of the
// URL, which holds the password.
func ParseMailURL(s string) (MailServer, error) {
	if scheme, _, _ := strings.Cut(s, ":"); strings.EqualFold(scheme, "cloudflare") {
		return parseCloudflare(s)
	}
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return MailServer{}, errors.New("not a mail server: write smtp://user:password@host:587, with special characters of user and password percent-encoded (@ is %40, / is %2F, # is %23, ? is %3F, % is %25)")
	}
	kind, ok := schemes[u.Scheme]
	switch {
	case !ok:
		return MailServer{}, errors.New("unknown scheme: write smtp:// (STARTTLS), smtps:// (TLS from the start), smtp+plain:// (loopback only) or cloudflare://")
	case strings.Trim(u.Path, "/") != "" || u.Fragment != "" || strings.Contains(s, "#"):
		return MailServer{}, errors.New("nothing but ?ca_file=FILE may follow host and port: a /, # or ? in user or password is %2F, %23 or %3F")
	}
	m := MailServer{port: u.Port(), security: kind.security}
	if m.port == "" {
		m.port = kind.port
	}
	if n, err := strconv.ParseUint(m.port, 10, 16); err != nil || n == 0 {
		return MailServer{}, errors.New("the port must be between 1 and 65535")
	}
	if m.security == startTLS && m.port == "465" {
		return MailServer{}, errors.New("port 465 speaks TLS from the start: write smtps:// (RFC 8314 §3.3)")
	}
	if m.host, err = hostASCII(u.Hostname()); err != nil {
		return MailServer{}, err
	}
	if m.security == noTLS && !loopbackName(m.host) {
		return MailServer{}, errors.New("smtp+plain:// is for loopback hosts alone: write smtp:// or smtps://")
	}
	if err := m.account(u.User); err != nil {
		return MailServer{}, err
	}
	return m, m.trust(u.RawQuery)
}

// hostASCII gives the A-label form of a host name; addresses stay as they are.
func hostASCII(host string) (string, error) {
	_, notIP := netip.ParseAddr(host)
	if isASCII(host) && host != "" && (notIP == nil || !strings.Contains(host, ":")) {
		return host, nil
	}
	ascii, err := toASCII(host)
	if err != nil || ascii == "" {
		return "", errors.New("the host is not a host name")
	}
	return ascii, nil
}

// loopbackName says whether a name should lead to this machine (RFC 6761
// §6.3). Whether it does is seen when connecting.
func loopbackName(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func (m *MailServer) account(info *url.Userinfo) error {
	if info == nil {
		return nil
	}
	m.user = info.Username()
	m.password, _ = info.Password()
	if m.user == "" || m.password == "" {
		return errors.New("write both user and password, or neither: smtp://user:password@host:587")
	}
	if strings.ContainsRune(m.user+m.password, 0) { // RFC 4616 §2: it separates the two
		return errors.New("user and password may not hold %00")
	}
	return nil
}

// trust reads the query and prepares TLS.
func (m *MailServer) trust(query string) error {
	m.tls = &tls.Config{ServerName: m.host, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(16)}
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("what follows ? is malformed: write ?ca_file=FILE")
	}
	file := values.Get("ca_file")
	switch {
	case len(values) == 0:
		return nil
	case len(values) > 1 || len(values["ca_file"]) != 1 || file == "":
		return errors.New("what follows ? is unknown: only ca_file=FILE may, once; a ? in user or password is %3F")
	case m.security == noTLS:
		return errors.New("ca_file has no use with smtp+plain://")
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("ca_file: %w", err)
	}
	m.tls.RootCAs = x509.NewCertPool()
	if !m.tls.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("ca_file: no PEM certificate in %s", file)
	}
	return nil
}

// Host is where the server is: a name in ASCII, or an address.
func (m MailServer) Host() string { return m.host }

func (m MailServer) address() string { return net.JoinHostPort(m.host, m.port) }

// transport makes a connection's worth of transport, which greets as helo.
func (m MailServer) transport(helo string, log *dialogue) transport {
	if m.security == cloudflareAPI {
		return newCloudflareTransport(m, log)
	}
	return &smtpTransport{server: m, helo: helo, log: log}
}

// Signs says whether the server signs mail itself and takes none that is signed.
func (m MailServer) Signs() bool { return m.security == cloudflareAPI || m.ofCloudflare() }

// ofCloudflare says whether the SMTP server is Cloudflare's.
func (m MailServer) ofCloudflare() bool { return strings.HasSuffix(m.host, ".mx.cloudflare.net") }

// String tells where, without the account.
func (m MailServer) String() string {
	if m.security == cloudflareAPI {
		return m.apiURL().String()
	}
	for scheme, kind := range schemes {
		if kind.security == m.security {
			return (&url.URL{Scheme: scheme, Host: m.address()}).String()
		}
	}
	return m.address()
}

// GoString keeps the account out of %#v.
func (m MailServer) GoString() string { return m.String() }

// MarshalText keeps the account out of JSON and slog.
func (m MailServer) MarshalText() ([]byte, error) { return []byte(m.String()), nil }
