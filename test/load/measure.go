package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// closedLoop has workers do something again and again for a while: how often
// they did, and how long each took, sorted.
func closedLoop(workers int, lasts time.Duration, do func(worker int) error) (done int, took []time.Duration, err error) {
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	each := make([][]time.Duration, workers)
	end := time.Now().Add(lasts)
	for i := range workers {
		all.Go(func() {
			for time.Now().Before(end) && failed.Load() == nil {
				began := time.Now()
				if err := do(i); err != nil {
					failed.Store(&err)
					return
				}
				each[i] = append(each[i], time.Since(began))
			}
		})
	}
	all.Wait()
	took = slices.Concat(each...)
	slices.Sort(took)
	if e := failed.Load(); e != nil {
		err = *e
	}
	return len(took), took, err
}

// openLoop has people come by themselves, with gaps between them, however long
// those before take: how long each took, by what do says of who came when,
// sorted.
func openLoop(gap func() time.Duration, lasts time.Duration, do func(came time.Time) (time.Duration, error)) (took []time.Duration, err error) {
	const most = 10_000 // at once: it does not keep up
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	var inside atomic.Int64
	for came, end := time.Now(), time.Now().Add(lasts); came.Before(end); came = came.Add(gap()) {
		time.Sleep(time.Until(came))
		if inside.Add(1) > most {
			return nil, fmt.Errorf("%d people wait", most)
		}
		all.Go(func() {
			defer inside.Add(-1)
			d, err := do(came)
			mu.Lock()
			defer mu.Unlock()
			took, errs = append(took, d), append(errs, err)
		})
	}
	all.Wait()
	slices.Sort(took)
	return took, errors.Join(errs...)
}

// atRandom are the gaps between people who know nothing of each other.
func atRandom(rate float64) func() time.Duration {
	return func() time.Duration { return time.Duration(mathrand.ExpFloat64() / rate * float64(time.Second)) }
}

func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

// turn is what one turn gave.
type turn struct {
	rate float64       // a second
	cpu  time.Duration // of the server, for each
	took []time.Duration
}

// side is one of two providers that take turns.
type side struct {
	server *process
	app    *app
	people []*browser
	tokens []tokens
}

func newSide(p *process, mail *mailbox, workers int) *side {
	return &side{server: p, app: &app{base: p.url, mail: mail, run: rand.Text()[:8]}, people: make([]*browser, workers), tokens: make([]tokens, workers)}
}

// prepare signs everybody in.
func (s *side) prepare() error {
	for i := range s.people {
		s.people[i] = newBrowser(s.server.url)
		t, err := s.app.login(s.people[i])
		if err != nil {
			return err
		}
		s.tokens[i] = t
	}
	return nil
}

func (s *side) turn(o options, do func(s *side, worker int) error) (turn, error) {
	cpu := s.server.cpu()
	done, took, err := closedLoop(o.workers, o.lasts, func(worker int) error { return do(s, worker) })
	if err != nil || done == 0 {
		return turn{}, errors.Join(err, errors.New("nothing was done"))
	}
	return turn{rate: float64(done) / o.lasts.Seconds(), cpu: (s.server.cpu() - cpu) / time.Duration(done), took: took}, nil
}

// steps are what is measured by turns.
var steps = map[string]func(s *side, worker int) error{
	"login": func(s *side, _ int) error {
		_, err := s.app.login(newBrowser(s.server.url))
		return err
	},
	"silent": func(s *side, worker int) error { return s.app.silent(s.people[worker]) },
	"refresh": func(s *side, worker int) (err error) {
		s.tokens[worker], err = s.app.token(newBrowser(s.server.url), url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.tokens[worker].Refresh}})
		return err
	},
	"authorize": func(s *side, _ int) error {
		_, _, err := s.app.form(newBrowser(s.server.url))
		return err
	},
	"userinfo": func(s *side, worker int) error {
		_, err := newBrowser(s.server.url).must(200, "GET", "/userinfo", nil, "Authorization", "Bearer "+s.tokens[worker].Access)
		return err
	},
	"introspect": func(s *side, worker int) error {
		got, err := newBrowser(s.server.url).must(200, "POST", "/introspect", url.Values{"token": {s.tokens[worker].Access}}, "Authorization", basic)
		if err == nil && !json.Valid(got.body) {
			err = errors.New("not JSON")
		}
		return err
	},
	"discovery": func(s *side, _ int) error {
		_, err := newBrowser(s.server.url).must(200, "GET", "/.well-known/openid-configuration", nil)
		return err
	},
	"jwks": func(s *side, _ int) error {
		_, err := newBrowser(s.server.url).must(200, "GET", "/jwks", nil)
		return err
	},
}

// figures are what is compared, and with what: a step of floor's.
var figures = []struct {
	name, of, than string
	target         float64
	stateless      bool
}{
	{"login", "login", "login", 0.5, false},
	{"silent", "silent", "login", 0.9, false},
	{"refresh", "refresh", "refresh", 0.6, false},
	{"authorize", "authorize", "authorize", 0.4, false},
	{"userinfo", "userinfo", "userinfo", 0.5, true},
	{"introspect", "introspect", "introspect", 0.5, true},
	{"discovery", "discovery", "plain", 0.7, false},
	{"jwks", "jwks", "plain", 0.7, false},
}

// measureEngine measures all that goes with one engine.
func measureEngine(r *report, engine string) (err error) {
	dir := filepath.Join(r.dir, engine)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	database := func(name string) (string, error) { return filepath.Join(dir, name+".db"), nil }
	prefix := "sqlite:"
	if engine == "postgres" {
		pg, err := startPostgres(dir)
		if err != nil {
			return err
		}
		defer pg.stop()
		database, prefix = pg.database, ""
	}
	mail, err := openMailbox()
	if err != nil {
		return err
	}
	source, err := database("sealpost")
	if err != nil {
		return err
	}
	server, err := startSealpost(r.options, dir, prefix+source, mail, "off")
	if err != nil {
		return err
	}
	defer server.stop()
	r.sizes(engine, "cold start to the first answer", float64(server.started.Milliseconds()), "ms", 300)
	time.Sleep(time.Second) // what starting left behind is let go of
	r.sizes(engine, "memory, idle", float64(server.memory())/1e6, "MB", 40)
	ours := newSide(server, mail, r.workers)
	if err := ours.prepare(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	floors := map[bool]*side{}
	for _, stateless := range []bool{false, true} {
		source, err := database(fmt.Sprintf("floor_%t", stateless))
		if err != nil {
			return err
		}
		address, err := freeAddress()
		if err != nil {
			return err
		}
		p, err := launch("http://"+address, "/link", nil, self, "floor", "-addr", address, "-engine", engine, "-source", source, "-alg", r.alg, fmt.Sprintf("-stateless=%t", stateless))
		if err != nil {
			return err
		}
		defer p.stop()
		floors[stateless] = newSide(p, nil, r.workers)
		if err := floors[stateless].prepare(); err != nil {
			return err
		}
	}
	for _, f := range figures {
		if !r.wants(f.name) {
			continue
		}
		theirs, than := floors[f.stateless], steps[f.than]
		if f.than == "plain" {
			if theirs, err = plainSide(r.options, self, ours, f.of); err != nil {
				return err
			}
			than = steps[f.of]
		}
		if err := r.compare(engine, f.name, f.target, ours, theirs, steps[f.of], than); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if f.than == "plain" {
			theirs.server.stop()
		}
	}
	if r.wants("latency") {
		if err := r.latency(engine, ours); err != nil {
			return fmt.Errorf("latency: %w", err)
		}
	}
	if r.wants("open") {
		for _, name := range []string{"login", "silent"} {
			if err := r.open(engine, name, ours); err != nil {
				return fmt.Errorf("open %s: %w", name, err)
			}
		}
	}
	r.sizes(engine, "memory, after the load", float64(server.memory())/1e6, "MB", 100)
	return nil
}

// plainSide serves a body as long as the step's.
func plainSide(o options, self string, ours *side, step string) (*side, error) {
	path := map[string]string{"discovery": "/.well-known/openid-configuration", "jwks": "/jwks"}[step]
	body, err := newBrowser(ours.server.url).must(200, "GET", path, nil)
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := launch("http://"+address, "/", nil, self, "plain", "-addr", address, "-bytes", fmt.Sprint(len(body.body)))
	if err != nil {
		return nil, err
	}
	return newSide(p, nil, o.workers), nil
}

func startSealpost(o options, dir, database string, mail *mailbox, admin string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	settings := map[string]any{
		"issuer": "http://" + address, "listen": address, "admin_listen": admin, "database": database, "secret": encode(secret),
		"mail":   map[string]any{"url": "smtp+plain://" + mail.address(), "from": "Load <login@load.example>"},
		"limits": map[string]any{"per_address": "off", "per_network": "off"},
		"clients": []any{map[string]any{"client_id": clientID, "client_secret": clientSecret, "redirect_uris": []string{redirectURI},
			"grant_types": []string{"authorization_code", "refresh_token"}, "id_token_signed_response_alg": o.alg}},
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "sealpost.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	return launch("http://"+address, "/healthz", nil, o.binary, "serve", "--config", file)
}

// latency is how long a mail takes, from the form to the mail server's word,
// when nobody else is there.
func (r *report) latency(engine string, s *side) error {
	took, err := openLoop(func() time.Duration { return 100 * time.Millisecond }, 10*time.Second, func(time.Time) (time.Duration, error) {
		b := newBrowser(s.server.url)
		form, _, err := s.app.form(b)
		if err != nil {
			return 0, err
		}
		address := fmt.Sprintf("l%d-%s@load.example", s.app.n.Add(1), s.app.run)
		began := time.Now()
		l, err := s.app.ask(b, form, address)
		return l.taken.Sub(began), err
	})
	if err != nil {
		return err
	}
	r.sizes(engine, "form to mail taken, half of them", percentile(took, .5).Seconds()*1000, "ms", 50)
	r.sizes(engine, "form to mail taken, 99 of 100", percentile(took, .99).Seconds()*1000, "ms", 250)
	return nil
}

// open is how long a step takes when people come by themselves, so many that a
// part of what the server can do is asked of it. Who waits for others waits from
// the moment they came.
func (r *report) open(engine, name string, s *side) error {
	most, err := s.turn(r.options, steps[name])
	if err != nil {
		return err
	}
	free := make(chan int, len(s.people))
	for i := range s.people {
		free <- i
	}
	for _, part := range []struct {
		name string
		of   float64
	}{{"half", .5}, {"three quarters", .75}} {
		took, err := openLoop(atRandom(part.of*most.rate), 2*r.lasts, func(came time.Time) (time.Duration, error) {
			who := 0
			if name != "login" { // which is always of somebody new
				who = <-free
				defer func() { free <- who }()
			}
			err := steps[name](s, who)
			return time.Since(came), err
		})
		if err != nil {
			return err
		}
		r.took(engine, fmt.Sprintf("%s, people coming at %s of that rate", name, part.name), took)
	}
	return nil
}

// measureLimits measures what the machine does at most.
func measureLimits(r *report) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		sign := signer(alg)
		input := make([]byte, 400)
		done, _, _ := closedLoop(r.workers, r.lasts, func(int) error { sign(input); return nil })
		r.limit(alg+" signatures", float64(done)/r.lasts.Seconds())
	}
	if store, err := openFloorSQLite(filepath.Join(r.dir, "commits.db")); err == nil {
		if n, err := commits(store, r.workers, r.lasts); err == nil {
			r.limit("SQLite commits, those that wait together", n)
		}
		if n, err := commits(store, 1, r.lasts); err == nil {
			r.limit("SQLite commits, one after another", n)
		}
	}
	dir := filepath.Join(r.dir, "limits")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return
	}
	pg, err := startPostgres(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load: no PostgreSQL:", err)
		return
	}
	defer pg.stop()
	if store, err := openFloorPostgres(pg.url); err == nil {
		if n, err := commits(store, r.workers, r.lasts); err == nil {
			r.limit("PostgreSQL commits", n)
		}
	}
}
