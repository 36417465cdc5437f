package engineio

import (
	"io"
	"strings"
	"testing"
)

// BenchmarkFanOut sends to 200 sessions on loopback, whose clients read all the while. One operation is one
// message to all.
func BenchmarkFanOut(b *testing.B) {
	const members = 200
	h := start(b, func(o *setup) { o.cfg.Outbox = 16 << 20 })
	sessions := make([]*Session, members)
	text := strings.Repeat("x", 64)
	frame := len(textPacket(text).frame)
	done := make(chan struct{}, members)
	counts := make([]chan int, members)
	for i := range sessions {
		c := h.openWS(4)
		sessions[i] = h.peer().s
		counts[i] = make(chan int)
		go func() {
			buf := make([]byte, 64<<10)
			for n := range counts[i] {
				for n > 0 {
					k, err := c.r.Read(buf)
					if err != nil {
						return
					}
					n -= k
				}
				done <- struct{}{}
			}
		}()
	}
	const round = 100 // messages between two waits for all to have come
	var batch Batch
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= round {
		n := min(round, left)
		for _, c := range counts {
			c <- n * frame
		}
		for range n {
			p := textPacket(text)
			for _, s := range sessions {
				batch.Send(s, p)
			}
			batch.Flush()
		}
		for range members {
			<-done
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*members), "ns/delivery")
	for _, c := range counts {
		close(c)
	}
}

// BenchmarkReceive is one text message from a client to its handler.
func BenchmarkReceive(b *testing.B) {
	got, want := 0, make(chan struct{})
	h := start(b, func(o *setup) {
		o.handle = func(*peer, string) error {
			if got++; got == b.N {
				close(want)
			}
			return nil
		}
	})
	c := h.openWS(4)
	f := frameOf(opText, []byte("4"+strings.Repeat("x", 64)))
	b.SetBytes(int64(len(f)))
	b.ResetTimer()
	go func() { _, _ = io.Copy(c.conn, io.LimitReader(repeated(f), int64(b.N*len(f)))) }()
	<-want
}

type repeater struct {
	b   []byte
	off int
}

// repeated is b over and over.
func repeated(b []byte) io.Reader { return &repeater{b: []byte(strings.Repeat(string(b), 100))} }

func (r *repeater) Read(p []byte) (int, error) {
	n := copy(p, r.b[r.off:])
	r.off = (r.off + n) % len(r.b)
	return n, nil
}
