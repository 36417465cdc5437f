// Command gws is a minimal broadcast server on lxzan/gws, with its own
// broadcaster, which frames once for all.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"

	"github.com/lxzan/gws"
)

type handler struct {
	gws.BuiltinEventHandler
	closed bool
	// mu guards members.
	mu      sync.RWMutex
	members map[*gws.Conn]struct{}
}

func (h *handler) OnOpen(c *gws.Conn) {
	if !h.closed {
		h.mu.Lock()
		h.members[c] = struct{}{}
		h.mu.Unlock()
	}
	_ = c.WriteString("hi")
}

func (h *handler) OnClose(c *gws.Conn, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.members, c)
}

func (h *handler) OnMessage(_ *gws.Conn, msg *gws.Message) {
	defer msg.Close()
	b := gws.NewBroadcaster(gws.OpcodeText, append([]byte(nil), msg.Bytes()...))
	defer b.Close()
	h.mu.RLock()
	defer h.mu.RUnlock()
	for c := range h.members {
		_ = b.Broadcast(c)
	}
}

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	noroom := flag.Bool("noroom", false, "nobody joins the room")
	flag.Parse()
	h := &handler{closed: *noroom, members: make(map[*gws.Conn]struct{})}
	up := gws.NewUpgrader(h, &gws.ServerOption{})
	ln, err := net.Listen("tcp4", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", ln.Addr())
	log.Fatal(http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c, err := up.Upgrade(w, req)
		if err != nil {
			return
		}
		go c.ReadLoop()
	})))
}
