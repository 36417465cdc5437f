package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// conduct runs a clustered and tells of it. The error is of a run that could not be done, or of a promise that was not kept.
func (r *clustered) conduct(w io.Writer, keep bool) (*clusterOutcome, error) {
	var err error
	if r.dir, err = os.MkdirTemp("", r.name+"-"); err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "%s: seed %d, %d nodes, %d clients in %d rooms, %.0f messages a second, %d steps; logs in %s\n", r.name, r.seed, clusterNodes, r.clients, r.rooms, r.rate, len(r.steps), r.dir)
	o, err := r.run()
	if o == nil || o.figures == nil {
		return nil, fmt.Errorf("%s, seed %d: %w; see %s", r.name, r.seed, err, r.dir)
	}
	tellCluster(w, o)
	if err = errors.Join(err, o.left, o.judge()); err != nil {
		return o, fmt.Errorf("%s, seed %d: %w; see %s", r.name, r.seed, err, r.dir)
	}
	if keep {
		return o, nil
	}
	return o, os.RemoveAll(r.dir)
}

// drainAway is the longest that a client may be away for a restart: it comes back 0.5 to 1.5 s after its connection was closed, by the package's default, and has to find a node.
const drainAway = 5 * time.Second

// unreadyAfter is for how long a node may be without Redis and say that it is ready: the patience's default and what it takes to find out.
const unreadyAfter = 10*time.Second + 5*time.Second

// judge says which promises were not kept.
func (o *clusterOutcome) judge() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !o.verdict.faultless() {
		fail("lost, doubled, out of order or wrong is not 0")
	}
	if !o.presence.faultless() {
		fail("of %d views of who is in a room %d are wrong by the events, %d by the node, %d are missing", o.presence.Views, o.presence.Astray, o.presence.Wrong, o.presence.Missing)
	}
	if o.verdict.Holes > 0 && o.verdict.Told == 0 {
		fail("pages saw %d holes that no error event told of", o.verdict.Holes)
	}
	if o.broken > 0 {
		fail("nodes have written %d lines that are no log's", o.broken)
	}
	for i := range o.steps {
		errs = append(errs, o.judgeStep(i))
	}
	return errors.Join(errs...)
}

func (o *clusterOutcome) judgeStep(i int) error {
	var errs []error
	d, f := &o.steps[i], &o.figures.restarts[i]
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%v: %s", d.step, fmt.Sprintf(format, args...)))
	}
	for _, l := range d.drained {
		if l.code != 0 || l.said.cut > 0 || !l.said.down {
			fail("status %d, %d clients cut off, shut down %v", l.code, l.said.cut, l.said.down)
		}
		if worst, most := quantile(f.connectMS, 1), drainAway.Milliseconds()+f.lateMS; worst > most {
			fail("a client was away for %s s, more than %s", seconds(worst), seconds(most))
		}
	}
	for _, h := range d.step.faults {
		if h.lasts < unreadyAfter || d.unready == nil {
			continue
		}
		for node, bad := range d.unready {
			ofAll := h.kind == stopRedis || h.kind == crashRedis || h.kind == emptyRedis
			one := (h.kind == cutRedis || h.kind == stallRedis) && h.node == node
			if (ofAll || one) && bad == 0 {
				fail("node %d was ready all the time", node+1)
			}
		}
	}
	return errors.Join(errs...)
}

var clusterColumns = []column[*clusterOutcome]{
	{"run", func(o *clusterOutcome) string { return o.run.name }},
	{"clients", func(o *clusterOutcome) string { return fmt.Sprint(o.run.clients) }},
	{"sent", func(o *clusterOutcome) string { return fmt.Sprint(o.verdict.Sent) }},
	{"acked", func(o *clusterOutcome) string { return fmt.Sprint(o.verdict.Acked) }},
	{"delivered", func(o *clusterOutcome) string { return fmt.Sprint(o.verdict.Delivered) }},
	{"by history", func(o *clusterOutcome) string { return fmt.Sprint(o.verdict.CaughtUp) }},
	{"lost", func(o *clusterOutcome) string { return fmt.Sprint(o.verdict.Lost) }},
	{"doubled", func(o *clusterOutcome) string { return fmt.Sprint(o.verdict.Doubled) }},
	{"out of order", func(o *clusterOutcome) string { return fmt.Sprint(o.verdict.Disorder) }},
	{"wrong", func(o *clusterOutcome) string { return fmt.Sprint(o.verdict.Wrong) }},
	{"presence", func(o *clusterOutcome) string {
		return fmt.Sprint(o.presence.Astray + o.presence.Wrong + o.presence.Missing)
	}},
	{"of views", func(o *clusterOutcome) string { return fmt.Sprint(o.presence.Views) }},
	{"told again", func(o *clusterOutcome) string { return fmt.Sprint(o.presence.Again) }},
	{"worst outage s", func(o *clusterOutcome) string { return seconds(o.verdict.OutageMS) }},
	{"recovered", func(o *clusterOutcome) string { return fmt.Sprint(o.verdict.Recoveries) }},
	{"rejoined", func(o *clusterOutcome) string { return fmt.Sprint(o.verdict.Rejoins) }},
	{"holes", func(o *clusterOutcome) string { return fmt.Sprint(o.verdict.Holes) }},
	{"errors", func(o *clusterOutcome) string { return fmt.Sprint(o.verdict.Told) }},
	{"retries", func(o *clusterOutcome) string { return fmt.Sprint(o.verdict.Attempts - o.verdict.Sent) }},
	{"ack p50 / p99 / max s", func(o *clusterOutcome) string { return quantiles(o.figures.ackMS, "%.3f") }},
	{"gap s", func(o *clusterOutcome) string { return seconds(o.verdict.GapMS) }},
	{"strays", func(o *clusterOutcome) string { return fmt.Sprint(o.figures.strays) }},
}

// stepRow is one step of a run.
type stepRow struct {
	o *clusterOutcome
	i int
}

func (r stepRow) done() *stepDone          { return &r.o.steps[r.i] }
func (r stepRow) figures() *restartFigures { return &r.o.figures.restarts[r.i] }

var stepColumns = []column[stepRow]{
	{"run", func(r stepRow) string { return r.o.run.name }},
	{"faults", func(r stepRow) string { return r.done().step.String() }},
	{"lasted s", func(r stepRow) string { return fmt.Sprintf("%.1f", r.done().over.Sub(r.done().from).Seconds()) }},
	{"well after s", func(r stepRow) string { return fmt.Sprintf("%.1f", r.done().back.Sub(r.done().over).Seconds()) }},
	{"not ready s, by node", func(r stepRow) string {
		var texts []string
		for _, d := range r.done().unready {
			texts = append(texts, fmt.Sprintf("%.1f", d.Seconds()))
		}
		return strings.Join(texts, " / ")
	}},
	{"clients away", func(r stepRow) string { return fmt.Sprint(r.figures().went) }},
	{"outage p50 / p99 / max s", func(r stepRow) string { return quantiles(r.figures().connectMS, "%.2f") }},
	{"caught up max s", func(r stepRow) string { return seconds(quantile(r.figures().caughtUpMS, 1)) }},
	{"recovered", func(r stepRow) string { return fmt.Sprint(r.figures().recovered) }},
	{"rejoined (of 4.8)", func(r stepRow) string { return r.figures().comeAnew() }},
	{"presence", func(r stepRow) string { return fmt.Sprint(r.done().news) }},
	{"pages late s", func(r stepRow) string { return seconds(r.figures().lateMS) }},
}

func stepRows(outcomes []*clusterOutcome) (rows []stepRow) {
	for _, o := range outcomes {
		for i := range o.steps {
			rows = append(rows, stepRow{o, i})
		}
	}
	return rows
}

// tellCluster prints what a run has found.
func tellCluster(w io.Writer, o *clusterOutcome) {
	for _, found := range [][]finding{o.verdict.problems, o.presence.problems, withoutStrangers(o.verdict.holes)} {
		for i, f := range found {
			if i == findingsTold {
				fmt.Fprintf(w, "  … and %d more\n", len(found)-i)
				break
			}
			fmt.Fprintf(w, "  %v\n", f)
		}
	}
	if o.left != nil {
		fmt.Fprintf(w, "  %v\n", o.left)
	}
	fmt.Fprintf(w, "  longest gap: %v\n  alarms of the nodes: %s\n  failed attempts to connect: %s\n", o.verdict.gap, tally(o.alarms), tally(o.figures.failed))
	text(w, clusterColumns, []*clusterOutcome{o})
	text(w, stepColumns, stepRows([]*clusterOutcome{o}))
}

func withoutStrangers(found []finding) (left []finding) {
	for _, f := range found {
		if f.what != "stranger" {
			left = append(left, f)
		}
	}
	return left
}

// writeCluster leaves the report and its drawing in dir.
func writeCluster(dir string, outcomes []*clusterOutcome) error {
	o := outcomes[0]
	r := &o.run
	var b strings.Builder
	fmt.Fprintf(&b, "# A cluster under faults: results\n\n%s · `make chaos-cluster` · %s, %d cores · %s · Node %s · %s\n\n", o.began.UTC().Format(time.DateOnly),
		processor(), runtime.NumCPU(), runtime.Version(), version("node", "--version"), redisVersion())
	fmt.Fprintf(&b, "Seed %d. %d nodes of `examples/production` on one PostgreSQL and one Redis behind nginx without sticky sessions; %d stock pages (6 of 7 of socket.io-client 4.8, the others 2.5; "+
		"a fifth of them on polling alone, two fifths on WebSocket, two fifths on polling and upgrade) in %d rooms, %.0f messages a second in all. What each column is: [README](README.md#the-cluster).\n\n",
		r.seed, clusterNodes, r.clients, r.rooms, r.rate)
	b.WriteString(markdown(clusterColumns, outcomes) + "\n" + markdown(stepColumns, stepRows(outcomes)))
	b.WriteString("\n![Clients connected and messages acked a second, with the faults](cluster.svg)\n")
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "CLUSTER.md"), []byte(b.String()), 0o644),
		os.WriteFile(filepath.Join(dir, "cluster.svg"), []byte(drawCluster(outcomes)), 0o644),
	)
}

func redisVersion() string {
	fields := strings.Fields(version("redis-server", "--version"))
	if len(fields) < 3 {
		return "Redis"
	}
	return "Redis " + strings.TrimPrefix(fields[2], "v=")
}
