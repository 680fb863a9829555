package templates

import (
	"net/url"
	"time"
)

// Page is one of the pages below. Its name stands in <body data-page="…">.
type Page interface{ page() string }

// Client is the relying party that waits for the login. The zero value says
// that none does.
type Client struct{ Name, URI, LogoURI, PolicyURI, TosURI string }

// PurposeAddress is the Purpose of pages and mails about a new address of
// somebody who is signed in. Any other is about signing in.
const PurposeAddress = "address"

// Login asks for an address.
type Login struct {
	Client  Client
	Request string // handle of the waiting request
	Email   string // what was typed, or the login_hint
	Error   string // "" or "invalid-email"
	Create  bool   // in the words of a new account (prompt=create)
	Account bool   // nobody waits but the account page: its form says so
}

// Sent says that a link is on its way and waits for it to be opened.
type Sent struct {
	Client      Client
	Wait        string // the transaction
	Email       string
	ResendIn    time.Duration // until another mail may be asked for
	ExpiresIn   time.Duration // until the link expires
	Error       string        // "", "wrong-code" or "no-code"
	MailboxName string        // of a known provider of the typed domain
	MailboxURL  string
	Cancel      bool // a request waits that can be cancelled
	Any         bool // any browser may confirm the link: no code is shown anywhere
	Purpose     string
	Fixed       bool // no other address will do
	// Undelivered: the mail server refused the address for good. Delayed: mail
	// goes out slowly right now. A tab that waits loads the page anew where the
	// "mail" of /login/status is "undelivered" or "delayed", unless it shows that.
	Undelivered, Delayed bool
}

// OtherBrowser tells someone who opened a link where it was asked for.
type OtherBrowser struct {
	Client  Client
	Token   string
	Email   string
	Browser string    // as in "Chrome on Linux"; "" when unknown
	Network string    // about where; "" when unknown
	Asked   time.Time // zero when unknown
	Now     time.Time
	Purpose string
}

// Code shows the code to type into the tab that waits.
type Code struct {
	Client  Client
	Code    string
	Browser string
	Token   string
	Email   string
	Purpose string
}

// Confirm asks for the click that completes the login in this browser.
type Confirm struct {
	Client     Client
	Token      string
	Email      string
	SignedInAs string // another address that is signed in here
	Auto       bool   // the browser that asked: the script clicks
	Purpose    string
}

// SignedIn says that the login is complete.
type SignedIn struct {
	Client      Client
	Email       string
	ContinueURL string // when another tab went on
	Elsewhere   bool   // completed in another browser, not this one
	Account     bool   // links to the account page
}

// Expired says that the link came too late.
type Expired struct {
	Client             Client
	Token, Wait, Email string
	Resend             bool // another mail can be asked for, with Token or Wait
}

// Used says that the link has done its work.
type Used struct {
	Client             Client
	Token, Wait, Email string
	Resend             bool
}

// Superseded says that a newer link was sent.
type Superseded struct {
	Client             Client
	Token, Wait, Email string
	Resend             bool
}

// Cancelled says that somebody ended the login.
type Cancelled struct {
	Client             Client
	Token, Wait, Email string
	Resend             bool
	NotMe              bool // "This wasn't me": only the way through another browser has ended
	// Mute is the token with which NotMe offers an hour without mails; ""
	// offers none.
	Mute  string
	Error string // "", or "not-sure": the box of Mute was not ticked
	Muted bool   // that hour has begun
}

// Unknown says that the link is none of ours.
type Unknown struct{}

// Limited says how long to wait.
type Limited struct {
	Client     Client
	RetryAfter time.Duration
}

// Consent asks whether the client may have what it asks for.
type Consent struct {
	Client    Client
	Request   string
	Email     string
	Scopes    []string
	Resources []string // hosts it wants access to (RFC 8707)
	Token     string
}

// Device lets a device sign in that has no browser of its own (RFC 8628 §3.3).
// State "" asks for the code the device shows, "ask" whether to allow it what
// it asks for; "allowed" and "denied" say what came of it.
type Device struct {
	State string
	Code  string // typed, of the link (§3.3.1), or to be compared with the device's
	Error string // "", "unknown-code" or "limited"

	// What "ask" is about.
	Client    Client
	Request   string
	Email     string
	Scopes    []string
	Resources []string
	Token     string
	Agent     string // what asks, as in "curl on Linux"; "" when unknown
	Network   string // about where; "" when unknown
	Asked     time.Time
	Now       time.Time
}

// SelectAccount asks whether to go on as the one who is signed in.
type SelectAccount struct {
	Client  Client
	Request string
	Email   string
}

// Account is a person's own page. State "" is the page itself; "fresh" asks for
// a new proof of the address before what was asked for, Next; "delete" asks
// whether to delete the account, and "deleted" says that it is gone.
type Account struct {
	State               string
	Next                string // "address", "delete" or "export"; on the page itself, what was just proven for
	Email, Name, Locale string
	Notice              string // "", or what was done: "saved", "session-ended", "sessions-ended", "app-removed" or "address-changed"
	Error               string // "", "invalid-email", "address-taken", "invalid-name" or, to delete it, "not-sure"
	NewEmail            string // as typed, with an Error about it
	Sessions            []AccountSession
	Apps                []AccountApp
	Events              []AccountEvent // the newest first
	Now                 time.Time
}

// AccountSession is a browser that is signed in.
type AccountSession struct {
	ID                string
	Browser, Network  string // "" when unknown
	CreatedAt, SeenAt time.Time
	Current           bool // the browser that asks
}

// AccountApp is an app that was allowed something.
type AccountApp struct {
	ID      string
	Client  Client
	Scopes  []string
	Since   time.Time // zero when unknown
	Offline bool      // it goes on when the person is signed out
}

// AccountEvent is something that happened to the account. Name is one of
// storage's event names.
type AccountEvent struct {
	Name                  string
	At                    time.Time
	App, Browser, Network string // "" when unknown
}

// Logout asks for the click that signs out.
type Logout struct {
	Client Client
	Email  string
	Params url.Values // go along with the click
}

// LoggedOut says that nobody is signed in any more.
type LoggedOut struct {
	Client      Client
	ContinueURL string
	Frames      []string // front-channel logout addresses of clients (OIDC Front-Channel Logout §3)
	Auto        bool     // goes to ContinueURL when every frame has loaded, after five seconds at most
}

// CheckSession is the frame a client asks whether the session is still the one
// it knows (OIDC Session Management §3.2); the only page others may frame. To
// the message client_id + " " + session_state it answers "unchanged" if
//
//	session_state = base64url(SHA-256(client_id + " " + origin + " " + browser_state + " " + salt)) + "." + salt
//
// without padding, where origin is the sender's and browser_state the value of
// Cookie, "" without it; else "changed". It answers "error" to what is no such
// message, and where the browser keeps cookies from frames of other sites. For
// script to read it there, the cookie is not HttpOnly, and is SameSite=None.
type CheckSession struct {
	Cookie string // its name
}

// Error says what went wrong, and to a developer why.
type Error struct {
	Code        string // as in "invalid_request"
	Description string
	RequestID   string
}

// FormPost carries an authorization response to the client by POST
// (OAuth 2.0 Form Post Response Mode §2). It is the one page whose form leaves
// this origin.
type FormPost struct {
	Action string
	Params url.Values
}

func (Login) page() string         { return "login" }
func (Sent) page() string          { return "sent" }
func (OtherBrowser) page() string  { return "other-browser" }
func (Code) page() string          { return "code" }
func (Confirm) page() string       { return "confirm" }
func (SignedIn) page() string      { return "signed-in" }
func (Expired) page() string       { return "expired" }
func (Used) page() string          { return "used" }
func (Superseded) page() string    { return "superseded" }
func (Cancelled) page() string     { return "cancelled" }
func (Unknown) page() string       { return "unknown" }
func (Limited) page() string       { return "limited" }
func (Consent) page() string       { return "consent" }
func (Device) page() string        { return "device" }
func (SelectAccount) page() string { return "select-account" }
func (Account) page() string       { return "account" }
func (Logout) page() string        { return "logout" }
func (LoggedOut) page() string     { return "logged-out" }
func (CheckSession) page() string  { return "check-session" }
func (Error) page() string         { return "error" }
func (FormPost) page() string      { return "form-post" }
