package main

import (
	"fmt"
	"strings"

	"github.com/parleychat/chat/benchmarks/internal/stat"
)

// The drawing carries its own ground and no font of its own, so that it can be
// read on a light page and on a dark one.
const svgStyle = `<style>
.card{fill:#ffffff;stroke:#d0d7de}.t{fill:#1f2328;font-weight:600}.l{fill:#424a53}.n{fill:#1f2328}.s{fill:#59636e}
.bar{fill:#afb8c1}.bare{fill:#6e7781}.own{fill:#1a7f37}.o{font-weight:600}
text{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;font-size:13px}
.h{font-size:17px;font-weight:600;fill:#1f2328}
@media (prefers-color-scheme:dark){.card{fill:#0d1117;stroke:#3d444d}.t,.n,.h{fill:#f0f6fc}.l{fill:#c9d1d9}.s{fill:#9198a1}
.bar{fill:#484f58}.bare{fill:#768390}.own{fill:#3fb950}}
</style>
`

const (
	svgWidth   = 880
	panelWidth = 408
	rowHeight  = 23
	barLeft    = 130 // from the panel's edge
	barRoom    = 205 // of the longest bar
)

type panel struct {
	title, unit string
	digits      int
	of          func(*Figures) []float64
}

func (r *Results) panels() []panel {
	s := r.Sizes
	return []panel{
		{"Memory of an idle connection", fmt.Sprintf("KiB of RSS, %s connections", number(float64(s.IdleMembers), 0)), 1, kib},
		{"Connecting", "µs of server CPU a connect", 0, connectMicros},
		{"Delivering, flat out", fmt.Sprintf("µs of server CPU a delivery, %d in a room", s.SaturatedMembers), 2, saturatedMicros},
		{"Delivering, at an easy pace", fmt.Sprintf("µs of server CPU a delivery, %d in a room, %d messages/s", s.PacedMembers, s.PacedRate), 1, pacedMicros},
	}
}

// svg draws a bar a server in each of four panels. Shorter is better in all.
func (r *Results) svg() string {
	panelHeight := 62 + rowHeight*len(r.Servers)
	height := 100 + 2*panelHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="What a chat server costs: memory and processor time, shorter is better">`+"\n",
		svgWidth, height, svgWidth, height)
	b.WriteString(svgStyle)
	fmt.Fprintf(&b, `<rect class="card" x="0.5" y="0.5" width="%d" height="%d" rx="10"/>`+"\n", svgWidth-1, height-1)
	b.WriteString(`<text class="h" x="24" y="34">What a server costs</text>` + "\n")
	b.WriteString(`<text class="s" x="24" y="55">Shorter is better. One machine, one run, the same load for all.</text>` + "\n")
	for i, p := range r.panels() {
		x, y := 24+(i%2)*(panelWidth+16), 72+(i/2)*panelHeight
		r.drawPanel(&b, p, x, y)
	}
	fmt.Fprintf(&b, `<text class="s" x="24" y="%d">Measured %s, %s</text>`+"\n", height-14, r.Date.Format("2006-01-02"), escape(r.Machine))
	b.WriteString("</svg>\n")
	return b.String()
}

func (r *Results) drawPanel(b *strings.Builder, p panel, x, y int) {
	longest := 0.0
	for _, f := range r.Servers {
		if v, ok := stat.Median(p.of(f)); ok {
			longest = max(longest, v)
		}
	}
	fmt.Fprintf(b, `<text class="t" x="%d" y="%d">%s</text><text class="s" x="%d" y="%d">%s</text>`+"\n", x, y+16, p.title, x, y+34, p.unit)
	for i, f := range r.Servers {
		drawBar(b, f, p, longest, x, y+44+i*rowHeight)
	}
}

func drawBar(b *strings.Builder, f *Figures, p panel, longest float64, x, y int) {
	bar, text := "bar", "l"
	switch f.Name {
	case "bare":
		bar = "bare"
	case "chat":
		bar, text = "own", "l o"
	}
	fmt.Fprintf(b, `<text class="%s" x="%d" y="%d">%s</text>`, text, x, y+14, escape(strings.Trim(f.Title, "*")))
	label, width := "n/a", 0.0
	if v, ok := stat.Median(p.of(f)); ok {
		label = number(v, p.digits)
		if longest > 0 {
			width = max(v/longest*barRoom, 1)
		}
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="15" rx="2"/>`, bar, x+barLeft, y+2, width)
	}
	fmt.Fprintf(b, `<text class="n %s" x="%.1f" y="%d">%s</text>`+"\n", strings.TrimPrefix(text, "l"), float64(x+barLeft)+width+6, y+14, label)
}

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace
