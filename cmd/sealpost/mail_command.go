package main

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/sealpost/sealpost/login"
)

type mailCommand struct {
	Test mailTest `cmd:"" help:"Send one real mail, and show the SMTP dialogue when it fails."`
	DKIM mailDKIM `cmd:"" name:"dkim" help:"Print the DNS records that mail needs, or make a key that signs it."`

	Bounces mailBounces `cmd:"" help:"List addresses that mail servers refuse."`
}

type mailTest struct {
	settingsFlags
	To string `required:"" placeholder:"ADDR" help:"Who gets it."`
}

// Help is shown by sealpost mail test --help.
func (mailTest) Help() string {
	return `Sends a mail with the settings serve would use.

  sealpost mail test --config sealpost.yaml --to you@example.com`
}

// Run sends the mail.
func (c mailTest) Run(p *process) error {
	s, err := c.load(p, Defaults())
	if err != nil {
		return err
	}
	var wrong problems
	if s.Mail.URL == "" {
		wrong.missing("mail.url", "write the mail server: smtp://user:password@host:587")
	}
	if s.Mail.From == "" {
		wrong.missing("mail.from", "write the sender: Example <login@example.com>")
	}
	if len(wrong) > 0 {
		return usageError{errors.Join(wrong...)}
	}
	server, err := login.ParseMailURL(string(s.Mail.URL))
	if err != nil {
		return usageError{fmt.Errorf("mail.url: %w", err)}
	}
	dkim, err := s.Mail.dkimKeys()
	if err != nil {
		return err
	}
	to, err := readAddress(c.To)
	if err != nil {
		return err
	}
	var dialogue bytes.Buffer
	id, err := login.SendTest(p.ctx, server, s.Mail.From, to.Delivery, &dialogue, dkim...)
	if err != nil {
		_, _ = dialogue.WriteTo(p.stderr)
		return fmt.Errorf("mail test over %s: %w", s.Mail.URL, err)
	}
	_, err = fmt.Fprintf(p.stdout, "%s took the mail for %s\nMessage-ID: %s\n", s.Mail.URL, c.To, id)
	return err
}
