package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A client is one member of a room, over a WebSocket. It takes each of the room's entries once and in order, its own by their acks, or the run does not count.
type client struct {
	room   string
	name   string
	conn   net.Conn
	in     *bufio.Reader
	joined chan struct{}
	acked  chan struct{} // of size 1: its last message's ack has come

	watch *delays // nil: how long messages take to it is not noted

	write sync.Mutex
	said  int
	seq   atomic.Uint64 // of the last entry
}

// delays are those of messages from their sender's call to a member's.
type delays struct {
	mu  sync.Mutex // guards all
	all []time.Duration
}

func (d *delays) note(p []byte) error {
	_, rest, _ := bytes.Cut(p, []byte(`"text":"`))
	at, err := strconv.ParseInt(string(rest[:min(20, len(rest))]), 10, 64)
	if err != nil {
		return fmt.Errorf("no time: %s", p)
	}
	took := time.Since(time.Unix(0, at))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, took)
	return nil
}

// take gives those that were noted since it was called last, in order.
func (d *delays) take() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.all
	d.all = nil
	slices.Sort(all)
	return all
}

// counts are of all clients.
type counts struct {
	deliveries atomic.Int64 // new_message events
	acks       atomic.Int64
	failed     chan error
}

func dial(addr, room, name string) (*client, error) {
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		return nil, err
	}
	c := &client{room: room, name: name, conn: conn, in: bufio.NewReaderSize(conn, 4<<10), joined: make(chan struct{}), acked: make(chan struct{}, 1)}
	_, err = fmt.Fprintf(conn, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", addr)
	for err == nil {
		var line []byte
		if line, err = c.in.ReadSlice('\n'); len(line) == 2 {
			return c, nil
		}
	}
	return nil, err
}

// send writes a text frame; its mask is 0 (RFC 6455, section 5.3, asks for a random one against proxies, of which there are none here).
func (c *client) send(text string) error {
	c.write.Lock()
	defer c.write.Unlock()
	frame := []byte{0x81}
	if len(text) < 126 {
		frame = append(frame, 0x80|byte(len(text)))
	} else {
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(len(text)))
	}
	_, err := c.conn.Write(append(append(frame, 0, 0, 0, 0), text...))
	return err
}

// text is what is said, 64 bytes that begin with the time.
const text = "%020d0123456789abcdef0123456789abcdef0123456789ab"

func (c *client) say() error {
	c.said++
	text := fmt.Sprintf(text, time.Now().UnixNano())
	return c.send(fmt.Sprintf(`421["chat_message",{"room":%q,"text":%q,"message_id":"%s-%d"}]`, c.room, text, c.name, c.said))
}

// read takes what comes until the connection ends.
func (c *client) read(n *counts) error {
	buf := make([]byte, 64<<10)
	for {
		var head [4]byte
		if _, err := io.ReadFull(c.in, head[:2]); err != nil {
			return err
		}
		size := int(head[1])
		if size == 126 {
			if _, err := io.ReadFull(c.in, head[2:]); err != nil {
				return err
			}
			size = int(binary.BigEndian.Uint16(head[2:]))
		}
		if size > len(buf) || head[0]&0x0f != 1 {
			return fmt.Errorf("a frame of opcode %d and %d bytes", head[0]&0x0f, size)
		}
		if _, err := io.ReadFull(c.in, buf[:size]); err != nil {
			return err
		}
		if err := c.take(buf[:size], n); err != nil {
			return err
		}
	}
}

func (c *client) take(p []byte, n *counts) error {
	switch {
	case bytes.HasPrefix(p, []byte("0{")):
		return c.send("40")
	case bytes.HasPrefix(p, []byte("40")):
		return c.send(fmt.Sprintf(`420["join_room",{"room":%q}]`, c.room))
	case bytes.Equal(p, []byte("2")):
		return c.send("3")
	case bytes.HasPrefix(p, []byte("430[")):
		if !bytes.Contains(p, []byte(`"ok":true`)) {
			return fmt.Errorf("join_room: %s", p)
		}
		close(c.joined)
	case bytes.HasPrefix(p, []byte("431[")):
		n.acks.Add(1)
		if err := c.next(p); err != nil {
			return err
		}
		c.acked <- struct{}{}
	case bytes.HasPrefix(p, []byte(`42["new_message"`)):
		n.deliveries.Add(1)
		if c.watch != nil {
			if err := c.watch.note(p); err != nil {
				return err
			}
		}
		return c.next(p)
	case bytes.HasPrefix(p, []byte(`42["error"`)):
		return fmt.Errorf("%s", p)
	}
	return nil
}

// next looks at an entry's seq. Rooms are new, so the first is 1.
func (c *client) next(p []byte) error {
	_, rest, _ := bytes.Cut(p, []byte(`"seq":`))
	end := bytes.IndexAny(rest, ",}")
	if end < 0 {
		return fmt.Errorf("no entry: %s", p)
	}
	seq, err := strconv.ParseUint(string(rest[:end]), 10, 64)
	if last := c.seq.Load(); err != nil || seq != last+1 {
		return fmt.Errorf("%s heard %d after %d in %s: %w", c.name, seq, last, c.room, err)
	}
	c.seq.Store(seq)
	return nil
}
