package load

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestJoinerJoinsItsRoom(t *testing.T) {
	t.Parallel()
	c := &conn{room: 7}
	d := joiner{eio{version: 4}}
	if answer, _, joined := d.take(c, []byte(`40{"sid":"a"}`)); string(answer) != `420["join_room",{"room":"r7"}]` || joined {
		t.Errorf("CONNECT was answered with %s", answer)
	}
	if _, _, joined := d.take(c, []byte(`430[{"ok":false,"error":{}}]`)); joined {
		t.Error("joined, although it was refused")
	}
	if _, _, joined := d.take(c, []byte(`430[{"ok":true,"room":"r7","seq":41,"members":[]}]`)); !joined || c.seq != 41 {
		t.Errorf("joined %v at %d, want at 41", joined, c.seq)
	}
}

// heard is what a client makes of frames after its 41st entry, with messages 1
// and 2 under way.
func heard(frames ...string) (*book, error) {
	l, c := &Load{dialect: joiner{eio{version: 4}}}, &conn{joined: true, seq: 41}
	b := &book{sentAt: []time.Time{{}, time.Now(), time.Now()}}
	l.onEntry = func(c *conn, p []byte) error { return l.hear(b, c, p) }
	for _, f := range frames {
		if err := l.frame(c, opText, []byte(f)); err != nil {
			return b, err
		}
	}
	return b, nil
}

func entryFrame(seq int) string {
	return fmt.Sprintf(`42["new_message",{"kind":"message","seq":%d}]`, seq)
}

func ackFrame(id, seq int, key string) string {
	return fmt.Sprintf(`43%d[{"ok":true,"message":{"kind":"message","seq":%d,"message_id":"%s"}}]`, id, seq, key)
}

func TestHearTakesEntriesInOrder(t *testing.T) {
	t.Parallel()
	b, err := heard(entryFrame(42), ackFrame(1, 43, Key(1)), `42["user_left",{"room":"r0","seq":1}]`, entryFrame(44), ackFrame(2, 45, Key(2)))
	if err != nil || b.acks != 2 || len(b.waits) != 2 {
		t.Errorf("%d acks, %v", b.acks, err)
	}
}

func TestHearRefuses(t *testing.T) {
	t.Parallel()
	for name, frames := range map[string][]string{
		"a hole":               {entryFrame(42), entryFrame(44)},
		"an entry twice":       {entryFrame(42), entryFrame(42)},
		"a failed ack":         {`431[{"ok":false,"error":{"code":"UNAVAILABLE","seq":42}}]`},
		"another's ack":        {ackFrame(1, 42, Key(2))},
		"an ack twice":         {ackFrame(1, 42, Key(1)), ackFrame(1, 43, Key(1))},
		"an ack of nothing":    {ackFrame(3, 42, Key(3))},
		"an ack without a seq": {`431[{"ok":true,"message":{"kind":"message"}}]`},
	} {
		if _, err := heard(frames...); err == nil {
			t.Errorf("%s passed", name)
		}
	}
}

func TestKeysDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for n := range 1000 {
		seen[Key(n)] = true
	}
	if len(seen) != 1000 || len(Key(5)) != 36 || strings.Count(Key(5), "-") != 4 {
		t.Errorf("%d keys of 1,000, such as %s", len(seen), Key(5))
	}
}

func TestPlacesAreInTheRoom(t *testing.T) {
	t.Parallel()
	const n = 1000
	places := Places(n, 20)
	if len(places) != 1+2*23 {
		t.Errorf("%d places", len(places))
	}
	for _, p := range places {
		switch {
		case p.First < 1 || p.First+PageSize-1 > n:
			t.Errorf("the page from %d is not in the room", p.First)
		case p.After != nil && *p.After != p.First-1, p.Before != nil && *p.Before != p.First+PageSize:
			t.Errorf("%s is not the page from %d", p.query(), p.First)
		}
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	var d []time.Duration
	for i := range 200 {
		d = append(d, time.Duration(i+1)*time.Millisecond)
	}
	slices.Reverse(d)
	if s := SpreadOf(d); s.N != 200 || s.P50 != 101 || s.P99 != 199 || s.Max != 200 {
		t.Errorf("%+v", s)
	}
}
