package sio

import (
	"runtime"
	"testing"
)

// TestLaneGoesOn: a function that ends its goroutine, as (*testing.T).Fatal does, ends no other, nor
// the order.
func TestLaneGoesOn(t *testing.T) {
	var l lane
	order := make(chan int, 10)
	for n := range 10 {
		l.run(func() {
			order <- n
			if n%2 == 0 {
				runtime.Goexit()
			}
		})
	}
	for want := range 10 {
		if got := <-order; got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
	}
}
