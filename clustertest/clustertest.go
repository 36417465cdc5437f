package clustertest

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parleychat/chat"
)

// Run tests whether a cluster keeps the contract of chat.Cluster, as far as that can be seen while nothing fails. newCluster makes a cluster that is empty, and
// gives a func that makes another node's part of it. The tests run at the same time, each in a cluster of its own, which has at least one stream; leases should last
// a few seconds. A test's nodes leave before it ends.
func Run(t *testing.T, newCluster func(t *testing.T) (newNode func() chat.Cluster)) {
	for _, test := range slices.Concat(nodeTests, streamTests, askTests, markTests, keepTests) {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			test.run(&check{T: t, newNode: newCluster(t)})
		})
	}
}

type test struct {
	name string
	run  func(*check)
}

type check struct {
	*testing.T

	newNode func() chat.Cluster
	nodes   []*recorder
}

func (c *check) ctx() context.Context {
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	c.Cleanup(cancel)
	return ctx
}

func (c *check) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func (c *check) node() *recorder {
	c.Helper()
	r := &recorder{
		t: c.T, cluster: c.newNode(), changed: make(chan struct{}), up: map[string]chat.Node{}, received: map[int][][]byte{}, past: map[int][][]byte{}, receiving: map[int]bool{},
		self: chat.Node{Tag: rand.Text()[:6], Address: "http://10.0.0.7:8080"},
	}
	return r
}

// join adds nodes, and waits until each one sees all.
func (c *check) join(n int) []*recorder {
	c.Helper()
	for range n {
		c.joinAs(c.node())
	}
	for _, r := range c.nodes {
		r.until("Up of all others", func() bool { return len(r.up) == len(c.nodes)-1 })
	}
	return c.nodes
}

func (c *check) joinAs(r *recorder) {
	c.Helper()
	c.must(r.cluster.Join(r.self, r))
	c.nodes = append(c.nodes, r)
	c.Cleanup(func() { c.leave(r) })
	r.until("Joined", func() bool { return r.name != "" })
}

// leave is without c.Context, which has ended in a Cleanup.
func (c *check) leave(r *recorder) {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.cluster.Leave(ctx); err != nil {
		c.Errorf("Leave: %v", err)
	}
	r.mu.Lock()
	r.left = true
	r.mu.Unlock()
	c.nodes = slices.DeleteFunc(c.nodes, func(other *recorder) bool { return other == r })
}

var nodeTests = []test{
	{"a node alone", func(c *check) {
		a := c.join(1)[0]
		if n := a.cluster.Streams(); n < 1 {
			c.Fatalf("%d streams", n)
		}
		c.must(a.cluster.Publish(c.ctx(), nil))
		a.cluster.Signal([]byte("nobody"))
	}},
	{"nodes see each other with tag, name and address", func(c *check) {
		nodes := c.join(3)
		for _, r := range nodes {
			for _, other := range nodes {
				want := chat.Node{Tag: other.self.Tag, Name: other.self.Tag + ".1", Address: other.self.Address}
				if r != other && r.up[other.self.Tag] != want {
					c.Errorf("Up(%v), want %v", r.up[other.self.Tag], want)
				}
			}
		}
	}},
	{"a node that leaves is down at once", func(c *check) {
		nodes := c.join(3)
		a, b, gone := nodes[0], nodes[1], nodes[2]
		start := time.Now()
		c.leave(gone)
		for _, r := range []*recorder{a, b} {
			r.until("Down", func() bool { return len(r.downs) == 1 })
			if r.downs[0].Tag != gone.self.Tag {
				c.Errorf("Down(%v), want %s", r.downs[0], gone.self.Tag)
			}
		}
		if took := time.Since(start); took > time.Second {
			c.Errorf("Down came after %v", took)
		}
	}},
	{"Leave twice", func(c *check) {
		nodes := c.join(2)
		a, b := nodes[0], nodes[1]
		c.leave(b)
		c.leave(b)
		c.must(a.cluster.Publish(c.ctx(), []chat.Publication{{Data: []byte("x")}}))
		a.cluster.Signal([]byte("x"))
		a.untilCount(0, 1) // what b's recorder is told now, it complains of
	}},
	{"Leave without Join", func(c *check) {
		c.leave(c.node())
	}},
	{"after Leave nothing is taken", func(c *check) {
		a := c.join(1)[0]
		c.leave(a)
		if a.cluster.Publish(c.ctx(), []chat.Publication{{Data: []byte("x")}}) == nil {
			c.Error("Publish after Leave")
		}
		if a.cluster.Mark(c.ctx(), []chat.Mark{{Key: "k", Field: "f"}}) == nil {
			c.Error("Mark after Leave")
		}
		a.cluster.Signal([]byte("x"))
		if _, err := a.cluster.Ask(c.ctx(), "nobody", nil); err == nil {
			c.Error("Ask after Leave")
		}
	}},
	{"Leave ends an answer", func(c *check) {
		a, b := c.node(), c.node()
		asked := make(chan struct{})
		var ended atomic.Bool
		b.answer = func(ctx context.Context, _ []byte) ([]byte, error) {
			close(asked)
			<-ctx.Done()
			ended.Store(true)
			return nil, ctx.Err()
		}
		c.joinAs(a)
		c.joinAs(b)
		a.until("Up", func() bool { return len(a.up) == 1 })
		failed := make(chan error, 1)
		go func() {
			_, err := a.cluster.Ask(c.Context(), b.self.Tag, []byte("?"))
			failed <- err
		}()
		<-asked
		c.leave(b)
		if !ended.Load() {
			c.Error("Leave returned before Answer")
		}
		select {
		case err := <-failed:
			if err == nil {
				c.Error("Ask has no error, although the node left")
			}
		case <-time.After(patience):
			c.Error("Ask does not end when the node leaves")
		}
	}},
}
