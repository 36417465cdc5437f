package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const rolloutStyle = `<style>
svg{--ink:#333;--soft:#666;--paper:#fff;--axis:#bbb;--line:#1f5fa8;--stop:#c0392b;--pace:#e08e0b}
@media (prefers-color-scheme:dark){svg{--ink:#ddd;--soft:#aaa;--paper:#16181c;--axis:#555;--line:#6fb1ff;--stop:#ff8a7a;--pace:#f5b855}}
text{font:12px sans-serif;fill:var(--ink)}.small{font-size:10px;fill:var(--soft)}.title{font-size:14px;font-weight:bold}.paper{fill:var(--paper)}
.line{fill:none;stroke:var(--line);stroke-width:1.5}.axis{stroke:var(--axis)}.stop{fill:var(--stop);fill-opacity:.16}.pace{stroke:var(--pace);stroke-dasharray:5 4}
</style>
`

const rolloutLane = 96 // pixels, of one series

// drawRollout shows what came back, who was there and what was acked in each second, and when a process was being stopped.
func drawRollout(outcomes []*rolled) string {
	var b strings.Builder
	height := 2*margin + len(outcomes)*(3*(rolloutLane+16)+50)
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n%s", drawWidth, height, drawWidth, height, rolloutStyle)
	rect(&b, "paper", 0, 0, drawWidth, float64(height))
	y := margin + 10
	for _, o := range outcomes {
		write(&b, margin, y, "title", fmt.Sprintf("%s: %d clients, %.0f messages a second, %d restarts", o.rollout.name, o.rollout.clients, o.rollout.rate, o.rollout.restarts))
		y += 14
		s := o.figures.series
		for _, lane := range []struct {
			name   string
			values []int
			pace   int
		}{{"back a second", s.back, drainPace}, {"clients connected", s.connected, 0}, {"acked a second", s.acked, 0}} {
			drawSeries(&b, y, o, lane.name, lane.values, lane.pace)
			y += rolloutLane + 16
		}
		write(&b, labelWidth+margin, y+2, "small", "0 s")
		write(&b, drawWidth-margin-36, y+2, "small", fmt.Sprintf("%.0f s", o.lasted.Seconds()))
		y += 36
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func drawSeries(b *strings.Builder, top int, o *rolled, name string, values []int, pace int) {
	var stops []stretch
	for _, l := range o.lives[:len(o.figures.restarts)] {
		stops = append(stops, stretch{l.term.Sub(o.began), l.exit.Sub(o.began)})
	}
	drawLine(b, top, o.lasted, stops, name, values, pace)
}

// A stretch of a run, since its beginning.
type stretch struct{ from, to time.Duration }

// drawLine draws what there was in each second of a run of such a length, and shades the stops.
func drawLine(b *strings.Builder, top int, lasted time.Duration, stops []stretch, name string, values []int, pace int) {
	left, width := float64(labelWidth+margin), float64(drawWidth-labelWidth-2*margin)
	bottom := float64(top + rolloutLane)
	values = values[:max(1, len(values)-1)] // the last second is not a whole one
	highest := max(1, pace, slices.Max(values))
	at := func(d time.Duration) float64 { return left + width*d.Seconds()/lasted.Seconds() }
	level := func(n int) float64 { return bottom - float64(n)/float64(highest)*(rolloutLane-4) }
	write(b, margin, top+16, "", name)
	write(b, margin, top+32, "small", fmt.Sprintf("at most %d", slices.Max(values)))
	if pace > 0 {
		write(b, margin, top+46, "small", fmt.Sprintf("dashed: the pace, %d", pace))
	} else {
		write(b, margin, top+46, "small", fmt.Sprintf("at least %d", slices.Min(values)))
	}
	for _, s := range stops {
		rect(b, "stop", at(s.from), float64(top), at(s.to)-at(s.from), rolloutLane)
	}
	var line strings.Builder
	for i, n := range values {
		fmt.Fprintf(&line, "%.1f,%.1f ", at(time.Duration(i)*time.Second+time.Second/2), level(n))
	}
	fmt.Fprintf(b, "<line class=\"axis\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", left, bottom, left+width, bottom)
	if pace > 0 {
		fmt.Fprintf(b, "<line class=\"pace\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", left, level(pace), left+width, level(pace))
	}
	fmt.Fprintf(b, "<polyline class=\"line\" points=\"%s\"/>\n", strings.TrimSpace(line.String()))
}
