package main

import (
	"fmt"
	"strings"

	"github.com/parleychat/chat/benchmarks/internal/stat"
)

// rows of the table, as in the design's "What it costs".
func (r *Results) rows() []metric {
	s := r.Sizes
	return []metric{
		{fmt.Sprintf("KiB of RSS per idle WebSocket connection, %s of them", number(float64(s.IdleMembers), 0)), 1, kib},
		{fmt.Sprintf("the same %s later", s.Settle), 1, settledKiB},
		{"µs of server CPU per connect", 0, connectMicros},
		{fmt.Sprintf("µs of server CPU per delivery, %d in a room, saturated", s.SaturatedMembers), 2, saturatedMicros},
		{"deliveries per second in that run (load included)", 0, saturatedRate},
		{fmt.Sprintf("µs of server CPU per delivery, %d in a room, %d messages/s", s.PacedMembers, s.PacedRate), 1, pacedMicros},
	}
}

// table is the figures, and then each as a ratio to the bare server.
func (r *Results) table() string {
	var b strings.Builder
	if len(r.Servers) > 0 {
		b.WriteString(grid(r.Servers, r.rows()))
		b.WriteString(r.against("bare"))
	}
	if len(r.Libs) > 0 {
		b.WriteString("\n" + grid(r.Libs, r.libRows()))
	}
	if r.Log != nil {
		b.WriteString("\n" + r.Log.tables())
	}
	return b.String()
}

func (r *Results) libRows() []metric {
	rows := r.rows()
	return append(rows[:1:1], rows[2:]...)
}

func grid(fs []*Figures, rows []metric) string {
	var b strings.Builder
	b.WriteString("| figure |")
	for _, f := range fs {
		b.WriteString(" " + strings.TrimSpace(f.Title+" "+f.Version) + " |")
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(fs)) + "\n")
	for _, m := range rows {
		b.WriteString("| " + m.label + " |")
		for _, f := range fs {
			b.WriteString(" " + cell(m, f) + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func cell(m metric, f *Figures) string {
	v, ok := stat.Median(m.of(f))
	if !ok {
		return "n/a"
	}
	text := number(v, m.digits)
	if f.Name == "chat" {
		text = "**" + text + "**"
	}
	return text
}

// against adds a row a metric with each server's ratio to the base. Where both
// were measured more than once it is the median of the ratios of neighbouring
// runs, and not the ratio of medians.
func (r *Results) against(base string) string {
	of := r.find(base)
	if of == nil {
		return ""
	}
	var b strings.Builder
	for _, m := range r.rows() {
		if _, ok := stat.Median(m.of(of)); !ok {
			continue
		}
		b.WriteString("| *× bare:* " + m.label + " |")
		for _, f := range r.Servers {
			b.WriteString(" " + ratio(m.of(f), m.of(of)) + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func ratio(a, base []float64) string {
	va, ok := stat.Median(a)
	vb, okBase := stat.Median(base)
	if !ok || !okBase || vb == 0 {
		return "n/a"
	}
	if len(a) == len(base) {
		if v, ok := stat.Median(ratios(a, base)); ok {
			return number(v, 2)
		}
	}
	return number(va/vb, 2)
}

// number has commas between thousands.
func number(v float64, digits int) string {
	text := fmt.Sprintf("%.*f", digits, v)
	whole, frac, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if frac != "" {
		return whole + "." + frac
	}
	return whole
}

// runs lists every single run of the pairs, so that the noise can be seen.
func (r *Results) runs() string {
	var b strings.Builder
	bare, chat := r.find("bare"), r.find("chat")
	if bare == nil || chat == nil {
		return ""
	}
	b.WriteString("| | bare | this library | ratios | median ratio |\n| --- | --- | --- | --- | --- |\n")
	for _, m := range r.rows() {
		rs := ratios(m.of(chat), m.of(bare))
		mid, ok := stat.Median(rs)
		if !ok || len(rs) < 2 {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.2f |\n", m.label,
			list(m.of(bare), m.digits), list(m.of(chat), m.digits), list(rs, 2), mid)
	}
	return b.String()
}

func list(v []float64, digits int) string {
	out := make([]string, len(v))
	for i, x := range v {
		out[i] = number(x, digits)
	}
	return strings.Join(out, " · ")
}

func (r *Results) failures() string {
	var b strings.Builder
	for _, f := range append(r.Servers[:len(r.Servers):len(r.Servers)], r.Libs...) {
		for _, what := range f.Failed {
			fmt.Fprintf(&b, "- %s: %s\n", f.Title, what)
		}
	}
	if r.Log != nil {
		for _, what := range r.Log.failures() {
			b.WriteString("- " + what + "\n")
		}
	}
	return b.String()
}

func (r *Results) markdown() string {
	var b strings.Builder
	b.WriteString("# What it costs, as measured\n\nWritten by the command below; do not edit. How to read it: [README.md](README.md).\n\n")
	if r.Quick {
		b.WriteString("**The quick form: it shows that the bench works. Its figures mean little.**\n\n")
	}
	fmt.Fprintf(&b, "- Command: `%s` (took %s)\n- Date: %s\n- Machine: %s\n- Versions:", r.Command, r.Took, r.Date.Format("2006-01-02 15:04 MST"), r.Machine)
	for i, name := range []string{"Go", "Node", "Python"} {
		if v := r.Versions[name]; v != "" {
			b.WriteString(strings.Repeat(",", min(i, 1)) + " " + name + " " + v)
		}
	}
	b.WriteString("\n")
	if len(r.Servers)+len(r.Libs) > 0 {
		b.WriteString(r.method())
	}
	if len(r.Servers) > 0 {
		b.WriteString("\n![cost](cost.svg)\n\n" + grid(r.Servers, r.rows()) + r.against("bare"))
		if runs := r.runs(); runs != "" {
			b.WriteString("\n## Run by run, bare and this library in turn\n\n" + runs)
		}
	}
	if len(r.Libs) > 0 {
		b.WriteString("\n## WebSocket libraries\n\nMinimal servers, each as its library's own documentation has it for many idle connections, plain text frames, no Engine.IO.\n\n")
		b.WriteString(grid(r.Libs, r.libRows()))
	}
	if r.Log != nil {
		b.WriteString("\n" + r.Log.markdown(r.Sizes))
	}
	if f := r.failures(); f != "" {
		b.WriteString("\n## What did not work\n\n" + f)
	}
	return b.String()
}

func (r *Results) method() string {
	s := r.Sizes
	return fmt.Sprintf(`- Method: each run has a fresh server process and a load in a process of its own, on the same machine over loopback.
  Memory is VmRSS, CPU is utime + stime, both of the server's process as the kernel tells (/proc), not of the load.
  - idle: %s direct WebSocket connections with the namespace's CONNECT answered, %d handshakes at a time, nobody in a room; RSS when the server is quiet, less its RSS before.
    The bare server and this library %d times in turn, others once.
  - saturated: %d members, %d senders, each says its next 64-byte text when it has its own last one back; %s after %s of warming up; every server %d times in turn.
  - paced: %d members, %d texts a second in all, each by the next member; %s; the bare server and this library %d times in turn, others once.
  - In the last two every member gets every text, the sender too; a run that loses or doubles one delivery is thrown out.
  - A figure is the median of its runs; the ratio of this library to the bare server is the median of the ratios of neighbouring runs.
`, number(float64(s.IdleMembers), 0), s.IdleFlight, s.IdlePairs,
		s.SaturatedMembers, s.SaturatedFlight, s.SaturatedTime, s.Warm, s.Rounds,
		s.PacedMembers, s.PacedRate, s.PacedTime, s.PacedPairs)
}
