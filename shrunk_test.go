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
