package main

import (
	"context"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sealpost/sealpost/keys"
)

// condition is what /metrics tells of things as they are when it is asked:
// what is queued, the age of the keys, the connections.
type condition struct{ in *instance }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sealpost_"+name, help, labels, nil)
}

var (
	buildInfo     = describe("build_info", "The version of the program and the engine of its database; 1.", "version", "engine")
	databaseUp    = describe("database_up", "Whether the database answers: 1 or 0.")
	clockOffset   = describe("database_clock_offset_seconds", "How far the database's clock is ahead of this machine's, where it has one of its own.")
	queuedMails   = describe("mail_queue_length", "Mails that wait to be sent, of all instances on the database.")
	oldestMail    = describe("mail_queue_oldest_seconds", "How long the oldest of them has waited; 0 when none waits.")
	queuedNotices = describe("logout_notices_queued", "Back-channel logouts that wait to be delivered, of all instances on the database.")
	keyAge        = describe("signing_key_age_seconds", "How long the current key of an algorithm has signed.", "alg")
	connections   = describe("database_connections", "Connections to the database, by state: in_use, idle, max.", "state")
	connWaits     = describe("database_connection_waits_total", "How often a call waited for a connection.")
	connWaited    = describe("database_connection_wait_seconds_total", "How long calls have waited for a connection.")
)

// Describe is prometheus.Collector.Describe.
func (c condition) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildInfo, databaseUp, clockOffset, queuedMails, oldestMail, queuedNotices, keyAge, connections, connWaits, connWaited} {
		out <- d
	}
}

// Collect is prometheus.Collector.Collect. What the database does not tell in
// time is left out.
func (c condition) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	engine, _, _ := c.in.settings.engine() // it is open
	gauge(buildInfo, 1, version(), engine)
	for alg, age := range c.in.ring.Ages() {
		gauge(keyAge, age.Seconds(), string(alg))
	}
	conns := c.in.store.Connections()
	gauge(connections, float64(conns.InUse), "in_use")
	gauge(connections, float64(conns.Idle), "idle")
	gauge(connections, float64(conns.Max), "max")
	out <- prometheus.MustNewConstMetric(connWaits, prometheus.CounterValue, float64(conns.Waits))
	out <- prometheus.MustNewConstMetric(connWaited, prometheus.CounterValue, conns.Waited.Seconds())

	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	b, err := c.in.store.Backlog(ctx)
	if err != nil {
		gauge(databaseUp, 0)
		return
	}
	gauge(databaseUp, 1)
	gauge(queuedMails, float64(b.Mails))
	gauge(oldestMail, age(b.OldestMail, c.in.now()).Seconds())
	gauge(queuedNotices, float64(b.Notices))
	if db, ok := c.in.store.(clocked); ok {
		before := c.in.now()
		if there, err := db.Clock(ctx); err == nil {
			half := c.in.now().Sub(before) / 2 // it was read on the way
			gauge(clockOffset, there.Sub(before.Add(half)).Seconds())
		}
	}
}

// clocked is a database with a clock of its own.
type clocked interface {
	Clock(ctx context.Context) (time.Time, error)
}

// age is how long ago something was; 0 for never.
func age(then, now time.Time) time.Duration {
	if then.IsZero() {
		return 0
	}
	return max(0, now.Sub(then))
}

// readiness is the answer of /readyz. Only what makes an instance unable to
// answer makes it unready: mail that waits is told and no reason to take
// instances away.
type readiness struct {
	Status string `json:"status"`
	*backlog
}

type backlog struct {
	QueuedMails       int     `json:"queued_mails"`
	OldestMailSeconds float64 `json:"oldest_mail_seconds"`
	QueuedNotices     int     `json:"queued_logout_notices"`
}

// ready says whether this instance can serve; why not when it cannot.
func (in *instance) ready(ctx context.Context) (r readiness, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	b, err := in.store.Backlog(ctx)
	switch {
	case in.stopping.Load():
		return readiness{Status: "stopping"}, false
	case err != nil:
		return readiness{Status: "database unreachable"}, false
	case len(in.ring.Ages()) < len(keys.Algorithms):
		r.Status = "no signing key"
	default:
		r.Status, ok = "ready", true
	}
	r.backlog = &backlog{QueuedMails: b.Mails, OldestMailSeconds: age(b.OldestMail, in.now()).Seconds(), QueuedNotices: b.Notices}
	return r, ok
}

// profiles serves net/http/pprof.
func profiles(r chi.Router) {
	r.Get("/debug/pprof/cmdline", pprof.Cmdline)
	r.Get("/debug/pprof/profile", pprof.Profile)
	r.Get("/debug/pprof/symbol", pprof.Symbol)
	r.Get("/debug/pprof/trace", pprof.Trace)
	r.Get("/debug/pprof/*", func(w http.ResponseWriter, r *http.Request) { pprof.Index(w, r) })
}
