// Package login signs people in with a mailed link.
//
// What it guarantees:
//
//   - A link is proof of the mailbox, once, for [Config].LinkTTL. Of any number
//     of callers that use it at once, one completes the login.
//   - GET and HEAD change nothing, whoever sends them: mail scanners follow
//     links.
//   - A link completes the login in the browser that asked for it, known by a
//     cookie, and in no other. Opened elsewhere it shows who asked, and on
//     request a code of six digits to type where the person asked;
//     storage.MaxTries wrong ones burn the link.
//   - A login that no relying party waits for (POST /send-magic-link, or /login
//     opened by hand) has no tab to protect from a stranger's click: any
//     browser may complete it, on a page that names the address, by a click.
//   - A person's account is theirs to see with a session; what cannot be undone
//     takes a proof of the address in this very browser, a quarter of an hour old
//     at most. Another address takes the proof of both, in a session of its user.
//   - "This wasn't me" ends the way through another browser and nothing else,
//     so that a robot which presses every button locks nobody out.
//   - The answer to a well-formed address is the same for everyone. Who may
//     sign in is decided when the mail is sent and again when the link is used.
//   - Neither the database alone nor the secret alone can log anyone in: links
//     and codes are MACs over the attempt's id, a session is kept under the hash
//     of its cookie, and the cookie needs the browser's own, too.
//   - Strangers cannot use up the limit of an address for a browser in which its
//     owner has signed in before.
//   - What cannot be consulted refuses: an engine's failure is a 503.
package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// ErrNoRequest means that a request handle is forged, expired, or another
// browser's.
var ErrNoRequest = errors.New("no such request")

// Requests is what login wants to know of the authorization request that waits.
type Requests interface {
	// Waiting opens a request handle bound to browser, the hash of the browser
	// cookie: ErrNoRequest when it is forged, expired, or another browser's.
	Waiting(ctx context.Context, handle, browser string) (Waiting, error)
	// Resume goes on with the request for a login that this browser has just
	// proven or chosen.
	Resume(w http.ResponseWriter, r *http.Request, handle string, l storage.Login)
	// Deny answers the relying party that the person gave up.
	Deny(w http.ResponseWriter, r *http.Request, handle string)
	// Restart is where the client of the id has its people sign in from the
	// start, for when its request is gone; "" when it has no such place.
	Restart(ctx context.Context, clientID string) (string, error)
	// SignOut ends the session of this browser, and answers.
	SignOut(w http.ResponseWriter, r *http.Request, l storage.Login)
	// Ended is told when the account page has ended what applications are to
	// hear of; here: the session of this browser, too.
	Ended(w http.ResponseWriter, here bool)
}

// Waiting is what a page may tell of an authorization request.
type Waiting struct {
	Client        templates.Client
	ClientID      string
	LoginHint     string
	UILocales     string
	SelectAccount bool      // the person is to choose the account, even with a session
	Create        bool      // the person wants a new account (prompt=create)
	FreshAfter    time.Time // a session whose AuthTime lies before is not enough; zero: any is
	Home          string    // where a person starts with the application; "" when it has no such place
}

// takes says whether the request can go on with a session as it is.
func (w Waiting) takes(s storage.Session) bool { return !s.AuthTime.Before(w.FreshAfter) }

// Config is what a Login is made of.
type Config struct {
	Issuer    string // no trailing slash
	Secret    keys.Secret
	Store     Store
	Templates *templates.Templates
	Requests  Requests
	Wake      func()      // tells the mail workers that a mail is queued; nil: they find it
	Delayed   func() bool // says whether mails wait for the mail server; nil: never

	Accounts AccountStore
	// Client is what the account page tells of the client of an id:
	// storage.ErrNotFound when it is gone.
	Client func(ctx context.Context, id string) (templates.Client, error)

	LinkTTL     time.Duration // how long a link is good
	SessionTTL  time.Duration // how long a session lasts at most
	SessionIdle time.Duration // and at most unseen

	Signup bool     // whoever proves an allowed address becomes a user
	Allow  []string // address patterns; empty: everyone
	Deny   []string // stronger than Allow

	PerAddress, PerNetwork, PerInstance Limit // of links asked for; zero: off

	// Place names the place of an address, in a language or else in English, such
	// as "Berlin, Germany"; "" where it is unknown. People are told it with a
	// login that was asked for. nil: no place is named.
	Place func(addr netip.Addr, language string) string

	Now func() time.Time                              // nil: time.Now
	Log func(ctx context.Context, attrs ...slog.Attr) // adds to the line of the request; nil: nothing
}

// Login serves the pages that sign people in.
type Login struct {
	cfg     Config
	csrf    *http.CrossOriginProtection
	browser cookie
	session cookie
	known   cookie
	fresh   cookie
	next    cookie
}

// New checks the configuration and makes a Login.
func New(c Config) (*Login, error) {
	issuer, err := url.Parse(c.Issuer)
	switch {
	case err != nil || issuer.Host == "" || issuer.Path != "":
		return nil, fmt.Errorf("login: issuer %q is not an origin", c.Issuer)
	case c.Secret.IsZero() || c.Store == nil || c.Templates == nil || c.Requests == nil || c.Accounts == nil || c.Client == nil:
		return nil, errors.New("login: Secret, Store, Templates, Requests, Accounts and Client are required")
	case c.LinkTTL <= 0 || c.SessionTTL <= 0 || c.SessionIdle <= 0:
		return nil, errors.New("login: lifetimes must be positive")
	}
	if c.Wake == nil {
		c.Wake = func() {}
	}
	if c.Delayed == nil {
		c.Delayed = func() bool { return false }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = func(context.Context, ...slog.Attr) {}
	}
	l := &Login{
		cfg:     c,
		csrf:    http.NewCrossOriginProtection(),
		browser: newCookie(issuer, "sealpost-browser", browserTTL),
		session: newCookie(issuer, "sealpost-session", c.SessionTTL),
		known:   newCookie(issuer, "sealpost-known", browserTTL),
		fresh:   newCookie(issuer, "sealpost-fresh", c.SessionTTL),
		next:    newCookie(issuer, "sealpost-next", c.LinkTTL),
	}
	// Behind a proxy that rewrites Host the issuer is still our own origin.
	if err := l.csrf.AddTrustedOrigin(c.Issuer); err != nil {
		return nil, fmt.Errorf("login: issuer %q: %w", c.Issuer, err)
	}
	return l, nil
}

// Routes adds the pages to r.
func (l *Login) Routes(r chi.Router) {
	r.Handle("/login", l.page(methods{
		http.MethodGet:  l.show,
		http.MethodHead: l.show,
		http.MethodPost: l.act,
	}))
	r.Handle("/login/status", l.api(methods{
		http.MethodGet:  l.status,
		http.MethodHead: l.status,
	}))
	r.Handle("/account", l.page(methods{
		http.MethodGet:  l.showAccount,
		http.MethodHead: l.showAccount,
		http.MethodPost: l.actAccount,
	}))
	r.Handle("/account/export", l.page(methods{
		http.MethodGet:  l.export,
		http.MethodHead: l.export,
	}))
	r.Handle("/send-magic-link", l.api(methods{
		http.MethodPost: l.sendMagicLink,
	}))
}

// URL is where a browser signs in for the request of a handle.
func (l *Login) URL(handle string) string {
	return l.cfg.Issuer + "/login?" + url.Values{"request": {handle}}.Encode()
}

// show answers GET and HEAD. What the address names, it names once and alone.
func (l *Login) show(w http.ResponseWriter, r *http.Request) error {
	query, err := readQuery(r)
	if err != nil {
		return err
	}
	shows := map[string]func(http.ResponseWriter, *http.Request, url.Values) error{
		"request": l.showForm, "token": l.showLink, "wait": l.showWait,
	}
	show, found := l.showStart, false
	for name, named := range shows {
		if !query.Has(name) {
			continue
		}
		if found {
			return invalidRequest("The address of this page contradicts itself.")
		}
		show, found = named, true
	}
	return show(w, r, query)
}

// act answers POST: every form names itself in the field action.
func (l *Login) act(w http.ResponseWriter, r *http.Request) error {
	form, err := l.readPost(w, r)
	if err != nil {
		return err
	}
	acts := map[string]func(http.ResponseWriter, *http.Request, url.Values) error{
		"email": l.email, "resend": l.resend, "change-email": l.changeEmail, "cancel": l.cancel,
		"confirm": l.confirm, "show-code": l.showCode, "not-me": l.notMe, "mute": l.mute, "enter-code": l.enterCode,
		"account-continue": l.accountContinue, "account-switch": l.accountSwitch,
	}
	act, ok := acts[form.Get("action")]
	if !ok {
		return invalidRequest("This form is unknown here.")
	}
	l.log(r, slog.String("action", form.Get("action")))
	return act(w, r, form)
}

// readPost reads a form that a page of ours has sent, and a person.
func (l *Login) readPost(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if err := l.csrf.Check(r); err != nil {
		return nil, &refusal{status: http.StatusForbidden, code: "access_denied", description: "This form was sent from another site. Please go back and start again."}
	}
	if prefetch(r) {
		return nil, &refusal{status: http.StatusForbidden, code: "access_denied", description: "A login is not something to prefetch."}
	}
	return readForm(w, r)
}

// prefetch says whether the browser asks ahead of the person.
func prefetch(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") ||
		r.Header.Get("Purpose") == "prefetch" || r.Header.Get("X-Moz") == "prefetch"
}

// speak has the pages that answer r speak one of the languages, the best first.
func speak(r *http.Request, locales ...string) { *r = *templates.WithLocales(r, locales...) }

func (l *Login) log(r *http.Request, attrs ...slog.Attr) { l.cfg.Log(r.Context(), attrs...) }

func (l *Login) render(w http.ResponseWriter, r *http.Request, status int, p templates.Page) error {
	l.cfg.Templates.Render(w, r, status, p)
	return nil
}

// redirect sends the browser to another page of ours, with GET.
func redirect(w http.ResponseWriter, r *http.Request, path string, query url.Values) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	http.Redirect(w, r, path, http.StatusSeeOther)
	return nil
}
