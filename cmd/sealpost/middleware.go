package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"go.opentelemetry.io/otel/trace"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/templates"
)

// requestEvent gathers what the one line of a request says.
type requestEvent struct {
	id    string
	mu    sync.Mutex
	attrs []slog.Attr
	meant bool
}

type eventKey struct{}

// meantTo says that the answer is no failure, whatever its status.
func meantTo(ctx context.Context) {
	if e, ok := ctx.Value(eventKey{}).(*requestEvent); ok {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.meant = true
	}
}

// logAttrs adds to the line of the request; outside of one it does nothing.
func logAttrs(ctx context.Context, attrs ...slog.Attr) {
	e, ok := ctx.Value(eventKey{}).(*requestEvent)
	if !ok {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range attrs { // a second word on the same thing replaces the first
		if i := slices.IndexFunc(e.attrs, func(b slog.Attr) bool { return a.Key == b.Key }); i >= 0 {
			e.attrs[i] = a
			continue
		}
		e.attrs = append(e.attrs, a)
	}
}

func requestID(ctx context.Context) string {
	if e, ok := ctx.Value(eventKey{}).(*requestEvent); ok {
		return e.id
	}
	return ""
}

// statusGone is told of a request whose client hung up before there was an
// answer, as nginx does. The failure it came to is no failure of ours.
const statusGone = 499

// logRequests writes one line per request. Of the address it tells the route
// that matched, never what was asked: query, token and path stay out.
func logRequests(logger *slog.Logger, m *metrics, tracer trace.Tracer, now func() time.Time) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			started := now()
			e := &requestEvent{id: keys.ID()}
			ctx, span := startSpan(context.WithValue(r.Context(), eventKey{}, e), tracer, r)
			w.Header().Set("X-Request-Id", e.id)
			ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			defer func() { // an answer that a panic cut off has its line, too
				status := ww.Status()
				switch {
				case status == 0:
					status = http.StatusOK
				case status >= 500 && errors.Is(ctx.Err(), context.Canceled):
					status = statusGone
				}
				e.mu.Lock()
				defer e.mu.Unlock()
				level := slog.LevelInfo
				if status >= 500 && !e.meant || slices.ContainsFunc(e.attrs, func(a slog.Attr) bool { return a.Key == "panic" }) {
					level = slog.LevelError
				}
				took := now().Sub(started)
				m.observe(r, route(ctx), status, took, e.attrs)
				endSpan(span, r, route(ctx), status)
				id := []slog.Attr{slog.String("id", e.id)}
				if c := span.SpanContext(); c.IsSampled() {
					id = append(id, slog.String("trace_id", c.TraceID().String()))
				}
				logger.LogAttrs(ctx, level, "request", slices.Concat(id, []slog.Attr{
					slog.String("method", r.Method),
					slog.String("route", route(ctx)),
					slog.Int("status", status),
					slog.Float64("duration_ms", float64(took.Microseconds())/1000),
					slog.Int("bytes", ww.BytesWritten()),
					slog.String("network", network(r.RemoteAddr)),
				}, e.attrs)...)
			}()
			next.ServeHTTP(ww, r.WithContext(ctx))
		})
	}
}

func route(ctx context.Context) string {
	// A router inside a route adds its pattern behind ours, which says it all.
	if rc := chi.RouteContext(ctx); rc != nil && len(rc.RoutePatterns) > 0 {
		return rc.RoutePatterns[0]
	}
	return "none"
}

// network is the /24 or /48 a request came from: enough to see an attack, too
// little to know a person.
func network(remote string) string {
	addr, ok := parseAddr(remote)
	if !ok {
		return ""
	}
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(addr, bits).Masked().String()
}

// parseAddr reads an address with or without port.
func parseAddr(s string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return addr.Unmap().WithZone(""), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// recoverPanics answers a panic with a 500 and says where it was in the line of
// the request. What was thrown may hold anything and is told by its type only,
// unless it is an error of the runtime.
func recoverPanics(pages *templates.Templates) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				thrown := recover()
				if thrown == nil {
					return
				}
				if thrown == http.ErrAbortHandler {
					panic(thrown) // net/http's own way to hang up
				}
				what := fmt.Sprintf("%T", thrown)
				if err, ok := thrown.(runtime.Error); ok {
					what = err.Error()
				}
				logAttrs(r.Context(), slog.String("panic", what), slog.String("stack", string(debug.Stack())))
				if ww, ok := w.(middleware.WrapResponseWriter); ok && ww.Status() != 0 {
					panic(http.ErrAbortHandler) // half an answer is out: cut it off
				}
				fail(w, r, pages, http.StatusInternalServerError, "server_error", "Something went wrong on our side.")
			}()
			next.ServeHTTP(w, r)
		})
	}
}

// fail answers with a page where a person looks and with JSON where a program does.
func fail(w http.ResponseWriter, r *http.Request, pages *templates.Templates, status int, code, description string) {
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		pages.Render(w, r, status, templates.Error{Code: code, Description: description, RequestID: requestID(r.Context())})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintf(w, "{\"error\":%q,\"error_description\":%q}\n", code, description)
}

// realAddress puts the address of the client, as the trusted proxies tell it,
// into r.RemoteAddr: the rightmost one that is not a trusted proxy itself. What
// stands left of it anyone could have written. X-Forwarded-For goes before
// Forwarded (RFC 7239), because most proxies append to the first and pass on
// the second unread.
func realAddress(trusted []netip.Prefix) func(http.Handler) http.Handler {
	trusts := func(a netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			peer, ok := parseAddr(r.RemoteAddr)
			if ok && trusts(peer) {
				for _, hop := range slices.Backward(forwardedHops(r)) {
					addr, ok := parseAddr(hop)
					if !ok {
						break // "unknown" or nonsense: the last hop we understand counts
					}
					r.RemoteAddr = net.JoinHostPort(addr.String(), "0")
					if !trusts(addr) {
						break
					}
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// forwardedHops are whom a request came from, as the proxies say.
func forwardedHops(r *http.Request) []string {
	if hops := splitList(r.Header.Values("X-Forwarded-For")); len(hops) > 0 {
		return hops
	}
	return forwardedFor(r.Header.Values("Forwarded"))
}

func splitList(values []string) []string {
	var out []string
	for item := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// forwardedFor gives the for= of each hop (RFC 7239 §4); "" where a hop has none.
func forwardedFor(values []string) []string {
	var out []string
	for _, hop := range splitList(values) {
		node := ""
		for pair := range strings.SplitSeq(hop, ";") {
			if name, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && strings.EqualFold(name, "for") {
				node = strings.Trim(v, `"`)
			}
		}
		out = append(out, node)
	}
	return out
}

// onlyHost refuses requests for any other host than the issuer's (RFC 9110
// §15.5.20): whoever gets here under another name came by a mistake or a trick,
// and its cookies would not fit the links in the mail.
func onlyHost(issuer *url.URL, pages *templates.Templates) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !ofAnyHost(r.URL.Path) && !sameHost(issuer, r.Host) {
				logAttrs(r.Context(), slog.String("host", r.Host))
				fail(w, r, pages, http.StatusMisdirectedRequest, "invalid_request", "Nothing is served under this address.")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// ofAnyHost says whether the path is served under every name: to machines that
// know us by number, and to whom a domain of ours sends on (RFC 7033 §4).
func ofAnyHost(path string) bool {
	return path == "/healthz" || path == "/readyz" || path == "/.well-known/webfinger"
}

func sameHost(issuer *url.URL, host string) bool {
	standard := map[string]string{"https": ":443", "http": ":80"}[issuer.Scheme]
	return strings.EqualFold(strings.TrimSuffix(host, standard), issuer.Host)
}

// securityHeaders says on every answer what browsers may do with it. A handler
// that knows better overwrites them.
func securityHeaders(issuer *url.URL) func(http.Handler) http.Handler {
	always := http.Header{
		"Content-Security-Policy": {templates.Policy},
		// Addresses of pages hold tokens. A form then says "Origin: null";
		// Sec-Fetch-Site, which browsers send to https and loopback, tells
		// that it is ours.
		"Referrer-Policy":        {"no-referrer"},
		"X-Content-Type-Options": {"nosniff"},
		"X-Frame-Options":        {"DENY"},
		// No Cross-Origin-Opener-Policy: it would cut the line between an
		// application and the popup it signs people in with.
		"Cross-Origin-Resource-Policy": {"same-origin"},
		"Permissions-Policy":           {"camera=(), geolocation=(), microphone=(), payment=(), usb=()"},
		"X-Robots-Tag":                 {"noindex, nofollow"},
	}
	if issuer.Scheme == "https" {
		always.Set("Strict-Transport-Security", "max-age=63072000") // RFC 6797; two years
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			maps.Copy(w.Header(), always)
			next.ServeHTTP(w, r)
		})
	}
}

// ownRecords is a slog.Handler that passes on what this module logs and drops
// what libraries log through the global logger: some log URLs and tokens.
type ownRecords struct{ slog.Handler }

const module = "github.com/sealpost/sealpost/"

func (h ownRecords) Handle(ctx context.Context, r slog.Record) error {
	frame, _ := runtime.CallersFrames([]uintptr{r.PC}).Next()
	if !strings.HasPrefix(frame.Function, module) && !strings.HasPrefix(frame.Function, "main.") {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h ownRecords) WithAttrs(attrs []slog.Attr) slog.Handler {
	return ownRecords{h.Handler.WithAttrs(attrs)}
}

func (h ownRecords) WithGroup(name string) slog.Handler { return ownRecords{h.Handler.WithGroup(name)} }
