package postgres_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/internal/pgtest"
)

var sizes = []int{1, 16, 64}

// durable runs a benchmark against a server that waits for the disk.
func durable(b *testing.B, run func(b *testing.B, dsn string)) {
	server, err := pgtest.Start("fsync=on")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := server.Close(); err != nil {
			b.Error(err)
		}
	})
	run(b, server.DSN("postgres"))
}

// perEntry reports the time of one entry beside that of a batch, and what of it is CPU of this process.
func perEntry(b *testing.B, size int, cpu time.Duration) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/entry")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N*size), "cpu-ns/entry")
}

// used is the CPU time of this process.
func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkAppend(b *testing.B) {
	durable(b, func(b *testing.B, dsn string) {
		n := 0
		for _, size := range sizes {
			b.Run(fmt.Sprint(size), func(b *testing.B) {
				s := open(b, dsn)
				batch := make([]chat.Entry, size)
				before := used(b)
				for b.Loop() {
					for i := range batch {
						n++
						batch[i] = message(n)
					}
					if _, err := s.Append(b.Context(), batch); err != nil {
						b.Fatal(err)
					}
				}
				perEntry(b, size, used(b)-before)
			})
		}
	})
}

// BenchmarkBare is what the same rows cost without a store: no keys, no rooms, nothing looked up; one statement for each row, all sent at once.
func BenchmarkBare(b *testing.B) {
	durable(b, func(b *testing.B, dsn string) {
		open(b, dsn)
		conn := connect(b, dsn)
		n := 0
		for _, size := range sizes {
			b.Run(fmt.Sprint(size), func(b *testing.B) {
				before := used(b)
				for b.Loop() {
					q := &pgx.Batch{}
					q.Queue("BEGIN")
					for range size {
						n++
						e := message(n)
						q.Queue(`INSERT INTO parley_chat.entries (room_id, seq, kind, id, user_id, sid, text, ts, message_id, reply_to, meta)
							VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
							n, e.Kind, e.ID, e.UserID, e.SID, e.Text, time.Now(), e.MessageID, e.ReplyTo, []byte(e.Meta))
					}
					q.Queue("COMMIT")
					if err := conn.SendBatch(b.Context(), q).Close(); err != nil {
						b.Fatal(err)
					}
				}
				perEntry(b, size, used(b)-before)
			})
		}
	})
}

// BenchmarkPage reads 50 entries at changing places of a room that has a million.
func BenchmarkPage(b *testing.B) {
	dsn := database(b, "")
	s := open(b, dsn)
	if _, err := s.Append(b.Context(), []chat.Entry{message(1)}); err != nil {
		b.Fatal(err)
	}
	if _, err := connect(b, dsn).Exec(b.Context(), `UPDATE parley_chat.rooms SET last_seq = 1000000; INSERT INTO parley_chat.entries (room_id, seq, kind, id, user_id, sid, text, ts, message_id, reply_to)
		SELECT 1, g, 'message', 'id', 'ann', 'sid', 'a text of a usual length, as people write them', now(), '', '' FROM generate_series(2, 1000000) g`); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"after", "before"} {
		b.Run(name, func(b *testing.B) {
			n := uint64(0)
			for b.Loop() {
				n = (n + 314159) % 999900
				after, before := n, n+51
				q := chat.PageQuery{Namespace: "/", Room: "lobby", Before: &before, Limit: 50}
				if name == "after" {
					q.After, q.Before = &after, nil
				}
				entries, _, err := s.Page(b.Context(), q)
				if err != nil || len(entries) != 50 || entries[0].Seq != n+1 {
					b.Fatal(len(entries), err)
				}
			}
		})
	}
}

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
				before := used(b)
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
				perEntry(b, size, used(b)-before)
				b.ReportMetric(float64(committing.Nanoseconds())/float64(b.N*size), "ns/entry-to-commit")
			})
		}
	})
}
