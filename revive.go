package chat

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/socketio"
)

// A session that Shutdown closes goes to the store, where that is a Keeper, or to the cluster: its client recovers on whichever node it comes back to. That node
// has the rooms' entries from the store. Without a cluster it knows nothing of other events, but for presence: who was in the room is taken for away, as after a drop, and
// has until a moment after the drain to come back unnoticed. In a cluster: see handover.

const (
	keepBatch    = 256
	presenceMost = 1000             // users of a room who are kept
	awayMost     = 200              // users of a room in a session: as many as join_room lists
	backWithin   = 10 * time.Second // of the end of the drain
)

// snapshot is what a session was when it was closed: all up to there is written before the connection ends, and nothing after it.
type snapshot struct {
	ID    string      `json:"id"`
	User  string      `json:"user"`
	Epoch string      `json:"epoch"`
	Last  uint64      `json:"last"` // number of the last event that the client was sent; 0: none
	Rooms []roomPlace `json:"rooms"`
	Back  time.Time   `json:"back"`            // until when presence waits
	Seen  []seenPlace `json:"seen,omitempty"`  // in a cluster
	Born  time.Time   `json:"born,omitzero"`   // since when the session was, and its node: what that has nothing of was published later, or is not for the session
	Given []string    `json:"given,omitempty"` // rooms, by the token
}

// roomPlace is up to where a client has seen a room's log.
type roomPlace struct {
	Name  string   `json:"name"`
	Seq   uint64   `json:"seq"`
	Users []Member `json:"users,omitempty"` // in a cluster: who counts as present there, of those at least of whom no other node may know
	Whole bool     `json:"whole,omitempty"` // that is everybody
}

// closeKept closes the connection, and notes what its clients' sessions were. Nothing may be sent to any of them in between: this is the one
// place that holds several namespaces' locks, in the order of their names.
func (p page) closeKept(back time.Time) {
	byName := slices.SortedFunc(slices.Values(p), func(a, b *Client) int { return strings.Compare(a.space.name, b.space.name) })
	for i, c := range byName {
		if i == 0 || c.space != byName[i-1].space { // by an alias it may be in one twice
			c.space.mu.Lock()
			defer c.space.mu.Unlock()
		}
	}
	for _, c := range p {
		if !c.gone {
			c.snapLocked(back)
		}
	}
	p[0].sess.Close(engineio.ReasonShutdown)
}

func (c *Client) snapLocked(back time.Time) {
	sp := c.space
	if sp.hub.keeper() == nil || c.pid == (pid{}) || c.rare != nil && len(c.rare.values) > 0 {
		return // what the host has Set stays in this process
	}
	if s := sp.snapshotLocked(c.id, c.userID, c.User().Rooms, c.began, c.roomNamesLocked()); s != nil {
		s.Last, s.Back = c.sent.last, back
		c.rareLocked().snapshot = s
	}
}

// snapshotLocked is a session with these rooms, given and joined. nil: it is not known up to where it has seen one of them.
func (sp *space) snapshotLocked(id, user string, given []string, began uint32, rooms []string) *snapshot {
	s := &snapshot{ID: id, User: user, Epoch: sp.epoch, Given: given, Seen: sp.seenLocked(), Rooms: make([]roomPlace, len(rooms))}
	if n := sp.hub.nodes; n != nil {
		if s.Born = time.Unix(int64(began), 0); s.Born.Before(n.born) {
			s.Born = n.born
		}
	}
	for i, name := range rooms {
		end, known := sp.hub.journal.endLocked(sp, name)
		if !known {
			return nil
		}
		s.Rooms[i] = sp.placeLocked(name, end)
	}
	return s
}

// placeLocked is up to where a session has seen a room's log, and whom it has for present. Of those whom only this node has, and not for long, since they have a grace here or
// leave with the node, there are no marks; and of a node that has died since there are none any more: the node where the session goes may never hear of them. Of a large
// room these alone are told.
func (sp *space) placeLocked(name string, end uint64) roomPlace {
	place := roomPlace{Name: name, Seq: end}
	r := sp.rooms[name]
	if sp.hub.nodes == nil || r == nil || sp.mutedLocked(r) {
		return place
	}
	place.Whole = len(r.users) <= awayMost && (r.asking == nil || !r.asking.first)
	leaves := sp.hub.draining.Load()
	for _, p := range r.users {
		if place.Whole || len(p.nodes) == 0 && (leaves || p.clients == 0) && len(place.Users) < awayMost {
			place.Users = append(place.Users, Member{UserID: p.userID, Name: p.name})
		}
	}
	return place
}

// comersLocked appends the news of those who are present here, and of whom a session does not know.
func (sp *space) comersLocked(to []*outgoing, r *revivedRoom, user string) ([]*outgoing, bool) {
	if !r.whole {
		return to, true
	}
	room := sp.rooms[r.name]
	if room == nil || room.asking != nil && room.asking.first {
		return to, false
	}
	known := make(map[string]bool, len(r.members))
	for _, m := range r.members {
		known[m.UserID] = true
	}
	for id, p := range room.users {
		if known[id] || id == user || sp.mutedLocked(room) {
			continue
		}
		enc, err := socketio.Encode(presenceJSON{r.name, id, p.name})
		if err != nil {
			return to, false // strings always encode
		}
		to = append(to, &outgoing{space: sp, name: "user_joined", args: enc})
	}
	return to, true
}

// endLocked is the last Seq of a room's log that was delivered. The namespace's mu is held.
func (j *journal) endLocked(sp *space, room string) (end uint64, known bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.logs[roomKey{sp.name, room}]
	if l == nil || !l.known.Load() {
		return 0, false
	}
	return l.end, true
}

func (sp *space) logEnd(room string) (end uint64, known bool) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.hub.journal.endLocked(sp, room)
}

// keepSnapshot hands a closed client's session to the store.
func (c *Client) keepSnapshot(unsent []uint64) {
	c.space.mu.Lock()
	var s *snapshot
	if c.rare != nil && c.pid != (pid{}) && len(unsent) == 0 && len(c.rare.unacked) == 0 {
		s = c.rare.snapshot
	}
	c.space.mu.Unlock()
	if s == nil {
		return
	}
	value, err := json.Marshal(s)
	if err != nil {
		return // it holds nothing that does not encode
	}
	c.space.hub.keeping.add(c.space.hub, Kept{
		Key: c.space.sessionKey(c.pid), Value: value, Until: time.Now().Add(c.space.hub.set.recoveryWindow),
	})
}

// keptKey hides what it is made of: whoever reads the store must not be able to recover somebody's session.
func keptKey(of ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return of[0] + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}

func (sp *space) sessionKey(secret pid) string { return keptKey("session", sp.name, secret.String()) }

// keeping is what is on its way to a Keeper.
type keeping struct {
	mu   sync.Mutex // guards what follows; innermost
	vals []Kept
	busy bool
	went map[string]*keptBatch // of each key the one that it went with
}

// keptBatch is what goes to a Keeper with one call.
type keptBatch struct {
	done chan struct{} // closed when it is there, or failed
	err  error         // set before done
}

// add has values kept, together with those that come meanwhile.
func (k *keeping) add(h *core, values ...Kept) {
	if len(values) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.vals = append(k.vals, values...)
	if !k.busy && h.handlers.enter() {
		k.busy = true
		go k.work(h)
	}
}

func (k *keeping) work(h *core) {
	defer h.handlers.leave()
	for {
		k.mu.Lock()
		batch := k.vals[:min(len(k.vals), keepBatch)]
		k.vals = k.vals[len(batch):]
		k.busy = len(batch) > 0
		b := &keptBatch{done: make(chan struct{})}
		for _, v := range batch {
			if k.went == nil {
				k.went = map[string]*keptBatch{}
			}
			k.went[v.Key] = b
		}
		k.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		if b.err = h.keep(batch); b.err != nil {
			h.log().Error("chat: sessions were not kept", "error", b.err, "values", len(batch))
		}
		close(b.done)
	}
}

// withdraw takes back what was given to be kept under a key, if anything was. It is false where somebody else has taken it, or that cannot be known.
func (k *keeping) withdraw(ctx context.Context, h *core, key string) bool {
	k.mu.Lock()
	if at := slices.IndexFunc(k.vals, func(v Kept) bool { return v.Key == key }); at >= 0 {
		k.vals = slices.Delete(k.vals, at, at+1)
		k.mu.Unlock()
		return true
	}
	b := k.went[key]
	k.mu.Unlock()
	if b == nil {
		return true
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		return false
	}
	value, err := h.take(ctx, key)
	return err == nil && (value != nil || b.err != nil)
}

// keeper is where sessions are kept: the cluster, or a store that can; nil: nowhere.
func (h *core) keeper() Keeper {
	if h.nodes != nil {
		return h.nodes.of
	}
	k, _ := h.set.store.(Keeper)
	return k
}

func (h *core) keep(values []Kept) (err error) {
	ctx, cancel := context.WithTimeout(h.life, h.set.timeouts.Store)
	defer cancel()
	defer h.observed(&ctx, "keep", &err)()
	defer recovered("the store", &err)
	return h.keeper().Keep(ctx, values)
}

func (h *core) take(ctx context.Context, key string) (value []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.set.timeouts.Store)
	defer cancel()
	defer h.observed(&ctx, "take", &err)()
	defer recovered("the store", &err)
	return h.keeper().Take(ctx, key)
}

// revival is a session of another process that was found in the store.
type revival struct {
	snapshot
	asked  time.Time
	missed []*outgoing // that its node has had for it
	rooms  []revivedRoom
	number uint64 // the namespace's counter before the rooms were read
}

// revivedRoom is what was written in a room since.
type revivedRoom struct {
	name    string
	end     uint64 // the last Seq delivered here when entries were read, which end there
	entries []Entry
	members []Member // who was there; nil: not told
	whole   bool     // and nobody else
}

// revive looks for the session that a client wants back, at another node or where it was kept. nil: it is not there, or cannot be made whole.
func (sp *space) revive(ctx context.Context, t *ticket) *revival {
	if sp.hub.keeper() == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, max(handoverWithin, sp.hub.set.timeouts.Store))
	defer cancel()
	r := &revival{asked: time.Now()}
	a := sp.fetch(ctx, t)
	if a.Snapshot == nil || !sp.caughtUp(ctx, a.Snapshot) {
		return nil
	}
	r.snapshot = *a.Snapshot
	var err error
	if r.missed, err = a.missedThere(sp); err != nil {
		sp.hub.log().ErrorContext(ctx, "chat: a session cannot be read", "error", err)
		return nil
	}
	sp.mu.Lock()
	r.number = sp.counter
	sp.mu.Unlock()
	stand := t.standIn(r.ID, r.User)
	gone := sp.lostRooms(&User{Rooms: r.Given}, &t.user)
	room := sp.hub.set.limits.Outbox / 2
	for _, p := range r.Rooms {
		if slices.Contains(gone, p.Name) || !sp.mayHaveBack(ctx, stand, p.Name) {
			continue
		}
		rr, err := sp.readSince(ctx, p, &room)
		if err != nil {
			return nil
		}
		rr.members, rr.whole = p.Users, p.Whole
		if err := sp.waitPresence(ctx, p.Name); err != nil {
			return nil
		}
		r.rooms = append(r.rooms, rr)
	}
	if sp.hub.nodes == nil {
		for i := range r.rooms {
			sp.takePresence(ctx, r.rooms[i].name, r.Back)
		}
	}
	return r
}

// seenAll tells whether a client with that offset has got all that it was sent.
func (s *snapshot) seenAll(offset string) bool {
	epoch, number, _ := strings.Cut(offset, ".")
	n, err := strconv.ParseUint(number, 10, 64)
	return s.Last == 0 || err == nil && epoch == s.Epoch && n >= s.Last
}

// readSince reads what was written in a room after a place, up to what has been delivered here. room is what is left of an outbox.
func (sp *space) readSince(ctx context.Context, p roomPlace, room *int) (rr revivedRoom, err error) {
	rr.name = p.Name
	if err := sp.waitKnown(ctx, p.Name); err != nil {
		return rr, err
	}
	end, known := sp.logEnd(p.Name)
	if known && end < p.Seq { // the node that the client comes from wrote this while the room was known here already
		if err := sp.waitRead(ctx, sp.hub.journal.whenRead(sp, p.Name)); err != nil {
			return rr, err
		}
		end, known = sp.logEnd(p.Name)
	}
	if !known || end < p.Seq { // a store that has gone back
		return rr, errUnavailable
	}
	rr.end = end
	ctx, cancel := context.WithTimeout(ctx, sp.hub.set.timeouts.Store)
	defer cancel()
	for after := p.Seq; after < end; {
		entries, _, err := sp.hub.journal.page(ctx, PageQuery{Namespace: sp.name, Room: p.Name, After: &after, Limit: readPage})
		if err != nil {
			return rr, err
		}
		if len(entries) == 0 || entries[0].Seq != after+1 { // removed meanwhile
			return rr, errUnavailable
		}
		for _, e := range entries {
			if *room -= len(e.Text) + len(e.Meta) + 512; *room < 0 {
				return rr, errUnavailable
			}
			if after = e.Seq; after <= end {
				rr.entries = append(rr.entries, e)
			}
		}
	}
	return rr, nil
}

// reviveLocked gives c the session that was found in the store, and returns what it has missed. It is false where that is not known to the last.
func (sp *space) reviveLocked(c *Client, t *ticket) ([]*engineio.Packet, bool) {
	r := t.revival
	if r == nil || sp.clients[r.ID] != nil {
		return nil, false
	}
	missed, ok := sp.sinceLocked(r.missed, r)
	for i := 0; ok && i < len(r.rooms); i++ {
		if missed, ok = sp.missedLocked(missed, &r.rooms[i], r.number); ok {
			missed, ok = sp.comersLocked(missed, &r.rooms[i], r.User)
		}
	}
	if !ok {
		return nil, false
	}
	c.id, c.pid, c.recovered = r.ID, t.pid, true
	if !r.Born.IsZero() {
		c.began = uint32(r.Born.Unix())
	}
	if c.userID == "" {
		c.userID = r.User
	}
	sp.counter = sp.hub.counter.Add(1) // so that what is replayed has a number of its own, see arrival
	c.started, c.sent = sp.counter, sentEvents{}
	packets, size := c.packetsOf(missed, sp.counter, 0)
	if size > sp.hub.set.limits.Outbox {
		c.id, c.pid, c.recovered = "", pid{}, false
		return nil, false
	}
	came := &arrival{offset: t.offset, number: sp.counter}
	sp.recovery.keepReplayLocked(came, missed, size)
	c.rareLocked().came = came
	return packets, true
}

// packetsOf are those of the last events of an arrival's replay, and their size. Of one that breaks off the client must not think that it has seen all.
func (c *Client) packetsOf(unread []*outgoing, number uint64, read int) (packets []*engineio.Packet, size int) {
	packets = make([]*engineio.Packet, len(unread))
	for i, o := range unread {
		o.number, o.part = number, uint32(read+i+1)
		if i == len(unread)-1 {
			o.part = 0
			c.sent.add(number, c.space.recovery.aged)
		}
		packets[i] = o.packet(c)
		size += packets[i].Size()
		o.encodings, o.aliased = encodings{}, nil
	}
	return packets, size
}

// missedLocked appends what was written in a room since: what was read, and what has been delivered here meanwhile.
func (sp *space) missedLocked(to []*outgoing, r *revivedRoom, number uint64) ([]*outgoing, bool) {
	entry := func(enc socketio.Encoded) { to = append(to, &outgoing{space: sp, name: "new_message", args: enc}) }
	for i := range r.entries {
		text, err := r.entries[i].appendJSON(nil)
		if err != nil {
			return nil, false
		}
		entry(socketio.Encoded{JSON: text})
	}
	end, known := sp.hub.journal.endLocked(sp, r.name)
	next := r.end + 1
	for i := range sp.recovery.events {
		k := &sp.recovery.events[i]
		if k.number > number && k.event.seq == next && len(k.to.rooms) == 1 && k.to.rooms[0] == r.name {
			entry(k.event.args)
			next++
		}
	}
	return to, known && next == end+1
}

// joinRevivedLocked subscribes a client to the rooms of its session, in which those who were there before are waited for.
func (sp *space) joinRevivedLocked(c *Client, r *revival) (news []*presence) {
	for i := range r.rooms {
		sp.awaitAllLocked(sp.roomLocked(r.rooms[i].name), r.rooms[i].members, time.Until(r.Back))
		news = append(news, sp.subscribeLocked(c, r.rooms[i].name))
	}
	return news
}
