// Package clustertest has a cluster inside the process, with faults, for tests of what is built on one, and Run, which tells whether a chat.Cluster keeps its
// contract.
package clustertest

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/parleychat/chat"
)

// A Bus is a cluster inside the process. Its nodes are called on one goroutine each, in the order of what happened; that goroutine ends with Leave or Kill. It
// waits on channels and timers alone, so that it may be used in a synctest bubble. Bytes that a handler was given are overwritten once it has returned.
type Bus struct {
	// Lease is for how long a node that was cut off or killed keeps its lease: 5 s, or what is set before the first Join.
	Lease time.Duration
	// History is how many publications of all streams a node that joins is told of: 1,000, or what is set before the first Join.
	History int

	streams int

	mu    sync.Mutex // guards all below, and the nodes' fields
	out   bool       // CutAll
	nodes []*node    // by the time of Join
	marks map[string]map[markID]chat.Mark
	kept  map[string]chat.Kept
	lose  map[int]*loss // by stream
	past  []chat.Publication
}

type markID struct{ node, field string }

// loss says how many publications more are lost, and for whom: all nodes where no tag is said.
type loss struct {
	n    int
	tags []string
}

// The errors of a Bus.
var (
	ErrCut  = errors.New("clustertest: the node is cut off")
	ErrLeft = errors.New("clustertest: the node is in no cluster, or has left it")
)

// NewBus makes a Bus with that many streams.
func NewBus(streams int) *Bus {
	return &Bus{
		Lease: 5 * time.Second, History: 1000, streams: streams,
		marks: map[string]map[markID]chat.Mark{}, kept: map[string]chat.Kept{}, lose: map[int]*loss{},
	}
}

// Node gives a new node's Cluster, which is in the Bus from its Join on.
func (b *Bus) Node() chat.Cluster {
	return newNode(b)
}

// Tags are those of the nodes that have joined and not left, in the order of their Joins, a killed one's too.
func (b *Bus) Tags() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var tags []string
	for _, n := range b.nodes {
		tags = append(tags, n.self.Tag)
	}
	return tags
}

// Cut cuts a node off: it is Away, what it calls waits until its context ends or Heal, and what the others signal to it is lost. After Lease it is Down for the others. It does
// nothing to a tag that is not known.
func (b *Bus) Cut(tag string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.findLocked(tag); n != nil {
		n.cutLocked()
	}
}

// Heal ends what Cut began: the node learns its next name if its lease was lost, who is there, and what was published meanwhile; then it is Back.
func (b *Bus) Heal(tag string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.findLocked(tag); n != nil {
		n.healLocked()
	}
}

// CutAll cuts all nodes off, those too that join before HealAll.
func (b *Bus) CutAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.out = true
	for _, n := range b.nodes {
		n.cutLocked()
	}
}

// HealAll ends all that Cut and CutAll began.
func (b *Bus) HealAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.out = false
	for _, n := range b.nodes {
		n.healLocked()
	}
}

// Kill ends a node as kill -9 does: its handler is not called any more, what it calls fails with ErrLeft, and after Lease it is Down for the others.
func (b *Bus) Kill(tag string) {
	b.mu.Lock()
	n := b.findLocked(tag)
	if n == nil || n.ended {
		b.mu.Unlock()
		return
	}
	n.cutLocked()
	n.endLocked()
	b.mu.Unlock()
	<-n.done
	n.answers.Wait()
}

// Lose makes the next count publications of a stream get lost, without a word, as happens in a failover: for those nodes, or all where none is named. A second Lose of
// the stream replaces the first.
func (b *Bus) Lose(stream, count int, tags ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lose[stream] = &loss{n: count, tags: tags}
}

// Trim removes a stream's publications: nodes that are cut off and have not received them yet are told Lost when they are healed, and nodes that join have no History of it.
func (b *Bus) Trim(stream int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.past = slices.DeleteFunc(b.past, func(p chat.Publication) bool { return p.Stream == stream })
	for _, n := range b.nodes {
		before := len(n.backlog)
		n.backlog = slices.DeleteFunc(n.backlog, func(p chat.Publication) bool { return p.Stream == stream })
		if len(n.backlog) < before {
			n.lost[stream] = true
		}
	}
}

// Fail makes a node's next count calls of Publish return an error, although what they publish is taken.
func (b *Bus) Fail(tag string, count int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.findLocked(tag); n != nil {
		n.failing = count
	}
}

func (b *Bus) findLocked(tag string) *node {
	for _, n := range b.nodes {
		if n.self.Tag == tag {
			return n
		}
	}
	return nil
}

func (b *Bus) publishLocked(p chat.Publication) {
	p.Data = slices.Clone(p.Data)
	l := b.lose[p.Stream]
	losing := l != nil && l.n > 0
	if losing {
		l.n--
	}
	if !losing || len(l.tags) > 0 {
		b.past = append(b.past, p)
		b.past = b.past[max(0, len(b.past)-b.History):]
	}
	for _, n := range b.nodes {
		if losing && (len(l.tags) == 0 || slices.Contains(l.tags, n.self.Tag)) {
			continue
		}
		n.publishedLocked(p)
	}
}

// overLocked ends a node's lease.
func (b *Bus) overLocked(n *node) {
	if !n.leased {
		return
	}
	n.leased = false
	close(n.over)
	for key, marks := range b.marks {
		for id := range marks {
			if id.node == n.self.Name {
				delete(marks, id)
			}
		}
		if len(marks) == 0 {
			delete(b.marks, key)
		}
	}
	for _, other := range b.nodes {
		other.seeLocked()
	}
}

func (b *Bus) removeLocked(n *node) {
	b.overLocked(n)
	b.nodes = slices.DeleteFunc(b.nodes, func(other *node) bool { return other == n })
}
