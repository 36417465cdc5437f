package redis_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/cluster/redis"
)

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// peer is a node that writes down what it is told.
type peer struct {
	t *testing.T
	*redis.Cluster

	mu      sync.Mutex // guards what follows
	lines   []string
	changed chan struct{}
}

func (p *peer) add(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *peer) Joined(name string) { p.add("joined %s", name) }
func (p *peer) Up(n chat.Node)     { p.add("up %s", n.Name) }
func (p *peer) Down(n chat.Node)   { p.add("down %s", n.Name) }
func (p *peer) Away(err error)     { p.add("away %v", err) }
func (p *peer) Back()              { p.add("back") }
func (p *peer) Receive(stream int, all ...[]byte) {
	for _, data := range all {
		p.add("%d %s", stream, data)
	}
}
func (p *peer) History(stream int, all ...[]byte) {
	for _, data := range all {
		p.add("past %d %s", stream, data)
	}
}
func (p *peer) Lost(stream int)      { p.add("lost %d", stream) }
func (p *peer) Signaled(data []byte) { p.add("signal %s", data) }
func (p *peer) Answer(_ context.Context, question []byte) ([]byte, error) {
	return question, nil
}

var prefixes sync.Map

// prefixOf is of one run of a test.
func prefixOf(t *testing.T) string {
	prefix, _ := prefixes.LoadOrStore(t, fmt.Sprint(t.Name(), "-", time.Now().UnixNano()))
	return prefix.(string)
}

// peers gives a func that adds a node, of few streams and with a short lease, to the test's cluster.
func peers(t *testing.T, opts ...redis.Option) func(tag string, client goredis.UniversalClient) *peer {
	prefix := prefixOf(t)
	return func(tag string, client goredis.UniversalClient) *peer {
		t.Helper()
		all := append([]redis.Option{redis.WithPrefix(prefix), redis.WithStreams(2), redis.WithLease(2 * time.Second)}, opts...)
		c, err := redis.New(client, all...)
		must(t, err)
		p := &peer{t: t, Cluster: c, changed: make(chan struct{})}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = c.Leave(ctx) // Redis may be away
			_ = client.Close()
		})
		must(t, c.Join(chat.Node{Tag: tag}, p))
		return p
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mark is the place after all lines.
func (p *peer) mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lines)
}

// until waits for a line that begins so, from some place on, and gives the place after it.
func (p *peer) until(from int, begins string) int {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		i := slices.IndexFunc(p.lines[from:], func(line string) bool { return strings.HasPrefix(line, begins) })
		changed := p.changed
		p.mu.Unlock()
		if i >= 0 {
			return from + i + 1
		}
		select {
		case <-changed:
		case <-timeout:
			p.t.Fatalf("no %q in %q", begins, p.tail(from))
		}
	}
}

func (p *peer) tail(from int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines[max(from, len(p.lines)-50):])
}

// between gives the lines from one place to another that begin so.
func (p *peer) between(from, to int, begins string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var some []string
	for _, line := range p.lines[from:to] {
		if strings.HasPrefix(line, begins) {
			some = append(some, line)
		}
	}
	return some
}

func (p *peer) publish(stream int, data ...string) {
	p.t.Helper()
	must(p.t, p.tryPublish(patience, stream, data...))
}

func (p *peer) tryPublish(d time.Duration, stream int, data ...string) error {
	ctx, cancel := context.WithTimeout(p.t.Context(), d)
	defer cancel()
	var ps []chat.Publication
	for _, s := range data {
		ps = append(ps, chat.Publication{Stream: stream, Data: []byte(s)})
	}
	return p.Publish(ctx, ps)
}

// publishUntil repeats, as a Hub does, until it is taken.
func (p *peer) publishUntil(stream int, data string) {
	p.t.Helper()
	for end := time.Now().Add(patience); ; {
		err := p.tryPublish(time.Second, stream, data)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			p.t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (p *peer) marks(key string) []string {
	p.t.Helper()
	ms, err := p.Marks(p.t.Context(), key)
	must(p.t, err)
	var all []string
	for _, m := range ms {
		all = append(all, m.Node+" "+m.Field+"="+m.Value)
	}
	slices.Sort(all)
	return all
}

func (p *peer) setMark(key, field, value string) {
	p.t.Helper()
	must(p.t, p.Mark(p.t.Context(), []chat.Mark{{Key: key, Field: field, Value: value}}))
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// within holds what is promised, with room for a machine whose processors have much else to do.
func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	start := time.Now()
	if f(); time.Since(start) > d {
		t.Errorf("%s took %v, more than %v", what, time.Since(start), d)
	}
}

// eventually is for what Redis tells nobody.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
