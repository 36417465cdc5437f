package chat

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// In a cluster a client may come back to another node than the one that it was lost on. That one is asked for the session and for what was missed; what
// it has not seen itself is added by the node that asks, from its own events: each knows up to where the other has seen those of every node (space.seen).

const (
	handoverWithin = 3 * time.Second         // to find a session and to catch up with its node
	handoverAnswer = 1500 * time.Millisecond // of one node: one that has died has its lease for a while
	handoverSilent = 5 * time.Second         // that a node is not asked which did not answer
	handoverAskAll = 16                      // nodes at most are asked for a session whose node is not known
	newsOverlap    = time.Second             // of presence in large rooms: its events have no common numbers
)

// sessionQuestion asks for a session, which ends there. The pid's knowledge is what gives it away: see pid.
type sessionQuestion struct {
	Space, PID, ID, Offset string
	User                   User // but for its Data
}

// handover is a session that goes to another node. A zero one is none.
type handover struct {
	Snapshot *snapshot
	Missed   []missedEvent // in order
}

// missedEvent is one that the session's node has had for it, and that it has not seen.
type missedEvent struct {
	Name string
	argsJSON
}

// seenPlace is up to where the session's node has had what a node has published.
type seenPlace struct {
	Tag    string `json:"t"`
	Stream int    `json:"s"`
	Number uint64 `json:"n"`
	Over   bool   `json:"o,omitempty"` // the node is gone: who has nothing of it gets nothing more
	At     int64  `json:"a,omitempty"` // of one that is gone: when something came last, in nanoseconds since 1970
	Read   bool   `json:"r,omitempty"` // of the session's node itself: it has received what it published first, and with that all that came after it up to now

	// Which of all notices of the stream that the session's node has received was the node's first, and the last of one that is gone; 0: not known. A session that began on
	// a node after another's last notice is not for what that one has published, however late others received it.
	First  uint64 `json:"f,omitempty"`
	Latest uint64 `json:"l,omitempty"`
}

// seenLocked is up to where the namespace has everything, for another node: not of events alone, or of a node that published none of late it would not be
// known that there is nothing to wait for.
func (sp *space) seenLocked() []seenPlace {
	n := sp.hub.nodes
	if n == nil {
		return nil
	}
	seen := n.received()
	for i := range seen { // an event counts as received a moment after it was delivered
		p := &seen[i]
		p.Number = max(p.Number, sp.seen[place{p.Tag, p.Stream}])
	}
	return seen
}

// answerSession gives a lost session away, which is then nowhere else. One whose connection counts as alive here is cut first.
func (n *nodes) answerSession(ctx context.Context, q sessionQuestion) (handover, error) {
	sp := n.hub.spaces[q.Space]
	secret, _, _ := parsePID(q.PID)
	if sp == nil || secret == (pid{}) || sp.recovery.window == 0 {
		return handover{}, nil
	}
	t := &ticket{space: sp, pid: secret, sid: q.ID, user: q.User, values: ctx, proto: 5}
	sp.findLost(ctx, t)
	sp.mu.Lock()
	defer sp.mu.Unlock()
	a := sp.handoverLocked(t, secret, q.Offset)
	if n.hub.draining.Load() && a.Snapshot != nil {
		sp.mu.Unlock()
		withdrawn := n.hub.keeping.withdraw(ctx, n.hub, sp.sessionKey(secret))
		sp.mu.Lock()
		if !withdrawn {
			return handover{}, nil
		}
	}
	if a.Snapshot == nil || sp.recovery.lost[secret] != t.lost {
		return handover{}, nil
	}
	sp.recovery.removeLocked(secret, t.lost)
	return a, nil
}

// handoverLocked is none where the session cannot be had elsewhere.
func (sp *space) handoverLocked(t *ticket, secret pid, offset string) handover {
	s := t.lost
	if s == nil || sp.recovery.lost[secret] != s || len(s.values) > 0 { // what the host has Set stays in this process
		return handover{}
	}
	s.restrict(t.allowed)
	a := handover{Snapshot: sp.snapshotLocked(s.id, s.userID, s.given, s.began, t.allowed)}
	if a.Snapshot == nil {
		return handover{}
	}
	room := sp.hub.set.limits.Outbox
	unread, _, ok := s.came.unread(sp, offset)
	if !ok {
		return handover{}
	}
	for _, o := range unread {
		a.Missed = append(a.Missed, missedEvent{o.name, newArgsJSON(o.args)})
		room -= len(o.args.JSON)
	}
	ok = sp.recovery.eachMissedLocked(s, offset, func(k *kept) bool {
		a.Missed = append(a.Missed, missedEvent{k.event.name, newArgsJSON(k.event.args)})
		room -= int(k.size) / 2
		return room >= 0
	})
	if !ok {
		return handover{}
	}
	return a
}

// fetch looks for a session of another node: at that node, or at the keeper, which there is.
func (sp *space) fetch(ctx context.Context, t *ticket) (a handover) {
	h := sp.hub
	_, away := h.nodes.isAway() // then nobody would answer in time
	if n := h.nodes; n != nil && !away {
		q := sessionQuestion{Space: sp.name, PID: t.pid.text(t.sid, ""), ID: t.sid, User: t.user, Offset: t.offset}
		q.User.Data = nil
		for _, tag := range n.holders(t) {
			if n.isSilent(tag) {
				continue
			}
			asking, cancel := context.WithTimeout(ctx, handoverAnswer)
			a, err := ask[handover](asking, n, tag, "session", q)
			n.silentNow(tag, asking.Err() != nil && ctx.Err() == nil)
			cancel()
			if err != nil {
				if !errors.Is(err, ErrNoNode) { // as in every roll-out: it has just left, and kept what it had
					n.failed("ask for a session", err)
				}
			} else if a.Snapshot != nil && a.Snapshot.ID == t.sid && sp.sameUser(a.Snapshot.User, t.user.ID) {
				return a
			}
		}
	}
	value, err := h.take(ctx, sp.sessionKey(t.pid))
	if err != nil {
		h.log().ErrorContext(ctx, "chat: a session was not looked up", "error", err)
		return a
	}
	var s snapshot
	if value == nil || json.Unmarshal(value, &s) != nil || s.ID != t.sid || !sp.sameUser(s.User, t.user.ID) || !s.seenAll(t.offset) {
		return a
	}
	return handover{Snapshot: &s}
}

// holders are the nodes that may have a session, the likeliest first: the one whose offset the client has, the one where it began; then, while there are few, the others.
func (n *nodes) holders(t *ticket) (tags []string) {
	others := n.others()
	add := func(tag string) {
		if slices.Contains(others, tag) && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	if len(t.offset) > tagLen {
		add(t.offset[:tagLen])
	}
	add(t.home)
	if len(others) <= handoverAskAll {
		for _, tag := range others {
			add(tag)
		}
	}
	return tags
}

// isSilent tells whether a node did not answer of late: its clients are many, and shall not all wait.
func (n *nodes) isSilent(tag string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Since(n.silent[tag]) < handoverSilent
}

func (n *nodes) silentNow(tag string, yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if yes {
		n.silent[tag] = time.Now()
	} else {
		delete(n.silent, tag)
	}
}

// caughtUp waits until what a session's node has seen is seen here, too. It is false where that cannot be known.
func (sp *space) caughtUp(ctx context.Context, s *snapshot) bool {
	n := sp.hub.nodes
	if n == nil {
		return true
	}
	if n.leaseName() == "" { // what was published before it was there may be on its way still
		return false
	}
	for _, p := range s.Seen {
		if p.Stream < 0 || p.Stream >= len(n.streams) || !n.waitReceived(ctx, s, p) {
			return false
		}
	}
	return n.knowsAll(s)
}

// reads is the tag of the session's node, where that has all of a stream since its own first notice.
func (s *snapshot) reads(stream int) string {
	for _, p := range s.Seen {
		if p.Read && p.Stream == stream {
			return p.Tag
		}
	}
	return ""
}

// beganAfter are the nodes whose first notice the session's node has received after the last one of a node that is gone.
func (s *snapshot) beganAfter(over seenPlace) (tags []string) {
	for _, p := range s.Seen {
		if over.Latest > 0 && p.Stream == over.Stream && p.First > over.Latest {
			tags = append(tags, p.Tag)
		}
	}
	return tags
}

// seenNumbers is Seen by the places.
func (s *snapshot) seenNumbers() map[place]uint64 {
	numbers := make(map[place]uint64, len(s.Seen))
	for _, p := range s.Seen {
		numbers[place{p.Tag, p.Stream}] = p.Number
	}
	return numbers
}

// sinceLocked appends the events that a session's node had not seen, in their order here. It is false where some of them are not kept any more.
func (sp *space) sinceLocked(to []*outgoing, r *revival) ([]*outgoing, bool) {
	if sp.hub.nodes == nil {
		return to, true
	}
	seen := r.seenNumbers()
	began := sp.hub.nodes.began(&r.snapshot)
	old := func(from place, number uint64, at int64) bool { // the session's node, which had nothing of the event's, began after it
		if b, ok := began[from.stream]; ok && from.tag != sp.hub.nodes.tag { // its own events this node has before the stream has them
			return number <= b.counter
		}
		return at <= r.Born.UnixNano()
	}
	for at, last := range sp.dropped { // what the session's node had nothing of, though both were there, the session has not seen either
		if number, known := seen[at]; known && last.number > number || !known && !old(at, last.here, last.at) {
			return to, false
		}
	}
	s := &lostSession{id: r.ID, userID: r.User}
	for i := range r.rooms {
		s.rooms = append(s.rooms, lostRoom{name: r.rooms[i].name})
	}
	news := r.asked.Add(-newsOverlap).UnixNano()
	for i := range sp.recovery.events {
		k := &sp.recovery.events[i]
		o := k.event.origin
		from := place{o.tag, o.stream}
		number, known := seen[from]
		switch {
		case k.event.seq != 0: // the room's log has it
			continue
		case o.tag == "" && (k.at < news || r.comersOf(k)), o.tag != "" && known && o.number <= number, o.tag != "" && !known && old(from, k.number, k.at):
			continue
		}
		if s.missed(k) {
			to = append(to, &outgoing{space: sp, name: k.event.name, args: k.event.args})
		}
	}
	return to, true
}

// comersOf tells whether an event is of presence in a room of which it is known otherwise who is there: see space.comersLocked.
func (r *revival) comersOf(k *kept) bool {
	return (k.event.name == "user_joined" || k.event.name == "user_left") &&
		slices.ContainsFunc(r.rooms, func(rr revivedRoom) bool { return rr.whole && slices.Contains(k.to.rooms, rr.name) })
}

// missedThere are the events that a session's node has given along.
func (a *handover) missedThere(sp *space) (events []*outgoing, err error) {
	for _, e := range a.Missed {
		enc, ok := e.encoded()
		if !ok || e.Name == "" {
			return nil, errors.New("chat: an event of a session cannot be read")
		}
		events = append(events, &outgoing{space: sp, name: e.Name, args: enc})
	}
	return events, nil
}
