package chat

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// A Cluster makes one chat of the Hubs of several processes. It carries bytes whose meaning is the Hubs' own; module cluster/redis is one, and package
// clustertest tells whether another keeps this contract. Its methods are called from many goroutines at once.
//
// All nodes share the store, which alone decides on the order of a room's log. What a Cluster loses of the log is filled from there; what else it loses is
// counted by those who miss it (Stats.ClusterLost).
type Cluster interface {
	// Streams is how many streams there are, at least 1. It does not change, and is the same on all nodes, or Join fails as soon as that is known.
	Streams() int
	// Join makes the process a node, called once, by New. It does not wait for the network: what it cannot reach it goes on trying to reach. An error says
	// that the settings cannot work. h is called from then on, until Leave returns.
	Join(n Node, h ClusterHandler) error
	// Publish appends to the streams, in the order of the slice as far as each stream is concerned. It returns when the cluster has taken all of it. After an error
	// nothing is known; the Hub then publishes the same again, and passes over what comes twice. There is one call at a time.
	Publish(ctx context.Context, ps []Publication) error
	// Signal tells all other nodes something at once, once or not at all, and in no order. It does not wait.
	Signal(data []byte)
	// Ask asks another node, by its tag, and returns its answer: ErrNoNode at once where no such node is known.
	Ask(ctx context.Context, tag string, question []byte) ([]byte, error)
	// Mark writes and removes marks of this node's; there is one call at a time. They are gone for all when the node's lease is over, or it leaves.
	Mark(ctx context.Context, marks []Mark) error
	// Marks are those of a key, of all nodes that have a lease, in any order.
	Marks(ctx context.Context, key string) ([]Mark, error)
	// Keeper keeps sessions for a while.
	Keeper
	// Leave ends the node: its lease and its marks are gone at once, and the others are told. When it returns h is not called any more.
	Leave(ctx context.Context) error
}

// A ClusterHandler is the Hub, as its Cluster sees it. Its methods but for Answer do not block, and are not called at the same time, except for History and
// Receive of different streams and Signaled.
type ClusterHandler interface {
	// Joined: the node has a lease under that name, which is the tag, a dot and a number: the first time 1, and a higher one each time that the lease was lost. Marks of
	// the former name are gone; the Hub makes them anew.
	Joined(name string)
	// Up: another node has a lease. Down: it has none any more. Of a node that was slow for too long comes Down, and Up with its next name.
	Up(n Node)
	Down(n Node)
	// Away: the cluster does not answer. Back: it does again, and what has been published meanwhile and is still there has been received. Back alone says that of a break that
	// was too short to be away: the cluster may have lost something all the same.
	Away(err error)
	Back()
	// History may be called before Joined is for the first time, with the last of what was published in a stream before Receive begins there, in its order. A node that has
	// just begun takes over sessions from those before it: what they have missed is in there. Nothing of it is kept by reference.
	History(stream int, publications ...[]byte)
	// Receive is called with what any node has published, this one too, stream by stream in their order. Publications that have come together are best handed over
	// together: what they bring a client is written with one call then. Nothing of it is kept by reference.
	Receive(stream int, publications ...[]byte)
	// Lost: publications of the stream were removed before they could be received.
	Lost(stream int)
	// Signaled is called with what another node has signaled. Nothing of data is kept.
	Signaled(data []byte)
	// Answer answers another node's question. It may block until ctx ends, and is called on a goroutine of its own.
	Answer(ctx context.Context, question []byte) ([]byte, error)
}

// A Node is a process in a cluster.
type Node struct {
	Tag     string // of the process, as long as it lives: 6 letters and digits
	Name    string // of its lease: see ClusterHandler.Joined. Empty for Join
	Address string // where the other nodes reach its Hub, as in "http://10.0.0.7:8080"; empty: nowhere. See WithNodeAddress
}

// A Publication is what goes into a stream.
type Publication struct {
	Stream int // from 0
	Data   []byte
}

// A Mark says something about a key, for as long as its node has a lease: that a user is in a room, say. Of a node there is one of each key and field.
type Mark struct {
	Key, Field string // of at most some 1,200 bytes together, any of them
	Value      string
	Off        bool   // Mark removes it
	Node       string // whose it is, by name; set by Marks
}

// ErrNoNode is returned by Cluster.Ask for a node that is not known.
var ErrNoNode = errors.New("chat: no such node")

// A NodesError is returned beside a result that is not whole, since nodes of the cluster did not answer.
type NodesError struct {
	Nodes []string // their tags, ascending
	Err   error    // of one of them
}

func (e *NodesError) Error() string {
	return fmt.Sprintf("chat: no answer from nodes %v: %v", e.Nodes, e.Err)
}

// Unwrap gives Err.
func (e *NodesError) Unwrap() error { return e.Err }

// A SharedStore says whether other processes see in it what this one has saved, and the other way round. A Hub in a cluster needs a store that is one and
// says yes.
type SharedStore interface{ Shared() bool }

// WithCluster makes the Hub a node of a cluster: emits, rooms, users, presence, recovery and revocations are those of all nodes. The Hub joins in New and leaves in
// Shutdown. All nodes have the same options, and the same store: New refuses one that is no SharedStore.
//
// While the cluster does not answer, messages are answered UNAVAILABLE after Timeouts.Store, other events reach this node's clients at once and the others when
// it is back, and Ready turns false after WithClusterPatience.
func WithCluster(c Cluster) Option {
	return hubOption("WithCluster", func(b *builder) {
		if c == nil {
			b.fail("WithCluster: nil")
			return
		}
		b.hub.cluster = c
	})
}

// WithNodeAddress lets nodes pass requests on to each other, so that the proxy in front of them need not send a session's requests to one node: whoever gets a request of another node's
// session sends it there. address is where the other nodes reach this Hub's mount, without the path ("http://10.0.0.7:8080"); key, of at least 32 bytes and the same on all
// nodes, proves that it was a node that passed a request on, and vouches for the client's address. Without this option a request that comes to the wrong node is
// answered "Session ID unknown", as by any other server.
func WithNodeAddress(address string, key []byte) Option {
	return hubOption("WithNodeAddress", func(b *builder) {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
			b.fail("WithNodeAddress: %q is not an address such as http://10.0.0.7:8080", address)
		}
		if len(key) < nodeKeyLeast {
			b.fail("WithNodeAddress: the key has %d bytes, fewer than %d", len(key), nodeKeyLeast)
		}
		b.hub.nodeAddress, b.hub.nodeKey = address, key
	})
}

const nodeKeyLeast = 32

// WithClusterPatience says for how long the cluster may be away before Ready says so: 10 s by default. With local, messages too are delivered to this node's clients and acked
// while it is away, as soon as they are saved; the other nodes' get them when it is back. Otherwise they are UNAVAILABLE.
func WithClusterPatience(d time.Duration, local bool) Option {
	return hubOption("WithClusterPatience", func(b *builder) {
		if d <= 0 {
			b.fail("WithClusterPatience: must be more than 0")
		}
		b.hub.patience, b.hub.local = d, local
	})
}
