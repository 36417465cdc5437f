package chat

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/parleychat/chat/internal/socketio"
)

// sharedMemory is the memory store as one that all nodes have.
type sharedMemory struct{ Store }

func (sharedMemory) Shared() bool { return true }

// nobody is a Cluster that nobody else is in, and where nothing arrives.
type nobody struct{}

func (nobody) Streams() int                                        { return 2 }
func (nobody) Join(_ Node, h ClusterHandler) error                 { h.Joined("abcdef.1"); return nil }
func (nobody) Publish(context.Context, []Publication) error        { return nil }
func (nobody) Signal([]byte)                                       {}
func (nobody) Ask(context.Context, string, []byte) ([]byte, error) { return nil, ErrNoNode }
func (nobody) Mark(context.Context, []Mark) error                  { return nil }
func (nobody) Marks(context.Context, string) ([]Mark, error)       { return nil, nil }
func (nobody) Keep(context.Context, []Kept) error                  { return nil }
func (nobody) Take(context.Context, string) ([]byte, error)        { return nil, nil }
func (nobody) Leave(context.Context) error                         { return nil }
func (nobody) node(f *testing.F) *nodes {
	f.Helper()
	hub, err := New(WithStore(sharedMemory{NewMemoryStore(0, 0)}), WithCluster(nobody{}), WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := hub.Shutdown(ctx); err != nil {
			f.Error(err)
		}
	})
	sp := hub.core.spaces["/"]
	sp.mu.Lock()
	sp.roomLocked("r")
	sp.mu.Unlock()
	return hub.core.nodes
}

// Whatever another node publishes or signals: what cannot be read is passed over and counted, and no notice is taken in half.
func FuzzReceive(f *testing.F) {
	n := nobody{}.node(f)
	sp := n.hub.spaces["/"]
	to := &audience{rooms: []string{"r"}, notUsers: []string{"u"}}
	e := appended{Appended: &Appended{Entry: Entry{Kind: KindMessage, Namespace: "/", Room: "r", ID: "i", Seq: 1, Text: "t", Timestamp: time.Unix(0, 0)}}}
	for _, b := range [][]byte{
		newNotice(noticePulse, "ghijkl", "", ""),
		sp.eventNotice(context.Background(), to, "e", socketio.Encoded{JSON: []byte(`"x"`), Attachments: [][]byte{{1}}}),
		e.notice("ghijkl"),
		append(appendStrings(newNotice(noticePresence, "ghijkl", "", "/"), "r", "ghijkl.1"), 1, 1, 'u', 1, 'n', 1, 0),
		appendStrings(append(to.append(newNotice(noticeAct, "ghijkl", "q", "/")), actJoin), "r"),
		appendBytes(newNotice(noticeRevoked, "ghijkl", "", ""), []byte(`{"user_id":"u"}`)),
		appendStrings(newNotice(noticeGrown, "ghijkl", "", "/"), "r"),
		appendStrings(newNotice(noticeErased, "ghijkl", "", ""), "u"),
		append([]byte{noticeVersion, signalCounters}, "ghijkl\x05\x06"...),
		append([]byte{noticeVersion, signalTyping}, "ghijkl\x01/\x01r\x01u\x01"...),
	} {
		copy(b[2:], "ghijkl")
		f.Add(b)
	}
	number := uint64(0)
	f.Fuzz(func(t *testing.T, data []byte) {
		n.Signaled(data)
		if number++; len(data) >= noticeHead {
			numberNotice(data, number) // or all but the first were passed over as doubled
		}
		before := n.unread.Load()
		n.Receive(0, data)
		note, err := readNotice(data)
		known := err == nil && note.kind >= noticePulse && note.kind <= noticeErased
		if err != nil && n.unread.Load() == before && note.tag != n.tag {
			t.Errorf("%q was not counted", data)
		}
		if err == nil && !known && n.hub.spaces[note.space] != nil && note.tag != n.tag && n.unread.Load() == before {
			t.Errorf("%q of an unknown kind was not counted", data)
		}
	})
}

// Whatever another node asks: there is an answer or an error.
func FuzzAnswer(f *testing.F) {
	n := nobody{}.node(f)
	secret := pid{1}
	for _, q := range []string{
		"clients\n" + `{"Space":"/","To":{"Rooms":["r"]}}`, "rooms\n" + `{"Space":"/"}`,
		"call\n" + `{"Space":"/","To":{},"Event":"e","JSON":[1],"Within":1000000}`,
		"session\n" + `{"Space":"/","PID":"` + secret.text("sid", "abcdef") + `","ID":"sid","User":{"ID":"u"}}`,
		"release\n" + `{}`, "", "x", "\n", "clients\nnull", "call\n" + `{"JSON":""}`,
	} {
		f.Add([]byte(q))
	}
	f.Fuzz(func(t *testing.T, question []byte) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		answer, err := n.Answer(ctx, question)
		if (err == nil) != (len(answer) > 0) {
			t.Errorf("%q: %q, %v", question, answer, err)
		}
	})
}
