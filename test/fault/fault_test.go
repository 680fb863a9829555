package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"golang.org/x/oauth2"

	"github.com/sealpost/sealpost/test/invariants"
	"github.com/sealpost/sealpost/test/world"
)

func TestMain(m *testing.M) {
	world.WithoutRace()
	os.Exit(world.RunTests(m, "failpoints"))
}

// wire is a connection that can be hurt.
type wire struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
}

// newWire stands before an address.
func newWire(t testing.TB, to string) wire {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w := wire{t, toxiproxy.NewProxy(server, "wire", "127.0.0.1:"+world.FreePort(t), to)}
	w.mend()
	t.Cleanup(w.proxy.Stop)
	return w
}

// address is where it starts.
func (w wire) address() string { return w.proxy.Listen }

// cut ends all connections, and none is made until mend.
func (w wire) cut() { w.proxy.Stop() }

func (w wire) mend() {
	w.t.Helper()
	if err := w.proxy.Start(); err != nil {
		w.t.Fatal(err)
	}
}

// hurt adds a toxic to a direction: upstream, or downstream, as seen from
// Sealpost.
func (w wire) hurt(direction, kind string, attributes map[string]any) {
	w.t.Helper()
	text, err := json.Marshal(map[string]any{"type": kind, "stream": direction, "attributes": attributes})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.proxy.Toxics.AddToxicJson(bytes.NewReader(text)); err != nil {
		w.t.Fatal(err)
	}
}

// silence takes what is sent and lets nothing through, while the connections
// look alive to both ends.
func (w wire) silence() {
	w.t.Helper()
	for _, direction := range []string{"upstream", "downstream"} {
		w.hurt(direction, "timeout", map[string]any{"timeout": 0})
	}
}

// heal takes all toxics away.
func (w wire) heal() { w.proxy.Toxics.ResetToxics(w.t.Context()) }

// onPostgres runs a scenario with a wire to the database.
func onPostgres(t *testing.T, scenario func(t *testing.T, w *world.World, db wire)) {
	t.Parallel()
	w := world.New(t, "postgres")
	w.Troubled = true
	u, err := url.Parse(w.Database)
	if err != nil {
		t.Fatal(err)
	}
	db := newWire(t, u.Host)
	u.Host = db.address()
	w.Settings["database"] = u.String()
	w.Seen.Secret("database URL", u.String())
	scenario(t, w, db)
}

// person is somebody who signs in, and does by hand what it takes.
type person struct {
	*world.Browser
	t       testing.TB
	address string
}

func newPerson(w *world.World, name string) person {
	return person{w.Browser(world.Firefox), w.T, w.Person(name)}
}

// asked is what Ask gives, once it is recorded that the mail was sent.
func (p person) asked(login world.SignIn) (world.Page, world.Letter) {
	p.t.Helper()
	tab, letter := p.Ask(login, p.address)
	world.Eventually(p.t, "record of the mail", func() bool {
		recorded, err := invariants.Recorded(p.t.Context(), p.W.Database, letter.ID())
		if err != nil {
			p.t.Fatal(err)
		}
		return recorded
	})
	return tab, letter
}

// submit sends a form, and gives what came of it: status 0 is no answer, or only
// a part of one.
func (p person) submit(page world.Page, form string, fields ...string) world.Page {
	p.t.Helper()
	answer, err := p.Post(page, form, fields...)
	if err != nil {
		var failed *url.Error
		if !errors.As(err, &failed) {
			p.t.Fatal(err)
		}
	}
	return answer
}

// unavailable wants a page that says to come again.
func unavailable(t testing.TB, p world.Page) {
	t.Helper()
	p.MustBe("error", http.StatusServiceUnavailable)
	if p.Header().Get("Retry-After") == "" {
		t.Error("the page does not say when to come again")
	}
}

// unavailableToo wants an OAuth error that says the same.
func unavailableToo(t testing.TB, what string, err error) {
	t.Helper()
	var e *oauth2.RetrieveError
	if !errors.As(err, &e) || e.Response.StatusCode != http.StatusServiceUnavailable || e.Response.Header.Get("Retry-After") == "" {
		t.Errorf("%s: %v, want 503", what, err)
	}
}

// refused wants an OAuth error.
func refused(t testing.TB, what string, err error) {
	t.Helper()
	var e *oauth2.RetrieveError
	if !errors.As(err, &e) || e.ErrorCode != "invalid_grant" {
		t.Errorf("%s: %v, want invalid_grant", what, err)
	}
}

// status is that of the answer to a GET.
func status(t testing.TB, address string) int {
	t.Helper()
	answer, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}
