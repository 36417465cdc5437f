package chat

import (
	"strconv"
	"testing"
)

func TestShrunk(t *testing.T) {
	m, most := map[int]int{}, 0
	for i := range 5000 {
		m[i] = i
	}
	most = len(m)
	for i := range 3000 {
		delete(m, i)
	}
	shrunk(m, &most)[-1] = 1
	if len(m) != 2001 || most != 5000 {
		t.Fatal("a map that is half full was copied")
	}
	for i := range 4500 {
		delete(m, i)
	}
	small := shrunk(m, &most)
	if small[-1] = 2; m[-1] != 1 || most != len(m) || len(small) != len(m) || small[4999] != 4999 {
		t.Fatal(len(small), most)
	}
}

// A room that goes on does not keep the table of the most users that were in it.
func TestUsersShrunk(t *testing.T) {
	r := &room{name: "lobby", users: map[string]*presence{}}
	sp := &space{closed: true}
	for i := range 5000 {
		p := &presence{room: r, userID: strconv.Itoa(i)}
		r.users[p.userID] = p
	}
	crowded := r.users
	for i := range 4900 {
		sp.goneLocked(r.users[strconv.Itoa(i)])
	}
	if r.most >= 2000 || len(r.users) != 100 || len(crowded) <= 100 || r.users["4999"] == nil {
		t.Fatal(r.most, len(r.users), len(crowded))
	}
}

// Nor does a namespace keep the tables of the most clients, users and rooms that there were.
func TestSpaceShrunk(t *testing.T) {
	h, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Shutdown(t.Context()) }()
	sp := h.core.spaces["/"]
	all := make([]*Client, 5000)
	sp.mu.Lock()
	for i := range all {
		all[i] = &Client{space: sp, id: strconv.Itoa(i), userID: "u" + strconv.Itoa(i)}
		sp.rememberLocked(all[i])
		sp.roomLocked("r" + strconv.Itoa(i))
	}
	clients, users, rooms := sp.clients, sp.users, sp.rooms
	for i, c := range all[100:] {
		sp.forgetLocked(c)
		sp.dropRoomLocked(sp.rooms["r"+strconv.Itoa(100+i)])
	}
	sp.mu.Unlock()
	sp.recovery.sweepOut()
	sp.mu.Lock()
	defer sp.mu.Unlock()
	clear(clients)
	clear(users)
	clear(rooms)
	if len(sp.clients) != 100 || len(sp.users) != 100 || len(sp.rooms) != 100 || sp.clients["99"] != all[99] || sp.users["u99"] != all[99] || sp.rooms["r99"] == nil {
		t.Errorf("of 100 each there are %d clients, %d users and %d rooms in tables of their own", len(sp.clients), len(sp.users), len(sp.rooms))
	}
	if sp.most.clients != 100 || sp.most.users != 100 || sp.most.rooms != 100 {
		t.Error(sp.most)
	}
	clear(sp.clients) // they have no session that could be closed
	clear(sp.users)
}
