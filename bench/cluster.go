package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"time"
)

// compareClusters measures what it takes to reach everybody on two nodes with one Redis between
// them, as compareBroadcasts does on one: CPU is that of both nodes, without Redis.
func (b *bench) compareClusters() error {
	parts := b.wanted("cluster", "burst", "spaced")
	kinds := b.choose(handshake, node4)
	if len(parts) == 0 || len(kinds) == 0 {
		return nil
	}
	redis, err := b.startRedis()
	if err != nil {
		return err
	}
	defer redis.stop()
	var firsts, all processes
	defer func() { all.stop() }()
	clusters := make(map[*process]cluster)
	for i, k := range kinds {
		k.redis, k.prefix = redis.url, fmt.Sprint("bench", i)
		nodes, err := b.startAll(hs256, k, k)
		if err != nil {
			return err
		}
		all = append(all, nodes...)
		crowds, err := b.audiencesOf(nodes, b.audience/2)
		defer crowds.abort()
		if err != nil {
			return err
		}
		clusters[nodes[0]] = cluster{nodes, append(crowds[nodes[0]], crowds[nodes[1]]...)}
		firsts = append(firsts, nodes[0])
	}
	if err := b.meet(clusters); err != nil {
		return err
	}
	for _, part := range parts {
		atOnce := b.broadcasts
		if part == "spaced" {
			atOnce = 1
		}
		times := make(map[*process]series)
		cpu, err := b.alternate(firsts, b.rounds, func(p *process) (float64, error) {
			began := time.Now()
			used, err := cpuOfAll(clusters[p].nodes, func() error {
				for range b.broadcasts / atOnce {
					if err := b.broadcastTo(p, clusters[p].clients, atOnce); err != nil {
						return err
					}
				}
				return nil
			})
			times[p] = append(times[p], time.Since(began).Seconds()/float64(b.broadcasts))
			return used / float64(b.broadcasts), err
		})
		if err != nil {
			return err
		}
		var wall []series
		for _, p := range firsts {
			wall = append(wall, times[p][min(1, len(times[p])):])
		}
		title := fmt.Sprintf("broadcast of 100 bytes to %d clients on two nodes, %s", b.audience, part)
		b.report.table("CPU of the nodes per "+title, "ms", 1e3, kinds, cpu)
		b.report.table("Time until all have it, per "+title, "ms", 1e3, kinds, wall)
		of := byKind(kinds, cpu)
		b.report.ratio("CPU per broadcast on two nodes, handshake / Node's socket.io 4, "+part, "", of[handshake], of[node4])
		of = byKind(kinds, wall)
		b.report.ratio("time per broadcast on two nodes, handshake / Node's socket.io 4, "+part, "", of[handshake], of[node4])
	}
	return nil
}

// cluster is nodes on one Redis, and the clients of all.
type cluster struct {
	nodes   processes
	clients crowd
}

// meet returns when what the first node of each cluster sends reaches the clients of the others.
func (b *bench) meet(clusters map[*process]cluster) error {
	for p := range clusters {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			var nodes struct{ Nodes int }
			if err := p.control(b.ctx, http.MethodGet, "/nodes", nil, &nodes); err != nil {
				return err
			}
			if nodes.Nodes == len(clusters[p].nodes) {
				break
			}
			if time.Now().After(end) {
				return fmt.Errorf("%s: %d nodes know of each other", p.name, nodes.Nodes)
			}
		}
	}
	return nil
}

func cpuOfAll(all processes, f func() error) (sum float64, err error) {
	if len(all) == 0 {
		return 0, f()
	}
	rest := 0.0
	used, err := cpuOf(all[0], func() (err error) {
		rest, err = cpuOfAll(all[1:], f)
		return err
	})
	return used + rest, err
}

// startRedis starts a redis-server that keeps nothing. Its url is its address.
func (b *bench) startRedis() (*process, error) {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.N(10000)))
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.CommandContext(b.ctx, "redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("redis-server: %w", err)
	}
	p := &process{kind: kind{name: "Redis"}, url: addr, cmd: cmd, http: &http.Client{}}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return p, conn.Close()
		}
		if time.Now().After(end) {
			p.stop()
			return nil, err
		}
	}
}
