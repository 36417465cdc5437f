package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// conduct runs a trial and tells of it. The error is of a run that could not be done, or of one that had to be faultless and was not.
func (t *trial) conduct(w io.Writer, keep bool) (*outcome, error) {
	var err error
	if t.dir, err = os.MkdirTemp("", "chaos-"+t.name+"-"); err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "%s: seed %d, %v, %d cuts and stalls, %d kills, %d restarts of the database; logs in %s\n", t.name, t.seed, t.schedule.lasts,
		len(t.schedule.plan(t.seed))-t.schedule.kills-t.schedule.restarts, t.schedule.kills, t.schedule.restarts, t.dir)
	o, err := t.run()
	if o == nil || o.verdict == nil {
		return nil, fmt.Errorf("%s, seed %d: %w; see %s", t.name, t.seed, err, t.dir)
	}
	tell(w, o)
	if err == nil {
		err = o.left
	}
	if err == nil && !o.verdict.faultless() {
		err = errors.New("lost, doubled, out of order or wrong is not 0")
	}
	if err == nil && o.verdict.Holes > 0 && o.verdict.Told == 0 {
		err = errors.New("pages saw holes that no error event told of")
	}
	if err == nil && t.schedule.kills == 0 && o.verdict.Strangers > 0 {
		err = errors.New("not every client of 4.8 was recovered")
	}
	if strings.HasPrefix(t.backend, "node") { // of which nothing is asked
		err = nil
	}
	if err != nil {
		return o, fmt.Errorf("%s, seed %d: %w; see %s", t.name, t.seed, err, t.dir)
	}
	if keep {
		return o, nil
	}
	return o, os.RemoveAll(t.dir)
}

const findingsTold = 30

// tell prints what a run has found.
func tell(w io.Writer, o *outcome) {
	v := o.verdict
	for i, f := range v.problems {
		if i == findingsTold {
			fmt.Fprintf(w, "  … and %d more\n", len(v.problems)-i)
			break
		}
		fmt.Fprintf(w, "  %v\n", f)
	}
	for i, f := range v.holes {
		if i == findingsTold {
			fmt.Fprintf(w, "  … and %d more holes\n", len(v.holes)-i)
			break
		}
		fmt.Fprintf(w, "  %v\n", f)
	}
	if o.left != nil {
		fmt.Fprintf(w, "  %v\n", o.left)
	}
	fmt.Fprintf(w, "  longest gap: %v\n", v.gap)
	printTable(w, []*outcome{o})
}

// columns of the table, in the order in which they are read.
var columns = []struct {
	name  string
	value func(*outcome) string
}{
	{"run", func(o *outcome) string { return o.trial.name }},
	{"sent", func(o *outcome) string { return fmt.Sprint(o.verdict.Sent) }},
	{"acked", func(o *outcome) string { return fmt.Sprint(o.verdict.Acked) }},
	{"delivered", func(o *outcome) string { return fmt.Sprint(o.verdict.Delivered) }},
	{"by history", func(o *outcome) string { return fmt.Sprint(o.verdict.CaughtUp) }},
	{"lost", func(o *outcome) string { return fmt.Sprint(o.verdict.Lost) }},
	{"of the log", func(o *outcome) string { return fmt.Sprint(o.verdict.Missing) }},
	{"doubled", func(o *outcome) string { return fmt.Sprint(o.verdict.Doubled) }},
	{"out of order", func(o *outcome) string { return fmt.Sprint(o.verdict.Disorder) }},
	{"wrong", func(o *outcome) string { return fmt.Sprint(o.verdict.Wrong) }},
	{"holes", func(o *outcome) string { return fmt.Sprint(o.verdict.Holes) }},
	{"own", func(o *outcome) string { return fmt.Sprint(o.verdict.OwnHoles) }},
	{"errors", func(o *outcome) string { return fmt.Sprint(o.verdict.Told) }},
	{"gap s", func(o *outcome) string { return seconds(o.verdict.GapMS) }},
	{"outage s", func(o *outcome) string { return seconds(o.verdict.OutageMS) }},
	{"retries", func(o *outcome) string { return fmt.Sprint(o.verdict.Attempts - o.verdict.Sent) }},
	{"recoveries", func(o *outcome) string { return fmt.Sprint(o.verdict.Recoveries) }},
	{"rejoins", func(o *outcome) string { return fmt.Sprint(o.verdict.Rejoins) }},
	{"strangers", func(o *outcome) string { return fmt.Sprint(o.verdict.Strangers) }},
}

func seconds(ms int64) string {
	return fmt.Sprintf("%.1f", (time.Duration(ms) * time.Millisecond).Seconds())
}

func printTable(w io.Writer, outcomes []*outcome) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, c := range columns {
		fmt.Fprintf(tab, "%s\t", c.name)
	}
	fmt.Fprintln(tab)
	for _, o := range outcomes {
		for _, c := range columns {
			fmt.Fprintf(tab, "%s\t", c.value(o))
		}
		fmt.Fprintln(tab)
	}
	_ = tab.Flush() // to a terminal
}
