package chat

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/parleychat/chat/internal/socketio"
)

func TestShelf(t *testing.T) {
	var s shelf
	type pair struct {
		to *audience
		o  *outgoing
	}
	var all []pair
	text := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, i*37%20_000) }
	sender, room := []string{"s"}, []string{"r"}
	for i := range 500 {
		scratch := text(i)
		to := &audience{rooms: room, notClients: sender, notUsers: []string{fmt.Sprint(i)}}
		if i%2 == 0 {
			to.notClients = nil
		}
		o := &outgoing{name: "e", args: socketio.Encoded{JSON: scratch}, number: uint64(i), seq: uint64(2 * i), author: "a", origin: origin{tag: "t"}}
		o.packet(&Client{protocol: 4, space: &space{name: "/"}})
		k := s.put(to, o)
		s.strip(k)
		all = append(all, pair{&k.to, &k.outgoing})
		clear(scratch)
		*to, *o = audience{}, outgoing{}
	}
	sender[0], room[0] = "another", "another"
	for i, p := range all {
		if !bytes.Equal(p.o.args.JSON, text(i)) {
			t.Fatal(i, "another text")
		}
		if p.o.number != uint64(i) || p.o.seq != uint64(2*i) || p.o.name != "e" || p.o.author != "a" || p.o.origin.tag != "t" || p.o.encodings != (encodings{}) {
			t.Fatal(i, p.o)
		}
		want := audience{rooms: []string{"r"}, notUsers: []string{fmt.Sprint(i)}}
		if i%2 == 1 {
			want.notClients = []string{"s"}
		}
		if !slices.Equal(p.to.rooms, want.rooms) || !slices.Equal(p.to.notUsers, want.notUsers) || !slices.Equal(p.to.notClients, want.notClients) {
			t.Fatal(i, p.to)
		}
		if _ = append(p.o.args.JSON, '!'); i+1 < len(all) && !bytes.Equal(all[i+1].o.args.JSON, text(i+1)) {
			t.Fatal(i, "the next text was written over")
		}
	}
}

func TestShelfSession(t *testing.T) {
	var s shelf
	for i := range 300 {
		id := fmt.Sprintf("%04d-%s", i, bytes.Repeat([]byte{'x'}, i*i%3000))
		c := &Client{id: id, userID: "user-of-" + fmt.Sprint(i), sent: sentEvents{last: 7, quiet: &[2]silence{{1, uint64(i)}}}}
		if i%2 == 0 {
			c.userID = anonymousPrefix + id
		}
		user := User{ID: c.userID, TokenID: fmt.Sprint("token", i)}
		for k := range i % 5 {
			name := fmt.Sprintf("room %d of %d", k, i)
			c.rooms = append(c.rooms, membership{room: &room{name: name}, since: uint64(k)})
			user.Rooms = append(user.Rooms, name)
		}
		c.user.Store(&user)
		k := s.session(c)
		*c.sent.quiet = [2]silence{}
		var names []string
		for n, m := range k.rooms {
			if names = append(names, m.name); m.since != uint64(n) {
				t.Fatal(i, m)
			}
		}
		if k.id != id || k.userID != c.userID || k.token != user.TokenID || !slices.Equal(k.given, user.Rooms) || !slices.Equal(names, user.Rooms) || k.sent.last != 7 || k.sent.quiet[0].after != uint64(i) {
			t.Fatal(i, k)
		}
	}
	if s.names.Cap() > 2*shelfNames {
		t.Error(s.names.Cap())
	}
}
