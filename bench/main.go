// Command bench compares servers with and without socketiojwt, each in a process of its own, with
// this process as their clients. It prints ratios, and what the targets for them are. Linux only.
//
// See docs/PERFORMANCE.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// settings say how much is measured.
type settings struct {
	rounds       int           // medians are of these
	connects     int           // for each server in each round
	reconnecting int           // clients of a storm
	held         int           // connections held at once, for memory
	heldMany     int           // and more of them
	echoTime     time.Duration // for each server in each round
	audience     int           // clients that a broadcast reaches
	stalled      int           // clients that never poll
	broadcasts   int           // in each round
	refusals     int           // in each round
	leavers      []int         // clients that are cut off at once
	rooms        int           // that others are in
	moves        int           // into a room and out again, in each round
	roomLeavers  int           // clients that are cut off beside the rooms
	strangers    int           // handshakes that time out
	benchtime    string        // of the Go benchmarks
}

var (
	full = settings{
		rounds: 7, connects: 400, reconnecting: 2000, held: 1000, heldMany: 8000, echoTime: time.Second,
		audience: 1000, stalled: 1000, broadcasts: 30, refusals: 400, benchtime: "0.5s",
		leavers: []int{1000, 8000}, rooms: 100_000, moves: 20_000, roomLeavers: 100,
		strangers: 10_000,
	}
	tiny = settings{
		rounds: 1, connects: 20, reconnecting: 50, held: 50, heldMany: 60, echoTime: 50 * time.Millisecond,
		audience: 20, stalled: 20, broadcasts: 3, refusals: 20, benchtime: "1x",
		leavers: []int{20, 40}, rooms: 1000, moves: 100, roomLeavers: 20,
		strangers: 100,
	}
)

// patience bounds everything.
const patience = time.Hour

// comparisons are what -only can name, besides "go", the Go benchmarks.
var comparisons = []struct {
	name string
	run  func(*bench) error
}{
	{"connect", (*bench).compareConnects},
	{"refuse", (*bench).compareRefusals},
	{"hold", (*bench).compareHeld},
	{"echo", (*bench).compareEchoes},
	{"broadcast", (*bench).compareBroadcasts},
	{"cluster", (*bench).compareClusters},
	{"stalled", (*bench).compareStalled},
	{"leave", (*bench).compareLeaves},
	{"rooms", (*bench).compareRooms},
	{"storm", (*bench).compareStorms},
	{"strangers", (*bench).compareStrangers},
}

// openFiles is how many connections there may be at once, and some. Go and Node raise their own
// limit to what is allowed.
const openFiles = 10_000

func main() {
	once := flag.Bool("once", false, "see that everything works, which takes seconds and measures nothing")
	rounds := flag.Int("rounds", 0, "how often each thing is measured, if not as often as usual")
	only := list("only", "measurements, with commas between them: "+names()+
		"; also connect/websocket and the like, hold/8000, leave/8000, storm/ES256")
	servers := list("servers", "servers, with commas between them: "+shorts())
	chart := flag.String("chart", "", "a file to draw what was compared with other servers into, as SVG")
	profile := flag.String("profile", "", "write the CPU profile of a server to profile.out instead: VARIANT/TRANSPORT, VARIANT/TRANSPORT/refused, or VARIANT/echo")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && limit.Max < openFiles && !*once {
		fmt.Fprintf(os.Stderr, "bench: %d files may be open; leave and broadcast need up to %d\n", limit.Max, openFiles)
	}
	b := &bench{settings: full, ctx: ctx, only: *only, servers: *servers, report: &report{}, load: load()}
	if *once {
		b.settings = tiny
	}
	if *rounds > 0 {
		b.rounds = *rounds
	}
	err := b.run(*profile, *once)
	if err == nil && *chart != "" {
		err = os.WriteFile(*chart, []byte(b.report.chart(b.notes(os.Args[1:])...)), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// notes say below the chart how it was made.
func (b *bench) notes(args []string) []string {
	return []string{
		"Times are CPU time of the server's process. Clients are over WebSocket. The scale is logarithmic. Figures are medians.",
		fmt.Sprintf("%s %s/%s, %d CPUs that clients and server share. The load of the machine was %s before.",
			runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), b.load),
		"cd bench && go run . " + strings.Join(args, " "),
	}
}

// load is that of the machine, of the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	minute, _, _ := strings.Cut(string(text), " ")
	return minute
}

// list is a flag for several names.
func list(name, usage string) *[]string {
	var all []string
	flag.Func(name, usage, func(text string) error {
		all = append(all, strings.Split(text, ",")...)
		return nil
	})
	return &all
}

func names() string {
	all := []string{"go"}
	for _, c := range comparisons {
		all = append(all, c.name)
	}
	return strings.Join(all, ", ")
}

func shorts() string {
	var all []string
	for _, k := range everyKind {
		all = append(all, k.short)
	}
	return strings.Join(all, ", ")
}

// check finds names that do not exist.
func (b *bench) check() error {
	for _, name := range b.only {
		name, _, _ := strings.Cut(name, "/")
		if !slices.Contains(strings.Split(names(), ", "), name) {
			return fmt.Errorf("-only: there is no %q, but %s", name, names())
		}
	}
	for _, name := range b.servers {
		if !slices.Contains(strings.Split(shorts(), ", "), name) {
			return fmt.Errorf("-servers: there is no %q, but %s", name, shorts())
		}
	}
	return nil
}

func (b *bench) run(profile string, once bool) (err error) {
	if err := b.check(); err != nil {
		return err
	}
	if b.folder, err = os.MkdirTemp("", "socketiojwt-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.folder)
	if b.keys, err = newKeys(); err != nil {
		return err
	}
	if profile != "" {
		return b.profile(profile, "profile.out")
	}
	if b.wants("go") && len(b.servers) == 0 {
		if err := b.report.goBenchmarks(b.ctx, b.benchtime); err != nil {
			return err
		}
	}
	for _, c := range comparisons {
		if !b.wants(c.name) {
			continue
		}
		if err := c.run(b); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if len(b.report.rows)+len(b.report.summary) == 0 {
		return errors.New("-only and -servers leave nothing to measure")
	}
	b.report.printSummary()
	b.report.printTargets(once, b.load)
	return nil
}
