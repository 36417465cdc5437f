// Command log is this library for the bench with a store of choice; clients join rooms by themselves.
// GET /stats tells how many entries the store was given in how many batches, and with ?rooms=N the last
// seq of the rooms r0 to rN-1.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/benchmarks/internal/load"
	"github.com/parleychat/chat/benchmarks/internal/profile"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "address to listen on")
	db := flag.String("db", "memory", "memory, sqlite:FILE or postgres://…")
	flag.Parse()
	profile.Serve()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, *addr, *db); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, db string) error {
	store, n, closeStore, err := open(ctx, db)
	if err != nil {
		return err
	}
	defer closeStore()
	hub, err := chat.New(chat.WithStore(store))
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", hub)
	mux.HandleFunc("/stats", func(w http.ResponseWriter, r *http.Request) {
		s := load.Stats{Appends: n.appends.Load(), Entries: n.entries.Load(), Nanos: n.nanos.Load()}
		rooms, _ := strconv.Atoi(r.FormValue("rooms")) // none: 0
		for i := range rooms {
			_, last, err := store.Bounds(r.Context(), "/", load.Room(i))
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			s.Last = append(s.Last, last)
		}
		_ = json.NewEncoder(w).Encode(s) // who does not read it has no figure
	})
	fmt.Println("listening", ln.Addr())
	failed := make(chan error, 1)
	go func() { failed <- http.Serve(ln, mux) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}
