package clustertest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/parleychat/chat"
)

// node is a Bus's chat.Cluster. Bus.mu guards its fields but for those that newNode sets.
type node struct {
	bus     *Bus
	ctx     context.Context // ends with Leave and Kill
	cancel  context.CancelFunc
	wake    chan struct{}  // holds one: the queue has something
	done    chan struct{}  // closed when h is not called any more, but for answers
	answers sync.WaitGroup // Add while the node has not ended

	h      chat.ClusterHandler // nil before Join
	self   chat.Node
	term   int // the number in its name
	leased bool
	over   chan struct{} // closed when the lease is over; made with each one
	timer  *time.Timer   // ends the lease while the node is cut off

	cut     bool
	ended   bool
	healed  chan struct{} // closed by Heal and the end; made by each Cut
	failing int           // calls of Publish

	known   map[string]chat.Node // that h was told of, by tag
	queue   []func()             // calls of h
	backlog []chat.Publication   // while cut off
	lost    map[int]bool         // streams, while cut off
}

func newNode(b *Bus) *node {
	n := &node{
		bus: b, wake: make(chan struct{}, 1), done: make(chan struct{}), healed: make(chan struct{}),
		known: map[string]chat.Node{}, lost: map[int]bool{},
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

func (n *node) Streams() int { return n.bus.streams }

func (n *node) Join(self chat.Node, h chat.ClusterHandler) error {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	if n.h != nil || n.ended {
		return fmt.Errorf("clustertest: Join is called once")
	}
	if n.bus.findLocked(self.Tag) != nil {
		return fmt.Errorf("clustertest: there is a node %q", self.Tag)
	}
	n.h, n.self = h, self
	n.bus.nodes = append(n.bus.nodes, n)
	go n.run()
	for _, p := range n.bus.past {
		n.pushLocked(func() { lend(p.Data, func(data []byte) { n.h.History(p.Stream, data) }) })
	}
	if n.bus.out {
		n.cutLocked()
		return nil
	}
	n.leaseLocked()
	n.seeLocked()
	return nil
}

func (n *node) leaseLocked() {
	n.term++
	n.self.Name = fmt.Sprintf("%s.%d", n.self.Tag, n.term)
	n.leased, n.over = true, make(chan struct{})
	name := n.self.Name
	n.pushLocked(func() { n.h.Joined(name) })
	for _, other := range n.bus.nodes {
		other.seeLocked()
	}
}

// seeLocked tells a node that is not cut off who has gone and who has come.
func (n *node) seeLocked() {
	if n.cut || n.ended || !n.leased {
		return
	}
	there := map[string]chat.Node{}
	for _, other := range n.bus.nodes {
		if other != n && other.leased {
			there[other.self.Tag] = other.self
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(n.known)) {
		if old := n.known[tag]; there[tag] != old {
			delete(n.known, tag)
			n.pushLocked(func() { n.h.Down(old) })
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(there)) {
		if _, known := n.known[tag]; !known {
			n.known[tag] = there[tag]
			n.pushLocked(func() { n.h.Up(there[tag]) })
		}
	}
}

func (n *node) cutLocked() {
	if n.cut || n.ended {
		return
	}
	n.cut, n.healed = true, make(chan struct{})
	n.pushLocked(func() { n.h.Away(ErrCut) })
	if n.leased {
		over := n.over
		n.timer = time.AfterFunc(n.bus.Lease, func() { n.expire(over) })
	}
}

// expire is of a timer, which may come when the lease that it was for has gone on.
func (n *node) expire(over chan struct{}) {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	switch {
	case n.over != over || !n.cut:
	case n.ended:
		n.bus.removeLocked(n)
	default:
		n.bus.overLocked(n)
	}
}

func (n *node) healLocked() {
	if !n.cut || n.ended {
		return
	}
	n.cut = false
	if n.timer != nil {
		n.timer.Stop()
	}
	if !n.leased {
		n.leaseLocked()
	}
	n.seeLocked()
	for _, stream := range slices.Sorted(maps.Keys(n.lost)) {
		n.pushLocked(func() { n.h.Lost(stream) })
	}
	for _, p := range n.backlog {
		n.receiveLocked(p)
	}
	clear(n.lost)
	n.backlog = nil
	n.pushLocked(n.h.Back)
	close(n.healed)
}

func (n *node) publishedLocked(p chat.Publication) {
	switch {
	case n.ended || n.term == 0:
	case n.cut:
		n.backlog = append(n.backlog, p)
	default:
		n.receiveLocked(p)
	}
}

func (n *node) receiveLocked(p chat.Publication) {
	n.pushLocked(func() { lend(p.Data, func(data []byte) { n.h.Receive(p.Stream, data) }) })
}

// lend calls f with bytes that do not last, as a network's would not.
func lend(data []byte, f func([]byte)) {
	data = slices.Clone(data)
	f(data)
	for i := range data {
		data[i] = 0xff
	}
}

func (n *node) pushLocked(f func()) {
	n.queue = append(n.queue, f)
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *node) run() {
	defer close(n.done)
	for {
		select {
		case <-n.wake:
		case <-n.ctx.Done():
			return
		}
		n.bus.mu.Lock()
		queue := n.queue
		n.queue = nil
		n.bus.mu.Unlock()
		for _, f := range queue {
			if n.ctx.Err() != nil {
				return
			}
			f()
		}
	}
}

// do calls f with Bus.mu locked, as soon as the node is not cut off.
func (n *node) do(ctx context.Context, f func() error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n.bus.mu.Lock()
		if n.h == nil || n.ended || !n.cut {
			defer n.bus.mu.Unlock()
			if n.h == nil || n.ended {
				return ErrLeft
			}
			return f()
		}
		healed := n.healed
		n.bus.mu.Unlock()
		select {
		case <-healed:
		case <-ctx.Done():
		}
	}
}

func (n *node) Publish(ctx context.Context, ps []chat.Publication) error {
	return n.do(ctx, func() error {
		for _, p := range ps {
			if p.Stream < 0 || p.Stream >= n.bus.streams {
				return fmt.Errorf("clustertest: there is no stream %d", p.Stream)
			}
		}
		for _, p := range ps {
			n.bus.publishLocked(p)
		}
		if n.failing > 0 {
			n.failing--
			return ErrCut
		}
		return nil
	})
}

func (n *node) Signal(data []byte) {
	n.bus.mu.Lock()
	defer n.bus.mu.Unlock()
	if n.cut || n.ended {
		return
	}
	data = slices.Clone(data)
	for _, other := range n.bus.nodes {
		if other != n && !other.cut && !other.ended {
			other.pushLocked(func() { lend(data, other.h.Signaled) })
		}
	}
}

func (n *node) Mark(ctx context.Context, marks []chat.Mark) error {
	return n.do(ctx, func() error {
		for _, m := range marks {
			of, id := n.bus.marks[m.Key], markID{n.self.Name, m.Field}
			if m.Off {
				if delete(of, id); len(of) == 0 {
					delete(n.bus.marks, m.Key)
				}
				continue
			}
			if of == nil {
				of = map[markID]chat.Mark{}
				n.bus.marks[m.Key] = of
			}
			m.Node = n.self.Name
			of[id] = m
		}
		return nil
	})
}

func (n *node) Marks(ctx context.Context, key string) ([]chat.Mark, error) {
	var marks []chat.Mark
	err := n.do(ctx, func() error {
		marks = slices.SortedFunc(maps.Values(n.bus.marks[key]), func(a, b chat.Mark) int {
			return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Node, b.Node))
		})
		return nil
	})
	return marks, err
}

func (n *node) Keep(ctx context.Context, values []chat.Kept) error {
	return n.do(ctx, func() error {
		for _, v := range values {
			v.Value = append([]byte{}, v.Value...)
			n.bus.kept[v.Key] = v
		}
		return nil
	})
}

func (n *node) Take(ctx context.Context, key string) ([]byte, error) {
	var value []byte
	err := n.do(ctx, func() error {
		if v, ok := n.bus.kept[key]; ok && time.Now().Before(v.Until) {
			value = v.Value
		}
		delete(n.bus.kept, key)
		return nil
	})
	return value, err
}

func (n *node) Leave(ctx context.Context) error {
	n.bus.mu.Lock()
	if n.h == nil || n.ended {
		joined := n.h != nil
		n.ended = true
		n.bus.mu.Unlock()
		if joined {
			<-n.done
			n.answers.Wait()
		}
		return nil
	}
	var err error
	if n.cut {
		err = ErrCut
	} else {
		n.bus.removeLocked(n)
	}
	n.endLocked()
	n.bus.mu.Unlock()
	<-n.done
	n.answers.Wait()
	return err
}

// endLocked ends the calls of h. The lease of a node that is cut off lasts until its timer.
func (n *node) endLocked() {
	n.ended = true
	n.queue, n.backlog = nil, nil
	n.cancel()
	if n.cut {
		close(n.healed)
		if !n.leased {
			n.bus.removeLocked(n)
		}
	}
}
