package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/parleychat/chat/benchmarks/internal/stat"
)

// median of a figure over a row's rounds.
func (r *row) median(of func(figures) float64) float64 {
	var list []float64
	for _, f := range r.figures {
		list = append(list, of(f))
	}
	m, _ := stat.Median(list) // each row has a round
	return m
}

// ratio is what a delivery costs beside that of another row in the same round.
func (r *row) ratio(to *row) float64 {
	var list []float64
	for i, f := range r.figures {
		list = append(list, f.cpu()/to.figures[i].cpu())
	}
	m, _ := stat.Median(list) // each row has a round
	return m
}

func half(f figures) float64 { return f.delay(0.5) }
func tail(f figures) float64 { return f.delay(0.99) }

// The most that a delivery may cost on several nodes, by what it costs on one.
const mostRatio = 1.2

func report(all []*row) string {
	var b strings.Builder
	p := all[0].plan
	fmt.Fprintf(&b, "# Several nodes: results\n\n%s · `make -C benchmarks cluster` · %d cores, load and PostgreSQL included · %s\n\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version())
	fmt.Fprintf(&b, "%d rooms of %d members each, who are on the nodes by turns; texts of 64 bytes by chat_message with an ack, saved in PostgreSQL (fsync=on), one Redis (AOF, everysec). "+
		"The nodes of a run have the machine's cores between them (GOMAXPROCS). Windows of %v, %d of each run in turn, medians. CPU is of all nodes together; the ratios are to one node in the same round, one with Redis as the others and one without. Nodes \"that share nothing\" are no cluster: each has the rooms of its own, so that what they cost more than one is that of more processes on this machine. Ms are from a message's being sent to a member of the room, on another node where there is one.\n\n", p.rooms, p.members, p.window, len(all[0].figures))
	b.WriteString("| run | messages/s | deliveries/s | µs of CPU a delivery | to one node | to one without Redis | ms to a member | p99 | Redis's µs a delivery | Redis's commands a message | bytes in | bytes out |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	var base, apart, one *row // one without Redis, several that share nothing, one
	var beside []string
	for _, r := range all {
		switch {
		case r.alone && r.nodes == 1:
			base, one = r, nil
		case r.alone:
			apart = r
		case r.nodes == 1:
			one = r
		case r.nodes == apart.nodes:
			beside = append(beside, fmt.Sprintf("%.2f (%s)", r.ratio(apart), r.load()))
		}
		toOne := "–"
		if one != nil {
			toOne = fmt.Sprintf("%.2f", r.ratio(one))
		}
		redis := func(of func(figures) float64, format string) string {
			if r.alone {
				return "–"
			}
			return fmt.Sprintf(format, r.median(of))
		}
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.2f | %s | %.2f | %.1f | %.1f | %s | %s | %s | %s |\n", r.name(),
			r.median(func(f figures) float64 { return float64(f.messages) / f.took.Seconds() }), r.median(figures.perSecond), r.median(figures.cpu), toOne, r.ratio(base), r.median(half), r.median(tail),
			redis(figures.redisCPU, "%.2f"), redis(func(f figures) float64 { return f.perMessage(f.commands) }, "%.1f"),
			redis(func(f figures) float64 { return f.perMessage(f.in) }, "%.0f"), redis(func(f figures) float64 { return f.perMessage(f.out) }, "%.0f"))
	}
	fmt.Fprintf(&b, "\nWanted: at most %.1f times one node's. Beside as many nodes that share nothing, those of a cluster cost %s.\n", mostRatio, strings.Join(beside, ", "))
	b.WriteString(million(all))
	return b.String()
}

// The chat on paper, of which nothing is measured but what a message and a delivery cost.
const (
	paperClients = 1_000_000
	paperRooms   = 100_000
	paperPace    = 0.01   // messages a second of a client: one in 100 s
	paperNode    = 50_000 // clients of a node, by memory: see RESULTS.md for what one costs
	paperBusy    = 0.5    // of a core
)

// million works out what a million clients need, by the last paced row: that with the most nodes.
func million(all []*row) string {
	var r *row
	for _, x := range all {
		if x.plan.rate > 0 && !x.alone {
			r = x
		}
	}
	size := paperClients / paperRooms
	messages := paperClients * paperPace
	deliveries := messages * float64(size-1)
	perMessage := r.median(func(f figures) float64 { return f.perMessage(f.server.Microseconds()) })
	redisPerMessage := r.median(func(f figures) float64 { return f.perMessage(f.redis.Microseconds()) })
	out := r.median(func(f figures) float64 { return f.perMessage(f.out) }) / float64(r.nodes) // of one node's
	in := r.median(func(f figures) float64 { return f.perMessage(f.in) })
	nodes := float64(paperClients) / paperNode
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %d clients in %d rooms, on paper\n\n", paperClients, paperRooms)
	fmt.Fprintf(&b, "By the row \"%s\", where a message costs the nodes %.0f µs of CPU together with its %d deliveries (rooms here have %d members, so that is on the safe side) and Redis %.0f µs. Each client writes once in %.0f s:\n\n",
		r.name(), perMessage, r.plan.members-1, size, redisPerMessage, 1/paperPace)
	fmt.Fprintf(&b, "| | |\n| --- | --- |\n| messages | %.0f a second, %.0f deliveries |\n", messages, deliveries)
	fmt.Fprintf(&b, "| nodes | %.0f, of %d clients each, for their memory; for their CPU at most %.0f cores at %.0f%% |\n", nodes, paperNode, messages*perMessage/1e6/paperBusy, 100*paperBusy)
	fmt.Fprintf(&b, "| Redis's CPU | %.2f cores for what is published; each node reads every stream, so with %.0f nodes it sends each message %.0f times: about %.1f cores |\n",
		messages*redisPerMessage/1e6, nodes, nodes, messages*redisPerMessage/1e6*nodes/float64(r.nodes))
	fmt.Fprintf(&b, "| Redis's network | %.1f MB/s in, %.0f MB/s out to %.0f nodes |\n", messages*in/1e6, messages*out*nodes/1e6, nodes)
	fmt.Fprintf(&b, "| a node's part of it | %.1f MB/s, nearly all of rooms that none of its clients is in: with %d members on %.0f nodes a room is on at most %d of them |\n", messages*out/1e6, size, nodes, size)
	fmt.Fprintf(&b, "| PostgreSQL | %.0f rows a second: see the log's section in RESULTS.md |\n", messages)
	b.WriteString("\nWhat breaks first is what grows with nodes times messages: every node reads every stream. Redis's one thread is the first bound, then its network; both are put off by a Redis Cluster, over whose masters the streams " +
		"are spread, and ended only where rooms are kept together on few nodes, so that a node need not read all streams. PostgreSQL's writes come next.\n")
	return b.String()
}
