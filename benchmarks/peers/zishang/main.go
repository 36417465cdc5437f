// Command zishang is one room of zishang520/socket.io for the bench: everybody
// joins it on connect.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/zishang520/socket.io/servers/socket/v3"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	noroom := flag.Bool("noroom", false, "nobody joins the room (the idle run: nobody talks)")
	flag.Parse()
	server := socket.NewServer(nil, nil)
	err := server.On("connection", func(clients ...any) {
		c := clients[0].(*socket.Socket)
		if !*noroom {
			c.Join("bench")
		}
		c.On("msg", func(args ...any) {
			server.To("bench").Emit("msg", args[0])
		})
	})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp4", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", ln.Addr())
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", server.ServeHandler(nil))
	log.Fatal(http.Serve(ln, mux))
}
