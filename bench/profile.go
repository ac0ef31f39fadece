package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// profile writes the CPU profile of a Go server whose clients do one thing: "handshake/websocket"
// connect and leave, "handshake/polling/refused" are refused, "handshake/echo" talk. A server may also
// be named as -servers does: "ours-4x/websocket".
func (b *bench) profile(what, file string) error {
	variant, transport, _ := strings.Cut(what, "/")
	transport, refused := strings.CutSuffix(transport, "/refused")
	for _, k := range everyKind {
		if k.program == "server" && (k.variant == variant || k.short == variant) {
			return b.profileOf(k, transport, refused, file)
		}
	}
	return fmt.Errorf("there is no variant %q", variant)
}

func (b *bench) profileOf(k kind, transport string, refused bool, file string) error {
	p, err := b.start(k, hs256)
	if err != nil {
		return err
	}
	defer p.stop()
	done := make(chan error, 1)
	go func() { done <- p.saveProfile(file) }()
	var clients crowd
	if transport == "echo" {
		if clients, err = gather(b.ctx, p, websocket, talkers, workers); err != nil {
			return err
		}
		defer clients.abort()
	}
	for {
		select {
		case err := <-done:
			return err
		default:
		}
		if transport == "echo" {
			_, err = talk(b.ctx, clients, b.echoTime)
		} else if refused {
			err = b.beRefused(p, transport)
		} else {
			err = comeAndGo(b.ctx, p, transport, b.connects)
		}
		if err != nil {
			return err
		}
	}
}

func (p *process) saveProfile(file string) error {
	response, err := p.http.Get(p.url + "/debug/pprof/profile?seconds=10")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("no profile: %s", response.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, response.Body)
	return err
}
