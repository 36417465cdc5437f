package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// conduct runs a rollout and tells of it. The error is of a run that could not be done, or of a promise that was not kept.
func (r *rollout) conduct(w io.Writer, keep bool) (*rolled, error) {
	var err error
	if r.dir, err = os.MkdirTemp("", r.name+"-"); err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "%s: seed %d, %d clients in rooms of %d, %.0f messages a second, %d restarts; logs in %s\n", r.name, r.seed, r.clients, roomSize, r.rate, r.restarts, r.dir)
	o, err := r.run()
	if o == nil || o.figures == nil {
		return nil, fmt.Errorf("%s, seed %d: %w; see %s", r.name, r.seed, err, r.dir)
	}
	tellRollout(w, o)
	if err = errors.Join(err, o.left, o.judge()); err != nil {
		return o, fmt.Errorf("%s, seed %d: %w; see %s", r.name, r.seed, err, r.dir)
	}
	if keep {
		return o, nil
	}
	return o, r.tidy()
}

// paceSlack is for what chance adds to a second's reconnections: each client comes back after 0.5 to 1.5 s.
const paceSlack = 1.5

// most is how many may close or come back in one second, as pages see it that were not looked after for a time.
func (r *restartFigures) most() int {
	return int(paceSlack * drainPace * (1 + float64(r.lateMS)/1000))
}

// judge says which promises were not kept.
func (o *rolled) judge() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !o.verdict.faultless() {
		fail("lost, doubled, out of order or wrong is not 0")
	}
	if o.verdict.Holes > 0 && o.verdict.Told == 0 {
		fail("pages saw %d holes that no error event told of", o.verdict.Holes)
	}
	for i, l := range o.lives {
		if l.code != 0 || l.said.cut > 0 || !l.said.down {
			fail("process %d: status %d, %d clients cut off, shut down %v", i+1, l.code, l.said.cut, l.said.down)
		}
	}
	for i := range o.figures.restarts {
		r := &o.figures.restarts[i]
		if n := o.rollout.clients; r.went != n || r.hints != n {
			fail("restart %d: %d clients went and came back, %d were told of it before, of %d", i+1, r.went, r.hints, n)
		}
		if r.peakBack > r.most() || r.peakAway > r.most() {
			fail("restart %d: %d connections closed and %d clients back in one second, at a pace of %d, which allows for %d", i+1, r.peakAway, r.peakBack, drainPace, r.most())
		}
	}
	return errors.Join(errs...)
}

type column[T any] struct {
	name  string
	value func(T) string
}

var rolloutColumns = []column[*rolled]{
	{"run", func(o *rolled) string { return o.rollout.name }},
	{"clients", func(o *rolled) string { return fmt.Sprint(o.rollout.clients) }},
	{"sent", func(o *rolled) string { return fmt.Sprint(o.verdict.Sent) }},
	{"acked", func(o *rolled) string { return fmt.Sprint(o.verdict.Acked) }},
	{"delivered", func(o *rolled) string { return fmt.Sprint(o.verdict.Delivered) }},
	{"by history", func(o *rolled) string { return fmt.Sprint(o.verdict.CaughtUp) }},
	{"lost", func(o *rolled) string { return fmt.Sprint(o.verdict.Lost) }},
	{"of the log", func(o *rolled) string { return fmt.Sprint(o.verdict.Missing) }},
	{"doubled", func(o *rolled) string { return fmt.Sprint(o.verdict.Doubled) }},
	{"out of order", func(o *rolled) string { return fmt.Sprint(o.verdict.Disorder) }},
	{"wrong", func(o *rolled) string { return fmt.Sprint(o.verdict.Wrong) }},
	{"holes", func(o *rolled) string { return fmt.Sprint(o.verdict.Holes) }},
	{"errors", func(o *rolled) string { return fmt.Sprint(o.verdict.Told) }},
	{"retries", func(o *rolled) string { return fmt.Sprint(o.verdict.Attempts - o.verdict.Sent) }},
	{"ack p50 / p99 / max s", func(o *rolled) string { return quantiles(o.figures.ackMS, "%.3f") }},
	{"gap s", func(o *rolled) string { return seconds(o.verdict.GapMS) }},
	{"strays", func(o *rolled) string { return fmt.Sprint(o.figures.strays) }},
	{"failed", func(o *rolled) string { return tally(o.figures.failed) }},
}

// restartRow is one restart of a run.
type restartRow struct {
	o *rolled
	i int
}

func (r restartRow) figures() *restartFigures { return &r.o.figures.restarts[r.i] }
func (r restartRow) life() *life              { return r.o.lives[r.i] }

var restartColumns = []column[restartRow]{
	{"run", func(r restartRow) string { return r.o.rollout.name }},
	{"restart", func(r restartRow) string { return fmt.Sprint(r.i + 1) }},
	{"clients", func(r restartRow) string { return fmt.Sprint(r.life().said.clients) }},
	{"status", func(r restartRow) string { return fmt.Sprint(r.life().code) }},
	{"cut off", func(r restartRow) string { return fmt.Sprint(r.life().said.cut) }},
	{"stop s", func(r restartRow) string { return fmt.Sprintf("%.1f", r.life().exit.Sub(r.life().term).Seconds()) }},
	{"closed a second", func(r restartRow) string { return fmt.Sprint(r.figures().peakAway) }},
	{"back a second", func(r restartRow) string { return fmt.Sprint(r.figures().peakBack) }},
	{"pages late s", func(r restartRow) string { return seconds(r.figures().lateMS) }},
	{"recovered", func(r restartRow) string { return fmt.Sprint(r.figures().recovered) }},
	{"rejoined (of 4.8)", func(r restartRow) string { return r.figures().comeAnew() }},
	{"outage p50 / p99 / max s", func(r restartRow) string { return quantiles(r.figures().connectMS, "%.2f") }},
	{"caught up p50 / p99 / max s", func(r restartRow) string { return quantiles(r.figures().caughtUpMS, "%.2f") }},
	{"all back s", func(r restartRow) string { return fmt.Sprintf("%.1f", r.o.backs[r.i].Sub(r.life().term).Seconds()) }},
	{"again", func(r restartRow) string { return fmt.Sprint(len(r.figures().outages) - r.figures().went) }},
	{"presence", func(r restartRow) string { return fmt.Sprint(r.o.news[r.i]) }},
}

func quantiles(ms []int64, format string) string {
	var texts []string
	for _, q := range []float64{0.5, 0.99, 1} {
		texts = append(texts, fmt.Sprintf(format, float64(quantile(ms, q))/1000))
	}
	return strings.Join(texts, " / ")
}

func tally(n map[string]int) string {
	var texts []string
	for _, k := range slices.Sorted(maps.Keys(n)) {
		texts = append(texts, fmt.Sprintf("%d %s", n[k], k))
	}
	if len(texts) == 0 {
		return "0"
	}
	return strings.Join(texts, ", ")
}

func restartRows(outcomes []*rolled) (rows []restartRow) {
	for _, o := range outcomes {
		for i := range o.figures.restarts {
			rows = append(rows, restartRow{o, i})
		}
	}
	return rows
}

// tellRollout prints what a run has found.
func tellRollout(w io.Writer, o *rolled) {
	for _, found := range [][]finding{o.verdict.problems, o.verdict.holes} {
		for i, f := range found {
			if f.what == "stranger" {
				continue
			}
			if i == findingsTold {
				fmt.Fprintf(w, "  … and %d more\n", len(found)-i)
				break
			}
			fmt.Fprintf(w, "  %v\n", f)
		}
	}
	for i, l := range o.lives {
		if len(l.said.alarms) > 0 {
			fmt.Fprintf(w, "  process %d: %s\n", i+1, tally(l.said.alarms))
		}
	}
	if o.left != nil {
		fmt.Fprintf(w, "  %v\n", o.left)
	}
	fmt.Fprintf(w, "  longest gap: %v\n  presence told of one's own rooms: %s\n", o.verdict.gap, tally(o.figures.presence))
	text(w, rolloutColumns, []*rolled{o})
	text(w, restartColumns, restartRows([]*rolled{o}))
}

// text prints a table for a terminal.
func text[T any](w io.Writer, columns []column[T], rows []T) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, c := range columns {
		fmt.Fprintf(tab, "%s\t", c.name)
	}
	fmt.Fprintln(tab)
	for _, r := range rows {
		for _, c := range columns {
			fmt.Fprintf(tab, "%s\t", c.value(r))
		}
		fmt.Fprintln(tab)
	}
	_ = tab.Flush() // to a terminal
}

// markdown is the same for a page.
func markdown[T any](columns []column[T], rows []T) string {
	var b strings.Builder
	rule := "| ---"
	b.WriteString("|")
	for i, c := range columns {
		fmt.Fprintf(&b, " %s |", c.name)
		if i > 0 {
			rule += " | ---:"
		}
	}
	b.WriteString("\n" + rule + " |\n")
	for _, r := range rows {
		b.WriteString("|")
		for _, c := range columns {
			fmt.Fprintf(&b, " %s |", c.value(r))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// writeRollout leaves the report and its drawing in dir.
func writeRollout(dir string, outcomes []*rolled) error {
	o := outcomes[0]
	r := &o.rollout
	var b strings.Builder
	fmt.Fprintf(&b, "# Restart under load: results\n\n%s · `make chaos` · %s, %d cores · %s · Node %s\n\n", o.began.UTC().Format(time.DateOnly),
		processor(), runtime.NumCPU(), runtime.Version(), version("node", "--version"))
	fmt.Fprintf(&b, "Seed %d. %d stock pages of socket.io-client 4.8 in rooms of %d, over nginx with `examples/production`'s own configuration: %d%% begin with polling and upgrade, %d%% are on WebSocket from the "+
		"start, %d%% stay on polling. %.0f messages a second in all, %.1f deliveries a second for each page. The process is replaced %d times; closing pace %d a second. What each column is: [README](README.md#restart-under-load).\n\n",
		r.seed, r.clients, roomSize, 45, 50, 5, r.rate, r.rate/float64(r.clients)*(roomSize-1), r.restarts, drainPace)
	b.WriteString(markdown(rolloutColumns, outcomes) + "\n" + markdown(restartColumns, restartRows(outcomes)))
	b.WriteString("\n![Reconnections, clients connected and messages acked a second, over time](rollout.svg)\n")
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "ROLLOUT.md"), []byte(b.String()), 0o644),
		os.WriteFile(filepath.Join(dir, "rollout.svg"), []byte(drawRollout(outcomes)), 0o644),
	)
}
