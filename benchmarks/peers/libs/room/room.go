// Package room is what the minimal servers share, so that only their libraries
// differ: a room of members, each with a queue of shared messages and a writer
// that exists only while there is something to write.
package room

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
)

// A Member is one connection.
type Member[M any] struct {
	write func([]M) error

	// mu guards queue and writing.
	mu      sync.Mutex
	queue   []M
	writing bool
}

// A Room sends to all its members.
type Room[M any] struct {
	closed bool
	// mu guards members.
	mu      sync.RWMutex
	members map[*Member[M]]struct{}
}

// Join takes in a connection that writes queued messages with write, and
// greets it.
func (r *Room[M]) Join(hello M, write func([]M) error) *Member[M] {
	m := &Member[M]{write: write}
	m.Send(hello)
	if !r.closed {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.members[m] = struct{}{}
	}
	return m
}

// Leave takes a connection out.
func (r *Room[M]) Leave(m *Member[M]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.members, m)
}

// Broadcast queues a message for everybody.
func (r *Room[M]) Broadcast(msg M) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for m := range r.members {
		m.Send(msg)
	}
}

// Send queues a message and starts a writer if there is none.
func (m *Member[M]) Send(msg M) {
	m.mu.Lock()
	m.queue = append(m.queue, msg)
	start := !m.writing
	m.writing = true
	m.mu.Unlock()
	if start {
		go m.drain()
	}
}

func (m *Member[M]) drain() {
	for {
		m.mu.Lock()
		queue := m.queue
		m.queue = nil
		if len(queue) == 0 {
			m.writing = false
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		if err := m.write(queue); err != nil {
			return // the reader sees it too
		}
	}
}

// Serve makes a room and serves it at the address of the flags.
func Serve[M any](handler func(*Room[M]) http.Handler) {
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	noroom := flag.Bool("noroom", false, "nobody joins the room")
	flag.Parse()
	r := &Room[M]{closed: *noroom, members: make(map[*Member[M]]struct{})}
	ln, err := net.Listen("tcp4", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", ln.Addr())
	log.Fatal(http.Serve(ln, handler(r)))
}
