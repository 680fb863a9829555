package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sealpost/sealpost/keys"
)

type doctorCommand struct {
	settingsFlags
	JSON bool `name:"json" help:"Print JSON."`
}

// Help is shown by sealpost doctor --help.
func (doctorCommand) Help() string {
	return `Looks at all that a login needs, and says what to do about what is wrong. It changes nothing and sends no mail; run it
beside a running server, with the settings that server has. The exit code is 1 when something failed.

  sealpost doctor --config sealpost.yaml
  sealpost doctor --config sealpost.yaml --json`
}

// Run looks at everything.
func (c doctorCommand) Run(p *process) error {
	d := &doctor{ctx: p.ctx, now: p.now, resolver: net.DefaultResolver, transport: http.DefaultTransport.(*http.Transport).Clone()}
	s, err := c.load(p, Defaults())
	if unread := (unreadError{}); !errors.As(err, &unread) {
		err = errors.Join(err, s.required())
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			d.fail("settings", strings.TrimSpace(line), "")
		}
	} else {
		d.examine(&s)
	}
	return d.report(p, c.JSON)
}

// States of a finding.
const (
	fine    = "ok"
	warning = "warning"
	failed  = "failed"
)

// finding is one thing that was looked at.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"` // ok, warning, failed
	What  string `json:"what"`
	Fix   string `json:"fix,omitempty"`
}

// doctor gathers findings. What it has of the world is set by whoever makes it.
type doctor struct {
	ctx       context.Context
	now       func() time.Time
	resolver  *net.Resolver
	transport *http.Transport

	settings *Settings
	findings []finding
}

// Bounds of what is still well.
const (
	checkTimeout    = 15 * time.Second // of one check
	certificateSoon = 14 * 24 * time.Hour
	clockApart      = 2 * time.Second // of two machines; what a request takes comes on top
	clockFar        = 30 * time.Second
)

func (d *doctor) ok(check, what string) {
	d.findings = append(d.findings, finding{check, fine, what, ""})
}

func (d *doctor) warn(check, what, fix string) {
	d.findings = append(d.findings, finding{check, warning, what, fix})
}

func (d *doctor) fail(check, what, fix string) {
	d.findings = append(d.findings, finding{check, failed, what, fix})
}

// report prints the findings. The error counts those that failed.
func (d *doctor) report(p *process, asJSON bool) error {
	bad := 0
	for _, f := range d.findings {
		if f.State == failed {
			bad++
		}
	}
	if asJSON {
		e := json.NewEncoder(p.stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(d.findings); err != nil {
			return err
		}
	} else {
		for _, f := range d.findings {
			line := fmt.Sprintf("%-8s %s: %s", f.State, f.Check, f.What)
			if f.Fix != "" {
				line += ". Fix: " + f.Fix
			}
			fmt.Fprintln(p.stdout, strings.Join(strings.Fields(strings.TrimSpace(line)), " "))
		}
	}
	if bad > 0 {
		return fmt.Errorf("doctor: %d of %d checks failed", bad, len(d.findings))
	}
	return nil
}

// examine makes every check for settings that are valid.
func (d *doctor) examine(s *Settings) {
	d.settings = s
	d.ok("settings", "are complete")
	for _, check := range []func(ctx context.Context){
		d.files, d.database, d.mailServer, d.mailDomain, d.ownCertificate, d.issuer,
	} {
		ctx, cancel := context.WithTimeout(d.ctx, checkTimeout)
		check(ctx)
		cancel()
	}
}

// files looks at who can read the files with secrets.
func (d *doctor) files(context.Context) {
	s := d.settings
	open := 0
	for _, f := range []struct{ key, name string }{
		{"secret_file", s.SecretFile}, {"previous_secrets_file", s.PreviousSecretsFile}, {"database_file", s.DatabaseFile},
		{"mail.url_file", s.Mail.URLFile}, {"mail.dkim.key_file", s.Mail.DKIM.KeyFile}, {"mail.dkim.ed25519_key_file", s.Mail.DKIM.Ed25519KeyFile},
		{"tls.key_file", s.TLS.KeyFile},
	} {
		if f.name == "" {
			continue
		}
		info, err := os.Stat(f.name)
		if err == nil && info.Mode().Perm()&0o007 != 0 {
			open++
			d.warn("files", fmt.Sprintf("%s %s can be read by every user of this machine", f.key, f.name), "chmod o= "+f.name)
		}
	}
	if open == 0 {
		d.ok("files", "no secret can be read by every user of this machine")
	}
}

// database looks at the database, without making or changing one.
func (d *doctor) database(ctx context.Context) {
	engine, source, err := d.settings.engine()
	if err != nil { // it was valid
		d.fail("database", err.Error(), "")
		return
	}
	fix := "see that it runs, and that address, user and password are right"
	if engine == "sqlite" {
		fix = "see that the file is the right one, and that the user of the server may read and write it and its folder"
	}
	if _, err := os.Stat(source); engine == "sqlite" && errors.Is(err, os.ErrNotExist) {
		if folder := filepath.Dir(source); !isFolder(folder) {
			d.fail("database", fmt.Sprintf("%s: there is no folder %s", d.settings.Database, folder), "make it, for the user of the server")
			return
		}
		d.warn("database", fmt.Sprintf("%s is not there yet", d.settings.Database), "start sealpost serve, which makes it, or run doctor in the folder that the server runs in")
		return
	}
	db, err := openStore(ctx, d.settings)
	if err == nil {
		err = errors.Join(db.Ping(ctx), d.lookInto(ctx, db), db.Close())
	}
	if err != nil {
		d.fail("database", err.Error(), fix)
	}
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// lookInto looks at what a database holds. The error is of one that doesn't
// answer.
func (d *doctor) lookInto(ctx context.Context, db store) error {
	at, newest, err := db.SchemaVersion(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("schema: %w", err)
	case at == 0 && d.settings.Migrate:
		d.warn("database", "has no schema yet", "start sealpost serve, or run: sealpost migrate up")
		return nil
	case at == 0:
		d.fail("database", "has no schema yet", "run: sealpost migrate up")
		return nil
	case at < newest && d.settings.Migrate:
		d.warn("database", fmt.Sprintf("has schema %d, and this program's is %d", at, newest), "restart sealpost serve with this program")
		return nil
	case at < newest:
		d.fail("database", fmt.Sprintf("has schema %d, and this program's is %d", at, newest), "run: sealpost migrate up")
		return nil
	}
	d.ok("database", fmt.Sprintf("answers, with schema %d", at))
	if clock, ok := db.(clocked); ok {
		before := d.now()
		there, err := clock.Clock(ctx)
		if err != nil {
			return err
		}
		d.clock("database clock", there, before, d.now(), 0)
	}
	return errors.Join(d.signingKeys(ctx, db), d.bounces(ctx, db))
}

// bounces counts the addresses that are refused.
func (d *doctor) bounces(ctx context.Context, db store) error {
	all, err := db.Bounces(ctx, time.Time{}, bouncesAtMost)
	switch {
	case err != nil:
		return err
	case len(all) == 0:
		d.ok("bounces", "no address is refused")
	default:
		d.ok("bounces", fmt.Sprintf("%d addresses are refused, the last on %s; list them with: sealpost mail bounces", len(all), all[0].At.UTC().Format(time.DateOnly)))
	}
	return nil
}

// clock compares a clock that was read between two readings of ours, and is
// exact to a grain.
func (d *doctor) clock(check string, there, before, after time.Time, grain time.Duration) {
	apart := max(before.Sub(there.Add(grain)), there.Sub(after), 0)
	what := fmt.Sprintf("is %s from this machine's", apart.Round(time.Second))
	switch fix := "let both machines follow a time server (NTP)"; {
	case apart > clockFar:
		d.fail(check, what, fix)
	case apart > clockApart:
		d.warn(check, what, fix)
	default:
		d.ok(check, "agrees with this machine's")
	}
}

// signingKeys looks at the age of the keys that sign.
func (d *doctor) signingKeys(ctx context.Context, db store) error {
	secret, err := d.settings.secrets()
	if err != nil { // it was valid
		return err
	}
	ring := d.settings.keyRing(db, secret, d.now)
	all, err := keys.List(ctx, ring)
	if err != nil {
		return err
	}
	if err := keys.Check(ctx, ring); err != nil {
		d.fail("signing keys", err.Error(), "")
		return nil
	}
	signing, oldest := 0, time.Duration(0)
	for _, k := range all {
		if k.State == keys.Current {
			signing++
			oldest = max(oldest, d.now().Sub(k.SignsAt))
		}
	}
	rotate := time.Duration(d.settings.Keys.Rotate)
	switch {
	case signing == 0:
		d.warn("signing keys", "there are none yet", "start sealpost serve, which makes them")
	case oldest > rotate+48*time.Hour:
		d.warn("signing keys", fmt.Sprintf("the oldest signs for %d days, and keys.rotate says %d", oldest/(24*time.Hour), rotate/(24*time.Hour)),
			"see that sealpost serve runs on this database: it rotates keys by itself")
	default:
		d.ok("signing keys", fmt.Sprintf("%d sign, the oldest for %d days", signing, oldest/(24*time.Hour)))
	}
	return nil
}
