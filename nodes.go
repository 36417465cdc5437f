package chat

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	nodesTick    = time.Second      // how often a node tells up to where it has published, where that has changed
	tellAnyway   = 5                // ticks after which it does in any case
	checkEvery   = 10 * time.Second // of logs that were written in of late
	checkWritten = time.Minute      // of late
	fencedMost   = 1000             // names of leases that are over
	leaveWithin  = 2 * time.Second
	endedKept    = 10 * time.Minute

	receivedWithin = time.Second // of a node that is gone
)

// nodes is the Hub's part in its Cluster. It is a ClusterHandler.
type nodes struct {
	hub   *core
	of    Cluster
	tag   string
	born  time.Time
	relay relay

	life  context.Context // of what it asks the cluster; ends last in Shutdown
	end   context.CancelFunc
	tasks tracker

	mu     sync.Mutex // guards what follows; below a namespace's
	name   string     // of the lease; empty: there was none yet
	live   map[string]Node
	fenced []string             // names of leases that are over, the last ones
	ended  map[string]time.Time // tags of nodes that have had none since
	silent map[string]time.Time // tags of nodes that did not answer, and when
	again  time.Time            // when all logs are read on once more; zero: never
	away   time.Time            // since when the cluster is away; zero: it is here
	gone   chan struct{}        // closed while it is away

	streams   []inStream
	fails     seldom
	left      atomic.Bool
	lost      atomic.Int64
	unread    atomic.Int64
	signals   map[byte]func(tag string, body reader)
	questions map[string]func(ctx context.Context, body []byte) (any, error)
}

// newNodes is nil for a Hub that is alone.
func newNodes(h *core) *nodes {
	if h.set.cluster == nil {
		return nil
	}
	n := &nodes{hub: h, of: h.set.cluster, tag: newTag(), born: time.Now(), live: map[string]Node{}, ended: map[string]time.Time{}, silent: map[string]time.Time{}, away: time.Now(), gone: make(chan struct{})}
	close(n.gone)
	n.life, n.end = context.WithCancel(context.Background())
	n.streams = make([]inStream, max(n.of.Streams(), 1))
	for i := range n.streams {
		n.streams[i].from = map[string]*publisher{}
	}
	n.relay = relay{nodes: n, numbers: make([]uint64, len(n.streams)), marks: map[markKey]Mark{}}
	n.signals = map[byte]func(string, reader){signalCounters: n.counted, signalTyping: n.typed, signalRates: n.ratesTold}
	n.questions = n.newQuestions()
	return n
}

// ownTag is empty for a Hub that is alone.
func (n *nodes) ownTag() string {
	if n == nil {
		return ""
	}
	return n.tag
}

// newTag is 6 letters and digits.
func newTag() string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	var b [tagLen]byte
	_, _ = rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = letters[b[i]%byte(len(letters))]
	}
	return string(b[:])
}

func (n *nodes) join() error {
	if n == nil {
		return nil
	}
	if err := n.of.Join(Node{Tag: n.tag, Address: n.hub.set.nodeAddress}, n); err != nil {
		return fmt.Errorf("chat: cluster: %w", err)
	}
	if n.tasks.enter() {
		go n.run()
	}
	return nil
}

// leave publishes what is queued, within ctx, and ends the node.
func (n *nodes) leave(ctx context.Context) {
	if n == nil {
		return
	}
	flushing, cancel := context.WithTimeout(ctx, leaveWithin)
	select {
	case <-n.relay.flushed():
	case <-flushing.Done():
	}
	cancel()
	n.end()
	if !n.left.CompareAndSwap(false, true) {
		return
	}
	left, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	if err := n.call(left, n.of.Leave); err != nil {
		n.hub.log().Warn("chat: cluster was not left", "error", err)
	}
	<-n.tasks.shutDown()
}

// call calls the host's Cluster; its panic is an error like any other.
func (n *nodes) call(ctx context.Context, f func(context.Context) error) (err error) {
	defer recovered("the cluster", &err)
	return f(ctx)
}

// marks are what the other nodes have marked under a key. Its own are no news to a node; there may be some of a lease that it has yet to be told of.
func (n *nodes) marks(ctx context.Context, key string) (others []Mark, err error) {
	err = n.call(ctx, func(ctx context.Context) error {
		all, err := n.of.Marks(ctx, key)
		for _, m := range all {
			if tag, _ := leaseTerm(m.Node); tag != n.tag {
				others = append(others, m)
			}
		}
		return err
	})
	if err != nil {
		n.failed("marks", err)
	}
	return others, err
}

// stream is that of a room; of what is about more than one room it is that of the room without a name.
func (n *nodes) stream(space, room string) int {
	if len(n.streams) == 1 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(space))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(room))
	return int(h.Sum32() % uint32(len(n.streams)))
}

// run does what is due by the clock.
func (n *nodes) run() {
	defer n.tasks.leave()
	tick := time.NewTicker(nodesTick)
	defer tick.Stop()
	var before []uint64
	checked := time.Now()
	for i := 1; ; i++ {
		select {
		case <-n.life.Done():
			return
		case <-tick.C:
		}
		if now := n.relay.counters(); i%tellAnyway == 0 || !slices.Equal(now, before) {
			n.tellCounters(now)
			before = now
		}
		n.readAgain()
		if time.Since(checked) >= checkEvery {
			checked = time.Now()
			n.hub.journal.checkWritten(checked.Add(-checkWritten))
			for _, sp := range n.hub.spaces {
				sp.dropEmpty()
			}
			n.forgetEnded()
		}
	}
}

// forgetEnded forgets what was received of nodes that will not be back: each start of a process is another node.
func (n *nodes) forgetEnded() {
	var known []string
	for i := range n.streams {
		st := &n.streams[i]
		st.mu.Lock()
		known = slices.AppendSeq(known, maps.Keys(st.from))
		st.mu.Unlock()
	}
	before := time.Now().Add(-endedKept - n.hub.set.recoveryWindow)
	var over []string
	n.mu.Lock()
	for _, tag := range known { // of those that were gone before this node was there nobody has told
		_, live := n.live[tag]
		if _, ended := n.ended[tag]; !live && !ended {
			n.ended[tag] = time.Now()
		}
	}
	for tag, since := range n.ended {
		if since.Before(before) {
			over = append(over, tag)
			delete(n.ended, tag)
			delete(n.silent, tag)
		}
	}
	n.mu.Unlock()
	for _, tag := range over {
		for i := range n.streams {
			st := &n.streams[i]
			st.mu.Lock()
			delete(st.from, tag)
			st.mu.Unlock()
		}
		for _, sp := range n.hub.spaces {
			sp.mu.Lock()
			for i := range n.streams {
				delete(sp.seen, place{tag, i})
				delete(sp.dropped, place{tag, i})
			}
			sp.mu.Unlock()
		}
	}
}

// failed logs a failure of the cluster, one a second.
func (n *nodes) failed(what string, err error) {
	if untold, now := n.fails.now(); now {
		n.hub.log().Error("chat: cluster failed", "call", what, "error", err, "failures_not_logged", untold)
	}
}

// isAway tells since when the cluster is away.
func (n *nodes) isAway() (since time.Time, away bool) {
	if n == nil {
		return time.Time{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.away, !n.away.IsZero()
}

// goneFor tells whether the cluster has been away for as long.
func (n *nodes) goneFor(d time.Duration) bool {
	since, away := n.isAway()
	return away && time.Since(since) >= d
}

// here sets whether the cluster answers, and tells whether that is news.
func (n *nodes) here(yes bool) (news bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	news = yes != n.away.IsZero()
	switch {
	case yes && news:
		n.away, n.gone = time.Time{}, make(chan struct{})
	case news:
		n.away = time.Now()
		close(n.gone)
	}
	return news
}

// awaySoon is closed when the cluster is away.
func (n *nodes) awaySoon() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.gone
}

// Joined implements ClusterHandler.
func (n *nodes) Joined(name string) {
	n.mu.Lock()
	before := n.name
	n.name = name
	n.mu.Unlock()
	n.here(true)
	n.hub.log().Info("chat: node of the cluster", "node", name, "before", before)
	n.pulse()
	for _, sp := range n.hub.spaces {
		sp.presentAgain()
	}
}

// Up implements ClusterHandler.
func (n *nodes) Up(other Node) {
	if other.Tag == n.tag {
		return
	}
	n.mu.Lock()
	n.live[other.Tag] = other
	delete(n.ended, other.Tag)
	n.mu.Unlock()
	n.hub.log().Info("chat: another node", "node", other.Name, "address", other.Address)
	for _, sp := range n.hub.spaces {
		sp.withoutFormer(other)
	}
	n.pulse()
}

// Down implements ClusterHandler. What the node has saved and not published is in the store.
func (n *nodes) Down(other Node) {
	if other.Tag == n.tag {
		return
	}
	n.mu.Lock()
	if n.live[other.Tag].Name == other.Name {
		delete(n.live, other.Tag)
		n.ended[other.Tag] = time.Now()
	}
	n.fenced = append(n.fenced, other.Name)
	n.fenced = n.fenced[max(0, len(n.fenced)-fencedMost):]
	n.mu.Unlock()
	n.hub.log().Warn("chat: a node is gone", "node", other.Name)
	n.hub.forwards.down(other.Tag)
	for _, sp := range n.hub.spaces {
		sp.withoutNode(other.Name)
	}
	n.hub.journal.grown("", "")
	n.mu.Lock()
	defer n.mu.Unlock()
	n.again = time.Now().Add(doubtLasts)
}

// readAgain has all logs read on once more when it is certain how the appends have ended that a node had under way at its end.
func (n *nodes) readAgain() {
	n.mu.Lock()
	due := !n.again.IsZero() && !time.Now().Before(n.again)
	if due {
		n.again = time.Time{}
	}
	n.mu.Unlock()
	if due {
		n.hub.journal.grown("", "")
	}
}

// Away implements ClusterHandler.
func (n *nodes) Away(err error) {
	if n.here(false) {
		n.hub.log().Error("chat: the cluster is away", "error", err)
	}
}

// Back implements ClusterHandler. What was lost of the streams without a trace is found in the store, and in the marks.
func (n *nodes) Back() {
	if n.here(true) { // otherwise Joined has said all that
		n.hub.log().Info("chat: the cluster is back")
		n.pulse()
		for _, sp := range n.hub.spaces {
			sp.presentAgain() // a cluster that has lost its data has no marks
		}
	}
	n.resync(-1)
}

// others are the tags of the other nodes.
func (n *nodes) others() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	tags := make([]string, 0, len(n.live))
	for tag := range n.live {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	return tags
}

// alone tells that no other node is known.
func (n *nodes) alone() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.live) == 0
}

// node is the other node of that tag.
func (n *nodes) node(tag string) (Node, bool) {
	if n == nil {
		return Node{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	other, ok := n.live[tag]
	return other, ok
}

// leaseName is the name of this node's lease.
func (n *nodes) leaseName() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.name
}

// isFenced tells whether a lease is over: what comes in its name comes too late. Of one that began and ended while this node was cut off it has never heard, but for the next.
func (n *nodes) isFenced(name string) bool {
	tag, term := leaseTerm(name)
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.Contains(n.fenced, name) {
		return true
	}
	_, now := leaseTerm(n.live[tag].Name)
	return term < now
}

// leaseTerm is the tag and the number of a lease's name: see ClusterHandler.Joined.
func leaseTerm(name string) (tag string, term int) {
	tag, number, _ := strings.Cut(name, ".")
	term, _ = strconv.Atoi(number) // 0 where it is none
	return tag, term
}
