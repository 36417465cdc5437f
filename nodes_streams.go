package chat

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// What other nodes publish comes in streams. Each node numbers what it publishes in a stream, so that what comes twice is passed over and what is missing is noticed.

// inStream is what was received of a stream.
type inStream struct {
	mu      sync.Mutex // guards what follows; below a namespace's
	from    map[string]*publisher
	came    uint64        // notices
	own     uint64        // which of them was the first of this node's own, from which on it has all; 0: none yet
	changed chan struct{} // closed with the next notice; nil: nobody waits
}

// publisher is what was received of a node in one stream.
type publisher struct {
	base    uint64    // what was published before the first notice that was received
	begun   uint64    // the Hub's counter when that one came
	first   uint64    // which of all nodes' that one was, by inStream.came
	latest  uint64    // the same of the last one
	torn    bool      // since then a part of the stream was lost
	since   time.Time // when that one came; by hearsay, when the node that says so had the last one
	heard   time.Time // when the last one came
	last    uint64
	expect  uint64   // what the node says it has published: not received a tick later it may be lost
	late    uint64   // what was looked for elsewhere for that reason
	hearsay bool     // nothing was received: other nodes have said that it is over
	before  []string // tags of nodes whose first notice came later, by the same
}

// pulse lets others know from where on they receive what this node publishes in each stream.
func (n *nodes) pulse() {
	for i := range n.streams {
		n.relay.add(i, newNotice(noticePulse, n.tag, "", ""), nil)
	}
}

// resync reads on the logs, and who is in the rooms, of a stream of which something was lost; of all of them where it is negative.
func (n *nodes) resync(stream int) {
	for _, sp := range n.hub.spaces {
		sp.reloadPresence(stream)
	}
	n.hub.journal.grownIn(stream)
}

// Lost implements ClusterHandler.
func (n *nodes) Lost(stream int) {
	if stream < 0 || stream >= len(n.streams) {
		return
	}
	n.hub.log().Warn("chat: a part of the cluster's stream was gone before it was read", "stream", stream)
	st := &n.streams[stream]
	st.mu.Lock()
	for _, p := range st.from {
		p.torn = true
	}
	st.mu.Unlock()
	n.resync(stream)
}

// Receive implements ClusterHandler.
func (n *nodes) Receive(stream int, publications ...[]byte) {
	for _, data := range publications {
		n.receive(stream, data)
	}
	n.hub.engine.Help()
}

func (n *nodes) receive(stream int, data []byte) {
	tag, number, ok := readHead(data)
	if !ok || stream < 0 || stream >= len(n.streams) {
		n.unreadable(data)
		return
	}
	st := &n.streams[stream]
	st.mu.Lock()
	st.came++
	at := st.came
	if tag == n.tag {
		if st.own == 0 {
			st.own = at
		}
		st.mu.Unlock()
		return
	}
	p := st.from[tag]
	if p != nil && number <= p.last { // it was published twice
		st.mu.Unlock()
		return
	}
	missing := uint64(0)
	if p != nil {
		missing = number - p.last - 1
	}
	st.mu.Unlock()
	n.take(stream, data) // before it counts as received: see space.seen
	st.mu.Lock()
	if p == nil {
		p = &publisher{base: number - 1, begun: n.hub.counter.Load(), first: at, since: time.Now()}
		st.from[tag] = p
	}
	p.last, p.latest, p.heard, p.hearsay = number, at, time.Now(), false
	st.wakeLocked()
	st.mu.Unlock()
	if missing > 0 {
		n.missed(stream, tag, missing)
	}
}

// History implements ClusterHandler. What it brings is not news for anybody: it is kept for sessions that come from other nodes.
func (n *nodes) History(stream int, publications ...[]byte) {
	for _, data := range publications {
		n.past(stream, data)
	}
}

func (n *nodes) past(stream int, data []byte) {
	note, err := readNotice(data)
	if err != nil || stream < 0 || stream >= len(n.streams) {
		n.unreadable(data)
		return
	}
	if note.tag == n.tag {
		return
	}
	st := &n.streams[stream]
	st.mu.Lock()
	st.came++
	at, p := st.came, st.from[note.tag]
	if p != nil && note.number <= p.last {
		st.mu.Unlock()
		return
	}
	st.mu.Unlock()
	switch sp := n.hub.spaces[note.space]; {
	case note.kind == noticeErased:
		n.hub.eraseKept(note.body.string())
	case note.kind == noticeEvent && sp != nil:
		sp.takePast(&note, stream)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if p == nil || note.number > p.last+1 { // after a gap it is as if nothing had been received before
		p = &publisher{base: note.number - 1, begun: n.hub.counter.Load(), first: at, since: time.Now()}
		st.from[note.tag] = p
	}
	p.last, p.latest, p.heard = note.number, at, time.Now()
	st.wakeLocked()
}

func (st *inStream) wakeLocked() {
	if st.changed != nil {
		close(st.changed)
		st.changed = nil
	}
}

func (n *nodes) missed(stream int, tag string, count uint64) {
	n.lost.Add(int64(count))
	n.hub.log().Warn("chat: the cluster has lost publications", "stream", stream, "node", tag, "count", count)
	n.resync(stream)
}

func (n *nodes) unreadable(data []byte) {
	n.unread.Add(1)
	n.hub.log().Debug("chat: a notice of another node cannot be read", "bytes", len(data))
}

// received is up to where everything was received that other nodes have published, and up to where this one has.
func (n *nodes) received() (all []seenPlace) {
	for i, number := range n.relay.counters() {
		all = append(all, seenPlace{Tag: n.tag, Stream: i, Number: number})
	}
	for i := range n.streams {
		st := &n.streams[i]
		st.mu.Lock()
		all[i].Read, all[i].First = st.own > 0, st.own
		for tag, p := range st.from {
			s := seenPlace{Tag: tag, Stream: i, Number: p.last, At: p.heard.UnixNano()}
			if !p.hearsay && !p.torn {
				if s.Latest = p.latest; p.base == 0 {
					s.First = p.first
				}
			}
			all = append(all, s)
		}
		st.mu.Unlock()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range all {
		p := &all[i]
		if _, live := n.live[p.Tag]; live || p.Tag == n.tag {
			p.At, p.Latest = 0, 0
		} else {
			p.Over = true
		}
	}
	return all
}

// knowsAll tells whether this node has all that may be for a session and was published by nodes that the session's node had nothing of.
func (n *nodes) knowsAll(s *snapshot) bool {
	seen, began := s.seenNumbers(), n.began(s)
	for i := range n.streams {
		if b, ok := began[i]; (!ok || b.torn) && !n.streams[i].knowsAll(i, seen, s) {
			return false
		}
	}
	return true
}

func (st *inStream) knowsAll(stream int, seen map[place]uint64, s *snapshot) bool {
	own := s.reads(stream)
	st.mu.Lock()
	defer st.mu.Unlock()
	for tag, p := range st.from {
		if _, known := seen[place{tag, stream}]; known || p.base == 0 || own != "" && slices.Contains(p.before, own) {
			continue
		}
		if p.since.After(s.Born) {
			return false
		}
	}
	return true
}

// A beginning is when the first notice of a session's node came, which has all from there on: of what it has nothing of, all that came before is older than the session.
type beginning struct {
	counter uint64 // the Hub's
	torn    bool   // since then a part of the stream was lost: what this node did not get may be of then
}

// began tells, of the streams of which that is known, when a session's node began.
func (n *nodes) began(s *snapshot) map[int]beginning {
	all := map[int]beginning{}
	for _, own := range s.Seen {
		if own.Read && own.Stream >= 0 && own.Stream < len(n.streams) {
			st := &n.streams[own.Stream]
			st.mu.Lock()
			if p := st.from[own.Tag]; p != nil && !p.hearsay && p.base == 0 {
				all[own.Stream] = beginning{p.begun, p.torn}
			}
			st.mu.Unlock()
		}
	}
	return all
}

// waitReceived waits until what a node has published in a stream up to a number has been received. It is false at the end of ctx, and where some of it was
// published before this node has read the stream. Of a node that is gone nothing may come any more: it is not waited for longer than for what is on its way.
func (n *nodes) waitReceived(ctx context.Context, s *snapshot, to seenPlace) bool {
	if to.Tag == n.tag {
		return true
	}
	if _, live := n.node(to.Tag); !live {
		within, cancel := context.WithTimeout(ctx, receivedWithin)
		defer cancel()
		ctx = within
	}
	st := &n.streams[to.Stream]
	for {
		st.mu.Lock()
		p := st.from[to.Tag]
		if to.Over && (p == nil || p.hearsay && p.last < to.Number) { // the session must not get it when it goes on to a third node
			p = &publisher{base: to.Number, last: to.Number, since: time.Unix(0, to.At), heard: time.Unix(0, to.At), hearsay: true, before: s.beganAfter(to)}
			st.from[to.Tag] = p
		}
		if p != nil && p.last >= to.Number {
			st.mu.Unlock()
			return p.base <= to.Number
		}
		if _, live := n.node(to.Tag); p == nil && !live { // it had left before this node came, or never was in the cluster
			st.mu.Unlock()
			return to.Number == 0
		}
		if st.changed == nil {
			st.changed = make(chan struct{})
		}
		changed := st.changed
		st.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// Kinds of signals: the first byte.
const (
	signalCounters = 'c'
	signalTyping   = 't'
	signalRates    = 'r'
)

// signal tells the other nodes something that may be lost.
func (n *nodes) signal(kind byte, body []byte) {
	n.of.Signal(append(append([]byte{noticeVersion, kind}, n.tag...), body...))
}

// Signaled implements ClusterHandler.
func (n *nodes) Signaled(data []byte) {
	if len(data) < 2+tagLen || data[0] != noticeVersion {
		n.unreadable(data)
		return
	}
	if f := n.signals[data[1]]; f != nil {
		f(string(data[2:2+tagLen]), reader{rest: data[2+tagLen:]})
	}
}

// tellCounters says up to where this node has published, so that the loss of a stream's end is found out.
func (n *nodes) tellCounters(numbers []uint64) {
	var b []byte
	for _, number := range numbers {
		b = binary.AppendUvarint(b, number)
	}
	n.signal(signalCounters, b)
}

func (n *nodes) counted(tag string, body reader) {
	if tag == n.tag {
		return
	}
	for i := range n.streams {
		number := body.uint()
		if body.err != nil {
			return
		}
		st := &n.streams[i]
		st.mu.Lock()
		late := false
		if p := st.from[tag]; p != nil {
			late = p.last < p.expect && p.late < p.expect // a tick later; what is lost is counted when something comes after it
			p.late, p.expect = p.expect, number
		}
		st.mu.Unlock()
		if late {
			n.resync(i)
		}
	}
}
