package chat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/parleychat/chat/internal/engineio"
)

const (
	drainPace = 200                   // clients a second
	drainTick = 20 * time.Millisecond // how often the clients whose time has come are closed
)

// WithDrainPace sets how many clients Shutdown closes in a second: 200 by default. The clients of the field come back a second after their connection has closed and
// know of no hint, so this is the pace at which they reach whoever serves the address next. Where the time that Shutdown is given does not suffice it is
// faster, so that all are closed in four fifths of it.
func WithDrainPace(perSecond int) Option {
	return hubOption("WithDrainPace", func(b *builder) {
		if perSecond <= 0 {
			b.fail("WithDrainPace: must be more than 0")
		}
		b.hub.drainPace = perSecond
	})
}

// Shutdown ends the Hub: Ready answers 503 and new handshakes are refused (503 with Retry-After) from now on; every client gets server_draining with a
// reconnect_after_ms of its own, and is closed when its turn comes (see WithDrainPace), its transport only, so that it comes back to whoever serves the address
// next. Until then it chats on; then what it has sent is handled and acked and what is queued for it is written. Where the store is a Keeper the
// clients' sessions are kept there, to recover from. In the end every goroutine and timer is waited for.
//
// When ctx ends first, handlers' contexts end, what is left is cut off and counted (Stats.Cut), and the error is ctx's. Shutdown may be called again. The host's
// HTTP server is the host's to shut down, after this: until then it tells those who come that they should go elsewhere.
func (h *Hub) Shutdown(ctx context.Context) error {
	c := h.core
	c.draining.Store(true)
	c.engine.Refuse(refusalDraining)
	stop := context.AfterFunc(ctx, c.cut)
	defer stop()
	select { // whoever comes second waits for the first, but no longer than it wants to: then it cuts short the first, too
	case c.shutdown <- struct{}{}:
		defer func() { <-c.shutdown }()
	case <-ctx.Done():
		return c.cutError(ctx)
	}
	if c.ended {
		return nil
	}
	begin := time.Now()
	c.closeClients(ctx)
	idle := c.engine.Wait(ctx.Done())
	if !idle {
		c.cut() // ctx's end may not have begun it yet
	}
	idle = c.forwards.close(ctx) && idle
	for _, sp := range c.spaces {
		sp.close()
	}
	all := c.handlers.shutDown()
	select {
	case <-all:
	case <-ctx.Done():
		idle = false
	}
	if idle {
		select {
		case <-c.journal.close():
		case <-ctx.Done():
			idle = false
		}
	}
	if !idle {
		c.cut()
	}
	c.nodes.leave(ctx)
	err := errors.Join(c.stopBridge(ctx), c.legacy.Close(ctx))
	switch {
	case !idle:
		return c.cutError(ctx)
	case err != nil:
		return err
	}
	c.end()
	c.ended = true
	c.log().Info("chat: shut down", "took", time.Since(begin))
	return nil
}

func (h *core) cutError(ctx context.Context) error {
	h.cut() // ctx's end may not have begun it yet
	return fmt.Errorf("chat: shutdown has cut off %d clients: %w", h.cutOff.Load(), context.Cause(ctx))
}

// closeClients tells the clients, and closes each connection when its turn has come and what has come by it was handled.
func (h *core) closeClients(ctx context.Context) {
	pages := h.pages()
	tunnels := h.forwards.tunnels()
	window := h.drainWindow(ctx, len(pages)+len(tunnels))
	tunnelsCut := cutAtPace(ctx, tunnels, window)
	defer func() { <-tunnelsCut }()
	if len(pages) > 0 {
		h.log().Info("chat: draining", "clients", len(pages), "over", window)
	}
	back := time.Now().Add(window + backWithin)
	h.keepPresence(back)
	turn := func(i int) time.Duration { return window * time.Duration(i) / time.Duration(len(pages)) }
	for i, p := range pages {
		for _, c := range p {
			_ = c.Emit("server_draining", map[string]int64{"reconnect_after_ms": 1000 + turn(i).Milliseconds()}) // fails on a closed Hub only
		}
	}
	begin := time.Now()
	for i, p := range pages {
		for wait := turn(i) - time.Since(begin); wait > 0; wait = turn(i) - time.Since(begin) {
			if !sleep(ctx, max(wait, drainTick)) {
				h.closeOthers(pages)
				return
			}
		}
		p.close(back)
	}
	h.closeOthers(pages)
}

// page is the clients of one connection, one for each namespace.
type page []*Client

func (h *core) pages() (pages []page) {
	at := map[*engineio.Session]int{}
	for _, c := range h.allClients() {
		i, ok := at[c.sess]
		if !ok {
			i = len(pages)
			at[c.sess], pages = i, append(pages, nil)
		}
		pages[i] = append(pages[i], c)
	}
	return pages
}

// close ends the connection when all its clients' events that have come in are handled.
func (p page) close(back time.Time) {
	var left atomic.Int64
	left.Store(int64(len(p)))
	for _, c := range p {
		c.stopTaking()
		c.push(job{hook: func() {
			if left.Add(-1) == 0 {
				p.closeKept(back)
			}
		}})
	}
}

// drainWindow is how long the closing of n clients may take.
func (h *core) drainWindow(ctx context.Context, n int) time.Duration {
	window := time.Duration(n) * time.Second / time.Duration(h.set.drainPace)
	if deadline, ok := ctx.Deadline(); ok {
		window = min(window, time.Until(deadline)*4/5)
	}
	return max(window, 0)
}

// closeOthers closes the sessions that no client has come of.
func (h *core) closeOthers(pages []page) {
	taken := make(map[*engineio.Session]bool, len(pages))
	for _, p := range pages {
		taken[p[0].sess] = true
	}
	for _, s := range h.engine.Sessions() {
		if !taken[s] {
			s.Close(engineio.ReasonShutdown)
		}
	}
}

// cut ends what Shutdown's deadline has found, and counts that first: clients whose handlers end with their contexts leave by themselves.
func (h *core) cut() {
	left := 0
	for _, sp := range h.spaces {
		sp.mu.Lock()
		left += len(sp.clients)
		sp.mu.Unlock()
	}
	if left > 0 && h.cutOff.CompareAndSwap(0, int64(left)) {
		h.log().LogAttrs(context.Background(), slog.LevelWarn, "chat: clients cut off", slog.Int("clients", left))
	}
	h.end()
	for _, s := range h.engine.Sessions() {
		s.Abort(engineio.ReasonShutdown)
	}
}

func (h *core) allClients() []*Client {
	var all []*Client
	for _, sp := range h.spaces {
		sp.mu.Lock()
		for _, c := range sp.clients {
			all = append(all, c)
		}
		sp.mu.Unlock()
	}
	return all
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
