package harness

import (
	"context"
	"net"
	"net/http"
	"testing"
)

// Place is where a server listens, and how to get there.
type Place struct {
	Listener net.Listener
	URL      string
	Client   *http.Client // nil: any
}

// Loopback listens on a free port.
func Loopback(tb testing.TB) Place {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return Place{Listener: l, URL: "http://" + l.Addr().String()}
}

// InMemory is a network that testing/synctest can follow.
func InMemory(tb testing.TB) Place {
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	transport := &http.Transport{DialContext: l.dial}
	tb.Cleanup(transport.CloseIdleConnections)
	return Place{Listener: l, URL: "http://in.memory", Client: &http.Client{Transport: transport}}
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.done); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Dial opens a connection of a network in memory for as long as the test runs.
func (at Place) Dial(tb testing.TB) net.Conn {
	tb.Helper()
	conn, err := at.Listener.(*pipeListener).dial(tb.Context(), "", "")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}
