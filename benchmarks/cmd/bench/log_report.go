package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parleychat/chat/benchmarks/internal/load"
	"github.com/parleychat/chat/benchmarks/internal/stat"
)

// A logRow is one row of the log's table.
type logRow struct {
	label  string
	digits int
	of     func(*StoreFigures) []float64
}

func of[T any](list []*T, f func(*T) float64) []float64 {
	out := make([]float64, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}

func ackedRate(a *load.Acked) float64     { return a.PerSecond }
func ackedMicros(a *load.Acked) float64   { return a.Micros }
func ackedUser(a *load.Acked) float64     { return a.User }
func ackedDBMicros(a *load.Acked) float64 { return a.DBMicros }
func ackedBatch(a *load.Acked) float64    { return a.Batch }
func ackedAppend(a *load.Acked) float64   { return a.Append }
func ackedBusy(a *load.Acked) float64     { return a.Busy }
func ackedP50(a *load.Acked) float64      { return a.Wait.P50 }
func ackedP99(a *load.Acked) float64      { return a.Wait.P99 }
func bareRate(i *load.Inserted) float64   { return i.PerSecond }
func bareMicros(i *load.Inserted) float64 { return i.Micros + i.DBMicros }

func (f *StoreFigures) crowdRate() []float64   { return of(f.Crowd, ackedRate) }
func (f *StoreFigures) aloneMicros() []float64 { return of(f.Alone, ackedMicros) }

func (f *StoreFigures) pacedP99() []float64 {
	if f.Paced == nil {
		return nil
	}
	return []float64{f.Paced.Wait.P99}
}

func (f *StoreFigures) historyMax() []float64 {
	if f.History == nil {
		return nil
	}
	return []float64{f.History.Store.Max}
}

func (s logSizes) inARoom() int { return s.Senders / max(s.Rooms, 1) }

// rows of the log's table: first those of some members in each room, then of
// one in each, then the paced run.
func (s logSizes) rows() []logRow {
	crowd, alone := fmt.Sprintf("%d in a room, %d under way each", s.inARoom(), s.Several), "each alone in its room, one under way"
	rows := s.ackedRows(crowd, func(f *StoreFigures) []*load.Acked { return f.Crowd }, func(f *StoreFigures) []*load.Inserted { return f.CrowdBare })
	rows = append(rows,
		logRow{"the bare loop with a statement a row, sent together", 0, func(f *StoreFigures) []float64 { return of(f.CrowdEach, bareRate) }},
		logRow{"× that", 2, func(f *StoreFigures) []float64 { return ratios(f.crowdRate(), of(f.CrowdEach, bareRate)) }})
	rows = append(rows, s.ackedRows(alone, func(f *StoreFigures) []*load.Acked { return f.Alone }, func(f *StoreFigures) []*load.Inserted { return f.AloneBare })...)
	rows = append(rows, beforeFanOut("the bare Go server", "", func(f *StoreFigures) []*load.Acked { return f.Alone }, func(f *StoreFigures) []*load.Acked { return f.BareServer })[1:]...)
	rows = append(rows, beforeFanOut("the bare Go server", fmt.Sprintf("alone, with %d messages of each under way: ", s.Several),
		func(f *StoreFigures) []*load.Acked { return f.Several }, func(f *StoreFigures) []*load.Acked { return f.BareSeveral })...)
	paced := func(of func(*load.Acked) float64) func(*StoreFigures) []float64 {
		return func(f *StoreFigures) []float64 {
			if f.Paced == nil {
				return nil
			}
			return []float64{of(f.Paced)}
		}
	}
	at := fmt.Sprintf("%d messages/s, %s", s.Rate, crowd)
	return append(rows,
		logRow{at + ": ms to the ack, p50", 2, paced(ackedP50)},
		logRow{at + ": ms to the ack, p99", 2, paced(ackedP99)},
		logRow{at + ": ms to the ack, longest", 2, paced(func(a *load.Acked) float64 { return a.Wait.Max })},
		logRow{at + ": µs of server CPU a message", 0, paced(ackedMicros)},
		logRow{at + ": entries in a batch", 1, paced(ackedBatch)},
	)
}

// beforeFanOut is a message's CPU beside a bare server's.
func beforeFanOut(server, who string, own, bare func(*StoreFigures) []*load.Acked) []logRow {
	return []logRow{
		{who + "µs of server CPU a message", 1, func(f *StoreFigures) []float64 { return of(own(f), ackedMicros) }},
		{"of which in user mode", 1, func(f *StoreFigures) []float64 { return of(own(f), ackedUser) }},
		{server + ", which keeps them in a slice: µs of its CPU a message", 1, func(f *StoreFigures) []float64 { return of(bare(f), ackedMicros) }},
		{"**× the bare server**", 2, func(f *StoreFigures) []float64 { return ratios(of(own(f), ackedMicros), of(bare(f), ackedMicros)) }},
	}
}

func (s logSizes) ackedRows(who string, own func(*StoreFigures) []*load.Acked, bare func(*StoreFigures) []*load.Inserted) []logRow {
	acked := func(v func(*load.Acked) float64) func(*StoreFigures) []float64 {
		return func(f *StoreFigures) []float64 { return of(own(f), v) }
	}
	return []logRow{
		{who + ": saved and acked a second (load included)", 0, acked(ackedRate)},
		{"entries in a batch", 1, acked(ackedBatch)},
		{"ms of a batch in the store", 1, acked(ackedAppend)},
		{"part of the time in which the store was at work", 2, acked(ackedBusy)},
		{"the bare loop in such batches: rows a second", 0, func(f *StoreFigures) []float64 { return of(bare(f), bareRate) }},
		{"**× bare**", 2, func(f *StoreFigures) []float64 { return ratios(of(own(f), ackedRate), of(bare(f), bareRate)) }},
		{"µs of server CPU a message", 1, acked(ackedMicros)},
		{"µs of the database's CPU a message", 1, acked(ackedDBMicros)},
		{"the bare loop: µs of CPU a row, the database's included", 1, func(f *StoreFigures) []float64 { return of(bare(f), bareMicros) }},
		{"ms to the ack, p50", 1, acked(ackedP50)},
		{"ms to the ack, p99", 1, acked(ackedP99)},
	}
}

// tables are the figures; every cell is the median of its runs, a ratio the
// median of those of neighbours.
func (f *LogFigures) tables() string {
	var b strings.Builder
	b.WriteString("| figure |")
	for _, s := range f.Stores {
		b.WriteString(" " + s.Title + " |")
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(f.Stores)) + "\n")
	for _, row := range f.Sizes.rows() {
		cells, any := "", false
		for _, s := range f.Stores {
			text, ok := logCell(row.of(s), row.digits)
			cells, any = cells+" "+text+" |", any || ok
		}
		if any {
			b.WriteString("| " + row.label + " |" + cells + "\n")
		}
	}
	return b.String() + f.deliveryTable() + f.historyTable()
}

// logCell is the median of v; a figure that a store does not have is 0 or none.
func logCell(v []float64, digits int) (text string, ok bool) {
	m, ok := stat.Median(v)
	if !ok || m == 0 {
		return "–", false
	}
	return number(m, digits), true
}

func (f *LogFigures) deliveryTable() string {
	d := f.Delivery
	if d == nil {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n| the first table's runs | the host's event | an event of as many bytes | `chat_message`, saved in the memory store | × the event | × as many bytes |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, m := range []metric{
		{"µs of server CPU per delivery, saturated", 2, saturatedMicros},
		{"deliveries per second in that run", 0, saturatedRate},
		{"µs of server CPU per delivery, paced", 1, pacedMicros},
	} {
		mid, ok := stat.Median(ratios(m.of(&d.Message), m.of(&d.Event)))
		same, okSame := stat.Median(ratios(m.of(&d.Message), m.of(&d.Long)))
		if !ok || !okSame {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | **%.2f** | **%.2f** |\n", m.label,
			list(m.of(&d.Event), m.digits), list(m.of(&d.Long), m.digits), list(m.of(&d.Message), m.digits), mid, same)
	}
	return b.String()
}

func (f *LogFigures) historyTable() string {
	if !slices.ContainsFunc(f.Stores, func(s *StoreFigures) bool { return s.History != nil }) {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n| a page of %d, of %s entries | p50 ms | p99 ms | slowest place ms | longest reading ms | places |\n| --- | --- | --- | --- | --- | --- |\n",
		load.PageSize, number(float64(f.Sizes.Entries), 0))
	for _, s := range f.Stores {
		if s.History == nil {
			continue
		}
		for _, way := range []struct {
			name string
			load.PageTimes
		}{{"the Store", s.History.Store}, {"a client's `history`", *s.History.Client}} {
			fmt.Fprintf(&b, "| %s, through %s | %.2f | %.2f | %.2f | %.2f | %d |\n", s.Title, way.name, way.P50, way.P99, way.Max, way.Longest, way.N)
		}
	}
	return b.String()
}

// runs lists each single run of the pairs.
func (f *LogFigures) runs() string {
	var b strings.Builder
	b.WriteString("| run by run | library, messages/s | bare loop, rows/s | batch | ratios |\n| --- | --- | --- | --- | --- |\n")
	for _, s := range f.Stores {
		for _, v := range []struct {
			who  string
			own  []*load.Acked
			bare []*load.Inserted
		}{{fmt.Sprintf("%d in a room", f.Sizes.inARoom()), s.Crowd, s.CrowdBare}, {"alone", s.Alone, s.AloneBare}} {
			own, bare := of(v.own, ackedRate), of(v.bare, bareRate)
			fmt.Fprintf(&b, "| %s, %s | %s | %s | %s | %s |\n", s.Title, v.who, list(own, 0), list(bare, 0), list(of(v.own, ackedBatch), 0), list(ratios(own, bare), 2))
		}
	}
	return b.String()
}

func (f *LogFigures) plans() string {
	var b strings.Builder
	for _, s := range f.Stores {
		if s.History == nil {
			continue
		}
		for _, p := range s.History.Plans {
			fmt.Fprintf(&b, "\n%s, a page by `%s`:\n\n```\n%s\n\n%s\n```\n", s.Title, p.Page, strings.ReplaceAll(p.SQL, "\t", "  "), p.Plan)
		}
	}
	return b.String()
}

func (f *LogFigures) markdown(sizes sizes) string {
	return "## The log\n\n![log](log.svg)\n\n" + f.tables() + "\n" + f.method(sizes) + "\n" + f.runs() + "\n### How the databases find a page\n" + f.plans()
}

func (f *LogFigures) method(z sizes) string {
	s := f.Sizes
	return fmt.Sprintf(`- Load: %d clients over WebSockets, each with some %s under way: a text of %d bytes with a `+"`message_id`"+` and an ack; the next one goes out when one is acked. %s after %s of warming up.
  "%d in a room": they are dealt out among %d rooms, and each message is also delivered to the %d others there; "alone": a room each, nobody else gets it.
- Every client hears its room's entries, its own in the acks, one by one in the order of `+"`seq`"+` without a hole; every ack is ok and has its own message; afterwards the store's last seq is what was sent. Else the run does not count.
- The bare loop is a process of its own (`+"`cmd/insert`"+`), after each run of the library in the same file or on the same server, %s, with the same durability (SQLite: WAL and synchronous=FULL; PostgreSQL: fsync=on).
  It inserts rows of the same columns and lengths into a table made like the library's table of entries, with its primary key; no keys of messages, nothing looked up, nobody asked; one transaction a batch, as large as the library's were on average.
  SQLite: one prepared statement a row on one connection. PostgreSQL: one prepared INSERT … SELECT unnest(arrays) a batch, a transaction by itself, one round trip;
  "a statement a row": prepared INSERTs between BEGIN and COMMIT, all sent at once.
- Beside the memory store, the bare Go server of the first table does the lone senders' run: it decodes a message, appends it to a slice, encodes it and answers; no key is looked up, nothing is checked.
  With one message of each sender under way, each costs a read, a write and two wakings by itself; with %d of each, messages share them, and what is left is the server's own work.
- %d rounds in turn; a figure is the median, a ratio the median of those of neighbours. The load shares the cores with the server and the database; the bare loop has them to itself.
- The paced run: %d messages a second in all, one after the other, %s. The wait is from the call that sends a message to the frame with its ack.
- The first table's runs: saturated (%d members, %d senders) %d times, paced (%d members, %d texts a second) %d times, each with the host's event and with `+"`chat_message`"+` in turn. A delivery of the
  event is its text; one of `+"`chat_message`"+` is the whole entry (about 280 bytes more), the sender's is its ack.
- Pages: at the start, in the middle and at the end, and %d random ones, each by `+"`after`"+` and by `+"`before`"+`, and the newest; one page beforehand does not count.
  Each place is read %d times, and counts with its median; the longest single reading stands beside. There are 1,000 other rooms. PostgreSQL after VACUUM ANALYZE.
`, s.Senders, "`chat_message`", 64, s.Time, z.Warm, s.inARoom(), s.Rooms, s.inARoom()-1, s.Bare, s.Several, s.Rounds, s.Rate, s.PacedTime,
		z.SaturatedMembers, z.SaturatedFlight, s.SaturatedPairs, z.PacedMembers, z.PacedRate, s.PacedPairs, load.RandomPlaces, load.Readings)
}
