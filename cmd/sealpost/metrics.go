package main

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what /metrics tells. They are counted where the one line of each
// request is written, from what it says: the log and the metrics cannot
// disagree. No label holds anything that a caller chooses.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	events   *prometheus.CounterVec
	opened   *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sealpost_http_requests_total", Help: "Requests answered, by route, method and status.",
		}, []string{"route", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sealpost_http_request_duration_seconds", Help: "How long requests took, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sealpost_login_events_total", Help: "What happened to logins: link-asked, signed-in, code-shown, wrong-code, not-me, given-up.",
		}, []string{"event"}),
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sealpost_links_opened_total",
			Help: "Mailed links that were looked at, by what they were good for, and whether in another browser than the one that asked. " +
				"Far more of them than of signed-in means that mail scanners open links.",
		}, []string{"state", "elsewhere"}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.events, m.opened,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// handler serves the metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// observe counts an answered request and what its line says.
func (m *metrics) observe(r *http.Request, route string, status int, took time.Duration, attrs []slog.Attr) {
	m.requests.WithLabelValues(route, knownMethod(r.Method), strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route).Observe(took.Seconds())
	said := map[string]slog.Value{}
	for _, a := range attrs {
		said[a.Key] = a.Value
	}
	if event, ok := said["event"]; ok {
		m.events.WithLabelValues(event.String()).Inc()
	}
	if state, ok := said["link"]; ok && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		elsewhere, known := said["elsewhere"]
		m.opened.WithLabelValues(state.String(), strconv.FormatBool(known && elsewhere.Bool())).Inc()
	}
}

// knownMethod keeps callers from making up labels.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}
