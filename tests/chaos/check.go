package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// evidence is all that a run leaves to be judged.
type evidence struct {
	clients []client
	records []record
	log     map[string][]entry // what the server's log holds at the end, room by room, in its order
	kills   []int64            // when the server was killed, Unix milliseconds
	lasting bool               // the log is to have outlived everything: what pages saw is compared with it number by number
}

// A verdict is the counts of a run, by the rules in README.md, and what is behind those that have to be 0.
type verdict struct {
	Sent       int   `json:"sent"`       // messages that were written
	Acked      int   `json:"acked"`      // of those
	Attempts   int   `json:"attempts"`   // chat_message events, retries among them
	Delivered  int   `json:"delivered"`  // new_message events that reached pages
	CaughtUp   int   `json:"caught_up"`  // entries that a page first saw in its history
	Missing    int   `json:"missing"`    // acked messages that the log lacks
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
	Strangers  int   `json:"strangers"`  // of those, clients of 4.8 whose server was there all the time
	GapMS      int64 `json:"gap_ms"`     // the longest time from an entry's timestamp until a member had it
	OutageMS   int64 `json:"outage_ms"`  // the longest time that a client was without a connection

	gap      finding
	problems []finding // of Lost, Doubled, Disorder and Wrong
	holes    []finding // and strangers
	views    []map[string]*view
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
	verdict  // its views are by client and room
	ev       *evidence
	attempts map[string]int // by message_id
	acked    map[string]ackedAt
	written  map[string]record
	holesRaw []record
	met      []int64 // when each client connected last
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
		met: make([]int64, len(ev.clients)), away: make([]int64, len(ev.clients)), came: make([]bool, len(ev.clients)),
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
	met := j.met[r.Client]
	j.met[r.Client] = r.T
	switch {
	case r.Recovered:
		j.Recoveries++
		return
	case j.came[r.Client]:
		j.Rejoins++
		j.stranger(r, met)
	}
	j.came[r.Client] = true
	for _, v := range j.views[r.Client] {
		v.session = newSession()
	}
}

// stalled is how long before a client saw that it is connected the server may have been killed: its last bytes may have been held back.
const stalled = 10 * time.Second

// stranger counts a client that could have recovered its session and did not.
func (j *judge) stranger(r *record, met int64) {
	killed := func(t int64) bool { return t > met-stalled.Milliseconds() && t < r.T }
	if c := j.ev.clients[r.Client]; c.Version == 4 && !slices.ContainsFunc(j.ev.kills, killed) {
		j.Strangers++
		j.holes = append(j.holes, finding{"stranger", c.User, "", 0, "not recovered, " + r.SID, r.T})
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
