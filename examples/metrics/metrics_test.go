package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/servetest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const testSecret = "canary: a secret of 32 bytes or more"

func sign(t *testing.T, key string, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"sub": "canary-subject", "name": "canary-name", "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

type world struct {
	*testing.T
	url string
}

func (w world) dial(token string) (*siotest.Client, siotest.Must) {
	w.Helper()
	c := siotest.MustDial(w, w.url, siotest.Options{Transport: "websocket", Query: url.Values{"token": {token}}})
	return c, c.Must(w)
}

// metrics returns what Prometheus would see, without the comments.
func (w world) metrics() string {
	w.Helper()
	response, err := http.Get(w.url + "/metrics")
	if err != nil {
		w.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		w.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// eventually waits until all of these lines are there.
func (w world) eventually(lines ...string) string {
	w.Helper()
	for end := time.Now().Add(siotest.DefaultTimeout); ; {
		page := w.metrics()
		missing := ""
		for _, line := range lines {
			if !strings.Contains("\n"+page, "\n"+line+"\n") {
				missing = line
			}
		}
		if missing == "" {
			return page
		}
		if time.Now().After(end) {
			w.Fatalf("no %s in\n%s", missing, page)
		}
	}
}

func TestMetrics(t *testing.T) {
	var log siotest.Log
	list := socketiojwt.NewMemoryRevocations()
	sio, handler, err := newServer(socketiojwt.Options{
		Secret:      socketiojwt.StaticSecret(testSecret),
		Revocations: list,
		Logger:      slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := world{t, servetest.Start(t, sio, handler)}
	w.eventually("socketiojwt_sessions 0", "socketiojwt_pending_sockets 0", "socketiojwt_authenticated_total 0", "socketiojwt_refreshed_total 0",
		`socketiojwt_sessions_ended_total{reason="disconnected"} 0`, `socketiojwt_sessions_ended_total{reason="expired"} 0`, `socketiojwt_sessions_ended_total{reason="revoked"} 0`)

	waiting, _ := w.dial("")
	w.eventually("socketiojwt_pending_sockets 1", "socketiojwt_sessions 0")
	waiting.Close()

	authenticate := func(must siotest.Must, raw string) {
		must.Emit("/", "authenticate", map[string]string{"token": raw})
	}
	enter := func(claims jwt.MapClaims) siotest.Must {
		_, must := w.dial("")
		authenticate(must, sign(t, testSecret, claims))
		must.Event("/", "authenticated")
		return must
	}
	authenticate(enter(nil), sign(t, testSecret, nil))
	w.eventually("socketiojwt_sessions 1", "socketiojwt_authenticated_total 1", "socketiojwt_refreshed_total 1")

	revoked := enter(jwt.MapClaims{"jti": "canary-id"})
	if err := list.Add(context.Background(), socketiojwt.Revocation{TokenID: "canary-id", Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	revoked.Rest()
	enter(jwt.MapClaims{"exp": time.Now().Add(3 * time.Second).Unix()}).Rest()
	enter(nil).Send(`42["canary",{"canary":]`)

	_, must := w.dial("")
	authenticate(must, "canary")
	must.Rest()
	early, must := w.dial("")
	must.Emit("/", "canary", "canary")
	w.eventually("socketiojwt_early_events_total 1")
	early.Close()

	page := w.eventually(
		"socketiojwt_sessions 1", "socketiojwt_pending_sockets 0", "socketiojwt_authenticated_total 4", "socketiojwt_refreshed_total 1",
		`socketiojwt_sessions_ended_total{reason="revoked"} 1`, `socketiojwt_sessions_ended_total{reason="expired"} 1`,
		`socketiojwt_refused_total{by="",code="invalid_token",message="jwt malformed"} 1`, "socketiojwt_early_events_total 1",
		`socketiojwt_packets_refused_total{reason="malformed JSON"} 1`,
	)
	for what, text := range map[string]string{"the page": page, "the log": log.String()} {
		if strings.Contains(text, "canary") || strings.Contains(text, "eyJ") || text == "" {
			t.Errorf("%s: %s", what, text)
		}
	}
}

// The dashboard and the rules ask for what there is.
func TestDashboardAndAlerts(t *testing.T) {
	names := make(map[string]bool)
	for _, desc := range allDescs {
		names[regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(desc.String())[1]] = true
	}
	for _, file := range []string{"dashboard.json", "alerts.yml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(text) {
			t.Errorf("%s is no JSON", file)
		}
		asked := regexp.MustCompile(`socketiojwt_[a-z_]+`).FindAllString(string(text), -1)
		if len(asked) == 0 {
			t.Errorf("%s asks for nothing", file)
		}
		for _, name := range asked {
			if !names[name] {
				t.Errorf("%s asks for %s, which is not there", file, name)
			}
		}
	}
}

// Names, help and types are as Prometheus recommends.
func TestMetricsLint(t *testing.T) {
	auth, err := socketiojwt.Authorize(socketiojwt.Options{Secret: socketiojwt.StaticSecret(testSecret)})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.CollectAndLint(collector{auth})
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
