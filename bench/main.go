// Command bench compares servers with and without socketiojwt, each in a process of its own, with
// this process as their clients. It prints ratios, and what the targets for them are. Linux only.
//
// See docs/PERFORMANCE.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// settings say how much is measured.
type settings struct {
	rounds       int           // medians are of these
	connects     int           // for each server in each round
	reconnecting int           // clients of a storm
	held         int           // connections held at once, for memory
	echoTime     time.Duration // for each server in each round
	audience     int           // clients that a broadcast reaches
	stalled      int           // clients that never poll
	broadcasts   int           // in each round
	refusals     int           // in each round
	benchtime    string        // of the Go benchmarks
}

var (
	full = settings{
		rounds: 7, connects: 400, reconnecting: 2000, held: 1000, echoTime: time.Second,
		audience: 1000, stalled: 1000, broadcasts: 30, refusals: 400, benchtime: "0.5s",
	}
	tiny = settings{
		rounds: 1, connects: 20, reconnecting: 50, held: 50, echoTime: 50 * time.Millisecond,
		audience: 20, stalled: 20, broadcasts: 3, refusals: 20, benchtime: "1x",
	}
)

// patience bounds everything.
const patience = 30 * time.Minute

func main() {
	once := flag.Bool("once", false, "see that everything works, which takes seconds and measures nothing")
	goToo := flag.Bool("go", true, "run the Go benchmarks first")
	processes := flag.Bool("processes", true, "compare processes")
	only := flag.String("only", "", "one comparison of processes: connect, refuse, hold, echo, broadcast, stalled or storm")
	profile := flag.String("profile", "", "write the CPU profile of a server to profile.out instead: VARIANT/TRANSPORT, or VARIANT/TRANSPORT/refused")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := run(ctx, *once, *goToo, *processes, *only, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, once, goToo, processes bool, only, profile string) error {
	size := full
	if once {
		size = tiny
	}
	r := &report{}
	if goToo && profile == "" {
		if err := r.goBenchmarks(ctx, size.benchtime); err != nil {
			return err
		}
	}
	if processes {
		folder, err := os.MkdirTemp("", "socketiojwt-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		b := &bench{ctx: ctx, settings: size, report: r, binary: filepath.Join(folder, "server")}
		build := exec.CommandContext(ctx, "go", "build", "-o", b.binary, "./server")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("building the server: %w", err)
		}
		if b.keys, err = newKeys(); err != nil {
			return err
		}
		if profile != "" {
			return b.profile(profile, "profile.out")
		}
		for _, c := range []struct {
			name string
			run  func() error
		}{
			{"connect", b.compareConnects},
			{"refuse", b.compareRefusals},
			{"hold", b.compareHeld},
			{"echo", b.compareEchoes},
			{"broadcast", b.compareBroadcasts},
			{"stalled", b.compareStalled},
			{"storm", b.compareStorms},
		} {
			if only != "" && only != c.name {
				continue
			}
			if err := c.run(); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	r.printTargets(once)
	return nil
}
