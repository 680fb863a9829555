package main

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/go-chi/chi/v5"

	"github.com/sealpost/sealpost/keys"
)

// mailbox is the mail server of dev mode. It speaks SMTP, so that a mail takes
// the way it takes in earnest, accepts everything, and keeps the newest.
type mailbox struct {
	listener net.Listener
	server   *smtp.Server
	now      func() time.Time
	list     *template.Template
	one      *template.Template

	mu    sync.Mutex
	mails []devMail // newest first
}

const mailsAtMost = 100

// devMail is a mail as the mailbox shows it.
type devMail struct {
	ID, From, To, Subject, Header, Text, HTML, Link string
	At                                              time.Time
}

func newMailbox(now func() time.Time) (*mailbox, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("mailbox: %w", err)
	}
	b := &mailbox{listener: l, now: now, list: devPage("mailbox.html"), one: devPage("mail.html")}
	b.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &delivery{box: b}, nil }))
	b.server.Domain = "localhost"
	b.server.MaxMessageBytes = 1 << 20
	b.server.ReadTimeout, b.server.WriteTimeout = time.Minute, time.Minute
	return b, nil
}

func (b *mailbox) address() string { return b.listener.Addr().String() }

func (b *mailbox) start() { go func() { _ = b.server.Serve(b.listener) }() } // it ends with stop

func (b *mailbox) stop() error {
	return errors.Join(b.server.Close(), ignoreClosed(b.listener.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// delivery is one SMTP conversation.
type delivery struct {
	box *mailbox
	to  []string
}

func (d *delivery) Mail(string, *smtp.MailOptions) error { return nil }
func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = append(d.to, to)
	return nil
}
func (d *delivery) Reset()        { d.to = nil }
func (d *delivery) Logout() error { return nil }

// Data takes the message.
func (d *delivery) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m, err := readMail(raw)
	if err != nil {
		return &smtp.SMTPError{Code: 554, Message: err.Error()}
	}
	m.ID, m.At, m.To = keys.ID(), d.box.now(), strings.Join(d.to, ", ")
	d.box.mu.Lock()
	defer d.box.mu.Unlock()
	d.box.mails = slices.Insert(d.box.mails, 0, m)
	d.box.mails = d.box.mails[:min(len(d.box.mails), mailsAtMost)]
	return nil
}

var loginLink = regexp.MustCompile(`https?://\S+/login\?token=[A-Za-z0-9_-]+`)

// readMail takes a message apart (RFC 5322, RFC 2046).
func readMail(raw []byte) (devMail, error) {
	msg, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return devMail{}, fmt.Errorf("read mail: %w", err)
	}
	var words mime.WordDecoder
	decode := func(name string) string {
		s, err := words.DecodeHeader(msg.Header.Get(name))
		if err != nil {
			return msg.Header.Get(name)
		}
		return s
	}
	head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
	m := devMail{From: decode("From"), Subject: decode("Subject"), Header: head}
	if err := m.part(msg.Header.Get("Content-Type"), msg.Header.Get("Content-Transfer-Encoding"), msg.Body); err != nil {
		return devMail{}, err
	}
	m.Link = loginLink.FindString(m.Text)
	return m, nil
}

func (m *devMail) part(contentType, encoding string, body io.Reader) error {
	media, params, err := mime.ParseMediaType(cmp.Or(contentType, "text/plain")) // RFC 2045 §5.2
	if err != nil {
		return fmt.Errorf("read mail: content type %q: %w", contentType, err)
	}
	if strings.HasPrefix(media, "multipart/") {
		parts := multipart.NewReader(body, params["boundary"])
		for {
			p, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read mail: %w", err)
			}
			if err := m.part(p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p); err != nil {
				return err
			}
		}
	}
	switch strings.ToLower(encoding) { // RFC 2045 §6
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("read mail: %w", err)
	}
	switch media {
	case "text/plain":
		m.Text = string(content)
	case "text/html":
		m.HTML = string(content)
	}
	return nil
}

// routes serves the mailbox beside the provider: in dev mode whoever reads the
// pages is the one whose mail it is.
func (b *mailbox) routes(r chi.Router, app string) {
	r.Get("/dev/mailbox", func(w http.ResponseWriter, _ *http.Request) {
		b.mu.Lock()
		mails := slices.Clone(b.mails)
		b.mu.Unlock()
		renderDev(w, b.list, http.StatusOK, struct {
			Mails []devMail
			App   string
		}{mails, app})
	})
	r.Get("/dev/mailbox/{id}", b.with(func(w http.ResponseWriter, m devMail) {
		renderDev(w, b.one, http.StatusOK, m)
	}))
	r.Get("/dev/mailbox/{id}/text", b.with(func(w http.ResponseWriter, m devMail) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, m.Text)
	}))
	r.Get("/dev/mailbox/{id}/html", b.with(func(w http.ResponseWriter, m devMail) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("X-Frame-Options", "SAMEORIGIN")
		// Mail is styled inline. Shown in its frame or by itself it runs no
		// script, loads nothing and has no origin; its links open at the top.
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "+
			"frame-ancestors 'self'; sandbox allow-top-navigation-by-user-activation allow-popups")
		_, _ = io.WriteString(w, strings.Replace(m.HTML, "<head>", `<head><base target="_top">`, 1))
	}))
	r.Get("/dev/mailbox.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, devFiles, "pages/mailbox.css")
	})
}

// with finds the mail that the address names. "latest" is the newest.
func (b *mailbox) with(show func(http.ResponseWriter, devMail)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := chi.URLParam(r, "id")
		b.mu.Lock()
		i := slices.IndexFunc(b.mails, func(m devMail) bool { return m.ID == id || id == "latest" })
		var m devMail
		if i >= 0 {
			m = b.mails[i]
		}
		b.mu.Unlock()
		if i < 0 {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		show(w, m)
	}
}
