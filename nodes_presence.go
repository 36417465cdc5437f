package chat

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// Who is in a room on which node: each node marks its own users, and tells of each that comes or goes in the room's stream. Who is present is worked out by every node that has
// the room, from what all have said; so is a user's grace.

const (
	askedAgain    = 100 * time.Millisecond // after marks that could not be read; at first
	absentMost    = time.Hour              // that another node may have us wait for a user
	presenceBatch = 200                    // users of one notice
)

// asking is a room whose marks are being read.
type asking struct {
	first   bool             // nothing is known of the other nodes' users yet
	news    []*presence      // came meanwhile; they may have been there on another node before
	changes []presenceChange // were told meanwhile, and may be later than the marks
	waiters []chan error
	again   bool // the marks are to be read once more
}

// presenceChange is a user who has come to a room on a node, or has left it.
type presenceChange struct {
	node, user, name string
	on               bool
	within           time.Duration // to come back, of one who has left
}

func presenceKey(space, room string) string { return "p\x00" + space + "\x00" + room }

// presentLocked tells the other nodes of a user who has come here.
func (sp *space) presentLocked(p *presence) {
	sp.tellPresenceLocked(p.room, presenceChange{user: p.userID, name: p.name, on: true})
}

func (sp *space) absentLocked(p *presence, within time.Duration) {
	if within > 0 && sp.hub.draining.Load() { // all of this node's come back at about the same time
		within = max(within, backWithin)
	}
	sp.tellPresenceLocked(p.room, presenceChange{user: p.userID, within: within})
}

func (sp *space) tellPresenceLocked(r *room, changes ...presenceChange) {
	n := sp.hub.nodes
	if n == nil || sp.closed {
		return
	}
	marks := make([]Mark, len(changes))
	for i, c := range changes {
		marks[i] = Mark{Key: presenceKey(sp.name, r.name), Field: c.user, Value: c.name, Off: !c.on}
	}
	n.relay.mark(marks...)
	name := n.leaseName()
	if name == "" { // Joined tells of all who are here then; whoever has left before may be among the first marks
		changes = slices.DeleteFunc(changes, func(c presenceChange) bool { return c.on })
		name = n.tag + "."
	}
	if len(changes) == 0 {
		return
	}
	b := newNotice(noticePresence, n.tag, "", sp.name)
	b = appendStrings(b, r.name, name)
	b = binary.AppendUvarint(b, uint64(len(changes)))
	for _, c := range changes {
		b = appendBool(appendStrings(b, c.user, c.name), c.on)
		b = binary.AppendUvarint(b, uint64(c.within/time.Millisecond))
	}
	n.relay.add(n.stream(sp.name, r.name), b, nil)
}

// presentAgain tells of everybody who is here: the node has a new lease, or the cluster may have forgotten.
func (sp *space) presentAgain() {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.closed {
		return
	}
	sp.tallyAgainLocked()
	for _, r := range sp.rooms {
		var here []presenceChange
		for _, p := range r.users {
			if p.clients > 0 {
				here = append(here, presenceChange{user: p.userID, name: p.name, on: true})
			}
		}
		for some := range slices.Chunk(here, presenceBatch) {
			sp.tellPresenceLocked(r, some...)
		}
	}
}

// takePresenceNews is told of another node's users.
func (sp *space) takePresenceNews(b *reader) {
	room, node := b.string(), b.string()
	changes := make([]presenceChange, 0, 1)
	for i := b.count(); i > 0 && b.err == nil; i-- {
		c := presenceChange{node: node, user: b.string(), name: b.string(), on: b.bool()}
		c.within = time.Duration(min(b.uint(), uint64(absentMost/time.Millisecond))) * time.Millisecond
		changes = append(changes, c)
	}
	if b.err != nil {
		return
	}
	if sp.hub.nodes.isFenced(node) { // of its next lease there may be marks already that were on their way then: who has left since has left
		changes = slices.DeleteFunc(changes, func(c presenceChange) bool { return c.on })
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	r := sp.rooms[room]
	if r == nil || sp.closed {
		return
	}
	for _, c := range changes {
		if r.asking != nil {
			r.asking.changes = append(r.asking.changes, c)
		}
		sp.changeLocked(r, c)
	}
}

// changeLocked applies what another node has said.
func (sp *space) changeLocked(r *room, c presenceChange) {
	p := r.users[c.user]
	if c.on {
		switch {
		case p == nil:
			p = &presence{room: r, userID: c.user, name: c.name, nodes: []string{c.node}}
			r.users[c.user] = p
			sp.announceLocked(p)
		case !slices.Contains(p.nodes, c.node):
			p.nodes = append(p.nodes, c.node)
			p.backLocked()
		}
		return
	}
	if p == nil {
		return
	}
	tag, _, _ := strings.Cut(c.node, ".")
	for _, node := range slices.Clone(p.nodes) {
		if strings.HasPrefix(node, tag+".") {
			sp.withoutLocked(p, node, c.within)
		}
	}
}

// withoutLocked takes a node's part out of a presence.
func (sp *space) withoutLocked(p *presence, node string, within time.Duration) {
	i := slices.Index(p.nodes, node)
	if i < 0 {
		return
	}
	p.nodes = slices.Delete(p.nodes, i, i+1)
	if len(p.nodes) == 0 && p.clients == 0 {
		sp.leftLocked(p, within)
	}
}

// withoutNode ends what a node has said: its lease is over. Its users may come back to another node.
func (sp *space) withoutNode(name string) {
	sp.withoutLeases(func(lease string) bool { return lease == name })
}

// withoutFormer ends what a node has said under leases before the one that it has now: this node may have been cut off when they ended.
func (sp *space) withoutFormer(now Node) {
	sp.withoutLeases(func(lease string) bool {
		tag, _ := leaseTerm(lease)
		return tag == now.Tag && lease != now.Name
	})
}

func (sp *space) withoutLeases(over func(name string) bool) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.closed {
		return
	}
	for _, r := range sp.rooms {
		if r.asking != nil {
			r.asking.changes = slices.DeleteFunc(r.asking.changes, func(c presenceChange) bool { return over(c.node) })
			r.asking.again = true
		}
		for _, p := range r.users {
			for _, name := range slices.Clone(p.nodes) {
				if over(name) {
					sp.withoutLocked(p, name, sp.hub.set.grace)
				}
			}
		}
	}
}

// roomKept is how long a room that nobody of this node is in is watched at least.
const roomKept = 10 * time.Second

// dropEmpty forgets the rooms that nobody of this node has been in for a while, nor comes back to by recovery, to be told who came and went on other nodes.
func (sp *space) dropEmpty() {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	keep := roomKept
	if len(sp.recovery.lost) > 0 {
		keep = max(keep, sp.recovery.window)
	}
	for _, r := range sp.rooms {
		if len(r.members) > 0 || r.asking != nil || time.Since(r.empty) < keep {
			continue
		}
		if !r.awaits() {
			sp.forgetRoomLocked(r)
		}
	}
}

// awaits tells whether somebody may come back within the grace.
func (r *room) awaits() bool {
	for _, p := range r.users {
		if p.grace != nil {
			return true
		}
	}
	return false
}

// askPresenceLocked has a room's marks read.
func (sp *space) askPresenceLocked(r *room) {
	switch n := sp.hub.nodes; {
	case n == nil || sp.closed:
	case r.asking != nil:
		r.asking.again = true
	case n.tasks.enter():
		r.asking = &asking{first: !r.asked}
		go sp.askPresence(r)
	}
}

func (sp *space) askPresence(r *room) {
	n := sp.hub.nodes
	defer n.tasks.leave()
	for pause := askedAgain; ; pause = min(2*pause, retryMost) {
		marks, err := sp.presenceMarks(r)
		if sp.askedPresence(r, marks, err) {
			return
		}
		if err != nil && !sleep(n.life, pause) {
			return
		}
	}
}

func (sp *space) presenceMarks(r *room) ([]Mark, error) {
	n := sp.hub.nodes
	if n.leaseName() == "" { // it has just begun, and has not heard of its cluster yet
		return nil, errUnavailable
	}
	ctx, cancel := context.WithTimeout(n.life, sp.hub.set.timeouts.Store)
	defer cancel()
	return n.marks(ctx, presenceKey(sp.name, r.name))
}

// askedPresence takes in a room's marks. It is false where they are to be read again.
func (sp *space) askedPresence(r *room, marks []Mark, err error) bool {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	a := r.asking
	if sp.closed || sp.rooms[r.name] != r {
		r.asking = nil
		a.answer(errUnavailable)
		return true
	}
	if err != nil { // those who wait do so until their deadlines
		return false
	}
	if a.again {
		a.again, a.changes = false, nil
		return false
	}
	sp.markedLocked(r, marks)
	for _, c := range a.changes {
		sp.changeLocked(r, c)
	}
	r.asking, r.asked = nil, true
	for _, p := range a.news {
		if r.users[p.userID] == p && !slices.ContainsFunc(marks, func(m Mark) bool { return m.Field == p.userID }) {
			sp.presenceLocked("user_joined", p)
		}
	}
	a.answer(nil)
	return true
}

func (a *asking) answer(err error) {
	for _, w := range a.waiters {
		w <- err
	}
}

// markedLocked makes of a room's presence on other nodes what the marks say.
func (sp *space) markedLocked(r *room, marks []Mark) {
	there := make(map[string][]string, len(marks)) // users to nodes
	for _, m := range marks {
		if m.Off || sp.hub.nodes.isFenced(m.Node) {
			continue
		}
		there[m.Field] = append(there[m.Field], m.Node)
		sp.changeLocked(r, presenceChange{node: m.Node, user: m.Field, name: m.Value, on: true})
	}
	for user, p := range r.users {
		for _, node := range slices.Clone(p.nodes) {
			if !slices.Contains(there[user], node) {
				sp.withoutLocked(p, node, sp.hub.set.grace)
			}
		}
	}
}

// reloadPresence reads the marks of all rooms of a stream again; of all streams where it is negative.
func (sp *space) reloadPresence(stream int) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	for _, r := range sp.rooms {
		if stream < 0 || sp.hub.nodes.stream(sp.name, r.name) == stream {
			sp.askPresenceLocked(r)
		}
	}
}

// waitPresence returns when it is known who is in a room that somebody is about to enter.
func (sp *space) waitPresence(ctx context.Context, name string) error {
	if sp.hub.nodes == nil {
		return nil
	}
	sp.mu.Lock()
	if sp.closed {
		sp.mu.Unlock()
		return errUnavailable
	}
	r := sp.roomLocked(name)
	if r.asking == nil {
		sp.mu.Unlock()
		return nil
	}
	known := make(chan error, 1)
	r.asking.waiters = append(r.asking.waiters, known)
	sp.mu.Unlock()
	return sp.waitRead(ctx, known)
}
