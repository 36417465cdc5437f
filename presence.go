package chat

import (
	"time"

	"github.com/parleychat/chat/internal/socketio"
)

// presence is a user in a room: from the first of the user's clients, on whichever node, to the last, and a grace longer where
// that one's connection dropped.
type presence struct {
	room    *room
	userID  string
	name    string
	clients int
	nodes   []string    // names of the leases of the other nodes that have clients of the user in the room
	grace   *time.Timer // runs while there is neither
}

type presenceJSON struct {
	Room   string `json:"room"`
	UserID string `json:"user_id"`
	Name   string `json:"name,omitempty"`
}

// arriveLocked counts a client in; it returns the presence where this is the user's first.
func (sp *space) arriveLocked(r *room, c *Client) *presence {
	p := r.users[c.userID]
	if p != nil {
		p.backLocked()
		if p.clients++; p.clients == 1 {
			sp.presentLocked(p)
		}
		return nil
	}
	p = &presence{room: r, userID: c.userID, name: c.User().Name, clients: 1}
	r.users[c.userID] = p
	sp.presentLocked(p)
	return p
}

// backLocked ends the grace of a user who has come back.
func (p *presence) backLocked() {
	if p.grace != nil {
		p.grace.Stop()
		p.grace = nil
	}
}

// announceLocked tells a room of a user who has come; nil is nobody new.
func (sp *space) announceLocked(p *presence) {
	switch {
	case p == nil:
	case p.room.asking != nil && p.room.asking.first: // the user may be there already, on another node
		p.room.asking.news = append(p.room.asking.news, p)
	default:
		sp.presenceLocked("user_joined", p)
	}
}

func (sp *space) presenceLocked(event string, p *presence) {
	if sp.mutedLocked(p.room) {
		return
	}
	enc, err := socketio.Encode(presenceJSON{p.room.name, p.userID, p.name})
	if err != nil {
		return // strings always encode
	}
	rooms := []string{p.room.name}
	o := &outgoing{}
	sp.numberLocked(o, event, enc)
	if to := (&audience{rooms: rooms}); len(p.room.members) < manyMembers {
		sp.deliverLocked(to, o, false)
	} else {
		sp.deliverLaterLocked(to, o)
	}
	// A recovery replays the presence of others only: a user who comes back is not told of having left.
	sp.recovery.keepLocked(sp.counter, &audience{rooms: rooms, notUsers: []string{p.userID}}, o)
}

// mutedLocked: the room is so large that it is told nothing of presence.
func (sp *space) mutedLocked(r *room) bool {
	most := sp.hub.set.presenceMost
	return most >= 0 && len(r.users) > most
}

// In rooms of so many clients the news of presence wait a moment for more of their kind: when all come at
// once, as after a restart, the news are the square of their number, and a write for each would cost ten
// times what the news themselves do.
const (
	manyMembers   = 64
	presenceDelay = 50 * time.Millisecond
)

func (sp *space) deliverLaterLocked(to *audience, o *outgoing) {
	clients := 0
	sp.eachLocked(to, func(c *Client) {
		sp.batch.SendLater(c.sess, o.packet(c))
		c.sent.add(sp.counter, sp.recovery.aged)
		clients++
	})
	sp.hub.deliveries.Add(int64(clients))
	if sp.later != nil || sp.closed {
		return
	}
	sp.later = time.AfterFunc(presenceDelay, func() {
		sp.mu.Lock()
		defer sp.mu.Unlock()
		sp.later = nil
		sp.batch.FlushLater()
	})
}

// leaveLocked counts a client out of a room that it is not a member of any more.
func (sp *space) leaveLocked(r *room, c *Client, dropped bool) {
	p := r.users[c.userID]
	if p.clients--; p.clients > 0 {
		return
	}
	within := time.Duration(0)
	if dropped && !sp.closed {
		within = sp.hub.set.grace
	}
	sp.absentLocked(p, within)
	if len(p.nodes) > 0 {
		return
	}
	if within > 0 && sp.hub.draining.Load() { // it is on the next node now, which waits for whoever does not come; those who are here still go there, too
		within = max(within, sp.recovery.window)
	}
	sp.leftLocked(p, within)
}

// leftLocked ends a presence that nobody keeps up any more, at once or when the user has not come back within that time.
func (sp *space) leftLocked(p *presence, within time.Duration) {
	if within > 0 {
		sp.awaitLocked(p, within)
	} else {
		sp.goneLocked(p)
	}
}

// awaitLocked waits for a user to come back.
func (sp *space) awaitLocked(p *presence, within time.Duration) {
	var timer *time.Timer
	timer = time.AfterFunc(within, func() {
		sp.mu.Lock()
		defer sp.mu.Unlock()
		// The user may have come back, and even left again, after the timer fired and before the lock was had.
		if p.grace == timer && !sp.closed {
			sp.goneLocked(p)
		}
	})
	p.grace = timer
}

func (sp *space) goneLocked(p *presence) {
	r := p.room
	p.grace = nil
	r.most = max(r.most, len(r.users))
	delete(r.users, p.userID)
	r.users = shrunk(r.users, &r.most)
	if !sp.closed {
		sp.presenceLocked("user_left", p)
	}
	sp.dropRoomLocked(r)
}

// membersLocked lists the users in a room, at most limit where that is not negative.
func (sp *space) membersLocked(name string, limit int) []Member {
	r := sp.rooms[name]
	if r == nil {
		return []Member{}
	}
	n := len(r.users)
	if limit >= 0 {
		n = min(n, limit)
	}
	members := make([]Member, 0, n)
	for _, p := range r.users {
		if len(members) == n {
			break
		}
		members = append(members, Member{UserID: p.userID, Name: p.name})
	}
	return members
}

// typist is a user who is typing in a room.
type typist struct{ room, user string }

// typingFor is how long typing lasts without being said again.
const typingFor = 6 * time.Second

type typingJSON struct {
	Room   string `json:"room"`
	UserID string `json:"user_id"`
	On     bool   `json:"on"`
}

func (sp *space) startTyping(c *Client, room string) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.closed || c.gone || c.membershipLocked(room) == nil {
		return
	}
	who := typist{room, c.userID}
	if t := sp.typing[who]; t != nil && t.Stop() {
		t.Reset(typingFor)
		if sp.hub.nodes != nil {
			sp.hub.nodes.tellTyping(sp, who, true)
		}
		return
	} else if t == nil {
		sp.tellTypingLocked(who, true)
	}
	var timer *time.Timer
	timer = time.AfterFunc(typingFor, func() {
		sp.mu.Lock()
		defer sp.mu.Unlock()
		if sp.typing[who] == timer {
			sp.stopTypingLocked(who)
		}
	})
	sp.typing[who] = timer
}

func (sp *space) stopTypingLocked(who typist) {
	t := sp.typing[who]
	if t == nil {
		return
	}
	t.Stop()
	delete(sp.typing, who)
	if !sp.closed {
		sp.tellTypingLocked(who, false)
	}
}

func (sp *space) tellTypingLocked(who typist, on bool) {
	if sp.hub.nodes != nil {
		sp.hub.nodes.tellTyping(sp, who, on)
	}
	sp.showTypingLocked(who, on)
}

// showTypingLocked tells the clients here.
func (sp *space) showTypingLocked(who typist, on bool) {
	enc, err := socketio.Encode(typingJSON{who.room, who.user, on})
	if err != nil {
		return
	}
	sp.sendLocked(&audience{rooms: []string{who.room}, notUsers: []string{who.user}}, "typing", enc, false)
}
