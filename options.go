package chat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"strings"
	"time"
)

// An Option sets up a Hub. Options that concern clients and events (handlers, hooks, auth, rooms) may also be
// given to Namespace; those that concern the whole Hub may not, and New says so.
type Option interface{ apply(*builder) }

type optionFunc func(*builder)

func (f optionFunc) apply(b *builder) { f(b) }

// builder is where options write to: the Hub's settings, and one namespace's.
type builder struct {
	hub   *settings
	space *spaceSettings
	errs  *[]error
}

func (b *builder) fail(format string, args ...any) {
	*b.errs = append(*b.errs, fmt.Errorf("chat: "+format, args...))
}

// hubOption is an option of the whole Hub.
func hubOption(name string, f func(*builder)) Option {
	return optionFunc(func(b *builder) {
		if b.space.name != "/" {
			b.fail("%s is an option of the whole Hub, not of namespace %s", name, b.space.name)
			return
		}
		f(b)
	})
}

// settings of a Hub.
type settings struct {
	origins        map[string]bool
	anyOrigin      bool
	logger         *slog.Logger
	legacy         bool
	legacyUpgrades bool
	compression    bool
	store          Store
	cluster        Cluster // nil: the Hub is alone
	bridge         Bridge  // nil: none
	nodeAddress    string
	nodeKey        []byte
	patience       time.Duration // with the cluster
	local          bool          // traffic goes on while the cluster is away
	observe        observers
	traffic        slog.Level
	tokenLife      time.Duration
	drainPace      int
	proxies        proxies
	pingInterval   time.Duration
	pingTimeout    time.Duration
	recoveryWindow time.Duration
	recoveryBytes  int64
	grace          time.Duration
	presenceMost   int // negative: no bound
	limits         Limits
	timeouts       Timeouts
	spaces         map[string]*spaceSettings
}

// spaceSettings of one namespace.
type spaceSettings struct {
	name         string
	aliases      []string
	rooms        []string
	auth         AuthFunc
	anonymous    bool
	echo         bool
	policy       RoomPolicy
	rates        []Rate
	keep         func(room string) Retention // nil: no retention
	keepEvery    time.Duration
	handlers     map[string]Handler
	any          Handler
	use          []func(Handler) Handler
	onConnect    []func(context.Context, *Client)
	onDisconnect []func(context.Context, *Client, string)
	onJoin       []func(context.Context, *Client, string)
	onLeave      []func(context.Context, *Client, string)
	onMessage    []func(context.Context, *Client, *Entry) error
}

// Limits bound what one client, or all of them, may make the Hub hold. A zero field is its default; a
// negative one, where it says so, is no limit.
type Limits struct {
	Payload           int // bytes of one incoming message or POST; 1,000,000
	Outbox            int // bytes queued for one client; 1 MiB. What overflows it is disconnected
	Inbox             int // bytes of one client's events that wait for their handler; 1 MiB. A client over it is not read from meanwhile
	Depth             int // of nested JSON; 64
	Attachments       int // binary ones of one event or ack; 10
	Text              int // characters of a message; 8,000
	Meta              int // bytes of a message's meta; 16 KiB. A few messages of a Payload each would fill everybody's outbox
	ClientsPerUser    int // 20; negative: no limit. In a cluster of all nodes, nearly: see docs/limits.md
	ClientsPerAddress int // of IPv6, a /64; no limit by default: behind a proxy all clients share one. In a cluster as ClientsPerUser
	LegacyClients     int // 1.x and 2.x clients in all; 10,000
	Pending           int // connections that are in no namespace yet; 10,000; negative: no limit. A handshake past it ends the oldest of the address that has most, or, where its own has, the oldest of all; if that has been there for less than a second it is refused (503)
	PendingPerAddress int // of those, of one address (of IPv6, a /64); no limit by default. A handshake past it is refused (429)
	Upgrades          int // from polling to WebSocket that are under way; 10,000; negative: no limit. Past it a client stays on polling
	RoomsPerClient    int // 200; negative: no limit. A join_room past it is refused; the host may subscribe a client to more
}

// Timeouts of what a Hub waits for. A zero field is its default.
type Timeouts struct {
	Connect time.Duration // from the transport's handshake to a namespace joined, auth included; 10 s
	Upgrade time.Duration // from a WebSocket for a session that polls to its probe; 10 s. From there to the upgrade it may take a heartbeat, interval and timeout, if that is longer: the client may wait for a poll that hangs on its way
	Write   time.Duration // of one write to a client; 10 s
	Store   time.Duration // of one call to the Store; 5 s
}

func defaults() *settings {
	return &settings{
		origins:        map[string]bool{},
		logger:         slog.Default(),
		traffic:        slog.LevelDebug,
		tokenLife:      tokenLife,
		drainPace:      drainPace,
		patience:       10 * time.Second,
		legacy:         true,
		legacyUpgrades: true,
		pingInterval:   25 * time.Second,
		pingTimeout:    20 * time.Second,
		recoveryWindow: 2 * time.Minute,
		recoveryBytes:  32 << 20,
		grace:          5 * time.Second,
		presenceMost:   -1,
		limits: Limits{
			Payload: 1_000_000, Outbox: 1 << 20, Inbox: 1 << 20, Depth: 64, Attachments: 10, Text: 8_000, Meta: 16 << 10,
			ClientsPerUser: 20, ClientsPerAddress: -1, LegacyClients: 10_000, RoomsPerClient: 200,
			Pending: 10_000, PendingPerAddress: -1, Upgrades: 10_000,
		},
		timeouts: Timeouts{Connect: 10 * time.Second, Upgrade: 10 * time.Second, Write: 10 * time.Second, Store: 5 * time.Second},
		spaces:   map[string]*spaceSettings{},
	}
}

func newSpaceSettings(name string) *spaceSettings {
	return &spaceSettings{name: name, handlers: map[string]Handler{}}
}

// WithOrigins lists the origins ("https://app.example.com") whose pages may connect, with credentials, beside
// those of the Hub's own host. The default is none: same origin only. A request without an Origin header does
// not come from a browser's page and passes.
//
// "*" lets the pages of any site connect, without credentials for polling; but a browser sends its cookies
// with a WebSocket whatever the answer, so a Hub that knows its users by cookie must not use it.
func WithOrigins(origins ...string) Option {
	return hubOption("WithOrigins", func(b *builder) {
		for _, o := range origins {
			if o == "*" {
				b.hub.anyOrigin = true
				continue
			}
			u, err := url.Parse(o)
			if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
				b.fail("WithOrigins: %q is not an origin such as https://example.com", o)
				continue
			}
			b.hub.origins[strings.ToLower(o)] = true
		}
	})
}

// WithRooms subscribes every client to these rooms when it connects. It limits nothing: see WithRoomPolicy.
func WithRooms(rooms ...string) Option {
	return optionFunc(func(b *builder) {
		for _, r := range rooms {
			if !validRoom(r) {
				b.fail("WithRooms: %q is not a room's name", r)
				continue
			}
			b.space.rooms = append(b.space.rooms, r)
		}
	})
}

// WithAuth decides who a client is, for each CONNECT to a namespace and for each recovery, before the client
// counts. It runs on a goroutine of its own and may block; ctx has the request's values and ends with the
// connection or with Timeouts.Connect. An *Error reaches the page as the data of connect_error (an "error"
// event for 1.x and 2.x clients), any other error as Internal. A User without an ID is anonymous.
//
// A client whose User.Expires comes is told TOKEN_EXPIRED and disconnected. Ahead of that (a quarter of the token's life from Issued, or from now; at most a minute)
// it gets the event auth_expiring {expires_at}, and may send refresh_auth {token}: then f is asked again, in the turn of that event, about a Handshake that has
// nothing but the new token and says so (Handshake.Refresh), and its User, who must have the same ID, takes the place of the old.
//
// A namespace without its own WithAuth uses the Hub's.
func WithAuth(f AuthFunc) Option {
	return optionFunc(func(b *builder) {
		if b.space.auth != nil {
			b.fail("WithAuth given twice for namespace %s", b.space.name)
		}
		b.space.auth = f
	})
}

// WithAnonymous lets a client without an identity of auth's keep one by itself: what its page sends as
// auth.device (an unguessable text, kept by the page) is hashed and becomes the user's id. Without it an
// anonymous id lasts as long as the connection and its recovery.
func WithAnonymous() Option { return optionFunc(func(b *builder) { b.space.anonymous = true }) }

// WithEcho delivers new_message to the sending client too, beside its ack.
func WithEcho() Option { return optionFunc(func(b *builder) { b.space.echo = true }) }

// WithRoomPolicy sets who may join and who may write; the default is anybody.
func WithRoomPolicy(p RoomPolicy) Option { return optionFunc(func(b *builder) { b.space.policy = p }) }

// WithLogger sets the log; the default is slog.Default().
func WithLogger(l *slog.Logger) Option {
	return hubOption("WithLogger", func(b *builder) {
		if l == nil {
			b.fail("WithLogger: nil")
			return
		}
		b.hub.logger = l
	})
}

// WithStore keeps the rooms' logs in s. The default is NewMemoryStore(0, 0). The Hub does not close it.
func WithStore(s Store) Option {
	return hubOption("WithStore", func(b *builder) {
		if s == nil {
			b.fail("WithStore: nil")
			return
		}
		b.hub.store = s
	})
}

// WithoutLegacyClients refuses clients of socket.io-client 1.x and 2.x (Engine.IO 3) with "Unsupported
// protocol version".
func WithoutLegacyClients() Option {
	return hubOption("WithoutLegacyClients", func(b *builder) { b.hub.legacy = false })
}

// WithLegacyUpgrades tells whether 1.x and 2.x clients that begin with polling are offered WebSocket; the
// default is true.
func WithLegacyUpgrades(on bool) Option {
	return hubOption("WithLegacyUpgrades", func(b *builder) { b.hub.legacyUpgrades = on })
}

// WithCompression negotiates permessage-deflate (RFC 7692) without context takeover for WebSockets. Off by
// default: it costs more processor time than a chat's short texts are worth.
func WithCompression() Option {
	return hubOption("WithCompression", func(b *builder) { b.hub.compression = true })
}

// WithHeartbeat sets how often a client is pinged (25 s) and how long its answer may take (20 s).
func WithHeartbeat(interval, timeout time.Duration) Option {
	return hubOption("WithHeartbeat", func(b *builder) { b.hub.pingInterval, b.hub.pingTimeout = interval, timeout })
}

// WithRecovery sets connection state recovery: how long (2 min) and in how many bytes (32 MiB a Hub, shared out evenly among its namespaces) the
// events for a client that went away are kept; what clients from other processes may not have read yet is kept in a fourth of that beside it. A window of 0 turns it
// off; then events carry no offset either.
func WithRecovery(window time.Duration, bytes int64) Option {
	return hubOption("WithRecovery", func(b *builder) { b.hub.recoveryWindow, b.hub.recoveryBytes = window, bytes })
}

// WithGrace sets how long user_left waits for a user whose connection dropped (5 s), so that a reload shows
// neither user_left nor user_joined. 0: it does not wait.
func WithGrace(d time.Duration) Option {
	return hubOption("WithGrace", func(b *builder) { b.hub.grace = d })
}

// WithPresence bounds the size of the rooms in which user_joined and user_left are sent, in users: in a
// larger room neither is. The default, and a negative number, is no bound; 0 turns both off. What they cost
// grows with the square of a room's size when everybody comes at once.
func WithPresence(most int) Option {
	return hubOption("WithPresence", func(b *builder) { b.hub.presenceMost = most })
}

// WithLimits sets the limits that are not zero in l.
func WithLimits(l Limits) Option {
	return hubOption("WithLimits", func(b *builder) {
		d := &b.hub.limits
		for _, f := range [][2]*int{
			{&d.Payload, &l.Payload}, {&d.Outbox, &l.Outbox}, {&d.Inbox, &l.Inbox}, {&d.Depth, &l.Depth}, {&d.Attachments, &l.Attachments},
			{&d.Text, &l.Text}, {&d.Meta, &l.Meta}, {&d.ClientsPerUser, &l.ClientsPerUser}, {&d.ClientsPerAddress, &l.ClientsPerAddress},
			{&d.LegacyClients, &l.LegacyClients}, {&d.RoomsPerClient, &l.RoomsPerClient},
			{&d.Pending, &l.Pending}, {&d.PendingPerAddress, &l.PendingPerAddress}, {&d.Upgrades, &l.Upgrades},
		} {
			if *f[1] != 0 {
				*f[0] = *f[1]
			}
		}
	})
}

// WithTimeouts sets the timeouts that are not zero in t.
func WithTimeouts(t Timeouts) Option {
	return hubOption("WithTimeouts", func(b *builder) {
		d := &b.hub.timeouts
		for _, f := range [][2]*time.Duration{
			{&d.Connect, &t.Connect}, {&d.Upgrade, &t.Upgrade}, {&d.Write, &t.Write}, {&d.Store, &t.Store},
		} {
			if *f[1] != 0 {
				*f[0] = *f[1]
			}
		}
	})
}

// Namespace declares a namespace beside "/" (Socket.IO's multiplexing of one connection), with handlers,
// hooks, rooms and users of its own. Clients cannot join a namespace that was not declared. Hub.Of reaches
// it.
func Namespace(name string, opts ...Option) Option {
	return hubOption("Namespace", func(b *builder) {
		switch {
		case !b.validNamespace(name):
			return
		case b.hub.spaces[name] != nil:
			b.fail("Namespace %s given twice", name)
			return
		}
		sp := newSpaceSettings(name)
		b.hub.spaces[name] = sp
		for _, o := range opts {
			o.apply(&builder{hub: b.hub, space: sp, errs: b.errs})
		}
	})
}

// NamespaceAlias gives the namespace another name: a client that connects to either is in the same one. Pages that mount the Hub under a path and name
// the path in the address, io(base + "/ws"), ask for a namespace of that name without meaning it.
func NamespaceAlias(name string) Option {
	return optionFunc(func(b *builder) {
		if b.validNamespace(name) {
			b.space.aliases = append(b.space.aliases, name)
		}
	})
}

func (b *builder) validNamespace(name string) bool {
	ok := len(name) >= 2 && name[0] == '/' && len(name) <= 128 && !strings.ContainsAny(name, ",?\"\\\x00")
	if !ok {
		b.fail("namespace %q must begin with a slash, have 2 to 128 bytes and none of , ? \" \\", name)
	}
	return ok
}

// build applies opts to the defaults.
func build(opts []Option) (*settings, error) {
	var errs []error
	s := defaults()
	root := newSpaceSettings("/")
	s.spaces["/"] = root
	for _, o := range opts {
		o.apply(&builder{hub: s, space: root, errs: &errs})
	}
	for _, sp := range s.spaces {
		if sp.auth == nil {
			sp.auth = root.auth
		}
	}
	if s.store == nil {
		s.store = NewMemoryStore(0, 0)
	}
	s.logger = slog.New(LogHandler(s.logger.Handler()))
	errs = append(errs, s.validate()...)
	return s, errors.Join(errs...)
}

func (s *settings) validate() (errs []error) {
	positive := func(name string, n int64) {
		if n <= 0 {
			errs = append(errs, fmt.Errorf("chat: %s must be more than 0", name))
		}
	}
	positive("heartbeat interval", int64(s.pingInterval))
	positive("heartbeat timeout", int64(s.pingTimeout))
	positive("Limits.Payload", int64(s.limits.Payload))
	positive("Limits.Outbox", int64(s.limits.Outbox))
	positive("Limits.Inbox", int64(s.limits.Inbox))
	positive("Limits.Depth", int64(s.limits.Depth))
	positive("Limits.Attachments", int64(s.limits.Attachments))
	positive("Limits.Text", int64(s.limits.Text))
	positive("Limits.Meta", int64(s.limits.Meta))
	positive("Limits.LegacyClients", int64(s.limits.LegacyClients))
	positive("Timeouts.Connect", int64(s.timeouts.Connect))
	positive("Timeouts.Upgrade", int64(s.timeouts.Upgrade))
	positive("Timeouts.Write", int64(s.timeouts.Write))
	positive("Timeouts.Store", int64(s.timeouts.Store))
	if s.recoveryWindow < 0 || s.recoveryBytes < 0 || s.grace < 0 {
		errs = append(errs, errors.New("chat: recovery and grace must not be negative"))
	}
	taken := map[string]bool{}
	for name, sp := range s.spaces {
		for _, n := range append([]string{name}, sp.aliases...) {
			if taken[n] {
				errs = append(errs, fmt.Errorf("chat: namespace or alias %s given twice", n))
			}
			taken[n] = true
		}
		if len(sp.aliases) > math.MaxUint8 {
			errs = append(errs, fmt.Errorf("chat: namespace %s has more than %d aliases", name, math.MaxUint8))
		}
	}
	if s.cluster != nil {
		if shared, ok := s.store.(SharedStore); !ok || !shared.Shared() {
			errs = append(errs, errors.New("chat: WithCluster needs a store that all nodes share (a SharedStore)"))
		}
	} else if s.nodeAddress != "" {
		errs = append(errs, errors.New("chat: WithNodeAddress needs WithCluster"))
	}
	_, trims := s.store.(Trimmer)
	for _, sp := range s.spaces {
		if sp.keep != nil && !trims {
			errs = append(errs, errors.New("chat: WithRetention needs a store that is a Trimmer"))
		}
	}
	return errs
}
