package main

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sealpost/sealpost/storage"
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
	mails    *prometheus.CounterVec
	delivery prometheus.Histogram
	swept    prometheus.Counter
	kept     *prometheus.GaugeVec
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
			Name: "sealpost_login_events_total", Help: "What happened to logins and on the account page: link-asked, signed-in, code-shown, wrong-code, not-me, muted, given-up, address-changed, account-deleted and others.",
		}, []string{"event"}),
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sealpost_links_opened_total",
			Help: "Mailed links that were looked at, by what they were good for, and whether in another browser than the one that asked. " +
				"Far more of them than of signed-in means that mail scanners open links.",
		}, []string{"state", "elsewhere"}),
		mails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sealpost_mails_total",
			Help: "Tries to send a mail, by outcome: sent, queued (to be tried again), refused (who may not sign in), failed (for good), expired.",
		}, []string{"outcome"}),
		delivery: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sealpost_mail_delivery_seconds", Help: "From asking for a link until the mail server took the mail.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 900},
		}),
		swept: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sealpost_sweep_rows_total", Help: "Expired rows removed from the database.",
		}),
		kept: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sealpost_upkeep_last_success_timestamp_seconds", Help: "When the key ring was last kept and expired rows last removed, by task.",
		}, []string{"task"}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.events, m.opened, m.mails, m.delivery, m.swept, m.kept,
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

// mailed counts a try to send a mail.
func (m *metrics) mailed(o storage.MailOutcome, after time.Duration) {
	m.mails.WithLabelValues(string(o.State)).Inc()
	if o.State == storage.MailSent {
		m.delivery.Observe(after.Seconds())
	}
}

// done notes that a task of upkeep has been done.
func (m *metrics) done(task string, now time.Time) {
	m.kept.WithLabelValues(task).Set(float64(now.UnixMilli()) / 1000)
}

// knownMethod keeps callers from making up labels.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}
