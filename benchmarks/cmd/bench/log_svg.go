package main

import (
	"fmt"
	"strings"

	"github.com/parleychat/chat/benchmarks/internal/stat"
)

// A logBar is one bar of a panel of the log's drawing.
type logBar struct {
	label, class string
	value        float64
	ok           bool
}

type logPanel struct {
	title, unit string
	digits      int
	bars        []logBar
}

// logSVG draws what the log's table says, in the first drawing's style.
func (r *Results) logSVG() string {
	panels := r.Log.panels()
	most := 0
	for _, p := range panels {
		most = max(most, len(p.bars))
	}
	panelHeight := 62 + rowHeight*most
	height := 100 + 2*panelHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="What the log costs with each store">`+"\n",
		svgWidth, height, svgWidth, height)
	b.WriteString(svgStyle)
	fmt.Fprintf(&b, `<rect class="card" x="0.5" y="0.5" width="%d" height="%d" rx="10"/>`+"\n", svgWidth-1, height-1)
	b.WriteString(`<text class="h" x="24" y="34">What the log costs</text>` + "\n")
	fmt.Fprintf(&b, `<text class="s" x="24" y="55">%d senders, each with one message under way; the load is on the same cores.</text>`+"\n", r.Log.Sizes.Senders)
	for i, p := range panels {
		p.draw(&b, 24+(i%2)*(panelWidth+16), 72+(i/2)*panelHeight)
	}
	fmt.Fprintf(&b, `<text class="s" x="24" y="%d">Measured %s, %s</text>`+"\n", height-14, r.Date.Format("2006-01-02"), escape(r.Machine))
	b.WriteString("</svg>\n")
	return b.String()
}

func (f *LogFigures) panels() []logPanel {
	s := f.Sizes
	rate := logPanel{title: "Saved and acked", unit: fmt.Sprintf("messages a second, %d in a room; longer is better", s.inARoom())}
	cpu := logPanel{title: "Before fan-out", unit: "µs of server CPU a message, alone in a room", digits: 1}
	wait := logPanel{title: "The ack", unit: fmt.Sprintf("ms, p99 at %d messages/s", s.Rate), digits: 1}
	page := logPanel{title: "History", unit: fmt.Sprintf("ms, the slowest page of %s entries", number(float64(s.Entries), 0)), digits: 2}
	for _, v := range f.Stores {
		rate.add(v.Title, "own", v.crowdRate())
		if v.Name != "memory" {
			rate.add("bare inserts", "bare", of(v.CrowdBare, bareRate))
			page.add(v.Title, "own", v.historyMax())
		}
		cpu.add(v.Title, "own", v.aloneMicros())
		if len(v.BareServer) > 0 {
			cpu.add("bare Go server", "bare", of(v.BareServer, ackedMicros))
		}
		wait.add(v.Title, "own", v.pacedP99())
	}
	return []logPanel{rate, cpu, wait, page}
}

func (p *logPanel) add(label, class string, v []float64) {
	m, ok := stat.Median(v)
	p.bars = append(p.bars, logBar{label, class, m, ok})
}

func (p *logPanel) draw(b *strings.Builder, x, y int) {
	longest := 0.0
	for _, bar := range p.bars {
		longest = max(longest, bar.value)
	}
	fmt.Fprintf(b, `<text class="t" x="%d" y="%d">%s</text><text class="s" x="%d" y="%d">%s</text>`+"\n", x, y+16, p.title, x, y+34, p.unit)
	for i, bar := range p.bars {
		drawLine(b, bar, p.digits, longest, x, y+44+i*rowHeight)
	}
}

func drawLine(b *strings.Builder, bar logBar, digits int, longest float64, x, y int) {
	fmt.Fprintf(b, `<text class="l" x="%d" y="%d">%s</text>`, x, y+14, escape(bar.label))
	label, width := "n/a", 0.0
	if bar.ok {
		label = number(bar.value, digits)
		if longest > 0 {
			width = max(bar.value/longest*barRoom, 1)
		}
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="15" rx="2"/>`, bar.class, x+barLeft, y+2, width)
	}
	fmt.Fprintf(b, `<text class="n" x="%.1f" y="%d">%s</text>`+"\n", float64(x+barLeft)+width+6, y+14, label)
}
