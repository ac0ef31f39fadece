package main

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

const testSecret = "a secret of 32 bytes for the test"

// world is a server whose spans are kept.
type world struct {
	*testing.T
	spans       *tracetest.InMemoryExporter
	revocations *socketiojwt.MemoryRevocations
	url         string
}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{T: t, spans: tracetest.NewInMemoryExporter(), revocations: socketiojwt.NewMemoryRevocations()}
	provider := sdk.NewTracerProvider(sdk.WithSyncer(w.spans))
	sio, err := newServer(socketiojwt.Options{
		Secret:      socketiojwt.StaticSecret(testSecret),
		Handshake:   true,
		Revocations: w.revocations,
	}, provider)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = sio.Serve()
	}()
	server := httptest.NewServer(sio)
	t.Cleanup(func() {
		if err := sio.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
		<-served
	})
	w.url = server.URL
	return w
}

func (w world) sign(claims jwt.MapClaims) string {
	w.Helper()
	claims["sub"] = "canary"
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(testSecret))
	if err != nil {
		w.Fatal(err)
	}
	return raw
}

func (w world) connect(version int, raw string) siotest.Must {
	w.Helper()
	must := siotest.MustDial(w, w.url, siotest.Options{Version: version, Transport: "websocket", Query: url.Values{"token": {raw}}}).Must(w)
	if version == 4 {
		must.Join("/")
	}
	return must
}

// show is a span as the tests compare it, with session.id where it has one.
func show(span tracetest.SpanStub) (text, session string) {
	var attributes []string
	for _, a := range span.Attributes {
		if a.Key == "session.id" {
			session = a.Value.AsString()
			attributes = append(attributes, "session")
		} else {
			attributes = append(attributes, a.Value.AsString())
		}
	}
	slices.Sort(attributes)
	text = span.Name + ": " + strings.Join(attributes, " ")
	if span.Status.Code == codes.Error {
		text += ", " + span.Status.Description
	}
	return text, session
}

// eventually waits for exactly these spans, in any order, and returns them.
func (w world) eventually(want ...string) tracetest.SpanStubs {
	w.Helper()
	slices.Sort(want)
	for end := time.Now().Add(siotest.DefaultTimeout); ; runtime.Gosched() {
		spans := w.spans.GetSpans()
		var got []string
		for _, span := range spans {
			text, _ := show(span)
			got = append(got, text)
		}
		slices.Sort(got)
		if slices.Equal(got, want) {
			return spans
		}
		if time.Now().After(end) {
			w.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		w := newWorld(t)
		client := w.connect(version, w.sign(jwt.MapClaims{"jti": "canary-id"}))
		client.Connected("/")
		if got := client.Call("/", "echo", "canary-text").Raw; got != `430["canary-text"]` {
			t.Error(got)
		}
		client.Emit("/", "fail", nil)
		client.Emit("/", "authenticate", map[string]string{"token": w.sign(jwt.MapClaims{"jti": "canary-2"})})
		client.Event("/", "authenticated")
		if got := client.Call("/", "echo", "").Raw; got != `431[""]` { // after a panic, too
			t.Error(got)
		}
		err := w.revocations.Add(context.Background(), socketiojwt.Revocation{TokenID: "canary-2", Until: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		client.Rest()
		w.connect(version, "canary")
		spans := w.eventually(
			"socket.io connect: / session",
			"socket.io event echo: / echo session", "look up: ",
			"socket.io event fail: / fail session, panic",
			"socket.io refresh: / session",
			"socket.io event echo: / echo session", "look up: ",
			"socket.io end: invalid_token session, jwt revoked",
			"socket.io unauthorized: / invalid_token, jwt revoked",
			"socket.io unauthorized: / invalid_token, jwt malformed",
		)

		sessions := make(map[string]bool)
		byID := make(map[string]string)
		for _, span := range spans {
			if _, session := show(span); session != "" {
				sessions[session] = true
			}
			byID[span.SpanContext.SpanID().String()] = span.Name
			if text := fmt.Sprintf("%+v", span); strings.Contains(text, "canary") || strings.Contains(text, "eyJhbGci") || strings.Contains(text, "127.0.0.1") {
				t.Errorf("a span tells too much: %s", text)
			}
		}
		if len(sessions) != 1 {
			t.Errorf("one session has the ids %v", sessions)
		}
		for _, span := range spans {
			parent := byID[span.Parent.SpanID().String()]
			if want := map[bool]string{true: "socket.io event echo"}[span.Name == "look up"]; parent != want {
				t.Errorf("%s is in %q, want %q", span.Name, parent, want)
			}
		}
	}
}

// A client cannot choose the trace.
func TestTraceparentOfAClientDoesNotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
	c := siotest.MustDial(t, w.url, siotest.Options{
		Transport: "websocket", Query: url.Values{"token": {w.sign(jwt.MapClaims{})}},
		Header: map[string][]string{"Traceparent": {"00-" + theirs + "-00f067aa0ba902b7-01"}},
	})
	c.Must(t).Call("/", "echo", "")
	for _, span := range w.eventually("socket.io connect: / session", "socket.io event echo: / echo session", "look up: ") {
		if span.SpanContext.TraceID().String() == theirs {
			t.Errorf("%s is in the trace of a client", span.Name)
		}
	}
}

func TestSpansOfRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		exporter := tracetest.NewInMemoryExporter()
		hooks := newTracing(sdk.NewTracerProvider(sdk.WithSyncer(exporter))).hooks(socketiojwt.Options{})
		for range 3 {
			for range 100 {
				hooks.OnUnauthorized(&socketiojwt.Request{}, &socketiojwt.UnauthorizedError{Code: "invalid_token"})
			}
			time.Sleep(time.Second) // of the bubble's clock
		}
		if n := len(exporter.GetSpans()); n != 3*refusalsPerSecond {
			t.Errorf("%d spans of 300 refusals in three seconds", n)
		}
	})
}
