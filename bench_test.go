package chat_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/parleychat/chat"
)

// BenchmarkMessage is a message on the default store with nobody else in the room, from the socket to the ack in it, eight at a time (which are one op); what the
// client does is in it.
func BenchmarkMessage(b *testing.B) {
	hub, err := chat.New(chat.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(hub)
	defer server.Close()
	c := dialRaw(b, server.Listener.Addr().String())
	c.send(b, "40")
	c.expect(b, "40")
	c.send(b, `420["join_room",{"room":"r"}]`)
	c.expect(b, "430")
	_ = c.SetReadDeadline(time.Time{})
	const each = 8 // one b.N
	head := make([]byte, 4)
	buf := make([]byte, 4096)
	var out []byte
	n := 0
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		out = out[:0]
		for range each {
			n++
			text := fmt.Appendf(nil, `42%d["chat_message",{"room":"r","text":"%064d","message_id":"018f0000-0000-7000-8000-%012d"}]`, n, n, n)
			out = append(out, 0x81, 0x80|126)
			out = binary.BigEndian.AppendUint16(out, uint16(len(text)))
			out = append(append(out, 0, 0, 0, 0), text...)
		}
		if _, err := c.Conn.Write(out); err != nil {
			b.Fatal(err)
		}
		for got := 0; got < each; {
			if _, err := io.ReadFull(c.r, head[:2]); err != nil {
				b.Fatal(err)
			}
			size := int(head[1])
			if size == 126 {
				_, _ = io.ReadFull(c.r, head[2:4])
				size = int(binary.BigEndian.Uint16(head[2:]))
			}
			if _, err := io.ReadFull(c.r, buf[:size]); err != nil {
				b.Fatal(err)
			}
			if buf[0] == '4' && buf[1] == '3' {
				got++
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*each), "ns/message")
	b.StopTimer()
	if err := hub.Shutdown(b.Context()); err != nil {
		b.Fatal(err)
	}
}
