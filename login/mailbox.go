package login

import (
	"net/url"
	"strings"
)

// mailboxes are the web mailboxes that many people have, by domain. The address
// typed decides, so the page tells nothing about who has an account.
var mailboxes = map[string]struct{ name, address string }{
	"gmail.com":      {"Gmail", "https://mail.google.com/mail/"},
	"googlemail.com": {"Gmail", "https://mail.google.com/mail/"},
	"outlook.com":    {"Outlook", "https://outlook.live.com/mail/"},
	"hotmail.com":    {"Outlook", "https://outlook.live.com/mail/"},
	"live.com":       {"Outlook", "https://outlook.live.com/mail/"},
	"yahoo.com":      {"Yahoo Mail", "https://mail.yahoo.com/"},
	"icloud.com":     {"iCloud Mail", "https://www.icloud.com/mail/"},
	"me.com":         {"iCloud Mail", "https://www.icloud.com/mail/"},
	"proton.me":      {"Proton Mail", "https://mail.proton.me/"},
	"protonmail.com": {"Proton Mail", "https://mail.proton.me/"},
	"fastmail.com":   {"Fastmail", "https://app.fastmail.com/"},
	"gmx.de":         {"GMX", "https://www.gmx.net/"},
	"gmx.net":        {"GMX", "https://www.gmx.net/"},
	"web.de":         {"WEB.DE", "https://web.de/"},
}

// mailbox gives the web mailbox of an address; empty when we know none.
func mailbox(email string) (name, address string) {
	_, domain, _ := strings.Cut(email, "@")
	m, ok := mailboxes[strings.ToLower(domain)]
	if ok && m.name == "Gmail" { // of several accounts, the one the mail went to
		return m.name, m.address + "?" + url.Values{"authuser": {email}}.Encode()
	}
	return m.name, m.address
}
