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

// Login asks for an address.
type Login struct {
	Client  Client
	Request string // handle of the waiting request
	Email   string // what was typed, or the login_hint
	Error   string // "" or "invalid-email"
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
}

// Code shows the code to type into the tab that waits.
type Code struct {
	Client  Client
	Code    string
	Browser string
	Token   string
	Email   string
}

// Confirm asks for the click that completes the login in this browser.
type Confirm struct {
	Client     Client
	Token      string
	Email      string
	SignedInAs string // another address that is signed in here
	Auto       bool   // the browser that asked: the script clicks
}

// SignedIn says that the login is complete.
type SignedIn struct {
	Client      Client
	Email       string
	ContinueURL string // when another tab went on
	Elsewhere   bool   // completed in another browser, not this one
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
	Client  Client
	Request string
	Email   string
	Scopes  []string
	Token   string
}

// SelectAccount asks whether to go on as the one who is signed in.
type SelectAccount struct {
	Client  Client
	Request string
	Email   string
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
func (SelectAccount) page() string { return "select-account" }
func (Logout) page() string        { return "logout" }
func (LoggedOut) page() string     { return "logged-out" }
func (Error) page() string         { return "error" }
func (FormPost) page() string      { return "form-post" }
