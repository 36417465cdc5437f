package chat

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// An Observer is told what a Hub does: for metrics, traces, an audit log. It has one or more of the methods of HubObserver, ConnectObserver,
// DisconnectObserver, EventObserver, StoreObserver, DeliverObserver, LimitObserver and ErrorObserver; New refuses one that has none.
//
// The methods are called from many goroutines at once, and hold up what they observe: they must not block. They are called under no lock of the Hub's. A ctx
// has the values of what is observed, RequestID among them; a context that a method returns takes its place for what follows (in handlers, for one), and must
// come of it.
type Observer any

// A HubObserver gets to know the Hub, from New, before anything else.
type HubObserver interface {
	ObserveHub(h *Hub)
}

// A ConnectObserver is called when a client asks to come into a namespace, before auth. done, which may be nil, is called when that is decided: c is the new
// client, or nil where it was refused, with what it is told (nil: it went away meanwhile). h is valid until then.
type ConnectObserver interface {
	ObserveConnect(ctx context.Context, h *Handshake) (_ context.Context, done func(c *Client, refused *Error))
}

// A DisconnectObserver is called when a client has left; reason is OnDisconnect's.
type DisconnectObserver interface {
	ObserveDisconnect(ctx context.Context, c *Client, reason string)
}

// An EventObserver is called before an event of a client's is handled, middleware included, or refused. done, which may be nil, is called when it is answered,
// a chat_message when it is saved and delivered; err is the handler's.
type EventObserver interface {
	ObserveEvent(ctx context.Context, c *Client, e *Event) (_ context.Context, done func(err error))
}

// A StoreObserver is called before each call of the Store, of an export once for all that it yields; but not of Watch, nor where the default store is asked for the end of a
// log, which is no work. done may be nil.
type StoreObserver interface {
	ObserveStore(ctx context.Context, call StoreCall) (_ context.Context, done func(err error))
}

// A StoreCall is what a StoreObserver is told.
type StoreCall struct {
	Op      string            // the method's name in lower case: append, page, bounds, trim, rooms, eraseuser, exportuser, revoke, revocations, keep, take
	Entries int               // to be appended
	For     []context.Context // of append: of the entries' senders. Read only
}

// A DeliverObserver is called when an event of the host's, or an entry, has been put into the outboxes of those whom it is for.
type DeliverObserver interface {
	ObserveDeliver(ctx context.Context, d Delivery)
}

// A Delivery is what a DeliverObserver is told.
type Delivery struct {
	Namespace string
	Event     string
	Room      string // of an event for one room; otherwise empty
	Entry     *Entry // that a new_message brings; nil: none. Read only
	Clients   int    // that it went to
	Bytes     int    // of its arguments
	Begin     time.Time
}

// A LimitObserver is called when somebody passes a limit: see WithRates and Limits. It is not told of Limits.Inbox, which refuses nothing, and of Limits.Attachments, past which a
// packet is none (DisconnectObserver: "parse error"). "Outbox" and "Payload" are told of for each client that ends by them.
type LimitObserver interface {
	ObserveLimit(ctx context.Context, hit LimitHit)
}

// A LimitHit is what a LimitObserver is told.
type LimitHit struct {
	Limit     string // "rate", or the field's name in Limits
	Step      LimitStep
	Per       Scope
	Namespace string
	Event     string // of a rate of one event by name
	Room      string // that was not joined, or not written in, for RoomsPerClient and Text
	UserID    string // as far as it is known
	ClientID  string
	Address   string // after the connect it is known in namespaces with rates
}

// A LimitStep is how far somebody has gone who passes a limit.
type LimitStep string

// The steps: see Rate.
const (
	LimitRefused    LimitStep = "refused"
	LimitCoolDown   LimitStep = "cool-down"
	LimitDisconnect LimitStep = "disconnect"
)

// An ErrorObserver is called for each error that a page is told, in an ack, by the event "error" or by connect_error. c is nil where none was let in.
type ErrorObserver interface {
	ObserveError(ctx context.Context, c *Client, code Code, event string)
}

// WithObserver adds observers; they are called in the order given.
func WithObserver(o ...Observer) Option {
	return hubOption("WithObserver", func(b *builder) {
		for _, o := range o {
			if !b.hub.observe.add(o) {
				b.fail("WithObserver: a %T observes nothing", o)
			}
		}
	})
}

// observers are the pieces of all observers.
type observers struct {
	hub        []HubObserver
	connect    []ConnectObserver
	disconnect []DisconnectObserver
	event      []EventObserver
	store      []StoreObserver
	deliver    []DeliverObserver
	limit      []LimitObserver
	errors     []ErrorObserver
}

func (os *observers) add(o Observer) bool {
	return slices.Contains([]bool{
		piece(&os.hub, o), piece(&os.connect, o), piece(&os.disconnect, o), piece(&os.event, o),
		piece(&os.store, o), piece(&os.deliver, o), piece(&os.limit, o), piece(&os.errors, o),
	}, true)
}

func piece[T any](to *[]T, o Observer) bool {
	p, ok := o.(T)
	if ok {
		*to = append(*to, p)
	}
	return ok
}

// connecting's func is nil where nobody waits for it.
func (os *observers) connecting(ctx context.Context, h *Handshake) (context.Context, func(*Client, *Error)) {
	type done = func(*Client, *Error)
	ctx, dones := each(ctx, os.connect, func(o ConnectObserver, ctx context.Context) (context.Context, done, bool) {
		ctx, f := o.ObserveConnect(ctx, h)
		return ctx, f, f != nil
	})
	if dones == nil {
		return ctx, nil
	}
	return ctx, func(c *Client, refused *Error) {
		for _, f := range dones {
			f(c, refused)
		}
	}
}

func (os *observers) begin(ctx context.Context, c *Client, e *Event) (context.Context, func(error)) {
	ctx, dones := each(ctx, os.event, func(o EventObserver, ctx context.Context) (context.Context, func(error), bool) {
		ctx, f := o.ObserveEvent(ctx, c, e)
		return ctx, f, f != nil
	})
	return ctx, all(dones)
}

func (os *observers) storing(ctx context.Context, call StoreCall) (context.Context, func(error)) {
	ctx, dones := each(ctx, os.store, func(o StoreObserver, ctx context.Context) (context.Context, func(error), bool) {
		ctx, f := o.ObserveStore(ctx, call)
		return ctx, f, f != nil
	})
	return ctx, all(dones)
}

// each begins what observers observe, each with the context of the one before. dones are what they want to be called at the end.
func each[O, D any](ctx context.Context, os []O, begin func(O, context.Context) (context.Context, D, bool)) (_ context.Context, dones []D) {
	for _, o := range os {
		next, done, ok := begin(o, ctx)
		if next != nil {
			ctx = next
		}
		if ok {
			dones = append(dones, done)
		}
	}
	return ctx, dones
}

func all(dones []func(error)) func(error) {
	return func(err error) {
		for _, f := range dones {
			f(err)
		}
	}
}

func (os *observers) failed(ctx context.Context, c *Client, code Code, event string) {
	for _, o := range os.errors {
		o.ObserveError(ctx, c, code, event)
	}
}

func (os *observers) left(ctx context.Context, c *Client, reason string) {
	for _, o := range os.disconnect {
		o.ObserveDisconnect(ctx, c, reason)
	}
}

// now is the time where somebody asks for it.
func (h *core) now() (t time.Time) {
	if len(h.set.observe.deliver) > 0 {
		t = time.Now()
	}
	return t
}

// delivered tells of an event that is in its receivers' outboxes.
func (h *core) delivered(ctx context.Context, d *Delivery) {
	for _, o := range h.set.observe.deliver {
		o.ObserveDeliver(ctx, *d)
	}
	if !h.logsTraffic(ctx) {
		return
	}
	attrs := []slog.Attr{slog.String("event", d.Event), slog.String("namespace", d.Namespace), slog.Int("clients", d.Clients)}
	if d.Room != "" {
		attrs = append(attrs, slog.String("room", d.Room))
	}
	if d.Entry != nil {
		attrs = append(attrs, slog.String("message_id", d.Entry.ID), slog.Uint64("seq", d.Entry.Seq))
	}
	h.traffic(ctx, "chat: delivered", attrs...)
}

// limitSteps are in the order of core.limited's counts.
var limitSteps = [...]LimitStep{LimitRefused, LimitCoolDown, LimitDisconnect}

// hit counts, logs and tells observers that somebody passes a limit. What comes again and again with each refusal is for debugging only.
func (h *core) hit(ctx context.Context, hit LimitHit) {
	h.countHit(ctx, hit)
	level := slog.LevelWarn
	if hit.Step == LimitRefused {
		level = slog.LevelDebug
	}
	if h.log().Enabled(ctx, level) {
		attrs := []slog.Attr{
			slog.String("limit", hit.Limit), slog.String("step", string(hit.Step)), slog.String("per", string(hit.Per)),
			slog.String("namespace", hit.Namespace),
		}
		for _, some := range [...]slog.Attr{slog.String("event", hit.Event), slog.String("room", hit.Room), slog.String("remote", hit.Address)} {
			if some.Value.String() != "" {
				attrs = append(attrs, some)
			}
		}
		if hit.ClientID == "" && hit.UserID != "" { // ctx has those of a client
			attrs = append(attrs, slog.String("user_id", hit.UserID))
		}
		h.log().LogAttrs(ctx, level, "chat: limit", attrs...)
	}
}

func (h *core) countHit(ctx context.Context, hit LimitHit) {
	h.limited[slices.Index(limitSteps[:], hit.Step)].Add(1)
	for _, o := range h.set.observe.limit {
		o.ObserveLimit(ctx, hit)
	}
}
