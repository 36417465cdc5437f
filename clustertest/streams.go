package clustertest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/parleychat/chat"
)

var streamTests = []test{
	{"all nodes receive, the publisher too", func(c *check) {
		nodes := c.join(3)
		for i, r := range nodes {
			c.must(r.cluster.Publish(c.ctx(), []chat.Publication{{Data: fmt.Append(nil, i)}}))
		}
		for _, r := range nodes {
			for i, data := range r.untilCount(0, len(nodes)) {
				if string(data) != fmt.Sprint(i) {
					c.Errorf("publication %d is %q", i, data)
				}
			}
		}
	}},
	{"what was published before a node came is history, or nothing", func(c *check) {
		a := c.join(1)[0]
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprint(i))
			c.must(a.cluster.Publish(c.ctx(), []chat.Publication{{Data: fmt.Append(nil, i)}}))
		}
		a.untilCount(0, len(want))
		b := c.node()
		c.joinAs(b)
		c.must(a.cluster.Publish(c.ctx(), []chat.Publication{{Data: []byte("new")}}))
		if got := b.untilCount(0, 1); string(got[0]) != "new" {
			c.Errorf("a node that has come received %q", got)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		var past []string
		for _, data := range b.past[0] {
			past = append(past, string(data))
		}
		if len(past) > len(want) || !slices.Equal(past, want[len(want)-len(past):]) {
			c.Errorf("its history is %q, of %q", past, want)
		}
	}},
	{"streams are in order for each node", func(c *check) {
		nodes := c.join(3)
		streams := nodes[0].cluster.Streams()
		const batches, size = 40, 25
		var all sync.WaitGroup
		for from, r := range nodes {
			all.Go(func() {
				next := make([]uint32, streams)
				for range batches {
					var batch []chat.Publication
					for i := range size {
						s := i * i % streams
						batch = append(batch, chat.Publication{Stream: s, Data: binary.BigEndian.AppendUint32([]byte{byte(from)}, next[s])})
						next[s]++
					}
					if err := r.cluster.Publish(c.ctx(), batch); err != nil {
						c.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		want := make([]int, streams)
		for i := range size {
			want[i*i%streams] += batches * len(nodes)
		}
		var first [][][]byte
		for _, r := range nodes {
			var got [][][]byte
			for s, n := range want {
				got = append(got, r.untilCount(s, n))
				c.counted(s, got[s], len(nodes))
			}
			if first == nil {
				first = got
			}
			for s := range got {
				if !slices.EqualFunc(first[s], got[s], bytes.Equal) {
					c.Errorf("two nodes received stream %d in different orders", s)
				}
			}
		}
	}},
	{"one batch of many sizes", func(c *check) {
		nodes := c.join(2)
		var batch []chat.Publication
		for i, size := range []int{0, 1, 100, 127, 128, 16_383, 16_384, 70_000, 3, 1 << 20, 200, 40_000, 40_000, 0} {
			batch = append(batch, chat.Publication{Data: bytes.Repeat([]byte{byte(i)}, size)})
		}
		c.must(nodes[0].cluster.Publish(c.ctx(), batch))
		for _, r := range nodes {
			for i, data := range r.untilCount(0, len(batch)) {
				if !bytes.Equal(data, batch[i].Data) {
					c.Errorf("publication %d has %d bytes, want %d", i, len(data), len(batch[i].Data))
				}
			}
		}
	}},
	{"publications are bytes", func(c *check) {
		nodes := c.join(2)
		c.must(nodes[0].cluster.Publish(c.ctx(), []chat.Publication{{Data: octets()}}))
		for _, r := range nodes {
			if got := r.untilCount(0, 1)[0]; !bytes.Equal(got, octets()) {
				c.Errorf("received %x", got)
			}
		}
	}},
	{"Publish keeps nothing of data", func(c *check) {
		nodes := c.join(2)
		data := []byte("before")
		c.must(nodes[0].cluster.Publish(c.ctx(), []chat.Publication{{Data: data}}))
		copy(data, "after!")
		for _, r := range nodes {
			if got := r.untilCount(0, 1)[0]; string(got) != "before" {
				c.Errorf("received %q", got)
			}
		}
	}},
	{"a late joiner sees what is published from then on", func(c *check) {
		a := c.join(1)[0]
		for i := range 10 {
			c.must(a.cluster.Publish(c.ctx(), []chat.Publication{{Data: fmt.Append(nil, "old", i)}}))
		}
		a.untilCount(0, 10)
		b := c.join(1)[1]
		c.must(a.cluster.Publish(c.ctx(), []chat.Publication{{Data: []byte("new")}}))
		if got := b.untilCount(0, 1); string(got[0]) != "new" || len(got) != 1 {
			c.Errorf("received %q", got)
		}
	}},
	{"what is published after Joined is received", func(c *check) {
		a, b := c.join(1)[0], c.node()
		c.joinAs(b)
		c.must(a.cluster.Publish(c.ctx(), []chat.Publication{{Data: []byte("x")}}))
		b.untilCount(0, 1)
	}},
	{"Publish to a stream that is not", func(c *check) {
		a := c.join(1)[0]
		for _, stream := range []int{-1, a.cluster.Streams()} {
			if a.cluster.Publish(c.ctx(), []chat.Publication{{Stream: stream}}) == nil {
				c.Errorf("Publish to stream %d", stream)
			}
		}
	}},
	{"signals reach the others and not oneself", func(c *check) {
		nodes := c.join(3)
		data := octets()
		nodes[0].cluster.Signal(data)
		clear(data)
		for _, r := range nodes[1:] {
			r.until("signal", func() bool { return len(r.signals) == 1 })
			if !bytes.Equal(r.signals[0], octets()) {
				c.Errorf("signaled %x", r.signals[0])
			}
		}
		for _, r := range nodes[1:] {
			r.cluster.Signal([]byte("reply"))
		}
		nodes[0].until("signals", func() bool { return len(nodes[0].signals) == 2 })
		for _, got := range nodes[0].signals {
			if string(got) != "reply" {
				c.Errorf("signaled %q", got)
			}
		}
	}},
	{"Signal does not wait", func(c *check) {
		nodes := c.join(2)
		start := time.Now()
		for range 10_000 {
			nodes[0].cluster.Signal([]byte("typing"))
		}
		if took := time.Since(start); took > 2*time.Second {
			c.Errorf("10,000 signals took %v", took)
		}
		nodes[1].until("signal", func() bool { return len(nodes[1].signals) > 0 })
	}},
}

func octets() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// counted checks that each node's publications in a stream count up from 0.
func (c *check) counted(stream int, got [][]byte, nodes int) {
	c.Helper()
	next := make([]uint32, nodes)
	for _, data := range got {
		from := data[0]
		if n := binary.BigEndian.Uint32(data[1:]); n != next[from] {
			c.Errorf("stream %d: node %d's publication %d came instead of %d", stream, from, n, next[from])
			return
		}
		next[from]++
	}
}
