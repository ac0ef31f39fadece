//go:build unix

package attacks_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/googollee/go-socket.io/engineio"
)

// idle requires that the process comes to rest: a goroutine that spins leaves no window in which
// it takes less than a tenth of a processor.
func idle(tb testing.TB) {
	tb.Helper()
	harness.Eventually(tb, "the process is idle", func() bool {
		const window = 200 * time.Millisecond
		began := cpuTime(tb)
		time.Sleep(window)
		return cpuTime(tb)-began < window/10
	})
}

func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// A packet that is longer than it says spins no goroutine.
func TestHazard03_LengthLie(t *testing.T) {
	s := besiege(t, anonymity, engineio.Options{}, nil)
	body := "1:6" + strings.Repeat("x", 9000)
	for _, dial := range []func(siotest.Options) (*siotest.Client, siotest.Must){s.anonymous, s.mallory} {
		c, must := dial(siotest.Options{})
		_, err := c.PostRaw("text/plain;charset=UTF-8", strings.NewReader(body))
		must.OK(err)
	}
	idle(t)
	s.survived()
}

// An upgrade that is begun and never finished spins no goroutine.
func TestHazard09_ProbeWithoutUpgrade(t *testing.T) {
	s := besiege(t, socketiojwt.Options{Timeout: time.Second}, engineio.Options{}, nil)
	mallory, must := s.mallory(siotest.Options{})
	must.OK(mallory.Probe(t.Context()))
	nobody, must := s.anonymous(siotest.Options{})
	must.OK(nobody.Probe(t.Context()))
	idle(t)
	s.served()
	if mallory.CloseReason() != "" {
		t.Error("there was nothing to measure: the server closed the connection")
	}
	mallory.Close()
	s.survived()
}
