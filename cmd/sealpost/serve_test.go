package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// settingsOf are the least that serve works with.
func settingsOf(t testing.TB, engine string) Settings {
	t.Helper()
	s := Defaults()
	s.Issuer, s.Listen, s.AdminListen = "https://login.example.com", "127.0.0.1:0", "127.0.0.1:0"
	s.Database = SecretURL(engines[engine](t))
	s.Secret = Secret(keys.NewSecret())
	s.Mail.URL, s.Mail.From = "smtp+plain://127.0.0.1:1", "login@example.com" // nobody sends
	if err := errors.Join(s.Validate(), s.required()); err != nil {
		t.Fatal(err)
	}
	return s
}

// buildInstance is build, with a clock and a log. What it opened is closed at
// the end of the test, unless run has done so.
func buildInstance(t testing.TB, s Settings, now func() time.Time, extra func(chi.Router)) (*instance, *safeBuffer) {
	t.Helper()
	var log safeBuffer
	in, err := build(t.Context(), &process{stderr: &log, now: now}, s, nil, extra)
	if err != nil {
		t.Fatal(err)
	}
	return in, &log
}

// routesOf are the routes that a server has now.
func routesOf(server *http.Server) chi.Routes {
	if r, ok := server.Handler.(*routes); ok {
		return *r.Load()
	}
	return server.Handler.(chi.Routes)
}

// request asks the instance without a network.
func request(in *instance, method, path string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, in.settings.Issuer+path, nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	in.servers[0].Handler.ServeHTTP(w, r)
	return w
}

// TestAChangedClientCountsWithinSeconds: the commands work beside a running
// server, which believes what it read for five seconds.
func TestAChangedClientCountsWithinSeconds(t *testing.T) {
	for engine := range engines {
		t.Run(engine, func(t *testing.T) {
			now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			in, _ := buildInstance(t, settingsOf(t, engine), func() time.Time { return now }, nil)
			t.Cleanup(func() { in.close() })
			client := storage.Client{ID: "app", RedirectURIs: []string{"https://app.example.com/callback"}, CreatedAt: now, UpdatedAt: now}
			status := func(secret string) int {
				w := httptest.NewRecorder()
				r := httptest.NewRequest("POST", in.settings.Issuer+"/introspect", strings.NewReader("token=none"))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.SetBasicAuth("app", secret)
				in.servers[0].Handler.ServeHTTP(w, r)
				return w.Code
			}
			want := func(when, secret string, code int) {
				t.Helper()
				if have := status(secret); have != code {
					t.Errorf("%s: have %d for the %s secret, want %d", when, have, secret, code)
				}
			}

			want("before there is such a client", "old", 401)
			client.SecretSHA256 = hashClientSecret("old")
			if err := in.store.AddClient(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			want("added", "old", 200)
			seen := client
			client.SecretSHA256 = hashClientSecret("new")
			if err := in.store.SaveClient(t.Context(), client, seen); err != nil {
				t.Fatal(err)
			}
			now = now.Add(5 * time.Second)
			want("rotated, 5 s later", "old", 401)
			want("rotated, 5 s later", "new", 200)
			if err := in.store.RemoveClient(t.Context(), "app", now); err != nil {
				t.Fatal(err)
			}
			now = now.Add(5 * time.Second)
			want("removed, 5 s later", "new", 401)
		})
	}
}

// TestTheLanguageOfTheInstance is for who wants none of the others.
func TestTheLanguageOfTheInstance(t *testing.T) {
	s := settingsOf(t, "sqlite")
	s.Branding.Language = "de"
	in, _ := buildInstance(t, s, time.Now, nil)
	t.Cleanup(func() { in.close() })
	for wanted, want := range map[string]string{"": "de", "ko": "de", "fr": "fr"} {
		w := request(in, "GET", "/login", func(r *http.Request) { r.Header.Set("Accept-Language", wanted) })
		if have := w.Header().Get("Content-Language"); have != want {
			t.Errorf("Accept-Language %q: have %q, want %q", wanted, have, want)
		}
	}
	var metadata struct {
		Languages []string `json:"ui_locales_supported"`
	}
	w := request(in, "GET", "/.well-known/openid-configuration", nil)
	if err := json.Unmarshal(w.Body.Bytes(), &metadata); err != nil || !slices.Equal(metadata.Languages, templates.Languages()) {
		t.Errorf("ui_locales_supported: %q, %v", metadata.Languages, err)
	}
}

// TestEveryRouteHasTheHeaders asks every route in every way, errors and files
// included.
func TestEveryRouteHasTheHeaders(t *testing.T) {
	s := settingsOf(t, "sqlite")
	s.Registration.Dynamic, s.Registration.ClientIDMetadata = "open", "on"
	in, _ := buildInstance(t, s, time.Now, nil)
	t.Cleanup(func() { in.close() })
	paths := []string{"/nowhere", "/static/style.css", "/static/icon.svg", "/static/nothing", "/login?token=none", "/authorize?client_id=none"}
	err := chi.Walk(routesOf(in.servers[0]), func(_, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		paths = append(paths, strings.TrimSuffix(route, "*"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 20 {
		t.Fatalf("only %d routes: %v", len(paths), paths)
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"} {
			for _, accept := range []string{"text/html", "*/*"} {
				for _, host := range []string{"login.example.com", "evil.example.com"} {
					w := request(in, method, path, func(r *http.Request) {
						r.Host = host
						r.Header.Set("Accept", accept)
					})
					for name, want := range map[string]string{
						"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
						"Referrer-Policy": "no-referrer", "Strict-Transport-Security": "max-age=", "X-Robots-Tag": "noindex", "X-Request-Id": "",
					} {
						if name == "X-Frame-Options" && path == "/check_session" && w.Code == http.StatusOK {
							continue // the one page that others may frame
						}
						if have := w.Header().Get(name); have == "" || !strings.Contains(have, want) {
							t.Errorf("%s %s (%s, %s): %d, %s: %q", method, path, accept, host, w.Code, name, have)
						}
					}
					if host == "evil.example.com" && w.Code != http.StatusMisdirectedRequest && !ofAnyHost(path) {
						t.Errorf("%s %s for another host: %d", method, path, w.Code)
					}
					if w.Code >= 500 || w.Code == 0 {
						t.Errorf("%s %s: %d", method, path, w.Code)
					}
				}
			}
		}
	}
}

// RFC 9110 §9.3.2 and §15.5.6: HEAD goes wherever GET does, Allow says so, and
// is true.
func TestHeadGoesWhereGetDoes(t *testing.T) {
	in, _ := buildInstance(t, settingsOf(t, "sqlite"), time.Now, nil)
	t.Cleanup(func() { in.close() })
	for _, path := range []string{"/", "/login", "/authorize", "/authorize/resume", "/logout", "/jwks", "/.well-known/openid-configuration",
		"/.well-known/oauth-authorization-server", "/static/style.css", "/favicon.ico", "/robots.txt", "/healthz", "/readyz", "/userinfo"} {
		get, head := request(in, "GET", path, nil), request(in, "HEAD", path, nil)
		if get.Code != head.Code || get.Header().Get("Location") != head.Header().Get("Location") || get.Header().Get("Content-Type") != head.Header().Get("Content-Type") {
			t.Errorf("%s: GET %d %v, HEAD %d %v", path, get.Code, get.Header(), head.Code, head.Header())
		}
	}
	for path, want := range map[string]string{"/login": "GET, HEAD, POST", "/robots.txt": "GET, HEAD", "/send-magic-link": "POST", "/static/style.css": "GET, HEAD"} {
		w := request(in, "DELETE", path, nil)
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != want {
			t.Errorf("DELETE %s: %d, Allow: %q, want %q", path, w.Code, w.Header().Get("Allow"), want)
		}
	}
}

func TestProbesTellWhetherTheDatabaseAnswers(t *testing.T) {
	for engine := range engines {
		t.Run(engine, func(t *testing.T) {
			in, log := buildInstance(t, settingsOf(t, engine), time.Now, nil)
			probe := func(path string, want int, text string) {
				t.Helper()
				for _, server := range in.servers { // the public one and the admin's
					w := httptest.NewRecorder()
					server.Handler.ServeHTTP(w, httptest.NewRequest("GET", "http://10.0.0.7:8080"+path, nil))
					if w.Code != want || !strings.Contains(w.Body.String(), text) || w.Header().Get("Cache-Control") != "no-store" {
						t.Errorf("%s: %d %s", path, w.Code, w.Body)
					}
					if have := w.Header().Get("Retry-After") != ""; have != (want == 503) {
						t.Errorf("%s: Retry-After %q", path, w.Header().Get("Retry-After"))
					}
					if w.Header().Get("X-Content-Type-Options") != "nosniff" {
						t.Errorf("%s: no security headers", path)
					}
				}
			}
			probe("/healthz", 200, `"ok"`)
			probe("/readyz", 200, `"ready"`)
			if err := in.close(); err != nil {
				t.Fatal(err)
			}
			probe("/healthz", 200, `"ok"`)
			probe("/readyz", 503, `"database unreachable"`)
			if !strings.Contains(log.String(), "database unreachable") {
				t.Errorf("log: %s", log)
			}
			w := httptest.NewRecorder()
			in.servers[1].Handler.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1:9090/login", nil))
			if w.Code != 404 {
				t.Errorf("the admin listener serves logins: %d", w.Code)
			}
		})
	}
}

func TestListenersAreBounded(t *testing.T) {
	in, _ := buildInstance(t, settingsOf(t, "sqlite"), time.Now, nil)
	t.Cleanup(func() { in.close() })
	for i, s := range in.servers {
		if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes != maxHeader || s.ErrorLog == nil {
			t.Errorf("server %d has no bound for something: %+v", i, s)
		}
	}
}

// running starts an instance and gives the client for it, what ends it, and
// what run returns.
func running(t testing.TB, in *instance) (client *http.Client, stop func(), ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- in.run(ctx) }()
	address := in.listeners[0].Addr().String()
	client = &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the tests look at what is served
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
	return client, cancel, done
}

func TestAStopFinishesWhatIsUnderWay(t *testing.T) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	s := settingsOf(t, "sqlite")
	in, log := buildInstance(t, s, time.Now, func(r chi.Router) {
		r.Get("/slow", func(w http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-goOn
			if err := in503(r.Context(), s); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, "finished")
		})
	})
	stopping := make(chan struct{})
	in.servers[0].RegisterOnShutdown(func() { close(stopping) })
	client, stop, ended := running(t, in)
	type answer struct {
		body string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		res, err := client.Get("http://login.example.com/slow")
		if err != nil {
			answers <- answer{"", err}
			return
		}
		body, err := io.ReadAll(res.Body)
		answers <- answer{string(body), errors.Join(err, res.Body.Close())}
	}()
	<-arrived
	stop()
	<-stopping
	if res, err := client.Get("http://login.example.com/healthz"); err == nil {
		t.Errorf("a new request is answered: %s", res.Status)
	}
	select {
	case err := <-ended:
		t.Fatalf("ended before the request: %v", err)
	default:
	}
	close(goOn)
	if a := <-answers; a.err != nil || a.body != "finished" {
		t.Errorf("have %q, %v", a.body, a.err)
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	if !strings.Contains(log.String(), `"msg":"stopping"`) {
		t.Errorf("log: %s", log)
	}
}

// A balancer that asks /readyz hears of a stop before anybody is refused.
func TestAStopIsToldBeforeAnybodyIsRefused(t *testing.T) {
	s := settingsOf(t, "sqlite")
	s.Drain = Duration(time.Hour)
	in, lines := buildInstance(t, s, time.Now, nil)
	client, stop, ended := running(t, in)
	client.Transport.(*http.Transport).DisableKeepAlives = false
	get := func(path string, status int, last bool) {
		t.Helper()
		res, err := client.Get("http://login.example.com" + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != status || res.Close != last {
			t.Errorf("%s: %s, the last answer of its connection: %t", path, res.Status, res.Close)
		}
	}
	get("/readyz", 200, false)
	get("/login", 200, false)
	stop()
	for deadline := time.After(patience); !in.stopping.Load(); time.Sleep(time.Millisecond) {
		select {
		case <-deadline:
			t.Fatal("it does not stop")
		default:
		}
	}
	get("/readyz", 503, true)
	get("/healthz", 200, true)
	get("/login", 200, true)
	_ = in.listeners[0].Close() // ends the hour
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("run: %v", err)
	}
	if asked := lines.String(); !strings.Contains(asked, `"error":"stopping"`) || strings.Contains(asked, `"level":"ERROR"`) {
		t.Errorf("an orderly stop is logged as trouble: %s", asked)
	}
}

// in503 asks whether the database of the settings can still be used.
func in503(ctx context.Context, s Settings) error {
	db, err := openStore(ctx, &s)
	if err != nil {
		return err
	}
	return errors.Join(db.Ping(ctx), db.Close())
}

// lateTrouble is an outbox that fails when it is told to stop.
type lateTrouble struct{ err error }

func (o lateTrouble) Run(ctx context.Context) error {
	<-ctx.Done()
	return o.err
}

func TestTroubleWhileStoppingStopsNothing(t *testing.T) {
	in, _ := buildInstance(t, settingsOf(t, "sqlite"), time.Now, nil)
	in.outbox = lateTrouble{errors.New("outcomes are not written")}
	_, stop, ended := running(t, in)
	stop()
	<-ended // or the test hangs
}

func TestMailThatCannotBeSentStopsTheProcess(t *testing.T) {
	in, _ := buildInstance(t, settingsOf(t, "sqlite"), time.Now, nil)
	in.outbox = trouble{}
	_, stop, ended := running(t, in)
	defer stop()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "mail: broken") {
		t.Errorf("have %v", err)
	}
}

type trouble struct{}

func (trouble) Run(context.Context) error { return errors.New("broken") }

func TestAListenerThatFailsStopsTheProcess(t *testing.T) {
	in, _ := buildInstance(t, settingsOf(t, "sqlite"), time.Now, nil)
	if err := in.listeners[1].Close(); err != nil {
		t.Fatal(err)
	}
	_, stop, ended := running(t, in)
	defer stop()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("have %v", err)
	}
}

func TestTheTLSListener(t *testing.T) {
	s := settingsOf(t, "sqlite")
	dir := t.TempDir()
	s.TLS = TLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	cert, key, err := newCertificate("login.example.com")
	if err := errors.Join(err, os.WriteFile(s.TLS.CertFile, cert, 0o600), os.WriteFile(s.TLS.KeyFile, key, 0o600)); err != nil {
		t.Fatal(err)
	}
	in, _ := buildInstance(t, s, time.Now, nil)
	client, stop, ended := running(t, in)
	address := in.listeners[0].Addr().String()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	if state := conn.ConnectionState(); state.Version < tls.VersionTLS13 || state.NegotiatedProtocol != "h2" {
		t.Errorf("have TLS %x and %q", state.Version, state.NegotiatedProtocol)
	}
	conn.Close()
	// RFC 8996: TLS 1.0 and 1.1 are gone.
	if old, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
		old.Close()
	}
	// RFC 9325 §4.2: TLS 1.2 with AEAD alone.
	for suite, want := range map[uint16]bool{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: true, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: false} {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}})
		if (err == nil) != want {
			t.Errorf("TLS 1.2 with %s: %v", tls.CipherSuiteName(suite), err)
		}
		if err == nil {
			conn.Close()
		}
	}
	// Plain HTTP is told so, and gets no page.
	if res, err := client.Get("http://login.example.com/login"); err != nil || res.StatusCode != 400 {
		t.Errorf("plain HTTP: %v, %v", res, err)
	}
	res, err := client.Get("https://login.example.com/login")
	if err != nil || res.StatusCode != 200 {
		t.Errorf("have %v, %v", res, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	in, _ := buildInstance(t, settingsOf(t, "sqlite"), time.Now, nil)
	client, stop, ended := running(t, in)
	r, err := http.NewRequest("GET", "http://login.example.com/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("a", 2*maxHeader))
	res, err := client.Do(r)
	if err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("have %v, %v", res, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestLogsTellNoAddressOfAClient: net/http logs what a client did, with its
// address.
func TestLogsTellNoAddressOfAClient(t *testing.T) {
	var out bytes.Buffer
	e := serverErrors{newLogger(&out, slog.LevelInfo)}
	for line, want := range map[string]bool{
		"http: TLS handshake error from 203.0.113.7:4711: EOF\n":                 false,
		"http: panic serving 203.0.113.7:4711: token\n":                          false,
		"http: Accept error: accept tcp: too many open files; retrying in 5ms\n": true,
	} {
		out.Reset()
		if n, err := e.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if have := out.Len() > 0; have != want {
			t.Errorf("%q: logged %v", line, have)
		}
	}
}

func TestRootSendsPeopleToSignIn(t *testing.T) {
	in, log := buildInstance(t, settingsOf(t, "sqlite"), time.Now, nil)
	t.Cleanup(func() { in.close() })
	if w := request(in, "GET", "/", nil); w.Code != 303 || w.Header().Get("Location") != "/login" {
		t.Errorf("%d %q", w.Code, w.Header().Get("Location"))
	}
	if w := request(in, "GET", "/favicon.ico", nil); w.Code != 200 || w.Header().Get("Content-Type") != "image/svg+xml" {
		t.Errorf("favicon: %d %s", w.Code, w.Header().Get("Content-Type"))
	}
	if w := request(in, "GET", "/robots.txt", nil); !strings.Contains(w.Body.String(), "Disallow: /") {
		t.Errorf("robots: %s", w.Body)
	}
	// Every line of the log is JSON, with the route and nothing of the address.
	request(in, "GET", "/login?token=topsecret", nil)
	request(in, "GET", "/topsecret/"+url.PathEscape("ada@example.com"), nil)
	for line := range strings.Lines(log.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Errorf("%v: %s", err, line)
		}
	}
	if strings.Contains(log.String(), "topsecret") || strings.Contains(log.String(), "ada") {
		t.Errorf("the log tells too much: %s", log)
	}
}
