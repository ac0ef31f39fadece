package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

type bench struct {
	settings
	ctx     context.Context
	folder  string   // the Go servers
	only    []string // measurements, nil: all
	servers []string // kinds by their short names, nil: all
	keys    keys
	report  *report
	load    string // before anything was measured
}

// choose leaves out the kinds that are not to be measured.
func (b *bench) choose(kinds ...kind) []kind {
	return slices.DeleteFunc(kinds, func(k kind) bool { return len(b.servers) > 0 && !slices.Contains(b.servers, k.short) })
}

// wants says whether a measurement is to be made, or a part of it.
func (b *bench) wants(name string) bool {
	return len(b.only) == 0 || slices.ContainsFunc(b.only, func(o string) bool { return o == name || strings.HasPrefix(o, name+"/") })
}

// wanted returns the parts of a measurement that are to be made.
func (b *bench) wanted(name string, parts ...string) (wanted []string) {
	for _, part := range parts {
		if len(b.only) == 0 || slices.Contains(b.only, name) || slices.Contains(b.only, name+"/"+part) {
			wanted = append(wanted, part)
		}
	}
	return wanted
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
	results, err := b.inTurn(all, rounds+1, measure)
	for i := range results {
		results[i] = results[i][1:]
	}
	return results, err
}

// inTurn measures all processes in turn, several times over.
func (b *bench) inTurn(all processes, rounds int, measure func(*process) (float64, error)) ([]series, error) {
	results := make([]series, len(all))
	for round := range rounds {
		for i := range all {
			i = (i + round) % len(all) // so that nobody always comes after the same
			value, err := measure(all[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", all[i].name, err)
			}
			results[i] = append(results[i], value)
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
