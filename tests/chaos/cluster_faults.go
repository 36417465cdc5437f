package main

import (
	"fmt"
	"strings"
	"time"
)

// A harm is one fault of a cluster.
type harm struct {
	kind  harmKind
	node  int // of the kinds that have one; in a programme the place of the node among those that chance has put in order
	lasts time.Duration
}

type harmKind int

const (
	killNode    harmKind = iota // SIGKILL; the node starts again after a while
	freezeNode                  // SIGSTOP; it goes on after a while
	drainNode                   // SIGTERM; when it has ended the next one starts
	stopDB                      // PostgreSQL stops as by an administrator, and starts after a while
	crashDB                     // PostgreSQL stops as by a crash
	stopRedis                   // Redis stops as by an administrator, and starts after a while, with its data
	crashRedis                  // SIGKILL for Redis, which has what it has written by then
	emptyRedis                  // SIGKILL for Redis, and its data are gone
	cutRedis                    // a node's connections to Redis end by RST, and new ones are refused for a while
	stallRedis                  // no byte passes between a node and Redis for a while; then all that was on its way arrives
	failRedis                   // SIGKILL for the master that Sentinels watch; it comes back as a replica after a while, or not at all
	crashMaster                 // SIGKILL for one of the masters of a Redis Cluster; it starts again after a while
)

func (h harm) String() string {
	node := fmt.Sprintf("node %d", h.node+1)
	switch h.kind {
	case killNode:
		return fmt.Sprintf("SIGKILL %s, start after %v", node, h.lasts)
	case freezeNode:
		return fmt.Sprintf("SIGSTOP %s for %v", node, h.lasts)
	case drainNode:
		return "restart " + node
	case stopDB:
		return fmt.Sprintf("PostgreSQL stops for %v", h.lasts)
	case crashDB:
		return fmt.Sprintf("PostgreSQL crashes, start after %v", h.lasts)
	case stopRedis:
		return fmt.Sprintf("Redis stops for %v", h.lasts)
	case crashRedis:
		return fmt.Sprintf("SIGKILL Redis, start after %v", h.lasts)
	case emptyRedis:
		return fmt.Sprintf("SIGKILL Redis, start without its data after %v", h.lasts)
	case cutRedis:
		return fmt.Sprintf("%s cut from Redis for %v", node, h.lasts)
	case stallRedis:
		return fmt.Sprintf("%s and Redis hear nothing of each other for %v", node, h.lasts)
	case failRedis:
		if h.lasts == 0 {
			return "SIGKILL Redis's master, failover"
		}
		return fmt.Sprintf("SIGKILL Redis's master, failover; it is back after %v", h.lasts)
	default:
		return fmt.Sprintf("SIGKILL a master of the Redis Cluster, start after %v", h.lasts)
	}
}

// A step is faults that begin at the same time.
type step struct{ faults []harm }

func (st step) String() string {
	var texts []string
	for _, h := range st.faults {
		texts = append(texts, h.String())
	}
	return strings.Join(texts, " + ")
}

// on puts a step on the nodes that chance has chosen.
func (st step) on(nodes []int) step {
	faults := make([]harm, len(st.faults))
	for i, h := range st.faults {
		if h.kind != drainNode { // which take turns
			h.node = nodes[h.node]
		}
		faults[i] = h
	}
	return step{faults}
}

func one(kind harmKind, lasts time.Duration) step { return step{[]harm{{kind: kind, lasts: lasts}}} }

// two puts the second fault on another node than the first one.
func two(a harmKind, aLasts time.Duration, b harmKind, bLasts time.Duration) step {
	return step{[]harm{{kind: a, lasts: aLasts}, {kind: b, node: 1, lasts: bLasts}}}
}

// rolling3 is a new version: one node after the other.
var rolling3 = []step{{[]harm{{kind: drainNode, node: 0}}}, {[]harm{{kind: drainNode, node: 1}}}, {[]harm{{kind: drainNode, node: 2}}}}

const s1 = time.Second

var programmeNames = []string{"cluster", "cluster-restart", "cluster-sentinel", "cluster-shards"}

// programmes are the steps of the long form, by the run's name; short is that of make test.
var programmes = map[string]struct {
	redis       string
	long, short []step
}{
	"cluster": {"single", []step{
		one(killNode, 2*s1),
		one(freezeNode, 20*s1),
		one(stopRedis, 2*s1),
		one(crashRedis, 1*s1),
		one(emptyRedis, 2*s1),
		one(stopRedis, 20*s1),
		one(stopDB, 2*s1),
		one(crashDB, 3*s1),
		one(cutRedis, 8*s1),
		one(cutRedis, 20*s1),
		one(stallRedis, 20*s1),
		two(killNode, 2*s1, killNode, 6*s1),
		two(killNode, 3*s1, emptyRedis, 1*s1),
		two(freezeNode, 20*s1, crashDB, 2*s1),
		two(freezeNode, 12*s1, killNode, 2*s1),
		two(cutRedis, 15*s1, killNode, 2*s1),
		two(crashRedis, 3*s1, crashDB, 3*s1),
		two(stallRedis, 12*s1, emptyRedis, 2*s1),
	}, []step{
		one(killNode, 1*s1),
		one(freezeNode, 5*s1),
		one(crashRedis, 1*s1),
		one(emptyRedis, 1*s1),
		one(crashDB, 1*s1),
		two(cutRedis, 4*s1, killNode, 1*s1),
	}},
	"cluster-restart": {"single", rolling3, rolling3},
	"cluster-sentinel": {"sentinel", []step{one(killNode, 2*s1), one(failRedis, 8*s1), two(failRedis, 8*s1, freezeNode, 5*s1)},
		[]step{one(failRedis, 0)}},
	"cluster-shards": {"cluster", []step{one(killNode, 2*s1), one(crashMaster, 3*s1), two(crashMaster, 3*s1, crashDB, 2*s1)},
		[]step{one(crashMaster, 1*s1)}},
}
