package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

// world is one installation: its settings, its mail server, the application
// that people sign in to, and the processes that serve it.
type world struct {
	t        testing.TB
	engine   string
	dir      string
	issuer   string
	database string
	secret   string
	app      *app
	mail     *mailServer
	settings map[string]any // of every process, unless it says otherwise

	seen      *seen
	instances []*instance
}

func newWorld(t testing.TB, engine string) *world {
	t.Helper()
	sealpost(t)
	w := &world{t: t, engine: engine, dir: t.TempDir(), secret: newSecret(), issuer: "http://localhost:" + freePort(t)}
	w.seen = newSeen(w.issuer)
	switch engine {
	case "sqlite":
		w.database = "sqlite:" + filepath.Join(w.dir, "sealpost.db")
	case "postgres":
		w.database = postgrestest.New(t)
		w.seen.secret("database URL", w.database)
	}
	w.seen.secret("secret", w.secret)
	// After every process has ended.
	t.Cleanup(func() { checkLogs(t, w) })
	w.mail = newMailServer(t, w.seen)
	w.app = newApp(w)
	w.settings = map[string]any{
		"issuer":       w.issuer,
		"listen":       strings.TrimPrefix(w.issuer, "http://"),
		"admin_listen": "off",
		"database":     w.database,
		"secret":       w.secret,
		"clients":      []any{w.app.settings()},
	}
	return w
}

// settingsFile writes the settings, with changes, into a file of its own.
func (w *world) settingsFile(changes map[string]any) string {
	w.t.Helper()
	settings := maps.Clone(w.settings)
	settings["mail"] = map[string]any{"url": w.mail.url(), "from": "Example <login@example.com>"}
	maps.Copy(settings, changes)
	content, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		w.t.Fatal(err)
	}
	file, err := os.CreateTemp(w.dir, "settings-*.json")
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := file.Write(content); err != nil {
		w.t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		w.t.Fatal(err)
	}
	return file.Name()
}

// person makes an address that nobody else has.
func (w *world) person(name string) string {
	local := name + "-" + strings.ToLower(rand.Text()[:8])
	w.seen.secret("local part", local)
	return local + "@example.com"
}

// newSecret makes what sealpost secret makes.
func newSecret() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

// Ports below those that the system gives to connections and to listeners that
// ask for any, so that one which is free stays free, also between a process
// and the one that follows it.
const (
	portsFrom = 21000
	portsTo   = 31000
)

var ports struct {
	sync.Mutex
	taken map[int]bool
}

// freePort gives a port of the loopback address that nobody listens on, and
// gives it once.
func freePort(t testing.TB) string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.taken == nil {
		ports.taken = map[int]bool{}
	}
	for range 1000 {
		n, err := rand.Int(rand.Reader, big.NewInt(portsTo-portsFrom))
		if err != nil {
			t.Fatal(err)
		}
		port := portsFrom + int(n.Int64())
		if ports.taken[port] {
			continue
		}
		ports.taken[port] = true
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return strconv.Itoa(port)
	}
	t.Fatal("no port is free")
	return ""
}
