package main

import (
	"fmt"
	"slices"
	"strings"
)

// The drawing's measures, in pixels.
const (
	drawWidth   = 1100
	drawLeft    = 150
	laneHeight  = 90
	laneGap     = 26
	drawTop     = 40
	numberRows  = 5 // of the attacks' numbers, which are wider than their bands
	rowHeight   = 12
	nameColumns = 3 // of the list of names
	nameWidth   = 350
)

const drawStyle = `<style>
text{font:12px sans-serif;fill:#333}.small{font-size:10px;fill:#666}.band{fill:#c0392b;fill-opacity:.09}.other{fill:#c0392b;fill-opacity:.17}
.line{fill:none;stroke:#1f5fa8;stroke-width:1.2}.more{fill:none;stroke:#e08e0b;stroke-width:1.2}.axis{stroke:#bbb;stroke-width:1}
</style>
`

// A lane is one value over time.
type lane struct {
	title, unit string
	of          func(before, at *second) float64
}

var lanes = []lane{
	{"worst delivery", "ms", func(_, at *second) float64 { return ms(at.Delay) }},
	{"worst ack", "ms", func(_, at *second) float64 { return ms(at.Ack) }},
	{"CPU", "cores", func(before, at *second) float64 {
		return (at.CPU - before.CPU).Seconds() / max(0.1, (at.At-before.At).Seconds())
	}},
	{"resident memory", "MB", func(_, at *second) float64 { return float64(at.RSS) / (1 << 20) }},
	{"goroutines", "", func(_, at *second) float64 { return float64(at.Goroutines) }},
	{"open files", "", func(_, at *second) float64 { return float64(at.Files) }},
}

// draw has a lane for each value, with the attacks as bands.
func (o *outcome) draw() string {
	var b strings.Builder
	bottom := drawTop + len(lanes)*(laneHeight+laneGap)
	names := bottom + numberRows*rowHeight + rowHeight
	list := o.attackNames()
	nameLines := (len(list) + nameColumns - 1) / nameColumns
	height := names + nameLines*rowHeight + rowHeight
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n%s<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
		drawWidth, height, drawWidth, height, drawStyle, drawWidth, height)
	if len(o.Seconds) < 2 {
		return b.String() + "</svg>\n"
	}
	end := o.Seconds[len(o.Seconds)-1].At
	at := func(seconds float64) float64 { return drawLeft + (drawWidth-drawLeft-20)*seconds/end.Seconds() }
	fmt.Fprintf(&b, "<text x=\"20\" y=\"22\">The server and its honest clients, second by second; the bands are attacks</text>\n")
	for i := range o.Phases {
		p := &o.Phases[i]
		if len(p.attacks) == 0 {
			continue
		}
		from, to := at(p.From.Seconds()), at(p.To.Seconds())
		fmt.Fprintf(&b, "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>\n", []string{"band", "other"}[i%2], from, drawTop, to-from, bottom-drawTop-laneGap+6)
		n := slices.Index(list, p.Name)
		fmt.Fprintf(&b, "<text class=\"small\" text-anchor=\"middle\" x=\"%.1f\" y=\"%d\">%d</text>\n", (from+to)/2, bottom-8+n%numberRows*rowHeight, n+1)
	}
	for n, name := range list {
		fmt.Fprintf(&b, "<text class=\"small\" x=\"%d\" y=\"%d\">%d %s</text>\n", 20+n/nameLines*nameWidth, names+rowHeight+n%nameLines*rowHeight, n+1, name)
	}
	for i, l := range lanes {
		o.drawLane(&b, drawTop+i*(laneHeight+laneGap), l, at)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// attackNames are in the order of their numbers: an attack that is made twice has one.
func (o *outcome) attackNames() (list []string) {
	for i := range o.Phases {
		if p := &o.Phases[i]; len(p.attacks) > 0 && !slices.Contains(list, p.Name) {
			list = append(list, p.Name)
		}
	}
	return list
}

func (o *outcome) drawLane(b *strings.Builder, top int, l lane, at func(float64) float64) {
	highest := 0.0
	for i := 1; i < len(o.Seconds); i++ {
		highest = max(highest, l.of(&o.Seconds[i-1], &o.Seconds[i]))
	}
	var line strings.Builder
	for i := 1; i < len(o.Seconds); i++ {
		y := float64(top+laneHeight) - l.of(&o.Seconds[i-1], &o.Seconds[i])/max(highest, 1e-9)*(laneHeight-4)
		fmt.Fprintf(&line, "%.1f,%.1f ", at(o.Seconds[i].At.Seconds()), y)
	}
	fmt.Fprintf(b, "<text x=\"20\" y=\"%d\">%s</text>\n<text class=\"small\" x=\"20\" y=\"%d\">at most %.4g %s</text>\n", top+16, l.title, top+32, highest, l.unit)
	fmt.Fprintf(b, "<line class=\"axis\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n<polyline class=\"line\" points=\"%s\"/>\n", drawLeft, top+laneHeight, drawWidth-20, top+laneHeight, strings.TrimSpace(line.String()))
}
