package main

import (
	"fmt"
	"slices"
	"time"
)

// figures are what clients saw of a rollout, apart from the verdict.
type figures struct {
	restarts []restartFigures
	strays   int            // connections that were lost at another time than a restart's
	failed   map[string]int // attempts to connect that failed, by reason
	ackMS    []int64        // from a message's writing to its ack, ascending
	presence map[string]int // news of presence that pages were told of their own rooms, though nobody came or went for good
	series   seriesFigures
}

// restartFigures are of the clients that the stop of one process sent away.
type restartFigures struct {
	outages    []outage
	went       int   // clients that have any
	lateMS     int64 // the longest time in which a process of pages did nothing for them
	hints      int   // server_draining
	recovered  int
	rejoined   int // that were not
	able       int // of those, clients of 4.8: the only ones that can be
	peakAway   int // connections that ended in one second, whichever
	peakBack   int // clients that came back in one second, whichever
	connectMS  []int64
	caughtUpMS []int64
}

// An outage is a client without a connection, in Unix milliseconds.
type outage struct {
	client     int
	away, back int64
	caughtUp   int64 // when it had everything that had been written until it was back
	recovered  bool
	able       bool // to be: a client of 4.8
}

// seriesFigures are by seconds since the talk began.
type seriesFigures struct{ away, back, connected, acked []int }

// A span is the time that a restart, or something worse, had to do with.
type span struct{ from, to time.Time }

// measure needs the verdict's views. What it counts for a restart it counts for each of spans.
func measure(ev *evidence, v *verdict, began time.Time, lasted time.Duration, spans []span) *figures {
	f := &figures{failed: map[string]int{}, presence: map[string]int{}, restarts: make([]restartFigures, len(spans))}
	m := &measuring{figures: f, ev: ev, views: v.views, began: began, spans: spans, since: map[int]int64{}, wrote: map[string]int64{}}
	n := int(lasted/time.Second) + 1
	f.series = seriesFigures{make([]int, n), make([]int, n), make([]int, n), make([]int, n)}
	for i := range ev.records {
		m.take(&ev.records[i])
	}
	connected := len(ev.clients)
	for i := range f.series.connected {
		connected += f.series.back[i] - f.series.away[i]
		f.series.connected[i] = connected
	}
	for i := range f.restarts {
		f.restarts[i].sum()
	}
	slices.Sort(f.ackMS)
	return f
}

type measuring struct {
	*figures
	ev    *evidence
	views []map[string]*view
	began time.Time
	spans []span
	since map[int]int64    // when a client lost its connection; it has none
	wrote map[string]int64 // by message_id, not acked
}

func (m *measuring) take(r *record) {
	if r.T < m.began.UnixMilli() {
		return
	}
	switch r.Kind {
	case "disconnect":
		if _, away := m.since[r.Client]; away { // the connection was there again, and ended before the chat's own
			m.failed[r.Reason]++
			return
		}
		m.since[r.Client] = r.T
		m.count(m.series.away, r.T)
		if m.restart(r.T) < 0 {
			m.strays++
		}
	case "connect":
		if away, ok := m.since[r.Client]; ok {
			delete(m.since, r.Client)
			m.count(m.series.back, r.T)
			m.back(outage{client: r.Client, away: away, back: r.T, recovered: r.Recovered, able: m.ev.clients[r.Client].Version == 4})
		}
	case "draining":
		if i := m.restart(r.T); i >= 0 {
			m.restarts[i].hints++
		}
	case "late":
		for i, s := range m.spans {
			if from := r.T - r.MS; from <= s.to.UnixMilli() && r.T >= s.from.UnixMilli() {
				m.restarts[i].lateMS = max(m.restarts[i].lateMS, r.MS)
			}
		}
	case "failed":
		m.failed[r.Code]++
	case "presence":
		m.presence[r.Event]++
	case "write":
		m.wrote[r.Message] = r.T
	case "ack":
		if t, ok := m.wrote[r.Message]; ok {
			delete(m.wrote, r.Message)
			m.ackMS = append(m.ackMS, r.T-t)
			m.count(m.series.acked, r.T)
		}
	}
}

func (m *measuring) count(in []int, t int64) {
	if i := int(t-m.began.UnixMilli()) / 1000; i >= 0 && i < len(in) {
		in[i]++
	}
}

// restart is the number of that from whose beginning until everybody was back it was then, or -1.
func (m *measuring) restart(t int64) int {
	for i, s := range m.spans {
		if t >= s.from.UnixMilli() && t <= s.to.UnixMilli() {
			return i
		}
	}
	return -1
}

// back takes an outage that has ended, and finds out when its client had caught up: when it saw the last of those entries that had been saved by then.
func (m *measuring) back(out outage) {
	i := m.restart(out.away)
	if i < 0 {
		return
	}
	out.caughtUp = out.back
	for room, v := range m.views[out.client] {
		for _, e := range m.ev.log[room] {
			if s, known := v.known[place{"", e.Seq}]; known && e.At <= out.back {
				out.caughtUp = max(out.caughtUp, s.t)
			}
		}
	}
	m.restarts[i].outages = append(m.restarts[i].outages, out)
}

func (r *restartFigures) sum() {
	var away, back []int64
	clients := map[int]bool{}
	for _, o := range r.outages {
		clients[o.client] = true
		away, back = append(away, o.away), append(back, o.back)
		r.connectMS = append(r.connectMS, o.back-o.away)
		r.caughtUpMS = append(r.caughtUpMS, o.caughtUp-o.away)
		switch {
		case o.recovered:
			r.recovered++
		case o.able:
			r.able++
			fallthrough
		default:
			r.rejoined++
		}
	}
	r.went = len(clients)
	for _, s := range [][]int64{away, back, r.connectMS, r.caughtUpMS} {
		slices.Sort(s)
	}
	r.peakAway, r.peakBack = peak(away), peak(back)
}

// comeAnew is how many outages ended with rejoining, and how many of those a recovery could have ended.
func (r *restartFigures) comeAnew() string { return fmt.Sprintf("%d (%d)", r.rejoined, r.able) }

// peak is the most of these times, in ascending milliseconds, that lie in one second.
func peak(times []int64) int {
	most, from := 0, 0
	for i, t := range times {
		for t-times[from] >= 1000 {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// quantile of what is in ascending order.
func quantile(sorted []int64, q float64) int64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}
