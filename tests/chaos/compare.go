package main

import (
	"fmt"
	"maps"
	"slices"
)

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
		same := func(e entry) bool { return e.Seq == a.Seq && e.ID == a.ID }
		switch found := in[id]; {
		case len(found) == 0:
			j.Missing++
			j.problem(&j.Lost, "lost", store, a.Seq, a.t, "message_id %s was acked and is not there", id)
		case !slices.ContainsFunc(found, same): // one of several is enough: that there are several was counted
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
	acked := map[string][]string{} // message_ids by room
	for _, id := range slices.Sorted(maps.Keys(j.acked)) {
		room := j.acked[id].room
		acked[room] = append(acked[room], id)
	}
	for c, rooms := range j.views {
		for _, name := range slices.Sorted(maps.Keys(rooms)) {
			v := rooms[name]
			guest := j.ev.clients[c].Guest // who has gone lacks what came afterwards
			if j.ev.lasting {
				j.sameAsLog(v, guest)
			}
			for _, id := range acked[name] {
				a := j.acked[id]
				if _, seen := v.message[id]; !seen && !guest && !j.inLog(v, a.entry) {
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

func (j *judge) sameAsLog(v *view, guest bool) {
	log := j.ev.log[v.room]
	for _, e := range log {
		s, known := v.known[place{"", e.Seq}]
		switch {
		case !known && guest:
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
			key := fmt.Sprint(h.Client, h.Room, h.Boot, seq)
			if counted[key] {
				continue
			}
			counted[key] = true
			id := at[h.Room][place{h.Boot, seq}]
			w := j.written[id]
			if id != "" && w.Client == h.Client && w.T <= h.T && j.acked[id].t >= h.T {
				j.OwnHoles++
				continue
			}
			j.Holes++
			j.holes = append(j.holes, finding{"hole", user, h.Room, seq, "message_id " + id, h.T})
		}
	}
}
