package metrics

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parleychat/chat"
)

// A gauge is a number out of a Hub's Stats, read when a scrape asks for it.
type gauge struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	most bool // of several Hubs; otherwise their sum
	read func(s *chat.Stats) float64
}

func now(name, help string, read func(s *chat.Stats) int) gauge {
	return gauge{prometheus.NewDesc("socketio_"+name, help, nil, nil), prometheus.GaugeValue, false, func(s *chat.Stats) float64 { return float64(read(s)) }}
}

// since is a count since the Hub's New.
func since(name, help string, labels prometheus.Labels, read func(s *chat.Stats) int64) gauge {
	return gauge{prometheus.NewDesc("socketio_"+name, help, nil, labels), prometheus.CounterValue, false, func(s *chat.Stats) float64 { return float64(read(s)) }}
}

var gauges = allGauges()

func allGauges() []gauge {
	const recoveries = "Clients that asked for the session before, by result: recovered or lost."
	deepest := now("outbox_deepest_bytes", "Bytes that are queued for the client with the most.", func(s *chat.Stats) int { return s.OutboxDeepest })
	deepest.most = true
	all := []gauge{
		now("clients_connected", "Clients that are in a namespace.", func(s *chat.Stats) int { return s.Clients }),
		now("sessions", "Transports' sessions, those on the way in or out included.", func(s *chat.Stats) int { return s.Sessions }),
		now("sessions_legacy", "Sessions of socket.io-client 1.x and 2.x.", func(s *chat.Stats) int { return s.LegacyClients }),
		now("sessions_pending", "Sessions of those that are in no namespace yet.", func(s *chat.Stats) int { return s.Pending }),
		now("upgrades_pending", "Upgrades from polling to WebSocket that are under way.", func(s *chat.Stats) int { return s.Upgrades }),
		now("rooms", "Rooms with somebody in them.", func(s *chat.Stats) int { return s.Rooms }),
		now("outbox_bytes", "Bytes that are queued for all clients.", func(s *chat.Stats) int { return s.Outbox }),
		deepest,
		since("received_bytes_total", "Bytes read from clients: frames, and bodies of polling requests.", nil, func(s *chat.Stats) int64 { return s.BytesIn }),
		since("sent_bytes_total", "Bytes written to clients.", nil, func(s *chat.Stats) int64 { return s.BytesOut }),
		since("deliveries_total", "Events put into outboxes.", nil, func(s *chat.Stats) int64 { return s.Deliveries }),
		since("recoveries_total", recoveries, prometheus.Labels{"result": "recovered"}, func(s *chat.Stats) int64 { return s.Recovered }),
		since("recoveries_total", recoveries, prometheus.Labels{"result": "lost"}, func(s *chat.Stats) int64 { return s.NotRecovered }),
		since("dropped_packets_total", "Packets that the protocol lets pass and nobody takes.", nil, func(s *chat.Stats) int64 { return s.Dropped }),
		since("log_holes_total", "Holes in a room's log that could not be filled from the store, and that the room was told of.", nil,
			func(s *chat.Stats) int64 { return s.Holes }),
		now("cluster_nodes", "Nodes of the cluster, this one included; 0 without a cluster.", func(s *chat.Stats) int { return s.Nodes }),
		now("cluster_away_seconds", "For how long the cluster has not answered; 0: it does.", func(s *chat.Stats) int { return int(math.Ceil(s.ClusterAway.Seconds())) }),
		now("cluster_queue_bytes", "Bytes on their way to the cluster.", func(s *chat.Stats) int { return s.ClusterQueue }),
		since("cluster_lost_total", "Publications of other nodes that did not arrive.", nil, func(s *chat.Stats) int64 { return s.ClusterLost }),
		since("cluster_dropped_total", "Events that the other nodes did not get, since too much was waiting for the cluster.", nil, func(s *chat.Stats) int64 { return s.ClusterDropped }),
		since("cluster_unread_total", "Notices of other nodes that this version cannot read.", nil, func(s *chat.Stats) int64 { return s.ClusterUnread }),
		since("cluster_forwarded_total", "Requests passed on to the node that has their session.", nil, func(s *chat.Stats) int64 { return s.Forwarded }),
		since("cluster_forward_failures_total", "Of those, the ones that did not reach it or got no answer.", nil, func(s *chat.Stats) int64 { return s.NotForwarded }),
		since("cluster_forged_total", "Requests refused that claimed to be passed on by another node.", nil, func(s *chat.Stats) int64 { return s.Forged }),
		since("shutdown_cuts_total", "Clients that the end of Shutdown's context has cut off.", nil, func(s *chat.Stats) int64 { return s.Cut }),
	}
	const evicted = "Clients disconnected by the Hub, by reason."
	for _, reason := range evictions {
		all = append(all, since("evictions_total", evicted, prometheus.Labels{"reason": reason}, func(s *chat.Stats) int64 { return s.Evicted[reason] }))
	}
	return append(all, since("evictions_total", evicted, prometheus.Labels{"reason": other}, otherEvictions))
}

func otherEvictions(s *chat.Stats) (n int64) {
	for _, of := range s.Evicted {
		n += of
	}
	for _, reason := range evictions {
		n -= s.Evicted[reason]
	}
	return n
}

// collectStats sums up what the Hubs say.
func (m *Metrics) collectStats(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	hubs := m.hubs[:len(m.hubs):len(m.hubs)]
	m.mu.Unlock()
	values := make([]float64, len(gauges))
	for _, h := range hubs {
		s := h.Stats()
		for i := range gauges {
			g := &gauges[i]
			if n := g.read(&s); g.most {
				values[i] = max(values[i], n)
			} else {
				values[i] += n
			}
		}
	}
	for i := range gauges {
		ch <- prometheus.MustNewConstMetric(gauges[i].desc, gauges[i].kind, values[i])
	}
}
