// Package control is what every server that is measured offers besides its sockets.
package control

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof" // for a look at where a peer spends its time
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
)

// Server is how a server is asked for what is no part of its protocol.
type Server struct {
	Clients       func() int // connections it has
	Authenticated func() int // connections it has verified a token of, since it started
	Broadcast     func(text string)
}

// Run serves http.DefaultServeMux on a free port of 127.0.0.1. It prints {"url": ...} once it
// listens, and runs until the process is killed.
func Run(s Server) {
	http.HandleFunc("POST /gc", collect)
	http.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]int{"clients": s.Clients(), "authenticated": s.Authenticated()})
	})
	http.HandleFunc("POST /broadcast", func(_ http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		for range n {
			s.Broadcast(r.FormValue("text"))
		}
	})
	fatal := log.New(os.Stderr, os.Args[0]+": ", 0)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fatal.Fatal(err)
	}
	fmt.Printf("{\"url\": \"http://%s\"}\n", listener.Addr())
	fatal.Fatal(http.Serve(listener, nil))
}

// collect frees what can be freed and tells what is left, as bench/server does.
func collect(w http.ResponseWriter, _ *http.Request) {
	runtime.GC() // twice: what has a finalizer, or is in a sync.Pool
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_ = json.NewEncoder(w).Encode(map[string]uint64{"heap": m.HeapAlloc + m.StackInuse})
}
