// Command chat is one room of this library for the bench, with everything at
// its default: everybody is subscribed to the room on connect.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/benchmarks/internal/profile"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	noroom := flag.Bool("noroom", false, "nobody joins the room (the idle run: nobody talks)")
	flag.Parse()
	profile.Serve()
	var rooms []string
	if !*noroom {
		rooms = append(rooms, "bench")
	}
	hub, err := chat.New(
		chat.WithRooms(rooms...),
		chat.On("msg", func(_ context.Context, c *chat.Client, text string) error {
			return c.Room("bench").Emit("msg", text)
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp4", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", ln.Addr())
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", hub)
	log.Fatal(http.Serve(ln, mux))
}
