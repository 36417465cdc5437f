package main

import (
	"fmt"
	"strings"
)

// drawCluster shows for each run who was there and what was acked in each second, and when there were faults; their numbers are the rows of the report's table.
func drawCluster(outcomes []*clusterOutcome) string {
	var b strings.Builder
	height := 2*margin + len(outcomes)*(2*(rolloutLane+16)+50)
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n%s", drawWidth, height, drawWidth, height, rolloutStyle)
	rect(&b, "paper", 0, 0, drawWidth, float64(height))
	y := margin + 10
	for _, o := range outcomes {
		write(&b, margin, y, "title", fmt.Sprintf("%s: %d nodes, %d clients, %.0f messages a second", o.run.name, clusterNodes, o.run.clients, o.run.rate))
		y += 14
		var faults []stretch
		for i, d := range o.steps {
			f := stretch{d.from.Sub(o.began), d.over.Sub(o.began)}
			faults = append(faults, f)
			left, width := float64(labelWidth+margin), float64(drawWidth-labelWidth-2*margin)
			write(&b, int(left+width*f.from.Seconds()/o.lasted.Seconds()), y+rolloutLane+12, "small", fmt.Sprint(i+1))
		}
		for i, lane := range []struct {
			name   string
			values []int
		}{{"clients connected", o.figures.series.connected}, {"acked a second", o.figures.series.acked}} {
			drawLine(&b, y+i*(rolloutLane+16), o.lasted, faults, lane.name, lane.values, 0)
		}
		y += 2 * (rolloutLane + 16)
		write(&b, labelWidth+margin, y+2, "small", "0 s")
		write(&b, drawWidth-margin-36, y+2, "small", fmt.Sprintf("%.0f s", o.lasted.Seconds()))
		y += 36
	}
	b.WriteString("</svg>\n")
	return b.String()
}
