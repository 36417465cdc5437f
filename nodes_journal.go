package chat

import "time"

// holePatience is how long an entry waits for those before it to come from the nodes that have saved them, before they are read from the store.
const holePatience = 50 * time.Millisecond

// publish lets the other nodes have what a batch has saved, before it is delivered here and acked: an ack says that everybody gets it. It waits as long as that takes, since the
// room's order does; the senders' patience ends by itself. While traffic is to go on without the cluster it does not wait.
func (j *journal) publish(parts []part) {
	n := j.hub.nodes
	var ps []Publication
	for i := range parts {
		p := &parts[i]
		stream := n.stream(p.log.space.name, p.log.name)
		for k := range p.saved {
			if b := p.saved[k].notice(n.tag); b != nil {
				ps = append(ps, Publication{stream, b})
			}
		}
	}
	done := make(chan struct{}, len(ps))
	var away <-chan struct{}
	if j.hub.set.local {
		away = n.awaySoon()
		for _, p := range ps {
			n.relay.addEntry(p.Stream, p.Data, done)
		}
	} else {
		n.relay.addAll(j.life, ps, done)
	}
	for range ps {
		select {
		case <-done:
		case <-away:
			return
		case <-j.life.Done():
			return
		}
	}
}

// tellGrown lets the other nodes know that an append of unknown end has come to light: nobody has published its entries.
func (j *journal) tellGrown(l *roomLog) {
	j.mu.Lock()
	doubtful := time.Now().Before(l.doubt)
	j.mu.Unlock()
	if n := j.hub.nodes; doubtful {
		n.relay.add(n.stream(l.space.name, l.name), appendStrings(newNotice(noticeGrown, n.tag, "", l.space.name), l.name), nil)
	}
}

// arrive takes in an entry that another node has saved.
func (j *journal) arrive(sp *space, e appended) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.logs[roomKey{sp.name, e.Entry.Room}]
	if l == nil || !l.known.Load() && !l.watched { // nobody here could miss it
		return
	}
	l.arrived = append(l.arrived, e)
	j.catchLocked(l)
	j.scheduleLocked(l)
}

// catchLocked delivers what has arrived from other nodes. j.mu is let go meanwhile.
func (j *journal) catchLocked(l *roomLog) {
	for !l.busy && len(l.arrived) > 0 && l.known.Load() {
		arrived := l.arrived
		l.arrived, l.busy = nil, true
		j.mu.Unlock()
		held := l.deliver(arrived)
		now := time.Now()
		j.mu.Lock()
		l.busy, l.used, l.wrote = false, now, now
		j.holdLocked(l, held, now)
	}
}

// checkWritten has the logs read on that were written in since.
func (j *journal) checkWritten(since time.Time) {
	j.readOnWhere(func(_ roomKey, l *roomLog) bool { return l.wrote.After(since) && l.known.Load() })
}

// grownIn has the logs of a stream read on; of all streams where it is negative.
func (j *journal) grownIn(stream int) {
	j.readOnWhere(func(key roomKey, _ *roomLog) bool {
		return stream < 0 || j.hub.nodes.stream(key.namespace, key.room) == stream
	})
}
