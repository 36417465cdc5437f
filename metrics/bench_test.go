package metrics_test

import (
	"context"
	"testing"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/metrics"
)

func BenchmarkEvent(b *testing.B) {
	for _, name := range []string{"chat_message", "made up by a page"} {
		b.Run(name, func(b *testing.B) {
			ctx, m, e := context.Background(), metrics.New(), &chat.Event{Name: name}
			b.ReportAllocs()
			for b.Loop() {
				_, done := m.ObserveEvent(ctx, nil, e)
				done(nil)
			}
		})
	}
}

func BenchmarkEventParallel(b *testing.B) {
	ctx, m, e := context.Background(), metrics.New(), &chat.Event{Name: "chat_message"}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, done := m.ObserveEvent(ctx, nil, e)
			done(nil)
		}
	})
}

func BenchmarkStore(b *testing.B) {
	ctx, m := context.Background(), metrics.New()
	b.ReportAllocs()
	for b.Loop() {
		_, done := m.ObserveStore(ctx, chat.StoreCall{Op: "append", Entries: 10})
		done(nil)
	}
}

func BenchmarkConnect(b *testing.B) {
	ctx, m, h, c := context.Background(), metrics.New(), &chat.Handshake{Namespace: "/", Transport: "websocket", Protocol: 5}, new(chat.Client)
	b.ReportAllocs()
	for b.Loop() {
		_, done := m.ObserveConnect(ctx, h)
		done(c, nil)
	}
}

func BenchmarkError(b *testing.B) {
	ctx, m := context.Background(), metrics.New()
	b.ReportAllocs()
	for b.Loop() {
		m.ObserveError(ctx, nil, chat.RateLimited, "chat_message")
	}
}

func BenchmarkDisconnect(b *testing.B) {
	ctx, m := context.Background(), metrics.New()
	b.ReportAllocs()
	for b.Loop() {
		m.ObserveDisconnect(ctx, nil, "transport close")
	}
}

func BenchmarkScrape(b *testing.B) {
	m := touched(b)
	b.ReportAllocs()
	for b.Loop() {
		gather(b, m)
	}
}
