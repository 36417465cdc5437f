package simulation_test

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// settle ends all faults and waits until everybody is back and has got all.
func (w *world) settle() {
	w.note("settles")
	w.db.setWeather(calm)
	w.bus.healAll()
	w.mu.Lock()
	clear(w.ban)
	w.bans++
	w.mu.Unlock()
	for _, p := range w.pages {
		p.comeAt = time.Now()
		if p.sock != nil {
			p.sock.cutAfter(-1, -1)
		}
	}
	w.resumeAll()
	w.quiet(4 * time.Minute)
	w.advance(time.Minute) // what a deaf store still saves; connections whose network has vanished are found out
	w.turn()
	for _, p := range w.pages {
		w.checkOwn(p)
	}
	// A last word of the host's in each room, by each server: what comes after it would be told before it.
	for _, room := range w.rooms {
		w.newPost(room)
		w.emit(room)
	}
	w.emit("")
	w.quiet(2 * time.Minute)
	if !w.together() {
		return
	}
	w.advance(5 * time.Second)
	w.turn()
	for _, p := range w.pages {
		w.checkLive(p)
	}
}

// checkOwn looks at what came live of what the page's own server has saved, of whatever it was told about that.
func (w *world) checkOwn(p *page) {
	for _, room := range w.rooms {
		v := p.views[room]
		if v.state != in || !p.online() {
			continue
		}
		for seq := max(v.last, v.joinAt) + 1; seq <= w.lastOf(room); seq++ {
			e := w.entry(room, seq)
			if (w.set.watch || w.db.savedBy(p.server.node, e.ID) || w.bus != nil && !w.db.foreign(e.ID)) && !p.mayMiss(e) {
				w.fail(inOrder, "%s: %s/%d %s has not come, live was %d, joined at %d", p.name, room, seq, e.Text, v.last, v.joinAt)
			}
		}
	}
}

func (db *database) savedBy(n *node, id string) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return n != nil && db.by[id] == n
}

// foreign tells whether another program has saved an entry.
func (db *database) foreign(id string) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.by[id] == nil
}

// together: what one server appends reaches the clients of all.
func (w *world) together() bool { return w.set.watch || len(w.servers) == 1 || w.bus != nil }

// quiet waits until nobody has anything to do.
func (w *world) quiet(most time.Duration) {
	const tick = 250 * time.Millisecond
	for waited := time.Duration(0); ; waited += tick {
		time.Sleep(tick)
		w.turn()
		why := w.unrest()
		if why == "" {
			return
		}
		if waited > most {
			w.fail(goesOn, "%v after the last fault: %s", waited, why)
		}
	}
}

func (w *world) unrest() string {
	for _, s := range w.servers {
		if s == nil || s.ending {
			return "a server is down"
		}
	}
	for _, p := range w.posts {
		if !p.saved {
			return "host's post " + p.text
		}
	}
	for _, p := range w.pages {
		if why := p.unrest(); why != "" {
			return p.name + " " + why
		}
	}
	return ""
}

func (p *page) unrest() string {
	if !p.online() {
		return "is offline"
	}
	for _, r := range p.waiting {
		return "waits for " + r.event
	}
	for _, v := range p.views {
		if v.want && (v.state != in || v.behind) || !v.want && v.state != out {
			return fmt.Sprintf("is not settled in %s: %+v", v.name, v.state)
		}
	}
	for _, m := range p.outbox {
		if p.views[m.room].want && m.id != "" {
			return "has not settled " + m.text
		}
	}
	return ""
}

// checkLive looks at what came without being asked for.
func (w *world) checkLive(p *page) {
	w.checkTally(p, "events to everybody", p.all, w.all)
	for _, name := range w.rooms {
		v := p.views[name]
		if v.state != in {
			continue
		}
		if last := w.lastOf(name); max(v.last, v.joinAt) < last {
			w.fail(inOrder, "%s: the last live entry of %s is %d, joined at %d, the store has %d", p.name, name, v.last, v.joinAt, last)
		}
		w.checkTally(p, "host's emits in "+name, v.ticks, w.ticks[name])
	}
}

// check looks at the store, and at every view.
func (w *world) check() {
	if !w.together() { // nothing tells a page of what other servers have appended
		for _, p := range w.pages {
			for _, v := range p.views {
				v.behind = v.state == in
			}
		}
		w.quiet(time.Minute)
	}
	w.advance(6 * time.Second) // who was cut off by a last burst, and went to another server, has left the one before
	for _, room := range w.rooms {
		w.checkLog(room)
		for _, p := range w.pages {
			w.checkView(p.views[room])
		}
	}
	for _, m := range w.messages {
		w.checkAck(m)
	}
	for _, p := range w.posts {
		if e := w.entry(p.room, p.entry.Seq); e.ID != p.entry.ID || e.Text != p.text {
			w.fail(ackedOnce, "host's post %s is %s/%d, where the store has %s", p.text, p.room, p.entry.Seq, e.Text)
		}
	}
	w.checkMembers()
	w.bus.check()
}

// checkLog wants a dense log without a key or a text twice; texts without a key are sent once.
func (w *world) checkLog(room string) {
	w.known[room] = whole(w.db.base, room)
	keys, seen := map[[2]string]uint64{}, map[string]uint64{}
	for i, e := range w.known[room] {
		if e.Seq != uint64(i+1) {
			w.fail(ackedOnce, "the store has %s/%d in place %d", room, e.Seq, i+1)
		}
		key := [2]string{e.UserID, e.MessageID}
		if was, ok := keys[key]; ok && e.MessageID != "" {
			w.fail(keyOnce, "%s/%d and %d have key %v", room, was, e.Seq, key)
		}
		if was, ok := seen[e.Text]; ok {
			w.fail(ackedOnce, "%s/%d and %d are both %s", room, was, e.Seq, e.Text)
		}
		keys[key], seen[e.Text] = e.Seq, e.Seq
	}
	if last := w.lastOf(room); last != uint64(len(w.known[room])) {
		w.fail(ackedOnce, "the store has %d entries of %s, and says %d", len(w.known[room]), room, last)
	}
}

func (w *world) checkView(v *view) {
	if v.state != in {
		return
	}
	log := w.known[v.name]
	if v.cursor != uint64(len(log)) || len(v.entries) != len(log) {
		w.fail(inOrder, "%s: the view of %s has %d entries, %d without a hole; the store has %d", v.p.name, v.name, len(v.entries), v.cursor, len(log))
	}
	for _, e := range log {
		if v.entries[e.Seq] != e.ID {
			w.fail(inOrder, "%s: %s/%d is %s, in the store %s", v.p.name, v.name, e.Seq, v.entries[e.Seq], e.ID)
		}
	}
}

func (w *world) checkAck(m *message) {
	if m.acked == nil {
		return
	}
	if e := w.entry(m.room, m.acked.Seq); e.ID != m.acked.ID || e.Text != m.text || e.UserID != m.page.user {
		w.fail(ackedOnce, "%s was acked as %s/%d %s, where the store has %+v", m.text, m.room, m.acked.Seq, m.acked.ID, e)
	}
}

// checkMembers wants that a server has in a room those who think so.
func (w *world) checkMembers() {
	for _, s := range w.servers {
		for _, room := range w.rooms {
			var want, got []string
			for _, p := range w.pages {
				if (p.server == s || w.bus != nil) && p.views[room].state == in && !slices.Contains(want, p.user) {
					want = append(want, p.user)
				}
			}
			members, err := s.hub.Room(room).Members(context.Background())
			for _, m := range members {
				got = append(got, m.UserID)
			}
			slices.Sort(want)
			if err != nil || !slices.Equal(got, want) {
				w.fail(nothingMore, "server %d has %v in %s (%v), the pages say %v", s.n, got, room, err, want)
			}
		}
	}
}

// endAll shuts all servers down.
func (w *world) endAll() {
	w.closing = true
	for _, s := range w.servers {
		w.end(s)
	}
	w.advance(80 * time.Second)
	w.turn()
	for _, s := range w.past {
		if !s.over() {
			w.fail(cleanEnd, "server %d has not shut down", s.n)
		}
		if err := <-s.ended; err != nil {
			w.fail(cleanEnd, "server %d: %v", s.n, err)
		}
	}
	w.bus.checkEmpty()
}
