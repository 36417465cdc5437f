package metrics

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/parleychat/chat"
)

// ObserveHub implements chat.HubObserver.
func (m *Metrics) ObserveHub(h *chat.Hub) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hubs = append(m.hubs, h)
}

// ObserveConnect implements chat.ConnectObserver. A Hub observes connects to the namespaces that the host declared, and to no others; the set of namespaces has
// a bound all the same.
func (m *Metrics) ObserveConnect(ctx context.Context, h *chat.Handshake) (context.Context, func(*chat.Client, *chat.Error)) {
	namespace, transport, protocol := h.Namespace, h.Transport, h.Protocol // h is not valid for ever
	return ctx, func(c *chat.Client, refused *chat.Error) {
		result := "accepted"
		switch {
		case refused != nil:
			result = m.code(refused.Code)
		case c == nil:
			result = "gone"
		}
		m.connections.WithLabelValues(m.spaces.of(namespace), transports.of(transport), protocolName(protocol), result).Inc()
	}
}

func protocolName(p int) string {
	if p == 4 || p == 5 {
		return strconv.Itoa(p)
	}
	return other
}

func (m *Metrics) code(c chat.Code) string {
	if _, ok := m.codes[c]; ok {
		return labelValue(string(c))
	}
	return other
}

// ObserveDisconnect implements chat.DisconnectObserver.
func (m *Metrics) ObserveDisconnect(_ context.Context, _ *chat.Client, reason string) {
	m.disconnects.WithLabelValues(reasons.of(reason)).Inc()
}

// ObserveEvent implements chat.EventObserver.
func (m *Metrics) ObserveEvent(ctx context.Context, _ *chat.Client, e *chat.Event) (context.Context, func(error)) {
	s, ok := m.events[e.Name]
	if !ok {
		s = m.otherEvent
	}
	s.received.Inc()
	begin := e.At // the wait for the client's events before it counts
	if begin.IsZero() {
		begin = time.Now()
	}
	return ctx, func(error) { s.answered.Observe(time.Since(begin).Seconds()) }
}

// ObserveStore implements chat.StoreObserver.
func (m *Metrics) ObserveStore(ctx context.Context, call chat.StoreCall) (context.Context, func(error)) {
	s, ok := m.ops[call.Op]
	if !ok {
		s = m.otherOp
	}
	if call.Entries > 0 {
		m.batch.Observe(float64(call.Entries))
	}
	begin := time.Now()
	return ctx, func(err error) { s.result(resultOf(err)).Observe(time.Since(begin).Seconds()) }
}

func resultOf(err error) int {
	switch {
	case err == nil:
		return resultOK
	case errors.Is(err, context.DeadlineExceeded):
		return resultTimeout
	}
	return resultError
}

// ObserveLimit implements chat.LimitObserver.
func (m *Metrics) ObserveLimit(_ context.Context, hit chat.LimitHit) {
	scope := "all"
	if hit.Per != "" {
		scope = scopes.of(string(hit.Per))
	}
	m.limits.WithLabelValues(limitNames.of(hit.Limit), limitSteps.of(string(hit.Step)), scope).Inc()
}

// ObserveError implements chat.ErrorObserver.
func (m *Metrics) ObserveError(_ context.Context, _ *chat.Client, code chat.Code, _ string) {
	n, ok := m.codes[code]
	if !ok {
		n = m.otherCode
	}
	n.Inc()
}
