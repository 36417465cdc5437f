// Command gosocketio is one room of go-socket.io for the bench, as its README
// builds it: everybody joins the room on connect. It speaks Engine.IO 3.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	socketio "github.com/googollee/go-socket.io"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	noroom := flag.Bool("noroom", false, "nobody joins the room (the idle run: nobody talks)")
	flag.Parse()
	srv := socketio.NewServer(nil)
	srv.OnConnect("/", func(c socketio.Conn) error {
		if !*noroom {
			c.Join("bench")
		}
		return nil
	})
	srv.OnEvent("/", "msg", func(_ socketio.Conn, text string) {
		srv.BroadcastToRoom("/", "bench", "msg", text)
	})
	srv.OnError("/", func(socketio.Conn, error) {})
	srv.OnDisconnect("/", func(socketio.Conn, string) {})
	go func() { log.Fatal(srv.Serve()) }()
	ln, err := net.Listen("tcp4", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", ln.Addr())
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	log.Fatal(http.Serve(ln, mux))
}
