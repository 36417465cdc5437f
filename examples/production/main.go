// Production is a chat as it is run for others: one binary with a Hub, a REST API, metrics, health and a page, set up by its environment.
//
//	AUTH=none go run .      for trying it out: http://127.0.0.1:8000
//
// README.md tells the variables and what the files in deploy are for.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/metrics"
)

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "production:", err)
		os.Exit(1)
	}
}

// command is the server where there are no arguments.
func command(args []string) error {
	cfg, err := fromEnv(os.Getenv)
	if err != nil {
		return err
	}
	switch {
	case len(args) == 0:
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		slog.SetDefault(slog.New(chat.LogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.level}))))
		return run(ctx, cfg)
	case args[0] == "healthy":
		return healthy(cfg.addr)
	case args[0] == "token":
		return token(cfg, args[1:])
	}
	return fmt.Errorf("unknown command %q: it serves without one, or takes healthy, or token ID [NAME [ROLE…]]", args[0])
}

func run(ctx context.Context, cfg config) error {
	if cfg.anybody {
		slog.Warn("AUTH=none: anybody may come in, under any name")
	}
	who, err := newAuth(cfg)
	if err != nil {
		return err
	}
	defer who.close()
	store, closeStore, err := open(ctx, cfg.database)
	if err != nil {
		return err
	}
	watch := metrics.New(metrics.Events("whoami"))
	cluster, closeCluster, err := join(cfg)
	if err != nil {
		return errors.Join(err, closeStore())
	}
	hub, err := newHub(cfg, store, who, watch, cluster...)
	if err != nil {
		return errors.Join(err, closeCluster(), closeStore())
	}
	server := &http.Server{
		Handler: handler(cfg, hub, who, watch),
		// The Hub's long polls and WebSockets set deadlines of their own.
		ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout:    2 * time.Minute, // longer than nginx keeps a connection, or it would send a request into one that closes
		MaxHeaderBytes: 32 << 10,
	}
	spare(os.Getenv)
	go giveBack(ctx, giveBackEvery)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.addr)
	if err == nil {
		slog.Info("listening", "addr", listener.Addr().String())
		failed := make(chan error, 1)
		go func() { failed <- server.Serve(listener) }()
		select {
		case err = <-failed:
		case <-ctx.Done():
		}
	}
	return errors.Join(err, stop(context.WithoutCancel(ctx), cfg.drain, hub, server), closeCluster(), closeStore())
}

// stop ends the parts in the order in which they need each other. The Hub goes first, while the server still answers: /readyz turns to 503, handshakes are
// refused (503, so that the proxy asks the next node), what clients have sent is saved and acked over their connections, and they are closed at a pace. The
// server would wait for their long polls, and knows nothing of their WebSockets. Redis and the store go last: until the Hub has ended, messages are saved and published.
func stop(ctx context.Context, within time.Duration, hub *chat.Hub, server *http.Server) error {
	slog.Info("draining", "clients", hub.Stats().Clients, "within", within.String())
	begin := time.Now()
	drain, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err := hub.Shutdown(drain)

	last, cancel := context.WithTimeout(ctx, 5*time.Second) // for the API's requests, whatever the Hub has used up
	defer cancel()
	err = errors.Join(err, server.Shutdown(last))
	slog.Info("stopped", "took", time.Since(begin).String())
	return err
}

// healthy is for images that have no shell and no curl.
func healthy(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	client := http.Client{Timeout: 3 * time.Second}
	res, err := client.Get("http://" + net.JoinHostPort(host, port) + "/healthz")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("/healthz answered %s", res.Status)
	}
	return nil
}
