package tracing

import (
	"context"
	"encoding/json"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/parleychat/chat"
)

func (o *observer) ObserveConnect(ctx context.Context, h *chat.Handshake) (context.Context, func(*chat.Client, *chat.Error)) {
	parent, opts := o.whence(ctx, h)
	inner, span := o.tracer.Start(parent, "chat.connect", opts...)
	if !span.IsRecording() {
		return inner, nil
	}
	span.SetAttributes(
		system, namespaceKey.String(h.Namespace), transportKey.String(h.Transport), protocolKey.Int(h.Protocol),
	)
	setRequestID(ctx, span)
	c := newConnContext(ctx, inner)
	return c, func(client *chat.Client, refused *chat.Error) {
		switch {
		case client != nil:
			setClient(span, client)
			span.SetAttributes(recoveredKey.Bool(client.Recovered()))
		case refused != nil:
			fail(span, refused)
		default:
			span.SetAttributes(goneKey.Bool(true))
		}
		span.End()
		c.ended(span.SpanContext())
	}
}

// whence is the context that has the parent of a connect: the host's own span around the handshake, or else what the page says. What the page says is a link
// where it is not the parent.
func (o *observer) whence(ctx context.Context, h *chat.Handshake) (context.Context, []trace.SpanStartOption) {
	host, page := trace.SpanContextFromContext(ctx), o.remote(h)
	kind := trace.SpanKindServer
	if host.IsValid() {
		kind = trace.SpanKindInternal
	}
	opts := []trace.SpanStartOption{trace.WithSpanKind(kind)}
	switch {
	case !page.IsValid() || page.TraceID() == host.TraceID():
	case host.IsValid() || o.public:
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: page}))
	default:
		ctx = trace.ContextWithRemoteSpanContext(ctx, page)
	}
	return ctx, opts
}

// remote is the span that the page names in a header (which a browser's WebSocket cannot have) or in the auth payload. Baggage is not taken from strangers.
func (o *observer) remote(h *chat.Handshake) trace.SpanContext {
	of := func(c propagation.TextMapCarrier) trace.SpanContext {
		return trace.SpanContextFromContext(o.propagator.Extract(context.Background(), c))
	}
	if sc := of(propagation.HeaderCarrier(h.Header)); sc.IsValid() || h.Auth == nil {
		return sc
	}
	return of(&authCarrier{auth: h.Auth})
}

// authCarrier reads the string fields of an auth payload.
type authCarrier struct {
	auth   json.RawMessage
	fields map[string]json.RawMessage
}

func (c *authCarrier) Get(key string) (value string) {
	if c.fields == nil {
		c.fields = map[string]json.RawMessage{}
		_ = json.Unmarshal(c.auth, &c.fields) // what is no object has no fields
	}
	if raw, ok := c.fields[key]; ok && json.Unmarshal(raw, &value) != nil {
		return ""
	}
	return value
}

func (c *authCarrier) Keys() []string     { return nil }
func (c *authCarrier) Set(string, string) {}

// connContext is what a client's handlers and hooks have their values from. It lives as long as the connection, so it lets go of the span with all that is in it when
// that has ended, and keeps the span's ids.
type connContext struct {
	context.Context
	now atomic.Pointer[holder]
}

type holder struct{ context.Context }

func newConnContext(ctx, now context.Context) *connContext {
	c := &connContext{Context: ctx}
	c.now.Store(&holder{now})
	return c
}

func (c *connContext) Value(key any) any { return c.now.Load().Value(key) }

func (c *connContext) ended(sc trace.SpanContext) {
	c.now.Store(&holder{trace.ContextWithSpanContext(c.Context, sc)})
}

// ObserveDisconnect makes a trace of its own, linked to the connect's like all that comes between: a child of the connect's span would draw a trace that is as long
// as the connection.
func (o *observer) ObserveDisconnect(ctx context.Context, c *chat.Client, reason string) {
	_, span := o.tracer.Start(ctx, "chat.disconnect", linked(ctx, rootInternal)...)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(system, attribute.String("chat.disconnect.reason", reason))
	setRequestID(ctx, span)
	setClient(span, c)
	span.End()
}

// linked are base, the options of a root span, with a link to the span of ctx, the connect's, where that is sampled.
func linked(ctx context.Context, base []trace.SpanStartOption) []trace.SpanStartOption {
	if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() {
		return append(base[:len(base):len(base)], trace.WithLinks(trace.Link{SpanContext: sc}))
	}
	return base
}

// Made once, since most spans are not sampled.
var (
	rootInternal = []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindInternal)}
	rootConsumer = []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer)}
)
