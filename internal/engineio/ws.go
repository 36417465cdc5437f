package engineio

import (
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// A wsConn is the receiving end of one WebSocket. One goroutine reads it, and owns what is not said to be shared.
//
// Between messages that goroutine holds neither a buffer nor much of a stack, where the connection can be
// read without waiting: it takes a buffer when there is something to read.
type wsConn struct {
	conn    net.Conn        // shared
	raw     syscall.RawConn // shared; nil: reads and writes wait
	s       *Session
	deflate bool   // shared
	probing bool   // an upgrade that is not completed
	probed  bool   // 2probe has come
	drain   bool   // what the client sent has ended the session, or the probe
	failed  bool   // the last read
	age     uint8  // see youth
	n       int32  // bytes that the last read gave
	drained int32  // bytes thrown away
	parts   *parts // nil: nothing has come in part
	timer   *time.Timer

	ready func(fd uintptr) bool // bound once
	buf   *[]byte
}

const readBuf = 8 << 10

var readBufs = sync.Pool{New: func() any {
	b := make([]byte, readBuf)
	return &b
}}

// read is the goroutine of the connection, from its begin to its end.
func (c *wsConn) read(rest []byte) {
	if len(rest) > 0 {
		c.s.srv.in.Add(int64(len(rest)))
		c.take(rest)
		c.s.reading.Store(false)
	}
	if c.raw != nil {
		c.readOn()
		return
	}
	c.readPlain()
	c.ended()
}

// youth is how many times a connection's first data are each followed by a new goroutine. What a handler does
// to answer a client's CONNECT and first questions makes the stack grow, and most connections do little after
// that: a new goroutine begins with a small one.
const youth = 4

// readOn reads until the connection ends.
func (c *wsConn) readOn() {
	for c.readRaw() {
		if c.age < youth {
			c.age++
			go c.readOn()
			return
		}
	}
	c.ended()
}

// readRaw waits for data and takes it.
func (c *wsConn) readRaw() bool {
	if err := c.raw.Read(c.ready); err != nil {
		return false
	}
	b, n := c.buf, c.n
	c.buf = nil
	if n > 0 {
		c.s.srv.in.Add(int64(n))
		c.take((*b)[:n])
	}
	readBufs.Put(b)
	return n > 0 && !c.failed
}

// tryRead is called when the descriptor may be readable; false waits for it to be.
func (c *wsConn) tryRead(fd uintptr) bool {
	b := readBufs.Get().(*[]byte)
	n, err := tryRead(fd, *b)
	if wouldBlock(err) {
		readBufs.Put(b)
		c.s.reading.Store(false)
		return false
	}
	c.buf, c.n, c.failed = b, int32(n), err != nil
	return true
}

func (c *wsConn) readPlain() {
	b := make([]byte, 1024)
	for {
		n, err := c.conn.Read(b)
		if n > 0 {
			c.s.srv.in.Add(int64(n))
			c.take(b[:n])
			c.s.reading.Store(false)
		}
		if err != nil {
			return
		}
	}
}

// take takes data, and ends the session where it is not what it should be.
func (c *wsConn) take(b []byte) {
	if c.drain || !c.probing && c.s.state.Load() != stateOpen {
		c.throwAway(len(b))
		return
	}
	c.s.reading.Store(true)
	if err := c.feed(b); err != nil {
		c.drain = true
		c.parts = nil
		c.fail(err)
	}
}

// throwAway is what becomes of data that come after the end was decided: within bounds they are read, so that the client sees what
// was written to it last. Beyond, nothing is read until the connection is given up, in closeGrace.
func (c *wsConn) throwAway(n int) {
	c.parts = nil
	if c.drained += int32(n); c.drained > drainMost {
		<-c.s.Done()
	}
}

// fail ends a probe, or the session, because of what the client sent.
func (c *wsConn) fail(err error) {
	if c.probing {
		c.close()
		return
	}
	reason, code := verdict(err)
	c.s.hangUp(reason, code)
}

// verdict is how a session ends because of err.
func verdict(err error) (Reason, int) {
	switch {
	case errors.Is(err, errGone):
		return ReasonTransportClose, closeNormal
	case errors.Is(err, ErrTooLarge):
		return ReasonTooLarge, closeTooLarge
	case errors.Is(err, errInvalidUTF8):
		return ReasonTransportError, closeInvalidUTF8
	case errors.Is(err, errProtocol), errors.Is(err, errBroken):
		return ReasonTransportError, closeProtocol
	default:
		return ReasonParse, closeProtocol
	}
}

// ended is the end of the reading goroutine.
func (c *wsConn) ended() {
	s := c.s
	s.srv.gate.stop(c.timer)
	c.close()
	s.mu.Lock()
	if c.probing {
		s.srv.probes.Add(-1)
		s.poll.forgetProbe(c)
	} else {
		s.abortLocked(ReasonTransportClose)
	}
	s.reading.Store(false)
	s.unpinLocked()
	s.mu.Unlock()
	s.srv.gate.done()
}

// close closes the connection. It may be called from any goroutine, and does not wait: a TLS connection's
// Close may, so that goes elsewhere.
func (c *wsConn) close() {
	if c.raw != nil {
		_ = c.conn.Close()
		return
	}
	c.s.srv.gate.run(func() { _ = c.conn.Close() })
}

// finishLocked ends a connection whose last byte, the close frame's, is written: the client sees the end, and
// closes. Where there are data of the client unread, an immediate close would be a reset, which can overtake
// what was written.
func (c *wsConn) finishLocked() {
	half, ok := c.conn.(interface{ CloseWrite() error })
	switch {
	case !ok:
		c.s.abortLocked(c.s.end.reason)
	case c.raw != nil:
		_ = half.CloseWrite()
	default:
		c.s.srv.gate.run(func() { _ = half.CloseWrite() })
	}
}

// feed parses data. It unmasks in place.
func (c *wsConn) feed(b []byte) error {
	for len(b) > 0 {
		if c.parts != nil && len(c.parts.frame) > 0 {
			var err error
			if b, err = c.complete(b); err != nil {
				return err
			}
			continue
		}
		h, need, err := c.header(b)
		if err != nil {
			return err
		}
		if h.len == 0 || need > len(b) {
			c.partsOf().frame = slices.Clone(b)
			return nil
		}
		if err := c.frame(&h, b[h.len:need]); err != nil {
			return err
		}
		b = b[need:]
	}
	return nil
}

// complete goes on with a frame that came in parts, and gives back what follows it in b.
func (c *wsConn) complete(b []byte) ([]byte, error) {
	for {
		p := c.parts
		h, need, err := c.header(p.frame)
		if err != nil {
			return nil, err
		}
		have := len(p.frame)
		if h.len > 0 && have >= need {
			f := p.frame
			p.frame = nil
			c.tidy()
			return b, c.frame(&h, f[h.len:need])
		}
		if len(b) == 0 {
			return nil, nil
		}
		n := min(need-have, len(b))
		p.frame = append(grow(p.frame, n, need), b[:n]...)
		b = b[n:]
	}
}

// grow makes room for n more bytes in b, by doubling, but for no more than limit in all: memory follows
// what has come, not what was announced.
func grow(b []byte, n, limit int) []byte {
	if len(b)+n <= cap(b) {
		return b
	}
	bigger := make([]byte, len(b), max(len(b)+n, min(2*cap(b), limit)))
	copy(bigger, b)
	return bigger
}

// header reads a frame's header; need is the length of the frame with it, as far as that is known.
func (c *wsConn) header(b []byte) (h frameHeader, need int, err error) {
	h, need, err = parseHeader(b, c.deflate)
	if err != nil || h.len == 0 {
		return h, need, err
	}
	if h.op < opClose {
		if c.inMessage() != (h.op == opContinuation) {
			return h, 0, errProtocol
		}
		have := 0
		if c.parts != nil {
			have = len(c.parts.msg)
		}
		if h.size > uint64(c.s.srv.cfg.MaxPayload-have) {
			return h, 0, ErrTooLarge
		}
	}
	return h, need + int(h.size), nil
}

func (c *wsConn) frame(h *frameHeader, payload []byte) error {
	ws.Cipher(payload, h.mask, 0)
	if h.op >= opClose {
		return c.control(h.op, payload)
	}
	if !c.inMessage() {
		if h.fin {
			return c.message(h.op, payload, h.compressed)
		}
		p := c.partsOf()
		p.inMsg, p.op, p.compressed = true, h.op, h.compressed
	}
	p := c.parts
	p.msg = append(p.msg, payload...)
	if !h.fin {
		return nil
	}
	msg := p.msg
	p.inMsg, p.msg = false, nil
	c.tidy()
	return c.message(p.op, msg, p.compressed)
}

func (c *wsConn) control(op byte, payload []byte) error {
	switch op {
	case opClose:
		if len(payload) == 1 || len(payload) > 2 && !utf8.Valid(payload[2:]) {
			return errProtocol
		}
		return errGone
	case opPing:
		if !c.probing {
			c.s.Send(newWSControl(opPong, payload))
		}
	}
	return nil
}

// message takes a whole message.
func (c *wsConn) message(op byte, data []byte, compressed bool) error {
	if compressed {
		var err error
		if data, err = inflate(data, c.s.srv.cfg.MaxPayload); err != nil {
			return err
		}
	}
	if op == opText && !utf8.Valid(data) {
		return errInvalidUTF8
	}
	if c.probing {
		return c.probe(op, data)
	}
	if op == opText {
		return c.s.textPacket(data)
	}
	if c.s.version == 3 {
		if len(data) == 0 || data[0] != 4 {
			return errParse
		}
		data = data[1:]
	}
	return c.s.binary(data)
}
