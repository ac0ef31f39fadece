package main

// compareConnects measures what the server needs for a client that connects, is authenticated, and
// leaves.
func (b *bench) compareConnects() error {
	for _, transport := range b.wanted("connect", websocket, polling, upgrade) {
		kinds := b.choose(handshake, mixed, hookOnly, roundTrip, nodeHandshake, nodeRoundTrip)
		if transport != upgrade {
			// Of clients that upgrade, go-socket.io alone loses some, waits a minute for some of
			// those and reads for others without a pause (hazards 9, 11 and 29).
			kinds = append(kinds, b.choose(floor, byHand)...)
		}
		if transport == websocket {
			kinds = append(kinds, b.choose(node4, zishang, handshake5, node5, zishang5, centrifuge)...)
		}
		all, err := b.startAll(hs256, kinds...)
		if err != nil {
			return err
		}
		results, err := b.alternate(all, b.rounds, func(p *process) (float64, error) {
			used, err := cpuOf(p, func() error {
				if err := comeAndGo(b.ctx, p, transport, b.connects); err != nil {
					return err
				}
				return p.quiet(b.ctx, 0)
			})
			return used / float64(b.connects), err
		})
		all.stop()
		if err != nil {
			return err
		}
		row := b.report.compare("Server CPU per client that connects with HS256 and leaves, "+transport, "µs", 1e6, kinds, results)
		if transport == websocket {
			row.heading = "A client connects with HS256 and leaves"
		}
		of := byKind(kinds, results)
		b.report.ratio("CPU per connect, handshake / go-socket.io alone, "+transport, "≤ 1.08 ×", of[handshake], of[floor])
		b.report.ratio("CPU per connect, handshake / jwt.Parse in OnConnect, "+transport, "", of[handshake], of[byHand])
		b.report.ratio("CPU per connect, round trip / go-socket.io alone, "+transport, "≤ 1.25 ×", of[roundTrip], of[floor])
		b.report.ratio("CPU per connect, handshake / Node, "+transport, "≤ 0.45 ×", of[handshake], of[nodeHandshake])
		b.report.ratio("CPU per connect, round trip / Node, "+transport, "≤ 0.45 ×", of[roundTrip], of[nodeRoundTrip])
		b.report.ratio("CPU per connect, clients 4.x / 2.x, "+transport, "≤ 1.1 ×", of[handshake5], of[handshake])
		b.report.ratio("CPU per connect, clients 4.x, ours / zishang520's with jwt.Parse, "+transport, "≤ 0.7 ×", of[handshake5], of[zishang5])
		b.report.ratio("CPU per connect, clients 4.x, ours / Node's socket.io 4, "+transport, "≤ 0.3 ×", of[handshake5], of[node5])
	}
	return nil
}
