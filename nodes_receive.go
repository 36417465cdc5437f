package chat

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/parleychat/chat/internal/socketio"
)

// origin is an event's place among those that its node has published in a stream; zero for what was not published.
type origin struct {
	tag    string
	stream int
	number uint64
}

// place is where an origin's number counts.
type place struct {
	tag    string
	stream int
}

// sawLocked notes that an event is delivered and kept here: who comes from here to another node, or the other way round, has seen it.
func (sp *space) sawLocked(o origin) {
	if sp.seen == nil {
		sp.seen = map[place]uint64{}
	}
	sp.seen[place{o.tag, o.stream}] = o.number
}

// take applies a notice of another node.
func (n *nodes) take(stream int, data []byte) {
	note, err := readNotice(data)
	if err != nil {
		n.unreadable(data)
		return
	}
	if note.kind == noticePulse {
		return
	}
	sp := n.hub.spaces[note.space]
	ctx := context.Background()
	if note.request != "" {
		ctx = context.WithValue(ctx, requestKey{}, note.request)
	}
	switch {
	case note.kind == noticeRevoked:
		n.takeRevoked(&note.body)
	case note.kind == noticeErased:
		n.hub.eraseKept(note.body.string())
	case sp == nil: // nodes that know another namespace are of another version
	case note.kind == noticeEvent:
		sp.takeEvent(ctx, &note, stream)
	case note.kind == noticeEntry:
		sp.takeEntry(ctx, &note)
	case note.kind == noticePresence:
		sp.takePresenceNews(&note.body)
	case note.kind == noticeAct:
		sp.takeAct(&note.body)
	case note.kind == noticeGrown:
		if room := note.body.string(); room != "" {
			n.hub.journal.grown(sp.name, room)
		}
	default:
		note.body.fail()
	}
	if note.body.err != nil {
		n.unreadable(data)
	}
}

// Events.

func (sp *space) eventNotice(ctx context.Context, to *audience, name string, enc socketio.Encoded) []byte {
	b := newNotice(noticeEvent, sp.hub.nodes.tag, RequestID(ctx), sp.name)
	b = appendStrings(to.append(b), name)
	return appendEncoded(b, enc)
}

func (sp *space) takeEvent(ctx context.Context, note *notice, stream int) {
	r := &note.body
	to := r.audience()
	name, enc := r.string(), r.encoded()
	if r.err != nil || name == "" {
		r.fail()
		return
	}
	begin := sp.hub.now()
	sp.mu.Lock()
	if sp.closed {
		sp.mu.Unlock()
		return
	}
	o := &outgoing{}
	sp.numberLocked(o, name, enc)
	o.origin = origin{note.tag, stream, note.number}
	clients := sp.queueLocked(to, o, true)
	sp.batch.FlushHelped()
	sp.sawLocked(o.origin)
	sp.mu.Unlock()
	sp.hub.delivered(ctx, &Delivery{
		Namespace: sp.name, Event: name, Room: to.room(), Clients: clients, Bytes: len(enc.JSON), Begin: begin,
	})
}

// takePast keeps an event that was published before this node was there.
func (sp *space) takePast(note *notice, stream int) {
	r := &note.body
	to := r.audience()
	name, enc := r.string(), r.encoded()
	if r.err != nil || name == "" {
		sp.hub.nodes.unreadable(enc.JSON)
		return
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.closed {
		return
	}
	o := &outgoing{past: true}
	sp.numberLocked(o, name, enc)
	o.origin = origin{note.tag, stream, note.number}
	sp.recovery.keepLocked(sp.counter, to, o)
	sp.sawLocked(o.origin)
}

// room is the one room that the audience is; empty: it is not one.
func (a *audience) room() string {
	if len(a.rooms) == 1 && len(a.users)+len(a.clients) == 0 {
		return a.rooms[0]
	}
	return ""
}

// publishLocked queues an emit for the other nodes, where it may be for any of their clients.
func (sp *space) publishLocked(to *audience, o *outgoing, notice []byte) {
	if notice == nil || to.none || sp.hereLocked(to) {
		return
	}
	n := sp.hub.nodes
	stream := n.stream(sp.name, to.room())
	o.origin = origin{n.tag, stream, n.relay.add(stream, notice, nil)}
	sp.sawLocked(o.origin)
}

// hereLocked tells whether an audience is of clients of this node alone.
func (sp *space) hereLocked(to *audience) bool { return to.ofClients() && sp.allHereLocked(to.clients) }

// ofClients: of clients by their sids, and of nobody else.
func (a *audience) ofClients() bool { return len(a.clients) > 0 && len(a.rooms)+len(a.users) == 0 }

func (sp *space) allHereLocked(sids []string) bool {
	return !slices.ContainsFunc(sids, func(sid string) bool { return sp.clients[sid] == nil })
}

// Entries.

// notice is nil for an entry that cannot be encoded: deliverOne says so.
func (s *appended) notice(tag string) []byte {
	e := &s.Entry
	text, err := s.json()
	if err != nil {
		return nil
	}
	b := newNotice(noticeEntry, tag, RequestID(s.context()), e.Namespace)
	b = appendStrings(b, e.Room, e.ID, e.UserID)
	b = binary.AppendUvarint(b, e.Seq)
	return appendBytes(b, text)
}

func (sp *space) takeEntry(ctx context.Context, note *notice) {
	r := &note.body
	e := Entry{Kind: KindMessage, Namespace: sp.name, Room: r.string(), ID: r.string(), UserID: r.string(), Seq: r.uint()}
	text := r.copied()
	if r.err != nil || e.Seq == 0 || len(text) == 0 {
		r.fail()
		return
	}
	sp.hub.journal.arrive(sp, appended{cause: ctx, text: text, Appended: &Appended{Entry: e, Repeated: true}})
}

// Acts on clients.

const (
	actJoin byte = iota + 1
	actLeave
	actDisconnect
)

func (t Target) act(ctx context.Context, what byte, room string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sp := t.space
	n := sp.hub.nodes
	here := sp.here(&t.to)
	acted := sp.act(&t.to, what, room) // first: the cluster may not answer
	var err error
	if n != nil && !t.to.none && !here {
		b := append(t.to.append(newNotice(noticeAct, n.tag, RequestID(ctx), sp.name)), what)
		ctx, cancel := context.WithTimeout(ctx, sp.hub.set.timeouts.Store)
		defer cancel()
		err = n.relay.publish(ctx, n.stream(sp.name, t.to.room()), appendStrings(b, room))
	}
	t.bridge(ctx, what, room)
	return errors.Join(acted, err)
}

// here is hereLocked for who does not hold the lock.
func (sp *space) here(to *audience) bool {
	if !to.ofClients() {
		return false
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.hereLocked(to)
}

func (sp *space) takeAct(r *reader) {
	to, what, room := r.audience(), r.byte(), r.string()
	if r.err != nil || what < actJoin || what > actDisconnect || what != actDisconnect && !validRoom(room) {
		r.fail()
		return
	}
	_ = sp.act(to, what, room) // a room's name is its only error
}

// Revocations and erasures.

func (n *nodes) takeRevoked(r *reader) {
	var rev Revocation
	if json.Unmarshal(r.bytes(), &rev) != nil || rev.UserID == "" && rev.TokenID == "" {
		r.fail()
		return
	}
	if !n.hub.handlers.enter() {
		return
	}
	go func() {
		defer n.hub.handlers.leave()
		n.hub.revokeHere(rev)
	}()
}

// tell publishes a notice of the whole Hub.
func (n *nodes) tell(ctx context.Context, kind noticeKind, body []byte) error {
	if n == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, n.hub.set.timeouts.Store)
	defer cancel()
	return n.relay.publish(ctx, n.stream("", ""), append(newNotice(kind, n.tag, RequestID(ctx), ""), body...))
}

// Typing.

func (n *nodes) tellTyping(sp *space, who typist, on bool) {
	n.signal(signalTyping, appendBool(appendStrings(nil, sp.name, who.room, who.user), on))
}

func (n *nodes) typed(tag string, r reader) {
	sp, who := n.hub.spaces[r.string()], typist{room: r.string(), user: r.string()}
	on := r.bool()
	if r.err != nil || sp == nil || tag == n.tag {
		return
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.closed {
		return
	}
	key := remoteTypist{tag, who}
	t := sp.typingThere[key]
	switch {
	case t == nil && !on:
		return
	case t != nil && t.Stop() && on:
		t.Reset(typingThere)
		return
	}
	delete(sp.typingThere, key)
	if !on {
		sp.showTypingLocked(who, false)
		return
	}
	if sp.typingThere == nil {
		sp.typingThere = map[remoteTypist]*time.Timer{}
	}
	var timer *time.Timer
	timer = time.AfterFunc(typingThere, func() { // the node did not say that it was over
		sp.mu.Lock()
		defer sp.mu.Unlock()
		if sp.typingThere[key] == timer {
			delete(sp.typingThere, key)
			if !sp.closed {
				sp.showTypingLocked(who, false)
			}
		}
	})
	sp.typingThere[key] = timer
	sp.showTypingLocked(who, true)
}

// typingThere is how long another node's typing lasts without being said again.
const typingThere = typingFor + time.Second

// remoteTypist is a typist on another node.
type remoteTypist struct {
	tag string
	who typist
}
