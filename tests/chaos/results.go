package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// writeResults leaves the report and its drawing in dir.
func writeResults(dir string, outcomes []*outcome) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(results(outcomes)), 0o644),
		os.WriteFile(filepath.Join(dir, "chaos.svg"), []byte(draw(outcomes)), 0o644),
	)
}

func results(outcomes []*outcome) string {
	var b strings.Builder
	o := outcomes[0]
	fmt.Fprintf(&b, "# The cut test: results\n\n%s · %s · %s, %d cores · %s · Node %s\n\n", o.began.UTC().Format(time.DateOnly),
		"`make chaos`", processor(), runtime.NumCPU(), runtime.Version(), version("node", "--version"))
	fmt.Fprintf(&b, "Seed %d (`make chaos CHAOS=\"-seed %d -out .\"`). %d clients (40 of socket.io-client 4.8, 10 of 2.5), 5 rooms, %.0f messages a second in all; "+
		"what the runs are and how each figure is counted: [README](README.md).\n\n", o.trial.seed, o.trial.seed, clientsCount, o.trial.rate)
	header, rule := "|", "|"
	for _, c := range columns {
		header += " " + c.name + " |"
		rule += " ---: |"
	}
	b.WriteString(header + "\n" + strings.Replace(rule, "---:", "---", 1) + "\n")
	for _, o := range outcomes {
		b.WriteString("|")
		for _, c := range columns {
			fmt.Fprintf(&b, " %s |", c.value(o))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n![Lost and doubled; deliveries a second, with the faults](chaos.svg)\n\n| run | seconds | cuts | stalls | kills | database restarts | longest gap |\n| --- | ---: | ---: | ---: | ---: | ---: | --- |\n")
	for _, o := range outcomes {
		n := map[faultKind]int{}
		for _, m := range o.marks {
			n[m.fault.kind]++
		}
		fmt.Fprintf(&b, "| %s | %.0f | %d | %d | %d | %d | %s |\n", o.trial.name, o.trial.schedule.lasts.Seconds(), n[cutFault], n[stall], n[killFault], n[dbFault], cause(o))
	}
	b.WriteString(remarks)
	return b.String()
}

// cause names the faults that the longest gap lay in.
func cause(o *outcome) string {
	to := time.UnixMilli(o.verdict.gap.t).Sub(o.began)
	from := to - time.Duration(o.verdict.GapMS)*time.Millisecond
	group := -1
	for i, c := range cast(func(int) string { return "" }) {
		if c.User == o.verdict.gap.client {
			group = i % groupsCount
		}
	}
	var found []string
	for _, m := range o.marks {
		ofAll := m.fault.kind == killFault || m.fault.kind == dbFault
		if m.from < to && m.to > from && (ofAll || m.fault.group == group) {
			found = append(found, m.fault.String())
		}
	}
	return strings.Join(found, "; ")
}

const remarks = `
What Node's rows show, by the peer's code and the package's (socket.io 4.8.4, socket.io-adapter 2.5.8):

- *node*: history and numbers are in memory, so a kill takes them. Nothing else is to be expected of it, which is why there are runs without kills.
- *node-network*: a page that comes back while the server still holds its old connection, as after a change of networks, may get a session back that it
  had recovered before: the in-memory adapter does not take a restored session away. The old and the new connection then have one id, and when the
  old one is found dead its rooms are taken from the new one too. The page was told ` + "`recovered: true`" + `, and hears nothing of its rooms any more.
- *node-orderly*: without *half* cuts. A polling client that is cut between two polls leaves the server in the same state all the same, since no connection of
  its has ended: those are the lost ones. What is doubled are retries, which the package leaves to the server to recognize; *node-keys-orderly* is a peer that does, by a
  map in memory.
`

func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(info)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
			}
		}
	}
	return runtime.GOOS + "/" + runtime.GOARCH
}

func version(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(out))
}
