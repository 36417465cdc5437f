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
		keptTo, kept := s.put(to, o)
		all = append(all, pair{keptTo, kept})
		clear(scratch)
		*to, *o = audience{}, outgoing{}
	}
	sender[0], room[0] = "another", "another"
	for i, p := range all {
		if !bytes.Equal(p.o.args.JSON, text(i)) || cap(p.o.args.JSON) < len(p.o.args.JSON) {
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
