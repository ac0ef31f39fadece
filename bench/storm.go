package main

import "time"

// compareStorms measures what the server needs when all its clients are cut off and come back at
// once, as after a failure of the network.
func (b *bench) compareStorms() error {
	for _, algorithm := range b.wanted("storm", algorithms...) {
		kinds := b.choose(handshake, floor, byHand)
		if algorithm != "EdDSA" { // jsonwebtoken 8 does not know it
			kinds = append(kinds, b.choose(nodeHandshake)...)
		}
		if err := b.storm(algorithm, kinds); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) storm(algorithm string, kinds []kind) error {
	all, err := b.startAll(algorithm, kinds...)
	if err != nil {
		return err
	}
	defer all.stop()
	crowds := map[*process]crowd{}
	defer func() {
		for _, clients := range crowds {
			clients.abort()
		}
	}()
	times := map[*process]series{}
	cpu, err := b.alternate(all, min(b.rounds, 3), func(p *process) (float64, error) {
		before, err := p.stats(b.ctx)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		used, err := cpuOf(p, func() (err error) {
			crowds[p].abort()
			if crowds[p], err = gather(b.ctx, p, websocket, b.reconnecting, stormWorkers); err != nil {
				return err
			}
			return p.verified(b.ctx, before.Authenticated+b.reconnecting)
		})
		times[p] = append(times[p], time.Since(began).Seconds())
		return used / float64(b.reconnecting), err
	})
	if err != nil {
		return err
	}
	var wall []series
	for _, p := range all {
		wall = append(wall, times[p][1:])
	}
	b.report.table("Server CPU per client of a reconnect storm with "+algorithm, "µs", 1e6, kinds, cpu)
	b.report.table("Time until the storm is over, "+algorithm, "s", 1, kinds, wall)
	of := byKind(kinds, cpu)
	b.report.ratio("CPU per client of a storm, handshake / go-socket.io alone, "+algorithm, "", of[handshake], of[floor])
	b.report.ratio("CPU per client of a storm, handshake / jwt.Parse in OnConnect, "+algorithm, "", of[handshake], of[byHand])
	b.report.ratio("CPU per client of a storm, handshake / Node, "+algorithm, "", of[handshake], of[nodeHandshake])
	return nil
}
