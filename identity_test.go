package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

// sessionOf verifies a token with these claims.
func sessionOf(t *testing.T, opts socketiojwt.Options, claims jwt.MapClaims) (*socketiojwt.Session, error) {
	t.Helper()
	return harness.Authorize(t, opts).Verify(context.Background(), &socketiojwt.Request{}, harness.SignHS256(t, claims))
}

func TestDefaultIdentity(t *testing.T) {
	t.Parallel()
	type m = jwt.MapClaims
	seen := make(map[string]int)
	for i, test := range []struct {
		claims m
		want   string
	}{
		{m{}, ""},
		{m{"iss": "a"}, ""},
		{m{"sub": "42"}, "42"},
		{m{"sub": 42}, "42"},
		{m{"iss": "https://id.example", "sub": "42"}, "https://id.example 42"},
		{m{"iss": 7, "sub": "42"}, "7 42"},
		{m{"iss": "a", "sub": "b c"}, "a b c"},
		{m{"iss": "a b", "sub": "c"}, "a%20b c"},
		{m{"iss": "a%20b", "sub": "c"}, "a%2520b c"},
		{m{"sub": "a b c"}, "a%20b%20c"},
		{m{"sub": "a%20b%20c"}, "a%2520b%2520c"},
	} {
		session, err := sessionOf(t, socketiojwt.Options{}, test.claims)
		if err != nil {
			t.Fatal(err)
		}
		got := session.Identity()
		if got != test.want {
			t.Errorf("%v: got %q, want %q", test.claims, got, test.want)
		}
		if other, twice := seen[got]; twice && got != "" && test.claims["sub"] != 42 {
			t.Errorf("%d and %d are the same user", i, other)
		}
		seen[got] = i
	}
	for _, claims := range []m{{"iss": []string{"a"}, "sub": "42"}, {"iss": map[string]any{}, "sub": "42"}} {
		_, err := sessionOf(t, socketiojwt.Options{}, claims)
		if !errors.Is(err, &socketiojwt.UnauthorizedError{Code: "invalid_token", Message: "jwt malformed"}) {
			t.Errorf("%v: got %v", claims, err)
		}
	}
}

// tenants is an Identity.
func tenants(token *jwt.Token) string {
	claims := token.Claims.(jwt.MapClaims)
	return fmt.Sprint(claims["tenant"], "/", claims["sub"])
}

// Tenant B's 42 cannot touch tenant A's 42: not by refresh, not by log-out, not in a room.
func TestIdentityOfYourOwn(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{true, false} {
		t.Run(fmt.Sprint("own=", own), func(t *testing.T) {
			t.Parallel()
			list := socketiojwt.NewMemoryRevocations()
			opts := socketiojwt.Options{
				Revocations: list,
				UserRoom:    func(s *socketiojwt.Session) string { return s.Identity() },
			}
			claim := "iss"
			if own {
				opts.Identity, claim = tenants, "tenant"
			}
			s := harness.Start(t, opts, func(s *harness.App) {
				s.OnEvent("/", "echo", func(_ socketio.Conn, text string) string { return text })
			})
			enter := func(tenant string) siotest.Must {
				_, must := s.Enter(t, false, "websocket", harness.SignHS256(t, jwt.MapClaims{"sub": "42", claim: tenant}))
				return must
			}
			a, b := enter("a"), enter("b")
			identities := make(map[string]string) // by the claim
			for session := range s.Auth.Sessions() {
				claims, _ := socketiojwt.ClaimsOf[jwt.MapClaims](session)
				identities[claims[claim].(string)] = session.Identity()
			}

			b.Emit("/", "authenticate", map[string]string{"token": harness.SignHS256(t, jwt.MapClaims{"sub": "42", claim: "a"})})
			harness.Unauthorized(t, b.Next(), "invalid_token", "jwt subject changed")
			if n := s.RoomLen("/", identities["a"]); n != 1 {
				t.Errorf("%d sockets are in the room", n)
			}
			s.BroadcastToRoom("/", identities["b"], "secret", "of b")
			b.NextRaw(`42["secret","of b"]`)

			n, err := s.Auth.DisconnectUser(context.Background(), identities["b"], nil)
			if n != 1 || err != nil {
				t.Errorf("%d ended, %v", n, err)
			}
			ended(t, b.Rest(), "unauthorized", "unauthorized")
			b = enter("b")
			revoke(t, list, socketiojwt.Revocation{Identity: identities["b"]})
			ended(t, b.Rest(), "invalid_token", "jwt revoked")
			_, b = s.Dial(t, siotest.Options{Transport: "websocket"})
			b.NextRaw("40")
			b.Emit("/", "authenticate", map[string]string{"token": harness.SignHS256(t, jwt.MapClaims{"sub": "42", claim: "b"})})
			harness.Unauthorized(t, b.Next(), "invalid_token", "jwt revoked")

			a.Call("/", "echo", "still here")
			enter("a")
		})
	}
}

func TestIdentityThatPanics(t *testing.T) {
	t.Parallel()
	var log siotest.Log
	_, err := sessionOf(t, socketiojwt.Options{
		Identity: func(token *jwt.Token) string { panic(token.Raw) },
		Logger:   slog.New(slog.NewTextHandler(&log, nil)),
	}, jwt.MapClaims{"sub": "bob"})
	if !errors.Is(err, &socketiojwt.UnauthorizedError{Code: "unauthorized", Message: "unauthorized"}) {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(log.String(), "callback=Identity") || strings.Contains(log.String(), "eyJ") {
		t.Errorf("the log says %s", log.String())
	}
}

// A session without identity is renewed by its own token only. One line says what to do.
func TestRefreshWithoutIdentity(t *testing.T) {
	t.Parallel()
	var log siotest.Log
	s := harness.Start(t, socketiojwt.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, nil)
	mine, other := harness.SignHS256(t, jwt.MapClaims{"id": 1}), harness.SignHS256(t, jwt.MapClaims{"id": 2})
	_, must := s.Enter(t, false, "websocket", mine)
	send := func(raw string) siotest.Packet {
		must.Emit("/", "authenticate", map[string]string{"token": raw})
		return must.Next()
	}
	for range 2 {
		for _, raw := range []string{other, harness.TokenOf(t, "bob")} {
			harness.Unauthorized(t, send(raw), "invalid_token", "jwt subject changed")
		}
		if p := send(mine); p.Raw != `42["authenticated"]` {
			t.Errorf("its own token: %s", p.Raw)
		}
	}
	if n := strings.Count(log.String(), "Options.Identity says"); n != 1 {
		t.Errorf("%d lines name Options.Identity:\n%s", n, log.String())
	}
}

// Who is concerned by a revocation, among tokens that are there and tokens that come.
func TestRevocationsAreNarrow(t *testing.T) {
	t.Parallel()
	tokens := map[string]jwt.MapClaims{
		"a":     {"iss": "x", "sub": "42", "jti": "1", "sid": "s"},
		"b":     {"iss": "y", "sub": "42", "jti": "1", "sid": "s"},
		"c":     {"iss": "x", "sub": "43", "jti": "2", "sid": "t"},
		"plain": {"sub": "42", "jti": "1", "sid": "s"},
	}
	for name, test := range map[string]struct {
		socketiojwt.Revocation
		want string
	}{
		"token":             {socketiojwt.Revocation{TokenID: "1"}, "[a b plain]"},
		"token of issuer":   {socketiojwt.Revocation{TokenID: "1", Issuer: "x"}, "[a]"},
		"sid":               {socketiojwt.Revocation{SID: "s"}, "[a b plain]"},
		"sid of issuer":     {socketiojwt.Revocation{SID: "s", Issuer: "y"}, "[b]"},
		"subject":           {socketiojwt.Revocation{Subject: "42"}, "[a b plain]"},
		"subject of issuer": {socketiojwt.Revocation{Subject: "42", Issuer: "x"}, "[a]"},
		"subject of nobody": {socketiojwt.Revocation{Subject: "42", Issuer: "z"}, "[]"},
		"identity":          {socketiojwt.Revocation{Identity: "x 42"}, "[a]"},
		"plain identity":    {socketiojwt.Revocation{Identity: "42"}, "[plain]"},
	} {
		for _, claims := range []func() jwt.Claims{nil, func() jwt.Claims { return &jwt.RegisteredClaims{} }} {
			t.Run(fmt.Sprint(name, "/typed=", claims != nil), func(t *testing.T) {
				t.Parallel()
				list := socketiojwt.NewMemoryRevocations()
				s := harness.Start(t, socketiojwt.Options{Revocations: list, NewClaims: claims}, nil)
				ending := make(map[string]siotest.Must)
				for name, claims := range tokens {
					_, ending[name] = s.Enter(t, false, "websocket", harness.SignHS256(t, claims))
				}
				revoke(t, list, test.Revocation)
				stay := make(map[string]bool)
				for session := range s.Auth.Sessions() {
					for name, claims := range tokens {
						stay[name] = stay[name] || harness.SignHS256(t, claims) == session.RawToken()
					}
				}
				var sessions, refused []string
				for name, claims := range tokens {
					if !stay[name] {
						sessions = append(sessions, name)
						ended(t, ending[name].Rest(), "invalid_token", "jwt revoked")
					}
					_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
					must.NextRaw("40")
					must.Emit("/", "authenticate", map[string]string{"token": harness.SignHS256(t, claims)})
					if must.Next().Raw != `42["authenticated"]` {
						refused = append(refused, name)
					}
				}
				slices.Sort(sessions)
				slices.Sort(refused)
				if got := fmt.Sprint(sessions); got != test.want {
					t.Errorf("sessions of %s ended, want %s", got, test.want)
				}
				if got := fmt.Sprint(refused); got != test.want {
					t.Errorf("tokens of %s are refused, want %s", got, test.want)
				}
			})
		}
	}
}

func TestRevocationsThatAreWrong(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(time.Hour)
	for want, wrong := range map[string]socketiojwt.Revocation{
		"SID and Subject are both set":      {SID: "a", Subject: "b", Until: until},
		"Subject and Identity are both set": {Subject: "a", Identity: "b", Until: until},
		"Issuer and Identity are both set":  {Issuer: "a", Identity: "b", Until: until},
		"ReplacedBy needs Identity":         {Subject: "a", SessionsOnly: true, ReplacedBy: "b", Until: until},
	} {
		err := socketiojwt.NewMemoryRevocations().Add(context.Background(), wrong)
		if err == nil || !strings.HasPrefix(err.Error(), "socketiojwt: Revocation: "+want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestSessionRevocation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		exp := time.Now().Add(time.Hour).Truncate(time.Second)
		leeway := socketiojwt.Options{ParserOptions: []jwt.ParserOption{jwt.WithLeeway(time.Minute)}}
		for _, test := range []struct {
			opts   socketiojwt.Options
			claims jwt.MapClaims
			want   socketiojwt.Revocation
		}{
			{leeway, jwt.MapClaims{"iss": "x", "jti": "1", "exp": exp.Unix()}, socketiojwt.Revocation{Issuer: "x", TokenID: "1", Until: exp.Add(time.Minute)}},
			{leeway, jwt.MapClaims{"jti": 1}, socketiojwt.Revocation{TokenID: "1", Until: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}},
			{ // a token that is good although it has expired is good for ever
				socketiojwt.Options{ParserOptions: []jwt.ParserOption{jwt.WithoutClaimsValidation()}},
				jwt.MapClaims{"jti": "1", "exp": 1},
				socketiojwt.Revocation{TokenID: "1", Until: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)},
			},
		} {
			session, err := sessionOf(t, test.opts, test.claims)
			if err != nil {
				t.Fatal(err)
			}
			got := session.Revocation()
			if !got.Until.Equal(test.want.Until) {
				t.Errorf("%v: until %v, want %v", test.claims, got.Until, test.want.Until)
			}
			got.Until, test.want.Until = time.Time{}, time.Time{}
			if got != test.want {
				t.Errorf("%v: got %+v, want %+v", test.claims, got, test.want)
			}
			revoke(t, socketiojwt.NewMemoryRevocations(), session.Revocation())
		}
		session, err := sessionOf(t, socketiojwt.Options{}, jwt.MapClaims{"sub": "bob"})
		if err != nil {
			t.Fatal(err)
		}
		if err := socketiojwt.NewMemoryRevocations().Add(context.Background(), session.Revocation()); err == nil {
			t.Error("a token without jti is revoked")
		}
	})
}

// End ends the session, on whichever of its tokens one has it, and not the one after it.
func TestSessionEnd(t *testing.T) {
	t.Parallel()
	sessions := make(chan *socketiojwt.Session, 9)
	s := harness.Start(t, socketiojwt.Options{OnAuthenticated: func(_ socketio.Conn, session *socketiojwt.Session) { sessions <- session }},
		func(s *harness.App) {
			s.OnConnect("/", func(socketio.Conn) error { return nil })
			s.OnEvent("/a", "x", func(socketio.Conn) {})
		}, "/a") // with a public root the connection survives
	_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	login := func() {
		must.Join("/a")
		must.NextRaw("40/a")
		must.Emit("/a", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
		must.NextRaw(`42/a,["authenticated"]`)
	}
	login()
	first := <-sessions
	must.Emit("/a", "authenticate", map[string]string{"token": harness.SignHS256(t, jwt.MapClaims{"sub": "bob", "jti": "newer"})})
	must.NextRaw(`42/a,["authenticated"]`)
	if !first.End(&socketiojwt.UnauthorizedError{Code: "bye", Message: "see you"}) {
		t.Error("the session had ended")
	}
	harness.Unauthorized(t, must.Next(), "bye", "see you")
	must.NextRaw("41/a")
	if first.End(nil) {
		t.Error("it ends twice")
	}
	login()
	second := <-sessions
	if first.End(nil) || first.ID() == second.ID() {
		t.Error("it is the session after it")
	}
	if !second.End(nil) {
		t.Error("the session had ended")
	}
	harness.Unauthorized(t, must.Next(), "unauthorized", "unauthorized")
}

func TestClaimsOf(t *testing.T) {
	t.Parallel()
	auth := harness.Authorize(t, socketiojwt.Options{})
	var ran bool
	handler := auth.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ran = true
		session, _ := socketiojwt.SessionFromContext(r.Context())
		if claims, ok := socketiojwt.ClaimsOf[jwt.MapClaims](session); !ok || claims["role"] != "editor" {
			t.Errorf("claims %v, %v", claims, ok)
		}
		if _, ok := socketiojwt.ClaimsOf[*jwt.RegisteredClaims](session); ok {
			t.Error("they are of every type")
		}
		if session.End(nil) || session.ID() != "" {
			t.Error("it has a connection")
		}
		session.Revocation()
	}))
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+harness.SignHS256(t, jwt.MapClaims{"role": "editor"}))
	handler.ServeHTTP(httptest.NewRecorder(), r)
	if !ran {
		t.Error("the request was refused")
	}
	if _, ok := socketiojwt.ClaimsOf[jwt.MapClaims](nil); ok {
		t.Error("nobody has claims")
	}
}

// brokenRevocations cannot tell other nodes.
type brokenRevocations struct{ *socketiojwt.MemoryRevocations }

func (brokenRevocations) Add(context.Context, socketiojwt.Revocation) error {
	return errors.New("no connection")
}

func TestDisconnectUserThatOthersDoNotHearOf(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{Revocations: brokenRevocations{socketiojwt.NewMemoryRevocations()}}, nil)
	_, must := s.Enter(t, false, "websocket", harness.TokenOf(t, "bob"))
	n, err := s.Auth.DisconnectUser(context.Background(), "bob", nil)
	if n != 1 || err == nil || err.Error() != "socketiojwt: DisconnectUser: other nodes may not know: no connection" {
		t.Errorf("%d ended, %v", n, err)
	}
	ended(t, must.Rest(), "unauthorized", "unauthorized")
	if n, err := s.Auth.DisconnectUser(context.Background(), "", nil); n != 0 || err == nil {
		t.Errorf("nobody: %d ended, %v", n, err)
	}
}

// OnEnded tells whose session ended, and why, once; not when the client leaves.
func TestOnEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		list := socketiojwt.NewMemoryRevocations()
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
			Revocations: list,
			OnEnded: func(session *socketiojwt.Session, err *socketiojwt.UnauthorizedError) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, session.Subject()+": "+err.Error())
			},
		}, func(s *harness.App) {
			s.OnEvent("/a", "x", func(socketio.Conn) {})
		})
		c, _ := s.Enter(t, false, "websocket", harness.TokenOf(t, "leaves"))
		c.Close()
		for _, sub := range []string{"ended", "kicked", "revoked"} {
			_, must := s.Enter(t, false, "websocket", harness.TokenOf(t, sub))
			must.Join("/a")
			must.NextRaw("40/a")
		}
		s.Enter(t, false, "websocket", harness.TokenFor(t, "expires", time.Minute))
		for session := range s.Auth.Sessions() {
			if session.Subject() == "ended" {
				session.End(nil)
			}
		}
		_, _ = s.Auth.DisconnectUser(context.Background(), "kicked", &socketiojwt.UnauthorizedError{Code: "kicked"})
		revoke(t, list, socketiojwt.Revocation{Subject: "revoked"})
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(told)
		want := "[ended: unauthorized: unauthorized expires: invalid_token: jwt expired kicked: kicked: unauthorized revoked: invalid_token: jwt revoked]"
		if got := fmt.Sprint(told); got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	})
}

// A socket that a newer token lets in is told of as authenticated, and not as refreshed.
func TestOnRefreshedOfANewcomer(t *testing.T) {
	t.Parallel()
	for _, handshake := range []bool{true, false} {
		told := make(chan string, 9)
		s := harness.Start(t, socketiojwt.Options{
			Handshake: handshake,
			OnAuthenticated: func(c socketio.Conn, session *socketiojwt.Session) {
				told <- c.Namespace() + " in on " + session.TokenID()
			},
			OnRefreshed: func(c socketio.Conn, before, after *socketiojwt.Session) {
				told <- fmt.Sprint(c.Namespace(), " ", before.TokenID(), ">", after.TokenID())
			},
		}, func(s *harness.App) {
			for _, nsp := range []string{"/", "/a"} {
				s.OnEvent(nsp, "echo", func(socketio.Conn) string { return "" })
			}
		})
		_, must := s.Dial(t, siotest.Options{Version: 4, Transport: "websocket"})
		for i, nsp := range []string{"/", "/a"} {
			must.JoinWith(nsp, map[string]string{"token": harness.SignHS256(t, jwt.MapClaims{"sub": "bob", "jti": i})})
			must.Connected(nsp)
			must.Call(nsp, "echo")
		}
		must.Call("/", "echo")
		close(told)
		got := slices.Sorted(func(yield func(string) bool) {
			for line := range told {
				if !yield(line) {
					return
				}
			}
		})
		if want := "[/ 0>1 / in on 0 /a in on 1]"; fmt.Sprint(got) != want {
			t.Errorf("handshake=%v: told %v, want %v", handshake, got, want)
		}
	}
}

// A client that sends token after token does not get further ahead of OnRefreshed than one.
func TestSlowOnRefreshed(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		synctest.Test(t, func(t *testing.T) {
			var told atomic.Int64
			s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{
				OnRefreshed: func(socketio.Conn, *socketiojwt.Session, *socketiojwt.Session) {
					told.Add(1)
					time.Sleep(time.Minute)
				},
			}, nil)
			_, must := s.Dial(t, siotest.Options{Version: version, Transport: "websocket"})
			if version == 4 {
				must.Join("/")
			}
			must.Connected("/")
			for range 10 {
				must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
			}
			for range 3 {
				time.Sleep(time.Minute)
				synctest.Wait()
				if stats := s.Auth.Stats(); int64(stats.Refreshed) > told.Load()+1 {
					t.Errorf("%d were refreshed, %d were told of", stats.Refreshed, told.Load())
				}
			}
			time.Sleep(time.Hour)
			if n := told.Load(); n != 9 {
				t.Errorf("%d were told of", n)
			}
		})
	}
}

// Each newer token is told of for each socket, in order, and moves the sockets to their room.
func TestOnRefreshed(t *testing.T) {
	t.Parallel()
	told := make(chan string, 99)
	var log siotest.Log
	s := harness.Start(t, socketiojwt.Options{
		UserRoom: func(session *socketiojwt.Session) string { return session.TokenID() },
		OnRefreshed: func(c socketio.Conn, before, after *socketiojwt.Session) {
			if before.ID() != after.ID() || before.ID() == "" {
				t.Error("the session has another ID")
			}
			told <- fmt.Sprintf("%s %s>%s %v", c.Namespace(), before.TokenID(), after.TokenID(), c.Rooms()[1:])
		},
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, func(s *harness.App) {
		for _, nsp := range []string{"/", "/a", "/refused"} {
			s.OnConnect(nsp, func(c socketio.Conn) error {
				if c.Namespace() == "/refused" {
					return errors.New("not here")
				}
				return nil
			})
			s.OnEvent(nsp, "echo", func(c socketio.Conn) string { told <- c.Namespace() + " event"; return "" })
		}
	})
	token := func(id int) map[string]string {
		return map[string]string{"token": harness.SignHS256(t, jwt.MapClaims{"sub": "bob", "jti": id})}
	}
	_, must := s.Enter(t, false, "websocket", token(0)["token"])
	must.Join("/a")
	must.NextRaw("40/a")
	must.Join("/refused")
	for must.Next().Raw != "41/refused" {
	}
	for id := 1; id <= 3; id++ {
		must.Emit("/", "authenticate", token(id))
	}
	must.Emit("/", "echo")
	for id := 1; id <= 3; id++ {
		for _, nsp := range []string{"/", "/a"} {
			if got, want := <-told, fmt.Sprintf("%s %d>%d [%d]", nsp, id-1, id, id); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	if got := <-told; got != "/ event" {
		t.Errorf("got %q", got)
	}
	if n, old := s.RoomLen("/a", "3"), s.RoomLen("/a", "2"); n != 1 || old != 0 {
		t.Errorf("%d in the new room, %d in the old one", n, old)
	}
	if stats := s.Auth.Stats(); stats.Refreshed != 3 || stats.Authenticated != 1 {
		t.Errorf("stats %+v", stats)
	}
	if n := strings.Count(log.String(), "socketiojwt: refreshed"); n != 6 {
		t.Errorf("%d lines", n)
	}
}
