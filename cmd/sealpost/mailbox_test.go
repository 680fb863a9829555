package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
)

// crlf writes a mail as SMTP carries it.
func crlf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

const linkOfTests = "http://localhost:8080/login?token=AAAA-bbbb_cccc"

func TestMailIsRead(t *testing.T) {
	for _, c := range []struct {
		name, raw string
		want      devMail
	}{
		{"RFC 2045 §5.2: nothing said is text", crlf("From: a@example.com", "Subject: Hi", "", "see "+linkOfTests+" now"),
			devMail{From: "a@example.com", Subject: "Hi", Text: "see " + linkOfTests + " now\r\n", Link: linkOfTests}},
		{"RFC 2046 §5.1.4: text and HTML", crlf("Subject: x", "Content-Type: multipart/alternative; boundary=b", "", "preamble",
			"--b", "Content-Type: text/plain; charset=UTF-8", "", "text", "--b", "Content-Type: text/html", "", "<p>html", "--b--", "epilogue"),
			devMail{Subject: "x", Text: "text", HTML: "<p>html"}},
		{"RFC 2045 §6.7: a link over two lines", crlf("Content-Type: text/plain", "Content-Transfer-Encoding: Quoted-Printable", "",
			"http://localhost:8080/login?token=3DAAAA-bb=", "bb_cccc =C3=A4"),
			devMail{Text: linkOfTests + " ä\r\n", Link: linkOfTests}},
		{"RFC 2045 §6.8: base64 in lines", crlf("Content-Type: text/plain", "Content-Transfer-Encoding: base64", "", "R3LDvMOf", "ZQ=="),
			devMail{Text: "Grüße"}},
		{"RFC 2047 §2: encoded words", crlf("From: =?UTF-8?q?Gr=C3=BC=C3=9Fe?= <a@example.com>", "Subject: =?utf-8?B?R3LDvMOfZQ==?=", "", ""),
			devMail{From: "Grüße <a@example.com>", Subject: "Grüße", Text: "\r\n"}},
		{"encoded words that are none stay", crlf("Subject: =?x-unknown?q?a?=", "", ""),
			devMail{Subject: "=?x-unknown?q?a?=", Text: "\r\n"}},
		{"a multipart in a multipart, and what nobody shows", crlf("Content-Type: multipart/mixed; boundary=out", "",
			"--out", "Content-Type: multipart/alternative; boundary=in", "", "--in", "Content-Type: text/plain", "", "text", "--in", "Content-Type: text/html", "", "html", "--in--",
			"--out", "Content-Type: application/pdf", "", "pdf", "--out--"),
			devMail{Text: "text", HTML: "html"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			have, err := readMail([]byte(c.raw))
			if err != nil {
				t.Fatal(err)
			}
			if have.Header == "" || strings.Contains(have.Header, "\r\n\r\n") {
				t.Errorf("header: %q", have.Header)
			}
			have.Header = ""
			if have != c.want {
				t.Errorf("have %+v\nwant %+v", have, c.want)
			}
		})
	}
	for name, raw := range map[string]string{
		"nothing":             "",
		"no header":           "no header at all\r\n\r\n",
		"a type that is none": crlf("Content-Type: text/", "", ""),
		"no boundary":         crlf("Content-Type: multipart/mixed", "", "--b", "", "text", "--b--"),
		"an end before the end": crlf("Content-Type: multipart/mixed; boundary=b", "",
			"--b", "Content-Type: text/plain", "", "text"),
		"base64 that is none": crlf("Content-Transfer-Encoding: base64", "", "ä"),
	} {
		if m, err := readMail([]byte(raw)); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func FuzzReadMail(f *testing.F) {
	f.Add([]byte(crlf("Content-Type: multipart/alternative; boundary=b", "", "--b", "Content-Type: text/plain", "", linkOfTests, "--b--")))
	f.Add([]byte(crlf("Content-Transfer-Encoding: base64", "", "R3LDvMOf")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := readMail(raw)
		if err == nil && m.Link != "" && !strings.Contains(m.Text, m.Link) {
			t.Errorf("the link %q is not in the text", m.Link)
		}
	})
}

func TestTheMailboxTakesMailAndShowsIt(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	box, err := newMailbox(func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	box.start()
	t.Cleanup(func() {
		if err := box.stop(); err != nil {
			t.Error(err)
		}
	})
	r := chi.NewRouter()
	box.routes(r, "http://localhost:8081")
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	contains := func(path string, status int, want ...string) *httptest.ResponseRecorder {
		t.Helper()
		w := get(path)
		if w.Code != status {
			t.Errorf("%s: %d", path, w.Code)
		}
		for _, text := range want {
			if !strings.Contains(w.Body.String(), text) {
				t.Errorf("%s: no %q in:\n%s", path, text, w.Body)
			}
		}
		return w
	}

	contains("/dev/mailbox", 200, "Nothing yet.")
	contains("/dev/mailbox/latest", 404)
	send := func(subject, html string) {
		t.Helper()
		mail := crlf("From: Sealpost <login@localhost>", "Subject: "+subject, "Content-Type: multipart/alternative; boundary=b", "",
			"--b", "Content-Type: text/plain", "", "open "+linkOfTests, "--b", "Content-Type: text/html", "", html, "--b--")
		if err := smtp.SendMail(box.address(), nil, "login@localhost", []string{"ada@example.com"}, []byte(mail)); err != nil {
			t.Fatal(err)
		}
	}
	send("First", "<head></head><p>Hello")
	send("<script>alert(1)</script>", "<script>alert(1)</script>")
	contains("/dev/mailbox", 200, "First", "&lt;script&gt;alert(1)", "ada@example.com", "03:04:05")
	w := contains("/dev/mailbox/latest", 200, "&lt;script&gt;alert(1)", linkOfTests, "login@localhost")
	if strings.Contains(w.Body.String(), "<script>") || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the page runs scripts, or is kept: %v\n%s", w.Header(), w.Body)
	}
	// What a mail holds runs nowhere.
	w = contains("/dev/mailbox/latest/html", 200)
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "sandbox") || strings.Contains(policy, "allow-scripts") || w.Header().Get("X-Frame-Options") != "SAMEORIGIN" {
		t.Errorf("headers: %v", w.Header())
	}
	if w := contains("/dev/mailbox/latest/text", 200, linkOfTests); !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("text is served as %s", w.Header().Get("Content-Type"))
	}
	box.mu.Lock()
	first := box.mails[1].ID
	box.mu.Unlock()
	contains("/dev/mailbox/"+first, 200, "First")
	contains("/dev/mailbox/"+first+"/html", 200, `<base target="_top">`) // links open where the person looks
	if w := contains("/dev/mailbox.css", 200); !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css") {
		t.Errorf("style sheet: %v", w.Header())
	}

	for i := range mailsAtMost + 5 {
		send(fmt.Sprintf("Number %d.", i), "")
	}
	box.mu.Lock()
	kept, newest := len(box.mails), box.mails[0].Subject
	box.mu.Unlock()
	if kept != mailsAtMost || newest != fmt.Sprintf("Number %d.", mailsAtMost+4) {
		t.Errorf("%d mails, the newest %q", kept, newest)
	}
	contains("/dev/mailbox/"+first, http.StatusNotFound)

	// What it cannot read it refuses, for good.
	err = smtp.SendMail(box.address(), nil, "login@localhost", []string{"ada@example.com"}, []byte(crlf("Content-Type: text/", "", "")))
	if err == nil || !strings.HasPrefix(err.Error(), "554 ") {
		t.Errorf("have %v", err)
	}
}

func TestAMailboxThatNeverStartedStops(t *testing.T) {
	box, err := newMailbox(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(box.stop()); err != nil {
		t.Error(err)
	}
}
