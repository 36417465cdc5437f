package engineio

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

func TestWebSocket(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.handle = echo })
	c := b.openWS(4)
	c.send("4hello")
	c.raw(frameOf(ws.OpBinary, []byte{1, 2, 3}))
	c.raw(frameOf(ws.OpPing, []byte("are you there")))
	c.send("4", "6", "3", "4€")
	c.want("4hello", "b:\x01\x02\x03", "pong:are you there", "4", "4€")
	p := b.peer()
	if p.s.Transport() != "websocket" || p.s.Version() != 4 || len(p.s.ID()) != 20 {
		t.Errorf("%s %d %s", p.s.Transport(), p.s.Version(), p.s.ID())
	}
	p.s.Send(NewPacket(append(make([]byte, Headroom), `5["x"]`...), []byte("one"), bytes.Repeat([]byte{7}, 70_000)))
	c.want(`45["x"]`, "b:one", "b:"+strings.Repeat("\x07", 70_000))
	c.send("1")
	c.want("close 1000", "end")
	p.wantEnd(t, ReasonTransportClose)
}

func TestWebSocket3(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.handle = echo })
	c := b.openWS(3)
	c.send("2", "4héllo")
	c.raw(frameOf(ws.OpBinary, []byte{4, 1, 2, 3}))
	c.send("2again")
	c.want("3", "4héllo", "b:\x04\x01\x02\x03", "3again")
	c.raw(frameOf(ws.OpBinary, []byte{2}))
	c.want("close 1002", "end")
	b.peer().wantEnd(t, ReasonParse)
}

// What comes byte by byte, in fragments, and with control frames between them is the same.
func TestFragments(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	c := b.openWS(4)
	p := b.peer()
	var raw bytes.Buffer
	part := func(op ws.OpCode, fin bool, text string) {
		_ = ws.WriteFrame(&raw, ws.MaskFrame(ws.NewFrame(op, fin, []byte(text))))
	}
	part(ws.OpText, false, "4fra")
	part(ws.OpPing, true, "p")
	part(ws.OpContinuation, false, "")
	part(ws.OpContinuation, true, "gments")
	part(ws.OpText, true, "4"+strings.Repeat("long", 100))
	part(ws.OpText, true, "4"+strings.Repeat("longer", 20_000))
	for _, x := range raw.Bytes()[:1000] {
		c.raw([]byte{x})
	}
	c.raw(raw.Bytes()[1000:])
	p.want(t, "fragments", strings.Repeat("long", 100), strings.Repeat("longer", 20_000))
	c.want("pong:p")
}

func header(b0, b1 byte, size uint64) []byte {
	b := []byte{b0, b1}
	switch b1 & 0x7f {
	case 126:
		b = binary.BigEndian.AppendUint16(b, uint16(size))
	case 127:
		b = binary.BigEndian.AppendUint64(b, size)
	}
	return append(b, 0, 0, 0, 0)
}

func TestHostileFrames(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.cfg.MaxPayload = 100_000 })
	text := func(s string) []byte { return frameOf(ws.OpText, []byte(s)) }
	for _, c := range []struct {
		name   string
		frame  []byte
		code   int
		reason Reason
	}{
		{"RSV1", header(0xC1, 0x80, 0), 1002, ReasonTransportError},
		{"RSV2", header(0xA1, 0x80, 0), 1002, ReasonTransportError},
		{"RSV3", header(0x91, 0x80, 0), 1002, ReasonTransportError},
		{"not masked", []byte{0x81, 0x02, '4', 'x'}, 1002, ReasonTransportError},
		{"opcode 3", header(0x83, 0x80, 0), 1002, ReasonTransportError},
		{"opcode 15", header(0x8F, 0x80, 0), 1002, ReasonTransportError},
		{"ping in fragments", header(0x09, 0x80, 0), 1002, ReasonTransportError},
		{"long ping", header(0x89, 0xFE, 126), 1002, ReasonTransportError},
		{"continuation of nothing", header(0x80, 0x80, 0), 1002, ReasonTransportError},
		{"text within fragments", append(header(0x01, 0x80, 0), header(0x81, 0x80, 0)...), 1002, ReasonTransportError},
		{"length 2^63", header(0x82, 0xFF, 1<<63), 1002, ReasonTransportError},
		{"length 2^64-1", header(0x82, 0xFF, 1<<64-1), 1002, ReasonTransportError},
		{"length 2^63-1", header(0x82, 0xFF, 1<<63-1), 1009, ReasonTooLarge},
		{"64 MB", header(0x82, 0xFF, 64<<20), 1009, ReasonTooLarge},
		{"fragments of too much", append(append(header(0x02, 0xFE, 60_000), make([]byte, 60_000)...), header(0x80, 0xFE, 60_000)...), 1009, ReasonTooLarge},
		{"invalid UTF-8", text("4\xff\xfe"), 1007, ReasonTransportError},
		{"half a rune", text("4\xe2\x82"), 1007, ReasonTransportError},
		{"empty", text(""), 1002, ReasonParse},
		{"unknown packet", text("abc"), 1002, ReasonParse},
		{"NUL", text("\x00"), 1002, ReasonParse},
		{"open", text("0{}"), 1002, ReasonParse},
		{"upgrade", text("5"), 1002, ReasonParse},
		{"ping of a client", text("2"), 1002, ReasonParse},
		{"close frame of one byte", frameOf(ws.OpClose, []byte{3}), 1002, ReasonTransportError},
		{"close frame", frameOf(ws.OpClose, []byte{3, 232}), 1000, ReasonTransportClose},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := b.openWS(4)
			p := b.peer()
			s.raw(c.frame)
			s.raw(text("4not this"))
			s.want(fmt.Sprint("close ", c.code), "end")
			p.wantEnd(t, c.reason)
			if len(p.in) != 0 {
				t.Errorf("took %q", <-p.in)
			}
		})
	}
	b.openWS(4) // others notice nothing
}

func TestHandlerError(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.handle = func(*peer, string) error { return errParse } })
	c := b.openWS(4)
	c.send("4x")
	c.want("close 1002", "end")
	b.peer().wantEnd(t, ReasonParse)
}

func TestConnectionLost(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	c := b.openWS(4)
	c.raw(header(0x82, 0xFE, 1000)) // a frame that never ends
	_ = c.conn.(*net.TCPConn).SetLinger(0)
	_ = c.conn.Close()
	b.peer().wantEnd(t, ReasonTransportClose)
}

func TestPingFlood(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	c := b.openWS(4)
	p := b.peer()
	_ = c.conn.(*net.TCPConn).SetReadBuffer(4096)
	flood := bytes.Repeat(frameOf(ws.OpPing, make([]byte, 125)), 1000)
	for { // nobody reads the pongs
		if _, err := c.conn.Write(flood); err != nil {
			break
		}
	}
	p.wantEnd(t, ReasonSlowConsumer)

	c = b.openWS(4)
	p = b.peer()
	c.raw(bytes.Repeat(frameOf(ws.OpPong, nil), 200_000))
	c.send("4through")
	p.want(t, "through")
}

// One client that does not read loses its own connection, and nobody else's.
func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.cfg.Outbox = 256 << 10 })
	slow := b.openWS(4)
	slowPeer := b.peer()
	_ = slow.conn.(*net.TCPConn).SetReadBuffer(4096)
	fast := b.openWS(4)
	fastPeer := b.peer()
	text := strings.Repeat("x", 10_000)
	var batch Batch
	var tag uint64
	for ok := true; ok; {
		tag++
		p := tagged(tag, text)
		ok = batch.Send(slowPeer.s, p)
		if !batch.Send(fastPeer.s, p) {
			t.Fatal("the fast one was closed")
		}
		batch.Flush()
		fast.want("4" + text)
	}
	e := slowPeer.wantEnd(t, ReasonSlowConsumer)
	if n := len(e.unsent); n == 0 || n > 27 || e.unsent[n-1] != tag-1 {
		t.Errorf("unsent %v of %d", e.unsent, tag)
	}
	fastPeer.s.Send(textPacket("on"))
	fast.want("4on")
}

func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.cfg.WriteTimeout, o.cfg.Outbox = 50*time.Millisecond, 64<<20 })
	b.openWS(4)
	p := b.peer()
	p.s.Send(textPacket(strings.Repeat("x", 32<<20)))
	p.wantEnd(t, ReasonSlowConsumer)
}

// A message larger than all buffers goes out whole, as what the client takes of it allows.
func TestLargeMessages(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.cfg.Outbox = 64 << 20 })
	c := b.openWS(4)
	p := b.peer()
	const text, binary, rounds = 3 << 20, 1 << 20, 4
	for i := range rounds {
		p.s.Send(NewPacket(append(make([]byte, Headroom), strings.Repeat(fmt.Sprint(i), text)...), make([]byte, binary)))
		p.s.Send(textPacket("small"))
	}
	for i := range rounds {
		c.want("4"+strings.Repeat(fmt.Sprint(i), text), "b:"+string(make([]byte, binary)), "4small")
	}
	// What Close has a second to write must fit into it on a busy machine.
	p.s.Send(textPacket(strings.Repeat("x", 256<<10)))
	p.s.Close(ReasonForced)
	c.want("4"+strings.Repeat("x", 256<<10), "close 1000", "end")
	if e := p.wantEnd(t, ReasonForced); e.unsent != nil {
		t.Errorf("unsent %v", e.unsent)
	}
}

// Close flushes for a second and no longer.
func TestCloseOfStuckClient(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.cfg.Outbox = 64 << 20 })
	b.openWS(4)
	p := b.peer()
	p.s.Send(tagged(1, strings.Repeat("x", 32<<20)))
	p.s.Send(tagged(2, "y"))
	p.s.Close(ReasonShutdown)
	if e := p.wantEnd(t, ReasonShutdown); len(e.unsent) != 2 {
		t.Errorf("unsent %v", e.unsent)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert := testCertificate(t)
	b := start(t, func(o *setup) { o.handle = echo })
	plain := b.dial
	hs := tlsFront(t, b, cert)
	b.dial = func() (net.Conn, error) {
		c, err := hs()
		if err != nil {
			return nil, err
		}
		return tls.Client(c, &tls.Config{InsecureSkipVerify: true}), nil //nolint:gosec // the test's own certificate
	}
	defer func() { b.dial = plain }()
	c := b.openWS(4)
	c.send("4over TLS", "4"+strings.Repeat("x", 500_000))
	c.want("4over TLS", "4"+strings.Repeat("x", 500_000))
	p := b.peer()
	p.s.Close(ReasonForced)
	c.want("close 1000", "end")
	p.wantEnd(t, ReasonForced)
}

func TestCompression(t *testing.T) {
	t.Parallel()
	b := start(t, func(o *setup) { o.cfg.Compression, o.handle = true, echo })
	ext := wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}
	c, err := b.tryWS("EIO=4&transport=websocket", ws.Dialer{Extensions: []httphead.Option{ext.Option()}})
	if err != nil {
		t.Fatal(err)
	}
	c.read()
	long := "4" + strings.Repeat("compress me ", 5000)
	f, err := wsflate.CompressFrame(ws.NewTextFrame([]byte(long)))
	if err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	_ = ws.WriteFrame(&raw, ws.MaskFrame(f))
	c.raw(raw.Bytes())
	c.send("4short")
	//lint:ignore SA1019 the peer, which declares the lengths, is our own server
	got, err := ws.ReadFrame(c.r)
	if err != nil || got.Header.Rsv != ws.Rsv(true, false, false) || len(got.Payload) > 2000 {
		t.Fatalf("%+v %d bytes, %v", got.Header, len(got.Payload), err)
	}
	if got, err = wsflate.DecompressFrame(got); err != nil || string(got.Payload) != long {
		t.Fatal(err, len(got.Payload))
	}
	c.want("4short")
	bomb, _ := wsflate.CompressFrame(ws.NewTextFrame(bytes.Repeat([]byte("4"), 4<<20)))
	raw.Reset()
	_ = ws.WriteFrame(&raw, ws.MaskFrame(bomb))
	c.raw(raw.Bytes())
	c.want("close 1009", "end")
	b.peer().wantEnd(t, ReasonTooLarge)
	b.openWS(4) // one that does not offer it
}
