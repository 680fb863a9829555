package world

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Browser is a person's browser without JavaScript: it keeps cookies, follows
// redirects and sends forms.
type Browser struct {
	W      *World
	Client *http.Client
	Agent  string
	Header http.Header // sent along with every request
}

// What browsers and scanners say of themselves.
const (
	Firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	Phone   = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)

// Browser opens a new profile.
func (w *World) Browser(agent string) *Browser {
	w.T.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.T.Fatal(err)
	}
	return &Browser{W: w, Agent: agent, Client: &http.Client{
		Jar:           jar,
		Transport:     witness{w.Seen, http.DefaultTransport},
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Copy is a browser with the same cookies, until one of them gets another.
func (b *Browser) Copy() *Browser {
	b.W.T.Helper()
	at, err := url.Parse(b.W.Issuer)
	if err != nil {
		b.W.T.Fatal(err)
	}
	c := b.W.Browser(b.Agent)
	c.Client.Jar.SetCookies(at, b.Client.Jar.Cookies(at))
	return c
}

// Page is where a browser arrived. When that is an address of the application
// there is nothing but the address.
type Page struct {
	t      testing.TB
	At     *url.URL
	Status int
	header http.Header
	root   *html.Node
}

// Open goes to an address as from the address bar, or from a mail.
func (b *Browser) Open(address string) Page {
	b.W.T.Helper()
	return b.arrive(b.Request(http.MethodGet, address, nil))
}

// Submit sends a form of a page, with some of its fields filled in.
func (b *Browser) Submit(p Page, form string, fields ...string) Page {
	b.W.T.Helper()
	return b.arrive(b.Post(p, form, fields...))
}

func (b *Browser) arrive(p Page, err error) Page {
	b.W.T.Helper()
	if err != nil {
		b.W.T.Fatal(err)
	}
	return p
}

// Post is submit for goroutines, which must not end the test.
func (b *Browser) Post(p Page, form string, fields ...string) (Page, error) {
	node, ok := p.Form(form)
	if !ok {
		return Page{}, fmt.Errorf("there is no form %q on the page %q (%d) at %s", form, p.Name(), p.Status, p.At.Path)
	}
	values := fieldsOf(node)
	for i := 0; i+1 < len(fields); i += 2 {
		if !hasField(node, fields[i]) {
			return Page{}, fmt.Errorf("the form %q has no field %q", form, fields[i])
		}
		values.Set(fields[i], fields[i+1])
	}
	to, err := p.At.Parse(Attribute(node, "action"))
	if err != nil {
		return Page{}, err
	}
	if strings.EqualFold(Attribute(node, "method"), http.MethodPost) {
		return b.Request(http.MethodPost, to.String(), values)
	}
	to.RawQuery = values.Encode()
	return b.Request(http.MethodGet, to.String(), nil)
}

// Request sends one request and follows where it leads, until a page or the
// application. Where no answer came, or only a part of one, the error is a
// *url.Error.
func (b *Browser) Request(method, address string, form url.Values) (Page, error) {
	for range 20 {
		var body io.Reader
		if method == http.MethodPost {
			body = strings.NewReader(form.Encode())
		}
		r, err := http.NewRequest(method, address, body)
		if err != nil {
			return Page{}, err
		}
		for name, values := range b.Header {
			r.Header[name] = values
		}
		r.Header.Set("User-Agent", b.Agent)
		r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Site", "none")
		if method == http.MethodPost { // from a page that sends no referrer
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", "null")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		answer, err := b.Client.Do(r)
		if err != nil {
			return Page{}, err
		}
		content, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			return Page{}, &url.Error{Op: method, URL: address, Err: err}
		}
		to, err := answer.Location()
		if err != nil { // no redirect
			root, err := html.Parse(strings.NewReader(string(content)))
			return Page{t: b.W.T, At: r.URL, Status: answer.StatusCode, header: answer.Header, root: root}, err
		}
		if to.Host == AppHost {
			return Page{t: b.W.T, At: to}, nil
		}
		if answer.StatusCode != http.StatusTemporaryRedirect && answer.StatusCode != http.StatusPermanentRedirect {
			method, form = http.MethodGet, nil
		}
		address = to.String()
	}
	return Page{}, fmt.Errorf("%s leads around in circles", address)
}

// Cookie is the value of a cookie at the provider; empty: there is none.
func (b *Browser) Cookie(name string) string {
	at, err := url.Parse(b.W.Issuer)
	if err != nil {
		b.W.T.Fatal(err)
	}
	for _, c := range b.Client.Jar.Cookies(at) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// SignedIn says whether the browser has a session cookie.
func (b *Browser) SignedIn() bool { return b.Cookie("sealpost-session") != "" }

// MovesOn is what the script of a waiting tab does: it asks how things stand,
// until it is told to look again.
func (b *Browser) MovesOn(p Page) Page {
	b.W.T.Helper()
	wait := p.At.Query().Get("wait")
	if wait == "" {
		b.W.T.Fatalf("the page %q does not wait", p.Name())
	}
	var to string
	Eventually(b.W.T, "end of the wait", func() bool {
		answer, err := b.Client.Get(b.W.Issuer + "/login/status?" + url.Values{"wait": {wait}}.Encode())
		if err != nil {
			b.W.T.Fatal(err)
		}
		defer answer.Body.Close()
		var status struct{ State, Location string }
		if err := json.NewDecoder(answer.Body).Decode(&status); err != nil || answer.StatusCode != http.StatusOK {
			b.W.T.Fatalf("status of the wait: %d, %v", answer.StatusCode, err)
		}
		to = status.Location
		return to != ""
	})
	at, err := p.At.Parse(to)
	if err != nil {
		b.W.T.Fatal(err)
	}
	return b.Open(at.String())
}

// Name is what the page calls itself; empty at the application.
func (p Page) Name() string {
	if body := p.Find("body", "data-page"); body != nil {
		return Attribute(body, "data-page")
	}
	return ""
}

// MustBe wants the page to be of a name and status.
func (p Page) MustBe(name string, status int) Page {
	p.t.Helper()
	if p.Name() != name || p.Status != status {
		p.t.Fatalf("the page is %q with status %d and error %q at %s, want %q with %d", p.Name(), p.Status, p.Error(), p.At.Path, name, status)
	}
	return p
}

// Answer is what the application was told by a redirect to it.
func (p Page) Answer() url.Values {
	p.t.Helper()
	if p.At.Host != AppHost {
		p.t.Fatalf("the browser is at the page %q with status %d, want the application", p.Name(), p.Status)
	}
	return p.At.Query()
}

// Header is that of the page's answer.
func (p Page) Header() http.Header { return p.header }

// Text is what a person reads on the page.
func (p Page) Text() string {
	if p.root == nil {
		return ""
	}
	return text(p.root)
}

// Attributes are the values of an attribute throughout the page.
func (p Page) Attributes(name string) (values []string) {
	if p.root == nil {
		return nil
	}
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && hasAttribute(n, name) {
			values = append(values, Attribute(n, name))
		}
	}
	return values
}

// Runs says whether a script of the page, or an attribute that is one, has a
// word in it.
func (p Page) Runs(word string) bool {
	if p.root == nil {
		return false
	}
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && (n.Data == "script" || n.Data == "style") && strings.Contains(text(n), word) {
			return true
		}
		for _, a := range n.Attr {
			if (strings.HasPrefix(a.Key, "on") || strings.Contains(a.Key, word)) && strings.Contains(a.Key+a.Val, word) {
				return true
			}
		}
	}
	return false
}

// Forms are the names of the page's forms, in its order.
func (p Page) Forms() (names []string) {
	if p.root == nil {
		return nil
	}
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "form" {
			names = append(names, Attribute(n, "data-form"))
		}
	}
	return names
}

// Form finds a form by its name.
func (p Page) Form(name string) (*html.Node, bool) {
	if p.root == nil {
		return nil, false
	}
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "form" && Attribute(n, "data-form") == name {
			return n, true
		}
	}
	return nil, false
}

// Auto says whether a script sends the form by itself.
func (p Page) Auto(form string) bool {
	n, ok := p.Form(form)
	return ok && hasAttribute(n, "data-auto")
}

// Code is the code that the page shows.
func (p Page) Code() string {
	p.t.Helper()
	n := p.Find("output", "data-code")
	if n == nil {
		p.t.Fatalf("the page %q shows no code", p.Name())
	}
	return text(n)
}

// Error is the error that the page names.
func (p Page) Error() string {
	if n := p.Find("", "data-error"); n != nil {
		return Attribute(n, "data-error")
	}
	return ""
}

// Find finds the first element of a name, or any, with an attribute.
func (p Page) Find(element, attr string) *html.Node {
	if p.root == nil {
		return nil
	}
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && (element == "" || n.Data == element) && hasAttribute(n, attr) {
			return n
		}
	}
	return nil
}

// Button finds the address of the link that is drawn as a button.
func (p Page) Button() string {
	p.t.Helper()
	if p.root != nil {
		for n := range p.root.Descendants() {
			if n.Type == html.ElementNode && n.Data == "a" && Attribute(n, "class") == "button" {
				to, err := p.At.Parse(Attribute(n, "href"))
				if err != nil {
					p.t.Fatal(err)
				}
				return to.String()
			}
		}
	}
	p.t.Fatalf("the page %q has no way on", p.Name())
	return ""
}

// fieldsOf gives the fields of a form with the values that are sent unless
// somebody changes them.
func fieldsOf(form *html.Node) url.Values {
	values := url.Values{}
	for n := range form.Descendants() {
		name := Attribute(n, "name")
		switch {
		case n.Type != html.ElementNode || name == "":
		case n.Data == "input" && (Attribute(n, "type") != "checkbox" || hasAttribute(n, "checked")):
			values.Add(name, Attribute(n, "value"))
		case n.Data == "select":
			values.Add(name, chosen(n))
		}
	}
	return values
}

// chosen is the value of a menu.
func chosen(menu *html.Node) (value string) {
	first := true
	for n := range menu.Descendants() {
		if n.Type == html.ElementNode && n.Data == "option" && (first || hasAttribute(n, "selected")) {
			value, first = Attribute(n, "value"), false
		}
	}
	return value
}

// hasField says whether a form has a field that somebody can fill in, or tick.
func hasField(form *html.Node, name string) bool {
	for n := range form.Descendants() {
		if n.Type == html.ElementNode && (n.Data == "input" || n.Data == "select") && Attribute(n, "name") == name {
			return true
		}
	}
	return false
}

func hasAttribute(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

func Attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

// Send sends a request that is no browser's and gives the answer with its body.
func (w *World) Send(method, address, body string, header map[string]string) (*http.Response, string) {
	w.T.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		w.T.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	client := http.Client{
		Transport:     witness{w.Seen, http.DefaultTransport},
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(r)
	if err != nil {
		w.T.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		w.T.Fatal(err)
	}
	return answer, string(content)
}
