package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	gorilla "github.com/gorilla/websocket"
)

// socket is a client over WebSocket that does as little as it can: it shares the CPUs with the
// server that is measured.
type socket struct {
	dialect
	conn    *gorilla.Conn
	writing sync.Mutex
	asked   atomic.Int64

	came, news, answers chan struct{}
	leaving             chan struct{} // closed when nobody reads the others any more
	leave               func()        // closes it
	done                chan struct{} // closed when the connection has ended, and err says why
	err                 error

	pinging sync.Mutex
	pinger  *time.Timer // nil: the server pings, or has not said how often it wants to hear of us
	ended   bool        // no more timers
}

// dialect is what a server speaks over its WebSocket.
type dialect interface {
	path() string
	greeting() string // sent first, if not empty
	receive(s *socket, frame []byte) error
	question(id int64, event string, argument any) ([]byte, error) // id counts from 1
}

func dialSocket(ctx context.Context, server string, d dialect) (*socket, error) {
	ctx, cancel := context.WithTimeout(ctx, siotest.DefaultTimeout)
	defer cancel()
	dialer := gorilla.Dialer{ReadBufferSize: 1024, WriteBufferSize: 512}
	conn, answer, err := dialer.DialContext(ctx, "ws"+strings.TrimPrefix(server, "http")+d.path(), nil)
	if err != nil {
		if answer != nil {
			err = fmt.Errorf("%w: %s", err, answer.Status)
		}
		return nil, err
	}
	s := &socket{
		dialect: d, conn: conn, done: make(chan struct{}),
		came: make(chan struct{}, 1), news: make(chan struct{}, 64), answers: make(chan struct{}, window),
		leaving: make(chan struct{}),
	}
	s.leave = sync.OnceFunc(func() { close(s.leaving) })
	if greeting := d.greeting(); greeting != "" {
		if err := s.write([]byte(greeting)); err != nil {
			conn.Close()
			return nil, err
		}
	}
	go s.read()
	if err := s.wait(ctx, s.came); err != nil {
		s.Abort()
		return nil, err
	}
	return s, nil
}

func (s *socket) read() {
	defer close(s.done)
	defer s.conn.Close()
	defer s.pingEvery(0)
	var frame bytes.Buffer
	for {
		_, r, err := s.conn.NextReader()
		if err == nil {
			frame.Reset()
			_, err = frame.ReadFrom(r)
		}
		if err == nil {
			err = s.receive(s, frame.Bytes())
		}
		if err != nil {
			s.err = err
			return
		}
	}
}

func (s *socket) write(frame []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.conn.WriteMessage(gorilla.TextMessage, frame)
}

// pingEvery sends PING from now on; 0 ends that.
func (s *socket) pingEvery(d time.Duration) {
	s.pinging.Lock()
	defer s.pinging.Unlock()
	if s.pinger != nil {
		s.pinger.Stop()
	}
	if s.ended = s.ended || d <= 0; s.ended {
		return
	}
	s.pinger = time.AfterFunc(d, func() {
		_ = s.write([]byte("2")) // the reader learns of the end
		s.pingEvery(d)
	})
}

// wait waits for something that the reader tells of.
func (s *socket) wait(ctx context.Context, what <-chan struct{}) error {
	select {
	case <-what:
		return nil
	case <-s.done:
		select {
		case <-what: // it came before the end
			return nil
		default:
			return fmt.Errorf("the connection has ended: %w", s.err)
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tell is for the reader.
func (s *socket) tell(of chan<- struct{}) error {
	select {
	case of <- struct{}{}:
		return nil
	case <-s.leaving:
		return errors.New("the client has left")
	}
}

func (s *socket) hear(ctx context.Context) error   { return s.wait(ctx, s.news) }
func (s *socket) answer(ctx context.Context) error { return s.wait(ctx, s.answers) }

func (s *socket) ask(event string, argument any) error {
	question, err := s.question(s.asked.Add(1), event, argument)
	if err != nil {
		return err
	}
	return s.write(question)
}

// Close says goodbye as a browser does, and waits for the server's.
func (s *socket) Close() {
	goodbye := gorilla.FormatCloseMessage(gorilla.CloseNoStatusReceived, "")
	if s.conn.WriteControl(gorilla.CloseMessage, goodbye, time.Now().Add(time.Second)) == nil {
		select {
		case <-s.done:
		case <-time.After(2 * time.Second):
		}
	}
	s.Abort()
}

// Abort ends the TCP connection without a word.
func (s *socket) Abort() {
	s.leave()
	s.conn.Close()
	<-s.done
}

// socketIO is protocol 4 of Socket.IO over Engine.IO 3, or today's: 5 over 4.
type socketIO struct {
	today     bool
	token     string // "": none
	roundTrip bool   // it is in `authenticate`, not in the query
	refused   bool   // it is a bad one: to be told so is what the client comes for
}

func (d socketIO) path() string {
	query := url.Values{"EIO": {"3"}, "transport": {"websocket"}}
	if d.today {
		query.Set("EIO", "4")
	}
	if d.token != "" && !d.roundTrip {
		query.Set("token", d.token)
	}
	return "/socket.io/?" + query.Encode()
}

func (d socketIO) greeting() string { return "" }

func (d socketIO) receive(s *socket, frame []byte) error {
	is := func(prefix string) bool { return bytes.HasPrefix(frame, []byte(prefix)) }
	switch {
	case d.refused:
		if is("44") {
			return s.tell(s.came)
		}
		return nil
	case is(`42["news"`):
		return s.tell(s.news)
	case is("43"):
		return s.tell(s.answers)
	case is("0") && d.today:
		return s.write([]byte("40"))
	case is("2") && d.today:
		return s.write([]byte("3"))
	case is("0"):
		var open siotest.OpenPayload
		err := json.Unmarshal(frame[1:], &open)
		s.pingEvery(time.Duration(open.PingInterval) * time.Millisecond)
		return err
	case is("40") && d.roundTrip:
		authenticate, err := json.Marshal([]any{"authenticate", map[string]string{"token": d.token}})
		if err != nil {
			return err
		}
		return s.write(append([]byte("42"), authenticate...))
	case is("40"), is(`42["authenticated"`):
		return s.tell(s.came)
	case is("1"), is("41"), is("44"):
		return fmt.Errorf("the server says %.200q", frame)
	}
	return nil
}

func (d socketIO) question(id int64, event string, argument any) ([]byte, error) {
	data, err := json.Marshal([]any{event, argument})
	return fmt.Appendf(nil, "42%d%s", id, data), err
}

// centrifugeJSON is the JSON protocol of centrifuge.
type centrifugeJSON struct{ token string }

func (d centrifugeJSON) path() string { return "/connection/websocket" }

func (d centrifugeJSON) greeting() string {
	return `{"id":1,"connect":{"token":` + strconv.Quote(d.token) + `}}`
}

func (d centrifugeJSON) receive(s *socket, frame []byte) error {
	for line := range bytes.Lines(frame) {
		line = bytes.TrimSpace(line)
		is := func(prefix string) bool { return bytes.HasPrefix(line, []byte(prefix)) }
		has := func(member string) bool { return bytes.Contains(line, []byte(member)) }
		var err error
		switch {
		case string(line) == "{}":
			err = s.write(line) // a ping, and its answer
		case has(`"error":`), has(`"disconnect":`):
			err = fmt.Errorf("the server says %.200q", line)
		case is(`{"push":`) && has(`"pub":`):
			err = s.tell(s.news)
		case is(`{"id":1,`):
			err = s.tell(s.came)
		case is(`{"id":`):
			err = s.tell(s.answers)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d centrifugeJSON) question(id int64, event string, argument any) ([]byte, error) {
	data, err := json.Marshal(argument)
	return fmt.Appendf(nil, `{"id":%d,"rpc":{"method":%q,"data":%s}}`, id+1, event, data), err
}

// poller is a client that polls, or began so.
type poller struct{ *siotest.Client }

func dialPoller(ctx context.Context, p *process, transport string) (*poller, error) {
	o := siotest.Options{Transport: transport}
	if p.token != "" && !p.roundTrip {
		o.Query = url.Values{"token": {p.token}}
	}
	ctx, cancel := context.WithTimeout(ctx, siotest.DefaultTimeout)
	defer cancel()
	c, err := siotest.Dial(ctx, p.url, o)
	if err != nil {
		return nil, err
	}
	_, err = c.WaitType(ctx, "/", siotest.Connect)
	if err == nil && p.roundTrip {
		if err = c.Emit("/", "authenticate", map[string]string{"token": p.token}); err == nil {
			_, err = c.WaitEvent(ctx, "/", "authenticated")
		}
	}
	if err != nil {
		if c.Err() != nil {
			err = c.Err()
		}
		c.Abort()
		return nil, err
	}
	return &poller{c}, nil
}

func (c *poller) hear(ctx context.Context) error {
	_, err := c.WaitEvent(ctx, "/", "news")
	return err
}

func (c *poller) ask(event string, argument any) error {
	_, err := c.EmitAck("/", event, argument)
	return err
}

func (c *poller) answer(ctx context.Context) error {
	_, err := c.WaitType(ctx, "/", siotest.Ack)
	return err
}
