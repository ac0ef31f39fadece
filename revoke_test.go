package socketiojwt_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

func revoke(t *testing.T, m socketiojwt.Revocations, r socketiojwt.Revocation) {
	t.Helper()
	if r.Until.IsZero() {
		r.Until = time.Now().Add(time.Hour)
	}
	if err := m.Add(context.Background(), r); err != nil {
		t.Fatal(err)
	}
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, handshake bool, transport string) {
		synctest.Test(t, func(t *testing.T) {
			list := socketiojwt.NewMemoryRevocations()
			s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Handshake: handshake, Revocations: list}, nil)
			time.Sleep(time.Minute)
			token := func(claims jwt.MapClaims) string {
				all := jwt.MapClaims{"sub": "bob", "iat": time.Now().Unix()}
				for name, value := range claims {
					all[name] = value
				}
				return harness.SignHS256(t, all)
			}
			refused := func(raw, message string) {
				t.Helper()
				o := siotest.Options{Transport: transport}
				if handshake {
					o.Query = harness.WithToken(raw)
				}
				_, must := s.Dial(t, o)
				if !handshake {
					must.NextRaw("40")
					must.Emit("/", "authenticate", map[string]string{"token": raw})
				}
				rest := must.Rest()
				if handshake {
					harness.Expect(t, rest, "44"+harness.Refusal("invalid_token", message), "41")
					return
				}
				ended(t, rest, "invalid_token", message)
			}

			one, two := token(jwt.MapClaims{"jti": "one"}), token(jwt.MapClaims{"jti": "two"})
			number := token(jwt.MapClaims{"jti": 3, "sub": 7})
			_, mustOne := s.Enter(t, handshake, transport, one)
			c2, mustTwo := s.Enter(t, handshake, transport, two)
			_, mustNumber := s.Enter(t, handshake, transport, number)
			synctest.Wait() // a handshake's CONNECT is sent before the client is in

			revoke(t, list, socketiojwt.Revocation{TokenID: "one"})
			ended(t, mustOne.Rest(), "invalid_token", "jwt revoked")
			refused(one, "jwt revoked")
			revoke(t, list, socketiojwt.Revocation{TokenID: "3", Reason: &socketiojwt.UnauthorizedError{Code: "bye", Message: "logged out"}})
			ended(t, mustNumber.Rest(), "bye", "logged out")
			refused(number, "jwt revoked")

			// A refresh on a revoked token is refused, and leaves the session as it was.
			mustTwo.Emit("/", "authenticate", map[string]string{"token": one})
			harness.Unauthorized(t, mustTwo.Event("/", "unauthorized"), "invalid_token", "jwt revoked")

			time.Sleep(2 * time.Second)
			newer := token(nil)
			time.Sleep(2 * time.Second)
			// All that were issued up to now, but not what another subject has.
			_, mustEve := s.Enter(t, handshake, transport, token(jwt.MapClaims{"sub": "eve"}))
			synctest.Wait()
			revoke(t, list, socketiojwt.Revocation{Subject: "bob"})
			ended(t, mustTwo.Rest(), "invalid_token", "jwt revoked")
			<-c2.Done()
			refused(newer, "jwt revoked")
			refused(harness.SignHS256(t, jwt.MapClaims{"sub": "bob"}), "jwt revoked")
			time.Sleep(time.Second)
			_, mustAgain := s.Enter(t, handshake, transport, token(nil))
			synctest.Wait()

			// A session that was refreshed goes by its newer token.
			revoke(t, list, socketiojwt.Revocation{Subject: "bob", IssuedBefore: time.Now().Add(-time.Second)})
			mustAgain.Emit("/", "authenticate", map[string]string{"token": token(jwt.MapClaims{"jti": "four"})})
			mustAgain.NextRaw(`42["authenticated"]`)
			revoke(t, list, socketiojwt.Revocation{TokenID: "two"})
			revoke(t, list, socketiojwt.Revocation{TokenID: "four"})
			ended(t, mustAgain.Rest(), "invalid_token", "jwt revoked")

			if n := s.Auth.DisconnectSubject("eve", &socketiojwt.UnauthorizedError{Code: "kicked"}); n != 1 {
				t.Errorf("%d sessions of eve", n)
			}
			ended(t, mustEve.Rest(), "kicked", "unauthorized")

			refused(token(jwt.MapClaims{"jti": []int{1}}), "jwt malformed")
			synctest.Wait()
			if stats := s.Auth.Stats(); stats.Revoked != 4 || stats.Disconnected != 1 || stats.Active != 0 {
				t.Errorf("stats %+v", stats)
			}
		})
	})
}

// The `jti` is found in claims of any type.
func TestRevocationOfCustomClaims(t *testing.T) {
	t.Parallel()
	for name, newClaims := range map[string]func() jwt.Claims{
		"registered": func() jwt.Claims { return &jwt.RegisteredClaims{} },
		"pointer":    func() jwt.Claims { return &jwt.MapClaims{} },
	} {
		t.Run(name, func(t *testing.T) {
			list := socketiojwt.NewMemoryRevocations()
			s := harness.Start(t, socketiojwt.Options{Revocations: list, NewClaims: newClaims}, nil)
			raw := harness.SignHS256(t, jwt.MapClaims{"sub": "bob", "jti": "one"})
			_, must := s.Enter(t, false, "websocket", raw)
			for session := range s.Auth.Sessions() {
				if session.TokenID() != "one" {
					t.Errorf("token id %q", session.TokenID())
				}
			}
			revoke(t, list, socketiojwt.Revocation{TokenID: "one"})
			ended(t, must.Rest(), "invalid_token", "jwt revoked")
		})
	}
}

// touchyClaims panic when they are asked when they were issued, which only revocations do.
type touchyClaims struct{ jwt.RegisteredClaims }

func (touchyClaims) GetIssuedAt() (*jwt.NumericDate, error) { panic("a bug") }

func TestRevocationOfClaimsThatPanic(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, socketiojwt.Options{
		Revocations: socketiojwt.NewMemoryRevocations(),
		NewClaims:   func() jwt.Claims { return &touchyClaims{} },
	}, nil)
	_, must := s.Dial(t, siotest.Options{Transport: "websocket"})
	must.NextRaw("40")
	must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
	ended(t, must.Rest(), "unauthorized", "unauthorized")
}

// lameRevocations cannot say.
type lameRevocations struct {
	socketiojwt.Revocations
	answer func() (bool, error)
}

func (l lameRevocations) Revoked(context.Context, *jwt.RegisteredClaims) (bool, error) {
	return l.answer()
}

func TestRevocationsThatFail(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func() (bool, error){
		"error": func() (bool, error) { return false, errors.New("internal: no connection") },
		"panic": func() (bool, error) { panic("internal: a bug") },
		"stuck": func() (bool, error) { select {} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if name == "stuck" { // and is abandoned, but a bubble has to end
					stop := make(chan struct{})
					defer close(stop)
					answer = func() (bool, error) { <-stop; return false, nil }
				}
				s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Handshake: true, Revocations: lameRevocations{socketiojwt.NewMemoryRevocations(), answer}}, nil)
				_, must := s.Dial(t, siotest.Options{Query: harness.WithToken(harness.TokenOf(t, "bob"))})
				// No 41: the client comes back.
				harness.Expect(t, must.Rest(), "44"+harness.Refusal("server_busy", "server busy"))
			})
		})
	}
}

// A token that is revoked between its check and the moment its session can be found does not
// make a session.
func TestRevokedWhileItIsAccepted(t *testing.T) {
	t.Parallel()
	list := socketiojwt.NewMemoryRevocations()
	s := harness.Start(t, socketiojwt.Options{
		Handshake:   true,
		Revocations: list,
		Accept: func(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
			revoke(t, list, socketiojwt.Revocation{Subject: "somebody else"})
			if sub, _ := token.Claims.GetSubject(); sub == "bob" {
				revoke(t, list, socketiojwt.Revocation{Subject: "bob"})
			}
			return nil, nil
		},
	}, func(s *harness.App) {
		s.OnConnect("/", func(c socketio.Conn) error {
			if session, _ := s.Auth.Session(c); session.Subject() == "bob" {
				t.Error("bob is in")
			}
			return nil
		})
	})
	_, must := s.Dial(t, siotest.Options{Query: harness.WithToken(harness.TokenOf(t, "bob"))})
	rest := must.Rest()
	harness.Expect(t, rest[len(rest)-2:], "44"+harness.Refusal("invalid_token", "jwt revoked"), "41")
	_, must = s.Dial(t, siotest.Options{Query: harness.WithToken(harness.TokenOf(t, "eve"))})
	must.NextRaw("40")
}

func TestMemoryRevocations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := socketiojwt.NewMemoryRevocations()
		now := time.Now()
		for _, wrong := range []struct {
			socketiojwt.Revocation
			want string
		}{
			{socketiojwt.Revocation{Until: now}, "socketiojwt: Revocation: set TokenID, SID, Subject or Identity; without one nothing is revoked, and a token that has none of them cannot be"},
			{socketiojwt.Revocation{TokenID: "x", Subject: "y", Until: now}, "socketiojwt: Revocation: TokenID and Subject are both set; revoke them one by one"},
			{socketiojwt.Revocation{TokenID: "x"}, "socketiojwt: Revocation: set Until to when the last token it concerns has expired"},
			{socketiojwt.Revocation{TokenID: "x", SessionsOnly: true, Until: now}, "socketiojwt: Revocation: SessionsOnly needs SID, Subject or Identity"},
		} {
			if err := list.Add(context.Background(), wrong.Revocation); err == nil || err.Error() != wrong.want {
				t.Errorf("got %v, want %s", err, wrong.want)
			}
		}

		revoked := func(claims jwt.RegisteredClaims) bool {
			yes, err := list.Revoked(context.Background(), &claims)
			return yes || err != nil
		}
		at := func(d time.Duration) *jwt.NumericDate { return jwt.NewNumericDate(now.Add(d)) }
		revoke(t, list, socketiojwt.Revocation{TokenID: "a", Until: now.Add(time.Minute)})
		revoke(t, list, socketiojwt.Revocation{Subject: "bob", Until: now.Add(time.Minute)})
		revoke(t, list, socketiojwt.Revocation{Subject: "bob", IssuedBefore: now.Add(-time.Hour), Until: now.Add(time.Second)})
		revoke(t, list, socketiojwt.Revocation{Subject: "eve", SessionsOnly: true})
		for _, test := range []struct {
			jwt.RegisteredClaims
			want bool
		}{
			{jwt.RegisteredClaims{ID: "a"}, true},
			{jwt.RegisteredClaims{ID: "b"}, false},
			{jwt.RegisteredClaims{}, false},
			{jwt.RegisteredClaims{Subject: "a", ID: "bob"}, false},
			{jwt.RegisteredClaims{Subject: "bob"}, true},
			{jwt.RegisteredClaims{Subject: "bob", IssuedAt: at(0)}, true},
			{jwt.RegisteredClaims{Subject: "bob", IssuedAt: at(-time.Minute)}, true},
			{jwt.RegisteredClaims{Subject: "bob", IssuedAt: at(time.Second)}, true}, // it is yet to come
			{jwt.RegisteredClaims{Subject: "eve", IssuedAt: at(-time.Minute)}, false},
		} {
			if got := revoked(test.RegisteredClaims); got != test.want {
				t.Errorf("%+v: revoked %v", test.RegisteredClaims, got)
			}
		}
		if n := len(slices.Collect(list.All())); n != 2 {
			t.Errorf("%d are kept", n)
		}
		time.Sleep(2 * time.Second)
		if revoked(jwt.RegisteredClaims{Subject: "bob", IssuedAt: at(time.Second)}) {
			t.Error("a token that was issued later is revoked")
		}
		if !revoked(jwt.RegisteredClaims{Subject: "bob"}) {
			t.Error("a shorter revocation cuts the longer one short")
		}
		revoke(t, list, socketiojwt.Revocation{TokenID: "a", Until: now.Add(2 * time.Minute)})
		revoke(t, list, socketiojwt.Revocation{TokenID: "a", Until: now.Add(5 * time.Second)})
		time.Sleep(time.Minute)
		if revoked(jwt.RegisteredClaims{Subject: "bob"}) || !revoked(jwt.RegisteredClaims{ID: "a"}) {
			t.Error("each is kept until its own time")
		}
		if all := slices.Collect(list.All()); len(all) != 1 || all[0].TokenID != "a" {
			t.Errorf("kept: %+v", all)
		}
		time.Sleep(time.Minute)
		if n := len(slices.Collect(list.All())); n != 0 {
			t.Errorf("%d are kept for ever", n)
		}
	})
}

// What expires at the same time is not forgotten by one caller, who would wait for it, and is over all
// the same.
func TestMuchIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const many, atOnce = 3500, 1000
		list := socketiojwt.NewMemoryRevocations()
		until := time.Now().Add(time.Minute)
		for i := range many {
			revoke(t, list, socketiojwt.Revocation{TokenID: fmt.Sprint(i), Until: until})
		}
		time.Sleep(time.Minute)
		for i := range many {
			before := list.Kept()
			if revoked, err := list.Revoked(context.Background(), &jwt.RegisteredClaims{ID: fmt.Sprint(i)}); revoked || err != nil {
				t.Fatalf("token %d: revoked %v, %v", i, revoked, err)
			}
			if n := before - list.Kept(); n > atOnce {
				t.Fatalf("one caller forgets %d", n)
			}
			if i == 0 {
				if n := len(slices.Collect(list.All())); n != 0 {
					t.Errorf("%d that are over are listed", n)
				}
			}
		}
		if n := list.Kept(); n != 0 {
			t.Errorf("%d are kept for ever", n)
		}
	})
}

// Clients get in while others are revoked all the time. Who is meant is checked again, but no
// longer than Timeout.
func TestRevocationsThatNeverCease(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sub  string
		want string
	}{
		"of others": {"eve", `["authenticated"]`},
		"of bob":    {"bob", `"code":"server_busy"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := slowRevocations{socketiojwt.NewMemoryRevocations()}
				s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Revocations: list, Timeout: time.Second}, nil)
				defer harness.Meanwhile(1, func() {
					<-time.After(time.Millisecond)
					revoke(t, list, socketiojwt.Revocation{Subject: test.sub})
				})()
				c, must := s.Dial(t, siotest.Options{Transport: "websocket"})
				defer c.Close()
				must.NextRaw("40")
				began := time.Now()
				must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "bob")})
				p := must.Next()
				if took := time.Since(began); !strings.Contains(p.Raw, test.want) || took > 1100*time.Millisecond {
					t.Errorf("got %s after %v", p.Raw, took)
				}
			})
		})
	}
}

// Trouble with Revocations does not use up the attempts of who tries to stay.
func TestRefreshWhileRevocationsAreAway(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	s := harness.Start(t, socketiojwt.Options{MaxAttempts: 2, Revocations: lameRevocations{socketiojwt.NewMemoryRevocations(), func() (bool, error) {
		if away.Load() {
			return false, errors.New("no connection")
		}
		return false, nil
	}}}, nil)
	token := map[string]string{"token": harness.TokenOf(t, "bob")}
	c, must := s.Enter(t, false, "websocket", token["token"])
	away.Store(true)
	for range 3 {
		must.Emit("/", "authenticate", token)
		harness.Unauthorized(t, must.Next(), "server_busy", "server busy")
	}
	away.Store(false)
	must.Emit("/", "authenticate", token)
	must.NextRaw(`42["authenticated"]`)
	c.Close()
}

// The clock of an issuer may be ahead: what was used before a subject is revoked was issued before, and
// what says that it will be issued is too.
func TestRevocationAndAClockThatIsAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		list := socketiojwt.NewMemoryRevocations()
		s := harness.StartAt(t, harness.InMemory(t), socketiojwt.Options{Handshake: true, Revocations: list}, harness.Chat)
		token := func(ahead time.Duration) string {
			return harness.SignHS256(t, jwt.MapClaims{"sub": "bob", "iat": time.Now().Add(ahead).Unix(), "exp": time.Now().Add(time.Hour).Unix()})
		}
		enter := func(token string) siotest.Must {
			_, must := s.Dial(t, siotest.Options{Transport: "websocket", Query: harness.WithToken(token)})
			return must
		}
		must := enter(token(30 * time.Second))
		must.Event("/", "welcome")
		unused := token(30 * time.Second)
		time.Sleep(time.Second)
		if err := list.Add(t.Context(), socketiojwt.Revocation{Subject: "bob", Until: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		harness.Unauthorized(t, must.Event("/", "unauthorized"), "invalid_token", "jwt revoked")
		must.NextRaw("41")
		enter(unused).NextRaw("44" + harness.Refusal("invalid_token", "jwt revoked"))
		time.Sleep(2 * time.Second)
		enter(token(0)).Event("/", "welcome")
		enter(token(10 * time.Second)).NextRaw("44" + harness.Refusal("invalid_token", "jwt revoked")) // nobody can tell
		time.Sleep(time.Minute)
		enter(token(time.Second)).Event("/", "welcome") // no clock is that far ahead
		enter(token(2 * time.Minute)).NextRaw("44" + harness.Refusal("invalid_token", "jwt revoked"))
	})
}
