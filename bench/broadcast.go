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

// compareBroadcasts measures what it takes to reach everybody.
func (b *bench) compareBroadcasts() error {
	kinds := []kind{floor, handshake, nodeHandshake}
	all, err := b.startAll(hs256, kinds...)
	if err != nil {
		return err
	}
	defer all.stop()
	cpu, wall, err := b.broadcastOn(all)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("broadcast of 100 bytes to %d clients", b.audience)
	b.report.table("Server CPU per "+title, "ms", 1e3, kinds, cpu)
	b.report.table("Time until all have it, per "+title, "ms", 1e3, kinds, wall)
	b.report.ratio("CPU per broadcast, handshake / go-socket.io alone", "", cpu[1], cpu[0])
	b.report.ratio("time per broadcast, handshake / go-socket.io alone", "", wall[1], wall[0])
	return nil
}

// compareStalled measures the same beside clients that opened a connection, did not authenticate,
// and do not poll.
func (b *bench) compareStalled() error {
	beside := roundTrip
	beside.name += fmt.Sprintf(", beside %d stalled clients", b.stalled)
	kinds := []kind{roundTrip, beside}
	all, err := b.startAll(hs256, kinds...)
	if err != nil {
		return err
	}
	defer all.stop()
	idlers := make(crowd, b.stalled)
	defer idlers.abort()
	if err := inParallel(b.ctx, len(idlers), workers, func(ctx context.Context, i int) (err error) {
		ctx, cancel := context.WithTimeout(ctx, siotest.DefaultTimeout)
		defer cancel()
		idlers[i], err = siotest.Dial(ctx, all[1].url, siotest.Options{ManualPoll: true, NoPing: true})
		return err
	}); err != nil {
		return err
	}
	cpu, wall, err := b.broadcastOn(all)
	if err != nil {
		return err
	}
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

// broadcastOn measures CPU time and time per broadcast, in seconds.
func (b *bench) broadcastOn(all processes) (cpu, wall []series, err error) {
	crowds := map[*process]crowd{}
	for _, p := range all {
		if crowds[p], err = gather(b.ctx, p, websocket, b.audience, workers); err != nil {
			return nil, nil, err
		}
		defer crowds[p].abort()
	}
	times := map[*process]series{}
	cpu, err = b.alternate(all, b.rounds, func(p *process) (float64, error) {
		began := time.Now()
		used, err := cpuOf(p, func() error { return b.broadcastTo(p, crowds[p]) })
		times[p] = append(times[p], time.Since(began).Seconds()/float64(b.broadcasts))
		return used / float64(b.broadcasts), err
	})
	for _, p := range all {
		wall = append(wall, times[p][min(1, len(times[p])):])
	}
	return cpu, wall, err
}

func (b *bench) broadcastTo(p *process, clients crowd) error {
	asked := make(chan error, 1)
	go func() {
		asked <- p.control(b.ctx, http.MethodPost, "/broadcast", url.Values{"n": {strconv.Itoa(b.broadcasts)}, "text": {text}}, nil)
	}()
	err := inParallel(b.ctx, len(clients), len(clients), func(ctx context.Context, i int) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		for range b.broadcasts {
			if _, err := clients[i].WaitEvent(ctx, "/", "news"); err != nil {
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
