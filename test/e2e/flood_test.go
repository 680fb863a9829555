package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/test/world"
)

// Hundreds of connections that say half a request and no more, and bodies and
// headers that are too long, keep nobody from signing in; the server lets go of
// them by itself.
func TestFlood(t *testing.T) {
	t.Parallel()
	w := world.New(t, "sqlite")
	w.Start(nil)
	address := strings.TrimPrefix(w.Issuer, "http://")
	halves := []string{
		"GET / HTTP/1.1\r\nHost: " + address + "\r\nX-Slow: ",
		"POST /token HTTP/1.1\r\nHost: " + address + "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\ngrant_type=",
		"", "P",
	}
	var slow []net.Conn
	for i := range 400 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, halves[i%len(halves)]); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, conn)
	}

	for name, c := range map[string]struct {
		request string
		want    []int
	}{
		"a header":             {"GET / HTTP/1.1\r\nHost: " + address + "\r\nX-Long: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", []int{431}},
		"an address":           {"GET /" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nHost: " + address + "\r\n\r\n", []int{431}},
		"a form":               {post(address, "/login", "application/x-www-form-urlencoded", "email="+strings.Repeat("a", 1<<20)), []int{400, 413}},
		"a token request":      {post(address, "/token", "application/x-www-form-urlencoded", "code="+strings.Repeat("a", 1<<20)), []int{400, 413}},
		"JSON":                 {post(address, "/send-magic-link", "application/json", `{"email":"`+strings.Repeat("a", 1<<20)+`"}`), []int{400, 413}},
		"a million parameters": {post(address, "/token", "application/x-www-form-urlencoded", strings.Repeat("a&", 1<<19)), []int{400, 413}},
	} {
		if status := ask(t, address, c.request); status != c.want[0] && status != c.want[len(c.want)-1] {
			t.Errorf("%s that is too long gets %d, want one of %v", name, status, c.want)
		}
	}

	ada, b := w.Person("Ada"), w.Browser(world.Firefox)
	login := w.App.Begin()
	_, letter := b.Ask(login, ada)
	if got := login.Finish(b.Submit(b.Open(letter.Link), "confirm")); got.Claims.Email != ada {
		t.Errorf("the application knows %q", got.Claims.Email)
	}
	for i, conn := range slow {
		if err := conn.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatalf("%q is waited for without end", halves[i%len(halves)])
		}
	}
}

func post(address, path, contentType, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, address, contentType, len(body), body)
}

// ask sends a request as it is and gives the status of the answer. The server
// may answer, and hang up, before it has read all of it.
func ask(t *testing.T, address, request string) int {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, request) }()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.40q: %v", request, err)
	}
	answer.Body.Close()
	return answer.StatusCode
}
