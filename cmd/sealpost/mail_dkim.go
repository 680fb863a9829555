package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/sealpost/sealpost/login"
)

type mailDKIM struct {
	settingsFlags
	JSON     bool   `name:"json" help:"Print JSON."`
	New      string `placeholder:"FILE" help:"Make a key in this new file, which only its owner can read."`
	Ed25519  bool   `name:"ed25519" help:"Make the second key, of Ed25519."`
	Domain   string `placeholder:"DOMAIN" help:"Domain that signs with the new key, in place of the one in the settings."`
	Selector string `placeholder:"NAME" help:"Selector of the new key."`
}

// Help is shown by sealpost mail dkim --help.
func (mailDKIM) Help() string {
	return `Prints the DNS records with which receivers can tell that mail is yours: the DKIM keys of the settings, and a
suggestion for SPF and DMARC. A value of more than 255 characters stands in a zone file as several strings.

  sealpost mail dkim --config sealpost.yaml
  sealpost mail dkim --config sealpost.yaml --new dkim.pem --selector s1
  sealpost mail dkim --config sealpost.yaml --new dkim-ed25519.pem --ed25519 --selector s2`
}

// dnsRecord is a record to publish.
type dnsRecord struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
	Why   string `json:"why"`
}

// Run prints the records.
func (c mailDKIM) Run(p *process) error {
	if c.New != "" {
		return c.make(p)
	}
	if c.Ed25519 || c.Domain != "" || c.Selector != "" {
		return usageError{errors.New("--ed25519, --domain and --selector are for a new key: add --new FILE")}
	}
	s, err := c.load(p, Defaults())
	if err != nil {
		return err
	}
	keys, err := s.Mail.dkimKeys()
	if err != nil {
		return err
	}
	if s.Mail.From == "" {
		return usageError{errors.New("mail.from is not set: write the sender: Example <login@example.com>")}
	}
	if len(keys) == 0 {
		fmt.Fprintln(p.stderr, "mail.dkim is not set: let the mail service sign, or make a key with: sealpost mail dkim --new dkim.pem --selector s1")
	}
	return c.print(p, append(keyRecords(keys), s.Mail.policyRecords()...))
}

// make makes a key. What the settings say of keys may be wrong still: it is
// this command that makes what they name.
func (c mailDKIM) make(p *process) error {
	s, err := c.load(p, Defaults())
	if unread := (unreadError{}); errors.As(err, &unread) {
		return err
	}
	selector, prefix := s.Mail.DKIM.Selector, ""
	if c.Ed25519 {
		selector, prefix = s.Mail.DKIM.Ed25519Selector, "ed25519_"
	}
	if c.Domain != "" {
		s.Mail.DKIM.Domain = c.Domain
	}
	if c.Selector != "" {
		selector = c.Selector
	}
	if selector == "" {
		return usageError{errors.New("--selector is not set: write the name that the key gets in the DNS, such as s1")}
	}
	text, err := login.NewDKIMKey(c.Ed25519)
	if err != nil {
		return err
	}
	key, err := login.ParseDKIMKey(s.Mail.signingDomain(), selector, text)
	if errors.Is(err, login.ErrDKIMDomain) {
		return usageError{fmt.Errorf("--domain: %q: %w: write that of the sender, such as example.com", s.Mail.signingDomain(), err)}
	}
	if err != nil {
		return usageError{fmt.Errorf("--selector: %q: %w: write a word such as s1", selector, err)}
	}
	if err := writeNew(c.New, text); err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(p.stdout, "%s holds a new key. Publish its record, then put it into the settings, under mail.dkim:\n\n  domain: %s\n  %sselector: %s\n  %[3]skey_file: %[1]s\n\n",
			c.New, s.Mail.signingDomain(), prefix, selector)
	}
	return c.print(p, keyRecords([]login.DKIMKey{key}))
}

// writeNew writes a file that isn't there, for its owner alone. What is there
// may be a key in use.
func writeNew(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usageError{fmt.Errorf("--new: %q: is there already; choose another name", name)}
	}
	if err != nil {
		return fmt.Errorf("--new: %q: cannot be written: %w", name, errors.Unwrap(err))
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("--new: %q: cannot be written: %w", name, err)
	}
	return nil
}

func (c mailDKIM) print(p *process, records []dnsRecord) error {
	if c.JSON {
		e := json.NewEncoder(p.stdout)
		e.SetIndent("", "  ")
		return e.Encode(records)
	}
	for i, r := range records {
		if i > 0 {
			fmt.Fprintln(p.stdout)
		}
		fmt.Fprintf(p.stdout, "%s\n  name   %s\n  type   %s\n  value  %s\n", r.Why, r.Name, r.Type, r.Value)
	}
	return nil
}

func keyRecords(keys []login.DKIMKey) []dnsRecord {
	var out []dnsRecord
	for _, k := range keys {
		out = append(out, dnsRecord{k.String(), "TXT", login.DKIMRecord(k), "The key that mail is signed with (DKIM)."})
	}
	return out
}

// policyRecords are a suggestion: who else sends for the domain is not known
// here. The envelope has the sender's domain, so that SPF aligns.
func (m Mail) policyRecords() []dnsRecord {
	from := Mail{From: m.From}.signingDomain()
	host := "mx"
	if u, err := url.Parse(string(m.URL)); err == nil && u.Hostname() != "" && !isLoopback(u.Hostname()) {
		host = "a:" + strings.ToLower(u.Hostname())
	}
	return []dnsRecord{
		{from, "TXT", "v=spf1 " + host + " ~all",
			"Who may send for the domain (SPF). A suggestion: a mail service names an include: to write in place of " + host +
				", and where there is such a record already, add to it: a domain has one."},
		{"_dmarc." + from, "TXT", "v=DMARC1; p=none; rua=mailto:postmaster@" + from,
			"What receivers do with other mail (DMARC). A suggestion to begin with: when the reports show no mail of yours that fails, write p=quarantine, and then p=reject."},
	}
}
