//go:build integration

package integration

import (
	"encoding/json"
	"io"
	"net/http"
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
}

func (w *world) browser() *browser { return &browser{w: w, client: w.client()} }

// page is where a browser arrived.
type page struct {
	t      testing.TB
	at     *url.URL
	status int
	body   string
	root   *html.Node
}

// open goes to an address as from the address bar, or from a mail.
func (b *browser) open(address string) page {
	b.w.t.Helper()
	return b.request(http.MethodGet, address, nil)
}

// submit sends a form of a page, with some of its fields filled in.
func (b *browser) submit(p page, form string, fields ...string) page {
	b.w.t.Helper()
	node := p.find("form", "data-form", form)
	if node == nil {
		b.w.t.Fatalf("there is no form %q on %s", form, p)
	}
	values := url.Values{}
	for n := range node.Descendants() {
		if name := attribute(n, "name"); n.Data == "input" && name != "" {
			values.Add(name, attribute(n, "value"))
		}
	}
	for i := 0; i+1 < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	to, err := p.at.Parse(attribute(node, "action"))
	if err != nil {
		b.w.t.Fatal(err)
	}
	return b.request(http.MethodPost, to.String(), values)
}

func (b *browser) request(method, address string, form url.Values) page {
	b.w.t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.w.t.Fatal(err)
	}
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
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
		b.w.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		b.w.t.Fatal(err)
	}
	root, err := html.Parse(strings.NewReader(string(body)))
	if err != nil {
		b.w.t.Fatal(err)
	}
	return page{t: b.w.t, at: answer.Request.URL, status: answer.StatusCode, body: string(body), root: root}
}

// signIn starts at a relying party and, by mail, comes back to it.
func (b *browser) signIn(start, email string) page {
	b.w.t.Helper()
	form := b.open(start).is("login")
	b.submit(form, "email", "email", email).is("sent")
	return b.submit(b.open(b.w.mail.next(email)).is("confirm"), "confirm")
}

// name is what a page of the provider calls itself.
func (p page) name() string {
	if body := p.find("body", "data-page", ""); body != nil {
		return attribute(body, "data-page")
	}
	return ""
}

// String says where the browser is, without the secrets of the address.
func (p page) String() string {
	s := p.at.Host + p.at.Path + " (" + http.StatusText(p.status) + ")"
	if n := p.find("", "data-error", ""); n != nil {
		s += " with the error " + attribute(n, "data-error")
	}
	if name := p.name(); name != "" {
		return "the page " + name + " at " + s
	}
	return s + ": " + p.body
}

// is wants a page of the provider.
func (p page) is(name string) page {
	p.t.Helper()
	if p.name() != name || p.status != http.StatusOK {
		p.t.Fatalf("the browser is at %s, want the page %s", p, name)
	}
	return p
}

// says reads what a relying party answered in JSON.
func (p page) says(to any) {
	p.t.Helper()
	if p.status != http.StatusOK {
		p.t.Fatalf("the browser is at %s", p)
	}
	if err := json.Unmarshal([]byte(p.body), to); err != nil {
		p.t.Fatalf("%v from %s", err, p)
	}
}

// find finds the first element of a name, or any, with an attribute of a value,
// or any.
func (p page) find(element, attr, value string) *html.Node {
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && (element == "" || n.Data == element) && (value == "" && attribute(n, attr) != "" || value != "" && attribute(n, attr) == value) {
			return n
		}
	}
	return nil
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
