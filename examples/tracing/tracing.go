package main

import (
	"context"

	"github.com/go-socketiojwt/socketiojwt"
	socketio "github.com/googollee/go-socket.io"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

// refusalsPerSecond bounds the spans that strangers cause: they can be refused as often as they
// like. Authorizer.Stats counts all of them.
const refusalsPerSecond = 10

// tracing makes spans of what clients do. No token, claim or address is in them. What belongs to
// one session has its ID in common, which is random and no credential.
type tracing struct {
	trace.Tracer
	refusals *rate.Limiter
}

func newTracing(provider trace.TracerProvider) *tracing {
	return &tracing{provider.Tracer("socketio"), rate.NewLimiter(refusalsPerSecond, refusalsPerSecond)}
}

// hooks returns options that make spans. Hooks that are set already would be lost.
func (t *tracing) hooks(o socketiojwt.Options) socketiojwt.Options {
	o.OnAuthenticated = func(s socketio.Conn, session *socketiojwt.Session) {
		t.note("socket.io connect", nil, sessionID(session), namespace(s.Namespace()))
	}
	o.OnRefreshed = func(s socketio.Conn, _, session *socketiojwt.Session) {
		t.note("socket.io refresh", nil, sessionID(session), namespace(s.Namespace()))
	}
	// An end by expiry, revocation or Disconnect, which OnUnauthorized is told of, too.
	o.OnEnded = func(session *socketiojwt.Session, err *socketiojwt.UnauthorizedError) {
		t.note("socket.io end", err, sessionID(session))
	}
	o.OnUnauthorized = func(r *socketiojwt.Request, err *socketiojwt.UnauthorizedError) {
		if t.refusals.Allow() {
			t.note("socket.io unauthorized", err, namespace(r.Namespace))
		}
	}
	return o
}

// note makes a span of what has happened already.
func (t *tracing) note(name string, err *socketiojwt.UnauthorizedError, attributes ...attribute.KeyValue) {
	// A trace of its own: whoever may send a `traceparent` would choose what is recorded.
	_, span := t.Start(context.Background(), name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attributes...))
	if err != nil {
		span.SetAttributes(attribute.String("error.type", err.Code))
		span.SetStatus(codes.Error, err.Message)
	}
	span.End()
}

// traced makes a handler of one that has a context, in which the span of the event is.
func traced[Arg, Answer any](t *tracing, auth *socketiojwt.Authorizer, event string, handler func(context.Context, socketio.Conn, Arg) Answer) func(socketio.Conn, Arg) Answer {
	return func(s socketio.Conn, arg Arg) Answer {
		attributes := []attribute.KeyValue{attribute.String("socketio.event", event), namespace(s.Namespace())}
		if session, ok := auth.Session(s); ok { // a guest has none
			attributes = append(attributes, sessionID(session))
		}
		ctx, span := t.Start(context.Background(), "socket.io event "+event, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attributes...))
		panicked := true
		defer func() {
			if panicked {
				span.SetStatus(codes.Error, "panic")
			}
			span.End()
		}()
		answer := handler(ctx, s, arg)
		panicked = false
		return answer
	}
}

func sessionID(session *socketiojwt.Session) attribute.KeyValue {
	return attribute.String("session.id", session.ID())
}

func namespace(name string) attribute.KeyValue { return attribute.String("socketio.namespace", name) }
