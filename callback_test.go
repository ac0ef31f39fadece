package socketiojwt_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/golang-jwt/jwt/v5"
)

// Callbacks that do not return are bounded in number, and who comes then is told to come back.
func TestCallbacksThatNeverReturn(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*socketiojwt.Options, func()){
		"Secret": func(o *socketiojwt.Options, forever func()) {
			o.Secret = socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
				forever()
				return nil, nil
			})
		},
		"Accept": func(o *socketiojwt.Options, forever func()) {
			o.Accept = func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) { forever(); return nil, nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				opts := socketiojwt.Options{Handshake: true, MaxPending: 120}
				set(&opts, func() { <-release })
				s := harness.StartAt(t, harness.InMemory(t), opts, nil)
				enter := func() string {
					w := httptest.NewRecorder()
					s.ServeHTTP(w, httptest.NewRequest("GET", "/socket.io/?EIO=3&transport=polling&token="+harness.TokenOf(t, "bob"), nil))
					return w.Body.String()
				}
				before := harness.InBubble()
				var all sync.WaitGroup
				for range 500 {
					all.Go(func() { enter() })
				}
				all.Wait() // 5 seconds
				if n := harness.InBubble() - before; n > 125 {
					t.Errorf("%d goroutines are left", n)
				}
				if got := enter(); !strings.Contains(got, `"code":"server_busy"`) {
					t.Errorf("one too many is told %s", got)
				}
				close(release)
				synctest.Wait()
				if n := harness.InBubble() - before; n > 0 {
					t.Errorf("%d goroutines are left in the end", n)
				}
			})
		})
	}
}

// What a failed callback means for the client: whether it may come back.
func TestCallbacksThatFail(t *testing.T) {
	t.Parallel()
	late := fmt.Errorf("users: %w", context.DeadlineExceeded)
	for name, test := range map[string]struct {
		secret, accept error
		want           string
		retryable      bool
	}{
		"Secret: there is no key":       {secret: fmt.Errorf("kid x: %w", socketiojwt.ErrKeyNotFound), want: `{"message":"invalid signature","code":"invalid_token","type":"UnauthorizedError"}`},
		"Secret: out of reach":          {secret: errors.New("internal"), want: `{"message":"secret unavailable","code":"invalid_secret","type":"UnauthorizedError"}`, retryable: true},
		"Secret: too late":              {secret: late, want: `{"message":"secret unavailable","code":"invalid_secret","type":"UnauthorizedError"}`, retryable: true},
		"Accept: no":                    {accept: errors.New("internal"), want: `{"message":"unauthorized","code":"unauthorized","type":"UnauthorizedError"}`},
		"Accept: too late":              {accept: late, want: `{"message":"server busy","code":"server_busy","type":"UnauthorizedError"}`, retryable: true},
		"Accept: its own, not for good": {accept: &socketiojwt.UnauthorizedError{Code: "later", Message: "in a minute", Retryable: true}, want: `{"message":"in a minute","code":"later","type":"UnauthorizedError"}`, retryable: true},
		"Accept: its own, wrapped":      {accept: fmt.Errorf("x: %w", &socketiojwt.UnauthorizedError{Code: "later", Retryable: true}), want: `{"message":"unauthorized","code":"later","type":"UnauthorizedError"}`, retryable: true},
		"Accept: its own, for good":     {accept: &socketiojwt.UnauthorizedError{Code: "banned"}, want: `{"message":"unauthorized","code":"banned","type":"UnauthorizedError"}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tellings := make(chan *socketiojwt.UnauthorizedError, 10)
				s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
					Handshake: true,
					Timeout:   200 * time.Millisecond,
					Secret: socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
						return []byte(harness.Secret), test.secret
					}),
					Accept:         func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) { return nil, test.accept },
					OnUnauthorized: func(_ *socketiojwt.Request, err *socketiojwt.UnauthorizedError) { tellings <- err },
				}, nil)
				w := httptest.NewRecorder()
				s.ServeHTTP(w, httptest.NewRequest("GET", "/socket.io/?EIO=3&transport=polling&token="+harness.TokenOf(t, "bob"), nil))
				if got := w.Body.String(); !strings.Contains(got, "44"+test.want) || strings.Contains(got, "2:41") == test.retryable {
					t.Errorf("EIO=3 is told %s", got)
				}
				cause := test.secret
				if cause == nil {
					cause = test.accept
				}
				if told := <-tellings; told.Retryable != test.retryable || !errors.Is(told.Err, cause) {
					t.Errorf("OnUnauthorized is told %#v", told)
				}

				must := harness.Dial4(t, s, "websocket")
				must.JoinWith("/", harness.Auth{"token": harness.TokenOf(t, "bob")})
				if !test.retryable {
					must.Refused("/")
				} else {
					must.Closed() // without a word, which would be the last
				}

				middleware := httptest.NewRecorder()
				r := httptest.NewRequest("GET", "/api", nil)
				r.Header.Set("Authorization", "Bearer "+harness.TokenOf(t, "bob"))
				s.Auth.Middleware(http.NotFoundHandler()).ServeHTTP(middleware, r)
				if got := middleware.Code == http.StatusServiceUnavailable; got != test.retryable {
					t.Errorf("Middleware answers %d", middleware.Code)
				}
			})
		})
	}
}

// One host cannot have all the callbacks that may run: in a handshake of a client 1.x or 2.x anybody makes Secret run,
// with any token.
func TestCallbacksOfOneHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, oneHostTakesAllCallbacks)
}

func oneHostTakesAllCallbacks(t *testing.T) {
	const most = 200
	hold := make(chan struct{})
	auth := harness.Authorize(t, socketiojwt.Options{
		Handshake: true, MaxPending: most,
		Secret: socketiojwt.SecretFunc(func(ctx context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
			if sub, _ := token.Claims.GetSubject(); sub == "eve" {
				select {
				case <-hold:
				case <-ctx.Done():
				}
			}
			return []byte(harness.Secret), nil
		}),
	})
	gate := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") }))
	ask := func(remote, token string) string {
		r, _ := http.NewRequest(http.MethodGet, "http://x/socket.io/?EIO=3&transport=polling&token="+token, http.NoBody)
		r.RemoteAddr = remote
		w := &recorder{header: http.Header{}}
		gate.ServeHTTP(w, r)
		return w.body.String()
	}
	var group sync.WaitGroup
	eve := harness.TokenOf(t, "eve")
	for range 2 * most {
		group.Go(func() { ask("192.0.2.1:1", eve) })
	}
	synctest.Wait() // eve has what she can have
	if got := ask("192.0.2.1:1", harness.TokenOf(t, "bob")); !strings.Contains(got, "server_busy") {
		t.Errorf("her host got %s", got)
	}
	if got := ask("198.51.100.1:1", harness.TokenOf(t, "bob")); got != "in" {
		t.Errorf("another host got %s", got)
	}
	close(hold)
	group.Wait()
}

type recorder struct {
	header http.Header
	body   strings.Builder
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

func TestCallbacksDecideWhatTheClientIsTold(t *testing.T) {
	t.Parallel()
	typedNil := func() error { var e *socketiojwt.UnauthorizedError; return e }
	custom := func(code, message string) error {
		return fmt.Errorf("wrapped: %w", &socketiojwt.UnauthorizedError{Code: code, Message: message})
	}
	for name, tc := range map[string]struct {
		err                error
		fromSecret, fromAc error
		logged             bool
	}{
		"both":         {custom("banned", "go away"), refusal("banned", "go away"), refusal("banned", "go away"), false},
		"code only":    {custom("banned", ""), refusal("banned", "secret unavailable"), refusal("banned", "unauthorized"), false},
		"message only": {custom("", "go away"), refusal("invalid_secret", "go away"), refusal("unauthorized", "go away"), false},
		"neither":      {custom("", ""), secretUnavailable, notAccepted, false},
		"typed nil":    {typedNil(), secretUnavailable, notAccepted, true},
		"wrapped nil":  {fmt.Errorf("wrapped: %w", typedNil()), secretUnavailable, notAccepted, true},
		"other":        {errors.New("internal text"), secretUnavailable, notAccepted, true},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			raw := harness.SignHS256(t, jwt.MapClaims{})
			fail := func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) { return "user", tc.err }
			_, err := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.SecretFunc(fail), Logger: logger(&log)}).Verify(t.Context(), testRequest, raw)
			checkRefusal(t, err, tc.fromSecret)
			_, err = harness.Authorize(t, socketiojwt.Options{Accept: fail, Logger: logger(&log)}).Verify(t.Context(), testRequest, raw)
			checkRefusal(t, err, tc.fromAc)
			if logged := log.Len() > 0; logged != tc.logged {
				t.Errorf("logged = %v: %s", logged, &log)
			}
			if e := new(socketiojwt.UnauthorizedError); errors.As(tc.err, &e) && e != nil && errors.As(err, new(*socketiojwt.UnauthorizedError)) && err == error(e) {
				t.Error("the refusal is the callback's own error, which it may change later")
			}
			text, _ := json.Marshal(err)
			if strings.Contains(string(text), "internal") {
				t.Errorf("the client is told %s", text)
			}
		})
	}
}

func TestAcceptIsAskedOnlyAboutGoodTokensAndMayPanic(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	calls := 0
	a := harness.Authorize(t, socketiojwt.Options{Logger: logger(&log), Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
		calls++
		panic("alice")
	}})
	for raw, want := range map[string]error{
		harness.SignHS256(t, jwt.MapClaims{"exp": 1}):                                        tokenRefusal("jwt expired"),
		harness.Sign(t, jwt.SigningMethodHS256, []byte("other"), jwt.MapClaims{}):            tokenRefusal("invalid signature"),
		harness.Sign(t, jwt.SigningMethodHS512, []byte(harness.Secret), jwt.MapClaims{}):     notAccepted,
		harness.Sign(t, jwt.SigningMethodRS256, harness.Keys().RSA, jwt.MapClaims{"a": "b"}): tokenRefusal("invalid algorithm"),
	} {
		_, err := a.Verify(t.Context(), testRequest, raw)
		checkRefusal(t, err, want)
	}
	if calls != 1 {
		t.Errorf("Accept was called %d times, want 1", calls)
	}
	if got := log.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "stack=") || strings.Contains(got, "alice") {
		t.Errorf("log: %s", got)
	}
}

func TestVerificationEndsWithItsContext(t *testing.T) {
	t.Parallel()
	forever := func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
		time.Sleep(time.Hour)
		return harness.Secret, nil
	}
	for name, tc := range map[string]struct {
		opts socketiojwt.Options
		want error
	}{
		"Secret":  {socketiojwt.Options{Secret: socketiojwt.SecretFunc(forever)}, secretUnavailable},
		"Keyfunc": {socketiojwt.Options{Secret: socketiojwt.Keyfunc(func(*jwt.Token) (any, error) { return forever(nil, nil, nil) })}, secretUnavailable},
		"Accept":  {socketiojwt.Options{Accept: forever}, &socketiojwt.UnauthorizedError{Code: "server_busy", Message: "server busy"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				tc.opts.Logger = logger(&log)
				a := harness.Authorize(t, tc.opts)
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				_, err := a.Verify(ctx, testRequest, harness.SignHS256(t, jwt.MapClaims{}))
				checkRefusal(t, err, tc.want)
				if d := time.Since(start); d != 5*time.Second {
					t.Errorf("took %v", d)
				}
				if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(log.String(), "deadline exceeded") {
					t.Errorf("got %v, log: %s", errors.Unwrap(err), &log)
				}
				time.Sleep(2 * time.Hour) // the abandoned callback ends, and nobody minds
			})
		})
	}
}

func TestCallbacksAreNotStartedAfterTheEnd(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	called := func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
		t.Error("called")
		return harness.Secret, nil
	}
	raw := harness.SignHS256(t, jwt.MapClaims{})
	_, err := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.SecretFunc(called)}).Verify(ctx, testRequest, raw)
	checkRefusal(t, err, secretUnavailable)
	_, err = harness.Authorize(t, socketiojwt.Options{Accept: called}).Verify(ctx, testRequest, raw)
	checkRefusal(t, err, notAccepted)
}
