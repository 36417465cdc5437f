package nodewire

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
)

const (
	queueMost   = 16 << 20 // bytes
	batchMost   = 128      // messages
	batchBytes  = 1 << 20
	retryFirst  = 50 * time.Millisecond
	retryMost   = time.Second
	tryFor      = 5 * time.Second
	rememberFor = 10 * time.Minute // a batch's number, in Redis
)

// command is one PUBLISH or XADD.
type command struct {
	channel string // of PUBLISH
	payload []byte
	stream  string // of XADD
	kind    string // its type
	ns      string
}

// queued waits to be sent: what the Hub does, or a command that is ready.
type queued struct {
	message *chat.BridgeMessage
	ready   *command
	size    int
}

// queue is what goes to Redis, in one order. Adding to it does not block; what is too much is dropped.
type queue struct {
	mu      sync.Mutex
	items   []queued
	bytes   int
	sending bool // the publisher has taken some
	closed  bool
	more    chan struct{} // of size 1
	idle    chan struct{} // closed when closed and nothing is left
	dropped atomic.Int64
}

func (q *queue) init() { q.more, q.idle = make(chan struct{}, 1), make(chan struct{}) }

func (q *queue) add(it queued) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.bytes+it.size > queueMost {
		q.dropped.Add(1)
		return
	}
	q.items = append(q.items, it)
	q.bytes += it.size
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// take is the next batch; none: there is nothing to do.
func (q *queue) take() (batch []queued) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := 0
	for _, it := range q.items {
		if len(batch) == batchMost || len(batch) > 0 && size+it.size > batchBytes {
			break
		}
		batch = append(batch, it)
		size += it.size
	}
	clear(q.items[:len(batch)])
	q.items = q.items[len(batch):]
	q.bytes -= size
	q.sending = len(batch) > 0
	q.settleLocked()
	return batch
}

func (q *queue) settleLocked() {
	if q.closed && !q.sending && len(q.items) == 0 {
		select {
		case <-q.idle:
		default:
			close(q.idle)
		}
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake()
}

func (q *queue) wait(ctx context.Context) error {
	select {
	case <-q.idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// publish sends what is queued until the Bridge's life ends.
func (b *Bridge) publish() {
	number := int64(0)
	for {
		select {
		case <-b.queue.more:
		case <-b.life.Done():
			return
		}
		for batch := b.queue.take(); len(batch) > 0; batch = b.queue.take() {
			for _, commands := range b.byStream(batch) {
				number++
				b.send(commands, number)
			}
			if b.life.Err() != nil {
				return
			}
		}
	}
}

// byStream encodes a batch and cuts it where another stream begins: a script is about keys of one place in a Redis Cluster.
func (b *Bridge) byStream(batch []queued) (parts [][]command) {
	last := ""
	for i := range batch {
		c, err := batch[i].encode(b.dialect)
		if err != nil {
			b.queue.dropped.Add(1)
			b.log.Error("nodewire: an emit cannot be passed on", "error", err)
			continue
		}
		if len(parts) == 0 || c.stream != "" && last != "" && c.stream != last {
			parts, last = append(parts, nil), ""
		}
		if c.stream != "" {
			last = c.stream
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], c)
	}
	return parts
}

func (it *queued) encode(d dialect) (command, error) {
	if it.ready != nil {
		return *it.ready, nil
	}
	return d.encode(it.message)
}

// once runs a batch's commands unless it has run before: a client repeats what it has no answer to, and a stopped Redis that goes on would have all of it.
var once = redis.NewScript(`
if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local i = 4
while ARGV[i] do
  if ARGV[i] == 'p' then
    redis.call('PUBLISH', ARGV[i+1], ARGV[i+2])
    i = i + 3
  else
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'uid', ARGV[i+1], 'nsp', ARGV[i+2], 'type', ARGV[i+3], 'data', ARGV[i+4])
    i = i + 5
  end
end
return 1`)

// send runs a batch until it has run, or the Bridge ends.
func (b *Bridge) send(commands []command, number int64) {
	place := b.key
	args := []any{number, rememberFor.Milliseconds(), b.maxLen}
	for i := range commands {
		if c := &commands[i]; c.stream != "" {
			place = c.stream
			args = append(args, "x", b.uid, c.ns, c.kind, c.payload)
		} else {
			args = append(args, "p", c.channel, c.payload)
		}
	}
	keys := []string{"{" + place + "}:" + b.uid, place}
	away := false
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		ctx, cancel := context.WithTimeout(b.life, tryFor)
		err := once.Run(ctx, b.client, keys, args...).Err()
		cancel()
		switch {
		case err == nil:
			if away {
				b.log.Info("nodewire: Redis is back", "dropped", b.queue.dropped.Load())
			}
			return
		case b.life.Err() != nil:
			b.queue.dropped.Add(int64(len(commands)))
			return
		case !passing(err):
			b.queue.dropped.Add(int64(len(commands)))
			b.log.Error("nodewire: Redis refuses messages", "error", err, "messages", len(commands))
			return
		case !away:
			away = true
			b.log.Warn("nodewire: Redis does not answer", "error", err)
		}
		b.sleep(pause)
	}
}

// passing: the same may succeed later. What Redis itself answers otherwise it will answer again.
func passing(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return true
	}
	for _, word := range []string{"LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "MOVED", "ASK", "BUSY", "NOREPLICAS", "UNBLOCKED"} {
		if strings.HasPrefix(err.Error(), word) {
			return true
		}
	}
	return false
}

func (b *Bridge) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.life.Done():
	}
}
