package chat

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

// space is one namespace: its clients, users and rooms, and the one order of its events.
type space struct {
	hub      *core
	name     string
	set      *spaceSettings
	handlers map[string]Handler // read only
	any      Handler
	rates    *rates // nil: none
	// pipelined: chat_message is the library's own, with nothing of the host's around it; see pipeline.
	pipelined bool
	epoch     string // of offsets: they mean nothing to another process

	// mu guards what follows. Whoever emits holds it from the moment an event gets its number until the event
	// is in every outbox: an offset then says exactly what a client has seen, since events enter each outbox
	// in the order of their numbers. Nothing under it blocks: Session.Send and the methods of Link only
	// queue.
	mu         sync.Mutex
	closed     bool
	clients    map[string]*Client // by sid
	users      map[string]*Client // by user id, the rest by nextOfUser; see ofUserLocked
	rooms      map[string]*room
	most       struct{ clients, users, rooms int } // that these maps have had since they were made; see recovery.sweepOut
	perAddr    map[string]int                      // clients of an address, those on the way in included
	arriving   map[string]int                      // clients on the way in, by user id
	counter    uint64                              // number of the last event, out of the Hub's
	batch      engineio.Batch
	recovery   recovery
	typing     map[typist]*time.Timer
	asked      map[string]chan struct{} // rooms whose presence of before the start the store was asked for; closed when that is known
	askedSince time.Time
	later      *time.Timer // ends the wait of presence in large rooms; nil: nothing waits

	// In a cluster:
	seen        map[place]uint64       // up to where events of each node are delivered and kept here
	dropped     map[place]droppedEvent // up to where they are not kept any more
	typingThere map[remoteTypist]*time.Timer
}

// room is what the Hub knows of a room that has somebody in it.
type room struct {
	name    string
	members []*Client
	users   map[string]*presence
	most    int       // users that users has room for
	asking  *asking   // who is there on other nodes; nil: that is known, or the Hub is alone
	asked   bool      // they were asked before
	empty   time.Time // in a cluster, since when nobody of this node has been in it
}

const epochLen = 8

func newSpace(h *core, set *spaceSettings) *space {
	epoch, _ := newSession()
	epoch = epoch[:epochLen]
	if h.nodes != nil { // which a client's offset then leads to
		epoch = h.nodes.tag + epoch
	}
	sp := &space{
		hub: h, name: set.name, set: set, handlers: make(map[string]Handler), epoch: epoch,
		clients: map[string]*Client{}, users: map[string]*Client{}, rooms: map[string]*room{},
		perAddr: map[string]int{}, arriving: map[string]int{}, typing: map[typist]*time.Timer{}, rates: newRates(set.rates),
	}
	sp.shareRates()
	sp.recovery.init(h.set.recoveryWindow, sp)
	for name, h := range builtin {
		sp.handlers[name] = chain(h, set.use)
	}
	for name, h := range set.handlers {
		sp.handlers[name] = chain(h, set.use)
	}
	sp.pipelined = set.handlers["chat_message"] == nil && len(set.use) == 0
	if set.any != nil {
		sp.any = chain(set.any, set.use)
	}
	return sp
}

// outgoing is an event on its way. Whatever the number of receivers it is encoded at most twice: with the
// offset of connection state recovery as its last argument, and without.
type outgoing struct {
	space  *space
	name   string
	args   socketio.Encoded
	number uint64 // what its offset says; 0: it has none
	seq    uint64 // of the log's entry that it brings; 0: it brings none
	origin origin // in a cluster; zero: it was not published
	past   bool   // published before this node was there: for sessions of other nodes alone
	part   uint32 // which of a replay this is that has number as a whole; 0: its last, or of none
	author string // of the log's entry that it brings; empty: it brings none, or nobody's
	encodings
	aliased map[uint8]*encodings // for clients that know the namespace by another name
}

type encodings struct{ modern, plain *engineio.Packet }

func (o *outgoing) packet(c *Client) *engineio.Packet {
	to := &o.encodings
	if c.alias != 0 {
		to = o.encodingsFor(c.alias)
	}
	if o.number == 0 || c.protocol < 5 {
		if to.plain == nil {
			to.plain = socketio.EventPacket(c.wireName(), o.name, o.args, nil, "")
		}
		return to.plain
	}
	if to.modern == nil {
		to.modern = socketio.EventPacket(c.wireName(), o.name, o.args, nil, o.space.offset(o.number, o.part))
	}
	return to.modern
}

func (o *outgoing) encodingsFor(alias uint8) *encodings {
	to := o.aliased[alias]
	if to == nil {
		if o.aliased == nil {
			o.aliased = map[uint8]*encodings{}
		}
		to = &encodings{}
		o.aliased[alias] = to
	}
	return to
}

// emit encodes an event and sends it to an audience.
func (sp *space) emit(ctx context.Context, to *audience, event string, args []any) error {
	if reservedEvent(event) {
		return Errorf(InvalidPayload, "event name %q is reserved by the protocol", event)
	}
	enc, err := socketio.Encode(args...)
	if err != nil {
		return err
	}
	var notice []byte
	if sp.hub.nodes != nil && !sp.here(to) {
		notice = sp.eventNotice(ctx, to, event, enc)
	}
	begin := sp.hub.now()
	sp.mu.Lock()
	if sp.closed {
		sp.mu.Unlock()
		return ErrClosed
	}
	if notice == nil && sp.hub.nodes != nil && !sp.hereLocked(to) { // one of them has left meanwhile, and may be elsewhere
		notice = sp.eventNotice(ctx, to, event, enc)
	}
	o := &outgoing{}
	sp.numberLocked(o, event, enc)
	sp.publishLocked(to, o, notice)
	n := sp.deliverLocked(to, o, true)
	sp.bridgeLocked(to, event, enc)
	sp.mu.Unlock()
	sp.hub.delivered(ctx, &Delivery{Namespace: sp.name, Event: event, Room: to.room(), Clients: n, Bytes: len(enc.JSON), Begin: begin})
	return nil
}

// numberLocked makes o the next event, with a number and so an offset.
func (sp *space) numberLocked(o *outgoing, event string, args socketio.Encoded) {
	sp.counter = sp.hub.counter.Add(1)
	o.space, o.name, o.args = sp, event, args
	if sp.recovery.window > 0 {
		sp.recovery.tickLocked()
		o.number = sp.counter
	}
}

// offset is that of the event with a number. See arrival for those that have parts.
func (sp *space) offset(number uint64, part uint32) string {
	var buf [48]byte
	b := strconv.AppendUint(append(append(buf[:0], sp.epoch...), '.'), number, 10)
	if part > 0 {
		b = strconv.AppendUint(append(b, '-'), uint64(part), 10)
	}
	return string(b)
}

// sendLocked puts an event into the outboxes of an audience; keep is for what a recovery replays.
func (sp *space) sendLocked(to *audience, event string, args socketio.Encoded, keep bool) (clients int) {
	o := &outgoing{}
	sp.numberLocked(o, event, args)
	return sp.deliverLocked(to, o, keep)
}

func (sp *space) deliverLocked(to *audience, o *outgoing, keep bool) (clients int) {
	clients = sp.queueLocked(to, o, keep)
	sp.batch.Flush()
	return clients
}

// queueLocked is deliverLocked but for the writing, which sp.batch is told of afterwards.
func (sp *space) queueLocked(to *audience, o *outgoing, keep bool) (clients int) {
	sp.eachLocked(to, func(c *Client) {
		sp.batch.Send(c.sess, o.packet(c))
		c.sent.add(sp.counter, sp.recovery.aged)
		clients++
	})
	sp.hub.deliveries.Add(int64(clients))
	if keep {
		sp.recovery.keepLocked(sp.counter, to, o)
	}
	return clients
}

// subscribeLocked puts a client into a room. It returns the user's presence in it when that has just begun.
func (sp *space) subscribeLocked(c *Client, name string) *presence {
	if c.membershipLocked(name) != nil {
		return nil
	}
	r := sp.roomLocked(name)
	r.empty = time.Time{}
	c.rooms = append(c.rooms, membership{room: r, index: len(r.members), since: sp.counter})
	r.members = append(r.members, c)
	for _, f := range sp.set.onJoin {
		c.push(job{hook: func() { f(c.handlerContext(), c, name) }})
	}
	return sp.arriveLocked(r, c)
}

// roomLocked is a room that somebody is about to be in.
func (sp *space) roomLocked(name string) *room {
	r := sp.rooms[name]
	if r == nil {
		r = &room{name: name, users: map[string]*presence{}}
		if sp.hub.nodes != nil {
			r.empty = time.Now()
		}
		sp.rooms[name] = r
		sp.most.rooms = max(sp.most.rooms, len(sp.rooms))
		sp.hub.journal.open(sp, name)
		sp.askPresenceLocked(r)
	}
	return r
}

// unsubscribeLocked takes a client out of a room; dropped is for one whose connection broke and who may be back.
func (sp *space) unsubscribeLocked(c *Client, name string, dropped bool) {
	m := c.membershipLocked(name)
	if m == nil {
		return
	}
	old := c.removeMembershipLocked(m)
	r, last := old.room, len(old.room.members)-1
	moved := r.members[last]
	r.members[old.index] = moved
	r.members[last] = nil
	if r.members = r.members[:last]; last == 0 && sp.hub.nodes != nil {
		r.empty = time.Now()
	}
	if moved != c {
		moved.membershipLocked(name).index = old.index
	}
	sp.stopTypingLocked(typist{name, c.userID})
	for _, f := range sp.set.onLeave {
		c.push(job{hook: func() { f(c.handlerContext(), c, name) }})
	}
	sp.leaveLocked(r, c, dropped)
}

// watched tells whether anybody could miss an entry of a room: somebody who is in it or may come back to it.
func (sp *space) watched(room string) bool {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.rooms[room] != nil || len(sp.recovery.lost) > 0
}

// dropRoomLocked forgets a room that nobody is in. In a cluster dropEmpty does, later.
func (sp *space) dropRoomLocked(r *room) {
	switch {
	case len(r.members) > 0 || sp.rooms[r.name] != r:
	case sp.hub.nodes != nil && !sp.closed:
	case len(r.users) == 0:
		sp.forgetRoomLocked(r)
	}
}

func (sp *space) forgetRoomLocked(r *room) {
	delete(sp.rooms, r.name)
	sp.outliveLocked(r.name)
}

// outliveLocked: who comes back to a room by recovery counts on its log, however long before nothing had been written there.
func (sp *space) outliveLocked(room string) {
	j := &sp.hub.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if l := j.logs[roomKey{sp.name, room}]; l != nil {
		l.used = time.Now()
	}
}

// depart takes out a client whose connection has ended.
func (sp *space) depart(c *Client, reason engineio.Reason, unsent []uint64) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	dropped := reason != socketio.ReasonClientDisconnect && reason != socketio.ReasonServerDisconnect
	c.gone = true
	if c.rare != nil && c.rare.endLife != nil {
		c.rare.endLife()
	}
	if c.rare != nil && c.rare.expiry != nil {
		c.rare.expiry.Stop()
	}
	if dropped && c.pid != (pid{}) && !sp.closed {
		sp.recovery.saveLocked(c, unsent)
	}
	for len(c.rooms) > 0 {
		sp.unsubscribeLocked(c, c.rooms[len(c.rooms)-1].room.name, dropped)
	}
	sp.forgetLocked(c)
	if !c.nameless() {
		sp.talliedLocked(PerUser, c.userID)
	}
	if c.rare != nil && c.rare.address != "" {
		release(sp.perAddr, c.rare.address)
		sp.talliedLocked(PerAddress, c.rare.address)
	}
}

// ofUserLocked is the first of a user's clients, from which nextOfUser leads to the others. Whoever is known
// by nothing but the connection has an id made of the sid, and is found by that: the map of users holds the
// others.
func (sp *space) ofUserLocked(id string) *Client {
	if isAnonymous(id) {
		if c := sp.clients[id[len(anonymousPrefix):]]; c != nil && c.nameless() {
			return c
		}
	}
	return sp.users[id]
}

// nameless: the user's id is made of the sid.
func (c *Client) nameless() bool {
	return isAnonymous(c.userID) && c.userID[len(anonymousPrefix):] == c.id
}

func (sp *space) rememberLocked(c *Client) {
	sp.clients[c.id] = c
	sp.most.clients = max(sp.most.clients, len(sp.clients))
	if !c.nameless() {
		c.nextOfUser = sp.users[c.userID]
		sp.users[c.userID] = c
		sp.most.users = max(sp.most.users, len(sp.users))
	}
}

func (sp *space) forgetLocked(c *Client) {
	delete(sp.clients, c.id)
	if c.nameless() {
		return
	}
	if sp.users[c.userID] == c {
		if c.nextOfUser == nil {
			delete(sp.users, c.userID)
		} else {
			sp.users[c.userID] = c.nextOfUser
		}
		return
	}
	for p := sp.users[c.userID]; p != nil; p = p.nextOfUser {
		if p.nextOfUser == c {
			p.nextOfUser = c.nextOfUser
			return
		}
	}
}

// close ends the namespace: nothing is sent and no timer runs from now on.
func (sp *space) close() {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.closed = true
	sp.recovery.stopLocked()
	sp.rates.close()
	if sp.later != nil && sp.later.Stop() {
		sp.batch.FlushLater()
	}
	for _, t := range sp.typing {
		t.Stop()
	}
	clear(sp.typing)
	for _, t := range sp.typingThere {
		t.Stop()
	}
	clear(sp.typingThere)
	for _, c := range sp.clients { // that the end of Shutdown's context cuts off
		if c.rare != nil && c.rare.expiry != nil {
			c.rare.expiry.Stop()
		}
	}
	for _, r := range sp.rooms {
		for _, p := range r.users {
			if p.grace != nil {
				p.grace.Stop()
			}
		}
	}
}
