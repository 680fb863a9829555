package provider

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sealpost/sealpost/storage"
)

// requestTTL is how long a sealed authorization request can be resumed: longer
// than a link lives, so that an expired link can be sent again for the same
// request.
const requestTTL = 2 * time.Hour

// Longest values taken, in bytes. What a client sends travels sealed through
// URLs, so it has to stay well under what servers and proxies take.
const (
	maxParam = 2048
	maxKept  = 4 << 10 // of all that is sealed into a handle
	maxForm  = 16 << 10
)

// Scopes that mean something to every client. Others are ignored (OIDC Core
// §3.1.2.1), save those that the client registered (RFC 7591 §2).
var supportedScopes = []string{"openid", "email", "profile", "groups", "offline_access"}

// mayAsk says whether a scope means something for the client.
func mayAsk(c storage.Client, scope string) bool {
	switch {
	case scope == "offline_access" && !c.MayGrant("refresh_token"):
		return false // OIDC Core §11: nothing would come of it
	case selfMade(c) && !slices.Contains(supportedScopes, scope):
		return false // only an operator gives a client words of power (RFC 7591 §2)
	case c.Scope != "":
		return slices.Contains(strings.Fields(c.Scope), scope)
	}
	return slices.Contains(supportedScopes, scope)
}

// request is a checked authorization request (RFC 6749 §4.1.1, OIDC Core
// §3.1.2.1), as it travels sealed in a handle.
type request struct {
	ClientID     string   `json:"c"`
	RedirectURI  string   `json:"r"`
	ResponseType string   `json:"t"`
	Mode         string   `json:"m"`
	Scopes       []string `json:"s,omitempty"`
	State        []byte   `json:"st,omitempty"` // bytes: JSON would write "&" and its like six times as long
	Nonce        []byte   `json:"n,omitempty"`
	Challenge    string   `json:"cc,omitempty"` // S256 code challenge (RFC 7636 §4.3)
	Prompt       []string `json:"p,omitempty"`
	LoginHint    string   `json:"lh,omitempty"`
	UILocales    string   `json:"ul,omitempty"`
	Subject      string   `json:"sub,omitempty"` // of the id_token_hint
	IssuedAt     int64    `json:"i"`             // microseconds
	// FreshAfter is the earliest auth_time that satisfies prompt=login and
	// max_age, in microseconds.
	FreshAfter int64    `json:"f,omitempty"`
	Browser    string   `json:"b"`            // hash of the cookie of the browser that asked
	Claims     string   `json:"cl,omitempty"` // claimsRequest, as it is kept
	Resources  []string `json:"rs,omitempty"` // RFC 8707
	JKT        string   `json:"k,omitempty"`  // key that the code is bound to (RFC 9449 §10)
	Pushed     string   `json:"pu,omitempty"` // hash of the request_uri; empty: it was not pushed
	Chosen     bool     `json:"ch,omitempty"` // the account was chosen (prompt=select_account)
	Consented  bool     `json:"co,omitempty"` // the person just allowed it
	Device     string   `json:"dv,omitempty"` // user code of a device that asks (RFC 8628); such a request has no redirect URI

	idTokenHint string
}

func (q *request) prompts(value string) bool { return slices.Contains(q.Prompt, value) }

// target is where the answer to an authorization request goes. It exists only
// for a client that is known and a redirect URI that it registered.
type target struct {
	client storage.Client
	uri    string
	mode   string // query, fragment, form_post
	state  string
}

// singleValues refuses parameters that are repeated (RFC 6749 §3.1, §3.2).
func singleValues(form url.Values) *Error {
	for name, values := range form {
		if len(values) > 1 && name != "resource" { // RFC 8707 §2 repeats it
			return &Error{Code: invalidRequest, Description: "a parameter is repeated"}
		}
	}
	return nil
}

// singleParams refuses parameters that are repeated (RFC 6749 §3.1, §3.2) and
// values that are too long.
func singleParams(form url.Values) *Error {
	if err := singleValues(form); err != nil {
		return err
	}
	for name, values := range form {
		if len(name)+len(values[0]) > maxParam && name != "id_token_hint" && name != "request" && name != "claims" {
			return &Error{Code: invalidRequest, Description: "a parameter is too long"}
		}
	}
	return nil
}

// responseMode decides how an answer or an error travels: as asked, or by the
// default of the response type (OAuth 2.0 Multiple Response Types §2.1, §5).
func responseMode(form url.Values) (string, *Error) {
	fallback := "query"
	for _, t := range strings.Fields(form.Get("response_type")) {
		if t == "token" || t == "id_token" {
			fallback = "fragment"
		}
	}
	switch mode := form.Get("response_mode"); mode {
	case "":
		return fallback, nil
	case "query":
		if fallback == "fragment" { // a token never travels in a query
			return fallback, &Error{Code: invalidRequest, Description: "response_mode query is not allowed for this response_type"}
		}
		return mode, nil
	case "fragment", "form_post":
		return mode, nil
	}
	return fallback, &Error{Code: invalidRequest, Description: "response_mode is not supported"}
}

// parseRequest checks an authorization request whose client and redirect URI
// are proven. It is a pure function of the form, the client, and the resources
// that are known, of which none means any.
func parseRequest(form url.Values, t target, known []string, now time.Time) (request, *Error) {
	q := request{
		ClientID: t.client.ID, RedirectURI: t.uri, Mode: t.mode, State: []byte(t.state),
		ResponseType: canonicalType(form.Get("response_type")), Nonce: []byte(form.Get("nonce")),
		IssuedAt: now.UnixMicro(), idTokenHint: form.Get("id_token_hint"),
	}
	if err := singleParams(form); err != nil {
		return request{}, err
	}
	if _, err := responseMode(form); err != nil {
		return request{}, err
	}
	if form.Get("registration") != "" { // OIDC Core §7.2.1
		return request{}, &Error{Code: "registration_not_supported", Description: "the registration parameter is not supported"}
	}
	q.takeHints(form)
	for _, take := range []func(url.Values, storage.Client) *Error{q.takeType, q.takeKept, q.takeScope, q.takeClaims, q.takeProof, q.takePrompt} {
		if err := take(form, t.client); err != nil {
			return request{}, err
		}
	}
	var err *Error
	if q.Resources, err = checkResources(form["resource"], known); err != nil {
		return request{}, err
	}
	return q, q.takeAge(form.Get("max_age"), t.client.DefaultMaxAge, now)
}

// takeType checks the response type against what the client registered.
func (q *request) takeType(form url.Values, c storage.Client) *Error {
	registered := func(t string) bool { return canonicalType(t) == q.ResponseType }
	switch {
	case q.ResponseType == "":
		return &Error{Code: invalidRequest, Description: "response_type is missing"}
	case !slices.Contains(responseTypes, q.ResponseType):
		return &Error{Code: unsupportedResponseType, Description: "response_type is not supported"}
	case !slices.ContainsFunc(c.ResponseTypes, registered), gives(q.ResponseType, "code") && !c.MayGrant("authorization_code"),
		q.ResponseType != "code" && c.FAPI(),       // FAPI 2.0 §5.3.2.2
		gives(q.ResponseType, "token") && c.DPoP(): // a token given in front is bound to nothing
		return &Error{Code: unauthorizedClient, Description: "the client is not registered for this response_type"}
	}
	return nil
}

// takeKept checks what comes back to the client as it was.
func (q *request) takeKept(form url.Values, _ storage.Client) *Error {
	switch {
	case len(q.RedirectURI)+len(q.State)+len(q.Nonce) > maxKept:
		return &Error{Code: invalidRequest, Description: "the request is too long"}
	case !isText(form.Get("state")) || !isText(form.Get("nonce")):
		return &Error{Code: invalidRequest, Description: "state or nonce has characters that are not allowed"}
	case gives(q.ResponseType, "id_token") && len(q.Nonce) == 0: // OIDC Core §3.2.2.1, §3.3.2.11
		return &Error{Code: invalidRequest, Description: "nonce is missing"}
	}
	return nil
}

// takeHints takes hints when they can be meant; they are never a reason to fail.
func (q *request) takeHints(form url.Values) {
	if hint := form.Get("login_hint"); len(hint) <= 254 && utf8.ValidString(hint) {
		q.LoginHint = hint
	}
	if locales := form.Get("ui_locales"); len(locales) <= 254 && utf8.ValidString(locales) {
		q.UILocales = locales
	}
}

// takeScope takes the scopes that mean something.
func (q *request) takeScope(form url.Values, c storage.Client) *Error {
	for _, s := range strings.Fields(form.Get("scope")) {
		if s == "offline_access" && !gives(q.ResponseType, "code") {
			continue // OIDC Core §11
		}
		if mayAsk(c, s) && !slices.Contains(q.Scopes, s) {
			q.Scopes = append(q.Scopes, s)
		}
	}
	if gives(q.ResponseType, "id_token") && !hasScope(q.Scopes, "openid") { // OIDC Core §3.2.2.1
		return &Error{Code: invalidScope, Description: "an id_token needs scope openid"}
	}
	return nil
}

// takeClaims takes the claims parameter (OIDC Core §5.5), as far as the client
// may ask by scope.
func (q *request) takeClaims(form url.Values, c storage.Client) *Error {
	asked, err := parseClaims(form.Get("claims"))
	if err != nil {
		return err
	}
	asked = asked.within(c)
	q.Subject = asked.Subject
	if hasScope(q.Scopes, "openid") {
		q.Claims = asked.String()
	}
	return nil
}

// takeProof takes what the code is bound to: a challenge (RFC 7636 §4.3), of
// which an absent method means plain, which RFC 9700 §2.1.1 rules out, and a
// key (RFC 9449 §10).
func (q *request) takeProof(form url.Values, c storage.Client) *Error {
	q.Challenge, q.JKT = form.Get("code_challenge"), form.Get("dpop_jkt")
	switch method := form.Get("code_challenge_method"); {
	case q.Challenge == "" && method != "":
		return &Error{Code: invalidRequest, Description: "code_challenge is missing"}
	case q.Challenge == "" && c.PKCE() && gives(q.ResponseType, "code"):
		return &Error{Code: invalidRequest, Description: "code_challenge is required for this client"}
	case q.Challenge != "" && method != "S256":
		return &Error{Code: invalidRequest, Description: "code_challenge_method must be S256"}
	case q.Challenge != "" && !isChallenge(q.Challenge):
		return &Error{Code: invalidRequest, Description: "code_challenge is not a SHA-256 hash in base64url"}
	case q.JKT != "" && !isChallenge(q.JKT): // a thumbprint has the same form (RFC 7638)
		return &Error{Code: invalidRequest, Description: "dpop_jkt is not a SHA-256 thumbprint in base64url"}
	}
	return nil
}

// prompts that mean something (OIDC Core §3.1.2.1, Initiating User Registration
// §4).
var promptValues = []string{"none", "login", "consent", "select_account", "create"}

// takePrompt takes the prompts.
func (q *request) takePrompt(form url.Values, _ storage.Client) *Error {
	for _, p := range strings.Fields(form.Get("prompt")) {
		if !slices.Contains(promptValues, p) {
			return &Error{Code: invalidRequest, Description: "prompt has a value that is not supported"}
		}
		if !q.prompts(p) {
			q.Prompt = append(q.Prompt, p)
		}
	}
	if q.prompts("none") && len(q.Prompt) > 1 {
		return &Error{Code: invalidRequest, Description: "prompt none must stand alone"}
	}
	return nil
}

// takeAge takes how long ago a login may have been proven: as max_age says, or
// else as the client registered, and not before now with prompt=login.
func (q *request) takeAge(asked string, registered *int, now time.Time) *Error {
	maxAge := registered
	if asked != "" {
		age, err := strconv.Atoi(asked)
		if err != nil || age < 0 || asked[0] == '+' || asked[0] == '-' {
			return &Error{Code: invalidRequest, Description: "max_age is not a number of seconds"}
		}
		maxAge = &age
	}
	if maxAge != nil {
		age := min(time.Duration(*maxAge), 100*365*24*3600) * time.Second
		q.FreshAfter = now.Add(-age).UnixMicro()
	}
	if q.prompts("login") || q.prompts("create") {
		q.FreshAfter = now.UnixMicro()
	}
	return nil
}

// needsLogin says that nobody is signed in, or too long ago for the request, or
// that the request wants a proof and this browser has given none.
func (p *Provider) needsLogin(r *http.Request, q request, login *storage.Login) bool {
	if login == nil || q.FreshAfter == 0 {
		return login == nil
	}
	return login.Session.AuthTime.UnixMicro() < q.FreshAfter || !p.logins.ProvedHere(r, login.Session)
}

// isText says whether s comes back from a form and from JSON as it was (RFC
// 6749 §A.5 allows less: visible ASCII).
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }

const requestPurpose = "authorization-request"

// seal gives the handle of a request for the browser it is bound to.
func (p *Provider) seal(q request) (string, error) {
	plain, err := json.Marshal(q)
	if err != nil {
		return "", err
	}
	return p.cfg.Secret.Seal(requestPurpose, plain), nil
}

// open undoes seal. A handle is good for one browser and for requestTTL.
func (p *Provider) open(handle, browser string) (request, error) {
	var q request
	plain, err := p.cfg.Secret.Open(requestPurpose, handle)
	if err != nil {
		return q, errNoRequest.because(err)
	}
	if err := json.Unmarshal(plain, &q); err != nil {
		return q, errNoRequest.because(err)
	}
	if browser == "" || q.Browser != browser {
		return request{}, errNoRequest
	}
	if !p.cfg.Now().Before(time.UnixMicro(q.IssuedAt).Add(requestTTL)) {
		return request{}, errNoRequest
	}
	return q, nil
}

var errNoRequest = &Error{Code: invalidRequest, Description: "this sign-in has expired or was started in another browser; go back to the application and start again"}
