package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// peers are the servers that the chart compares ours with, by their short names.
var peers = []struct{ short, label string }{
	{floor.short, "go-socket.io, no tokens"},
	{nodeHandshake.short, "Node, socket.io 2"},
	{node4.short, "Node, socket.io 4"},
	{zishang.short, "zishang520/socket.io"},
	{centrifuge.short, "centrifuge"},
}

// What the chart is made of, in pixels. Each panel is a comparison: a heading, ours, a bar for each
// peer, and the scale below. Two panels stand beside each other.
const (
	chartWidth   = 880
	panelWidth   = 424
	headHeight   = 76 // above the panels
	barsTop      = 26 // of a panel
	rowHeight    = 20
	barHeight    = 11
	panelMargin  = 44 // below the bars
	plotLeft     = 150
	plotWidth    = 140
	ratioRight   = 346
	footHeight   = 30
	smallestBar  = 1.5 // so that a bar of 1 × is seen
	labelsOfAxis = 4   // at most
)

// A chart is read on white and on black: it brings its own background, and the colours for both.
const chartStyle = `
  text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .heading, .ratio { font-weight: 600 }
  .muted { fill: #59636e }
  .axis { font-size: 11px; fill: #59636e }
  .end { text-anchor: end }
  .middle { text-anchor: middle }
  .ground { fill: #ffffff }
  .grid { stroke: #d8dee4 }
  .one { stroke: #59636e }
  .more { fill: #2470c9 }
  .less { fill: #c2571a }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .muted, .axis { fill: #9da7b1 }
    .ground { fill: #0d1117 }
    .grid { stroke: #30363d }
    .one { stroke: #9da7b1 }
    .more { fill: #5aa2f0 }
    .less { fill: #f0975a }
  }
`

// chart draws how many times of what ours needs each peer needs, on a scale on which twice as much
// and half as much are equally far from 1 ×. The notes stand below.
func (r *report) chart(notes ...string) string {
	var panels []*comparison
	least, most := 0.5, 2. // of the scale
	for _, c := range r.summary {
		if c.heading == "" || len(c.peers()) == 0 {
			continue
		}
		panels = append(panels, c)
		for _, p := range c.peers() {
			least, most = min(least, p.times), max(most, p.times)
		}
	}
	axis := newScale(least, most)
	var body strings.Builder
	top := headHeight
	for i := 0; i < len(panels); i += 2 {
		height := 0
		for j, c := range panels[i:min(i+2, len(panels))] {
			c.draw(&body, j*(chartWidth-panelWidth), top, axis)
			height = max(height, barsTop+(1+len(c.peers()))*rowHeight+panelMargin)
		}
		top += height
	}
	for _, note := range notes {
		write(&body, "muted", 0, top, note)
		top += rowHeight
	}
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-16 0 %d %d" width="%[1]d" height="%[2]d" role="img">`,
		chartWidth+32, top+footHeight-rowHeight)
	svg.WriteString("\n<title>What other servers need, as a multiple of what socketiojwt needs</title>\n<style>" + chartStyle + "</style>\n")
	svg.WriteString(`<rect class="ground" x="-16" width="100%" height="100%"/>` + "\n")
	write(&svg, "title", 0, 28, "What other servers need, as a multiple of what socketiojwt needs")
	fmt.Fprintf(&svg, `<rect class="more" x="0" y="42" width="11" height="11"/><rect class="less" x="176" y="42" width="11" height="11"/>`+"\n")
	write(&svg, "muted", 18, 52, "more than socketiojwt")
	write(&svg, "muted", 194, 52, "less than socketiojwt")
	svg.WriteString(body.String() + "</svg>\n")
	return svg.String()
}

// peer is a bar.
type peer struct {
	label        string
	value, times float64 // theirs, and theirs / ours
}

func (c *comparison) peers() (all []peer) {
	for _, p := range peers {
		if ratio := c.ratios[p.short]; ratio > 0 {
			all = append(all, peer{p.label, c.values[p.short], 1 / ratio})
		}
	}
	return all
}

func (c *comparison) draw(w *strings.Builder, left, top int, axis scale) {
	write(w, "heading", left, top+12, c.heading)
	bottom := top + barsTop + (1+len(c.peers()))*rowHeight
	for _, times := range axis.ticks() {
		class := "grid"
		if times == 1 {
			class = "one"
		}
		x := float64(left) + axis.at(times)
		fmt.Fprintf(w, `<line class="%s" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", class, x, x, top+barsTop-2, bottom)
		write(w, "axis middle", int(x), bottom+14, multiple(times))
	}
	ours := peer{"socketiojwt", c.values[handshake.short], 1}
	for i, p := range append([]peer{ours}, c.peers()...) {
		y := top + barsTop + i*rowHeight
		write(w, "", left, y+barHeight+2, p.label)
		from, to, class := axis.at(1), axis.at(p.times), "more"
		if p.times < 1 {
			from, to, class = to, from, "less"
		}
		if p != ours {
			fmt.Fprintf(w, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"/>`+"\n",
				class, float64(left)+from, y+3, max(smallestBar, to-from), barHeight)
		}
		write(w, "ratio end", left+ratioRight, y+barHeight+2, multiple(p.times))
		write(w, "muted end", left+panelWidth, y+barHeight+2, amount(p.value)+" "+c.unit)
	}
}

// multiple writes a ratio: 0.87 ×, 4.5 ×, 26 ×.
func multiple(times float64) string {
	switch {
	case times == math.Trunc(times):
		return fmt.Sprintf("%.0f ×", times)
	case times < 2:
		return fmt.Sprintf("%.2f ×", times)
	case times < 10:
		return fmt.Sprintf("%.1f ×", times)
	}
	return fmt.Sprintf("%.0f ×", times)
}

// scale maps ratios to pixels, by their logarithm. It begins and ends at powers of two.
type scale struct{ least, most float64 }

func newScale(least, most float64) scale {
	return scale{math.Exp2(math.Floor(math.Log2(least))), math.Exp2(math.Ceil(math.Log2(most)))}
}

func (s scale) at(times float64) float64 {
	return plotLeft + plotWidth*math.Log2(times/s.least)/math.Log2(s.most/s.least)
}

// ticks are powers of two, 1 among them.
func (s scale) ticks() (all []float64) {
	step := math.Max(1, math.Ceil(math.Log2(s.most/s.least)/labelsOfAxis))
	for times := 1.; times <= s.most; times *= math.Exp2(step) {
		all = append(all, times)
	}
	for times := math.Exp2(-step); times >= s.least; times *= math.Exp2(-step) {
		all = append(all, times)
	}
	slices.Sort(all)
	return all
}

func write(w *strings.Builder, class string, x, y int, text string) {
	fmt.Fprintf(w, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", class, x, y, html.EscapeString(text))
}

// thousands writes 8,000 for 8000.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
