package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"go.opentelemetry.io/otel/trace"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/login"
	"github.com/sealpost/sealpost/provider"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

type serveCommand struct {
	settingsFlags
	Listen string `placeholder:"ADDR" help:"Where to serve, over the setting listen."`
}

// Help is shown by sealpost serve --help.
func (serveCommand) Help() string {
	return `Runs the provider until it is told to stop (SIGINT, SIGTERM); requests under way are finished then.
On SIGHUP it reads the settings again. Wrong ones are refused as a whole; what needs a restart is named in the log.
Any number of instances may share one PostgreSQL database.

  sealpost serve --config sealpost.yaml
  SEALPOST_SECRET_FILE=/run/secrets/sealpost sealpost serve --config sealpost.yaml`
}

// Run runs the provider.
func (c serveCommand) Run(p *process) error {
	if c.Listen != "" {
		c.Set = append(c.Set, "listen="+c.Listen)
	}
	s, err := c.load(p, Defaults())
	if unread := (unreadError{}); !errors.As(err, &unread) {
		err = errors.Join(err, s.required())
	}
	if err != nil {
		return usageError{err}
	}
	in, err := build(p.ctx, p, s, nil, nil)
	if err != nil {
		return err
	}
	in.reread = func() (Settings, error) {
		s, err := c.load(p, Defaults())
		if err != nil {
			return s, err
		}
		return s, s.required()
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	in.hangups = hangups
	return in.run(p.ctx)
}

// instance is a running provider: everything built, top to bottom, by build.
type instance struct {
	settings Settings
	secret   keys.Secret
	issuer   *url.URL
	now      func() time.Time
	logger   *slog.Logger
	level    *slog.LevelVar
	metrics  *metrics
	tracer   trace.Tracer
	untrace  func(context.Context) error // sends what is left of traces

	store    store
	ring     *keys.Ring
	pages    *templates.Templates
	provider *provider.Provider
	login    *login.Login
	outbox   interface{ Run(context.Context) error } // login.Outbox

	routes    *routes
	stopping  *atomic.Bool // it was told to
	servers   []*http.Server
	listeners []net.Listener

	reread  func() (Settings, error) // gives the settings as they are now; nil: they stay
	hangups <-chan os.Signal         // asks for that; nil: nobody does
}

// build makes an instance of valid settings and opens its listeners. Dev mode
// brings a listener of its own and adds pages with extra; both may be nil.
func build(ctx context.Context, p *process, s Settings, public net.Listener, extra func(chi.Router)) (_ *instance, err error) {
	in := &instance{now: p.now, level: new(slog.LevelVar), metrics: newMetrics(), routes: new(routes), stopping: new(atomic.Bool)}
	in.logger = newLogger(p.stderr, in.level)
	slog.SetDefault(slog.New(ownRecords{in.logger.Handler()}))
	if in.issuer, err = url.Parse(s.Issuer); err != nil {
		return nil, err
	}
	if in.tracer, in.untrace, err = startTracing(ctx, p.getenv); err != nil {
		return nil, usageError{err}
	}
	if in.secret, err = s.secrets(); err != nil {
		return nil, usageError{err}
	}
	if in.store, err = openMigrated(ctx, &s, false); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.close())
		}
	}()
	if in.ring, err = keys.Open(ctx, s.keyRing(in.store, in.secret, in.now)); err != nil {
		return nil, err
	}

	made, err := in.with(s)
	if err != nil {
		return nil, err
	}
	in = made
	in.level.Set(s.level())
	in.metrics.registry.MustRegister(condition{in})
	open := in.router()
	if extra != nil {
		extra(open)
	}
	in.routes.Store(&open)
	if public == nil {
		if public, err = listen("listen", s.Listen); err != nil {
			return nil, err
		}
	}
	server := in.serveOn(public, failpointAnswers(in.routes))
	if s.TLS.CertFile != "" {
		pair := &certificate{settings: s.TLS}
		if _, err := pair.get(nil); err != nil {
			return nil, usageError{err}
		}
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: provider.CipherSuites, GetCertificate: pair.get}
	}
	if s.AdminListen != "off" {
		admin, err := listen("admin_listen", s.AdminListen)
		if err != nil {
			return nil, err
		}
		in.serveOn(admin, in.adminRouter())
	}
	return in, nil
}

// with makes all that changed settings change, over the same database and
// listeners.
func (in instance) with(s Settings) (_ *instance, err error) {
	in.settings = s
	db := failpointStore(in.store)
	branding := templates.Branding{
		Name: s.Branding.Name, Accent: s.Branding.Accent, SupportURL: s.Branding.SupportURL, Issuer: s.Issuer,
		Language: s.Branding.Language, Dir: s.TemplatesDir,
	}
	if s.Branding.LogoFile != "" {
		if branding.Logo, err = os.ReadFile(s.Branding.LogoFile); err != nil {
			return nil, usageError{fmt.Errorf("branding.logo_file: %w", err)}
		}
	}
	if in.pages, err = templates.New(branding); err != nil {
		return nil, usageError{err}
	}
	for _, note := range in.pages.Notes() {
		in.logger.Info("branding", "note", note)
	}
	var place func(addr netip.Addr, language string) string
	if s.GeoIPFile != "" {
		known, err := openPlaces(s.GeoIPFile, in.logger)
		if err != nil {
			return nil, usageError{err}
		}
		place = known.place
	}
	roots, err := s.Outbound.roots()
	if err != nil {
		return nil, usageError{fmt.Errorf("outbound.ca_file: %w", err)}
	}
	in.provider, err = provider.New(provider.Config{
		Issuer: s.Issuer, Secret: in.secret, Keys: in.ring, Store: clientsOwn{db, by(in.store, "client")}, Templates: in.pages, Clients: s.fixedClients(),
		CodeTTL: time.Duration(s.Tokens.CodeTTL), AccessTTL: time.Duration(s.Tokens.AccessTTL), IDTTL: time.Duration(s.Tokens.IDTTL),
		RefreshTTL: time.Duration(s.Tokens.RefreshTTL), RefreshIdle: time.Duration(s.Tokens.RefreshIdle),
		Allowed: login.Allowed, Allow: s.Login.Allow, Deny: s.Login.Deny, Domains: s.WebFingerDomains, Now: in.now, Log: logAttrs,
		Resources: s.Resources, DPoPNonce: s.Tokens.DPoPNonce, Languages: templates.Languages(),
		Fetch:        provider.FetchConfig{Allow: s.Outbound.Allow, Loopback: s.loopbackIssuer(), RootCAs: roots},
		Registration: s.Registration.Dynamic, ClientDocuments: s.Registration.ClientIDMetadata == "on", Place: place,
		RegistrationLimit: storage.Limit{Max: s.Limits.Registrations.Max, Window: s.Limits.Registrations.Per},
	})
	if err != nil {
		return nil, err
	}

	mailServer, err := login.ParseMailURL(string(s.Mail.URL))
	if err != nil {
		return nil, usageError{fmt.Errorf("mail.url: %w", err)}
	}
	dkim, err := s.Mail.dkimKeys()
	if err != nil {
		return nil, err
	}
	outbox, err := login.NewOutbox(login.OutboxConfig{
		Issuer: s.Issuer, Secret: in.secret, Store: db, Templates: in.pages, URL: mailServer, From: s.Mail.From, ReplyTo: s.Mail.ReplyTo, DKIM: dkim,
		Signup: s.Login.Signup == "open", Allow: s.Login.Allow, Deny: s.Login.Deny, Now: in.now, Observe: in.metrics.mailed,
	})
	if err != nil { // it speaks of settings alone
		return nil, usageError{err}
	}
	in.outbox = outbox
	in.login, err = login.New(login.Config{
		Issuer: s.Issuer, Secret: in.secret, Store: db, Templates: in.pages, Requests: requests{in.provider}, Wake: outbox.Wake, Delayed: outbox.Delayed,
		Accounts: in.store, Client: in.provider.Describe,
		LinkTTL: time.Duration(s.Login.LinkTTL), SessionTTL: time.Duration(s.Login.SessionTTL), SessionIdle: time.Duration(s.Login.SessionIdle),
		Signup: s.Login.Signup == "open", Allow: s.Login.Allow, Deny: s.Login.Deny,
		PerAddress: s.Limits.PerAddress.Limit, PerNetwork: s.Limits.PerNetwork.Limit, PerInstance: s.Limits.PerInstance.Limit,
		Place: place, Now: in.now, Log: logAttrs,
	})
	if err != nil {
		return nil, err
	}
	return &in, nil
}

// requests joins login to the provider: what login wants to know of the
// authorization request that waits.
type requests struct{ *provider.Provider }

// Waiting is login.Requests.Waiting.
func (q requests) Waiting(ctx context.Context, handle, browser string) (login.Waiting, error) {
	w, err := q.Provider.Waiting(ctx, handle, browser)
	switch {
	case err != nil && provider.NoRequest(err):
		return login.Waiting{}, login.ErrNoRequest
	case err != nil:
		return login.Waiting{}, err
	}
	return login.Waiting{
		Client: w.Client, ClientID: w.ClientID, LoginHint: w.LoginHint, UILocales: w.UILocales, SelectAccount: w.SelectAccount, Create: w.Create,
		FreshAfter: w.FreshAfter, Home: w.Home,
	}, nil
}

// newLogger writes one JSON object per line.
func newLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

// router serves everything the world sees.
func (in *instance) router() chi.Router {
	r := chi.NewRouter()
	r.Use(in.middleware()...)
	in.provider.Routes(r, in.login)
	in.login.Routes(r)
	in.probes(r, false)
	r.Handle("/static/*", in.pages.Static())
	r.Get("/favicon.ico", func(w http.ResponseWriter, r *http.Request) {
		icon := r.Clone(r.Context())
		icon.URL = &url.URL{Path: "/static/icon.svg"}
		in.pages.Static().ServeHTTP(w, icon)
	})
	r.Get("/robots.txt", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "User-agent: *\nDisallow: /\n")
	})
	r.Get("/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusSeeOther) })
	in.refusals(r)
	return r
}

// middleware stands before every page, the outermost first.
func (in *instance) middleware() chi.Middlewares {
	return chi.Middlewares{
		in.lastAnswers,
		tellHops(in.secret, in.settings.Issuer, in.settings.TrustedProxies, in.now),
		realAddress(in.settings.TrustedProxies), // before the log, which tells where from
		logRequests(in.logger, in.metrics, in.tracer, in.now),
		securityHeaders(in.issuer),
		recoverPanics(in.pages),
		onlyHost(in.issuer, in.pages),
		middleware.RequestSize(maxBody),
		middleware.GetHead,
	}
}

// lastAnswers ends connections by and by once the instance stops, so that who
// keeps them open goes elsewhere before they break.
func (in *instance) lastAnswers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if in.stopping.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// adminRouter serves what only the machine and its operators see.
func (in *instance) adminRouter() chi.Router {
	r := chi.NewRouter()
	r.Use(in.lastAnswers, securityHeaders(in.issuer), recoverPanics(in.pages))
	in.probes(r, true)
	r.Method(http.MethodGet, "/metrics", in.metrics.handler())
	profiles(r)
	in.refusals(r)
	return r
}

// refusals answers what no route matches.
func (in *instance) refusals(r chi.Router) {
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		fail(w, r, in.pages, http.StatusNotFound, "not_found", "There is no such page.")
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, req *http.Request) {
		var allow []string
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			// HEAD goes wherever GET does (middleware.GetHead).
			if r.Match(chi.NewRouteContext(), method, req.URL.Path) || method == http.MethodHead && slices.Contains(allow, http.MethodGet) {
				allow = append(allow, method)
			}
		}
		w.Header().Set("Allow", strings.Join(allow, ", "))
		fail(w, req, in.pages, http.StatusMethodNotAllowed, "invalid_request", "Method not allowed.")
	})
}

// probes says whether the process is alive and whether it can serve; to
// operators, what waits besides.
func (in *instance) probes(r chi.Router, operators bool) {
	answer := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if status != http.StatusOK {
			w.Header().Set("Retry-After", "5")
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v) // to who may be gone
	}
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	r.Get("/readyz", func(w http.ResponseWriter, r *http.Request) {
		state, ok := in.ready(r.Context())
		if !operators {
			state.backlog = nil
		}
		if !ok {
			if in.stopping.Load() { // as it was told to
				meantTo(r.Context())
			}
			logAttrs(r.Context(), slog.String("error", state.Status))
			answer(w, http.StatusServiceUnavailable, state)
			return
		}
		answer(w, http.StatusOK, state)
	})
}

// Limits of every listener. A handler has its own, smaller ones.
const (
	maxBody         = 64 << 10
	maxHeader       = 32 << 10
	readyTimeout    = 3 * time.Second
	drainTimeout    = 20 * time.Second // what is under way may take to finish
	sweepEvery      = time.Minute
	sweepAgain      = time.Second // where more has expired than is swept in one go
	sweepBatch      = 500
	sweepBatchesMax = 20
)

// listen opens the listener that a key of the settings wants.
func listen(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %q: in use by another process; stop it, or choose another port", key, address)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %q: %w", key, address, err)
	}
	return l, nil
}

// serveOn adds a server for a listener. It starts with run.
func (in *instance) serveOn(l net.Listener, h http.Handler) *http.Server {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(serverErrors{in.logger}, "", 0),
	}
	in.listeners = append(in.listeners, l)
	in.servers = append(in.servers, server)
	return server
}

// serverErrors passes on what net/http says of the listener. The rest of what
// it says is one client's doing and holds its address.
type serverErrors struct{ logger *slog.Logger }

// Write takes one line of net/http's log.
func (e serverErrors) Write(line []byte) (int, error) {
	if strings.HasPrefix(string(line), "http: Accept error") {
		e.logger.Error("accept", "error", strings.TrimSpace(string(line)))
	}
	return len(line), nil
}

// certificate is the pair of files in the settings, read again when it changed,
// so that a renewed certificate needs no restart.
type certificate struct {
	settings TLS

	mu      sync.Mutex
	read    time.Time // modification time of what was read
	current *tls.Certificate
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.settings.CertFile)
	if err == nil && info.ModTime().Equal(c.read) {
		return c.current, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.settings.CertFile, c.settings.KeyFile)
	}
	switch {
	case err != nil && c.current == nil:
		return nil, fmt.Errorf("tls: cert_file %q and key_file %q: %w", c.settings.CertFile, c.settings.KeyFile, err)
	case err != nil: // half written: the old pair serves on, and the next connection looks again
		return c.current, nil
	}
	c.current, c.read = &pair, info.ModTime()
	return c.current, nil
}

// makeRoom gives back what reading pages and words took, and lets so much garbage
// lie before it is collected, unless GOGC says how much. Little is in use here
// and each request leaves much: with Go's 100 percent the collector would run
// many times a second. Where more is in use, as with geoip_file, it is Go's.
func makeRoom() {
	const room = 32 << 20
	debug.FreeOSMemory()
	if os.Getenv("GOGC") == "" {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		debug.SetGCPercent(int(min(300, max(100, 100*room/m.HeapAlloc))))
	}
}

// run serves until ctx ends, and for as long after that as balancers take to
// notice, or until a listener fails. Then it finishes what is under way: first
// requests, then the mail they queued, then the database.
func (in *instance) run(ctx context.Context) error {
	failed := make(chan error, len(in.servers)) // each says one thing at most
	for i, server := range in.servers {
		go func() { failed <- serve(server, in.listeners[i]) }()
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	working.Go(func() { in.sweep(work) })
	broken := make(chan error)
	current, pause := in, in.work(work, &working, broken)
	makeRoom()
	in.logger.Info("serving", "issuer", in.settings.Issuer, "listen", in.listeners[0].Addr().String(), "version", version())

	var err error
	for serving := true; serving; {
		select {
		case <-ctx.Done():
			in.logger.Info("stopping")
			in.stopping.Store(true)
			serving = false
			select {
			case <-time.After(time.Duration(current.settings.Drain)):
			case err = <-failed:
			case err = <-broken:
			}
		case err = <-failed:
			serving = false
		case err = <-broken:
			serving = false
		case <-in.hangups:
			if next := current.again(); next != nil {
				pause(login.ErrReplaced)
				current, pause = next, next.work(work, &working, broken)
				makeRoom()
				in.logger.Info("settings read again")
				in.level.Set(next.settings.level())
			}
		}
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	for _, server := range in.servers {
		if e := server.Shutdown(drain); e != nil {
			err = errors.Join(err, fmt.Errorf("shutdown: %w", e))
		}
	}
	pause(nil)
	stop()
	working.Wait()
	if e := in.untrace(drain); e != nil {
		in.logger.Warn("traces not sent", "error", e)
	}
	return errors.Join(err, in.close())
}

// work sends mail and logout notices until pause is called or ctx ends, after
// which what is under way is finished.
func (in *instance) work(ctx context.Context, working *sync.WaitGroup, broken chan<- error) (pause context.CancelCauseFunc) {
	ctx, pause = context.WithCancelCause(ctx)
	for name, run := range map[string]func(context.Context) error{"mail": in.outbox.Run, "logout notices": in.provider.RunNotices} {
		working.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				select {
				case broken <- fmt.Errorf("%s: %w", name, err):
				case <-ctx.Done(): // nobody listens any more
				}
			}
		})
	}
	return pause
}

func serve(server *http.Server, l net.Listener) error {
	var err error
	if server.TLSConfig != nil {
		err = server.ServeTLS(l, "", "")
	} else {
		err = server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

// close lets go of listeners that never served and of the database.
func (in *instance) close() error {
	for _, l := range in.listeners {
		_ = l.Close() // closed already when it served
	}
	return in.store.Close()
}

// sweep looks after what is kept, about once a minute. Replicas drift apart, so
// that they don't all do so at once.
func (in *instance) sweep(ctx context.Context) {
	for more := false; ; {
		wait := sweepEvery/2 + rand.N(sweepEvery)
		if more {
			wait = sweepAgain
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		more = in.upkeep(ctx)
	}
}

// upkeep keeps the key ring and removes expired rows, in bounded batches. It
// says whether there are more.
func (in *instance) upkeep(ctx context.Context) (more bool) {
	if err := in.ring.Maintain(ctx); err != nil && ctx.Err() == nil {
		in.logger.Error("signing keys", "error", err)
	} else if err == nil {
		in.metrics.done("keys", in.now())
	}
	more = in.sweepBatches(ctx, func() (int, error) { return in.store.Sweep(ctx, in.now(), sweepBatch) })
	if keep := time.Duration(in.settings.Audit.Keep); keep > 0 {
		more = in.sweepBatches(ctx, func() (int, error) { return in.store.SweepEvents(ctx, in.now().Add(-keep), sweepBatch) }) || more
	}
	return more
}

// sweepBatches removes batches until there is nothing left, or enough is done for
// this time and there are more.
func (in *instance) sweepBatches(ctx context.Context, sweep func() (int, error)) (more bool) {
	for range sweepBatchesMax {
		n, err := sweep()
		if err != nil && ctx.Err() == nil {
			in.logger.Warn("sweep", "error", err)
		}
		in.metrics.swept.Add(float64(n))
		if err == nil {
			in.metrics.done("sweep", in.now())
		}
		if err != nil || n < sweepBatch {
			return false
		}
	}
	return true
}
