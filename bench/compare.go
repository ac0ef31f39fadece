package main

import (
	"context"
	"fmt"
	"strings"
)

type bench struct {
	settings
	ctx    context.Context
	binary string // the Go server
	keys   keys
	report *report
}

const (
	websocket = "websocket"
	polling   = "polling"
	upgrade   = "upgrade"
)

// text makes an echo or broadcast an event of 100 bytes.
var text = strings.Repeat("x", 89)

// alternate measures all processes in turn, several times over, and once before that counts.
func (b *bench) alternate(all processes, rounds int, measure func(*process) (float64, error)) ([]series, error) {
	results := make([]series, len(all))
	for round := range rounds + 1 {
		for i := range all {
			i = (i + round) % len(all) // so that nobody always comes after the same
			value, err := measure(all[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", all[i].name, err)
			}
			if round > 0 {
				results[i] = append(results[i], value)
			}
		}
	}
	return results, nil
}

// cpuOf returns the CPU time, in seconds, that a process uses while f runs.
func cpuOf(p *process, f func() error) (float64, error) {
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := p.cpu()
	return (after - before).Seconds(), err
}
