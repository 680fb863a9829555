//go:build integration

package integration

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

// world is one installation: the provider behind its proxy, the mail server,
// and the relying parties.
type world struct {
	t      testing.TB
	dir    string
	listen string // of the provider
	issuer string // of the proxy in front of it
	mail   *mailServer
	wire   *wire

	settings map[string]any
	file     string // of the settings, once a process has started
}

func newWorld(t testing.TB, engine string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), listen: "127.0.0.1:" + freePort(t), wire: newWire()}
	w.issuer = "https://localhost:" + front(t, w.listen, w.wire)
	w.mail = newMailServer(t)
	database := "sqlite:" + filepath.Join(w.dir, "sealpost.db")
	if engine == "postgres" {
		database = postgrestest.New(t)
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	w.settings = map[string]any{
		"issuer": w.issuer, "listen": w.listen, "admin_listen": "off", "trusted_proxies": []string{"127.0.0.0/8"},
		"database": database, "secret": base64.StdEncoding.EncodeToString(secret),
		"mail": map[string]any{"url": "smtp+plain://" + w.mail.address, "from": "Example <login@example.com>"},
	}
	return w
}

// start runs the provider, for one application and with some more settings,
// and waits until it is ready.
func (w *world) start(client, more map[string]any) {
	w.t.Helper()
	w.answers(w.launch(client, more), w.issuer+"/readyz")
}

// launch is start without the wait.
func (w *world) launch(client, more map[string]any) *process {
	w.t.Helper()
	binary, err := build()
	if err != nil {
		w.t.Fatal(err)
	}
	settings := maps.Clone(w.settings)
	if client != nil {
		settings["clients"] = []any{client}
	}
	maps.Copy(settings, more)
	content, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		w.t.Fatal(err)
	}
	w.file = filepath.Join(w.t.TempDir(), "settings.json")
	if err := os.WriteFile(w.file, content, 0o600); err != nil {
		w.t.Fatal(err)
	}
	provider := startProcess(w.t, exec.Command(binary, "serve", "--config", w.file))
	w.t.Cleanup(func() { checkLog(w.t, provider, w.wire) }) // when it has ended
	w.t.Cleanup(provider.stop)
	return provider
}

// answers waits until a process answers at an address with 200.
func (w *world) answers(p *process, address string) {
	w.t.Helper()
	client := w.client()
	eventually(w.t, "answer from "+address, func() bool {
		if p.over() {
			w.t.Fatalf("%s ended: %s", p.cmd, p.cmd.ProcessState)
		}
		answer, err := client.Get(address)
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// client is an HTTP client that keeps cookies and knows the authority.
func (w *world) client() *http.Client {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: authority(w.t).trusted(), ForceAttemptHTTP2: true}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Timeout: patience, Transport: transport}
}

// person makes an address that nobody else has.
func person(name string) string {
	return fmt.Sprintf("%s-%s@example.com", name, strings.ToLower(rand.Text()[:8]))
}
