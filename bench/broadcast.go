package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

// compareBroadcasts measures what it takes to reach everybody: with broadcasts that follow at once,
// several of which a server may write together, and with each sent when all have the one before.
func (b *bench) compareBroadcasts() error {
	parts := b.wanted("broadcast", "burst", "spaced")
	if len(parts) == 0 {
		return nil
	}
	kinds := b.choose(handshake, mixed, floor, nodeHandshake, node4, zishang, centrifuge)
	all, err := b.startAll(hs256, kinds...)
	if err != nil {
		return err
	}
	defer all.stop()
	crowds, err := b.audiences(all)
	defer crowds.abort()
	if err != nil {
		return err
	}
	headings := map[string]string{ // of the chart
		"burst":  fmt.Sprintf("One of %d broadcasts at once, to %s clients", b.broadcasts, thousands(b.audience)),
		"spaced": fmt.Sprintf("A broadcast to %s clients", thousands(b.audience)),
	}
	for _, part := range parts {
		cpu, wall, err := b.broadcastOn(all, crowds, part == "spaced")
		if err != nil {
			return err
		}
		title := fmt.Sprintf("broadcast of 100 bytes to %d clients, %s", b.audience, part)
		b.report.compare("Server CPU per "+title, "ms", 1e3, kinds, cpu).heading = headings[part]
		b.report.compare("Time until all have it, per "+title, "ms", 1e3, kinds, wall)
		of := byKind(kinds, cpu)
		b.report.ratio("CPU per broadcast, handshake / go-socket.io alone, "+part, "", of[handshake], of[floor])
		of = byKind(kinds, wall)
		b.report.ratio("time per broadcast, handshake / go-socket.io alone, "+part, "", of[handshake], of[floor])
	}
	return nil
}

// compareStalled measures the same beside clients that opened a connection, did not authenticate,
// and do not poll.
func (b *bench) compareStalled() error {
	beside := roundTrip
	beside.name += fmt.Sprintf(", beside %d stalled clients", b.stalled)
	kinds := []kind{roundTrip, beside}
	if len(b.choose(roundTrip)) == 0 {
		return nil
	}
	all, err := b.startAll(hs256, kinds...)
	if err != nil {
		return err
	}
	defer all.stop()
	idlers := make(crowd, b.stalled)
	defer idlers.abort()
	if err := inParallel(b.ctx, len(idlers), workers, func(ctx context.Context, i int) error {
		ctx, cancel := context.WithTimeout(ctx, siotest.DefaultTimeout)
		defer cancel()
		c, err := siotest.Dial(ctx, all[1].url, siotest.Options{ManualPoll: true, NoPing: true})
		if err == nil {
			idlers[i] = &poller{c}
		}
		return err
	}); err != nil {
		return err
	}
	crowds, err := b.audiences(all)
	defer crowds.abort()
	if err != nil {
		return err
	}
	cpu, wall, err := b.broadcastOn(all, crowds, false)
	if err != nil {
		return err
	}
	crowds.abort()
	if err := all[1].quiet(b.ctx, b.stalled); err != nil { // they were there all the time
		return err
	}
	title := fmt.Sprintf("broadcast of 100 bytes to %d clients", b.audience)
	b.report.table("Server CPU per "+title, "ms", 1e3, kinds, cpu)
	b.report.table("Time until all have it, per "+title, "ms", 1e3, kinds, wall)
	b.report.ratio("CPU per broadcast, beside stalled clients / without", "≤ 1.05 ×", cpu[1], cpu[0])
	b.report.ratio("time per broadcast, beside stalled clients / without", "≤ 1.05 ×", wall[1], wall[0])
	return nil
}

// audiences are the clients of each server.
type audiences map[*process]crowd

func (b *bench) audiences(all processes) (audiences, error) { return b.audiencesOf(all, b.audience) }

func (b *bench) audiencesOf(all processes, n int) (audiences, error) {
	crowds := make(audiences)
	for _, p := range all {
		clients, err := gather(b.ctx, p, websocket, n, workers)
		if err != nil {
			return crowds, err
		}
		crowds[p] = clients
	}
	return crowds, nil
}

func (crowds audiences) abort() {
	for _, clients := range crowds {
		clients.abort()
	}
}

// broadcastOn measures CPU time and time per broadcast, in seconds.
func (b *bench) broadcastOn(all processes, crowds audiences, spaced bool) (cpu, wall []series, err error) {
	times, atOnce := map[*process]series{}, b.broadcasts
	if spaced {
		atOnce = 1
	}
	cpu, err = b.alternate(all, b.rounds, func(p *process) (float64, error) {
		began := time.Now()
		used, err := cpuOf(p, func() error {
			for range b.broadcasts / atOnce {
				if err := b.broadcastTo(p, crowds[p], atOnce); err != nil {
					return err
				}
			}
			return nil
		})
		times[p] = append(times[p], time.Since(began).Seconds()/float64(b.broadcasts))
		return used / float64(b.broadcasts), err
	})
	for _, p := range all {
		wall = append(wall, times[p][min(1, len(times[p])):])
	}
	return cpu, wall, err
}

// broadcastTo returns when all clients have heard n broadcasts.
func (b *bench) broadcastTo(p *process, clients crowd, n int) error {
	asked := make(chan error, 1)
	go func() {
		asked <- p.control(b.ctx, http.MethodPost, "/broadcast", url.Values{"n": {strconv.Itoa(n)}, "text": {text}}, nil)
	}()
	err := inParallel(b.ctx, len(clients), len(clients), func(ctx context.Context, i int) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		for range n {
			if err := clients[i].hear(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if askErr := <-asked; err == nil {
		err = askErr
	}
	return err
}
