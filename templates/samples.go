package templates

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// sample is a page in one of its states.
type sample struct {
	name string
	page Page
	path string // "" is /login
}

var (
	noon     = time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	intranet = Client{Name: "Intranet", URI: "https://app.example.com", LogoURI: "https://app.example.com/logo.svg", PolicyURI: "https://app.example.com/privacy", TosURI: "https://app.example.com/terms"}
	longApp  = Client{Name: "The Department of Extraordinarily Long Application Names and Donaudampfschifffahrtsgesellschaft", LogoURI: "http://localhost:1/none.png"}
	ada      = "ada@example.com"
	longMail = "wolfgang.amadeus.theophilus.mozart+newsletter-subscriptions@musikverein.donaudampfschifffahrt.example.org"
	longHost = "api.subdivision.of-the-department.of-extraordinarily-long-names.example.org"
	token    = "dG9rZW4tdG9rZW4tdG9rZW4tdG9rZW4tdG9rZW4tdG9"
)

// samples are all the pages in all of their states, as said of client and
// email.
func samples(client Client, email string) []sample {
	return []sample{
		{"login", Login{Client: client, Request: "handle", Email: ""}, ""},
		{"login-invalid", Login{Client: client, Request: "handle", Email: email + "@", Error: "invalid-email"}, ""},
		{"login-create", Login{Client: client, Request: "handle", Create: true}, ""},
		{"login-alone", Login{}, ""},
		{"login-account", Login{Account: true}, ""},
		{"sent", Sent{Client: client, Wait: "wait", Email: email, ResendIn: 28 * time.Second, ExpiresIn: 15 * time.Minute, MailboxName: "Gmail", MailboxURL: "https://mail.google.com/mail/u/0/#search/newer_than%3A1h", Cancel: true}, ""},
		{"sent-plain", Sent{Wait: "wait", Email: email, ExpiresIn: 14 * time.Minute}, ""},
		{"sent-any", Sent{Wait: "wait", Email: email, ExpiresIn: 14 * time.Minute, Any: true}, ""},
		{"sent-wrong-code", Sent{Client: client, Wait: "wait", Email: email, ExpiresIn: 12 * time.Minute, Error: "wrong-code", Cancel: true}, ""},
		{"sent-no-code", Sent{Client: client, Wait: "wait", Email: email, ExpiresIn: 12 * time.Minute, Error: "no-code", Cancel: true}, ""},
		{"sent-typing", Sent{Client: client, Wait: "wait", Email: email, ExpiresIn: 12 * time.Minute, Cancel: true}, "/login?wait=wait&code="},
		{"sent-address", Sent{Wait: "wait", Email: email, ExpiresIn: 14 * time.Minute, Purpose: PurposeAddress}, ""},
		{"sent-fixed", Sent{Wait: "wait", Email: email, ExpiresIn: 14 * time.Minute, Cancel: true, Fixed: true}, ""},
		{"sent-delayed", Sent{Client: client, Wait: "wait", Email: email, ExpiresIn: 14 * time.Minute, Delayed: true, Cancel: true}, ""},
		{"sent-undelivered", Sent{Client: client, Wait: "wait", Email: email, ExpiresIn: 14 * time.Minute, Undelivered: true, Cancel: true, MailboxName: "Gmail", MailboxURL: "https://mail.google.com/"}, ""},
		{"other-browser", OtherBrowser{Client: client, Token: token, Email: email, Browser: "Chrome on Linux", Network: "203.0.113.0/24", Asked: noon.Add(-2 * time.Minute), Now: noon}, ""},
		{"other-browser-now", OtherBrowser{Token: token, Email: email, Asked: noon, Now: noon}, ""},
		{"other-browser-hours", OtherBrowser{Token: token, Email: email, Asked: noon.Add(-3 * time.Hour), Now: noon}, ""},
		{"other-browser-address", OtherBrowser{Token: token, Email: email, Browser: "Chrome on Linux", Network: "203.0.113.0/24", Asked: noon, Now: noon, Purpose: PurposeAddress}, ""},
		{"code", Code{Client: client, Code: "042917", Browser: "Chrome on Linux", Token: token, Email: email}, ""},
		{"code-plain", Code{Code: "042917", Token: token}, ""},
		{"confirm", Confirm{Client: client, Token: token, Email: email, SignedInAs: "grace@example.com"}, ""},
		{"confirm-alone", Confirm{Token: token, Email: email}, ""},
		{"confirm-auto", Confirm{Client: client, Token: token, Email: email, Auto: true}, ""},
		{"confirm-address", Confirm{Token: token, Email: email, Purpose: PurposeAddress}, ""},
		{"confirm-address-auto", Confirm{Token: token, Email: email, Auto: true, Purpose: PurposeAddress}, ""},
		{"signed-in-account", SignedIn{Email: email, Account: true}, ""},
		{"signed-in", SignedIn{Client: client, Email: email, ContinueURL: "/authorize/resume?request=handle"}, ""},
		{"signed-in-elsewhere", SignedIn{Email: email, Elsewhere: true}, ""},
		{"expired", Expired{Client: client, Token: token, Email: email, Resend: true}, ""},
		{"expired-done", Expired{}, ""},
		{"used", Used{Client: client, Wait: "wait", Resend: true}, ""},
		{"used-done", Used{Client: client}, ""},
		{"superseded", Superseded{Client: client, Token: token, Resend: true}, ""},
		{"superseded-done", Superseded{}, ""},
		{"cancelled", Cancelled{Client: client, Wait: "wait", Resend: true}, ""},
		{"cancelled-done", Cancelled{Client: client}, ""},
		{"cancelled-not-me", Cancelled{Client: client, Email: email, NotMe: true}, ""},
		{"cancelled-mute", Cancelled{Client: client, Email: email, NotMe: true, Mute: token}, ""},
		{"cancelled-mute-not-sure", Cancelled{Client: client, Email: email, NotMe: true, Mute: token, Error: "not-sure"}, ""},
		{"cancelled-muted", Cancelled{Client: client, Email: email, NotMe: true, Muted: true}, ""},
		{"unknown", Unknown{}, ""},
		{"limited", Limited{Client: client, RetryAfter: 7*time.Minute + time.Second}, ""},
		{"limited-seconds", Limited{RetryAfter: 40 * time.Second}, ""},
		{"limited-hours", Limited{RetryAfter: 4 * time.Hour}, ""},
		{"consent", Consent{Client: client, Request: "handle", Email: email, Scopes: append([]string{"tickets:read"}, scopes...), Token: "token"}, "/authorize/resume"},
		{"consent-resources", Consent{Client: client, Request: "handle", Email: email, Scopes: []string{"openid", "email"}, Resources: []string{"api.example.com", longHost}, Token: "token"}, "/authorize/resume"},
		{"device", Device{}, "/device"},
		{"device-linked", Device{Code: "WDJB-MJHT"}, "/device"},
		{"device-unknown", Device{Code: "WDJB-MJHX", Error: "unknown-code"}, "/device"},
		{"device-limited", Device{Code: "WDJB-MJHX", Error: "limited"}, "/device"},
		{"device-ask", Device{State: "ask", Code: "WDJB-MJHT", Client: client, Request: "handle", Email: email, Scopes: []string{"openid", "email", "offline_access"}, Resources: []string{"api.example.com"},
			Token: "token", Agent: "curl on Linux", Network: "203.0.113.0/24", Asked: noon.Add(-2 * time.Minute), Now: noon}, "/device"},
		{"device-ask-plain", Device{State: "ask", Code: "WDJB-MJHT", Client: client, Request: "handle", Email: email, Scopes: []string{"openid"}, Token: "token"}, "/device"},
		{"device-allowed", Device{State: "allowed"}, "/device"},
		{"device-denied", Device{State: "denied"}, "/device"},
		{"select-account", SelectAccount{Client: client, Request: "handle", Email: email}, ""},
		{"account", account(client, email), "/account"},
		{"account-new", Account{Email: email, Locale: "de-AT", Sessions: []AccountSession{{ID: "s1", CreatedAt: noon, SeenAt: noon, Current: true}}, Now: noon}, "/account"},
		{"account-saved", account(client, email, Account{Notice: "saved"}), "/account"},
		{"account-session-ended", account(client, email, Account{Notice: "session-ended"}), "/account"},
		{"account-sessions-ended", account(client, email, Account{Notice: "sessions-ended"}), "/account"},
		{"account-app-removed", account(client, email, Account{Notice: "app-removed"}), "/account"},
		{"account-address-changed", account(client, email, Account{Notice: "address-changed"}), "/account"},
		{"account-invalid-name", account(client, email, Account{Error: "invalid-name"}), "/account"},
		{"account-invalid-email", account(client, email, Account{Error: "invalid-email", NewEmail: "grace@"}), "/account"},
		{"account-address-taken", account(client, email, Account{Error: "address-taken", NewEmail: "grace@example.com"}), "/account"},
		{"account-fresh-address", Account{State: "fresh", Next: "address", Email: email}, "/account"},
		{"account-fresh-delete", Account{State: "fresh", Next: "delete", Email: email}, "/account"},
		{"account-fresh-export", Account{State: "fresh", Next: "export", Email: email}, "/account"},
		{"account-delete", Account{State: "delete", Email: email}, "/account"},
		{"account-delete-not-sure", Account{State: "delete", Email: email, Error: "not-sure"}, "/account"},
		{"account-deleted", Account{State: "deleted"}, "/account"},
		{"logout", Logout{Client: client, Email: email, Params: url.Values{"state": {"xyz"}, "client_id": {"intranet"}}}, "/logout"},
		{"logged-out", LoggedOut{Client: client, ContinueURL: "https://app.example.com/bye"}, "/logout"},
		{"logged-out-frames", LoggedOut{Client: client, ContinueURL: "https://app.example.com/bye", Frames: []string{"https://app.example.com/front?sid=s", "https://wiki.example.com/front"}, Auto: true}, "/logout"},
		{"logged-out-alone", LoggedOut{ContinueURL: "com.example.app:/bye"}, "/logout"},
		{"error", Error{Code: "invalid_request", Description: "The redirect_uri is not registered for this client.", RequestID: "4f2c9a"}, "/authorize"},
		{"error-server", Error{Code: "server_error"}, ""},
		{"error-unavailable", Error{Code: "temporarily_unavailable", RequestID: "4f2c9a"}, ""},
		{"error-denied", Error{Code: "access_denied", Description: "This address may not sign in here."}, ""},
		{"error-not-found", Error{Code: "not_found"}, "/nowhere"},
		{"form-post", FormPost{Action: "https://app.example.com/callback", Params: url.Values{"code": {"c"}, "state": {"s"}}}, "/authorize"},
	}
}

// account is the page of somebody who has been around, with what one sample
// adds to it.
func account(client Client, email string, more ...Account) Account {
	a := Account{}
	if len(more) > 0 {
		a = more[0]
	}
	a.Email, a.Name, a.Locale, a.Now = email, "Ada Lovelace", "", noon
	a.Sessions = []AccountSession{
		{ID: "s1", Browser: "Firefox on Linux", Network: "203.0.113.0/24", CreatedAt: noon.Add(-3 * time.Hour), SeenAt: noon, Current: true},
		{ID: "s2", Browser: "Safari on iPhone", Network: "2001:db8:1234:5678::/64", CreatedAt: noon.AddDate(0, 0, -20), SeenAt: noon.Add(-26 * time.Minute)},
		{ID: "s3", CreatedAt: noon.AddDate(0, -1, 0), SeenAt: noon.AddDate(0, 0, -2)},
	}
	a.Apps = []AccountApp{
		{ID: "intranet", Client: client, Scopes: []string{"openid", "email", "groups", "tickets:read"}, Since: noon.AddDate(0, -2, 0), Offline: true},
		{ID: "wiki", Scopes: []string{"openid"}},
	}
	ago := noon
	for _, name := range append([]string{"user.groups"}, activities...) {
		ago = ago.Add(-3 * time.Hour)
		e := AccountEvent{Name: name, At: ago}
		switch {
		case slices.Contains(ofApps, name):
			e.App = appName(client)
		case strings.HasPrefix(name, "login"):
			e.Browser, e.Network = "Firefox on Linux", "203.0.113.0/24"
		}
		a.Events = append(a.Events, e)
	}
	a.Events = append(a.Events, AccountEvent{Name: "app.signed-in", At: ago})
	return a
}

// mails are the mail in its states.
func mails() map[string]LoginMail {
	link := "https://login.example.com/login?token=" + token
	return map[string]LoginMail{
		"mail": {Client: intranet, To: ada, Link: link, Browser: "Chrome on Linux", Network: "203.0.113.0/24", Locale: "en", Asked: noon, Expires: noon.Add(15 * time.Minute)},
		"mail-long": {Client: longApp, To: strings.Repeat("wolfgang.", 6) + longMail, Link: link, Browser: "Chrome on Linux", Network: "2001:db8:1234:5678::/64",
			Locale: "en", Asked: noon, Expires: noon.Add(4 * time.Hour)},
		"mail-address": {To: ada, Link: link, Browser: "Chrome on Linux", Network: "203.0.113.0/24", Locale: "en", Asked: noon, Expires: noon.Add(15 * time.Minute), Purpose: PurposeAddress},
		"mail-plain":   {To: ada, Link: link, Asked: noon, Expires: noon.Add(45 * time.Second)},
	}
}
