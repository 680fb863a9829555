package main

import (
	"errors"
	"os"

	"github.com/sealpost/sealpost/login"
)

func (s *Settings) validateMail(wrong *problems) {
	var server login.MailServer
	var err error
	if m := string(s.Mail.URL); m != "" {
		if server, err = login.ParseMailURL(m); err != nil {
			wrong.add("mail.url", s.Mail.URL, "%v", err)
		}
	}
	if s.Mail.From != "" {
		if err := login.CheckSender(s.Mail.From); err != nil {
			wrong.add("mail.from", s.Mail.From, "%v", err)
		}
	}
	if err := login.CheckReplyTo(s.Mail.ReplyTo); err != nil {
		wrong.add("mail.reply_to", s.Mail.ReplyTo, "%v", err)
	}
	keys := s.Mail.readDKIM(wrong)
	if len(keys) > 0 && login.CheckSender(s.Mail.From) == nil {
		if err := login.CheckDKIM(s.Mail.From, server, keys); err != nil {
			wrong.add("mail.dkim", keys[0], "%v", err)
		}
	}
}

// signingDomain is the domain that signs.
func (m Mail) signingDomain() string {
	if m.DKIM.Domain != "" {
		return m.DKIM.Domain
	}
	domain, err := login.SenderDomain(m.From)
	if err != nil {
		return ""
	}
	return domain
}

// readDKIM reads the keys that sign: RSA first, Ed25519 second.
func (m Mail) readDKIM(wrong *problems) []login.DKIMKey {
	d := m.DKIM
	if d == (DKIM{}) {
		return nil
	}
	if d.Selector == "" {
		wrong.missing("mail.dkim.selector", "write the name that the key has in the DNS, such as s1")
	}
	if d.KeyFile == "" {
		wrong.missing("mail.dkim.key_file", "make a key with: sealpost mail dkim --new dkim.pem --selector s1")
	}
	if (d.Ed25519Selector == "") != (d.Ed25519KeyFile == "") {
		wrong.add("mail.dkim", d.Ed25519Selector+d.Ed25519KeyFile, "give ed25519_selector and ed25519_key_file together")
	}
	var keys []login.DKIMKey
	for _, k := range []struct{ prefix, selector, file string }{
		{"mail.dkim.", d.Selector, d.KeyFile}, {"mail.dkim.ed25519_", d.Ed25519Selector, d.Ed25519KeyFile},
	} {
		if k.selector == "" || k.file == "" {
			continue
		}
		text, err := os.ReadFile(k.file)
		if err != nil {
			wrong.add(k.prefix+"key_file", k.file, "cannot be read: %v", errors.Unwrap(err))
			continue
		}
		key, err := login.ParseDKIMKey(m.signingDomain(), k.selector, text)
		switch {
		case errors.Is(err, login.ErrDKIMDomain):
			wrong.add("mail.dkim.domain", m.signingDomain(), "%v: write that of mail.from, such as example.com", err)
		case errors.Is(err, login.ErrDKIMSelector):
			wrong.add(k.prefix+"selector", k.selector, "%v: write a word such as s1", err)
		case err != nil:
			wrong.add(k.prefix+"key_file", k.file, "%v", err)
		default:
			keys = append(keys, key)
		}
	}
	return keys
}

// dkimKeys reads the keys of settings that are valid. The files may have
// changed since.
func (m Mail) dkimKeys() ([]login.DKIMKey, error) {
	var wrong problems
	keys := m.readDKIM(&wrong)
	if len(wrong) > 0 {
		return nil, usageError{errors.Join(wrong...)}
	}
	return keys, nil
}
