package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// write puts HOSTILE.md and its drawing into dir.
func write(dir string, o *outcome) error {
	name := "hostile"
	if o.behind {
		name = "nginx"
	}
	for name, text := range map[string]string{strings.ToUpper(name) + ".md": o.report(name + ".svg"), name + ".svg": o.draw()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // for everybody to read
			return err
		}
	}
	return nil
}

func (o *outcome) report(drawing string) string {
	var b strings.Builder
	end := o.Phases[len(o.Phases)-1].To
	fmt.Fprintf(&b, "# A hostile run\n\nMade by `make chaos` on %s, %d cores, %s. What it is, and how it is measured: [README.md](README.md).\n\n",
		o.began.Format("2006-01-02"), runtime.NumCPU(), runtime.Version())
	with := "SQLite"
	if o.behind {
		with = "PostgreSQL behind nginx, with the deployed file,"
	}
	fmt.Fprintf(&b, "`examples/production` with %s and its own limits, %d honest clients and a newcomer each second, %.0f s with %d attacks.\n\n![honest latency, CPU, memory and goroutines over time](%s)\n\n", with, len(o.Clients), end.Seconds(), o.attacks(), drawing)
	if o.behind {
		b.WriteString("The node's connections all come from nginx, so that nobody can tell by them whom its CPU is spent for: it is not judged here.\n\n")
	}
	o.reportVerdict(&b)
	o.reportFelt(&b)
	o.reportServer(&b)
	o.reportAttacks(&b)
	return b.String()
}

func (o *outcome) reportVerdict(b *strings.Builder) {
	sent, heard, gap, retries, disconnects := 0, 0, time.Duration(0), 0, 0
	for _, c := range o.Clients {
		sent += c.Own
		heard += c.Heard
		gap = max(gap, c.Gap)
		retries += c.Retries
		disconnects += c.Disconnects
	}
	wrong := o.verdict()
	fmt.Fprintf(b, "**%d messages of honest clients were acked, and are in the view of each of the %d once and in one order (%d of %d). %d disconnects, %d retries. The longest between two pings: %.1f s, of at most %v.**\n\n",
		sent, len(o.Clients), heard, sent*len(o.Clients), disconnects, retries, gap.Seconds(), pingMost)
	if len(wrong) == 0 {
		b.WriteString("Nothing was wrong.\n\n")
		return
	}
	b.WriteString("Not as it should be:\n\n")
	for _, w := range wrong {
		fmt.Fprintf(b, "- %s\n", w)
	}
	b.WriteString("\n")
}

func (o *outcome) reportFelt(b *strings.Builder) {
	fmt.Fprintf(b, "## What honest clients felt\n\nms. *CPU each*: of the server, for one delivery to an honest client; *a message*: the same, shared by messages of honest clients only, while *deliveries* has the news of who came and went, the attackers too; *×*: of *CPU each* in the quiet within %v of the attack, pauses between attacks and all, or, of quiet behind attacks, in that before them; *±*: by how much that may be off, from the number of samples (two standard deviations of both). "+
		"*Waited*: seconds a second that the server's threads were ready to run, and the machine's two cores had others on them.\n\n"+
		"| attack | ack p50 | p99 | worst | delivery p50 | p99 | worst | deliveries | CPU each, µs | × | ± | a message, µs | waited | newcomers in, worst |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n", near)
	lowest, highest := time.Duration(math.MaxInt64), time.Duration(0)
	for i := range o.Phases {
		p := &o.Phases[i]
		if len(p.attacks) > 0 {
			quiet := o.quietNear(p).cost()
			lowest, highest = min(lowest, quiet), max(highest, quiet)
		}
		f := &p.Felt
		refused := ""
		for k, n := range f.Refused {
			refused += fmt.Sprintf("; %s %d", k, n)
		}
		x, off := o.times(p)
		fmt.Fprintf(b, "| %s | %.1f | %.0f | %.0f | %.1f | %.0f | %.0f | %d | %.1f | %.2f | %.2f | %.1f | %.2f | %d of %d, %.0f%s |\n", p.Name, ms(f.Ack.P50), ms(f.Ack.P99), ms(f.Ack.Worst), ms(f.Delay.P50), ms(f.Delay.P99), ms(f.Delay.Worst),
			f.Deliveries, float64(p.cost())/1e3, x, off, float64(p.each())/1e3, p.cores(p.After.Waited-p.Before.Waited), f.entered(), f.Newcomers, ms(f.Entry), refused)
	}
	fmt.Fprintf(b, "\nBeside them there were %d pauses in quiet. The quiet around an attack cost %.1f to %.1f µs a delivery, as the machine was faster and slower.\n\n", len(o.Pauses), float64(lowest)/1e3, float64(highest)/1e3)
}

func (o *outcome) reportServer(b *strings.Builder) {
	b.WriteString("## What the server used\n\nCores: all of its CPU, and of that (by the profile) what went to the attackers' connections. At the attack's end, and when goroutines and files were back to what they had been.\n\n" +
		"| attack | s | cores | attackers' | RSS MB | goroutines before, at the end, after | files | back in s |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for i := range o.Phases {
		p := &o.Phases[i]
		fmt.Fprintf(b, "| %s | %.0f | %.2f | %.2f | %d | %d, %d, %d | %d, %d, %d | %.1f |\n", p.Name, (p.To - p.From).Seconds(), p.cores(p.After.CPU-p.Before.CPU), p.cores(p.Shares.Attack),
			p.After.RSS>>20, p.Before.Goroutines, p.After.Goroutines, p.Settled.Goroutines, p.Before.Files, p.After.Files, p.Settled.Files, p.Settling.Seconds())
	}
	o.reportMemory(b)
}

func (o *outcome) reportMemory(b *strings.Builder) {
	b.WriteString("\n## What was left\n\nAs the collector works, resident memory goes up and down by a tenth: each line is of the second whose resident memory was in the middle, in the half minute that ends there. *Resident* is what the kernel says; of that *mapped* are pages of files, the program's own among them, *living* the heap's objects that a collection left at its end, *room* the rest of the heap (garbage, what is between objects, and pages that are not given back yet), *runtime* stacks and its own tables, *profiler* what the test's own profiles take, " +
		"*others* what is outside the Go heap, SQLite's pages first of all (below zero where the runtime counts pages that it has never touched). MB.\n\n| | resident | mapped | living | room | runtime | profiler | others | goroutines | files |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	mb := func(n int64) float64 { return float64(n) / (1 << 20) }
	row := func(when string, u *usage) {
		room := u.Unused + u.Free
		fmt.Fprintf(b, "| %s | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %d | %d |\n", when, mb(u.RSS), mb(u.Mapped), mb(u.Heap), mb(room), mb(u.Runtime-u.Heap-room-u.Profiler), mb(u.Profiler), mb(u.RSS-u.Mapped-u.Runtime), u.Goroutines, u.Files)
	}
	row("before", &o.First)
	for i := range o.Left {
		row(fmt.Sprintf("a minute behind the attacks, time %d", i+1), &o.Left[i].Soon)
		if o.long {
			row(fmt.Sprintf("%v later", recoveryWindow), &o.Left[i].Later)
		}
	}
	b.WriteString("\n")
}

// attacks is how many phases have one.
func (o *outcome) attacks() (n int) {
	for i := range o.Phases {
		if len(o.Phases[i].attacks) > 0 {
			n++
		}
	}
	return n
}

func (o *outcome) reportAttacks(b *strings.Builder) {
	b.WriteString("## The attacks and their answers\n\n*Most*: connections at once.\n\n| attack | what | most | what came of it |\n| --- | --- | --- | --- |\n")
	for i := range o.Phases {
		p := &o.Phases[i]
		for n, t := range p.Told {
			name := p.Name
			if n > 0 {
				name = ""
			}
			fmt.Fprintf(b, "| %s | %s | %d | %s |\n", name, p.What[n], t.Most, t)
		}
	}
}
