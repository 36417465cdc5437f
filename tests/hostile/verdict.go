package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	costMost = 1.3                    // of a delivery's CPU in quiet
	heapMore = 8 << 20                // bytes that live a minute behind the attacks and did not before them: what attackers have left for those who come back
	heapPart = 5 << 20                // and when that is over: records of goroutines, tables
	rssSoon  = 1.3                    // of the resident memory before, then: between what attackers have left is room that cannot be given back
	rssMore  = 1.2                    // and when it is over
	rssPart  = 8 << 20                // and what the runtime and SQLite keep of the most that they have needed
	rssAgain = 1.1                    // of the resident memory before, where the same attacks were made once already: what is kept of the most that was ever needed is there
	heapOnce = 2 << 20                // and of what lives, when what is kept for those who come back has gone
	pingMost = heartbeat + pingAnswer // between two pings
	enough   = 150                    // samples of a profile, below which its share says nothing
	near     = 2 * time.Minute        // of an attack: quiet that its CPU is compared with
)

// cost is the CPU of the server for an honest client's delivery: what their connections used, and all that saving and handing on used for whomever, since of
// that nobody can tell a part.
func (p *phase) cost() time.Duration {
	return (p.Shares.Honest + p.Shares.Save) / time.Duration(max(1, p.Felt.Deliveries))
}

// times is the cost beside that in quiet, and by how much that may be off: two standard deviations, samples being counted as chance would have them.
func (o *outcome) times(p *phase) (x, off float64) {
	quiet := o.quietNear(p)
	a, b := p.ours(), quiet.ours()
	if a == 0 || b == 0 {
		return 0, 0
	}
	x = float64(p.cost()) / float64(quiet.cost())
	return x, 2 * x * math.Sqrt(1/a+1/b)
}

// quietNear is what a phase is compared with: an attack with the quiet that was less than near before or after it, all of that together, since over an hour the machine itself is
// faster and slower by a tenth and more; quiet behind attacks with that before the first.
func (o *outcome) quietNear(p *phase) *phase {
	if len(p.attacks) == 0 {
		return &o.Phases[0]
	}
	all := &phase{Name: "quiet"}
	for _, list := range [][]phase{o.Phases, o.Pauses} {
		for i := range list {
			if q := &list[i]; len(q.attacks) == 0 && q.To > p.From-near && q.From < p.To+near {
				all.add(q)
			}
		}
	}
	return all
}

// add is for the cost of several phases together.
func (p *phase) add(q *phase) {
	p.Felt.Deliveries += q.Felt.Deliveries
	p.Shares.Honest += q.Shares.Honest
	p.Shares.Attack += q.Shares.Attack
	p.Shares.Save += q.Shares.Save
	p.Shares.Rest += q.Shares.Rest
	p.Shares.Samples += q.Shares.Samples
}

// each is the cost beside the messages of honest clients alone: attackers' coming and going is news to all, which the cost is for too.
func (p *phase) each() time.Duration {
	return time.Duration(float64(p.cost()) * float64(p.Felt.Deliveries) / float64(max(1, p.Felt.Delay.N)))
}

// ours is how many samples of the profile are in the cost.
func (p *phase) ours() float64 {
	all := p.Shares.Honest + p.Shares.Attack + p.Shares.Save + p.Shares.Rest
	if all == 0 {
		return 0
	}
	return float64(p.Shares.Samples) * float64(p.Shares.Honest+p.Shares.Save) / float64(all)
}

func (p *phase) line(quiet *phase) string {
	s := fmt.Sprintf("%-42s %4.0f s  ack p50 %5.1f worst %6.1f ms  delay p99 %6.1f worst %6.1f ms  %6d heard  %6.2f µs each (x%.2f)  CPU %.2f cores (honest %.2f attack %.2f save %.2f rest %.2f)  RSS %d MB  goroutines %d>%d>%d  files %d>%d>%d  back in %.1f s  newcomers %d, refused %v",
		p.Name, (p.To - p.From).Seconds(), ms(p.Felt.Ack.P50), ms(p.Felt.Ack.Worst), ms(p.Felt.Delay.P99), ms(p.Felt.Delay.Worst), p.Felt.Deliveries,
		float64(p.cost())/1e3, float64(p.cost())/float64(max(1, quiet.cost())), p.cores(p.After.CPU-p.Before.CPU), p.cores(p.Shares.Honest), p.cores(p.Shares.Attack), p.cores(p.Shares.Save), p.cores(p.Shares.Rest),
		p.After.RSS>>20, p.Before.Goroutines, p.After.Goroutines, p.Settled.Goroutines, p.Before.Files, p.After.Files, p.Settled.Files, p.Settling.Seconds(), p.Felt.Newcomers, p.Felt.Refused)
	for _, t := range p.Told {
		s += fmt.Sprintf("\n    most %d; %s (its CPU %.2f cores)", t.Most, t, p.cores(t.CPU))
	}
	return s
}

func (p *phase) cores(d time.Duration) float64 { return d.Seconds() / (p.To - p.From).Seconds() }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// verdict is all that is not as it has to be.
func (o *outcome) verdict() (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	wrong = append(wrong, o.Wrong...)
	o.judgeClients(say)
	for i := range o.Phases {
		o.judgeFelt(&o.Phases[i], say)
		o.judgePhase(&o.Phases[i], say)
	}
	for i := range o.Pauses {
		o.judgeFelt(&o.Pauses[i], say)
	}
	if len(o.Left) == 0 {
		say("no attacks were made to the end")
	}
	for i := range o.Left {
		o.judgeLeft(i, say)
	}
	return wrong
}

// judgeLeft: what attacks have left. The first time that is beside a server that has never had so many connections, then beside one that has.
func (o *outcome) judgeLeft(i int, say func(string, ...any)) {
	l := &o.Left[i]
	if l.Soon.Goroutines > o.First.Goroutines+slack || l.Soon.Files > o.First.Files+slack {
		say("%d goroutines and %d files at the end, %d and %d in the beginning", l.Soon.Goroutines, l.Soon.Files, o.First.Goroutines, o.First.Files)
	}
	before, part, rssPart, rssSoon, rssMore := &o.First, int64(heapPart), float64(rssPart), rssSoon, rssMore
	if i > 0 {
		before, part, rssPart, rssSoon, rssMore = &o.Left[i-1].Later, heapOnce, 0, rssAgain, rssAgain
	}
	if more := l.Soon.Heap - before.Heap; more > heapMore {
		say("%d MB more live at the end than in the beginning", more>>20)
	}
	if more := l.Later.Heap - before.Heap; o.long && more > part {
		say("%d MB more live %v later still", more>>20, recoveryWindow)
	}
	if o.long && float64(l.Soon.RSS) > rssPart+rssSoon*float64(before.RSS) {
		say("%d MB resident at the end, %d MB before the attacks", l.Soon.RSS>>20, before.RSS>>20)
	}
	if o.long && float64(l.Later.RSS) > rssPart+rssMore*float64(before.RSS) {
		say("%d MB resident later still, %d MB before the attacks", l.Later.RSS>>20, before.RSS>>20)
	}
}

// judgeClients: all have the same view, which has every message of each once.
func (o *outcome) judgeClients(say func(string, ...any)) {
	if len(o.Clients) == 0 {
		say("there are no honest clients at the end")
		return
	}
	sent := 0
	for _, c := range o.Clients {
		sent += c.Own
	}
	one := o.Clients[0]
	for _, c := range o.Clients {
		switch {
		case c.Wrong != "":
			say("%s", c.Wrong)
		case c.Disconnects > 0:
			say("%s: %d disconnects", c.Name, c.Disconnects)
		case c.Open > 0:
			say("%s: %d messages were not acked", c.Name, c.Open)
		case c.First != one.First || c.Seq != one.Seq || c.View != one.View:
			say("%s sees another room than %s: %d to %d (%x), %d to %d (%x)", c.Name, one.Name, c.First, c.Seq, c.View, one.First, one.Seq, one.View)
		case c.Heard != sent:
			say("%s has %d messages of honest clients; they sent %d", c.Name, c.Heard, sent)
		}
		if c.Gap > pingMost {
			say("%s was not pinged for %v", c.Name, c.Gap)
		}
	}
}

func (o *outcome) judgeFelt(p *phase, say func(string, ...any)) {
	if p.Felt.Ack.Worst > o.patience || p.Felt.Delay.Worst > o.patience {
		say("%s: an ack took %v, a delivery %v", p.Name, p.Felt.Ack.Worst, p.Felt.Delay.Worst)
	}
	if len(p.Felt.Refused) > 0 {
		say("%s: %d newcomers, refused %v", p.Name, p.Felt.Newcomers, p.Felt.Refused)
	}
}

func (o *outcome) judgePhase(p *phase, say func(string, ...any)) {
	if p.Settling > settle {
		say("%s: a minute later there are %d goroutines (%d before) and %d files (%d)", p.Name, p.Settled.Goroutines, p.Before.Goroutines, p.Settled.Files, p.Before.Files)
	}
	if quiet := o.quietNear(p); !o.behind && quiet.ours() >= enough && p.ours() >= enough && float64(p.cost()) > costMost*float64(quiet.cost()) {
		say("%s: %v of CPU a delivery to honest clients, %v in quiet", p.Name, p.cost(), quiet.cost())
	}
	for i, t := range p.Told {
		musts := p.attacks[i].must
		if o.long {
			musts = slices.Concat(musts, p.attacks[i].inTime)
		}
		for _, must := range musts {
			if t.Counts[must] == 0 && !(o.behind && slices.Contains(p.attacks[i].front, must)) {
				say("%s: nothing was answered %q: %v", p.attacks[i].name, must, t)
			}
		}
		for _, never := range p.attacks[i].never {
			if n := t.Counts[never]; n > 0 {
				say("%s: %d were answered %q", p.attacks[i].name, n, never)
			}
		}
	}
}
