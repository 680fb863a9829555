package main

import (
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// series are the lines of /metrics by name and labels.
func (m *metrics) series(t testing.TB) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	m.handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d", w.Code)
	}
	found := map[string]string{}
	for line := range strings.Lines(w.Body.String()) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && !strings.HasPrefix(line, "#") {
			found[name+"}"] = value
		}
	}
	return found
}

// What a request's line says is counted, and nothing a caller makes up.
func TestMetricsCountWhatTheLinesSay(t *testing.T) {
	m := newMetrics()
	observe := func(method, route string, attrs ...slog.Attr) {
		m.observe(httptest.NewRequest(method, "/x?token=secret", nil), route, 200, 3*time.Millisecond, attrs)
	}
	live := []slog.Attr{slog.String("link", "live"), slog.Bool("elsewhere", true)}
	observe("GET", "/login", live...)
	observe("HEAD", "/login", live...)
	observe("POST", "/login", live...) // presses a button: opens nothing
	observe("GET", "/login", slog.String("link", "unknown"))
	observe("POST", "/login", slog.String("event", "signed-in"), slog.String("user", "ada"))
	observe("BREW", "none")
	found := m.series(t)
	for name, want := range map[string]string{
		`sealpost_links_opened_total{elsewhere="true",state="live"}`:                "2",
		`sealpost_links_opened_total{elsewhere="false",state="unknown"}`:            "1",
		`sealpost_login_events_total{event="signed-in"}`:                            "1",
		`sealpost_http_requests_total{method="other",route="none",status="200"}`:    "1",
		`sealpost_http_requests_total{method="POST",route="/login",status="200"}`:   "2",
		`sealpost_http_request_duration_seconds_bucket{route="/login",le="0.0025"}`: "0",
		`sealpost_http_request_duration_seconds_bucket{route="/login",le="0.005"}`:  "5",
		`sealpost_http_request_duration_seconds_bucket{route="/login",le="+Inf"}`:   "5",
	} {
		if found[name] != want {
			t.Errorf("%s is %q, want %q", name, found[name], want)
		}
	}
	for name := range found {
		if strings.Contains(name, "ada") || strings.Contains(name, "BREW") || strings.Contains(name, "secret") {
			t.Errorf("%s tells what a caller chose", name)
		}
	}
}

// The metrics are for the machine's own eyes.
func TestMetricsAreOnTheAdminListenerAlone(t *testing.T) {
	in, _ := buildInstance(t, settingsOf(t, "sqlite"), time.Now, nil)
	if w := request(in, "GET", "/metrics", nil); w.Code != http.StatusNotFound {
		t.Errorf("the world gets %d", w.Code)
	}
	w := httptest.NewRecorder()
	in.adminRouter().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `route="none"`) || !strings.Contains(w.Body.String(), "go_goroutines") {
		t.Errorf("the admin gets %d: %.200s", w.Code, w.Body)
	}
}

// A replica whose clock is wrong is seen from outside.
func TestMetricsTellOfTheClock(t *testing.T) {
	for engine, want := range map[string]bool{"postgres": true, "sqlite": false} {
		t.Run(engine, func(t *testing.T) {
			late := func() time.Time { return time.Now().Add(-time.Hour) }
			in, _ := buildInstance(t, settingsOf(t, engine), late, nil)
			t.Cleanup(func() { in.close() })
			families, err := in.metrics.registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, f := range families {
				if f.GetName() == "sealpost_database_clock_offset_seconds" {
					found = true
					if ahead := f.Metric[0].Gauge.GetValue(); math.Abs(ahead-3600) > 60 {
						t.Errorf("the database is ahead by %v seconds", ahead)
					}
				}
			}
			if found != want {
				t.Errorf("told: %v", found)
			}
		})
	}
}
