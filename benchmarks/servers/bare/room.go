package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"sync"
	"time"
)

const (
	heartbeat = 25 * time.Second
	slices    = 256 // of the heartbeat: each is a turn of the wheel
)

// A room is the server's only one, and everybody is in it.
type room struct {
	// closed keeps everybody out, for the idle run.
	closed bool
	// mu guards members and each member's place in it.
	mu      sync.RWMutex
	members []*client
	writers writers
	logs    logs
}

func (r *room) join(c *client) {
	if r.closed {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c.place = len(r.members)
	r.members = append(r.members, c)
}

func (r *room) leave(c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.place < 0 {
		return
	}
	last := len(r.members) - 1
	r.members[c.place] = r.members[last]
	r.members[c.place].place = c.place
	r.members[last] = nil
	r.members = r.members[:last]
	c.place = -1
}

// broadcast queues one frame for everybody. Nothing in it can block.
func (r *room) broadcast(frame []byte) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	start := make([]*client, 0, len(r.members))
	for _, c := range r.members {
		if c.push(frame) {
			start = append(start, c)
		}
	}
	r.writers.add(start...)
}

// heartbeat pings a part of the members at each turn, so that one goroutine
// and one timer serve them all.
func (r *room) heartbeat() {
	turn := 0
	for range time.Tick(heartbeat / slices) {
		r.mu.RLock()
		for i := turn; i < len(r.members); i += slices {
			r.members[i].send(framePing)
		}
		r.mu.RUnlock()
		turn = (turn + 1) % slices
	}
}

// RFC 6455, section 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// ServeHTTP upgrades to WebSocket and lets the HTTP server's goroutine and
// buffers go.
func (r *room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/stats" {
		r.logs.stats(w, req)
		return
	}
	key := req.Header.Get("Sec-WebSocket-Key")
	if key == "" || req.URL.Query().Get("EIO") != "4" {
		http.Error(w, "a direct WebSocket with EIO=4, please", http.StatusBadRequest)
		return
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if rw.Reader.Buffered() > 0 {
		nc.Close() // the client has to wait for the handshake's answer
		return
	}
	sum := sha1.Sum([]byte(key + acceptGUID))
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
	b.WriteString(base64.StdEncoding.EncodeToString(sum[:]))
	b.WriteString("\r\n\r\n")
	c, err := newClient(r, nc)
	if err != nil {
		nc.Close()
		return
	}
	// The open packet travels with the handshake's answer: one write.
	b.Write(frame(openPacket(c.sid)))
	if _, err := nc.Write(b.Bytes()); err != nil {
		nc.Close()
		return
	}
	go c.read()
}
