package templates

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A memoPage is drawn often, and differs from one person to the next in nothing
// but a token and an address, which stand in it as they are. It gives itself
// with both hidden; what is left is comparable.
type memoPage interface {
	Page
	hidden(hide func(*string)) Page
}

func (p Login) hidden(hide func(*string)) Page   { hide(&p.Request); return p }
func (p Confirm) hidden(hide func(*string)) Page { hide(&p.Token); hide(&p.Email); return p }

func (p Sent) hidden(hide func(*string)) Page {
	hide(&p.Wait)
	hide(&p.Email)
	p.ResendIn, p.ExpiresIn = wholeSeconds(p.ResendIn), wholeSeconds(p.ExpiresIn)
	return p
}

// hidden is a mail with what stands in it as it is hidden, but for the times,
// which are told to the minute. More are characters that stand as they are, too:
// a network is no part of an address.
func (m LoginMail) hidden(hide func(value *string, more string)) LoginMail {
	if before, token, ok := strings.Cut(m.Link, "?token="); ok {
		hide(&token, "")
		m.Link = before + "?token=" + token
	}
	hide(&m.To, "")
	hide(&m.Network, ":/")
	lasts := m.Expires.Sub(m.Asked)
	m.Asked = m.Asked.UTC().Truncate(time.Minute)
	m.Expires = m.Asked.Add(lasts)
	return m
}

// memo keeps pages, or mails, that were drawn, with gaps where the hidden values
// go: html/template takes most of the time that a login costs. Those of others
// ([Branding].Dir) may do with a value what they like, and are not kept.
type memo struct {
	marks [3]string // stand for the values while a page is drawn: nobody can guess them

	mu         sync.Mutex
	young, old map[any][]part // by memoKey or mailKey
}

const (
	memoSize = 256 // pages are kept at least, and twice as many at most
	minToken = 32  // characters: what is as long is not in an address by chance
)

type mailKey struct {
	mail LoginMail
	lang string
	rich bool
}

type memoKey struct {
	page              Page
	lang, host, query string
	get               bool
}

// A part is what stands before a hidden value, and which one that is; none
// follows the last part.
type part struct {
	text  []byte
	value int
}

func newMemo() *memo {
	return &memo{marks: [3]string{rand.Text(), rand.Text(), rand.Text()}, young: map[any][]part{}}
}

// draw does the same as execute, and less where it did the same before. A nil
// memo keeps nothing.
func (m *memo) draw(body *bytes.Buffer, r *http.Request, words words, p Page, execute func(*bytes.Buffer, *http.Request, words, Page) error) error {
	key, values, ok := m.key(r, words, p)
	if !ok {
		return execute(body, r, words, p)
	}
	return m.fill(body, key, values, func(body *bytes.Buffer) error {
		blank := *r
		at := *r.URL
		at.RawQuery = key.query
		blank.URL = &at
		return execute(body, &blank, words, key.page)
	})
}

// write is draw for one part of a mail.
func (m *memo) write(body *bytes.Buffer, v mailView, rich bool, execute func(*bytes.Buffer, mailView) error) error {
	if m == nil || v.Mail.Expires.Sub(v.Mail.Asked)%time.Minute != 0 || SafeName(v.Mail.Network) != v.Mail.Network {
		return execute(body, v)
	}
	var values []string
	ok := true
	blank := v
	blank.Mail = v.Mail.hidden(func(value *string, more string) {
		if ok = ok && standsAsItIs(*value, more); ok && *value != "" {
			values = append(values, *value)
			*value = m.marks[len(values)-1]
		}
	})
	if !ok {
		return execute(body, v)
	}
	return m.fill(body, mailKey{blank.Mail, v.Lang, rich}, values, func(body *bytes.Buffer) error { return execute(body, blank) })
}

// fill gives what is kept for a key, with values in its gaps. What is not kept
// is executed first, with marks in their place.
func (m *memo) fill(body *bytes.Buffer, key any, values []string, execute func(*bytes.Buffer) error) error {
	parts := m.get(key)
	if parts == nil {
		var drawn bytes.Buffer
		if err := execute(&drawn); err != nil {
			return err
		}
		parts = m.split(drawn.Bytes())
		m.put(key, parts)
	}
	size := 0
	for _, part := range parts {
		size += len(part.text)
		if part.value >= 0 {
			size += len(values[part.value])
		}
	}
	body.Grow(size)
	for _, part := range parts {
		body.Write(part.text)
		if part.value >= 0 {
			body.WriteString(values[part.value])
		}
	}
	return nil
}

// key is what a page is kept by, and what it hides; ok unless it must be drawn.
func (m *memo) key(r *http.Request, words words, p Page) (key memoKey, values []string, ok bool) {
	page, ok := p.(memoPage)
	if m == nil || !ok || len(r.URL.RawQuery) > maxMenu {
		return memoKey{}, nil, false
	}
	key = memoKey{lang: words.Lang, host: r.Host, query: r.URL.RawQuery, get: r.Method == http.MethodGet}
	key.page = page.hidden(func(value *string) {
		if ok = ok && standsAsItIs(*value, ""); ok && *value != "" {
			mark := m.marks[len(values)]
			if len(*value) >= minToken && !strings.Contains(*value, "@") {
				key.query = strings.ReplaceAll(key.query, *value, mark)
			}
			values = append(values, *value)
			*value = mark
		}
	})
	return key, values, ok && len(key.query) <= 2*len(m.marks[0])
}

// wholeSeconds is what [view.Clock] shows of a duration.
func wholeSeconds(d time.Duration) time.Duration {
	return time.Duration(ceil(d, time.Second)) * time.Second
}

// standsAsItIs says whether a value is the same in markup, in the query of an
// address, and as a name that is made safe. Some characters more are the same
// in markup alone.
func standsAsItIs(value, more string) bool {
	for _, c := range []byte(value) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.@", c) >= 0 || strings.IndexByte(more, c) >= 0) {
			return false
		}
	}
	return true
}

func (m *memo) split(drawn []byte) (parts []part) {
	for {
		at, value := len(drawn), -1
		for i, mark := range m.marks {
			if found := bytes.Index(drawn[:at], []byte(mark)); found >= 0 {
				at, value = found, i
			}
		}
		parts = append(parts, part{drawn[:at], value})
		if value < 0 {
			return parts
		}
		drawn = drawn[at+len(m.marks[value]):]
	}
}

func (m *memo) get(key any) []part {
	m.mu.Lock()
	defer m.mu.Unlock()
	parts, ok := m.young[key]
	if !ok {
		if parts, ok = m.old[key]; ok {
			m.keep(key, parts)
		}
	}
	return parts
}

func (m *memo) put(key any, parts []part) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(key, parts)
}

func (m *memo) keep(key any, parts []part) {
	if len(m.young) >= memoSize {
		m.old, m.young = m.young, map[any][]part{}
	}
	m.young[key] = parts
}
