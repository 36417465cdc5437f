package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/parleychat/chat/benchmarks/internal/load"
)

// logs answer chat_messages with acks, for the run that holds a message's cost
// before fan-out beside this one: the entry is decoded, kept in a slice and
// encoded; nobody else gets it, no key is looked up, nothing is checked.
type logs struct {
	mu    sync.Mutex
	rooms map[string][]entry
}

type entry struct {
	Kind      string `json:"kind"`
	Room      string `json:"room"`
	Seq       uint64 `json:"seq"`
	ID        string `json:"id"`
	UserID    string `json:"user_id"`
	SID       string `json:"sid"`
	Text      string `json:"text"`
	Timestamp string `json:"timestamp"`
	MessageID string `json:"message_id"`
}

type said struct {
	Room      string `json:"room"`
	Text      string `json:"text"`
	MessageID string `json:"message_id"`
}

// ask answers an event that asks for an ack, of the id at the start of p.
func (c *client) ask(p []byte) bool {
	at := bytes.IndexByte(p, '[')
	if at < 0 {
		return false
	}
	var args []json.RawMessage
	var name string
	var m said
	if json.Unmarshal(p[at:], &args) != nil || len(args) != 2 || json.Unmarshal(args[0], &name) != nil || json.Unmarshal(args[1], &m) != nil {
		return false
	}
	answer := append([]byte("43"), p[:at]...)
	switch name {
	case "join_room":
		c.in = m.Room
		answer = append(answer, `[{"ok":true,"seq":0}]`...)
	case "chat_message":
		enc, err := json.Marshal(c.room.logs.add(c, m))
		if err != nil {
			return false
		}
		answer = append(append(append(answer, `[{"ok":true,"message":`...), enc...), "}]"...)
	default:
		return false
	}
	c.send(frame(answer))
	return true
}

func (l *logs) add(c *client, m said) entry {
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00")
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rooms == nil {
		l.rooms = map[string][]entry{}
	}
	log := l.rooms[c.in]
	seq := uint64(len(log)) + 1
	e := entry{Kind: "message", Room: c.in, Seq: seq, ID: c.sid + strconv.FormatUint(seq, 10), UserID: c.sid, SID: c.sid, Text: m.Text, Timestamp: now, MessageID: m.MessageID}
	l.rooms[c.in] = append(log, e)
	return e
}

// stats are those of the log's server.
func (l *logs) stats(w http.ResponseWriter, r *http.Request) {
	var s load.Stats
	rooms, _ := strconv.Atoi(r.FormValue("rooms")) // none: 0
	l.mu.Lock()
	for i := range rooms {
		s.Last = append(s.Last, uint64(len(l.rooms[load.Room(i)])))
	}
	l.mu.Unlock()
	_ = json.NewEncoder(w).Encode(s) // who does not read it has no figure
}
