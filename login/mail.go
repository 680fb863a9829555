package login

import (
	"bytes"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// message is a mail rendered for one recipient. Envelope addresses are ASCII.
type message struct {
	from, to string
	raw      []byte
}

// sender is who mails: a name, which may be empty, and an address.
type sender struct {
	name, address, domain string
	replyTo               string // empty: none
}

// CheckSender tells the fix for a sender that mail cannot be sent from.
func CheckSender(from string) error {
	_, err := parseSender(from)
	return err
}

// CheckReplyTo tells the fix for an address that answers cannot go to.
func CheckReplyTo(address string) error {
	_, err := replyTo(address)
	return err
}

// SenderDomain is the domain of a sender, in ASCII.
func SenderDomain(from string) (string, error) {
	s, err := parseSender(from)
	return s.domain, err
}

// parseSender reads the sender: Example <login@example.com>.
func parseSender(from string) (sender, error) {
	fail := errors.New("write one address, its local part in ASCII: Example <login@example.com>")
	a, err := mail.ParseAddress(from)
	if err != nil {
		return sender{}, fail
	}
	local, domain, _ := strings.Cut(a.Address, "@")
	if !dotAtom(local) || domain == "" {
		return sender{}, fail
	}
	domain, err = toASCII(domain) // one label will do: login@localhost
	if err != nil || len(local)+len("@")+len(domain) > maxAddress {
		return sender{}, fail
	}
	return sender{name: a.Name, address: local + "@" + domain, domain: domain}, nil
}

// composer writes the mail of a login.
type composer struct {
	issuer    string
	secret    keys.Secret
	templates *templates.Templates
	from      sender
	dkim      []DKIMKey
}

// compose renders a queued mail. The same one gives the same bytes, so that a
// server or a mailbox that sees it twice can tell. The link is under 120
// characters for an issuer of up to 63.
//
// A known user's mail goes to the user's address and never to the one just
// typed, however alike a database may find them.
func (c *composer) compose(q storage.QueuedMail) (message, error) {
	to := q.Attempt.Email
	if q.User.ID != "" {
		to = q.User.Email
	}
	addr, err := ParseAddress(to)
	if err != nil || addr.Key != q.Attempt.Key {
		return message{}, errors.New("the address is not the one that was asked for")
	}
	token := linkToken(c.secret, q.Attempt.ID)
	if token == "" {
		return message{}, errors.New("malformed attempt id")
	}
	subject, text, html, err := c.templates.LoginMail(templates.LoginMail{
		Client: templates.Client{Name: q.Attempt.ClientName}, To: addr.Delivery, Link: c.issuer + "/login?token=" + token,
		Browser: q.Attempt.Agent, Network: q.Attempt.Network, Locale: q.Attempt.Locale,
		Asked: q.Attempt.CreatedAt, Expires: q.Attempt.ExpiresAt, Purpose: string(q.Attempt.Purpose),
	})
	if err != nil {
		return message{}, err
	}
	m, err := c.from.write(letter{
		id: q.Mail.ID, to: addr.Delivery, at: q.Mail.CreatedAt, language: q.Attempt.Locale,
		subject: subject, text: text, html: html,
	})
	if err != nil {
		return message{}, err
	}
	return sign(m, c.dkim, q.Mail.CreatedAt)
}

// letter is what write makes a message of.
type letter struct {
	id                  string // random; no part of the bodies
	to                  string
	at                  time.Time
	language            string
	subject, text, html string
}

// headers that every mail has.
var headers = map[gomail.Header]string{
	"Auto-Submitted": "auto-generated", // RFC 3834 §5.1
	// All but NDR: a bounce is welcome (MS-OXCMAIL §2.1.3.2.20).
	"X-Auto-Response-Suppress": "DR, RN, NRN, OOF, AutoReply",

	// Providers that rewrite links would send the person, and the token, over a
	// server of theirs, and an image that tells of opening makes the mail look
	// like advertising. Each reads its own.
	"X-Mailgun-Track":      "no",
	"X-Mailjet-TrackClick": "0",
	"X-Mailjet-TrackOpen":  "0",
	"X-MSYS-API":           `{"options":{"click_tracking":false,"open_tracking":false}}`,
	"X-PM-TrackLinks":      "None",
	"X-PM-TrackOpens":      "false",
	"X-SMTPAPI":            `{"filters":{"clicktrack":{"settings":{"enable":0}},"opentrack":{"settings":{"enable":0}}}}`,
}

// write renders a letter: text first, HTML last, as a reader shows the last
// part it can (RFC 2046 §5.1.4). Nothing is added that wasn't asked for:
// neither the name of a library nor that of this machine.
func (s sender) write(l letter) (message, error) {
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithBoundary("part-"+l.id))
	if err := m.From((&mail.Address{Name: s.name, Address: s.address}).String()); err != nil {
		return message{}, fmt.Errorf("write mail: %w", err)
	}
	if err := m.To(l.to); err != nil { // it tells the address
		return message{}, errors.New("write mail: malformed recipient")
	}
	if s.replyTo != "" {
		if err := m.ReplyTo(s.replyTo); err != nil {
			return message{}, fmt.Errorf("write mail: %w", err)
		}
	}
	m.Subject(l.subject)
	m.SetDateWithValue(l.at.UTC())
	m.SetMessageIDWithValue(s.messageID(l.id))
	m.SetGenHeader("X-Entity-Ref-ID", l.id) // keeps Gmail from hiding a new link in an old thread
	if l.language != "" {
		m.SetGenHeader(gomail.HeaderContentLang, l.language)
	}
	for name, value := range headers {
		m.SetGenHeader(name, value)
	}
	m.SetBodyString(gomail.TypeTextPlain, l.text)
	m.AddAlternativeString(gomail.TypeTextHTML, l.html)
	var raw bytes.Buffer
	if _, err := m.WriteTo(&raw); err != nil {
		return message{}, fmt.Errorf("write mail: %w", err)
	}
	return message{from: s.address, to: l.to, raw: raw.Bytes()}, nil
}

// testMail is what SendTest sends.
func (s sender) testMail(id, to string, now time.Time) (message, error) {
	const words = "This mail shows that sign-in mails can leave. Nothing needs to be done."
	return s.write(letter{
		id: id, to: to, at: now, language: "en", subject: "Test mail of Sealpost",
		text: words + "\n", html: "<!doctype html>\n<html lang=\"en\"><title>Test mail of Sealpost</title><p>" + words + "</p></html>\n",
	})
}

// messageID is the Message-ID of a mail, without its brackets.
func (s sender) messageID(id string) string { return id + "@" + s.domain }

// replyTo reads the address that answers go to; empty: none.
func replyTo(address string) (string, error) {
	if address == "" {
		return "", nil
	}
	s, err := parseSender(address)
	if err != nil || s.name != "" {
		return "", errors.New("write one bare address: support@example.com")
	}
	return s.address, nil
}
