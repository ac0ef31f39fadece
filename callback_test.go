package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/golang-jwt/jwt/v5"
)

// Callbacks that do not return are bounded in number, and who comes then is told to come back.
func TestCallbacksThatNeverReturn(t *testing.T) {
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
				s := startAt(t, inMemory(t), opts, nil)
				enter := func() string {
					w := httptest.NewRecorder()
					s.ServeHTTP(w, httptest.NewRequest("GET", "/socket.io/?EIO=3&transport=polling&token="+tokenOf(t, "bob"), nil))
					return w.Body.String()
				}
				before := inBubble()
				var all sync.WaitGroup
				for range 500 {
					all.Go(func() { enter() })
				}
				all.Wait() // 5 seconds
				if n := inBubble() - before; n > 125 {
					t.Errorf("%d goroutines are left", n)
				}
				if got := enter(); !strings.Contains(got, `"code":"server_busy"`) {
					t.Errorf("one too many is told %s", got)
				}
				close(release)
				synctest.Wait()
				if n := inBubble() - before; n > 0 {
					t.Errorf("%d goroutines are left in the end", n)
				}
			})
		})
	}
}

// What a failed callback means for the client: whether it may come back.
func TestCallbacksThatFail(t *testing.T) {
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
			tellings := make(chan *socketiojwt.UnauthorizedError, 10)
			s := start(t, socketiojwt.Options{
				Handshake: true,
				Timeout:   200 * time.Millisecond,
				Secret: socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
					return []byte(testSecret), test.secret
				}),
				Accept:         func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) { return nil, test.accept },
				OnUnauthorized: func(_ *socketiojwt.Request, err *socketiojwt.UnauthorizedError) { tellings <- err },
			}, nil)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest("GET", "/socket.io/?EIO=3&transport=polling&token="+tokenOf(t, "bob"), nil))
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

			must := dial5(t, s, "websocket")
			must.JoinWith("/", auth{"token": tokenOf(t, "bob")})
			if !test.retryable {
				must.Refused("/")
			} else {
				must.Closed() // without a word, which would be the last
			}

			middleware := httptest.NewRecorder()
			r := httptest.NewRequest("GET", "/api", nil)
			r.Header.Set("Authorization", "Bearer "+tokenOf(t, "bob"))
			s.auth.Middleware(http.NotFoundHandler()).ServeHTTP(middleware, r)
			if got := middleware.Code == http.StatusServiceUnavailable; got != test.retryable {
				t.Errorf("Middleware answers %d", middleware.Code)
			}
		})
	}
}
