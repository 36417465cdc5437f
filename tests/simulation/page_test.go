package simulation_test

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/parleychat/chat"
)

// A page is a client with what a good page has: an outbox of messages that are sent again until they are acked, a
// view of each room, and the pid and the offset of connection state recovery.
type page struct {
	w    *world
	name string
	user string
	rng  *rand.Rand // for what is decided on the way: timeouts, limits

	sock    *socket // nil: offline
	joined  bool    // CONNECT was answered
	server  *server // of sock
	comeAt  time.Time
	polls   bool // its transport is long polling
	plain   bool // the next connect asks for no recovery
	bans    int  // changes of bans until it connected, for the first time since it was answered
	tries   int  // connects since then
	waiting map[uint64]*request
	nextAck uint64
	busy    time.Time // until then the inbox of an earlier connection may have something to do
	stalled bool
	slow    bool // it has stalled on this connection: what it takes may have come long before

	sid, pid, offset string
	session          *server // where pid means something
	replay           bool    // what comes is of before
	hasStalled       bool    // in this session: then an event may have come long after it was sent
	lost             time.Time
	all              tally // of events to everybody

	views  map[string]*view
	outbox []*message // that are not settled
	sent   int
}

// A request waits for its ack.
type request struct {
	event   string
	room    string
	at      time.Time
	ahead   int  // requests before it
	healthy bool // nothing has happened since that excuses silence
	typing  bool // it must be answered at once
	m       *message
	answer  func(a answer)
}

type answer struct {
	OK      bool          `json:"ok"`
	Seq     uint64        `json:"seq"`
	Message *chat.Entry   `json:"message"`
	Entries []chat.Entry  `json:"entries"`
	More    bool          `json:"more"`
	Members []chat.Member `json:"members"`
	Error   chatErrorJSON `json:"error"`
}

type chatErrorJSON struct {
	Code  chat.Code `json:"code"`
	Event string    `json:"event"`
	Room  string    `json:"room"`
	After uint64    `json:"after"`
}

func (p *page) note(format string, args ...any) {
	p.w.note(p.name+": "+format, args...)
}

func (p *page) online() bool { return p.sock != nil && p.joined }

// connect begins a connection.
func (p *page) connect() {
	p.server = p.w.anyServer(p.rng)
	if p.server == nil {
		p.comeAt = time.Now().Add(p.w.between(p.rng, 50, 1000))
		return
	}
	auth := map[string]string{"user": p.user}
	if p.pid != "" && !p.plain {
		auth["pid"] = p.pid
		if p.offset != "" {
			auth["offset"] = p.offset
		}
	}
	data, _ := json.Marshal(auth)
	p.note("connects to server %d pid %.6s offset %s", p.server.n, auth["pid"], auth["offset"])
	if p.tries++; p.tries == 1 { // also of a connection that dies before it is answered the policy takes rooms away
		p.bans = p.w.bansNow()
	}
	p.waiting, p.joined, p.stalled, p.slow = map[uint64]*request{}, false, false, false
	p.sock = openSocket(p.server.hub, p.polls, p.w.set.buffer, "0"+string(data), p.w.mutant)
	p.w.sockets = append(p.w.sockets, p.sock)
}

// disconnect is what the page does when its connection has gone, or is given up: then the link stays.
func (p *page) disconnect(why string) {
	if p.sock == nil {
		return
	}
	p.note("offline: %s", why)
	if p.joined {
		p.lost = time.Now()
	}
	for id, r := range p.waiting {
		if r.m != nil {
			r.m.lost, r.m.due = append(r.m.lost, lostAck{p.sock, id}), time.Now()
		}
	}
	if n := len(p.waiting); n > 0 {
		p.occupied(n + 1)
	}
	for _, v := range p.views {
		if v.state == joining || v.state == leaving {
			v.state = unsure
		}
		v.asking = false
	}
	p.sock, p.waiting, p.joined = nil, nil, false
	p.comeAt = time.Now().Add(p.w.between(p.rng, 0, 3000))
}

// occupied: the inbox has events of which no answer tells.
func (p *page) occupied(events int) {
	if before := time.Now().Add(time.Duration(len(p.waiting)) * 6 * time.Second); p.busy.Before(before) {
		p.busy = before // they come after what is asked already
	}
	p.busy = p.busy.Add(time.Duration(events) * 6 * time.Second)
}

// disturbed is called when silence may have other reasons than the Hub.
func (p *page) disturbed() {
	for _, r := range p.waiting {
		r.healthy = false
	}
}

// forget is a reload: the page has nothing but its outbox.
func (p *page) forget() {
	p.pid, p.offset, p.sid = "", "", ""
	for name := range p.views {
		v := newView(p, name)
		v.want = p.views[name].want
		p.views[name] = v
	}
}

// receive takes what has come.
func (p *page) receive() {
	if p.sock == nil {
		return
	}
	s := p.sock
	packets, open := s.take()
	defer func() { p.replay = false }()
	for _, a := range packets {
		p.packet(a)
		if p.sock != s {
			return
		}
	}
	if !open {
		p.disconnect("the connection ended")
		return
	}
	for _, r := range p.waiting {
		p.patient(r)
	}
}

// patient wants that a request does not wait too long.
func (p *page) patient(r *request) {
	if waited, allowed := time.Since(r.at), p.allowed(r); r.healthy && !p.server.ending && waited > allowed && time.Now().After(p.busy.Add(allowed)) {
		p.w.fail(goesOn, "%s: no answer to %s in %s after %v", p.name, r.event, r.room, waited)
	}
}

func (p *page) allowed(r *request) time.Duration {
	each := 6 * time.Second
	switch {
	case r.typing:
		return time.Second
	case p.w.bus != nil: // the store is waited for, and then the cluster
		each *= 2
	}
	return time.Duration(r.ahead+1)*each + 2*time.Second
}

func (p *page) packet(a arrival) {
	switch text := a.packet; text[0] {
	case '0':
		p.accepted(text[1:])
	case '1':
		p.w.fail(goesOn, "%s: sent away by the server", p.name)
	case '2':
		p.event(text[1:])
	case '3':
		p.answered(a.at, text[1:])
	case '4':
		p.refused(text[1:])
	default:
		p.w.fail(goesOn, "%s: packet %q", p.name, text)
	}
}

func (p *page) refused(data string) {
	var e struct{ Data chatErrorJSON }
	if json.Unmarshal([]byte(data), &e) != nil || e.Data.Code != chat.RateLimited {
		p.w.fail(neverFalse, "%s: refused: %s", p.name, data)
	}
	p.sock.cut()
	p.disconnect("refused")
}

// accepted is the answer to CONNECT.
func (p *page) accepted(data string) {
	var hello struct{ Sid, Pid string }
	if err := json.Unmarshal([]byte(data), &hello); err != nil {
		p.w.fail(goesOn, "%s: %s: %v", p.name, data, err)
	}
	tries := p.tries
	p.joined, p.tries = true, 0
	recovered := !p.plain && hello.Pid != "" && hello.Pid == p.pid
	p.note("online, recovered %v, sid %.6s", recovered, hello.Sid)
	if recovered {
		p.replay = true
		p.w.stats.recovered++
		if p.session != p.server {
			p.w.stats.moved++
			p.session = p.server
		}
		p.back()
		return
	}
	p.w.stats.fresh++
	p.mustRecover(tries)
	p.plain = false
	p.sid, p.pid, p.offset, p.session, p.hasStalled = hello.Sid, hello.Pid, "", p.server, p.slow
	p.all.restart(p.w.all)
	for name, v := range p.views {
		v.fresh()
		if p.w.set.everyone && name == p.w.rooms[0] {
			v.state = unsure
		}
	}
}

// mustRecover wants that a session which could be had back was.
func (p *page) mustRecover(tries int) {
	if p.plain || p.pid == "" || p.w.set.outbox > 0 || p.hasStalled {
		return
	}
	if p.w.bus == nil && p.session != p.server || p.w.bus != nil && (tries > 1 || !p.w.bus.wellSince(p.lost)) { // a try that was given up may have the session on its way
		return
	}
	if away := time.Since(p.lost); away < p.w.set.window-30*time.Second {
		p.w.fail(recoveredAll, "%s: not recovered after %v", p.name, away)
	}
}

// back is a session that goes on. Rooms that the policy has taken are lost.
func (p *page) back() {
	if p.bans != p.w.bansNow() {
		for _, v := range p.views {
			v.uncertain()
		}
		return
	}
	for name, v := range p.views {
		if (v.state == in || v.state == unsure) && p.w.banned(p.user, name) && !(p.w.set.everyone && name == p.w.rooms[0]) {
			p.note("lost %s", name)
			v.lose()
		}
	}
}

func (p *page) event(data string) {
	var values []json.RawMessage
	var name string
	if err := json.Unmarshal([]byte(data), &values); err != nil || len(values) < 2 || json.Unmarshal(values[0], &name) != nil {
		p.w.fail(goesOn, "%s: event %q", p.name, data)
	}
	var offset string
	if json.Unmarshal(values[len(values)-1], &offset) == nil && offset != "" {
		p.offset = offset
	}
	decode := func(v any) {
		if err := json.Unmarshal(values[1], v); err != nil {
			p.w.fail(goesOn, "%s: %s: %v", p.name, data, err)
		}
	}
	switch name {
	case "new_message":
		var e chat.Entry
		decode(&e)
		p.newMessage(e)
	case "tick", "all":
		var t tick
		decode(&t)
		p.tick(name, t)
	case "typing":
		var t tick
		decode(&t)
		p.viewOf(t.Room).mayHear(name)
	case "user_joined", "user_left":
		var who presence
		decode(&who)
		v := p.viewOf(who.Room)
		v.mayHear(name)
		p.note("%s %+v", name, who)
		v.present[who.UserID] = name == "user_joined"
	case "error":
		var e chatErrorJSON
		decode(&e)
		p.told(e)
	}
}

func (p *page) viewOf(room string) *view {
	v := p.views[room]
	if v == nil {
		p.w.fail(nothingMore, "%s: event of room %q", p.name, room)
	}
	return v
}

func (p *page) newMessage(e chat.Entry) {
	p.note("hears %s/%d %s", e.Room, e.Seq, e.Text)
	p.w.stats.heard++
	v := p.viewOf(e.Room)
	v.mayHear("new_message")
	v.live(e)
}

func (p *page) told(e chatErrorJSON) {
	p.note("error %+v", e)
	switch {
	case e.Event == "new_message" && e.Code == chat.Unavailable:
		p.w.stats.told++
		v := p.viewOf(e.Room)
		v.told, v.behind = true, true
	case e.Event == "chat_message" && (e.Code == chat.Unavailable || e.Code == chat.NotMember):
	case e.Code == chat.SlowConsumer: // its connection ends; it comes back
	default:
		p.w.fail(neverFalse, "%s: error %+v", p.name, e)
	}
}

func (p *page) answered(at time.Time, data string) {
	digits := len(data) - len(strings.TrimLeft(data, "0123456789"))
	id, _ := strconv.ParseUint(data[:digits], 10, 64)
	r := p.waiting[id]
	var args []answer
	if err := json.Unmarshal([]byte(data[digits:]), &args); err != nil || len(args) != 1 || r == nil {
		p.w.fail(neverFalse, "%s: ack %q: %v", p.name, data, err)
	}
	delete(p.waiting, id)
	if waited := at.Sub(r.at); r.typing && r.healthy && waited > p.allowed(r) {
		p.w.fail(goesOn, "%s: %s was answered after %v", p.name, r.event, waited)
	}
	if a := args[0]; !a.OK && a.Error.Code != chat.Unavailable {
		p.note("%s in %s: %s", r.event, r.room, a.Error.Code)
	}
	r.answer(args[0])
}

// ask sends an event with an ack.
func (p *page) ask(event, room string, payload any, f func(answer)) *request {
	r := &request{event: event, room: room, at: time.Now(), ahead: len(p.waiting), healthy: !p.stalled && p.server.healthy(), answer: f}
	p.waiting[p.nextAck] = r
	p.emit(event, strconv.FormatUint(p.nextAck, 10), payload)
	p.nextAck++
	return r
}

func (p *page) emit(event, ack string, payload any) {
	data, err := json.Marshal([]any{event, payload})
	if err != nil {
		panic(err)
	}
	p.sock.send("2" + ack + string(data))
}

type fields map[string]any

// typing is answered at once, whatever the store does.
func (p *page) typing(v *view, on bool) {
	if !p.online() || v.state != in {
		return
	}
	idle := len(p.waiting) == 0 && time.Now().After(p.busy)
	r := p.ask("typing", v.name, fields{"room": v.name, "on": on}, func(a answer) {
		if !a.OK {
			p.w.fail(goesOn, "%s: typing in %s: %s", p.name, v.name, a.Error.Code)
		}
	})
	r.typing = idle
}

// full: the acks of more would not find room in a small outbox, and who is cut off for that sends the same again.
func (p *page) full() bool {
	const ack = 256 // bytes, about
	return p.w.set.outbox > 0 && len(p.waiting) >= p.w.set.outbox/2/ack
}

// tend does what is due.
func (p *page) tend() {
	now := time.Now()
	if p.sock == nil {
		if !now.Before(p.comeAt) {
			p.connect()
		}
		return
	}
	if !p.joined {
		return
	}
	for _, name := range p.w.rooms {
		p.views[name].tend(now)
	}
	kept := p.outbox[:0]
	for _, m := range p.outbox {
		if p.views[m.room].state == in && !now.Before(m.due) && !p.full() {
			p.send(m)
		}
		if m.acked == nil && (m.id != "" || m.tries == 0) {
			kept = append(kept, m)
		}
	}
	p.outbox = kept
}
