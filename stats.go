package chat

import "time"

// Stats are counts of a whole Hub: of now, and, those of type int64, since New.
type Stats struct {
	Clients       int // connected, in all namespaces
	LegacyClients int // sessions of 1.x and 2.x clients
	Sessions      int // transports' sessions, those on the way in or out included
	Pending       int // sessions of those that are in no namespace yet
	Upgrades      int // from polling to WebSocket that are under way
	Rooms         int // with somebody in them, in all namespaces
	Outbox        int // bytes queued for all clients
	OutboxDeepest int // bytes queued for the one with the most

	BytesIn      int64               // read from clients: frames, and bodies of polling requests
	BytesOut     int64               // written to clients
	Received     int64               // events that came in
	Deliveries   int64               // events put into outboxes
	Recovered    int64               // clients that got their session back
	NotRecovered int64               // clients that asked for it in vain
	Dropped      int64               // packets that the protocol lets pass and nobody takes
	Holes        int64               // that could not be filled from the store, and that a room was told of
	Evicted      map[string]int64    // clients disconnected by the Hub, by OnDisconnect's reason
	Limited      map[LimitStep]int64 // see WithRates
	Cut          int64               // clients that the end of Shutdown's context has cut off

	Nodes          int           // of the cluster, this one included; 0: there is no cluster
	ClusterAway    time.Duration // for how long the cluster has not answered; 0: it does
	ClusterQueue   int           // bytes on their way to the cluster
	ClusterLost    int64         // publications of other nodes that did not arrive. Entries among them were read from the store
	ClusterDropped int64         // events that the other nodes did not get, since too much was waiting for the cluster
	ClusterUnread  int64         // notices that this version cannot read

	Forwarded    int64 // requests passed on to the node that has their session: see WithNodeAddress
	NotForwarded int64 // of those, the ones that did not reach it or got no answer
	Forged       int64 // requests refused that claimed to be passed on by a node
}

// Stats counts. It looks at every session; once a second is often enough.
func (h *Hub) Stats() Stats {
	c := h.core
	s := Stats{
		LegacyClients: int(c.legacyClients.Load()), Sessions: c.engine.Len(),
		Received: c.received.Load(), Deliveries: c.deliveries.Load(), Recovered: c.recovered.Load(), NotRecovered: c.notRecovered.Load(),
		Dropped: c.dropped.Load(), Holes: c.holes.Load(), Cut: c.cutOff.Load(), Evicted: make(map[string]int64, len(evictions)),
		Limited: make(map[LimitStep]int64, len(limitSteps)),
	}
	s.Pending, s.Upgrades = c.engine.Pending(), c.engine.Probes()
	s.BytesIn, s.BytesOut = c.engine.Bytes()
	s.Outbox, s.OutboxDeepest = c.engine.Outboxes()
	for i, step := range limitSteps {
		s.Limited[step] = c.limited[i].Load()
	}
	for i, reason := range evictions {
		s.Evicted[reason] = c.evicted[i].Load()
	}
	c.nodes.count(&s)
	c.forwards.counts(&s)
	for _, sp := range c.spaces {
		sp.mu.Lock()
		s.Clients += len(sp.clients)
		s.Rooms += len(sp.rooms) // in a cluster those too that nobody is in any more, for a while
		sp.mu.Unlock()
	}
	return s
}

func (n *nodes) count(s *Stats) {
	if n == nil {
		return
	}
	s.Nodes = len(n.others()) + 1
	if since, away := n.isAway(); away {
		s.ClusterAway = time.Since(since)
	}
	n.relay.mu.Lock()
	s.ClusterQueue = n.relay.bytes
	n.relay.mu.Unlock()
	s.ClusterLost, s.ClusterDropped, s.ClusterUnread = n.lost.Load(), n.relay.dropped.Load(), n.unread.Load()
}
