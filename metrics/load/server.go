package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/metrics"
)

// What the plan is made for.
const (
	room       = "lobby"
	outbox     = 256 << 10 // bytes, so that who does not read is evicted within seconds
	sendBuffer = 32 << 10  // of the kernel, for the same reason
	storeDelay = 2 * time.Millisecond
)

// serve is the server's process: it prints its address, and ends when its stdin does.
func serve() error {
	m := metrics.New(metrics.Events("cursor"))
	store := &delayedStore{Store: chat.NewMemoryStore(0, 0)}
	store.delay.Store(int64(storeDelay))
	hub, err := chat.New(
		chat.WithObserver(m), chat.WithRooms(room), chat.WithStore(store), chat.WithLogger(slog.New(slog.DiscardHandler)), chat.WithPresence(0),
		chat.WithLimits(chat.Limits{Outbox: outbox}),
		chat.WithRates(chat.Rate{Event: "chat_message", PerSecond: 5, Burst: 10, CoolDown: time.Second}),
		chat.On("cursor", func(context.Context, *chat.Client, chat.Args) error { return nil }),
	)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", hub)
	mux.Handle("/metrics", m.Handler())
	mux.Handle("POST /store", store)
	srv := &http.Server{Handler: mux, ConnContext: smallBuffer}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	if _, err := fmt.Fprintln(os.Stdout, ln.Addr()); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until whoever started us has gone
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = errors.Join(hub.Shutdown(ctx), srv.Shutdown(ctx))
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

func smallBuffer(ctx context.Context, c net.Conn) context.Context {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // the drawing would only take longer to show the same
	}
	return ctx
}

// A delayedStore stands for a database: each call takes a while, and how long can be told.
type delayedStore struct {
	chat.Store
	delay atomic.Int64
}

func (s *delayedStore) wait(ctx context.Context) error {
	t := time.NewTimer(time.Duration(s.delay.Load()))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *delayedStore) Append(ctx context.Context, entries []chat.Entry) ([]chat.Appended, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.Append(ctx, entries)
}

func (s *delayedStore) Page(ctx context.Context, q chat.PageQuery) ([]chat.Entry, bool, error) {
	if err := s.wait(ctx); err != nil {
		return nil, false, err
	}
	return s.Store.Page(ctx, q)
}

// ServeHTTP sets the delay: POST /store?delay=60ms.
func (s *delayedStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.FormValue("delay"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.delay.Store(int64(d))
}
