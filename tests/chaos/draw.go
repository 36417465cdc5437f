package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The drawing's measures, in pixels.
const (
	drawWidth  = 960
	labelWidth = 150
	barHeight  = 12
	barRow     = 34
	laneHeight = 120 // a timeline with its faults
	laneFaults = 24
	margin     = 20
)

const drawStyle = `<style>
text{font:12px sans-serif;fill:#333}.small{font-size:10px;fill:#666}.title{font-size:14px;font-weight:bold}
.lost{fill:#c0392b}.doubled{fill:#e08e0b}.rate{fill:none;stroke:#1f5fa8;stroke-width:1.5}.axis{stroke:#bbb;stroke-width:1}
.cut{fill:#bbb}.stall{fill:#8e6bb0;fill-opacity:.5}.kill{fill:#c0392b;fill-opacity:.35}.db{fill:#2a8a57;fill-opacity:.35}
</style>
`

// draw shows what was lost and doubled in each run, and its deliveries over time with the faults that it went through.
func draw(outcomes []*outcome) string {
	var b strings.Builder
	height := 2*margin + 30 + len(outcomes)*barRow + 40 + len(outcomes)*(laneHeight+24)
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n", drawWidth, height, drawWidth, height)
	fmt.Fprintf(&b, "%s<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", drawStyle, drawWidth, height)
	y := margin + 10
	write(&b, margin, y, "title", "Lost and doubled")
	y += 14
	for _, o := range outcomes {
		drawBars(&b, y, o, most(outcomes))
		y += barRow
	}
	y += 30
	write(&b, margin, y, "title", "new_message events a second; below: cuts (grey), stalls (violet); across: SIGKILL (red), PostgreSQL away (green)")
	y += 14
	for _, o := range outcomes {
		drawLane(&b, y, o)
		y += laneHeight + 24
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func write(b *strings.Builder, x, y int, class, text string) {
	fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" class=\"%s\">%s</text>\n", x, y, class, text)
}

func rect(b *strings.Builder, class string, x, y, width, height float64) {
	fmt.Fprintf(b, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", class, x, y, max(width, 1), height)
}

func most(outcomes []*outcome) int {
	n := 1
	for _, o := range outcomes {
		n = max(n, o.verdict.Lost, o.verdict.Doubled)
	}
	return n
}

func drawBars(b *strings.Builder, y int, o *outcome, most int) {
	write(b, margin, y+barHeight+4, "", o.trial.name)
	for i, bar := range []struct {
		class string
		n     int
	}{{"lost", o.verdict.Lost}, {"doubled", o.verdict.Doubled}} {
		width := float64(bar.n) / float64(most) * (drawWidth - labelWidth - 2*margin - 100)
		top := y + i*(barHeight+1)
		if bar.n > 0 {
			rect(b, bar.class, labelWidth+margin, float64(top), width, barHeight)
		}
		write(b, labelWidth+margin+6+int(width), top+barHeight-2, "small", fmt.Sprintf("%d %s", bar.n, bar.class))
	}
}

func drawLane(b *strings.Builder, top int, o *outcome) {
	left, width := float64(labelWidth+margin), float64(drawWidth-labelWidth-2*margin)
	bottom := float64(top + laneHeight - laneFaults)
	at := func(d time.Duration) float64 { return left + width*d.Seconds()/o.lasted.Seconds() }
	write(b, margin, top+16, "", o.trial.name)
	write(b, margin, top+32, "small", fmt.Sprintf("%d delivered", o.verdict.Delivered))
	write(b, margin, top+46, "small", fmt.Sprintf("%d by history", o.verdict.CaughtUp))
	for _, m := range o.marks {
		switch row := bottom + 2 + float64(m.fault.group)*2; m.fault.kind {
		case cutFault:
			rect(b, "cut", at(m.from), row, at(m.to)-at(m.from), 1.6)
		case stall:
			rect(b, "stall", at(m.from), row, at(m.to)-at(m.from), 1.6)
		case killFault:
			rect(b, "kill", at(m.from), float64(top), at(m.to)-at(m.from), bottom-float64(top))
		case dbFault:
			rect(b, "db", at(m.from), float64(top), at(m.to)-at(m.from), bottom-float64(top))
		}
	}
	highest := max(1, slices.Max(o.series))
	var line strings.Builder
	for i, n := range o.series[:max(1, len(o.series)-1)] { // the last second is not a whole one
		fmt.Fprintf(&line, "%.1f,%.1f ", at(time.Duration(i)*time.Second+time.Second/2), bottom-float64(n)/float64(highest)*(laneHeight-laneFaults-4))
	}
	fmt.Fprintf(b, "<line class=\"axis\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", left, bottom, left+width, bottom)
	fmt.Fprintf(b, "<polyline class=\"rate\" points=\"%s\"/>\n", strings.TrimSpace(line.String()))
	write(b, margin, top+60, "small", fmt.Sprintf("at most %d a second", highest))
	write(b, int(left), top+laneHeight+12, "small", "0 s")
	write(b, drawWidth-margin-36, top+laneHeight+12, "small", fmt.Sprintf("%.0f s", o.lasted.Seconds()))
}
