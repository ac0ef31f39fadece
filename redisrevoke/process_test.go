//go:build unix

package redisrevoke_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/go-socketiojwt/socketiojwt/redisrevoke"
	"github.com/golang-jwt/jwt/v5"
	"github.com/gomodule/redigo/redis"
	"go.uber.org/goleak"
)

// Nodes that are processes of their own.

const nodeEnv = "REDISREVOKE_TEST_NODE"

// runNode is the process: a server that revokes what it is told to, until its standard
// input ends. It fails if a goroutine is left.
func runNode(addr string) {
	log.SetOutput(os.Stderr)
	n, err := newNode(redisrevoke.Options{
		Dial: func(ctx context.Context) (redis.Conn, error) { return redis.DialContext(ctx, "tcp", addr) },
	})
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = n.sio.Serve()
	}()
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", n.sio)
	mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
		err := n.Add(r.Context(), lasting(socketiojwt.Revocation{TokenID: r.FormValue("jti"), Subject: r.FormValue("sub")}))
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(listener) }()
	fmt.Println("http://" + listener.Addr().String())

	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := n.sio.Close(); err != nil {
		log.Fatal(err)
	}
	<-served
	_ = server.Close()
	if err := n.Close(); err != nil {
		log.Fatal(err)
	}
	if err := goleak.Find(); err != nil {
		log.Fatal(err)
	}
}

// process is a node to those who talk to it.
type process struct{ url string }

func startProcess(tb testing.TB, s *server) *process {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), nodeEnv+"="+s.Addr())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			tb.Error("the node ended badly: ", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		tb.Fatal("the node did not start: ", err)
	}
	return &process{url: strings.TrimSpace(line)}
}

// revoke returns whether the node says that all know.
func (p *process) revoke(form url.Values) (bool, error) {
	response, err := http.PostForm(p.url+"/revoke", form)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode == http.StatusOK, nil
}

// try presents a token and returns the first packet.
func (p *process) try(raw string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := siotest.Dial(ctx, p.url, siotest.Options{Query: url.Values{"token": {raw}}})
	if err != nil {
		return "", err
	}
	defer c.Close()
	first, err := c.Next(ctx)
	return first.Raw, err
}

// ready waits until the node lets good tokens in.
func (p *process) ready(tb testing.TB) {
	tb.Helper()
	good := sign(tb, jwt.MapClaims{"sub": "ready"})
	eventually(tb, "the node accepts new tokens", func() bool {
		first, err := p.try(good)
		return err == nil && first == "40"
	})
}

func twoProcesses(tb testing.TB, s *server) (a, b *process) {
	tb.Helper()
	a, b = startProcess(tb, s), startProcess(tb, s)
	a.ready(tb)
	b.ready(tb)
	return a, b
}

// A revocation on one process ends the session on another: how long that takes.
func TestHowSoon(t *testing.T) {
	s := startRedis(t, forgets)
	a, b := twoProcesses(t, s)
	took := make([]time.Duration, 100)
	for i := range took {
		id := fmt.Sprint("token ", i)
		token := sign(t, jwt.MapClaims{"sub": "bob", "jti": id})
		_, must := enter(t, b.url, token)
		began := time.Now()
		if known, err := a.revoke(url.Values{"jti": {id}}); err != nil || !known {
			t.Fatalf("known %v, %v", known, err)
		}
		ended(t, must, "invalid_token")
		took[i] = time.Since(began)
		if first, err := b.try(token); err != nil || first != "44"+saysRevoked {
			t.Fatalf("the token got %s, %v", first, err)
		}
	}
	slices.Sort(took)
	t.Logf("from the request to revoke on one node to the end of the connection on the other, %d times: median %v, 90%% %v, worst %v",
		len(took), took[len(took)/2], took[len(took)*9/10], took[len(took)-1])
}

// While Redis is killed, paused, emptied and restarted, no token is accepted by either node
// once it is revoked, and no client that is connected with a good one loses its connection.
func TestChaos(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: chaos takes 10 s")
	}
	for name, args := range map[string][]string{"Redis keeps its data": keeps, "Redis loses its data": forgets} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chaos(t, startRedis(t, args))
		})
	}
}

func chaos(t *testing.T, s *server) {
	pause := func() { time.Sleep(5 * time.Millisecond) } // without one the tries take all there is of the machine
	a, b := twoProcesses(t, s)
	nodes := []*process{a, b}
	var honest []siotest.Must
	for i := range 10 {
		_, must := enter(t, nodes[i%2].url, sign(t, jwt.MapClaims{"sub": fmt.Sprint("honest ", i)}))
		honest = append(honest, must)
	}

	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var mu sync.Mutex
	var revoked []string // tokens
	var accepted, refused, busy atomic.Int64

	// Revokes tokens, also while Redis is away, and tries each at once.
	for i, n := range nodes {
		other := nodes[1-i]
		running.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				pause()
				id := fmt.Sprint(i, "-", k)
				token := sign(t, jwt.MapClaims{"sub": "revoked", "jti": id})
				known, err := n.revoke(url.Values{"jti": {id}})
				if err != nil {
					t.Error(err)
					return
				}
				judge(t, n, token, &refused, &busy) // this node in any case
				if !known {
					continue
				}
				judge(t, other, token, &refused, &busy)
				mu.Lock()
				revoked = append(revoked, token)
				mu.Unlock()
			}
		})
	}
	// Tries those of before again.
	running.Go(func() {
		for ctx.Err() == nil {
			pause()
			mu.Lock()
			var token string
			if n := len(revoked); n > 0 {
				token = revoked[rand.N(n)]
			}
			mu.Unlock()
			if token == "" {
				continue
			}
			judge(t, nodes[rand.N(2)], token, &refused, &busy)
		}
	})
	// Good tokens are let in whenever Redis can be asked.
	running.Go(func() {
		good := sign(t, jwt.MapClaims{"sub": "good"})
		for ctx.Err() == nil {
			pause()
			switch first, err := nodes[rand.N(2)].try(good); {
			case err != nil:
				t.Error(err)
				return
			case first == "40":
				accepted.Add(1)
			case first != "44"+saysBusy:
				t.Error("a good token got ", first)
			}
		}
	})

	for _, harm := range []struct {
		name string
		do   func()
	}{
		{"kill and start", s.Restart},
		{"pause for long", func() { s.Pause(); time.Sleep(2500 * time.Millisecond); s.Resume() }},
		{"kill, start, kill, start", func() { s.Restart(); s.Restart() }},
		{"pause shortly", func() { s.Pause(); time.Sleep(100 * time.Millisecond); s.Resume() }},
		{"close connections", func() { s.Do("CLIENT", "KILL", "TYPE", "normal") }},
		{"away for a while", func() { s.Kill(); time.Sleep(2 * time.Second); s.Start() }},
		{"pause and kill", func() { s.Pause(); s.Restart() }},
		{"empty", func() { s.Do("FLUSHALL") }},
	} {
		before := accepted.Load()
		harm.do()
		eventually(t, "good tokens are let in again after "+harm.name, func() bool { return accepted.Load() > before+10 })
	}
	// A node that starts now knows it all.
	late := startProcess(t, s)
	late.ready(t)
	mu.Lock()
	all := slices.Clone(revoked)
	mu.Unlock()
	stop()
	running.Wait()
	for _, token := range all[:min(len(all), 200)] {
		judge(t, late, token, &refused, &busy)
	}
	for _, must := range honest {
		alive(t, must)
	}
	t.Logf("%d tokens revoked; %d times a revoked token was refused as such and %d times as server_busy; %d good tokens were let in",
		len(all), refused.Load(), busy.Load(), accepted.Load())
}

// judge presents a revoked token.
func judge(tb testing.TB, n *process, token string, refused, busy *atomic.Int64) {
	switch first, err := n.try(token); {
	case err != nil:
		tb.Error(err)
	case first == "44"+saysRevoked:
		refused.Add(1)
	case first == "44"+saysBusy:
		busy.Add(1)
	default:
		tb.Errorf("a revoked token got %s", first)
	}
}
