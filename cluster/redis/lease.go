package redis

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
)

// beat renews a lease, or takes a new one, and tells who is there. All times are of Redis's clock.
//
// KEYS: a sorted set of the leases' names by their end, in ms; a hash of their nodes; a sorted set of the names whose marks have to be removed, by when a node last
// took that on itself; a string that changes with who is there.
// ARGV: the name; how long the lease is, in ms; the node, to take the lease, or nothing, to renew it; that string as last read; for how long a node may remove marks, in ms.
// It returns: whether the lease is held; the time, in ms; the string; a name whose marks the caller is to remove, or nothing; who is there, where that has changed.
var beat = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local changed = false
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)
for _, name in ipairs(over) do
	redis.call('ZREM', KEYS[1], name)
	redis.call('HDEL', KEYS[2], name)
	redis.call('ZADD', KEYS[3], 0, name)
	changed = true
end
local held = 1
local ends = string.format('%.0f', now + ARGV[2])
if ARGV[3] ~= '' then
	redis.call('ZADD', KEYS[1], ends, ARGV[1])
	redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
	changed = true
elseif redis.call('ZSCORE', KEYS[1], ARGV[1]) then
	redis.call('ZADD', KEYS[1], ends, ARGV[1])
else
	held = 0
end
if changed then redis.call('SET', KEYS[4], t[1] .. '.' .. t[2]) end
local change = redis.call('GET', KEYS[4]) or ''
local grave = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now - ARGV[5]), 'LIMIT', 0, 1)[1]
if grave then redis.call('ZADD', KEYS[3], string.format('%.0f', now), grave) end
local there = {}
if change ~= ARGV[4] then there = redis.call('HVALS', KEYS[2]) end
return {held, string.format('%.0f', now), change, grave or '', there}`)

// leave ends a lease. The caller removes the marks. KEYS are beat's; ARGV: the name.
var leave = redis.NewScript(`
local t = redis.call('TIME')
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], t[1] * 1000, ARGV[1])
redis.call('SET', KEYS[4], t[1] .. '.' .. t[2])
return 1`)

const cleanWithin = 30 * time.Second // after which another node removes a lease's marks

// view is what the handler knows of the other nodes. Cluster.calls guards nodes; the rest is the lease loop's alone.
type view struct {
	nodes   map[string]chat.Node // by tag
	change  string
	held    bool
	term    int // in the lease's name
	trimmed time.Time
}

// told is what beat returns.
type told struct {
	asked  time.Time // by this process's clock, before the lease began anew
	held   bool
	now    time.Time
	change string
	grave  string
	there  []any // nil: as before
}

// agree makes sure that all nodes have as many streams.
func (c *Cluster) agree(ctx context.Context) error {
	pipe := c.db.Pipeline()
	pipe.SetNX(ctx, c.keys.count, c.set.streams, 0)
	count := pipe.Get(ctx, c.keys.count)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	if n, err := count.Int(); err != nil || n != c.set.streams {
		return fmt.Errorf("chat/redis: this node has %d streams, and the cluster %q: see WithStreams", c.set.streams, count.Val())
	}
	return nil
}

// keepLease takes a lease as soon as all else works, so that the handler misses nothing after Joined, and renews it.
func (c *Cluster) keepLease(ctx context.Context) error {
	every := time.NewTicker(c.set.beatEvery())
	defer every.Stop()
	for {
		if err := c.renew(ctx); err != nil {
			return err
		}
		select {
		case <-every.C:
		case <-c.poke:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Cluster) renew(ctx context.Context) error {
	if c.view.held {
		t, err := c.beat(ctx, c.leaseName(), "")
		if err != nil {
			return err
		}
		c.view.held = t.held
		if t.held {
			c.see(t)
			c.holds(t)
			c.look(t)
			return nil
		}
		c.fails(partLease, errLeaseLost)
	}
	select {
	case <-c.ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	return c.take(ctx)
}

var errLeaseLost = errors.New("chat/redis: the lease is over: this node was not heard of for too long")

func (c *Cluster) leaseName() string { return c.self.Tag + "." + strconv.Itoa(c.view.term) }

// take takes a lease under the next name. One that was asked for in vain is not asked for again: others may have seen it come and go.
func (c *Cluster) take(ctx context.Context) error {
	if err := c.agree(ctx); err != nil {
		return err
	}
	node := c.self
	c.view.term++
	node.Name = c.leaseName()
	info, err := json.Marshal(node)
	if err != nil {
		return err
	}
	c.view.change = ""
	t, err := c.beat(ctx, node.Name, string(info))
	if err != nil {
		return err
	}
	c.view.held = true
	former := c.rename(node.Name)
	c.call(func(h chat.ClusterHandler) { h.Joined(node.Name) })
	c.see(t)
	c.holds(t)
	c.look(t)
	c.tellAll(ctx)
	if former != "" {
		return c.bury(ctx, former)
	}
	return nil
}

// rename waits for a Mark that is under way: what it has written under the former name is then known to be removed by bury.
func (c *Cluster) rename(name string) (former string) {
	c.marking.mu.Lock()
	defer c.marking.mu.Unlock()
	c.marking.forget()
	c.mu.Lock()
	defer c.mu.Unlock()
	former, c.name = c.name, name
	return former
}

// bury has the marks of a lease removed that this node had.
func (c *Cluster) bury(ctx context.Context, name string) error {
	return c.db.ZAdd(ctx, c.keys.graves, redis.Z{Member: name}).Err()
}

func (c *Cluster) beat(ctx context.Context, name, info string) (told, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	asked := time.Now()
	reply, err := beat.Run(ctx, c.db, c.keys.node(), name, c.set.lease.Milliseconds(), info, c.view.change, cleanWithin.Milliseconds()).Slice()
	if err != nil {
		return told{}, err
	}
	t, err := readTold(reply, c.view.change)
	t.asked = asked
	return t, err
}

var errReply = errors.New("chat/redis: Redis has answered what it does not answer")

func readTold(reply []any, before string) (t told, err error) {
	if len(reply) != 5 {
		return t, errReply
	}
	held, okHeld := reply[0].(int64)
	now, okNow := reply[1].(string)
	change, okChange := reply[2].(string)
	grave, okGrave := reply[3].(string)
	there, okThere := reply[4].([]any)
	ms, err := strconv.ParseInt(now, 10, 64)
	if err != nil || !okHeld || !okNow || !okChange || !okGrave || !okThere {
		return t, errReply
	}
	t = told{held: held == 1, now: time.UnixMilli(ms), change: change, grave: grave}
	if change != before {
		t.there = there
		if there == nil {
			t.there = []any{}
		}
	}
	return t, nil
}

// see tells the handler who has gone, and then who has come.
func (c *Cluster) see(t told) {
	if t.there == nil {
		return
	}
	c.view.change = t.change
	there := readNodes(t.there)
	delete(there, c.self.Tag)
	c.call(func(h chat.ClusterHandler) {
		for _, tag := range slices.Sorted(maps.Keys(c.view.nodes)) {
			if old := c.view.nodes[tag]; there[tag] != old {
				delete(c.view.nodes, tag)
				c.unanswered(tag)
				h.Down(old)
			}
		}
		for _, tag := range slices.Sorted(maps.Keys(there)) {
			if _, known := c.view.nodes[tag]; !known {
				c.view.nodes[tag] = there[tag]
				c.answering(tag)
				h.Up(there[tag])
			}
		}
	})
}

// readNodes are those that can be read, by tag. Of two leases of a node the later one counts.
func readNodes(values []any) map[string]chat.Node {
	nodes := map[string]chat.Node{}
	for _, v := range values {
		text, _ := v.(string)
		var n chat.Node
		if json.Unmarshal([]byte(text), &n) != nil || n.Tag == "" || !strings.HasPrefix(n.Name, n.Tag+".") {
			continue
		}
		if other, ok := nodes[n.Tag]; !ok || later(n.Name, other.Name) {
			nodes[n.Tag] = n
		}
	}
	return nodes
}

func later(a, b string) bool { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) > 0 }

// look has done what is due besides, by clean: the next beat does not wait for it.
func (c *Cluster) look(t told) {
	if t.grave != "" {
		select {
		case c.dead <- t.grave:
		default: // it is asked for again
		}
	}
	if t.now.Sub(c.view.trimmed).Abs() >= trimEvery {
		select {
		case c.old <- t.now:
			c.view.trimmed = t.now
		default:
		}
	}
}

// giveUp ends the lease and removes its marks.
func (c *Cluster) giveUp(ctx context.Context) error {
	c.marking.mu.Lock() // of a Mark that is under way
	defer c.marking.mu.Unlock()
	name := c.name // nobody writes it any more
	if name == "" {
		return nil
	}
	if err := leave.Run(ctx, c.db, c.keys.node(), name).Err(); err != nil {
		return err
	}
	c.tellAll(ctx)
	return c.removeMarks(ctx, name)
}
