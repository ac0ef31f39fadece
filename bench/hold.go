package main

import (
	"time"
)

// compareHeld measures what an idle connection holds.
func (b *bench) compareHeld() error {
	rounds := min(b.rounds, 3)
	for _, transport := range b.wanted("hold", websocket, polling) {
		kinds := b.choose(handshake, mixed, hookOnly, roundTrip, floor, byHand, nodeHandshake, nodeRoundTrip)
		if transport == websocket {
			kinds = append(kinds, b.choose(node4, zishang, centrifuge)...)
		}
		heap, resident := make([]series, len(kinds)), make([]series, len(kinds))
		for range rounds {
			for i, k := range kinds {
				m, err := b.memoryEach(k, transport)
				if err != nil {
					return err
				}
				heap[i] = append(heap[i], m.heap)
				resident[i] = append(resident[i], m.resident)
			}
		}
		show := b.report.table
		if transport == websocket {
			show = b.report.compare
		}
		show("Heap and stacks per idle connection, "+transport, "KiB", 1./1024, kinds, heap)
		show("Resident memory per idle connection, "+transport, "KiB", 1./1024, kinds, resident)
		of := byKind(kinds, heap)
		b.report.difference("heap and stacks per connection, handshake - go-socket.io alone, "+transport, "≤ 3 KiB", of[handshake], of[floor])
		b.report.difference("heap and stacks per connection, round trip - go-socket.io alone, "+transport, "≤ 3 KiB", of[roundTrip], of[floor])
		of = byKind(kinds, resident)
		b.report.difference("resident per connection, handshake - go-socket.io alone, "+transport, "≤ 3 KiB", of[handshake], of[floor])
		b.report.difference("resident per connection, round trip - go-socket.io alone, "+transport, "≤ 3 KiB", of[roundTrip], of[floor])
	}
	return nil
}

// memoryEach starts a server, which memory of earlier clients would disguise.
func (b *bench) memoryEach(k kind, transport string) (each memory, err error) {
	p, err := b.start(k, hs256)
	if err != nil {
		return each, err
	}
	defer p.stop()
	if err := comeAndGo(b.ctx, p, transport, min(200, b.held)); err != nil { // what is made once
		return each, err
	}
	if err := p.quiet(b.ctx, 0); err != nil {
		return each, err
	}
	before, err := p.memory(b.ctx)
	if err != nil {
		return each, err
	}
	clients, err := gather(b.ctx, p, transport, b.held, workers)
	if err != nil {
		return each, err
	}
	defer clients.abort()
	time.Sleep(200 * time.Millisecond) // what follows the last CONNECT
	after, err := p.memory(b.ctx)
	n := float64(len(clients))
	return memory{(after.heap - before.heap) / n, (after.resident - before.resident) / n}, err
}
