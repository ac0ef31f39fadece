package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// goBenchmarks runs the benchmarks of the library and takes from them what has a target.
func (r *report) goBenchmarks(ctx context.Context, benchtime string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", benchtime, "./...")
	cmd.Dir = ".."
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, &output), os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go test -bench: %w", err)
	}
	fmt.Println()
	r.add(parseBenchmarks(output.String()))
	return nil
}

// result is the line of a benchmark: its numbers by unit.
type result struct {
	name    string
	metrics map[string]float64
}

func parseBenchmarks(output string) (results []result) {
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndex(name, "-"); i > 0 {
			name = name[:i] // the number of CPUs
		}
		metrics := map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			if value, err := strconv.ParseFloat(fields[i], 64); err == nil {
				metrics[fields[i+1]] = value
			}
		}
		results = append(results, result{name, metrics})
	}
	return results
}

func (r *report) add(results []result) {
	row := func(what, target, format string, values ...any) {
		r.rows = append(r.rows, []string{what, target, fmt.Sprintf(format, values...), ""})
	}
	for _, b := range results {
		m := b.metrics
		group, name, _ := strings.Cut(b.name, "/")
		switch group {
		case "Gate":
			target := "≤ 1.25 ×, ≤ 12 more allocations"
			if strings.Contains(name, "with") {
				target = "" // of verification alone
			}
			row("gate / jwt.Parser.ParseWithClaims, "+strings.ReplaceAll(name, "_", " "), target,
				"%.2f ×, %+.0f allocations", m["x/floor"], m["allocs/floor"])
		case "Guard":
			target := "≤ 1 µs"
			switch name {
			case "func(Conn)", "func(Conn,string)", "func(Conn,string)string", "func(Conn,any)":
				target = "≤ 150 ns, 0 allocations"
			}
			row("Guard, "+name, target, "%.0f ns, %.0f allocations", m["ns/op"], m["allocs/op"])
		case "Check":
			target := ""
			if strings.HasPrefix(name, "100-byte") {
				target = "≤ 150 ns, ≤ 1 allocation"
			}
			row("packet check, "+strings.ReplaceAll(name, "_", " "), target, "%.0f ns, %.0f allocations", m["ns/op"], m["allocs/op"])
		case "Sessions":
			row("bookkeeping with 100,000 sessions: each", "< 1 KiB", "%.0f B", m["B/session"])
			row("DisconnectSubject", "< 1 ms", "%.3f ms", m["ns/DisconnectSubject"]/1e6)
			row("Session(s)", "< 60 ns", "%.0f ns", m["ns/op"])
		}
	}
}
