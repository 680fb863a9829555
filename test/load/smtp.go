package main

import (
	"bufio"
	"bytes"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// mailbox is a mail server that takes everything, as cheaply as it can, and
// hands each link to whoever waits for it.
type mailbox struct {
	listener net.Listener
	waiting  sync.Map    // address: chan letter
	refuses  atomic.Bool // for now
}

type letter struct {
	link  string
	taken time.Time // when the server said so
}

func openMailbox() (*mailbox, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m := &mailbox{listener: l}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go m.serve(conn)
		}
	}()
	return m, nil
}

func (m *mailbox) address() string { return m.listener.Addr().String() }

// expect gives where the next letter to an address arrives.
func (m *mailbox) expect(address string) chan letter {
	c := make(chan letter, 1)
	m.waiting.Store(address, c)
	return c
}

func (m *mailbox) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 32<<10)
	say := func(line string) { _, _ = conn.Write([]byte(line + "\r\n")) }
	say("220 load ESMTP")
	var to string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch word := strings.ToUpper(verb); {
		case strings.HasPrefix(word, "EHLO"), strings.HasPrefix(word, "HELO"):
			say("250-load\r\n250 8BITMIME")
		case word == "RCPT TO":
			if m.refuses.Load() {
				say("451 4.3.0 try again later")
				continue
			}
			to = strings.Trim(rest, "<> ")
			say("250 ok")
		case word == "DATA":
			say("354 go on")
			body, err := readBody(in)
			if err != nil {
				return
			}
			say("250 ok")
			m.deliver(to, body)
		case word == "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func readBody(in *bufio.Reader) ([]byte, error) {
	var body []byte
	for {
		line, err := in.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return nil, err
		}
		if bytes.Equal(line, []byte(".\r\n")) {
			return body, nil
		}
		body = append(body, line...)
	}
}

// deliver finds the link in the text part: quoted-printable may break it over
// lines and writes = as =3D.
func (m *mailbox) deliver(to string, body []byte) {
	c, ok := m.waiting.LoadAndDelete(to)
	if !ok {
		return
	}
	l := letter{taken: time.Now()}
	if i := bytes.Index(body, []byte("/login?token")); i >= 0 {
		text := string(body[i:min(len(body), i+200)])
		text = strings.ReplaceAll(strings.ReplaceAll(text, "=\r\n", ""), "=3D", "=")
		l.link = strings.FieldsFunc(text, func(r rune) bool { return r == '\r' || r == '\n' || r == ' ' || r == '"' || r == '<' })[0]
	}
	c.(chan letter) <- l
}
