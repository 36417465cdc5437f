package main

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// The drawing's measures, in pixels.
const (
	columns    = 3
	panelWide  = 380
	panelHigh  = 190
	plotLeft   = 46
	plotTop    = 46
	plotWide   = panelWide - plotLeft - 14
	plotHigh   = panelHigh - plotTop - 30
	headHeight = 58
)

const style = `<style>
svg{background:#fff}text{font:11px sans-serif;fill:#333}.title{font-weight:bold;font-size:12px}.head{font-weight:bold;font-size:15px}.small{font-size:10px;fill:#666}
.axis{stroke:#999}.grid{stroke:#e4e4e4}.band{fill:#000;fill-opacity:.05}.l{fill:none;stroke-width:1.6;stroke-linejoin:round}
.c0{stroke:#1f6fb5}.c1{stroke:#d9730d}.c1,.c3{stroke-dasharray:5 3}.c2{stroke:#2a8a57}.c3{stroke:#b3261e}.c4{stroke:#7d5bb0}
@media(prefers-color-scheme:dark){svg{background:#0d1117}text{fill:#e6e6e6}.small{fill:#aaa}.axis{stroke:#777}.grid{stroke:#2a3038}.band{fill:#fff;fill-opacity:.07}
.c0{stroke:#58a6ff}.c1{stroke:#f0a050}.c2{stroke:#56c288}.c3{stroke:#ff7b72}.c4{stroke:#b79aee}}
</style>
`

// draw makes a picture of the panels, with a band behind each other phase. seconds is how long the run was.
func draw(panels []panel, phases []phase, scrapes int) string {
	var b strings.Builder
	rows := (len(panels) + columns - 1) / columns
	width, height := columns*panelWide+10, headHeight+rows*panelHigh
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="A Hub's metrics under load">`+"\n%s",
		width, height, width, height, style)
	text(&b, 10, 22, "head", "", "A Hub's metrics, scraped each second")
	text(&b, 10, 42, "", "", legend(phases))
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d,%d)">`+"\n", i%columns*panelWide+5, headHeight+i/columns*panelHigh)
		drawPanel(&b, p, phases, float64(max(2, scrapes)-1))
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func legend(phases []phase) string {
	var parts []string
	for i, p := range phases {
		parts = append(parts, fmt.Sprintf("%c %s (%.0f to %.0f s)", 'A'+i, p.name, p.from, p.to))
	}
	return strings.Join(parts, "   ")
}

func text(b *strings.Builder, x, y float64, class, attrs, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" class="%s" xml:space="preserve" %s>%s</text>`+"\n", x, y, class, attrs, html.EscapeString(s))
}

func drawPanel(b *strings.Builder, p panel, phases []phase, seconds float64) {
	at := func(s float64) float64 { return plotLeft + plotWide*min(s, seconds)/seconds }
	title := p.title
	if p.unit != "" {
		title += ", " + p.unit
	}
	text(b, plotLeft, 14, "title", "", title)
	drawNames(b, p.lines)
	for i, ph := range phases {
		if i%2 == 1 {
			fmt.Fprintf(b, `<rect class="band" x="%.1f" y="%d" width="%.1f" height="%d"/>`+"\n", at(ph.from), plotTop, at(ph.to)-at(ph.from), plotHigh)
		}
		text(b, (at(ph.from)+at(ph.to))/2, plotTop+10, "small", `text-anchor="middle"`, string(rune('A'+i)))
	}
	s := scaleOf(p)
	for _, tick := range s.ticks() {
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`+"\n", plotLeft, plotLeft+plotWide, s.y(tick), s.y(tick))
		text(b, plotLeft-4, s.y(tick)+3, "small", `text-anchor="end"`, s.label(tick))
	}
	bottom := float64(plotTop + plotHigh)
	fmt.Fprintf(b, `<line class="axis" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`+"\n", plotLeft, plotLeft+plotWide, bottom, bottom)
	for t := 0.0; t <= seconds; t += 10 {
		text(b, at(t), bottom+13, "small", `text-anchor="middle"`, fmt.Sprintf("%.0f s", t))
	}
	for i, l := range p.lines {
		drawLine(b, i, l.values, s, at)
	}
}

// drawNames is the legend of a panel.
func drawNames(b *strings.Builder, lines []line) {
	x := float64(plotLeft)
	for i, l := range lines {
		fmt.Fprintf(b, `<line class="l c%d" x1="%.1f" x2="%.1f" y1="27" y2="27"/>`+"\n", i, x, x+12)
		text(b, x+15, 31, "small", "", l.name)
		x += 24 + wide(l.name)
	}
}

// wide is about how many pixels a small text takes.
func wide(s string) (px float64) {
	for _, r := range s {
		px += 5.6
		if unicode.IsUpper(r) {
			px += 1.8
		}
	}
	return px
}

// drawLine draws the runs of values that there are.
func drawLine(b *strings.Builder, colour int, values []float64, s scale, at func(float64) float64) {
	var points []string
	end := func() {
		if len(points) == 1 { // a line of no length shows with a round cap only
			points = append(points, points[0])
		}
		if points != nil {
			fmt.Fprintf(b, `<polyline class="l c%d" stroke-linecap="round" points="%s"/>`+"\n", colour, strings.Join(points, " "))
		}
		points = nil
	}
	for i, v := range values {
		if math.IsNaN(v) {
			end()
			continue
		}
		points = append(points, fmt.Sprintf("%.1f,%.1f", at(float64(i)), s.y(v)))
	}
	end()
}

// A scale is a panel's vertical one. A logarithmic one has 0 at its lower end, below the least value, and five powers of ten at most.
type scale struct {
	log       bool
	low, high float64
}

func scaleOf(p panel) scale {
	most, least := 0.0, math.Inf(1)
	for _, l := range p.lines {
		for _, v := range l.values {
			most = max(most, highest([]float64{v}))
			if v > 0 {
				least = min(least, v)
			}
		}
	}
	if p.log && most > 0 {
		const decades = 5 // what is below says no more than 0 does
		least = max(least, most/math.Pow(10, decades-1))
		return scale{true, math.Pow(10, math.Floor(math.Log10(least))-1), math.Pow(10, math.Ceil(math.Log10(most*1.001)))}
	}
	return scale{false, 0, max(most*1.12, 1e-9)}
}

func (s scale) y(v float64) float64 {
	part := (v - s.low) / (s.high - s.low)
	if s.log {
		part = math.Log(max(v, s.low)/s.low) / math.Log(s.high/s.low)
	}
	return plotTop + plotHigh*(1-part)
}

// ticks are whole powers of ten, or a few round numbers.
func (s scale) ticks() (at []float64) {
	if s.log {
		for v := s.low; v <= s.high*1.001; v *= 10 {
			at = append(at, v)
		}
		return at
	}
	step := math.Pow(10, math.Floor(math.Log10(s.high)))
	for _, part := range []float64{.5, .4, .5} {
		if s.high/step < 3 {
			step *= part
		}
	}
	for v := 0.0; v <= s.high; v += step {
		at = append(at, v)
	}
	return at
}

func (s scale) label(v float64) string {
	if s.log && v == s.low {
		return "0"
	}
	const exact = 1e6 // 3 * .1 is not .3
	return strconv.FormatFloat(math.Round(v*exact)/exact, 'f', -1, 64)
}
