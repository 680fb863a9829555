package provider

import (
	"encoding/json"
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

// Scopes that mean something here. Others are ignored (OIDC Core §3.1.2.1).
var supportedScopes = []string{"openid", "email", "profile", "groups", "offline_access"}

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
	FreshAfter int64  `json:"f,omitempty"`
	Browser    string `json:"b"`            // hash of the cookie of the browser that asked
	Chosen     bool   `json:"ch,omitempty"` // the account was chosen (prompt=select_account)
	Consented  bool   `json:"co,omitempty"` // the person just allowed it

	idTokenHint string
	maxAge      *int
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

// singleParams refuses parameters that are repeated (RFC 6749 §3.1, §3.2) and
// values that are too long.
func singleParams(form url.Values) *Error {
	for name, values := range form {
		if len(values) > 1 && name != "resource" && name != "audience" { // RFC 8707 §2 repeats these
			return &Error{Code: invalidRequest, Description: "a parameter is repeated"}
		}
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
// are proven. It is a pure function of the form and the client.
func parseRequest(form url.Values, t target, now time.Time) (request, *Error) {
	q := request{
		ClientID: t.client.ID, RedirectURI: t.uri, Mode: t.mode, State: []byte(t.state),
		ResponseType: form.Get("response_type"), Nonce: []byte(form.Get("nonce")), Challenge: form.Get("code_challenge"),
		IssuedAt: now.UnixMicro(), idTokenHint: form.Get("id_token_hint"),
	}
	refuse := func(code, description string) (request, *Error) {
		return request{}, &Error{Code: code, Description: description}
	}
	if err := singleParams(form); err != nil {
		return request{}, err
	}
	if _, err := responseMode(form); err != nil {
		return request{}, err
	}
	switch { // OIDC Core §6, §7.2.1: what is not supported is said so
	case form.Get("request") != "":
		return refuse("request_not_supported", "the request parameter is not supported")
	case form.Get("request_uri") != "":
		return refuse("request_uri_not_supported", "the request_uri parameter is not supported")
	case form.Get("registration") != "":
		return refuse("registration_not_supported", "the registration parameter is not supported")
	}
	switch {
	case q.ResponseType == "":
		return refuse(invalidRequest, "response_type is missing")
	case q.ResponseType != "code":
		return refuse(unsupportedResponseType, "response_type is not supported")
	case !slices.Contains(t.client.ResponseTypes, "code") || !t.client.MayGrant("authorization_code"):
		return refuse(unauthorizedClient, "the client is not registered for this response_type")
	}
	if len(q.RedirectURI)+len(q.State)+len(q.Nonce) > maxKept {
		return refuse(invalidRequest, "the request is too long")
	}
	if !isText(form.Get("state")) || !isText(form.Get("nonce")) {
		return refuse(invalidRequest, "state or nonce has characters that are not allowed")
	}
	// Hints are taken when they can be meant, and are never a reason to fail.
	if hint := form.Get("login_hint"); len(hint) <= 254 {
		q.LoginHint = hint
	}
	if locales := form.Get("ui_locales"); len(locales) <= 254 {
		q.UILocales = locales
	}
	for _, s := range strings.Fields(form.Get("scope")) {
		if s == "offline_access" && !t.client.MayGrant("refresh_token") {
			continue // OIDC Core §11: nothing would come of it
		}
		if slices.Contains(supportedScopes, s) && !slices.Contains(q.Scopes, s) {
			q.Scopes = append(q.Scopes, s)
		}
	}
	// RFC 7636 §4.3: an absent method means plain, which RFC 9700 §2.1.1 rules out.
	switch method := form.Get("code_challenge_method"); {
	case q.Challenge == "" && method != "":
		return refuse(invalidRequest, "code_challenge is missing")
	case q.Challenge == "" && t.client.PKCE():
		return refuse(invalidRequest, "code_challenge is required for this client")
	case q.Challenge != "" && method != "S256":
		return refuse(invalidRequest, "code_challenge_method must be S256")
	case q.Challenge != "" && !isChallenge(q.Challenge):
		return refuse(invalidRequest, "code_challenge is not a SHA-256 hash in base64url")
	}
	for _, p := range strings.Fields(form.Get("prompt")) {
		if !slices.Contains([]string{"none", "login", "consent", "select_account"}, p) {
			return refuse(invalidRequest, "prompt has a value that is not supported")
		}
		if !q.prompts(p) {
			q.Prompt = append(q.Prompt, p)
		}
	}
	if q.prompts("none") && len(q.Prompt) > 1 {
		return refuse(invalidRequest, "prompt none must stand alone")
	}
	q.maxAge = t.client.DefaultMaxAge
	if s := form.Get("max_age"); s != "" {
		age, err := strconv.Atoi(s)
		if err != nil || age < 0 || s[0] == '+' || s[0] == '-' {
			return refuse(invalidRequest, "max_age is not a number of seconds")
		}
		q.maxAge = &age
	}
	if q.maxAge != nil {
		age := min(time.Duration(*q.maxAge), 100*365*24*3600) * time.Second
		q.FreshAfter = now.Add(-age).UnixMicro()
	}
	if q.prompts("login") {
		q.FreshAfter = now.UnixMicro()
	}
	return q, nil
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
