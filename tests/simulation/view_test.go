package simulation_test

import (
	"fmt"
	"time"

	"github.com/parleychat/chat"
)

type membership int

const (
	out membership = iota
	joining
	in
	leaving
	unsure // it depends on what was lost with a connection
)

// A view is a room as a page sees it, and what must hold of it.
type view struct {
	p      *page
	name   string
	want   bool
	state  membership
	askAt  time.Time // not before
	joinAt uint64    // seq of the last join: what is later comes live

	entries map[uint64]string // id by seq
	cursor  uint64            // all up to here is there

	last   uint64 // seq of the last live event of this session
	told   bool   // the next live event may leave something out
	ended  bool   // the membership may have ended since the last join_room that was answered: by a leave_room, or by the policy while the page was away
	behind bool   // history must be asked for
	asking bool

	ticks   tally           // of the host's emits
	present map[string]bool // users who are there
}

func newView(p *page, name string) *view {
	return &view{p: p, name: name, entries: map[uint64]string{}, ticks: tally{}, present: map[string]bool{}}
}

// A counter follows numbered events that come all, in order, once.
type counter struct {
	last  uint64 // that was heard; meaningful with known
	known bool
	floor uint64 // made before it was certain that they are heard
}

func (c *counter) hear(n uint64, lossy bool) bool {
	ok := n == c.last+1 || !c.known && n <= c.floor+1 || lossy && n > c.last
	c.last, c.known = n, true
	return ok
}

// complete tells whether all that were made have been heard.
func (c *counter) complete(made uint64) bool {
	return c.known && c.last == made || !c.known && made == c.floor
}

// A tally is counters of what each server emits.
type tally map[int]*counter

func (t tally) of(server int) *counter {
	if t[server] == nil {
		t[server] = &counter{}
	}
	return t[server]
}

func (t tally) restart(made map[int]uint64) {
	clear(t)
	for server, n := range made {
		t[server] = &counter{floor: n}
	}
}

func (t tally) String() string {
	text := ""
	for server, c := range t {
		text += fmt.Sprintf(" %d:%+v", server, *c)
	}
	return text
}

type tick struct {
	Room string `json:"room"`
	By   int    `json:"by"` // the server's number
	N    uint64 `json:"n"`
}

func (p *page) tick(event string, t tick) {
	p.note("hears %s %+v", event, t)
	if event == "all" {
		was := *p.all.of(t.By)
		if !p.all.of(t.By).hear(t.N, p.w.set.lossy) {
			p.w.fail(recoveredAll, "%s: event to everybody %d of server %d after %+v", p.name, t.N, t.By, was)
		}
		return
	}
	v := p.viewOf(t.Room)
	v.mayHear("tick")
	was := *v.ticks.of(t.By)
	if ok := v.ticks.of(t.By).hear(t.N, p.w.set.lossy); !ok && v.state == in {
		p.w.fail(recoveredAll, "%s: host's emit %d of server %d in %s after %+v", p.name, t.N, t.By, v.name, was)
	}
}

// fresh is the beginning of a session: it is in no room.
func (v *view) fresh() {
	v.state, v.last, v.told, v.asking, v.joinAt, v.ended = out, 0, false, false, 0, false
	clear(v.ticks)
	clear(v.present)
}

// lose ends the membership for good.
func (v *view) lose() { v.state, v.asking, v.askAt = out, false, time.Time{} }

// uncertain ends what was certain of the membership.
func (v *view) uncertain() {
	if v.state != out {
		v.state, v.ended = unsure, true
	}
}

func (v *view) mayHear(event string) {
	if v.state == out {
		v.p.w.fail(nothingMore, "%s: %s of %s, which it is not in", v.p.name, event, v.name)
	}
}

// live takes an entry at its place in the order: a new_message, or the ack of an own message.
func (v *view) live(e chat.Entry) {
	w := v.p.w
	if e.Seq <= v.last {
		w.fail(inOrder, "%s: %s/%d %s after %d", v.p.name, v.name, e.Seq, e.Text, v.last)
	}
	if v.state == in {
		v.mind(e)
	}
	v.last = e.Seq
	v.add(e)
}

// mind looks for a hole before e.
func (v *view) mind(e chat.Entry) {
	next := max(v.last, v.joinAt) + 1
	if e.Seq <= next {
		return
	}
	if v.told {
		v.told = false
		return
	}
	for seq := next; seq < e.Seq; seq++ {
		if missing := v.p.w.entry(v.name, seq); !v.p.mayMiss(missing) {
			v.p.w.fail(holeTold, "%s: %s/%d %s comes after %d (joined at %d): %d %s is missing", v.p.name, v.name, e.Seq, e.Text, v.last, v.joinAt, seq, missing.Text)
		}
	}
	v.behind = true // the ack was lost with a connection; a page cannot know, and asks
}

// mayMiss: an own entry, whose ack was lost on its way.
func (p *page) mayMiss(e chat.Entry) bool {
	m := p.w.messages[e.Text]
	return m != nil && m.page == p && m.ackedUnheard()
}

// own takes an acked message of the page's.
func (v *view) own(e chat.Entry, once bool) {
	if once || e.Seq > v.last && v.state == in {
		v.live(e)
		return
	}
	v.add(e) // the ack of a retry, of what has come before
}

// add puts an entry where it belongs. It must be the store's.
func (v *view) add(e chat.Entry) {
	if s := v.p.w.entry(v.name, e.Seq); s.ID != e.ID || s.Text != e.Text || s.Seq != e.Seq || s.UserID != e.UserID {
		v.p.w.fail(neverFalse, "%s: was told %s/%d %s (%s), the store has %+v", v.p.name, v.name, e.Seq, e.Text, e.ID, s)
	}
	if id, ok := v.entries[e.Seq]; ok && id != e.ID {
		v.p.w.fail(inOrder, "%s: two entries are %s/%d", v.p.name, v.name, e.Seq)
	}
	v.entries[e.Seq] = e.ID
	for v.entries[v.cursor+1] != "" {
		v.cursor++
	}
}

// tend does what is due in the room.
func (v *view) tend(now time.Time) {
	if now.Before(v.askAt) {
		return
	}
	switch {
	case v.want && (v.state == out || v.state == unsure):
		v.join()
	case !v.want && (v.state == in || v.state == unsure):
		v.leave()
	case v.state == in && v.behind && !v.asking:
		v.catchUp()
	}
}

func (v *view) later() {
	v.askAt = time.Now().Add(v.p.w.between(v.p.rng, 200, 2000))
}

func (v *view) join() {
	p := v.p
	bans, wasBanned := p.w.bansNow(), p.w.banned(p.user, v.name)
	wasIn := v.state == unsure
	if !wasIn {
		v.last, v.told, v.joinAt = 0, false, 0
	}
	v.state = joining
	p.ask("join_room", v.name, fields{"room": v.name}, func(a answer) {
		switch {
		case a.OK && wasBanned && bans == p.w.bansNow():
			p.w.fail(nothingMore, "%s: joined %s in spite of the policy", p.name, v.name)
		case a.OK:
			p.note("in %s at %d", v.name, a.Seq)
			if v.ended && a.Seq < v.last { // it did: this is a membership of its own, which may begin on a node that is behind
				v.last = 0
			}
			v.state, v.joinAt, v.ended = in, a.Seq, false
			v.ticks.restart(p.w.ticks[v.name])
			clear(v.present)
			for _, m := range a.Members {
				v.present[m.UserID] = true
			}
			v.behind = v.behind || v.cursor < a.Seq
			return
		case a.Error.Code == chat.Unavailable:
		case a.Error.Code == chat.Forbidden && (wasBanned || bans != p.w.bansNow()):
		default:
			p.w.fail(neverFalse, "%s: join %s: %s", p.name, v.name, a.Error.Code)
		}
		if v.state = out; wasIn {
			v.state = unsure
		}
		v.later()
	})
}

func (v *view) leave() {
	v.state, v.ended = leaving, true
	v.p.ask("leave_room", v.name, fields{"room": v.name}, func(a answer) {
		if !a.OK {
			v.p.w.fail(neverFalse, "%s: leave %s: %s", v.p.name, v.name, a.Error.Code)
		}
		v.p.note("left %s", v.name)
		v.lose()
	})
}

// catchUp asks for what follows the cursor.
func (v *view) catchUp() {
	p, after, least := v.p, v.cursor, max(v.joinAt, v.last)
	limit := 1 + p.rng.IntN(60)
	v.asking = true
	p.w.stats.history++
	p.ask("history", v.name, fields{"room": v.name, "after": after, "limit": limit}, func(a answer) {
		v.asking = false
		if v.state != in {
			return
		}
		if !a.OK {
			v.refused(a)
			return
		}
		p.note("history of %s after %d: %d, more %v", v.name, after, len(a.Entries), a.More)
		if len(a.Entries) > limit {
			p.w.fail(inOrder, "%s: %d entries of %s, limit %d", p.name, len(a.Entries), v.name, limit)
		}
		v.pageOf(a, after)
		if v.behind = a.More; !a.More && v.cursor < least {
			p.w.fail(inOrder, "%s: history of %s ends at %d, live was %d, joined at %d", p.name, v.name, v.cursor, v.last, v.joinAt)
		}
	})
}

func (v *view) refused(a answer) {
	if a.Error.Code != chat.Unavailable {
		v.p.w.fail(neverFalse, "%s: history of %s: %s", v.p.name, v.name, a.Error.Code)
	}
	v.later()
}

// pageOf takes a page that follows after.
func (v *view) pageOf(a answer, after uint64) {
	for i, e := range a.Entries {
		if e.Seq != after+1+uint64(i) {
			v.p.w.fail(inOrder, "%s: history of %s after %d has %d at place %d", v.p.name, v.name, after, e.Seq, i)
		}
		v.add(e)
	}
}

// look asks for an older page, as a page that is scrolled up.
func (v *view) look(before uint64, limit int) {
	if !v.p.online() || v.state != in {
		return
	}
	payload := fields{"room": v.name, "limit": limit}
	if before > 0 {
		payload["before"] = before
	}
	had := before > 1 && before-1 <= v.cursor // then the page ends right before
	v.p.ask("history", v.name, payload, func(a answer) {
		if v.state != in {
			return
		}
		if !a.OK {
			v.refused(a)
			return
		}
		if len(a.Entries) > 0 {
			v.pageOf(a, a.Entries[0].Seq-1)
		}
		if n := len(a.Entries); had && (n == 0 || a.Entries[n-1].Seq != before-1) {
			v.p.w.fail(inOrder, "%s: history of %s before %d: %+v", v.p.name, v.name, before, a.Entries)
		}
	})
}
