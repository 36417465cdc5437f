// Command cluster is one node of this library for the bench, with everything at its default: PostgreSQL, and a Redis if one is named.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"

	goredis "github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/benchmarks/internal/profile"
	"github.com/parleychat/chat/cluster/redis"
	"github.com/parleychat/chat/store/postgres"
)

func main() {
	db := flag.String("db", "", "postgres://…")
	at := flag.String("redis", "", "redis://…; empty: no cluster")
	flag.Parse()
	profile.Serve()
	store, err := postgres.Open(context.Background(), *db)
	if err != nil {
		log.Fatal(err)
	}
	options := []chat.Option{chat.WithStore(store)}
	if *at != "" {
		o, err := goredis.ParseURL(*at)
		if err != nil {
			log.Fatal(err)
		}
		c, err := redis.New(goredis.NewClient(o))
		if err != nil {
			log.Fatal(err)
		}
		options = append(options, chat.WithCluster(c))
	}
	hub, err := chat.New(options...)
	if err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", ln.Addr())
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", hub)
	mux.Handle("/readyz", hub.Ready())
	log.Fatal(http.Serve(ln, mux))
}
