package main

import (
	"context"
	"fmt"
	"time"
)

// compareRooms measures what it costs to join and leave a room, and to leave the server, where the
// namespace has many rooms of others.
func (b *bench) compareRooms() error {
	kinds := b.choose(handshake, mixed, floor, nodeHandshake, node4, zishang)
	all, err := b.startAll(hs256, kinds...)
	if err != nil {
		return err
	}
	defer all.stop()
	movers := map[*process]client{}
	for _, p := range all {
		crowd, err := gather(b.ctx, p, websocket, roomHolders+1, workers)
		if err != nil {
			return err
		}
		defer crowd.abort()
		for _, c := range crowd[1:] {
			if err := b.do(c, "hold", b.rooms/roomHolders); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		movers[p] = crowd[0]
	}
	moves, err := b.alternate(all, b.rounds, func(p *process) (float64, error) {
		used, err := cpuOf(p, func() error { return b.do(movers[p], "move", b.moves) })
		return used / float64(b.moves), err
	})
	if err != nil {
		return err
	}
	b.report.compare(fmt.Sprintf("Server CPU to join and leave a room, beside %d rooms", b.rooms), "µs", 1e6, kinds, moves).heading = fmt.Sprintf("A room is joined and left, beside %s rooms", thousands(b.rooms))
	leaves, err := b.inTurn(all, min(b.rounds, 3), func(p *process) (float64, error) { return b.leave(p, b.roomLeavers) })
	if err != nil {
		return err
	}
	b.report.compare(fmt.Sprintf("Server CPU per client, when %d leave at once beside %d rooms", b.roomLeavers, b.rooms), "µs", 1e6, kinds, leaves)
	return nil
}

// roomHolders are clients that have all the rooms.
const roomHolders = 100

// do has the server do something n times for a client.
func (b *bench) do(c client, what string, n int) error {
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := c.ask(what, n); err != nil {
		return err
	}
	return c.answer(ctx)
}
