package chat

import (
	"context"
	"errors"
	"slices"
)

// A Selector names clients: see Rooms, Users and Clients.
type Selector struct {
	kind  selectorKind
	names []string
}

type selectorKind byte

const (
	byRoom selectorKind = iota
	byUser
	byClient
)

// Rooms selects the clients in any of the rooms.
func Rooms(names ...string) Selector { return Selector{byRoom, names} }

// Users selects all clients of the users.
func Users(ids ...string) Selector { return Selector{byUser, ids} }

// Clients selects clients by their sid.
func Clients(sids ...string) Selector { return Selector{byClient, sids} }

// A Target is a set of clients of one namespace, worked out anew each time it is used. It is a cheap value.
type Target struct {
	space *space
	to    audience
	cause context.Context // nil: none
}

// audience says to whom something goes: who is in any of rooms, users, clients (everybody where all three are
// empty and none is false) and in none of the others.
type audience struct {
	none                           bool // the empty selection of a To whose selectors name nobody
	rooms, users, clients          []string
	notRooms, notUsers, notClients []string
}

func (a *audience) everybody() bool {
	return len(a.rooms) == 0 && len(a.users) == 0 && len(a.clients) == 0 && !a.none
}

// Except is the target without those selected.
func (t Target) Except(sel ...Selector) Target {
	a := t.to
	for _, s := range sel {
		switch s.kind {
		case byRoom:
			a.notRooms = append(slices.Clip(a.notRooms), s.names...)
		case byUser:
			a.notUsers = append(slices.Clip(a.notUsers), s.names...)
		case byClient:
			a.notClients = append(slices.Clip(a.notClients), s.names...)
		}
	}
	return Target{space: t.space, to: a, cause: t.cause}
}

// WithContext is the target for an emit that ctx has caused: its request's id goes into the log, its trace on to the delivery. An emit does not wait, so the
// end of ctx does not matter.
func (t Target) WithContext(ctx context.Context) Target {
	t.cause = ctx
	return t
}

func newTarget(sp *space, sel []Selector) Target {
	t := Target{space: sp}
	for _, s := range sel {
		switch s.kind {
		case byRoom:
			t.to.rooms = append(t.to.rooms, s.names...)
		case byUser:
			t.to.users = append(t.to.users, s.names...)
		case byClient:
			t.to.clients = append(t.to.clients, s.names...)
		}
	}
	t.to.none = len(sel) > 0 && t.to.everybody()
	return t
}

// Emit sends an event to the target's clients. It never blocks; it fails on what cannot be encoded, and with
// ErrClosed.
func (t Target) Emit(event string, args ...any) error {
	ctx := t.cause
	if ctx == nil {
		ctx = context.Background()
	}
	return t.space.emit(ctx, &t.to, event, args)
}

// A ClientInfo describes a connected client.
type ClientInfo struct {
	ID        string // its sid
	UserID    string
	Name      string
	Rooms     []string // in the order of joining
	Transport string
	Protocol  int
}

// Clients describes the target's clients, on all nodes of a cluster. A *NodesError names the nodes that did not answer.
func (t Target) Clients(ctx context.Context) ([]ClientInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if t.to.none {
		return nil, nil
	}
	out := t.infos()
	there, err := askAll[[]ClientInfo](ctx, t.space.hub.nodes, "clients", targetQuestion{t.space.name, t.to.forQuestion()})
	for _, infos := range there {
		out = append(out, infos...)
	}
	return out, err
}

// infos describes those of this node.
func (t Target) infos() (out []ClientInfo) {
	t.space.mu.Lock()
	defer t.space.mu.Unlock()
	for _, c := range t.space.chosenLocked(&t.to) {
		out = append(out, c.infoLocked())
	}
	return out
}

func (c *Client) infoLocked() ClientInfo {
	return ClientInfo{ID: c.id, UserID: c.userID, Name: c.User().Name, Rooms: c.roomNamesLocked(), Transport: c.sess.Transport(), Protocol: c.Protocol()}
}

// Disconnect ends the connections of the target's clients to the namespace: they get a disconnect packet,
// stay away until their page connects again, and recover nothing. In a cluster it returns when the other nodes' share is on its way to them; an error says that it may not
// be.
func (t Target) Disconnect(ctx context.Context) error { return t.act(ctx, actDisconnect, "") }

// Join subscribes the target's clients to a room; no policy is asked. Of a cluster's other nodes: see Disconnect.
func (t Target) Join(ctx context.Context, room string) error {
	if !validRoom(room) {
		return Errorf(InvalidPayload, "%q is not a room's name", room)
	}
	return t.act(ctx, actJoin, room)
}

// Leave ends the subscription of the target's clients to a room. Of a cluster's other nodes: see Disconnect.
func (t Target) Leave(ctx context.Context, room string) error { return t.act(ctx, actLeave, room) }

// act does something to an audience's clients of this node.
func (sp *space) act(to *audience, what byte, room string) error {
	ctx := context.Background()
	for _, c := range (Target{space: sp, to: *to}).clients() {
		var err error
		switch what {
		case actJoin:
			err = c.Join(ctx, room)
		case actLeave:
			err = c.Leave(ctx, room)
		case actDisconnect:
			c.Disconnect()
		}
		if err != nil && !errors.Is(err, ErrDisconnected) { // who has left meanwhile is no failure
			return err
		}
	}
	return nil
}

func (t Target) clients() []*Client {
	t.space.mu.Lock()
	defer t.space.mu.Unlock()
	return t.space.chosenLocked(&t.to)
}

// chosenLocked are the clients that a selects.
func (sp *space) chosenLocked(a *audience) (all []*Client) {
	sp.eachLocked(a, func(c *Client) { all = append(all, c) })
	return all
}

// eachLocked calls f once for each client that a selects.
func (sp *space) eachLocked(a *audience, f func(*Client)) {
	switch {
	case a.none:
	case a.everybody():
		for _, c := range sp.clients {
			if !a.excludesLocked(c) {
				f(c)
			}
		}
	case len(a.rooms) == 1 && len(a.users) == 0 && len(a.clients) == 0:
		if r := sp.rooms[a.rooms[0]]; r != nil {
			for _, c := range r.members {
				if !a.excludesLocked(c) {
					f(c)
				}
			}
		}
	default:
		sp.eachUniqueLocked(a, f)
	}
}

func (sp *space) eachUniqueLocked(a *audience, f func(*Client)) {
	seen := make(map[*Client]bool)
	visit := func(c *Client) {
		if !seen[c] && !a.excludesLocked(c) {
			seen[c] = true
			f(c)
		}
	}
	for _, name := range a.rooms {
		if r := sp.rooms[name]; r != nil {
			for _, c := range r.members {
				visit(c)
			}
		}
	}
	for _, id := range a.users {
		for c := sp.ofUserLocked(id); c != nil; c = c.nextOfUser {
			visit(c)
		}
	}
	for _, id := range a.clients {
		if c := sp.clients[id]; c != nil {
			visit(c)
		}
	}
}

func (a *audience) excludesLocked(c *Client) bool {
	if len(a.notClients) == 0 && len(a.notUsers) == 0 && len(a.notRooms) == 0 {
		return false
	}
	return slices.Contains(a.notClients, c.id) || slices.Contains(a.notUsers, c.userID) ||
		slices.ContainsFunc(a.notRooms, func(room string) bool { return c.membershipLocked(room) != nil })
}
