package tracing_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a Hub with a recorder of what it does.
type world struct {
	t        *testing.T
	hub      *chat.Hub
	provider *sdktrace.TracerProvider
	recorder *tracetest.SpanRecorder
}

// start makes a world. A nil sampler takes all.
func start(t *testing.T, sampler sdktrace.Sampler, with []tracing.Option, opts ...chat.Option) *world {
	t.Helper()
	if sampler == nil {
		sampler = sdktrace.AlwaysSample()
	}
	w := &world{t: t, recorder: tracetest.NewSpanRecorder()}
	w.provider = sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sampler)), sdktrace.WithSpanProcessor(w.recorder))
	with = append([]tracing.Option{tracing.WithTracerProvider(w.provider), tracing.WithPropagator(propagation.TraceContext{})}, with...)
	hub, err := chat.New(append(opts, chat.WithObserver(tracing.New(with...)))...)
	if err != nil {
		t.Fatal(err)
	}
	w.hub = hub
	t.Cleanup(func() { w.stop() })
	return w
}

// stop ends the Hub, after which every span has ended.
func (w *world) stop() spans {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := w.hub.Shutdown(ctx); err != nil {
		w.t.Error(err)
	}
	if begun, ended := len(w.recorder.Started()), len(w.recorder.Ended()); begun != ended {
		w.t.Errorf("%d spans begun, %d ended", begun, ended)
	}
	return spans{w.t, w.recorder.Ended()}
}

type spans struct {
	t   *testing.T
	all []sdktrace.ReadOnlySpan
}

func (s spans) named(name string) (found []sdktrace.ReadOnlySpan) {
	for _, span := range s.all {
		if span.Name() == name {
			found = append(found, span)
		}
	}
	return found
}

func (s spans) one(name string) sdktrace.ReadOnlySpan {
	s.t.Helper()
	found := s.named(name)
	if len(found) != 1 {
		s.t.Fatalf("%d spans %q among %q", len(found), name, s.names())
	}
	return found[0]
}

func (s spans) names() (names []string) {
	for _, span := range s.all {
		names = append(names, span.Name())
	}
	return names
}

// below is the one span of that name that is a child of parent.
func (s spans) below(parent trace.SpanContext, name string) sdktrace.ReadOnlySpan {
	s.t.Helper()
	var found []sdktrace.ReadOnlySpan
	for _, span := range s.named(name) {
		if span.Parent().SpanID() == parent.SpanID() && span.SpanContext().TraceID() == parent.TraceID() {
			found = append(found, span)
		}
	}
	if len(found) != 1 {
		s.t.Fatalf("%d children %q of one span; in all %q", len(found), name, s.names())
	}
	return found[0]
}

// none fails where any span has the text in anything that it says.
func (s spans) none(text string) {
	s.t.Helper()
	for _, span := range tracetest.SpanStubsFromReadOnlySpans(s.all) {
		said := []string{span.Name, span.Status.Description}
		for _, kv := range span.Attributes {
			said = append(said, kv.Value.String())
		}
		for _, e := range span.Events {
			said = append(said, e.Name)
			for _, kv := range e.Attributes {
				said = append(said, kv.Value.String())
			}
		}
		for _, one := range said {
			if strings.Contains(one, text) {
				s.t.Errorf("span %s says %q", span.Name, one)
			}
		}
	}
}

func value(s sdktrace.ReadOnlySpan, key string) attribute.Value {
	for _, kv := range s.Attributes() {
		if string(kv.Key) == key {
			return kv.Value
		}
	}
	return attribute.Value{}
}

// has fails where an attribute is not what it should be; "" is for one that must be there.
func has(t *testing.T, s sdktrace.ReadOnlySpan, want map[string]any) {
	t.Helper()
	for key, v := range want {
		got := value(s, key).AsInterface()
		if i, ok := got.(int64); ok {
			got = int(i)
		}
		if v == "" && got != nil && got != "" {
			continue
		}
		if got != v {
			t.Errorf("%s: %s is %v, not %v", s.Name(), key, got, v)
		}
	}
}

func status(t *testing.T, s sdktrace.ReadOnlySpan, code codes.Code, text, kind string) {
	t.Helper()
	if got := s.Status(); got.Code != code || got.Description != text {
		t.Errorf("%s: status %v %q", s.Name(), got.Code, got.Description)
	}
	if got := value(s, "error.type").AsString(); got != kind {
		t.Errorf("%s: error.type %q, not %q", s.Name(), got, kind)
	}
}

func links(s sdktrace.ReadOnlySpan, to trace.SpanContext) bool {
	return slices.ContainsFunc(s.Links(), func(l sdktrace.Link) bool {
		return l.SpanContext.SpanID() == to.SpanID() && l.SpanContext.TraceID() == to.TraceID()
	})
}

func root(t *testing.T, s sdktrace.ReadOnlySpan) {
	t.Helper()
	if s.Parent().IsValid() {
		t.Errorf("%s has a parent", s.Name())
	}
}
