package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/parleychat/chat"
)

// A gauge reads one number out of a Hub's Stats when a scrape asks for it. A total of these never falls while the process lives.
type gauge struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(s *chat.Stats) float64
}

func now(name, help string, read func(s *chat.Stats) float64) gauge {
	return gauge{prometheus.NewDesc("socketio_"+name, help, nil, nil), prometheus.GaugeValue, read}
}

func total(name, help string, labels prometheus.Labels, read func(s *chat.Stats) float64) gauge {
	return gauge{prometheus.NewDesc("socketio_"+name, help, nil, labels), prometheus.CounterValue, read}
}

var gauges = []gauge{
	now("clients_connected", "Clients that are in a namespace.", func(s *chat.Stats) float64 { return float64(s.Clients) }),
	now("clients_legacy", "Sessions of socket.io-client 1.x and 2.x.", func(s *chat.Stats) float64 { return float64(s.LegacyClients) }),
	now("sessions", "Transports' sessions, those on the way in or out included.", func(s *chat.Stats) float64 { return float64(s.Sessions) }),
	now("rooms", "Rooms with somebody in them.", func(s *chat.Stats) float64 { return float64(s.Rooms) }),
}

// collectStats sums up what the Hubs say.
func (m *Metrics) collectStats(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	hubs := m.hubs[:len(m.hubs):len(m.hubs)]
	m.mu.Unlock()
	sums := make([]float64, len(gauges))
	for _, h := range hubs {
		s := h.Stats()
		for i, g := range gauges {
			sums[i] += g.read(&s)
		}
	}
	for i, g := range gauges {
		ch <- prometheus.MustNewConstMetric(g.desc, g.kind, sums[i])
	}
}
