package main

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector takes traces over HTTP as the OpenTelemetry protocol has it.
type collector struct {
	mu   sync.Mutex
	raw  []string
	took []*spans.Span
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var export tracepb.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &export) != nil {
		http.Error(w, "not traces", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, string(body))
	for _, resource := range export.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.took = append(c.took, scope.Spans...)
		}
	}
}

func TestTraces(t *testing.T) {
	for engine := range engines {
		t.Run(engine, func(t *testing.T) {
			c := &collector{}
			server := httptest.NewServer(c)
			defer server.Close()
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL) // the exporter reads the environment
			var log safeBuffer
			in, err := build(t.Context(), &process{stderr: &log, now: time.Now, environ: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + server.URL}}, settingsOf(t, engine), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			const theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
			request(in, "GET", "/login?token=do-not-tell", func(r *http.Request) { r.Header.Set("Traceparent", "00-"+theirs+"-00f067aa0ba902b7-01") })
			request(in, "GET", "/readyz", nil)
			if err := in.untrace(context.WithoutCancel(t.Context())); err != nil {
				t.Fatal(err)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			var names []string
			for _, s := range c.took {
				names = append(names, s.Name)
				if s.Name != "GET /login" {
					continue
				}
				if id := hexOf(s.TraceId); id == theirs || len(s.Links) != 1 || hexOf(s.Links[0].TraceId) != theirs {
					t.Errorf("trace %s is to link to the caller's and be none of it: %v", id, s.Links)
				}
				if !strings.Contains(log.String(), `"trace_id":"`+hexOf(s.TraceId)+`"`) {
					t.Errorf("the line of the request does not name its trace: %s", &log)
				}
			}
			want := []string{"GET /login", "GET /readyz"}
			if engine == "postgres" {
				want = append(want, "backlog")
			}
			slices.Sort(names)
			slices.Sort(want)
			if !slices.Equal(names, want) {
				t.Errorf("spans %q, want %q", names, want)
			}
			if all := strings.Join(c.raw, ""); strings.Contains(all, "do-not-tell") {
				t.Error("a token is in the traces")
			}
		})
	}
}

func hexOf(id []byte) string { return hex.EncodeToString(id) }

func TestTracingIsOffUnlessWanted(t *testing.T) {
	for name, environ := range map[string][]string{
		"nothing is said": nil,
		"switched off":    {"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_SDK_DISABLED=true"},
		"no exporter":     {"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_TRACES_EXPORTER=none"},
	} {
		p := &process{environ: environ}
		tracer, stop, err := startTracing(t.Context(), p.getenv)
		if err != nil {
			t.Fatal(err)
		}
		_, span := tracer.Start(t.Context(), "x")
		if span.IsRecording() || stop(t.Context()) != nil {
			t.Errorf("%s: it traces", name)
		}
	}
}
