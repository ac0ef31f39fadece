package main

import (
	"strconv"
	"time"
)

// compareHeld measures what an idle connection holds, and whether that grows with their number.
func (b *bench) compareHeld() error {
	for _, transport := range b.wanted("hold", websocket, polling) {
		kinds := b.choose(handshake, mixed, hookOnly, roundTrip, floor, byHand, nodeHandshake, nodeRoundTrip)
		if transport == websocket {
			kinds = append(kinds, b.choose(node4, zishang, centrifuge)...)
		}
		heap, resident, err := b.hold(kinds, transport, b.held)
		if err != nil {
			return err
		}
		rows := [...]*comparison{
			b.report.compare("Heap and stacks per idle connection, "+transport, "KiB", 1./1024, kinds, heap),
			b.report.compare("Resident memory per idle connection, "+transport, "KiB", 1./1024, kinds, resident),
		}
		if transport == websocket {
			rows[0].heading = "Heap and stacks of one of " + thousands(b.held) + " idle connections"
			rows[1].heading = "Resident memory of one of " + thousands(b.held) + " idle connections"
		}
		of := byKind(kinds, heap)
		b.report.difference("heap and stacks per connection, handshake - go-socket.io alone, "+transport, "≤ 3 KiB", of[handshake], of[floor])
		b.report.difference("heap and stacks per connection, round trip - go-socket.io alone, "+transport, "≤ 3 KiB", of[roundTrip], of[floor])
		of = byKind(kinds, resident)
		b.report.difference("resident per connection, handshake - go-socket.io alone, "+transport, "≤ 3 KiB", of[handshake], of[floor])
		b.report.difference("resident per connection, round trip - go-socket.io alone, "+transport, "≤ 3 KiB", of[roundTrip], of[floor])
	}
	for _, size := range b.wanted("hold", strconv.Itoa(b.heldMany)) {
		kinds := b.choose(handshake, floor, node4, zishang, centrifuge)
		heap, resident, err := b.hold(kinds, websocket, b.heldMany)
		if err != nil {
			return err
		}
		b.report.compare("Heap and stacks per idle connection of "+size, "KiB", 1./1024, kinds, heap)
		b.report.compare("Resident memory per idle connection of "+size, "KiB", 1./1024, kinds, resident).heading =
			"Resident memory of one of " + thousands(b.heldMany) + " idle connections"
	}
	return nil
}

// hold measures each kind with n connections.
func (b *bench) hold(kinds []kind, transport string, n int) (heap, resident []series, err error) {
	heap, resident = make([]series, len(kinds)), make([]series, len(kinds))
	for range min(b.rounds, 3) {
		for i, k := range kinds {
			m, err := b.memoryEach(k, transport, n)
			if err != nil {
				return nil, nil, err
			}
			heap[i] = append(heap[i], m.heap)
			resident[i] = append(resident[i], m.resident)
		}
	}
	return heap, resident, nil
}

// memoryEach starts a server, which memory of earlier clients would disguise.
func (b *bench) memoryEach(k kind, transport string, n int) (each memory, err error) {
	p, err := b.start(k, hs256)
	if err != nil {
		return each, err
	}
	defer p.stop()
	if err := comeAndGo(b.ctx, p, transport, min(200, n)); err != nil { // what is made once
		return each, err
	}
	if err := p.quiet(b.ctx, 0); err != nil {
		return each, err
	}
	before, err := p.memory(b.ctx)
	if err != nil {
		return each, err
	}
	clients, err := gather(b.ctx, p, transport, n, workers)
	if err != nil {
		return each, err
	}
	defer clients.abort()
	time.Sleep(200 * time.Millisecond) // what follows the last CONNECT
	after, err := p.memory(b.ctx)
	each = memory{(after.heap - before.heap) / float64(n), (after.resident - before.resident) / float64(n)}
	return each, err
}
