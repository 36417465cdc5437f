// Package redis joins chat's Hubs in one cluster over Redis, 6.2 or later: a single one, one with Sentinels, or a Redis Cluster.
//
//	client := goredis.NewUniversalClient(&goredis.UniversalOptions{Addrs: []string{"10.0.0.5:6379"}})
//	cluster, err := redis.New(client)
//	hub, err := chat.New(chat.WithStore(store), chat.WithCluster(cluster))
//
// What Redis has to be like, and what happens when it is away, is in docs/cluster.md.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
)

// A Cluster is a chat.Cluster over Redis, for one Hub.
type Cluster struct {
	set    settings
	db     redis.UniversalClient
	ours   bool         // db was made here, and is closed here
	closed func() error // closes db, once, which ends what waits for Redis
	log    *slog.Logger
	keys   keys

	h       chat.ClusterHandler // set by Join, before anything runs
	self    chat.Node
	ctx     context.Context // ends with Leave
	cancel  context.CancelFunc
	leasing sync.WaitGroup // run, which starts what tasks counts
	tasks   sync.WaitGroup

	// calls lets only Receive of different streams and Signaled be called at the same time: it is locked for reading by those, and for writing by all other calls of h
	// but Answer. It guards health, and the nodes of view. It comes before mu.
	calls  sync.RWMutex
	health health
	view   view

	mu     sync.Mutex // guards what follows
	joined bool
	left   bool
	name   string // of the lease; empty: there was none yet
	asks   asks

	signals chan []byte
	poke    chan struct{}  // holds one: who is there has changed
	dead    chan string    // names whose marks this node has to remove
	old     chan time.Time // when entries have to be trimmed by their age

	publishing batch
	marking    marking
}

// New makes a Cluster on client's servers: a *redis.Client, which may be one of Sentinels, or a *redis.ClusterClient. It takes over client's options and not its
// connections, since it needs time limits of its own, and closes what it opens; hooks are not taken over. Any other redis.UniversalClient is used itself, and not closed: it has
// to have time limits of a few seconds, and connections for WithStreams readers that wait and some ten more. A *redis.Ring is refused, since it moves a stream's key to another
// server when one fails. New does not wait for the network.
func New(client redis.UniversalClient, opts ...Option) (*Cluster, error) {
	c := &Cluster{
		set:     settings{prefix: "chat", streams: 8, length: 10_000, age: 10 * time.Minute, lease: 5 * time.Second},
		signals: make(chan []byte, signalsMost), poke: make(chan struct{}, 1), dead: make(chan string, 1), old: make(chan time.Time, 1),
	}
	for _, o := range opts {
		o.apply(&c.set)
	}
	if client == nil {
		return nil, errors.New("chat/redis: no client")
	}
	if _, ok := client.(*redis.Ring); ok {
		return nil, errors.New("chat/redis: a Ring moves keys to other servers when one fails, and what was in a stream is lost; use a ClusterClient")
	}
	if err := c.set.validate(); err != nil {
		return nil, err
	}
	if c.log = c.set.logger; c.log == nil {
		c.log = slog.Default()
	}
	c.keys = newKeys(c.set.prefix, c.set.streams)
	c.db, c.ours = own(client, c.set.streams)
	c.closed = sync.OnceValue(func() error {
		if c.ours {
			return c.db.Close()
		}
		return nil
	})
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.asks = asks{waiting: map[uint64]*question{}, there: map[string]bool{}}
	c.view.nodes = map[string]chat.Node{}
	return c, nil
}

// Streams implements chat.Cluster.
func (c *Cluster) Streams() int { return c.set.streams }

// errLeft is what is returned before Join and after Leave.
var errLeft = errors.New("chat/redis: not joined, or left")

// Join implements chat.Cluster. A number of streams that is not that of the other nodes is found out only when Redis answers: the node then stays away.
func (c *Cluster) Join(self chat.Node, h chat.ClusterHandler) error {
	if self.Tag == "" || len(self.Tag) > tagMost {
		return fmt.Errorf("chat/redis: %q is not a tag", self.Tag)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.joined || c.left {
		return errors.New("chat/redis: Join is called once")
	}
	c.joined = true
	c.self, c.h = self, h
	c.publishing.init(c.set.streams)
	c.health.init(c.parts())
	c.leasing.Go(c.run)
	return nil
}

// run starts the readers when it is known that this node fits to the others.
func (c *Cluster) run() {
	for delay := (backoff{}); ; {
		err := c.agree(c.ctx)
		if err == nil {
			break
		}
		c.fails(partSetup, err)
		if !delay.wait(c.ctx) {
			return
		}
	}
	c.works(partSetup)
	for _, r := range c.readers() {
		c.tasks.Go(func() { c.persist(r.part, r.run) })
	}
	c.tasks.Go(func() { c.persist(partListen, c.listen) })
	c.tasks.Go(c.signal)
	c.tasks.Go(c.clean)
	c.persist(partLease, c.keepLease)
}

// Leave implements chat.Cluster. When ctx ends before Redis has answered, the lease is over in time.
func (c *Cluster) Leave(ctx context.Context) error {
	c.calls.Lock() // after this h is not called any more, but for answers that are under way
	c.mu.Lock()
	first := !c.left
	c.left = true
	c.mu.Unlock()
	c.calls.Unlock()
	c.cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.closed() })
	defer stop()
	c.leasing.Wait() // it would take a new lease
	var err error
	if first {
		err = c.giveUp(ctx)
	}
	err = errors.Join(err, c.closed())
	c.tasks.Wait()
	return err
}

// leased gives the name of the lease that the node had last.
func (c *Cluster) leased() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left || !c.joined {
		return "", errLeft
	}
	if c.name == "" {
		return "", errors.New("chat/redis: Redis has not answered yet")
	}
	return c.name, nil
}

// hasLeft is stable while calls is locked.
func (c *Cluster) hasLeft() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left
}

var _ chat.Cluster = (*Cluster)(nil)
