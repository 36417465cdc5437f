package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// evidence is all that a run leaves to be judged.
type evidence struct {
	clients []client
	records []record
	log     map[string][]entry // what the server's log holds at the end, room by room, in its order
	lasting bool               // the log is to have outlived everything: what pages saw is compared with it number by number
}

// A verdict is the counts of a run, by the rules in README.md, and what is behind those that have to be 0.
type verdict struct {
	Sent       int   `json:"sent"`       // messages that were written
	Acked      int   `json:"acked"`      // of those
	Attempts   int   `json:"attempts"`   // chat_message events, retries among them
	Delivered  int   `json:"delivered"`  // new_message events that reached pages
	CaughtUp   int   `json:"caught_up"`  // entries that a page first saw in its history
	Lost       int   `json:"lost"`       // acked messages that the log lacks, and entries that a member lacks
	Doubled    int   `json:"doubled"`    // messages that are in the log again, or that a page was told again
	Disorder   int   `json:"disorder"`   // events that came after one of a later place
	Wrong      int   `json:"wrong"`      // an ack, a text or a page of history that is not what the log says
	Holes      int   `json:"holes"`      // numbers that a page saw left out, and had to ask for
	OwnHoles   int   `json:"own_holes"`  // those where its own message stood, whose ack was lost on its way
	Told       int   `json:"told"`       // error events
	Refused    int   `json:"refused"`    // calls that were answered with an error or not at all
	Recoveries int   `json:"recoveries"` // connections with socket.recovered
	Rejoins    int   `json:"rejoins"`    // later connections without
	GapMS      int64 `json:"gap_ms"`     // the longest time from an entry's timestamp until a member had it
	OutageMS   int64 `json:"outage_ms"`  // the longest time that a client was without a connection

	gap      finding
	problems []finding // of Lost, Doubled, Disorder and Wrong
	holes    []finding
}

func (v *verdict) faultless() bool { return v.Lost+v.Doubled+v.Disorder+v.Wrong == 0 }

// A finding is one thing for a human to look at.
type finding struct {
	what   string
	client string
	room   string
	seq    uint64
	detail string
	t      int64
}

func (f finding) String() string {
	return fmt.Sprintf("%s %-8s %-8s %s seq %d: %s", time.UnixMilli(f.t).Format("15:04:05.000"), f.what, f.client, f.room, f.seq, f.detail)
}

// place is an entry's place in its room's log.
type place struct {
	boot string
	seq  uint64
}

// view is what one page knows of one room.
type view struct {
	member  string
	room    string
	known   map[place]sight
	message map[string]place // where it saw a message_id
	session sessionView
}

// sight is an entry as a page first saw it.
type sight struct {
	entry
	t int64
}

// sessionView is what came by events in one session: a connection, and those that recovered it.
type sessionView struct {
	live   map[place]bool // by new_message
	own    map[place]bool // by the ack of the only attempt
	last   place          // the latest of both
	joined place          // what the last join_room told
}

func newSession() sessionView {
	return sessionView{live: map[place]bool{}, own: map[place]bool{}}
}

// judge is the state of judging.
type judge struct {
	verdict
	ev       *evidence
	views    []map[string]*view // by client and room
	attempts map[string]int     // by message_id
	acked    map[string]ackedAt
	written  map[string]record
	holesRaw []record
	away     []int64 // since when each client is, 0: it is not
	came     []bool
}

type ackedAt struct {
	entry
	room string
	t    int64
}

func check(ev *evidence) *verdict {
	j := &judge{
		ev: ev, attempts: map[string]int{}, acked: map[string]ackedAt{}, written: map[string]record{},
		away: make([]int64, len(ev.clients)), came: make([]bool, len(ev.clients)),
	}
	for _, c := range ev.clients {
		rooms := map[string]*view{}
		for _, r := range c.Rooms {
			rooms[r] = &view{member: c.User, room: r, known: map[place]sight{}, message: map[string]place{}, session: newSession()}
		}
		j.views = append(j.views, rooms)
	}
	for i := range ev.records {
		j.take(&ev.records[i])
	}
	j.judgeLog()
	j.judgeViews()
	j.judgeHoles()
	slices.SortStableFunc(j.problems, func(a, b finding) int { return cmp.Compare(a.t, b.t) })
	return &j.verdict
}

func (j *judge) problem(count *int, what string, v *view, seq uint64, t int64, format string, args ...any) {
	*count++
	j.problems = append(j.problems, finding{what, v.member, v.room, seq, fmt.Sprintf(format, args...), t})
}

func (j *judge) take(r *record) {
	v := j.views[r.Client][r.Room]
	switch r.Kind {
	case "connect":
		j.connect(r)
	case "disconnect":
		j.away[r.Client] = r.T
	case "write":
		j.Sent++
		j.written[r.Message] = *r
	case "send":
		j.Attempts++
		j.attempts[r.Message]++
	case "refused":
		j.Refused++
	case "error":
		j.Told++
	case "hole":
		j.holesRaw = append(j.holesRaw, *r)
	case "mangled":
		if v != nil {
			j.problem(&j.Wrong, "mangled", v, r.Seq, r.T, "another text, message_id %s", r.Message)
		}
	case "join":
		v.session.joined = place{r.Boot, r.Seq}
	case "history":
		j.history(v, r)
	case "ack":
		j.ack(v, r)
	case "live":
		j.Delivered++
		if v == nil {
			stranger := &view{member: j.ev.clients[r.Client].User, room: r.Room}
			j.problem(&j.Wrong, "stranger", stranger, r.Seq, r.T, "a message of a room that it is not in")
			return
		}
		j.live(v, r)
	}
}

func (j *judge) connect(r *record) {
	if since := j.away[r.Client]; since != 0 {
		j.OutageMS = max(j.OutageMS, r.T-since)
		j.away[r.Client] = 0
	}
	switch {
	case r.Recovered:
		j.Recoveries++
		return
	case j.came[r.Client]:
		j.Rejoins++
	}
	j.came[r.Client] = true
	for _, v := range j.views[r.Client] {
		v.session = newSession()
	}
}

// live judges a new_message.
func (j *judge) live(v *view, r *record) {
	p, s := place{r.Boot, r.Seq}, &v.session
	_, known := v.known[p]
	switch {
	case s.live[p]:
		j.problem(&j.Doubled, "doubled", v, r.Seq, r.T, "new_message twice in one session, message_id %s", r.Message)
	case s.own[p]:
		j.problem(&j.Doubled, "doubled", v, r.Seq, r.T, "new_message after the ack of the only attempt, message_id %s", r.Message)
	case known && s.joined.boot == p.boot && p.seq <= s.joined.seq:
		j.problem(&j.Doubled, "doubled", v, r.Seq, r.T, "new_message after join_room said %d, message_id %s", s.joined.seq, r.Message)
	case s.last.boot == p.boot && p.seq < s.last.seq:
		j.problem(&j.Disorder, "disorder", v, r.Seq, r.T, "new_message after %d, message_id %s", s.last.seq, r.Message)
	}
	s.live[p] = true
	s.advance(p)
	j.see(v, r.entry, r.T)
}

func (s *sessionView) advance(p place) {
	if s.last.boot != p.boot || p.seq > s.last.seq {
		s.last = p
	}
}

// ack judges an ack with ok. That of a message which was sent once stands for its new_message; of a retry's nobody knows whether it is
// the entry's or tells of it again, so it delivers nothing.
func (j *judge) ack(v *view, r *record) {
	p, s := place{r.Boot, r.Seq}, &v.session
	if first, again := j.acked[r.Message]; !again {
		j.Acked++
		j.acked[r.Message] = ackedAt{entry: r.entry, room: r.Room, t: r.T}
	} else if first.Seq != r.Seq || first.ID != r.ID {
		j.problem(&j.Doubled, "doubled", v, r.Seq, r.T, "message_id %s was acked as %d before", r.Message, first.Seq)
	}
	if j.attempts[r.Message] == 1 {
		if s.live[p] {
			j.problem(&j.Doubled, "doubled", v, r.Seq, r.T, "new_message before the ack of the only attempt, message_id %s", r.Message)
		} else if s.last.boot == p.boot && p.seq < s.last.seq {
			j.problem(&j.Disorder, "disorder", v, r.Seq, r.T, "ack after %d, message_id %s", s.last.seq, r.Message)
		}
		s.own[p] = true
		s.advance(p)
	}
	j.see(v, r.entry, r.T)
}

func (j *judge) history(v *view, r *record) {
	after := r.After
	for _, e := range r.Entries {
		e.Boot = r.Boot
		if e.Seq <= after {
			j.problem(&j.Disorder, "disorder", v, e.Seq, r.T, "in history after %d", after)
		}
		after = e.Seq
		if _, known := v.known[place{e.Boot, e.Seq}]; !known {
			j.CaughtUp++
		}
		j.see(v, e, r.T)
	}
}

// see takes an entry into the view.
func (j *judge) see(v *view, e entry, t int64) {
	p := place{e.Boot, e.Seq}
	if old, known := v.known[p]; known {
		if old.ID != e.ID || old.Message != e.Message {
			j.problem(&j.Wrong, "wrong", v, e.Seq, t, "was %s (%s), is %s (%s)", old.ID, old.Message, e.ID, e.Message)
		}
		return
	}
	if other, known := v.message[e.Message]; known {
		j.problem(&j.Doubled, "doubled", v, e.Seq, t, "message_id %s was %d before", e.Message, other.seq)
	} else {
		v.message[e.Message] = p
		if gap := t - e.At; gap > j.GapMS {
			j.GapMS = gap
			j.gap = finding{"gap", v.member, v.room, e.Seq, fmt.Sprintf("%d ms after its timestamp", gap), t}
		}
	}
	v.known[p] = sight{e, t}
}

// judgeLog compares what was acked with the log.
func (j *judge) judgeLog() {
	store := &view{member: "log"}
	in := map[string][]entry{} // by message_id
	for _, room := range slices.Sorted(maps.Keys(j.ev.log)) {
		store.room = room
		for i, e := range j.ev.log[room] {
			if e.Seq != uint64(i+1) {
				j.problem(&j.Disorder, "disorder", store, e.Seq, e.At, "is the %d. of the log", i+1)
			}
			if len(in[e.Message]) > 0 {
				j.problem(&j.Doubled, "doubled", store, e.Seq, e.At, "message_id %s is also %d", e.Message, in[e.Message][0].Seq)
			}
			in[e.Message] = append(in[e.Message], e)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(j.acked)) {
		a := j.acked[id]
		store.room = a.room
		switch found := in[id]; {
		case len(found) == 0:
			j.problem(&j.Lost, "lost", store, a.Seq, a.t, "message_id %s was acked and is not there", id)
		case found[0].Seq != a.Seq || found[0].ID != a.ID:
			j.problem(&j.Wrong, "wrong", store, a.Seq, a.t, "message_id %s was acked as %d %s, is %d %s", id, a.Seq, a.ID, found[0].Seq, found[0].ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(j.written)) {
		if _, ok := j.acked[id]; !ok {
			w := j.written[id]
			store.room = w.Room
			j.problem(&j.Wrong, "unacked", store, 0, w.T, "message_id %s, %d attempts", id, j.attempts[id])
		}
	}
}

// judgeViews compares each member's view with the log, and with what was acked.
func (j *judge) judgeViews() {
	for _, rooms := range j.views {
		for _, name := range slices.Sorted(maps.Keys(rooms)) {
			v := rooms[name]
			if j.ev.lasting {
				j.sameAsLog(v)
			}
			for _, id := range slices.Sorted(maps.Keys(j.acked)) {
				a := j.acked[id]
				if _, seen := v.message[id]; a.room == name && !seen && !j.inLog(v, a.entry) {
					j.problem(&j.Lost, "lost", v, a.Seq, a.t, "message_id %s, acked then, never got there", id)
				}
			}
		}
	}
}

// inLog tells whether sameAsLog has seen to an entry.
func (j *judge) inLog(v *view, e entry) bool {
	log := j.ev.log[v.room]
	return j.ev.lasting && e.Seq <= uint64(len(log)) && e.Seq > 0 && log[e.Seq-1].ID == e.ID
}

func (j *judge) sameAsLog(v *view) {
	log := j.ev.log[v.room]
	for _, e := range log {
		s, known := v.known[place{"", e.Seq}]
		switch {
		case !known:
			j.problem(&j.Lost, "lost", v, e.Seq, e.At, "message_id %s, saved then, never got there", e.Message)
		case s.ID != e.ID || s.Message != e.Message:
			j.problem(&j.Wrong, "wrong", v, e.Seq, s.t, "is %s (%s) in the log, was %s (%s)", e.ID, e.Message, s.ID, s.Message)
		}
	}
	for p, s := range v.known {
		if p.seq == 0 || p.seq > uint64(len(log)) {
			j.problem(&j.Wrong, "ghost", v, p.seq, s.t, "message_id %s is not in the log", s.Message)
		}
	}
}

// judgeHoles sorts out the numbers that were left out for a reason: the page's own message was there, sent and not acked yet.
func (j *judge) judgeHoles() {
	at := map[string]map[place]string{} // message_id by room and place
	for _, a := range j.acked {
		if at[a.room] == nil {
			at[a.room] = map[place]string{}
		}
		at[a.room][place{a.Boot, a.Seq}] = a.Message
	}
	counted := map[string]bool{} // a page looks again until a hole is filled
	for _, h := range j.holesRaw {
		user := j.ev.clients[h.Client].User
		for seq := h.From; seq <= h.To; seq++ {
			key := fmt.Sprint(user, h.Room, h.Boot, seq)
			if counted[key] {
				continue
			}
			counted[key] = true
			id := at[h.Room][place{h.Boot, seq}]
			w := j.written[id]
			if id != "" && j.ev.clients[w.Client].User == user && w.T <= h.T && j.acked[id].t >= h.T {
				j.OwnHoles++
				continue
			}
			j.Holes++
			j.holes = append(j.holes, finding{"hole", user, h.Room, seq, "message_id " + id, h.T})
		}
	}
}
