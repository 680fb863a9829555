package postgres_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// wire is a proxy before the server that reads along.
type wire struct {
	roundTrips atomic.Int64 // times the client had the server answer
	prepared   atomic.Int64 // statements that were given a name
	gaveUp     atomic.Int64 // errors 40001 and 40P01
}

// listen gives the URL of a database through a wire.
func listen(t *testing.T, database string) (string, *wire) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{}
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

func (w *wire) serve(t *testing.T, client net.Conn, address string) {
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
			copyMessages(server, client, w.fromClient)
		}
	})
	both.Go(func() {
		defer client.Close()
		copyMessages(client, server, w.fromServer)
	})
	both.Wait()
}

func (w *wire) fromClient(kind byte, body []byte) {
	// Sync and Query. The pool pings connections that were idle for a second;
	// that is not part of a step.
	if kind == 'S' || kind == 'Q' && !bytes.HasPrefix(body, []byte("-- ping")) {
		w.roundTrips.Add(1)
	}
	if kind == 'P' && body[0] != 0 {
		w.prepared.Add(1)
	}
}

func (w *wire) fromServer(kind byte, body []byte) {
	if kind == 'E' && (bytes.Contains(body, []byte("C40001\x00")) || bytes.Contains(body, []byte("C40P01\x00"))) {
		w.gaveUp.Add(1)
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
