package main

import (
	"fmt"
	"strings"
	"testing"
)

// The doctored runs: two clients in one room, of whom ann writes two messages and bob hears them.

func message(seq uint64, id string) entry {
	return entry{Seq: seq, ID: "id-" + id, User: "ann", Message: id, At: int64(1000 * seq)}
}

const ann, bob = 0, 1

func sound() *evidence {
	a, b := message(1, "a"), message(2, "b")
	ev := &evidence{
		clients: []client{{User: "ann", Rooms: []string{"lobby"}}, {User: "bob", Rooms: []string{"lobby"}}},
		log:     map[string][]entry{"lobby": {a, b}},
		lasting: true,
	}
	for c := range 2 {
		ev.add(c, record{Kind: "connect"}, record{Kind: "join"}, record{Kind: "history"})
	}
	for _, e := range []entry{a, b} {
		ev.add(ann, record{Kind: "write", entry: entry{Message: e.Message}}, record{Kind: "send", entry: entry{Message: e.Message}, Attempt: 1})
		ev.add(ann, record{Kind: "ack", entry: e, Attempt: 1})
		ev.add(bob, record{Kind: "live", entry: e})
	}
	return ev
}

func (ev *evidence) add(client int, records ...record) {
	for _, r := range records {
		r.Client, r.Room, r.T = client, "lobby", int64(10_000+len(ev.records))
		ev.records = append(ev.records, r)
	}
}

// without is ev less the records of a kind and a message of a client.
func (ev *evidence) without(client int, kind, id string) {
	var left []record
	for _, r := range ev.records {
		if r.Client != client || r.Kind != kind || r.Message != id {
			left = append(left, r)
		}
	}
	ev.records = left
}

func TestCheck(t *testing.T) {
	t.Parallel()
	a, b := message(1, "a"), message(2, "b")
	again := func(ev *evidence, r record) { ev.add(bob, r) }
	for _, c := range []struct {
		name   string
		doctor func(*evidence)
		want   verdict
	}{
		{"nothing wrong", func(*evidence) {}, verdict{}},
		{"acked and not saved", func(ev *evidence) { ev.log["lobby"] = []entry{a}; ev.without(bob, "live", "b") }, verdict{Lost: 2, Wrong: 1}},
		{"never delivered", func(ev *evidence) { ev.without(bob, "live", "b") }, verdict{Lost: 1}},
		{"saved without an ack and never delivered", func(ev *evidence) {
			ev.log["lobby"] = append(ev.log["lobby"], entry{Seq: 3, ID: "id-c", User: "bob", Message: "c"})
		}, verdict{Lost: 2}},
		{"delivered by history instead", func(ev *evidence) {
			ev.without(bob, "live", "b")
			ev.add(bob, record{Kind: "connect"}, record{Kind: "join", entry: entry{Seq: 2}}, record{Kind: "history", After: 1, Entries: []entry{b}})
		}, verdict{}},
		{"live twice in a session", func(ev *evidence) { again(ev, record{Kind: "live", entry: b}) }, verdict{Doubled: 1}},
		{"live twice in a recovered session", func(ev *evidence) {
			again(ev, record{Kind: "connect", Recovered: true})
			again(ev, record{Kind: "live", entry: b})
		}, verdict{Doubled: 1}},
		{"by history and live after a new session's connect", func(ev *evidence) {
			ev.add(bob, record{Kind: "connect"}, record{Kind: "live", entry: b}, record{Kind: "join", entry: entry{Seq: 2}})
		}, verdict{}},
		{"live although join_room had told of it", func(ev *evidence) {
			ev.add(bob, record{Kind: "connect"}, record{Kind: "join", entry: entry{Seq: 2}}, record{Kind: "live", entry: b})
		}, verdict{Doubled: 1}},
		{"to its sender after the ack", func(ev *evidence) { ev.add(ann, record{Kind: "live", entry: b}) }, verdict{Doubled: 1}},
		{"to its sender before the ack", func(ev *evidence) {
			ev.without(ann, "ack", "b")
			ev.add(ann, record{Kind: "live", entry: b}, record{Kind: "ack", entry: b, Attempt: 1})
		}, verdict{Doubled: 1}},
		{"to its sender instead of a lost ack, and then the retry's", func(ev *evidence) {
			ev.without(ann, "ack", "b")
			ev.add(ann, record{Kind: "connect", Recovered: true}, record{Kind: "live", entry: b})
			ev.add(ann, record{Kind: "send", entry: entry{Message: "b"}, Attempt: 2}, record{Kind: "ack", entry: b, Attempt: 2})
		}, verdict{}},
		{"saved twice", func(ev *evidence) {
			twice := entry{Seq: 3, ID: "id-b2", User: "ann", Message: "b"}
			ev.log["lobby"] = append(ev.log["lobby"], twice)
			ev.add(ann, record{Kind: "live", entry: twice})
			ev.add(bob, record{Kind: "live", entry: twice})
		}, verdict{Doubled: 3}},
		{"acked as two", func(ev *evidence) {
			ev.add(ann, record{Kind: "send", entry: entry{Message: "b"}, Attempt: 2}, record{Kind: "ack", entry: message(3, "b"), Attempt: 2})
		}, verdict{Doubled: 2, Wrong: 1}},
		{"reordered", func(ev *evidence) {
			ev.without(bob, "live", "a")
			ev.add(bob, record{Kind: "live", entry: a})
		}, verdict{Disorder: 1}},
		{"an ack that overtakes", func(ev *evidence) {
			ev.without(ann, "ack", "a")
			ev.add(ann, record{Kind: "ack", entry: a, Attempt: 1})
		}, verdict{Disorder: 1}},
		{"reordered, of a new session", func(ev *evidence) {
			ev.without(bob, "live", "a")
			ev.add(bob, record{Kind: "connect"}, record{Kind: "live", entry: a})
		}, verdict{}},
		{"a log with a hole", func(ev *evidence) {
			e := entry{Seq: 4, ID: "id-d", User: "bob", Message: "d"}
			ev.log["lobby"] = append(ev.log["lobby"], e)
			ev.add(ann, record{Kind: "live", entry: e})
			ev.add(bob, record{Kind: "live", entry: e})
		}, verdict{Disorder: 1, Wrong: 2}},
		{"an ack with another place", func(ev *evidence) {
			ev.log["lobby"] = []entry{{Seq: 1, ID: "id-b", User: "ann", Message: "b"}, {Seq: 2, ID: "id-a", User: "ann", Message: "a"}}
		}, verdict{Wrong: 6}},
		{"shown and not saved", func(ev *evidence) { ev.add(bob, record{Kind: "live", entry: entry{Seq: 3, ID: "id-c", Message: "c"}}) }, verdict{Wrong: 1}},
		{"another text", func(ev *evidence) { ev.add(bob, record{Kind: "mangled", entry: b}) }, verdict{Wrong: 1}},
		{"never acked", func(ev *evidence) { ev.add(bob, record{Kind: "write", entry: entry{Message: "c"}}) }, verdict{Wrong: 1}},
		{"history out of order", func(ev *evidence) { ev.add(bob, record{Kind: "history", Entries: []entry{b, a}}) }, verdict{Disorder: 1}},
		{"a hole", func(ev *evidence) {
			ev.add(bob, record{Kind: "hole", From: 1, To: 2}, record{Kind: "hole", From: 2, To: 2})
		}, verdict{Holes: 2}},
		{"a hole where its own message stands", func(ev *evidence) {
			ev.without(ann, "ack", "a")
			ev.add(ann, record{Kind: "hole", From: 1, To: 1}, record{Kind: "send", entry: entry{Message: "a"}, Attempt: 2}, record{Kind: "ack", entry: a, Attempt: 2})
		}, verdict{OwnHoles: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ev := sound()
			c.doctor(ev)
			v := check(ev)
			if got, want := counts(v), counts(&c.want); got != want {
				t.Errorf("got  %s\nwant %s\n%v", got, want, v.problems)
			}
			if v.faultless() != c.want.faultless() {
				t.Error("faultless:", v.faultless())
			}
		})
	}
}

func counts(v *verdict) string {
	return fmt.Sprintf("lost %d, doubled %d, out of order %d, wrong %d, holes %d, own holes %d", v.Lost, v.Doubled, v.Disorder, v.Wrong, v.Holes, v.OwnHoles)
}

func TestCheckCounts(t *testing.T) {
	t.Parallel()
	ev := sound()
	ev.add(bob, record{Kind: "disconnect"}, record{Kind: "connect", Recovered: true}, record{Kind: "disconnect"}, record{Kind: "connect"})
	v := check(ev)
	if v.Sent != 2 || v.Acked != 2 || v.Attempts != 2 || v.Delivered != 2 || v.Recoveries != 1 || v.Rejoins != 1 || v.OutageMS != 1 {
		t.Errorf("%+v", v)
	}
	if v.Strangers != 0 {
		t.Error("a client of 2.5 has no session to recover")
	}
	ev.clients[bob].Version = 4
	if v := check(ev); v.Strangers != 1 {
		t.Errorf("%d strangers", v.Strangers)
	}
	ev.kills = []int64{ev.records[len(ev.records)-1].T - 1}
	if v := check(ev); v.Strangers != 0 {
		t.Errorf("%d strangers after a kill", v.Strangers)
	}
	if v.GapMS != 10_009-1000 || !strings.Contains(v.gap.String(), "lobby seq 1") {
		t.Errorf("gap %d, %v", v.GapMS, v.gap)
	}
}

// A server whose log does not last is judged by what its pages saw.
func TestCheckPeer(t *testing.T) {
	t.Parallel()
	ev := sound()
	ev.lasting, ev.log = false, map[string][]entry{"lobby": {{Boot: "2", Seq: 1, ID: "id-c", User: "ann", Message: "c"}}}
	c := entry{Boot: "2", Seq: 1, ID: "id-c", User: "ann", Message: "c"}
	for i := range 2 {
		ev.add(i, record{Kind: "connect"}, record{Kind: "join", entry: entry{Boot: "2"}}, record{Kind: "live", entry: c})
	}
	if v := check(ev); v.Lost != 2 || v.Doubled+v.Disorder != 0 { // a and b, from the log
		t.Errorf("%s\n%v", counts(v), v.problems)
	}
}
