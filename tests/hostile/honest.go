package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

const (
	heartbeat        = 10 * time.Second       // the example's: a ping each
	pingAnswer       = 5 * time.Second        // and the time for its answer
	retryAfter       = 5 * time.Second        // without an ack
	unavailableAfter = 500 * time.Millisecond // with an ack that says so
)

// A crowd is the honest clients that are Go, with what they have felt.
type crowd struct {
	members []*honest
	pace    time.Duration // between two messages of the crowd
	talking chan struct{} // closed: enough
	talked  sync.WaitGroup
	felt    felt
}

// An honest client is in the room that everybody is in, and sees every entry of it in order, its own in their acks.
type honest struct {
	user  string
	conn  *webSocket
	crowd *crowd

	mu      sync.Mutex // guards all below, and writes
	seq     uint64     // of the last entry
	first   uint64     // of the room when it came
	view    uint32     // of all entries since: FNV-1a of their texts
	own     int        // messages sent
	open    map[int]pending
	heard   int           // entries of honest clients
	pinged  time.Time     // when the last ping came
	gap     time.Duration // the longest without one
	retries int
	wrong   error // why it is no good any more
	news    chan struct{}
}

type pending struct {
	text  string
	first time.Time
	last  time.Time
}

func newCrowd(addr string, n int, pace time.Duration) (*crowd, error) {
	c := &crowd{pace: pace, talking: make(chan struct{})}
	for i := range n {
		user := fmt.Sprintf("honest-%02d", i)
		conn, err := enter(addr, "127.0.0.1", user)
		if err != nil {
			return c, fmt.Errorf("%s: %w", user, err)
		}
		h := &honest{user: user, conn: conn, crowd: c, open: map[int]pending{}, pinged: time.Now(), news: make(chan struct{})}
		c.members = append(c.members, h)
		go h.read()
	}
	return c, nil
}

// enter makes a member over WebSocket.
func enter(addr, from, user string) (*webSocket, error) {
	return enterWith(addr, from, authOf(user))
}

func enterWith(addr, from, auth string) (*webSocket, error) {
	conn, err := dialFrom(from, addr)
	if err != nil {
		return nil, err
	}
	c, err := openWebSocket(conn, addr, "")
	if err == nil {
		err = c.join(auth)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// begin has everybody ask where the room is, and then talk, the crowd one message each pace.
func (c *crowd) begin() error {
	for _, h := range c.members {
		if err := h.conn.text(`420["join_room",{"room":"chat"}]`); err != nil {
			return err
		}
		select {
		case <-h.news:
		case <-time.After(patience):
			return fmt.Errorf("%s is not told where the room is", h.user)
		}
		if h.first != c.members[0].first {
			return fmt.Errorf("%s begins at %d, another at %d", h.user, h.first, c.members[0].first)
		}
	}
	c.talked.Go(c.talk)
	return nil
}

func (c *crowd) talk() {
	next := time.NewTicker(c.pace)
	defer next.Stop()
	for i := 0; ; i++ {
		select {
		case <-c.talking:
			return
		case <-next.C:
			c.members[i%len(c.members)].say()
		}
	}
}

// hush ends the talking, and waits until every message is acked and everybody has every entry up to last.
func (c *crowd) hush(last func() uint64) error {
	close(c.talking)
	c.talked.Wait()
	var late error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		top := last()
		for _, h := range c.members {
			top = max(top, h.at())
		}
		late = nil
		for _, h := range c.members {
			h.mu.Lock()
			if len(h.open) > 0 || h.seq < top {
				late = errors.Join(late, fmt.Errorf("%s: %d messages without an ack, at entry %d of %d", h.user, len(h.open), h.seq, top))
			}
			h.retryLocked()
			h.mu.Unlock()
		}
		if late == nil {
			return nil
		}
	}
	return late
}

func (h *honest) at() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seq
}

func (h *honest) say() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retryLocked()
	h.own++
	now := time.Now()
	p := pending{text: fmt.Sprintf("honest %s %d %d.", h.user, h.own, now.UnixNano()), first: now}
	h.sendLocked(h.own, p)
}

func (h *honest) sendLocked(id int, p pending) {
	p.last = time.Now()
	h.open[id] = p
	if h.wrong != nil {
		return
	}
	_ = h.conn.SetWriteDeadline(time.Now().Add(patience))
	if err := h.conn.text(fmt.Sprintf(`42%d["chat_message",{"room":"chat","message_id":"%s-%d","text":"%s"}]`, id, h.user, id, p.text)); err != nil {
		h.failLocked(err)
	}
}

func (h *honest) retryLocked() {
	for id, p := range h.open {
		if time.Since(p.last) > retryAfter {
			h.retries++
			h.sendLocked(id, p)
		}
	}
}

func (h *honest) failLocked(err error) {
	if h.wrong == nil {
		h.wrong = fmt.Errorf("%s: %w", h.user, err)
	}
}

func (h *honest) read() {
	for {
		op, b, err := h.conn.next()
		h.mu.Lock()
		switch {
		case err != nil:
			h.failLocked(fmt.Errorf("disconnected: %w", err))
		case op == ws.OpClose:
			h.failLocked(fmt.Errorf("disconnected: closed with %d", closeCode(b)))
		case op == ws.OpText:
			if err := h.takeLocked(b); err != nil {
				h.failLocked(err)
			}
		}
		bad := h.wrong != nil
		h.mu.Unlock()
		if bad {
			_ = h.conn.Close()
			return
		}
	}
}

func (h *honest) takeLocked(b []byte) error {
	switch {
	case string(b) == "2":
		now := time.Now()
		h.gap, h.pinged = max(h.gap, now.Sub(h.pinged)), now
		return h.conn.text("3")
	case bytes.HasPrefix(b, []byte(`42["new_message"`)):
		h.crowd.felt.delivery()
		return h.entryLocked(b, true)
	case bytes.HasPrefix(b, []byte(`42["error"`)):
		return fmt.Errorf("an error event: %.200s", b)
	case bytes.HasPrefix(b, []byte("42")):
		h.crowd.felt.delivery() // presence and typing
	case bytes.HasPrefix(b, []byte("43")):
		return h.ackLocked(b)
	case bytes.HasPrefix(b, []byte("41")):
		return fmt.Errorf("disconnected by the server")
	}
	return nil
}

func (h *honest) ackLocked(b []byte) error {
	id, err := strconv.Atoi(string(b[2:max(2, bytes.IndexByte(b, '['))]))
	if p, ok := h.open[id]; ok && err == nil && codeIn(b) == "UNAVAILABLE" { // it asks to be tried again with the same message_id
		p.last = time.Now().Add(unavailableAfter - retryAfter)
		h.open[id] = p
		return nil
	}
	if err != nil || !bytes.Contains(b, []byte(`"ok":true`)) {
		return fmt.Errorf("an honest message was refused: %.200s", b)
	}
	if id == 0 {
		if h.seq, err = numberIn(b, `"seq":`); err == nil {
			h.first = h.seq
			close(h.news)
		}
		return err
	}
	p, ok := h.open[id]
	if !ok {
		return nil // the second ack of what was sent twice
	}
	delete(h.open, id)
	h.crowd.felt.ack(time.Since(p.first))
	seq, err := numberIn(b, `"seq":`)
	if err == nil && seq <= h.seq { // it was sent twice, and heard meanwhile
		return nil
	}
	return errors.Join(err, h.entryLocked(b, false))
}

// entryLocked takes the next entry of the room.
func (h *honest) entryLocked(b []byte, live bool) error {
	seq, err := numberIn(b, `"seq":`)
	if err != nil {
		return err
	}
	if seq != h.seq+1 {
		return fmt.Errorf("entry %d after %d: lost, doubled or out of order: %.120s", seq, h.seq, b)
	}
	h.seq = seq
	_, rest, _ := bytes.Cut(b, []byte(`"text":"`))
	text, _, ok := bytes.Cut(rest, []byte{'"'})
	if !ok {
		return fmt.Errorf("an entry without text: %.120s", b)
	}
	sum := fnv.New32a()
	_, _ = sum.Write(text)
	h.view = h.view*31 + sum.Sum32()
	if !bytes.HasPrefix(text, []byte("honest ")) {
		return nil
	}
	h.heard++
	if at, err := strconv.ParseInt(string(bytes.TrimSuffix(text[bytes.LastIndexByte(text, ' ')+1:], []byte{'.'})), 10, 64); err == nil && live {
		h.crowd.felt.delay(time.Duration(time.Now().UnixNano() - at))
	}
	return nil
}

func numberIn(b []byte, key string) (uint64, error) {
	_, rest, ok := bytes.Cut(b, []byte(key))
	end := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if !ok || end <= 0 {
		return 0, fmt.Errorf("no %s in %.120s", key, b)
	}
	return strconv.ParseUint(string(rest[:end]), 10, 64)
}

// newcomers come in, one each second, ask who they are, and go. They say whether the door is open.
func newcomers(addr string, f *felt, enough <-chan struct{}) {
	each := time.NewTicker(time.Second)
	defer each.Stop()
	for {
		select {
		case <-enough:
			return
		case <-each.C:
		}
		began := time.Now()
		f.newcomer(visit(addr), time.Since(began))
	}
}

func visit(addr string) error {
	c, err := enter(addr, "127.0.0.1", "newcomer")
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.text(`421["whoami"]`); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for {
		_, b, err := c.next()
		if err != nil {
			return err
		}
		if bytes.HasPrefix(b, []byte("431")) {
			return c.text("41")
		}
	}
}
