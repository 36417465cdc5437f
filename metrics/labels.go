package metrics

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parleychat/chat"
)

// other is the label of all that is not known beforehand.
const other = "other"

// ownEvents are those that a Hub handles itself.
var ownEvents = []string{"chat_message", "join_room", "leave_room", "typing", "history", "refresh_auth"}

// ownCodes are those that a Hub uses itself.
var ownCodes = []chat.Code{
	chat.InvalidPayload, chat.UnknownEvent, chat.Unauthorized, chat.TokenExpired, chat.Forbidden, chat.NotFound, chat.NotMember,
	chat.RateLimited, chat.TooLarge, chat.Rejected, chat.SlowConsumer, chat.Unavailable, chat.Internal,
}

// reasons are why a client leaves, as chat.OnDisconnect has it.
var reasons = values(
	"transport close", "transport error", "ping timeout", "parse error", "forced close", "server shutting down", "payload too large", "slow consumer",
	"client namespace disconnect", "server namespace disconnect", "rate limited", "token expired", "revoked", other,
)

// evictions are those reasons for which the Hub itself ends a client.
var evictions = []string{"slow consumer", "payload too large", "rate limited", "token expired", "revoked"}

var (
	storeOps   = []string{"append", "page", "bounds", "trim", "rooms", "eraseuser", "exportuser", "revoke", "revocations", "keep", "take"}
	transports = values("polling", "websocket")
	limitNames = values(
		"rate", "Payload", "Outbox", "Depth", "Text", "Meta", "ClientsPerUser", "ClientsPerAddress", "LegacyClients",
		"Pending", "PendingPerAddress", "Upgrades", "RoomsPerClient",
	)
	limitSteps = values(string(chat.LimitRefused), string(chat.LimitCoolDown), string(chat.LimitDisconnect))
	scopes     = values(string(chat.PerClient), string(chat.PerUser), string(chat.PerAddress))
)

// known is a fixed set of a label's values.
type known map[string]struct{}

func values(names ...string) known {
	k := known{}
	for _, n := range names {
		k[n] = struct{}{}
	}
	return k
}

func (k known) of(name string) string {
	if _, ok := k[name]; ok {
		return name
	}
	return other
}

// labelValue is name as a label's value may be: the host may list what it likes, and Prometheus takes UTF-8 only.
func labelValue(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }

// A set grows until it is full.
type set struct {
	most  int
	mu    sync.RWMutex
	names known
}

// namespacesMost is far above what a host declares.
const namespacesMost = 100

func (s *set) of(name string) string {
	s.mu.RLock()
	_, ok := s.names[name]
	s.mu.RUnlock()
	if ok {
		return name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok = s.names[name]; !ok && len(s.names) >= s.most {
		return other
	}
	if s.names == nil {
		s.names = known{}
	}
	s.names[name] = struct{}{}
	return name
}

// The results of a store's call.
const (
	resultOK = iota
	resultTimeout
	resultError
	results
)

var resultNames = [results]string{"ok", "timeout", "error"}

// opSeries are the series of one method of the store; each is made when it is first wanted, since most methods never fail.
type opSeries struct {
	vec  *prometheus.HistogramVec
	op   string
	made [results]atomic.Pointer[prometheus.Observer]
}

func (s *opSeries) result(r int) prometheus.Observer {
	if o := s.made[r].Load(); o != nil {
		return *o
	}
	o := s.vec.WithLabelValues(s.op, resultNames[r])
	s.made[r].Store(&o)
	return o
}
