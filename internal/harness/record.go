package harness

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

// Record keeps what happened, in order.
type Record struct {
	mu     sync.Mutex
	events []string
}

// Add appends one event.
func (r *Record) Add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf(format, args...))
}

// Write appends a line, so that a Record can be logged to.
func (r *Record) Write(line []byte) (int, error) {
	r.Add("%s", line)
	return len(line), nil
}

// Reset forgets all events.
func (r *Record) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = nil
}

// String joins the events by commas.
func (r *Record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.events, ", ")
}

// Eventually ends the test unless the events become those that are wanted.
func (r *Record) Eventually(tb testing.TB, want string) {
	tb.Helper()
	for end := time.Now().Add(siotest.DefaultTimeout); r.String() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("got %q, want %q", r, want)
		}
	}
}

// LogTo makes a logger whose lines are the events of r.
func LogTo(r *Record) *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// SaidOnce requires that a line of the log has these words, and no other line the first.
func SaidOnce(tb testing.TB, log *Record, words ...string) {
	tb.Helper()
	Eventually(tb, "the log says "+words[0], func() bool { return strings.Contains(log.String(), words[0]) })
	if n := strings.Count(log.String(), words[0]); n != 1 {
		tb.Errorf("%q was said %d times: %s", words[0], n, log)
	}
	for _, word := range words {
		if !strings.Contains(log.String(), word) {
			tb.Errorf("%q is missing: %s", word, log)
		}
	}
}
