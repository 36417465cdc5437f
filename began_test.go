package chat

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parleychat/chat/internal/socketio"
)

// A node that is cut off as it begins has sessions before it has read anything: what comes before its first notice is not older than they are, until it says that it has read that.
func TestBegan(t *testing.T) {
	n := &nodes{tag: "mymine", streams: make([]inStream, 4)}
	for i, p := range []*publisher{{begun: 5}, {begun: 6, base: 1}, {begun: 7, hearsay: true}, {begun: 8, torn: true}} {
		n.streams[i].from = map[string]*publisher{"theirs": p}
	}
	s := &snapshot{}
	for i := range 6 { // two more than there are streams
		s.Seen = append(s.Seen, seenPlace{Tag: "theirs", Stream: i})
	}
	if got := n.began(s); len(got) != 0 {
		t.Error(got)
	}
	for i := range s.Seen {
		s.Seen[i].Read = true
	}
	if got := n.began(s); len(got) != 2 || got[0] != (beginning{counter: 5}) || got[3] != (beginning{counter: 8, torn: true}) {
		t.Error(got)
	}
}

func TestReceivedSaysWhatWasRead(t *testing.T) {
	h, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Shutdown(t.Context()) }()
	n := &nodes{hub: h.core, tag: "mymine", streams: make([]inStream, 2)}
	n.relay = relay{nodes: n, numbers: make([]uint64, 2)}
	own := newNotice(noticePulse, n.tag, "", "")
	numberNotice(own, 1)
	n.Receive(1, own)
	if all := n.received(); len(all) != 2 || all[0].Read || !all[1].Read {
		t.Error(all)
	}
}

// A session that was to be kept and goes to another node is taken off the queue, or waited for.
func TestWithdrawWhatIsOnItsWay(t *testing.T) {
	on := &keptBatch{done: make(chan struct{})}
	k := keeping{vals: []Kept{{Key: "a"}, {Key: "b"}, {Key: "c"}}, went: map[string]*keptBatch{"d": on}}
	if !k.withdraw(t.Context(), nil, "b") || len(k.vals) != 2 || k.vals[0].Key != "a" || k.vals[1].Key != "c" {
		t.Error(k.vals)
	}
	if !k.withdraw(t.Context(), nil, "never kept") {
		t.Error("what was not kept cannot be had")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if k.withdraw(ended, nil, "d") {
		t.Error("what may be kept yet was given away")
	}
}

// A node that has published nothing at all has nothing that could be on its way.
func TestWaitForNothing(t *testing.T) {
	h, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Shutdown(t.Context()) }()
	n := &nodes{hub: h.core, tag: "mymine", streams: []inStream{{from: map[string]*publisher{}}}}
	for number, want := range map[uint64]bool{0: true, 1: false} {
		if got := n.waitReceived(t.Context(), &snapshot{}, seenPlace{Tag: "theirs", Number: number}); got != want {
			t.Errorf("up to %d: %v", number, got)
		}
	}
}

// marked is a cluster with these marks.
type marked struct {
	Cluster
	all []Mark
}

func (m marked) Marks(context.Context, string) ([]Mark, error) { return m.all, nil }

// A node may read its own marks before it is told of the lease that they belong to. They are not another node's: nobody would ever end them.
func TestOwnMarksAreNoNews(t *testing.T) {
	h, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Shutdown(t.Context()) }()
	all := []Mark{{Node: "mymine.1", Field: "ann"}, {Node: "mymine.2", Field: "ann"}, {Node: "theirs.2", Field: "bob"}, {Node: "mymine.2", Field: "bob"}}
	n := &nodes{hub: h.core, tag: "mymine", of: marked{all: all}}
	got, err := n.marks(t.Context(), "k")
	if err != nil || len(got) != 1 || got[0] != all[2] {
		t.Error(got, err)
	}
}

// What is known of nodes that were gone before this one came is forgotten like that of others.
func TestPastIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := New(WithStore(sharedMemory{NewMemoryStore(0, 0)}), WithCluster(nobody{}), WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		n := h.core.nodes
		for i := range uint64(3) {
			past := n.hub.spaces["/"].eventNotice(t.Context(), &audience{}, "e", socketio.Encoded{JSON: []byte("1")})
			copy(past[2:], "ghijkl")
			numberNotice(past, 5+i)
			n.History(0, past, past)
		}
		n.streams[0].mu.Lock()
		if p := n.streams[0].from["ghijkl"]; p == nil || p.base != 4 || p.last != 7 {
			t.Errorf("%+v", p)
		}
		n.streams[0].mu.Unlock()
		sp, s := n.hub.spaces["/"], &lostSession{id: "s"}
		sp.mu.Lock()
		if all := sp.recovery.events; len(all) != 3 || !s.missed(&all[0]) {
			t.Errorf("%d events are kept", len(all))
		}
		if none := sp.recovery.eachMissedLocked(s, "", func(*kept) bool { return false }); !none {
			t.Error("a session of this node has missed what was published before it was there")
		}
		sp.mu.Unlock()
		time.Sleep(endedKept + n.hub.set.recoveryWindow + time.Minute)
		synctest.Wait()
		n.streams[0].mu.Lock()
		if len(n.streams[0].from) > 0 {
			t.Error("it is never forgotten")
		}
		n.streams[0].mu.Unlock()
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// What a session was sent on its arrival is had once more from where it was read up to, as long as it is known, and for these rooms.
func TestArrival(t *testing.T) {
	sp := &space{epoch: "here"}
	three := []*outgoing{{name: "1"}, {name: "2"}, {name: "3"}}
	known := &arrival{offset: "o.1", number: 7, caught: true, replay: three}
	large := &arrival{offset: "o.1", number: 7, caught: true}
	for _, c := range []struct {
		name   string
		came   *arrival
		offset string
		events int
		ok     bool
	}{
		{"began here", nil, "", 0, true},
		{"read nothing", known, "o.1", 3, true},
		{"read one", known, "here.7-1", 2, true},
		{"read all but one", known, "here.7-2", 1, true},
		{"read all", known, "here.7", 0, true},
		{"and more", known, "here.8", 0, true},
		{"another arrival", known, "here.6-1", 0, true}, // position refuses it
		{"no offset where it had one", known, "", 0, true},
		{"no part", known, "here.7-x", 0, true},
		{"more than there is", known, "here.7-4", 0, false},
		{"too large to be kept", large, "o.1", 0, false},
		{"and read in part", large, "here.7-1", 0, false},
		{"had missed nothing", &arrival{offset: "o.1", number: 7}, "o.1", 0, true},
	} {
		replay, read, ok := c.came.unread(sp, c.offset)
		if len(replay) != c.events || ok != c.ok || c.events > 0 && read != 3-c.events {
			t.Errorf("%s: %d events after %d, %v", c.name, len(replay), read, ok)
		}
	}
	s := &lostSession{came: known, rooms: []lostRoom{{name: "a"}, {name: "b"}}}
	s.restrict([]string{"a", "b"})
	if _, _, ok := s.came.unread(sp, "o.1"); !ok {
		t.Error("forgotten though no room was lost")
	}
	s.restrict([]string{"a"})
	if replay, _, ok := s.came.unread(sp, "o.1"); ok || replay != nil {
		t.Error("events of a lost room are replayed")
	}
}

// Replays are kept until a connection that lives has brought them, and no more of them than there is room for.
func TestArrivalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := New(WithRecovery(time.Minute, 64<<10))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = h.Shutdown(t.Context()) }()
		sp := h.core.spaces["/"]
		kept := func(sizes ...int) (list []bool) {
			for _, size := range sizes {
				a := &arrival{}
				sp.mu.Lock()
				sp.recovery.keepReplayLocked(a, []*outgoing{{}}, size)
				if !a.caught {
					t.Error("it had missed something")
				}
				list = append(list, a.replay != nil)
				sp.mu.Unlock()
			}
			return list
		}
		if got := kept(arrivalMost+1, 3<<10, 4<<10, 4<<10, 1<<10); !slices.Equal(got, []bool{false, true, true, false, true}) {
			t.Error(got)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if got := kept(4 << 10); !got[0] || sp.recovery.unread != 8<<10 {
			t.Error("what was brought has not gone", sp.recovery.unread)
		}
	})
}
