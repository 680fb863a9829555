package templates

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

var branding = Branding{Name: "Example", SupportURL: "https://example.com/help", Issuer: "https://login.example.com"}

func site(t *testing.T) *Templates {
	t.Helper()
	s, err := New(branding)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// render draws a sample and parses it as a browser without script does.
func render(t *testing.T, s *Templates, it sample) *node {
	t.Helper()
	path := it.path
	if path == "" {
		path = "/login"
	}
	w := httptest.NewRecorder()
	s.Render(w, httptest.NewRequest(http.MethodGet, path, nil), http.StatusTeapot, it.page)
	if w.Code != http.StatusTeapot {
		t.Fatalf("%s: status %d: %s", it.name, w.Code, w.Body)
	}
	return parse(t, w.Body.String())
}

func parse(t *testing.T, source string) *node {
	t.Helper()
	root, err := html.ParseWithOptions(strings.NewReader(source), html.ParseOptionEnableScripting(false))
	if err != nil {
		t.Fatal(err)
	}
	return &node{root}
}

// node is an element, with what tests ask of it.
type node struct{ *html.Node }

func (n *node) all(match func(*node) bool) []*node {
	var found []*node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && match(&node{d}) {
			found = append(found, &node{d})
		}
	}
	return found
}

func (n *node) tags(names ...string) []*node {
	return n.all(func(e *node) bool { return slices.Contains(names, e.Data) })
}

func (n *node) with(attr string) []*node {
	return n.all(func(e *node) bool { return e.has(attr) })
}

func (n *node) has(attr string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == attr })
}

func (n *node) get(attr string) string {
	for _, a := range n.Attr {
		if a.Key == attr {
			return a.Val
		}
	}
	return ""
}

// text is what a reader sees, white space made single.
func (n *node) text() string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && d.Parent.Data != "title" && d.Parent.Data != "style" {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// hidden are the hidden fields of a form.
func (n *node) hidden() url.Values {
	fields := url.Values{}
	for _, i := range n.tags("input") {
		if i.get("type") == "hidden" {
			fields.Add(i.get("name"), i.get("value"))
		}
	}
	return fields
}

func (n *node) form(t *testing.T, name string) *node {
	t.Helper()
	found := n.all(func(e *node) bool { return e.Data == "form" && e.get("data-form") == name })
	if len(found) != 1 {
		t.Fatalf("%d forms named %q, want one", len(found), name)
	}
	return found[0]
}

// The hooks are a contract with themes, tests and assistive tools.
func TestHooksOfEveryPage(t *testing.T) {
	want := map[string][]string{
		"login":                 {"email", "cancel"},
		"sent":                  {"enter-code", "resend", "change-email", "cancel"},
		"other-browser":         {"show-code", "not-me"},
		"code":                  {"not-me"},
		"confirm":               {"confirm"},
		"signed-in":             {"logout"},
		"expired":               {"resend"},
		"used":                  {"resend"},
		"superseded":            {"resend"},
		"cancelled":             {"resend"},
		"cancelled-mute":        {"mute"},
		"account":               {"account-logout", "profile", "address", "session-end", "session-end", "sessions-end", "app-remove", "app-remove", "export", "delete-ask"},
		"account-fresh-address": {"fresh"},
		"account-delete":        {"delete"},
		"account-deleted":       nil,
		"sent-undelivered":      {"change-email", "resend", "cancel"},
		"unknown":               nil,
		"limited":               nil,
		"consent":               {"consent-allow", "consent-deny"},
		"device":                {"device-code"},
		"device-ask":            {"device-allow", "device-deny"},
		"select-account":        {"account-continue", "account-switch"},
		"logout":                {"logout"},
		"logged-out":            nil,
		"error":                 nil,
		"form-post":             {"form-post"},
	}
	s, seen := site(t), map[string]bool{}
	for _, it := range samples(intranet, ada) {
		doc := render(t, s, it)
		name := doc.tags("body")[0].get("data-page")
		if name != it.page.page() {
			t.Errorf("%s: data-page %q, want %q", it.name, name, it.page.page())
		}
		if _, listed := want[it.name]; !listed && it.name != name { // the sample named as the page has all its forms
			continue
		}
		seen[it.name] = true
		var forms []string
		for _, f := range doc.with("data-form") {
			forms = append(forms, f.get("data-form"))
		}
		if !slices.Equal(forms, want[it.name]) {
			t.Errorf("%s: forms %q, want %q", it.name, forms, want[it.name])
		}
	}
	for name := range want {
		if !seen[name] {
			t.Errorf("no sample shows %s", name)
		}
	}
	code := render(t, s, sample{"code", Code{Code: "042917"}, ""}).with("data-code")
	if len(code) != 1 || code[0].Data != "output" || code[0].text() != "042917" {
		t.Errorf("want the code, and nothing else, in one output[data-code]")
	}
	body := render(t, s, sample{"error", Error{Code: "invalid_request"}, ""}).tags("body")[0]
	if got := body.get("data-error"); got != "invalid_request" {
		t.Errorf("data-error %q", got)
	}
}

func TestFormsPostAndNameTheirAction(t *testing.T) {
	s := site(t)
	for _, it := range samples(intranet, ada) {
		for _, f := range render(t, s, it).tags("form") {
			name, fields := f.get("data-form"), f.hidden()
			if f.get("method") != "post" {
				t.Errorf("%s: form %s is not sent by POST", it.name, name)
			}
			if len(f.tags("button")) != 1 {
				t.Errorf("%s: form %s: want one button, there without JavaScript", it.name, name)
			}
			if strings.ContainsAny(f.get("action"), "?&") {
				t.Errorf("%s: form %s has a value in its address", it.name, name)
			}
			if (f.get("action") == "/login" || f.get("action") == "/account") && !slices.Equal(fields["action"], []string{name}) {
				t.Errorf("%s: form %s names the action %q", it.name, name, fields["action"])
			}
			for field, values := range fields {
				if len(values) != 1 || values[0] == "" && field != "request" {
					t.Errorf("%s: form %s: field %s is %q", it.name, name, field, values)
				}
			}
		}
	}
}

func TestFormsCarryWhatTheyAreAbout(t *testing.T) {
	s := site(t)
	for _, tc := range []struct {
		page Page
		form string
		to   string
		want url.Values
	}{
		{Login{Request: "r"}, "email", "/login", url.Values{"action": {"email"}, "request": {"r"}}},
		{Login{Request: "r"}, "cancel", "/login", url.Values{"action": {"cancel"}, "request": {"r"}}},
		{Sent{Wait: "w"}, "resend", "/login", url.Values{"action": {"resend"}, "wait": {"w"}}},
		{Sent{Wait: "w"}, "enter-code", "/login", url.Values{"action": {"enter-code"}, "wait": {"w"}}},
		{Sent{Wait: "w"}, "change-email", "/login", url.Values{"action": {"change-email"}, "wait": {"w"}}},
		{Sent{Wait: "w", Cancel: true}, "cancel", "/login", url.Values{"action": {"cancel"}, "wait": {"w"}}},
		{OtherBrowser{Token: "t"}, "show-code", "/login", url.Values{"action": {"show-code"}, "token": {"t"}}},
		{OtherBrowser{Token: "t"}, "not-me", "/login", url.Values{"action": {"not-me"}, "token": {"t"}}},
		{Code{Token: "t"}, "not-me", "/login", url.Values{"action": {"not-me"}, "token": {"t"}}},
		{Confirm{Token: "t"}, "confirm", "/login", url.Values{"action": {"confirm"}, "token": {"t"}}},
		{Expired{Token: "t", Resend: true}, "resend", "/login", url.Values{"action": {"resend"}, "token": {"t"}}},
		{Used{Wait: "w", Resend: true}, "resend", "/login", url.Values{"action": {"resend"}, "wait": {"w"}}},
		{Login{Account: true}, "email", "/login", url.Values{"action": {"email"}, "request": {""}, "account": {"1"}}},
		{Cancelled{NotMe: true, Mute: "t"}, "mute", "/login", url.Values{"action": {"mute"}, "token": {"t"}}},
		{Account{}, "account-logout", "/account", url.Values{"action": {"account-logout"}}},
		{Account{}, "profile", "/account", url.Values{"action": {"profile"}}},
		{Account{}, "address", "/account", url.Values{"action": {"address"}}},
		{Account{Sessions: []AccountSession{{ID: "s1", Current: true}, {ID: "s2"}}}, "session-end", "/account", url.Values{"action": {"session-end"}, "session": {"s2"}}},
		{Account{Sessions: []AccountSession{{ID: "s1", Current: true}, {ID: "s2"}}}, "sessions-end", "/account", url.Values{"action": {"sessions-end"}}},
		{Account{Apps: []AccountApp{{ID: "wiki"}}}, "app-remove", "/account", url.Values{"action": {"app-remove"}, "client": {"wiki"}}},
		{Account{}, "delete-ask", "/account", url.Values{"action": {"delete-ask"}}},
		{Account{State: "fresh", Next: "export"}, "fresh", "/account", url.Values{"action": {"fresh"}, "next": {"export"}}},
		{Account{State: "delete"}, "delete", "/account", url.Values{"action": {"delete"}}},
		{SelectAccount{Request: "r"}, "account-continue", "/login", url.Values{"action": {"account-continue"}, "request": {"r"}}},
		{SelectAccount{Request: "r"}, "account-switch", "/login", url.Values{"action": {"account-switch"}, "request": {"r"}}},
		{Consent{Request: "r", Token: "t"}, "consent-allow", "/authorize/resume", url.Values{"request": {"r"}, "token": {"t"}, "consent": {"allow"}}},
		{Consent{Request: "r", Token: "t"}, "consent-deny", "/authorize/resume", url.Values{"request": {"r"}, "token": {"t"}, "consent": {"deny"}}},
		{Device{}, "device-code", "/device", url.Values{}},
		{Device{State: "ask", Request: "r", Token: "t"}, "device-allow", "/device", url.Values{"request": {"r"}, "token": {"t"}, "consent": {"allow"}}},
		{Device{State: "ask", Request: "r", Token: "t"}, "device-deny", "/device", url.Values{"request": {"r"}, "token": {"t"}, "consent": {"deny"}}},
		{Logout{Params: url.Values{"state": {"x"}}}, "logout", "/logout", url.Values{"state": {"x"}, "confirm": {"yes"}}},
		{FormPost{Action: "https://app.example.com/cb?a=b", Params: url.Values{"code": {"c"}}}, "form-post", "https://app.example.com/cb?a=b", url.Values{"code": {"c"}}},
	} {
		f := render(t, s, sample{tc.form, tc.page, ""}).form(t, tc.form)
		if f.get("action") != tc.to || f.hidden().Encode() != tc.want.Encode() {
			t.Errorf("%s on %s: %s with %v, want %s with %v", tc.form, tc.page.page(), f.get("action"), f.hidden(), tc.to, tc.want)
		}
	}
	if f := render(t, s, sample{"", Confirm{Auto: true}, ""}).form(t, "confirm"); !f.has("data-auto") {
		t.Error("the confirm form of the browser that asked is not marked data-auto")
	}
	if f := render(t, s, sample{"", Confirm{}, ""}).form(t, "confirm"); f.has("data-auto") {
		t.Error("a confirm form is sent by itself without being asked to")
	}
}

// What a Content-Security-Policy of 'self' without 'unsafe-inline' refuses is
// not there to be refused. policy_test.go says what comes from elsewhere.
func TestPagesHoldNothingInlineAndNothingForeign(t *testing.T) {
	s := site(t)
	for _, it := range samples(intranet, ada) {
		doc := render(t, s, it)
		if len(doc.tags("style", "object", "embed", "base", "video", "audio")) > 0 {
			t.Errorf("%s: has an element that has no place here", it.name)
		}
		doc.all(func(e *node) bool {
			for _, a := range e.Attr {
				if a.Key == "style" || strings.HasPrefix(a.Key, "on") || strings.Contains(strings.ToLower(a.Val), "javascript:") {
					t.Errorf("%s: <%s %s=%q>", it.name, e.Data, a.Key, a.Val)
				}
			}
			return false
		})
		for _, e := range doc.tags("script", "link", "img", "use", "image", "source", "input") {
			address := e.get("src") + e.get("href") + e.get("srcset")
			if e.Data == "script" && (address == "" || e.text() != "") {
				t.Errorf("%s: an inline script", it.name)
			}
			if address == "" || address == logo(it.page) {
				continue
			}
			r := httptest.NewRequest(http.MethodGet, address, nil)
			w := httptest.NewRecorder()
			s.Static().ServeHTTP(w, r)
			if !strings.HasPrefix(address, "/static/") || r.URL.Query().Get("v") == "" || w.Code != http.StatusOK {
				t.Errorf("%s: <%s> from %q, status %d", it.name, e.Data, address, w.Code)
			}
		}
		for _, a := range doc.tags("a") {
			if u, err := url.Parse(a.get("href")); err != nil || u.Host != "" && u.Host != "example.com" && !strings.Contains(a.get("rel"), "noreferrer") && a.get("class") != "button" {
				t.Errorf("%s: a link to %q would tell where it came from", it.name, a.get("href"))
			}
		}
	}
	for name, a := range s.assets {
		if strings.Contains(string(a.body), "@import") || strings.Contains(string(a.body), "url(") {
			t.Errorf("%s fetches something", name)
		}
	}
}

func TestPagesAreAccessible(t *testing.T) {
	s := site(t)
	for _, it := range samples(intranet, ada) {
		doc := render(t, s, it)
		root := doc.tags("html")[0]
		if root.get("lang") != "en" || root.get("dir") != "ltr" {
			t.Errorf("%s: lang %q dir %q", it.name, root.get("lang"), root.get("dir"))
		}
		heads := doc.tags("h1")
		if len(heads) != 1 || len(doc.tags("main")) != 1 {
			t.Fatalf("%s: want one h1 and one main", it.name)
		}
		if title := (&node{doc.tags("title")[0].FirstChild}).Data; title != heads[0].text()+" · Example" {
			t.Errorf("%s: title %q does not name the state and the instance", it.name, title)
		}
		ids := map[string]int{}
		for _, e := range doc.with("id") {
			ids[e.get("id")]++
		}
		for id, n := range ids {
			if n > 1 {
				t.Errorf("%s: id %s stands %d times", it.name, id, n)
			}
		}
		labelled := map[string]bool{}
		for _, l := range doc.tags("label") {
			labelled[l.get("for")] = l.text() != ""
		}
		for _, i := range doc.tags("input", "select", "textarea") {
			if i.get("type") != "hidden" && !labelled[i.get("id")] {
				t.Errorf("%s: input %s has no label", it.name, i.get("name"))
			}
		}
		for _, e := range doc.with("aria-describedby") {
			if ids[e.get("aria-describedby")] != 1 {
				t.Errorf("%s: described by %q, which is not there", it.name, e.get("aria-describedby"))
			}
		}
		for _, e := range doc.with("aria-invalid") {
			alerts := doc.all(func(a *node) bool {
				return a.get("role") == "alert" && a.get("id") == e.get("aria-describedby") && a.text() != ""
			})
			if len(alerts) != 1 {
				t.Errorf("%s: what is wrong with %s is not told", it.name, e.get("name"))
			}
			if !e.has("autofocus") || len(doc.with("autofocus")) != 1 {
				t.Errorf("%s: the focus is not on %s, which is wrong", it.name, e.get("name"))
			}
		}
		for _, b := range doc.tags("button", "a") {
			if b.text() == "" {
				t.Errorf("%s: a button or link without a word", it.name)
			}
		}
	}
	code := render(t, s, sample{"sent", Sent{}, ""}).form(t, "enter-code").with("inputmode")[0]
	if code.get("inputmode") != "numeric" || code.get("autocomplete") != "one-time-code" || code.get("name") != "code" {
		t.Error("the code field does not bring the digits up")
	}
}

func TestEveryPageOfALoginNamesAppAndAddress(t *testing.T) {
	s := site(t)
	for _, page := range []Page{
		Sent{Client: intranet, Email: ada}, OtherBrowser{Client: intranet, Email: ada}, Code{Client: intranet, Email: ada},
		Confirm{Client: intranet, Email: ada}, SignedIn{Client: intranet, Email: ada}, Expired{Client: intranet, Email: ada},
		Used{Client: intranet, Email: ada}, Superseded{Client: intranet, Email: ada}, Cancelled{Client: intranet, Email: ada},
		SelectAccount{Client: intranet, Email: ada}, Consent{Client: intranet, Email: ada}, Device{State: "ask", Client: intranet, Email: ada}, Logout{Client: intranet, Email: ada},
	} {
		text := render(t, s, sample{page.page(), page, ""}).text()
		if !strings.Contains(text, "Intranet") || !strings.Contains(text, ada) {
			t.Errorf("%s: %s", page.page(), text)
		}
	}
}

func TestTheWaitingTabMovesOnWithoutJavaScript(t *testing.T) {
	s := site(t)
	refresh := func(it sample) []*node {
		return render(t, s, it).all(func(e *node) bool { return e.Data == "meta" && e.get("http-equiv") == "refresh" })
	}
	got := refresh(sample{"sent", Sent{Wait: `w"&x`}, ""})
	if len(got) != 1 || got[0].Parent.Data != "noscript" || got[0].Parent.Parent.Data != "head" || got[0].get("content") != "5;url=/login?wait=w%22%26x" {
		t.Error("want a meta refresh to the same page in head, for browsers without script alone")
	}
	// A reload would take away what is being typed, and what was wrong with it.
	got = refresh(sample{"logged-out", LoggedOut{ContinueURL: `https://app.example.com/bye?a="&b=c`, Auto: true}, ""})
	if len(got) != 1 || got[0].Parent.Data != "noscript" || got[0].get("content") != `5;url=https://app.example.com/bye?a="&b=c` {
		t.Error("want a meta refresh to where a logout continues")
	}
	for _, page := range []LoggedOut{{ContinueURL: "https://app.example.com/bye"}, {Auto: true}} {
		if len(refresh(sample{"logged-out", page, ""})) > 0 {
			t.Errorf("%+v moves on", page)
		}
	}
	if len(refresh(sample{"typing", Sent{Wait: "w"}, "/login?wait=w&code="})) > 0 || len(refresh(sample{"wrong", Sent{Wait: "w", Error: "wrong-code"}, ""})) > 0 {
		t.Error("the page reloads while a code is typed")
	}
}

func TestHostileNamesAreOnlyNames(t *testing.T) {
	s := site(t)
	evil := `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	client := Client{Name: evil, URI: "javascript:alert(1)", LogoURI: "javascript:alert(1)", PolicyURI: "javascript:alert(1)", TosURI: "data:text/html,x"}
	for _, it := range samples(client, evil+"@example.com") {
		doc := render(t, s, it)
		if n := len(doc.tags("script")); n != 1 {
			t.Errorf("%s: %d scripts", it.name, n)
		}
		if len(doc.tags("img")) > 0 {
			t.Errorf("%s: an image of somebody else", it.name)
		}
		for _, a := range doc.tags("a") {
			if strings.HasPrefix(a.get("href"), "javascript:") || strings.HasPrefix(a.get("href"), "data:") {
				t.Errorf("%s: a link to %q", it.name, a.get("href"))
			}
		}
	}
	text := render(t, s, sample{"login", Login{Client: Client{Name: `"><script>`}}, ""}).text()
	if !strings.Contains(text, `to continue to "><script>`) {
		t.Errorf("the name is not shown as it is: %s", text)
	}
	for _, page := range []Page{LoggedOut{ContinueURL: "javascript:alert(1)"}, LoggedOut{ContinueURL: "//evil.example/"}, LoggedOut{ContinueURL: "javascript:alert(1)", Auto: true}, FormPost{Action: "data:text/html,x"}} {
		w := httptest.NewRecorder()
		s.Render(w, httptest.NewRequest(http.MethodGet, "/", nil), http.StatusOK, page)
		if w.Code != http.StatusInternalServerError {
			t.Errorf("%+v was rendered", page)
		}
	}
}

// RFC 8628 §3.3.1 and §5.4: who allows a device sees its code to compare, and
// whose device that is.
func TestTheDevicePageTellsWhatItIsAbout(t *testing.T) {
	s := site(t)
	ask := Device{State: "ask", Code: "WDJB-MJHT", Client: intranet, Email: ada, Scopes: []string{"openid", "tickets:read"}, Resources: []string{longHost},
		Agent: "curl on Linux", Network: "203.0.113.0/24", Asked: noon.Add(-2 * time.Minute), Now: noon}
	for name, tc := range map[string]struct {
		page Device
		want []string
	}{
		"ask":          {ask, []string{"Intranet", ada, "WDJB-MJHT", "Know that it's you", "Use tickets:read", longHost, "curl on Linux", "203.0.113.0/24", "2 minutes ago", "you started this yourself", "it's a trick"}},
		"code":         {Device{}, []string{"Type the code", "you started this yourself"}},
		"unknown code": {Device{Error: "unknown-code"}, []string{"don't know this code"}},
		"limited":      {Device{Error: "limited"}, []string{"too many"}},
		"allowed":      {Device{State: "allowed"}, []string{"connected", "return to your device"}},
		"denied":       {Device{State: "denied"}, []string{"not connected"}},
	} {
		text := render(t, s, sample{name, tc.page, ""}).text()
		for _, want := range tc.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not said: %s", name, want, text)
			}
		}
	}
	field := render(t, s, sample{"", Device{Code: "WDJB-MJHT"}, ""}).form(t, "device-code").tags("input")[0]
	if field.get("name") != "user_code" || field.get("value") != "WDJB-MJHT" {
		t.Error("the code of the link does not stand in the field")
	}
}

// OIDC Prompt Create §4.1: the page is about a new account.
func TestLoginSpeaksOfANewAccount(t *testing.T) {
	s := site(t)
	for create, want := range map[bool][2]string{true: {"Create an account", "Create account"}, false: {"Sign in", "Email me a link"}} {
		doc := render(t, s, sample{"login", Login{Create: create}, ""})
		if have := [2]string{doc.tags("h1")[0].text(), doc.form(t, "email").tags("button")[0].text()}; have != want {
			t.Errorf("create %v: %q, want %q", create, have, want)
		}
	}
}

// RFC 8707 §2: where access is asked for, and no host is cut short.
func TestConsentNamesScopesAndResources(t *testing.T) {
	doc := render(t, site(t), sample{"consent", Consent{Client: intranet, Scopes: []string{"email", "tickets:read"}, Resources: []string{"api.example.com", longHost + "\u202e"}}, ""})
	var have []string
	for _, li := range doc.tags("li") {
		have = append(have, li.text())
	}
	want := []string{"See your email address", "Use tickets:read", "Act for you at api.example.com", "Act for you at " + longHost}
	if !slices.Equal(have, want) {
		t.Errorf("%q, want %q", have, want)
	}
}

// OIDC Core §3.1.2.1 and Registration §2: the login page shows the logo, and
// links the policy and the terms, of the client.
func TestLoginShowsTheClient(t *testing.T) {
	doc := render(t, site(t), sample{"login", Login{Client: intranet}, ""})
	logos := doc.tags("img")
	if len(logos) != 1 || logos[0].get("src") != intranet.LogoURI || logos[0].get("referrerpolicy") != "no-referrer" || logos[0].get("alt") != "Intranet" || logos[0].get("width") == "" || logos[0].get("height") == "" {
		t.Error("want the logo, of a fixed size and without a referrer")
	}
	if logos[0].get("data-monogram") != "I" {
		t.Error("no monogram stands in for the logo")
	}
	linked := map[string]bool{}
	for _, a := range doc.tags("a") {
		linked[a.get("href")] = true
	}
	if !linked[intranet.PolicyURI] || !linked[intranet.TosURI] {
		t.Errorf("links: %v", linked)
	}
}

func TestSafeName(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"stays", "Grafana Cloud 2", "Grafana Cloud 2"},
		{"other scripts stay", "株式会社 میز", "株式会社 میز"},
		{"joiners of a script stay", "می\u200cخواهم", "می\u200cخواهم"},
		{"line breaks and tabs become a space", " a\r\n b\t\tc\u2028d ", "a b c d"},
		{"controls go", "a\x00b\x1b[31mc\u007f", "ab[31mc"},
		{"bidi characters go", "\u202egpj.exe\u2066\u200f", "gpj.exe"},
		{"invisible characters go", "a\u200bb\ufeffc\u00add", "abcd"},
		{"private characters go", "a\ue000b", "ab"},
		{"invalid bytes go", "a\xffb", "ab"},
		{"RFC 2047 §2: no encoded word opens", "a=?utf-8?q?b?=", "autf-8?q?b?="},
		{"nor after the first pass", "==??x", "x"},
		{"too long", strings.Repeat("ä", 61), strings.Repeat("ä", 59) + "…"},
		{"just right", strings.Repeat("ä", 60), strings.Repeat("ä", 60)},
		{"nothing left", "\u202e \x00", ""},
	} {
		if got := SafeName(tc.in); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func FuzzSafeName(f *testing.F) {
	f.Add("=?=?", "a\u202e")
	f.Fuzz(func(t *testing.T, a, b string) {
		got := SafeName(a + b)
		if strings.Contains(got, "=?") || strings.ContainsAny(got, "\r\n\x00\u202e\u2066") || len([]rune(got)) > maxName || SafeName(got) != got {
			t.Errorf("SafeName(%q) = %q", a+b, got)
		}
	})
}

func TestRender(t *testing.T) {
	s := site(t)
	w := httptest.NewRecorder()
	s.Render(w, httptest.NewRequest(http.MethodHead, "/login", nil), http.StatusGone, Expired{})
	if w.Code != http.StatusGone || w.Body.Len() != 0 || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("status %d, headers %v, %d bytes", w.Code, w.Header(), w.Body.Len())
	}
	// The host to trust is the issuer's, not the one a request names.
	r := httptest.NewRequest(http.MethodGet, "https://evil.example/login", nil)
	w = httptest.NewRecorder()
	s.Render(w, r, http.StatusOK, Code{Code: "000000"})
	if text := parse(t, w.Body.String()).text(); !strings.Contains(text, "the tab at login.example.com") || strings.Contains(text, "evil") {
		t.Error(text)
	}
}

func TestBranding(t *testing.T) {
	for name, b := range map[string]Branding{
		"accent":  {Accent: "blue"},
		"hex":     {Accent: "#12345g"},
		"support": {SupportURL: "javascript:alert(1)"},
		"logo":    {Logo: []byte("<!doctype html>")},
	} {
		if _, err := New(b); err == nil || !strings.HasPrefix(err.Error(), "branding: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := New(Branding{Logo: []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)})
	if err != nil {
		t.Fatal(err)
	}
	doc := render(t, s, sample{"login", Login{}, ""})
	if img := doc.tags("img"); len(img) != 1 || !strings.HasPrefix(img[0].get("src"), "/static/logo?v=") {
		t.Error("the logo is not shown")
	}
}
