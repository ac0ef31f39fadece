package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"
)

// series is what was measured in each round.
type series []float64

func (s series) median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// with combines what was measured in the same round.
func (s series) with(other series, f func(a, b float64) float64) series {
	combined := make(series, min(len(s), len(other)))
	for i := range combined {
		combined[i] = f(s[i], other[i])
	}
	return combined
}

func (s series) over(other series) series {
	return s.with(other, func(a, b float64) float64 { return a / b })
}

func (s series) minus(other series) series {
	return s.with(other, func(a, b float64) float64 { return a - b })
}

func (s series) spread(format string) string {
	if len(s) < 2 {
		return ""
	}
	return fmt.Sprintf(format+" to "+format, slices.Min(s), slices.Max(s))
}

// byKind finds what was measured for a kind.
func byKind(kinds []kind, results []series) map[kind]series {
	of := make(map[kind]series) // nil for those that were not measured
	for i, k := range kinds {
		of[k] = results[i]
	}
	return of
}

// report prints tables, keeps what has a target, and sums up what several servers were measured for.
type report struct {
	rows    [][]string
	summary []*comparison
}

// comparison is a row of the summary. Its values and ratios are by the short names of the kinds.
type comparison struct {
	title, unit string
	heading     string             // in the chart, which leaves out rows without one
	values      map[string]float64 // in the unit
	ratios      map[string]float64 // ours / theirs, where -servers did not leave ours out
}

// compare prints a table, and keeps it for the summary: how much of what each other server needs
// the first one, ours, needs.
func (r *report) compare(title, unit string, scale float64, kinds []kind, results []series) *comparison {
	r.table(title, unit, scale, kinds, results)
	row := &comparison{title: title, unit: unit, values: make(map[string]float64), ratios: make(map[string]float64)}
	for i, k := range kinds {
		row.values[k.short] = results[i].median() * scale
		if i > 0 && kinds[0] == handshake {
			row.ratios[k.short] = results[0].over(results[i]).median()
		}
	}
	if len(kinds) > 0 {
		r.summary = append(r.summary, row)
	}
	return row
}

// amount writes three digits, and more where there are more before the point.
func amount(value float64) string {
	if value >= 1000 {
		return fmt.Sprintf("%.0f", value)
	}
	return fmt.Sprintf("%.3g", value)
}

// cell is what the summary says of a kind.
func (c *comparison) cell(k kind) string {
	value, measured := c.values[k.short]
	if !measured {
		return ""
	}
	if ratio, ok := c.ratios[k.short]; ok {
		return fmt.Sprintf("%s (%.2f ×)", amount(value), ratio)
	}
	return amount(value)
}

// printSummary prints what was compared, with a column for each server.
func (r *report) printSummary() {
	if len(r.summary) == 0 {
		return
	}
	header := []string{"in parentheses: ours / theirs"}
	rows := make([][]string, len(r.summary))
	for i, c := range r.summary {
		rows[i] = []string{c.title + ", " + c.unit}
	}
	for _, k := range everyKind {
		if !slices.ContainsFunc(r.summary, func(c *comparison) bool { return c.cell(k) != "" }) {
			continue
		}
		header = append(header, k.short)
		for i, c := range r.summary {
			rows[i] = append(rows[i], c.cell(k))
		}
	}
	printTable(append([][]string{header}, rows...))
}

// table prints the medians of what was measured, and their ratio to the first.
func (r *report) table(title, unit string, scale float64, kinds []kind, results []series) {
	if len(kinds) == 0 {
		return
	}
	rows := [][]string{{title, unit, "× first", "least to most"}}
	for i, k := range kinds {
		ratio := results[i].over(results[0])
		rows = append(rows, []string{k.name, fmt.Sprintf("%.4g", results[i].median()*scale), fmt.Sprintf("%.2f", ratio.median()), ratio.spread("%.2f")})
	}
	printTable(rows)
}

func (r *report) ratio(what, target string, ours, theirs series) {
	if len(ours) == 0 || len(theirs) == 0 {
		return // not measured
	}
	ratio := ours.over(theirs)
	r.rows = append(r.rows, []string{what, target, fmt.Sprintf("%.2f ×", ratio.median()), ratio.spread("%.2f")})
}

func (r *report) difference(what, target string, ours, theirs series) {
	if len(ours) == 0 || len(theirs) == 0 {
		return // not measured
	}
	kib := ours.minus(theirs).with(ours, func(d, _ float64) float64 { return d / 1024 })
	r.rows = append(r.rows, []string{what, target, fmt.Sprintf("%+.1f KiB", kib.median()), kib.spread("%+.1f")})
}

func (r *report) value(what, target, format string, s series) {
	r.rows = append(r.rows, []string{what, target, fmt.Sprintf(format, s.median()), ""})
}

func (r *report) printTargets(once bool, before string) {
	if len(r.rows) > 0 {
		printTable(append([][]string{{"what", "target", "measured", "least to most"}}, r.rows...))
	}
	fmt.Printf("%s %s/%s, %d CPUs, load %s before and %s behind it",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), before, load())
	if n := retries.Load(); n > 0 {
		fmt.Printf(", %d clients of go-socket.io alone had to try again", n)
	}
	fmt.Println()
	if once {
		fmt.Println("These numbers say nothing: they were measured once.")
	}
}

func printTable(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for i, row := range rows {
		for j, cell := range row {
			fmt.Print("| ", cell, strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell)), " ")
		}
		fmt.Println("|")
		if i == 0 {
			for _, width := range widths {
				fmt.Print("|", strings.Repeat("-", width+2))
			}
			fmt.Println("|")
		}
	}
	fmt.Println()
}
