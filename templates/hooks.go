package templates

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// compare draws what an operator overrides, in every state there is, and finds
// what it lost: the hooks of the built-in page, and the link of the mail. What
// a browser would refuse to run is found as well.
func (o *overrides) compare(t, built *Templates) error {
	everywhere := o.own["pages/layout.html"] != nil || o.own["pages/parts.html"] != nil
	told := map[string]error{} // one error of a kind: a form is lost in every state
	for _, it := range samples(intranet, ada) {
		file := "pages/" + it.page.page() + ".html"
		if o.own[file] == nil {
			if !everywhere {
				continue
			}
			file = "pages/layout.html"
			if o.own[file] == nil {
				file = "pages/parts.html"
			}
		}
		want, err := built.draw(it)
		if err != nil {
			return err
		}
		have, err := t.draw(it)
		if err != nil {
			err = o.locate(err)
			told[err.Error()] = err
			continue
		}
		there := hooks(have)
		for _, hook := range hooks(want) {
			if key := file + hook; !slices.Contains(there, hook) && told[key] == nil {
				told[key] = fmt.Errorf("%s: %s is missing (state %s); write it as the built-in file does", o.path(file), hook, it.name)
			}
		}
		for _, what := range refused(have) {
			told[file+what] = fmt.Errorf("%s: %s is refused by the Content-Security-Policy; write styles into static/style.css, and no script", o.path(file), what)
		}
	}
	for name, m := range mails() {
		if o.own["mails/login.html"] == nil && o.own["mails/login.txt"] == nil {
			break
		}
		_, text, rich, err := t.LoginMail(m)
		if err != nil {
			err = o.locate(err)
			told[err.Error()] = err
			continue
		}
		if o.own["mails/login.txt"] != nil && !slices.Contains(strings.Split(text, "\n"), m.Link) {
			told["text"] = fmt.Errorf("%s: the link does not stand alone on a line (state %s); write {{.Mail.Link}} on a line of its own", o.path("mails/login.txt"), name)
		}
		doc, err := html.Parse(strings.NewReader(rich))
		if err != nil {
			return err
		}
		if o.own["mails/login.html"] != nil && !leads(doc, m.Link) {
			told["html"] = fmt.Errorf(`%s: the link is missing (state %s); write <a href="{{.Mail.Link}}">`, o.path("mails/login.html"), name)
		}
	}
	var wrong []error
	for _, key := range slices.Sorted(maps.Keys(told)) {
		wrong = append(wrong, told[key])
	}
	return errors.Join(wrong...)
}

// draw is a page in one of its states, as a browser without script reads it.
func (t *Templates) draw(it sample) (*html.Node, error) {
	r, err := http.NewRequest(http.MethodGet, path.Join("/", it.path), nil)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	if err := t.execute(&body, r, t.languages.get("en"), it.page); err != nil {
		return nil, err
	}
	return html.ParseWithOptions(&body, html.ParseOptionEnableScripting(false))
}

// ornaments are attributes of ours that a page may lose.
var ornaments = []string{"data-monogram", "data-seconds"}

// hooks are what themes, tests, assistive tools and the script find in a page,
// written as it stands there: language and script, each data- attribute, the
// code to type, and each form with what it sends.
func hooks(doc *html.Node) []string {
	var all []string
	add := func(n *html.Node, more ...string) {
		text := "<" + n.Data
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "data-") && !slices.Contains(ornaments, a.Key) || slices.Contains(more, a.Key) {
				text += fmt.Sprintf(" %s=%q", a.Key, a.Val)
			}
		}
		all = append(all, text+">")
	}
	for n := range doc.Descendants() {
		switch {
		case n.Type != html.ElementNode:
		case n.Data == "html":
			add(n, "lang", "dir")
		case n.Data == "script":
			add(n, "src")
		case n.Data == "meta" && attribute(n, "http-equiv") == "refresh":
			add(n, "http-equiv", "content")
		case n.Data == "form":
			add(n, "action", "method")
			for i := range n.Descendants() {
				if name := attribute(i, "name"); name != "" {
					sent := fmt.Sprintf("name=%q", name)
					if kind := attribute(i, "type"); kind == "hidden" || kind == "checkbox" {
						sent += fmt.Sprintf(" value=%q", attribute(i, "value"))
					}
					all = append(all, fmt.Sprintf("in the form %q, a field %s", attribute(n, "data-form"), sent))
				}
			}
		case hasAttribute(n, "data-code"):
			all = append(all, fmt.Sprintf("<%s data-code>%s", n.Data, content(n)))
		case slices.ContainsFunc(n.Attr, func(a html.Attribute) bool {
			return strings.HasPrefix(a.Key, "data-") && !slices.Contains(ornaments, a.Key)
		}):
			add(n)
		}
	}
	return all
}

// refused are the elements and attributes that the pages' policy makes nothing
// of.
func refused(doc *html.Node) []string {
	var all []string
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if n.Data == "style" || n.Data == "script" && attribute(n, "src") == "" {
			all = append(all, "an inline <"+n.Data+">")
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				all = append(all, fmt.Sprintf("<%s %s=…>", n.Data, a.Key))
			}
		}
	}
	return all
}

// leads says whether a document has a link to address.
func leads(doc *html.Node, address string) bool {
	for n := range doc.Descendants() {
		if n.Data == "a" && attribute(n, "href") == address {
			return true
		}
	}
	return false
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func hasAttribute(n *html.Node, key string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == key })
}

func content(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.TrimSpace(b.String())
}
