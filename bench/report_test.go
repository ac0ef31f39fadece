package main

import (
	"maps"
	"testing"
)

func TestParseBenchmarks(t *testing.T) {
	results := parseBenchmarks(`goos: linux
BenchmarkGate/HS256-2         	   52072	     28718 ns/op	         8.000 allocs/floor	         1.479 x/floor	    3568 B/op	      71 allocs/op
BenchmarkSessions	       1	      7848 ns/op
PASS
`)
	want := []result{
		{"Gate/HS256", map[string]float64{"ns/op": 28718, "allocs/floor": 8, "x/floor": 1.479, "B/op": 3568, "allocs/op": 71}},
		{"Sessions", map[string]float64{"ns/op": 7848}},
	}
	if len(results) != len(want) {
		t.Fatalf("got %v, want %v", results, want)
	}
	for i := range want {
		if results[i].name != want[i].name || !maps.Equal(results[i].metrics, want[i].metrics) {
			t.Errorf("got %v, want %v", results[i], want[i])
		}
	}
}

func TestMedianOfRatios(t *testing.T) {
	ratio := series{2, 30, 4}.over(series{1, 10, 4}) // 2, 3, 1
	if got := ratio.median(); got != 2 {
		t.Errorf("the median is %v, want 2", got)
	}
	if got := (series{1, 4, 2, 3}).median(); got != 2.5 {
		t.Errorf("the median of an even number is %v, want 2.5", got)
	}
	if got := ratio.spread("%.0f"); got != "1 to 3" {
		t.Errorf("the spread is %q", got)
	}
}
