package main

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
)

// compareRefusals measures what a client costs that is refused, for a token with a wrong signature,
// against one that is not.
func (b *bench) compareRefusals() error {
	kinds := b.choose(handshake, nodeHandshake)
	if len(kinds) == 0 {
		return nil
	}
	for _, transport := range b.wanted("refuse", websocket, polling) {
		all, err := b.startAll(hs256, kinds...)
		if err != nil {
			return err
		}
		accepted, refused := map[*process]series{}, map[*process]series{}
		var kept []series
		_, err = b.alternate(all, b.rounds, func(p *process) (float64, error) {
			in, err := cpuOf(p, func() error {
				if err := comeAndGo(b.ctx, p, transport, b.refusals); err != nil {
					return err
				}
				return p.quiet(b.ctx, 0)
			})
			if err != nil {
				return 0, err
			}
			out, err := cpuOf(p, func() error { return b.beRefused(p, transport) })
			accepted[p] = append(accepted[p], in/float64(b.refusals))
			refused[p] = append(refused[p], out/float64(b.refusals))
			return 0, err
		})
		for _, p := range all {
			if err != nil {
				break
			}
			var each float64
			each, err = b.keptOfRefused(p, transport)
			kept = append(kept, series{each})
		}
		all.stop()
		if err != nil {
			return err
		}
		var rows []series
		var names []kind
		for _, p := range all {
			names = append(names, kind{name: p.name + ": accepted"}, kind{name: p.name + ": refused"})
			rows = append(rows, accepted[p][1:], refused[p][1:]) // the first round warms up
		}
		b.report.table("Server CPU per handshake that is accepted or refused, "+transport, "µs", 1e6, names, rows)
		if ours := all[0]; ours.kind == handshake {
			b.report.ratio("CPU per refused handshake / accepted, "+transport, "≤ 0.35 ×", refused[ours][1:], accepted[ours][1:])
			b.report.value("memory kept of a refused handshake, "+transport, "0", "%.0f B", kept[0])
		}
	}
	return nil
}

func (b *bench) beRefused(p *process, transport string) error {
	end := strings.LastIndex(p.token, ".") + 1
	bad := p.token[:end] + strings.Repeat("A", len(p.token)-end)
	err := inParallel(b.ctx, b.refusals, workers, func(ctx context.Context, _ int) error {
		if transport == websocket {
			c, err := dialSocket(ctx, p.url, socketIO{token: bad, refused: true})
			if err == nil {
				c.Close()
			}
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, siotest.DefaultTimeout)
		defer cancel()
		c, err := siotest.Dial(ctx, p.url, siotest.Options{Transport: transport, Query: url.Values{"token": {bad}}})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.WaitType(ctx, "/", siotest.Error)
		return err
	})
	if err != nil {
		return err
	}
	return p.quiet(b.ctx, 0)
}

// keptOfRefused returns how many bytes of heap a refused handshake leaves behind.
func (b *bench) keptOfRefused(p *process, transport string) (float64, error) {
	before, err := p.memory(b.ctx)
	if err != nil {
		return 0, err
	}
	for range b.rounds {
		if err := b.beRefused(p, transport); err != nil {
			return 0, err
		}
	}
	time.Sleep(time.Second) // what a refused client may hold for as long
	after, err := p.memory(b.ctx)
	return (after.heap - before.heap) / float64(b.rounds*b.refusals), err
}
