package chat

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

// inbox queues a client's events and hooks; a goroutine takes them one at a time, and exists only while there
// are any.
type inbox struct {
	mu      sync.Mutex // guards what follows; innermost, held for no call
	running bool
	closing bool // no event is taken any more
	done    bool // the last job, OnDisconnect, has run
	bytes   int
	queue   []job
	waits   *inboxWaits
}

// inboxWaits are what somebody may wait for; most inboxes have none.
type inboxWaits struct {
	after    *Client       // the client that this one recovered from: its inbox comes first
	finished chan struct{} // closed with done; nil until somebody waits
	room     chan struct{} // closed when there is room again; nil while nobody waits
}

func (in *inbox) waitsLocked() *inboxWaits {
	if in.waits == nil {
		in.waits = &inboxWaits{}
	}
	return in.waits
}

// job is an event or a hook.
type job struct {
	event *socketio.Event
	at    time.Time // when the event came in
	hook  func()
	last  bool
}

// jobOverhead is what a waiting event counts for beside its bytes.
const jobOverhead = 128

// Event implements socketio.Socket. It waits while the inbox is full: that client is not read from meanwhile.
// When the connection ends first, or the host ends it, the event is dropped.
func (c *Client) Event(e socketio.Event) {
	in, limit, at := &c.inbox, c.space.hub.set.limits.Inbox, time.Now()
	c.space.hub.received.Add(1)
	if c.space.rates != nil && c.overRate(&job{event: &e, at: at}) {
		return
	}
	in.mu.Lock()
	for in.bytes > limit && !in.closing {
		w := in.waitsLocked()
		if w.room == nil {
			w.room = make(chan struct{})
		}
		wait := w.room
		in.mu.Unlock()
		select {
		case <-wait:
		case <-c.sess.Done():
			// Closed waits for this to return, and the handler that is to make room may wait for Closed: for
			// c.Context() to end.
			return
		}
		in.mu.Lock()
	}
	if in.closing {
		in.mu.Unlock()
		return
	}
	in.bytes += e.Size + jobOverhead
	c.pushLocked(job{event: &e, at: at})
	in.mu.Unlock()
}

// push queues a hook.
func (c *Client) push(j job) {
	c.inbox.mu.Lock()
	c.pushLocked(j)
	c.inbox.mu.Unlock()
}

func (c *Client) pushLocked(j job) {
	in := &c.inbox
	in.queue = append(in.queue, j)
	if !in.running && c.space.hub.handlers.enter() {
		in.running = true
		go c.work()
	}
}

// stopTaking makes the inbox drop every later event and let go a reader that waits.
func (c *Client) stopTaking() {
	in := &c.inbox
	in.mu.Lock()
	in.closing = true
	in.releaseLocked()
	in.mu.Unlock()
}

func (in *inbox) releaseLocked() {
	if in.waits != nil && in.waits.room != nil {
		close(in.waits.room)
		in.waits.room = nil
	}
}

// work runs what is queued until nothing is.
func (c *Client) work() {
	defer c.space.hub.handlers.leave()
	growStack(1)
	in := &c.inbox
	in.mu.Lock()
	var after *Client
	if in.waits != nil {
		after, in.waits.after = in.waits.after, nil
	}
	in.mu.Unlock()
	if after != nil {
		select {
		case <-after.finished():
		case <-c.space.hub.life.Done():
		}
	}
	for {
		in.mu.Lock()
		jobs := in.queue
		if len(jobs) == 0 {
			in.running, in.queue = false, nil
			in.mu.Unlock()
			return
		}
		in.queue = nil
		in.mu.Unlock()
		var room [8]piped
		saving := pipeline{under: room[:0]}
		for i := range jobs {
			if !saving.take(c, &jobs[i]) {
				saving.drain(c)
				c.do(&jobs[i])
			}
			jobs[i] = job{}
		}
		saving.drain(c)
	}
}

func (c *Client) do(j *job) {
	in := &c.inbox
	if j.event != nil {
		c.dispatch(j)
		c.taken(j.event)
		return
	}
	c.safely(j.hook)
	if j.last {
		in.mu.Lock()
		in.done = true
		if in.waits != nil && in.waits.finished != nil {
			close(in.waits.finished)
		}
		in.mu.Unlock()
		c.space.mu.Lock()
		defer c.space.mu.Unlock()
		c.space.recovery.throughLocked(c)
	}
}

// growStack makes the stack as large as a handler takes, or a driver of a store, while there is next to nothing on it: grown by doubling, with frames to move each time, it
// was an eighth of what a message costs.
//
//go:noinline
func growStack(i byte) byte {
	var room [6 << 10]byte
	room[i] = 1 // or the compiler would see that there is no need of it
	return room[i/2]
}

// taken makes room for what comes after an event.
func (c *Client) taken(e *socketio.Event) {
	in := &c.inbox
	in.mu.Lock()
	defer in.mu.Unlock()
	in.bytes -= e.Size + jobOverhead
	if in.bytes <= c.space.hub.set.limits.Inbox/2 {
		in.releaseLocked()
	}
}

// finished is closed when the client's last job has run.
func (c *Client) finished() <-chan struct{} {
	in := &c.inbox
	in.mu.Lock()
	defer in.mu.Unlock()
	w := in.waitsLocked()
	if w.finished == nil {
		w.finished = make(chan struct{})
		if in.done {
			close(w.finished)
		}
	}
	return w.finished
}

// safely runs a hook; its panic goes to the log.
func (c *Client) safely(f func()) {
	defer func() {
		if p := recover(); p != nil {
			c.logPanic(c.handlerContext(), "hook", p)
		}
	}()
	f()
}

func (c *Client) logPanic(ctx context.Context, where string, p any) {
	c.space.hub.log().ErrorContext(ctx, "chat: panic", "in", where, "panic", p, "stack", string(debug.Stack()))
}

// Closed implements socketio.Socket: the connection is gone.
func (c *Client) Closed(reason engineio.Reason, unsent []uint64) {
	c.stopTaking()
	if reason == engineio.ReasonShutdown {
		c.keepSnapshot(unsent)
	}
	c.space.depart(c, reason, unsent)
	why := c.why(reason)
	for _, f := range c.space.set.onDisconnect {
		c.push(job{hook: func() { f(c.handlerContext(), c, why) }})
	}
	c.push(job{hook: func() {}, last: true})
	c.departed(why)
}

// evictions are the reasons for which the Hub itself ends a client that it would rather have kept.
var evictions = [...]string{string(engineio.ReasonSlowConsumer), string(engineio.ReasonTooLarge), whyRateLimited, whyTokenExpired, whyRevoked}

// farewells are the errors that a connection ends with.
var farewells = map[engineio.Reason]*Error{
	engineio.ReasonSlowConsumer: Errorf(SlowConsumer, "what was sent was not read in time"),
	engineio.ReasonTooLarge:     Errorf(TooLarge, "a message or a request was too large"),
}

func farewell(reason engineio.Reason) socketio.Encoded {
	enc, _ := socketio.Encode(farewells[reason]) // it holds nothing that does not encode
	return enc
}

// Reasons of the Hub's for ending a client, beside the protocol's.
const (
	whyRateLimited  = "rate limited"
	whyTokenExpired = "token expired"
	whyRevoked      = "revoked"
)

// why is the reason that the host is told of.
func (c *Client) why(reason engineio.Reason) string {
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	if reason == socketio.ReasonServerDisconnect && c.rare != nil && c.rare.why != "" {
		return c.rare.why
	}
	return string(reason)
}

// departed tells everybody but the hooks that a client has left.
func (c *Client) departed(why string) {
	h, ctx := c.space.hub, c.handlerContext()
	h.set.observe.left(ctx, c, why)
	attrs := []slog.Attr{slog.String("reason", why), slog.String("namespace", c.space.name)}
	i := slices.Index(evictions[:], why)
	if i < 0 {
		h.traffic(ctx, "chat: disconnected", attrs...)
		return
	}
	h.evicted[i].Add(1)
	h.log().LogAttrs(ctx, slog.LevelWarn, "chat: disconnected", attrs...)
	if told := farewells[engineio.Reason(why)]; told != nil {
		h.set.observe.failed(ctx, c, told.Code, "")
		limit := "Outbox"
		if told.Code == TooLarge {
			limit = "Payload"
		}
		h.countHit(ctx, c.hitBy(limit, LimitDisconnect)) // the line above says it
	}
}
