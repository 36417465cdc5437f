package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/parleychat/chat"
)

// BenchmarkPublish is a transaction with one message in it, until a Watch tells of it; with more, what one of them takes.
func BenchmarkPublish(b *testing.B) {
	durable(b, func(b *testing.B, dsn string) {
		s, conn := open(b, dsn), connect(b, dsn)
		ctx, cancel := context.WithCancel(b.Context())
		grown, done := make(chan struct{}, 1), make(chan error, 1)
		go func() {
			done <- s.Watch(ctx, func(string, string) {
				select {
				case grown <- struct{}{}:
				default:
				}
			})
		}()
		defer func() { cancel(); <-done }()
		n := uint64(0)
		for _, size := range []int{1, 1000} {
			b.Run(fmt.Sprint(size), func(b *testing.B) {
				var committing time.Duration
				posts := make([]chat.Post, size)
				for i := range posts {
					posts[i].Text = message(i).Text
				}
				for b.Loop() {
					start := time.Now()
					if err := publishSome(b.Context(), conn, true, posts); err != nil {
						b.Fatal(err)
					}
					committing += time.Since(start)
					for n += uint64(size); ; <-grown {
						if _, last, err := s.Bounds(b.Context(), "/", "lobby"); err != nil || last > n {
							b.Fatal(last, err)
						} else if last == n {
							break
						}
					}
				}
				perEntry(b, size)
				b.ReportMetric(float64(committing.Nanoseconds())/float64(b.N*size), "ns/entry-to-commit")
			})
		}
	})
}
