package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kind is a way to serve, in one of the programs that are compared.
type kind struct {
	name          string
	short         string // as -servers calls it
	program       string // see command
	variant       string
	plain         bool // go-socket.io with its own transports
	authenticates bool
	roundTrip     bool
	today         bool   // its clients are 3.x or 4.x
	redis, prefix string // of a cluster
}

var (
	handshake     = kind{name: "socketiojwt, handshake", short: "ours", program: "server", variant: "handshake", authenticates: true}
	mixed         = kind{name: "socketiojwt, with go-socket.io in the way", short: "mixed", program: "server", variant: "mixed", authenticates: true}
	hookOnly      = kind{name: "socketiojwt, hook without gate", short: "hook", program: "server", variant: "hook", authenticates: true}
	roundTrip     = kind{name: "socketiojwt, round trip", short: "roundtrip", program: "server", variant: "roundtrip", authenticates: true, roundTrip: true}
	beset         = kind{name: "socketiojwt, round trip, beset", short: "beset", program: "server", variant: "beset", authenticates: true, roundTrip: true}
	floor         = kind{name: "go-socket.io alone", short: "alone", program: "server", variant: "floor", plain: true}
	byHand        = kind{name: "jwt.Parse in OnConnect", short: "byhand", program: "server", variant: "byhand", plain: true, authenticates: true}
	nodeHandshake = kind{name: "Node, handshake", short: "node2", program: "node2", variant: "handshake", authenticates: true}
	nodeRoundTrip = kind{name: "Node, round trip", short: "node2-roundtrip", program: "node2", variant: "roundtrip", authenticates: true, roundTrip: true}
	node4         = kind{name: "Node, socket.io 4", short: "node4", program: "node4", authenticates: true}
	zishang       = kind{name: "zishang520/socket.io", short: "zishang", program: "zishang", authenticates: true}
	handshake5    = kind{name: "socketiojwt, clients 4.x", short: "ours-4x", program: "server", variant: "handshake", authenticates: true, today: true}
	node5         = kind{name: "Node, socket.io 4, clients 4.x", short: "node4-4x", program: "node4", authenticates: true, today: true}
	zishang5      = kind{name: "zishang520/socket.io, clients 4.x", short: "zishang-4x", program: "zishang", authenticates: true, today: true}
	centrifuge    = kind{name: "centrifuge", short: "centrifuge", program: "centrifuge", authenticates: true}

	everyKind = []kind{handshake, mixed, hookOnly, roundTrip, floor, byHand, nodeHandshake, nodeRoundTrip, node4, zishang, handshake5, node5, zishang5, centrifuge}
)

// command is how a kind is run with a key. Go programs are built when one is needed first.
func (b *bench) command(k kind, key string) ([]string, error) {
	switch k.program {
	case "node2":
		return []string{"node", "--expose-gc", "peer/server.js", k.variant, key}, nil
	case "node4":
		args := []string{"node", "--expose-gc", "peer4/server.js", key}
		if k.redis != "" {
			args = append(args, k.redis, k.prefix)
		}
		return args, nil
	}
	binary := filepath.Join(b.folder, k.program)
	if _, err := os.Stat(binary); err != nil {
		build := exec.CommandContext(b.ctx, "go", "build", "-o", binary, "./"+k.program)
		build.Stderr = os.Stderr
		if k.program != "server" { // that is in this module; the others bring many
			build.Dir = "gopeer"
		}
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("building %s: %w", k.program, err)
		}
	}
	args := []string{binary, "-key", key}
	if k.variant != "" {
		args = append(args, "-variant", k.variant)
	}
	if k.redis != "" {
		args = append(args, "-redis", k.redis, "-prefix", k.prefix)
	}
	return args, nil
}

// process is a server that runs.
type process struct {
	kind
	url   string
	cmd   *exec.Cmd
	http  *http.Client
	token string // what its clients bring
}

// start runs a server for tokens of an algorithm, and returns when it listens.
func (b *bench) start(k kind, algorithm string) (*process, error) {
	key := b.keys[algorithm]
	args, err := b.command(k, key.public)
	if err != nil {
		return nil, err
	}
	p := &process{kind: k, cmd: exec.CommandContext(b.ctx, args[0], args[1:]...), http: &http.Client{}, token: key.token}
	if !k.authenticates {
		p.token = ""
	}
	p.cmd.Stderr = os.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	var first struct{ URL string }
	if err == nil {
		err = json.Unmarshal(line, &first)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("%s did not start: %w", k.name, err)
	}
	p.url = first.URL
	return p, nil
}

func (b *bench) startAll(algorithm string, kinds ...kind) (processes, error) {
	var all processes
	for _, k := range kinds {
		p, err := b.start(k, algorithm)
		if err != nil {
			all.stop()
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

type processes []*process

func (all processes) stop() {
	for _, p := range all {
		p.stop()
	}
}

func (p *process) stop() {
	p.http.CloseIdleConnections()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // says that it was killed
}

// cpu is the CPU time that the process has used so far. /proc/PID/stat tells it in hundredths of a
// second; the process's CPU clock (clock_getcpuclockid(3)) in nanoseconds.
func (p *process) cpu() (time.Duration, error) {
	const sched = 2
	var t unix.Timespec
	err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|sched), &t)
	return time.Duration(t.Nano()), err
}

// resident is the memory of the process that is not swapped or given back.
func (p *process) resident() (bytes float64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 64)
			return kib * 1024, err
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", p.cmd.Process.Pid)
}

// control asks a server for something that is no part of the measurement.
func (p *process) control(ctx context.Context, method, path string, query url.Values, answer any) error {
	r, err := http.NewRequestWithContext(ctx, method, p.url+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	response, err := p.http.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", p.name, path, response.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

type stats struct{ Clients, Authenticated int }

func (p *process) stats(ctx context.Context) (s stats, err error) {
	err = p.control(ctx, http.MethodGet, "/stats", nil, &s)
	return s, err
}

// quiet waits until the server has as many clients as it should. go-socket.io alone keeps some
// that are gone, and is not waited for.
func (p *process) quiet(ctx context.Context, clients int) error {
	wait := 20 * time.Second
	if p.plain {
		wait = 500 * time.Millisecond
	}
	for end := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		s, err := p.stats(ctx)
		if err != nil || s.Clients == clients {
			return err
		}
		if time.Now().After(end) {
			if p.plain {
				return nil
			}
			return fmt.Errorf("%s has %d clients, and should have %d", p.name, s.Clients, clients)
		}
	}
}

// settle waits until a server has as many clients as it should and has nothing left to do for
// them. It asks only when the server is idle, so that asking costs nothing of what is measured.
// go-socket.io alone keeps some that are gone, and is not waited for.
func (p *process) settle(ctx context.Context, clients int) error {
	const (
		pause = 100 * time.Millisecond
		idle  = 2 * time.Millisecond // of CPU time, in a pause; clients that stay send PINGs
	)
	last, err := p.cpu()
	for still, end := 0, time.Now().Add(2*time.Minute); err == nil; {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var now time.Duration
		if now, err = p.cpu(); err != nil {
			break
		}
		busy := now - last
		if last = now; busy < idle {
			var s stats
			if s, err = p.stats(ctx); err != nil || s.Clients == clients {
				break
			}
			if still++; p.plain && still > 5 {
				break
			}
			last, err = p.cpu()
		}
		if time.Now().After(end) {
			s, _ := p.stats(ctx)
			return fmt.Errorf("%s does not come to rest: it has %d clients, and should have %d", p.name, s.Clients, clients)
		}
	}
	return err
}

// verified waits until the server has authenticated as many clients as it should, which some do
// after they have said that they are connected.
func (p *process) verified(ctx context.Context, clients int) error {
	for end := time.Now().Add(20 * time.Second); p.authenticates; time.Sleep(10 * time.Millisecond) {
		s, err := p.stats(ctx)
		if err != nil || s.Authenticated >= clients {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s authenticated %d clients, and should have %d", p.name, s.Authenticated, clients)
		}
	}
	return nil
}

// memory is what a server holds after it has collected its garbage.
type memory struct{ heap, resident float64 }

func (p *process) memory(ctx context.Context) (m memory, err error) {
	var answer struct{ Heap float64 }
	if err = p.control(ctx, http.MethodPost, "/gc", nil, &answer); err != nil {
		return m, err
	}
	m.heap = answer.Heap
	m.resident, err = p.resident()
	return m, err
}
