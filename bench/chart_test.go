package main

import (
	"encoding/xml"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
)

// mark is an element of a chart.
type mark struct {
	name, class, text string
	x, width          float64
}

// marks reads a chart, as a browser does.
func marks(t *testing.T, svg string) (all []mark) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("the chart is no XML: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			m := mark{name: token.Name.Local}
			for _, a := range token.Attr {
				number, _ := strconv.ParseFloat(a.Value, 64)
				switch a.Name.Local {
				case "class":
					m.class = a.Value
				case "x":
					m.x = number
				case "width":
					m.width = number
				}
			}
			all = append(all, m)
		case xml.CharData:
			if len(all) > 0 {
				all[len(all)-1].text += strings.TrimSpace(string(token))
			}
		}
	}
}

// texts are those of a class.
func texts(all []mark, class string) (of []string) {
	for _, m := range all {
		if m.name == "text" && m.class == class {
			of = append(of, m.text)
		}
	}
	return of
}

func measured(heading string, ratios map[string]float64) *comparison {
	c := &comparison{heading: heading, unit: "µs", values: map[string]float64{handshake.short: 100}, ratios: ratios}
	for short, ratio := range ratios {
		c.values[short] = 100 / ratio
	}
	return c
}

func TestChart(t *testing.T) {
	r := &report{summary: []*comparison{
		measured("Tea & cake", map[string]float64{floor.short: 2, node4.short: 0.25, mixed.short: 3}),
		measured("", map[string]float64{floor.short: 7}),        // is not for the chart
		measured("Nothing to compare", map[string]float64{}),    // -servers ours
		measured("Many", map[string]float64{node4.short: 0.04}), // 25 times as much
	}}
	svg := r.chart("a note <1>", "another")
	all := marks(t, svg)
	for class, want := range map[string]string{
		"heading":   "Tea & cake|Many",
		"ratio end": "1 ×|0.50 ×|4 ×|1 ×|25 ×", // no bar for what is no peer
		"muted end": "100 µs|50 µs|400 µs|100 µs|2500 µs",
		"muted":     "more than socketiojwt|less than socketiojwt|a note <1>|another",
	} {
		if got := strings.Join(texts(all, class), "|"); got != want {
			t.Errorf("%s: %s, want %s", class, got, want)
		}
	}
	if !strings.Contains(svg, "prefers-color-scheme: dark") {
		t.Error("the chart has no colours for dark pages")
	}

	// Bars begin or end at 1 ×, and 4 × is twice as far from it as half.
	one := newScale(0.5, 25).at(1)
	var less, more []mark
	for _, m := range all {
		if m.name == "rect" && m.x > 0 && m.width > smallestBar && m.width != 11 {
			switch m.class {
			case "less":
				less = append(less, m)
			case "more":
				more = append(more, m)
			}
		}
	}
	if len(less) != 1 || len(more) != 2 {
		t.Fatalf("%d bars for less and %d for more, want 1 and 2", len(less), len(more))
	}
	if end := less[0].x + less[0].width; end < one-0.1 || end > one+0.1 {
		t.Errorf("the bar of 0.5 × ends at %.1f, want 1 × at %.1f", end, one)
	}
	if x := more[0].x; x < one-0.1 || x > one+0.1 {
		t.Errorf("the bar of 4 × begins at %.1f, want 1 × at %.1f", x, one)
	}
	if d := more[0].width - 2*less[0].width; d < -0.2 || d > 0.2 {
		t.Errorf("the bars of 4 × and 0.5 × are %.1f and %.1f long, want 2 to 1", more[0].width, less[0].width)
	}
}

func TestScaleHasOne(t *testing.T) {
	for _, s := range []scale{newScale(0.5, 2), newScale(0.03, 2), newScale(0.5, 300), newScale(1, 1.5)} {
		ticks, found := s.ticks(), false
		for _, times := range ticks {
			found = found || times == 1
			if x := s.at(times); x < plotLeft-0.1 || x > plotLeft+plotWidth+0.1 {
				t.Errorf("%v: %v × is at %.1f, outside of the plot", s, times, x)
			}
		}
		if !found || len(ticks) < 2 || len(ticks) > labelsOfAxis+2 {
			t.Errorf("%v: ticks at %v", s, ticks)
		}
	}
}

// The chart of the documentation has all its panels.
func TestChartOfDocs(t *testing.T) {
	svg, err := os.ReadFile("../docs/performance.svg")
	if err != nil {
		t.Fatal(err)
	}
	all := marks(t, string(svg))
	if n := len(texts(all, "heading")); n < 8 {
		t.Errorf("%d panels, want 8 or more", n)
	}
	page, err := os.ReadFile("../docs/PERFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	notes := texts(all, "muted")
	_, command, found := strings.Cut(notes[len(notes)-1], "go run . ")
	if !found || !strings.Contains(string(page), command) {
		t.Errorf("PERFORMANCE.md does not have the command of its chart: %s", command)
	}
}
