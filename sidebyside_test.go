package socketiojwt_test

import (
	"slices"
	"testing"
	"time"
)

// sideBySide benchmarks ours, and tells what it takes against floor: the ratio of their times
// (the median of rounds in which one runs after the other, so that what else the machine does
// slows down both), and how often it allocates more.
func sideBySide(b *testing.B, ours, floor func()) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		ours()
	}
	const rounds = 21
	n := max(1, b.N/rounds)
	ratios := make([]float64, rounds)
	for i := range ratios {
		ratios[i] = timed(n, ours).Seconds() / timed(n, floor).Seconds()
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[rounds/2], "x/floor")
	runs := min(n, 100)
	b.ReportMetric(testing.AllocsPerRun(runs, ours)-testing.AllocsPerRun(runs, floor), "allocs/floor")
}

func timed(n int, f func()) time.Duration {
	began := time.Now()
	for range n {
		f()
	}
	return time.Since(began)
}
