//go:build unix

package postgrestest

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
)

// Wire is a proxy before the server that reads along.
type Wire struct {
	RoundTrips atomic.Int64 // times the client had the server answer
	Writes     atomic.Int64 // those among them in which a statement may write: no fewer than commits of changes
	Prepared   atomic.Int64 // statements that were given a name
	GaveUp     atomic.Int64 // errors 40001 and 40P01
}

// Tap gives the URL of a database through a Wire.
func Tap(t testing.TB, database string) (string, *Wire) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{}
	var open sync.WaitGroup
	server := u.Host
	open.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed by the cleanup
			}
			open.Go(func() { w.serve(t, client, server) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		open.Wait() // the connections are closed: cleanups run in reverse
	})
	u.Host = l.Addr().String()
	return u.String(), w
}

func (w *Wire) serve(t testing.TB, client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() {
		defer server.Close()
		// The first message of a client has no type.
		if err := copyMessage(server, client, nil); err == nil {
			sent := &sent{Wire: w, writing: map[string]bool{}}
			copyMessages(server, client, sent.see)
		}
	})
	both.Go(func() {
		defer client.Close()
		copyMessages(client, server, w.fromServer)
	})
	both.Wait()
}

// sent is what one client has sent.
type sent struct {
	*Wire
	writing map[string]bool // whether a statement may write, by its name
	writes  bool            // something since the last round trip may
}

var (
	writes = regexp.MustCompile(`(?i)\b(INSERT|UPDATE|DELETE)\b`)
	ping   = []byte("-- ping") // the pool's, on a connection that was idle for a second: no part of a step
)

// see takes a message: Parse, Bind, Sync and Query count.
func (s *sent) see(kind byte, body []byte) {
	switch first, rest := word(body); kind {
	case 'P':
		text, _ := word(rest)
		s.writing[string(first)] = writes.Match(text)
		if len(first) > 0 {
			s.Prepared.Add(1)
		}
	case 'B': // to a portal, of a statement
		name, _ := word(rest)
		s.writes = s.writes || s.writing[string(name)]
	case 'Q':
		s.writes = s.writes || writes.Match(first)
		if !bytes.HasPrefix(first, ping) {
			s.roundTrip()
		}
	case 'S':
		s.roundTrip()
	}
}

func (s *sent) roundTrip() {
	if s.writes {
		s.Writes.Add(1)
	}
	s.writes = false
	s.RoundTrips.Add(1)
}

// word cuts off what ends with a zero.
func word(body []byte) (first, rest []byte) {
	first, rest, _ = bytes.Cut(body, []byte{0})
	return first, rest
}

func (w *Wire) fromServer(kind byte, body []byte) {
	if kind == 'E' && (bytes.Contains(body, []byte("C40001\x00")) || bytes.Contains(body, []byte("C40P01\x00"))) {
		w.GaveUp.Add(1)
	}
}

// copyMessages copies until either side is closed.
func copyMessages(to io.Writer, from io.Reader, see func(kind byte, body []byte)) {
	for kind := make([]byte, 1); ; {
		if _, err := io.ReadFull(from, kind); err != nil {
			return
		}
		if _, err := to.Write(kind); err != nil {
			return
		}
		if err := copyMessage(to, from, func(body []byte) { see(kind[0], body) }); err != nil {
			return
		}
	}
}

func copyMessage(to io.Writer, from io.Reader, see func(body []byte)) error {
	message := make([]byte, 4)
	if _, err := io.ReadFull(from, message); err != nil {
		return err
	}
	message = append(message, make([]byte, binary.BigEndian.Uint32(message)-4)...)
	if _, err := io.ReadFull(from, message[4:]); err != nil {
		return err
	}
	if see != nil {
		see(message[4:])
	}
	_, err := to.Write(message)
	return err
}
