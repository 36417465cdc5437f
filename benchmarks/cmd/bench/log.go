package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parleychat/chat/benchmarks/internal/load"
)

// logSizes say how much of the log's part.
type logSizes struct {
	Senders int           `json:"senders"` // alone each with one message under way, the crowd with several
	Rooms   int           `json:"rooms"`
	Several int           `json:"several"` // messages of each under way
	Time    time.Duration `json:"acked_ns"`
	Bare    time.Duration `json:"bare_ns"`
	// Rounds are how often the library and the bare loop are measured in turn.
	Rounds    int           `json:"rounds"`
	Rate      int           `json:"paced_messages_per_s"`
	PacedTime time.Duration `json:"paced_ns"`
	// Pairs are how often the host's event and chat_message are, of the first
	// table's runs.
	SaturatedPairs int `json:"saturated_pairs"`
	PacedPairs     int `json:"paced_pairs"`
	// Entries are of the room whose history is read.
	Entries uint64 `json:"history_entries"`
}

var fullLogSizes = logSizes{
	Senders: 200, Rooms: 50, Several: 8, Time: 5 * time.Second, Bare: 4 * time.Second, Rounds: 4,
	Rate: 500, PacedTime: 10 * time.Second, SaturatedPairs: 5, PacedPairs: 5, Entries: 1_000_000,
}

var quickLogSizes = logSizes{
	Senders: 200, Rooms: 50, Several: 8, Time: time.Second, Bare: time.Second, Rounds: 1,
	Rate: 500, PacedTime: 2 * time.Second, SaturatedPairs: 1, PacedPairs: 1, Entries: 20_000,
}

// LogFigures are of the part "The log".
type LogFigures struct {
	Sizes    logSizes         `json:"sizes"`
	Stores   []*StoreFigures  `json:"stores"`
	Delivery *DeliveryFigures `json:"delivery"`
}

// StoreFigures are of the library with one store. Crowd is with some members in
// each room, Alone with one; beside each is the bare loop in batches of the size
// that the run before it had.
type StoreFigures struct {
	Name      string           `json:"name"`
	Title     string           `json:"title"`
	Failed    []string         `json:"failed,omitempty"`
	Crowd     []*load.Acked    `json:"crowd,omitempty"`
	CrowdBare []*load.Inserted `json:"crowd_bare,omitempty"`
	// CrowdEach is the bare loop with a statement a row (PostgreSQL), where
	// CrowdBare has one for all.
	CrowdEach []*load.Inserted `json:"crowd_each,omitempty"`
	Alone     []*load.Acked    `json:"alone,omitempty"`
	AloneBare []*load.Inserted `json:"alone_bare,omitempty"`
	// BareServer is the bare Go server, which keeps an entry in a slice and
	// answers, beside Alone; Several and BareSeveral are the same with several
	// messages of each sender under way. Of the memory store only.
	BareServer  []*load.Acked   `json:"bare_server,omitempty"`
	Several     []*load.Acked   `json:"several,omitempty"`
	BareSeveral []*load.Acked   `json:"bare_several,omitempty"`
	Paced       *load.Acked     `json:"paced,omitempty"`
	History     *HistoryFigures `json:"history,omitempty"`
}

// DeliveryFigures are of the first table's runs, with the host's event and with
// chat_message, which the memory store saves; and with an event that has as
// many bytes as that.
type DeliveryFigures struct {
	Event   Figures `json:"event"`
	Long    Figures `json:"long"`
	Message Figures `json:"message"`
}

// logStore is a store to measure, with the process of its server if it has one.
type logStore struct {
	name, title string
	db          string // as the log's server takes it
	history     string // of the history's room, in the same form
	process     int
}

// measureLog runs the part. What cannot be had is said, and the rest goes on.
func (b *bench) measureLog(ctx context.Context) *LogFigures {
	f := &LogFigures{Sizes: b.logSizes}
	var errs []error
	for _, p := range [][2]string{{"log", "./servers/log"}, {"chat", "./servers/chat"}, {"bare", "./servers/bare"}, {"insert", "./cmd/insert"}} {
		slog.Info("build", "server", p[0])
		errs = append(errs, b.build(ctx, p[1], p[0]))
	}
	if err := errors.Join(errs...); err != nil {
		f.Stores = []*StoreFigures{{Name: "memory", Title: "memory", Failed: []string{"build: " + err.Error()}}}
		return f
	}
	b.measureStores(ctx, f)
	if b.wants("delivery") {
		f.Delivery = b.measureDelivery(ctx)
	}
	return f
}

// logParts are what -only may name beside -log.
var logParts = []string{"memory", "sqlite", "postgres", "delivery"}

func (b *bench) wants(part string) bool { return b.logOnly == nil || slices.Contains(b.logOnly, part) }

func (b *bench) measureStores(ctx context.Context, f *LogFigures) {
	for i, open := range []func() (logStore, func() error, error){b.memory, b.sqlite, b.postgres} {
		if !b.wants(logParts[i]) {
			continue
		}
		s, done, err := open()
		figures := &StoreFigures{Name: s.name, Title: s.title}
		f.Stores = append(f.Stores, figures)
		if err != nil {
			figures.Failed = append(figures.Failed, "start: "+err.Error())
			continue
		}
		b.measureStore(ctx, s, figures)
		if err := done(); err != nil {
			figures.Failed = append(figures.Failed, "end: "+err.Error())
		}
	}
}

func (b *bench) measureStore(ctx context.Context, s logStore, f *StoreFigures) {
	try := func(what string, run func() error) {
		if ctx.Err() != nil {
			return
		}
		if err := run(); err != nil {
			slog.Warn("failed", "store", s.name, "run", what, "err", err)
			f.Failed = append(f.Failed, what+": "+err.Error())
		}
	}
	for range b.logSizes.Rounds {
		try("acked", func() error { return b.pair(ctx, s, b.logSizes.Rooms, &f.Crowd, &f.CrowdBare, &f.CrowdEach) })
		try("acked, alone", func() error { return b.pair(ctx, s, b.logSizes.Senders, &f.Alone, &f.AloneBare, nil) })
		if s.name == "memory" {
			try("bare server", func() error { return b.bareServer(ctx, 1, &f.BareServer) })
			try("acked, several", func() error { return b.alone(ctx, logServer(s.db), b.logSizes.Several, &f.Several) })
			try("bare server, several", func() error { return b.bareServer(ctx, b.logSizes.Several, &f.BareSeveral) })
		}
	}
	try("acked, paced", func() error {
		a, err := b.acked(ctx, s, "acked-paced", b.logSizes.Rooms, b.logSizes.PacedTime)
		f.Paced = a
		return err
	})
	if s.history != "" {
		try("history", func() (err error) {
			f.History, err = b.measureHistory(ctx, s)
			return err
		})
	}
}

// pair measures the library and then the bare loop; they count together, or not
// at all. each may be nil.
func (b *bench) pair(ctx context.Context, s logStore, rooms int, own *[]*load.Acked, bare, each *[]*load.Inserted) error {
	a, err := b.acked(ctx, s, "acked", rooms, b.logSizes.Time)
	if err != nil {
		return err
	}
	var rows, eachRow *load.Inserted
	if s.name != "memory" {
		if rows, err = b.insert(ctx, s, a, false); err != nil {
			return err
		}
		*bare = append(*bare, rows)
	}
	if s.process != 0 && each != nil {
		if eachRow, err = b.insert(ctx, s, a, true); err != nil {
			*bare = (*bare)[:len(*bare)-1]
			return err
		}
		*each = append(*each, eachRow)
	}
	*own = append(*own, a)
	return nil
}

func (b *bench) acked(ctx context.Context, s logStore, mode string, rooms int, t time.Duration) (*load.Acked, error) {
	inFlight := 1
	if mode == "acked" && rooms < b.logSizes.Senders { // the crowd: as much as the store takes
		inFlight = b.logSizes.Several
	}
	return b.onServer(ctx, logServer(s.db), load.Plan{
		Mode: mode, Members: b.logSizes.Senders, Rooms: rooms, InFlight: inFlight, Rate: b.logSizes.Rate, DB: s.process, Warm: b.sizes.Warm, Time: t,
	})
}

func (b *bench) onServer(ctx context.Context, s server, p load.Plan) (*load.Acked, error) {
	r, err := b.once(ctx, s, p)
	if err != nil {
		return nil, err
	}
	a := r.Acked
	slog.Info(p.Mode, "server", strings.Join(s.argv, " "), "rooms", p.Rooms, "each", max(p.InFlight, 1), "per_s", tenth(a.PerSecond), "us_message", tenth(a.Micros), "user_us", tenth(a.User), "db_us", tenth(a.DBMicros),
		"batch", tenth(a.Batch), "p50_ms", tenth(a.Wait.P50), "p99_ms", tenth(a.Wait.P99))
	return a, nil
}

// bareServer has the run of the lone senders on the bare Go server.
func (b *bench) bareServer(ctx context.Context, inFlight int, into *[]*load.Acked) error {
	s := goServer("bare", "", "log", ".", "./servers/bare", "")
	s.argv = append(s.argv, "-noroom")
	return b.alone(ctx, s, inFlight, into)
}

// alone has every sender alone in a room, with inFlight messages under way.
func (b *bench) alone(ctx context.Context, s server, inFlight int, into *[]*load.Acked) error {
	n := b.logSizes.Senders
	a, err := b.onServer(ctx, s, load.Plan{Mode: "acked", Members: n, Rooms: n, InFlight: inFlight, Warm: b.sizes.Warm, Time: b.logSizes.Time})
	if err == nil {
		*into = append(*into, a)
	}
	return err
}

// logServer is the library with the store that db names.
func logServer(db string) server {
	s := goServer("log", "", "log", ".", "./servers/log", "")
	s.argv = append(s.argv, "-db", db)
	return s
}

// insert runs the bare loop in batches of the size that a's were.
func (b *bench) insert(ctx context.Context, s logStore, a *load.Acked, each bool) (*load.Inserted, error) {
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "insert"), "-db", s.db, "-batch", strconv.Itoa(int(math.Round(a.Batch))), "-each="+strconv.FormatBool(each),
		"-rooms", strconv.Itoa(b.logSizes.Rooms), "-dbpid", strconv.Itoa(s.process), "-warm", b.sizes.Warm.String(), "-time", b.logSizes.Bare.String())
	i := new(load.Inserted)
	if err := jsonOf(cmd, i); err != nil {
		return nil, err
	}
	slog.Info("bare", "store", s.name, "batch", i.Batch, "each", each, "per_s", tenth(i.PerSecond), "us_row", tenth(i.Micros), "db_us", tenth(i.DBMicros),
		"ratio", fmt.Sprintf("%.2f", a.PerSecond/i.PerSecond))
	return i, nil
}

// jsonOf runs cmd and decodes what it prints.
func jsonOf(cmd *exec.Cmd, into any) error {
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return errors.New(lastLine(exit.Stderr))
		}
		return err
	}
	return json.Unmarshal(out, into)
}

// measureDelivery has the first table's runs on this library, with its host's
// event and with chat_message in turn.
func (b *bench) measureDelivery(ctx context.Context) *DeliveryFigures {
	f := &DeliveryFigures{Event: Figures{Name: "event", Title: "event of the host"}, Long: Figures{Name: "long", Title: "event of as many bytes"}, Message: Figures{Name: "message", Title: "`chat_message`"}}
	event, message := goServer("chat", "", "eio4", ".", "./servers/chat", ""), goServer("chat", "", "chat", ".", "./servers/chat", "")
	long := goServer("chat", "", "long", ".", "./servers/chat", "")
	event.name, long.name, message.name = "event", "long event", "chat_message"
	both := []contender{{event, &f.Event}, {long, &f.Long}, {message, &f.Message}}
	b.rounds(ctx, b.logSizes.SaturatedPairs, both, b.sizes.saturated())
	b.rounds(ctx, b.logSizes.PacedPairs, both, b.sizes.paced())
	return f
}

func (f *LogFigures) failures() (out []string) {
	for _, s := range f.Stores {
		for _, what := range s.Failed {
			out = append(out, fmt.Sprintf("the log, %s: %s", s.Title, what))
		}
	}
	if d := f.Delivery; d != nil {
		for _, what := range slices.Concat(d.Event.Failed, d.Long.Failed, d.Message.Failed) {
			out = append(out, "the log, deliveries: "+what)
		}
	}
	return out
}
