package main

import (
	"bufio"
	"bytes"
	"cmp"
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
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/net/html"
	"golang.org/x/oauth2"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sealpost": main})
}

// engines gives a fresh database on each engine, as the setting has it.
var engines = map[string]func(t testing.TB) string{
	"sqlite":   func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "test.db") },
	"postgres": func(t testing.TB) string { return postgrestest.New(t) },
}

// TestScripts runs testdata/*.txtar, and testdata/engines/*.txtar on each
// engine, with the real program. A script is what it says; these are its words
// besides those of testscript (exec, stdout, cmp, …):
//
//	exits CODE COMMAND...      the command ends with this exit code
//	start COMMAND...           starts sealpost serve or dev and waits until it serves; $ISSUER, $APP
//	terminate                  asks it to stop (SIGTERM) and wants exit code 0; stderr is its log
//	hangup TEXT                tells it to read its settings again (SIGHUP), and waits until its log has TEXT
//	http [-u ID:SECRET] [-h HOST] METHOD ADDRESS [NAME=VALUE...]
//	                           asks the server; stdout is status, headers and body
//	await ADDRESS              asks until there is a 200; $LINK is the login link in it
//	browser NAME               goes on with another browser, with cookies of its own
//	browse ADDRESS             opens a page; stdout is address, status, page and its text; $CODE is the code to type
//	submit FORM [NAME=VALUE...]
//	                           submits the form of the page that has this data-form
//	authorize ID REDIRECT_URI [NAME=VALUE...]
//	                           sends the browser to sign in, as an application does
//	redeem ID[:SECRET]         is the application getting tokens for the code; stdout is the ID token's claims
//	json MEMBER VARIABLE       takes a member of the JSON on stdout into a variable
//	mail                       waits for the next mail; stdout is the mail; $LINK is its login link
//	signed FILE                the last mail has a valid DKIM signature of each key in FILE, which is the DNS
//	mailserver [refuse TEXT]   a mail server without or with an opinion; $SMTP is its address
//	cloudflare [STATUS ERROR]  Cloudflare's Email Service, which takes every mail or none; $API is where
//	application                an application that hears of logouts (back-channel); $LOGOUT is where
//	logout                     waits until it hears of the next one; stdout is the claims of the logout token
//	certificate HOST           writes cert.pem and key.pem
//	cities FILE NETWORK CITY COUNTRY
//	                           writes a database of this one place
//	served                     stdout is the serial number of the certificate that the server shows, and of cert.pem
//	occupy                     listens somewhere; $OCCUPIED is where
//	mode FILE PERMISSIONS      the file has these permissions
func TestScripts(t *testing.T) {
	run := func(t *testing.T, dir string, database func(testing.TB) string) {
		if scripts, err := filepath.Glob(filepath.Join(dir, "*.txtar")); err != nil || len(scripts) == 0 {
			t.Fatalf("no scripts in %s: %v", dir, err)
		}
		testscript.Run(t, testscript.Params{
			Dir: dir, RequireUniqueNames: true, UpdateScripts: *update,
			Setup: func(env *testscript.Env) error {
				w := newWorld(env)
				if database == nil {
					return nil
				}
				// Everything serve needs but issuer and clients, which a script says.
				env.Setenv("SEALPOST_DATABASE", database(env.T().(testing.TB)))
				env.Setenv("SEALPOST_SECRET", keys.NewSecret())
				env.Setenv("SEALPOST_LISTEN", "127.0.0.1:0")
				env.Setenv("SEALPOST_ADMIN_LISTEN", "off")
				env.Setenv("SEALPOST_MAIL_FROM", "Example <login@example.com>")
				address, err := w.mail.listen("")
				env.Setenv("SEALPOST_MAIL_URL", "smtp+plain://"+address)
				return err
			},
			Cmds: scriptCommands,
		})
	}
	t.Run("any", func(t *testing.T) { run(t, "testdata", nil) })
	for name, database := range engines {
		t.Run(name, func(t *testing.T) { run(t, filepath.Join("testdata", "engines"), database) })
	}
}

// patience is how long a script waits for what must come: it fails then.
const patience = time.Minute

// world is what a script has around it.
type world struct {
	server   *server
	mail     mailSink
	logouts  chan string // tokens
	browsers map[string]*browser
	browser  *browser
	raw      []byte                                          // the last mail
	login    struct{ id, verifier, nonce, uri, code string } // the one that authorize began
	roots    *x509.CertPool
	hosts    map[string]string // where a name of a host leads
}

type worldKey struct{}

func newWorld(env *testscript.Env) *world {
	w := &world{logouts: make(chan string, 100), browsers: map[string]*browser{}, hosts: map[string]string{}, roots: x509.NewCertPool()}
	w.mail.arrived = make(chan sunkMail, 100)
	w.open("first")
	env.Values[worldKey{}] = w
	env.Defer(func() {
		w.server.kill()
		w.mail.close()
	})
	return w
}

// command makes a script command of a function that fails with an error.
func command(f func(ts *testscript.TestScript, w *world, args []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		err := f(ts, ts.Value(worldKey{}).(*world), args)
		switch {
		case err != nil && !neg:
			ts.Fatalf("%v", err)
		case err == nil && neg:
			ts.Fatalf("should have failed")
		case err != nil:
			ts.Logf("failed as it should: %v", err)
		}
	}
}

var errUsage = errors.New("wrong arguments; see TestScripts")

var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"exits": command(func(ts *testscript.TestScript, _ *world, args []string) error {
		if len(args) < 2 {
			return errUsage
		}
		want, err := strconv.Atoi(args[0])
		if err != nil {
			return errUsage
		}
		have, exit := 0, (*exec.ExitError)(nil)
		if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
			have = exit.ExitCode()
		} else if err != nil {
			return err
		}
		if have != want {
			return fmt.Errorf("exit code %d, want %d", have, want)
		}
		return nil
	}),
	"start": command(func(ts *testscript.TestScript, w *world, args []string) error {
		if w.server != nil {
			return errors.New("one is running already")
		}
		s, err := startServer(ts, args)
		if err != nil {
			return err
		}
		w.server = s
		issuer, err := url.Parse(s.issuer)
		if err != nil {
			return err
		}
		w.hosts[issuer.Host] = s.listen
		ts.Setenv("ISSUER", s.issuer)
		for line := range strings.Lines(s.stdout()) { // of sealpost dev
			if app, ok := strings.CutPrefix(line, "Sample application"); ok {
				ts.Setenv("APP", strings.TrimSpace(app))
			}
		}
		_, err = io.WriteString(ts.Stdout(), s.stdout())
		return err
	}),
	"terminate": command(func(ts *testscript.TestScript, w *world, _ []string) error {
		if w.server == nil {
			return errors.New("nothing is running")
		}
		s := w.server
		w.server = nil
		err := s.stop()
		fmt.Fprint(ts.Stdout(), s.stdout())
		fmt.Fprint(ts.Stderr(), s.stderr)
		return err
	}),
	"hangup": command(func(ts *testscript.TestScript, w *world, args []string) error {
		if w.server == nil || len(args) != 1 {
			return errUsage
		}
		before := len(w.server.stderr.String())
		if err := w.server.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			return err
		}
		for deadline := time.After(patience); ; {
			said := w.server.stderr.String()[before:]
			if strings.Contains(said, args[0]) {
				_, err := io.WriteString(ts.Stderr(), said)
				return err
			}
			select {
			case <-deadline:
				return fmt.Errorf("the log says:\n%s", said)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}),
	"http": command(func(ts *testscript.TestScript, w *world, args []string) error {
		res, err := w.ask(ts, args)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		fmt.Fprintf(ts.Stdout(), "HTTP %d\n", res.StatusCode)
		for _, name := range slices.Sorted(maps.Keys(res.Header)) {
			for _, v := range res.Header[name] {
				fmt.Fprintf(ts.Stdout(), "%s: %s\n", name, v)
			}
		}
		fmt.Fprintln(ts.Stdout())
		_, err = io.Copy(ts.Stdout(), res.Body)
		return err
	}),
	"await": command(func(ts *testscript.TestScript, w *world, args []string) error {
		for deadline := time.After(patience); ; {
			res, err := w.ask(ts, append([]string{"GET"}, args...))
			if err != nil {
				return err
			}
			body, err := io.ReadAll(res.Body)
			if err := errors.Join(err, res.Body.Close()); err != nil {
				return err
			}
			if res.StatusCode == http.StatusOK {
				ts.Setenv("LINK", loginLink.FindString(string(body)))
				_, err := ts.Stdout().Write(body)
				return err
			}
			select {
			case <-deadline:
				return fmt.Errorf("still %s", res.Status)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}),
	"browser": command(func(_ *testscript.TestScript, w *world, args []string) error {
		if len(args) != 1 {
			return errUsage
		}
		w.open(args[0])
		return nil
	}),
	"browse": command(func(ts *testscript.TestScript, w *world, args []string) error {
		if len(args) != 1 {
			return errUsage
		}
		return w.show(ts, http.MethodGet, args[0], nil)
	}),
	"submit": command(func(ts *testscript.TestScript, w *world, args []string) error {
		if len(args) == 0 {
			return errUsage
		}
		values, err := pairs(args[1:])
		if err != nil {
			return err
		}
		method, address, fields, err := w.browser.form(args[0])
		if err != nil {
			return err
		}
		maps.Copy(fields, values)
		return w.show(ts, method, address, fields)
	}),
	"authorize": command(func(ts *testscript.TestScript, w *world, args []string) error {
		if len(args) < 2 {
			return errUsage
		}
		more, err := pairs(args[2:])
		if err != nil {
			return err
		}
		l := &w.login
		l.id, l.uri, l.code, l.verifier, l.nonce = args[0], args[1], "", oauth2.GenerateVerifier(), rand.Text()
		query := url.Values{
			"response_type": {"code"}, "client_id": {l.id}, "redirect_uri": {l.uri}, "scope": {"openid email"}, "state": {"from-the-script"},
			"nonce": {l.nonce}, "code_challenge": {oauth2.S256ChallengeFromVerifier(l.verifier)}, "code_challenge_method": {"S256"},
		}
		maps.Copy(query, more)
		return w.show(ts, http.MethodGet, ts.Getenv("ISSUER")+"/authorize?"+query.Encode(), nil)
	}),
	"redeem": command(func(ts *testscript.TestScript, w *world, args []string) error {
		if len(args) != 1 {
			return errUsage
		}
		return w.redeem(ts, args[0])
	}),
	"json": command(func(ts *testscript.TestScript, _ *world, args []string) error {
		if len(args) != 2 {
			return errUsage
		}
		var object map[string]any
		if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &object); err != nil {
			return err
		}
		value, ok := object[args[0]].(string)
		if !ok {
			return fmt.Errorf("no text in %s", args[0])
		}
		ts.Setenv(args[1], value)
		return nil
	}),
	"mail": command(func(ts *testscript.TestScript, w *world, _ []string) error {
		select {
		case m := <-w.mail.arrived:
			w.raw = m.raw
			ts.Setenv("LINK", m.Link)
			for line := range strings.Lines(m.Header) {
				if strings.HasPrefix(line, "Reply-To:") {
					fmt.Fprintln(ts.Stdout(), strings.TrimSpace(line))
				}
			}
			fmt.Fprintf(ts.Stdout(), "From: %s\nTo: %s\nSubject: %s\n\n%s", m.From, m.To, m.Subject, strings.ReplaceAll(m.Text, "\r\n", "\n"))
			return nil
		case <-time.After(patience):
			return errors.New("no mail has come")
		}
	}),
	"signed": command(func(ts *testscript.TestScript, w *world, args []string) error {
		if len(args) != 1 {
			return errUsage
		}
		return w.signed(ts.ReadFile(args[0]))
	}),
	"mailserver": command(func(ts *testscript.TestScript, w *world, args []string) error {
		refuse := ""
		if len(args) == 2 && args[0] == "refuse" {
			refuse = args[1]
		} else if len(args) > 0 {
			return errUsage
		}
		address, err := w.mail.listen(refuse)
		ts.Setenv("SMTP", address)
		return err
	}),
	"cloudflare": command(func(ts *testscript.TestScript, w *world, args []string) error {
		if len(args) != 0 && len(args) != 2 {
			return errUsage
		}
		api := httptest.NewServer(&cloudflare{sink: &w.mail, refuse: args})
		ts.Defer(api.Close)
		ts.Setenv("API", api.URL)
		return nil
	}),
	"application": command(func(ts *testscript.TestScript, w *world, _ []string) error {
		app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { w.logouts <- r.FormValue("logout_token") }))
		ts.Defer(app.Close)
		ts.Setenv("LOGOUT", app.URL+"/logout")
		return nil
	}),
	"logout": command(func(ts *testscript.TestScript, w *world, _ []string) error {
		select {
		case token := <-w.logouts:
			parts := strings.Split(token, ".")
			if len(parts) != 3 {
				return fmt.Errorf("no token: %q", token)
			}
			claims, err := base64.RawURLEncoding.DecodeString(parts[1])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(ts.Stdout(), "%s\n", claims)
			return err
		case <-time.After(patience):
			return errors.New("nobody was told of a logout")
		}
	}),
	"certificate": command(func(ts *testscript.TestScript, w *world, args []string) error {
		if len(args) != 1 {
			return errUsage
		}
		cert, key, err := newCertificate(args[0])
		if err != nil {
			return err
		}
		w.roots.AppendCertsFromPEM(cert)
		return errors.Join(replace(ts.MkAbs("key.pem"), key), replace(ts.MkAbs("cert.pem"), cert))
	}),
	"cities": command(func(ts *testscript.TestScript, _ *world, args []string) error {
		if len(args) != 4 {
			return errUsage
		}
		content, err := placesOf("GeoLite2-City", map[string][2]names{args[1]: {names{"en": args[2]}, names{"en": args[3]}}})
		if err != nil {
			return err
		}
		return replace(ts.MkAbs(args[0]), content)
	}),
	"served": command(func(ts *testscript.TestScript, w *world, _ []string) error {
		conn, err := tls.Dial("tcp", w.server.listen, &tls.Config{InsecureSkipVerify: true}) // to look, not to trust
		if err != nil {
			return err
		}
		block, _ := pem.Decode([]byte(ts.ReadFile("cert.pem")))
		if block == nil {
			return errors.Join(errors.New("cert.pem is no PEM"), conn.Close())
		}
		want, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return errors.Join(err, conn.Close())
		}
		have := conn.ConnectionState().PeerCertificates[0]
		if have.SerialNumber.Cmp(want.SerialNumber) != 0 {
			err = fmt.Errorf("certificate %v is served, and cert.pem is %v", have.SerialNumber, want.SerialNumber)
		}
		return errors.Join(err, conn.Close())
	}),
	"occupy": command(func(ts *testscript.TestScript, _ *world, _ []string) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		ts.Defer(func() { l.Close() })
		ts.Setenv("OCCUPIED", l.Addr().String())
		return nil
	}),
	"mode": command(func(ts *testscript.TestScript, _ *world, args []string) error {
		if len(args) != 2 {
			return errUsage
		}
		info, err := os.Stat(ts.MkAbs(args[0]))
		if err != nil {
			return err
		}
		if have := strconv.FormatUint(uint64(info.Mode().Perm()), 8); have != args[1] {
			return fmt.Errorf("%s has permissions %s, want %s", args[0], have, args[1])
		}
		return nil
	}),
}

func pairs(args []string) (url.Values, error) {
	out := url.Values{}
	for _, arg := range args {
		name, v, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, errUsage
		}
		out.Add(name, v)
	}
	return out, nil
}

// replace writes a file as those who renew certificates do: at once.
func replace(name string, content []byte) error {
	if err := os.WriteFile(name+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// server is a running sealpost serve or dev.
type server struct {
	cmd            *exec.Cmd
	out            *os.File // stdout: no goroutine stands between, so that what was printed before the log line is there
	stderr         *safeBuffer
	issuer, listen string
	ended          chan error // cmd.Wait
}

// stdout is what was printed so far.
func (s *server) stdout() string {
	b, err := os.ReadFile(s.out.Name())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// safeBuffer may be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startServer runs a command and waits for the line that says where it serves.
func startServer(ts *testscript.TestScript, args []string) (*server, error) {
	if len(args) < 2 {
		return nil, errUsage
	}
	out, err := os.CreateTemp(ts.Getenv("TMPDIR"), "stdout")
	if err != nil {
		return nil, err
	}
	defer out.Close() // the process has its own
	s := &server{cmd: exec.Command(args[0], args[1:]...), out: out, stderr: &safeBuffer{}, ended: make(chan error, 1)}
	s.cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR", "SEALPOST_CONFIG"} {
		s.cmd.Env = append(s.cmd.Env, name+"="+ts.Getenv(name))
	}
	for _, k := range known() {
		s.cmd.Env = append(s.cmd.Env, k.variable()+"="+ts.Getenv(k.variable()))
	}
	s.cmd.Stdout = out
	log, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	serving := make(chan struct{})
	go func() {
		lines := bufio.NewReader(log)
		for {
			line, err := lines.ReadString('\n')
			_, _ = s.stderr.Write([]byte(line))
			var said struct{ Msg, Issuer, Listen string }
			if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "serving" {
				s.issuer, s.listen = said.Issuer, said.Listen
				close(serving)
			}
			if err != nil {
				break
			}
		}
		s.ended <- s.cmd.Wait()
	}()
	select {
	case <-serving:
		return s, nil
	case err := <-s.ended:
		fmt.Fprint(ts.Stdout(), s.stdout())
		fmt.Fprint(ts.Stderr(), s.stderr)
		return nil, fmt.Errorf("%s has ended: %v", args[0], err)
	case <-time.After(patience):
		s.kill()
		return nil, fmt.Errorf("%s does not serve:\n%s", args[0], s.stderr)
	}
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		s.kill()
		return errors.New("it does not stop")
	}
}

func (s *server) kill() {
	if s != nil {
		_ = s.cmd.Process.Kill() // it has ended, or does so now
		<-s.ended
	}
}

// transport leads every name of the world's hosts where its server is, and the
// rest nowhere but to this machine.
func (w *world) transport() *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true, // a stopped server has nothing to wait for
		TLSClientConfig:   &tls.Config{RootCAs: w.roots},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			for _, name := range []string{host, address} {
				if to, ok := w.hosts[name]; ok {
					return new(net.Dialer).DialContext(ctx, network, to)
				}
			}
			if !w.reaches(host) {
				return nil, fmt.Errorf("no such host in this world: %s", address)
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
	}
}

// reaches says whether a server of this world answers for host.
func (w *world) reaches(host string) bool {
	_, ok := w.hosts[host]
	return ok || host == "localhost" || host == "127.0.0.1"
}

// ask is the command http.
func (w *world) ask(ts *testscript.TestScript, args []string) (*http.Response, error) {
	var account, host string
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-u":
			account = args[1]
		case "-h":
			host = args[1]
		default:
			return nil, errUsage
		}
		args = args[2:]
	}
	if len(args) < 2 {
		return nil, errUsage
	}
	address := args[1]
	if strings.HasPrefix(address, "/") {
		address = ts.Getenv("ISSUER") + address
	}
	form, err := pairs(args[2:])
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(args[0], address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if len(form) > 0 {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if id, secret, ok := strings.Cut(account, ":"); ok {
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	r.Host = cmp.Or(host, r.Host)
	return w.transport().RoundTrip(r)
}

// redeem gets tokens for the code, as an application does: the libraries check
// what they check (OIDC Core §3.1.3.7).
func (w *world) redeem(ts *testscript.TestScript, account string) error {
	ctx := oidc.ClientContext(context.Background(), &http.Client{Transport: w.transport(), Timeout: patience})
	provider, err := oidc.NewProvider(ctx, ts.Getenv("ISSUER"))
	if err != nil {
		return err
	}
	id, secret, _ := strings.Cut(account, ":")
	conf := oauth2.Config{ClientID: id, ClientSecret: secret, Endpoint: provider.Endpoint(), RedirectURL: w.login.uri}
	token, err := conf.Exchange(ctx, w.login.code, oauth2.VerifierOption(w.login.verifier))
	if err != nil {
		return err
	}
	raw, _ := token.Extra("id_token").(string)
	idToken, err := provider.Verifier(&oidc.Config{ClientID: id}).Verify(ctx, raw)
	if err != nil {
		return err
	}
	if idToken.Nonce != w.login.nonce {
		return errors.New("wrong nonce")
	}
	var all map[string]any
	if err := idToken.Claims(&all); err != nil {
		return err
	}
	for _, c := range claims(all) {
		fmt.Fprintf(ts.Stdout(), "%s: %s\n", c.Name, c.Value)
	}
	return nil
}

// browser is one browser: cookies and the page it shows.
type browser struct {
	world *world
	jar   http.CookieJar
	page  *html.Node
	at    *url.URL
}

func (w *world) open(name string) {
	if w.browsers[name] == nil {
		jar, err := cookiejar.New(nil)
		if err != nil {
			panic(err) // of a nil option
		}
		w.browsers[name] = &browser{world: w, jar: jar}
	}
	w.browser = w.browsers[name]
}

// show opens a page and prints it.
func (w *world) show(ts *testscript.TestScript, method, address string, form url.Values) error {
	status, err := w.browser.open(method, address, form)
	if err != nil {
		return err
	}
	b := w.browser
	if b.page == nil { // sent to an application that isn't there
		if code := b.at.Query().Get("code"); code != "" {
			w.login.code = code
		}
		_, err = fmt.Fprintf(ts.Stdout(), "to %s\n", b.at)
		return err
	}
	fmt.Fprintf(ts.Stdout(), "at %s\nstatus %d\n", b.at, status)
	for _, name := range []string{"data-page", "data-error"} {
		if n := find(b.page, func(n *html.Node) bool { return attr(n, name) != "" }); n != nil {
			fmt.Fprintf(ts.Stdout(), "%s %s\n", strings.TrimPrefix(name, "data-"), attr(n, name))
		}
	}
	if n := find(b.page, func(n *html.Node) bool {
		return n.Data == "output" && slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "data-code" })
	}); n != nil {
		ts.Setenv("CODE", text(n))
	}
	_, err = fmt.Fprintf(ts.Stdout(), "\n%s\n", text(b.page))
	return err
}

// open goes to an address and follows redirects, within this world.
func (b *browser) open(method, address string, form url.Values) (status int, err error) {
	var gone *url.URL
	client := &http.Client{Transport: b.world.transport(), Jar: b.jar, Timeout: patience, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if !b.world.reaches(r.URL.Host) && !b.world.reaches(r.URL.Hostname()) {
			gone = r.URL
			return http.ErrUseLastResponse
		}
		if len(via) > 10 {
			return errors.New("redirected in circles")
		}
		return nil
	}}
	r, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml")
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "null") // our pages are no-referrer
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	res, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	b.at, b.page = res.Request.URL, nil
	if gone != nil {
		b.at = gone
		return res.StatusCode, nil
	}
	b.page, err = html.Parse(res.Body)
	return res.StatusCode, err
}

// form reads a form of the page: where it goes, and what it holds.
func (b *browser) form(name string) (method, address string, fields url.Values, err error) {
	if b.page == nil {
		return "", "", nil, errors.New("no page is open")
	}
	form := find(b.page, func(n *html.Node) bool { return n.Data == "form" && attr(n, "data-form") == name })
	if form == nil {
		return "", "", nil, fmt.Errorf("the page has no form %q", name)
	}
	to, err := b.at.Parse(attr(form, "action"))
	if err != nil {
		return "", "", nil, err
	}
	fields = url.Values{}
	for n := range form.Descendants() {
		if n.Type == html.ElementNode && n.Data == "input" && attr(n, "name") != "" {
			fields.Add(attr(n, "name"), attr(n, "value"))
		}
	}
	return strings.ToUpper(cmp.Or(attr(form, "method"), "get")), to.String(), fields, nil
}

func find(top *html.Node, is func(*html.Node) bool) *html.Node {
	for n := range top.Descendants() {
		if n.Type == html.ElementNode && is(n) {
			return n
		}
	}
	return nil
}

func attr(n *html.Node, name string) string {
	i := slices.IndexFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
	if i < 0 {
		return ""
	}
	return n.Attr[i].Val
}

// text is what a page says, one line for each piece.
func text(top *html.Node) string {
	var lines []string
	for n := range top.Descendants() {
		if n.Type != html.TextNode || n.Parent.Data == "style" || n.Parent.Data == "script" || n.Parent.Data == "noscript" {
			continue
		}
		if line := strings.Join(strings.Fields(n.Data), " "); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// mailSink is the mail server of a script.
type mailSink struct {
	servers []*smtp.Server
	arrived chan sunkMail
}

type sunkMail struct {
	devMail
	raw []byte
}

// signed checks the last mail as a receiver does, who knows what the DNS says:
// the records that sealpost mail dkim --json printed.
func (w *world) signed(printed string) error {
	var records []dnsRecord
	if err := json.Unmarshal([]byte(printed), &records); err != nil {
		return err
	}
	keys := map[string]string{}
	for _, r := range records {
		if strings.Contains(r.Name, "._domainkey.") {
			keys[r.Name] = r.Value
		}
	}
	found, err := dkim.VerifyWithOptions(bytes.NewReader(w.raw), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		value, ok := keys[name]
		if !ok {
			return nil, fmt.Errorf("no record %s", name)
		}
		return []string{value}, nil
	}})
	if err != nil {
		return err
	}
	if len(found) != len(keys) || len(keys) == 0 {
		return fmt.Errorf("%d signatures, of %d keys", len(found), len(keys))
	}
	for _, v := range found {
		if v.Err != nil {
			return v.Err
		}
	}
	return nil
}

// listen starts a server that takes any account, and every mail unless it
// refuses.
func (s *mailSink) listen(refuse string) (address string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &sinkSession{sink: s, refuse: refuse}, nil
	}))
	server.Domain, server.AllowInsecureAuth = "mail.test", true
	s.servers = append(s.servers, server)
	go func() { _ = server.Serve(l) }() // it ends with close
	return l.Addr().String(), nil
}

func (s *mailSink) close() {
	for _, server := range s.servers {
		_ = server.Close() // closed already, or now
	}
}

type sinkSession struct {
	sink   *mailSink
	refuse string
	to     []string
}

func (s *sinkSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *sinkSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, _ string) error { return nil }), nil
}

func (s *sinkSession) Mail(string, *smtp.MailOptions) error { return nil }

func (s *sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.refuse != "" {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: s.refuse}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *sinkSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return s.sink.take(raw, s.to)
}

func (s *mailSink) take(raw []byte, to []string) error {
	m, err := readMail(raw)
	if err != nil {
		return err
	}
	m.To = strings.Join(to, ", ")
	s.arrived <- sunkMail{m, raw}
	return nil
}

func (s *sinkSession) Reset()        { s.to = nil }
func (s *sinkSession) Logout() error { return nil }

// newCertificate makes a certificate that vouches for itself.
func newCertificate(host string) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
