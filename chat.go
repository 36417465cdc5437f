// Package chat adds a chat to a Go web application. A Hub is an http.Handler that the host mounts on its own
// mux; browsers and phones talk to it with the ordinary socket.io-client, of any version from 1.4 to 4.x,
// over WebSocket and long polling, in rooms, with typed events and hooks.
//
//	hub, err := chat.New(chat.WithRooms("lobby"))
//	mux.Handle("/socket.io/", hub)
//	hub.Room("lobby").Emit("alert", "Deploy at noon")
package chat

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/rs/cors"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/legacy"
	"github.com/parleychat/chat/internal/socketio"
)

// A Hub takes in Socket.IO clients and lets them chat. Its methods may be called from any goroutine. It
// never listens, closes nothing that it did not open, and starts nothing until clients come, but for
// WithRetention and for a store that is a Watcher. Shutdown ends it.
//
// A *Hub acts in one namespace, "/" for the one that New returns; Of gives the same Hub in another.
type Hub struct {
	core  *core
	space *space
}

// core is what the views of a Hub share.
type core struct {
	set      *settings
	inMemory bool // the store is the default one, which never blocks
	spaces   map[string]*space
	known    map[string]known // namespaces by all their names
	engine   *engineio.Server
	sockets  socketio.Config
	legacy   *legacy.Server
	handler  http.Handler // the engine behind CORS

	life     context.Context // of handlers
	end      context.CancelFunc
	handlers tracker
	journal  journal
	nodes    *nodes // nil: the Hub is alone
	forwards *forwarding
	revoked  revocations
	keeping  keeping
	ready    readiness
	draining atomic.Bool
	shutdown chan struct{} // of size 1; full while a Shutdown is at work
	ended    bool          // guarded by shutdown

	lastValues    atomic.Pointer[plainValues] // of a request's context; see valuesOf
	legacyClients atomic.Int64
	received      atomic.Int64
	deliveries    atomic.Int64
	recovered     atomic.Int64
	notRecovered  atomic.Int64
	holes         atomic.Int64
	cutOff        atomic.Int64
	limited       [len(limitSteps)]atomic.Int64
	counter       atomic.Uint64 // of events; one for all namespaces, since a session's unsent tags are those of all
	dropped       atomic.Int64
	evicted       [len(evictions)]atomic.Int64 // by the reasons of evictions
}

// known is what a client means by a namespace's name.
type known struct {
	space *space
	alias uint8 // see Client.alias
}

// New makes a Hub. With no option it serves one process from memory, to pages of its own origin.
func New(opts ...Option) (*Hub, error) {
	set, err := build(opts)
	if err != nil {
		return nil, err
	}
	h := &core{set: set, spaces: make(map[string]*space), known: make(map[string]known), shutdown: make(chan struct{}, 1)}
	_, h.inMemory = set.store.(*memoryStore)
	h.life, h.end = context.WithCancel(context.Background())
	h.journal.init(h)
	h.nodes = newNodes(h)
	h.revoked.hub = h
	names := make([]string, 0, len(set.spaces))
	for name, s := range set.spaces {
		sp := newSpace(h, s)
		h.spaces[name] = sp
		h.known[name] = known{space: sp}
		names = append(names, name)
		for i, alias := range s.aliases {
			h.known[alias] = known{sp, uint8(i + 1)}
			names = append(names, alias)
		}
	}
	h.sockets = socketio.Config{
		Backend:        h,
		Limits:         socketio.Limits{Depth: set.limits.Depth, Attachments: set.limits.Attachments, Payload: set.limits.Payload},
		ConnectTimeout: set.timeouts.Connect,
		Logger:         set.logger,
		KeepHandshake:  len(names) > 1,
		Farewell:       farewell,
	}
	h.legacy = legacy.New(&h.sockets, names)
	h.engine = engineio.NewServer(engineio.Config{
		PingInterval: set.pingInterval, PingTimeout: set.pingTimeout,
		UpgradeTimeout: set.timeouts.Upgrade, WriteTimeout: set.timeouts.Write,
		MaxPayload: set.limits.Payload, Outbox: set.limits.Outbox,
		Legacy: set.legacy, LegacyUpgrades: set.legacyUpgrades,
		Compression: set.compression, GzipFrom: 1024,
		Pending: max(set.limits.Pending, 0), PendingEach: max(set.limits.PendingPerAddress, 0), Probes: max(set.limits.Upgrades, 0),
		Accept: h.accept, Origin: h.origin, Limited: h.crowded, Tag: h.nodes.ownTag(),
	})
	h.handler = h.newCORS().Handler(h.engine)
	h.forwards = newForwarding(h)
	if err := h.startBridge(); err != nil {
		return nil, err
	}
	hub := &Hub{core: h, space: h.spaces["/"]}
	for _, o := range set.observe.hub {
		o.ObserveHub(hub)
	}
	if err := h.nodes.join(); err != nil {
		_ = h.stopBridge(h.life) // has nothing to pass on yet
		return nil, err
	}
	if w, ok := set.store.(Watcher); ok && h.journal.tasks.enter() {
		go h.journal.watch(w)
	}
	for _, sp := range h.spaces {
		if sp.set.keep != nil && h.journal.tasks.enter() {
			go sp.retain()
		}
	}
	return hub, nil
}

// ServeHTTP serves one request of a Socket.IO client, whatever its path. It answers 403 to a page from an
// origin that is not allowed.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, passed, ok := h.core.forwards.received(w, r)
	if !ok {
		return
	}
	if !h.core.originAllowed(r) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"code":4,"message":"Forbidden"}`)) // the client may be gone
		return
	}
	if !passed && h.core.forwards.passOn(w, r) {
		return
	}
	if r.Header.Get("Upgrade") != "" { // CORS is not about WebSockets: the check above is all that guards them
		h.core.engine.ServeHTTP(w, r)
		return
	}
	h.core.handler.ServeHTTP(w, r)
}

// originAllowed is the one list that decides every request, upgrades too.
func (h *core) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || h.set.anyOrigin {
		return true
	}
	if _, host, ok := strings.Cut(origin, "://"); ok && strings.EqualFold(host, r.Host) {
		return true
	}
	return h.set.origins[strings.ToLower(origin)]
}

func (h *core) newCORS() *cors.Cors {
	o := cors.Options{
		AllowedMethods: []string{http.MethodGet, http.MethodPost},
		AllowedHeaders: []string{"*"},
		MaxAge:         600,
	}
	if h.set.anyOrigin {
		o.AllowedOrigins = []string{"*"}
	} else {
		o.AllowCredentials = true
		o.AllowOriginVaryRequestFunc = func(r *http.Request, _ string) (bool, []string) { return h.originAllowed(r), nil }
	}
	return cors.New(o)
}

// Of is the Hub in another namespace. One that was not declared has no clients and never will.
func (h *Hub) Of(namespace string) *Hub {
	sp := h.core.known[namespace].space
	if sp == nil {
		sp = newSpace(h.core, newSpaceSettings(namespace))
	}
	return &Hub{core: h.core, space: sp}
}

// Room is the room of that name.
func (h *Hub) Room(name string) Room { return Room{space: h.space, name: name} }

// To is everybody whom any of the selectors names; everybody in the namespace where there is none.
func (h *Hub) To(s ...Selector) Target { return newTarget(h.space, s) }

// Emit sends an event to every client of the namespace: h.To().Emit.
func (h *Hub) Emit(event string, args ...any) error { return h.To().Emit(event, args...) }

// Client is the client of that sid that is connected to this node, or nil.
func (h *Hub) Client(sid string) *Client {
	h.space.mu.Lock()
	defer h.space.mu.Unlock()
	return h.space.clients[sid]
}

// Rooms are the rooms of the namespace that have somebody in them, on any node of a cluster. A *NodesError names the nodes that did not answer.
func (h *Hub) Rooms(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names := h.space.roomNames()
	there, err := askAll[[]string](ctx, h.core.nodes, "rooms", targetQuestion{Space: h.space.name})
	if len(there) > 0 {
		names = slices.Concat(append(there, names)...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	return names, err
}

// roomNames are those of the rooms that have somebody of this node in them, or in whom somebody is waited for.
func (sp *space) roomNames() []string {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	names := make([]string, 0, len(sp.rooms))
	for name, r := range sp.rooms {
		if sp.hub.nodes == nil || len(r.members) > 0 {
			names = append(names, name)
		}
	}
	return names
}

func (h *core) log() *slog.Logger { return h.set.logger }
