package main

import (
	"context"
	"time"
)

const (
	talkers = 32 // clients that send events
	window  = 8  // events of each that are under way
)

// compareEchoes measures how many events with an answer get through.
func (b *bench) compareEchoes() error {
	kinds := b.choose(handshake, mixed, hookOnly, roundTrip, floor, byHand, nodeHandshake, node4, zishang, handshake5, node5, zishang5, centrifuge)
	all, err := b.startAll(hs256, kinds...)
	if err != nil {
		return err
	}
	defer all.stop()
	crowds := map[*process]crowd{}
	for _, p := range all {
		if crowds[p], err = gather(b.ctx, p, websocket, talkers, workers); err != nil {
			return err
		}
		defer crowds[p].abort()
	}
	cpu := map[*process]series{}
	rates, err := b.alternate(all, b.rounds, func(p *process) (float64, error) {
		var n float64
		began := time.Now()
		used, err := cpuOf(p, func() (err error) {
			n, err = talk(b.ctx, crowds[p], b.echoTime)
			return err
		})
		cpu[p] = append(cpu[p], used/n)
		return n / time.Since(began).Seconds(), err
	})
	if err != nil {
		return err
	}
	var costs []series
	for _, p := range all {
		costs = append(costs, cpu[p][1:])
	}
	b.report.compare("Echoes of a 100-byte event, by 32 clients with 8 under way each", "/s", 1, kinds, rates)
	b.report.compare("Server CPU per echo of a 100-byte event", "µs", 1e6, kinds, costs).heading = "An event of 100 bytes is answered"
	of := byKind(kinds, rates)
	b.report.ratio("echo events per second, handshake / go-socket.io alone", "≥ 0.95 ×", of[handshake], of[floor])
	of = byKind(kinds, costs)
	b.report.ratio("CPU per echo event, handshake / go-socket.io alone", "", of[handshake], of[floor])
	return nil
}

// talk returns how many events were answered.
func talk(ctx context.Context, clients crowd, d time.Duration) (float64, error) {
	end := time.Now().Add(d)
	counts := make([]int, len(clients))
	err := inParallel(ctx, len(clients), len(clients), func(ctx context.Context, i int) error {
		c := clients[i]
		waiting := 0
		for {
			for waiting < window && time.Now().Before(end) {
				if err := c.ask("echo", text); err != nil {
					return err
				}
				waiting++
			}
			if waiting == 0 {
				return nil
			}
			if err := c.answer(ctx); err != nil {
				return err
			}
			waiting--
			counts[i]++
		}
	})
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total), err
}
