package main

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/parleychat/chat/benchmarks/internal/load"
)

// sizes say how much of everything.
type sizes struct {
	IdleMembers int           `json:"idle_members"`
	IdleFlight  int           `json:"idle_handshakes_in_flight"`
	Settle      time.Duration `json:"settle_ns"`
	// IdlePairs and PacedPairs are how often the bare server and the library
	// are measured in turn; all others are measured once.
	IdlePairs        int           `json:"idle_pairs"`
	SaturatedMembers int           `json:"saturated_members"`
	SaturatedFlight  int           `json:"saturated_messages_in_flight"`
	SaturatedTime    time.Duration `json:"saturated_ns"`
	// Rounds are how often every server has the saturated run, in turn.
	Rounds       int           `json:"saturated_rounds"`
	PacedMembers int           `json:"paced_members"`
	PacedRate    int           `json:"paced_messages_per_s"`
	PacedTime    time.Duration `json:"paced_ns"`
	PacedPairs   int           `json:"paced_pairs"`
	Warm         time.Duration `json:"warm_ns"`
}

var fullSizes = sizes{
	IdleMembers: 5000, IdleFlight: 64, Settle: 8 * time.Second, IdlePairs: 3,
	SaturatedMembers: 200, SaturatedFlight: 8, SaturatedTime: 5 * time.Second, Rounds: 3,
	PacedMembers: 500, PacedRate: 20, PacedTime: 7 * time.Second, PacedPairs: 7,
	Warm: time.Second,
}

var quickSizes = sizes{
	IdleMembers: 500, IdleFlight: 64, Settle: time.Second, IdlePairs: 1,
	SaturatedMembers: 200, SaturatedFlight: 8, SaturatedTime: time.Second, Rounds: 1,
	PacedMembers: 200, PacedRate: 20, PacedTime: time.Second, PacedPairs: 1,
	Warm: 300 * time.Millisecond,
}

type bench struct {
	root  string
	bin   string
	sizes sizes
	began time.Time

	logSizes logSizes
	logOnly  []string // of logParts; nil: all
}

func (s sizes) idle() load.Plan {
	return load.Plan{Mode: "idle", Members: s.IdleMembers, InFlight: s.IdleFlight, Time: s.Settle}
}

func (s sizes) saturated() load.Plan {
	return load.Plan{Mode: "saturated", Members: s.SaturatedMembers, InFlight: s.SaturatedFlight, Warm: s.Warm, Time: s.SaturatedTime}
}

func (s sizes) paced() load.Plan {
	return load.Plan{Mode: "paced", Members: s.PacedMembers, Rate: s.PacedRate, Warm: s.Warm, Time: s.PacedTime}
}

// build makes one binary of this module.
func (b *bench) build(ctx context.Context, pkg, name string) error {
	return b.prepare(ctx, goServer(name, "", "", ".", pkg, ""))
}

// contender is a server that was built, with what it came to.
type contender struct {
	server
	*Figures
}

// measure runs everything. A server that can't be built or breaks is reported
// with its reason, and the others go on.
func (b *bench) measure(ctx context.Context, chosen []server, withLibs, withLog bool) *Results {
	r := &Results{Date: b.began.UTC().Truncate(time.Second), Machine: machine(), Versions: versions(), Sizes: b.sizes}
	var all []contender
	all, r.Servers = b.ready(ctx, chosen)
	var pair, rest []contender
	for _, c := range all {
		if c.server.name == "bare" || c.server.name == "chat" {
			pair = append(pair, c)
		} else {
			rest = append(rest, c)
		}
	}
	b.rounds(ctx, b.sizes.IdlePairs, pair, b.sizes.idle())
	b.rounds(ctx, 1, rest, b.sizes.idle())
	b.rounds(ctx, b.sizes.Rounds, all, b.sizes.saturated())
	b.rounds(ctx, b.sizes.PacedPairs, pair, b.sizes.paced())
	b.rounds(ctx, 1, rest, b.sizes.paced())
	if withLibs {
		all, r.Libs = b.ready(ctx, libs)
		plan := b.sizes.idle()
		plan.Time = 0
		b.rounds(ctx, 1, all, plan)
		b.rounds(ctx, 1, all, b.sizes.saturated())
		b.rounds(ctx, 1, all, b.sizes.paced())
	}
	if withLog {
		r.Log = b.measureLog(ctx)
	}
	r.Took = time.Since(b.began).Round(time.Second).String()
	return r
}

func (b *bench) ready(ctx context.Context, chosen []server) ([]contender, []*Figures) {
	var built []contender
	var figures []*Figures
	for _, s := range chosen {
		slog.Info("build", "server", s.name)
		f := &Figures{Name: s.name, Title: s.title}
		figures = append(figures, f)
		if err := b.prepare(ctx, s); err != nil {
			slog.Warn("not built", "server", s.name, "err", err)
			f.fail("build", err)
			continue
		}
		f.Version = b.version(s)
		built = append(built, contender{s, f})
	}
	return built, figures
}

// rounds measures each server in turn, n times.
func (b *bench) rounds(ctx context.Context, n int, cs []contender, p load.Plan) {
	for i := range n {
		for _, c := range cs {
			if ctx.Err() != nil {
				return
			}
			r, err := b.once(ctx, c.server, p)
			if err != nil {
				slog.Warn("failed", "server", c.server.name, "run", p.Mode, "err", err)
				c.fail(p.Mode, err)
				continue
			}
			c.add(p.Mode, r)
			progress(c.server.name, i+1, p.Mode, r)
		}
	}
}

func progress(name string, round int, mode string, r load.Result) {
	log := slog.With("server", name, "round", round)
	if mode == "idle" {
		log.Info(mode, "rss_kib", tenth(r.BytesPerConn/1024), "us_connect", tenth(r.MicrosPerConnect))
		return
	}
	log.Info(mode, "us_delivery", tenth(r.MicrosPerDelivery), "deliveries_s", tenth(r.DeliveriesPerSecond))
}

func tenth(v float64) float64 { return math.Round(v*10) / 10 }
