package main

import (
	"sync"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	socketio "github.com/googollee/go-socket.io"
	"golang.org/x/time/rate"
)

// limits bound how often each user may do something, whatever the number of sockets, tabs and
// devices: burst times at once, and once in every after that. They are of one node.
type limits struct {
	every time.Duration
	burst int

	mu    sync.Mutex
	users map[string]*user // by Session.Identity
}

type user struct {
	*rate.Limiter
	sockets int
}

func newLimits(every time.Duration, burst int) *limits {
	return &limits{every: every, burst: burst, users: make(map[string]*user)}
}

// join counts a socket of a user. leave has to follow.
func (l *limits) join(identity string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[identity]
	if u == nil {
		u = &user{Limiter: rate.NewLimiter(rate.Every(l.every), l.burst)}
		l.users[identity] = u
	}
	u.sockets++
}

// leave forgets a user whose last socket it was, once the limiter is as a new one would be. At once
// would be wrong: who comes back would have the burst again.
func (l *limits) leave(identity string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[identity]
	if u.sockets--; u.sockets > 0 {
		return
	}
	missing := float64(l.burst) - u.Tokens()
	full := time.Duration(missing*float64(l.every)) + time.Millisecond
	time.AfterFunc(full, func() { l.forget(identity, u) })
}

func (l *limits) forget(identity string, u *user) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users[identity] == u && u.sockets == 0 && u.Tokens() >= float64(l.burst) { // else the user came back meanwhile
		delete(l.users, identity)
	}
}

// allow reports whether a user may do it once more, now.
func (l *limits) allow(identity string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[identity]
	return u != nil && u.Allow()
}

// limited makes a handler of one that runs as often as limits let its user. Other events are
// dropped, and acknowledged with tooMany.
func limited[Arg, Answer any](l *limits, auth *socketiojwt.Authorizer, handler func(socketio.Conn, Arg) Answer, tooMany Answer) func(socketio.Conn, Arg) Answer {
	return func(s socketio.Conn, arg Arg) Answer {
		session, ok := auth.Session(s)
		if !ok || !l.allow(session.Identity()) {
			return tooMany
		}
		return handler(s, arg)
	}
}
