// Command server is what the npm clients are tried against: a Hub with handlers for whatever the tests ask for.
// It prints its URL on standard output, and ends with 0 when Shutdown was clean.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/parleychat/chat"
)

type flags struct {
	addr           string
	interval       time.Duration
	timeout        time.Duration
	recovery       bool
	legacyUpgrades bool
	legacy         bool
	origins        string
	grace          time.Duration
	connectTimeout time.Duration
	clientSuite    bool
	nodes          int
	limits         chat.Limits
	trust          bool
	writeBuffer    int
}

func parse() flags {
	var f flags
	flag.StringVar(&f.addr, "addr", "127.0.0.1:0", "`host:port` to listen on")
	flag.DurationVar(&f.interval, "ping-interval", 25*time.Second, "between heartbeats")
	flag.DurationVar(&f.timeout, "ping-timeout", 20*time.Second, "for the answer to a heartbeat")
	flag.BoolVar(&f.recovery, "recovery", true, "connection state recovery")
	flag.BoolVar(&f.legacy, "legacy", true, "serve 1.x and 2.x clients")
	flag.BoolVar(&f.legacyUpgrades, "legacy-upgrades", true, "offer upgrades to 1.x and 2.x clients")
	flag.StringVar(&f.origins, "origins", "", "allowed origins, separated by commas")
	flag.DurationVar(&f.grace, "grace", 5*time.Second, "before user_left is said")
	flag.DurationVar(&f.connectTimeout, "connect-timeout", 10*time.Second, "for a session to join a namespace")
	flag.BoolVar(&f.clientSuite, "client-suite", false, "answer the events of socket.io-client's own tests instead")
	flag.IntVar(&f.nodes, "nodes", 1, "Hubs in a cluster, behind a proxy that gives each request to the next of them")
	flag.Func("limits", "`JSON` of chat.Limits", func(text string) error {
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		return d.Decode(&f.limits)
	})
	flag.BoolVar(&f.trust, "trust", false, "take a client's address from X-Forwarded-For")
	flag.IntVar(&f.writeBuffer, "write-buffer", 0, "`bytes` that the system takes of what a connection does not read; 0: its own choice")
	flag.Parse()
	return f
}

func (f flags) options() []chat.Option {
	opts := []chat.Option{
		chat.WithHeartbeat(f.interval, f.timeout),
		chat.WithGrace(f.grace),
		chat.WithLegacyUpgrades(f.legacyUpgrades),
		chat.WithTimeouts(chat.Timeouts{Connect: f.connectTimeout}),
		chat.WithLimits(f.limits),
	}
	if f.trust {
		opts = append(opts, chat.WithTrustedProxies("127.0.0.1"))
	}
	if !f.recovery {
		opts = append(opts, chat.WithRecovery(0, 0))
	}
	if !f.legacy {
		opts = append(opts, chat.WithoutLegacyClients())
	}
	if f.origins != "" {
		opts = append(opts, chat.WithOrigins(strings.Split(f.origins, ",")...))
	}
	return opts
}

func main() {
	if err := run(parse()); err != nil {
		log.Fatal(err)
	}
}

func run(f flags) error {
	b := newBench()
	handlers := b.options
	if f.clientSuite {
		handlers = clientSuite
	}
	if f.nodes > 1 {
		return runNodes(f, handlers)
	}
	var saw seen
	hub, err := chat.New(append(f.options(), append(handlers(), chat.WithObserver(&saw))...)...)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", hub)
	mux.Handle("/ws/socket.io/", hub)
	mux.Handle("/engine.io/", newEcho(f))
	mux.HandleFunc("GET /count", b.count)
	mux.HandleFunc("GET /seen", saw.tell)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(hub.Stats()) // the test sees a broken answer
	})
	if f.clientSuite {
		return serve(f, delayed(mux), hub)
	}
	return serve(f, mux, hub)
}

// serve runs until it is told to end, and then shuts down in the order that a host should: clients first,
// then the listener.
func serve(f flags, handler http.Handler, hub *chat.Hub) error {
	l, err := net.Listen("tcp", f.addr)
	if err != nil {
		return err
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	srv := &http.Server{Handler: handler, ReadTimeout: 15 * time.Second, WriteTimeout: 15 * time.Second}
	if f.writeBuffer > 0 {
		srv.ConnState = func(c net.Conn, state http.ConnState) {
			if state == http.StateNew {
				_ = c.(*net.TCPConn).SetWriteBuffer(f.writeBuffer) // without it the test only takes longer
			}
		}
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	fmt.Printf("http://%s\n", l.Addr())
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	ctx, done := context.WithTimeout(context.Background(), 10*time.Second)
	defer done()
	return errors.Join(hub.Shutdown(ctx), srv.Shutdown(ctx))
}
