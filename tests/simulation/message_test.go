package simulation_test

import (
	"fmt"
	"strconv"
	"time"

	"github.com/parleychat/chat"
)

// A message is one that the page wants in a room.
type message struct {
	page     *page
	room     string
	text     string
	id       string // empty: it is sent once
	ack      bool   // asks for one
	patience time.Duration
	tries    int
	due      time.Time // when it is sent again
	lost     []lostAck
	acked    *chat.Entry
}

// A lostAck is one that the page waited for when its connection was lost.
type lostAck struct {
	sock *socket
	id   uint64
}

// ackedUnheard tells whether an ack has left the server, and not come.
func (m *message) ackedUnheard() bool {
	for _, l := range m.lost {
		if l.sock.carrier.wrote("43" + strconv.FormatUint(l.id, 10) + `[{"ok":true`) {
			return m.acked == nil
		}
	}
	return false
}

// say makes a message; tend sends it.
func (p *page) say(room string, keyed, ack bool) {
	p.sent++
	m := &message{page: p, room: room, text: fmt.Sprintf("%s-%d", p.name, p.sent), ack: ack || keyed}
	m.patience = []time.Duration{300 * time.Millisecond, 2 * time.Second, 8 * time.Second}[p.rng.IntN(3)]
	if keyed {
		m.id = "k" + strconv.Itoa(p.sent) + p.name
	}
	p.w.messages[m.text] = m
	p.outbox = append(p.outbox, m)
}

func (p *page) send(m *message) {
	if m.id == "" && m.tries > 0 {
		return
	}
	m.tries++
	m.due = time.Now().Add(m.patience)
	payload := fields{"text": m.text, "room": m.room}
	if m.id != "" {
		payload["message_id"] = m.id
	}
	p.note("sends %s in %s, try %d", m.text, m.room, m.tries)
	if !m.ack {
		p.emit("chat_message", "", payload)
		p.occupied(1)
		return
	}
	p.ask("chat_message", m.room, payload, func(a answer) { p.settle(m, a) }).m = m
}

// settle takes the answer to a message.
func (p *page) settle(m *message, a answer) {
	if !a.OK {
		p.note("%s: %s", m.text, a.Error.Code)
		if a.Error.Code != chat.Unavailable {
			p.w.fail(neverFalse, "%s: %s in %s: %s", p.name, m.text, m.room, a.Error.Code)
		}
		m.due = time.Now().Add(p.w.between(p.rng, 100, 2000))
		return
	}
	e := a.Message
	if e == nil || e.Text != m.text || e.Room != m.room || e.UserID != p.user || e.MessageID != m.id {
		p.w.fail(ackedOnce, "%s: the ack of %s in %s has %+v", p.name, m.text, m.room, e)
	}
	p.note("%s acked as %s/%d", m.text, e.Room, e.Seq)
	p.w.stats.acked++
	if m.acked != nil && (m.acked.Seq != e.Seq || m.acked.ID != e.ID) {
		p.w.fail(ackedOnce, "%s: %s acked as %d and as %d", p.name, m.text, m.acked.Seq, e.Seq)
	}
	first := m.acked == nil
	m.acked = e
	p.views[m.room].own(*e, first && m.tries == 1)
}
