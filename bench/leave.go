package main

import (
	"fmt"
	"slices"
	"strconv"
)

// compareLeaves measures what the server needs when all its clients are cut off at once, for each
// of them, with few and with many: what it costs to leave must not grow with those who are there.
func (b *bench) compareLeaves() error {
	kinds := b.choose(handshake, mixed, roundTrip, floor, nodeHandshake, node4, zishang, handshake5, node5, zishang5, centrifuge)
	var sizes []string
	for _, n := range b.leavers {
		sizes = append(sizes, strconv.Itoa(n))
	}
	sizes = b.wanted("leave", sizes...)
	if len(sizes) == 0 {
		return nil
	}
	all, err := b.startAll(hs256, kinds...)
	if err != nil {
		return err
	}
	defer all.stop()
	leave := func(n int) func(*process) (float64, error) {
		return func(p *process) (float64, error) { return b.leave(p, n) }
	}
	if _, err := b.inTurn(all, 1, leave(slices.Min(b.leavers))); err != nil { // this does not count
		return err
	}
	var each []map[kind]series
	for _, size := range sizes {
		n, err := strconv.Atoi(size)
		if err != nil {
			return err
		}
		results, err := b.inTurn(all, min(b.rounds, 3), leave(n))
		if err != nil {
			return err
		}
		b.report.compare(fmt.Sprintf("Server CPU per client, when %s leave at once", size), "µs", 1e6, kinds, results).heading = fmt.Sprintf("One of %s clients that leave at once", thousands(n))
		of := byKind(kinds, results)
		b.report.ratio("CPU per client 4.x / 2.x, when "+size+" leave", "", of[handshake5], of[handshake])
		b.report.ratio("CPU per client 4.x, when "+size+" leave, ours / zishang520's", "≤ 1.0 ×", of[handshake5], of[zishang5])
		b.report.ratio("CPU per client 4.x, when "+size+" leave, ours / Node's socket.io 4", "", of[handshake5], of[node5])
		each = append(each, of)
	}
	if len(each) == 2 {
		for _, k := range kinds {
			b.report.ratio(fmt.Sprintf("CPU per client that leaves, of %s / of %s, %s", sizes[1], sizes[0], k.name), "", each[1][k], each[0][k])
		}
	}
	return nil
}

// leave returns the CPU time for each of n clients that are cut off at once.
func (b *bench) leave(p *process, n int) (float64, error) {
	before, err := p.stats(b.ctx)
	if err != nil {
		return 0, err
	}
	clients, err := gather(b.ctx, p, websocket, n, workers)
	if err != nil {
		return 0, err
	}
	defer clients.abort()
	if err := p.settle(b.ctx, before.Clients+n); err != nil {
		return 0, err
	}
	used, err := cpuOf(p, func() error {
		clients.abort()
		return p.settle(b.ctx, before.Clients)
	})
	return used / float64(n), err
}
