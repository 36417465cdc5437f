package chat

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/parleychat/chat/internal/engineio"
	"github.com/parleychat/chat/internal/limit"
)

// A Scope says whose doings a Rate counts together.
type Scope string

// The scopes.
const (
	PerClient  Scope = "client"  // a recovery goes on counting (in the same process), a new connection begins anew
	PerUser    Scope = "user"    // all clients of a user in a namespace; a user without an id of auth's counts as a client
	PerAddress Scope = "address" // all clients of an address, of IPv6 those of a /64, in a namespace: see WithTrustedProxies
)

// A Counted is what a Rate counts.
type Counted string

// What a Rate may count.
const (
	Events   Counted = "events"   // that come in; the zero Counted
	Connects Counted = "connects" // to a namespace, refused ones too; not PerClient. Of an address before auth, of a user whom auth has named after it
	Joins    Counted = "joins"    // of rooms that the client was not in, by join_room
	Bytes    Counted = "bytes"    // of the events that come in
)

// A Rate bounds how much of something goes on. What is over it is not done and answered RATE_LIMITED with retry_after_ms: in the ack, as the event "error", as
// the data of connect_error. After Strikes such answers within CoolDown of the first a cool-down begins: for that long all that the Rate counts is refused.
// After as many refusals again the client that met the last is disconnected, and stays away until its page connects again. Of Connects it is the connection
// that is closed, and while an address is in its cool-down of those its handshakes are refused (429 with Retry-After). Each step is counted, logged
// (refusals at debug level, and the first in a row only) and observed.
type Rate struct {
	Per       Scope         // PerClient where it is empty
	Count     Counted       // Events where it is empty
	Event     string        // of Events: the one that is counted; empty: all of them together
	PerSecond float64       // more than 0
	Burst     int           // that may come at once; PerSecond, at least 1, where it is 0. An event of more Bytes passes when nothing is owed, and is owed for longer
	Strikes   int           // 10 where it is 0
	CoolDown  time.Duration // 5 s where it is 0
}

const (
	defaultStrikes  = 10
	defaultCoolDown = 5 * time.Second

	// refillMost is how long a Burst may take to come back.
	refillMost = 24 * time.Hour
)

// WithRates bounds what goes on in a namespace; the default is no bound. An event that several rates count passes when all of them allow it, and the
// retry_after_ms is that of the longest. What users and addresses have done is remembered until it is made up for, of up to 65,536 of either. An event over
// its rate is answered at once, before those that wait for their handlers. Each namespace has rates of its own. In a cluster users and addresses are counted over all
// nodes, which tell each other a moment later; clients are counted by their node.
func WithRates(rates ...Rate) Option {
	return optionFunc(func(b *builder) {
		for _, r := range rates {
			r = r.withDefaults()
			if problem := r.problem(b.space.rates); problem != "" {
				b.fail("WithRates: %s%s %s: %s", r.Per, whatOf(r.Event), r.Count, problem)
				continue
			}
			b.space.rates = append(b.space.rates, r)
		}
	})
}

func whatOf(event string) string {
	if event == "" {
		return ""
	}
	return " " + strconv.Quote(event)
}

func (r Rate) withDefaults() Rate {
	if r.Per == "" {
		r.Per = PerClient
	}
	if r.Count == "" {
		r.Count = Events
	}
	if r.Burst == 0 {
		r.Burst = int(math.Ceil(min(max(r.PerSecond, 1), math.MaxInt32)))
	}
	if r.Strikes == 0 {
		r.Strikes = defaultStrikes
	}
	if r.CoolDown == 0 {
		r.CoolDown = defaultCoolDown
	}
	return r
}

var (
	limitScopes = map[Scope]limit.Scope{PerClient: limit.Client, PerUser: limit.User, PerAddress: limit.Address}
	limitCounts = map[Counted]limit.Counted{Events: limit.Events, Connects: limit.Connects, Joins: limit.Joins, Bytes: limit.Bytes}
	rateSteps   = [...]LimitStep{limit.Refused: LimitRefused, limit.CoolDown: LimitCoolDown, limit.Disconnect: LimitDisconnect}
)

// problem is what is wrong with a rate, given those before it.
func (r Rate) problem(before []Rate) string {
	_, scope := limitScopes[r.Per]
	_, counted := limitCounts[r.Count]
	switch {
	case !scope:
		return "no such Scope"
	case !counted:
		return "no such Counted"
	case r.Count == Connects && r.Per == PerClient:
		return "a client connects once"
	case r.Event != "" && r.Count != Events:
		return "only Events have a name"
	case reservedEvent(r.Event):
		return "the event's name is reserved by the protocol"
	case !(r.PerSecond > 0) || math.IsInf(r.PerSecond, 0):
		return "PerSecond must be more than 0"
	case r.Burst < 0, r.Strikes < 0, r.CoolDown < 0:
		return "Burst, Strikes and CoolDown must not be negative"
	case r.Burst > math.MaxInt32, r.Strikes > math.MaxInt32:
		return "Burst and Strikes must be less than 2^31"
	case float64(r.Burst)/r.PerSecond > refillMost.Seconds():
		return "Burst must come back within a day"
	}
	for _, o := range before {
		if o.Per == r.Per && o.Count == r.Count && o.Event == r.Event {
			return "given twice"
		}
	}
	return ""
}

// rates are those of a namespace; nil: it has none.
type rates struct {
	set      []Rate
	limiter  *limit.Limiter
	joins    bool // are counted
	connects bool // so are they
	shared   *sharedRates
}

func newRates(set []Rate) *rates {
	if len(set) == 0 {
		return nil
	}
	rs := make([]limit.Rate, len(set))
	for i, r := range set {
		rs[i] = limit.Rate{
			Per: limitScopes[r.Per], Count: limitCounts[r.Count], Event: r.Event,
			PerSecond: r.PerSecond, Burst: r.Burst, Strikes: r.Strikes, CoolDown: r.CoolDown,
		}
	}
	l := limit.New(rs)
	return &rates{set: set, limiter: l, joins: l.Counts(limit.Joins), connects: l.Counts(limit.Connects)}
}

func (rs *rates) close() {
	if rs != nil {
		rs.limiter.Close()
	}
}

// rated is what rates know of a client. It does not change once the client is known to anybody.
type rated struct {
	buckets *limit.Buckets // nil: no rate counts by clients
	address string
	key     string // of the address
}

// rateLocked gives a new client what its rates need. One that came back goes on with the buckets of the one before, where that was here.
func (c *Client) rateLocked(t *ticket) {
	rs := c.space.rates
	if rs == nil {
		return
	}
	r := &rated{address: hostOf(t.remote)}
	r.key = addressKey(t.remote)
	if c.recovered && t.lost != nil {
		r.buckets = t.lost.buckets
	} else {
		r.buckets = rs.limiter.NewClient()
	}
	c.rareLocked().rated = r
}

// overRate answers an event that is over a rate.
func (c *Client) overRate(j *job) bool {
	in := j.event
	r := c.rare.rated // no lock: it was there before the client's first event, and so stays
	v := c.space.rates.limiter.Take(j.at, &limit.Doing{
		What: limit.Events, Event: in.Name, Bytes: in.Size, Client: r.buckets, User: c.userID, Address: r.key,
	})
	if v.Hits == nil {
		return false
	}
	if !c.leaving() { // what go-socket.io has read before it took notice of the disconnect
		c.refuse(newEvent(c, j), v, limitedAnswer("too many events", v))
	}
	return true
}

// leaving: what the client sends is dropped.
func (c *Client) leaving() bool {
	c.inbox.mu.Lock()
	defer c.inbox.mu.Unlock()
	return c.inbox.closing
}

// overJoins is the error of a join_room that is over a rate.
func (c *Client) overJoins(e *Event, room string) error {
	rs := c.space.rates
	if rs == nil || !rs.joins || c.subscribed(room) {
		return nil
	}
	r := c.rare.rated
	v := rs.limiter.Take(time.Now(), &limit.Doing{What: limit.Joins, Client: r.buckets, User: c.userID, Address: r.key})
	if v.Hits == nil {
		return nil
	}
	err := limitedAnswer("too many rooms joined", v)
	c.refuse(e, v, err)
	return err
}

// refuse answers an event, and ends a client that has gone too far: the answer comes first.
func (c *Client) refuse(e *Event, v limit.Verdict, err *Error) {
	end := c.space.hitRates(e.ctx, v, LimitHit{UserID: c.userID, ClientID: c.id, Address: c.rare.rated.address})
	c.fail(e, err)
	if end {
		c.endWith(whyRateLimited)
	}
}

func limitedAnswer(message string, v limit.Verdict) *Error {
	return &Error{Code: RateLimited, Message: message, Data: map[string]any{"retry_after_ms": ceil(v.Retry, time.Millisecond)}}
}

// ceil is d in units, so that it is over when as many have passed.
func ceil(d, unit time.Duration) int64 { return int64((d + unit - 1) / unit) }

// overConnects is the error of a CONNECT that is over a rate: of its address, or of the user whom auth has named.
func (sp *space) overConnects(ctx context.Context, t *ticket, per Scope) *Error {
	if sp.rates == nil || !sp.rates.connects {
		return nil
	}
	d := limit.Doing{What: limit.Connects, User: t.user.ID}
	who := LimitHit{UserID: t.user.ID, Address: hostOf(t.remote)}
	if per == PerAddress {
		d.Address = addressKey(t.remote)
	}
	v := sp.rates.limiter.Take(time.Now(), &d)
	if v.Hits == nil {
		return nil
	}
	t.end = sp.hitRates(ctx, v, who)
	return limitedAnswer("too many connects", v)
}

// coolingDown refuses the handshakes of an address that is in its cool-down of connects, in whichever namespace: which one it wants is not known yet.
func (h *core) coolingDown(r *http.Request, address string) error {
	var (
		sp   *space
		rate int
		left time.Duration
	)
	for _, s := range h.spaces {
		if s.rates == nil || !s.rates.connects {
			continue
		}
		if i, d := s.rates.limiter.Cooling(limit.AddressKey(address)); d > left {
			sp, rate, left = s, i, d
		}
	}
	if sp == nil {
		return nil
	}
	sp.hitRates(r.Context(), limit.Verdict{Hits: []limit.Hit{{Rate: rate}}}, LimitHit{Address: address})
	return &engineio.Refusal{
		Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {strconv.FormatInt(ceil(left, time.Second), 10)}},
		Code: 3, Message: "Too many connects from this address",
	}
}

// hitRates counts, logs and observes what rates have refused, and tells whether the one who did it is to be disconnected. No lock is held.
func (sp *space) hitRates(ctx context.Context, v limit.Verdict, who LimitHit) (end bool) {
	for _, hit := range v.Hits {
		rate := sp.rates.set[hit.Rate]
		who.Limit, who.Step, who.Per, who.Namespace, who.Event = "rate", LimitRefused, rate.Per, sp.name, rate.Event
		sp.hub.countHit(ctx, who)
		if hit.First {
			sp.hub.logRate(ctx, slog.LevelDebug, rate, who)
		}
		if hit.Step == limit.Refused {
			continue
		}
		who.Step = rateSteps[hit.Step]
		sp.hub.countHit(ctx, who)
		sp.hub.logRate(ctx, slog.LevelWarn, rate, who)
		end = end || hit.Step == limit.Disconnect
	}
	return end
}

// logRate: floods must not flood the log. Of a key's refusals it gets the first that counts for a step, and each further step.
func (h *core) logRate(ctx context.Context, level slog.Level, r Rate, who LimitHit) {
	attrs := []slog.Attr{
		slog.String("step", string(who.Step)), slog.String("per", string(r.Per)), slog.String("count", string(r.Count)),
		slog.Float64("per_second", r.PerSecond), slog.Int("burst", r.Burst), slog.String("namespace", who.Namespace), slog.String("remote", who.Address),
	}
	if r.Event != "" {
		attrs = append(attrs, slog.String("event", r.Event))
	}
	if who.ClientID == "" && who.UserID != "" { // ctx has those of a client
		attrs = append(attrs, slog.String("user_id", who.UserID))
	}
	h.log().LogAttrs(ctx, level, "chat: rate limited", attrs...)
}

// hitBy is what observers are told of a client that meets one of the Limits.
func (c *Client) hitBy(limit string, step LimitStep) LimitHit {
	hit := LimitHit{Limit: limit, Step: step, Per: PerClient, Namespace: c.space.name, UserID: c.userID, ClientID: c.id}
	if c.space.rates != nil {
		hit.Address = c.rare.rated.address
	}
	return hit
}

// refusedFor gives err, and where that is of the code tells that the limit was met.
func (c *Client) refusedFor(ctx context.Context, err error, code Code, limit, room string) error {
	if e, ok := err.(*Error); ok && e.Code == code {
		hit := c.hitBy(limit, LimitRefused)
		hit.Room = room
		c.space.hub.hit(ctx, hit)
	}
	return err
}
