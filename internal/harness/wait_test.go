package harness_test

import (
	"testing"
	"testing/synctest"

	"github.com/go-socketiojwt/socketiojwt/internal/harness"
)

// TestInBubble: goroutines are counted while other tests, which run in parallel, have thousands.
func TestInBubble(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	for range 10_000 {
		go func() { <-end }()
	}
	synctest.Test(t, func(t *testing.T) {
		before := harness.InBubble()
		mine := make(chan struct{})
		for range 3 {
			go func() { <-mine }()
		}
		if n := harness.InBubble() - before; n != 3 {
			t.Errorf("%d goroutines more, want 3", n)
		}
		close(mine)
	})
}
