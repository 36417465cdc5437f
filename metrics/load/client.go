package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// A client speaks as much Socket.IO 5 over a WebSocket as the plan needs.
type client struct {
	conn    net.Conn
	rw      io.ReadWriter // conn, and before it what came with the handshake's answer
	writing sync.Mutex
	ended   chan struct{} // closed when nothing more comes in

	mu          sync.Mutex // guards what follows
	pid, offset string
}

// dial connects a client and joins the namespace "/", as the one that pid and offset say if they are not empty. A slow one takes little into its kernel's buffer.
func dial(ctx context.Context, addr, pid, offset string, slow bool) (*client, error) {
	d := ws.Dialer{NetDial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok && slow {
			err = tcp.SetReadBuffer(4 << 10)
		}
		return c, err
	}}
	conn, br, _, err := d.Dial(ctx, "ws://"+addr+"/socket.io/?EIO=4&transport=websocket")
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, rw: conn, ended: make(chan struct{})}
	if br != nil {
		c.rw = struct {
			io.Reader
			io.Writer
		}{br, conn}
	}
	if err := c.join(pid, offset); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

func (c *client) join(pid, offset string) error {
	if err := c.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	connect := "40"
	if pid != "" {
		connect += fmt.Sprintf(`{"pid":%q,"offset":%q}`, pid, offset)
	}
	if err := c.send(connect); err != nil {
		return err
	}
	for {
		p, err := wsutil.ReadServerText(c.rw)
		switch {
		case err != nil:
			return err
		case bytes.HasPrefix(p, []byte("44")):
			return fmt.Errorf("refused: %s", p)
		case bytes.HasPrefix(p, []byte("40")):
			var session struct {
				PID string `json:"pid"`
			}
			if err := json.Unmarshal(p[2:], &session); err != nil {
				return err
			}
			c.pid, c.offset = session.PID, offset
			return c.conn.SetDeadline(time.Time{})
		}
	}
}

// read takes what comes until the connection ends, and answers pings.
func (c *client) read() {
	defer close(c.ended)
	for {
		p, err := wsutil.ReadServerText(c.rw)
		if err != nil || len(p) == 0 {
			_ = c.conn.Close() // which is how it ends for us
			return
		}
		switch {
		case p[0] == '2':
			_ = c.send("3") // the next read tells
		case bytes.HasPrefix(p, []byte("41")): // sent away, and the connection stays open for other namespaces
			_ = c.conn.Close()
		case bytes.HasPrefix(p, []byte("42")):
			c.keepOffset(p)
		}
	}
}

// keepOffset notes the last argument, which is the event's place for a recovery.
func (c *client) keepOffset(p []byte) {
	if end := bytes.LastIndex(p, []byte(`"]`)); end > 0 {
		if begin := bytes.LastIndexByte(p[:end], '"'); begin > 0 {
			c.mu.Lock()
			c.offset = string(p[begin+1 : end])
			c.mu.Unlock()
		}
	}
}

func (c *client) session() (pid, offset string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid, c.offset
}

func (c *client) send(packet string) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return wsutil.WriteClientText(c.rw, []byte(packet))
}

// emit sends an event; id 0 asks for no ack.
func (c *client) emit(id int, event string, arg any) error {
	args, err := json.Marshal([]any{event, arg})
	if err != nil {
		return err
	}
	if id == 0 {
		return c.send("42" + string(args))
	}
	return c.send(fmt.Sprintf("42%d%s", id, args))
}
