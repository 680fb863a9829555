package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

const (
	browserTTL = 365 * 24 * time.Hour
	touchAfter = 5 * time.Minute // a session seen since is not written again
	againFor   = 5 * time.Minute // a second click lands where the first did
	// answerFor is how long after the first click the application may not have
	// its answer yet, as when a button was pressed twice. Later the same answer
	// would meet an application that has forgotten its question.
	answerFor = 10 * time.Second
)

// cookie is one of ours: for the whole host, out of reach of scripts, and sent
// with a navigation from a mail, which SameSite=Strict would not be.
type cookie struct {
	name   string
	secure bool
	ttl    time.Duration
}

// newCookie takes the __Host- prefix (RFC 6265bis §4.1.3.2) when the issuer is
// https, so that no neighbouring subdomain can plant the cookie.
func newCookie(issuer *url.URL, name string, ttl time.Duration) cookie {
	c := cookie{name: name, secure: issuer.Scheme == "https", ttl: ttl}
	if c.secure {
		c.name = "__Host-" + name
	}
	return c
}

// set gives the browser a value; an empty one takes the cookie away.
func (c cookie) set(w http.ResponseWriter, value string) {
	maxAge := int(c.ttl.Seconds())
	if value == "" {
		maxAge = -1
	}
	http.SetCookie(w, &http.Cookie{Name: c.name, Value: value, Path: "/", MaxAge: maxAge,
		Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// browserKey is the value of the browser cookie: what only this browser knows.
// Its hash is the browser's name.
type browserKey []byte

func (k browserKey) hash() string {
	if k == nil {
		return ""
	}
	return keys.Hash(k)
}

// knownBrowser reads the browser cookie: nil when there is none.
func (l *Login) knownBrowser(r *http.Request) browserKey {
	for _, c := range r.CookiesNamed(l.browser.name) {
		if key, err := b64.DecodeString(c.Value); err == nil && len(key) == secretSize {
			return key
		}
	}
	return nil
}

// anyBrowser is knownBrowser, with a new cookie when there is none. The rest
// of this request sees the new cookie, too.
func (l *Login) anyBrowser(w http.ResponseWriter, r *http.Request) browserKey {
	if key := l.knownBrowser(r); key != nil {
		return key
	}
	key := browserKey(keys.Random(secretSize))
	value := b64.EncodeToString(key)
	l.browser.set(w, value)
	r.AddCookie(&http.Cookie{Name: l.browser.name, Value: value})
	return key
}

// Browser names the browser: the hash of its cookie, which is set when there is
// none.
func (l *Login) Browser(w http.ResponseWriter, r *http.Request) string {
	return l.anyBrowser(w, r).hash()
}

// KnownBrowser names the browser: "" when it has no cookie.
func (l *Login) KnownBrowser(r *http.Request) string { return l.knownBrowser(r).hash() }

// knownAtMost is how many addresses a browser is known for, the last ones.
const knownAtMost = 5

// knownFor proves that an address was proven in a browser. Its cookie holds such
// proofs, which tell nobody the address.
func (l *Login) knownFor(key string, browser browserKey) string {
	return b64.EncodeToString(l.cfg.Secret.MAC("known", []byte(key), browser)[:macSize])
}

// isKnown says whether an address was proven in this browser before. Whoever
// asks for links to it there counts apart: strangers who ask for them all day
// keep nobody out.
func (l *Login) isKnown(r *http.Request, key string) bool {
	browser := l.knownBrowser(r)
	if browser == nil {
		return false
	}
	return slices.ContainsFunc(l.knownProofs(r), func(shown string) bool {
		mac, err := b64.DecodeString(shown)
		return err == nil && len(mac) == macSize && l.cfg.Secret.CheckMAC("known", mac, []byte(key), browser)
	})
}

func (l *Login) knownProofs(r *http.Request) []string {
	c, err := r.Cookie(l.known.name)
	if err != nil || len(c.Value) > knownAtMost*b64.EncodedLen(macSize)+knownAtMost {
		return nil
	}
	return strings.Split(c.Value, ".")
}

// setKnown remembers in the browser that an address was proven there.
func (l *Login) setKnown(w http.ResponseWriter, r *http.Request, key string, browser browserKey) {
	proof := l.knownFor(key, browser)
	others := slices.DeleteFunc(l.knownProofs(r), func(other string) bool { return other == proof })
	proofs := append([]string{proof}, others...)
	l.known.set(w, strings.Join(proofs[:min(len(proofs), knownAtMost)], "."))
}

// sessionKey is the random part of a session cookie. That of a login is made
// from the attempt and the browser, so that a second click in the same browser
// makes the same cookie; it takes the secret and the browser's cookie to make it.
func (l *Login) sessionKey(attemptID string, browser browserKey) []byte {
	return l.cfg.Secret.MAC("session-key", []byte(attemptID), browser)
}

// setSession gives the browser the cookie of a session key.
func (l *Login) setSession(w http.ResponseWriter, key []byte) {
	l.session.set(w, prove(l.cfg.Secret, "session", key))
}

// ClearSession takes the session cookie from the browser.
func (l *Login) ClearSession(w http.ResponseWriter) { l.session.set(w, "") }

// sessionID is the session that the browser's cookie names, live or not; empty
// when it has no cookie of ours.
func (l *Login) sessionID(r *http.Request) string {
	for _, c := range r.CookiesNamed(l.session.name) {
		if key, ok := proven(l.cfg.Secret, "session", secretSize, c.Value); ok {
			return keys.Hash(key)
		}
	}
	return ""
}

// current reads the live session of the browser and writes nothing:
// storage.ErrNotFound when there is none.
func (l *Login) current(r *http.Request, now time.Time) (storage.Login, error) {
	id := l.sessionID(r)
	if id == "" {
		return storage.Login{}, storage.ErrNotFound
	}
	return l.liveSession(r.Context(), id, now)
}

func (l *Login) liveSession(ctx context.Context, id string, now time.Time) (storage.Login, error) {
	login, err := l.cfg.Store.Session(ctx, id, now)
	if err == nil && !Allowed(login.User.Key, l.cfg.Allow, l.cfg.Deny) { // the settings may have changed since
		err = storage.ErrNotFound
	}
	if err != nil {
		return storage.Login{}, fmt.Errorf("find session: %w", err)
	}
	return login, nil
}

// Session gives the live session of the browser: storage.ErrNotFound when
// there is none. A session last seen a while ago has its idle end moved.
func (l *Login) Session(_ http.ResponseWriter, r *http.Request) (storage.Login, error) {
	now := l.cfg.Now()
	login, err := l.current(r, now)
	if err != nil {
		return login, err
	}
	return l.touch(r, login, now)
}

// touch moves the idle end of a session that was last seen a while ago.
func (l *Login) touch(r *http.Request, login storage.Login, now time.Time) (storage.Login, error) {
	if now.Sub(login.Session.SeenAt) <= touchAfter {
		return login, nil
	}
	idleAt := now.Add(l.cfg.SessionIdle)
	if err := l.cfg.Store.TouchSession(r.Context(), login.Session.ID, now, idleAt); err != nil {
		return storage.Login{}, fmt.Errorf("touch session: %w", err)
	}
	login.Session.SeenAt, login.Session.IdleAt = now, idleAt
	return login, nil
}

// ifAny turns storage.ErrNotFound into the zero Login.
func ifAny(login storage.Login, err error) (storage.Login, error) {
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Login{}, nil
	}
	return login, err
}
