// Package tracing makes OpenTelemetry spans of what a chat.Hub does: connects, events, messages, the store's calls and deliveries.
//
//	hub, err := chat.New(chat.WithObserver(tracing.New()))
//
// What the spans look like, what to sample and what it costs: docs/tracing.md. No span holds the text of a message, a token, or the text of an error.
package tracing

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/parleychat/chat"
)

const scope = "github.com/parleychat/chat/tracing"

// An Option sets something of New.
type Option interface{ apply(*observer) }

type optionFunc func(*observer)

func (f optionFunc) apply(o *observer) { f(o) }

// WithTracerProvider says who makes the spans. Default: otel's global provider, also one that is set after New.
func WithTracerProvider(p trace.TracerProvider) Option {
	return optionFunc(func(o *observer) { o.tracer = tracerOf(p) })
}

// WithPropagator says how the trace of a page is read from its handshake. Default: otel's global propagator, which reads nothing until the host has set one.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return optionFunc(func(o *observer) { o.propagator = p })
}

// WithPublicEndpoint links a connect to the trace that a page names instead of putting it there. Otherwise anybody may have a connect sampled, by a
// traceparent that says so; what is sent later is sampled by the host's own sampler in any case.
func WithPublicEndpoint() Option { return optionFunc(func(o *observer) { o.public = true }) }

// WithEvents names the events of the host's own that have spans of their name. All others are "chat.event other": names come from strangers.
func WithEvents(names ...string) Option {
	return optionFunc(func(o *observer) {
		for _, n := range names {
			o.events[n] = "chat.event " + n
		}
	})
}

// New is an Observer for chat.WithObserver. One may serve several Hubs. The host flushes and shuts down the provider, after the Hub.
func New(opts ...Option) chat.Observer {
	o := &observer{tracer: tracerOf(otel.GetTracerProvider()), propagator: otel.GetTextMapPropagator(), events: make(map[string]string)}
	for _, n := range []string{"join_room", "leave_room", "typing", "history", "refresh_auth"} {
		o.events[n] = "chat.event " + n
	}
	for _, opt := range opts {
		opt.apply(o)
	}
	o.events[chatMessage] = "chat.message"
	return o
}

func tracerOf(p trace.TracerProvider) trace.Tracer {
	return p.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
}

// observer has no state but its settings: what lasts longer than a call is in contexts.
type observer struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	public     bool
	events     map[string]string // spans' names by the events'
}

var _ interface {
	chat.ConnectObserver
	chat.DisconnectObserver
	chat.EventObserver
	chat.StoreObserver
	chat.DeliverObserver
} = (*observer)(nil)
