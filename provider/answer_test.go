package provider

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// answer is a response, taken apart.
type answer struct {
	testing.TB
	request       *http.Request
	status        int
	header        http.Header
	body          string
	json          map[string]any
	page, fault   string // data-page, data-error
	forms         map[string]pageForm
	links         []string
	reads, writes []string // what it did to the database
}

type pageForm struct {
	action, method string
	fields         url.Values
}

// String tells what came, without the query of an address.
func (a answer) String() string {
	location, _, _ := strings.Cut(a.header.Get("Location"), "?")
	return strings.TrimSpace(fmt.Sprintf("%s %s: %d %s %s %v %s", a.request.Method, a.request.URL.Path, a.status, a.page, a.fault, a.json["error"], location))
}

// send has the provider answer, and checks what is true of every answer.
func (w *world) send(r *http.Request) answer {
	w.Helper()
	return w.serve(w.handler, r)
}

func body(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }

func (w *world) serve(handler http.Handler, r *http.Request) answer {
	w.Helper()
	u := &usage{}
	path := r.URL.Path
	r = r.WithContext(context.WithValue(r.Context(), usageKey{}, u))
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, r)
	r.URL.Path = path
	a := answer{TB: w.TB, request: r, status: rec.Code, header: rec.Result().Header, body: rec.Body.String(), reads: u.reads, writes: u.writes}
	a.parse()
	w.remember(a)
	w.check(a)
	return a
}

func (a *answer) parse() {
	if strings.Contains(a.header.Get("Content-Type"), "json") {
		_ = json.Unmarshal([]byte(a.body), &a.json) // check tells when it is none
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		return
	}
	root, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		return
	}
	a.forms = map[string]pageForm{}
	var fields url.Values
	for n := range root.Descendants() {
		attr := map[string]string{}
		for _, at := range n.Attr {
			attr[at.Key] = at.Val
		}
		if v, ok := attr["data-page"]; ok {
			a.page, a.fault = v, attr["data-error"]
		}
		if v, ok := attr["data-form"]; ok {
			fields = url.Values{}
			a.forms[v] = pageForm{action: attr["action"], method: attr["method"], fields: fields}
		}
		if n.Data == "input" && attr["type"] == "hidden" && fields != nil {
			fields.Set(attr["name"], attr["value"])
		}
		if n.Data == "a" {
			a.links = append(a.links, attr["href"])
		}
	}
}

// remember keeps what must not be found in the database.
func (w *world) remember(a answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		if v, _ := a.json[name].(string); v != "" {
			w.bearers = append(w.bearers, v)
		}
	}
	if at, err := url.Parse(a.header.Get("Location")); err == nil {
		for _, name := range []string{"code", "request"} {
			if v := at.Query().Get(name); v != "" {
				w.bearers = append(w.bearers, v)
			}
		}
	}
}

// nothingKeepsBearers looks for everything handed out in the log and in the
// bytes of the database: who has those can log in nowhere.
func (w *world) nothingKeepsBearers() {
	logged := w.logged.String()
	for _, bearer := range w.bearers {
		if strings.Contains(logged, bearer) {
			w.Error("the log tells a token, code or handle")
		}
	}
	for _, file := range []string{w.file, w.file + "-wal"} {
		content, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			w.Error(err)
		}
		for _, bearer := range w.bearers {
			if bytes.Contains(content, []byte(bearer)) {
				w.Error("the database holds a token, code or handle as it was handed out")
			}
			if raw, err := base64.RawURLEncoding.DecodeString(bearer); err == nil && bytes.Contains(content, raw) {
				w.Error("the database holds the bytes of a token, code or handle")
			}
		}
	}
}

// Paths by who may call them.
var (
	documentPaths = []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/jwks"}
	corsPaths     = append([]string{"/.well-known/webfinger", "/par", "/token", "/revoke", "/userinfo"}, documentPaths...)
	browserPaths  = []string{"/authorize", "/authorize/resume", "/logout", "/login", "/device", "/check_session"}
)

// check is what is true of every answer, whatever was asked.
func (w *world) check(a answer) {
	w.Helper()
	path, h := a.request.URL.Path, a.header
	routed := a.status != http.StatusMethodNotAllowed && a.request.Method != http.MethodOptions

	if routed && !slices.Contains(documentPaths, path) && h.Get("Cache-Control") != "no-store" {
		w.Errorf("S10, RFC 6749 §5.1: %s: Cache-Control %q", a, h.Get("Cache-Control"))
	}
	if h.Get("Access-Control-Allow-Credentials") != "" {
		w.Errorf("S4: %s allows credentials", a)
	}
	if !slices.Contains(corsPaths, path) && !isRegistration(path) && h.Get("Access-Control-Allow-Origin") != "" {
		w.Errorf("S4, RFC 9700 §2.6: %s has CORS", a)
	}
	if (a.status == http.StatusUnauthorized) != (h.Get("WWW-Authenticate") != "") && a.status != http.StatusForbidden {
		w.Errorf("S9, RFC 9110 §11.6.1: %s: WWW-Authenticate %q", a, h.Get("WWW-Authenticate"))
	}
	if (a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests) != (h.Get("Retry-After") != "") {
		w.Errorf("%s: Retry-After %q", a, h.Get("Retry-After"))
	}
	if slices.Contains(browserPaths, path) && routed {
		w.checkBrowserAnswer(a)
	}
	if !slices.Contains(browserPaths, path) && routed && a.status >= 400 {
		w.checkAPIError(a)
	}
	if path == "/authorize" || path == "/authorize/resume" && a.request.Method != http.MethodPost {
		for _, name := range a.writes { // with the answer alone: that a pushed request is answered, what a token in front belongs to
			if name != "Use" && name != "RedeemCode" || a.header.Get("Location") == "" && a.page != "form-post" && a.status < 400 {
				w.Errorf("%s wrote to the database: %v", a, a.writes)
			}
		}
	}
	var all bytes.Buffer
	_ = h.Write(&all)
	all.WriteString(a.body)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, secret := range append([]string{broken, "constraint failed", "sql:", "invalid character"}, w.sessions...) {
		if bytes.Contains(all.Bytes(), []byte(secret)) {
			w.Errorf("S8: %s tells what is internal", a)
		}
	}
}

// checkBrowserAnswer: a page with a name, or a redirect to us or to an address
// that a client registered.
func (w *world) checkBrowserAnswer(a answer) {
	w.Helper()
	location := a.header.Get("Location")
	if location == "" {
		if a.page == "" && a.request.Method != http.MethodHead {
			w.Errorf("%s is neither page nor redirect", a)
		}
		if f, ok := a.forms["form-post"]; ok && !w.registered(f.action) {
			w.Errorf("%s posts to %q", a, f.action)
		}
		return
	}
	if a.status != http.StatusSeeOther || a.body != "" {
		w.Errorf("RFC 9700 §4.12: %s: a redirect is 303 and has no body", a)
	}
	ours := strings.HasPrefix(location, "/login?") || strings.HasPrefix(location, pathResume+"?") || strings.HasPrefix(location, w.provider.cfg.Issuer+"/")
	if !ours && !w.registered(location) {
		w.Errorf("%s goes to an address that nobody registered: %q", a, location)
	}
}

// registered says whether address is a registered URI, with more in its query
// or fragment, on any port when it is a native client's loopback.
func (w *world) registered(address string) bool {
	for _, c := range w.provider.clients.fixed {
		for _, uri := range slices.Concat(c.RedirectURIs, c.PostLogoutRedirectURIs, []string{c.InitiateLoginURI}) {
			rest, ok := strings.CutPrefix(address, uri)
			if ok && uri != "" && (rest == "" || rest[0] == '#' || rest[0] == '?' || rest[0] == '&' && strings.Contains(uri, "?")) {
				return true
			}
		}
		if c.ApplicationType == "native" && strings.HasPrefix(address, "http://127.0.0.1:") {
			return true
		}
	}
	for _, id := range []string{"stored", "stranger"} {
		c, err := w.engine.Client(context.Background(), id)
		if err == nil && slices.ContainsFunc(c.RedirectURIs, func(uri string) bool { return strings.HasPrefix(address, uri) }) {
			return true
		}
	}
	return false
}

// checkAPIError: JSON with a code and a description that any client can show
// (RFC 6749 §5.2, appendix A.8).
func (w *world) checkAPIError(a answer) {
	w.Helper()
	if a.header.Get("Content-Type") != "application/json" || a.json == nil {
		w.Errorf("%s: Content-Type %q, %q", a, a.header.Get("Content-Type"), a.body)
		return
	}
	if len(a.json) == 0 && a.status == 401 { // RFC 6750 §3.1
		return
	}
	code, _ := a.json["error"].(string)
	description, _ := a.json["error_description"].(string)
	if code == "" || description == "" || len(a.json) != 2 {
		w.Errorf("%s: an error wants code and description and nothing else: %s", a, a.body)
	}
	checkDescription(w, description)
}

func checkDescription(t testing.TB, description string) {
	t.Helper()
	if strings.ContainsFunc(description, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		t.Errorf("RFC 6749 §A.8: error_description %q", description)
	}
}

// is fails the test unless the answer is that JSON error.
func (a answer) is(status int, code string) {
	a.Helper()
	if have, _ := a.json["error"].(string); a.status != status || have != code {
		a.Fatalf("%s, want %d %s: %s", a, status, code, a.body)
	}
}

// isPage fails the test unless the answer is that page; fault is for an error.
func (a answer) isPage(status int, name, fault string) {
	a.Helper()
	if a.status != status || a.page != name || a.fault != fault || a.header.Get("Location") != "" {
		a.Fatalf("%s, want %d %s %s", a, status, name, fault)
	}
}

// handle is the one with which the browser is sent to sign in.
func (a answer) handle() string {
	a.Helper()
	rest, ok := strings.CutPrefix(a.header.Get("Location"), "/login?request=")
	if !ok || a.status != http.StatusSeeOther {
		a.Fatalf("%s, want a redirect to login", a)
	}
	return rest
}

// callback is what the client receives, and where.
func (a answer) callback() (uri string, got url.Values) {
	a.Helper()
	if f, ok := a.forms["form-post"]; ok && a.status == http.StatusOK {
		return f.action, f.fields
	}
	location := a.header.Get("Location")
	for _, separator := range []string{"#", "?"} {
		if uri, encoded, ok := strings.Cut(location, separator); ok && !strings.HasPrefix(location, "/") {
			got, err := url.ParseQuery(encoded)
			if err != nil {
				a.Fatal(err)
			}
			return uri, got
		}
	}
	a.Fatalf("%s: no answer to a client", a)
	return "", nil
}

// code is the authorization code of a success.
func (a answer) code() string {
	a.Helper()
	_, got := a.callback()
	if got.Get("code") == "" || got.Has("error") {
		a.Fatalf("%s: no code but %s %s", a, got.Get("error"), got.Get("error_description"))
	}
	if got.Get("iss") != issuer && !strings.HasPrefix(got.Get("iss"), "http://127.0.0.1:") {
		a.Errorf("RFC 9207 §2: iss %q", got.Get("iss"))
	}
	return got.Get("code")
}

// isError fails the test unless the answer gives the client that error, and
// nothing that is not in the specifications.
func (a answer) isError(code string) {
	a.Helper()
	_, got := a.callback()
	if got.Get("error") != code || got.Has("code") {
		a.Fatalf("%s: got %s %q, want %s", a, got.Get("error"), got.Get("error_description"), code)
	}
	if got.Get("iss") != issuer {
		a.Errorf("RFC 9207 §2: iss %q", got.Get("iss"))
	}
	checkDescription(a, got.Get("error_description"))
	for name := range got {
		if !slices.Contains([]string{"error", "error_description", "state", "iss", "tenant", "x"}, name) {
			a.Errorf("RFC 6749 §4.1.2.1: parameter %q in an error", name)
		}
	}
}
