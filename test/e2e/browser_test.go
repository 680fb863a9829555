package e2e

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

// browser is a person's browser without JavaScript: it keeps cookies, follows
// redirects and sends forms.
type browser struct {
	w      *world
	client *http.Client
	agent  string
}

// What browsers and scanners say of themselves.
const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	phone   = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)

// browser opens a new profile.
func (w *world) browser(agent string) *browser {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &browser{w: w, agent: agent, client: &http.Client{
		Jar:           jar,
		Transport:     witness{w.seen, http.DefaultTransport},
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// copy is a browser with the same cookies, until one of them gets another.
func (b *browser) copy() *browser {
	b.w.t.Helper()
	at, err := url.Parse(b.w.issuer)
	if err != nil {
		b.w.t.Fatal(err)
	}
	c := b.w.browser(b.agent)
	c.client.Jar.SetCookies(at, b.client.Jar.Cookies(at))
	return c
}

// page is where a browser arrived. When that is an address of the application
// there is nothing but the address.
type page struct {
	t      testing.TB
	at     *url.URL
	status int
	header http.Header
	root   *html.Node
}

// open goes to an address as from the address bar, or from a mail.
func (b *browser) open(address string) page {
	b.w.t.Helper()
	return b.arrive(b.request(http.MethodGet, address, nil))
}

// submit sends a form of a page, with some of its fields filled in.
func (b *browser) submit(p page, form string, fields ...string) page {
	b.w.t.Helper()
	return b.arrive(b.post(p, form, fields...))
}

func (b *browser) arrive(p page, err error) page {
	b.w.t.Helper()
	if err != nil {
		b.w.t.Fatal(err)
	}
	return p
}

// post is submit for goroutines, which must not end the test.
func (b *browser) post(p page, form string, fields ...string) (page, error) {
	node, ok := p.form(form)
	if !ok {
		return page{}, fmt.Errorf("there is no form %q on the page %q (%d) at %s", form, p.name(), p.status, p.at.Path)
	}
	values := fieldsOf(node)
	for i := 0; i+1 < len(fields); i += 2 {
		if !values.Has(fields[i]) {
			return page{}, fmt.Errorf("the form %q has no field %q", form, fields[i])
		}
		values.Set(fields[i], fields[i+1])
	}
	to, err := p.at.Parse(attribute(node, "action"))
	if err != nil {
		return page{}, err
	}
	if strings.EqualFold(attribute(node, "method"), http.MethodPost) {
		return b.request(http.MethodPost, to.String(), values)
	}
	to.RawQuery = values.Encode()
	return b.request(http.MethodGet, to.String(), nil)
}

// request sends one request and follows where it leads, until a page or the
// application.
func (b *browser) request(method, address string, form url.Values) (page, error) {
	for range 20 {
		var body io.Reader
		if method == http.MethodPost {
			body = strings.NewReader(form.Encode())
		}
		r, err := http.NewRequest(method, address, body)
		if err != nil {
			return page{}, err
		}
		r.Header.Set("User-Agent", b.agent)
		r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Site", "none")
		if method == http.MethodPost { // from a page that sends no referrer
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", "null")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		answer, err := b.client.Do(r)
		if err != nil {
			return page{}, err
		}
		content, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			return page{}, err
		}
		to, err := answer.Location()
		if err != nil { // no redirect
			root, err := html.Parse(strings.NewReader(string(content)))
			return page{t: b.w.t, at: r.URL, status: answer.StatusCode, header: answer.Header, root: root}, err
		}
		if to.Host == appHost {
			return page{t: b.w.t, at: to}, nil
		}
		if answer.StatusCode != http.StatusTemporaryRedirect && answer.StatusCode != http.StatusPermanentRedirect {
			method, form = http.MethodGet, nil
		}
		address = to.String()
	}
	return page{}, fmt.Errorf("%s leads around in circles", address)
}

// cookie is the value of a cookie at the provider.
func (b *browser) cookie(name string) string {
	at, err := url.Parse(b.w.issuer)
	if err != nil {
		b.w.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(at) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// signedIn says whether the browser has a session cookie.
func (b *browser) signedIn() bool { return b.cookie("sealpost-session") != "" }

// movesOn is what the script of a waiting tab does: it asks how things stand,
// until it is told to look again.
func (b *browser) movesOn(p page) page {
	b.w.t.Helper()
	wait := p.at.Query().Get("wait")
	if wait == "" {
		b.w.t.Fatalf("the page %q does not wait", p.name())
	}
	var to string
	eventually(b.w.t, "end of the wait", func() bool {
		answer, err := b.client.Get(b.w.issuer + "/login/status?" + url.Values{"wait": {wait}}.Encode())
		if err != nil {
			b.w.t.Fatal(err)
		}
		defer answer.Body.Close()
		var status struct{ State, Location string }
		if err := json.NewDecoder(answer.Body).Decode(&status); err != nil || answer.StatusCode != http.StatusOK {
			b.w.t.Fatalf("status of the wait: %d, %v", answer.StatusCode, err)
		}
		to = status.Location
		return to != ""
	})
	at, err := p.at.Parse(to)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return b.open(at.String())
}

// name is what the page calls itself; empty at the application.
func (p page) name() string {
	if body := p.find("body", "data-page"); body != nil {
		return attribute(body, "data-page")
	}
	return ""
}

// is wants the page to be of a name and status.
func (p page) is(name string, status int) page {
	p.t.Helper()
	if p.name() != name || p.status != status {
		p.t.Fatalf("the page is %q with status %d and error %q at %s, want %q with %d", p.name(), p.status, p.error(), p.at.Path, name, status)
	}
	return p
}

// answer is what the application was told by a redirect to it.
func (p page) answer() url.Values {
	p.t.Helper()
	if p.at.Host != appHost {
		p.t.Fatalf("the browser is at the page %q with status %d, want the application", p.name(), p.status)
	}
	return p.at.Query()
}

// form finds a form by its name.
func (p page) form(name string) (*html.Node, bool) {
	if p.root == nil {
		return nil, false
	}
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "form" && attribute(n, "data-form") == name {
			return n, true
		}
	}
	return nil, false
}

// auto says whether a script sends the form by itself.
func (p page) auto(form string) bool {
	n, ok := p.form(form)
	return ok && hasAttribute(n, "data-auto")
}

// code is the code that the page shows.
func (p page) code() string {
	p.t.Helper()
	n := p.find("output", "data-code")
	if n == nil {
		p.t.Fatalf("the page %q shows no code", p.name())
	}
	return text(n)
}

// error is the error that the page names.
func (p page) error() string {
	if n := p.find("", "data-error"); n != nil {
		return attribute(n, "data-error")
	}
	return ""
}

// find finds the first element of a name, or any, with an attribute.
func (p page) find(element, attr string) *html.Node {
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

// button finds the address of the link that is drawn as a button.
func (p page) button() string {
	p.t.Helper()
	if p.root != nil {
		for n := range p.root.Descendants() {
			if n.Type == html.ElementNode && n.Data == "a" && attribute(n, "class") == "button" {
				to, err := p.at.Parse(attribute(n, "href"))
				if err != nil {
					p.t.Fatal(err)
				}
				return to.String()
			}
		}
	}
	p.t.Fatalf("the page %q has no way on", p.name())
	return ""
}

// fieldsOf gives the fields of a form with their values.
func fieldsOf(form *html.Node) url.Values {
	values := url.Values{}
	for n := range form.Descendants() {
		if n.Type == html.ElementNode && n.Data == "input" && hasAttribute(n, "name") {
			values.Add(attribute(n, "name"), attribute(n, "value"))
		}
	}
	return values
}

func hasAttribute(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

func attribute(n *html.Node, name string) string {
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

// send sends a request that is no browser's and gives the answer with its body.
func (w *world) send(method, address, body string, header map[string]string) (*http.Response, string) {
	w.t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	client := http.Client{
		Transport:     witness{w.seen, http.DefaultTransport},
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer, string(content)
}
