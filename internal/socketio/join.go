package socketio

import (
	"context"
	"errors"

	"github.com/parleychat/chat/internal/engineio"
)

// connect takes a CONNECT.
func (c *conn) connect(h *header) error {
	auth, err := readAuth(h.data, c.cfg.Limits.Depth)
	switch {
	case errors.Is(err, errTooDeep) && len(h.namespace) <= maxNamespace:
		c.refuse(string(h.namespace), &ConnectError{Message: err.Error(), Data: map[string]string{"code": "INVALID_PAYLOAD", "message": err.Error()}})
		return nil
	case err != nil && !errors.Is(err, errTooDeep):
		return err
	case len(h.namespace) > maxNamespace:
		c.cfg.Backend.Dropped("namespace too long")
		return nil
	}
	namespace := "/"
	if len(h.namespace) > 1 {
		namespace = string(h.namespace)
	}
	if !c.cfg.Backend.Known(namespace) {
		c.refuse(namespace, &ConnectError{Message: "Invalid namespace"})
		return nil
	}
	c.ask(h.namespace, &ConnectRequest{Namespace: namespace, Auth: auth.rest, PID: auth.pid, Offset: auth.offset, Protocol: 5})
	return nil
}

// ask starts the goroutine that authorizes.
func (c *conn) ask(key []byte, req *ConnectRequest) {
	c.mu.Lock()
	switch {
	case c.closed:
		c.mu.Unlock()
		return
	case c.findLocked(key) != nil:
		c.mu.Unlock()
		c.cfg.Backend.Dropped("CONNECT to a namespace joined already")
		return
	case c.hs == nil:
		c.mu.Unlock()
		c.refuse(req.Namespace, &ConnectError{Message: "a new connection is needed"})
		return
	case c.asking >= maxConnecting:
		c.mu.Unlock()
		c.refuse(req.Namespace, &ConnectError{Message: "too many namespaces at once"})
		return
	}
	l := c.addLocked(req.Namespace)
	ctx := context.Background()
	if c.hs.Request != nil {
		ctx = context.WithoutCancel(c.hs.Request.Context())
	}
	ctx, cancel := context.WithCancel(ctx)
	l.joining = &joining{cancel: cancel, done: make(chan struct{})}
	req.Handshake = c.hs
	c.asking++
	c.jobs.Add(1)
	c.mu.Unlock()
	go c.join(ctx, l, req)
}

func (c *conn) addLocked(namespace string) *link {
	l := &c.first
	if l.state != unused {
		l = new(link)
		if c.more == nil {
			c.more = make(map[string]*link)
		}
		c.more[namespace] = l
	}
	l.c, l.namespace, l.state = c, namespace, authorizing
	return l
}

// dropLocked forgets a link, live or not.
func (c *conn) dropLocked(l *link) {
	switch l.state {
	case joined, entering:
		c.live--
	case authorizing:
		l.joining.cancel()
	}
	if l.state = gone; c.more[l.namespace] == l {
		if delete(c.more, l.namespace); len(c.more) == 0 {
			c.more = nil
		}
	}
	l.calls = nil
	c.armLocked()
}

// join authorizes and enters.
func (c *conn) join(ctx context.Context, l *link, req *ConnectRequest) {
	defer c.jobs.Done()
	defer close(l.joining.done)
	defer l.joining.cancel()
	ticket, refused := c.cfg.Backend.Authorize(ctx, req)
	c.mu.Lock()
	c.asking--                  // only now: a client that leaves and comes back must not gather goroutines whose auth takes no notice of its context
	if l.state != authorizing { // the client left, or the session is over
		c.mu.Unlock()
		if refused == nil {
			ticket.Void()
		}
		return
	}
	if refused != nil {
		c.dropLocked(l)
		last := c.live == 0
		c.mu.Unlock()
		if refused.Later {
			if last { // the others' turn comes
				c.s.Close(engineio.ReasonShutdown)
			}
			return
		}
		c.refuse(req.Namespace, refused)
		if refused.End {
			c.s.Close(engineio.ReasonForced)
		}
		return
	}
	l.state = entering
	c.live++
	c.disarmLocked()
	c.mu.Unlock()
	c.entered(l, c.cfg.Backend.Enter(ticket, l))
}

// entered makes l a joined link, unless the hub has disconnected it meanwhile.
func (c *conn) entered(l *link, sock Socket) {
	c.mu.Lock()
	if sock == nil || l.state != entering {
		if l.state == entering {
			c.dropLocked(l)
		}
		c.mu.Unlock()
		if sock != nil {
			sock.Closed(ReasonServerDisconnect, nil)
		}
		return
	}
	l.socket, l.state, l.joining = sock, joined, nil
	if !c.cfg.KeepHandshake {
		c.hs = nil
	}
	c.mu.Unlock()
	c.s.Settle()
}

// leave takes a DISCONNECT.
func (c *conn) leave(namespace []byte) {
	l := c.joined(namespace)
	c.mu.Lock()
	if l == nil {
		l = c.findLocked(namespace) // may be authorizing still
	}
	if l == nil || l.state != joined && l.state != authorizing {
		c.mu.Unlock()
		c.cfg.Backend.Dropped("packet to a namespace not joined")
		return
	}
	sock := l.socket
	c.dropLocked(l)
	c.mu.Unlock()
	if sock != nil {
		sock.Closed(ReasonClientDisconnect, nil)
	}
}

func (c *conn) refuse(namespace string, e *ConnectError) {
	answer := struct {
		Message string `json:"message"`
		Data    any    `json:"data,omitempty"`
	}{e.Message, e.Data}
	enc, err := Encode(answer)
	if err != nil || len(enc.Attachments) > 0 { // a CONNECT_ERROR has no binary
		answer.Data = nil
		enc, _ = Encode(answer)
	}
	c.s.Send(controlPacket(typeConnectError, namespace, enc.JSON))
}
