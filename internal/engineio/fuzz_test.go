package engineio

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// A collector is a session without a connection, whose handler keeps what comes.
type collector struct{ got []string }

func (c *collector) Text(b []byte) error     { c.got = append(c.got, string(b)); return nil }
func (c *collector) Binary(b []byte) error   { c.got = append(c.got, "b:"+string(b)); return nil }
func (c *collector) Closed(Reason, []uint64) {}
func (c *collector) session(v uint8) *Session {
	cfg := testConfig()
	cfg.MaxPayload = 1 << 16
	s := &Session{srv: NewServer(cfg), version: v, handler: c}
	s.ring.slot = -1
	return s
}

// size is how many bytes came.
func (c *collector) size() (n int) {
	for _, m := range c.got {
		n += len(strings.TrimPrefix(m, "b:"))
	}
	return n
}

func FuzzPayload4(f *testing.F) {
	for _, seed := range []string{"", "4hello", "4a\x1e4b", "4hello\x1ebAQIDBA==", "b", "b!", "\x1e", "3\x1e1\x1e4", "6", "4\xff", "2probe", "4€\x1e"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var c collector
		err := c.session(4).payload4(body)
		if c.size() > len(body) {
			t.Errorf("%d bytes out of %d", c.size(), len(body))
		}
		if err != nil {
			return
		}
		// What was taken, written again, is taken as the same.
		var packets []*Packet
		for _, m := range c.got {
			packets = append(packets, packetOf(m))
		}
		var again collector
		if len(packets) > 0 {
			if err := again.session(4).payload4(encodePayload4(nil, packets, 0)); err != nil {
				t.Fatal(err)
			}
		}
		sameMessages(t, again.got, c.got)
	})
}

func packetOf(m string) *Packet {
	if b, ok := strings.CutPrefix(m, "b:"); ok {
		return NewBinary([]byte(b))
	}
	return textPacket(m)
}

func sameMessages(t *testing.T, got, want []string) {
	t.Helper()
	if strings.Join(got, "\x00|") != strings.Join(want, "\x00|") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzPayload3(f *testing.F) {
	for _, seed := range []string{"", "6:4hello", "6:4test16:4test2", "10:b4AQIDBA==", "3:4𝄞", "1:2", "1:1", "-1:4", "99999999999999999999:4", ":", "0:", "4:4\u00e2\u0082\u00ac"} {
		f.Add([]byte(seed), false)
	}
	for _, seed := range []string{"\x00\x06\xff4hello", "\x01\x05\xff\x04\x01\x02\x03\x04", "\x00\x09\x09\x09\xff4", "\x02", "\x00\xff", "\x01\x01\xff\x03"} {
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, octets bool) {
		kind := "text/plain"
		if octets {
			kind = "application/octet-stream"
		} else if !utf8.Valid(body) {
			body = bytes.ToValidUTF8(body, nil)
		}
		var c collector
		err := c.session(3).payload3(body, kind)
		if c.size() > len(body) {
			t.Errorf("%d bytes out of %d", c.size(), len(body))
		}
		if err != nil || len(c.got) == 0 {
			return
		}
		var packets []*Packet
		for _, m := range c.got {
			if !ascii(m) && !strings.HasPrefix(m, "b:") {
				return // goes out escaped, which only JSON undoes
			}
			packets = append(packets, packetOf(m))
		}
		for _, noBinary := range []bool{true, false} {
			out, octets := encodePayload3(nil, packets, 0, noBinary)
			kind := "text/plain"
			if octets {
				kind = "application/octet-stream"
			}
			var again collector
			if err := again.session(3).payload3(out, kind); err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			sameMessages(t, again.got, c.got)
		}
	})
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// What the reader makes of bytes does not hang on how they are cut up, and it holds no more than came.
func FuzzFrames(f *testing.F) {
	f.Add(frameOf(ws.OpText, []byte("4hello")), uint8(1), false)
	f.Add(append(frameOf(ws.OpBinary, []byte{1, 2}), frameOf(ws.OpPing, nil)...), uint8(3), false)
	f.Add(header(0x82, 0xFF, 1<<63), uint8(2), false)
	f.Add(header(0x82, 0xFF, 60_000), uint8(5), false)
	f.Add(header(0x01, 0x80, 0), uint8(7), true)
	f.Add([]byte{0x81, 0x05, '4'}, uint8(1), false)
	deflated := appendFrame(nil, 0x40|opText, []byte{0x32, 0x04, 0x00})
	f.Add(deflated, uint8(1), true)
	f.Fuzz(func(t *testing.T, data []byte, step uint8, deflate bool) {
		run := func(step int) ([]string, error) {
			var k collector
			c := &wsConn{s: k.session(4), deflate: deflate}
			for b := bytes.Clone(data); len(b) > 0; {
				n := min(step, len(b))
				if err := c.feed(b[:n:n]); err != nil {
					return k.got, err
				}
				b = b[n:]
				p := c.partsOf()
				if cap(p.frame) > 2*len(data)+64 || cap(p.msg) > 2*len(data)+64 {
					t.Fatalf("holds %d and %d bytes for %d", cap(p.frame), cap(p.msg), len(data))
				}
			}
			return k.got, nil
		}
		whole, err1 := run(len(data) + 1)
		parts, err2 := run(int(step) + 1)
		sameMessages(t, parts, whole)
		if !errors.Is(err1, err2) {
			t.Errorf("whole: %v, in parts: %v", err1, err2)
		}
	})
}
