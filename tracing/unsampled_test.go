package tracing_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

// What is not sampled stays so all the way: no span of ours, nor of the host's below it.
func TestNotSampled(t *testing.T) {
	t.Parallel()
	var w *world
	var seen trace.SpanContext
	w = start(t, sdktrace.NeverSample(), nil, chat.WithRooms("lobby"),
		chat.OnMessage(func(ctx context.Context, _ *chat.Client, _ *chat.Entry) error {
			seen = trace.SpanContextFromContext(ctx)
			_, span := w.provider.Tracer("host").Start(ctx, "moderate")
			span.End()
			return nil
		}))
	c := chattest.Dial(t, w.hub)
	c.Call("chat_message", "hello")
	c.Close()
	if s := w.stop(); len(s.all) != 0 {
		t.Errorf("%q", s.names())
	}
	if !seen.IsValid() || seen.IsSampled() {
		t.Errorf("the handler's context says nothing of the decision: %+v", seen)
	}
}

// The page of a traced user: what docs/tracing.md says of sampling by the connect.
func TestSamplerSeesTheConnect(t *testing.T) {
	t.Parallel()
	w := start(t, likeItsConnect{sdktrace.NeverSample()}, nil, chat.WithRooms("lobby"))
	traced := chattest.Dial(t, w.hub, chattest.Auth(map[string]string{"traceparent": pageParent}))
	other := chattest.Dial(t, w.hub)
	traced.Call("chat_message", "one")
	other.Call("chat_message", "two")
	s := w.stop()
	has(t, s.one("chat.connect"), map[string]any{"chat.client_id": traced.ID()})
	has(t, s.one("chat.message"), map[string]any{"chat.client_id": traced.ID()})
}

type likeItsConnect struct{ sdktrace.Sampler } // the one for all others

func (s likeItsConnect) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	for _, l := range p.Links {
		if l.SpanContext.IsSampled() {
			return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
		}
	}
	return s.Sampler.ShouldSample(p)
}

// The context that lives as long as a connection lets go of the connect's span when that has ended.
func TestEndedConnectIsLetGo(t *testing.T) {
	t.Parallel()
	p := recording()
	_, _, ctx := pieces(t, p)
	span := trace.SpanFromContext(ctx)
	if !span.SpanContext().IsSampled() {
		t.Fatal("the connect is not in its client's context")
	}
	if _, held := span.(sdktrace.ReadOnlySpan); held {
		t.Error("the whole span is held")
	}
	span.SetAttributes(attribute.Bool("late", true)) // is no one's
}

// Nothing is allocated beyond what the SDK takes to decide on the event's span, and one context.
func TestUnsampledAllocates(t *testing.T) {
	p := providers()["unsampled"]
	o, c, ctx := pieces(t, p)
	e, entry := &chat.Event{Name: "chat_message"}, &chat.Entry{Room: "lobby", SID: c.ID()}
	tracer := p.Tracer("host")
	decision := testing.AllocsPerRun(200, func() {
		tracer.Start(ctx, "chat.message", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer))
	})
	most := decision + 3 // the store's context, and the slice and context of the call itself
	if n := testing.AllocsPerRun(200, func() { onMessage(o, c, ctx, e, entry) }); n > most {
		t.Errorf("%v allocations a message, of which the SDK's decision takes %v", n, decision)
	}
}
