package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// compareStrangers sees whether anybody notices strangers: one of them sends thousands of
// handshakes behind each other on one TCP connection, and lets them time out, beside many rooms.
func (b *bench) compareStrangers() error {
	if len(b.servers) > 0 && len(b.choose(beset)) == 0 {
		return nil
	}
	p, err := b.start(beset, hs256)
	if err != nil {
		return err
	}
	defer p.stop()
	holders, err := gather(b.ctx, p, websocket, roomHolders, workers)
	if err != nil {
		return err
	}
	defer holders.abort()
	for _, c := range holders {
		if err := b.do(c, "hold", b.rooms/2/roomHolders); err != nil {
			return err
		}
	}
	quiet, quietly, err := b.newcomers(p, holders, nil)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- b.timeOut(p) }()
	beset, besetly, err := b.newcomers(p, holders, done)
	if err != nil {
		return err
	}
	rows := []kind{{name: "quiet"}, {name: fmt.Sprintf("beside %d handshakes that time out", b.strangers)}}
	title := fmt.Sprintf("beside %d rooms", b.rooms/2)
	b.report.table("Time until a newcomer is in, "+title, "ms", 1e3, rows, []series{quiet, beset})
	b.report.table(fmt.Sprintf("Time until all of %d have a broadcast, %s", roomHolders, title), "ms", 1e3, rows, []series{quietly, besetly})
	slowest := series{slices.Max(beset)}
	b.report.ratio("seconds until the slowest newcomer is in, beside strangers", "≤ 1 ×", slowest, series{1})
	b.report.ratio("time per broadcast, beside strangers / without", "≤ 2 ×", series{besetly.median()}, series{quietly.median()})
	return nil
}

// newcomers lets clients in and broadcasts, in turn: for a while, or until done.
func (b *bench) newcomers(p *process, holders crowd, done <-chan error) (in, heard series, err error) {
	end := time.After(4 * b.echoTime)
	for {
		select {
		case err := <-done:
			return in, heard, err
		case <-end:
			if done == nil {
				return in, heard, nil
			}
		default:
		}
		began := time.Now()
		c, err := connect(b.ctx, p, websocket)
		if err != nil {
			return nil, nil, err
		}
		in = append(in, time.Since(began).Seconds())
		c.Close()
		began = time.Now()
		if err := b.broadcastTo(p, holders, 1); err != nil {
			return nil, nil, err
		}
		heard = append(heard, time.Since(began).Seconds())
		time.Sleep(10 * time.Millisecond) // or the clients take all the time that strangers need
	}
}

// timeOut sends the handshakes, reads the answers, and waits until their clients have timed out.
func (b *bench) timeOut(p *process) error {
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	sent := make(chan error, 1)
	go func() {
		request := "GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: bench\r\n\r\n"
		_, err := io.WriteString(conn, strings.Repeat(request, b.strangers))
		sent <- err
	}()
	answers := bufio.NewReader(conn)
	for range b.strangers {
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("a stranger got %s", response.Status)
		}
	}
	if err := <-sent; err != nil {
		return err
	}
	return p.quiet(ctx, roomHolders)
}
