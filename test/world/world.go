package world

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
	"github.com/sealpost/sealpost/test/invariants"
)

// World is one installation: its settings, its mail server, the application
// that people sign in to, and the processes that serve it.
type World struct {
	T        testing.TB
	Engine   string // sqlite, postgres
	dir      string
	Issuer   string
	Database string // as the setting has it
	secret   string
	App      *app
	Mail     *mailServer
	Settings map[string]any // of every process, unless it says otherwise
	Environ  []string       // of every process, besides what all have
	Troubled bool           // errors in the log are no surprise
	Forgets  bool           // rows are deleted: what was told is no more to be found

	Seen      *seen
	instances []*Instance
	served    bool     // from the database
	clients   []string // of any settings
	twice     []string // mails that may have come twice
}

// New makes an installation; nothing of it runs yet.
func New(t testing.TB, engine string) *World {
	t.Helper()
	Binary(t)
	w := &World{T: t, Engine: engine, dir: t.TempDir(), secret: NewSecret(), Issuer: "http://localhost:" + FreePort(t)}
	w.Seen = newSeen(w.Issuer)
	switch engine {
	case "sqlite":
		w.Database = "sqlite:" + filepath.Join(w.dir, "sealpost.db")
	case "postgres":
		w.Database = postgrestest.New(t)
		w.Seen.Secret("database URL", w.Database)
	}
	w.Seen.Secret("secret", w.secret)
	// After every process has ended.
	t.Cleanup(func() {
		checkLogs(t, w)
		if w.served && !w.Forgets && !t.Failed() {
			w.hold(invariants.Told{Waiting: true, Twice: w.twice})
		}
	})
	w.Mail = newMailServer(t, w.Seen)
	w.App = newApp(w)
	w.Settings = map[string]any{
		"issuer":       w.Issuer,
		"listen":       strings.TrimPrefix(w.Issuer, "http://"),
		"admin_listen": "off",
		"log_level":    "debug", // nothing secret is told at any
		"database":     w.Database,
		"secret":       w.secret,
		"clients":      []any{w.App.Settings()},
	}
	return w
}

// SettingsFile writes the settings, with changes, into a file of its own.
func (w *World) SettingsFile(changes map[string]any) string {
	w.T.Helper()
	settings := map[string]any{"mail": map[string]any{"url": w.Mail.url(), "from": "Example <login@example.com>"}}
	maps.Copy(settings, w.Settings)
	maps.Copy(settings, changes)
	content, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		w.T.Fatal(err)
	}
	var of struct {
		Clients []struct {
			ID string `json:"client_id"`
		}
	}
	if err := json.Unmarshal(content, &of); err != nil {
		w.T.Fatal(err)
	}
	for _, c := range of.Clients {
		w.clients = append(w.clients, c.ID)
	}
	file, err := os.CreateTemp(w.dir, "settings-*.json")
	if err != nil {
		w.T.Fatal(err)
	}
	if _, err := file.Write(content); err != nil {
		w.T.Fatal(err)
	}
	if err := file.Close(); err != nil {
		w.T.Fatal(err)
	}
	return file.Name()
}

// Hold checks what the store of the world holds against what was told and sent.
// Its processes have ended and all mails are sent; twice are those that may have
// come twice.
func (w *World) Hold(twice ...Letter) {
	w.T.Helper()
	for _, l := range twice {
		w.twice = append(w.twice, l.ID())
	}
	w.hold(invariants.Told{Twice: w.twice})
}

func (w *World) hold(told invariants.Told) {
	w.T.Helper()
	told.Clients, told.Taken = w.clients, map[string]int{}
	w.Mail.mu.Lock()
	for _, l := range w.Mail.mails {
		told.Taken[l.ID()]++
	}
	w.Mail.mu.Unlock()
	w.Seen.mu.Lock()
	told.Accepted, told.Redeemed = maps.Clone(w.Seen.accepted), maps.Clone(w.Seen.redeemed)
	w.Seen.mu.Unlock()
	invariants.Hold(w.T, w.Database, told)
}

// Person makes an address that nobody else has.
func (w *World) Person(name string) string {
	local := name + "-" + strings.ToLower(rand.Text()[:8])
	w.Seen.Secret("local part", local)
	return local + "@example.com"
}

// NewSecret makes what sealpost secret makes.
func NewSecret() string {
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

// FreePort gives a port of the loopback address that nobody listens on, and
// gives it once.
func FreePort(t testing.TB) string {
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
