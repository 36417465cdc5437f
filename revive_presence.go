package chat

import (
	"context"
	"encoding/json"
	"time"
)

// keepPresence hands over who is in the rooms.
func (h *core) keepPresence(back time.Time) {
	if h.keeper() == nil || h.set.recoveryWindow == 0 || h.nodes != nil { // the other nodes know who is there
		return
	}
	for _, sp := range h.spaces {
		var values []Kept
		sp.mu.Lock()
		for name := range sp.rooms {
			value, err := json.Marshal(sp.membersLocked(name, presenceMost))
			if err == nil {
				values = append(values, Kept{Key: keptKey("presence", sp.name, name), Value: value, Until: back.Add(h.set.recoveryWindow)})
			}
		}
		sp.mu.Unlock()
		h.keeping.add(h, values...)
	}
}

// takePresence has those who were in a room before the start waited for there. The first who comes back asks the store; whoever comes meanwhile waits for the
// same answer, or they would be announced to each other.
func (sp *space) takePresence(ctx context.Context, room string, back time.Time) {
	done, first := sp.whoWasIn(room)
	for !first {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
		before := done
		if done, first = sp.whoWasIn(room); done == before {
			return
		}
	}
	defer close(done)
	value, err := sp.hub.take(ctx, keptKey("presence", sp.name, room))
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if err != nil {
		delete(sp.asked, room) // the next one tries
		return
	}
	var members []Member
	if !sp.closed && value != nil && json.Unmarshal(value, &members) == nil && len(members) > 0 {
		sp.awaitAllLocked(sp.roomLocked(room), members, time.Until(back))
	}
}

// whoWasIn is closed when what was kept of a room's presence is known; first: it is the caller's to find out.
func (sp *space) whoWasIn(room string) (done chan struct{}, first bool) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.asked == nil || time.Since(sp.askedSince) > 2*sp.recovery.window {
		sp.asked, sp.askedSince = map[string]chan struct{}{}, time.Now()
	}
	done = sp.asked[room]
	if first = done == nil; first {
		done = make(chan struct{})
		sp.asked[room] = done
	}
	return done, first
}

// awaitAllLocked waits for users to come back who are not in the room.
func (sp *space) awaitAllLocked(r *room, users []Member, within time.Duration) {
	for _, m := range users {
		if r.users[m.UserID] == nil {
			p := &presence{room: r, userID: m.UserID, name: m.Name}
			r.users[m.UserID] = p
			sp.announceLocked(p) // to those who came anew, and were told of a room without that user; they may be away for a moment themselves
			sp.awaitLocked(p, max(sp.hub.set.grace, within))
		}
	}
}
