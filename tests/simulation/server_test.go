package simulation_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat"
)

// A server is one process: a Hub, on its own connection to the store.
type server struct {
	n      int
	hub    *chat.Hub
	node   *node // nil: the Hub has the store itself
	seat   *seat // nil: there is no cluster
	ending bool
	mute   bool // what it emitted last may have reached nobody else
	ended  chan error
}

func (s *server) healthy() bool { return !s.ending }

func (w *world) newServer() *server {
	s := &server{n: len(w.past) + 1}
	store := w.db.base
	if !w.set.raw {
		s.node = w.db.newNode()
		store = s.node
		if w.set.watch {
			store = watchNode{s.node}
		}
	}
	opts := []chat.Option{
		chat.WithStore(store), chat.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))), chat.WithRecovery(w.set.window, 32<<20),
		chat.WithRoomPolicy(chat.RoomPolicy{Join: w.mayJoin}), chat.WithLimits(chat.Limits{Outbox: w.set.outbox}),
		chat.WithAuth(func(_ context.Context, h *chat.Handshake) (chat.User, error) {
			var auth struct{ User string }
			err := h.Decode(&auth)
			return chat.User{ID: auth.User}, err
		}),
	}
	if w.set.everyone {
		opts = append(opts, chat.WithRooms(w.rooms[0]))
	}
	if w.bus != nil {
		s.seat = w.bus.seat()
		opts = append(opts, chat.WithCluster(s.seat), chat.WithClusterPatience(10*time.Second, w.set.local))
	}
	hub, err := chat.New(opts...)
	if err != nil {
		panic(err)
	}
	s.hub = hub
	w.past = append(w.past, s)
	return s
}

// anyServer is one that a balancer may choose.
func (w *world) anyServer(rng *rand.Rand) *server {
	at := rng.IntN(len(w.servers))
	for i := range w.servers {
		if s := w.servers[(at+i)%len(w.servers)]; s != nil {
			return s
		}
	}
	return nil
}

// over tells whether a graceful end has come.
func (s *server) over() bool {
	select {
	case err := <-s.ended:
		s.ended <- err
		return true
	default:
		return false
	}
}

// end begins a server's graceful end.
func (w *world) end(s *server) {
	s.ending, s.ended = true, make(chan error, 1)
	for _, p := range w.pages {
		if p.server == s {
			p.disturbed()
		}
	}
	w.bus.end(s)
	w.work.Go(func() { s.ended <- s.shutdown(15 * time.Second) })
}

// shutdown tries once for patience, and again where that was too little.
func (s *server) shutdown(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := s.hub.Shutdown(ctx)
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	again, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.hub.Shutdown(again)
}

// kill ends a server as SIGKILL does: all its connections, and all that it does with the store.
func (w *world) kill(s *server) {
	w.bus.kill(s)
	if s.node != nil {
		s.node.die()
	}
	for _, p := range w.pages {
		if p.server == s && p.sock != nil {
			p.sock.cut()
		}
	}
	if w.set.raw { // what was on its way ends now, for nothing holds it up
		synctest.Wait()
	}
	s.ending, s.ended = true, make(chan error, 1)
	w.work.Go(func() { s.ended <- s.shutdown(time.Millisecond) })
}
