// Command bare is the yardstick: a broadcast server that does what one room of
// Socket.IO needs over a direct WebSocket, and nothing else. It has no polling,
// no recovery, no limits and no lost-peer detection: it is what the
// work itself costs in Go.
//
// What it holds for a connection at rest: the socket, one goroutine on a small
// stack, and a struct. A reader takes a pooled buffer only once there is
// something to read; an event is framed once for all members; a writer exists
// only while something is queued, and writes all of it with one call.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	pprof := flag.String("pprof", "", "address for net/http/pprof; none by default")
	noroom := flag.Bool("noroom", false, "nobody joins the room (the idle run: nobody talks)")
	flag.Parse()
	if *pprof != "" {
		go func() { log.Println(http.ListenAndServe(*pprof, nil)) }()
	}
	ln, err := net.Listen("tcp4", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", ln.Addr())
	r := &room{closed: *noroom}
	go r.heartbeat()
	log.Fatal(http.Serve(ln, r))
}
