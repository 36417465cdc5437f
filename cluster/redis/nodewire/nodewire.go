// Package nodewire lets a Hub live in one Socket.IO cluster with Node servers that share a Redis: it speaks the wires of @socket.io/redis-adapter with
// @socket.io/redis-emitter (Adapter), and of @socket.io/redis-streams-adapter (Streams).
//
//	hub, err := chat.New(chat.WithBridge(nodewire.Adapter(client)))
//
// Either side's emits to rooms, sids and everybody, its socketsJoin, socketsLeave, disconnectSockets and broadcasts with acks reach the other's clients. Node's
// fetchSockets, allRooms, serverCount and serverSideEmit count the Hub as a server.
package nodewire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
)

// A Bridge is one Hub's end of the wire; Adapter and Streams make one.
type Bridge struct {
	client  redis.UniversalClient
	dialect dialect
	key     string
	group   string
	streams int
	maxLen  int64
	onSide  ServerSideFunc

	uid      string
	hub      chat.BridgeHandler
	log      *slog.Logger
	queue    queue
	calls    calls
	troubles troubles
	bad      atomic.Int64

	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup
	once sync.Once
}

var _ chat.Bridge = (*Bridge)(nil)

// dialect is what the two wires do each in their own way.
type dialect interface {
	// start begins to listen, on goroutines of b.work.
	start() error
	// encode makes of what the Hub does what Redis is told; it runs when it is its turn.
	encode(m *chat.BridgeMessage) (command, error)
	// ask makes the command of a broadcast with acks.
	ask(id string, m *chat.BridgeMessage, timeout time.Duration) (command, error)
	// countChannel is the one that each server of a namespace has subscribed to.
	countChannel(namespace string) string
}

// An Option sets up a Bridge.
type Option func(*Bridge)

// WithKey sets what the names of channels and streams begin with: the adapter's key, or its streamName and channelPrefix. The default is theirs, "socket.io".
func WithKey(key string) Option { return func(b *Bridge) { b.key = key } }

// WithGroup names the cluster that the Hub is in, "chat" by default: Hubs of one group leave what they emit to their Cluster, and do not hear of each other by
// this wire.
func WithGroup(group string) Option { return func(b *Bridge) { b.group = group } }

// WithStreamCount is the streamCount of Streams, 1 by default. What Node's adapter makes of a namespace whose hash is negative goes into a stream that
// nobody reads; the Hub writes to one that is read.
func WithStreamCount(n int) Option { return func(b *Bridge) { b.streams = n } }

// WithMaxLen is the maxLen of Streams, 10,000 by default: about how many entries a stream has.
func WithMaxLen(n int64) Option { return func(b *Bridge) { b.maxLen = n } }

// A ServerSideFunc takes what a Node server has sent by serverSideEmit. It runs on a goroutine of its own and may block until ctx ends, after 5 s. Its answer, as JSON, is
// sent where one is asked for; with an error, null.
type ServerSideFunc func(ctx context.Context, namespace, event string, args chat.Args) (answer any, err error)

// OnServerSideEmit sets who takes serverSideEmit. Without it such events are answered null.
func OnServerSideEmit(f ServerSideFunc) Option { return func(b *Bridge) { b.onSide = f } }

// Adapter speaks to @socket.io/redis-adapter 7 and later (createAdapter, not the sharded one) and to @socket.io/redis-emitter. It loses what is published while it has no
// connection to Redis, as Node's servers do. The client remains the host's.
func Adapter(client redis.UniversalClient, opts ...Option) *Bridge {
	b := newBridge(client, opts)
	b.dialect = &adapter{b}
	return b
}

// Streams speaks to @socket.io/redis-streams-adapter 0.3 (without useShardedPubSub). After a lost connection it reads on where it was. A read holds one of the client's
// connections for each stream. The client remains the host's.
func Streams(client redis.UniversalClient, opts ...Option) *Bridge {
	b := newBridge(client, opts)
	b.dialect = &streams{b}
	return b
}

func newBridge(client redis.UniversalClient, opts []Option) *Bridge {
	b := &Bridge{client: client, key: "socket.io", group: "chat", streams: 1, maxLen: 10_000}
	for _, o := range opts {
		o(b)
	}
	b.uid = b.groupPrefix() + strconv.FormatUint(rand.Uint64(), 36)
	b.life, b.end = context.WithCancel(context.Background())
	b.queue.init()
	b.calls.init()
	return b
}

// groupPrefix is what the uids of a group's Hubs begin with.
func (b *Bridge) groupPrefix() string { return "hub~" + b.group + "~" }

func (b *Bridge) ours(uid string) bool { return strings.HasPrefix(uid, b.groupPrefix()) }

// Start implements chat.Bridge.
func (b *Bridge) Start(h chat.BridgeHandler) error {
	switch {
	case b.hub != nil:
		return errors.New("nodewire: a Bridge is of one Hub")
	case b.client == nil || b.key == "" || b.streams < 1 || b.maxLen < 1:
		return errors.New("nodewire: a client, a key, and streamCount and maxLen of at least 1 are needed")
	case strings.Contains(b.group, "~") || strings.Contains(b.group, "#"):
		return fmt.Errorf("nodewire: %q is no group's name: it must have neither ~ nor #", b.group)
	}
	b.hub, b.log = h, h.Logger()
	if err := b.dialect.start(); err != nil {
		return err
	}
	b.work.Go(b.publish)
	return nil
}

// Tell implements chat.Bridge.
func (b *Bridge) Tell(m *chat.BridgeMessage) { b.queue.add(queued{message: m, size: sizeOf(m)}) }

// Dropped is how many messages of the Hub's have not been passed on: there were more of them while Redis was away than 16 MiB hold, or Redis has refused them.
func (b *Bridge) Dropped() int64 { return b.queue.dropped.Load() }

// Invalid is how many messages came from Redis that made no sense, or that the Hub could not take.
func (b *Bridge) Invalid() int64 { return b.bad.Load() }

// Stop implements chat.Bridge.
func (b *Bridge) Stop(ctx context.Context) error {
	b.queue.close()
	err := b.queue.wait(ctx)
	b.once.Do(b.end)
	ended := make(chan struct{})
	go func() {
		b.work.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		err = errors.Join(err, context.Cause(ctx))
	}
	return err
}

// invalid logs what came and made no sense; not what it said, which may be a message of somebody's.
func (b *Bridge) invalid(err error, from string, data []byte) {
	b.bad.Add(1)
	if n := b.troubles.say(time.Now()); n > 0 {
		b.log.Warn("nodewire: a message from Redis is not understood", "error", err, "from", from, "bytes", len(data), "times", n)
	}
}

// troubles keeps a stream of bad messages from filling the log.
type troubles struct {
	mu     sync.Mutex
	said   time.Time
	untold int
}

// say is how many troubles one line stands for; 0: it is not time for one.
func (t *troubles) say(now time.Time) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.untold++
	if now.Sub(t.said) < time.Second {
		return 0
	}
	n, t.said, t.untold = t.untold, now, 0
	return n
}

func sizeOf(m *chat.BridgeMessage) int {
	n := 200 + len(m.Event) + len(m.Args.JSON)
	for _, a := range m.Args.Attachments {
		n += len(a)
	}
	for _, names := range [][]string{m.Rooms, m.Except, m.Names} {
		for _, name := range names {
			n += 16 + len(name)
		}
	}
	return n
}

// mustJSON encodes what has no part that could fail.
func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return text
}
