package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

type devCommand struct {
	settingsFlags
	Listen    string `default:"localhost:8080" help:"Where the provider is served, on loopback. Port 0 takes a free one."`
	AppListen string `name:"app-listen" default:"localhost:8081" help:"Where the sample application is served."`
	Dir       string `default:".sealpost" help:"Where database and secret are kept. Remove it to start afresh."`
}

// Help is shown by sealpost dev --help.
func (devCommand) Help() string {
	return `Starts a provider with a mailbox that shows every mail it would have sent, and an application to sign in to.
Nothing leaves the machine, and nothing outside of it gets in. Settings can be given to try them, clients above all.

  sealpost dev
  sealpost dev --listen localhost:0 --app-listen localhost:0`
}

// Run runs the provider, its mail server and the sample application.
func (c devCommand) Run(p *process) error {
	// The listeners come first: with port 0 they say what the addresses are.
	public, err := listenLoopback("--listen", c.Listen)
	if err != nil {
		return err
	}
	app, err := listenLoopback("--app-listen", c.AppListen)
	if err != nil {
		return errors.Join(err, public.Close())
	}
	in, box, err := c.build(p, public, app)
	if err != nil {
		return errors.Join(err, ignoreClosed(public.Close()), app.Close())
	}
	box.start()
	fmt.Fprintf(p.stdout, "Sample application  %s\nMailbox             %s/dev/mailbox\nOpenID provider     %s\n\nOpen the sample application and sign in with any address. Stop with Ctrl-C.\n",
		address(app), in.settings.Issuer, in.settings.Issuer)
	return errors.Join(in.run(p.ctx), box.stop())
}

// build makes the instance of dev mode: serve's, with a mailbox for a mail
// server and a client for the sample application.
func (c devCommand) build(p *process, public, app net.Listener) (*instance, *mailbox, error) {
	box, err := newMailbox(p.now)
	if err != nil {
		return nil, nil, err
	}
	secret, err := c.secret()
	if err != nil {
		return nil, nil, err
	}
	s := Defaults()
	s.Issuer = address(public)
	s.AdminListen = "off"
	s.Database = SecretURL("sqlite:" + filepath.Join(c.Dir, "sealpost.db"))
	s.Secret = Secret(secret)
	s.Mail.URL, s.Mail.From = SecretURL("smtp+plain://"+box.address()), "Sealpost <login@localhost>"
	s.Branding.Name = "Sealpost dev"
	if s, err = c.load(p, s); err != nil {
		return nil, nil, err
	}
	if s.Issuer != address(public) {
		return nil, nil, usageError{fmt.Errorf("issuer: %q: sealpost dev serves %s; leave issuer out, or run sealpost serve", s.Issuer, address(public))}
	}
	sample := keys.Token()
	s.Clients = append(s.Clients, Client{Client: storage.Client{
		ID: sampleClientID, Name: "Sample application", SecretSHA256: hashClientSecret(sample), ClientURI: address(app),
		RedirectURIs: []string{address(app) + callbackPath}, PostLogoutRedirectURIs: []string{address(app) + "/"},
	}})
	in, err := build(p.ctx, p, s, public, func(r chi.Router) { box.routes(r, address(app)) })
	if err != nil {
		return nil, nil, err
	}
	application := newSampleApp(s.Issuer, address(app), s.Issuer+"/dev/mailbox", sample, in.pages, p.now)
	in.serveOn(app, application.handler())
	return in, box, nil
}

// secret reads the secret of dev mode, or makes it.
func (c devCommand) secret() (string, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	name := filepath.Join(c.Dir, "secret")
	kept, err := os.ReadFile(name)
	if err == nil {
		return strings.TrimSpace(string(kept)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read secret: %w", err)
	}
	secret := keys.NewSecret()
	if err := os.WriteFile(name, []byte(secret+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep secret: %w", err)
	}
	return secret, nil
}

// listenLoopback opens a listener on this machine alone: the mailbox shows
// everyone's mail.
func listenLoopback(flag, at string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(at)
	if err != nil || !isLoopback(host) {
		return nil, usageError{fmt.Errorf("%s: %q: write an address on this machine, such as localhost:8080", flag, at)}
	}
	l, err := listen(flag, at)
	if err != nil {
		return nil, err
	}
	if addr, ok := parseAddr(l.Addr().String()); !ok || !addr.IsLoopback() { // names mean what the resolver says
		return nil, errors.Join(fmt.Errorf("%s: %q: is %s here, not an address on this machine alone", flag, at, l.Addr()), l.Close())
	}
	return l, nil
}

// address is where a browser finds a loopback listener. It says localhost, as
// people do and as cookies and clients then agree on.
func address(l net.Listener) string {
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil || port == "80" {
		return "http://localhost"
	}
	return "http://localhost:" + port
}
