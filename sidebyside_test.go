package socketiojwt_test

import (
	"slices"
	"testing"
	"time"
)

// sideBySide benchmarks ours, and tells what it takes against floor: the ratio of their times,
// which is the median of many short rounds that run both, so that what else the machine does
// slows down both; and how often it allocates more.
func sideBySide(b *testing.B, ours, floor func()) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		ours()
	}
	const rounds = 301
	n := int(max(1, time.Millisecond*time.Duration(b.N)/max(1, b.Elapsed())))
	if b.N == 1 {
		n = 1 // it should be over soon
	}
	ratios := make([]float64, rounds)
	for i := range ratios {
		ratios[i] = timed(n, ours).Seconds() / timed(n, floor).Seconds()
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[rounds/2], "x/floor")
	b.ReportMetric(testing.AllocsPerRun(10, ours)-testing.AllocsPerRun(10, floor), "allocs/floor")
}

func timed(n int, f func()) time.Duration {
	began := time.Now()
	for range n {
		f()
	}
	return time.Since(began)
}
