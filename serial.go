package socketiojwt

import "sync"

// serial runs functions one after another, in a goroutine that lives only while there
// are some. It keeps a connection's OnConnect, OnError and OnDisconnect in order and out
// of go-socket.io's goroutines, where they could deadlock (hazards 2, 20 and 22).
type serial struct {
	mu      sync.Mutex
	queue   []func()
	running bool
}

func (s *serial) run(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, f)
	if !s.running {
		s.running = true
		go s.loop()
	}
}

func (s *serial) loop() {
	done := false
	defer func() {
		if !done {
			go s.loop() // f ended its goroutine, as (*testing.T).Fatal does
		}
	}()
	for {
		f := s.next()
		if f == nil {
			done = true
			return
		}
		f()
	}
}

func (s *serial) next() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.queue, s.running = nil, false
		return nil
	}
	f := s.queue[0]
	s.queue = s.queue[1:]
	return f
}
