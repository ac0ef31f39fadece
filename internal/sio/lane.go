package sio

import "sync"

// lane runs functions one after another, in a goroutine that lives only while there are some. All
// that a connection makes the application's code do passes through its lane, in order.
type lane struct {
	mu      sync.Mutex
	queue   []func()
	running bool
}

func (l *lane) run(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, f)
	if !l.running {
		l.running = true
		go l.loop()
	}
}

func (l *lane) loop() {
	done := false
	defer func() {
		if !done {
			go l.loop() // f ended its goroutine, as (*testing.T).Fatal does
		}
	}()
	for {
		f := l.next()
		if f == nil {
			done = true
			return
		}
		f()
	}
}

func (l *lane) next() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.queue, l.running = nil, false
		return nil
	}
	f := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	return f
}
