package main

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// transport keeps connections open for as many people as there are.
var transport = &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, DisableCompression: true}

// browser is a person's: it keeps cookies and follows no redirect by itself.
type browser struct {
	base    string
	cookies map[string]string
}

func newBrowser(base string) *browser { return &browser{base: base, cookies: map[string]string{}} }

type answer struct {
	status   int
	location string
	body     []byte
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (b *browser) do(method, target string, form url.Values, headers ...string) (answer, error) {
	if !strings.HasPrefix(target, "http") {
		target = b.base + target
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequest(method, target, body)
	if err != nil {
		return answer{}, err
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w, err := transport.RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer w.Body.Close()
	buffer := buffers.Get().(*bytes.Buffer)
	buffer.Reset()
	defer buffers.Put(buffer)
	if _, err := buffer.ReadFrom(w.Body); err != nil {
		return answer{}, err
	}
	if len(w.Header["Set-Cookie"]) > 0 {
		for _, c := range w.Cookies() {
			b.cookies[c.Name] = c.Value
		}
	}
	return answer{w.StatusCode, w.Header.Get("Location"), bytes.Clone(buffer.Bytes())}, nil
}

// must is do for an answer of one status.
func (b *browser) must(status int, method, target string, form url.Values, headers ...string) (answer, error) {
	a, err := b.do(method, target, form, headers...)
	if err == nil && a.status != status {
		path, _, _ := strings.Cut(target, "?")
		err = fmt.Errorf("%s %s: status %d, want %d: %.300s", method, path, a.status, status, a.body)
	}
	return a, err
}

// field is the value of a hidden field.
func (a answer) field(name string) string {
	_, rest, _ := bytes.Cut(a.body, []byte(`name="`+name+`" value="`))
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return html.UnescapeString(string(value))
}

// param is a parameter of where the answer leads.
func (a answer) param(name string) string {
	u, err := url.Parse(a.location)
	if err != nil {
		return ""
	}
	return u.Query().Get(name)
}
