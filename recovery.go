package chat

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/limit"
)

// recovery is connection state recovery: the events of the last while, and the sessions that were lost in it.
// It is guarded by the namespace's mu.
type recovery struct {
	window time.Duration
	space  *space
	bytes  int64
	limit  int64  // of bytes: the namespace's share of the Hub's
	unread int64  // bytes of replays that are kept for clients who are there, see arrival
	events []kept // by number, ascending
	shelf  shelf
	floor  uint64 // number of the last event that is not kept any more
	now    int64  // when the last event got its number, in nanoseconds since 1970
	aged   uint64 // number of the last event that was a quarter of the window old then, or is not kept any more
	young  int    // index of the event after that
	lost   map[pid]*lostSession
	most   int         // that lost has had since it was made
	sweep  *time.Timer // runs while anything is kept
}

// sentEvents are numbers of events that were put into a client's outbox. A client that is told little has an old offset: what of later events
// is not kept any more it has not missed where it was sent nothing meanwhile.
type sentEvents struct {
	last uint64
	// The latest times in which the client was sent nothing for a quarter of the window: newest first. A connection that dies counts as alive for less than
	// two such times, so that the one in which it died is among them.
	quiet *[2]silence // read only; nil: there was none
}

// silence is between two events that a client was sent, one after the other.
type silence struct{ before, after uint64 }

// add counts an event; aged is the number of the last one of a quarter of the window ago.
func (s *sentEvents) add(number, aged uint64) {
	if s.last <= aged {
		noted := [2]silence{{s.last, number}}
		if s.quiet != nil {
			noted[1] = s.quiet[0]
		}
		s.quiet = &noted
	}
	s.last = number
}

// seen is up to where a client has missed nothing that has seen all up to n; end is where it was lost.
func (s *sentEvents) seen(n, end uint64) uint64 {
	if n >= s.last {
		return max(n, end)
	}
	if s.quiet == nil {
		return n
	}
	for _, q := range s.quiet {
		if n >= q.before && n < q.after {
			return q.after - 1
		}
	}
	return n
}

// lostSession is what stays of a client whose connection broke: little, since whoever comes and goes leaves many.
type lostSession struct {
	at      time.Time
	id      string
	userID  string
	token   string   // its id; empty: none
	given   []string // rooms of the last token
	began   uint32   // see Client
	rooms   []lostRoom
	values  map[any]any
	buckets *limit.Buckets // see rated
	started uint64
	sent    sentEvents
	until   uint64   // the namespace's counter when the client was lost
	unacked []uint64 // numbers of own entries whose ack was not written, in this connection or in one before
	client  *Client  // until its handlers are through
	came    *arrival // nil: it began here
	size    int64
}

// arrival is how a session of another process came here. What its client was sent of what it had missed is numbered by parts, and is kept until it must have read that: a
// connection may die before.
type arrival struct {
	offset string      // that it came with
	number uint64      // of replay as a whole, and of nothing else
	replay []*outgoing // in order, without packets; nil: it had missed nothing, or has read it, or that would be too much to keep
	caught bool        // it had missed something
	size   int64       // of replay
	lost   bool        // its client has gone: it stays as long as the session does
}

// Replays that are kept, in bytes.
const (
	arrivalMost = 64 << 10 // one
	unreadPart  = 4        // all of a namespace are a fourth of recovery.limit at most
)

// keepReplayLocked keeps what a client that has come is being sent, size bytes on the wire.
func (r *recovery) keepReplayLocked(a *arrival, replay []*outgoing, size int) {
	a.caught = len(replay) > 0
	if bytes := int64(2 * size); size <= arrivalMost && r.unread+bytes <= r.limit/unreadPart {
		a.replay, a.size = replay, bytes
		r.forgetLaterLocked(a)
	}
}

// forgetLaterLocked lets go of a replay when a connection that still lives has brought it.
func (r *recovery) forgetLaterLocked(a *arrival) {
	if len(a.replay) == 0 {
		return
	}
	r.unread += a.size
	time.AfterFunc(2*(r.space.hub.set.pingInterval+r.space.hub.set.pingTimeout), func() {
		r.space.mu.Lock()
		defer r.space.mu.Unlock()
		r.unread -= a.size
		if !a.lost {
			a.replay, a.size = nil, 0
		}
	})
}

// forget: it is not to be sent again.
func (a *arrival) forget() {
	if a != nil {
		a.replay = nil
	}
}

// read is how many events of the replay a client with that offset has read. It is false of one that has read them all, and of any other offset.
func (a *arrival) read(sp *space, offset string) (events int, ok bool) {
	switch {
	case a == nil:
		return 0, false
	case offset == a.offset:
		return 0, true
	}
	part, ok := strings.CutPrefix(offset, sp.offset(a.number, 0)+"-")
	n, err := strconv.ParseUint(part, 10, 32)
	return int(n), ok && err == nil
}

// unread is what a client with that offset has not read of the replay, from the event after read on. It is false where that is not known any more.
func (a *arrival) unread(sp *space, offset string) (replay []*outgoing, read int, ok bool) {
	read, ok = a.read(sp, offset)
	switch {
	case !ok:
		return nil, 0, true
	case a.replay == nil && a.caught || read > len(a.replay):
		return nil, 0, false
	}
	return a.replay[read:], read, true
}

func (r *recovery) init(window time.Duration, sp *space) {
	r.window, r.space, r.lost = window, sp, map[pid]*lostSession{}
	r.limit = sp.hub.set.recoveryBytes / int64(len(sp.hub.set.spaces))
}

// tickLocked is called as an event gets its number.
func (r *recovery) tickLocked() {
	r.now = time.Now().UnixNano()
	for old := r.now - int64(r.window/4); r.young < len(r.events) && r.events[r.young].at <= old; r.young++ {
		r.aged = r.events[r.young].number
	}
}

// keepLocked remembers an event.
func (r *recovery) keepLocked(number uint64, to *audience, o *outgoing) {
	if r.window > 0 {
		r.keepSentLocked(number, r.shelf.put(to, o))
	}
}

// eventLocked is an event that is going to be sent, and kept by keepSentLocked.
func (r *recovery) eventLocked() *keptEvent {
	if r.window == 0 {
		return &keptEvent{}
	}
	return r.shelf.event()
}

// keepSentLocked remembers an event that lies on the shelf.
func (r *recovery) keepSentLocked(number uint64, k *keptEvent) {
	if r.window == 0 {
		return
	}
	r.shelf.strip(k)
	size := int64(256 + 2*len(k.args.JSON))
	for _, a := range k.args.Attachments {
		size += int64(len(a))
	}
	for len(r.events) > 0 && r.events[0].at < r.now-int64(r.window) { // the sweep alone would leave them for a quarter longer
		r.dropFirstLocked()
	}
	r.events = append(r.events, kept{number: number, at: r.now, to: &k.to, event: &k.outgoing, size: size})
	r.growLocked(size)
}

// lostRoom is a membership of a session.
type lostRoom struct {
	name  string
	since uint64
}

// restrict takes the rooms out that are not allowed.
func (s *lostSession) restrict(allowed []string) {
	before := len(s.rooms)
	s.rooms = slices.DeleteFunc(s.rooms, func(m lostRoom) bool { return !slices.Contains(allowed, m.name) })
	if len(s.rooms) < before { // what is of which room is not known
		s.came.forget()
	}
}

// saveLocked remembers a client that has just been lost, before it is taken out of its rooms.
func (r *recovery) saveLocked(c *Client, unsent []uint64) {
	if r.window == 0 {
		return
	}
	s := r.shelf.session(c)
	s.at, s.began, s.started, s.until, s.unacked, s.client, s.size = time.Now(), c.began, c.started, r.space.counter, unsent, c, int64(1024+64*len(c.rooms))
	if c.rare != nil {
		s.values = c.rare.values
		if s.came = c.rare.came; s.came != nil {
			s.came.lost = true
			s.size += s.came.size
		}
		s.unacked = slices.Concat(c.rare.unacked, unsent)
		if c.rare.rated != nil {
			s.buckets = c.rare.rated.buckets
		}
	}
	r.lost[c.pid] = s
	r.growLocked(s.size)
}

// throughLocked: the handlers of a client that was lost are.
func (r *recovery) throughLocked(c *Client) {
	if s := r.lost[c.pid]; s != nil && s.client == c {
		s.client = nil
	}
}

func (r *recovery) growLocked(size int64) {
	r.bytes += size
	for r.bytes > r.limit && len(r.events) > 0 {
		r.dropFirstLocked()
	}
	for p, s := range r.lost { // events are all gone, and it is still too much
		if r.bytes <= r.limit {
			break
		}
		r.removeLocked(p, s)
	}
	if r.sweep == nil && !r.space.closed {
		r.sweep = time.AfterFunc(r.window/4, r.sweepOut)
	}
}

// droppedEvent is the last of its origin's that is not kept any more: its number there and here, and when it was kept, in nanoseconds since 1970.
type droppedEvent struct {
	number, here uint64
	at           int64
}

func (r *recovery) dropFirstLocked() {
	k := &r.events[0]
	r.floor = k.number
	r.aged, r.young = max(r.aged, r.floor), max(r.young-1, 0)
	r.bytes -= k.size
	if o := k.event.origin; o.tag != "" {
		if r.space.dropped == nil {
			r.space.dropped = map[place]droppedEvent{}
		}
		r.space.dropped[place{o.tag, o.stream}] = droppedEvent{o.number, k.number, k.at}
	}
	*k = kept{}
	r.events = r.events[1:]
}

func (r *recovery) removeLocked(p pid, s *lostSession) {
	r.bytes -= s.size
	delete(r.lost, p)
}

// sweepOut lets go of what is older than the window.
func (r *recovery) sweepOut() {
	r.space.mu.Lock()
	defer r.space.mu.Unlock()
	if r.space.closed {
		return
	}
	before := time.Now().Add(-r.window)
	r.most = max(r.most, len(r.lost))
	for len(r.events) > 0 && r.events[0].at < before.UnixNano() {
		r.dropFirstLocked()
	}
	for p, s := range r.lost {
		if s.at.Before(before) {
			r.removeLocked(p, s)
		}
	}
	r.lost = shrunk(r.lost, &r.most)
	sp := r.space
	sp.clients, sp.users, sp.rooms = shrunk(sp.clients, &sp.most.clients), shrunk(sp.users, &sp.most.users), shrunk(sp.rooms, &sp.most.rooms)
	if len(r.events) == 0 && len(r.lost) == 0 {
		r.events, r.shelf, r.sweep = nil, shelf{}, nil
		return
	}
	r.sweep = time.AfterFunc(r.window/4, r.sweepOut)
}

// shrunk is m, or a copy where it has had many more entries: a map keeps the room of the most that it has had. most is updated.
func shrunk[K comparable, V any](m map[K]V, most *int) map[K]V {
	if *most < 1024 || len(m) > *most/4 {
		return m
	}
	*most = len(m)
	small := make(map[K]V, len(m)) // maps.Clone copies the room too
	maps.Copy(small, m)
	return small
}

func (r *recovery) stopLocked() {
	if r.sweep != nil {
		r.sweep.Stop()
	}
	r.events, r.shelf, r.lost = nil, shelf{}, nil
}

// findLocked is the session of a pid that user may have back.
func (r *recovery) findLocked(p pid) *lostSession {
	s := r.lost[p]
	if s == nil || time.Since(s.at) > r.window {
		return nil
	}
	return s
}

// eachMissedLocked calls f with the events that a session has missed since offset, in order, until f is false. It is false then, and where what was missed is not known any
// more.
func (r *recovery) eachMissedLocked(s *lostSession, offset string, f func(*kept) bool) bool {
	from, ok := r.position(s, offset)
	if !ok || from < r.floor {
		return false
	}
	i, _ := slices.BinarySearchFunc(r.events, from+1, func(k kept, n uint64) int {
		switch {
		case k.number < n:
			return -1
		case k.number > n:
			return 1
		}
		return 0
	})
	for ; i < len(r.events); i++ {
		if k := &r.events[i]; !k.event.past && s.missed(k) && !f(k) {
			return false
		}
	}
	return true
}

// replayLocked collects what a session has missed since offset, in order. ok is false where that is not known
// any more, or more than an outbox holds.
func (r *recovery) replayLocked(s *lostSession, offset string, c *Client) (packets []*engineio.Packet, ok bool) {
	c.started, c.sent = r.space.counter, sentEvents{} // but for what is replayed it has seen all
	size, at := 0, int64(0)
	unread, read, ok := s.came.unread(r.space, offset)
	if !ok {
		return nil, false
	}
	if len(unread) > 0 {
		c.started = s.started
		packets, size = c.packetsOf(unread, s.came.number, read)
	}
	ok = r.eachMissedLocked(s, offset, func(k *kept) bool {
		p := k.event.packet(c)
		if size += p.Size(); size > r.space.hub.set.limits.Outbox {
			return false
		}
		if len(packets) == 0 {
			c.started = k.number - 1
		}
		packets = append(packets, p)
		aged := uint64(0)
		if k.at-at >= int64(r.window/4) {
			aged = c.sent.last
		}
		c.sent.add(k.number, aged)
		at = k.at
		return true
	})
	if !ok {
		return nil, false
	}
	return packets, true
}

// position is the number of the last event that the client has seen. No offset, or one from before the
// session, means its start.
func (r *recovery) position(s *lostSession, offset string) (uint64, bool) {
	seen := s.started
	came := s.came
	switch _, on := came.read(r.space, offset); {
	case on: // it was sent nothing here, or has not read it all
	case offset != "":
		epoch, number, ok := strings.Cut(offset, ".")
		n, err := strconv.ParseUint(number, 10, 64)
		if !ok || err != nil || epoch != r.space.epoch || n > r.space.counter {
			return 0, false
		}
		if came != nil && came.caught && n < came.number { // the offset is from before it was on other nodes: what it came back with was lost
			return 0, false
		}
		seen = max(n, s.started)
	case came != nil && came.caught:
		return 0, false
	}
	past := s.sent.seen(seen, s.until)
	for _, n := range s.unacked {
		if n > seen {
			past = min(past, n-1)
		}
	}
	return max(seen, past), true
}

// missed tells whether an event was meant for the session.
func (s *lostSession) missed(k *kept) bool {
	to := k.to
	if slices.Contains(to.notUsers, s.userID) || slices.ContainsFunc(to.notRooms, s.inRoom) {
		return false
	}
	if slices.Contains(to.notClients, s.id) && !slices.Contains(s.unacked, k.number) {
		return false
	}
	if to.everybody() {
		return true
	}
	return slices.Contains(to.clients, s.id) || slices.Contains(to.users, s.userID) ||
		slices.ContainsFunc(to.rooms, func(name string) bool {
			return slices.ContainsFunc(s.rooms, func(m lostRoom) bool { return m.name == name && m.since < k.number })
		})
}

func (s *lostSession) inRoom(name string) bool {
	return slices.ContainsFunc(s.rooms, func(m lostRoom) bool { return m.name == name })
}
