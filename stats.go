package chat

// Stats are counts of a whole Hub: of now, and, those of type int64, since New.
type Stats struct {
	Clients       int // connected, in all namespaces
	LegacyClients int // sessions of 1.x and 2.x clients
	Sessions      int // transports' sessions, those on the way in or out included
	Rooms         int // with somebody in them, in all namespaces

	Received     int64               // events that came in
	Deliveries   int64               // events put into outboxes
	Recovered    int64               // clients that got their session back
	NotRecovered int64               // clients that asked for it in vain
	Dropped      int64               // packets that the protocol lets pass and nobody takes
	Holes        int64               // that could not be filled from the store, and that a room was told of
	Evicted      map[string]int64    // clients disconnected by the Hub, by OnDisconnect's reason
	Limited      map[LimitStep]int64 // see WithRates
	Cut          int64               // clients that the end of Shutdown's context has cut off
}

// Stats counts.
func (h *Hub) Stats() Stats {
	c := h.core
	s := Stats{
		LegacyClients: int(c.legacyClients.Load()), Sessions: c.engine.Len(),
		Received: c.received.Load(), Deliveries: c.deliveries.Load(), Recovered: c.recovered.Load(), NotRecovered: c.notRecovered.Load(),
		Dropped: c.dropped.Load(), Holes: c.holes.Load(), Cut: c.cutOff.Load(), Evicted: make(map[string]int64, len(evictions)),
	}
	for i, reason := range evictions {
		s.Evicted[reason] = c.evicted[i].Load()
	}
	for _, sp := range c.spaces {
		sp.mu.Lock()
		s.Clients += len(sp.clients)
		s.Rooms += len(sp.rooms)
		sp.mu.Unlock()
	}
	return s
}
