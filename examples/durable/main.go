// Durable is the smallest chat that loses nothing: what was acked is in the database, and is there again after a kill.
//
//	go run ./examples/durable -addr 127.0.0.1:8000 -db memory | sqlite:FILE | postgres://…
//
// Everybody is in the room lobby and may join any other; docs/events.md tells the events.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/parleychat/chat"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8000", "listen on `HOST:PORT`")
	db := flag.String("db", "memory", "keep the rooms in `DATABASE`: memory, sqlite:FILE or postgres://…")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *db); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, db string) error {
	store, closeStore, err := open(ctx, db)
	if err != nil {
		return err
	}
	hub, err := chat.New(chat.WithStore(store), chat.WithRooms("lobby"), chat.WithAuth(user), chat.WithAnonymous())
	if err != nil {
		return errors.Join(err, closeStore())
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", hub)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	listener, err := net.Listen("tcp", addr)
	if err == nil {
		fmt.Printf("http://%s\n", listener.Addr())
		failed := make(chan error, 1)
		go func() { failed <- server.Serve(listener) }()
		select {
		case err = <-failed:
		case <-ctx.Done():
		}
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, hub.Shutdown(limit), server.Shutdown(limit), closeStore()) // the Hub first: it ends the long polls
}
