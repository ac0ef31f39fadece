package socketiojwt

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

const (
	defaultTimeout       = 5 * time.Second
	defaultQueryParam    = "token"
	defaultMaxTokenBytes = 8 << 10
	defaultMaxAttempts   = 5
	defaultMaxPending    = 10_000
)

// Options says how clients are authenticated. Only Secret is required. The zero value of every
// other field is the safe choice. [Authorize] checks Options and takes a copy, so later changes
// have no effect.
type Options struct {
	// Secret finds the key that verifies a token: [StaticSecret], a [SecretFunc], a [Keyfunc], or
	// an implementation of your own. Required, there is no default.
	Secret Secret

	// Handshake is true to take the token from the `auth` option of clients 3.x and 4.x, or from
	// the request that opens the connection (its Authorization header, query or cookie). With
	// false, which is the round trip, anybody may connect and then has Timeout to send an
	// `authenticate` event with the token; a token in `auth` is taken for the first such event.
	// Default: false, as in socketio-jwt.
	Handshake bool

	// Timeout is how long a socket may stay unauthenticated in the round trip, how long a
	// connection of a client 3.x or 4.x may be without an admitted socket, and how long Secret,
	// Revocations and Accept may take together in either mode. Negative values are an error.
	// Default: 0, which means 5 seconds.
	Timeout time.Duration

	// Optional lets clients without a token stay as guests: they have no session until they send
	// `authenticate`. A bad token is refused all the same. Default: false, a token is required.
	Optional bool

	// HeaderRequired takes the token of a handshake from `Authorization: Bearer` only, because
	// queries end up in logs. A token in `auth` does not count either. Browsers cannot set that
	// header on a WebSocket. Not to be combined with QueryParam or Cookie. Default: false.
	HeaderRequired bool

	// QueryParam is the query parameter that may carry the token of a handshake. The header goes
	// before it. Default: "", which means "token".
	QueryParam string

	// Cookie is the name of a cookie that may carry the token, in either mode. The header, the
	// query and the `authenticate` event go before it. Browsers add cookies to requests that other
	// sites make. So the cookie counts only if the request is from a page of the server's own host
	// or of AllowedOrigins, going by the Origin header, or is not from a page of another site at
	// all. Set the cookie HttpOnly, Secure and SameSite. Default: "", no cookie.
	Cookie string

	// AllowedOrigins are the origins, such as "https://app.example.com" or "http://localhost:3000",
	// whose pages may use the Cookie besides the pages of the server's own host. There are no
	// wildcards. It needs Cookie. Default: nil, the own host only.
	AllowedOrigins []string

	// Methods are the `alg` values that a token may have, such as "RS256". An algorithm is used
	// only with keys that are made for it, listed or not, and `none` is never used. Default: nil,
	// which means all algorithms that fit the type of the key.
	Methods []string

	// ParserOptions are golang-jwt's: jwt.WithAudience, jwt.WithIssuer, jwt.WithLeeway,
	// jwt.WithExpirationRequired and so on. Default: nil, which means that `exp` and `nbf` are
	// checked where a token has them.
	ParserOptions []jwt.ParserOption

	// NewClaims returns a new value that the claims of a token are decoded into: a pointer, or a
	// jwt.MapClaims. encoding/json takes a claim "Sub" for the field of `sub`, so a token with a
	// registered name in another case is refused; only in jwt.MapClaims such a name is a claim of
	// its own. NewClaims and the methods of the claims are waited for when they block, unlike
	// Accept. Default: nil, which means jwt.MapClaims{}.
	NewClaims func() jwt.Claims

	// Accept decides about a token whose signature and claims are good. It may load the user, which
	// [Session.User] then returns, or refuse the client by an error. An *UnauthorizedError decides
	// what the client is told. Any other error and a panic are logged, and the client is told
	// `unauthorized`. ctx ends when the client may wait no longer; an Accept that goes on after
	// that is abandoned. Default: nil, which means that every good token is accepted.
	Accept func(ctx context.Context, r *Request, token *jwt.Token) (user any, err error)

	// AcceptNamespace decides which protected namespaces a session opens. It is called for each one
	// that the client joins, and again when the client joins it once more, before the socket is
	// admitted. It is not called for a newer token. Its errors are those of Accept, and ctx lasts
	// for Timeout. Default: nil, which means that a session opens all namespaces.
	AcceptNamespace func(ctx context.Context, s *Session, namespace string) error

	// Identity names the user of a verified token. Two tokens with the same name are of the same
	// user: one may take the place of the other on a connection, and [Authorizer.DisconnectUser]
	// and SingleSession go by the name. "" is nobody: a session without identity is renewed by its
	// own token only. Identity is called for each token, and should not block. After a panic the
	// client is told `unauthorized`. Default: nil, which means the `iss`, a space, and the `sub`
	// (the `sub` alone where there is no `iss`; "" without `sub`). In the first part a space is
	// written %20 and a percent sign %25.
	Identity func(token *jwt.Token) string

	// SingleSession lets a user have one session. A new session ends the others of the same
	// Identity, on all nodes that share Revocations. Their clients are told `session_replaced`, and
	// stay away. The new session does not wait for the other nodes. A token without an identity is
	// refused as `jwt claim required`. Default: false, a user may have any number of sessions.
	SingleSession bool

	// CloseGrace is how long a client that was told `unauthorized` in the round trip may take to
	// acknowledge before the server disconnects it. 0 means at once, a negative value the rest of
	// Timeout. After a refusal that is worth retrying the client always has the rest of Timeout,
	// and its connection ends without the DISCONNECT after which clients stay away. Default: 0.
	CloseGrace time.Duration

	// KeepExpired lets a session outlast its token. With false the session ends when `exp` and the
	// leeway of ParserOptions have passed: the client is told `jwt expired` and disconnected.
	// Sessions on a token without `exp`, and on one that ParserOptions accept although it has
	// expired, do not end by themselves. Default: false.
	KeepExpired bool

	// ExpiryWarning is how long before `exp` a client is sent the event `token_expiring` with
	// {"expiresIn": seconds}, once for each token, so that the client can send `authenticate` with
	// a newer one. A client whose token lasts less than twice as long is warned at half of its
	// time. Negative values are an error. Default: 0, no warning.
	ExpiryWarning time.Duration

	// Revocations lists the tokens that are no longer good although they have not expired. New
	// tokens are checked against the list, and sessions on a token that is revoked end at once.
	// [NewMemoryRevocations] is for one process, the package redisrevoke for several. A token whose
	// `jti` or `iat` cannot be read is refused. Default: nil, nothing is revoked.
	Revocations Revocations

	// UserRoom names the room that a socket joins when it is authenticated, before OnConnect runs,
	// such as "user:" + s.Subject(). A broadcast to the room reaches all sockets of a user in the
	// namespace, and RoomLen counts them. "" is no room. UserRoom is called for each socket, and
	// again for a newer token; if it returns another room then, the socket moves there. It should
	// not block. Default: nil, which means no room.
	UserRoom func(s *Session) string

	// MaxTokenBytes is the length in bytes above which a token is refused unread. Negative values
	// are an error. Default: 0, which means 8192.
	MaxTokenBytes int

	// MaxAttempts is how many failed `authenticate` events a connection may send since its last
	// good one. Further ones are refused unread as `too_many_attempts`, and a client that is not
	// authenticated is disconnected. (Without CloseGrace the first failure disconnects such a
	// client.) For a client that is authenticated, one failure is forgotten each Timeout,
	// `server_busy` does not count, and after twice as many failures there is no answer any more.
	// Negative values are an error. Default: 0, which means 5.
	MaxAttempts int

	// MaxPending is how many unauthenticated sockets there may be at once; more are refused as
	// `server_busy`. Of clients 3.x and 4.x it counts the connections without an admitted socket.
	// While more than half of the places are taken, a host that has more than a tenth of them, and
	// more than ten, gets no more. A host is an IPv4 address or a /64 of IPv6, going by RemoteAddr.
	// As many calls of Secret, Accept, AcceptNamespace and Revocations, and at least 100, may run
	// at once. Negative values are an error. Default: 0, which means 10,000.
	MaxPending int

	// OnAuthenticated is called when a socket has been authenticated, before OnConnect. It may
	// block: events of the connection wait until it returns. Default: nil.
	OnAuthenticated func(s socketio.Conn, session *Session)

	// OnRefreshed is called when a newer token has taken the place of the one before: for each
	// authenticated socket of the connection, in the order of the tokens, after UserRoom. It may
	// block: events of the connection wait until it returns. Default: nil.
	OnRefreshed func(s socketio.Conn, before, after *Session)

	// OnEnded is called when a session was ended, after OnDisconnect. err says why: the token
	// expired or was revoked, a newer session took the place, or the application disconnected the
	// client. OnEnded is not called when the client leaves by itself. It may block, as
	// OnUnauthorized may. Default: nil.
	OnEnded func(session *Session, err *UnauthorizedError)

	// OnUnauthorized is called when a client was refused, and when a session was ended, as OnEnded
	// is. It is for metrics and audits. Several goroutines may call it at once. It may block: the
	// answer of Middleware waits for it, and so do events of the same client. Default: nil.
	OnUnauthorized func(r *Request, err *UnauthorizedError)

	// Logger gets at level Error panics of callbacks and mistakes in the program; at Warn errors of
	// callbacks, weak keys, and clients of a wrong version; at Info clients that break the protocol
	// or the [Limits]; at Debug who was authenticated, refused or ended, and why. The keys are
	// `namespace`, `remote`, `code`, `message`, `reason`, `callback`, `error` and `stack`. The keys
	// and the messages stay as they are from version to version. This package logs no token, claim
	// or key; what the errors of your callbacks say is up to you. Default: nil, which is silent but
	// for panics and mistakes in the program: slog.Default gets those.
	Logger *slog.Logger
}

// normalise checks o and returns it with the defaults filled in and the slices copied. A Logger of
// nil stays nil: the Authorizer has its own silent one then.
func (o Options) normalise() (Options, error) {
	for _, check := range []func(*Options) error{
		(*Options).checkSecret,
		(*Options).checkMethods,
		(*Options).checkParsing,
		(*Options).checkSources,
		(*Options).checkRevocations,
		(*Options).checkSizes,
	} {
		if err := check(&o); err != nil {
			return Options{}, err
		}
	}
	return o, nil
}

// wrongField is the error for one of the Options: the name, what is wrong, and what to do.
func wrongField(name, format string, args ...any) error {
	return fmt.Errorf("socketiojwt: "+name+": "+format, args...)
}

func (o *Options) checkSecret() error {
	const missing = "missing; use StaticSecret for one key, SecretFunc or Keyfunc to look it up"
	switch s := o.Secret.(type) {
	case nil:
		return wrongField("Secret", missing)
	case SecretFunc:
		if s == nil {
			return wrongField("Secret", missing)
		}
	case keyfunc:
		if s == nil {
			return wrongField("Secret", missing)
		}
	case *staticSecret:
		if s.err != nil {
			return wrongField("Secret", "%w", s.err)
		}
	}
	return nil
}

func (o *Options) checkMethods() error {
	static, isStatic := o.Secret.(*staticSecret)
	for _, alg := range o.Methods {
		switch {
		case strings.EqualFold(alg, "none"):
			return wrongField("Methods", "none would accept tokens that anybody can write; remove it")
		case !slices.Contains(allMethods(), alg):
			return wrongField("Methods", "%q is unknown; use some of %s", alg, strings.Join(allMethods(), ", "))
		case isStatic && fittingKey(static.keys, alg) == nil:
			return wrongField("Methods", "%s does not fit the key in Secret; use some of %s", alg, strings.Join(static.methods(), ", "))
		}
	}
	o.Methods = slices.Clone(o.Methods)
	if len(o.Methods) == 0 {
		o.Methods = allMethods()
	}
	return nil
}

func (o *Options) checkParsing() error {
	for i, option := range o.ParserOptions {
		if option == nil {
			return wrongField("ParserOptions", "entry %d is nil; remove it", i)
		}
	}
	o.ParserOptions = slices.Clone(o.ParserOptions)

	if o.NewClaims == nil {
		o.NewClaims = func() jwt.Claims { return jwt.MapClaims{} }
	} else if claims := tryNewClaims(o.NewClaims); claims != nil && !isMapOrPointer(claims) {
		// golang-jwt cannot decode into anything else: every token would be "malformed".
		return wrongField("NewClaims", "it returns a %T, which cannot be decoded into; return a pointer to a new one", claims)
	} else if isSame(claims, tryNewClaims(o.NewClaims)) {
		// One client's claims would become those of all.
		return wrongField("NewClaims", "it returns the same %T each time; return a new one", claims)
	}
	return nil
}

// tryNewClaims returns nil where newClaims panics. A panic, and claims that are nil, may depend on
// the moment. So they are no error here, and a token that meets them is refused.
func tryNewClaims(newClaims func() jwt.Claims) (claims jwt.Claims) {
	defer func() { _ = recover() }()
	return newClaims()
}

func isMapOrPointer(claims jwt.Claims) bool {
	_, isMap := claims.(jwt.MapClaims)
	return isMap || reflect.ValueOf(claims).Kind() == reflect.Pointer
}

// isSame reports whether what is decoded into a also ends up in b.
func isSame(a, b jwt.Claims) bool {
	if !decodable(a) || !decodable(b) {
		return false
	}
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if x.Kind() == reflect.Pointer && x.Type().Elem().Size() == 0 {
		return false // Go may give all of them one address
	}
	return x.Type() == y.Type() && x.Pointer() == y.Pointer()
}

// ownParams are the query parameters of Engine.IO.
var ownParams = []string{"EIO", "transport", "sid", "t", "j", "b64"}

func (o *Options) checkSources() error {
	switch {
	case o.HeaderRequired && !o.Handshake:
		return wrongField("HeaderRequired", "needs Handshake: the round trip takes the token from an event; set Handshake, or remove HeaderRequired")
	case o.HeaderRequired && o.QueryParam != "":
		return wrongField("QueryParam", "cannot be used with HeaderRequired, which takes no token from the query; remove one of them")
	case o.HeaderRequired && o.Cookie != "":
		return wrongField("Cookie", "cannot be used with HeaderRequired, which takes no token from a cookie; remove one of them")
	case o.QueryParam != "" && !o.Handshake:
		return wrongField("QueryParam", "needs Handshake: the round trip takes the token from an event; set Handshake, or remove QueryParam")
	case slices.Contains(ownParams, o.QueryParam):
		return wrongField("QueryParam", "%q is a parameter of Engine.IO itself; use another name", o.QueryParam)
	case len(o.AllowedOrigins) > 0 && o.Cookie == "":
		return wrongField("AllowedOrigins", "needs Cookie: it says who may send that cookie; set Cookie, or remove AllowedOrigins")
	}

	if o.Cookie != "" {
		if err := (&http.Cookie{Name: o.Cookie}).Valid(); err != nil {
			return wrongField("Cookie", "%q is not the name of a cookie; use letters, digits, - and _", o.Cookie)
		}
	}
	o.AllowedOrigins = slices.Clone(o.AllowedOrigins)
	for i, entry := range o.AllowedOrigins {
		origin, ok := transport.ParseOrigin(entry)
		if !ok || strings.Contains(entry, "*") {
			return wrongField("AllowedOrigins", "%q is not an origin; write scheme://host or scheme://host:port as browsers do, without path or wildcard", entry)
		}
		o.AllowedOrigins[i] = origin.String()
	}
	if o.QueryParam == "" {
		o.QueryParam = defaultQueryParam
	}
	return nil
}

func (o *Options) checkRevocations() error {
	// A nil pointer to an implementation is what a constructor returned beside an error that nobody
	// looked at.
	if v := reflect.ValueOf(o.Revocations); v.Kind() == reflect.Pointer && v.IsNil() {
		return wrongField("Revocations", "a nil %T; make one, or leave it out", o.Revocations)
	}
	return nil
}

func (o *Options) checkSizes() error {
	if o.Timeout < 0 {
		return wrongField("Timeout", "negative (%v); leave it 0 for %v", o.Timeout, defaultTimeout)
	}
	if o.ExpiryWarning < 0 {
		return wrongField("ExpiryWarning", "negative (%v); leave it 0 for no warning", o.ExpiryWarning)
	}
	for _, field := range []struct {
		name string
		d    time.Duration
	}{{"Timeout", o.Timeout}, {"CloseGrace", o.CloseGrace}, {"ExpiryWarning", o.ExpiryWarning}} {
		if d := field.d; d > 0 && d < time.Millisecond {
			return wrongField(field.name, "%v is too short for any client; a unit may be missing, as in %d*time.Millisecond or %d*time.Second", d, d, d)
		}
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	for _, size := range []struct {
		name  string
		value *int
		zero  int
	}{
		{"MaxTokenBytes", &o.MaxTokenBytes, defaultMaxTokenBytes},
		{"MaxAttempts", &o.MaxAttempts, defaultMaxAttempts},
		{"MaxPending", &o.MaxPending, defaultMaxPending},
	} {
		if *size.value < 0 {
			return wrongField(size.name, "negative (%d); leave it 0 for %d", *size.value, size.zero)
		}
		if *size.value == 0 {
			*size.value = size.zero
		}
	}
	return nil
}
