// Package metrics counts what a chat.Hub does, for Prometheus.
//
//	m := metrics.New(metrics.Events("cursor"))
//	hub, err := chat.New(chat.WithObserver(m), …)
//	prometheus.MustRegister(m)
//
// A host without a registry mounts m.Handler() instead. docs/metrics.md has each metric, metrics/grafana/chat.json a dashboard of them.
//
// No label's value comes from a stranger: what is not known beforehand is counted as "other".
package metrics

import (
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/parleychat/chat"
)

// Metrics is a chat.Observer and a prometheus.Collector. Given to several Hubs it counts them together; for Hubs to be told apart each has Metrics of its own,
// registered with prometheus.WrapRegistererWith.
type Metrics struct {
	mu   sync.Mutex // guards hubs
	hubs []*chat.Hub

	spaces      *set // bounded by capacity: see ObserveConnect
	codes       map[chat.Code]prometheus.Counter
	otherCode   prometheus.Counter
	events      map[string]*eventSeries
	otherEvent  *eventSeries
	ops         map[string]*opSeries
	otherOp     *opSeries
	batch       prometheus.Histogram
	connections *prometheus.CounterVec
	disconnects *prometheus.CounterVec
	limits      *prometheus.CounterVec

	collectors []prometheus.Collector
}

// eventSeries are the series of one event's name.
type eventSeries struct {
	received prometheus.Counter
	answered prometheus.Observer
}

// An Option sets up Metrics.
type Option interface{ apply(*config) }

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

type config struct {
	events []string
	codes  []chat.Code
}

// Events names events of the host's own that are counted each by itself. All other names, which any page may make up, are counted as "other"; the chat's own
// events need not be named.
func Events(names ...string) Option {
	return optionFunc(func(c *config) { c.events = append(c.events, names...) })
}

// Codes names codes of the host's own errors that are counted each by itself. Others than those and the Hub's are counted as "other".
func Codes(codes ...chat.Code) Option {
	return optionFunc(func(c *config) { c.codes = append(c.codes, codes...) })
}

// New makes Metrics. They count nothing until a Hub is made with them by chat.WithObserver.
func New(opts ...Option) *Metrics {
	var c config
	for _, o := range opts {
		o.apply(&c)
	}
	m := &Metrics{
		spaces: &set{most: namespacesMost},
		connections: counters("connections_total", "Connects to a namespace, by what became of them: accepted, gone (the client went away meanwhile) or the code of the refusal.",
			"namespace", "transport", "protocol", "result"),
		disconnects: counters("disconnects_total", "Clients that left, by reason.", "reason"),
		limits:      counters("limits_total", "Limits that somebody passed, by limit, step and whose doings it counts.", "limit", "step", "scope"),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "socketio_store_batch_entries", Help: "Entries that the store was given to append at once.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000},
		}),
	}
	m.collectors = append(m.collectors, m.connections, m.disconnects, m.limits, m.batch)
	m.makeEvents(c.events)
	m.makeCodes(c.codes)
	m.makeOps()
	for reason := range reasons { // a series that begins at 1 hides its first event from rate()
		m.disconnects.WithLabelValues(reason)
	}
	for step := range limitSteps {
		for scope := range scopes {
			m.limits.WithLabelValues("rate", step, scope)
		}
	}
	return m
}

// seconds are the buckets of latencies.
var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "socketio_" + name, Help: help}, labels)
}

func latencies(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "socketio_" + name, Help: help, Buckets: seconds}, labels)
}

func (m *Metrics) makeEvents(listed []string) {
	received := counters("messages_received_total", "Events that came in from clients, refused ones too, by name.", "event")
	answered := latencies("ack_duration_seconds", "From an event's coming in to its answer; of a chat_message, until it is saved and delivered.", "event")
	series := func(name string) *eventSeries {
		return &eventSeries{received.WithLabelValues(name), answered.WithLabelValues(name)}
	}
	m.otherEvent, m.events = series(other), map[string]*eventSeries{}
	for _, names := range [][]string{ownEvents, listed} {
		for _, name := range names {
			m.events[name] = series(labelValue(name))
		}
	}
	m.collectors = append(m.collectors, received, answered)
}

func (m *Metrics) makeCodes(listed []chat.Code) {
	errors := counters("errors_total", "Errors that a page was told, by code.", "code")
	m.otherCode, m.codes = errors.WithLabelValues(other), map[chat.Code]prometheus.Counter{}
	for _, codes := range [][]chat.Code{ownCodes, listed} {
		for _, code := range codes {
			m.codes[code] = errors.WithLabelValues(labelValue(string(code)))
		}
	}
	m.collectors = append(m.collectors, errors)
}

func (m *Metrics) makeOps() {
	durations := latencies("store_duration_seconds", "Calls of the store, by method and result: ok, timeout or error.", "op", "result")
	m.otherOp, m.ops = &opSeries{vec: durations, op: other}, map[string]*opSeries{}
	for _, op := range storeOps {
		m.ops[op] = &opSeries{vec: durations, op: op}
	}
	m.collectors = append(m.collectors, durations)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.collectors {
		c.Describe(ch)
	}
	for _, g := range gauges {
		ch <- g.desc
	}
}

// Collect implements prometheus.Collector. It asks the Hubs for their Stats.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.collectors {
		c.Collect(ch)
	}
	m.collectStats(ch)
}

// Handler serves these metrics, and those of the Go runtime and the process, without any registry of the host's.
func (m *Metrics) Handler() http.Handler {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}
