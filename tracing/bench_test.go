package tracing_test

import (
	"context"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
	"github.com/parleychat/chat/tracing"
)

// providers are what a host may have. What exporting costs is the exporter's.
func providers() map[string]trace.TracerProvider {
	with := func(s sdktrace.Sampler) trace.TracerProvider {
		return sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(s)))
	}
	return map[string]trace.TracerProvider{
		"no-sdk":      noop.NewTracerProvider(),
		"unsampled":   with(sdktrace.NeverSample()),
		"one-percent": with(sdktrace.TraceIDRatioBased(0.01)),
		"sampled":     recording(),
	}
}

// recording makes spans that somebody takes, as without a processor the SDK makes none.
func recording() trace.TracerProvider {
	return sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithSpanProcessor(discard{}))
}

type discard struct{}

func (discard) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (discard) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (discard) Shutdown(context.Context) error                  { return nil }
func (discard) ForceFlush(context.Context) error                { return nil }

// pieces are a client of a Hub, and its context, for calls of an observer as the Hub makes them.
func pieces(tb testing.TB, p trace.TracerProvider) (chat.Observer, *chat.Client, context.Context) {
	tb.Helper()
	type seen struct {
		client *chat.Client
		ctx    context.Context
	}
	got := make(chan seen, 1)
	o := tracing.New(tracing.WithTracerProvider(p))
	hub, err := chat.New(chat.WithObserver(o), chat.OnConnect(func(ctx context.Context, c *chat.Client) { got <- seen{c, ctx} }))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			tb.Error(err)
		}
	})
	chattest.Dial(tb, hub)
	s := <-got
	return o, s.client, s.ctx
}

// onMessage is all that an observer is told of one chat_message.
func onMessage(o chat.Observer, c *chat.Client, ctx context.Context, e *chat.Event, entry *chat.Entry) {
	in, done := o.(chat.EventObserver).ObserveEvent(ctx, c, e)
	_, saved := o.(chat.StoreObserver).ObserveStore(context.Background(), chat.StoreCall{Op: "append", Entries: 1, For: []context.Context{in}})
	if saved != nil {
		saved(nil)
	}
	o.(chat.DeliverObserver).ObserveDeliver(in, chat.Delivery{
		Namespace: "/", Event: "new_message", Room: entry.Room, Entry: entry, Clients: 100, Bytes: 200, Begin: time.Now(),
	})
	if done != nil {
		done(nil)
	}
}

// BenchmarkMessage is what tracing adds to one chat_message: event, store and delivery.
func BenchmarkMessage(b *testing.B) {
	for _, name := range []string{"no-sdk", "unsampled", "one-percent", "sampled"} {
		b.Run(name, func(b *testing.B) {
			o, c, ctx := pieces(b, providers()[name])
			e, entry := &chat.Event{Name: "chat_message"}, &chat.Entry{Room: "lobby", ID: "0193", SID: c.ID(), Seq: 1}
			b.ReportAllocs()
			for b.Loop() {
				onMessage(o, c, ctx, e, entry)
			}
		})
	}
}

// BenchmarkBatch is what tracing adds to the store's call for 64 messages of 64 traces.
func BenchmarkBatch(b *testing.B) {
	for _, name := range []string{"no-sdk", "unsampled", "sampled"} {
		b.Run(name, func(b *testing.B) {
			p := providers()[name]
			o := tracing.New(tracing.WithTracerProvider(p)).(chat.StoreObserver)
			call := chat.StoreCall{Op: "append", Entries: 64}
			for range call.Entries {
				ctx, span := p.Tracer("host").Start(context.Background(), "message")
				defer span.End()
				call.For = append(call.For, ctx)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, done := o.ObserveStore(context.Background(), call); done != nil {
					done(nil)
				}
			}
		})
	}
}

// BenchmarkHub is a chat_message through a Hub in memory and its ack, for what the above is a part of.
func BenchmarkHub(b *testing.B) {
	for _, name := range []string{"untraced", "no-sdk", "unsampled", "one-percent", "sampled"} {
		b.Run(name, func(b *testing.B) {
			opts := []chat.Option{chat.WithRooms("lobby")}
			if p := providers()[name]; p != nil {
				opts = append(opts, chat.WithObserver(tracing.New(tracing.WithTracerProvider(p))))
			}
			hub, err := chat.New(opts...)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				if err := hub.Shutdown(ctx); err != nil {
					b.Error(err)
				}
			})
			c := chattest.Dial(b, hub)
			b.ReportAllocs()
			for b.Loop() {
				c.Call("chat_message", "hello")
			}
		})
	}
}
