package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"net"
	"sync"
	"syscall"
)

// maxFrame bounds what a client may send in one frame.
const maxFrame = 1 << 20

// keepQueue is how many slots of a queue a client at rest may keep.
const keepQueue = 8

// buffers are for reading and for joining queued frames; a connection has one
// only while it is at work.
var buffers = sync.Pool{New: func() any { return new([4096]byte) }}

type client struct {
	room *room
	nc   net.Conn
	raw  syscall.RawConn
	sid  string
	// place is the index among the room's members, -1 outside; under room.mu.
	place int
	// in is the room that was asked for, of the log's run; the reader's own.
	in string
	// rest is a frame's start whose end has not come yet; the reader's own.
	rest []byte

	// mu guards queue and writing.
	mu      sync.Mutex
	queue   [][]byte
	writing bool
}

func newClient(r *room, nc net.Conn) (*client, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, net.ErrClosed
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	var id [15]byte
	rand.Read(id[:])
	return &client{room: r, nc: nc, raw: raw, sid: base64.RawURLEncoding.EncodeToString(id[:]), place: -1}, nil
}

// read serves the connection until it ends.
func (c *client) read() {
	for c.wait() {
	}
	c.room.leave(c)
	c.nc.Close()
}

// wait takes what has come. Between calls it parks in the poller with no
// buffer held, and with little on its stack.
func (c *client) wait() bool {
	ok := false
	err := c.raw.Read(func(fd uintptr) bool {
		buf := buffers.Get().(*[4096]byte)
		defer buffers.Put(buf)
		n, err := syscall.Read(int(fd), buf[:])
		if err == syscall.EAGAIN {
			return false
		}
		ok = err == syscall.EINTR || (err == nil && n > 0 && c.take(buf[:n]))
		return true
	})
	return err == nil && ok
}

// take handles the frames in b and keeps the start of one that is not whole.
func (c *client) take(b []byte) bool {
	if len(c.rest) > 0 {
		b = append(c.rest, b...)
		c.rest = nil
	}
	for {
		size, ok := c.frame(b)
		if !ok {
			return false
		}
		if size == 0 {
			break
		}
		b = b[size:]
	}
	if len(b) > 0 {
		c.rest = append([]byte(nil), b...)
	}
	return true
}

// frame handles the frame at the start of b and returns its size, 0 if there
// is no whole one.
func (c *client) frame(b []byte) (size int, ok bool) {
	if len(b) < 6 {
		return 0, true
	}
	if b[1]&0x80 == 0 {
		return 0, false // RFC 6455, 5.1: a client has to mask
	}
	n, head := int(b[1]&0x7f), 2
	switch n {
	case 126:
		n, head = int(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return 0, true
		}
		n64 := binary.BigEndian.Uint64(b[2:])
		if n64 > maxFrame {
			return 0, false
		}
		n, head = int(n64), 10
	}
	if n > maxFrame {
		return 0, false
	}
	if len(b) < head+4+n {
		return 0, true
	}
	mask, payload := b[head:head+4], b[head+4:head+4+n]
	for i := range payload {
		payload[i] ^= mask[i&3]
	}
	if b[0] != 0x81 { // a whole text frame; the load sends nothing else
		return 0, false
	}
	return head + 4 + n, c.packet(payload)
}

// packet handles one Engine.IO packet.
func (c *client) packet(p []byte) bool {
	switch {
	case len(p) == 0:
		return false
	case p[0] == '3': // pong
		return true
	case p[0] != '4' || len(p) < 2: // message
		return false
	case p[1] == '0': // CONNECT
		c.send(frame([]byte(`40{"sid":"` + c.sid + `"}`)))
		c.room.join(c)
		return true
	case p[1] == '2' && len(p) > 2 && p[2] != '[': // EVENT with an ack
		return c.ask(p[2:])
	case p[1] == '2': // EVENT
		if out, ok := event(p); ok {
			c.room.broadcast(out)
		}
		return true
	}
	return false
}

// push takes shared bytes and says whether the client has to be given to a
// writer: it has none yet.
func (c *client) push(frame []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, frame)
	start := !c.writing
	c.writing = true
	return start
}

func (c *client) send(frame []byte) {
	if c.push(frame) {
		c.room.writers.add(c)
	}
}

// write writes until there is nothing left.
func (c *client) write(buf []byte) {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			c.writing = false
			c.mu.Unlock()
			return
		}
		b := c.queue[0]
		if len(c.queue) > 1 {
			b = buf[:0]
			for _, f := range c.queue {
				b = append(b, f...)
			}
		}
		clear(c.queue)
		c.queue = c.queue[:0]
		if cap(c.queue) > keepQueue {
			c.queue = nil
		}
		c.mu.Unlock()
		if rest := c.try(b); len(rest) > 0 {
			// Only this client waits for its own socket.
			go c.block(bytes.Clone(rest))
			return
		}
	}
}

// try writes what the socket takes at once, and returns what it does not.
func (c *client) try(b []byte) (rest []byte) {
	n := 0
	err := c.raw.Write(func(fd uintptr) bool {
		n, _ = syscall.Write(int(fd), b)
		return true
	})
	if err != nil {
		return nil // closed; the reader ends the rest
	}
	return b[max(n, 0):]
}

func (c *client) block(b []byte) {
	if _, err := c.nc.Write(b); err != nil {
		c.nc.Close() // the reader sees it and ends the rest
		return
	}
	buf := buffers.Get().(*[4096]byte)
	defer buffers.Put(buf)
	c.write(buf[:0])
}
