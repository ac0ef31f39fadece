package harness

import (
	"bytes"
	"regexp"
	"runtime/pprof"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

// InBubble counts the goroutines of the test, once they have come to rest.
func InBubble() int {
	synctest.Wait()
	var stacks bytes.Buffer // of all goroutines, with this one first
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		panic(err)
	}
	bubbles := bubble.FindAllString(stacks.String(), -1)
	return len(slices.DeleteFunc(bubbles[1:], func(name string) bool { return name != bubbles[0] })) + 1
}

// bubble is how the head of a stack names what testing/synctest made. Tests that run in parallel
// have others.
var bubble = regexp.MustCompile(`synctest bubble \d+`)

// Meanwhile calls f again and again, in n goroutines, until stop is called.
func Meanwhile(n int, f func()) (stop func()) {
	done := make(chan struct{})
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					f()
				}
			}
		})
	}
	return func() {
		close(done)
		group.Wait()
	}
}

// Eventually waits until something that happens in another goroutine has.
func Eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for end := time.Now().Add(siotest.DefaultTimeout); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal("it never came true that ", what)
		}
	}
}
