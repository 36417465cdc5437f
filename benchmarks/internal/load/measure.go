package load

import (
	"fmt"
	"time"

	"github.com/parleychat/chat/benchmarks/internal/proc"
)

// A Plan says what to put on a server, and for how long.
type Plan struct {
	Mode    string // idle, saturated, paced; acked, acked-paced, history
	PID     int    // the server's process
	Addr    string
	Dialect string
	Members int
	// InFlight is the number of handshakes (idle) or messages (saturated)
	// that are open at a time; of messages a member (acked; 0 is 1).
	InFlight int
	// Rate is messages a second (paced, acked-paced).
	Rate int
	// Rooms is among how many the members are dealt out (acked, acked-paced).
	Rooms int
	// DB is a process of the database's server; 0: there is none (acked).
	DB int
	// Entries is how many the room r0 has (history).
	Entries uint64
	// Warm passes before the measurement, Time is its length (saturated,
	// paced), or how long an idle crowd is left to settle (idle).
	Warm, Time time.Duration
}

// A Result is what one Plan measured; fields of other modes stay zero.
type Result struct {
	Members int `json:"members"`
	// Lost are connections that the server closed unasked while nothing was
	// being delivered; others were made in their place.
	Lost int `json:"lost,omitempty"`
	// BytesPerConn is the growth of the server's VmRSS a connection once it
	// is quiet; SettledBytesPerConn is the same a while later.
	BytesPerConn        float64 `json:"bytes_per_conn,omitempty"`
	SettledBytesPerConn float64 `json:"settled_bytes_per_conn,omitempty"`
	// MicrosPerConnect is server CPU a connect, until the server is quiet.
	MicrosPerConnect float64 `json:"us_per_connect,omitempty"`
	// ConnectsPerSecond is what the handshakes in flight came to.
	ConnectsPerSecond   float64 `json:"connects_per_s,omitempty"`
	MicrosPerDelivery   float64 `json:"us_per_delivery,omitempty"`
	DeliveriesPerSecond float64 `json:"deliveries_per_s,omitempty"`
	Deliveries          int     `json:"deliveries,omitempty"`
	// ServerCores is server CPU divided by time.
	ServerCores float64    `json:"server_cores,omitempty"`
	Acked       *Acked     `json:"acked,omitempty"`
	Pages       *PageTimes `json:"pages,omitempty"`
}

const (
	connectLimit  = 120 * time.Second
	connectFlight = 64
	drainLimit    = 10 * time.Second
	joinPause     = 300 * time.Millisecond
)

// Run carries the plan out.
func Run(p Plan) (Result, error) {
	l, err := New(p.Addr, p.Dialect)
	if err != nil {
		return Result{}, err
	}
	defer l.Close()
	l.rooms = p.Rooms
	switch p.Mode {
	case "idle":
		return l.idle(p)
	case "saturated":
		return l.saturated(p)
	case "paced":
		return l.paced(p)
	case "acked", "acked-paced":
		return l.acked(p)
	case "history":
		return l.history(p)
	}
	return Result{}, fmt.Errorf("load: no mode %q", p.Mode)
}

// idle measures connects, and then the memory of connections at rest.
func (l *Load) idle(p Plan) (Result, error) {
	rss0, err := proc.RSS(p.PID)
	if err != nil {
		return Result{}, err
	}
	cpu0, err := proc.CPU(p.PID)
	if err != nil {
		return Result{}, err
	}
	start := time.Now()
	if err := l.Connect(p.Members, p.InFlight, connectLimit); err != nil {
		return Result{}, err
	}
	took := time.Since(start)
	if err := l.quiet(p.PID); err != nil {
		return Result{}, err
	}
	cpu1, err := proc.CPU(p.PID)
	if err != nil {
		return Result{}, err
	}
	rss1, err := proc.RSS(p.PID)
	if err != nil {
		return Result{}, err
	}
	if err := l.run(time.Now().Add(p.Time)); err != nil {
		return Result{}, err
	}
	rss2, err := proc.RSS(p.PID)
	n := float64(p.Members)
	return Result{
		Members:             p.Members,
		Lost:                l.lost,
		BytesPerConn:        float64(rss1-rss0) / n,
		SettledBytesPerConn: float64(rss2-rss0) / n,
		MicrosPerConnect:    micros(cpu1-cpu0) / n,
		ConnectsPerSecond:   n / took.Seconds(),
	}, err
}

// quiet polls until the server has used no more than two ticks of CPU in a
// second, or for ten seconds.
func (l *Load) quiet(pid int) error {
	for range 10 {
		before, err := proc.CPU(pid)
		if err != nil {
			return err
		}
		if err := l.run(time.Now().Add(time.Second)); err != nil {
			return err
		}
		after, err := proc.CPU(pid)
		if err != nil {
			return err
		}
		if after-before <= 20*time.Millisecond {
			return nil
		}
	}
	return nil
}

// saturated keeps InFlight messages going: each sender says its next when it
// has received its own last one.
func (l *Load) saturated(p Plan) (Result, error) {
	if err := l.assemble(p); err != nil {
		return Result{}, err
	}
	l.onOwn = func(c *conn) error { return l.say(c, string(c.tag)) }
	senders := l.conns[:min(p.InFlight, len(l.conns))]
	for i, c := range senders {
		c.tag = fmt.Appendf(nil, "s%03d:", i)
		if err := l.say(c, string(c.tag)); err != nil {
			return Result{}, err
		}
	}
	if err := l.run(time.Now().Add(p.Warm)); err != nil {
		return Result{}, err
	}
	r, err := l.window(p, func(end time.Time) error { return l.run(end) })
	if err != nil {
		return r, err
	}
	l.onOwn = func(*conn) error { return nil }
	return r, l.drain(p.Members)
}

// paced says Rate messages a second, each from the next member.
func (l *Load) paced(p Plan) (Result, error) {
	if err := l.assemble(p); err != nil {
		return Result{}, err
	}
	talk := func(end time.Time) error { return l.talk(p.Rate, end) }
	if err := talk(time.Now().Add(p.Warm)); err != nil {
		return Result{}, err
	}
	r, err := l.window(p, talk)
	if err != nil {
		return r, err
	}
	return r, l.drain(p.Members)
}

func (l *Load) talk(rate int, end time.Time) error {
	gap := time.Second / time.Duration(rate)
	for next := time.Now().Add(gap); next.Before(end); next = next.Add(gap) {
		if err := l.run(next); err != nil {
			return err
		}
		if err := l.say(l.conns[l.sent%len(l.conns)], "p:"); err != nil {
			return err
		}
	}
	return l.run(end)
}

// assemble connects everybody and sees one text reach every member.
func (l *Load) assemble(p Plan) error {
	if err := l.Connect(p.Members, connectFlight, connectLimit); err != nil {
		return err
	}
	// Some servers answer CONNECT before the connection is in the room.
	if err := l.run(time.Now().Add(joinPause)); err != nil {
		return err
	}
	if err := l.Connect(p.Members, connectFlight, connectLimit); err != nil {
		return err
	}
	l.strict = true
	if err := l.say(l.conns[0], "first:"); err != nil {
		return err
	}
	return l.drain(p.Members)
}

// drain waits until every text that was sent has reached every member.
func (l *Load) drain(members int) error {
	end := time.Now().Add(drainLimit)
	for l.deliveries < l.sent*members {
		if time.Now().After(end) {
			return fmt.Errorf("load: %d of %d deliveries (%d texts to %d members)",
				l.deliveries, l.sent*members, l.sent, members)
		}
		if err := l.poll(100 * time.Millisecond); err != nil {
			return err
		}
	}
	if l.deliveries > l.sent*members {
		return fmt.Errorf("load: %d deliveries, more than %d texts to %d members", l.deliveries, l.sent, members)
	}
	return nil
}

// window measures while body runs.
func (l *Load) window(p Plan, body func(end time.Time) error) (Result, error) {
	cpu0, err := proc.CPU(p.PID)
	if err != nil {
		return Result{}, err
	}
	start, before := time.Now(), l.deliveries
	if err := body(start.Add(p.Time)); err != nil {
		return Result{}, err
	}
	cpu1, err := proc.CPU(p.PID)
	if err != nil {
		return Result{}, err
	}
	took, n := time.Since(start).Seconds(), l.deliveries-before
	if n == 0 {
		return Result{}, fmt.Errorf("load: no delivery in %s", p.Time)
	}
	return Result{
		Members:             p.Members,
		Lost:                l.lost,
		Deliveries:          n,
		MicrosPerDelivery:   micros(cpu1-cpu0) / float64(n),
		DeliveriesPerSecond: float64(n) / took,
		ServerCores:         (cpu1 - cpu0).Seconds() / took,
	}, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
