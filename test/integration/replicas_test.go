//go:build integration

package integration

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
)

// Three replicas behind the nginx of deploy/ are restarted one after the other
// while people sign in, and nobody notices.
func TestRestartsOfReplicasDisturbNobody(t *testing.T) {
	t.Parallel()
	for name, through := range map[string]func(database string) string{
		"postgres":  func(database string) string { return database },
		"pgbouncer": func(database string) string { return postgrestest.PgBouncer(t, database) }, // in transaction mode
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "postgres")
			w.settings["database"] = through(w.settings["database"].(string))
			restartUnderLoad(t, w)
		})
	}
}

const (
	peopleAtOnce = 8
	loginsBefore = peopleAtOnce // a replica goes, or comes back
)

func restartUnderLoad(t *testing.T, w *world) {
	r := newRecipe(t, w)
	r.inFront()
	app := w.relyingParty()
	var replicas [3]*process
	var at [3]string
	run := func(i int) {
		replicas[i] = w.launch(app.client(nil), map[string]any{"listen": at[i], "limits": map[string]any{"per_network": "off"}})
		w.answers(replicas[i], "http://"+at[i]+"/readyz")
	}
	for i := range replicas {
		at[i] = "127.0.0.1:" + freePort(t)
		run(i)
	}
	r.nginx(r.sealpostNginx(at[:]...))
	w.answers(replicas[0], w.issuer+"/readyz")
	w.run(app, goProgram(t, w, app), nil)

	var logins atomic.Int64
	var over atomic.Bool
	var people sync.WaitGroup
	for i := range peopleAtOnce {
		people.Go(func() {
			t.Run(fmt.Sprint("person ", i), func(t *testing.T) {
				of := *w
				of.t = t
				for !over.Load() && !t.Failed() {
					jim, b := person("Jim"), of.browser()
					var first, silent login
					b.signIn(app.origin+"/login", jim).says(&first)
					first.of(t, jim)
					b.open(app.origin + "/login").says(&silent)
					silent.of(t, jim)
					logins.Add(1)
				}
			})
		})
	}
	signIn := func(while string) {
		t.Helper()
		enough := logins.Load() + loginsBefore
		eventually(t, "logins while "+while, func() bool { return t.Failed() || logins.Load() >= enough })
	}
	signIn("all serve")
	for i := range replicas {
		replicas[i].stop()
		signIn("one is away")
		run(i)
		signIn("it is back")
	}
	over.Store(true)
	people.Wait()
	t.Logf("%d logins", logins.Load())
	w.mail.mu.Lock()
	defer w.mail.mu.Unlock()
	for person, links := range w.mail.links {
		if len(links) > 0 {
			t.Errorf("%s got %d mails more than asked for", person, len(links))
		}
	}
}
