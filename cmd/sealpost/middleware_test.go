package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/sealpost/sealpost/templates"
)

func TestTheClientIsTheRightmostUntrustedAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		name, peer, xff, forwarded, want string
	}{
		{"no proxy", "192.0.2.1:5", "", "", "192.0.2.1:5"},
		{"a stranger's header is not believed", "192.0.2.1:5", "203.0.113.9", "for=203.0.113.9", "192.0.2.1:5"},
		{"one proxy", "10.0.0.1:5", "203.0.113.9", "", "203.0.113.9:0"},
		{"what the client wrote itself stands left", "10.0.0.1:5", "1.1.1.1, 203.0.113.9", "", "203.0.113.9:0"},
		{"two proxies", "10.0.0.1:5", "1.1.1.1, 203.0.113.9, 10.0.0.2", "", "203.0.113.9:0"},
		{"with a port", "10.0.0.1:5", "203.0.113.9:4711", "", "203.0.113.9:0"},
		{"IPv6", "[fd00::1]:5", "2001:db8::1", "", "[2001:db8::1]:0"},
		{"IPv6 with a port", "[fd00::1]:5", "[2001:db8::1]:4711", "", "[2001:db8::1]:0"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:5", "203.0.113.9", "", "203.0.113.9:0"},
		{"nonsense", "10.0.0.1:5", "unknown", "", "10.0.0.1:5"},
		{"nonsense hides what is left of it", "10.0.0.1:5", "203.0.113.9, unknown, 10.0.0.2", "", "10.0.0.2:0"},
		{"RFC 7239 §4: Forwarded", "10.0.0.1:5", "", `for=1.1.1.1, for="[2001:db8::1]:4711";proto=https`, "[2001:db8::1]:0"},
		{"RFC 7239 §6.3: an obfuscated name", "10.0.0.1:5", "", "for=_hidden", "10.0.0.1:5"},
		{"a Forwarded that the client slipped past the proxy", "10.0.0.1:5", "203.0.113.9", "for=1.1.1.1", "203.0.113.9:0"},
		{"no header", "10.0.0.1:5", "", "", "10.0.0.1:5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			if c.xff != "" {
				r.Header.Set("X-Forwarded-For", c.xff)
			}
			if c.forwarded != "" {
				r.Header.Set("Forwarded", c.forwarded)
			}
			var have string
			realAddress(trusted)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { have = r.RemoteAddr })).ServeHTTP(httptest.NewRecorder(), r)
			if have != c.want {
				t.Errorf("have %s, want %s", have, c.want)
			}
		})
	}
}

// house is the middleware around a few handlers, and its log.
func house(t *testing.T, issuer string) (http.Handler, *bytes.Buffer) {
	t.Helper()
	pages, err := templates.New(templates.Branding{})
	if err != nil {
		t.Fatal(err)
	}
	origin, err := url.Parse(issuer)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	in := &instance{issuer: origin, pages: pages, logger: newLogger(&out, slog.LevelInfo), metrics: newMetrics(), stopping: new(atomic.Bool), tracer: noop.Tracer{}, now: func() time.Time { return time.Unix(1e9, 0) }}
	r := chi.NewRouter()
	r.Use(in.middleware()...)
	r.Get("/healthz", func(http.ResponseWriter, *http.Request) {})
	r.Get("/page/{id}", func(_ http.ResponseWriter, r *http.Request) {
		logAttrs(r.Context(), slog.String("client_id", "first"))
		logAttrs(r.Context(), slog.String("client_id", "app"))
	})
	r.Get("/frame", func(w http.ResponseWriter, r *http.Request) {
		pages.Render(w, r, http.StatusOK, templates.CheckSession{Cookie: "state"})
	})
	r.Get("/panic", func(http.ResponseWriter, *http.Request) { panic("token topsecret") })
	r.Get("/half", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half an ans")
		panic("token topsecret")
	})
	r.Get("/busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	r.Get("/hang-up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	r.Get("/nil", func(_ http.ResponseWriter, r *http.Request) { _ = r.Response.Status })
	r.Post("/body", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	})
	in.refusals(r)
	return r, &out
}

func ask(h http.Handler, method, target, accept string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestOneLinePerRequestWithoutSecrets(t *testing.T) {
	h, out := house(t, "https://login.example.com")
	r := httptest.NewRequest("GET", "https://login.example.com/page/topsecret?token=topsecret&email=ada@example.com", nil)
	r.RemoteAddr = "203.0.113.77:1"
	r.Header.Set("Referer", "https://login.example.com/login?token=topsecret")
	h.ServeHTTP(httptest.NewRecorder(), r)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("not one line of JSON: %v\n%s", err, out)
	}
	for key, want := range map[string]any{"method": "GET", "route": "/page/{id}", "status": 200.0, "network": "203.0.113.0/24", "client_id": "app"} {
		if line[key] != want {
			t.Errorf("%s: have %v, want %v", key, line[key], want)
		}
	}
	for _, secret := range []string{"topsecret", "ada", "203.0.113.77"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the line tells %q: %s", secret, out)
		}
	}
}

func TestAPanicIsA500AndOneLine(t *testing.T) {
	for path, what := range map[string]string{"/panic": "string", "/nil": "nil pointer"} {
		h, out := house(t, "https://login.example.com")
		page := ask(h, "GET", "https://login.example.com"+path, "text/html")
		if page.StatusCode != 500 || !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s", path, page.StatusCode, page.Header.Get("Content-Type"))
		}
		if strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), what) || strings.Contains(out.String(), "topsecret") {
			t.Errorf("%s: log: %s", path, out)
		}
		if api := ask(h, "GET", "https://login.example.com"+path, "application/json"); api.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: a program gets %s", path, api.Header.Get("Content-Type"))
		}
	}
}

// A browser that hangs up makes the database call fail, and nobody is to be
// woken for it.
func TestWhoHangsUpIsNoFailure(t *testing.T) {
	h, out := house(t, "https://login.example.com")
	for path, want := range map[string]string{"/busy": `"level":"INFO"`, "/panic": `"level":"ERROR"`} {
		out.Reset()
		ctx, hangUp := context.WithCancel(t.Context())
		hangUp()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "https://login.example.com"+path, nil))
		if !strings.Contains(out.String(), want) || !strings.Contains(out.String(), `"status":499`) {
			t.Errorf("%s: want %s and status 499: %s", path, want, out)
		}
	}
	out.Reset()
	if ask(h, "GET", "https://login.example.com/busy", "text/html"); !strings.Contains(out.String(), `"level":"ERROR"`) || !strings.Contains(out.String(), `"status":503`) {
		t.Errorf("whoever waits gets %s", out)
	}
}

// What was sent cannot be taken back: the connection is cut, so that nobody
// takes half an answer for a whole one, and the log tells of it.
func TestAPanicInTheMiddleCutsTheAnswerOff(t *testing.T) {
	for path, level := range map[string]string{"/half": "ERROR", "/hang-up": "INFO"} {
		h, out := house(t, "http://localhost")
		server := httptest.NewUnstartedServer(h)
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.Start()
		r, err := http.NewRequest("GET", server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "localhost"
		res, err := server.Client().Do(r)
		if err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: the answer looks whole", path)
		}
		server.Close() // and with it the handler has ended
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatalf("%s: not one line of JSON: %v\n%s", path, err, out)
		}
		if line["level"] != level || line["route"] != path || strings.Contains(out.String(), "topsecret") {
			t.Errorf("%s: log: %s", path, out)
		}
		if _, has := line["stack"]; has != (path == "/half") {
			t.Errorf("%s: stack: %v", path, has)
		}
	}
}

func TestOtherHostsAreMisdirected(t *testing.T) {
	h, _ := house(t, "https://login.example.com")
	for target, want := range map[string]int{
		"https://login.example.com/page/1":         200,
		"https://LOGIN.example.com:443/page/1":     200,
		"https://other.example.com/page/1":         421,
		"https://login.example.com:8443/page/1":    421,
		"https://login.example.com.evil.io/page/1": 421,
		"https://10.0.0.7:8080/healthz":            200,
	} {
		if have := ask(h, "GET", target, "*/*").StatusCode; have != want {
			t.Errorf("%s: have %d, want %d", target, have, want)
		}
	}
}

func TestEveryAnswerHasTheHeaders(t *testing.T) {
	for _, scheme := range []string{"https", "http"} {
		h, _ := house(t, scheme+"://localhost")
		for _, path := range []string{"/page/1", "/nowhere", "/panic"} {
			header := ask(h, "GET", scheme+"://localhost"+path, "text/html").Header
			for name, want := range map[string]string{
				"Content-Security-Policy": "default-src 'none'", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
				"X-Frame-Options": "DENY", "X-Robots-Tag": "noindex", "X-Request-Id": "",
			} {
				if have := header.Get(name); have == "" || !strings.Contains(have, want) {
					t.Errorf("%s%s: %s: %q", scheme, path, name, have)
				}
			}
			if strings.Contains(header.Get("Content-Security-Policy"), "form-action") {
				t.Error("form-action stops a login's way back to the client")
			}
			if have := header.Get("Strict-Transport-Security") != ""; have != (scheme == "https") {
				t.Errorf("%s%s: HSTS: %v", scheme, path, have)
			}
		}
	}
}

// OIDC Session Management §3.2: one page is made to be framed, and keeps the
// rest of the headers.
func TestOnePageMayBeFramed(t *testing.T) {
	h, _ := house(t, "https://login.example.com")
	header := ask(h, "GET", "https://login.example.com/frame", "text/html").Header
	policy := header.Get("Content-Security-Policy")
	if header.Get("X-Frame-Options") != "" || strings.Contains(policy, "frame-ancestors") || !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("X-Frame-Options %q, policy %q", header.Get("X-Frame-Options"), policy)
	}
	if header.Get("Referrer-Policy") != "no-referrer" || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Strict-Transport-Security") == "" {
		t.Errorf("headers: %v", header)
	}
}

func TestWhatNoRouteMatches(t *testing.T) {
	h, _ := house(t, "https://login.example.com")
	if have := ask(h, "GET", "https://login.example.com/nowhere", "text/html").StatusCode; have != 404 {
		t.Errorf("unknown path: %d", have)
	}
	wrong := ask(h, "DELETE", "https://login.example.com/page/1", "*/*")
	if wrong.StatusCode != 405 || wrong.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("wrong method: %d, Allow: %q", wrong.StatusCode, wrong.Header.Get("Allow"))
	}
	if have := ask(h, "HEAD", "https://login.example.com/page/1", "*/*").StatusCode; have != 200 {
		t.Errorf("HEAD: %d", have)
	}
}

// RFC 9110 §7.2: the port may be left out where it is the scheme's, and nowhere
// else.
func TestTheHostIsTheIssuers(t *testing.T) {
	for _, c := range []struct {
		issuer, host string
		want         bool
	}{
		{"https://login.example.com", "login.example.com", true},
		{"https://login.example.com", "login.example.com:443", true},
		{"https://login.example.com", "login.example.com:80", false},
		{"https://login.example.com", "login.example.com.", false},
		{"https://login.example.com", "", false},
		{"http://localhost:8080", "localhost:8080", true},
		{"http://localhost:8080", "localhost", false},
		{"http://localhost:8080", "127.0.0.1:8080", false},
		{"http://localhost", "localhost:80", true},
		{"http://localhost", "localhost:8080", false},
		{"http://[::1]:8080", "[::1]:8080", true},
	} {
		issuer, err := url.Parse(c.issuer)
		if err != nil {
			t.Fatal(err)
		}
		if have := sameHost(issuer, c.host); have != c.want {
			t.Errorf("%s asked as %q: %v", c.issuer, c.host, have)
		}
	}
}

// FuzzRealAddress: whatever the headers say, there is one address in the end,
// and without a trusted proxy it is the peer's.
func FuzzRealAddress(f *testing.F) {
	f.Add("10.0.0.1:5", "203.0.113.9, 10.0.0.2", `for="[2001:db8::1]:4711";proto=https`)
	f.Add("192.0.2.1:5", "unknown", "for=_hidden, for=")
	f.Add("@", ",,[", `for="`)
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, peer, xff, forwarded string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = peer
		r.Header["X-Forwarded-For"], r.Header["Forwarded"] = []string{xff}, []string{forwarded}
		realAddress(trusted)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.RemoteAddr == peer {
				return
			}
			if before, ok := parseAddr(peer); !ok || !trusted[0].Contains(before) {
				t.Errorf("%q is no proxy of ours and made itself %q", peer, r.RemoteAddr)
			}
			if _, err := netip.ParseAddrPort(r.RemoteAddr); err != nil {
				t.Errorf("%q: %v", r.RemoteAddr, err)
			}
		})).ServeHTTP(nil, r)
	})
}

func TestBodiesAreBounded(t *testing.T) {
	h, _ := house(t, "https://login.example.com")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "https://login.example.com/body", strings.NewReader(strings.Repeat("a", maxBody+1))))
	if w.Code != 413 {
		t.Errorf("have %d, want 413", w.Code)
	}
}

func TestLibrariesLogNothingThroughUs(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(ownRecords{slog.NewJSONHandler(&out, nil)})
	logger.Info("ours")
	r := slog.NewRecord(time.Unix(0, 0), slog.LevelError, "https://x/login?token=topsecret", 0) // no caller of ours
	if err := logger.With("a", 1).WithGroup("g").Handler().Handle(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "ours") || strings.Contains(out.String(), "topsecret") {
		t.Errorf("log: %s", out.String())
	}
}
